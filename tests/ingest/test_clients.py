"""Clients that people have: what they send arrives whole."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzer.reader import open_tap
from controlplane.processes import Children, free_port, wait_until
from tests.ingest.test_hostile import ROOT, Tap

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def rows(store: Path, sql: str) -> list[tuple[object, ...]]:
    return open_tap(store).execute(sql).fetchall()


def over_grpc(tap: Tap) -> tuple[Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    url = f"http://127.0.0.1:{tap.grpc}"
    return OTLPMetricExporter(url, insecure=True), OTLPLogExporter(url, insecure=True), OTLPSpanExporter(url, insecure=True)


def over_http(tap: Tap) -> tuple[Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = f"http://127.0.0.1:{tap.http}/v1"
    return OTLPMetricExporter(f"{url}/metrics"), OTLPLogExporter(f"{url}/logs"), OTLPSpanExporter(f"{url}/traces")


def emit(exporters: tuple[Any, Any, Any]) -> None:
    """Three signals through the SDK as an application would."""
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    metrics, logs, spans = exporters
    meters = MeterProvider([PeriodicExportingMetricReader(metrics, 3_600_000)])
    meter = meters.get_meter("test")
    meter.create_counter("orders").add(3, {"shop": "north"})
    meter.create_histogram("latency", "s").record(0.2, {"shop": "north"})
    tracers, records = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    records.add_log_record_processor(SimpleLogRecordProcessor(logs))
    logger = logging.Logger("shop")
    logger.addHandler(LoggingHandler(logger_provider=records))
    with tracers.get_tracer("test").start_as_current_span("checkout"):
        logger.warning("stock is low")
    for provider in (meters, tracers, records):
        provider.shutdown()


@pytest.mark.parametrize("exporters", [over_grpc, over_http])
def test_the_python_sdk_is_understood(tmp_path: Path, exporters: Callable[[Tap], tuple[Any, Any, Any]]) -> None:
    with Children(tmp_path) as children:
        tap = Tap(children, tmp_path / "store")
        emit(exporters(tap))
        tap.child.process.terminate()
        assert tap.child.process.wait(timeout=15) == 0
    store = tmp_path / "store"
    assert rows(store, "SELECT metric, kind FROM series ORDER BY 1") == [("latency", "histogram"), ("orders", "sum")]
    assert rows(store, "SELECT last FROM points JOIN series USING (series_id) WHERE metric = 'orders'") == [(3.0,)]
    assert rows(store, "SELECT body, severity_number, trace_id = (SELECT trace_id FROM spans) FROM logs") == [("stock is low", 13, True)]
    assert rows(store, "SELECT name, count FROM span_counts") == [("checkout", 1)]


def forward(tag: str, record: dict[str, str]) -> bytes:
    """One event of the Fluent forward protocol (v1, message mode) in MessagePack; texts under 32 bytes, time since the epoch."""

    def text(value: str) -> bytes:
        return bytes([0xA0 | len(value.encode())]) + value.encode()

    fields = b"".join(text(k) + text(v) for k, v in record.items())
    return b"\x93" + text(tag) + b"\xce" + int(time.time()).to_bytes(4, "big") + bytes([0x80 | len(record)]) + fields


@pytest.mark.binary
def test_fluent_forward_arrives_through_the_gateway(tmp_path: Path) -> None:
    fluent, health = free_port(), free_port()
    with Children(tmp_path) as children:
        tap = Tap(children, tmp_path / "store")
        config = {
            "receivers": {"fluentforward": {"endpoint": f"127.0.0.1:{fluent}"}},
            "exporters": {"otlphttp": {"endpoint": f"http://127.0.0.1:{tap.http}"}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["fluentforward"], "exporters": ["otlphttp"]}},
            },
        }
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        binary = ROOT / "gateway" / "build" / "otelcol-flowgate"
        child = children.start("collector", [str(binary), "--config", str(tmp_path / "c.yaml")])
        wait_until("the gateway", lambda: _listens(fluent), 30, child)
        with socket.create_connection(("127.0.0.1", fluent)) as connection:
            connection.sendall(forward("shop", {"log": "card was declined", "level": "warn"}))
            wait_until("the record", lambda: tap.stats()["log_records"] == 1, 30, child)
        tap.child.process.terminate()
        assert tap.child.process.wait(timeout=15) == 0
    ((body, attributes),) = rows(tmp_path / "store", "SELECT body, attributes FROM logs")
    assert body == "card was declined"
    assert json.loads(str(attributes)) == {"fluent.tag": "shop", "level": "warn"}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
