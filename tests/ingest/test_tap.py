"""The buffer: exact aggregates however batches are cut, weights that add up, and Busy instead of growth."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.errors import Busy
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side
from ingest.otlp import Decoder
from ingest.tap import Buffer, Settings, Source
from tests.ingest.otlp_bodies import NOW, counter, gauge, logs, spans

SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)


def filled(*requests: Any, settings: Settings | None = None) -> Buffer:
    decoder, buffer = Decoder(b"k"), Buffer(settings or Settings(bucket_seconds=5))
    for request in requests:
        buffer.add(SOURCE, decoder.decode(request, NOW), decoder.series)
    return buffer


def test_a_bucket_holds_count_ends_and_extremes() -> None:
    (aggregate,) = filled(gauge(3.0, 1.0, 2.0)).pending[SOURCE].points.values()
    assert (aggregate.count, aggregate.first, aggregate.last, aggregate.low, aggregate.high) == (3, 3.0, 2.0, 1.0, 3.0)


def test_points_fall_into_buckets_by_their_own_time() -> None:
    points = filled(gauge(*range(12))).pending[SOURCE].points
    assert [a.count for _, a in sorted(points.items())] == [5, 5, 2]
    assert all(bucket % 5 == 0 for _, bucket in points)


@pytest.mark.parametrize(
    ("values", "increase"),
    [((10.0,), 0.0), ((10.0, 15.0), 5.0), ((10.0, 15.0, 3.0, 7.0), 12.0), ((5.0, 5.0), 0.0)],
)
def test_increase_counts_a_reset_from_zero_and_nothing_before_the_first_point(values: tuple[float, ...], increase: float) -> None:
    points = filled(counter(*values)).pending[SOURCE].points
    assert sum(a.increase for a in points.values()) == increase


def test_increase_bridges_buckets_and_drains() -> None:
    decoder, buffer = Decoder(b"k"), Buffer()
    buffer.add(SOURCE, decoder.decode(counter(10.0), NOW), decoder.series)
    buffer.drain()
    buffer.add(SOURCE, decoder.decode(counter(25.0, at=NOW + 60 * 10**9), NOW), decoder.series)
    (aggregate,) = buffer.pending[SOURCE].points.values()
    assert aggregate.increase == 15.0


def test_a_delta_counts_itself() -> None:
    points = filled(counter(2.0, 3.0, delta=True)).pending[SOURCE].points
    assert sum(a.increase for a in points.values()) == 5.0


def test_a_point_without_value_counts_and_changes_no_extreme() -> None:
    (aggregate,) = filled(gauge(float("nan"), 2.0, float("nan"), 1.0)).pending[SOURCE].points.values()
    assert (aggregate.count, aggregate.low, aggregate.high) == (4, 1.0, 2.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.data())
def test_however_batches_are_cut_the_aggregates_are_the_same(values: list[float], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    ends = [0, *cuts, len(values)]
    parts = [gauge(*values[a:b], at=NOW + a * 10**9) for a, b in itertools.pairwise(ends) if a < b]
    assert _plain(filled(*parts)) == _plain(filled(gauge(*values)))


def _plain(buffer: Buffer) -> list[tuple[object, ...]]:
    points = buffer.pending[SOURCE].points
    return [(k, a.count, a.first, a.last, a.low, a.high, round(a.increase, 6)) for k, a in sorted(points.items())]


def test_sides_and_gateways_do_not_mix() -> None:
    decoder, buffer = Decoder(b"k"), Buffer()
    for source in (SOURCE, SOURCE._replace(side=Side.OUT), Source(Identity(DEFAULT_ORG, GatewayId("h")), Side.IN)):
        buffer.add(source, decoder.decode(gauge(1.0), NOW), decoder.series)
    assert len(buffer.drain()) == 3
    assert buffer.rows() == 0


def test_a_full_buffer_is_busy_and_takes_nothing() -> None:
    buffer = filled(gauge(1.0), settings=Settings(max_rows=1))
    decoder = Decoder(b"k")
    batch = decoder.decode(gauge(2.0, name="other"), NOW)
    with pytest.raises(Busy):
        buffer.add(SOURCE, batch, decoder.series)
    assert buffer.rows() == 1
    assert buffer.totals.refused == 1


@given(st.integers(1, 400))
def test_log_weights_stand_for_every_record_within_reason(count: int) -> None:
    """Up to the sample size each record is kept; beyond it the weights still add up to about as many, and counts are exact."""
    pending = filled(logs(*[9] * count), settings=Settings(log_samples=100)).pending[SOURCE]
    assert sum(c for c, _ in pending.log_counts.values()) == count
    if count <= 100:
        assert [w for _, w in pending.logs] == [1.0] * count
    else:
        assert 0.5 * count <= sum(w for _, w in pending.logs) <= 1.6 * count


def test_spans_are_counted_exactly_and_traces_kept_whole() -> None:
    one = filled(*[spans("a", "b") for _ in range(5)], settings=Settings(trace_sample_bits=1)).pending[SOURCE]
    assert sum(c for c, _ in one.span_counts.values()) == 10
    kept = {}
    for span, weight in one.spans:
        assert weight == 2.0
        kept[span.trace_id] = kept.get(span.trace_id, 0) + 1
    assert all(n == 5 for n in kept.values())
