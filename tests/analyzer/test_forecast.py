"""Forecasts are tried on what was held back from them; with too little history there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pytest

from analyzer.forecast import FARTHEST, LEAST_DAYS, LONGEST_GAP, TRAINED, Forecast, TooLittleHistory, forecast
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

FIRST = date(2026, 1, 1)
WEEK = np.array([1, 1, 1, 1, 1, 0.6, 0.5])
Numbers = np.ndarray


def days_of(values: Numbers, first: date = FIRST) -> dict[date, float]:
    return {first + timedelta(days=k): float(v) for k, v in enumerate(values)}


def futures(dice: np.random.Generator, n: int) -> Mapping[str, Numbers]:
    """Histories with their futures: what series counts do, without what nothing in a history tells (a step)."""
    t, base, noise = np.arange(n), float(dice.integers(100, 10**5)), dice.normal(0, 0.03, n)
    week = WEEK[t % 7]
    return {
        "flat": base * (1 + noise),
        "weekly": base * week * (1 + noise),
        "trend": base * (1 + t * float(dice.uniform(-0.001, 0.01))) * week * (1 + noise),
        "growth": base * np.exp(t * float(dice.uniform(0, 0.006))) * (1 + noise),
        "random walk": base * np.exp(np.cumsum(dice.normal(0, 0.01, n))),
        "weekly walk": base * week * np.exp(np.cumsum(dice.normal(0, 0.005, n))) * (1 + noise),
    }


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
@pytest.mark.parametrize("days", [30, 90])
def test_held_back_windows_lie_in_their_intervals(case: str, days: int) -> None:
    """At least 9 in 10 of the means, of every kind of history together (docs/profiles.md has the full run, each kind by itself)."""
    dice = np.random.default_rng(seed_of(case, f"forecast{days}"))
    held: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for _ in range(count(12, 400)):
        n = int(dice.integers(45, 200))
        for kind, values in futures(dice, n + days).items():
            found = forecast(days_of(values[:n]), days)
            assert isinstance(found, Forecast)
            tried[kind] += 1
            held[kind] += found.low <= values[n:].mean() <= found.high
    print(f"forecast of {days} days: covered", {kind: round(held[kind] / tried[kind], 3) for kind in tried})
    assert sum(held.values()) / sum(tried.values()) >= 0.9


@pytest.mark.parametrize("days", [7, 30, 90])
def test_one_day_less_than_is_needed_is_too_little(days: int) -> None:
    needed = max(LEAST_DAYS, TRAINED + -(-days // FARTHEST))
    assert forecast(days_of(np.full(needed - 1, 5.0)), days) == TooLittleHistory(needed - 1, needed)
    assert isinstance(forecast(days_of(np.full(needed, 5.0)), days), Forecast)
    assert TooLittleHistory(3, 28).reason == "too little history: 3 days, and 28 are needed"


def test_nothing_was_seen() -> None:
    assert forecast({}, 30) == TooLittleHistory(0, 28)


def test_days_before_a_long_gap_are_not_used_and_short_gaps_are_filled_in() -> None:
    whole = days_of(np.arange(60.0))
    short = {d: v for d, v in whole.items() if not 10 <= (d - FIRST).days < 10 + LONGEST_GAP}
    long = {d: v for d, v in whole.items() if not 40 <= (d - FIRST).days < 41 + LONGEST_GAP}
    assert forecast(short, 30) == forecast(whole, 30)
    assert forecast(long, 30) == TooLittleHistory(60 - 41 - LONGEST_GAP, 28)


def test_a_line_is_carried_on() -> None:
    found = forecast(days_of(1000.0 + 10 * np.arange(100)), 30)
    assert isinstance(found, Forecast)
    assert found.mean == pytest.approx(1000 + 10 * (100 + 14.5), rel=0.02)
    assert found.end == pytest.approx(1000 + 10 * (100 + 26), rel=0.02)
    assert found.low <= found.mean <= found.high < 1.1 * found.mean


def test_weekends_are_known() -> None:
    values = 1000.0 * WEEK[np.arange(70) % 7]
    found = forecast(days_of(values), 28)
    assert isinstance(found, Forecast)
    assert found.mean == pytest.approx(values.mean(), rel=0.01)


def test_what_is_always_the_same_stays_the_same() -> None:
    found = forecast(days_of(np.full(60, 7.0)), 30)
    assert isinstance(found, Forecast)
    assert (found.mean, found.end) == (pytest.approx(7.0), pytest.approx(7.0))
    assert found.high == pytest.approx(7.0, abs=0.1)


def test_what_shrinks_is_never_below_nothing() -> None:
    found = forecast(days_of(np.maximum(0, 500.0 - 10 * np.arange(60))), 90)
    assert isinstance(found, Forecast)
    assert found.low >= 0 <= found.end_low <= found.end


def test_the_farther_the_wider() -> None:
    values = days_of(1000 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.02, 120))))
    near, far = forecast(values, 30), forecast(values, 90)
    assert isinstance(near, Forecast)
    assert isinstance(far, Forecast)
    assert far.high - far.low > near.high - near.low


def test_growth_without_bounds_is_not_carried_on_faster_than_it_was() -> None:
    """Three weeks of nothing, then doubling: the line through the logarithms would reach the moon."""
    values = np.concatenate([np.full(40, 1.0), 2.0 ** np.arange(5)])
    found = forecast(days_of(values), 90)
    assert isinstance(found, Forecast)
    assert found.mean < 1e6


def test_a_horizon_is_at_least_a_day() -> None:
    with pytest.raises(ValueError, match="0 days"):
        forecast({}, 0)


def test_numbers_that_are_none_are_days_not_seen() -> None:
    values = days_of(np.full(40, 5.0))
    assert forecast({**values, FIRST + timedelta(days=20): float("nan")}, 30) == forecast(values, 30)
