"""What aggregation means (notes 5.4), as pure functions over points in the order of their arrival.

It judges the harness, and says what a whole run must add up to. A histogram is the counters that Prometheus stores of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from flowgate.usage import Operator
from tests.aggregation.scenarios import DROPPED, TICKS, Buckets, Input, Point, Reading, Scenario
from tests.semantics.series import Labels, without

DROP = frozenset({DROPPED})
STALENESS = 5
"""Ticks without a word after which an input is gone: Prometheus' five minutes at a scrape a minute."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One stored sample; `value` None: a staleness marker. `time` in ticks."""

    time: float
    value: float | None


Stored = Mapping[tuple[str, Labels], tuple[Sample, ...]]
"""What a backend was sent, by name and labels, in order of arrival."""


@dataclass(frozen=True, slots=True)
class Track:
    """One Prometheus series of one input: what it said, when it arrived."""

    name: str
    labels: Labels
    points: tuple[Point, ...]


def tracks(scenario: Scenario) -> list[Track]:
    return [track for one in scenario.inputs for track in _tracks(scenario.name, one)]


def _tracks(name: str, one: Input) -> Iterator[Track]:
    parts = {part: None for point in one.points for part in _parts(point.value)}
    for suffix, le in parts:
        labels = one.labels | ({("le", le)} if le else frozenset[tuple[str, str]]())
        points = tuple(Point(p.sent, p.time, p.start, _parts(p.value).get((suffix, le))) for p in one.points)
        yield Track(name + suffix, labels, points)


def _parts(value: Reading) -> Mapping[tuple[str, str], float]:
    """A value under each suffix and bound that Prometheus knows it by."""
    if value is None:
        return {}
    if not isinstance(value, Buckets):
        return {("", ""): value}
    bounds = [le_of(bound) for bound in value.bounds] + ["+Inf"]
    below = dict(zip((("_bucket", le) for le in bounds), accumulate(value.counts), strict=True))
    return {**below, ("_count", ""): sum(value.counts), ("_sum", ""): value.sum}


def le_of(bound: float) -> str:
    return f"{bound:g}"


def raw(scenario: Scenario) -> Stored:
    """The inputs as a backend without aggregation gets them."""
    return {(t.name, t.labels): tuple(Sample(p.time, _number(p.value)) for p in t.points) for t in tracks(scenario)}


def _number(value: Reading) -> float | None:
    return value if isinstance(value, float) else None


def aggregated(scenario: Scenario) -> Stored:
    """One output a group and tick. What cannot be merged (bounds that differ within a group) passes as it is."""
    groups: dict[tuple[str, Labels], list[Track]] = {}
    passed: dict[tuple[str, Labels], tuple[Sample, ...]] = {}
    mixed = _mixed(scenario)
    for track in tracks(scenario):
        kept = without(track.labels, DROP)
        if frozenset(p for p in kept if p[0] != "le") in mixed:
            passed[track.name, track.labels] = tuple(Sample(p.time, _number(p.value)) for p in track.points)
        else:
            groups.setdefault((track.name, kept), []).append(track)
    return passed | {key: tuple(_merged(group, scenario)) for key, group in groups.items()}


def _mixed(scenario: Scenario) -> frozenset[Labels]:
    bounds: dict[Labels, set[tuple[float, ...]]] = {}
    for one in scenario.inputs:
        bounds.setdefault(without(one.labels, DROP), set()).update(p.value.bounds for p in one.points if isinstance(p.value, Buckets))
    return frozenset(labels for labels, found in bounds.items() if len(found) > 1)


def _merged(group: Sequence[Track], scenario: Scenario) -> Iterator[Sample]:
    """A tick's output holds what arrived in it; its time is the tick's where inputs share a clock, else its end."""
    lived = False
    for tick in range(TICKS + 1):
        heard = [[p for p in track.points if p.sent < tick + 1] for track in group]
        living = [points for points in heard if _lives(points, tick)]
        time = float(tick) if scenario.aligned else tick + 1.0
        if living and any(p.sent >= tick for points in heard for p in points):
            yield Sample(time, sum(map(gained, heard)) if scenario.counts else _last(living, scenario.operator))
        elif lived and not living:
            yield Sample(time, None)
        lived = bool(living)


def _lives(points: Sequence[Point], tick: int) -> bool:
    return bool(points) and points[-1].value is not None and tick < points[-1].time + STALENESS


def _last(living: Sequence[Sequence[Point]], operator: Operator) -> float:
    values = [v for points in living if (v := _number(points[-1].value)) is not None]
    return {"sum": sum, "min": min, "max": max}[operator](values)


def gained(points: Iterable[Point]) -> float:
    """What a counter has counted since its own start: a fall or a new start is a reset, and what is not newer is not heard."""
    total, last, start, time = 0.0, 0.0, -1e9, -1e9
    for point in points:
        value = _number(point.value)
        if value is None or point.time <= time:
            continue
        total += value if value < last or point.start > start else value - last
        last, start, time = value, max(start, point.start), point.time
    return total


def totals(scenario: Scenario) -> Mapping[tuple[str, Labels], float]:
    """What each kept series must have counted when the run is over."""
    found: dict[tuple[str, Labels], float] = {}
    for track in tracks(scenario):
        key = (track.name, without(track.labels, DROP))
        found[key] = found.get(key, 0.0) + gained(track.points)
    return found


def deleted(scenario: Scenario) -> Stored:
    """What plain deletion of the label leaves: every input writes the one series, in order of arrival."""
    found: dict[tuple[str, Labels], list[tuple[float, Sample]]] = {}
    for one in scenario.inputs:
        for track in _tracks(scenario.name, one):
            rows = found.setdefault((track.name, without(track.labels, DROP)), [])
            rows += [(p.sent, Sample(p.time, _number(p.value))) for p in track.points]
    return {key: tuple(s for _, s in sorted(rows, key=lambda row: row[0])) for key, rows in found.items()}


def accepted(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """What Prometheus stores of what it is sent: a sample that is not newer than the last one is refused."""
    found: list[Sample] = []
    for sample in samples:
        if not found or sample.time > found[-1].time:
            found.append(sample)
    return tuple(found)
