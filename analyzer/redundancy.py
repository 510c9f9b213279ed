"""Metrics that say what others say: the same values on the same label sets, a sum of others, or one other summed over labels.

Values are compared in cells: one label set in one bucket of time. Label sets are chosen by a hash of their own, the same ones for every metric
that has them, so that metrics meet in many cells or in none. Equality is of numbers as they were sent, with no tolerance but for the rounding
of sums. Few values, or few different ones, prove nothing: two metrics that are always 0 are not twins.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgate.advice import Twin

CELLS = 12
"""Values that must be compared."""
DIFFERENT = 4
"""... with at least so many different ones among them, not counting 0."""
MEET = 0.9
"""Share of a metric's cells that its twin must have too: the window's ends may cut one of them off."""
FAMILY = 400
"""Metrics with the same cells beyond which sums are not looked for: pairs grow with the square."""
TERMS = 48
"""Metrics with the same cells up to which sums of more than two are looked for."""
ROUNDING = 1e-9
"""Of a sum of doubles, relative to its size."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Values by metric and cell, sorted by metric and then cell: columns of equal length."""

    metric: NDArray[np.int64]
    cell: NDArray[np.uint64]
    value: NDArray[np.float64]
    buckets: int = 1
    """How many buckets of time there are: cells over these are label sets, at least."""

    def metrics(self) -> Iterator[tuple[int, Values]]:
        edges = np.flatnonzero(np.diff(self.metric)) + 1
        for start, end in pairwise([0, *edges.tolist(), self.metric.size]):
            if end > start:
                yield int(self.metric[start]), Values(self.cell[start:end], self.value[start:end])


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Of one metric."""

    cell: NDArray[np.uint64]
    value: NDArray[np.float64]

    @property
    def telling(self) -> bool:
        """Whether equality with another metric would be no accident."""
        return self.value.size >= CELLS and np.unique(self.value[self.value != 0]).size >= DIFFERENT


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found, and how many metrics there was too little of to compare."""

    twins: tuple[Twin, ...]
    cannot_tell: int


def compare(cells: Cells, names: Sequence[str]) -> Compared:
    """`names`: of each metric, by its number. A metric of several units or kinds has as many numbers, and is no twin of itself."""
    whole = dict(cells.metrics())
    telling = {number: values for number, values in whole.items() if values.telling}
    equal = _equal(telling, names)
    repeated = {number for number, *_ in equal}
    families = _families({n: v for n, v in telling.items() if n not in repeated})
    sums = [found for family in families for found in _sums(family, {n: telling[n] for n in family}, names)]
    twins = [
        *(Twin(names[a], "equal", (names[b],), count, _label_sets(count, cells)) for a, b, count in equal),
        *(Twin(names[a], "sum", tuple(sorted(names[b] for b in of)), count, _label_sets(count, cells)) for a, of, count in sums),
    ]
    return Compared(tuple(sorted(twins, key=lambda t: (t.metric, t.relation, t.of))), len(names) - len(telling))


def _label_sets(values: int, cells: Cells) -> int:
    return max(1, -(-values // cells.buckets))


# --- equal -----------------------------------------------------------------------------------------------------------------------------


def _equal(of: Mapping[int, Values], names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Metrics that have the values of one before them in the order of their names, and how many were compared."""
    found: list[tuple[int, int, int]] = []
    first: dict[int, list[int]] = defaultdict(list)
    for number in sorted(of, key=lambda n: (names[n], n)):
        marks = _marks(of[number])
        alike = dict.fromkeys(other for mark in marks for other in first[mark])
        matches = ((other, _matching(of[number], of[other])) for other in alike if names[other] != names[number])
        twin = next(((other, count) for other, count in matches if count), None)
        if twin is not None:
            found.append((number, *twin))
        else:
            for mark in marks:
                first[mark].append(number)
    return found


def _marks(values: Values) -> list[int]:
    """A few cells with their values, chosen by the cells' ids alone: a twin that misses a cell has another of them."""
    at = np.flatnonzero(values.value != 0)
    at = at[np.argsort(values.cell[at])][:3]
    return [hash((int(values.cell[i]), float(values.value[i]))) for i in at.tolist()]


def _matching(a: Values, b: Values) -> int:
    """How many cells both have, if they have most of them together, the same values in all, and enough different ones; else 0."""
    _, mine, its = np.intersect1d(a.cell, b.cell, assume_unique=True, return_indices=True)
    if mine.size < MEET * max(a.cell.size, b.cell.size):
        return 0
    both = Values(a.cell[mine], a.value[mine])
    return int(mine.size) if both.telling and np.array_equal(both.value, b.value[its]) else 0


# --- sums ------------------------------------------------------------------------------------------------------------------------------


def _families(of: Mapping[int, Values]) -> Iterable[list[int]]:
    """Metrics with exactly the same cells."""
    families: dict[bytes, list[int]] = defaultdict(list)
    for number in sorted(of):
        families[of[number].cell.tobytes()].append(number)
    return families.values()


def _sums(family: Sequence[int], of: Mapping[int, Values], names: Sequence[str]) -> Iterator[tuple[int, list[int], int]]:
    """Metrics of a family that two others add up to, or in a small one several."""
    if not 3 <= len(family) <= FAMILY:
        return
    rows = np.stack([of[n].value for n in family])
    for at, number in enumerate(family):
        others = [i for i in range(len(family)) if i != at and names[family[i]] != names[number] and _below(rows[i], rows[at])]
        terms = _pair(rows, at, others) or (_several(rows, at, others) if len(family) <= TERMS else None)
        if terms is not None:
            yield number, [family[i] for i in terms], rows.shape[1]


def _below(part: NDArray[np.float64], whole: NDArray[np.float64]) -> bool:
    """Parts of what is only counted up are nowhere above it. A sum with negative parts is not looked for."""
    return bool(np.all(part >= 0) and np.all(part <= whole) and np.any(part > 0))


def _pair(rows: NDArray[np.float64], at: int, others: Sequence[int]) -> list[int] | None:
    """Two others that add up to it: what is left of it after one is looked up among them, in the cell where they differ most."""
    if len(others) < 2:
        return None
    probe = int(np.argmax(rows[at]))
    column = rows[list(others), probe]
    order = np.argsort(column)
    left = rows[at, probe] - column
    slack = ROUNDING * abs(rows[at, probe])
    begins = np.searchsorted(column[order], left - slack, "left")
    ends = np.searchsorted(column[order], left + slack, "right")
    for i, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        for j in order[begin:end].tolist():
            if i < j and _is_sum(rows, at, [others[i], others[j]]):
                return [others[i], others[j]]
    return None


def _several(rows: NDArray[np.float64], at: int, others: Sequence[int]) -> list[int] | None:
    """Three or more others that add up to it: of all weights that fit, least squares finds the ones and zeros, if cells outnumber metrics."""
    if len(others) < 3 or rows.shape[1] < 2 * len(others):
        return None
    scale = np.max(rows[list(others)], axis=1)
    weights: Any = np.linalg.lstsq((rows[list(others)] / scale[:, None]).T, rows[at], rcond=None)[0] / scale
    terms = [others[i] for i in np.flatnonzero(np.abs(weights - 1) < 1e-4).tolist()]
    return terms if len(terms) >= 3 and _is_sum(rows, at, terms) else None


def _is_sum(rows: NDArray[np.float64], at: int, terms: Sequence[int]) -> bool:
    """And the parts differ from the whole often enough to say so."""
    parts = rows[list(terms)]
    mixed = np.count_nonzero(np.count_nonzero(parts, axis=0) > 1)
    return bool(mixed >= DIFFERENT and np.allclose(parts.sum(axis=0), rows[at], rtol=ROUNDING, atol=0))


# --- summed over labels ----------------------------------------------------------------------------------------------------------------


def same_sums(sums: Cells, series: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of metrics, one of fewer `series` and one of more, whose values add up to the same in every bucket: what is to be looked at.

    Of several with the same sums the one with the fewest series is paired with each.
    """
    telling = [(number, values) for number, values in sums.metrics() if values.telling]
    alike: dict[bytes, list[tuple[int, Values]]] = defaultdict(list)
    for number, values in telling:
        alike[values.cell.tobytes()].append((number, values))
    for family in alike.values():
        yield from _close(sorted(family, key=lambda one: float(one[1].value[-1])), series)


def _close(family: Sequence[tuple[int, Values]], series: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Of metrics in the order of their last sum those next to each other that are the same in all."""
    for (a, mine), (b, its) in pairwise(family):
        if series[a] != series[b] and np.allclose(mine.value, its.value, rtol=ROUNDING, atol=0):
            yield (a, b) if series[a] < series[b] else (b, a)


def summed(rows: Sequence[tuple[int, float, float | None, int]]) -> tuple[int, int] | None:
    """How many values and label sets were compared, if each is the sum of its parts, and of more than one often enough. `rows`: the series, its
    value, the sum of its parts, and of how many parts."""
    whole = Values(np.zeros(len(rows), np.uint64), np.array([value for _, value, _, _ in rows], np.float64))
    if not rows or not whole.telling or sum(terms > 1 for *_, terms in rows) < DIFFERENT:
        return None
    if not all(parts is not None and math.isclose(value, parts, rel_tol=ROUNDING) for _, value, parts, _ in rows):
        return None
    return len(rows), len({series for series, *_ in rows})
