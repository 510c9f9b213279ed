"""The protocol, without I/O: payload bytes go in, events and payload bytes come out. It plays both roles, so tests join two in memory.

A `ServerSession` is one agent's side of the server and outlives its connections: sequence numbers and reported state belong to the
instance_uid, not to a socket. Time comes in as `now`, in seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from opamp.agent import AgentState, events_of, fold
from opamp.events import Described, Event, Seen, StateLost
from opamp.proto.opamp.v1.opamp_pb2 import (
    AgentCapabilities,
    AgentRemoteConfig,
    AgentToServer,
    AgentToServerFlags,
    ComponentHealth,
    RemoteConfigStatuses,
    ServerCapabilities,
    ServerErrorResponseType,
    ServerToAgent,
    ServerToAgentFlags,
)
from opamp.wire import Malformed, parse_reply, parse_report

SERVER_CAPABILITIES = (
    ServerCapabilities.ServerCapabilities_AcceptsStatus
    | ServerCapabilities.ServerCapabilities_OffersRemoteConfig
    | ServerCapabilities.ServerCapabilities_AcceptsEffectiveConfig
)
FULL_STATE_SECONDS = 10.0
"""At most one outstanding ReportFullState per agent in this time: a client that miscounts would answer each with another gap."""
RESEND_SECONDS = 30.0
"""An offer not yet reported back is repeated on a connection at most this often."""


class Role(Enum):
    SERVER = "server"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class OfferedFile:
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Files by name and the hash that stands for them. Never empty: an empty map stops a Collector in silence."""

    files: Mapping[str, OfferedFile]
    hash: bytes

    def __post_init__(self) -> None:
        if not self.files or not self.hash:
            raise ValueError("an offer names at least one file and has a hash")


def may_offer(state: AgentState) -> bool:
    """Whether the agent accepts remote configuration at all."""
    return bool(state.capabilities & AgentCapabilities.AgentCapabilities_AcceptsRemoteConfig)


def in_sync(state: AgentState, offer: Offer) -> bool:
    """Equal hashes: nothing to send, whatever became of it; sending again cannot fix a FAILED."""
    return state.config is not None and state.config.hash == offer.hash


@dataclass(slots=True)
class ServerSession:
    """One agent, seen from the server. `receive`, then `reply`; `push` at any time while connected."""

    state: AgentState
    mint_uid: Callable[[], bytes]
    _asked_full: float | None = None
    _complete: bool = False
    _want_components: bool = False
    _new_uid: bytes | None = None
    _wants_uid: bool = False
    _last: bytes = b""
    _sent: tuple[bytes, float] | None = None

    def connected(self) -> None:
        """A new connection: what was sent on the old one may be lost."""
        self._sent = None

    def receive(self, payload: bytes, now: float) -> tuple[Event, ...]:
        """Folds a report; raises `Malformed` and changes nothing when it is none."""
        report = parse_report(payload)
        duplicate = report.sequence_num == self.state.sequence_num and payload == self._last
        self._last = payload
        if duplicate and self._complete:
            return (Seen(report.sequence_num, report.capabilities or None),)  # a duplicate: answered, not folded twice
        events = events_of(report)
        lost = self._missing(report)
        self.state = fold(self.state, events)
        if any(isinstance(e, Described) for e in events):
            self._complete, self._asked_full, lost = True, None, None
        self._want_components = self.state.components_hash is not None and self.state.components is None
        self._wants_uid = bool(report.flags & AgentToServerFlags.AgentToServerFlags_RequestInstanceUid)
        if lost is not None:
            self._complete = False
            return (*events, StateLost(lost))
        return events

    def _missing(self, report: AgentToServer) -> str | None:
        last = self.state.sequence_num
        if last is None:
            return "this agent is new here"
        if report.sequence_num != last + 1:
            return f"message {report.sequence_num} came after {last}"
        return None if self._complete else "the full state has not come yet"

    def reply(self, offer: Offer | None, now: float) -> bytes:
        """The one answer to the message just received."""
        answer = self._blank()
        if not self._complete and (self._asked_full is None or now - self._asked_full >= FULL_STATE_SECONDS):
            answer.flags |= ServerToAgentFlags.ServerToAgentFlags_ReportFullState
            self._asked_full = now
        if self._want_components:
            answer.flags |= ServerToAgentFlags.ServerToAgentFlags_ReportAvailableComponents
        if self._wants_uid:
            self._new_uid = self._new_uid or self.mint_uid()
            answer.agent_identification.new_instance_uid = self._new_uid
        self._attach(answer, offer, now)
        return answer.SerializeToString()

    def push(self, offer: Offer, now: float) -> bytes | None:
        """An unsolicited message with the offer; None when there is nothing to send."""
        answer = self._blank()
        return answer.SerializeToString() if self._attach(answer, offer, now) else None

    def _attach(self, answer: ServerToAgent, offer: Offer | None, now: float) -> bool:
        if offer is None or not self._should_send(offer, now):
            return False
        answer.remote_config.CopyFrom(_remote_config(offer))
        self._sent = (offer.hash, now)
        return True

    def _should_send(self, offer: Offer, now: float) -> bool:
        # What the agent runs is known only from its full state: an offer before that could restart a Collector for nothing.
        if not self._complete or not may_offer(self.state) or in_sync(self.state, offer):
            return False
        if self._sent is None or self._sent[0] != offer.hash:
            return True
        reports = bool(self.state.capabilities & AgentCapabilities.AgentCapabilities_ReportsRemoteConfig)
        return reports and now - self._sent[1] >= RESEND_SECONDS

    def _blank(self) -> ServerToAgent:
        return ServerToAgent(instance_uid=self.state.instance_uid, capabilities=SERVER_CAPABILITIES)


def bad_request(instance_uid: bytes, message: str) -> bytes:
    """A reply that refuses; it excludes every other field."""
    answer = ServerToAgent(instance_uid=instance_uid)
    answer.error_response.type = ServerErrorResponseType.ServerErrorResponseType_BadRequest
    answer.error_response.error_message = message
    return answer.SerializeToString()


def unavailable(instance_uid: bytes, message: str) -> bytes:
    """A reply that asks to come again later."""
    answer = ServerToAgent(instance_uid=instance_uid)
    answer.error_response.type = ServerErrorResponseType.ServerErrorResponseType_Unavailable
    answer.error_response.error_message = message
    return answer.SerializeToString()


def _remote_config(offer: Offer) -> AgentRemoteConfig:
    config = AgentRemoteConfig(config_hash=offer.hash)
    for name, file in offer.files.items():
        config.config.config_map[name].body = file.body
        config.config.config_map[name].content_type = file.content_type
    return config


@dataclass(slots=True)
class AgentSession:
    """The agent's side, enough to simulate a fleet: numbered reports, status compression, full state on request, offers taken."""

    instance_uid: bytes
    capabilities: int = (
        AgentCapabilities.AgentCapabilities_ReportsStatus
        | AgentCapabilities.AgentCapabilities_AcceptsRemoteConfig
        | AgentCapabilities.AgentCapabilities_ReportsRemoteConfig
        | AgentCapabilities.AgentCapabilities_ReportsEffectiveConfig
        | AgentCapabilities.AgentCapabilities_ReportsHealth
    )
    description: Mapping[str, str] = field(default_factory=dict[str, str])
    healthy: bool | None = None
    config: tuple[bytes, RemoteConfigStatuses, str] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    refused: str | None = None
    _sequence: int = 0
    _changed: set[str] = field(default_factory=lambda: {"description"})

    def report(self) -> bytes:
        """The next report: what changed since the last one."""
        message = AgentToServer(instance_uid=self.instance_uid, sequence_num=self._sequence, capabilities=self.capabilities)
        self._sequence += 1
        if "description" in self._changed:
            for key, value in self.description.items():
                pair = message.agent_description.identifying_attributes.add(key=key)
                pair.value.string_value = value
            message.agent_description.SetInParent()
        if "health" in self._changed and self.healthy is not None:
            message.health.CopyFrom(ComponentHealth(healthy=self.healthy))
        if "config" in self._changed and self.config is not None:
            digest, status, error = self.config
            message.remote_config_status.last_remote_config_hash = digest
            message.remote_config_status.status = status
            message.remote_config_status.error_message = error
        self._changed.clear()
        return message.SerializeToString()

    def skip(self) -> None:
        """A report that never arrives."""
        self.report()

    def receive(self, payload: bytes) -> None:
        """Takes the server's message: full state on request, offers applied at once."""
        message = parse_reply(payload)
        if message.HasField("error_response"):
            self.refused = message.error_response.error_message
            return
        if message.flags & ServerToAgentFlags.ServerToAgentFlags_ReportFullState:
            self._changed |= {"description", "health", "config"}
        if message.HasField("agent_identification"):
            self.instance_uid = message.agent_identification.new_instance_uid
        if message.HasField("remote_config"):
            self.files = {n: f.body for n, f in message.remote_config.config.config_map.items()}
            self.became(message.remote_config.config_hash, RemoteConfigStatuses.RemoteConfigStatuses_APPLIED)

    def became(self, digest: bytes, status: RemoteConfigStatuses, error: str = "") -> None:
        """What the agent says of a configuration."""
        self.config = (digest, status, error)
        self._changed.add("config")

    def feels(self, healthy: bool) -> None:
        self.healthy = healthy
        self._changed.add("health")


def Session(role: Role, instance_uid: bytes, mint_uid: Callable[[], bytes] | None = None) -> ServerSession | AgentSession:  # noqa: N802
    """A session in either role."""
    if role is Role.AGENT:
        return AgentSession(instance_uid)
    if mint_uid is None:
        raise ValueError("a server mints uids")
    return ServerSession(AgentState(instance_uid), mint_uid)


__all__ = [
    "AgentSession",
    "Malformed",
    "Offer",
    "OfferedFile",
    "Role",
    "ServerSession",
    "Session",
    "bad_request",
    "in_sync",
    "may_offer",
    "unavailable",
]
