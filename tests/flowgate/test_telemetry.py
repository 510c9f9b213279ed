"""Windows and buckets are half-open and counted from the epoch."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.telemetry import TABLES, Window, aligned, bucket_start

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(T0, T0 + timedelta(seconds=60))
    assert window.contains(T0)
    assert not window.contains(T0 + timedelta(seconds=60))
    assert window.seconds == 60


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_empty_window_does_not_exist(seconds: int) -> None:
    with pytest.raises(ValueError, match="empty window"):
        Window(T0, T0 + timedelta(seconds=seconds))


def test_a_window_without_a_time_zone_does_not_exist() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Window(datetime(2026, 1, 1), datetime(2026, 1, 2))


def test_windows_that_only_touch_do_not_overlap() -> None:
    minute = timedelta(minutes=1)
    assert not Window(T0, T0 + minute).overlaps(Window(T0 + minute, T0 + 2 * minute))
    assert Window(T0, T0 + minute).overlaps(Window(T0 + minute / 2, T0 + 2 * minute))


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(1, 3600))
def test_a_moment_lies_in_its_bucket(naive: datetime, seconds: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    start = bucket_start(moment, seconds)
    assert start <= moment < start + timedelta(seconds=seconds)
    assert int(start.timestamp()) % seconds == 0


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(120, 7200), st.integers(1, 60))
def test_alignment_never_widens_a_window_and_loses_less_than_two_buckets(naive: datetime, length: int, bucket: int) -> None:
    window = Window(naive.replace(tzinfo=UTC), naive.replace(tzinfo=UTC) + timedelta(seconds=length))
    inside = aligned(window, bucket)
    assert window.start <= inside.start
    assert inside.end <= window.end
    assert window.seconds - inside.seconds < 2 * bucket


def test_no_whole_bucket_inside_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty window"):
        aligned(Window(T0 + timedelta(seconds=1), T0 + timedelta(seconds=9)), 10)


def test_every_table_of_a_segment_has_columns() -> None:
    assert {"kv", "series", "points", "label_sketches", "raw_points", "value_samples", "log_counts", "logs", "span_counts", "spans"} == set(
        TABLES
    )
    assert all(TABLES.values())
