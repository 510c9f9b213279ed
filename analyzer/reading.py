"""Who reads what: joins OTLP metrics with references by the Prometheus names they may appear under."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import re2

from analyzer.naming import EVERY_STRATEGY, Part, Strategy, candidates, is_resource_info, label_candidates
from flowgate.advice import BlindSpot, Evidence, Executed, MetricProfile, Policy, Reference, Usage
from flowgate.telemetry import Signal
from flowgate.usage import Use


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads one metric, and what might without our seeing it."""

    prom_names: tuple[str, ...]
    hits: tuple[tuple[Reference, Use], ...]
    """Who reads it, and what of it each needs. What asks for resource attributes (`target_info`) is among them in `resource_hits`."""
    parts: frozenset[Part]
    hiding: tuple[BlindSpot, ...]
    narrowing: tuple[BlindSpot, ...]
    everywhere: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    """Labels that are asked of all metrics, and where: their values are listed, or they are taken from the resource (`target_info`)."""
    resource_hits: tuple[tuple[Reference, Use], ...] = ()

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple({id(r): r for r, _ in self.hits}.values())

    @property
    def uses(self) -> tuple[Use, ...]:
        return tuple(u for _, u in self.hits)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(r.evidence for r in self.references)

    @property
    def labels(self) -> frozenset[str]:
        """Prometheus labels mentioned with the metric."""
        return frozenset(label for use in self.uses for label in use.mentioned)


def joined(readings: Sequence[Reading]) -> Reading:
    """What reads any of several metrics, and what might: for those that stand and fall together."""
    if len(readings) == 1:
        return readings[0]
    return Reading(
        tuple(dict.fromkeys(n for r in readings for n in r.prom_names)),
        tuple({(id(reference), id(use)): (reference, use) for r in readings for reference, use in r.hits}.values()),
        frozenset(part for r in readings for part in r.parts),
        tuple(dict.fromkeys(s for r in readings for s in r.hiding)),
        tuple(dict.fromkeys(s for r in readings for s in r.narrowing)),
        {label: evidence for r in readings for label, evidence in r.everywhere.items()},
        readings[0].resource_hits if readings else (),
    )


@dataclass(slots=True)
class Readers:
    """An index over a usage: exact names in a table, patterns compiled once. `narrowing`: what lowers trust beside the usage's own spots."""

    usage: Usage
    narrowing: tuple[BlindSpot, ...]
    strategies: frozenset[Strategy] = EVERY_STRATEGY
    _by_name: dict[str, list[tuple[Reference, Use]]] = field(default_factory=dict[str, "list[tuple[Reference, Use]]"])
    _by_pattern: dict[str, list[tuple[Reference, Use]]] = field(default_factory=dict[str, "list[tuple[Reference, Use]]"])
    _resource_hits: list[tuple[Reference, Use]] = field(default_factory=list["tuple[Reference, Use]"])
    _patterns: Patterns = field(default_factory=lambda: Patterns(()))
    _touched: Patterns = field(default_factory=lambda: Patterns(()))

    @classmethod
    def over(cls, usage: Usage, narrowing: Sequence[BlindSpot], strategies: Iterable[Strategy] = EVERY_STRATEGY) -> Readers:
        made = cls(usage, tuple(narrowing), frozenset(strategies))
        for reference in usage.references:
            for use in reference.uses:
                made._index(reference, use)
        made._patterns = Patterns(made._by_pattern)
        made._touched = Patterns(touch for spot in usage.blind_spots for touch in spot.touches)
        return made

    def _index(self, reference: Reference, use: Use) -> None:
        if use.signal is not Signal.METRICS:
            return
        if not use.pattern and is_resource_info(use.name):
            self._resource_hits.append((reference, use))
        (self._by_pattern if use.pattern else self._by_name).setdefault(use.name, []).append((reference, use))

    def of(self, metric: MetricProfile) -> Reading:
        """Exact names hit by equality, patterns by full match; a hit on any part reads the metric."""
        names = candidates(metric.metric, metric.unit, metric.kind, metric.monotonic, self.strategies)
        found = list(self._hits(names))
        parts = frozenset(part for _, _, part in found)
        hits = tuple((reference, use) for reference, use, _ in found)
        touched = frozenset(t for name in names for t in self._touched.matching(name))
        spots = [spot for spot in self.usage.blind_spots if not spot.touches or not touched.isdisjoint(spot.touches)]
        hiding = tuple(spot for spot in spots if spot.kind == "hiding")
        narrowing = (*self.narrowing, *(spot for spot in spots if spot.kind == "narrowing"))
        everywhere = {**self._taken(metric), **self.usage.everywhere}
        return Reading(tuple(names), hits, parts, hiding, narrowing, everywhere, tuple(self._resource_hits))

    def _taken(self, metric: MetricProfile) -> dict[str, Evidence]:
        """Of the metric's resource attributes, under all their names, those that somebody takes from `target_info`."""
        if not self._resource_hits:
            return {}
        names = sorted(n for p in metric.labels if p.place == "resource" for n in label_candidates(p.label, True))
        return {name: reference.evidence for reference, use in self._resource_hits for name in names if name in use.demand}

    def _hits(self, names: Mapping[str, Part]) -> Iterable[tuple[Reference, Use, Part]]:
        for name, part in names.items():
            for reference, use in self._by_name.get(name, ()):
                yield reference, use, part
            for text in self._patterns.matching(name):
                for reference, use in self._by_pattern[text]:
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

    @property
    def understood(self) -> bool:
        return self._compiled is not None

    def fullmatch(self, name: str) -> bool:
        return self._compiled is None or self._compiled.fullmatch(name) is not None


TOGETHER = 128
"""Patterns asked about at once, for most names match none of them; a name that matches one is asked about each."""


class Patterns:
    """Many patterns, asked which of them match a name. Those that RE2 refuses match every name."""

    __slots__ = ("_groups",)

    def __init__(self, texts: Iterable[str]) -> None:
        known = {text: Pattern(text) for text in texts}
        joinable = [text for text, pattern in known.items() if pattern.understood and "\\Q" not in text]
        alone = known.keys() - joinable
        chunks = [joinable[k : k + TOGETHER] for k in range(0, len(joinable), TOGETHER)]
        # Alternatives of one pattern: where that does not match, none does. One that is refused, or quotes to its end, is asked alone.
        self._groups = [(Pattern("|".join(f"(?:{t})" for t in chunk)), [(t, known[t]) for t in chunk]) for chunk in chunks]
        self._groups += [(known[t], [(t, known[t])]) for t in known if t in alone]

    def matching(self, name: str) -> Iterator[str]:
        for whole, each in self._groups:
            if whole.fullmatch(name):
                yield from (text for text, pattern in each if pattern.fullmatch(name))


DEFAULT = Policy()


def unexecuted(usage: Usage, policy: Policy = DEFAULT) -> tuple[BlindSpot, ...]:
    """Nobody says which queries were run, or not for long enough: documents alone do not show what people ask ad hoc."""
    if not usage.executed:
        return (BlindSpot("narrowing", "no source of executed queries is connected"),)
    said = ((one, _too_little(one, policy)) for one in usage.executed)
    return tuple(BlindSpot("narrowing", reason, document=one.source) for one, reason in said if reason)


def _too_little(one: Executed, policy: Policy) -> str | None:
    who = f"the source {one.source}" if one.source is not None else "what was supplied"
    if one.queries == 0:
        return f"{who} holds no executed query of a metric"
    if one.seconds is None:
        return f"{who} does not say for how long executed queries were watched; the policy asks for {policy.days_of_queries} days"
    if one.seconds < policy.days_of_queries * _DAY:
        return f"{who} covers {_length(one.seconds)} of executed queries, the policy asks for {policy.days_of_queries} days"
    return None


_DAY = 86_400


def _length(seconds: float) -> str:
    """Rounded down: what is too short must not read as enough."""
    return f"{int(seconds / _DAY * 10) / 10:.1f} days" if seconds >= _DAY else f"{int(seconds)} s"


def narrowing_spots(window_seconds: float, policy: Policy, usage: Usage) -> tuple[BlindSpot, ...]:
    """What lowers trust in every verdict: no executed queries, and windows shorter than the policy asks for."""
    if window_seconds >= policy.days_of_tap * _DAY:
        return unexecuted(usage, policy)
    short = BlindSpot("narrowing", f"the tap was looked at for {_length(window_seconds)}, the policy asks for {policy.days_of_tap} days")
    return (*unexecuted(usage, policy), short)
