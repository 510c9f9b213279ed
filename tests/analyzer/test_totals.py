"""Segments become the totals that a price book is applied to: counts of the window, samples expanded series by series, whole hours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from analyzer.pricing import Totals
from analyzer.reader import open_tap
from analyzer.totals import totals
from flowgate.ids import GatewayId
from flowgate.money import Volume
from flowgate.telemetry import Side, Window
from tests.analyzer.store import MINUTE, T0, Store


def test_samples_are_expanded_series_by_series(tmp_path: Path) -> None:
    """Not by the average of all: the histogram sends a tenth as often as the gauge."""
    store = Store(tmp_path)
    store.series("gauge", points=60)
    store.series("histogram", kind="histogram", points=6, prom_series=12)
    store.write()
    found = totals(open_tap(tmp_path), Side.IN, MINUTE)
    assert found.metrics == Volume(2, 13, 1.1, 66 * 50 / 60, samples_per_second=(60 + 6 * 12) / 60)
    assert found.metrics.samples == pytest.approx(2.2)
    assert Volume(2, 13, 1.1).samples == pytest.approx(7.15)  # what the average would have said


def test_logs_are_counted_over_services_and_severities(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.logs("a", 5, 60)
    store.logs("b", 9, 120)
    store.write()
    assert totals(open_tap(tmp_path), Side.IN, MINUTE) == Totals(logs=Volume(points_per_second=3.0, bytes_per_second=300.0))


def test_spans_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = {"bucket": T0.replace(tzinfo=None), "service": "s", "name": "n", "kind": 1, "count": 30, "bytes": 6000}
    store.rows["span_counts"].append(row)
    store.write()
    assert totals(open_tap(tmp_path), Side.IN, MINUTE).traces == Volume(points_per_second=0.5, bytes_per_second=100.0)


def test_the_other_side_and_other_gateways_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.series("m")
    store.write("in", "g")
    db = open_tap(tmp_path)
    assert totals(db, Side.OUT, MINUTE) == Totals()
    assert totals(db, Side.IN, MINUTE, gateway=GatewayId("h")).metrics == Volume()
    assert totals(db, Side.IN, MINUTE, gateway=GatewayId("g")).metrics.series == 1


def test_the_history_has_the_whole_hours_of_the_window(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for hour, series in enumerate([1, 3, 2]):
        for one in range(series):
            store.series(f"m{hour}{one}", points=3600, at=T0 + timedelta(hours=hour))
    store.write()
    window = Window(T0, T0 + timedelta(hours=2, minutes=30))  # the third hour is not whole
    found = totals(open_tap(tmp_path), Side.IN, window)
    assert [hour.series for hour in found.hours] == [1, 3]
    assert found.hours[0] == Volume(1, 1, 1.0, 50.0, 1.0)
    assert found.metrics.series == 6


def test_a_window_shorter_than_an_hour_has_no_history(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.series("m")
    store.write()
    assert totals(open_tap(tmp_path), Side.IN, MINUTE).hours == ()
