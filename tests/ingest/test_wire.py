"""The compiled scanner says what the protobuf library says, column by column, and leaves to it what it is not sure of."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from flowgate.errors import Busy
from flowgate.telemetry import Signal
from ingest import kernels as k
from ingest.identity import Identity64
from ingest.otlp import Limits, Malformed
from ingest.tap import Kept, Settings
from ingest.wire import Wire
from tests.ingest.mutate import ATTRIBUTES, descending, fields, join
from tests.ingest.oracle import KEY, SOURCE, Pair, agree
from tests.ingest.otlp_bodies import NOW, attributes, counter, every_kind, gauge, logs, spans


def wire(**kwargs: Any) -> Wire:
    return Wire(KEY, **kwargs)


def take(engine: Wire, request: Message, signal: Signal = Signal.METRICS) -> Kept:
    return engine.take(SOURCE, signal, request.SerializeToString(), NOW)


@given(st.binary(min_size=1, max_size=80), st.binary(max_size=200), st.booleans())
def test_both_hashes_are_one_whichever_field_comes_first(key: bytes, value: bytes, first: bool) -> None:
    import numpy as np

    engine = wire()
    parts = [(10, key), (18, value)]
    data = join(parts if first else parts[::-1])
    index, full = k.intern_kv_at(
        np.frombuffer(data, np.uint8), np.uint64(0), np.uint64(len(data)), engine._state, engine.catalog.kv_slots,
        engine.catalog.kvs, engine.catalog.arena,
    )  # fmt: skip
    assert not full
    assert int(engine.catalog.kvs[index, 0]) == Identity64(KEY).kv(key, value)


def test_every_kind_agrees_and_stays_on_the_fast_path() -> None:
    pair = Pair()
    for _ in range(2):
        pair.feed(Signal.METRICS, every_kind().SerializeToString())
    pair.feed(Signal.LOGS, logs(9, 5).SerializeToString())
    pair.feed(Signal.TRACES, spans("a", "b").SerializeToString())
    assert pair.wire.by_library == 0
    tables = pair.compare()
    assert {name: len(rows) for name, rows in tables.items()} == {
        "kv": 1, "series": 5, "points": 5, "log_counts": 2, "logs": 2, "span_counts": 2, "spans": len(tables["spans"]), "value_samples": 10,
    }  # fmt: skip


@pytest.mark.parametrize("last", [frozenset[int](), ATTRIBUTES])
@pytest.mark.parametrize("start", [0, NOW - 10**9])
def test_points_in_the_orders_of_exporters_are_one_series(start: int, last: frozenset[int]) -> None:
    """As the protobuf library writes a point, and as the Collector does: once unknown, then by what was seen, then in between the other."""
    pair = Pair()
    for step in range(6):
        request = counter(3.0 + step, at=NOW + step * 10**9)
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            metric.sum.data_points[0].start_time_unix_nano = start
        body = request.SerializeToString()
        pair.feed(Signal.METRICS, body if step in (0, 1, 4) else descending(body, last))
    assert pair.wire.by_library == 0
    ((series, *_),) = pair.compare()["series"]
    assert series


def test_metrics_that_change_places_keep_their_points() -> None:
    """The scanner guesses that the next metric is the one that came next before."""
    orders = [("a", "b", "c"), ("a", "b", "c"), ("c", "a", "b"), ("a", "c"), ("b", "a", "b"), ("d", "a", "b", "c")]
    pair = Pair()
    for step, names in enumerate(orders):
        request = gauge(0.0)
        scope = request.resource_metrics[0].scope_metrics[0]
        one = scope.metrics[0]
        del scope.metrics[:]
        for place, name in enumerate(names):
            made = scope.metrics.add()
            made.CopyFrom(one)
            made.name = name
            made.gauge.data_points[0].time_unix_nano = NOW + step * 10**8 + place * 10**6
            made.gauge.data_points[0].as_double = step * 10.0 + place
        pair.feed(Signal.METRICS, request.SerializeToString())
    tables = pair.compare()
    assert (len(tables["series"]), len(tables["points"])) == (4, 4)


def test_what_is_not_canonical_goes_by_the_library_and_means_the_same() -> None:
    """Fields moved, as the wire format allows: the library reads it, and the result is that of the usual order."""
    body = every_kind().SerializeToString()
    parts = fields(body)
    assert parts is not None
    tag, group = parts[0]
    moved = join([(tag, join(list(reversed(fields(group) or []))))])
    doubled = join([(tag, group + b"\x1a\x01u\x1a\x01u")])
    pair = Pair()
    pair.feed(Signal.METRICS, moved)
    assert pair.wire.by_library == 0, "a resource may come after what it describes"
    pair.feed(Signal.METRICS, doubled)
    assert pair.wire.by_library == 1
    assert len(pair.compare()["series"]) == 5


def test_a_refused_body_leaves_nothing_behind() -> None:
    engine = wire()
    body = gauge(1.0, 2.0, labels={"a": "1"}).SerializeToString()
    with pytest.raises(Malformed):
        engine.take(SOURCE, Signal.METRICS, body[:-3], NOW)
    assert engine.drain() == {}
    assert engine.totals.points == 0


def test_order_may_change_and_series_stay() -> None:
    left = gauge(1.0, labels={"a": "1", "b": "2"}).SerializeToString()
    right = gauge(2.0, labels={"b": "2", "a": "1"}, at=NOW + 10**9).SerializeToString()
    assert len(agree(Signal.METRICS, [left, right, left])["series"]) == 1


def test_increase_bridges_buckets_and_drains() -> None:
    pair = Pair()
    for step, value in enumerate((10.0, 15.0, 3.0, 7.0)):
        pair.feed(Signal.METRICS, counter(value, at=NOW + step * 60 * 10**9).SerializeToString())
        pair.compare()


def test_a_segment_names_each_series_once_and_the_next_names_it_anew() -> None:
    engine = wire()
    take(engine, gauge(1.0))
    assert engine.drain()[SOURCE].tables["series"].num_rows == 1
    take(engine, gauge(2.0))
    assert "series" not in engine.drain()[SOURCE].tables
    engine.sealed()
    take(engine, gauge(3.0))
    again = engine.drain()[SOURCE].tables
    assert (again["series"].num_rows, again["kv"].num_rows) == (1, 1)


@pytest.mark.parametrize(("length", "kept"), [(4, 1), (5, 1), (6, 0)])
def test_buckets_up_to_the_limit_are_kept(length: int, kept: int) -> None:
    request = every_kind()
    point = request.resource_metrics[0].scope_metrics[0].metrics[2].histogram.data_points[0]
    point.ClearField("bucket_counts")
    point.bucket_counts.extend([1] * length)
    pair = Pair(limits=Limits(buckets=5))
    outcome = pair.feed(Signal.METRICS, request.SerializeToString())
    assert outcome is not None
    assert outcome.rejected.get("too_many_buckets", 0) == 1 - kept


@pytest.mark.parametrize(("count", "kept"), [(2, 1), (3, 1), (4, 0)])
def test_attributes_up_to_the_limit_are_kept(count: int, kept: int) -> None:
    pair = Pair(limits=Limits(attributes=3))
    outcome = pair.feed(Signal.METRICS, gauge(1.0, labels={str(i): "v" for i in range(count)}).SerializeToString())
    assert outcome is not None
    assert outcome.items == kept


def test_a_full_buffer_is_busy_and_takes_nothing() -> None:
    engine = wire(settings=Settings(max_rows=1))
    take(engine, counter(*range(20)))
    with pytest.raises(Busy):
        take(engine, counter(1.0))
    assert engine.totals.points == 20
    engine.drain()
    take(engine, counter(1.0))


@pytest.mark.parametrize(("room", "taken"), [(49, False), (50, False), (51, True)])
def test_new_series_count_as_rows_until_the_next_drain(room: int, taken: bool) -> None:
    """Else a flood of new series would fill memory between two drains, whatever the budget for those that stay."""
    engine = wire(max_series=10, settings=Settings(max_rows=room))
    take(engine, _fifty(1))
    if taken:
        take(engine, _fifty(1))
    else:
        with pytest.raises(Busy):
            take(engine, _fifty(1))
    engine.drain()
    assert take(engine, _fifty(2)).items == 50


def test_tables_grow_and_nothing_is_lost() -> None:
    """More series, key-values, resources and contexts than any table starts with, in one body."""
    request = gauge(1.0)
    for r in range(40):
        group = request.resource_metrics.add()
        attributes(group.resource.attributes, {"service.name": f"s{r}"})
        scoped = group.scope_metrics.add()
        for m in range(60):
            metric = scoped.metrics.add(name=f"m{m}")
            for p in range(3):
                attributes(metric.gauge.data_points.add(time_unix_nano=NOW, as_int=p).attributes, {"k": f"{r}-{m}-{p}"})
    tables = agree(Signal.METRICS, [request.SerializeToString()] * 2)
    assert len(tables["series"]) == 40 * 60 * 3 + 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40))
def test_beyond_the_budget_memory_is_bounded_and_segments_still_know_every_series(batches: int) -> None:
    """A churning source: each series is new. What is kept is a sample by id; what is drained names them all, and an old one is known again."""
    engine = wire(max_series=100)
    named: set[int] = set()
    for b in range(batches):
        take(engine, gauge(*[1.0] * 50, step=0) if b == 0 else _fifty(b))
        drained = engine.drain()[SOURCE].tables
        named |= set(drained["series"]["series_id"].to_pylist())
        assert engine.series() <= 100
    assert len(named) == 50 * (batches - 1) + 1
    table = engine.tables[SOURCE]
    assert engine.stats()["series_exact"] is (len(named) <= 100), "nothing is sampled that fits"
    assert table.n_series <= 100


def _fifty(batch: int):
    request = gauge(1.0, labels={"id": f"{batch}-0"})
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    for i in range(1, 50):
        attributes(points.add(time_unix_nano=NOW, as_double=1.0).attributes, {"id": f"{batch}-{i}"})
    return request


def test_the_kept_sample_is_uniform_enough_to_count_by() -> None:
    """Series kept ÷ share of the id space = series seen, within the theory's sqrt((1-p)/(p n)) (notes: series-hash samples) times four."""
    engine = wire(max_series=500)
    for b in range(1, 101):
        take(engine, _fifty(b))
        engine.drain()
    table = engine.tables[SOURCE]
    share = table.threshold / 2**64
    estimate = engine.stats()["series"]
    assert isinstance(estimate, int)
    assert share < 0.2
    assert abs(estimate - 5000) / 5000 < 4 * ((1 - share) / (share * 5000)) ** 0.5


def test_names_without_end_are_forgotten_at_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.wire.MAX_HEADS", 50)
    engine = wire()
    for b in range(4):
        take(engine, spans(*(f"GET /{b}/{i}" for i in range(40))), Signal.TRACES)
        drained = engine.drain()[SOURCE].tables["span_counts"]
        assert drained.num_rows == 40
    assert len(engine.catalog.names) <= 80
