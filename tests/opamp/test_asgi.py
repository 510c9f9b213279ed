"""Both transports on a live server, with clients that are not ours beside ours."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.sync.client import ClientConnection

from controlplane.processes import wait_until
from opamp import AgentSession, Offer, OfferedFile
from opamp.asgi import accepts_gzip
from opamp.hub import MAX_AGENTS
from opamp.proto.opamp.v1.opamp_pb2 import AgentToServer, ServerToAgent
from opamp.wire import MAX_MESSAGE_BYTES, frame, unframe
from tests.opamp.live import Server

UID = b"a" * 16
AUTH = {"authorization": "Bearer good"}
PROTOBUF = {"content-type": "application/x-protobuf", **AUTH}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def heard(socket: ClientConnection) -> ServerToAgent:
    message = socket.recv(timeout=10)
    assert isinstance(message, bytes)
    assert message[:1] == b"\x00"
    return ServerToAgent.FromString(unframe(message))


def test_t1_t3_both_transports_live_on_one_path(server: Server) -> None:
    agent = AgentSession(UID)
    with server.socket() as socket:
        socket.send(frame(agent.report()))
        assert heard(socket).instance_uid == UID
    answer = httpx.post(server.url, content=agent.report(), headers=PROTOBUF)
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert ServerToAgent.FromString(answer.content).instance_uid == UID


def test_s1_a_wrong_token_is_refused_before_the_upgrade(server: Server) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        server.socket(token="bad")
    assert refusal.value.response.status_code == 401
    assert httpx.post(server.url, content=b"", headers={**PROTOBUF, "authorization": "Bearer bad"}).status_code == 401


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x01abc", b"", b"\x00\xff\xff\xff", frame(AgentToServer(instance_uid=b"short").SerializeToString())]
)
def test_t4_t5_i1_a_bad_message_is_answered_and_the_connection_lives(server: Server, data: bytes) -> None:
    with server.socket() as socket:
        socket.send(data)
        assert heard(socket).error_response.error_message
        socket.send(frame(AgentSession(UID).report()))
        assert heard(socket).instance_uid == UID


def test_t7_the_third_text_frame_ends_the_connection(server: Server) -> None:
    with server.socket() as socket:
        for _ in range(3):
            socket.send("text")
            assert heard(socket).error_response.error_message
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003


def test_t8_a_message_over_the_limit_ends_the_connection(server: Server) -> None:
    def too_much(socket: ClientConnection) -> None:
        socket.send(b"\x00" * (MAX_MESSAGE_BYTES + 17))
        socket.recv(timeout=10)

    with server.socket() as socket:
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            too_much(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-encoding": "gzip"}, gzip.compress(AgentSession(UID).report(), mtime=0), 200),
        ({"content-encoding": "gzip"}, b"not gzip", 400),
        ({"content-encoding": "gzip"}, gzip.compress(AgentSession(UID).report(), mtime=0)[:-4], 400),
        ({"content-encoding": "gzip"}, gzip.compress(bytes(MAX_MESSAGE_BYTES + 1), mtime=0), 413),
        ({"content-encoding": "zstd"}, b"", 415),
        ({"content-type": "application/json"}, b"{}", 415),
        ({}, bytes(MAX_MESSAGE_BYTES + 1), 413),
    ],
)
def test_t10_t11_bodies_have_limits_before_and_after_inflation(server: Server, headers: dict[str, str], body: bytes, status: int) -> None:
    answer = httpx.post(server.url, content=body, headers={**PROTOBUF, **headers})
    assert answer.status_code == status
    assert len(server.events) == (1 if status == 200 else 0)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [("gzip", True), ("GZIP", True), ("gzip;q=0", False), ("*", True), ("*;q=0", False), ("gzip;q=0.1, *;q=0", True), ("br", False), ("", False),
     ("deflate, gzip;q=1.0, *;q=0.5", True), ("gzip;q=x", False)],
)  # fmt: skip
def test_t12_accept_encoding_is_read_with_its_weights(header: str, allowed: bool) -> None:
    assert accepts_gzip(header) is allowed


def test_c6_a_push_reaches_the_agent_without_waiting_for_its_report(server: Server) -> None:
    agent = AgentSession(UID, description={"service.name": "gw"})
    with server.socket() as socket:
        socket.send(frame(agent.report()))
        heard(socket)
        server.offer = Offer({"c.yaml": OfferedFile(b"x: 1", "text/yaml")}, b"h" * 32)
        assert server.push(UID)
        assert heard(socket).remote_config.config_hash == b"h" * 32


def test_i4_i16_a_reconnect_takes_over_and_the_old_close_clears_nothing(server: Server) -> None:
    agent = AgentSession(UID)
    old = server.socket()
    old.send(frame(agent.report()))
    heard(old)
    with server.socket() as new:
        new.send(frame(agent.report()))
        heard(new)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            old.recv(timeout=10)
        assert server.gone == []
        new.send(frame(agent.report()))
        assert heard(new).instance_uid == UID
    wait_until("gone", lambda: server.gone == [UID], 10)


def test_a_late_message_on_the_old_socket_does_not_win_the_agent_back(server: Server) -> None:
    """The old socket carries another agent too, so it stays open; what it still says of the first is refused."""
    moved, stays = AgentSession(UID), AgentSession(b"b" * 16)
    with server.socket() as old, server.socket() as new:
        for agent in (moved, stays):
            old.send(frame(agent.report()))
            heard(old)
        new.send(frame(moved.report()))
        assert not heard(new).HasField("error_response")
        old.send(frame(moved.report()))
        assert heard(old).error_response.error_message
        old.send(frame(stays.report()))
        assert not heard(old).HasField("error_response")
        new.send(frame(moved.report()))
        assert not heard(new).HasField("error_response")


def test_a_new_connection_is_an_event_even_when_nothing_else_changed(server: Server) -> None:
    agent = AgentSession(UID)
    for _ in range(2):
        with server.socket() as socket:
            socket.send(frame(agent.report()))
            heard(socket)
            socket.send(frame(agent.report()))
            heard(socket)
    kinds = [[type(e).__name__ for e in events] for _, events in server.events]
    assert ["Connected" in k for k in kinds] == [True, False, True, False]


def test_one_credential_speaks_for_so_many_agents_and_no_more(server: Server) -> None:
    with server.socket() as socket:
        for k in range(MAX_AGENTS + 1):
            socket.send(frame(AgentSession(k.to_bytes(2, "big") * 7 + b"xx").report()))
            assert heard(socket).HasField("error_response") == (k == MAX_AGENTS)


def test_one_socket_carries_many_agents(server: Server) -> None:
    agents = [AgentSession(bytes([k]) * 16) for k in range(1, 6)]
    with server.socket() as socket:
        for agent in agents:
            socket.send(frame(agent.report()))
            assert heard(socket).instance_uid == agent.instance_uid
    wait_until("all gone", lambda: len(server.gone) == 5, 10)


def test_the_public_client_talks_to_us_over_http(server: Server) -> None:
    """PyPI's opentelemetry-opamp-client: its own poll, full state on request, goodbye."""
    from opentelemetry._opamp.agent import OpAMPAgent
    from opentelemetry._opamp.callbacks import OpAMPCallbacks
    from opentelemetry._opamp.client import OpAMPClient

    client = OpAMPClient(endpoint=server.url, headers=AUTH, agent_identifying_attributes={"service.name": "theirs"})
    taken: list[bytes] = []

    class Applies(OpAMPCallbacks):
        def on_message(self, agent: Any, client: Any, message: Any) -> None:
            if message.remote_config is not None and message.remote_config.config_hash:
                taken.append(message.remote_config.config_hash)

    server.offer = Offer({"c.yaml": OfferedFile(b"x: 1", "text/yaml")}, b"h" * 32)
    agent = OpAMPAgent(interval=0.2, callbacks=Applies(), client=client)
    agent.start()
    try:
        wait_until("its description", lambda: any(s.identifying for s in server.states.values()), 15)
        seen = len(server.events)
        wait_until("the offer", lambda: b"h" * 32 in taken, 15)
        wait_until("more polls", lambda: len(server.events) > seen + 2, 15)
    finally:
        agent.stop()
    (state,) = server.states.values()
    assert state.identifying is not None
    assert state.identifying["service.name"] == "theirs"


def test_i13_reports_are_answered_one_for_one_and_in_order(server: Server) -> None:
    agent = AgentSession(UID)
    with server.socket() as socket:
        for _ in range(300):
            socket.send(frame(agent.report()))
            heard(socket)
    assert server.states[UID].sequence_num == 299
