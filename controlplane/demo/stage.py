"""Starts the demo's processes in order: each is the real thing, and each is waited for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from controlplane.demo.client import Api
from controlplane.demo.layout import BINARIES, ROOT, Paths, Ports
from controlplane.processes import Child, Children, python, says_ready, wait_until
from flowgate.errors import Broken, Unreachable

BUCKET_SECONDS = 5
SEAL_SECONDS = 2
APPLY_TIMEOUT_SECONDS = 5
"""The Supervisor reports APPLIED only after this long in health: a soak, kept short here so that the demo is."""


def at(port: int) -> str:
    return f"127.0.0.1:{port}"


def start_backend(children: Children, ports: Ports) -> Child:
    """A Collector of its own, whose counters nobody of ours can touch."""
    metrics = ports.fixed["backend_metrics"]
    child = children.start(
        "backend",
        [str(BINARIES["otelcol-flowgate"]), "--config", str(ROOT / "gateway" / "backend.yaml")],
        {
            "FLOWGATE_DEMO_BACKEND_ENDPOINT": at(ports.fixed["backend_otlp"]),
            "FLOWGATE_DEMO_BACKEND_METRICS_PORT": str(metrics),
        },
    )
    wait_until("the backend's metrics page", lambda: answers(f"http://{at(metrics)}/metrics"), 20, child)
    return child


def start_node_exporter(children: Children, ports: Ports) -> Child:
    port = ports.fixed["node_exporter"]
    child = children.start("node_exporter", [str(BINARIES["node_exporter"]), f"--web.listen-address={at(port)}"])
    wait_until("node_exporter", lambda: answers(f"http://{at(port)}/metrics"), 20, child)
    return child


def start_control_plane(children: Children, ports: Ports, paths: Paths) -> Child:
    child = children.start("control-plane", python("-m", "controlplane", "api"), control_plane_env(ports, paths), ROOT)
    wait_until("the control plane", lambda: says_ready(child), 40, child)
    return child


def control_plane_env(ports: Ports, paths: Paths) -> dict[str, str]:
    return {
        "FLOWGATE_DATA": str(paths.data),
        "FLOWGATE_SEGMENTS": str(paths.segments),
        "FLOWGATE_API_LISTEN": at(ports.fixed["api"]),
        "FLOWGATE_OPAMP_LISTEN": at(ports.fixed["opamp"]),
        "FLOWGATE_COLLECTOR": str(BINARIES["otelcol-flowgate"]),
        "FLOWGATE_BASE_CONFIG": str(ROOT / "gateway" / "base.yaml"),
    }


def start_tap(children: Children, name: str, data: Path, grpc: int, http: int, tokens: Path | None) -> Child:
    args = ["-m", "ingest", "--data", str(data), "--grpc", at(grpc), "--http", at(http)]
    args += ["--bucket-seconds", str(BUCKET_SECONDS), "--seal-seconds", str(SEAL_SECONDS)]
    if tokens is not None:
        args += ["--tokens", str(tokens)]
    child = children.start(name, python(*args), None, ROOT)
    wait_until("the tap", lambda: says_ready(child), 30, child)
    return child


def gateway_env(ports: Ports, k: int, token: str) -> dict[str, str]:
    """What differs between gateways of one group: their environment alone, never their bundle."""
    mine = ports.gateways[k]
    return {
        "FLOWGATE_HEALTH_ENDPOINT": at(mine["health"]),
        "FLOWGATE_OTLP_GRPC_ENDPOINT": at(mine["otlp_grpc"]),
        "FLOWGATE_OTLP_HTTP_ENDPOINT": at(mine["otlp_http"]),
        "FLOWGATE_FLUENT_ENDPOINT": at(mine["fluent"]),
        "FLOWGATE_NODE_EXPORTER": at(ports.fixed["node_exporter"]),
        "FLOWGATE_BACKEND_ENDPOINT": at(ports.fixed["backend_otlp"]),
        "FLOWGATE_TAP_ENDPOINT": at(ports.fixed["tap_grpc"]),
        "FLOWGATE_TAP_TOKEN": token,
        "FLOWGATE_METRICS_HOST": "127.0.0.1",
        "FLOWGATE_METRICS_PORT": str(mine["metrics"]),
    }


def supervisor_config(ports: Ports, k: int, token: str, storage: Path) -> dict[str, object]:
    """The Supervisor's own configuration for gateway `k`; `gateway/supervisor.yaml` is the commented template of it."""
    mine = ports.gateways[k]
    return {
        "server": {
            "endpoint": f"ws://{at(ports.fixed['opamp'])}/v1/opamp",
            "headers": {"Authorization": f"Bearer {token}"},
        },
        "capabilities": {
            "accepts_remote_config": True,
            "reports_remote_config": True,
            "accepts_restart_command": True,
            "reports_effective_config": True,
            "reports_own_metrics": True,
            "reports_health": True,
            "reports_available_components": True,
            "reports_heartbeat": True,
        },
        "storage": {"directory": str(storage)},
        "agent": {
            "executable": str(BINARIES["otelcol-flowgate"]),
            "config_apply_timeout": f"{APPLY_TIMEOUT_SECONDS}s",
            "bootstrap_timeout": "30s",
            "opamp_server_port": mine["supervisor_opamp"],
            "passthrough_logs": True,
        },
        "healthcheck": {"endpoint": at(mine["supervisor_health"])},
        "telemetry": {"logs": {"level": "info", "output_paths": ["stdout"], "error_output_paths": ["stderr"]}},
    }


def start_gateway(children: Children, ports: Ports, paths: Paths, k: int, name: str, token: str) -> Child:
    """The real Supervisor with the real Collector under it. Its configuration file holds a token: mode 0600."""
    folder = paths.gateway(name)
    folder.mkdir(parents=True)
    config = folder / "supervisor.yaml"
    config.touch(0o600)
    config.write_text(json.dumps(supervisor_config(ports, k, token, folder / "storage"), indent=2))
    return children.start(name, [str(BINARIES["opampsupervisor"]), "--config", str(config)], gateway_env(ports, k, token))


def wait_in_sync(api: Api, name: str, child: Child, seconds: float = 60.0) -> dict[str, object]:
    """Waits until the gateway reports the bundle it should have as applied, and itself healthy."""
    last: dict[str, object] = {}

    def in_sync() -> bool:
        last.update(api.get(f"/api/v1/gateways/{name}"))
        return (
            last["config_hash"] is not None
            and last["config_hash"] == last["desired_hash"]
            and last["remote_config_status"] == "applied"
            and last["healthy"] is True
        )

    wait_until(f"{name} applied and healthy", in_sync, seconds, child, every=0.2)
    return last


def start_shop(children: Children, ports: Ports, seed: int) -> Child:
    mine = ports.gateways[0]
    child = children.start(
        "shop",
        python(
            "-m", "examples.shop", "--seed", str(seed),
            "--otlp-grpc", at(mine["otlp_grpc"]), "--otlp-http", at(mine["otlp_http"]), "--fluent", at(mine["fluent"]),
        ),
        None,
        ROOT,
    )  # fmt: skip
    wait_until("the shop's first full export", lambda: says_ready(child), 40, child)
    return child


def start_dashboards(children: Children, ports: Ports, token: str) -> Child:
    port = ports.fixed["dashboards"]
    child = children.start(
        "dashboards",
        python(
            "-m", "streamlit", "run", str(ROOT / "dashboards" / "app.py"), "--server.headless=true",
            "--server.address=127.0.0.1", f"--server.port={port}", "--browser.gatherUsageStats=false",
        ),
        {"FLOWGATE_API": f"http://{at(ports.fixed['api'])}", "FLOWGATE_TOKEN": token, "PYTHONPATH": str(ROOT)},
        ROOT / "dashboards",
    )  # fmt: skip
    wait_until("the cost page", lambda: answers(f"http://{at(port)}/_stcore/health"), 60, child)
    return child


def answers(url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False


def tap_stats(port: int) -> dict[str, int]:
    """The tap's own totals since it started."""
    try:
        answer = httpx.get(f"http://{at(port)}/stats", timeout=5.0)
    except httpx.TransportError as error:
        raise Unreachable(f"the tap does not answer: {error}") from error
    totals: dict[str, int] = answer.json()
    return totals


def supervisor_version() -> str:
    """What the Supervisor was built from: its binary says `dev`, the module that pins it says which."""
    named = re.search(r"/cmd/opampsupervisor (v\S+)", (ROOT / "gateway" / "supervisor" / "go.mod").read_text())
    if named is None:
        raise Broken("gateway/supervisor/go.mod names no opampsupervisor")
    return named[1].removeprefix("v")
