"""The tap's receivers: OTLP/gRPC and OTLP/HTTP. Read bytes, call decoder and buffer, answer; no decision of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, cast

import grpc
import zstandard
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from isal import isal_zlib
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flowgate.errors import Broken, Busy, FlowgateError, Refused, Unauthorized
from flowgate.ids import GatewayId
from flowgate.ports import Authenticator, Identity, bearer
from flowgate.telemetry import Side, Signal
from ingest.calls import MAX_CALLS, MAX_STREAMS, Calls
from ingest.columns import Staged
from ingest.engine import Engine
from ingest.otlp import Body, Encoding, Malformed, parse
from ingest.pressure import HURRY_SECONDS, MEASURED_SECONDS, Pressure
from ingest.redaction import FileRules, redacted
from ingest.segments import SegmentStore
from ingest.tap import Kept, Source, Totals
from ingest.workers import Team

MAX_BODY_BYTES = 16 * 2**20
"""Before and after decompression. The Collector's own exporters stay far below: 2,048 points are about 0.7 MB."""
MAX_IN_FLIGHT_BYTES = 8 * MAX_BODY_BYTES
"""Of all HTTP bodies being received at once, each in both forms; beyond, a body is told to come back."""
MAX_JSON_BYTES = 4 * 2**20
"""The JSON library's objects take some fifty times their text."""
BODY_SECONDS = 15.0
HEADER_SECONDS = 5.0
IDLE_SECONDS = 75
MAX_CONNECTIONS_PER_SOURCE = 200
SIDE_HEADER = "x-flowgate-side"
FLUSH_SECONDS = 1.0
LOWER_PRIORITY = 5
"""Nice value of the thread that writes (Python's own lock is the only one that it shares with requests). At 80 % of one core p99 is 164, 110, 20 and 8 ms at 0, 2, 5 and 10; at full load, what is not yet
written is 1.7, 1.9, 2.3 and 3.9 s old."""
LOWEST_PRIORITY = 10
"""Of the thread that merges: nobody waits for it."""

PATHS: Mapping[str, Signal] = {"/v1/metrics": Signal.METRICS, "/v1/logs": Signal.LOGS, "/v1/traces": Signal.TRACES}
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


def _at_once(work: Callable[[], None]) -> None:
    work()


@dataclass(slots=True)
class Tap:
    """Engine and store behind one lock each; what both receivers call."""

    engine: Engine
    store: SegmentStore
    tokens: Authenticator
    retention: timedelta
    most_bytes: int | None = None
    """Of segments on disk; the oldest go first."""
    redaction: FileRules = field(default_factory=lambda: FileRules(None, time.monotonic))
    broken: str | None = None
    pressure: Pressure = field(default_factory=lambda: Pressure(time.monotonic))
    team: Team | None = None
    """The other workers on the same ports."""
    left_over: Sequence[SegmentStore] = ()
    """Stores of workers that there are no more: what they hold is kept as long as all else."""
    behind: Callable[[Callable[[], None]], None] = _at_once
    """Runs what writes to disk and waits for it. What requests wait for, taking what was counted, never runs there."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _store_lock: threading.Lock = field(default_factory=threading.Lock)
    _unstaged: list[Mapping[Source, Staged]] = field(default_factory=list[Mapping[Source, Staged]])
    _before: Totals = field(default_factory=Totals)
    segments: int = 0
    wire_bytes: int = 0
    slowest_write: float = 0.0
    """Seconds that the slowest of the writes to disk took."""
    _written: float = field(default_factory=time.monotonic)
    """When the last write that is on disk took what was counted until then."""
    _second: int = -1
    _sources: dict[tuple[bytes | None, bytes | None], Source] = field(default_factory=dict[tuple[bytes | None, bytes | None], Source])

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

    def known_source(self, authorization: bytes | None, side: bytes | None) -> Source:
        """The same for raw headers, remembered for a second: what a token is worth is asked again after that."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._sources = second, {}
        known = self._sources.get((authorization, side))
        if known is None:
            texts = (None if raw is None else raw.decode("latin-1") for raw in (authorization, side))
            known = self._sources[authorization, side] = self.source(*texts)
        return known

    def take(self, source: Source, signal: Signal, body: Body, encoding: Encoding) -> Kept:
        """Decodes and buffers one body. Raises `Malformed` or `Busy`; then nothing of it is kept."""
        if self.broken is not None:
            raise Busy(self.broken, 30.0)
        why = self.pressure.refusal()
        if why is not None:
            raise Busy(why, 1.0)
        if encoding == "json":
            if len(body) > MAX_JSON_BYTES:
                raise TooLarge(f"a JSON body has at most {MAX_JSON_BYTES} bytes")
            body = parse(signal, body, encoding).SerializeToString()
        with self._lock:
            return self.engine.take(source, signal, body, time.time_ns())

    def swap(self, engine: Engine) -> None:
        """From now on `engine` takes; what the former one counted is kept."""
        with self._lock:
            self._unstaged.append(self.engine.drain())
            self._before = self._totals()
            self.engine = engine

    def _totals(self) -> Totals:
        a, b = self._before, self.engine.totals
        return Totals(a.points + b.points, a.log_records + b.log_records, a.spans + b.spans, a.refused + b.refused)

    def flush(self) -> None:
        """Buffer to staging. A disk that is full makes the tap refuse, and say why, until what it holds could be written."""
        with self._store_lock, self.pressure.writing():
            self._drain(sealing=False)
            self._guarded(lambda: self.behind(self._stage))

    def _drain(self, *, sealing: bool) -> None:
        with self._lock:
            self._unstaged.append(self.engine.drain())
            if sealing:
                self.engine.sealed()

    def _stage(self) -> None:
        began = time.monotonic()
        while self._unstaged:
            self.store.stage({s: redacted(rows, self.redaction.rules(s.identity.org)) for s, rows in self._unstaged[0].items()})
            del self._unstaged[0]
        self._written, self.slowest_write = began, max(self.slowest_write, time.monotonic() - began)

    def seal(self) -> None:
        """Staging to segments; old segments retire."""
        with self._store_lock, self.pressure.writing():
            self._drain(sealing=True)
            self._guarded(lambda: self.behind(self._seal))

    def _seal(self) -> None:
        self._stage()
        self.segments += len(self.store.seal())
        now = time.monotonic()
        for store in (self.store, *self.left_over):
            store.retire(datetime.now(UTC) - self.retention, self.most_bytes, now)

    def compact(self) -> None:
        """Merges small segments, unless memory is short. Where the list of segments cannot be written, the next seal says so."""
        if not self.pressure.crowded:
            with contextlib.suppress(Broken):
                for store in (self.store, *self.left_over):
                    store.compact(time.monotonic())

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            self.broken = None
        except Broken as error:
            self.broken = str(error)

    def is_behind(self) -> bool:
        """Whether what was counted waits too long to be written, or too much of it does."""
        return self.pressure.crowded or time.monotonic() - self._written > HURRY_SECONDS

    def relieve(self) -> None:
        """Keeps within the memory that it was given; called all the while, also while something is being written."""
        if self.pressure.measure():
            with self._lock:
                self.engine.shrink()

    def publish(self) -> None:
        """Tells the other workers what was counted."""
        if self.team is not None:
            self.team.publish(self.own_stats())

    def stats(self) -> dict[str, object]:
        """Totals since the start, of all workers."""
        return self.own_stats() if self.team is None else self.team.together(self.own_stats())

    def health(self) -> str | None:
        """Why the tap, or one of its workers, takes nothing; None when all is well."""
        return self.broken if self.team is None else cast("str | None", self.stats()["broken"])

    def own_stats(self) -> dict[str, object]:
        """Of this process."""
        totals = self._totals()
        return {
            **self.engine.stats(),
            "points": totals.points,
            "log_records": totals.log_records,
            "spans": totals.spans,
            "refused": totals.refused,
            "wire_bytes": self.wire_bytes,
            "segments": self.segments,
            "busy": self.pressure.refusals,
            "unwritten_seconds": round(time.monotonic() - self._written, 3),
            "slowest_write_seconds": round(self.slowest_write, 3),
            "damaged": list(self.store.damaged),
            "unmerged": self.store.unmerged,
            "redaction_damaged": self.redaction.damaged,
            "broken": self.broken,
        }


def _step_back(nice: int) -> None:
    """By so much, of this thread alone, on Linux."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + nice)


def ticker(tap: Tap, seal_seconds: float, stop: threading.Event) -> None:
    """Flushes every second and seals every `seal_seconds`, until `stop`; then once more. On a busy core, requests go first.

    Only the writing steps back, until it falls behind: what is refused costs time too, and no priority can be raised again. Taking what was counted holds the lock that requests wait for: at a lower priority, on a machine that others
    keep busy, it would hold it for seconds.
    """
    try:
        with ThreadPoolExecutor(1, "write", _step_back, (LOWER_PRIORITY,)) as writer, ThreadPoolExecutor(1, "hurry") as hurrying:
            tap.behind = lambda work: (hurrying if tap.is_behind() else writer).submit(work).result()
            try:
                _tick(tap, seal_seconds, stop)
            finally:
                tap.behind = _at_once
    finally:
        if not stop.is_set():  # whatever ended it: nothing is acknowledged that nobody would write
            tap.broken = "the thread that writes has ended"


def compactor(tap: Tap, seconds: float, stop: threading.Event) -> None:
    """Merges segments every so often, until `stop`; everything else goes first."""
    _step_back(LOWEST_PRIORITY)
    while not stop.wait(seconds):
        tap.compact()


def watcher(tap: Tap, stop: threading.Event) -> None:
    """Keeps the tap within its memory, until `stop`."""
    while not stop.wait(MEASURED_SECONDS):
        tap.relieve()


def _tick(tap: Tap, seal_seconds: float, stop: threading.Event) -> None:
    sealed = time.monotonic()
    while not stop.wait(FLUSH_SECONDS):
        if time.monotonic() - sealed >= seal_seconds - FLUSH_SECONDS / 2:
            tap.seal()
            sealed = time.monotonic()
        else:
            tap.flush()
        tap.publish()
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


@dataclass(frozen=True, slots=True)
class Patience:
    """With gRPC connections. Seconds that one has to say hello, between calls, and in all, after which its client is told to come anew."""

    hello: float = HEADER_SECONDS
    idle: float = IDLE_SECONDS
    age: float = 600.0
    pings: float = 10.0
    """Between two pings without data; of those that come sooner two are borne."""
    connections: int = 2000
    """From all sources: grpcio cannot end those of one."""


def new_calls() -> Calls:
    return Calls(time.monotonic, BODY_SECONDS, MAX_CONNECTIONS_PER_SOURCE)


def grpc_server(
    tap: Tap, workers: int = 4, *, shared: bool = False, calls: Calls | None = None, patience: Patience | None = None
) -> grpc.Server:
    """The three OTLP services on raw bytes. grpcio hands on what was compressed as it is: isal inflates it in half the time.

    `workers` bodies are worked on at once; the other threads wait for theirs. `calls` has to be swept by the caller.
    """
    times = patience or Patience()
    server = grpc.server(
        ThreadPoolExecutor(2 * MAX_CALLS, thread_name_prefix="otlp-grpc"),
        options=[
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.per_message_decompression", 0),
            ("grpc.so_reuseport", int(shared)),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.max_allowed_incoming_connections", times.connections),
            ("grpc.server_handshake_timeout_ms", round(times.hello * 1000)),
            ("grpc.max_connection_idle_ms", round(times.idle * 1000)),
            ("grpc.max_connection_age_ms", round(times.age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(BODY_SECONDS * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", round(times.pings * 1000)),
            ("grpc.http2.max_ping_strikes", 2),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ],
        maximum_concurrent_rpcs=2 * MAX_CALLS,  # those over MAX_CALLS are told by us when to come back, which grpcio does not say
    )
    counted, working = calls or new_calls(), threading.BoundedSemaphore(workers)
    for signal, service in _SERVICES.items():
        # As a stream of one message: for a unary call grpcio would read the body before it asks us.
        method = grpc.stream_unary_rpc_method_handler(_exporter(tap, signal, counted, working))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    return server


def _exporter(
    tap: Tap, signal: Signal, calls: Calls, working: threading.BoundedSemaphore
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    def export(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            with calls.counted(context.peer(), context.cancel) as call:
                body = _body_of(messages)
                calls.received(call)
                with working:
                    kept = tap.take(_sender(tap, context), signal, _message(body), "protobuf")
            return response(signal, kept).SerializeToString() if kept.rejected else b""
        except FlowgateError as error:
            if isinstance(error, Busy):
                context.set_trailing_metadata((("grpc-status-details-bin", busy_details(error)),))
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if isinstance(error, TooLarge) else _CODES[http_status(error)[1]]
            context.abort(code, str(error))
            raise  # abort has raised already

    return export


def _body_of(messages: Iterator[bytes]) -> bytes:
    """Waits for it. Raises `Malformed` when the call ends without one, as one does whose body is late."""
    try:
        return next(messages)
    except (StopIteration, grpc.RpcError):
        raise Malformed("the call ended without a body") from None


def _sender(tap: Tap, context: grpc.ServicerContext) -> Source:
    authorization: bytes | None = None
    side: bytes | None = None
    for key, value in context.invocation_metadata():  # gRPC writes keys in lower case
        if key == "authorization":
            authorization = _raw(value)
        elif key == SIDE_HEADER:
            side = _raw(value)
    return tap.known_source(authorization, side)


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _message(body: bytes) -> Body:
    """The message of a call, inflated. gRPC does not tell a handler how it was compressed, but its first bytes do.

    Gzip begins with 1f 8b (RFC 1952, 2.3.1), which no protobuf does: there is no wire type 7. Two bytes of zlib (RFC 1950, 2.2) could begin an
    unknown field; a whole stream with its checksum does not come about by chance.
    """
    if body[:2] == b"\x1f\x8b":
        return _gzip(body)
    if len(body) > 2 and body[0] & 0x0F == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0:
        try:
            return _deflate(body)
        except Malformed:
            return body
    return body


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
        broken = tap.health()
        await _answer(send, 503 if broken else 200, json.dumps({"broken": broken}).encode(), "application/json")
    elif method == "GET" and path == "/stats" and (scope.get("client") or ("", 0))[0] in ("127.0.0.1", "::1"):
        await _answer(send, 200, json.dumps(tap.stats()).encode(), "application/json")
    elif path not in PATHS:
        await _answer(send, 404, b"", "text/plain")
    elif method != "POST":
        await _answer(send, 405, b"", "text/plain", {b"allow": b"POST"})
    else:
        await _export(tap, PATHS[path], scope, receive, send)


_WANTED = frozenset({b"content-type", b"content-encoding", b"authorization", SIDE_HEADER.encode()})


async def _export(tap: Tap, signal: Signal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {k: v for k, v in scope["headers"] if k in _WANTED}
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    encoding: Encoding = _TYPES.get(kind, "protobuf")
    try:
        if kind not in _TYPES:
            raise Unsupported("the content type is application/x-protobuf or application/json")
        source = tap.known_source(headers.get(b"authorization"), headers.get(SIDE_HEADER.encode()))
        body = await _body(tap, scope, receive, headers.get(b"content-encoding", b"").strip().lower().decode("latin-1"))
        kept = tap.take(source, signal, body, encoding)
        answer = accepted(signal, kept, encoding)
    except FlowgateError as error:
        answer = refusal(error, encoding)
    await _answer(send, answer.status, answer.body, answer.kind, answer.extra)


async def _body(tap: Tap, scope: Scope, receive: Receive, encoding: str) -> Body:
    """The whole body, inflated. Raises `TooLarge` when either form is over the limit, `Busy` when too much is under way already."""
    known = inflaters.get(encoding)
    if known is None:
        raise Unsupported(f"the content encoding is one of {', '.join(sorted(filter(None, inflaters)))}")
    data = await _received(tap, receive)
    if "flowgate.busy" in scope:
        raise Busy("too many bodies at once", 1.0)
    return known(data)


async def _received(tap: Tap, receive: Receive) -> bytes:
    """The body as it was sent: in one piece from `Guarded`, in several from another server."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the body ended early")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes")
        parts.append(chunk)
        if not message.get("more_body", False):
            tap.wire_bytes += size
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _identity(data: Body) -> Body:
    return data


def _gzip(data: Body) -> Body:
    """Every member of a gzip stream (RFC 1952, 2.2), none over the limit."""
    out: list[bytes] = []
    room = MAX_BODY_BYTES + 1
    while data or not out:
        stream = isal_zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        out.append(_inflated(stream, data, room, "gzip"))
        room -= len(out[-1])
        data = stream.unused_data
    return out[0] if len(out) == 1 else b"".join(out)


def _deflate(data: Body) -> Body:
    return _inflated(isal_zlib.decompressobj(wbits=zlib.MAX_WBITS), data, MAX_BODY_BYTES + 1, "deflate")


def _inflated(stream: Any, data: Body, room: int, name: str) -> bytes:
    try:
        out = bytes(stream.decompress(data, max(room, 1)))
    except _GZIP_ERRORS as error:
        raise Malformed(f"not {name}: {error}") from None
    if len(out) >= room:
        raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes")
    if not stream.eof:
        raise Malformed(f"the {name} stream ended early")
    return out


_END = b"flowgate: the last frame is whole"
_END_FRAME = zstandard.ZstdCompressor(write_checksum=True).compress(_END)


def _zstd(data: Body) -> Body:
    """All frames, none over the limit; a frame may not ask for a window over 8 MiB (RFC 8878, 3.1.1.1.2).

    The library's bounded reader ends silently in the middle of a frame. So a frame of ours is read after the last: it comes out only when
    that one was whole.
    """
    if not data:
        raise Malformed("not zstd: no frame at all")
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=8 * 2**20).stream_reader(bytes(data) + _END_FRAME, read_across_frames=True)
        out = reader.read(MAX_BODY_BYTES + len(_END) + 1)
    except zstandard.ZstdError as error:
        raise Malformed(f"not zstd: {error}") from None
    if len(out) > MAX_BODY_BYTES + len(_END):
        raise TooLarge(f"a body has at most {MAX_BODY_BYTES} bytes")
    if not out.endswith(_END):
        raise Malformed("the zstd stream ended early")
    return out[: -len(_END)]


inflaters: Mapping[str, Callable[[Body], Body]] = {
    "": _identity,
    "identity": _identity,
    "gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}


def encoded(message: Message, encoding: Encoding) -> bytes:
    return message.SerializeToString() if encoding == "protobuf" else json_format.MessageToJson(message).encode()


def _content_type(encoding: Encoding) -> str:
    return "application/x-protobuf" if encoding == "protobuf" else "application/json"


class Answer(NamedTuple):
    """Of an export over HTTP."""

    status: int
    body: bytes
    kind: str
    extra: Mapping[bytes, bytes] = MappingProxyType({})


def accepted(signal: Signal, kept: Kept, encoding: Encoding) -> Answer:
    body = encoded(response(signal, kept), encoding) if kept.rejected or encoding == "json" else b""
    return Answer(200, body, _content_type(encoding))


def refusal(error: FlowgateError, encoding: Encoding) -> Answer:
    """A `google.rpc.Status` in the request's encoding, as OTLP asks."""
    status, code = http_status(error)
    body = encoded(status_pb2.Status(code=code, message=str(error)), encoding)
    extra = {b"retry-after": f"{max(1, round(error.retry_after))}".encode()} if isinstance(error, Busy) else {}
    return Answer(status, body, _content_type(encoding), extra)


async def _answer(send: Send, status: int, body: bytes, kind: str, extra: Mapping[bytes, bytes] | None = None) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *(extra or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Guarded(HttpToolsProtocol):
    """uvicorn's connection with what it lacks: deadlines for headers and body, a bound on connections a source, bodies handed on whole."""

    sources: ClassVar[Counter[str]] = Counter()
    opened: ClassVar[set[Guarded]] = set()
    in_flight: ClassVar[int] = 0
    """Bytes of bodies being received, over all connections."""
    _since: float | None = None
    """When what it waits for began; None between requests."""
    _patience = HEADER_SECONDS
    _source = ""
    _size = 0

    @classmethod
    def sweep(cls, now: float) -> int:
        """Ends the connections whose deadline is over; called every second. Returns how many."""
        late = [c for c in cls.opened if c.late(now)]
        for connection in late:
            connection.transport.abort()
        return len(late)

    @classmethod
    def forgive(cls, seconds: float) -> None:
        """The loop itself was away so long: no client is late for that."""
        if seconds > 0:
            for connection in cls.opened:
                connection.wait_longer(seconds)

    def wait_longer(self, seconds: float) -> None:
        if self._since is not None:
            self._since += seconds

    def late(self, now: float) -> bool:
        return self._since is not None and now - self._since > self._patience

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        socket = cast("asyncio.Transport", transport)
        super().connection_made(socket)
        self._parts: list[bytes] = []
        self._source = (socket.get_extra_info("peername") or ("",))[0]
        self.opened.add(self)
        self.sources[self._source] += 1
        self._since = self.loop.time()
        if self.sources[self._source] > MAX_CONNECTIONS_PER_SOURCE:
            socket.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._emptied()
        self.opened.discard(self)
        self.sources[self._source] -= 1
        if not self.sources[self._source]:
            del self.sources[self._source]
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._since, self._patience = self.loop.time(), HEADER_SECONDS
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._patience = BODY_SECONDS
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Kept aside until the body is whole: uvicorn would wake the application for every 64 KiB. What is over the limit is not kept."""
        if self._size <= MAX_BODY_BYTES:
            self._parts.append(body)
            self._size += len(body)
            Guarded.in_flight += len(body)
            if Guarded.in_flight > MAX_IN_FLIGHT_BYTES:
                cast("Scope", self.scope)["flowgate.busy"] = True
                self._emptied()
                self._size = MAX_BODY_BYTES + 1

    def on_message_complete(self) -> None:
        self._since = None
        if self._parts:
            # Declared as a bytearray, which uvicorn copies to bytes; bytes it hands on as they are.
            cycle = cast("Any", self.cycle)
            cycle.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._emptied()
        super().on_message_complete()

    def _emptied(self) -> None:
        if self._parts:
            Guarded.in_flight -= sum(map(len, self._parts))
            self._parts = []
        self._size = 0
