"""What the rules about labels share: one label of all metrics of a name, judged together, and what takes it away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from analyzer.reading import Reading, joined
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged, label_verdict, worst
from flowgate.actions import Action, AggregateLabels, DeleteLabel, Label, Merge
from flowgate.advice import Evidence, LabelProfile, MetricProfile, Verdict, raised
from flowgate.money import Volume
from flowgate.telemetry import Signal

_UNNEEDED = (Verdict.SAFE, Verdict.CONDITIONAL)


@dataclass(frozen=True, slots=True)
class LabelCase:
    """One label of every metric of a name that carries it. An action is by name, so who reads any of them reads all."""

    label: Label
    carriers: tuple[tuple[MetricProfile, LabelProfile], ...]
    reading: Reading
    judged: Judged

    @property
    def gone(self) -> Volume:
        """What goes when the label goes and the series that it kept apart are merged."""
        return sum((removed(label, metric) for metric, label in self.carriers), Volume())

    @property
    def merges(self) -> bool:
        return any(label.series_without != metric.volume.series for metric, label in self.carriers)


def label_cases(case: MetricCase) -> Iterator[LabelCase]:
    reading = joined([r for _, r in case.members])
    carriers: dict[Label, list[tuple[MetricProfile, LabelProfile]]] = {}
    for metric, _ in case.members:
        for profile in metric.labels:
            carriers.setdefault(profile.key, []).append((metric, profile))
    for label, found in carriers.items():
        yield LabelCase(label, tuple(found), reading, worst(label_verdict(profile, metric, reading) for metric, profile in found))


def removed(label: LabelProfile, metric: MetricProfile) -> Volume:
    """Series in full, the other counts in proportion."""
    gone, volume = metric.volume.series - label.series_without, metric.volume
    share = gone / volume.series if volume.series else 0.0
    samples = volume.samples_per_second
    return Volume(
        gone,
        round(volume.prom_series * share),
        volume.points_per_second * share,
        volume.bytes_per_second * share,
        None if samples is None else samples * share,
    )


def found(rule: str, case: LabelCase, gone: Volume, judged: Judged, action: Action | None) -> Found:
    reading = case.reading
    return Found(
        rule,
        Signal.METRICS,
        judged,
        (*(_traffic(metric, label) for metric, label in case.carriers), *reading.evidence),
        (*reading.hiding, *reading.narrowing),
        gone,
        case.carriers[0][0].metric,
        case.label,
        action=action,
    )


def _traffic(metric: MetricProfile, label: LabelProfile) -> Evidence:
    said = f"{label.label} ({label.place}): {label.distinct} values, {metric.volume.series} series, {label.series_without} without it"
    return Evidence("traffic", expression=said)


def looks(case: LabelCase) -> str:
    """What the label's values look like, in words; nothing where no shape has most of them."""
    shapes = {(label.shape, label.shape_share) for _, label in case.carriers if label.shape}
    return "".join(f"; {share:.0%} of its values look like {_WORDS.get(str(shape), str(shape))}" for shape, share in sorted(shapes)[:1])


_WORDS = {
    "uuid": "UUIDs",
    "ip": "IP addresses",
    "path_with_ids": "paths with ids in them",
    "path": "paths",
    "url": "URLs",
    "timestamp": "timestamps",
    "sql": "SQL",
    "email": "e-mail addresses",
    "hash": "hashes",
    "generated_name": "generated names",
    "number": "numbers",
    "word": "words",
    "other": "free text",
}


# --- merging -------------------------------------------------------------------------------------------------------------------------


def aggregation(case: LabelCase) -> AggregateLabels | None:
    """Where the proof names one operator for every query, and it is known how often points come."""
    intervals = {metric.interval_seconds for metric, _ in case.carriers}
    operator = next((m for m in get_args(Merge) if m == case.judged.operator), None)
    if case.judged.verdict is not Verdict.SAFE or operator is None or None in intervals:
        return None
    every = min(i for i in intervals if i is not None)
    return AggregateLabels(case.carriers[0][0].metric, (case.label,), operator, float(max(1, round(every))))


# --- deleting ------------------------------------------------------------------------------------------------------------------------


def deletion(case: LabelCase) -> DeleteLabel | None:
    """Where the label follows from those that stay, that could have been otherwise, and no query needs it: then no series become one."""
    determined = {label.determined_by for _, label in case.carriers}
    if len(determined) != 1 or case.label.place != "point" or not all(_tested(metric, label) for metric, label in case.carriers):
        return None
    by = determined.pop()
    if not _unneeded(case) or any(_one_to_one(case, other) for other in by):
        return None
    return DeleteLabel(case.carriers[0][0].metric, case.label, by)


def follows(case: LabelCase, action: DeleteLabel) -> Judged:
    """The verdict of a deletion. What held in one window may not hold in the next, so the risk is a step up."""
    seen = sum(label.determined_tested for _, label in case.carriers)
    by = ", ".join(label.key for label in action.determined_by)
    said = f"no supplied query needs the label; it follows from {by}, on {seen} series that could have shown otherwise"
    return replace(case.judged, verdict=Verdict.SAFE, wording=said, risk=raised(case.judged.risk), conditions=(), operator=None)


def _tested(metric: MetricProfile, label: LabelProfile) -> bool:
    return bool(label.determined_by) and label.determined_tested > 0 and label.series_without == metric.volume.series


_OF_MERGING = frozenset({"counter", "no_reset", "non_zero", "alive", "zero_one"})
"""Conditions that ask something only of series that become one."""


def _unneeded(case: LabelCase) -> bool:
    """Outside every query's need. What is open may be about merging alone, for nothing merges."""
    uses = case.reading.uses
    return case.judged.verdict in _UNNEEDED and bool(uses) and all(c.kind in _OF_MERGING for c in case.judged.conditions)


_INSTANCE = re.compile(
    r"(^|[._\-/])(instance|pod|host|hostname|node|container|task|replica|machine|vm|ip|addr|address|endpoint|uid|uuid|guid|id|name|serial|pid|process|"
    r"session|server|client|peer|device|volume|interface)($|[._\-/])",
    re.IGNORECASE,
)
_OF_INSTANCES = frozenset({"uuid", "ip", "hash", "generated_name", "url", "timestamp"})


def _one_to_one(case: LabelCase, other: Label) -> bool:
    """Whether the label has as many values as one instance-like label that it follows from: one pod a node today is two tomorrow."""
    return any(
        p.distinct <= label.distinct and _instance_like(p) for metric, label in case.carriers for p in _profiles(metric.labels, other)
    )


def _profiles(labels: Iterable[LabelProfile], wanted: Label) -> Iterator[LabelProfile]:
    return (p for p in labels if p.key == wanted)


def _instance_like(label: LabelProfile) -> bool:
    return label.shape in _OF_INSTANCES or _INSTANCE.search(label.label) is not None
