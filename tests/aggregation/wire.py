"""Points as OTLP and back.

A tick of a run is so many milliseconds; its points carry the time that they have in the scenario, from the run's own beginning on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric, ResourceMetrics

from tests.aggregation.model import Sample, Stored, le_of
from tests.aggregation.scenarios import DROPPED, Buckets, Input, Point, Scenario
from tests.semantics.series import Labels

SOURCE = "source"
"""Each source's own resource attribute: it goes too."""
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_ENDED = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


@dataclass(frozen=True, slots=True)
class Clock:
    """`zero` in nanoseconds since the epoch; `tick` is a scrape interval in nanoseconds."""

    zero: int
    tick: int

    def at(self, ticks: float) -> int:
        return self.zero + round(ticks * self.tick)

    def ticks(self, nanoseconds: int) -> float:
        return (nanoseconds - self.zero) / self.tick


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one source sends at once, and when, in ticks."""

    sent: float
    source: str
    body: bytes


def deliveries(scenarios: Sequence[Scenario], clock: Clock) -> list[Delivery]:
    found: dict[tuple[float, str], list[tuple[Scenario, Input, Point]]] = {}
    for scenario in scenarios:
        for one in scenario.inputs:
            for point in one.points:
                found.setdefault((round(point.sent, 6), one.source), []).append((scenario, one, point))
    return [Delivery(sent, source, _request(source, rows, clock)) for (sent, source), rows in sorted(found.items(), key=lambda r: r[0])]


def _request(source: str, rows: Iterable[tuple[Scenario, Input, Point]], clock: Clock) -> bytes:
    request = ExportMetricsServiceRequest()
    resources: dict[str, ResourceMetrics] = {}
    metrics: dict[tuple[str, str], Metric] = {}
    for scenario, one, point in rows:
        pod = dict(one.labels)[DROPPED] if scenario.on_resource else ""
        if pod not in resources:
            resources[pod] = request.resource_metrics.add()
            resources[pod].resource.attributes.extend(_attributes({SOURCE: source, **({DROPPED: pod} if pod else {})}))
            resources[pod].scope_metrics.add().scope.name = "scenarios"
        if (pod, scenario.name) not in metrics:
            metrics[pod, scenario.name] = resources[pod].scope_metrics[0].metrics.add(name=scenario.name)
        _add(metrics[pod, scenario.name], scenario, one, point, clock)
    return request.SerializeToString()


def _attributes(values: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in sorted(values.items())]


def _add(metric: Metric, scenario: Scenario, one: Input, point: Point, clock: Clock) -> None:
    labels = {k: v for k, v in one.labels if not (scenario.on_resource and k == DROPPED)}
    common: dict[str, Any] = {"attributes": _attributes(labels), "time_unix_nano": clock.at(point.time), "flags": 0}
    if scenario.kind != "gauge":
        common["start_time_unix_nano"] = clock.at(point.start)
    if point.value is None:
        common["flags"] = _ENDED
    if scenario.kind == "histogram":
        metric.histogram.aggregation_temporality = _CUMULATIVE
        metric.histogram.data_points.add(**common, **_histogram(point))
        return
    number = {"as_double": point.value} if isinstance(point.value, float) else {}
    if scenario.kind == "gauge":
        metric.gauge.data_points.add(**common, **number)
        return
    metric.sum.aggregation_temporality = _CUMULATIVE
    metric.sum.is_monotonic = scenario.kind == "counter"
    metric.sum.data_points.add(**common, **number)


def _histogram(point: Point) -> dict[str, Any]:
    if not isinstance(point.value, Buckets):
        return {}
    counts = [round(c) for c in point.value.counts]
    return {"count": sum(counts), "sum": point.value.sum, "bucket_counts": counts, "explicit_bounds": point.value.bounds}


# --- back ------------------------------------------------------------------------------------------------------------------------------

_Row = tuple[str, Labels, int, float | None]


def stored(bodies: Iterable[bytes], clock: Clock) -> Stored:
    """What came out, as Prometheus names it, in order of arrival. Sources' own attributes are labels where they are still there."""
    found: dict[tuple[str, Labels], list[Sample]] = {}
    for body in bodies:
        for name, labels, time, value in _rows(ExportMetricsServiceRequest.FromString(body)):
            found.setdefault((name, labels), []).append(Sample(round(clock.ticks(time), 9), value))
    return {key: tuple(samples) for key, samples in _ended(found).items()}


def _ended(found: dict[tuple[str, Labels], list[Sample]]) -> dict[tuple[str, Labels], list[Sample]]:
    """A histogram's marker has no bounds: it ends every series of its labels."""
    ends = {(name.removesuffix("!"), labels): samples for (name, labels), samples in found.items() if name.endswith("!")}
    whole = {key: samples for key, samples in found.items() if not key[0].endswith("!")}
    for (name, labels), samples in ends.items():
        for key in [k for k in whole if k[0].rpartition("_")[0] == name and frozenset(p for p in k[1] if p[0] != "le") == labels]:
            whole[key] = sorted([*whole[key], *samples], key=lambda s: s.time)
    return whole


def _rows(request: ExportMetricsServiceRequest) -> Iterator[_Row]:
    for resource in request.resource_metrics:
        of_resource = {a.key: a.value.string_value for a in resource.resource.attributes}
        for metric in (m for scope in resource.scope_metrics for m in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points:
                labels = frozenset((of_resource | {a.key: a.value.string_value for a in point.attributes}).items())
                yield from _values(metric, point, labels)


def _values(metric: Metric, point: Any, labels: Labels) -> Iterator[_Row]:
    ended, time = bool(point.flags & _ENDED), int(point.time_unix_nano)
    if not metric.HasField("histogram"):
        number = float(point.as_double if point.HasField("as_double") else point.as_int)
        yield metric.name, labels, time, None if ended else number
        return
    if ended:
        yield f"{metric.name}!", labels, time, None
        return
    bounds = [*map(le_of, point.explicit_bounds), "+Inf"]
    for le, below in zip(bounds, accumulate(map(float, point.bucket_counts)), strict=True):
        yield f"{metric.name}_bucket", labels | {("le", le)}, time, below
    yield f"{metric.name}_count", labels, time, float(point.count)
    yield f"{metric.name}_sum", labels, time, float(point.sum)
