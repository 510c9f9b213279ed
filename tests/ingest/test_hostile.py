"""What is sent to hurt: bombs, bodies that grow when read, connections that never finish. The tap answers, stays small, and serves the others."""

from __future__ import annotations

import concurrent.futures
import gzip
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import zstandard
from isal import isal_zlib

from controlplane.processes import Child, Children, free_port, python, says_ready, wait_until
from ingest import server
from ingest.otlp import Malformed
from tests.ingest.mutate import varint
from tests.ingest.otlp_bodies import gauge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
PROTOBUF = "application/x-protobuf"
SPARE_MIB = 400
"""What hostile bodies may add: 32 gRPC bodies in both forms at 16 MiB each would be a GiB; what is refused early is never held."""


COMPILE_SECONDS = 300.0
"""The first time takes 60 to 80 s of one core, which other tests may have."""


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


CODECS: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda d: gzip.compress(d, 9), "deflate": zlib.compress, "zstd": _zstd}


class Tap:
    def __init__(self, children: Children, folder: Path) -> None:
        self.http, self.grpc = free_port(), free_port()
        argv = python(
            "-m", "ingest", "--workers", "1", "--data", str(folder), "--http", f"127.0.0.1:{self.http}", "--grpc", f"127.0.0.1:{self.grpc}"
        )
        self.child: Child = children.start("tap", argv, None, ROOT)
        wait_until("the tap", lambda: says_ready(self.child), 30, self.child)
        wait_until("its compiled engine", lambda: self.stats()["decoder"] == "compiled", COMPILE_SECONDS, self.child)

    def stats(self) -> dict[str, object]:
        return httpx.get(f"http://127.0.0.1:{self.http}/stats").json()

    def post(self, body: bytes, encoding: str = "", signal: str = "metrics", kind: str = PROTOBUF) -> httpx.Response:
        headers = {"content-type": kind, **({"content-encoding": encoding} if encoding else {})}
        return httpx.post(f"http://127.0.0.1:{self.http}/v1/{signal}", content=body, headers=headers, timeout=60)

    def rss(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.child.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    folder = tmp_path_factory.mktemp("hostile")
    with Children(folder) as children:
        yield Tap(children, folder / "store")


def good() -> bytes:
    return gauge(1.0, at=time.time_ns()).SerializeToString()


@pytest.mark.parametrize("encoding", ["", *CODECS])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_limit_after_inflation_is_exact(encoding: str, extra: int) -> None:
    """An unknown field of any length fills the body: its size alone decides."""
    data = b"\0" * (server.MAX_BODY_BYTES + extra)
    squeezed = CODECS[encoding](data) if encoding else data
    if extra > 0 and encoding:
        with pytest.raises(server.TooLarge):
            server.inflaters[encoding](squeezed)
    else:
        assert len(server.inflaters[encoding](squeezed)) == len(data)


@pytest.mark.parametrize("encoding", list(CODECS))
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_stream_is_refused(encoding: str, damage: str) -> None:
    whole = CODECS[encoding](b"hello " * 100)
    broken = {"cut": whole[: len(whole) // 2], "flipped": b"\xff" + whole[1:], "empty": b""}[damage]
    with pytest.raises(Malformed):
        server.inflaters[encoding](broken)


def test_a_zstd_stream_of_two_frames_is_read_whole() -> None:
    assert server.inflaters["zstd"](CODECS["zstd"](b"one ") + CODECS["zstd"](b"two")) == b"one two"


def test_a_gzip_stream_of_two_members_is_read_whole() -> None:
    assert server.inflaters["gzip"](gzip.compress(b"one ") + isal_zlib.compress(b"two", wbits=31)) == b"one two"


def test_forty_bombs_are_refused_quickly_and_cost_little(tap: Tap) -> None:
    bombs = [(name, codec(b"\0" * (100 * 2**20))) for name, codec in CODECS.items()]
    bombs = [(name, body) for name, body in bombs if len(body) < server.MAX_BODY_BYTES]
    tap.post(good())
    before = tap.rss()
    for round_ in range(40):
        name, body = bombs[round_ % len(bombs)]
        signal = ("metrics", "logs", "traces")[round_ % 3]
        began = time.monotonic()
        assert tap.post(body, name, signal).status_code == 413
        assert time.monotonic() - began < 1.0
    with grpc.insecure_channel(f"127.0.0.1:{tap.grpc}", options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\0" * (100 * 2**20), compression=grpc.Compression.Gzip, timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert tap.rss() - before < 64 + server.MAX_BODY_BYTES / 2**20
    assert tap.post(good()).status_code == 200


def amplifiers() -> list[bytes]:
    """Bodies of 4 MiB that are all structure: empty messages, one inside the other's list, at every level."""
    size = 4 * 2**20

    def nest(*tags: int) -> bytes:
        inner = b"\x0a\x00" * (size // 2)
        for tag in tags:
            inner = bytes([tag]) + varint(len(inner)) + inner
        return inner

    level = [b"\x0a\x00" * (size // 2), nest(0x0A), b"\x0a" + varint(size) + b"\x12\x00" * (size // 2), nest(0x0A, 0x0A)]
    scope = b"\x12\x00" * (size // 2)
    metrics = b"\x12" + varint(len(scope)) + scope
    level.append(b"\x0a" + varint(len(metrics)) + metrics)
    points = b"\x0a\x00" * (size // 2)
    for field in (0x2A, 0x3A, 0x4A, 0x52, 0x5A):
        gauge_ = bytes([field]) + varint(len(points)) + points
        metric = b"\x12" + varint(len(gauge_)) + gauge_
        scoped = b"\x12" + varint(len(metric)) + metric
        level.append(b"\x0a" + varint(len(scoped)) + scoped)
    return level


def test_bodies_that_grow_when_read_do_not_grow_the_tap(tap: Tap) -> None:
    tap.post(good())
    before = tap.rss()
    bodies = amplifiers()
    assert len(bodies) == 10
    peak = before
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(tap.post, body) for body in bodies for _ in range(4)]
        while any(not w.done() for w in waiting):
            peak = max(peak, tap.rss())
            time.sleep(0.02)
        codes = {w.result().status_code for w in waiting}
    assert codes <= {200, 400, 413, 429}
    assert peak - before < SPARE_MIB
    assert tap.post(good()).status_code == 200


def slow_connections(port: int, count: int) -> list[socket.socket]:
    """Connections from other loopback addresses that send half a header and then nothing."""
    made: list[socket.socket] = []
    for number in range(count):
        connection = socket.socket()
        connection.bind((f"127.0.0.{2 + number % 8}", 0))
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-")
        made.append(connection)
    return made


def latencies(tap: Tap, count: int = 200) -> float:
    """p99 of good requests on one connection, in seconds."""
    seen: list[float] = []
    with httpx.Client() as client:
        for _ in range(count):
            began = time.perf_counter()
            answer = client.post(f"http://127.0.0.1:{tap.http}/v1/metrics", content=good(), headers={"content-type": PROTOBUF})
            seen.append(time.perf_counter() - began)
            assert answer.status_code == 200
    return sorted(seen)[int(count * 0.99) - 1]


def test_a_thousand_slow_connections_end_and_the_others_do_not_notice(tap: Tap) -> None:
    base = max(latencies(tap), 0.005)
    slow = slow_connections(tap.http, 1000)
    try:
        during = latencies(tap)
        assert during < max(2 * base, 0.05)
        deadline = time.monotonic() + server.HEADER_SECONDS + 5
        ended = 0
        while ended < len(slow) and time.monotonic() < deadline:
            ended = sum(_ended(s) for s in slow)
            time.sleep(0.2)
        assert ended == len(slow), "a connection without a header outlived its deadline"
    finally:
        for connection in slow:
            connection.close()


def _ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_more_connections_than_a_source_may_have_are_ended_at_once(tap: Tap) -> None:
    made = [socket.create_connection(("127.0.0.1", tap.http), source_address=("127.0.0.77", 0)) for _ in range(205)]
    try:
        deadline = time.monotonic() + 3
        while sum(_ended(c) for c in made) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert 5 <= sum(_ended(c) for c in made) < 205
        assert tap.post(good()).status_code == 200
    finally:
        for connection in made:
            connection.close()


def test_an_end_under_load_drains_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    from analyzer.reader import open_tap

    with Children(tmp_path) as children:
        mine = Tap(children, tmp_path / "store")
        sent = sum(mine.post(good()).status_code == 200 for _ in range(50))
        mine.child.process.terminate()
        assert mine.child.process.wait(timeout=15) == 0
    row = open_tap(tmp_path / "store").execute("SELECT sum(count) FROM points").fetchone()
    assert row is not None
    assert row[0] == sent


def test_the_collectors_exporters_are_understood(tap: Tap, tmp_path: Path) -> None:
    """otlp (none, gzip) and otlphttp (none, gzip, zstd) of the real Collector scraping the tap's neighbour, none of it by the library."""
    binary = ROOT / "gateway" / "build"
    node, health = free_port(), free_port()
    exporters = {f"otlp/{c}": {"endpoint": f"127.0.0.1:{tap.grpc}", "tls": {"insecure": True}, "compression": c} for c in ("none", "gzip")}
    exporters |= {f"otlphttp/{c}": {"endpoint": f"http://127.0.0.1:{tap.http}", "compression": c} for c in ("none", "gzip", "zstd")}
    job = {"job_name": "node", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{node}"]}]}
    config = {
        "receivers": {"prometheus": {"config": {"scrape_configs": [job]}}},
        "exporters": exporters,
        "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {f"metrics/{name.replace('/', '_')}": {"receivers": ["prometheus"], "exporters": [name]} for name in exporters},
        },
    }
    import json

    (tmp_path / "c.yaml").write_text(json.dumps(config))
    before = tap.stats()
    with Children(tmp_path) as children:
        children.start("node", [str(binary / "node_exporter"), f"--web.listen-address=127.0.0.1:{node}"])
        child = children.start("collector", [str(binary / "otelcol-flowgate"), "--config", str(tmp_path / "c.yaml")])
        wait_until("points of five exporters", lambda: int(str(tap.stats()["points"])) > int(str(before["points"])) + 10_000, 60, child)
        log = child.log.read_text()
    after = tap.stats()
    assert "Exporting failed" not in log
    assert after["by_library"] == before["by_library"], "a real Collector's bodies take the fast path"


def test_a_first_start_serves_before_anything_is_compiled(tmp_path: Path) -> None:
    """With an empty cache the library answers at once, and the compiled engine follows."""
    port = free_port()
    ports = ("--http", f"127.0.0.1:{port}", "--grpc", f"127.0.0.1:{free_port()}")
    argv = python("-m", "ingest", "--workers", "1", "--data", str(tmp_path / "s"), *ports)
    with Children(tmp_path) as children:
        began = time.monotonic()
        child = children.start("tap", argv, {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}, ROOT)
        wait_until("the tap", lambda: says_ready(child), 20, child, every=0.02)
        ready = time.monotonic() - began
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/metrics", content=good(), headers={"content-type": PROTOBUF})
        assert answer.status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/stats").json()["decoder"] == "library"
        wait_until(
            "the compiled engine",
            lambda: httpx.get(f"http://127.0.0.1:{port}/stats").json()["decoder"] == "compiled",
            COMPILE_SECONDS,
            child,
        )
        assert httpx.get(f"http://127.0.0.1:{port}/stats").json()["points"] == 1, "what the library counted stays counted"
    print(f"ready in {ready:.2f} s")
    assert ready < 10


def test_without_numba_the_library_serves_and_the_tap_says_why(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "numba.py").write_text("raise ImportError('there is no numba here')")
    port = free_port()
    ports = ("--http", f"127.0.0.1:{port}", "--grpc", f"127.0.0.1:{free_port()}")
    argv = python("-m", "ingest", "--workers", "1", "--data", str(tmp_path / "s"), *ports)
    with Children(tmp_path) as children:
        child = children.start("tap", argv, {"PYTHONPATH": str(tmp_path / "hidden")}, ROOT)
        wait_until("the tap", lambda: says_ready(child), 20, child, every=0.02)
        wait_until("the reason", lambda: "the library stays" in child.log.read_text(), 30, child)
        assert httpx.post(f"http://127.0.0.1:{port}/v1/metrics", content=good(), headers={"content-type": PROTOBUF}).status_code == 200
        said = httpx.get(f"http://127.0.0.1:{port}/stats").json()
        assert (said["decoder"], said["points"]) == ("library", 1)


def test_the_compiler_can_be_run_alone() -> None:
    done = subprocess.run(python("-m", "ingest.warm"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("compiled in")
