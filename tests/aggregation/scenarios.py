"""What befalls a metric: inputs that restart, come, go, miss scrapes and arrive late, drawn from a seed.

Time is in ticks of one scrape interval from the start of a run; a point's own time may lie between ticks where sources are staggered.
Every value is a whole number, so that sums in any order are the same. A restart always shows as a fall, the only sign Prometheus has of
it; what only start times can show is the processor's own tests' business.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from flowgate.usage import Operator
from tests.semantics.series import Labels, labels_of

TICKS = 26
TROUBLE = range(6, 12)
"""When inputs are born, end and are not heard: before and after it windows are whole."""
SOURCES = ("s0", "s1", "s2")
DROPPED = "pod"
PHASES: Mapping[str, float] = MappingProxyType({"s0": 0.1, "s1": 0.4, "s2": 0.7})
"""When a staggered source is scraped, as a share of the interval."""
LATE = 0.7
"""How long a late point is under way: less than an interval, so that a source's points stay in order."""
BOUNDS = ((1.0, 5.0, 25.0), (2.0, 5.0, 25.0))
Kind = Literal["counter", "updown", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """An explicit histogram: one count more than bounds."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float


Reading = float | Buckets | None
"""What a point says; None: the input has ended (a staleness marker)."""


@dataclass(frozen=True, slots=True)
class Point:
    """All in ticks; `sent` is when it reaches the gateway."""

    sent: float
    time: float
    start: float
    value: Reading


@dataclass(frozen=True, slots=True)
class Input:
    """One writer of the metric."""

    source: str
    labels: Labels
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`on_resource`: the label that goes is an attribute of the resource, not of the point."""

    name: str
    kind: Kind
    operator: Operator
    aligned: bool
    on_resource: bool
    inputs: tuple[Input, ...]

    @property
    def counts(self) -> bool:
        return self.kind in ("counter", "histogram")


_KINDS: tuple[tuple[Kind, Operator], ...] = (
    ("counter", "sum"), ("counter", "sum"), ("counter", "sum"), ("histogram", "sum"), ("updown", "sum"), ("gauge", "sum"), ("gauge", "min"),
    ("gauge", "max"),
)  # fmt: skip


def scenario(seed: int, number: int, aligned: bool) -> Scenario:
    rng = random.Random(f"{seed}.{number}.{aligned}")
    kind, operator = _KINDS[number % len(_KINDS)]
    name = f"agg_{number}_total" if kind == "counter" else f"agg_{number}"
    groups = [{"a": f"a{i % 2}", "b": f"b{i // 2}"} for i in range(rng.randint(1, 3))]
    differing = kind == "histogram" and rng.random() < 0.3
    inputs = tuple(
        _input(rng, kind, aligned, labels_of({**group, DROPPED: f"p{i}.{n}"}), rng.choice(SOURCES), BOUNDS[int(differing and n % 2)])
        for i, group in enumerate(groups)
        for n in range(rng.randint(2, 4))
    )
    return Scenario(name, kind, operator, aligned, rng.random() < 0.4, inputs)


def scenarios(seed: int, count: int, aligned: bool) -> tuple[Scenario, ...]:
    return tuple(scenario(seed, number, aligned) for number in range(count))


@dataclass(frozen=True, slots=True)
class _Fate:
    """What befalls an input, by tick."""

    first: int
    last: int
    marker: bool
    missed: frozenset[int]
    late: frozenset[int]
    restarts: frozenset[int]


def _fate(rng: random.Random, aligned: bool) -> _Fate:
    first = rng.choice(TROUBLE) if rng.random() < 0.25 else 0
    last = rng.choice(TROUBLE) if first == 0 and rng.random() < 0.25 else TICKS - 1
    missed = frozenset(rng.sample(TROUBLE, rng.randint(1, 2))) - {first, last} if rng.random() < 0.25 else frozenset[int]()
    late = frozenset(rng.sample(range(1, TICKS - 2), 2)) - {first, last} if not aligned and rng.random() < 0.3 else frozenset[int]()
    restarts = frozenset(rng.sample(range(2, TICKS), rng.randint(1, 2))) if rng.random() < 0.4 else frozenset[int]()
    return _Fate(first, last, rng.random() < 0.5, missed, late, restarts)


def _input(rng: random.Random, kind: Kind, aligned: bool, labels: Labels, source: str, bounds: tuple[float, ...]) -> Input:
    fate = _fate(rng, aligned)
    phase = 0.0 if aligned else PHASES[source]
    return Input(source, labels, tuple(_points(rng, kind, fate, phase, bounds)))


def _points(rng: random.Random, kind: Kind, fate: _Fate, phase: float, bounds: tuple[float, ...]) -> Iterator[Point]:
    """An input that is there from the start has begun just before it: its first reading is whole."""
    start, value = fate.first + phase - 0.5, _first(rng, kind, bounds)
    for tick in range(fate.first, fate.last + 1):
        if tick in fate.restarts and tick > fate.first:
            start, value = tick + phase - 0.25, _restarted(kind, bounds)
        elif tick > fate.first:
            value = _next(rng, kind, value)
        if tick not in fate.missed:
            yield Point(tick + phase + LATE * (tick in fate.late), tick + phase, start, value)
    if fate.last < TICKS - 1 and fate.marker:
        yield Point(fate.last + 1 + phase, fate.last + 1 + phase, start, None)


def _first(rng: random.Random, kind: Kind, bounds: tuple[float, ...]) -> float | Buckets:
    if kind != "histogram":
        return float(rng.randint(1, 1000))
    counts = tuple(float(rng.randint(1, 100)) for _ in range(len(bounds) + 1))
    return Buckets(bounds, counts, float(rng.randint(1, 1000)))


def _restarted(kind: Kind, bounds: tuple[float, ...]) -> float | Buckets:
    return Buckets(bounds, (0.0,) * (len(bounds) + 1), 0.0) if kind == "histogram" else 0.0


def _next(rng: random.Random, kind: Kind, value: float | Buckets) -> float | Buckets:
    if isinstance(value, Buckets):
        return Buckets(value.bounds, tuple(c + rng.randint(0, 9) for c in value.counts), value.sum + rng.randint(0, 99))
    return value + rng.randint(0, 50) if kind == "counter" else float(rng.randint(-100 if kind == "updown" else 0, 1000))
