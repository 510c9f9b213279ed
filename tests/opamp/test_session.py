"""The protocol's rules, both ends joined in memory. Row numbers are those of the conformance checklist."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opamp import AgentSession, AgentState, ConfigReported, Described, Offer, OfferedFile, Role, ServerSession, Session, StateLost
from opamp.proto.opamp.v1.opamp_pb2 import AgentCapabilities, AgentToServer, RemoteConfigStatuses, ServerToAgent
from opamp.session import FULL_STATE_SECONDS, RESEND_SECONDS, SERVER_CAPABILITIES, bad_request

UID, NEW_UID = b"u" * 16, b"n" * 16
FULL, COMPONENTS = 1, 2


def offer(digest: bytes = b"h" * 32) -> Offer:
    return Offer({"collector.yaml": OfferedFile(b"x: 1", "text/yaml")}, digest)


def joined() -> tuple[ServerSession, AgentSession]:
    return ServerSession(AgentState(UID), lambda: NEW_UID), AgentSession(UID, description={"service.name": "gw"})


def said(payload: bytes) -> ServerToAgent:
    return ServerToAgent.FromString(payload)


def exchange(server: ServerSession, agent: AgentSession, wanted: Offer | None = None, now: float = 0.0) -> ServerToAgent:
    server.receive(agent.report(), now)
    payload = server.reply(wanted, now)
    agent.receive(payload)
    return said(payload)


def test_i12_i13_every_report_gets_one_reply_with_uid_and_capabilities() -> None:
    server, agent = joined()
    for _ in range(3):
        reply = exchange(server, agent)
        assert reply.instance_uid == UID
        assert reply.capabilities == SERVER_CAPABILITIES == 0x07


def test_i8_a_described_newcomer_is_not_asked_again() -> None:
    server, agent = joined()
    assert exchange(server, agent).flags & FULL == 0


def test_i5_an_unknown_agent_in_mid_stream_is_asked_for_its_full_state() -> None:
    server, agent = joined()
    agent.skip()
    assert exchange(server, agent).flags & FULL
    assert exchange(server, agent).flags & FULL == 0
    assert server.state.identifying == {"service.name": "gw"}


def test_i5_a_gap_is_answered_with_report_full_state_and_told() -> None:
    server, agent = joined()
    exchange(server, agent)
    agent.feels(True)
    agent.skip()
    events = server.receive(agent.report(), 0.0)
    assert any(isinstance(e, StateLost) for e in events)
    assert said(server.reply(None, 0.0)).flags & FULL


def test_i9_at_most_one_full_state_request_is_outstanding() -> None:
    server, agent = joined()
    agent.skip()
    bare = AgentToServer(instance_uid=UID, sequence_num=5)
    flags = []
    for k, now in enumerate((0.0, 1.0, FULL_STATE_SECONDS)):
        bare.sequence_num = 5 + 2 * k
        server.receive(bare.SerializeToString(), now)
        flags.append(said(server.reply(None, now)).flags & FULL)
    assert flags == [FULL, 0, FULL]


def test_i9_a_duplicate_is_answered_and_not_folded_twice() -> None:
    server, agent = joined()
    exchange(server, agent)
    report = agent.report()
    first = server.receive(report, 0.0)
    again = server.receive(report, 0.0)
    assert len(again) == 1
    assert len(first) >= 1
    assert said(server.reply(None, 0.0)).flags & FULL == 0


def test_a_restarted_agents_first_message_is_no_duplicate_of_the_old_ones() -> None:
    server, agent = joined()
    exchange(server, agent)
    again = AgentSession(UID, description={"service.name": "renamed"})
    server.receive(again.report(), 0.0)
    assert server.state.identifying == {"service.name": "renamed"}


def test_i6_what_is_left_out_is_unchanged() -> None:
    server, agent = joined()
    agent.feels(True)
    exchange(server, agent)
    exchange(server, agent)
    assert server.state.health is not None
    assert server.state.health.healthy is True


def test_i3_a_requested_uid_is_minted_once() -> None:
    server, agent = joined()
    exchange(server, agent)
    report = AgentToServer(instance_uid=UID, sequence_num=1, flags=1)
    for k in (1, 2):
        report.sequence_num = k
        server.receive(report.SerializeToString(), 0.0)
        assert said(server.reply(None, 0.0)).agent_identification.new_instance_uid == NEW_UID


def test_c1_a_different_hash_is_offered_and_taken() -> None:
    server, agent = joined()
    assert exchange(server, agent, offer()).remote_config.config_hash == b"h" * 32
    assert agent.files == {"collector.yaml": b"x: 1"}
    exchange(server, agent, offer())
    assert server.state.config is not None
    assert (server.state.config.hash, server.state.config.state) == (b"h" * 32, "applied")


@pytest.mark.parametrize(
    "status",
    [
        RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
        RemoteConfigStatuses.RemoteConfigStatuses_APPLYING,
        RemoteConfigStatuses.RemoteConfigStatuses_FAILED,
    ],
)
def test_c2_an_equal_hash_is_not_sent_again_whatever_became_of_it(status: RemoteConfigStatuses) -> None:
    server, agent = joined()
    agent.became(b"h" * 32, status)
    assert not exchange(server, agent, offer()).HasField("remote_config")
    assert server.push(offer(), 0.0) is None


def test_c3_before_the_state_is_known_nothing_is_offered() -> None:
    server, agent = joined()
    agent.skip()
    reply = exchange(server, agent, offer())
    assert reply.flags & FULL
    assert not reply.HasField("remote_config")
    assert exchange(server, agent, offer()).HasField("remote_config")


def test_i11_an_agent_that_accepts_no_remote_config_is_offered_none() -> None:
    server, agent = joined()
    agent.capabilities = AgentCapabilities.AgentCapabilities_ReportsStatus
    assert not exchange(server, agent, offer()).HasField("remote_config")


def test_i10_capabilities_may_change_in_any_message() -> None:
    server, agent = joined()
    all_of_them = agent.capabilities
    agent.capabilities = AgentCapabilities.AgentCapabilities_ReportsStatus
    exchange(server, agent, offer())
    agent.capabilities = all_of_them
    assert exchange(server, agent, offer()).HasField("remote_config")


def test_an_offer_that_was_sent_waits_before_it_is_repeated() -> None:
    server, agent = joined()
    sent = []
    for now in (0.0, 1.0, RESEND_SECONDS):
        server.receive(agent.report(), now)
        sent.append(said(server.reply(offer(), now)).HasField("remote_config"))  # the agent hears nothing
    assert sent == [True, False, True]


def test_a_new_connection_is_offered_what_the_old_one_may_have_lost() -> None:
    server, agent = joined()
    server.receive(agent.report(), 0.0)
    server.reply(offer(), 0.0)
    server.connected()
    server.receive(agent.report(), 0.1)
    assert said(server.reply(offer(), 0.1)).HasField("remote_config")


def test_a_newer_offer_supersedes_an_older_one_at_once() -> None:
    server, agent = joined()
    server.receive(agent.report(), 0.0)
    server.reply(offer(), 0.0)
    payload = server.push(offer(b"2" * 32), 0.1)
    assert payload is not None
    assert said(payload).remote_config.config_hash == b"2" * 32


@pytest.mark.parametrize(("files", "digest"), [({}, b"h"), ({"a": OfferedFile(b"", "")}, b"")])
def test_an_empty_offer_does_not_exist(files: dict[str, OfferedFile], digest: bytes) -> None:
    with pytest.raises(ValueError, match="at least one file"):
        Offer(files, digest)


def test_a1_components_are_asked_for_when_only_their_hash_is_known() -> None:
    server, _ = joined()
    report = AgentToServer(instance_uid=UID, sequence_num=0)
    report.agent_description.SetInParent()
    report.available_components.hash = b"c"
    server.receive(report.SerializeToString(), 0.0)
    assert said(server.reply(None, 0.0)).flags & COMPONENTS
    report.sequence_num = 1
    report.available_components.components["receivers"].sub_component_map["otlp"].SetInParent()
    server.receive(report.SerializeToString(), 0.0)
    assert said(server.reply(None, 0.0)).flags & COMPONENTS == 0
    assert server.state.components == {"receivers": ("otlp",)}


def test_i14_a_refusal_excludes_every_other_field() -> None:
    reply = said(bad_request(UID, "why"))
    assert {f.name for f, _ in reply.ListFields()} == {"instance_uid", "error_response"}


def test_a_role_is_a_session() -> None:
    assert isinstance(Session(Role.AGENT, UID), AgentSession)
    assert isinstance(Session(Role.SERVER, UID, lambda: NEW_UID), ServerSession)
    with pytest.raises(ValueError, match="mints"):
        Session(Role.SERVER, UID)


step = st.sampled_from(["ok", "lost report", "lost reply", "duplicate", "healthy", "unhealthy", "restart server"])


@given(st.lists(step, max_size=25))
def test_whatever_is_lost_both_ends_agree_in_the_end(steps: list[str]) -> None:
    """After any losses a few clean exchanges make the server know exactly what the agent says, and the agent run what is offered."""
    server, agent = joined()
    now = 0.0
    for name in steps:
        now += 1.0
        match name:
            case "ok":
                exchange(server, agent, offer(), now)
            case "lost report":
                agent.skip()
            case "lost reply":
                server.receive(agent.report(), now)
                server.reply(offer(), now)
            case "duplicate":
                report = agent.report()
                server.receive(report, now)
                server.receive(report, now)
                agent.receive(server.reply(offer(), now))
            case "healthy" | "unhealthy":
                agent.feels(name == "healthy")
            case _:
                server = ServerSession(AgentState(UID), lambda: NEW_UID)
    for _ in range(4):
        now += max(RESEND_SECONDS, FULL_STATE_SECONDS)
        exchange(server, agent, offer(), now)
    assert agent.files == {"collector.yaml": b"x: 1"}
    assert server.state.identifying == {"service.name": "gw"}
    assert server.state.config is not None
    assert server.state.config.hash == offer().hash
    health = server.state.health
    assert (health.healthy if health else None) == agent.healthy


def test_events_carry_no_protobuf() -> None:
    server, agent = joined()
    agent.became(b"x", RemoteConfigStatuses.RemoteConfigStatuses_FAILED, "boom")
    events = server.receive(agent.report(), 0.0)
    assert Described({"service.name": "gw"}, {}) in events
    assert ConfigReported(b"x", "failed", "boom") in events
    for event in events:
        assert dataclasses.is_dataclass(event)
