"""What a real Prometheus shows of the inputs and of what was made of them.

Aligned: equal, at every look whose windows hold all of an input or none of it, and where no counter is so near zero that `rate` clamps
what it extrapolates; at other looks within the edge error of notes 5.4, or not judged. Staggered: by the samples themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.aggregation.model import DROP, STALENESS, Sample, Stored, accepted, raw, totals
from tests.aggregation.queries import queries
from tests.aggregation.scenarios import DROPPED, TICKS, Scenario
from tests.semantics.promtool import Evaluation, evaluated
from tests.semantics.series import Gap, Labels, Outcome, Series, Value, World, has_content, same, shown, without

MINUTE = 60
LOOKS = (5, 8, 10, 13, 15, 18, 21, 25)
_WINDOW = re.compile(r"\[(\d+)m(:1m)?\]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked of one scenario, how often something was compared exactly, and what was wrong."""

    scenario: Scenario
    asked: int
    exact: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    scenario: Scenario
    text: str
    looks: tuple[int, ...]
    before: World
    after: World


def world(stored: Stored, looks: Sequence[int]) -> World:
    """The stored samples on the clock of the run, a tick a minute. What Prometheus would refuse is not stored."""
    series = (Series(name, labels, _cells(samples)) for (name, labels), samples in stored.items())
    return World(MINUTE, tuple(s for s in series if any(isinstance(v, float) for v in s.values)), tuple(looks))


def _cells(samples: Iterable[Sample]) -> tuple[Value, ...]:
    at = {round(s.time): Gap.STALE if s.value is None else s.value for s in accepted(samples)}
    return tuple(at.get(tick, Gap.MISSED) for tick in range(TICKS))


def off_the_clock(stored: Stored) -> list[str]:
    """Samples of an aligned run that do not have their inputs' time."""
    return [f"{name} at {s.time}" for (name, _), samples in stored.items() for s in samples if abs(s.time - round(s.time)) > 1e-6]


# --- aligned ---------------------------------------------------------------------------------------------------------------------------


def aligned(pairs: Sequence[tuple[Scenario, Stored]], seed: int, workers: int = 1) -> list[Verdict]:
    """A verdict a scenario, from what its metric became."""
    asked = [a for scenario, stored in pairs for a in _asked(scenario, stored, seed)]
    before = evaluated([Evaluation(a.text, a.before) for a in asked], workers)
    after = evaluated([Evaluation(a.text, a.after) for a in asked], workers)
    compared = [(a, was, now) for a, was, now in zip(asked, before, after, strict=True)]
    return [_verdict(s, [c for c in compared if c[0].scenario is s], off_the_clock(stored)) for s, stored in pairs]


def _asked(scenario: Scenario, stored: Stored, seed: int) -> Iterator[Asked]:
    plain, ours = raw(scenario), {k: v for k, v in stored.items() if k[0].startswith(scenario.name)}
    for text in queries(scenario, seed):
        looks = tuple(look for look in LOOKS if whole(scenario, plain, ours, text, look))
        if looks:
            yield Asked(scenario, text, looks, world(plain, looks), world(ours, looks))


def _verdict(scenario: Scenario, compared: Sequence[tuple[Asked, Sequence[Outcome], Sequence[Outcome]]], wrong: list[str]) -> Verdict:
    rows = [(a.text, look, was, now) for a, one, two in compared for look, was, now in zip(a.looks, one, two, strict=True)]
    apart = [f"{text} at {look}: was {shown(was)}, now {shown(now)}" for text, look, was, now in rows if not _equal(was, now)]
    return Verdict(scenario, len(rows), sum(has_content(was) for _, _, was, _ in rows), (*wrong, *apart))


def _equal(was: Outcome, now: Outcome) -> bool:
    """Where the query was an error before, nothing is promised."""
    return isinstance(was, str) or same(was, now)


def whole(scenario: Scenario, plain: Stored, stored: Stored, text: str, look: int) -> bool:
    """Whether equality is promised at this look."""
    windows = [(int(w), bool(sub)) for w, sub in _WINDOW.findall(text)]
    reach = sum(w for w, _ in windows)
    if look - reach < 0 or not all(_steady(samples, look, reach) for samples in plain.values()):
        return False
    ranges = {w for w, sub in windows if not sub} if scenario.counts else set[int]()
    both = [*plain.values(), *stored.values()]
    ends = range(look - reach, look + 1)
    return not any(clamped(samples, end - w, end) for samples in both for w in ranges for end in ends if end - w >= look - reach)


def _steady(samples: Sequence[Sample], look: int, reach: int) -> bool:
    """Heard at every tick of the window, or at none of those that the query can see; without a window the last sample is what counts."""
    heard = {round(s.time) for s in samples if s.value is not None}
    first, last = min(heard), max(heard)
    ended = any(s.value is None for s in samples)
    if not reach:
        return ended or last == TICKS - 1 or not last + STALENESS - 1 <= look <= last + STALENESS + 1
    seen = range(look - reach, look + 1)
    return all(t in heard for t in seen) or look < first or look - reach > last + (1 if ended else STALENESS + 1)


def clamped(samples: Sequence[Sample], begin: int, end: int) -> bool:
    """Whether `rate` over (begin, end] would extrapolate to before the counter was zero, and so extrapolates less."""
    values = [s.value for s in accepted(samples) if s.value is not None and begin < s.time <= end]
    gain = sum(b if b < a else b - a for a, b in pairwise(values))
    return bool(gain) and (len(values) - 1) * values[0] / gain <= 1


# --- where equality is not promised ----------------------------------------------------------------------------------------------------

EDGES = tuple(range(6, 18))
WIDTH = 5


def edges(pairs: Sequence[tuple[Scenario, Stored]], workers: int = 1) -> list[Verdict]:
    """Increases in windows that open or close on births, deaths, gaps and restarts differ by the error of notes 5.4, and no more."""
    counting = [(s, raw(s), stored) for s, stored in pairs if s.counts]
    texts = [f"sum without ({DROPPED}) (increase({s.name}{'_count' if s.kind == 'histogram' else ''}[{WIDTH}m]))" for s, _, _ in counting]
    before = evaluated([Evaluation(t, world(plain, EDGES)) for t, (_, plain, _) in zip(texts, counting, strict=True)], workers)
    after = evaluated([Evaluation(t, world(stored, EDGES)) for t, (_, _, stored) in zip(texts, counting, strict=True)], workers)
    return [_at_edges(s, plain, stored, was, now) for (s, plain, stored), was, now in zip(counting, before, after, strict=True)]


def _at_edges(scenario: Scenario, plain: Stored, stored: Stored, before: Sequence[Outcome], after: Sequence[Outcome]) -> Verdict:
    inputs, outputs = kept(plain), kept(stored)
    asked, wrong = 0, list[str]()
    for look, was, now in zip(EDGES, before, after, strict=True):
        if isinstance(was, str) or isinstance(now, str):
            wrong.append(f"at {look}: {was} {now}")
            continue
        for labels in was.keys() | now.keys():
            key = (f"{scenario.name}{'_count' if scenario.kind == 'histogram' else ''}", labels)
            allowed = _allowed(inputs[key], outputs.get(key, []), look)
            apart = abs(was.get(labels, 0.0) - now.get(labels, 0.0))
            asked += 1
            if apart > allowed + 1e-9 * max(1.0, was.get(labels, 0.0)):
                wrong.append(f"{key} at {look}: was {was.get(labels)}, now {now.get(labels)}, allowed {allowed}")
    return Verdict(scenario, asked, asked, tuple(wrong))


def _allowed(inputs: Sequence[Sequence[Sample]], outputs: Sequence[Sequence[Sample]], look: int) -> float:
    every = any(clamped(samples, look - WIDTH, look) for samples in outputs)
    return sum(edge(samples, look - WIDTH, look, every) for samples in inputs)


def edge(samples: Sequence[Sample], begin: int, end: int, every: bool = False) -> float:
    """What an input that is not whole in a window may move its increase by: what it had already counted at its first sample there, and one
    interval of its rate, both extrapolated. `every`: also of a whole input (the output's own extrapolation was clamped)."""
    heard = [s for s in accepted(samples) if s.value is not None]
    inside = [s for s in heard if begin < s.time <= end]
    if not inside or (len(inside) == end - begin and not every and not clamped(samples, begin, end)):
        return 0.0
    opening = inside[0].time
    already = counted(heard, opening) - counted(heard, begin) if opening > begin + 1 else 0.0
    steps = [s for s in heard if s.time <= begin][-1:] + inside
    rate = max((counted(heard, b.time) - counted(heard, a.time)) / (b.time - a.time) for a, b in pairwise(steps)) if len(steps) > 1 else 0.0
    return (already + rate) * (end - begin) / max(1.0, inside[-1].time - opening)


# --- staggered -------------------------------------------------------------------------------------------------------------------------

LAG = 2.0
"""One output interval and one scrape interval."""
OPENINGS = (2.5, 6.2, 9.9, 13.5)
LENGTHS = (4.0, 8.3, 11.0)


def counted(samples: Iterable[Sample], until: float) -> float:
    """What a counter has counted up to a time: its resets are seen, and its first sample is whole."""
    values = [0.0, *(s.value for s in accepted(samples) if s.value is not None and s.time <= until)]
    return sum(b if b < a else b - a for a, b in pairwise(values))


def kept(stored: Stored) -> Mapping[tuple[str, Labels], list[Sequence[Sample]]]:
    """The series under what is left of their labels."""
    found: dict[tuple[str, Labels], list[Sequence[Sample]]] = {}
    for (name, labels), samples in stored.items():
        found.setdefault((name, without(labels, DROP)), []).append(samples)
    return found


def staggered(scenario: Scenario, stored: Stored) -> Verdict:
    """Increases, read from the samples, differ by no more than what the inputs gained in the lag before each edge."""
    before, after = kept(raw(scenario)), kept({k: v for k, v in stored.items() if k[0].startswith(scenario.name)})
    wrong = [f"{key} is not in both" for key in before.keys() ^ after.keys()]
    asked = 0
    for key in before.keys() & after.keys():
        windows = [(o, o + length) for o in OPENINGS for length in LENGTHS if o + length < TICKS]
        asked += len(windows)
        wrong += [f"{key[0]} {sorted(key[1])} {w}: {told}" for w in windows if (told := _apart(before[key], after[key], *w))]
    return Verdict(scenario, asked, asked, tuple(wrong))


def _apart(before: Sequence[Sequence[Sample]], after: Sequence[Sequence[Sample]], begin: float, end: float) -> str:
    was, now = _gain(before, begin, end), _gain(after, begin, end)
    allowed = _gain(before, begin - LAG, begin) + _gain(before, end - LAG, end)
    return "" if abs(was - now) <= allowed + 1e-9 * max(was, 1.0) else f"was {was}, now {now}, allowed {allowed}"


def _gain(series: Iterable[Sequence[Sample]], begin: float, end: float) -> float:
    return sum(counted(samples, end) - counted(samples, begin) for samples in series)


def total(scenario: Scenario, stored: Stored) -> list[str]:
    """Whole-run totals that are not what the inputs counted."""
    found = {key: _gain(series, -1.0, 1e9) for key, series in kept(stored).items()}
    expected = totals(scenario)
    return [
        f"{k[0]} {sorted(k[1])}: {found.get(k)} for {v}" for k, v in expected.items() if abs(found.get(k, -1.0) - v) > 1e-9 * max(v, 1.0)
    ]
