"""The gateway's own binary, run on a configuration: what is sent to it, and what comes out at its exporters."""

from __future__ import annotations

import http.client
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from controlplane.processes import free_port
from controlplane.render.preview import Item, Point, Record, Span

BASE = """
receivers:
  otlp: {protocols: {http: {endpoint: "${env:FLOWGATE_OTLP_HTTP_ENDPOINT}"}}}
  prometheus:
    config: {scrape_configs: [{job_name: node, scrape_interval: 1h, static_configs: [{targets: ["127.0.0.1:9"]}]}]}
exporters:
  otlp_http/backend: &to
    endpoint: "http://${env:FLOWGATE_BACKEND_ENDPOINT}/backend"
    compression: none
    retry_on_failure: {enabled: false}
    sending_queue: {enabled: false}
  otlp_http/archive: {endpoint: "http://${env:FLOWGATE_BACKEND_ENDPOINT}/archive", compression: none, sending_queue: {enabled: false}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [otlp, prometheus], exporters: [otlp_http/backend]}
    logs: {receivers: [otlp], exporters: [otlp_http/backend]}
    traces: {receivers: [otlp], exporters: [otlp_http/backend]}
""".replace("&to", "")
"""No queue and no batch: when a request is answered, everything it led to has arrived."""
REQUESTS = {"metrics": ExportMetricsServiceRequest, "logs": ExportLogsServiceRequest, "traces": ExportTraceServiceRequest}


READY = "Everything is ready"
"""What the Collector says when every component has started, receivers and exporters."""


class Gateway:
    """Runs while it is entered. `got` are the bodies that arrived, by path (`/backend/v1/metrics`)."""

    def __init__(self, binary: Path, config: bytes, **environment: str) -> None:
        self.binary, self.config, self.environment = binary, config, environment
        self.got: dict[str, list[bytes]] = {}

    def __enter__(self) -> Gateway:
        self._sink = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.got))
        threading.Thread(target=self._sink.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.port = free_port()
        folder = self._folder = tempfile.TemporaryDirectory(prefix="flowgate-")
        path = Path(folder.name) / "collector.yaml"
        path.write_bytes(self.config)
        self._log = (Path(folder.name) / "log").open("w+")
        environment = {
            **self.environment,
            "FLOWGATE_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{self.port}",
            "FLOWGATE_BACKEND_ENDPOINT": f"127.0.0.1:{self._sink.server_port}",
        }
        self._process = subprocess.Popen([self.binary, "--config", path], env=environment, stdout=self._log, stderr=self._log)
        self._wait()
        return self

    def _wait(self) -> None:
        """Not only until the port is open: the Collector opens one port for all signals with the first pipeline that has it, and a request of
        another signal would find an exporter that is not started (a nil pointer in 0.149.0, and a connection that is closed)."""
        until = time.monotonic() + 20
        while time.monotonic() < until and self._process.poll() is None:
            if READY in self.log():
                return
            time.sleep(0.005)
        raise AssertionError(f"the gateway did not start:\n{self.log()[-3000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._sink.shutdown()
        self._sink.server_close()
        self._log.close()
        self._folder.cleanup()

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    def send(self, signal: str, body: bytes) -> None:
        """Raises when it is not taken, with the gateway's log when it went away over it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/v1/{signal}", body, {"content-type": "application/x-protobuf"})
        try:
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{error!r}; exit code {self._process.poll()}:\n{self.log()[-12_000:]}") from error
        said = answer.read()
        connection.close()
        assert answer.status == 200, (answer.status, said[:500])

    def arrived(self, signal: str, exporter: str = "backend") -> list[Any]:
        """Requests that came out at an exporter."""
        return [REQUESTS[signal].FromString(body) for body in self.got.get(f"/{exporter}/v1/{signal}", [])]

    def through(self, signal: str, request: Message, exporter: str = "backend") -> list[Any]:
        """What comes out when this is sent."""
        before = len(self.got.get(f"/{exporter}/v1/{signal}", []))
        self.send(signal, request.SerializeToString())
        return self.arrived(signal, exporter)[before:]


def _handler(got: dict[str, list[bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            got.setdefault(self.path, []).append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Keeps the test's output clean."""

    return Handler


# --- OTLP and items ------------------------------------------------------------------------------------------------------------


def pairs(attributes: dict[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_value(value: object) -> AnyValue:
    made = AnyValue()
    match value:
        case None:
            pass
        case bool():
            made.bool_value = value
        case int():
            made.int_value = value
        case float():
            made.double_value = value
        case bytes():
            made.bytes_value = value
        case str():
            made.string_value = value
        case dict():
            made.kvlist_value.values.extend(pairs(value))
            made.kvlist_value.SetInParent()
        case list() | tuple():
            made.array_value.values.extend(map(any_value, value))
            made.array_value.SetInParent()
        case _:
            raise TypeError(value)
    return made


def plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if kind == "array_value":
        return [plain(v) for v in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes(listed: Sequence[KeyValue]) -> dict[str, object]:
    return {a.key: plain(a.value) for a in listed}


def items(request: Any) -> Iterator[tuple[Item, Any]]:
    """Every item of a request as the preview knows it, and as it is."""
    for resource in getattr(request, next(f for f in ("resource_metrics", "resource_logs", "resource_spans") if hasattr(request, f))):
        about = attributes(resource.resource.attributes)
        for scope in getattr(resource, resource.DESCRIPTOR.name.replace("Resource", "scope_").lower()):
            yield from _of(scope, about)


def _of(scope: Any, about: dict[str, object]) -> Iterator[tuple[Item, Any]]:
    for metric in getattr(scope, "metrics", ()):
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            yield Point(metric.name, about, attributes(point.attributes)), point
    for record in getattr(scope, "log_records", ()):
        ids = (record.trace_id or bytes(16), record.span_id or bytes(8))
        yield Record(about, record.severity_number, plain(record.body), record.time_unix_nano, record.observed_time_unix_nano, *ids), record
    for span in getattr(scope, "spans", ()):
        state = (span.status.code, span.trace_id or bytes(16), span.trace_state)
        yield Span(about, span.name, attributes(span.attributes), *state), span


def environment() -> dict[str, str]:
    """Variables that a hostile name may ask for: were one expanded, `expanded` would be seen."""
    return dict.fromkeys(("X", "HOME", "PATH", "USER", "FLOWGATE_X", "FLOWGATE_TAP_TOKEN"), "expanded") | {
        "TMPDIR": os.environ.get("TMPDIR", "/tmp")
    }
