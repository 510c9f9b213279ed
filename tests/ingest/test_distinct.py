"""Distinct values are exact up to 1,024 and within the sketch's error beyond, however they are cut into segments and united."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.reader import open_tap
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.compaction import RUN
from ingest.distinct import EXACT, DamagedSketch, Distinct, counted, opened, sealed, united
from ingest.identity import Identity64
from ingest.segments import SegmentStore
from ingest.tap import Source
from ingest.wire import Wire
from tests.ingest.otlp_bodies import NOW, attributes, gauge

KEY = b"k" * 32
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)
ERROR = 1.04 / 4096**0.5
"""Relative standard error of an HLL of 4,096 registers (Flajolet et al. 2007)."""


def ids(first: int, last: int) -> list[int]:
    identity = Identity64(KEY)
    return [identity.kv(b"k", str(i).encode()) for i in range(first, last)]


def estimate(part: Distinct) -> float:
    from analyzer.reader import hll_of

    return float(len(part.ids)) if part.ids is not None else hll_of([part.sketch or b""], [])["estimate"]


@pytest.mark.parametrize(("count", "exact"), [(0, True), (1, True), (EXACT - 1, True), (EXACT, True), (EXACT + 1, False)])
def test_values_up_to_the_limit_are_counted_one_by_one(count: int, exact: bool) -> None:
    part = counted(ids(0, count))
    assert (part.ids is not None) is exact
    assert (part.sketch is None) is exact
    assert abs(estimate(part) - count) <= (0 if exact else 4 * ERROR * count)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 1500)), min_size=1, max_size=6))
def test_a_union_counts_what_all_counted_whatever_the_order(cuts: list[tuple[int, int]]) -> None:
    """Overlapping parts: a union is no sum."""
    parts = [counted(ids(first, first + length)) for first, length in cuts]
    truth = len({i for first, length in cuts for i in range(first, first + length)})
    one, other = estimate(united(parts)), estimate(united(parts[::-1]))
    assert one == pytest.approx(other, rel=2 * ERROR), "the library estimates a sketch that it took over as it is a little better"
    assert abs(one - truth) <= 4 * ERROR * truth
    if all(p.ids is not None for p in parts) and truth <= EXACT:
        assert one == truth


def test_a_union_of_unions_is_the_union() -> None:
    parts = [counted(ids(at, at + 900)) for at in range(0, 4500, 450)]
    nested = united([united(parts[:5]), united(parts[5:])])
    assert estimate(nested) == pytest.approx(estimate(united(parts)), rel=2 * ERROR)


def test_a_flipped_bit_is_found_before_the_library_sees_it() -> None:
    stored = counted(ids(0, 5000)).sketch
    assert stored is not None
    assert sealed(opened(stored)) == stored
    for at in range(0, len(stored), 97):
        broken = stored[:at] + bytes([stored[at] ^ 4]) + stored[at + 1 :]
        with pytest.raises(DamagedSketch):
            opened(broken)


# --- in a store ------------------------------------------------------------------------------------------------------------------


def churn(name: str, values: Sequence[int]) -> bytes:
    """One gauge with a series for each value of `id`, all of one `kind`."""
    request = gauge(name=name)
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    for value in values:
        attributes(points.add(time_unix_nano=NOW, as_double=1.0).attributes, {"id": str(value), "kind": "one"})
    return request.SerializeToString()


def fill(store: SegmentStore, engine: Wire, *bodies: bytes) -> None:
    """One segment of the bodies."""
    for body in bodies:
        engine.take(SOURCE, Signal.METRICS, body, NOW)
        store.stage(engine.drain())
    engine.sealed()
    store.seal()


def counts(root: Path) -> dict[tuple[str, str, str], tuple[float, float, bool]]:
    rows = open_tap(root).execute("SELECT metric, place, key, distinct_values, distinct_values_error, exact FROM label_counts").fetchall()
    return {(m, p, k): (n, e, x) for m, p, k, n, e, x in rows}


@pytest.mark.parametrize("merged", [False, True])
def test_segments_are_united_and_every_estimate_carries_its_error(tmp_path: Path, merged: bool) -> None:
    """Twelve segments of 500 values, half of them in the next one too, and a label that stays small."""
    store, engine = SegmentStore.open(tmp_path / "s", 5), Wire(KEY)
    for number in range(RUN):
        fill(store, engine, churn("big", range(number * 250, number * 250 + 500)), churn("small", range(3)))
    if merged:
        assert len(store.compact(0.0)) == 1
    found, truth = counts(store.root), 250 * (RUN - 1) + 500
    assert found["big", "point", "kind"] == (1.0, 0.0, True)
    assert found["small", "point", "id"] == (3.0, 0.0, True)
    count, error, exact = found["big", "point", "id"]
    assert exact is not merged, "every part is exact until they are merged into a sketch"
    if merged:
        assert 0 < error < 2 * ERROR * truth
        assert abs(count - truth) < 4 * error
    else:
        assert (count, error) == (truth, 0.0)


def test_two_taps_of_one_key_count_a_shared_value_once(tmp_path: Path) -> None:
    """The same values seen by two engines, each beyond the exact limit."""
    store = SegmentStore.open(tmp_path / "s", 5)
    for _ in range(2):
        fill(store, Wire(KEY), churn("big", range(3000)))
    count, error, exact = counts(store.root)["big", "point", "id"]
    assert not exact
    assert abs(count - 3000) < 4 * error


def test_a_label_of_no_series_is_not_counted_and_logs_alone_make_no_table(tmp_path: Path) -> None:
    from tests.ingest.otlp_bodies import logs

    store, engine = SegmentStore.open(tmp_path / "s", 5), Wire(KEY)
    engine.take(SOURCE, Signal.LOGS, logs(9).SerializeToString(), NOW)
    store.stage(engine.drain())
    (segment,) = store.seal()
    assert not segment.rows.get("label_sketches")
    assert counts(store.root) == {}


def test_beyond_the_memory_budget_segments_still_count_every_series_and_value(tmp_path: Path) -> None:
    """What memory forgets between drains was written: exact answers stay possible from disk, and duplicates are removed there."""
    store, engine = SegmentStore.open(tmp_path / "s", 5), Wire(KEY, max_series=100)
    bodies = [churn("big", range(at, at + 300)) for at in (0, 300, 600, 0, 300)]
    fill(store, engine, *bodies)
    assert engine.series() <= 100
    assert engine.stats()["series_exact"] is False
    assert counts(store.root)["big", "point", "id"] == (900.0, 0.0, True)
    row = open_tap(store.root).execute("SELECT count(*), count(DISTINCT series_id) FROM all_series").fetchone()
    assert row == (900, 900)
    assert open_tap(store.root).execute("SELECT sum(count) FROM points").fetchone() == (1500,)


def test_a_damaged_sketch_is_made_anew_when_segments_are_merged_and_refused_by_a_reader(tmp_path: Path) -> None:
    import duckdb
    import pyarrow.parquet as pq

    store, engine = SegmentStore.open(tmp_path / "s", 5), Wire(KEY)
    for _ in range(RUN):
        fill(store, engine, churn("big", range(2000)))
    file = next(store.root.glob("*/*/*/*/label_sketches.parquet"))
    table = pq.read_table(file)
    at = table.column_names.index("sketch")
    broken = [None if s is None else s[:-1] + bytes([s[-1] ^ 1]) for s in table.column(at).to_pylist()]
    pq.write_table(table.set_column(at, "sketch", [broken]).cast(table.schema), file)
    with pytest.raises(duckdb.Error, match="damaged"):
        counts(store.root)
    assert len(store.compact(0.0)) == 1
    count, error, _ = counts(store.root)["big", "point", "id"]
    assert abs(count - 2000) < 4 * error
