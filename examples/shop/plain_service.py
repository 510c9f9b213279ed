"""One service of the shop without any SDK: OTLP messages filled by hand and posted over HTTP."""

import http.client
import random
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.trace import SpanContext, TraceFlags

from examples.shop.catalogue import Metric, resource_attributes
from examples.shop.traffic import Line, Step, touched, value_of

TIMEOUT = 3.0
SCOPE = InstrumentationScope(name="inventory.handmade", version="0.8.2")
SEVERITY_NUMBERS = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}
SPAN_KINDS = {"server": Span.SPAN_KIND_SERVER, "client": Span.SPAN_KIND_CLIENT, "internal": Span.SPAN_KIND_INTERNAL}
CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
QUANTILES = (0.5, 0.9, 0.99)


class Message(Protocol):
    def SerializeToString(self) -> bytes: ...


@dataclass(slots=True)
class Track:
    """One metric's message and the points in it, which each beat changes in place."""

    metric: Metric
    message: pb.Metric
    points: list["pb.NumberDataPoint | pb.HistogramDataPoint | pb.SummaryDataPoint"] = field(default_factory=list)


def key_values(attributes: dict[str, str] | dict[str, str | int]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_value(value: str | int) -> AnyValue:
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)


def track(metric: Metric, start: int) -> Track:
    """A metric with one point for each of its series; `start` is the cumulative start in Unix nanoseconds."""
    made = Track(metric, pb.Metric(name=metric.name, unit=metric.unit, description=metric.description))
    home = _data_points(made.message, metric)
    for attributes in metric.series():
        point = home.add(start_time_unix_nano=start, attributes=key_values(attributes))
        if metric.kind == "histogram":
            point.explicit_bounds.extend(metric.bounds)
            point.bucket_counts.extend([0] * (len(metric.bounds) + 1))
        made.points.append(point)
    return made


def _data_points(message: pb.Metric, metric: Metric):
    if metric.kind in ("counter", "updown"):
        message.sum.is_monotonic = metric.kind == "counter"
        message.sum.aggregation_temporality = CUMULATIVE
        return message.sum.data_points
    if metric.kind == "gauge":
        return message.gauge.data_points
    if metric.kind == "histogram":
        message.histogram.aggregation_temporality = CUMULATIVE
        return message.histogram.data_points
    return message.summary.data_points


def advance(one: Track, chance: random.Random, now: int) -> None:
    """Move a metric on by one second: new values where something happened, the new time on every point."""
    for index in touched(one.metric, len(one.points), chance):
        _record(one.points[index], value_of(one.metric, chance), one.metric)
    for point in one.points:
        point.time_unix_nano = now


def _record(point, value: float, metric: Metric) -> None:
    if metric.kind in ("counter", "updown"):
        point.as_double += value
    elif metric.kind == "gauge":
        point.as_double = value
    else:
        point.count += 1
        point.sum += value
        if metric.kind == "histogram":
            point.bucket_counts[bisect_left(metric.bounds, value)] += 1
        else:
            del point.quantile_values[:]
            for quantile in QUANTILES:
                point.quantile_values.add(quantile=quantile, value=value * (1 + quantile))


class PlainService:
    """A service that keeps its points in protobuf messages; same doors as `SdkService`."""

    def __init__(self, name: str, metrics: tuple[Metric, ...], seed: int, address: str) -> None:
        self.name = name
        self.taken = 0
        self.failed = 0
        self._chance = random.Random(f"{seed}/{name}/values")
        self._ids = random.Random(f"{seed}/{name}/ids")
        self._address = address
        self._resource = Resource(attributes=key_values(resource_attributes(name, seed)))
        self._tracks = tuple(track(metric, time.time_ns()) for metric in metrics)
        self._lines: list[LogRecord] = []
        self._spans: list[Span] = []

    def beat(self) -> None:
        """Advance and send every metric, then the log records and spans gathered since the last beat."""
        now = time.time_ns()
        for one in self._tracks:
            advance(one, self._chance, now)
        self._post("/v1/metrics", self._metrics())
        self._flush()

    def log(self, line: Line, within: SpanContext | None = None) -> None:
        now = time.time_ns()
        record = LogRecord(
            time_unix_nano=now,
            observed_time_unix_nano=now,
            severity_number=SEVERITY_NUMBERS[line.severity],
            severity_text=line.severity,
            body=any_value(line.body),
            attributes=key_values(line.attributes),
        )
        if within:
            record.trace_id, record.span_id = within.trace_id.to_bytes(16), within.span_id.to_bytes(8)
        self._lines.append(record)

    def span(self, step: Step, parent: SpanContext | None, start: int) -> SpanContext:
        """Make one finished span; `start` is the journey's start in Unix nanoseconds."""
        trace_id = parent.trace_id if parent else self._ids.getrandbits(128) or 1
        span_id = self._ids.getrandbits(64) or 1
        begin = start + int(step.offset * 1e9)
        self._spans.append(
            Span(
                trace_id=trace_id.to_bytes(16),
                span_id=span_id.to_bytes(8),
                parent_span_id=parent.span_id.to_bytes(8) if parent else b"",
                name=step.name,
                kind=SPAN_KINDS[step.kind],
                start_time_unix_nano=begin,
                end_time_unix_nano=begin + int(step.length * 1e9),
                status=Status(code=Status.STATUS_CODE_ERROR) if step.failed else None,
            )
        )
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def stop(self) -> None:
        """Send what is buffered."""
        self._flush()

    def _metrics(self) -> ExportMetricsServiceRequest:
        scope = pb.ScopeMetrics(scope=SCOPE, metrics=[one.message for one in self._tracks])
        return ExportMetricsServiceRequest(resource_metrics=[pb.ResourceMetrics(resource=self._resource, scope_metrics=[scope])])

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        spans, self._spans = self._spans, []
        if lines:
            logs = ResourceLogs(resource=self._resource, scope_logs=[ScopeLogs(scope=SCOPE, log_records=lines)])
            self._post("/v1/logs", ExportLogsServiceRequest(resource_logs=[logs]))
        if spans:
            traces = ResourceSpans(resource=self._resource, scope_spans=[ScopeSpans(scope=SCOPE, spans=spans)])
            self._post("/v1/traces", ExportTraceServiceRequest(resource_spans=[traces]))

    def _post(self, path: str, message: Message) -> None:
        """One request on its own connection: a gateway may restart between any two."""
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)
        try:
            connection.request("POST", path, message.SerializeToString(), {"Content-Type": "application/x-protobuf"})
            accepted = connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            accepted = False
        finally:
            connection.close()
        self.taken += accepted
        self.failed += not accepted
