"""`flowgate bench tap`: the tap against a Collector 0.161.0 that writes what it receives to a file, or drops it; one core each, interleaved.

Every contender runs on core 0, the loader on core 1, with the same bodies. `make bench-peers` builds the Collector.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.bodies import scrapes
from bench.loader import write
from bench.report import Bar, median, say, show

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "gateway" / "build" / "benchcol"
ROUNDS = int(os.environ.get("FLOWGATE_BENCH_ROUNDS", "3"))
EXPORTERS = {"file_json": {"file/a": {"format": "json"}}, "file_proto": {"file/a": {"format": "proto"}}, "nop": {"nop": {}}}
Seen = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs: its process and its ports."""

    pid: int
    http: int
    grpc: int


@contextmanager
def peer(kind: str, folder: Path, port: int) -> Iterator[Contender]:
    """The Collector with one exporter, no batching, its own telemetry off."""
    name, options = next(iter(EXPORTERS[kind].items()))
    if kind != "nop":
        options = {**options, "path": str(folder / f"{kind}.out")}
    protocols = {"http": {"endpoint": f"127.0.0.1:{port}"}, "grpc": {"endpoint": f"127.0.0.1:{port + 1}", "max_recv_msg_size_mib": 64}}
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {name: options},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": [name]}},
        },
    }
    path = folder / f"{kind}.yaml"
    path.write_text(json.dumps(config))
    with running([str(PEER), "--config", str(path)], {"GOMAXPROCS": "1"}, folder) as pid:
        wait(
            lambda: httpx.post(f"http://127.0.0.1:{port}/v1/metrics", headers={"content-type": "application/x-protobuf"}).status_code == 200
        )
        yield Contender(pid, port, port + 1)
    (folder / f"{kind}.out").unlink(missing_ok=True)


@contextmanager
def tap(folder: Path, port: int, *args: str) -> Iterator[Contender]:
    """The tap in its default mode, once its compiled engine is in."""
    argv = [
        sys.executable,
        "-m",
        "ingest",
        "--data",
        str(folder / f"tap-{port}"),
        "--http",
        f"127.0.0.1:{port}",
        "--grpc",
        f"127.0.0.1:{port + 1}",
    ]
    with running([*argv, *args], {}, folder) as pid:
        wait(lambda: stats(port).get("decoder") == "compiled")
        yield Contender(pid, port, port + 1)


def stats(port: int) -> Mapping[str, object]:
    return httpx.get(f"http://127.0.0.1:{port}/stats").json()


@contextmanager
def running(argv: list[str], env: Mapping[str, str], folder: Path) -> Iterator[int]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["taskset", "-c", "0", *argv], env={**os.environ, **env}, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("a contender did not come up")
        time.sleep(0.1)


def load(contender: Contender, bodies: Path, transport: str, *args: str, seconds: float = 2.0) -> Seen:
    port = contender.http if transport == "http" else contender.grpc
    argv = [sys.executable, "-m", "bench.loader", str(bodies), "--port", str(port), "--transport", transport, "--pid", str(contender.pid)]
    done = subprocess.run([*argv, "--seconds", str(seconds), *args], check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def rss(pid: int) -> float:
    """Highest resident size so far, MiB."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def rate(seen: Seen) -> float:
    return seen["requests"] / seen["seconds"]


def per_cpu(seen: Seen) -> float:
    return seen["requests"] / max(seen["cpu_seconds"], 1e-9)


class Ports:
    """Ports below the kernel's ephemeral range, two at a time."""

    def __init__(self) -> None:
        self.at = 21_000 + os.getpid() % 400 * 10

    def take(self) -> int:
        self.at += 2
        return self.at


def race(
    name: str, bodies: Path, transport: str, folder: Path, ports: Ports, measure: Callable[[Seen], float], *args: str
) -> dict[str, float]:
    """Median of each contender over interleaved rounds."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for kind in ("tap", *EXPORTERS):
            with tap(folder, ports.take()) if kind == "tap" else peer(kind, folder, ports.take()) as contender:
                found.setdefault(kind, []).append(measure(load(contender, bodies, transport, *args)))
    say(f"{name}: " + ", ".join(f"{kind} {min(v):.1f}-{max(v):.1f}" for kind, v in found.items()) + " requests/s")
    return {kind: median(v) for kind, v in found.items()}


def bars(name: str, seen: Mapping[str, float], bounds: Mapping[str, float], points: int) -> list[Bar]:
    ratios = [Bar(f"{name}.{kind}", seen["tap"] / seen[kind], "ratio", at_least=least) for kind, least in bounds.items()]
    return [*ratios, Bar(f"{name}.rate", seen["tap"] * points / 1e6, "million points per second", at_least=0.0)]


def ratios(folder: Path, ports: Ports, files: Mapping[str, Path]) -> list[Bar]:
    """Throughput against the peers, plain and gzip."""
    found: list[Bar] = []
    http = {1000: (18, 11, 8), 8000: (15, 8, 5.5)}
    for size, bounds in http.items():
        seen = race(f"http {size}", files[str(size)], "http", folder, ports, rate)
        found += bars(f"tap.http_{size}", seen, dict(zip(EXPORTERS, bounds, strict=True)), size)
        seen = race(f"grpc {size}", files[str(size)], "grpc", folder, ports, rate)
        found += bars(f"tap.grpc_{size}", seen, dict(zip(EXPORTERS, (10, 5.5, 4), strict=True)), size)
    for transport, least in (("http", 5.0), ("grpc", 1.6)):
        seen = race(f"{transport} gzip", files["1000"], transport, folder, ports, per_cpu, "--gzip")
        found += bars(f"tap.{transport}_gzip_per_cpu", seen, {"nop": least}, 1000)
    seen = race("http 20", files["20"], "http", folder, ports, rate)
    found += bars("tap.http_20", seen, {"nop": 1.0}, 20)
    return found


def points_kept(folder: Path, ports: Ports, files: Mapping[str, Path]) -> list[Bar]:
    """Every point kept for 60 s: the rate over all of it, and what waits at its end."""
    with tap(folder, ports.take(), "--keep-points") as contender:
        seen = load(contender, files["1000"], "http", seconds=60)
        waiting = stats(contender.http)["pending"]
        say(f"every point: {rate(seen):.0f} requests/s, {waiting} rows waiting, RSS {rss(contender.pid):.0f} MiB")
    with peer("file_json", folder, ports.take()) as contender:
        theirs = load(contender, files["1000"], "http", seconds=10)
    return [Bar("points.http_1000.file_json", rate(seen) / rate(theirs), "ratio", at_least=5)]


def memory(folder: Path, ports: Ports, files: Mapping[str, Path]) -> list[Bar]:
    """Resident size at 50 thousand and a million series; p99 at 80 % of capacity; start."""
    began = time.perf_counter()
    with tap(folder, ports.take()) as contender:
        ready = time.perf_counter() - began
        full = load(contender, files["1000"], "http", seconds=5)
        small = rss(contender.pid)
        part = load(contender, files["1000"], "http", "--rate", str(rate(full) * 0.8), seconds=10)
    with tap(folder, ports.take()) as contender:
        load(contender, files["million"], "http", seconds=20)
        large = rss(contender.pid)
    return [
        Bar("memory.50k_series.rss", small, "MiB", at_most=512),
        Bar("memory.1m_series.rss", large, "MiB", at_most=1536),
        Bar("latency.p99_at_80_percent.http", part["p99"] * 1000, "ms", at_most=25),
        Bar("start.warm.compiled", ready, "s", at_most=10),
    ]


def main() -> None:
    if not PEER.exists():
        raise SystemExit("the peer is not built: make bench-peers")
    with tempfile.TemporaryDirectory() as name:
        folder, ports, now = Path(name), Ports(), time.time_ns()
        files = {k: folder / f"{k}.bin" for k in ("1000", "8000", "20", "million")}
        for points in (1000, 8000, 20):
            write(files[str(points)], scrapes(96, 1, points, now))
        found = ratios(folder, ports, files)
        found += points_kept(folder, ports, files)
        write(files["million"], scrapes(2000, 1, 8000, now))
        found += memory(folder, ports, files)
        show(found)


if __name__ == "__main__":
    main()
