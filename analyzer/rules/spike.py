"""A metric of which there is far more than in the window before. Where the window before was not seen, nothing is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analyzer.reading import Reading
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import metric_verdict
from flowgate.advice import Evidence, MetricProfile, Policy
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "spike"


def find(case: MetricCase) -> Iterator[Found]:
    for metric, reading in case.members:
        before = metric.previous
        if before is not None and is_spike(metric.volume, before, case.policy):
            yield _found(metric, before, reading)


def is_spike(now: Volume, before: Volume, policy: Policy) -> bool:
    """By series or by points, and by enough of them to matter."""
    by_series = now.series - before.series >= policy.spike_series and now.series >= policy.spike_factor * before.series
    more = now.points_per_second - before.points_per_second
    by_points = more >= policy.spike_points_per_second and now.points_per_second >= policy.spike_factor * before.points_per_second
    return by_series or by_points


def _found(metric: MetricProfile, before: Volume, reading: Reading) -> Found:
    now = metric.volume
    said = (
        f"{now.series} series and {now.points_per_second:.1f} points/s, "
        f"{before.series} and {before.points_per_second:.1f} in the window before"
    )
    judged = metric_verdict(reading)
    return Found(
        RULE,
        Signal.METRICS,
        replace(judged, wording=f"{'new' if before.series == 0 else 'a spike'}: {said}; {judged.wording}", conditions=(), operator=None),
        (Evidence("traffic", expression=f"{metric.metric}: {said}{_by(metric)}"), *reading.evidence),
        (*reading.hiding, *reading.narrowing),
        _more(now, before),
        metric.metric,
        detail=f"{metric.unit} {metric.kind}",
    )


def _more(now: Volume, before: Volume) -> Volume:
    more = now - before
    return Volume(max(0, more.series), max(0, more.prom_series), max(0.0, more.points_per_second), max(0.0, more.bytes_per_second))


def _by(metric: MetricProfile) -> str:
    """Who sends most of it."""
    owner = max(metric.owners, key=lambda o: o.volume.series, default=None)
    return f"; most of it from {owner.service or 'a service without a name'}" if owner else ""
