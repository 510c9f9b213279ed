"""What a reader asks of the segments: bytes by whatever sent them, first and last seen, new series by hour; exact, and adding up to what was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyzer.reader import open_tap
from flowgate.telemetry import Signal
from ingest.engine import Engine, Library
from ingest.otlp import Decoder
from ingest.segments import SegmentStore
from ingest.tap import Buffer
from ingest.wire import Wire
from tests.ingest.oracle import KEY, SOURCE
from tests.ingest.otlp_bodies import NOW, every_kind, gauge, logs, spans

HOUR = 3600 * 10**9
BODIES = (
    (Signal.METRICS, gauge(1.0, 2.0, name="a", labels={"k": "x"})),
    (Signal.METRICS, gauge(3.0, name="a", labels={"k": "y"}, at=NOW - HOUR)),
    (Signal.METRICS, every_kind()),
    (Signal.LOGS, logs(9, 9, 17)),
    (Signal.TRACES, spans("GET /", "GET /", "POST /")),
)


@pytest.fixture(params=["compiled", "library"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SegmentStore:
    engine: Engine = Wire(KEY) if request.param == "compiled" else Library(Decoder(KEY), Buffer())
    made = SegmentStore.open(tmp_path / "s", 5)
    for signal, message in BODIES:
        engine.take(SOURCE, signal, message.SerializeToString(), NOW)
        made.stage(engine.drain())
        engine.sealed()
        made.seal()
    return made


def ask(store: SegmentStore, sql: str) -> list[tuple[Any, ...]]:
    return open_tap(store.root).execute(sql).fetchall()


def test_bytes_of_metrics_labels_and_services_add_up_to_what_was_sent(store: SegmentStore) -> None:
    """But for framing: two bytes or so for each message around the items."""
    sent = sum(message.ByteSize() for signal, message in BODIES if signal is Signal.METRICS)
    ((metrics,),) = ask(store, "SELECT sum(bytes) FROM metric_bytes")
    assert sent * 0.7 < metrics <= sent
    ((services,),) = ask(store, "SELECT sum(bytes) FROM service_bytes WHERE signal = 'metrics'")
    assert services == metrics
    ((labels,),) = ask(store, "SELECT sum(bytes) FROM label_bytes WHERE metric = 'a' AND key = 'k'")
    ((metric,),) = ask(store, "SELECT bytes FROM metric_bytes WHERE metric = 'a'")
    assert labels == metric


def test_each_label_value_has_the_series_and_points_that_carry_it(store: SegmentStore) -> None:
    found = ask(store, "SELECT value, series, points FROM label_bytes WHERE metric = 'a' AND place = 'point' ORDER BY value")
    assert found == [("x", 1, 2), ("y", 1, 1)]


def test_services_have_items_of_every_signal(store: SegmentStore) -> None:
    assert dict(ask(store, "SELECT signal, sum(items) FROM service_bytes GROUP BY ALL")) == {"metrics": 8, "logs": 3, "traces": 3}


def test_span_names_and_log_bodies_have_their_bytes(store: SegmentStore) -> None:
    named = {name: (n, size) for name, n, size in ask(store, "SELECT name, spans, bytes FROM span_bytes")}
    assert {name: n for name, (n, _) in named.items()} == {"GET /": 2, "POST /": 1}
    ((total,),) = ask(store, "SELECT sum(bytes) FROM service_bytes WHERE signal = 'traces'")
    assert sum(size for _, size in named.values()) == total
    ((records, size, error),) = ask(store, "SELECT sum(records), sum(bytes), max(bytes_error) FROM log_bodies")
    ((exact,),) = ask(store, "SELECT sum(bytes) FROM log_counts")
    assert (records, error) == (3.0, 0.0)
    assert abs(size - exact) <= 3, "each is rounded by itself"


def test_a_series_is_new_in_the_hour_it_was_first_seen(store: SegmentStore) -> None:
    found = dict(ask(store, "SELECT hour, sum(series) FROM new_series WHERE metric = 'a' GROUP BY ALL"))
    assert sorted(found.values()) == [1, 1]
    ((first, last),) = ask(
        store, "SELECT min(first_seen), max(last_seen) FROM series_seen JOIN series USING (series_id) WHERE metric = 'a'"
    )
    assert (last - first).total_seconds() == pytest.approx(3600, abs=2)


def test_exemplars_are_counted(tmp_path: Path) -> None:
    request = gauge(1.0, 2.0)
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    for point, count in zip(points, (2, 3), strict=True):
        for _ in range(count):
            point.exemplars.add(time_unix_nano=NOW, as_double=1.0)
    for engine in (Wire(KEY), Library(Decoder(KEY), Buffer())):
        engine.take(SOURCE, Signal.METRICS, request.SerializeToString(), NOW)
        (row,) = engine.drain()[SOURCE].tables["points"].to_pylist()
        assert row["exemplars"] == 5
