"""What the rules about labels share: one label of all metrics of a name, judged together, and what takes it away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from analyzer.reading import Reading, joined
from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged, label_verdict, worst
from flowgate.actions import Action, AggregateLabels, DeleteLabel, Label, Merge
from flowgate.advice import Evidence, LabelProfile, MetricProfile, Policy, Verdict, raised
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
    built_in = unused_metric.is_built_in(case.metric)
    for label, found in carriers.items():
        judged = worst(label_verdict(profile, metric, reading) for metric, profile in found)
        yield LabelCase(label, tuple(found), reading, unused_metric.BUILT_IN if built_in else judged)


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


def deletion(case: LabelCase, policy: Policy) -> DeleteLabel | None:
    """Where the label follows from those that stay, on series that could have shown otherwise, and no query needs it: no series become one."""
    determined = {label.determined_by for _, label in case.carriers}
    if len(determined) != 1 or case.label.place != "point" or not _unneeded(case):
        return None
    by = determined.pop()
    if not all(_shown(metric, label, by, policy) for metric, label in case.carriers):
        return None
    return DeleteLabel(case.carriers[0][0].metric, case.label, by)


def follows(case: LabelCase, action: DeleteLabel) -> Judged:
    """The verdict of a deletion. What held in one window may not hold in the next, so the risk is a step up."""
    seen = sum(label.determined_tested for _, label in case.carriers)
    by = ", ".join(label.key for label in action.determined_by)
    said = f"no supplied query needs the label; it follows from {by}, on {seen} series that could have shown otherwise"
    return replace(case.judged, verdict=Verdict.SAFE, wording=said, risk=raised(case.judged.risk), conditions=(), operator=None)


def _shown(metric: MetricProfile, label: LabelProfile, by: tuple[Label, ...], policy: Policy) -> bool:
    """Whether what was seen says that a label follows from others, and not only that little was seen.

    A label of one value follows from anything: errors that did not happen yet are no proof that the method tells the status.
    """
    tested = label.determined_tested >= max(1, metric.volume.series * policy.determined_tested_share)
    whole = bool(by) and label.series_without == metric.volume.series
    return whole and tested and label.distinct >= 2 and not any(_one_to_one(metric, label, other, policy) for other in by)


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


def _one_to_one(metric: MetricProfile, label: LabelProfile, other: Label, policy: Policy) -> bool:
    """Whether a label has as many values as one that it follows from, by what may be chance: one pod a node today is two tomorrow, and few
    values of two enumerations (methods and statuses) go together until one does not. What is not among the labels cannot be told."""
    known = next((p for p in metric.labels if p.key == other), None)
    if known is None:
        return True
    return label.distinct >= known.distinct and (
        known.distinct < policy.one_to_one_values or _instance_like(known) or _instance_like(label)
    )


def _instance_like(label: LabelProfile) -> bool:
    return label.shape in _OF_INSTANCES or _INSTANCE.search(label.label) is not None


def together(deletions: Iterable[tuple[LabelCase, DeleteLabel]], aggregated: Iterable[Label]) -> list[tuple[LabelCase, DeleteLabel]]:
    """Those that can be carried out at once: what a deleted label follows from must stay. Of two that follow from each other the first stays
    by its key."""
    gone, kept = set(aggregated), set[Label]()
    chosen: list[tuple[LabelCase, DeleteLabel]] = []
    for case, action in sorted(deletions, key=lambda d: d[0].label, reverse=True):
        if case.label not in kept and gone.isdisjoint(action.determined_by):
            gone.add(case.label)
            kept.update(action.determined_by)
            chosen.append((case, action))
    return chosen
