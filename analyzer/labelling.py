"""Labels of a metric, from arrays as segments hold them: which there are, how many values each takes, what is left without it, what it follows from.

Pure: what reads the arrays from segments is `analyzer.profiler`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.cardinality import Codes, LabelTable, dense, dependencies, distinct, packed
from flowgate.actions import Label, Place
from flowgate.advice import LabelProfile, ResourceAttribute

Classifier = Callable[[Sequence[str]], Sequence[str]]
"""The shape of each text (`analyzer.shapes`)."""
EXAMPLES = 3
SHAPED_FROM = 8
"""A label with fewer values is not asked for its shape."""
SHAPED = 32
"""Values looked at for a shape."""
MOST = 0.6
"""Share of values that must have a shape for the label to have it."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyValues:
    """Every key-value of a store, in the order of key and value."""

    find: Callable[[Any], NDArray[np.int64]]
    """Rows of ids; -1 where a segment names one that it does not hold."""
    keys: tuple[str, ...]
    starts: NDArray[np.int64]
    """Where each key's values begin, and at last where the last one's end."""
    key_of: NDArray[np.int64]
    texts: Callable[[Sequence[int]], Sequence[str]]
    bytes: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One label of one metric: a code a series, 0 where it lacks it, and the row in `KeyValues` of each code from 1."""

    label: Label
    codes: Codes
    rows: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.rows.size) + 1


def columns(place: Place, items: NDArray[np.int64], series: NDArray[np.int64], count: int, kvs: KeyValues) -> Iterator[Column]:
    """From key-values (`items`, rows of `kvs`) and the number below `count` of the series each belongs to."""
    known = items >= 0
    items, series = items[known], series[known]
    for key, mine in _by_key(kvs.key_of[items], count):
        if not kvs.keys[key]:
            continue
        start, end = int(kvs.starts[key]), int(kvs.starts[key + 1])
        codes = np.zeros(count, np.uint32)
        codes[series[mine]] = (items[mine] - start + 1).astype(np.uint32)
        yield narrowed(Label(place, kvs.keys[key]), codes, end - start + 1, start)


def _by_key(keys: NDArray[np.int64], count: int) -> Iterator[tuple[int, Any]]:
    """Each key that occurs, and where. Series of one metric mostly carry the same keys in the same order: then a key's are found by counting."""
    width, rest = divmod(keys.size, count) if count else (0, 0)
    first = keys[:width].tolist()
    if rest == 0 and len(set(first)) == width and bool((keys.reshape(count, width) == keys[:width]).all()):
        yield from ((key, slice(i, None, width)) for i, key in sorted(enumerate(first), key=lambda one: one[1]))
        return
    yield from ((key, keys == key) for key in np.unique(keys).tolist())


def narrowed(label: Label, codes: Codes, size: int, start: int) -> Column:
    """A column with only the codes that occur. `start`: the row of the key-value with code 1."""
    small = dense(codes, size)
    rows = np.zeros(small[1], np.int64)
    rows[small[0]] = codes.astype(np.int64) - 1 + start
    return Column(label, small[0], rows[1:])


def table(of: Sequence[Column], count: int, scope: Codes) -> LabelTable:
    """Series that no label and no scope tells apart (versions of a scope, say) stay apart, as they are."""
    codes = np.stack([c.codes for c in of]) if of else np.zeros((0, count), np.uint32)
    sizes = tuple(c.size for c in of)
    keys = packed([*zip(codes, sizes, strict=True), (scope, int(scope.max(initial=0)) + 1)], count)
    if distinct(keys) == count:
        return LabelTable(tuple(c.label for c in of), codes, sizes, scope if scope.any() else None)
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
    copies = np.zeros(count, np.uint32)
    copies[order] = np.arange(count) - np.repeat(begins, np.diff(np.append(begins, count)))
    fixed = scope + copies * np.uint32(int(scope.max(initial=0)) + 1)
    return LabelTable(tuple(c.label for c in of), codes, sizes, fixed)


def profiled(
    of: Sequence[Column], left: LabelTable, points: NDArray[np.float64], seconds: float, kvs: KeyValues
) -> tuple[LabelProfile, ...]:
    """The widest label first."""
    following = dependencies(left)
    made = (_label(c, left, points, seconds, kvs) for c in of)
    whole = (
        replace(p, determined_by=d.by, determined_tested=d.tested) if (d := following.get(p.key)) is not None else p for p in made
    )  # fmt: skip
    return tuple(sorted(whole, key=lambda p: (-p.distinct, p.label, p.place)))


def _label(column: Column, left: LabelTable, points: NDArray[np.float64], seconds: float, kvs: KeyValues) -> LabelProfile:
    sizes = np.append(0.0, kvs.bytes[column.rows])
    carrying = int(np.count_nonzero(column.codes))
    values = column.size - 1
    return LabelProfile(
        column.label.key,
        column.label.place,
        values,
        left.left([column.label]),
        tuple(kvs.texts(column.rows[:EXAMPLES].tolist())),
        series_with=carrying,
        constant=values == 1 and carrying == left.series,
        bytes_per_second=float(points @ sizes[column.codes]) / seconds if column.label.place == "point" else None,
    )


def looked_at(column: Column, kvs: KeyValues) -> tuple[str, ...]:
    """Values of a label that are looked at for its shape: all, or some from all over their range."""
    if column.rows.size < SHAPED_FROM:
        return ()
    at = np.unique(np.linspace(0, column.rows.size - 1, SHAPED).astype(np.int64))
    return tuple(kvs.texts(column.rows[at].tolist()))


def shaped(label: LabelProfile, shapes: Sequence[str]) -> LabelProfile:
    """With the shape that most of its values have."""
    most = most_common(shapes)
    return label if most is None else replace(label, shape=most[0], shape_share=most[1])


def shape_name(shapes: Sequence[str]) -> str | None:
    """The shape that most have."""
    most = most_common(shapes)
    return None if most is None else most[0]


def most_common(shapes: Sequence[str]) -> tuple[str, float] | None:
    if not shapes:
        return None
    shape, count = min(Counter(shapes).items(), key=lambda item: (-item[1], item[0]))
    return (shape, count / len(shapes)) if count / len(shapes) >= MOST else None


# --- resources -----------------------------------------------------------------------------------------------------------------------


def resource_attributes(
    of: Sequence[Column], series: NDArray[np.int64], exports: NDArray[np.float64], seconds: float, kvs: KeyValues
) -> tuple[ResourceAttribute, ...]:
    """From a column an attribute, with a row a resource: its series, and how many exports carried it."""
    whole = LabelTable(tuple(c.label for c in of), np.stack([c.codes for c in of]), tuple(c.size for c in of)) if of else None
    following = dependencies(whole) if whole is not None else {}
    made = (_attribute(c, series, exports, seconds, kvs, following) for c in of)
    return tuple(sorted(made, key=lambda a: (-a.bytes_per_second, a.key)))


def _attribute(
    column: Column, series: NDArray[np.int64], exports: NDArray[np.float64], seconds: float, kvs: KeyValues, following: Mapping[Label, Any]
) -> ResourceAttribute:
    sizes = np.append(0.0, kvs.bytes[column.rows])
    carrying = column.codes > 0
    found = following.get(column.label)
    return ResourceAttribute(
        column.label.key,
        column.size - 1,
        int(carrying.sum()),
        int(series[carrying].sum()),
        float(exports @ sizes[column.codes]) / seconds,
        bool(column.size == 2 and carrying.all()),
        tuple(label.key for label in found.by) if found else (),
        found.tested if found else 0,
    )


# --- metric by metric ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Series of several metrics, those of one metric together, as columns: the metric's number, the resource's, the scope's, the points sent,
    and where in `items` (rows of key-values) each series' own begin."""

    number: NDArray[np.int64]
    resource: NDArray[np.int64]
    scope: NDArray[np.int64]
    points: NDArray[np.float64]
    begins: NDArray[np.int64]
    items: NDArray[np.int64]

    def metrics(self) -> Iterator[tuple[int, slice]]:
        """Each metric's number and its series."""
        edges = np.flatnonzero(np.diff(self.number)) + 1
        for start, end in pairwise([0, *edges.tolist(), self.number.size]):
            if end > start:
                yield int(self.number[start]), slice(start, end)


def metric_columns(rows: Rows, part: slice, resources: Sequence[Column], kvs: KeyValues) -> tuple[Column, ...]:
    """The labels of one metric. `resources`: attributes of all resources, a row a resource."""
    count = part.stop - part.start
    own = rows.begins[part.start : part.stop + 1]
    series = np.repeat(np.arange(count), np.diff(own))
    resource = rows.resource[part]
    met = np.unique(resource)
    shared = (narrowed_from(c, resource, met) for c in resources)
    return (*(c for c in shared if c.size > 1), *columns("point", rows.items[own[0] : own[-1]], series, count, kvs))


def narrowed_from(column: Column, resource: NDArray[np.int64], met: NDArray[np.int64]) -> Column:
    """A resource attribute's column, a row a series. `met`: the resources that occur: few, while series are many."""
    small, size = dense(column.codes[met], column.size)
    rows = np.zeros(size, np.int64)
    rows[small] = np.append(0, column.rows)[column.codes[met]]
    codes = np.zeros(column.codes.size, np.uint32)
    codes[met] = small
    return Column(column.label, codes[resource], rows[1:])
