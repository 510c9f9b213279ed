# pyright: basic
"""`python -m ingest.warm`: compiles the kernels into numba's cache, in a process of its own, so that a serving tap never waits for it."""

from __future__ import annotations

import time

from flowgate.ids import DEFAULT_ORG
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.tap import Source
from ingest.wire import Wire


def warm(wire: Wire) -> float:
    """Runs every kernel once over one small request of each signal; returns the seconds it took. The engine is as new afterwards but for caches."""
    began = time.perf_counter()
    source = Source(Identity(DEFAULT_ORG, None), Side.IN)
    now = 1_800_000_000 * 10**9
    for signal, body in _bodies(now):
        wire.take(source, signal, body, now)
    wire.drain()
    return time.perf_counter() - began


def _bodies(now: int) -> list[tuple[Signal, bytes]]:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    metrics, logs, traces = ExportMetricsServiceRequest(), ExportLogsServiceRequest(), ExportTraceServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="warm")
    for number in range(2):
        pair = metric.gauge.data_points.add(time_unix_nano=now + number * 60 * 10**9, as_int=1).attributes.add(key="k")
        pair.value.string_value = "v"
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=now)
    traces.resource_spans.add().scope_spans.add().spans.add(start_time_unix_nano=now, name="warm")
    return [(s, m.SerializeToString()) for s, m in zip((Signal.METRICS, Signal.LOGS, Signal.TRACES), (metrics, logs, traces), strict=True)]


if __name__ == "__main__":
    print(f"compiled in {warm(Wire(b'warm')):.1f} s")
