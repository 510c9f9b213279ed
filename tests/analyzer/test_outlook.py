"""What is ahead: of all metrics and of the costliest, with an interval, or why it cannot be told."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from analyzer.forecast import Forecast, TooLittleHistory
from analyzer.outlook import NOTHING, outlook, outlook_json
from analyzer.pricing import FREE, Totals
from flowgate.money import Commit, Line, Price, PriceBook, Tier, Volume
from flowgate.telemetry import Signal

BOOK = PriceBook("b", 1, "USD", Price(Decimal("0.01"), "prom_series"), None, None)
COMMITTED = PriceBook(
    "c", 1, "USD", None, None, None,
    (Line("series", (Signal.METRICS,), "prom_series", (Tier(None, Decimal("0.01")),), measured="average", commit=Commit(Decimal(5000), Decimal("0.01"))),),
)  # fmt: skip
DAY = date(2026, 1, 1)


def days(count: int, series: int, growth: int = 0) -> dict[date, Volume]:
    return {DAY + timedelta(days=k): Volume(series + growth * k, series + growth * k, 10.0, 100.0) for k in range(count)}


def test_a_steady_metric_stays_and_costs_what_it_costs() -> None:
    found = outlook({"m": days(60, 1000)}, Totals(), BOOK)
    assert [(e.metric, e.days) for e in found.expected] == [(None, 30), (None, 90), ("m", 30), ("m", 90)]
    for expected in found.expected:
        assert isinstance(expected.series, Forecast)
        assert isinstance(expected.cost, Forecast)
        assert expected.series.mean == pytest.approx(1000)
        assert expected.cost.mean == pytest.approx(10)


def test_growth_goes_on_within_its_interval() -> None:
    found = outlook({"m": days(120, 1000, growth=10)}, Totals(), BOOK)
    ahead = next(e.series for e in found.expected if e.metric == "m" and e.days == 30)
    assert isinstance(ahead, Forecast)
    assert ahead.low <= 1000 + 10 * (120 + 14.5) <= ahead.high


def test_below_a_commitment_more_series_cost_nothing_more() -> None:
    found = outlook({"m": days(60, 1000)}, Totals(), COMMITTED)
    costs = [e.cost for e in found.expected]
    assert all(isinstance(c, Forecast) and c.mean == 0 for c in costs)


@pytest.mark.parametrize(("count", "told"), [(27, 0), (43, 2), (44, 4)])
def test_how_far_can_be_told_depends_on_the_history(count: int, told: int) -> None:
    """Of four expectations, of two horizons each: none, those of 30 days, all."""
    found = outlook({"m": days(count, 10)}, Totals(), BOOK)
    assert sum(isinstance(e.series, Forecast) for e in found.expected) == told
    assert sum(isinstance(e.series, TooLittleHistory) for e in found.expected) == 4 - told


def test_without_a_whole_day_nothing_is_expected() -> None:
    assert outlook({"m": {}}, Totals(), BOOK).expected == ()
    assert outlook({}, Totals(), FREE) == NOTHING


def test_the_costliest_are_told_and_the_others_counted() -> None:
    found = outlook({f"m{k}": days(60, 10 + k) for k in range(5)}, Totals(), BOOK, most=2)
    assert [e.metric for e in found.expected if e.days == 30] == [None, "m4", "m3"]
    assert found.left_out == 3


def test_each_is_shown_with_figures_or_a_reason() -> None:
    rows: Any = outlook_json(outlook({"m": days(43, 10)}, Totals(), BOOK))["metrics"]
    assert all((row["series"] is None) == (row["cost"] is None) == (row["reason"] is not None) for row in rows)
    assert {row["reason"] for row in rows} == {None, "too little history: 43 days, and 44 are needed"}
    assert rows[0]["cost"]["mean"] == {"amount": "0.1000", "currency": "USD", "per": "30d"}
