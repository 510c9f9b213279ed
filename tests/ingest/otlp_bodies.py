"""OTLP requests as tests need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW = 1_800_000_000 * 10**9


def attributes(holder: Any, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        pair = holder.add()
        pair.key, pair.value.string_value = key, value


def gauge(*values: float, name: str = "m", service: str = "svc", labels: Mapping[str, str] | None = None, at: int = NOW, step: int = 10**9):
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    attributes(group.resource.attributes, {"service.name": service})
    metric = group.scope_metrics.add().metrics.add()
    metric.name = name
    for k, value in enumerate(values):
        point = metric.gauge.data_points.add()
        point.as_double, point.time_unix_nano = value, at + k * step
        attributes(point.attributes, labels or {})
    return request


def counter(*values: float, name: str = "c", delta: bool = False, at: int = NOW, step: int = 10**9):
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = name
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = 1 if delta else 2
    for k, value in enumerate(values):
        point = metric.sum.data_points.add()
        point.as_double, point.time_unix_nano = value, at + k * step
    return request


def every_kind():
    """One point of each of the five kinds."""
    request = gauge(1.0, name="g")
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    summed = metrics.add(name="s", unit="1")
    summed.sum.aggregation_temporality, summed.sum.is_monotonic = 2, True
    summed.sum.data_points.add(as_int=3, time_unix_nano=NOW)
    explicit = metrics.add(name="h", unit="s")
    explicit.histogram.aggregation_temporality = 2
    explicit.histogram.data_points.add(count=4, sum=1.5, explicit_bounds=[1, 2, 3], bucket_counts=[1, 1, 1, 1], time_unix_nano=NOW)
    exponential = metrics.add(name="e")
    exponential.exponential_histogram.aggregation_temporality = 1
    exponential.exponential_histogram.data_points.add(count=5, time_unix_nano=NOW)
    summary = metrics.add(name="q")
    point = summary.summary.data_points.add(count=6, sum=2, time_unix_nano=NOW)
    for quantile in (0.5, 0.9):
        point.quantile_values.add(quantile=quantile, value=1)
    return request


def logs(*severities: int, service: str = "svc", body: str = "hello"):
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    attributes(group.resource.attributes, {"service.name": service})
    records = group.scope_logs.add().log_records
    for k, severity in enumerate(severities):
        record = records.add(
            time_unix_nano=NOW + k, severity_number=severity, trace_id=(k + 1).to_bytes(16, "big"), span_id=bytes(range(8))
        )
        record.body.string_value = body
    return request


def spans(*names: str, service: str = "svc"):
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    attributes(group.resource.attributes, {"service.name": service})
    listed = group.scope_spans.add().spans
    for k, name in enumerate(names):
        listed.add(
            name=name, kind=2, trace_id=bytes([k] * 16), span_id=bytes([k + 1] * 8), start_time_unix_nano=NOW, end_time_unix_nano=NOW + 5
        )
    return request
