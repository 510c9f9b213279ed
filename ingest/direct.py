"""HTTP connections that answer the usual export by themselves: a POST of protobuf with a known length, read straight into its place.

uvicorn keeps the connection, httptools reads the heads. What ASGI would add to such a request, an application's task, its messages and four
copies of the body, costs more than the scan of 1,000 points. Every other request, and one for which there is no room, goes to the application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from flowgate.errors import FlowgateError
from flowgate.telemetry import Signal
from ingest.server import (
    BODY_SECONDS,
    HEADER_SECONDS,
    IDLE_SECONDS,
    MAX_BODY_BYTES,
    PATHS,
    SIDE_HEADER,
    Answer,
    Guarded,
    Tap,
    accepted,
    inflaters,
    refusal,
)

WINDOW_BYTES = 16 * 2**10
"""Heads are read into it, and with them a small body whole, or the beginning of a large one."""
MAX_RESERVED_BYTES = 4 * MAX_BODY_BYTES
"""Of bodies that have a place of their own at once; more go by the application, which counts what came and not what was announced."""
SPARE_BYTES, SPARES = 4 * 2**20, 4
"""Places kept for the next body: at most so many, none of them larger."""
_POST = b"POST"
_SIDE = SIDE_HEADER.encode()
_PROTOBUF = b"application/x-protobuf"
_PLAIN_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
}
_KNOWN: dict[bytes, Signal] = {path.encode(): signal for path, signal in PATHS.items()}


class Export(NamedTuple):
    """The head of an export that the connection answers itself."""

    signal: Signal
    size: int
    authorization: bytes | None
    side: bytes | None
    encoding: str
    keep: bool


class Reader(asyncio.BufferedProtocol):
    """What the transport reads into: the window while heads are read, a body's own place while that is."""

    window: ClassVar[memoryview] = memoryview(bytearray(WINDOW_BYTES))

    def __init__(self, connection: Direct) -> None:
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.room or self.window

    def buffer_updated(self, nbytes: int) -> None:
        if self._connection.room is None:
            self._connection.data_received(cast("bytes", self.window[:nbytes]))  # the parser takes any buffer
        else:
            self._connection.filled(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class Direct(Guarded):
    """One connection."""

    reserved: ClassVar[int] = 0
    spares: ClassVar[list[bytearray]] = []

    def __init__(self, tap: Tap, **known: Any) -> None:
        super().__init__(**known)
        self._tap = tap
        self._export: Export | None = None
        self._place = bytearray()
        self._at = 0
        self._ends = False
        self.room: memoryview | None = None
        """What is free of the place of the body that is being read, once the window does not hold it whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_protocol(Reader(self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._released()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        export = self._export
        if export is not None and not self.transport.is_closing():
            self.room = memoryview(self._place)[self._at : export.size]

    def filled(self, count: int) -> None:
        """So many bytes of the body came into its place."""
        self._at += count
        export = self._export
        if export is None or self.room is None:
            return
        if self._at < export.size:
            self.room = self.room[count:]
            return
        self.room = None
        self.parser = httptools.HttpRequestParser(self)  # the old one waits for the body it was not shown
        self._whole(export)

    # --- the parser's ---

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since, self._patience = self.loop.time(), HEADER_SECONDS

    def on_headers_complete(self) -> None:
        export = self._usual()
        if export is None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers.extend(headers)
            super().on_headers_complete()
            return
        self._export, self._at, self._patience = export, 0, BODY_SECONDS
        self._place = self._reserve(export.size)

    def on_body(self, body: bytes) -> None:
        if self._export is None:
            super().on_body(body)
            return
        self._place[self._at : self._at + len(body)] = body
        self._at += len(body)

    def on_message_complete(self) -> None:
        if self._export is None:
            super().on_message_complete()
        else:
            self._whole(self._export)

    # --- exports ---

    def _usual(self) -> Export | None:
        """The export that this head announces; None when it is anything but the usual one, or waits behind another answer."""
        signal = _KNOWN.get(self.url)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        idle = cycle is None or (cycle.response_complete and not self.pipeline)
        if signal is None or not idle or self.expect_100_continue or self.parser.get_method() != _POST or self.parser.should_upgrade():
            return None
        heads = dict(self.headers)
        length = heads.get(b"content-length", b"")
        encoding = heads.get(b"content-encoding", b"").decode("latin-1")
        if heads.get(b"content-type") != _PROTOBUF or not length.isdigit() or b"transfer-encoding" in heads or encoding not in inflaters:
            return None
        size, keep = int(length), self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        if size > MAX_BODY_BYTES or Direct.reserved + size > MAX_RESERVED_BYTES:
            return None
        return Export(signal, size, heads.get(b"authorization"), heads.get(_SIDE), encoding, keep)

    def _whole(self, export: Export) -> None:
        self._tap.wire_bytes += export.size
        answer = self._answered(export)
        self._released()
        self._since, self._patience = self.loop.time(), IDLE_SECONDS
        self.server_state.total_requests += 1
        keep = export.keep and not self._ends
        self.transport.write(_PLAIN_OK if answer is None and keep else _written(answer or Answer(200, b"", _PROTOBUF.decode()), keep=keep))
        if not keep:
            self.transport.close()

    def _answered(self, export: Export) -> Answer | None:
        """None: all of it was taken."""
        try:
            source = self._tap.known_source(export.authorization, export.side)
            body = inflaters[export.encoding](memoryview(self._place)[: export.size])
            kept = self._tap.take(source, export.signal, body, "protobuf")
        except FlowgateError as error:
            return refusal(error, "protobuf")
        return accepted(export.signal, kept, "protobuf") if kept.rejected else None

    def pause_writing(self) -> None:
        """Who does not read our answers is not read either."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def shutdown(self) -> None:
        """A body that is under way is answered before the connection ends."""
        if self._export is None:
            super().shutdown()
        else:
            self._ends = True

    # --- places ---

    def _reserve(self, size: int) -> bytearray:
        Direct.reserved += size
        for index, spare in enumerate(self.spares):
            if len(spare) >= size:
                return self.spares.pop(index)
        return bytearray(size)

    def _released(self) -> None:
        if self._export is None:
            return
        Direct.reserved -= self._export.size
        self._export = self.room = None
        if len(self._place) <= SPARE_BYTES and len(self.spares) < SPARES:
            self.spares.append(self._place)
        self._place = bytearray()


def _written(answer: Answer, *, keep: bool) -> bytes:
    head = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Service Unavailable')}", f"content-type: {answer.kind}"]
    head += [f"content-length: {len(answer.body)}", *(f"{k.decode()}: {v.decode()}" for k, v in answer.extra.items())]
    if not keep:
        head.append("connection: close")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + answer.body


def connections(tap: Tap) -> Callable[..., Direct]:
    """What uvicorn calls for every connection."""
    return partial(Direct, tap)
