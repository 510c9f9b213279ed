"""Puts claims before Prometheus: the same expression on original and merged data must show the same."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.semantics.claims import Claim, tree_of
from tests.semantics.merging import merged, merges
from tests.semantics.promtool import Evaluation, Outcomes, evaluated
from tests.semantics.series import Labels, World, has_content, same, shown, shown_series
from tests.semantics.worlds import world

_PICKS = re.compile(r"\b(topk|bottomk|limitk)\b")
ATTEMPTS, INSIST = 8, 5
"""How many worlds are tried for one that shows something; how many of them must also merge something."""


@dataclass(frozen=True, slots=True)
class Case:
    """A claim on one data set."""

    claim: Claim
    seed: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`original` is None where no world showed anything. `power`: whether removing one needed label too was noticed; None: not tried."""

    case: Case
    world: World | None = None
    original: Outcomes | None = None
    merged: Outcomes | None = None
    power: bool | None = None

    @property
    def holds(self) -> bool:
        return self.original is None or self.merged is None or _alike(self.original, self.merged)

    @property
    def tied(self) -> bool:
        """Whether `topk` may have taken another of several equal series: their order is nobody's promise."""
        if self.original is None or self.merged is None or not _PICKS.search(self.case.claim.expression):
            return False
        pairs = zip(self.original, self.merged, strict=True)
        return all(isinstance(a, str) or (not isinstance(b, str) and _values(a) == _values(b)) for a, b in pairs)

    def apart(self) -> list[float]:
        """How far each value moved, as a share of the larger one; 1 where it is missing before or after."""
        pairs = zip(self.original or (), self.merged or (), strict=True)
        return [share for a, b in pairs if not isinstance(a, str) and not isinstance(b, str) for share in _shares(a, b)]

    def told(self) -> str:
        """Everything that is needed to see the difference by hand."""
        if self.world is None or self.original is None or self.merged is None:
            return f"{self.case.claim}: no world showed anything"
        claim = self.case.claim
        after = merged(self.world, claim.metric, claim.removed, claim.operator, claim.counter)
        looks = "\n".join(
            f"  was {shown(a)}\n  now {shown(b)}"
            for a, b in zip(self.original, self.merged, strict=True)
            if not same(a, b) and not isinstance(a, str)
        )
        lines = (f"{claim} (seed {self.case.seed}, every {self.world.interval} s)", looks, shown_series(self.world.series), "merged:")
        return "\n".join([*lines, shown_series(s for s in after.series if s.name == claim.metric)])


def _values(samples: Mapping[Labels, float]) -> list[float]:
    return sorted(float(f"{value:.9g}") for value in samples.values())


def _shares(before: Mapping[Labels, float], after: Mapping[Labels, float]) -> Iterator[float]:
    for labels in before.keys() | after.keys():
        a, b = before.get(labels), after.get(labels)
        if a is None or b is None:
            yield 1.0
        elif math.isfinite(a) and math.isfinite(b):
            yield abs(a - b) / max(abs(a), abs(b), 1e-300)


def _alike(before: Outcomes, after: Outcomes) -> bool:
    """Where the query was an error before, nothing is promised."""
    return all(isinstance(was, str) or same(was, now) for was, now in zip(before, after, strict=True))


def judged(cases: Sequence[Case], workers: int = 1, exact: bool = True) -> list[Verdict]:
    """A verdict for every case, in order."""
    found = _worlds(cases, workers, exact)
    shows = [(case, *found[case]) for case in cases if case in found]
    after = evaluated([_after(case, before) for case, before, _ in shows], workers)
    more = [(case, before, label) for case, before, _ in shows if (label := _needed(case, before)) is not None]
    power = evaluated([_after(case, before, frozenset({label})) for case, before, label in more], workers)
    noticed = {case: not _alike(found[case][1], outcome) for (case, _, _), outcome in zip(more, power, strict=True)}
    verdicts = {
        case: Verdict(case, before, original, outcome, noticed.get(case))
        for (case, before, original), outcome in zip(shows, after, strict=True)
    }
    return [verdicts.get(case, Verdict(case)) for case in cases]


def _worlds(cases: Sequence[Case], workers: int, exact: bool) -> dict[Case, tuple[World, Outcomes]]:
    """For each case the first world on which its expression shows something (and, as long as we insist, something is merged)."""
    found: dict[Case, tuple[World, Outcomes]] = {}
    for attempt in range(ATTEMPTS):
        todo = [case for case in dict.fromkeys(cases) if case not in found]
        tried = [(case, drawn(case, attempt, exact)) for case in todo]
        if attempt < INSIST:
            tried = [(case, w) for case, w in tried if merges(w, case.claim.metric, case.claim.removed)]
        outcomes = evaluated([Evaluation(case.claim.expression, w) for case, w in tried], workers)
        found |= {case: (w, outcome) for (case, w), outcome in zip(tried, outcomes, strict=True) if any(map(has_content, outcome))}
    return found


def drawn(case: Case, attempt: int, exact: bool = True) -> World:
    claim = case.claim
    text = f"{case.seed}\0{attempt}\0{claim}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    tree = tree_of(claim.expression)
    if tree is None:
        raise ValueError(f"a claim about something that is no expression: {claim.expression}")
    rules = [(rule, below) for rule in claim.rules if (below := tree_of(rule.expression)) is not None]
    return world(claim.expression, tree, claim.subject, seed, exact, rules)


def _after(case: Case, before: World, also: frozenset[str] = frozenset()) -> Evaluation:
    claim = case.claim
    return Evaluation(claim.expression, merged(before, claim.metric, claim.removed | also, claim.operator, claim.counter))


def _needed(case: Case, before: World) -> str | None:
    """A label that the claim calls needed and that the metric's series have."""
    claim = case.claim
    present = {label for s in before.series if s.name == claim.metric for label, _ in s.labels}
    choices = sorted(claim.needed & present)
    return random.Random(f"{case.seed}{claim}").choice(choices) if choices else None
