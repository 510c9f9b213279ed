"""The tap as a process: real clients, refusals with their codes, and what a stop or a kill leaves."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import status_pb2
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from controlplane.processes import Child, Children, free_port, python, says_ready, wait_until
from flowgate.ids import DEFAULT_ORG
from ingest import server
from ingest.segments import read_segments
from tests.ingest.otlp_bodies import gauge, logs, spans

ROOT = Path(__file__).resolve().parents[2]
PROTOBUF = {"content-type": "application/x-protobuf"}
TRUNCATED = gauge(1.0).SerializeToString()[:-3]


class Tap:
    def __init__(self, children: Children, folder: Path, *args: str) -> None:
        self.folder, self.grpc, self.http = folder, free_port(), free_port()
        self.argv = python(
            "-m", "ingest", "--data", str(folder), "--grpc", f"127.0.0.1:{self.grpc}", "--http", f"127.0.0.1:{self.http}",
            "--seal-seconds", "1", "--workers", "1", *args,
        )  # fmt: skip
        self.child: Child = children.start("tap", self.argv, None, ROOT)
        wait_until("the tap", lambda: says_ready(self.child), 30, self.child)

    def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.http}{path}", content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def stats(self) -> dict[str, Any]:
        return httpx.get(f"http://127.0.0.1:{self.http}/stats").json()

    def export(self, body: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            call = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
            return call(body, metadata=metadata, timeout=60)


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    folder = tmp_path_factory.mktemp("tap")
    with Children(folder) as children:
        yield Tap(children, folder / "store")


def now_gauge(*values: float, name: str = "m") -> bytes:
    return gauge(*values, name=name, at=time.time_ns()).SerializeToString()


@pytest.mark.parametrize("exporter", ["grpc", "http"])
def test_the_official_sdk_is_understood(tap: Tap, exporter: str) -> None:
    before = tap.stats()["points"]
    made = (
        GrpcExporter(endpoint=f"http://127.0.0.1:{tap.grpc}", insecure=True)
        if exporter == "grpc"
        else HttpExporter(endpoint=f"http://127.0.0.1:{tap.http}/v1/metrics")
    )
    provider = MeterProvider([PeriodicExportingMetricReader(made, export_interval_millis=3_600_000)])
    meter = provider.get_meter("t")
    meter.create_counter("sdk.counter").add(3, {"a": "b"})
    meter.create_histogram("sdk.histogram").record(1.5)
    assert provider.force_flush()
    provider.shutdown()
    assert tap.stats()["points"] >= before + 2


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs", "/v1/traces"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_every_signal_is_taken_plain_and_gzipped(tap: Tap, path: str, encoding: str) -> None:
    request = {"/v1/metrics": gauge(1.0, at=time.time_ns()), "/v1/logs": logs(5), "/v1/traces": spans("a")}[path]
    body = request.SerializeToString()
    sent = gzip.compress(body) if encoding == "gzip" else body
    answer = tap.post(path, sent, content_type="application/x-protobuf", content_encoding=encoding)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"


def test_a_partial_success_says_how_many_and_why(tap: Tap) -> None:
    old = gauge(1.0, at=1).SerializeToString()
    said = ExportMetricsServiceResponse.FromString(tap.post("/v1/metrics", old, content_type="application/x-protobuf").content)
    assert said.partial_success.rejected_data_points == 1
    assert said.partial_success.error_message == "1 skewed"
    assert ExportMetricsServiceResponse.FromString(tap.export(old)) == said


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/metrics", PROTOBUF, TRUNCATED, 400),
        ("/v1/metrics", {"content-type": "application/json"}, b"{", 400),
        ("/v1/metrics", {"content-type": "text/plain"}, b"", 415),
        ("/v1/metrics", {**PROTOBUF, "content-encoding": "br"}, b"", 415),
        ("/v1/metrics", {**PROTOBUF, "content-encoding": "gzip"}, b"not gzip", 400),
        ("/v1/metrics", {**PROTOBUF, "content-encoding": "gzip"}, gzip.compress(b"x" * 1000, mtime=0)[:-9], 400),
        ("/v1/metrics", {**PROTOBUF, "content-encoding": "gzip"}, gzip.compress(bytes(server.MAX_BODY_BYTES + 1), mtime=0), 413),
        ("/v1/metrics", {**PROTOBUF, "x-flowgate-side": "sideways"}, b"", 400),
        ("/v1/metrics", {**PROTOBUF, "authorization": "Bearer wrong"}, b"", 401),
        ("/v1/nothing", PROTOBUF, b"", 404),
    ],
)
def test_bad_input_has_its_code_and_nothing_is_kept(tap: Tap, path: str, headers: dict[str, str], body: bytes, status: int) -> None:
    before = tap.stats()["points"]
    answer = httpx.post(f"http://127.0.0.1:{tap.http}{path}", content=body, headers=headers)
    assert answer.status_code == status
    assert tap.stats()["points"] == before
    if status in (400, 401, 413, 415) and headers.get("content-type") == "application/x-protobuf":
        assert status_pb2.Status.FromString(answer.content).message


def test_a_get_is_told_to_post(tap: Tap) -> None:
    answer = httpx.get(f"http://127.0.0.1:{tap.http}/v1/metrics")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "metadata", "code"),
    [
        (TRUNCATED, (), grpc.StatusCode.INVALID_ARGUMENT),
        (b"", (("authorization", "Bearer wrong"),), grpc.StatusCode.UNAUTHENTICATED),
        (b"", (("x-flowgate-side", "sideways"),), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_grpc_refuses_with_its_codes(tap: Tap, body: bytes, metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError, match=rf"status = {code}"):
        tap.export(body, metadata)


def test_the_side_travels_as_metadata(tap: Tap) -> None:
    tap.export(now_gauge(1.0, name="by.grpc"), (("x-flowgate-side", "out"),))
    tap.post("/v1/metrics", now_gauge(1.0, name="by.http"), content_type="application/x-protobuf", x_flowgate_side="self")
    wait_until("both sides", lambda: {"out", "self"} <= {s.side.value for s in read_segments(tap.folder)}, 20)
    assert all(s.org == DEFAULT_ORG for s in read_segments(tap.folder))


def test_sigterm_seals_what_was_accepted(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        tap = Tap(children, tmp_path / "store", "--seal-seconds", "3600")
        assert tap.post("/v1/metrics", now_gauge(1.0), content_type="application/x-protobuf").status_code == 200
        tap.child.process.send_signal(signal.SIGTERM)
        assert tap.child.process.wait(20) == 0
    assert [s.rows["points"] for s in read_segments(tmp_path / "store")] == [1]


def test_after_a_kill_what_was_staged_is_there_and_no_half_segment(tmp_path: Path) -> None:
    """The promise: staged every second; what a kill loses is what came after the last staging."""
    with Children(tmp_path) as children:
        tap = Tap(children, tmp_path / "store", "--seal-seconds", "3600")
        tap.post("/v1/metrics", now_gauge(1.0), content_type="application/x-protobuf")
        staging = tmp_path / "store" / "staging.duckdb.wal"
        wait_until("staging", lambda: staging.exists() and staging.stat().st_size > 0, 20, tap.child)
        tap.child.process.kill()
        tap.child.process.wait()
        again = children.start("again", tap.argv, None, ROOT)
        wait_until("the tap", lambda: says_ready(again), 30, again)
        assert [s.rows["points"] for s in read_segments(tmp_path / "store")] == [1]
        assert not list((tmp_path / "store").glob(".tmp-*"))


def run_tap(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ingest", *args], cwd=ROOT, capture_output=True, text=True, timeout=180)


def test_a_taken_port_is_one_sentence_and_exit_4(tap: Tap, tmp_path: Path) -> None:
    for flag, port in (("--http", tap.http), ("--grpc", tap.grpc)):
        other = "--grpc" if flag == "--http" else "--http"
        run = run_tap("--data", str(tmp_path / "s"), flag, f"127.0.0.1:{port}", other, f"127.0.0.1:{free_port()}")
        assert run.returncode == 4
        assert str(port) in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_sentence_and_exit_5(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = run_tap("--data", str(tmp_path / "file" / "s"))
    assert run.returncode == 5
    assert "cannot be written" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_json_answers_json(tap: Tap) -> None:
    answer = tap.post("/v1/metrics", b"{}", content_type="application/json")
    assert (answer.status_code, json.loads(answer.content)) == (200, {})
