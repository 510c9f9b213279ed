"""All rules → findings → recommendations, in an order that depends on nothing but their values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from analyzer.pricing import price
from analyzer.reading import Readers, Reading, narrowing_spots
from analyzer.rules import debug_logs, high_cardinality_label, unused_metric
from analyzer.verdicts import Judged, label_verdict
from flowgate.actions import Action
from flowgate.advice import BlindSpot, Evidence, Finding, LabelProfile, MetricProfile, Policy, Profile, Recommendation, Usage, Verdict
from flowgate.ids import FindingId, RecommendationId
from flowgate.money import Cost, Estimated, PriceBook, Volume
from flowgate.telemetry import Signal


@dataclass(frozen=True, slots=True)
class Read:
    """One metric that something reads: never to be dropped."""

    metric: str
    prom_names: tuple[str, ...]
    read_by: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What one analysis says."""

    findings: tuple[Finding, ...]
    recommendations: tuple[Recommendation, ...]
    used: tuple[Read, ...]
    blind_spots: tuple[BlindSpot, ...]
    volume: Volume
    cost: Cost
    metrics: int


def advise(profile: Profile, usage: Usage, book: PriceBook, policy: Policy, now: datetime) -> Advice:
    """Judges every metric and log source of a profile. `now` only dates the advice's expiry."""
    readers = Readers.over(usage, narrowing_spots(profile.window.seconds, policy, usage))
    readings = [(metric, readers.of(metric)) for metric in profile.metrics]
    found = [*_metric_findings(_by_name(readings), book, policy), *_log_findings(profile, usage, book, policy)]
    findings = tuple(sorted(found, key=_worth))
    total = sum((m.volume for m in profile.metrics), Volume())
    return Advice(
        findings,
        tuple(_recommendation(f, policy, now) for f in findings if f.action is not None),
        _used(readings),
        (*usage.blind_spots, *readers.narrowing),
        total,
        price(total, Signal.METRICS, book),
        len(profile.metrics),
    )


def _by_name(readings: Sequence[tuple[MetricProfile, Reading]]) -> list[list[tuple[MetricProfile, Reading]]]:
    """Metrics of one name together: a drop is by name, so one kind or unit that is read protects all."""
    grouped: dict[str, list[tuple[MetricProfile, Reading]]] = {}
    for metric, reading in readings:
        grouped.setdefault(metric.metric, []).append((metric, reading))
    return list(grouped.values())


def _metric_findings(grouped: Iterable[list[tuple[MetricProfile, Reading]]], book: PriceBook, policy: Policy) -> Iterable[Finding]:
    for group in grouped:
        judged = [(m, r, unused_metric.verdict(m, r)) for m, r in group]
        worst = max(judged, key=lambda found: _SEVERITY.index(found[2].verdict))
        if worst[2].verdict is not Verdict.NEEDED:
            yield _unused(group, worst, book)
        if worst[2].verdict is not Verdict.UNREFERENCED:
            for metric, reading in group:
                yield from _label_findings(metric, reading, book, policy)


_SEVERITY = (Verdict.UNREFERENCED, Verdict.CONDITIONAL, Verdict.UNKNOWN, Verdict.NEEDED)


def _unused(group: list[tuple[MetricProfile, Reading]], worst: tuple[MetricProfile, Reading, Judged], book: PriceBook) -> Finding:
    metric, reading, judged = worst
    total = sum((m.volume for m, _ in group), Volume())
    spots = tuple(dict.fromkeys(s for _, r in group for s in (*r.hiding, *r.narrowing)))
    return Finding(
        _id(unused_metric.RULE, metric.metric, ""),
        unused_metric.RULE,
        Signal.METRICS,
        metric.metric,
        None,
        judged.verdict,
        judged.wording,
        judged.risk,
        unused_metric.evidence(metric, reading),
        spots,
        total,
        price(total, Signal.METRICS, book),
        unused_metric.action(metric, judged.verdict),
    )


def _label_findings(metric: MetricProfile, reading: Reading, book: PriceBook, policy: Policy) -> Iterable[Finding]:
    for label in metric.labels:
        if high_cardinality_label.is_high(label, metric, policy):
            yield _label_finding(label, metric, reading, book)


def _label_finding(label: LabelProfile, metric: MetricProfile, reading: Reading, book: PriceBook) -> Finding:
    judged = label_verdict(label, metric, reading)
    gone = high_cardinality_label.removed(label, metric)
    return Finding(
        _id(high_cardinality_label.RULE, metric.metric, label.label, metric.unit, metric.kind),
        high_cardinality_label.RULE,
        Signal.METRICS,
        metric.metric,
        label.label,
        judged.verdict,
        judged.wording,
        judged.risk,
        high_cardinality_label.evidence(label, metric, reading),
        (*reading.hiding, *reading.narrowing),
        gone,
        price(gone, Signal.METRICS, book),
    )


def _log_findings(profile: Profile, usage: Usage, book: PriceBook, policy: Policy) -> Iterable[Finding]:
    spots = debug_logs.blind_spots(usage.blind_spots)
    letter, wording, risk = debug_logs.verdict(spots)
    for found in debug_logs.debug_logs(profile.logs, policy):
        yield Finding(
            _id(debug_logs.RULE, found.service, ""),
            debug_logs.RULE,
            Signal.LOGS,
            None,
            None,
            letter,
            wording,
            risk,
            debug_logs.evidence(found, policy),
            spots,
            found.volume,
            price(found.volume, Signal.LOGS, book),
            debug_logs.action(found, policy, letter),
        )


def _recommendation(finding: Finding, policy: Policy, now: datetime) -> Recommendation:
    actions: tuple[Action, ...] = (finding.action,) if finding.action else ()
    rate = finding.volume.points_per_second
    return Recommendation(
        RecommendationId(finding.id.replace("f-", "r-", 1)),
        (finding.id,),
        actions,
        Estimated(finding.volume, finding.cost),
        (rate, rate),
        finding.risk,
        True,
        now + policy.lease,
    )


def _used(readings: Sequence[tuple[MetricProfile, Reading]]) -> tuple[Read, ...]:
    used = [Read(m.metric, r.prom_names, r.evidence) for m, r in readings if r.hits]
    return tuple(sorted(used, key=lambda u: u.metric))


def _worth(finding: Finding) -> tuple[object, ...]:
    """Dearest first; ties by volume, then by id."""
    return (-finding.cost.amount, -finding.volume.bytes_per_second, finding.id)


def _id(*parts: str) -> FindingId:
    digest = hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
    return FindingId(f"f-{digest[:16]}")
