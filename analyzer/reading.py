"""Who reads what: joins OTLP metrics with references by the Prometheus names they may appear under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import re2

from analyzer.naming import Part, candidates
from flowgate.advice import BlindSpot, Evidence, MetricProfile, Policy, Reference, Usage


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads one metric, and what might without our seeing it."""

    prom_names: tuple[str, ...]
    references: tuple[Reference, ...]
    parts: frozenset[Part]
    labels: frozenset[str]
    """Prometheus labels mentioned with the metric; `*` when any label might be."""
    hiding: tuple[BlindSpot, ...]
    narrowing: tuple[BlindSpot, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(r.evidence for r in self.references)


@dataclass(slots=True)
class Readers:
    """An index over a usage: exact names in a table, patterns compiled once."""

    usage: Usage
    narrowing: tuple[BlindSpot, ...]
    _by_name: dict[str, list[Reference]] = field(default_factory=dict[str, list[Reference]])
    _patterns: list[tuple[str, Pattern, Reference]] = field(default_factory=list["tuple[str, Pattern, Reference]"])
    _hiding: list[tuple[list[Pattern], BlindSpot]] = field(default_factory=list["tuple[list[Pattern], BlindSpot]"])

    @classmethod
    def over(cls, usage: Usage, narrowing: Sequence[BlindSpot]) -> Readers:
        made = cls(usage, tuple(narrowing))
        for reference in usage.references:
            for name in reference.metrics:
                made._by_name.setdefault(name, []).append(reference)
            made._patterns.extend((p, compiled(p), reference) for p in sorted(reference.patterns))
        for spot in usage.blind_spots:
            if spot.kind == "hiding":
                made._hiding.append(([compiled(p) for p in spot.touches], spot))
        return made

    def of(self, metric: MetricProfile) -> Reading:
        """Exact names hit by equality, patterns by full match; a hit on any part reads the metric."""
        names = candidates(metric.metric, metric.unit, metric.kind, metric.monotonic)
        found: dict[int, Reference] = {}
        parts: set[Part] = set()
        labels: set[str] = set()
        for key, reference, part in self._hits(names):
            found[id(reference)] = reference
            parts.add(part)
            labels |= reference.labels.get(key, frozenset())
        hiding = tuple(spot for patterns, spot in self._hiding if not patterns or _any_match(patterns, names))
        return Reading(tuple(names), tuple(found.values()), frozenset(parts), frozenset(labels), hiding, self.narrowing)

    def _hits(self, names: Mapping[str, Part]) -> Iterable[tuple[str, Reference, Part]]:
        for name, part in names.items():
            for reference in self._by_name.get(name, ()):
                yield name, reference, part
            for text, pattern, reference in self._patterns:
                if pattern.fullmatch(name):
                    yield text, reference, part


class Pattern:
    """An anchored RE2 pattern. One that RE2 refuses matches everything: what cannot be read protects."""

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled = re2.compile(text, options)
        except re2.error:
            self._compiled = None

    def fullmatch(self, name: str) -> bool:
        return self._compiled is None or self._compiled.fullmatch(name) is not None


def compiled(text: str) -> Pattern:
    return Pattern(text)


def _any_match(patterns: Sequence[Pattern], names: Iterable[str]) -> bool:
    return any(p.fullmatch(n) for n in names for p in patterns)


def narrowing_spots(window_seconds: float, policy: Policy, queries: bool = False) -> tuple[BlindSpot, ...]:
    """What lowers trust in every verdict: no executed queries, and a window shorter than the policy asks for."""
    spots: list[BlindSpot] = []
    if not queries:
        spots.append(BlindSpot("narrowing", "no source of executed queries is connected"))
    if window_seconds < policy.days_of_tap * 86_400:
        seen = f"{window_seconds / 86_400:.1f} days" if window_seconds >= 86_400 else f"{window_seconds:.0f} s"
        spots.append(BlindSpot("narrowing", f"the tap was looked at for {seen}, the policy asks for {policy.days_of_tap} days"))
    return tuple(spots)
