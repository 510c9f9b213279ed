"""Who is measured: the tap, and a Collector 0.161.0 that writes what it receives to a file or drops it. All on core 0, one at a time; the loader on core 1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from bench.loader import Order, Seen
from controlplane.processes import free_port

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "gateway" / "build" / "benchcol"
SERVER_CORE, LOADER_CORE = "0", "1"
EXPORTERS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "file_json": {"file/a": {"format": "json"}},
    "file_proto": {"file/a": {"format": "proto"}},
    "nop": {"nop": {}},
}


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs: its process and its ports, and the file that it writes, if it is the Collector's."""

    kind: str
    pid: int
    http: int
    grpc: int
    file: Path | None = None

    def port(self, transport: str) -> int:
        return self.http if transport == "http" else self.grpc

    @contextmanager
    def awake(self) -> Generator[None]:
        """Others of its core stand still meanwhile: all do but one."""
        os.kill(self.pid, signal.SIGCONT)
        yield
        os.kill(self.pid, signal.SIGSTOP)
        if self.file is not None:
            os.truncate(self.file, 0)

    def rss(self) -> float:
        """Highest resident size so far, MiB."""
        line = next(x for x in Path(f"/proc/{self.pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def stats(self) -> Mapping[str, Any]:
        """The tap's own."""
        return httpx.get(f"http://127.0.0.1:{self.http}/stats", timeout=30).json()


@contextmanager
def peer(kind: str, folder: Path) -> Generator[Contender]:
    """The Collector with one exporter, no batching, its own telemetry off."""
    http, grpc = free_port(), free_port()
    name, options = next(iter(EXPORTERS[kind].items()))
    file = None if kind == "nop" else folder / f"{kind}.out"
    protocols = {"http": {"endpoint": f"127.0.0.1:{http}"}, "grpc": {"endpoint": f"127.0.0.1:{grpc}", "max_recv_msg_size_mib": 64}}
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {name: {**options, **({"path": str(file)} if file else {})}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": [name]}},
        },
    }
    path = folder / f"{kind}.yaml"
    path.write_text(json.dumps(config))
    url = f"http://127.0.0.1:{http}/v1/metrics"
    with running([str(PEER), "--config", str(path)], folder / f"{kind}.log", {"GOMAXPROCS": "1"}) as process:
        wait(lambda: httpx.post(url, headers={"content-type": "application/x-protobuf"}).status_code == 200)
        yield Contender(kind, process.pid, http, grpc, file)
    if file is not None:
        file.unlink(missing_ok=True)


@contextmanager
def tap(folder: Path, *args: str) -> Generator[Contender]:
    """The tap in its default mode, once its compiled engine is in."""
    with tap_at_start(folder, *args) as contender:
        wait(lambda: contender.stats()["decoder"] == "compiled")
        yield contender


@contextmanager
def tap_at_start(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> Generator[Contender]:
    """The tap as soon as it says that it is ready."""
    http, grpc = free_port(), free_port()
    log = folder / f"tap-{http}.log"
    argv = [sys.executable, "-m", "ingest", "--data", str(folder / f"tap-{http}")]
    argv += ["--http", f"127.0.0.1:{http}", "--grpc", f"127.0.0.1:{grpc}", *args]
    with running(argv, log, env or {}) as process:
        wait(lambda: b"ready" in log.read_bytes().split(), every=0.01)
        yield Contender("tap", process.pid, http, grpc)


@contextmanager
def running(argv: list[str], log: Path, env: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *argv], env={**os.environ, **env}, stdout=out, stderr=out, cwd=ROOT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(check: Callable[[], bool], seconds: float = 120, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("a contender did not come up")
        time.sleep(every)


@dataclass(frozen=True, slots=True)
class Loader:
    """The process that sends: one order at a time."""

    orders: IO[str]
    answers: IO[str]

    def begin(self, order: Order) -> None:
        self.orders.write(json.dumps(asdict(order)) + "\n")
        self.orders.flush()

    def end(self) -> Seen:
        line = self.answers.readline()
        if not line:
            raise SystemExit("the loader ended: see the lines above")
        return Seen(**json.loads(line))

    def load(self, order: Order) -> Seen:
        self.begin(order)
        return self.end()


@contextmanager
def loader() -> Generator[Loader]:
    argv = ["taskset", "-c", LOADER_CORE, sys.executable, "-m", "bench.loader"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Loader(process.stdin, process.stdout)
        process.stdin.close()
