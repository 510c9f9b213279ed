"""A metric that nobody reads is waste. What might be read without our seeing it is unknown, never unused."""

from __future__ import annotations

import re

from analyzer.reading import Reading
from analyzer.verdicts import Judged, metric_verdict
from flowgate.actions import Action, DropMetric
from flowgate.advice import Evidence, MetricProfile, Risk, Verdict

RULE = "unused_metric"
# Written by Prometheus itself or by the translation of OTLP: joins, alerts and `absent()` lean on them without naming them.
_BUILT_IN = re.compile(r"up|target_info|target\.info|ALERTS|ALERTS_FOR_STATE|scrape_[a-z_]+|otel_scope_info")


def is_built_in(metric: str) -> bool:
    return _BUILT_IN.fullmatch(metric) is not None


def verdict(metric: MetricProfile, reading: Reading) -> Judged:
    """For dropping the metric."""
    if is_built_in(metric.metric):
        return Judged(Verdict.NEEDED, "built in: read without being named", Risk.HIGH)
    return metric_verdict(reading)


def action(metric: MetricProfile, letter: Verdict) -> Action | None:
    return DropMetric(metric.metric) if letter is Verdict.UNREFERENCED else None


def evidence(metric: MetricProfile, reading: Reading) -> tuple[Evidence, ...]:
    """What was looked for and not found."""
    return (Evidence("traffic", expression=f"{metric.metric}: looked for as {', '.join(reading.prom_names)}"),)
