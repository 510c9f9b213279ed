"""The Collector project's own load generator, of the gateway's version: every item it sends, of three signals and over both transports, is counted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyzer.reader import open_tap
from controlplane.processes import Children
from tests.ingest.test_hostile import ROOT, Tap

pytestmark = [pytest.mark.e2e, pytest.mark.binary, pytest.mark.timeout(300)]
GENERATOR = ROOT / "gateway" / "build" / "telemetrygen"
WORKERS, EACH = 2, 150
"""More than one batch of 100 from each of two senders at once."""
TRANSPORTS = ("grpc", "http")


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of the generator, and what it sends of it: `items` points, records or spans."""

    signal: str
    arguments: tuple[str, ...]
    items: int
    service: str


CASES = (
    *(
        Case("metrics", (f"--metrics={EACH}", f"--metric-type={kind}", f"--otlp-metric-name={kind}"), WORKERS * EACH, kind)
        for kind in ("Gauge", "Sum", "Histogram", "ExponentialHistogram")
    ),
    Case("logs", (f"--logs={EACH}", "--severity-number=17", "--severity-text=Error", "--body=card was declined"), WORKERS * EACH, "logs"),
    Case("traces", (f"--traces={EACH}", "--child-spans=2"), WORKERS * EACH * 3, "traces"),
)
TOTAL: Mapping[str, int] = {
    signal: len(TRANSPORTS) * sum(c.items for c in CASES if c.signal == signal) for signal in ("metrics", "logs", "traces")
}
NAMES: Mapping[str, str] = {"metrics": "points", "logs": "log_records", "traces": "spans"}


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    folder = tmp_path_factory.mktemp("telemetrygen")
    with Children(folder) as children:
        yield Tap(children, folder / "store")


def generate(tap: Tap, case: Case, transport: str) -> None:
    port = {"grpc": tap.grpc, "http": tap.http}[transport]
    over = ["--otlp-http"] if transport == "http" else []
    argv = [str(GENERATOR), case.signal, "--otlp-insecure", f"--otlp-endpoint=127.0.0.1:{port}", f"--service={case.service}-{transport}"]
    subprocess.run([*argv, *over, f"--workers={WORKERS}", "--rate=0", *case.arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.service)
def test_every_item_is_counted_and_none_refused(tap: Tap, case: Case, transport: str) -> None:
    counter = NAMES[case.signal]
    before = tap.stats()
    generate(tap, case, transport)
    after = tap.stats()
    assert int(str(after[counter])) - int(str(before[counter])) == case.items
    assert after["refused"] == before["refused"]
    assert after["by_library"] == before["by_library"], "its bodies take the fast path"


def test_what_was_written_is_what_was_sent(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        tap = Tap(children, tmp_path / "store")
        for case in CASES:
            for transport in TRANSPORTS:
                generate(tap, case, transport)
        stats = tap.stats()
        tap.child.process.terminate()
        assert tap.child.process.wait(timeout=15) == 0
    assert {signal: stats[counter] for signal, counter in NAMES.items()} == TOTAL
    db = open_tap(tmp_path / "store")
    points = db.execute("SELECT kind, sum(count)::INT FROM points JOIN series USING (series_id) GROUP BY kind ORDER BY kind").fetchall()
    each = WORKERS * EACH * len(TRANSPORTS)
    assert points == [("exponential_histogram", each), ("gauge", each), ("histogram", each), ("sum", each)]
    assert db.execute("SELECT severity_number, sum(count)::INT FROM log_counts GROUP BY ALL").fetchall() == [(17, each)]
    assert db.execute("SELECT DISTINCT body FROM logs").fetchall() == [("card was declined",)]
    spans = db.execute("SELECT name, sum(count)::INT FROM span_counts GROUP BY name ORDER BY name").fetchall()
    assert spans == [("lets-go", each), ("okey-dokey-0", each), ("okey-dokey-1", each)]
    whole = db.execute("SELECT count(*) FROM (SELECT trace_id FROM spans GROUP BY trace_id HAVING count(*) = 3)").fetchone()
    assert whole == (each,)
