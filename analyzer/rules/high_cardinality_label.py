"""A label with many values that multiplies a metric's series. Advice only: taking it away needs an aggregation that is right for the type."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.reading import Reading
from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import label_verdict
from flowgate.advice import Evidence, LabelProfile, MetricProfile, Policy, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "high_cardinality_label"


def find(case: MetricCase) -> Iterator[Found]:
    if unused_metric.judged(case).verdict is Verdict.UNREFERENCED:
        return
    for metric, reading in case.members:
        for label in metric.labels:
            if is_high(label, metric, case.policy):
                yield _found(label, metric, reading)


def _found(label: LabelProfile, metric: MetricProfile, reading: Reading) -> Found:
    return Found(
        RULE,
        Signal.METRICS,
        label_verdict(label, metric, reading),
        evidence(label, metric, reading),
        (*reading.hiding, *reading.narrowing),
        removed(label, metric),
        metric.metric,
        label.key,
        detail=f"{metric.unit} {metric.kind}",
    )


def is_high(label: LabelProfile, metric: MetricProfile, policy: Policy) -> bool:
    """Many values, and without the label few series would be left."""
    left = metric.volume.series * policy.high_cardinality_share
    return label.distinct >= policy.high_cardinality_distinct and label.series_without <= left


def removed(label: LabelProfile, metric: MetricProfile) -> Volume:
    """What goes when the label goes: series in full, the other counts in proportion."""
    gone = metric.volume.series - label.series_without
    share = gone / metric.volume.series
    return Volume(
        gone,
        round(metric.volume.prom_series * share),
        metric.volume.points_per_second * share,
        metric.volume.bytes_per_second * share,
    )


def evidence(label: LabelProfile, metric: MetricProfile, reading: Reading) -> tuple[Evidence, ...]:
    said = f"{label.label} ({label.place}): {label.distinct} values, {metric.volume.series} series, {label.series_without} without it"
    return (Evidence("traffic", expression=said), *reading.evidence)
