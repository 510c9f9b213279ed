"""Series left without some labels, from a uniform sample of the series alone: an interval that holds the truth 95 times in 100, or "cannot tell".

A tap above its memory budget keeps the series whose keyed hash lies below a threshold, each with the same probability p. Without a label,
series fall together into groups, and the question is how many groups there are: those met in the sample, and those of which no series was
drawn. How many groups were met with 1, 2, 3, … of their series bounds the latter: a group of j series is met with i of them with probability
C(j, i) p^i (1 - p)^(j - i). The interval's ends are the fewest and the most groups that any mix of group sizes could have while all those
expectations lie within what was counted (a linear programme, after Efron and Thisted 1976 and Valiant and Valiant 2013, but for its ends,
not for one estimate).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.cardinality import LabelTable
from flowgate.actions import Label
from flowgate.money import CannotTell

MET = 8
"""Groups met with more of their series than this are of a size of which hardly any is missed, unless hardly any series is drawn."""
DEVIATIONS = 1.96
"""Around each count, 95 in 100. That all hold at once is rarer, but the ends are those of the worst mix of sizes, which is rarer still: what
covers is measured (docs/profiles.md)."""
WIDEST = 2.0
"""An interval whose upper end is more times the lower one tells nothing."""
FEWEST = 30
"""Series in a sample below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` to `high` at the stated level; `middle` is the geometric mean of the two, not a best guess."""

    low: int
    high: int
    level: float = 0.95

    @property
    def middle(self) -> float:
        return math.sqrt(max(self.low, 1) * max(self.high, 1))

    @property
    def width(self) -> float:
        """Of the interval, as a share of its middle."""
        return (self.high - self.low) / self.middle


def estimated(sample: LabelTable, share: float, without: Iterable[Label] = ()) -> Interval | CannotTell:
    """Series left when labels are removed, of a metric of whose series a uniform `share` was drawn."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share}")
    if share == 1:
        exact = sample.left(without)
        return Interval(exact, exact)
    if sample.series < FEWEST:
        return CannotTell(f"only {sample.series} series were drawn, fewer than {FEWEST}")
    met = sample.met(without)
    found = _bounds(np.bincount(np.minimum(met, MET + 1), minlength=MET + 2)[1 : MET + 1], share)
    if found is None:
        return CannotTell("the groups met fit no mix of group sizes")
    low, high = met.size + math.floor(found[0]), met.size + math.ceil(found[1])
    if high > WIDEST * low:
        return CannotTell(f"between {low} and {high} series are left: too few were drawn to say more")
    return Interval(low, high)


def _bounds(counted: NDArray[np.int64], share: float) -> tuple[float, float] | None:
    """The fewest and the most groups not met, from how many were met with 1, 2, … `MET` of their series."""
    sizes = _sizes(share)
    # Also how many were met with at most 1, 2, …: sums are known better than their parts.
    each = _chances(sizes, share)
    chances = np.vstack([each, np.cumsum(each, axis=0)])
    low, high = _within(np.concatenate([counted, np.cumsum(counted)]))
    unmet = (1 - share) ** sizes
    fewest, most = (_extreme(unmet, chances, low, high, sign) for sign in (1, -1))
    if fewest is None or most is None:
        return None
    # How many were not met is itself chance, of which the counts' own spread covers a part: what the one lost the other gained.
    return max(0.0, fewest - math.sqrt(fewest)), most + math.sqrt(most)


def _sizes(share: float) -> NDArray[np.float64]:
    """Group sizes that may have left the counts: each up to 20, then each 8 % larger, until even `MET` of a group's series are too few for it."""
    most = max(40.0, 4 * MET / share)
    steps = np.geomspace(20, most, max(2, math.ceil(math.log(most / 20) / math.log(1.08))))
    return np.unique(np.concatenate([np.arange(1.0, 21.0), np.round(steps)]))


def _chances(sizes: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """For each number met a row: how probable it is for a group of each size."""
    logs = np.array([math.lgamma(j + 1) for j in sizes.tolist()])
    rows: list[Any] = []
    for i in range(1, MET + 1):
        fits = sizes >= i
        rest = np.where(fits, sizes - i, 0)
        choose = logs - math.lgamma(i + 1) - np.array([math.lgamma(r + 1) for r in rest.tolist()])
        rows.append(np.where(fits, np.exp(choose + i * math.log(share) + rest * math.log1p(-share)), 0.0))
    return np.array(rows)


def _within(counted: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Around each count what its expectation may be: Wilson's interval for a Poisson count, which a sum of rare events does not exceed."""
    z2 = DEVIATIONS**2
    spread = DEVIATIONS * np.sqrt(counted + z2 / 4)
    return np.maximum(counted + z2 / 2 - spread, 0), counted + z2 / 2 + spread


def _extreme(
    unmet: NDArray[np.float64], chances: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], sign: int
) -> float | None:
    """The smallest (sign 1) or largest (-1) number of groups not met, over all numbers of groups of each size."""
    from scipy.optimize import linprog  # heavy: comes with scikit-learn, and only an estimate needs it

    found: Any = linprog(
        sign * unmet, A_ub=np.vstack([chances, -chances]), b_ub=np.concatenate([high, -low]), bounds=(0, None), method="highs"
    )
    return sign * float(found.fun) if found.status == 0 else None
