"""A hub behind uvicorn on a free port, and what it was told: what tests with real clients talk to."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import uvicorn
from websockets.sync.client import ClientConnection, connect

from controlplane.processes import free_port, wait_until
from opamp import AgentState, Event, Offer
from opamp.asgi import OpampApp
from opamp.hub import Callbacks, Hub
from opamp.wire import MAX_MESSAGE_BYTES


class Server:
    """Lets in whoever shows the token `good`; offers `offer` to everybody."""

    def __init__(self) -> None:
        self.port = free_port()
        self.offer: Offer | None = None
        self.events: list[tuple[bytes, tuple[Event, ...]]] = []
        self.gone: list[bytes] = []
        self.states: dict[bytes, AgentState] = {}
        self.hub: Hub[str] = Hub(Callbacks(self._authenticate, str, self._desired, self._events, self._gone))
        config = uvicorn.Config(
            OpampApp(self.hub), port=self.port, log_config=None, lifespan="off", ws="websockets-sansio", ws_max_size=MAX_MESSAGE_BYTES + 16
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until("the server", lambda: self.server.started, 10)

    async def _authenticate(self, header: str | None) -> str | None:
        return "me" if header == "Bearer good" else None

    async def _desired(self, _: str, __: bytes) -> Offer | None:
        return self.offer

    async def _events(self, _: str, uid: bytes, events: tuple[Event, ...], state: AgentState) -> None:
        self.events.append((uid, events))
        self.states[uid] = state

    async def _gone(self, _: str, uid: bytes) -> None:
        self.gone.append(uid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/opamp"

    def socket(self, token: str = "good", **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/v1/opamp", additional_headers={"authorization": f"Bearer {token}"}, **options)

    def push(self, uid: bytes) -> bool:
        """Delivers from another thread, as a job would; whether anything was sent."""
        future = asyncio.run_coroutine_threadsafe(self.hub.deliver("me", uid), self.server.servers[0].get_loop())
        return future.result(10)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
