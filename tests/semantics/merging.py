"""The merge that a claim speaks of: a metric's series grouped by all labels but those removed, each group merged into one.

It does what a gateway would do tick by tick (notes 5.4): counters by the increases of each input, resets seen per input; everything else
by the operator over the last value of each live input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from flowgate.usage import Operator
from tests.semantics.series import Gap, Labels, Series, Value, World, without

_GAUGES: Mapping[Operator, Callable[[list[float]], float]] = {
    "sum": sum, "min": min, "max": max, "group": max, "exists": max, "unique": max, "none": max,
}  # fmt: skip
"""Where only presence matters any value will do, and where one series a key is sure there is nothing to choose."""


def merged(world: World, metric: str, removed: frozenset[str], operator: Operator, counter: bool) -> World:
    """The world in which `metric` has lost the labels of `removed`."""
    groups: dict[Labels, list[Series]] = {}
    for series in world.series:
        if series.name == metric:
            groups.setdefault(without(series.labels, removed), []).append(series)
    rest = tuple(s for s in world.series if s.name != metric)
    made = tuple(Series(metric, labels, _merged([s.values for s in group], operator, counter)) for labels, group in groups.items())
    return replace(world, series=rest + made)


def merges(world: World, metric: str, removed: frozenset[str]) -> bool:
    """Whether the removal makes one series of several: what nothing is merged in proves little."""
    ours = [s for s in world.series if s.name == metric]
    return len({without(s.labels, removed) for s in ours}) < len(ours)


def _merged(inputs: Sequence[tuple[Value, ...]], operator: Operator, counter: bool) -> tuple[Value, ...]:
    if counter:
        return _counted(inputs)
    merge = _GAUGES[operator]
    return tuple(_at_tick(tick, last, merge) for tick, last in zip(zip(*inputs, strict=True), _carried(inputs), strict=True))


def _at_tick(tick: Sequence[Value], last: Sequence[Value], merge: Callable[[list[float]], float]) -> Value:
    """Nothing where no input was heard, the end where the last one ended, else the merge of all that live."""
    living = [v for v in last if isinstance(v, float)]
    if living and any(isinstance(v, float) or v is Gap.STALE for v in tick):
        return merge(living)
    return Gap.STALE if Gap.STALE in tick and not living else Gap.MISSED


def _carried(inputs: Sequence[tuple[Value, ...]]) -> Iterator[tuple[Value, ...]]:
    """Each input's last value at each tick, until its end. (Worlds keep their gaps shorter than Prometheus' five minutes.)"""
    return zip(*(itertools.accumulate(values, lambda last, v: last if v is Gap.MISSED else v) for values in inputs), strict=True)


def _counted(inputs: Sequence[tuple[Value, ...]]) -> tuple[Value, ...]:
    """One counter from many: what each has gained so far, what it had when first seen included; an ended input keeps its gain."""
    gains = zip(*(_gained(values) for values in inputs), strict=True)
    last = _carried(inputs)
    return tuple(
        _at_tick(tick, alive, _constantly(sum(gain))) for tick, gain, alive in zip(zip(*inputs, strict=True), gains, last, strict=True)
    )


def _constantly(value: float) -> Callable[[list[float]], float]:
    return lambda _: value


def _gained(values: Sequence[Value]) -> Iterator[float]:
    total, last = 0.0, 0.0
    for value in values:
        if isinstance(value, float):
            total += value if value < last else value - last
            last = value
        elif value is Gap.STALE:
            last = 0.0
        yield total
