"""The pages' only source: the public API over HTTP. An error is a value that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no answer, in a sentence for the person at the page."""

    reason: str


@dataclass(frozen=True, slots=True)
class Client:
    """Reads from one API. `transport` replaces the network in tests."""

    base: str
    token: str
    transport: httpx.BaseTransport | None = None

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json | Failed:
        """The JSON object at `path`, or why there is none."""
        try:
            with httpx.Client(base_url=self.base, timeout=30.0, transport=self.transport) as http:
                answer = http.get(path, params=params, headers={"authorization": f"Bearer {self.token}"})
        except httpx.TransportError:
            return Failed(f"The API at {self.base} does not answer. Start it with `flowgate up`.")
        except UnicodeEncodeError:
            return Failed("FLOWGATE_TOKEN holds a character that no token has. Set it to a user's token.")
        return _read(answer)

    def items(self, path: str) -> list[Json] | Failed:
        """The `items` of a list."""
        body = self.get(path)
        return body if isinstance(body, Failed) else list(body.get("items", []))


def _read(answer: httpx.Response) -> Json | Failed:
    if answer.status_code in (401, 403):
        return Failed("The API refuses the token. Set FLOWGATE_TOKEN to a user's token.")
    try:
        body = answer.json()
    except ValueError:
        return Failed(f"The API answered {answer.status_code} without JSON.")
    if not isinstance(body, dict):
        return Failed(f"The API answered {answer.status_code} with something that is not an object.")
    said = cast("Json", body)
    return Failed(str(said.get("detail", answer.status_code))) if answer.is_error else said
