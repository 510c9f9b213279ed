"""Live sessions by agent: carries bytes between connections and sessions, hands events to one callback, offers what is desired.

Level-triggered: on every message the desired configuration is compared with the reported one; `deliver` only makes it sooner.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from opamp.agent import AgentState
from opamp.events import Connected, Disconnected, Event
from opamp.session import Offer, ServerSession, bad_request, unavailable
from opamp.wire import UID_BYTES, Malformed, parse_report

I = TypeVar("I")  # noqa: E741 - whatever identity the authenticator returns
Send = Callable[[bytes], Awaitable[None]]
log = logging.getLogger("opamp")
MAX_AGENTS = 100
"""Agents that one credential may speak for; a gateway is one."""


def uuid7() -> bytes:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then version, variant and chance."""
    chance = uuid.uuid4().bytes
    stamp = int(time.time() * 1000).to_bytes(6, "big")
    return stamp + bytes([0x70 | chance[6] & 0x0F]) + chance[7:8] + bytes([0x80 | chance[8] & 0x3F]) + chance[9:]


@dataclass(frozen=True, slots=True)
class Callbacks(Generic[I]):
    """What the hub asks of its owner. `key` names the tenant part of an identity: agents of two identities never mix.

    `events` is called once per report, after it was folded; never for two reports of one agent at once.
    """

    authenticate: Callable[[str | None], Awaitable[I | None]]
    key: Callable[[I], str]
    desired: Callable[[I, bytes], Awaitable[Offer | None]]
    events: Callable[[I, bytes, tuple[Event, ...], AgentState], Awaitable[None]]
    gone: Callable[[I, bytes], Awaitable[None]]


@dataclass(slots=True)
class Connection:
    """One socket; `epoch` tells a late close of an old socket from the close of the current one."""

    send: Send
    close: Callable[[], Awaitable[None]]
    epoch: int


@dataclass(slots=True)
class Hub(Generic[I]):
    """All agents known to this process."""

    callbacks: Callbacks[I]
    _sessions: dict[tuple[str, bytes], ServerSession] = field(default_factory=dict[tuple[str, bytes], ServerSession])
    _live: dict[tuple[str, bytes], Connection] = field(default_factory=dict[tuple[str, bytes], Connection])
    _epoch: int = 0

    def connection(self, send: Send, close: Callable[[], Awaitable[None]]) -> Connection:
        self._epoch += 1
        return Connection(send, close, self._epoch)

    async def handle(self, identity: I, payload: bytes, connection: Connection | None = None) -> bytes:
        """The answer to one report's payload. `connection` None: plain HTTP, where a push waits for the next poll."""
        try:
            uid = parse_report(payload).instance_uid
            key = (self.callbacks.key(identity), uid)
            session = self._sessions.get(key) or ServerSession(AgentState(uid), uuid7)
            if self._replaced(key, connection):
                return unavailable(uid, "this agent has a newer connection")
            if key not in self._sessions and self._agents_of(key[0]) >= MAX_AGENTS:
                return unavailable(uid, f"at most {MAX_AGENTS} agents for one credential")
            events = session.receive(payload, time.monotonic())
        except Malformed as error:
            return bad_request(_uid_of(payload), str(error))
        self._sessions[key] = session
        if connection is not None and await self._take_over(key, session, connection):
            events = (Connected(), *events)
        await self.callbacks.events(identity, uid, events, session.state)
        if any(isinstance(e, Disconnected) for e in events):
            self._live.pop(key, None)
        return session.reply(await self.callbacks.desired(identity, uid), time.monotonic())

    def _replaced(self, key: tuple[str, bytes], connection: Connection | None) -> bool:
        """Whether a late message came by a socket that its agent has left for a newer one."""
        live = self._live.get(key)
        return connection is not None and live is not None and live.epoch > connection.epoch

    def _agents_of(self, identity: str) -> int:
        return sum(owner == identity for owner, _ in self._sessions)

    async def _take_over(self, key: tuple[str, bytes], session: ServerSession, connection: Connection) -> bool:
        """Makes the connection its agent's; True when it is a new one. The old socket is closed unless it carries other agents too."""
        old = self._live.get(key)
        if old is not None and old.epoch == connection.epoch:
            return False
        self._live[key] = connection
        session.connected()
        if old is not None and all(live.epoch != old.epoch for live in self._live.values()):
            await old.close()
        return True

    async def closed(self, identity: I, connection: Connection) -> None:
        """A socket ended: only what it still owned is gone."""
        owned = [key for key, live in self._live.items() if live.epoch == connection.epoch]
        for key in owned:
            del self._live[key]
            await self.callbacks.gone(identity, key[1])

    async def deliver(self, identity: I, uid: bytes) -> bool:
        """Pushes what is desired now; False when the agent is not connected, or already has it."""
        key = (self.callbacks.key(identity), uid)
        session, connection = self._sessions.get(key), self._live.get(key)
        offer = await self.callbacks.desired(identity, uid)
        if session is None or connection is None or offer is None:
            return False
        payload = session.push(offer, time.monotonic())
        if payload is None:
            return False
        await connection.send(payload)
        return True


def _uid_of(payload: bytes) -> bytes:
    """The uid to echo in a refusal, when there is one."""
    if payload[:2] == bytes([0x0A, UID_BYTES]) and len(payload) >= 2 + UID_BYTES:
        return payload[2 : 2 + UID_BYTES]
    return b""
