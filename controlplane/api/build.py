"""The routes. Each asks one handler and shapes its answer; none decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from controlplane import auth, handlers
from controlplane.api.limits import BodyLimit
from controlplane.api.problems import MEDIA_TYPE, install, problem
from controlplane.auth import Principal
from controlplane.handlers import Tools
from controlplane.ports import DEFAULT_DESTINATION, Active, Analysis, Json
from controlplane.yaml import MAX_BYTES
from flowgate.errors import Invalid, NotFound, Problem
from flowgate.fleet import Deployment, Gateway, GatewayReport, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GroupId, OrgId, TemplateId, gateway_id
from flowgate.shapes import action_json
from flowgate.sources import MAX_INTERVAL, MAX_TEXT, MIN_INTERVAL, NEVER, Fetch, History, Source, SourceId, SourceKind, state_of
from flowgate.telemetry import Side, Window

MAX_DOCUMENT = 5 * 2**20
MAX_PATH = 512
MAX_ACTIONS = 5_000
"""More than any configuration can carry out (2,000 conditions); each that is refused is named."""


def current(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
    """The caller; every route but health asks for it."""
    tools: Tools = request.app.state.tools
    with tools.store.begin() as work:
        return auth.principal(work, authorization)


Me = Annotated[Principal, Depends(current)]


class Body(BaseModel):
    """Fields that are not named are refused."""

    model_config = ConfigDict(extra="forbid")


class NewGateway(Body):
    name: str
    group: str = "default"


class Span(Body):
    start: AwareDatetime
    end: AwareDatetime


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Interval = Annotated[int, Field(ge=MIN_INTERVAL, le=MAX_INTERVAL)]


class NewSource(Body):
    name: str
    kind: SourceKind
    url: Text
    token: Text | None = None
    user: Text | None = None
    tenant: Text | None = None
    prefix: Annotated[str, Field(max_length=MAX_TEXT)] | None = None
    enabled: bool = True
    interval_seconds: Interval = 3600


class SourceChange(Body):
    """What is not named stays; null takes away. The token is never shown: it can be set, replaced and taken away."""

    url: Text = ""
    token: Text | None = None
    user: Text | None = None
    tenant: Text | None = None
    prefix: Annotated[str, Field(max_length=MAX_TEXT)] | None = None
    enabled: bool = True
    interval_seconds: Interval = 3600


class NewPriceBook(Body):
    """What a destination charges: YAML in the form of `docs/prices.md`."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_BYTES)]
    destination: str = DEFAULT_DESTINATION


Revision = Annotated[int, Query(ge=1, lt=2**31)]


class NewAnalysis(Span):
    gateway: str | None = None


class NewWaiver(Body):
    scope: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)
    signed_by: str = Field(min_length=1, max_length=200)
    expires: AwareDatetime


class NewVersion(Body):
    analysis: str
    recommendations: list[str] = Field(min_length=1, max_length=5000)
    waiver: str | None = None


class NewTemplate(NewVersion):
    name: str


class CheckIn(Body):
    group: str = "default"


class ActionsIn(CheckIn):
    """Actions as in `docs/schemas/action.json`, on a group's base configuration."""

    actions: list[dict[str, Any]] = Field(max_length=MAX_ACTIONS)


class NewDeployment(Body):
    template: str
    version: int = Field(ge=1, le=2**31)
    group: str = "default"


class NewSaving(Body):
    deployment: str
    before: Span
    after: Span
    gateway: str | None = None


Run = Callable[[Analysis], None]
Pushed = Callable[[Principal, str], Awaitable[None]]
Fetches = Callable[[OrgId, SourceId], None]


def build(tools: Tools, run: Run, pushed: Pushed, fetch: Fetches) -> FastAPI:
    """The application. `run` starts an analysis in the background, `fetch` the fetch of a source; `pushed(principal, group)` tells live
    gateways of a new bundle."""
    app = FastAPI(
        title="Flowgate",
        version="0.1.0",
        description="What is sent, what is read, what need not be sent; and the fleet that stops sending it.",
        responses={"4XX": {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {}}}},
        generate_unique_id_function=lambda route: route.name,
    )
    install(app)
    app.add_middleware(BodyLimit, most=MAX_DOCUMENT, exempt="/api/v1/opamp/")
    app.state.tools = tools
    for router in (
        _gateways(tools), _groups(tools, pushed), _usage(tools), _prices(tools), _sources(tools, fetch), _analyses(tools, run),
        _templates(tools), _configs(tools), _deployments(tools, pushed), _savings(tools),
    ):  # fmt: skip
        app.include_router(router, prefix="/api/v1")
    app.include_router(_health(tools))
    return app


def _window(span: Span) -> Window:
    return window(span.start, span.end)


def window(start: datetime, end: datetime) -> Window:
    """Raises `Invalid` naming the field when it is empty."""
    try:
        return Window(utc(start, "start"), utc(end, "end"))
    except ValueError as error:
        raise Invalid("the window is empty", (Problem("end", str(error)),)) from None


def utc(moment: datetime, path: str) -> datetime:
    """In UTC; `Invalid` for the ends of the calendar, where another zone's time has no UTC."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Invalid("a time is out of range", (Problem(path, moment.isoformat()),)) from None


async def _text(request: Request, limit: int) -> str:
    """The body as text, up to `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Invalid("the body is too large", (Problem("body", f"at most {limit} bytes"),))
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Invalid("the body is not UTF-8", (Problem("body", str(error)),)) from None


# --- one router a noun -----------------------------------------------------------------------------------------------------------


def _health(tools: Tools) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    def healthz() -> Json:
        """The process lives."""
        return {"alive": True}

    @router.get("/readyz", response_model=None)
    def readyz() -> Response | Json:
        """The store answers."""
        with tools.store.begin() as work:
            ready = bool(work.orgs())
        return {"ready": True} if ready else problem(503, "no org yet")

    return router


def _gateways(tools: Tools) -> APIRouter:
    router = APIRouter(prefix="/gateways", tags=["gateways"])

    @router.post("", status_code=201)
    def create_gateway(body: NewGateway, me: Me) -> Json:
        """Registers a gateway; its token is in this answer and nowhere else."""
        gateway, token = handlers.register_gateway(tools, me.org, body.name, body.group)
        return {"name": gateway.id, "group": gateway.group, "token": token}

    @router.get("")
    def list_gateways(me: Me) -> Json:
        with tools.store.begin() as work:
            reports = {r.gateway: r for r in work.reports(me.org)}
            listed = work.gateways(me.org)
            wanted = {g.group: work.group(me.org, g.group)[1] for g in listed}
        return {"items": [gateway_json(g, reports.get(g.id), wanted[g.group]) for g in listed]}

    @router.get("/{name}")
    def get_gateway(name: str, me: Me) -> Json:
        with tools.store.begin() as work:
            gateway = work.gateway(me.org, gateway_id(name))
            active = work.group(me.org, gateway.group)[1]
            return gateway_json(gateway, work.report(me.org, gateway.id), active)

    @router.get("/{name}/effective-config", response_class=PlainTextResponse)
    def get_effective_config(name: str, me: Me) -> Response:
        with tools.store.begin() as work:
            report = work.report(me.org, work.gateway(me.org, gateway_id(name)).id)
        if report is None or report.effective_config is None:
            raise NotFound(f"gateway {name} has not reported its effective config")
        return PlainTextResponse(report.effective_config, media_type="text/yaml")

    return router


def _groups(tools: Tools, pushed: Pushed) -> APIRouter:
    router = APIRouter(prefix="/groups", tags=["groups"])

    @router.get("/{group}/base-config", response_class=PlainTextResponse)
    def get_base_config(group: str, me: Me) -> Response:
        with tools.store.begin() as work:
            text = work.group(me.org, GroupId(group))[0].base_config
        return PlainTextResponse(text, media_type="text/yaml")

    @router.put("/{group}/base-config")
    async def put_base_config(group: str, request: Request, me: Me) -> Json:
        """Checked by structure and by the gateway's binary before it becomes what the group should run."""
        text = await _text(request, MAX_BYTES)
        active = await run_in_threadpool(handlers.put_base_config, tools, me.org, group, text)
        await pushed(me, group)
        return {"group": group, "config_hash": active.hash.hex()}

    return router


def _usage(tools: Tools) -> APIRouter:
    router = APIRouter(tags=["usage"])

    @router.get("/usage")
    def list_usage(me: Me) -> Json:
        with tools.store.begin() as work:
            listed = work.documents(me.org)
        return {"items": [{"path": p, "sha256": auth.digest(t), "bytes": len(t.encode())} for p, t in listed]}

    @router.get("/usage/report")
    async def get_usage_report(me: Me) -> Json:
        """What the documents and live sources read together, and what could not be read."""
        return await run_in_threadpool(handlers.usage_report, tools, me.org)

    @router.put("/usage/{path:path}")
    async def put_usage(path: str, request: Request, me: Me) -> Json:
        """Stores a dashboard or rule file as it is; a broken one is a blind spot of every later analysis."""
        if not 1 <= len(path) <= MAX_PATH:
            raise Invalid("bad path", (Problem("path", f"1 to {MAX_PATH} characters"),))
        text = await _text(request, MAX_DOCUMENT)
        await run_in_threadpool(handlers.put_document, tools, me.org, path, text)
        return {"path": path, "sha256": auth.digest(text), "bytes": len(text.encode())}

    @router.delete("/usage/{path:path}", status_code=204)
    def delete_usage(path: str, me: Me) -> None:
        with tools.store.begin() as work:
            work.delete_document(me.org, path)
            work.commit()

    return router


def _prices(tools: Tools) -> APIRouter:
    router = APIRouter(tags=["prices"])

    @router.get("/price-book", response_class=PlainTextResponse)
    def get_price_book(me: Me) -> Response:
        """What the destination `default` charges: the book that analyses are priced by."""
        return PlainTextResponse(handlers.price_book_text(tools, me.org, DEFAULT_DESTINATION), media_type="text/yaml")

    @router.put("/price-book")
    async def put_price_book(request: Request, me: Me) -> Json:
        text = await _text(request, MAX_BYTES)
        kept = await run_in_threadpool(handlers.put_price_book, tools, me.org, DEFAULT_DESTINATION, text, me.name)
        return handlers.price_book_json(kept)

    @router.get("/price-books")
    def list_price_books(me: Me) -> Json:
        """The last revision of each destination's."""
        with tools.store.begin() as work:
            kept = work.price_books(me.org)
        return {"items": [handlers.price_book_json(book) for book in kept]}

    @router.post("/price-books", status_code=201)
    def create_price_book(body: NewPriceBook, me: Me) -> Json:
        """The next revision of what a destination charges; the same text again is no new one."""
        return handlers.price_book_json(handlers.put_price_book(tools, me.org, body.destination, body.text, me.name))

    @router.get("/price-books/{destination}", response_class=PlainTextResponse)
    def get_price_book_of(destination: str, me: Me, revision: Revision | None = None) -> Response:
        """As it was written; the last revision unless another is named."""
        return PlainTextResponse(handlers.price_book_text(tools, me.org, destination, revision), media_type="text/yaml")

    return router


def _sources(tools: Tools, fetch: Fetches) -> APIRouter:
    router = APIRouter(prefix="/sources", tags=["usage"])

    @router.post("", status_code=201)
    def create_source(body: NewSource, me: Me) -> Json:
        """Connects a live source of usage documents. Its token is kept and never shown. It is fetched at once, then every `interval_seconds`."""
        fields = body.model_dump(exclude={"name", "token"})
        made = handlers.add_source(tools, Source(me.org, SourceId(body.name), created=tools.now(), **fields), body.token)
        if made.enabled:
            fetch(made.org, made.id)
        return source_json(made, NEVER, body.token is not None, tools.now())

    @router.get("")
    def list_sources(me: Me) -> Json:
        """With the last fetch, the age of the last good one, and what could not be fetched."""
        with tools.store.begin() as work:
            listed, histories = work.sources(me.org), work.histories(me.org)
            tokens = {s.id: work.source_token(me.org, s.id) is not None for s in listed}
        return {"items": [source_json(s, histories.get(s.id, NEVER), tokens[s.id], tools.now()) for s in listed]}

    @router.get("/{name}")
    def get_source(name: str, me: Me) -> Json:
        return _source(tools, me, name)

    @router.patch("/{name}")
    def change_source(name: str, body: SourceChange, me: Me) -> Json:
        """A new address, user or tenant makes it a source that was never fetched."""
        handlers.change_source(tools, me.org, name, body.model_dump(exclude_unset=True))
        return _source(tools, me, name)

    @router.delete("/{name}", status_code=204)
    def delete_source(name: str, me: Me) -> None:
        """Forgets it with its token and all that it brought."""
        handlers.delete_source(tools, me.org, name)

    @router.post("/{name}/fetch", status_code=202)
    def fetch_source(name: str, me: Me) -> Json:
        """Starts a fetch in the background, unless one is running; ask for the source again until `last_fetch` is newer."""
        shown = _source(tools, me, name)
        fetch(me.org, SourceId(name))
        return shown

    return router


def _source(tools: Tools, me: Principal, name: str) -> Json:
    with tools.store.begin() as work:
        found = work.source(me.org, SourceId(name))
        history, token = work.histories(me.org).get(found.id, NEVER), work.source_token(me.org, found.id)
    return source_json(found, history, token is not None, tools.now())


def _analyses(tools: Tools, run: Run) -> APIRouter:
    router = APIRouter(tags=["analyses"])

    @router.get("/traffic")
    def get_traffic(
        me: Me,
        start: AwareDatetime,
        end: AwareDatetime,
        gateway: str | None = None,
        side: Annotated[Side, Query()] = Side.IN,
    ) -> Json:
        """What was sent in a window, per metric, log source and span, with its price."""
        return handlers.traffic(tools, me.org, window(start, end), gateway, side)

    @router.post("/analyses", status_code=202)
    def create_analysis(body: NewAnalysis, response: Response, me: Me) -> Json:
        """Starts an analysis; ask for it again until it is done."""
        made = handlers.start_analysis(tools, me.org, _window(body), body.gateway)
        run(made)
        response.headers["location"] = f"/api/v1/analyses/{made.id}"
        return analysis_json(made)

    @router.get("/analyses")
    def list_analyses(me: Me) -> Json:
        """Newest first, without their findings."""
        with tools.store.begin() as work:
            listed = work.analyses(me.org)
        return {"items": [{k: v for k, v in analysis_json(a).items() if k in _SUMMARY} for a in listed]}

    @router.get("/analyses/{analysis}")
    def get_analysis(analysis: str, me: Me) -> Json:
        with tools.store.begin() as work:
            return analysis_json(work.analysis(me.org, AnalysisId(analysis)))

    return router


_SUMMARY = frozenset({"id", "status", "window", "gateway", "created", "totals", "error"})


def _templates(tools: Tools) -> APIRouter:
    router = APIRouter(tags=["templates"])

    @router.post("/waivers", status_code=201)
    def create_waiver(body: NewWaiver, me: Me) -> Json:
        """A person's signed permission to act on less evidence than the policy asks for."""
        waiver = handlers.sign_waiver(tools, me.org, body.scope, body.reason, body.signed_by, utc(body.expires, "expires"))
        return {
            "id": waiver.id,
            "scope": waiver.scope,
            "reason": waiver.reason,
            "signed_by": waiver.signed_by,
            "expires": waiver.expires.isoformat(),
        }

    @router.post("/templates", status_code=201)
    def create_template(body: NewTemplate, me: Me) -> Json:
        """Version 1 of a template, or the next version of one that exists."""
        asked = handlers.Accepted(body.name, body.analysis, body.recommendations, body.waiver)
        return version_json(handlers.create_template_version(tools, me.org, asked, me.name))

    @router.post("/templates/{name}/versions", status_code=201)
    def create_template_version(name: str, body: NewVersion, me: Me) -> Json:
        asked = handlers.Accepted(name, body.analysis, body.recommendations, body.waiver)
        return version_json(handlers.create_template_version(tools, me.org, asked, me.name))

    @router.get("/templates")
    def list_templates(me: Me) -> Json:
        with tools.store.begin() as work:
            return {"items": [version_json(v) for v in work.template_versions(me.org)]}

    @router.get("/templates/{name}/versions/{version}")
    def get_template_version(name: str, version: int, me: Me) -> Json:
        with tools.store.begin() as work:
            return version_json(work.template_version(me.org, TemplateId(name), _small(version)))

    @router.post("/templates/{name}/versions/{version}/check")
    def check_template_version(name: str, version: int, body: CheckIn, me: Me) -> Json:
        """Renders the version for a group and asks the gateway's binary; offers nothing."""
        return _checked_json(handlers.check_template(tools, me.org, name, _small(version), body.group))

    return router


def _configs(tools: Tools) -> APIRouter:
    router = APIRouter(tags=["configurations"])

    @router.post("/render")
    def render_actions(body: ActionsIn, me: Me) -> Json:
        """What a group's base configuration becomes with these actions, and the difference. Offers nothing."""
        made = handlers.render_for(tools, me.org, body.group, handlers.actions_in(body.actions))
        return {"config": made.bundle.files[0].body.decode(), "config_hash": made.bundle.hash.hex(), "diff": made.diff}

    @router.post("/check")
    def check_actions(body: ActionsIn, me: Me) -> Json:
        """Judges actions against what the newest analysis says is read, then renders them for a group and asks the gateway's binary."""
        return _checked_json(handlers.check_for(tools, me.org, body.group, handlers.actions_in(body.actions)))

    return router


def _checked_json(result: handlers.Checked) -> Json:
    return {
        "ok": not result.problems,
        "problems": [{"path": p.path, "message": p.message} for p in result.problems],
        "config": result.bundle.files[0].body.decode(),
        "config_hash": result.bundle.hash.hex(),
        "validated_by": result.validated_by,
    }


def _small(version: int) -> int:
    """A version number that the store can hold; anything else names nothing."""
    if not 1 <= version < 2**31:
        raise NotFound(f"version {version} does not exist")
    return version


def _deployments(tools: Tools, pushed: Pushed) -> APIRouter:
    router = APIRouter(prefix="/deployments", tags=["deployments"])

    @router.post("", status_code=201)
    async def create_deployment(body: NewDeployment, me: Me) -> Json:
        """Offers a checked version to a group. What a check refuses is not offered."""
        made = await run_in_threadpool(handlers.deploy, tools, me.org, body.template, body.version, body.group)
        await pushed(me, body.group)
        return _deployment_json(tools, made)

    @router.get("")
    def list_deployments(me: Me) -> Json:
        with tools.store.begin() as work:
            listed = work.deployments(me.org)
        return {"items": [_deployment_json(tools, d) for d in listed]}

    @router.get("/{deployment}")
    def get_deployment(deployment: str, me: Me) -> Json:
        with tools.store.begin() as work:
            found = work.deployment(me.org, DeploymentId(deployment))
        return _deployment_json(tools, found)

    return router


def _savings(tools: Tools) -> APIRouter:
    router = APIRouter(prefix="/savings", tags=["savings"])

    @router.post("", status_code=201)
    def create_saving(body: NewSaving, me: Me) -> Json:
        """Measures what a deployment saved: predicted, realised, or why that cannot be told."""
        before, after = _window(body.before), _window(body.after)
        return handlers.measure_saving(tools, me.org, body.deployment, before, after, body.gateway).result

    @router.get("")
    def list_savings(me: Me) -> Json:
        with tools.store.begin() as work:
            return {"items": [s.result for s in work.savings(me.org)]}

    return router


# --- shapes ----------------------------------------------------------------------------------------------------------------------------


def gateway_json(gateway: Gateway, report: GatewayReport | None, active: Active) -> Json:
    """Null where nothing was reported."""
    reported: dict[str, Any] = {
        "connected": report.connected if report else False,
        "last_seen": report.last_seen.isoformat() if report else None,
        "config_hash": report.config_hash.hex() if report and report.config_hash else None,
        "remote_config_status": report.config_status.value if report and report.config_status else None,
        "started": report.started.isoformat() if report and report.started else None,
    }
    for key in _REPORTED:
        reported[key] = getattr(report, key) if report else None
    return {"name": gateway.id, "group": gateway.group, "desired_hash": active.hash.hex(), **reported}


_REPORTED = (
    "instance_uid", "agent_version", "description", "capabilities", "config_error", "healthy", "health_status", "health_error",
    "components",
)  # fmt: skip


def source_json(source: Source, history: History, has_token: bool, now: datetime) -> Json:
    """`age_seconds` counts from the start of the last good fetch."""
    fields = ("kind", "url", "user", "tenant", "prefix", "enabled", "interval_seconds")
    return {
        "name": source.id,
        **{f: getattr(source, f) for f in fields},
        "has_token": has_token,
        "created": source.created.isoformat(),
        "state": state_of(source, history, now),
        "age_seconds": (now - history.good.started).total_seconds() if history.good else None,
        "last_fetch": fetch_json(history.last) if history.last else None,
    }


def fetch_json(fetch: Fetch) -> Json:
    return {
        "started": fetch.started.isoformat(),
        "finished": fetch.finished.isoformat(),
        "ok": fetch.ok,
        "documents": fetch.documents,
        "failed": [{"path": f.path, "reason": f.reason} for f in fetch.failed],
        "error": fetch.error,
        "fault": fetch.fault,
        "notes": list(fetch.notes),
    }


def analysis_json(analysis: Analysis) -> Json:
    seconds = (analysis.end - analysis.start).total_seconds()
    window = {"start": analysis.start.isoformat(), "end": analysis.end.isoformat(), "seconds": seconds}
    made: Json = {
        "id": analysis.id,
        "status": analysis.status,
        "window": window,
        "gateway": analysis.gateway,
        "created": analysis.created.isoformat(),
    }
    if analysis.error is not None:
        made["error"] = analysis.error
    return {**made, **(analysis.result or {})}


def version_json(version: TemplateVersion) -> Json:
    return {
        "name": version.template,
        "version": version.version,
        "actions": [action_json(a) for a in version.actions],
        "created": version.created.isoformat(),
        "created_by": version.created_by,
        "waiver": version.waiver,
    }


def _deployment_json(tools: Tools, deployment: Deployment) -> Json:
    with tools.store.begin() as work:
        members = [g for g in work.gateways(deployment.org) if g.group == deployment.group]
        reports = {r.gateway: r for r in work.reports(deployment.org)}
    return {
        "id": deployment.id,
        "group": deployment.group,
        "template": deployment.template,
        "version": deployment.version,
        "config_hash": deployment.bundle_hash.hex(),
        "state": deployment.state.value,
        "reason": deployment.reason,
        "created": deployment.created.isoformat(),
        "finished": deployment.finished.isoformat() if deployment.finished else None,
        "gateways": [_member_json(g, reports.get(g.id)) for g in members],
    }


def _member_json(gateway: Gateway, report: GatewayReport | None) -> Json:
    return {
        "name": gateway.id,
        "config_hash": report.config_hash.hex() if report and report.config_hash else None,
        "remote_config_status": report.config_status.value if report and report.config_status else None,
        "healthy": report.healthy if report else None,
    }
