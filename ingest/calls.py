"""Bounds on gRPC calls by the address they come from. grpcio alone counts calls over all sources together, and waits for a body for ever.

A call is counted from its headers on; only then is its body read, in time or not at all.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flowgate.errors import Busy

MAX_CALLS = 32
"""Bodies held at once."""
MAX_CALLS_PER_SOURCE = 24
"""So one address cannot have all of them."""
MAX_STREAMS = 16
"""Calls of one connection at once: a client holds more back by itself (RFC 9113, 5.1.2), so one connection never meets the bound above."""
ACTIVE_SECONDS = 10.0
"""A connection counts for so long after its last call: gRPC does not say when it ends."""
RETRY_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Call:
    """One call under way."""

    source: str
    cancel: Callable[[], object]
    due: float


@dataclass(slots=True)
class Calls:
    """Calls under way, from any thread. `sweep` is called every second."""

    monotonic: Callable[[], float]
    body_seconds: float
    most_connections: int
    """Of one source that made calls in the last ten seconds."""
    _by_source: Counter[str] = field(default_factory=Counter[str])
    _waiting: set[Call] = field(default_factory=set[Call])
    _connections: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def counted(self, peer: str, cancel: Callable[[], object]) -> Generator[Call]:
        """Counts a call while the block runs. Raises `Busy` before it does."""
        call = self.begin(peer, cancel)
        try:
            yield call
        finally:
            self.end(call)

    def begin(self, peer: str, cancel: Callable[[], object]) -> Call:
        """Counts a call whose body is still to come. Raises `Busy` when there are too many, of this source or of all."""
        source, _, port = peer.rpartition(":")
        with self._lock:
            now = self.monotonic()
            if self._by_source.total() >= MAX_CALLS:
                raise Busy("too many calls at once", RETRY_SECONDS)
            if self._by_source[source] >= MAX_CALLS_PER_SOURCE:
                raise Busy("too many calls of one address at once", RETRY_SECONDS)
            self._connect(source, port, now)
            self._by_source[source] += 1
            call = Call(source, cancel, now + self.body_seconds)
            self._waiting.add(call)
            return call

    def received(self, call: Call) -> None:
        """Its body is here."""
        with self._lock:
            self._waiting.discard(call)

    def end(self, call: Call) -> None:
        with self._lock:
            self._waiting.discard(call)
            self._by_source[call.source] -= 1
            if not self._by_source[call.source]:
                del self._by_source[call.source]

    def sweep(self) -> int:
        """Cancels the calls whose body is late, and forgets connections; returns how many calls."""
        with self._lock:
            now = self.monotonic()
            late = [call for call in self._waiting if call.due <= now]
            for source in list(self._connections):
                self._forget(source, now)
        for call in late:
            call.cancel()
        return len(late)

    def _connect(self, source: str, port: str, now: float) -> None:
        ports = self._connections.setdefault(source, {})
        if port not in ports and len(ports) >= self.most_connections:
            self._forget(source, now)
            ports = self._connections.setdefault(source, {})
            if len(ports) >= self.most_connections:
                raise Busy("too many connections of one address", RETRY_SECONDS)
        ports[port] = now

    def _forget(self, source: str, now: float) -> None:
        kept = {port: last for port, last in self._connections[source].items() if now - last < ACTIVE_SECONDS}
        if kept:
            self._connections[source] = kept
        else:
            del self._connections[source]
