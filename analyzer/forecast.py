"""Where a figure goes over the next days: a day's series or cost of a metric, with an interval, or "too little history".

Three models are tried, and the one that forecast best on the history's own past is taken: the level of the last week, a line through all
days (ridge regression), and a line through their logarithms; each with a part for each weekday. How wide the interval is comes from the errors of that model on windows
that were held back from it: from each of many past days it forecasts the mean of the days after, which are known. Errors grow with the
distance; where the history is too short to hold back a window as long as the horizon, the error of the longest one that fits is carried on,
growing at least with the square root of the distance (a random walk) and at most in proportion (a wrong slope).

What has not happened yet in the history, a new service or a release, is in no interval.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
LEAST_DAYS = 28
"""Of history: four of each weekday."""
TRAINED = 14
"""Days that a model is fitted on at the least, when it is tried on the past."""
FARTHEST = 3
"""A horizon may be this many times as long as the history's part that can be held back."""
ORIGINS = 40
"""Past days at most from which a model is tried."""
APART = 3
"""Windows of a length that must fit into the held back days side by side for their errors to be used."""
LONGEST_GAP = 3
"""Days that are filled in between those that were seen; what lies before a longer gap is not used."""
WEEK = 7
Values = NDArray[np.float64]
Model = Callable[[Values, int, int], Values]
"""From a history, the weekday of its first day and a number of days: a value for each day that follows."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The mean over the next `days` days, and over the last seven of them (`end`), each between `low` and `high` at 95 %. Never negative."""

    days: int
    mean: float
    low: float
    high: float
    end: float
    end_low: float
    end_high: float
    model: str
    """`level`, `trend` or `growth`."""
    history_days: int
    held_back: int
    """Windows of the past that the errors come from."""
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class TooLittleHistory:
    """No forecast: what there is and what it takes, in days without longer gaps."""

    have: int
    needed: int

    @property
    def reason(self) -> str:
        return f"too little history: {self.have} days, and {self.needed} are needed"


def forecast(history: Mapping[date, float], days: int) -> Forecast | TooLittleHistory:
    """From a figure of each whole day. Days that were not seen are absent, not 0."""
    if days < 1:
        raise ValueError(f"{days} days")
    values, start = _gapless(history)
    needed = max(LEAST_DAYS, TRAINED + -(-days // FARTHEST))
    if values.size < needed:
        return TooLittleHistory(int(values.size), needed)
    weekday = start.weekday()
    tried = [(name, model, _errors(model, values, weekday, days)) for name, model in MODELS.items()]
    name, model, errors = min(tried, key=lambda t: (_spread(t[2], days), t[0]))
    path = np.maximum(model(values, weekday, days), 0.0)
    mean, end = float(path.mean()), float(path[-WEEK:].mean())
    reach = _spread(errors, days)
    # The last week is forecast from twice as far as the mean, which lies in the middle.
    far = _spread(errors, 2 * days)
    return Forecast(
        days,
        mean,
        max(0.0, mean - reach),
        mean + reach,
        end,
        max(0.0, end - far),
        end + far,
        name,
        int(values.size),
        len(errors[-1].errors),
    )


def _gapless(history: Mapping[date, float]) -> tuple[Values, date]:
    """The days since the last long gap, with short gaps filled in by a straight line, and the first of them."""
    seen = sorted(d for d, value in history.items() if math.isfinite(value))
    if not seen:
        return np.zeros(0), date(1970, 1, 1)
    start = seen[0]
    for before, after in itertools.pairwise(seen):
        if after - before > timedelta(days=LONGEST_GAP + 1):
            start = after
    at = np.array([(d - start).days for d in seen if d >= start], np.float64)
    values = np.array([history[d] for d in seen if d >= start], np.float64)
    return np.interp(np.arange(at[-1] + 1), at, values), start


# --- models ----------------------------------------------------------------------------------------------------------------------------


def _level(values: Values, weekday: int, days: int) -> Values:
    """The last week's mean, each day as far off it as that weekday is in the last four weeks."""
    recent = values[-4 * WEEK :]
    first = weekday + values.size - recent.size
    profile = _by_weekday(recent - recent.mean(), first)
    return values[-WEEK:].mean() + profile[(weekday + values.size + np.arange(days)) % WEEK]


def _by_weekday(values: Values, first: int) -> Values:
    at = (first + np.arange(values.size)) % WEEK
    return np.array([values[at == d].mean() if np.any(at == d) else 0.0 for d in range(WEEK)])


def _trend(values: Values, weekday: int, days: int) -> Values:
    """A line and a step for each weekday, by ridge regression: the little that it pulls towards 0 keeps short histories calm."""
    from sklearn.linear_model import Ridge  # heavy: only who asks for a forecast pays for it

    scale = max(float(np.abs(values).max()), 1e-12)
    fitted: Any = Ridge(alpha=0.1).fit(_features(0, values.size, weekday, values.size), values / scale)
    return np.asarray(fitted.predict(_features(values.size, days, weekday, values.size)), np.float64) * scale


def _growing(values: Values, weekday: int, days: int) -> Values:
    """The same of the logarithms: what grows by a share each day. No faster than it ever did over as many days, for nothing does for long."""
    if values.min() <= 0:
        return _trend(values, weekday, days)
    made = np.exp(_trend(np.log(values / values.mean()), weekday, days)) * values.mean()
    back = min(days, values.size // 2)
    most = values[-WEEK:].max() * max(1.0, float((values[back:] / values[:-back]).max())) ** (days / back)
    return np.minimum(made, most)


def _features(first: int, count: int, weekday: int, whole: int) -> Values:
    at = first + np.arange(count)
    return np.column_stack([at / whole, np.eye(WEEK)[(weekday + at) % WEEK]])


MODELS: Mapping[str, Model] = {"level": _level, "trend": _trend, "growth": _growing}


# --- errors on the past ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Errors:
    """How far the mean over `days` days was off, from several past days of a stretch of `held_back` days."""

    days: int
    held_back: int
    errors: tuple[float, ...]

    @property
    def root_mean_square(self) -> float:
        return math.sqrt(sum(e * e for e in self.errors) / len(self.errors))

    @property
    def apart(self) -> int:
        """Windows that do not overlap: so much is known of the errors' size, however many windows were tried."""
        return self.held_back // self.days

    @property
    def widest(self) -> float:
        """What 95 % of the errors stay within: as Student's t has it for so many of a normal distribution."""
        return _student(self.apart) * self.root_mean_square


@cache
def _student(count: int) -> float:
    from scipy.stats import t  # heavy: comes with scikit-learn

    return float(t.ppf((1 + LEVEL) / 2, max(count, 1)))


def _errors(model: Model, values: Values, weekday: int, days: int) -> list[Errors]:
    """For windows of several lengths up to the horizon, as far as the history can hold them back."""
    last = values.size - TRAINED
    origins = np.unique(np.linspace(TRAINED, values.size - 1, min(ORIGINS, last)).astype(int)).tolist()
    off: dict[int, list[float]] = {length: [] for length in _lengths(min(days, last))}
    for origin in origins:
        path = model(values[:origin], weekday, int(values.size - origin))
        for length, errors in off.items():
            if origin + length <= values.size:
                errors.append(float(values[origin : origin + length].mean() - path[:length].mean()))
    return [e for e in (Errors(length, last, tuple(errors)) for length, errors in off.items()) if e.apart >= APART]


def _lengths(most: int) -> Iterable[int]:
    return sorted({*(n for n in (1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90, 120) if n < most), most})


def _spread(errors: Sequence[Errors], days: int) -> float:
    """Half the width of the interval of the mean over `days` days."""
    known = next((e for e in errors if e.days >= days), None)
    if known is not None:
        return known.widest
    growth = _growth(errors)
    return max(e.widest * (days / e.days) ** growth for e in errors[-2:])


def _growth(errors: Sequence[Errors]) -> float:
    """The power with which errors grow with the distance: the slope between the logarithms of the two, from 0.5 to 1."""
    known = [e for e in errors if e.root_mean_square > 0]
    if len(known) < 3:
        return 1.0
    x, y = np.log([e.days for e in known]), np.log([e.root_mean_square for e in known])
    return float(np.clip(np.polyfit(x, y, 1)[0], 0.5, 1.0))
