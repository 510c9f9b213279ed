"""The tap's receivers: OTLP/gRPC and OTLP/HTTP. Read bytes, call decoder and buffer, answer; no decision of their own."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from isal import isal_zlib
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from flowgate.errors import Broken, Busy, FlowgateError, Refused, Unauthorized
from flowgate.ids import GatewayId
from flowgate.ports import Authenticator, Identity, bearer
from flowgate.telemetry import Side, Signal
from ingest.otlp import Decoder, Encoding, KvRow, Malformed, SeriesRow, parse
from ingest.segments import SegmentStore
from ingest.tap import Buffer, Kept, Pending, Source

MAX_BODY_BYTES = 16 * 2**20
"""Before and after decompression. The Collector's own exporters stay far below: 2,048 points are about 0.7 MB."""
SIDE_HEADER = "x-flowgate-side"
FLUSH_SECONDS = 1.0

_PATHS: Mapping[str, Signal] = {"/v1/metrics": Signal.METRICS, "/v1/logs": Signal.LOGS, "/v1/traces": Signal.TRACES}
_SERVICES: Mapping[Signal, str] = {
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
}
_TYPES: Mapping[str, Encoding] = {"application/x-protobuf": "protobuf", "application/json": "json"}


_GZIP_ERRORS: tuple[type[Exception], ...] = (zlib.error, isal_zlib.IsalError)  # pyright: ignore[reportAssignmentType] - its stubs name a class Exception


class TooLarge(Refused):
    """A body over the limit."""


class Unsupported(Refused):
    """A content type or encoding that is not spoken here."""


@dataclass(slots=True)
class Tap:
    """Decoder, buffer and store behind one lock; what both receivers call."""

    decoder: Decoder
    buffer: Buffer
    store: SegmentStore
    tokens: Authenticator
    retention: timedelta
    broken: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _store_lock: threading.Lock = field(default_factory=threading.Lock)
    _unstaged: list[dict[Source, Pending]] = field(default_factory=list[dict[Source, Pending]])
    segments: int = 0

    def source(self, authorization: str | None, side: str | None) -> Source:
        """Who sends, and which copy. Raises `Unauthorized`, or `Malformed` for a side that is none."""
        identity = self.tokens.authenticate(bearer(authorization))
        if identity is None:
            raise Unauthorized("no or an unknown token")
        try:
            copy = Side(side) if side else Side.IN
        except ValueError:
            raise Malformed(f"{SIDE_HEADER} is in, out or self") from None
        return Source(Identity(identity.org, identity.gateway or GatewayId("unknown")), copy)

    def take(self, source: Source, signal: Signal, body: bytes, encoding: Encoding) -> Kept:
        """Decodes and buffers one body. Raises `Malformed` or `Busy`; then nothing of it is kept."""
        if self.broken is not None:
            raise Busy(self.broken, 30.0)
        request = parse(signal, body, encoding)
        with self._lock:
            batch = self.decoder.decode(request, time.time_ns())
            return self.buffer.add(source, batch, self.decoder.series)

    def flush(self) -> None:
        """Buffer to staging. A disk that is full makes the tap refuse, and say why, until what it holds could be written."""
        with self._store_lock:
            with self._lock:
                self._unstaged.append(self.buffer.drain())
                series, kv = self.decoder.series, self.decoder.kv
            self._guarded(lambda: self._stage(series, kv))

    def _stage(self, series: dict[int, SeriesRow], kv: dict[int, KvRow]) -> None:
        while self._unstaged:
            self.store.stage(self._unstaged[0], series, kv)
            del self._unstaged[0]

    def seal(self) -> None:
        """Staging to segments; old segments retire."""
        self.flush()
        with self._store_lock:
            self._guarded(self._seal)

    def _seal(self) -> None:
        self.segments += len(self.store.seal())
        self.store.retire(datetime.now(UTC) - self.retention)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            self.broken = None
        except Broken as error:
            self.broken = str(error)

    def stats(self) -> dict[str, object]:
        """Totals since the start."""
        totals = self.buffer.totals
        return {
            "points": totals.points,
            "log_records": totals.log_records,
            "spans": totals.spans,
            "refused": totals.refused,
            "series": len(self.decoder.series),
            "segments": self.segments,
            "broken": self.broken,
        }


def ticker(tap: Tap, seal_seconds: float, stop: threading.Event) -> None:
    """Flushes every second and seals every `seal_seconds`, until `stop`; then once more."""
    sealed = time.monotonic()
    while not stop.wait(FLUSH_SECONDS):
        if time.monotonic() - sealed >= seal_seconds - FLUSH_SECONDS / 2:
            tap.seal()
            sealed = time.monotonic()
        else:
            tap.flush()
    tap.seal()


# --- answers -------------------------------------------------------------------------------------------------------------------


def response(signal: Signal, kept: Kept) -> Message:
    """The export response; a partial success says how many items were rejected and why."""
    rejected = sum(kept.rejected.values())
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(kept.rejected.items()))
    match signal:
        case Signal.METRICS:
            metrics = ExportMetricsServiceResponse()
            if rejected:
                metrics.partial_success.rejected_data_points = rejected
                metrics.partial_success.error_message = why
            return metrics
        case Signal.LOGS:
            logs = ExportLogsServiceResponse()
            if rejected:
                logs.partial_success.rejected_log_records = rejected
                logs.partial_success.error_message = why
            return logs
        case Signal.TRACES:
            traces = ExportTraceServiceResponse()
            if rejected:
                traces.partial_success.rejected_spans = rejected
                traces.partial_success.error_message = why
            return traces


def http_status(error: FlowgateError) -> tuple[int, int]:
    """HTTP status and gRPC code of a refusal."""
    match error:
        case Unauthorized():
            return 401, 16
        case TooLarge():
            return 413, 3
        case Unsupported():
            return 415, 12
        case Refused():
            return 400, 3
        case Busy():
            return 429, 8
        case _:
            return 503, 14


# --- gRPC ------------------------------------------------------------------------------------------------------------------------


def grpc_server(tap: Tap, workers: int = 4) -> grpc.Server:
    """The three OTLP services on raw bytes; gzip and deflate are grpcio's own."""
    server = grpc.server(
        ThreadPoolExecutor(workers, thread_name_prefix="otlp-grpc"),
        options=[("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)],
    )
    for signal, service in _SERVICES.items():
        method = grpc.unary_unary_rpc_method_handler(_exporter(tap, signal))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    return server


def _exporter(tap: Tap, signal: Signal) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {str(k).lower(): str(v) for k, v in context.invocation_metadata()}
        try:
            source = tap.source(metadata.get("authorization"), metadata.get(SIDE_HEADER))
            return response(signal, tap.take(source, signal, body, "protobuf")).SerializeToString()
        except FlowgateError as error:
            if isinstance(error, Busy):
                context.set_trailing_metadata((("grpc-status-details-bin", busy_details(error)),))
            context.abort(_CODES[http_status(error)[1]], str(error))
            raise  # abort has raised already

    return export


def busy_details(error: Busy) -> bytes:
    """OTLP/gRPC: a client retries RESOURCE_EXHAUSTED only when the status carries a RetryInfo, which says when."""
    status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message=str(error))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
    status.details.add().Pack(retry)
    return status.SerializeToString()


_CODES = {code.value[0]: code for code in grpc.StatusCode}

# --- HTTP ------------------------------------------------------------------------------------------------------------------------

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def http_app(tap: Tap) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """OTLP/HTTP as a raw ASGI application, with `/healthz` and, for loopback, `/stats`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _handle(tap, scope, receive, send)

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _handle(tap: Tap, scope: Scope, receive: Receive, send: Send) -> None:
    path, method = scope["path"], scope["method"]
    if method == "GET" and path == "/healthz":
        await _answer(send, 503 if tap.broken else 200, json.dumps({"broken": tap.broken}).encode(), "application/json")
    elif method == "GET" and path == "/stats" and (scope.get("client") or ("", 0))[0] in ("127.0.0.1", "::1"):
        await _answer(send, 200, json.dumps(tap.stats()).encode(), "application/json")
    elif path not in _PATHS:
        await _answer(send, 404, b"", "text/plain")
    elif method != "POST":
        await _answer(send, 405, b"", "text/plain", {b"allow": b"POST"})
    else:
        await _export(tap, _PATHS[path], scope, receive, send)


async def _export(tap: Tap, signal: Signal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding: Encoding = _TYPES.get(kind, "protobuf")
    try:
        if kind not in _TYPES:
            raise Unsupported("the content type is application/x-protobuf or application/json")
        source = tap.source(headers.get("authorization"), headers.get(SIDE_HEADER))
        body = await _body(receive, headers.get("content-encoding", "identity").strip().lower())
        message = response(signal, tap.take(source, signal, body, encoding))
    except FlowgateError as error:
        await _refuse(send, error, encoding)
        return
    await _answer(send, 200, encoded(message, encoding), _content_type(encoding))


async def _body(receive: Receive, encoding: str) -> bytes:
    """The whole body, inflated as it arrives; raises `TooLarge` as soon as either form is over the limit."""
    inflate = inflater(encoding)
    parts: list[bytes] = []
    wire = size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the body ended early")
        chunk: bytes = message.get("body", b"")
        wire += len(chunk)
        out = inflate(chunk, MAX_BODY_BYTES - size + 1)
        size += len(out)
        if max(wire, size) > MAX_BODY_BYTES:
            raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes")
        parts.append(out)
        if not message.get("more_body", False):
            inflate(None, 0)
            return b"".join(parts)


def inflater(encoding: str) -> Callable[[bytes | None, int], bytes]:
    """A function that inflates the next chunk to at most so many bytes; called with None it checks that the stream has ended."""
    if encoding in ("", "identity"):
        return lambda chunk, _: chunk or b""
    if encoding != "gzip":
        raise Unsupported("the content encoding is gzip or identity")
    stream = isal_zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def inflate(chunk: bytes | None, room: int) -> bytes:
        if chunk is None:
            if not stream.eof:
                raise Malformed("the gzip stream ended early")
            return b""
        try:
            return bytes(stream.decompress(chunk, room)) if chunk else b""
        except _GZIP_ERRORS as error:
            raise Malformed(f"not gzip: {error}") from None

    return inflate


def encoded(message: Message, encoding: Encoding) -> bytes:
    return message.SerializeToString() if encoding == "protobuf" else json_format.MessageToJson(message).encode()


def _content_type(encoding: Encoding) -> str:
    return "application/x-protobuf" if encoding == "protobuf" else "application/json"


async def _refuse(send: Send, error: FlowgateError, encoding: Encoding) -> None:
    """A `google.rpc.Status` in the request's encoding, as OTLP asks."""
    status, code = http_status(error)
    body = encoded(status_pb2.Status(code=code, message=str(error)), encoding)
    extra = {b"retry-after": f"{max(1, round(error.retry_after))}".encode()} if isinstance(error, Busy) else {}
    await _answer(send, status, body, _content_type(encoding), extra)


async def _answer(send: Send, status: int, body: bytes, kind: str, extra: Mapping[bytes, bytes] | None = None) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *(extra or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
