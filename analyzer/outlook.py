"""How many series and how much money the next 30 and 90 days will take, metric by metric, or why that cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analyzer.forecast import LEAST_DAYS, Forecast, TooLittleHistory, forecast
from analyzer.pricing import Totals, marginal_from
from flowgate.money import Cost, PriceBook, Volume
from flowgate.shapes import cost_json

History = Mapping[str, Mapping[date, Volume]]
"""Of each metric, what it sent on each whole day (`analyzer.profiler.history`)."""
HORIZONS = (30, 90)
FORECAST = 20
"""Metrics, the costliest: a forecast is tried on the past some 40 times."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Over the next `days` days, of one metric, or (`metric` None) of all together."""

    metric: str | None
    days: int
    series: Forecast | TooLittleHistory
    cost: Forecast | TooLittleHistory
    """Per 30 days."""
    currency: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """`left_out`: metrics that are not among the costliest."""

    expected: tuple[Expected, ...]
    history_days: int
    left_out: int


NOTHING = Outlook((), 0, 0)


def outlook(history: History, totals: Totals, book: PriceBook, most: int = FORECAST) -> Outlook:
    """Of all metrics together, and of the costliest today. The cost of a day is what the metric would add to the bill of all others now, so
    that tiers and commitments count."""
    days = {day for of in history.values() for day in of}
    costs = {metric: _costs(metric, of, history, totals, book) for metric, of in _costliest(history, most)}
    summed = _together(history)
    told = [(None, summed, _costs(None, summed, history, totals, book)), *((m, history[m], c) for m, c in costs.items())] if days else []
    return Outlook(
        tuple(_expected(metric, of, cost, horizon, book) for metric, of, cost in told for horizon in HORIZONS),
        len(days),
        max(0, len(history) - len(costs)),
    )


def _costliest(history: History, most: int) -> list[tuple[str, Mapping[date, Volume]]]:
    """By the last day, in the units that books are in: what that comes to is for the book to say."""

    def size(item: tuple[str, Mapping[date, Volume]]) -> tuple[int, float, str]:
        last = item[1][max(item[1])] if item[1] else Volume()
        return -last.prom_series, -last.points_per_second, item[0]

    return sorted(history.items(), key=size)[:most]


def _together(history: History) -> Mapping[date, Volume]:
    found: dict[date, Volume] = {}
    for of in history.values():
        for day, volume in of.items():
            found[day] = found.get(day, Volume()) + volume
    return found


def _costs(metric: str | None, of: Mapping[date, Volume], history: History, totals: Totals, book: PriceBook) -> Mapping[date, float]:
    if len(of) < LEAST_DAYS:
        return dict.fromkeys(of, 0.0)
    rest = Volume() if metric is None else _others(metric, history)
    without = Totals(rest, totals.logs, totals.traces)
    return {
        day: float(marginal_from(Totals(rest + volume, totals.logs, totals.traces), book)(without).amount) for day, volume in of.items()
    }


def _others(metric: str, history: History) -> Volume:
    """Of the last day."""
    last = [of[max(of)] for name, of in history.items() if name != metric and of]
    return sum(last, Volume())


def _expected(metric: str | None, of: Mapping[date, Volume], costs: Mapping[date, float], days: int, book: PriceBook) -> Expected:
    series = {day: float(volume.series) for day, volume in of.items()}
    return Expected(metric, days, forecast(series, days), forecast(costs, days), book.currency)


# --- as shown ------------------------------------------------------------------------------------------------------------------------

Json = dict[str, object]


def outlook_json(found: Outlook) -> Json:
    return {
        "level": 0.95,
        "history_days": found.history_days,
        "left_out": found.left_out,
        "metrics": [_expected_json(e) for e in found.expected],
    }


def _expected_json(expected: Expected) -> Json:
    made: Json = {"metric": expected.metric, "days": expected.days, "series": None, "cost": None, "reason": None}
    series, cost = expected.series, expected.cost
    if isinstance(series, TooLittleHistory):
        return {**made, "reason": series.reason}
    if isinstance(cost, TooLittleHistory):
        return {**made, "reason": cost.reason}
    return {
        **made,
        "series": {name: round(getattr(series, name), 1) for name in _FIGURES},
        "cost": {name: _money(getattr(cost, name), expected.currency) for name in _FIGURES},
    }


_FIGURES = ("mean", "low", "high", "end", "end_low", "end_high")


def _money(amount: float, currency: str) -> Json:
    return cost_json(Cost(Decimal(repr(amount)), currency))
