"""gRPC calls are bounded by the address they come from, and by the time their body may take, at n - 1, n and n + 1."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from controlplane.processes import free_port, wait_until
from flowgate.errors import Busy
from ingest.calls import ACTIVE_SECONDS, MAX_CALLS, MAX_CALLS_PER_SOURCE, MAX_STREAMS, Calls
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.segments import SegmentStore
from ingest.server import Patience, Tap, grpc_server
from ingest.tap import Buffer
from ingest.tokens import FileTokens
from tests.ingest.otlp_bodies import gauge

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def bounded(connections: int = 200) -> tuple[Calls, Clock]:
    clock = Clock()
    return Calls(clock, 15.0, connections), clock


# --- the bounds by themselves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "taken"), [(MAX_CALLS_PER_SOURCE - 2, True), (MAX_CALLS_PER_SOURCE - 1, True), (MAX_CALLS_PER_SOURCE, False)]
)
def test_one_source_has_so_many_calls_and_another_has_its_own(before: int, taken: bool) -> None:
    calls, _ = bounded()
    for _ in range(before):
        calls.begin("ipv4:10.0.0.1:1", lambda: None)
    with contextlib.nullcontext() if taken else pytest.raises(Busy, match="of one address"):
        calls.begin("ipv4:10.0.0.1:2", lambda: None)
    calls.begin("ipv4:10.0.0.2:1", lambda: None)


@pytest.mark.parametrize(("before", "taken"), [(MAX_CALLS - 2, True), (MAX_CALLS - 1, True), (MAX_CALLS, False)])
def test_all_sources_together_have_so_many(before: int, taken: bool) -> None:
    calls, _ = bounded()
    begun = [calls.begin(f"ipv4:10.0.0.{n % 4}:1", lambda: None) for n in range(before)]
    with contextlib.nullcontext() if taken else pytest.raises(Busy, match="at once"):
        calls.begin("ipv4:10.0.9.9:1", lambda: None)
    for call in begun:
        calls.end(call)
    assert calls.begin("ipv4:10.0.9.9:1", lambda: None)


def test_a_refused_call_is_not_counted() -> None:
    calls, _ = bounded()
    held = [calls.begin("a:1", lambda: None) for _ in range(MAX_CALLS_PER_SOURCE)]
    for _ in range(5):
        with pytest.raises(Busy), calls.counted("a:1", lambda: None):
            pytest.fail("it was let in")
    calls.end(held[0])
    with calls.counted("a:1", lambda: None):
        pass
    with calls.counted("a:1", lambda: None):
        pass


@pytest.mark.parametrize(("ports", "taken"), [(1, True), (2, True), (3, False)])
def test_connections_of_one_source_are_bounded_until_they_are_quiet(ports: int, taken: bool) -> None:
    calls, clock = bounded(connections=2)
    for port in range(ports - 1):
        with calls.counted(f"ipv6:%5B::1%5D:{port}", lambda: None):
            pass
    with (
        contextlib.nullcontext() if taken else pytest.raises(Busy, match="connections"),
        calls.counted(f"ipv6:%5B::1%5D:{ports}", lambda: None),
    ):
        pass
    clock.now += ACTIVE_SECONDS
    with calls.counted("ipv6:%5B::1%5D:99", lambda: None):
        pass


@pytest.mark.parametrize(("after", "late"), [(14.9, 0), (15.0, 1), (15.1, 1)])
def test_a_body_has_its_time_and_one_that_came_has_all(after: float, late: int) -> None:
    calls, clock = bounded()
    cancelled: list[str] = []
    calls.begin("a:1", lambda: cancelled.append("waits"))
    calls.received(calls.begin("a:1", lambda: cancelled.append("came")))
    clock.now = after
    assert calls.sweep() == late
    assert cancelled == ["waits"] * late


# --- in a server ---------------------------------------------------------------------------------------------------------------------


class Served:
    """A server in this process with little patience, swept often."""

    def __init__(self, folder: Path, patience: Patience | None = None, body_seconds: float = 30.0, connections: int = 200) -> None:
        self.store = SegmentStore.open(folder / "s", 5)
        self.tap = Tap(Library(Decoder(b"k"), Buffer()), self.store, FileTokens(None, time.monotonic), timedelta(hours=1))
        self.calls, self.port = Calls(time.monotonic, body_seconds, connections), free_port()
        self.server = grpc_server(self.tap, calls=self.calls, patience=patience)
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep)
        self._sweeper.start()

    def _sweep(self) -> None:
        while not self._stop.wait(0.1):
            self.calls.sweep()

    def close(self) -> None:
        self._stop.set()
        self._sweeper.join()
        self.server.stop(None).wait()
        self.store.close()


@contextlib.contextmanager
def serving(folder: Path, patience: Patience | None = None, body_seconds: float = 30.0, connections: int = 200) -> Iterator[Served]:
    made = Served(folder, patience, body_seconds, connections)
    try:
        yield made
    finally:
        made.close()


def channel(port: int) -> grpc.Channel:
    """With a connection of its own."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


def export(port: int) -> grpc.StatusCode:
    with channel(port) as own:
        return own.unary_unary(EXPORT).future(gauge(1.0, at=time.time_ns()).SerializeToString(), timeout=60).code()


class Slow:
    """Calls whose body does not come, on as many connections as they need."""

    def __init__(self, port: int, count: int) -> None:
        self.release = threading.Event()
        self.channels = [channel(port) for _ in range(-(-count // MAX_STREAMS))]
        self.calls = [self.channels[n // MAX_STREAMS].stream_unary(EXPORT).future(self._never(), timeout=60) for n in range(count)]

    def _never(self) -> Iterator[bytes]:
        self.release.wait()
        yield from ()

    def close(self) -> None:
        self.release.set()
        for one in self.channels:
            one.close()


@contextlib.contextmanager
def slow(port: int, count: int) -> Iterator[Slow]:
    made = Slow(port, count)
    try:
        yield made
    finally:
        made.close()


def under_way(served: Served) -> int:
    return served.calls._by_source.total()


@pytest.mark.parametrize(
    ("count", "code"),
    [
        (MAX_CALLS_PER_SOURCE - 1, grpc.StatusCode.OK),
        (MAX_CALLS_PER_SOURCE, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_slow_calls_of_one_source_leave_room_for_others(tmp_path: Path, count: int, code: grpc.StatusCode) -> None:
    """Bodies that do not come hold no one up: not the other calls of their source while there is room, never those of another."""
    with serving(tmp_path) as served, slow(served.port, count), elsewhere(served.port) as other:
        wait_until("the slow calls", lambda: under_way(served) == count, 20)
        assert export(served.port) is code
        began = time.monotonic()
        assert export(other) is grpc.StatusCode.OK
        assert time.monotonic() - began < 2


def test_who_is_told_to_come_back_is_told_when(tmp_path: Path) -> None:
    with serving(tmp_path) as served, slow(served.port, MAX_CALLS_PER_SOURCE), channel(served.port) as own:
        wait_until("the slow calls", lambda: under_way(served) == MAX_CALLS_PER_SOURCE, 20)
        call = own.unary_unary(EXPORT).future(b"", timeout=60)
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        said = dict(call.trailing_metadata() or ())["grpc-status-details-bin"]
        retry = error_details_pb2.RetryInfo()
        assert isinstance(said, bytes)
        assert status_pb2.Status.FromString(said).details[0].Unpack(retry)
        assert retry.retry_delay.seconds == 1


def test_a_body_that_is_late_ends_its_call(tmp_path: Path) -> None:
    with serving(tmp_path, body_seconds=1.0) as served, slow(served.port, 3) as calls:
        wait_until("the slow calls", lambda: under_way(served) == 3, 20)
        wait_until("their end", lambda: all(c.done() for c in calls.calls), 10)
        assert {c.code() for c in calls.calls} <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT}
        wait_until("their threads", lambda: under_way(served) == 0, 10)
        assert export(served.port) is grpc.StatusCode.OK


def test_a_call_without_a_body_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as served, channel(served.port) as own:
        assert own.stream_unary(EXPORT).future(iter(()), timeout=60).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_connections_of_one_source_are_bounded(tmp_path: Path) -> None:
    with serving(tmp_path, connections=3) as served, elsewhere(served.port) as other:
        assert [export(served.port).name for _ in range(4)] == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"]
        assert export(other) is grpc.StatusCode.OK


# --- bytes of HTTP/2 (RFC 9113) --------------------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_HEADERS = 1, 4
MAX_CONCURRENT_STREAMS, REFUSED_STREAM, ENHANCE_YOUR_CALM = 3, 7, 11


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(stream: int) -> bytes:
    """Of a call (RFC 7541: indexed :method POST and :scheme http, the rest literal and never indexed)."""

    def literal(name: str, value: str) -> bytes:
        return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    block = (
        b"\x83\x86"
        + literal(":path", EXPORT)
        + literal(":authority", "t")
        + literal("content-type", "application/grpc")
        + literal("te", "trailers")
    )
    return frame(HEADERS, END_HEADERS, stream, block)


class Raw:
    """A connection that says what we want it to say, and remembers what came."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.ended = False
        self._left = b""

    def hello(self) -> None:
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.until(lambda: any(kind == SETTINGS and not flags & ACK for kind, flags, _, _ in self.frames))
        self.socket.sendall(frame(SETTINGS, ACK, 0))

    def until(self, done: Callable[[], object], seconds: float = 5.0) -> bool:
        deadline = time.monotonic() + seconds
        while not done() and not self.ended and time.monotonic() < deadline:
            self._read(0.1)
        return bool(done())

    def _read(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        try:
            got = self.socket.recv(65536)
        except TimeoutError:
            return
        except OSError:
            got = b""
        self.ended = not got
        self._left += got
        while len(self._left) >= 9:
            size = int.from_bytes(self._left[:3], "big")
            if len(self._left) < 9 + size:
                return
            kind, flags, stream = self._left[3], self._left[4], int.from_bytes(self._left[5:9], "big")
            self.frames.append((kind, flags, stream, self._left[9 : 9 + size]))
            self._left = self._left[9 + size :]

    def of(self, kind: int) -> list[tuple[int, bytes]]:
        return [(stream, payload) for k, _, stream, payload in self.frames if k == kind]


@contextlib.contextmanager
def raw(port: int) -> Iterator[Raw]:
    made = Raw(port)
    try:
        yield made
    finally:
        made.socket.close()


@contextlib.contextmanager
def elsewhere(port: int) -> Iterator[int]:
    """A port from which bytes go on to the server as from 127.0.0.77."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = [listener]

    def pump(a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.77", 0))
                opened.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in opened:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def test_a_client_is_told_how_many_calls_a_connection_has(tmp_path: Path) -> None:
    with serving(tmp_path) as served, raw(served.port) as connection:
        connection.hello()
        (said,) = (payload for kind, flags, _, payload in connection.frames if kind == SETTINGS and not flags & ACK)
        settings = dict(struct.iter_unpack(">HI", said))
        assert settings[MAX_CONCURRENT_STREAMS] == MAX_STREAMS


@pytest.mark.parametrize(("count", "refused"), [(MAX_STREAMS - 1, 0), (MAX_STREAMS, 0), (MAX_STREAMS + 1, 1)])
def test_one_that_opens_more_has_them_refused(tmp_path: Path, count: int, refused: int) -> None:
    with serving(tmp_path) as served, raw(served.port) as connection:
        connection.hello()
        connection.until(lambda: any(kind == SETTINGS and flags & ACK for kind, flags, _, _ in connection.frames))
        connection.socket.sendall(b"".join(headers(2 * n + 1) for n in range(count)))
        wait_until("the calls", lambda: under_way(served) == count - refused, 10)
        connection.until(lambda: len(connection.of(RST_STREAM)) > refused, 0.5)
        codes = [int.from_bytes(payload, "big") for _, payload in connection.of(RST_STREAM)]
        assert codes == [REFUSED_STREAM] * refused
        assert not connection.of(GOAWAY)


@pytest.mark.parametrize(("pings", "calm"), [(2, True), (3, True), (4, False)])
def test_pings_that_come_too_soon_are_borne_twice(tmp_path: Path, pings: int, calm: bool) -> None:
    """The first is none of them."""
    with serving(tmp_path) as served, raw(served.port) as connection:
        connection.hello()
        for number in range(pings):
            connection.socket.sendall(frame(PING, 0, 0, struct.pack(">Q", number)))
            connection.until(lambda number=number: len(connection.of(PING)) > number, 1.0)
        connection.until(lambda: bool(connection.of(GOAWAY)), 0.5)
        codes = [int.from_bytes(payload[4:8], "big") for _, payload in connection.of(GOAWAY)]
        assert codes == [] if calm else ENHANCE_YOUR_CALM in codes


@pytest.mark.parametrize("said", ["nothing", "half a preface", "a preface without settings", "half a frame"])
def test_a_connection_that_does_not_say_hello_is_ended(tmp_path: Path, said: str) -> None:
    bytes_of = {
        "nothing": b"",
        "half a preface": PREFACE[:10],
        "a preface without settings": PREFACE,
        "half a frame": PREFACE + frame(SETTINGS, 0, 0)[:5],
    }
    with serving(tmp_path, Patience(hello=1.0)) as served, raw(served.port) as connection:
        connection.socket.sendall(bytes_of[said])
        began = time.monotonic()
        connection.until(lambda: False, 8.0)
        assert connection.ended
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("said", ["a hello", "half the headers of a call"])
def test_a_connection_that_does_nothing_is_ended(tmp_path: Path, said: str) -> None:
    with serving(tmp_path, Patience(idle=1.0, age=3.0)) as served, raw(served.port) as connection:
        connection.hello()
        if said != "a hello":
            connection.socket.sendall(headers(1)[:20])
        connection.until(lambda: bool(connection.of(GOAWAY)), 8.0)
        assert connection.of(GOAWAY)


@pytest.mark.parametrize(("opened", "taken"), [(1, 1), (2, 2), (3, 2)])
def test_all_sources_together_have_so_many_connections(tmp_path: Path, opened: int, taken: int) -> None:
    with serving(tmp_path, Patience(connections=2)) as served, contextlib.ExitStack() as held:
        made = [held.enter_context(raw(served.port)) for _ in range(opened)]
        for connection in made:
            connection.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        wait_until("their answers", lambda: all(c.until(lambda c=c: c.of(SETTINGS), 0.2) or c.ended for c in made), 10)
        assert sum(bool(c.of(SETTINGS)) for c in made) == taken


def test_thirty_two_slow_connections_do_not_keep_a_good_client_waiting(tmp_path: Path) -> None:
    """Half a body on every one: each call waits for the rest of its message, none holds a thread that works."""
    with serving(tmp_path) as served, contextlib.ExitStack() as opened, elsewhere(served.port) as other:
        for _ in range(MAX_CALLS):
            connection = opened.enter_context(raw(served.port))
            connection.hello()
            connection.socket.sendall(headers(1) + frame(DATA, 0, 1, b"\x00\x00\x00\x10\x00" + bytes(100)))
        wait_until("the slow calls", lambda: under_way(served) == MAX_CALLS_PER_SOURCE, 20)
        began = time.monotonic()
        assert all(export(other) is grpc.StatusCode.OK for _ in itertools.repeat(None, 8))
        assert time.monotonic() - began < 8
