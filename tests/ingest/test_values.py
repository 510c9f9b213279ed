"""Sampled values: bounded, each standing for as many points as its weight says, and the same whatever the drains, for the same data and key."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.reader import open_tap
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest import kernels
from ingest.compaction import RUN
from ingest.segments import SegmentStore
from ingest.tap import Settings, Source
from ingest.wire import Wire
from tests.ingest.oracle import Pair
from tests.ingest.otlp_bodies import NOW, attributes, gauge

KEY = b"k" * 32
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)
SECOND = 10**9


def body(name: str, count: int, first: int = 0) -> bytes:
    """A gauge with a point for each of `count` series, whose value is the series' number."""
    request = gauge(name=name)
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    for number in range(first, first + count):
        attributes(points.add(time_unix_nano=NOW + number % 5 * SECOND // 10, as_double=float(number)).attributes, {"n": str(number)})
    return request.SerializeToString()


def samples(engine: Wire) -> list[dict[str, Any]]:
    table = engine.drain()[SOURCE].tables.get("value_samples")
    return [] if table is None else table.to_pylist()


def take(engine: Wire, *bodies: bytes) -> None:
    for one in bodies:
        engine.take(SOURCE, Signal.METRICS, one, NOW)


@pytest.mark.parametrize(
    ("count", "weights"),
    [
        (7, {1: 7}),
        (8, {1: 8}),
        (16, {1: 8, 2: 4}),
        (32, {1: 8, 2: 4, 4: 4}),
        (64, {1: 8, 2: 4, 4: 4, 8: 4}),
    ],
)
def test_the_first_are_kept_then_one_of_two_then_of_four(count: int, weights: dict[int, int]) -> None:
    engine = Wire(KEY, settings=Settings(value_samples=8))
    take(engine, body("m", count))
    assert Counter(int(r["weight"]) for r in samples(engine)) == weights


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60)), min_size=1, max_size=12), st.sets(st.integers(0, 11)), st.integers(1, 9)
)
def test_both_engines_take_the_same_however_drains_fall(blocks: list[tuple[str, int]], drains: set[int], kept: int) -> None:
    """The strata of a segment go on over its drains."""
    bodies = [body(name, count, first=i * 100) for i, (name, count) in enumerate(blocks)]
    pair, whole = Pair(settings=Settings(value_samples=kept)), Wire(KEY, settings=Settings(value_samples=kept))
    cut = Wire(KEY, settings=Settings(value_samples=kept))
    parts: list[dict[str, Any]] = []
    for number, one in enumerate(bodies):
        pair.feed(Signal.METRICS, one)
        take(whole, one)
        take(cut, one)
        if number in drains:
            parts += samples(cut)
    pair.compare()
    last = cut.drain().get(SOURCE)
    parts += last.tables["value_samples"].to_pylist() if last is not None and "value_samples" in last.tables else []
    assert parts == samples(whole)


def test_sources_that_take_turns_have_reservoirs_of_their_own() -> None:
    """Also when one meets metrics that the other never sends."""
    engine, other = Wire(KEY, settings=Settings(value_samples=4)), SOURCE._replace(side=Side.OUT)
    alone = Wire(KEY, settings=Settings(value_samples=4))
    for turn in range(6):
        take(engine, body("m", 7, first=turn * 10))
        take(alone, body("m", 7, first=turn * 10))
        request = gauge()
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        for number in range(400):
            attributes(metrics.add(name=f"{turn}-{number}").gauge.data_points.add(time_unix_nano=NOW, as_int=1).attributes, {})
        engine.take(other, Signal.METRICS, request.SerializeToString(), NOW)
        if turn == 3:
            engine.sealed()
            alone.sealed()
    both = engine.drain()
    assert both[SOURCE].tables["value_samples"].to_pylist() == samples(alone)
    assert both[other].tables["value_samples"].num_rows == 2400


def test_weights_estimate_the_points_and_their_mean() -> None:
    """Over 200 runs of 1,000 points of value 0 .. 999: unbiased within four standard errors of what the runs show themselves."""
    counts, sums = [], []
    for run in range(200):
        engine = Wire(KEY, settings=Settings(value_samples=16))
        take(engine, body("m", 1000, first=run * 1000))
        rows = samples(engine)
        counts.append(sum(r["weight"] for r in rows))
        sums.append(sum(r["weight"] * (r["value"] - run * 1000) for r in rows))
    for seen, truth in ((counts, 1000.0), (sums, 499_500.0)):
        mean = sum(seen) / len(seen)
        error = math.sqrt(sum((s - mean) ** 2 for s in seen) / len(seen) / (len(seen) - 1))
        assert abs(mean - truth) <= 4 * error + 1e-9


def test_another_key_takes_others() -> None:
    taken: list[set[float]] = []
    for key in (KEY, KEY, b"other"):
        engine = Wire(key, settings=Settings(value_samples=4))
        take(engine, body("m", 2000))
        taken.append({r["value"] for r in samples(engine)})
    assert taken[0] == taken[1] != taken[2]


def test_a_point_without_a_value_is_a_sample_without_one() -> None:
    engine = Wire(KEY)
    take(engine, gauge(float("nan")).SerializeToString())
    (row,) = samples(engine)
    assert math.isnan(row["value"])
    assert row["weight"] == 1.0


def test_metrics_without_end_widen_the_strata_of_all() -> None:
    """20,000 metrics of one point are not 20,000 samples each second for ever: a second point of each comes when strata are wider."""
    pair = Pair(settings=Settings(value_samples=64))
    for metric in range(0, 20_000, 500):
        request = gauge(name=f"m{metric}")
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        for number in range(metric, metric + 500):
            attributes(metrics.add(name=f"m{number}").gauge.data_points.add(time_unix_nano=NOW, as_int=1).attributes, {"a": "1"})
        pair.feed(Signal.METRICS, request.SerializeToString())
    assert pair.wire._state[kernels.N_TAKEN] > 1 << 14
    pair.feed(Signal.METRICS, body("m19999", 100))
    rows = pair.compare()["value_samples"]
    assert {row[-1] for row in rows} == {1.0, 2.0, 4.0}


# --- in a store ------------------------------------------------------------------------------------------------------------------


def fill(store: SegmentStore, engine: Wire, *bodies: bytes) -> None:
    take(engine, *bodies)
    store.stage(engine.drain())
    engine.sealed()
    store.seal()


def stored(root: Path, metric: str) -> list[tuple[float, float]]:
    return open_tap(root).execute("SELECT value, weight FROM value_samples WHERE metric = ?", [metric]).fetchall()


@pytest.mark.parametrize(("count", "low", "high"), [(10, 10, 10), (64, 64, 64), (100, 20, 80), (5000, 20, 110)])
def test_a_segment_holds_about_64_of_a_metric_all_of_one_weight(tmp_path: Path, count: int, low: int, high: int) -> None:
    store = SegmentStore.open(tmp_path / "s", 5)
    fill(store, Wire(KEY), body("m", count), body("other", 1))
    rows = stored(store.root, "m")
    assert low <= len(rows) <= high
    (weight,) = {w for _, w in rows}
    assert math.log2(weight).is_integer()
    assert count / 2 <= len(rows) * weight <= count * 2
    assert stored(store.root, "other") == [(0.0, 1.0)]


def test_a_merged_segment_is_sampled_anew_and_weights_multiply(tmp_path: Path) -> None:
    """Twelve segments of 64 or fewer become one of about 64 that stands for as many points."""
    store, engine = SegmentStore.open(tmp_path / "s", 5), Wire(KEY)
    for number in range(RUN):
        fill(store, engine, body("m", 500, first=number * 500))
    before = stored(store.root, "m")
    assert len(store.compact(0.0)) == 1
    after = stored(store.root, "m")
    assert {v for v, _ in after} < {v for v, _ in before}
    assert len(after) < 130 < len(before)
    assert len({w for _, w in after}) == 1
    assert 0.5 < sum(w for _, w in after) / 6000 < 2
    view = open_tap(store.root).execute("SELECT sampled, points, points_error, mean, mean_error FROM metric_values").fetchone()
    assert view is not None
    sampled, points, points_error, mean, mean_error = view
    assert sampled == len(after)
    assert abs(points - 6000) < 4 * points_error
    assert abs(mean - 2999.5) < 4 * mean_error
