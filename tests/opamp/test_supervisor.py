"""The real Supervisor with the real Collector on WebSocket: first contact, a good offer, a refused one, and the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.processes import Children, free_port, wait_until
from opamp import AgentState, Offer, OfferedFile
from tests.opamp.live import Server

pytestmark = [pytest.mark.e2e, pytest.mark.binary]
BUILD = Path(__file__).resolve().parents[2] / "gateway" / "build"


def offer(body: str) -> Offer:
    return Offer({"collector.yaml": OfferedFile(body.encode(), "text/yaml")}, hashlib.sha256(body.encode()).digest())


def config(exporter: str) -> str:
    endpoint = f"127.0.0.1:{free_port()}"
    pipelines = {"metrics": {"receivers": ["otlp"], "exporters": [exporter]}}
    telemetry = {"metrics": {"level": "none"}}
    receivers = {"otlp": {"protocols": {"grpc": {"endpoint": endpoint}}}}
    return json.dumps({"receivers": receivers, "exporters": {"nop": {}}, "service": {"telemetry": telemetry, "pipelines": pipelines}})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def supervisor(server: Server, folder: Path) -> dict[str, object]:
    reports = ("remote_config", "effective_config", "health", "available_components", "heartbeat", "own_metrics")
    return {
        "server": {"endpoint": f"ws://127.0.0.1:{server.port}/v1/opamp", "headers": {"Authorization": "Bearer good"}},
        "capabilities": {"accepts_remote_config": True, "accepts_restart_command": True, **{f"reports_{r}": True for r in reports}},
        "storage": {"directory": str(folder / "storage")},
        "agent": {
            "executable": str(BUILD / "otelcol-flowgate"),
            "config_apply_timeout": "2s",
            "bootstrap_timeout": "30s",
            "opamp_server_port": free_port(),
        },
        "healthcheck": {"endpoint": f"127.0.0.1:{free_port()}"},
    }


def test_the_real_supervisor_applies_refuses_and_comes_back(server: Server, tmp_path: Path) -> None:
    """A refused configuration is FAILED with a reason and has no rollback of its own: offering the good one heals it."""
    (tmp_path / "supervisor.yaml").write_text(json.dumps(supervisor(server, tmp_path)))
    good, bad = offer(config("nop")), offer(config("nothing_of_that_name"))

    def state() -> AgentState:
        return next(iter(server.states.values()))

    def became(wanted: Offer, status: str) -> bool:
        known = state().config
        return known is not None and known.hash == wanted.hash and known.state == status

    with Children(tmp_path) as children:
        child = children.start("supervisor", [str(BUILD / "opampsupervisor"), "--config", str(tmp_path / "supervisor.yaml")])
        wait_until("first contact", lambda: any(s.identifying for s in server.states.values()), 40, child)
        assert state().identifying is not None
        assert state().identifying["service.version"] == "0.149.0"
        wait_until("its components", lambda: state().components is not None, 20, child)
        assert "filter" in state().components["processors"]

        server.offer = good
        server.push(state().instance_uid)
        wait_until("APPLIED", lambda: became(good, "applied"), 30, child)
        wait_until("health", lambda: state().health is not None and state().health.healthy, 20, child)
        wait_until("its effective config", lambda: b"nop" in b"".join((state().effective or {}).values()), 20, child)

        server.offer = bad
        server.push(state().instance_uid)
        wait_until("FAILED", lambda: became(bad, "failed"), 30, child)
        assert state().config.error

        server.offer = good
        server.push(state().instance_uid)
        wait_until("APPLIED again", lambda: became(good, "applied"), 40, child)
        wait_until("health again", lambda: state().health.healthy, 20, child)
    left = [p for p in Path("/proc").iterdir() if p.name.isdigit() and str(tmp_path).encode() in read(p / "cmdline")]
    assert left == [], "a Collector outlived its Supervisor"


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
