"""Buckets of an explicit histogram that nobody reads: a backend stores each as a series of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from analyzer.reading import Reading, joined
from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged
from flowgate.actions import Action, ReduceBuckets
from flowgate.advice import Evidence, MetricProfile, Risk, Verdict, raised
from flowgate.money import Volume
from flowgate.telemetry import Kind, Signal

RULE = "unread_buckets"
_BYTES_OF_A_BUCKET = 16
"""Of a bucket a point carries the count (`bucket_counts`, fixed64) and the bound (`explicit_bounds`, double): opentelemetry-proto, metrics.proto."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds that some query reads; `every`: any may be."""

    bounds: frozenset[float]
    every: bool = False


def find(case: MetricCase) -> Iterator[Found]:
    """Only where the metric is read in parts alone; a name that is a histogram here and something else there is left as it is."""
    histograms = [m for m, _ in case.members if m.kind is Kind.HISTOGRAM]
    reading = joined([r for _, r in case.members])
    if len(histograms) != len(case.members) or not reading.hits or unused_metric.is_built_in(case.metric):
        return
    needed = needed_bounds(reading)
    gone = sum((_removed(m, needed.bounds) for m in histograms), Volume())
    if not needed.every and gone.prom_series > 0:
        yield _found(case.metric, histograms, reading, needed, gone)


def needed_bounds(reading: Reading) -> Bounds:
    """`_sum` and `_count` need no bucket, nor does a selector of exact ones any other. Whatever else reads it needs all, as does what was not seen."""
    if reading.hiding or "le" in reading.everywhere:
        return Bounds(frozenset(), True)
    bounds: set[float] = set()
    for _, use in reading.hits:
        part = _part(use.name, reading) if not use.pattern else None
        if part in ("sum", "count"):
            continue
        asked = _numbers(use.le) if part == "bucket" else None
        if asked is None:
            return Bounds(frozenset(), True)
        bounds |= asked
    return Bounds(frozenset(b for b in bounds if math.isfinite(b)))


_PARTS = ("bucket", "sum", "count")


def _part(name: str, reading: Reading) -> str | None:
    """The part that an exact name reads, where the same name without its ending is one of the metric's too."""
    return next((p for p in _PARTS if name.endswith((f"_{p}", f".{p}")) and name[: -len(p) - 1] in reading.prom_names), None)


def _numbers(values: frozenset[str] | None) -> set[float] | None:
    try:
        return None if values is None else {float(v) for v in values}
    except ValueError:
        return None


def _kept(metric: MetricProfile, bounds: frozenset[float]) -> int:
    """Bounds that stay, at the most."""
    return len([b for b in metric.bounds if b in bounds]) if metric.bounds else len(bounds)


def _removed(metric: MetricProfile, bounds: frozenset[float]) -> Volume:
    """Points stay, each with fewer buckets. The one up to infinity stays with them: it is the count."""
    merged = max(0, (metric.buckets or len(metric.bounds)) - _kept(metric, bounds))
    points = metric.volume.points_per_second
    return Volume(0, metric.volume.series * merged, 0.0, points * merged * _BYTES_OF_A_BUCKET, points * merged)


def action(metric: str, histograms: list[MetricProfile], bounds: frozenset[float]) -> Action | None:
    """Buckets are merged by their bounds, so those must be known, and the same."""
    of = {m.bounds for m in histograms}
    if len(of) != 1 or not histograms[0].bounds:
        return None
    (known,) = of
    return ReduceBuckets(metric, tuple(b for b in known if b in bounds), known)


def _found(metric: str, histograms: list[MetricProfile], reading: Reading, needed: Bounds, gone: Volume) -> Found:
    made = action(metric, histograms, needed.bounds)
    read = (
        f"only the buckets {', '.join(f'{b:g}' for b in sorted(needed.bounds))} are read" if needed.bounds else "no query reads its buckets"
    )
    where = "" if made else "; its bounds are not in the segments: set fewer at the source (the view's explicit buckets)"
    risk = raised(Risk.NONE) if reading.narrowing else Risk.NONE
    judged = Judged(Verdict.SAFE, f"{read}, sum and count stay as they are{where}", risk)
    counted = ", ".join(f"{m.buckets or len(m.bounds)} bounds on {m.volume.series} series" for m in histograms)
    return Found(
        RULE,
        Signal.METRICS,
        judged,
        (Evidence("traffic", expression=f"{metric}: {counted}"), *reading.evidence),
        reading.narrowing,
        gone,
        metric,
        action=made,
    )
