"""★ settings → store → hub → jobs → API. One process, two listeners: the API and OpAMP's own port share one hub."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route, WebSocketRoute

from controlplane import auth, handlers
from controlplane.api import build
from controlplane.auth import Principal
from controlplane.collector import Collector
from controlplane.fleet import report_of
from controlplane.handlers import Tools
from controlplane.jobs import Jobs
from controlplane.listeners import owner
from controlplane.ports import ControlStore
from controlplane.render import FILE_NAME
from controlplane.settings import Settings
from controlplane.sources import LiveSources
from controlplane.store import SqlStore
from flowgate.errors import EXIT_DONE, Broken, Invalid, Unreachable
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from opamp import AgentState, Event, Offer, OfferedFile, Seen
from opamp.asgi import OpampApp
from opamp.hub import Callbacks, Hub
from opamp.wire import MAX_MESSAGE_BYTES

OPAMP_PATH = "/v1/opamp"
API_OPAMP_PATH = "/api/v1/opamp/v1/opamp"
log = logging.getLogger("controlplane")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Everything wired; `app` serves the API, `opamp` the OpAMP port."""

    app: FastAPI
    opamp: Callable[..., Awaitable[None]]
    tools: Tools
    jobs: Jobs
    hub: Hub[Identity]


def wire(settings: Settings, store: ControlStore) -> ControlPlane:
    """One wiring for every way to start. Raises `Broken` when the collector's binary or the data folder cannot be used."""
    collector, tokens, live = Collector(settings.collector), settings.data / "tap-tokens.json", LiveSources(settings.query_logs)
    tools = Tools(store, collector, settings.segment_root, tokens, _new_id, _now, read_source=live)
    auth.bootstrap(store, settings.data / "admin-token")
    handlers.ensure_default_group(tools, DEFAULT_ORG, _base(settings.base_config))
    handlers.recover(tools)
    jobs = Jobs(tools)
    hub = Hub(_callbacks(tools))
    app = build(tools, jobs.analyse, _pusher(tools, hub), jobs.fetch)
    opamp: OpampApp[Identity] = OpampApp(hub)
    # Routes, not a mount: a mount answers only below its path, with a slash that no agent sends.
    app.router.routes += [Route(API_OPAMP_PATH, opamp), WebSocketRoute(API_OPAMP_PATH, opamp)]
    return ControlPlane(app, at_path(opamp, OPAMP_PATH), tools, jobs, hub)


def _callbacks(tools: Tools) -> Callbacks[Identity]:
    uids: dict[tuple[str, str], bytes] = {}

    async def authenticate(header: str | None) -> Identity | None:
        def look() -> Identity | None:
            with tools.store.begin() as work:
                return auth.gateway_identity(work, header)

        return await run_in_threadpool(look)

    async def desired(identity: Identity, uid: bytes) -> Offer | None:
        if identity.gateway is None:
            return None
        active = await run_in_threadpool(handlers.desired, tools, identity.org, identity.gateway)
        return Offer({FILE_NAME: OfferedFile(active.body, "text/yaml")}, active.hash) if active else None

    async def events(identity: Identity, uid: bytes, happened: tuple[Event, ...], state: AgentState) -> None:
        gateway = identity.gateway
        if gateway is None:
            return
        new = uids.get((identity.org, gateway)) != uid
        uids[identity.org, gateway] = uid
        if new or any(not isinstance(e, Seen) for e in happened):
            report = report_of(identity.org, gateway, state, True, tools.now())
            await run_in_threadpool(handlers.on_report, tools, report)

    async def gone(identity: Identity, uid: bytes) -> None:
        if identity.gateway is not None:
            await run_in_threadpool(handlers.on_gone, tools, identity.org, identity.gateway)

    return Callbacks(authenticate, _key, desired, events, gone)


def _key(identity: Identity) -> str:
    return f"{identity.org}/{identity.gateway}"


def _pusher(tools: Tools, hub: Hub[Identity]) -> Callable[[Principal, str], Awaitable[None]]:
    """Tells the live gateways of a group at once; whoever is not reached is offered it with the next report."""

    def members(principal: Principal, group: str) -> list[tuple[GatewayId, bytes]]:
        with tools.store.begin() as work:
            names = {g.id for g in work.gateways(principal.org) if g.group == group}
            reports = work.reports(principal.org)
        return [(r.gateway, bytes.fromhex(r.instance_uid)) for r in reports if r.gateway in names]

    async def push(principal: Principal, group: str) -> None:
        for gateway, uid in await run_in_threadpool(members, principal, group):
            await hub.deliver(Identity(principal.org, gateway), uid)

    return push


def at_path(app: OpampApp[Identity], path: str) -> Callable[..., Awaitable[None]]:
    """The application at one path; 404 elsewhere."""

    async def routed(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == path:
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close", "code": 1008})

    return routed


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT and prints `ready` when both ports listen."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request otherwise: thousands a fetch
    make_folder(settings.data)
    sockets = [_listen(settings.api_listen, "API"), _listen(settings.opamp_listen, "OpAMP")]
    store = SqlStore(settings.data / "control.db")
    plane = wire(settings, store)
    plane.jobs.start()
    try:
        asyncio.run(_serve(plane, sockets))
    finally:
        plane.jobs.close()
        store.close()
    return EXIT_DONE


async def _serve(plane: ControlPlane, sockets: list[socket.socket]) -> None:
    servers = [uvicorn.Server(_config(plane.app)), uvicorn.Server(_config(plane.opamp))]
    for server in servers:
        server.capture_signals = _no_signals  # type: ignore[method-assign]
    tasks = [asyncio.create_task(s.serve([sock])) for s, sock in zip(servers, sockets, strict=True)]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: [setattr(s, "should_exit", True) for s in servers])
    while not all(s.started for s in servers) and not any(t.done() for t in tasks):
        await asyncio.sleep(0.01)
    if all(s.started for s in servers):
        print("ready", flush=True)
    await asyncio.gather(*tasks)


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=MAX_MESSAGE_BYTES + 16,
        timeout_graceful_shutdown=3,
    )


class _no_signals:  # noqa: N801 - stands in for a context manager of that shape
    """Two servers share one process: the loop's own handlers stop both."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def make_folder(data: Path) -> None:
    """The folder, made and written to once; `Broken` when that cannot be."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe = data / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Broken(f"{data} cannot be written: {error.strerror}") from error


def _listen(address: str, name: str) -> socket.socket:
    host, _, digits = address.rpartition(":")
    if not (host and digits.isdecimal() and int(digits) < 2**16):
        raise Invalid(f"{address!r} is no address for the {name}: it is written host:port")
    port = int(digits)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        holder = owner(port)
        by = f" by {holder}" if holder else ""
        raise Unreachable(f"port {port} ({name}) cannot be had: {error.strerror}{by}") from error
    sock.listen(2048)
    return sock


def _base(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Broken(f"the base configuration {path} cannot be read: {error.strerror}") from error


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


def _now() -> datetime:
    return datetime.now(UTC)
