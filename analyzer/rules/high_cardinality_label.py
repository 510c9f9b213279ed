"""A label with many values that multiplies a metric's series. Advice only: taking it away needs an aggregation that is right for the type."""

from __future__ import annotations

from analyzer.reading import Reading
from flowgate.advice import Evidence, LabelProfile, MetricProfile, Policy
from flowgate.money import Volume

RULE = "high_cardinality_label"


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
