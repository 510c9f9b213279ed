"""OpAMP's two transports on one path, as one ASGI application: WebSocket and plain HTTP POST. Bytes between socket and hub, nothing else."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Generic

from opamp.hub import Hub, I
from opamp.session import bad_request
from opamp.wire import MAX_MESSAGE_BYTES, Malformed, frame, unframe

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PROTOBUF = "application/x-protobuf"
MAX_TEXT_FRAMES = 3
"""Text frames are a protocol error; the third ends the connection (close 1003)."""
_UNSUPPORTED_DATA, _TAKEN_OVER = 1003, 1012


class OpampApp(Generic[I]):
    """Answers on whatever path it is mounted at."""

    def __init__(self, hub: Hub[I]) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    # --- WebSocket ---

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        identity = await self._hub.callbacks.authenticate(_headers(scope).get("authorization"))
        if identity is None:
            await _deny(send, 401)
            return
        await send({"type": "websocket.accept"})

        async def write(payload: bytes) -> None:
            await send({"type": "websocket.send", "bytes": frame(payload)})

        async def close() -> None:
            with contextlib.suppress(RuntimeError):  # already closed by the peer
                await send({"type": "websocket.close", "code": _TAKEN_OVER})

        connection = self._hub.connection(write, close)
        try:
            await self._converse(identity, connection, receive, send)
        finally:
            await self._hub.closed(identity, connection)

    async def _converse(self, identity: I, connection: Any, receive: Receive, send: Send) -> None:
        texts = 0
        while (message := await receive())["type"] == "websocket.receive":
            data: bytes | None = message.get("bytes")
            if data is None:
                texts += 1
                await connection.send(bad_request(b"", "OpAMP messages are binary"))
                if texts >= MAX_TEXT_FRAMES:
                    await send({"type": "websocket.close", "code": _UNSUPPORTED_DATA})
                    return
                continue
            try:
                payload = unframe(data)
            except Malformed as error:
                await connection.send(bad_request(b"", str(error)))
                continue
            await connection.send(await self._hub.handle(identity, payload, connection))

    # --- plain HTTP ---

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        identity = await self._hub.callbacks.authenticate(headers.get("authorization"))
        if identity is None:
            await _respond(send, 401, {"www-authenticate": "Bearer"})
        elif scope["method"] != "POST":
            await _respond(send, 405, {"allow": "POST"})
        elif headers.get("content-type", "").partition(";")[0].strip().lower() != PROTOBUF:
            await _respond(send, 415)
        else:
            await self._post(identity, headers, receive, send)

    async def _post(self, identity: I, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            await _respond(send, 415)
            return
        try:
            payload = await _body(receive, encoding == "gzip")
        except OverflowError:
            await _respond(send, 413)
        except (zlib.error, Malformed):
            await _respond(send, 400)
        else:
            answer = await self._hub.handle(identity, payload)
            await _reply(send, answer, accepts_gzip(headers.get("accept-encoding", "")))


async def _reply(send: Send, answer: bytes, compress: bool) -> None:
    headers = {"content-type": PROTOBUF}
    if compress:
        answer, headers["content-encoding"] = gzip.compress(answer), "gzip"
    await _respond(send, 200, headers, answer)


async def _body(receive: Receive, gzipped: bool) -> bytes:
    """The body, inflated as it comes; OverflowError as soon as it is too large in either form."""
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if gzipped else None
    out, wire = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the body ended early")
        chunk: bytes = message.get("body", b"")
        wire += len(chunk)
        out += inflate.decompress(chunk, MAX_MESSAGE_BYTES + 1 - len(out)) if inflate else chunk
        if max(wire, len(out)) > MAX_MESSAGE_BYTES:
            raise OverflowError
        if not message.get("more_body", False):
            break
    if inflate is not None and not inflate.eof:
        raise zlib.error("the stream ended early")
    return bytes(out)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3): `gzip;q=0` forbids, `*` stands for what is not named."""
    wanted: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        wanted[name.strip()] = _quality(parameters)
    return wanted.get("gzip", wanted.get("*", 0.0)) > 0.0


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; lines of one name are joined with commas."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def _deny(send: Send, status: int) -> None:
    """Refuses the upgrade itself: the client sees an HTTP status, not a socket that opens and closes."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": [(b"www-authenticate", b"Bearer")]})
    await send({"type": "websocket.http.response.body", "body": b""})


async def _respond(send: Send, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
    listed = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
    listed.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})
