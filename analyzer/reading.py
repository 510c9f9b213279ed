"""Who reads what: joins OTLP metrics with references by the Prometheus names they may appear under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import re2

from analyzer.naming import Part, candidates
from flowgate.advice import BlindSpot, Evidence, MetricProfile, Policy, Reference, Usage
from flowgate.telemetry import Signal
from flowgate.usage import Use


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads one metric, and what might without our seeing it."""

    prom_names: tuple[str, ...]
    references: tuple[Reference, ...]
    parts: frozenset[Part]
    uses: tuple[Use, ...]
    """What each of those needs of the metric."""
    hiding: tuple[BlindSpot, ...]
    narrowing: tuple[BlindSpot, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(r.evidence for r in self.references)

    @property
    def labels(self) -> frozenset[str]:
        """Prometheus labels mentioned with the metric."""
        return frozenset(label for use in self.uses for label in use.mentioned)


@dataclass(slots=True)
class Readers:
    """An index over a usage: exact names in a table, patterns compiled once."""

    usage: Usage
    narrowing: tuple[BlindSpot, ...]
    _by_name: dict[str, list[tuple[Reference, Use]]] = field(default_factory=dict[str, "list[tuple[Reference, Use]]"])
    _patterns: list[tuple[Pattern, Reference, Use]] = field(default_factory=list["tuple[Pattern, Reference, Use]"])
    _hiding: list[tuple[list[Pattern], BlindSpot]] = field(default_factory=list["tuple[list[Pattern], BlindSpot]"])

    @classmethod
    def over(cls, usage: Usage, narrowing: Sequence[BlindSpot]) -> Readers:
        made = cls(usage, tuple(narrowing))
        for reference in usage.references:
            for use in reference.uses:
                made._index(reference, use)
        for spot in usage.blind_spots:
            if spot.kind == "hiding":
                made._hiding.append(([compiled(p) for p in spot.touches], spot))
        return made

    def _index(self, reference: Reference, use: Use) -> None:
        if use.signal is not Signal.METRICS:
            return
        if use.pattern:
            self._patterns.append((compiled(use.name), reference, use))
        else:
            self._by_name.setdefault(use.name, []).append((reference, use))

    def of(self, metric: MetricProfile) -> Reading:
        """Exact names hit by equality, patterns by full match; a hit on any part reads the metric."""
        names = candidates(metric.metric, metric.unit, metric.kind, metric.monotonic)
        found: dict[int, Reference] = {}
        parts: set[Part] = set()
        uses: list[Use] = []
        for reference, use, part in self._hits(names):
            found[id(reference)] = reference
            parts.add(part)
            uses.append(use)
        hiding = tuple(spot for patterns, spot in self._hiding if not patterns or _any_match(patterns, names))
        return Reading(tuple(names), tuple(found.values()), frozenset(parts), tuple(uses), hiding, self.narrowing)

    def _hits(self, names: Mapping[str, Part]) -> Iterable[tuple[Reference, Use, Part]]:
        for name, part in names.items():
            for reference, use in self._by_name.get(name, ()):
                yield reference, use, part
            for pattern, reference, use in self._patterns:
                if pattern.fullmatch(name):
                    yield reference, use, part


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
