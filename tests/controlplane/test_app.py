"""One hub behind two ports: an agent is answered on OpAMP's own path and on the API's, over both transports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from controlplane import handlers
from controlplane.app import API_OPAMP_PATH, OPAMP_PATH, ControlPlane, wire
from controlplane.collector import Collector
from controlplane.settings import Settings
from flowgate.errors import Problem
from flowgate.ids import DEFAULT_ORG, GatewayId
from opamp import AgentSession
from opamp.wire import frame, unframe
from tests.fakes import MemoryStore

BASE = Path(__file__).resolve().parents[2] / "gateway" / "base.yaml"
PATHS = [("app", API_OPAMP_PATH), ("opamp", OPAMP_PATH)]


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    def accepts(_: Collector, __: bytes) -> list[Problem]:
        return []

    monkeypatch.setattr(Collector, "validate", accepts)
    monkeypatch.setattr(Collector, "version", lambda _: "a judge of the tests")
    made = wire(Settings(data=tmp_path, collector=tmp_path, base_config=BASE), MemoryStore())
    yield made
    made.jobs.close()


def agent(plane: ControlPlane) -> tuple[AgentSession, dict[str, str]]:
    _, token = handlers.register_gateway(plane.tools, DEFAULT_ORG, "g", "default")
    return AgentSession(b"\x01" * 16), {"authorization": f"Bearer {token}"}


def is_known(plane: ControlPlane) -> bool:
    with plane.tools.store.begin() as work:
        return work.report(DEFAULT_ORG, GatewayId("g")) is not None


@pytest.mark.parametrize(("side", "path"), PATHS)
def test_an_agent_is_answered_over_http(plane: ControlPlane, side: str, path: str) -> None:
    session, headers = agent(plane)
    http = TestClient(getattr(plane, side), follow_redirects=False)
    sent = {**headers, "content-type": "application/x-protobuf"}
    for _ in range(2):  # the first answer asks for the full state, the second offers the base
        answer = http.post(path, content=session.report(), headers=sent)
        assert answer.status_code == 200
        session.receive(answer.content)
    assert is_known(plane)
    assert b"otlp/backend" in session.files["collector.yaml"]


@pytest.mark.parametrize(("side", "path"), PATHS)
def test_an_agent_is_answered_over_websocket(plane: ControlPlane, side: str, path: str) -> None:
    session, headers = agent(plane)
    with TestClient(getattr(plane, side)).websocket_connect(path, headers=headers) as socket:
        for _ in range(2):
            socket.send_bytes(frame(session.report()))
            session.receive(unframe(socket.receive_bytes()))
    assert is_known(plane)
    assert b"otlp/backend" in session.files["collector.yaml"]


@pytest.mark.parametrize(("side", "path"), PATHS)
def test_without_a_gateways_token_nobody_is_answered(plane: ControlPlane, side: str, path: str) -> None:
    user = (plane.tools.tap_tokens.parent / "admin-token").read_text().strip()
    http = TestClient(getattr(plane, side), follow_redirects=False)
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {user}"}):
        assert http.post(path, headers=headers).status_code == 401
