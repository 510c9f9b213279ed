"""A listener for the tests: takes OTLP over gRPC and HTTP and Fluent Forward bytes, and keeps them in memory."""

import socketserver
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


class OtlpSink:
    """Listens on free loopback ports while it is entered; what arrived is in `metrics`, `logs`, `traces`, `fluent`."""

    def __init__(self):
        self.metrics, self.logs, self.traces, self.fluent = [], [], [], bytearray()
        self.changed = threading.Condition()

    def __enter__(self):
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        metrics_grpc.add_MetricsServiceServicer_to_server(Grpc(self.take, metrics.ExportMetricsServiceResponse), self._grpc)
        logs_grpc.add_LogsServiceServicer_to_server(Grpc(self.take, logs.ExportLogsServiceResponse), self._grpc)
        traces_grpc.add_TraceServiceServicer_to_server(Grpc(self.take, traces.ExportTraceServiceResponse), self._grpc)
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), http_handler(self))
        self._forward = socketserver.ThreadingTCPServer(("127.0.0.1", 0), forward_handler(self))
        self._forward.daemon_threads = True
        for server in (self._http, self._forward):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.http = f"127.0.0.1:{self._http.server_port}"
        self.forward = f"127.0.0.1:{self._forward.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._grpc.stop(0)
        for server in (self._http, self._forward):
            server.shutdown()
            server.server_close()

    def take(self, request):
        with self.changed:
            if isinstance(request, metrics.ExportMetricsServiceRequest):
                self.metrics.append(request)
            elif isinstance(request, logs.ExportLogsServiceRequest):
                self.logs.append(request)
            else:
                self.traces.append(request)
            self.changed.notify_all()

    def wait_until(self, holds, seconds=15):
        """Wait for news until `holds()`; False when it never did."""
        with self.changed:
            return self.changed.wait_for(holds, seconds)


class Grpc:
    def __init__(self, take, response):
        self._take, self._response = take, response

    def Export(self, request, _context):
        self._take(request)
        return self._response()


def http_handler(sink):
    requests = {
        "/v1/metrics": metrics.ExportMetricsServiceRequest,
        "/v1/logs": logs.ExportLogsServiceRequest,
        "/v1/traces": traces.ExportTraceServiceRequest,
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.take(requests[self.path].FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Keep the test's output clean."""

    return Handler


def forward_handler(sink):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while received := self.request.recv(65_536):
                with sink.changed:
                    sink.fluent += received
                    sink.changed.notify_all()

    return Handler


def service_of(resource):
    return attributes_of(resource)["service.name"]


def attributes_of(holder):
    return {pair.key: pair.value.string_value for pair in holder.attributes}


def points_of(request):
    """Every point of one metric export, with its series' identity and its prom_series."""
    for resource_metrics in request.resource_metrics:
        resource = frozenset(attributes_of(resource_metrics.resource).items())
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                for point in data.data_points:
                    identity = (
                        resource,
                        scope_metrics.scope.name,
                        metric.name,
                        metric.unit,
                        kind,
                        frozenset(attributes_of(point).items()),
                    )
                    yield identity, prom_series(kind, point)


def prom_series(kind, point):
    """What a Prometheus-shaped backend stores for one stream."""
    return {"histogram": lambda: len(point.explicit_bounds) + 3, "summary": lambda: len(point.quantile_values) + 2}.get(kind, lambda: 1)()


def series_of(requests):
    """Series identity to the number of its points."""
    return Counter(identity for identity, _ in chain.from_iterable(map(points_of, requests)))


def log_records_of(requests):
    for request in requests:
        for resource_logs in request.resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    yield service_of(resource_logs.resource), record


def spans_of(requests):
    for request in requests:
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    yield service_of(resource_spans.resource), span
