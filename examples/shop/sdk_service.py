"""One service of the shop on the official Python SDK: its own providers, its own resource, one export a second."""

import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, set_span_in_context

from examples.shop.catalogue import Metric, resource_attributes
from examples.shop.traffic import Line, Step, touched, value_of

EXPORT_TIMEOUT = 3.0
"""Seconds an export may take; the SDK's own default of 10 would outlast a stop."""
BATCH_DELAY_MS = 1_000
SCOPE = "shop.instrumentation"
SCOPE_VERSION = "1.0.0"

GRPC_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1_000))
"""A gateway that restarts with a new config must be found again at once, not after gRPC's default of up to 120 s."""

SEVERITIES = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
}
SPAN_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
Record = Callable[[float, dict[str, str]], None]


class SeededIds(IdGenerator):
    """Trace and span ids from seeded chance, so that two runs send the same ones."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def generate_span_id(self) -> int:
        return self._chance.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return self._chance.getrandbits(128) or 1


class CountingExporter(MetricExporter):
    """Hands batches to the real exporter and counts which were taken, which the reader does not tell."""

    def __init__(self, inner: MetricExporter) -> None:
        super().__init__()
        self.inner = inner
        self.taken = 0
        self.failed = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        result = self.inner.export(metrics_data, timeout_millis)
        self.taken += result is MetricExportResult.SUCCESS
        self.failed += result is not MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self.inner.shutdown(timeout_millis)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric with its SDK instrument's recording method and its attribute sets, in the catalogue's order."""

    metric: Metric
    record: Record
    attributes: tuple[dict[str, str], ...]


class SdkService:
    """A service whose series all exist after `__init__`; each `beat` records and exports every one of them."""

    def __init__(self, name: str, metrics: tuple[Metric, ...], seed: int, exporters: "Exporters") -> None:
        self.name = name
        self._chance = random.Random(f"{seed}/{name}/values")
        resource = Resource(
            {
                **resource_attributes(name, seed),
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
            }
        )
        self.exporter = CountingExporter(exporters.metrics)
        # The reader's own clock adds the length of an export to every interval; `beat` asks at exact seconds instead.
        self._reader = PeriodicExportingMetricReader(self.exporter, export_interval_millis=math.inf)
        self._meters = MeterProvider((self._reader,), resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False, views=views(metrics))
        self._logs = LoggerProvider(resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(exporters.logs, BATCH_DELAY_MS))
        self._traces = TracerProvider(
            resource=resource, shutdown_on_exit=False, id_generator=SeededIds(random.Random(f"{seed}/{name}/ids"))
        )
        self._traces.add_span_processor(BatchSpanProcessor(exporters.spans, schedule_delay_millis=BATCH_DELAY_MS))
        self._logger = self._logs.get_logger(SCOPE, SCOPE_VERSION)
        self._tracer = self._traces.get_tracer(SCOPE, SCOPE_VERSION)
        self._instruments = tuple(self._instrument(metric) for metric in metrics)
        self._open_every_series()

    def beat(self) -> None:
        """Record one second's worth of values, then export every series; a refused export is counted, not raised."""
        for instrument in self._instruments:
            for index in touched(instrument.metric, len(instrument.attributes), self._chance):
                instrument.record(value_of(instrument.metric, self._chance), instrument.attributes[index])
        self._reader.collect(timeout_millis=EXPORT_TIMEOUT * 1_000)

    def log(self, line: Line, within: SpanContext | None = None) -> None:
        self._logger.emit(
            context=set_span_in_context(NonRecordingSpan(within)) if within else None,
            severity_number=SEVERITIES[line.severity],
            severity_text=line.severity,
            body=line.body,
            attributes=line.attributes,
        )

    def span(self, step: Step, parent: SpanContext | None, start: int) -> SpanContext:
        """Make one finished span; `start` is the journey's start in Unix nanoseconds."""
        begin = start + int(step.offset * 1e9)
        span: Span = self._tracer.start_span(
            step.name,
            context=set_span_in_context(NonRecordingSpan(parent)) if parent else None,
            kind=SPAN_KINDS[step.kind],
            start_time=begin,
        )
        if step.failed:
            span.set_status(Status(StatusCode.ERROR, "provider refused"))
        span.end(begin + int(step.length * 1e9))
        return span.get_span_context()

    def stop(self) -> None:
        """Send what is buffered and close; may take as long as one export."""
        for provider in (self._traces, self._logs, self._meters):
            with suppress(OSError):
                provider.shutdown()

    def _instrument(self, metric: Metric) -> Instrument:
        meter = self._meters.get_meter(SCOPE, SCOPE_VERSION)
        about = (metric.name, metric.unit, metric.description)
        record: Record
        if metric.kind == "counter":
            record = meter.create_counter(*about).add
        elif metric.kind == "updown":
            record = meter.create_up_down_counter(*about).add
        elif metric.kind == "gauge":
            record = meter.create_gauge(*about).set
        else:
            record = meter.create_histogram(*about, explicit_bucket_boundaries_advisory=metric.bounds or None).record
        return Instrument(metric, record, tuple(metric.series()))

    def _open_every_series(self) -> None:
        for instrument in self._instruments:
            first = 0 if instrument.metric.kind == "counter" else instrument.metric.middle
            for attributes in instrument.attributes:
                instrument.record(first, attributes)


@dataclass(frozen=True, slots=True)
class Exporters:
    """The three exporters of one service, over one protocol."""

    metrics: MetricExporter
    logs: GrpcLogExporter | HttpLogExporter
    spans: GrpcSpanExporter | HttpSpanExporter


def grpc_exporters(address: str) -> Exporters:
    """`address` is host:port without TLS."""
    common = {
        "endpoint": f"http://{address}",
        "insecure": True,
        "timeout": EXPORT_TIMEOUT,
        "channel_options": GRPC_OPTIONS,
    }
    return Exporters(GrpcMetricExporter(**common), GrpcLogExporter(**common), GrpcSpanExporter(**common))


def http_exporters(address: str) -> Exporters:
    """`address` is host:port without TLS."""
    return Exporters(
        HttpMetricExporter(endpoint=f"http://{address}/v1/metrics", timeout=EXPORT_TIMEOUT),
        HttpLogExporter(endpoint=f"http://{address}/v1/logs", timeout=EXPORT_TIMEOUT),
        HttpSpanExporter(endpoint=f"http://{address}/v1/traces", timeout=EXPORT_TIMEOUT),
    )


def views(metrics: tuple[Metric, ...]) -> tuple[View, ...]:
    """The SDK makes explicit buckets unless a view asks for exponential ones."""
    return tuple(
        View(instrument_name=metric.name, aggregation=ExponentialBucketHistogramAggregation())
        for metric in metrics
        if metric.kind == "exponential_histogram"
    )
