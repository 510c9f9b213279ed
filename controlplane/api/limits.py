"""A cap on every request's body, before anything reads it. FastAPI has none of its own."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.api.problems import problem
from flowgate.errors import Invalid, Problem


class BodyLimit:
    """Refuses bodies over `most` bytes: by their announced length with 413, or while they come. Paths below `exempt` have limits of their own."""

    def __init__(self, app: ASGIApp, most: int, exempt: str) -> None:
        self._app, self._most, self._exempt = app, most, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._exempt):
            await self._app(scope, receive, send)
        elif _announced(scope) > self._most:
            await problem(413, "the body is too large", (self._said(),))(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise Invalid("the body is too large", (self._said(),))
            return message

        return counted

    def _said(self) -> Problem:
        return Problem("body", f"at most {self._most} bytes")


def _announced(scope: Scope) -> int:
    """The Content-Length header; 0 when it is absent or no number, and then the bytes are counted."""
    value = next((v for k, v in scope["headers"] if k.lower() == b"content-length"), b"")
    return int(value) if value.isdigit() else 0
