"""How many series are left when labels are taken away: exactly, for any set of labels, from the series of a metric as columns of numbers.

A series is a row, a label a column of codes (0: the series does not carry it). The codes of the labels that stay are packed into one 64-bit number,
each in its own range (mixed radix), so that taking a label away is a subtraction, and the series left are the distinct numbers: a sort of
machine words. Where the ranges do not fit into 64 bits, each label's code is hashed and the hashes are added up; that no two different series
met is checked, and hashed anew otherwise. So every count is exact.

From a uniform sample of the series alone the answer is an interval: `analyzer.unseen`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgate.actions import Label

Codes = NDArray[np.uint32]
Keys = NDArray[np.uint64]
_WORD = 2**64
PROBED = 4096
"""Series on which a dependency must hold before all are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """The series of one metric. `codes` has a row a label, in the order of `labels`; `sizes` how many codes each has, with the 0.

    `fixed` tells series apart that no label does (their scope, or what the segments do not say of it): never taken away.
    """

    labels: tuple[Label, ...]
    codes: NDArray[np.uint32]
    sizes: tuple[int, ...]
    fixed: Codes | None = None
    _whole: list[tuple[Keys, tuple[int, ...]] | None] = field(default_factory=list[tuple[Keys, tuple[int, ...]] | None], repr=False)

    @property
    def series(self) -> int:
        return int(self.codes.shape[1])

    def left(self, without: Iterable[Label] = ()) -> int:
        """Distinct series left when these labels are removed from each. A label that the metric does not have changes nothing."""
        asked = frozenset(without)
        gone = [i for i, label in enumerate(self.labels) if label in asked]
        return distinct(self._without(gone)) if gone else self.series

    def met(self, without: Iterable[Label] = ()) -> NDArray[np.int64]:
        """Of each series left, how many it is made of."""
        asked = frozenset(without)
        return np.unique(self._without([i for i, label in enumerate(self.labels) if label in asked]), return_counts=True)[1]

    def _without(self, gone: Sequence[int]) -> Keys:
        whole = self._packed()
        if whole is None:
            return self._keys([i for i in range(len(self.labels)) if i not in gone])
        keys, strides = whole
        for i in gone:
            keys = keys - self.codes[i] * np.uint64(strides[i])
        return keys

    def values(self, label: Label) -> int:
        """Distinct values of a label; to lack it is none."""
        return self.sizes[self.labels.index(label)] - 1

    def carrying(self, label: Label) -> int:
        """Series that have the label."""
        return int(np.count_nonzero(self.codes[self.labels.index(label)]))

    def first(self, series: int) -> LabelTable:
        """Of the first so many series."""
        return LabelTable(self.labels, self.codes[:, :series], self.sizes, None if self.fixed is None else self.fixed[:series])

    def _packed(self) -> tuple[Keys, tuple[int, ...]] | None:
        """All labels as one number a series, and each label's stride; None when they do not fit. Made once."""
        if not self._whole:
            fits = math.prod(self.sizes) * self._fixed_size() <= _WORD
            strides = tuple(math.prod(self.sizes[:i]) for i in range(len(self.sizes)))
            self._whole.append((self._keys(range(len(self.labels))), strides) if fits else None)
        return self._whole[0]

    def _fixed_size(self) -> int:
        return 1 if self.fixed is None or not self.fixed.size else int(self.fixed.max()) + 1

    def _keys(self, kept: Iterable[int]) -> Keys:
        columns = [(self.codes[i], self.sizes[i]) for i in kept]
        if self.fixed is not None:
            columns.append((self.fixed, self._fixed_size()))
        return packed(columns, self.series)


def packed(columns: Sequence[tuple[Codes, int]], rows: int) -> Keys:
    """Columns of codes, each with the number of its codes, as one number a row: two are equal where, and only where, all codes are."""
    if math.prod(size for _, size in columns) > _WORD:
        return next(k for k in (_hashed(columns, salt) for salt in itertools.count(1)) if k is not None)
    keys, room = np.zeros(rows, np.uint64), 1
    for codes, size in columns:
        keys = keys + codes * np.uint64(room)
        room *= size
    return keys


def _hashed(columns: Sequence[tuple[Codes, int]], salt: int) -> Keys | None:
    """The sum of each column's hashes; None where rows with different codes have the same: at 10 million rows that is to be expected once in
    400,000 times (n^2 / 2^65)."""
    keys = np.zeros(columns[0][0].size, np.uint64)
    for at, (codes, _) in enumerate(columns):
        keys += _mixed(codes.astype(np.uint64) + np.uint64((((at + 1) << 40) + (salt << 56)) % _WORD))
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    for codes, _ in columns:
        column = codes[order]
        if np.any(same & (column[1:] != column[:-1])):
            return None
    return keys


def _mixed(x: Keys) -> Keys:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014), which is a permutation."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def distinct(keys: Keys) -> int:
    """How many different numbers there are."""
    if not keys.size:
        return 0
    ordered = np.sort(keys)
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def table_of(series: Sequence[Mapping[Label, str]], fixed: Sequence[str] | None = None) -> LabelTable:
    """From the labels of each series, and what else tells it apart."""
    labels = tuple(sorted({label for one in series for label in one}))
    columns = [coded([one.get(label) for one in series]) for label in labels]
    codes = np.stack([c for c, _ in columns]) if columns else np.zeros((0, len(series)), np.uint32)
    return LabelTable(labels, codes, tuple(n for _, n in columns), None if fixed is None else coded(list(fixed))[0])


def coded(values: Sequence[str | None]) -> tuple[Codes, int]:
    """Texts as codes from 1 in their order, None as 0; and how many codes there are with the 0."""
    known = {value: i + 1 for i, value in enumerate(sorted({v for v in values if v is not None}))}
    return np.array([0 if v is None else known[v] for v in values], np.uint32), len(known) + 1


def dense(codes: Codes, size: int) -> tuple[Codes, int]:
    """Codes below `size` numbered anew without gaps, 0 staying 0, and in the same order."""
    if size > 8 * codes.size:
        unique, inverse = np.unique(np.append(codes, np.uint32(0)), return_inverse=True)
        return inverse[:-1].astype(np.uint32), int(unique.size)
    met = np.zeros(size, np.bool_)
    met[codes] = True
    met[0] = True
    number = np.cumsum(met, dtype=np.uint32) - np.uint32(1)
    return number[codes], int(number[-1]) + 1


# --- labels that follow from others ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dependency:
    """Labels that determine another on every series; `tested` series share their values with one more, and so could have said otherwise."""

    by: tuple[Label, ...]
    tested: int


def dependencies(table: LabelTable) -> dict[Label, Dependency]:
    """For each label that the others determine: one other label that does so alone (of several, the one with the fewest values, which was
    tested most), else others of which none can be spared, those with many values being spared first."""
    single = _determining(table)
    found: dict[Label, Dependency] = {}
    for at, label in enumerate(table.labels):
        by = _minimal(table, at, single[at])
        if by:
            found[label] = Dependency(tuple(sorted(table.labels[i] for i in by)), _shared(_pack(table, by)))
    return found


def _determining(table: LabelTable) -> list[list[int]]:
    """For each label the others that determine it alone."""
    n = len(table.labels)
    # Fewer values than the other has cannot tell all of them apart; one of the two may also be absent.
    pairs = [[i for i in range(n) if i != at and table.sizes[i] >= table.sizes[at] - 1] for at in range(n)]
    if table.series > PROBED:
        few = _alone(table.first(PROBED), pairs)
        return [[i for i in few[at] if _holds(table, [i], at)] for at in range(n)]
    return _alone(table, pairs)


def _alone(table: LabelTable, asked: list[list[int]]) -> list[list[int]]:
    """All pairs at once: of small tables there are many, and each call costs more than its work."""
    n = len(table.labels)
    wide = table.codes.astype(np.uint64)
    sizes = np.array(table.sizes, np.uint64)
    counts = np.zeros((n, n), np.int64)
    for at in range(n):
        keys = np.sort(wide * sizes[at] + wide[at], axis=1)
        counts[:, at] = 1 + np.count_nonzero(keys[:, 1:] != keys[:, :-1], axis=1)
    return [[i for i in asked[at] if counts[i, at] == counts[i, i]] for at in range(n)]


def _minimal(table: LabelTable, at: int, single: list[int]) -> list[int]:
    if single:
        return [min(single, key=lambda i: (table.sizes[i], table.labels[i]))]
    others = [i for i in range(len(table.labels)) if i != at]
    if len(others) < 2 or not _probed(table, others, at):
        return []
    for spared in sorted(others, key=lambda i: (-table.sizes[i], table.labels[i])):
        rest = [i for i in others if i != spared]
        if rest and _probed(table, rest, at):
            others = rest
    return others


def _probed(table: LabelTable, by: list[int], at: int) -> bool:
    """On a few series first: what does not hold there is cheap to refuse."""
    return (table.series <= PROBED or _holds(table.first(PROBED), by, at)) and _holds(table, by, at)


def _holds(table: LabelTable, by: list[int], at: int) -> bool:
    return distinct(_pack(table, by)) == distinct(_pack(table, [*by, at]))


def _pack(table: LabelTable, columns: Iterable[int]) -> Keys:
    return packed([(table.codes[i], table.sizes[i]) for i in columns], table.series)


def _shared(keys: Keys) -> int:
    """Rows whose number another row has too."""
    ordered = np.sort(keys)
    same = ordered[1:] == ordered[:-1]
    edges: Any = np.zeros(ordered.size, np.bool_)
    edges[1:] |= same
    edges[:-1] |= same
    return int(np.count_nonzero(edges))
