"""kill -9 at any moment: what was sealed stays whole, what was acknowledged before the last write is there, and the tap is back in three seconds.

`FLOWGATE_KILLS` (20 in CI, 200 in release-checks) under our own sender, which asks again; `FLOWGATE_COLLECTOR_KILLS` (3, 10) under a real
Collector with the exporter of the gateway's base configuration, which does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import ryaml

from analyzer.reader import open_tap
from controlplane.processes import Child, Children, free_port, is_free, python, says_ready, wait_until
from tests.ingest.otlp_bodies import gauge

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("FLOWGATE_KILLS", "20"))
COLLECTOR_KILLS = int(os.environ.get("FLOWGATE_COLLECTOR_KILLS", "3"))
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 + 15 * max(KILLS, 3 * COLLECTOR_KILLS))]
LOSS_SECONDS = 2.0
"""docs/tap.md: what was acknowledged is on disk within a second; twice that on a machine that does other things too. Where writing took longer,
`unwritten_seconds` on /stats said so before the kill."""
READY_SECONDS = 3.0
BATCH_SECONDS = 3.0
"""Of the base configuration: a copy waits a second in the batch, and at most two in an export."""
RECONNECT_SECONDS = 4.0
"""gRPC's connection backoff (its doc/connection-backoff.md) after a tap was away for at most three seconds: 1 s, then 1.6, each by 20 % more or less."""


@dataclass(slots=True)
class Sender:
    """Sends one new series after another, each until it is acknowledged, with 100 ms between tries; remembers when each was."""

    url: str
    acknowledged: dict[int, float] = field(default_factory=dict[int, float])
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        with httpx.Client(timeout=2.0) as client:
            while not self.stop.is_set():
                if self._sent(client, number):
                    self.acknowledged[number] = time.monotonic()
                    number += 1
                    time.sleep(0.005)
                else:
                    time.sleep(0.1)

    def _sent(self, client: httpx.Client, number: int) -> bool:
        body = gauge(float(number), labels={"number": str(number)}, at=time.time_ns()).SerializeToString()
        try:
            return client.post(self.url, content=body, headers={"content-type": "application/x-protobuf"}).status_code == 200
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def sending(sender: Sender) -> Generator[None]:
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield
    finally:
        sender.stop.set()
        thread.join()


def two_ports() -> int:
    """A free port whose successor is free too."""
    while not is_free((port := free_port()) + 1):
        pass
    return port


def start(children: Children, store: Path, http: int) -> tuple[Child, float]:
    """gRPC listens on the port after HTTP's."""
    began = time.monotonic()
    argv = python(
        "-m", "ingest", "--data", str(store), "--grpc", f"127.0.0.1:{http + 1}", "--http", f"127.0.0.1:{http}", "--seal-seconds", "2",
        "--workers", "1",
    )  # fmt: skip
    child = children.start(f"tap-{free_port()}", argv, None, ROOT)
    wait_until("the tap", lambda: says_ready(child), 20, child, every=0.02)
    return child, time.monotonic() - began


def unwritten(http: int) -> float:
    """What docs/tap.md says that a kill can lose now, in seconds; what the tap does not answer is on the safe side."""
    began = time.monotonic()
    try:
        said = httpx.get(f"http://127.0.0.1:{http}/stats", timeout=60).json()["unwritten_seconds"]
    except httpx.TransportError:
        return LOSS_SECONDS
    return max(LOSS_SECONDS, float(said) + time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Kill:
    """One: when, when the process was gone, how much might be unwritten, when the tap was ready again and how long that took."""

    at: float
    gone: float
    unwritten: float
    back: float
    took: float


def killed(children: Children, child: Child, store: Path, http: int) -> tuple[Child, Kill]:
    """Kills the tap, looks whether what was sealed is as it was, and starts it again."""
    sealed, lost, at = sums(listed(store)), unwritten(http), time.monotonic()
    child.process.send_signal(signal.SIGKILL)
    child.process.wait()
    gone = time.monotonic()
    assert sums(list(sealed)) == sealed, "a sealed segment changed or went"
    again, took = start(children, store, http)
    return again, Kill(at, gone, lost, time.monotonic(), took)


def found_in(store: Path) -> set[int]:
    """Numbers that a reader finds; each of them has its points too."""
    db = open_tap(store)
    numbers = {int(row[0]) for row in db.execute("SELECT value FROM kv WHERE key = 'number'").fetchall()}
    counted = db.execute("SELECT count(*) FROM points").fetchone()
    assert counted is not None
    assert counted[0] >= len(numbers) > 0
    assert not list(store.glob(".tmp-*"))
    return numbers


def listed(store: Path) -> list[Path]:
    """Every sealed file that a reader would open now."""
    manifest = store / "manifest.json"
    segments = json.loads(manifest.read_text())["segments"] if manifest.exists() else []
    return [file for segment in segments for file in sorted((store / segment["path"]).iterdir())]


def sums(files: list[Path]) -> dict[Path, str]:
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_kill_loses_no_more_than_the_docs_say(tmp_path: Path) -> None:
    dice = random.Random(4)
    store, http = tmp_path / "store", two_ports()
    sender = Sender(f"http://127.0.0.1:{http}/v1/metrics")
    kills: list[Kill] = []
    with Children(tmp_path) as children, sending(sender):
        child, _ = start(children, store, http)
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.2, 3.5))
            child, kill = killed(children, child, store, http)
            kills.append(kill)
        time.sleep(LOSS_SECONDS)
        sender.stop.set()
        child.stop()
    lost = set(sender.acknowledged) - found_in(store)
    slowest = max(kill.took for kill in kills)
    print(f"{KILLS} kills, {len(sender.acknowledged)} acknowledged, {len(lost)} lost, slowest start {slowest:.2f} s")
    # An answer that was under way at the kill is noted by the sender a little after it.
    early = [n for n in lost if not any(k.at - k.unwritten <= sender.acknowledged[n] <= k.gone + 0.3 for k in kills)]
    assert early == [], "lost although acknowledged long before any kill"
    assert slowest < READY_SECONDS


def collector_config(tap_grpc: int, otlp: int) -> str:
    """The base configuration's copy of metrics to the tap, alone."""
    base = ryaml.loads((ROOT / "gateway" / "base.yaml").read_text())
    exporter = base["exporters"]["otlp/tap_in"] | {"endpoint": f"127.0.0.1:{tap_grpc}"}
    assert exporter["retry_on_failure"] == {"enabled": False}
    return json.dumps(
        {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{otlp}"}}}},
            "processors": {"batch/tap_in": base["processors"]["batch/tap_in"]},
            "exporters": {"otlp/tap_in": exporter | {"headers": {"x-flowgate-side": "in"}}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["otlp"], "processors": ["batch/tap_in"], "exporters": ["otlp/tap_in"]}},
            },
        }
    )


@pytest.mark.binary
def test_a_kill_under_a_real_collector_loses_what_it_sent_around_it_and_nothing_else(tmp_path: Path) -> None:
    """The Collector does not ask again: what it had for the tap while that was away, and until it is connected again, is lost with the rest."""
    dice = random.Random(5)
    store, http, otlp = tmp_path / "store", two_ports(), free_port()
    sender = Sender(f"http://127.0.0.1:{otlp}/v1/metrics")
    (tmp_path / "collector.yaml").write_text(collector_config(http + 1, otlp))
    kills: list[Kill] = []
    with Children(tmp_path) as children, sending(sender):
        child, _ = start(children, store, http)
        gateway = children.start(
            "gateway", [str(ROOT / "gateway" / "build" / "otelcol-flowgate"), "--config", str(tmp_path / "collector.yaml")]
        )
        wait_until("the first answer of the Collector", lambda: len(sender.acknowledged) > 0, 30, gateway)
        for _ in range(COLLECTOR_KILLS):
            time.sleep(BATCH_SECONDS + RECONNECT_SECONDS + dice.uniform(1.5, 4.0))
            child, kill = killed(children, child, store, http)
            kills.append(kill)
        time.sleep(BATCH_SECONDS + RECONNECT_SECONDS + 1)
        sender.stop.set()
        time.sleep(BATCH_SECONDS)
        child.stop()
    lost = set(sender.acknowledged) - found_in(store)
    spans = [(k.at - k.unwritten - BATCH_SECONDS, k.back + RECONNECT_SECONDS) for k in kills]
    safe = {n for n, at in sender.acknowledged.items() if not any(begin <= at <= end for begin, end in spans)}
    slowest, longest = max(kill.took for kill in kills), longest_loss(sender, lost, kills)
    print(
        f"{COLLECTOR_KILLS} kills, {len(sender.acknowledged)} sent, {len(lost)} lost, at most {longest:.1f} s of one kill, start {slowest:.2f} s"
    )
    assert len(safe) > 20 * COLLECTOR_KILLS
    assert lost & safe == set(), "lost although sent long before a kill or long after the tap was back"
    assert slowest < READY_SECONDS


def longest_loss(sender: Sender, lost: set[int], kills: list[Kill]) -> float:
    """Seconds from the first to the last that one kill cost."""
    nearest: dict[float, list[float]] = {}
    for number in lost:
        at = sender.acknowledged[number]
        nearest.setdefault(min((k.at for k in kills), key=lambda kill: abs(kill - at)), []).append(at)
    return max((max(times) - min(times) for times in nearest.values()), default=0.0)
