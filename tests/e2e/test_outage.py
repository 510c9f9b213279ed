"""The tap never stands in the data path: stopped, then killed, it costs the backend nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from ruamel.yaml import YAML

from controlplane.demo.stage import answers, at
from controlplane.processes import Child, Children, free_port, python, says_ready, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.binary]
ROOT = Path(__file__).resolve().parents[2]
CAPACITY_SECONDS, PHASE_SECONDS = 5.0, 8.0
ACCEPT_SHARE = 0.97
"""A paced loader ends up to one request short of its rate."""


class Backend:
    """Keeps every metrics request it is sent, as bytes; answers at once."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 64 * 2**20)])
        handler = grpc.unary_unary_rpc_method_handler(self._take)
        service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.server.add_insecure_port(at(self.port))
        self.server.start()

    def _take(self, body: bytes, _: Any) -> bytes:
        with self._lock:
            self.bodies.append(body)
        return ExportMetricsServiceResponse().SerializeToString()

    def size(self) -> int:
        return sum(map(len, self.bodies))

    def ids(self) -> Counter[int]:
        """How often each point's number arrived."""
        found: Counter[int] = Counter()
        for body in self.bodies:
            request = ExportMetricsServiceRequest.FromString(body)
            found.update(
                p.as_int for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics for p in m.gauge.data_points
            )
        return found


def only_otlp(config: str) -> str:
    """The shipped base with its own sources taken out: every point that arrives is the loader's. Pipelines and exporters are as shipped."""
    document = YAML(typ="safe", pure=True).load(config)
    pipelines = document["service"]["pipelines"]
    del pipelines["metrics/tap_self"]
    for name in [n for n in pipelines if not n.startswith("metrics")]:
        del pipelines[name]
    for pipeline in pipelines.values():
        pipeline["receivers"] = [r for r in pipeline["receivers"] if r == "otlp" or r.startswith("forward/")]
    return json.dumps(document)


def gateway(children: Children, name: str, folder: Path, backend: int, tap: int) -> str:
    """A real Collector on the shipped pipelines; its OTLP/HTTP address."""
    config = only_otlp((ROOT / "gateway" / "base.yaml").read_text())
    path = folder / f"{name}.yaml"
    path.write_text(config)
    http, metrics = free_port(), free_port()
    env = {v: at(free_port()) for v in re.findall(r"\$\{env:(FLOWGATE_[A-Z_]+)\}", config)}
    env |= {"FLOWGATE_OTLP_HTTP_ENDPOINT": at(http), "FLOWGATE_BACKEND_ENDPOINT": at(backend), "FLOWGATE_TAP_ENDPOINT": at(tap)}
    env |= {"FLOWGATE_METRICS_HOST": "127.0.0.1", "FLOWGATE_METRICS_PORT": str(metrics), "FLOWGATE_TAP_TOKEN": " "}
    child = children.start(name, [str(ROOT / "gateway" / "build" / "otelcol-flowgate"), "--config", str(path)], env)
    wait_until("the gateway", lambda: answers(f"http://{at(metrics)}/metrics"), 20, child)
    return at(http)


def tap(children: Children, folder: Path, port: int) -> Child:
    args = ["-m", "ingest", "--data", str(folder / "segments"), "--grpc", at(port), "--http", at(free_port()), "--seal-seconds", "2"]
    args += ["--workers", "1"]  # the process that is stopped is the one that serves
    child = children.start("tap", python(*args), None, ROOT)
    wait_until("the tap", lambda: says_ready(child), 30, child)
    return child


def load(endpoint: str, seconds: float, rate: float | None = None, first_id: int = 0) -> dict[str, float]:
    args = ["-m", "examples.load", "--endpoint", endpoint, "--seconds", str(seconds), "--first-id", str(first_id)]
    args += ["--rate", str(rate)] if rate is not None else []
    run = subprocess.run(python(*args), cwd=ROOT, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return json.loads(run.stdout)


def test_a_stopped_and_then_killed_tap_costs_the_backend_nothing(tmp_path: Path) -> None:
    """At half the gateway's measured capacity: every point arrives exactly once, and the accept rate does not fall."""
    port = free_port()
    with Children(tmp_path) as children:
        child = tap(children, tmp_path, port)
        trial = Backend()
        capacity = load(gateway(children, "trial", tmp_path, trial.port, port), CAPACITY_SECONDS)["points_per_second"]
        children.stop(children.started[-1])
        trial.server.stop(None)

        backend, rate, sent = Backend(), capacity / 2, 0
        endpoint = gateway(children, "gateway", tmp_path, backend.port, port)
        phases: dict[str, dict[str, float]] = {}
        for phase in ("answering", "stopped", "killed"):
            if phase == "stopped":
                os.kill(child.process.pid, signal.SIGSTOP)
            elif phase == "killed":
                child.process.kill()
            phases[phase] = load(endpoint, PHASE_SECONDS, rate, sent)
            sent += int(phases[phase]["accepted"])

        sizes = [-1]
        wait_until("the last batch", lambda: (sizes.append(backend.size()), sizes[-1] == sizes[-2])[1], 60, every=3.0)
        arrived = backend.ids()
    print(
        f"capacity {capacity:,.0f} points/s; accepted { ({p: round(r['points_per_second']) for p, r in phases.items()}) }; {sent:,} points"
    )
    assert len(arrived) == sent, "points were lost"
    assert set(arrived.values()) == {1}, "points were sent twice"
    assert {p: r["retries"] for p, r in phases.items()} == {"answering": 0, "stopped": 0, "killed": 0}
    assert all(r["points_per_second"] >= ACCEPT_SHARE * rate for r in phases.values()), phases
