"""A metric that nobody reads is waste. What might be read without our seeing it is unknown, never unused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from analyzer.reading import Reading
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged, metric_verdict, worst
from flowgate.actions import Action, DropMetric
from flowgate.advice import Evidence, MetricProfile, Risk, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "unused_metric"
# Written by Prometheus itself or by the translation of OTLP: joins, alerts and `absent()` lean on them without naming them.
_BUILT_IN = re.compile(r"up|target_info|target\.info|ALERTS|ALERTS_FOR_STATE|scrape_[a-z_]+|otel_scope_info")

BUILT_IN = Judged(Verdict.NEEDED, "built in: read without being named", Risk.HIGH)


def find(case: MetricCase) -> Iterator[Found]:
    found = judged(case)
    if found.verdict is Verdict.NEEDED:
        return
    yield Found(
        RULE,
        Signal.METRICS,
        found,
        evidence(case),
        tuple(dict.fromkeys(s for _, r in case.members for s in (*r.hiding, *r.narrowing))),
        sum((m.volume for m, _ in case.members), Volume()),
        case.metric,
        action=action(case.metric, found.verdict),
    )


def is_built_in(metric: str) -> bool:
    return _BUILT_IN.fullmatch(metric) is not None


def judged(case: MetricCase) -> Judged:
    """For dropping all of the name: the one that is needed most decides."""
    return worst(verdict(metric, reading) for metric, reading in case.members)


def verdict(metric: MetricProfile, reading: Reading) -> Judged:
    """For dropping the metric."""
    if is_built_in(metric.metric):
        return BUILT_IN
    return metric_verdict(reading)


def action(metric: str, letter: Verdict) -> Action | None:
    return DropMetric(metric) if letter is Verdict.UNREFERENCED else None


def evidence(case: MetricCase) -> tuple[Evidence, ...]:
    """What was looked for and not found, and the recording rules that read it for nobody."""
    names = dict.fromkeys(n for _, r in case.members for n in r.prom_names)
    rules = dict.fromkeys(e for _, r in case.members for e in r.evidence)
    return (Evidence("traffic", expression=f"{case.metric}: looked for as {', '.join(names)}"), *rules)
