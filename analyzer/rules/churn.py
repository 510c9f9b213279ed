"""Series that come and go, against as many that stay: a store pays for each that was ever there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analyzer.reading import Reading
from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged, label_verdict, metric_verdict
from flowgate.advice import Evidence, LabelProfile, MetricProfile, Policy, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "churn"


def find(case: MetricCase) -> Iterator[Found]:
    if unused_metric.judged(case).verdict is Verdict.UNREFERENCED:
        return
    for metric, reading in case.members:
        if replaced(metric, case.policy):
            yield _found(metric, reading)


def replaced(metric: MetricProfile, policy: Policy) -> int:
    """Series that ended while as many began: what is new alone is growth, what ended alone is a service that was switched off. 0 where that is
    not churn, or cannot be told."""
    turned = min(metric.born or 0, metric.ended or 0)
    return turned if turned >= max(policy.churn_series, metric.volume.series * policy.churn_share) else 0


def _found(metric: MetricProfile, reading: Reading) -> Found:
    suspect = _suspect(metric)
    turned = min(metric.born or 0, metric.ended or 0)
    steady = metric.volume.series - turned
    said = f"churn: of {metric.volume.series} series {metric.born} began and {metric.ended} ended in the window, so some {steady} are there at a time"
    return Found(
        RULE,
        Signal.METRICS,
        _judged(metric, suspect, reading, said),
        (Evidence("traffic", expression=said), *reading.evidence),
        (*reading.hiding, *reading.narrowing),
        Volume(turned, round(metric.volume.prom_series * turned / metric.volume.series)),
        metric.metric,
        suspect.key if suspect else None,
        detail=f"{metric.unit} {metric.kind}",
    )


def _suspect(metric: MetricProfile) -> LabelProfile | None:
    """The label whose values come and go with the series: without it hardly more are left than were there at a time."""
    turned = min(metric.born or 0, metric.ended or 0)
    enough = [p for p in metric.labels if p.series_without <= metric.volume.series - turned / 2 and p.distinct >= 2]
    return min(enough, key=lambda p: (p.series_without, -p.distinct, p.key), default=None)


def _judged(metric: MetricProfile, suspect: LabelProfile | None, reading: Reading, said: str) -> Judged:
    if suspect is None:
        return replace(metric_verdict(reading), wording=said, conditions=(), operator=None)
    of_label = label_verdict(suspect, metric, reading)
    return replace(of_label, wording=f"{said}; most of it by {suspect.label} ({of_label.wording})")
