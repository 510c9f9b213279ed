"""One use case a function: load, ask the core, save, commit once. Time and new ids come in as arguments."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import unified_diff
from pathlib import Path
from typing import Any

import analyzer
from controlplane import auth, querylog, rollout
from controlplane.advice import elsewhere_json, protected_of, unable
from controlplane.check import check_actions, check_config
from controlplane.collector import Collector
from controlplane.ports import DEFAULT_DESTINATION, Active, Analysis, BookRevision, ControlStore, Json, ReadSource, SavingRecord, UnitOfWork
from controlplane.render import render
from controlplane.sources import LiveSources
from flowgate.actions import Action, merged
from flowgate.advice import BlindSpot, Executed, Policy, Usage, Waiver
from flowgate.errors import Conflict, Invalid, NotFound, Problem
from flowgate.fleet import ConfigBundle, Deployment, DeploymentState, Gateway, GatewayReport, Group, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId, gateway_id, slug
from flowgate.money import PriceBook, Realised, Volume
from flowgate.shapes import (
    action_from_json,
    cost_json,
    volume_json,
)
from flowgate.sources import NEVER, Document, Fetch, Fetched, Source, SourceId, due, executing_sources, source_spots
from flowgate.sources import checked as checked_source
from flowgate.telemetry import Side, Signal, Window, aligned

DEFAULT_GROUP = GroupId("default")
DEFAULT_POLICY = Policy()
DEFAULT_SOURCES = LiveSources()
REMEMBERED = timedelta(days=120)
"""How far back a forecast looks: the farthest horizon asks for 44 days."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What use cases need from outside; `new_id` mints 64 random bits as hex."""

    store: ControlStore
    collector: Collector
    segments: Path
    tap_tokens: Path
    new_id: Callable[[], str]
    now: Callable[[], datetime]
    policy: Policy = DEFAULT_POLICY
    read_source: ReadSource = DEFAULT_SOURCES


# --- gateways and groups ---------------------------------------------------------------------------------------------------------


def ensure_default_group(tools: Tools, org: OrgId, base: str) -> None:
    """The group `default` with the given base configuration, unless it is there already."""
    with tools.store.begin() as work:
        try:
            work.group(org, DEFAULT_GROUP)
        except NotFound:
            bundle = checked(tools, base, ())
            work.put_group(Group(org, DEFAULT_GROUP, base), active_of(bundle, None, None))
        auth.write_tap_tokens(work, tools.tap_tokens)
        work.commit()


def register_gateway(tools: Tools, org: OrgId, name: str, group: str) -> tuple[Gateway, str]:
    """A new gateway and its token, which is shown this once. The tap knows it before this returns."""
    gateway = Gateway(org, gateway_id(name), GroupId(slug(group, "group")))
    token = auth.new_token(auth.GATEWAY_PREFIX)
    with tools.store.begin() as work:
        work.group(org, gateway.group)
        work.add_gateway(gateway, auth.digest(token))
        auth.write_tap_tokens(work, tools.tap_tokens)
        work.commit()
    return gateway, token


def put_base_config(tools: Tools, org: OrgId, group: str, text: str) -> Active:
    """Replaces a group's base configuration, keeping its actions. Refused with the place when the result is not valid."""
    with tools.store.begin() as work:
        old, active = work.group(org, GroupId(group))
        actions = _actions(work, org, active)
    made = active_of(checked(tools, text, actions), active.template, active.version)
    with tools.store.begin() as work:
        _unmoved(work, old, active)
        work.put_group(Group(org, old.id, text), made)
        _supersede(work, tools, org, old.id, made.hash)
        work.commit()
    return made


def _unmoved(work: UnitOfWork, group: Group, active: Active) -> None:
    """The binary is asked outside a transaction, or it would hold every other one up: what it was asked about must still be so."""
    if work.group(group.org, group.id) != (group, active):
        raise Conflict(f"group {group.id} changed while this was checked")


def _actions(work: UnitOfWork, org: OrgId, active: Active) -> tuple[Action, ...]:
    if active.template is None or active.version is None:
        return ()
    return work.template_version(org, active.template, active.version).actions


def active_of(bundle: ConfigBundle, template: TemplateId | None, version: int | None) -> Active:
    return Active(bundle.files[0].body, bundle.hash, template, version)


# --- render, check ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """A bundle and what is wrong with it; `validated_by` None when it never reached the binary."""

    bundle: ConfigBundle
    problems: tuple[Problem, ...]
    validated_by: str | None


def check(tools: Tools, base: str, actions: Sequence[Action]) -> Checked:
    """Render → structural check → the gateway's binary, which is asked only about what passed the first."""
    bundle = render(base, merged(actions))  # of the wrong shape: `Invalid`, with the places
    structural = (*check_config(base), *check_config(bundle.files[0].body.decode()))
    if structural:
        return Checked(bundle, tuple(dict.fromkeys(structural)), None)
    return Checked(bundle, tuple(tools.collector.validate(bundle.files[0].body)), tools.collector.version())


def checked(tools: Tools, base: str, actions: Sequence[Action]) -> ConfigBundle:
    """The bundle, or `Invalid` with every place that is wrong."""
    result = check(tools, base, actions)
    if result.problems:
        raise Invalid("the configuration is refused", result.problems)
    return result.bundle


def actions_in(listed: Sequence[Mapping[str, object]]) -> tuple[Action, ...]:
    """Raises `Invalid` with the place of what is no action."""
    return tuple(action_from_json(value, f"actions/{k}") for k, value in enumerate(listed))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A bundle, and what it changes in the configuration that the base is without actions."""

    bundle: ConfigBundle
    diff: str


def render_for(tools: Tools, org: OrgId, group: str, actions: Sequence[Action]) -> Rendered:
    """What a group's base becomes with these actions; nothing is asked, kept or offered."""
    with tools.store.begin() as work:
        base = work.group(org, GroupId(group))[0].base_config
    bundle = render(base, actions)
    before, after = (b.files[0].body.decode().splitlines(keepends=True) for b in (render(base, ()), bundle))
    return Rendered(bundle, "".join(unified_diff(before, after, "base", "rendered")))


def check_for(tools: Tools, org: OrgId, group: str, actions: Sequence[Action]) -> Checked:
    """Actions on a group's base, held against what the newest analysis says is read; offers nothing. Raises `Invalid` with the places where
    the actions themselves are refused."""
    with tools.store.begin() as work:
        base = work.group(org, GroupId(group))[0].base_config
        newest = next((a.result for a in work.analyses(org) if a.result is not None), None)
    problems = check_actions(actions, {} if newest is None else protected_of(newest))
    if problems:
        raise Invalid("these actions are refused", tuple(problems))
    return check(tools, base, actions)


# --- usage and prices --------------------------------------------------------------------------------------------------------------


def put_document(tools: Tools, org: OrgId, path: str, text: str) -> None:
    with tools.store.begin() as work:
        work.put_document(org, path, text)
        work.commit()


def put_price_book(tools: Tools, org: OrgId, destination: str, text: str, by: str) -> BookRevision:
    """The next revision of what a destination charges; the same text again is no new one."""
    slug(destination, "destination")
    analyzer.parse_price_book(text)
    with tools.store.begin() as work:
        last = _last_book(work, org, destination)
        if last is not None and last.text == text:
            return last
        made = BookRevision(org, destination, last.revision + 1 if last else 1, text, tools.now(), by)
        work.add_price_book(made)
        work.commit()
    return made


def _last_book(work: UnitOfWork, org: OrgId, destination: str) -> BookRevision | None:
    return next((book for book in work.price_books(org) if book.destination == destination), None)


def price_book_text(tools: Tools, org: OrgId, destination: str, revision: int | None = None) -> str:
    """As it was written; the last revision unless another is named."""
    with tools.store.begin() as work:
        found = _last_book(work, org, destination) if revision is None else work.price_book(org, destination, revision)
    if found is None:
        raise NotFound(f"no price book for {destination}")
    return found.text


def price_book(work: UnitOfWork, org: OrgId) -> PriceBook:
    last = _last_book(work, org, DEFAULT_DESTINATION)
    return analyzer.parse_price_book(last.text) if last is not None else analyzer.FREE


def price_book_json(kept: BookRevision) -> Json:
    book = analyzer.parse_price_book(kept.text)
    return {
        "destination": kept.destination,
        "revision": kept.revision,
        "name": book.name,
        "version": book.version,
        "vendor": book.vendor,
        "currency": book.currency,
        "as_of": book.as_of.isoformat() if book.as_of else None,
        "created": kept.created.isoformat(),
        "created_by": kept.created_by,
    }


# --- live sources --------------------------------------------------------------------------------------------------------------------


def add_source(tools: Tools, source: Source, token: str | None) -> Source:
    """Connects a source. Until its first good fetch it hides everything."""
    slug(source.id, "name")
    with tools.store.begin() as work:
        work.add_source(checked_source(source, token), token)
        work.commit()
    return source


def change_source(tools: Tools, org: OrgId, name: str, changes: Mapping[str, Any]) -> Source:
    """Changes fields, and the token where `changes` has one (None: takes it away). Another address is another source: never fetched."""
    rest = {k: v for k, v in changes.items() if k != "token"}
    with tools.store.begin() as work:
        made = replace(work.source(org, SourceId(name)), **rest)
        work.replace_source(checked_source(made, changes.get("token")))
        if "token" in changes:
            work.put_source_token(org, made.id, changes["token"])
        work.commit()
    return made


def delete_source(tools: Tools, org: OrgId, name: str) -> None:
    """What it said counts no longer, and what it would say is no blind spot: a person says so by this."""
    with tools.store.begin() as work:
        work.delete_source(org, SourceId(name))
        work.commit()


def due_sources(tools: Tools, now: datetime) -> list[Source]:
    with tools.store.begin() as work:
        listed = [(s, work.histories(org)) for org in work.orgs() for s in work.sources(org)]
    return [s for s, histories in listed if due(s, histories.get(s.id, NEVER), now)]


async def fetch_source(tools: Tools, org: OrgId, source: SourceId) -> Fetch:
    """One attempt, kept whatever became of it. No transaction is held while it lasts."""
    asked, token = await asyncio.to_thread(_asked, tools, org, source)
    started = tools.now()
    brought = await tools.read_source(asked, token)
    return await asyncio.to_thread(_keep_fetch, tools, asked, brought, started)


def broken_fetch(tools: Tools, org: OrgId, source: SourceId, reason: str) -> Fetch:
    """An attempt that broke here: what was known before must not count as if nothing had happened."""
    asked, _ = _asked(tools, org, source)
    return _keep_fetch(tools, asked, Fetched(error=reason, fault="ours"), tools.now())


def _asked(tools: Tools, org: OrgId, source: SourceId) -> tuple[Source, str | None]:
    with tools.store.begin() as work:
        return work.source(org, source), work.source_token(org, source)


def _keep_fetch(tools: Tools, asked: Source, brought: Fetched, started: datetime) -> Fetch:
    documents, failed = brought.documents, brought.failed
    made = Fetch(asked.org, asked.id, started, tools.now(), brought.ok, len(documents), failed, brought.error, brought.fault, brought.notes)
    with tools.store.begin() as work:
        if work.source(asked.org, asked.id).address != asked.address:
            raise Conflict(f"source {asked.id} changed while it was fetched")
        work.put_fetch(made, documents)
        work.commit()
    return made


@dataclass(frozen=True, slots=True)
class Supplied:
    """Everything that says what an org reads: documents uploaded and fetched (below their source's id), and what live sources hide."""

    uploaded: Sequence[Document]
    fetched: Sequence[Document]
    hidden: tuple[BlindSpot, ...]
    executing: tuple[SourceId, ...]
    """Sources of executed queries that are connected and seen, also those that hold none."""

    @property
    def documents(self) -> list[Document]:
        return [*self.uploaded, *self.fetched]


def supplied(work: UnitOfWork, org: OrgId, now: datetime) -> Supplied:
    sources, histories = work.sources(org), work.histories(org)
    spots, executing = source_spots(sources, histories, now), executing_sources(sources, histories, now)
    return Supplied(work.documents(org), work.fetched_documents(org), spots, executing)


def usage_of(given: Supplied) -> Usage:
    """What documents read, and what live sources hide. What each source says of data sources holds in its own documents."""
    inputs = [analyzer.Input(path, text) for path, text in given.uploaded]
    inputs += [analyzer.Input(path, text, scope=path.partition("/")[0], live=True) for path, text in given.fetched]
    with analyzer.PromqlWorker() as parse:
        read = analyzer.read_usage(inputs, parse)
    silent = {str(s) for s in given.executing} - {one.source for one in read.executed}
    executed = (*read.executed, *(Executed(source, 0, None) for source in sorted(silent)))
    return replace(read, blind_spots=(*given.hidden, *read.blind_spots), executed=executed)


def usage_report(tools: Tools, org: OrgId) -> Json:
    """What the org's documents and live sources read now: shape `usage` of CONTRACTS."""
    with tools.store.begin() as work:
        given = supplied(work, org, tools.now())
    usage = usage_of(given)
    return dict(analyzer.usage_json(usage, analyzer.unexecuted(usage, tools.policy)))


# --- analysis ------------------------------------------------------------------------------------------------------------------------


def start_analysis(tools: Tools, org: OrgId, window: Window, gateway: str | None) -> Analysis:
    """Records an analysis as running; `finish_analysis` does the work."""
    name = gateway_id(gateway) if gateway is not None else None
    made = Analysis(org, AnalysisId(tools.new_id()), "running", name, window.start, window.end, tools.now())
    with tools.store.begin() as work:
        if name is not None:
            work.gateway(org, name)
        work.put_analysis(made)
        work.commit()
    return made


def finish_analysis(tools: Tools, analysis: Analysis) -> Analysis:
    """Profiles × references → advice. No transaction is held while it works."""
    with tools.store.begin() as work:
        given, book = supplied(work, analysis.org, tools.now()), price_book(work, analysis.org)
    db = analyzer.open_tap(tools.segments, analysis.org)
    window = whole_buckets(Window(analysis.start, analysis.end), analyzer.bucket_seconds(db))
    usage = usage_of(given)
    seen = analyzer.profile(db, Side.IN, window, analysis.gateway)
    hours = analyzer.totals(db, Side.IN, window, analysis.gateway).hours
    advice = analyzer.advise(seen, usage, book, tools.policy, tools.now(), hours, unable)
    past = analyzer.history(db, Side.IN, Window(window.end - REMEMBERED, window.end), analysis.gateway)
    told = analyzer.advice_json(advice, usage, analyzer.outlook(past, advice.totals, book))
    done = Analysis(
        analysis.org,
        analysis.id,
        "done",
        analysis.gateway,
        window.start,
        window.end,
        analysis.created,
        {**told, "elsewhere": elsewhere_json(advice, seen), "usage_digest": usage_digest(given.documents)},
    )
    return _put_analysis(tools, done)


def fail_analysis(tools: Tools, analysis: Analysis, reason: str) -> Analysis:
    failed = Analysis(analysis.org, analysis.id, "failed", analysis.gateway, analysis.start, analysis.end, analysis.created, None, reason)
    return _put_analysis(tools, failed)


def _put_analysis(tools: Tools, analysis: Analysis) -> Analysis:
    with tools.store.begin() as work:
        work.put_analysis(analysis)
        work.commit()
    return analysis


def traffic(tools: Tools, org: OrgId, window: Window, gateway: str | None, side: Side) -> Json:
    """What one side sent in a window, priced."""
    with tools.store.begin() as work:
        book = price_book(work, org)
    db = analyzer.open_tap(tools.segments, org)
    exact = whole_buckets(window, analyzer.bucket_seconds(db))
    seen = analyzer.profile(db, side, exact, gateway_id(gateway) if gateway else None)
    total = sum((m.volume for m in seen.metrics), Volume())
    return {
        "window": window_json(exact),
        "totals": {**volume_json(total), "cost": cost_json(analyzer.price(total, Signal.METRICS, book))},
        "metrics": [
            {
                "metric": m.metric,
                "unit": m.unit,
                "kind": m.kind.value,
                "services": list(m.services),
                **volume_json(m.volume),
                "cost": cost_json(analyzer.price(m.volume, Signal.METRICS, book)),
            }
            for m in seen.metrics
        ],
        "logs": [
            {
                "service": row.service,
                "severity_number": row.severity_number,
                "records_per_second": round(row.records_per_second, 3),
                "bytes_per_second": round(row.bytes_per_second, 1),
            }
            for row in seen.logs
        ],
        "spans": [
            {
                "service": row.service,
                "name": row.name,
                "spans_per_second": round(row.spans_per_second, 3),
                "bytes_per_second": round(row.bytes_per_second, 1),
            }
            for row in seen.spans
        ],
    }


def whole_buckets(window: Window, seconds: int) -> Window:
    """The window to whole buckets of `seconds`; `Invalid` when it holds none."""
    try:
        return aligned(window, seconds)
    except (ValueError, OverflowError):
        said = f"no whole bucket of {seconds} s lies in it"
        raise Invalid(f"empty window: {said}", (Problem("end", said),)) from None


def window_json(window: Window) -> Json:
    return {"start": window.start.isoformat(), "end": window.end.isoformat(), "seconds": window.seconds}


# --- templates -------------------------------------------------------------------------------------------------------------------------


def sign_waiver(tools: Tools, org: OrgId, scope: str, reason: str, signed_by: str, expires: datetime) -> Waiver:
    if expires <= tools.now():
        raise Invalid("the waiver has expired already", (Problem("expires", "a time to come"),))
    waiver = Waiver(WaiverId(tools.new_id()), org, scope, reason, signed_by, expires)
    with tools.store.begin() as work:
        work.add_waiver(waiver)
        work.commit()
    return waiver


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a person asks to put into a template version."""

    name: str
    analysis: str
    recommendations: Sequence[str]
    waiver: str | None


def create_template_version(tools: Tools, org: OrgId, asked: Accepted, by: str) -> TemplateVersion:
    """The next immutable version, holding the actions of accepted recommendations. Raises when the policy is not met, or a protected metric is hit."""
    template = TemplateId(slug(asked.name, "template"))
    with tools.store.begin() as work:
        analysis = work.analysis(org, AnalysisId(asked.analysis))
        result = analysis.result
        if result is None:
            raise Conflict(f"analysis {analysis.id} is {analysis.status}")
        waiver = _waiver(work, tools, org, template, asked.waiver)
        _policy(tools.policy, analysis, waiver)
        actions = _accepted(result, asked.recommendations)
        problems = [*check_actions(merged(actions), protected_of(result)), *_no_longer_advised(work, org, actions, tools.now())]
        if problems:
            raise Invalid("these actions are refused", tuple(problems))
        number = 1 + max((v.version for v in work.template_versions(org) if v.template == template), default=0)
        made = TemplateVersion(org, template, number, actions, tools.now(), by, waiver.id if waiver else None)
        work.add_template_version(made)
        work.commit()
    return made


def usage_digest(documents: Sequence[tuple[str, str]]) -> str:
    """Stands for everything that is read: any change of any document changes it, of a query log any query that is new in it."""
    digest = hashlib.sha256()
    for path, text in documents:
        said = json.dumps(_queries(text)) if _EXECUTED.search(path) else text
        for part in (path.encode(errors="surrogatepass"), said.encode(errors="surrogatepass")):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _queries(text: str) -> list[str]:
    """What was queried, whenever and however often."""
    return querylog.names(text) or querylog.stable(text)


_EXECUTED = re.compile(r"/query_log/[0-9]+\.log$|/victoriametrics/metric_names_stats\.json$")


def _no_longer_advised(work: UnitOfWork, org: OrgId, actions: Sequence[Action], now: datetime) -> list[Problem]:
    """Actions that no finished analysis of today's documents recommends: a rule written since may read what they drop. None is advised
    while a live source hides, whatever an analysis said when it did not."""
    given = supplied(work, org, now)
    hiding = [spot for spot in given.hidden if spot.kind == "hiding"]
    if hiding:
        return [Problem("sources", spot.reason) for spot in hiding]
    today = usage_digest(given.documents)
    results = [a.result for a in work.analyses(org) if a.result is not None and a.result["usage_digest"] == today]
    if not results:
        return [Problem("analysis", "the documents have changed since they were analysed: analyse again")]
    advised = {action_from_json(a) for result in results for r in result["recommendations"] for a in r["actions"]}
    return [Problem(f"actions/{k}", "no analysis of today's documents recommends this") for k, a in enumerate(actions) if a not in advised]


def _waiver(work: UnitOfWork, tools: Tools, org: OrgId, template: TemplateId, waiver: str | None) -> Waiver | None:
    if waiver is None:
        return None
    found = work.waiver(org, WaiverId(waiver))
    if not found.allows(org, f"template/{template}", tools.now()):
        raise Invalid("the waiver does not allow this", (Problem("waiver", "expired, or for another scope"),))
    return found


def _policy(policy: Policy, analysis: Analysis, waiver: Waiver | None) -> None:
    """30 days of queries and 7 of tap, or a waiver. Executed queries are not read yet, so without a waiver the answer is no."""
    if (analysis.end - analysis.start) < policy.minimum_window:
        raise Invalid("the window is too short", (Problem("analysis", f"at least {policy.minimum_window.total_seconds():.0f} s"),))
    if waiver is None:
        raise Invalid(
            "the policy is not met",
            (
                Problem("waiver", f"{policy.days_of_queries} days of executed queries are asked for; no source of them is connected"),
                Problem("waiver", f"{policy.days_of_tap} days of tap are asked for; the window has {_days(analysis)}"),
            ),
        )


def _days(analysis: Analysis) -> str:
    return f"{(analysis.end - analysis.start).total_seconds() / 86_400:.4f}"


def _accepted(result: Mapping[str, Any], chosen: Sequence[str]) -> tuple[Action, ...]:
    """The actions of the chosen recommendations, in the order of the analysis."""
    known = {r["id"]: r for r in result["recommendations"]}
    missing = [c for c in chosen if c not in known]
    if missing:
        raise Invalid("unknown recommendations", tuple(Problem("recommendations", m) for m in missing))
    wanted = set(chosen)
    listed = [a for i, r in known.items() if i in wanted for a in r["actions"]]
    return tuple(dict.fromkeys(action_from_json(a) for a in listed))


# --- deployments -----------------------------------------------------------------------------------------------------------------------


def check_template(tools: Tools, org: OrgId, template: str, version: int, group: str) -> Checked:
    with tools.store.begin() as work:
        base, _ = work.group(org, GroupId(group))
        actions = work.template_version(org, TemplateId(template), version).actions
    return check(tools, base.base_config, actions)


def deploy(tools: Tools, org: OrgId, template: str, version: int, group: str) -> Deployment:
    """Makes a template version what the group should run. What the checks refuse is never offered: `Invalid` with the places."""
    with tools.store.begin() as work:
        base, active = work.group(org, GroupId(group))
        actions = work.template_version(org, TemplateId(template), version).actions
    bundle = checked(tools, base.base_config, actions)
    with tools.store.begin() as work:
        _unmoved(work, base, active)
        stale = _no_longer_advised(work, org, actions, tools.now())
        if stale:
            raise Invalid("these actions are refused", tuple(stale))
        work.put_group(base, active_of(bundle, TemplateId(template), version))
        _supersede(work, tools, org, base.id, bundle.hash)
        made = Deployment(
            org, DeploymentId(tools.new_id()), base.id, TemplateId(template), version, bundle.hash,
            DeploymentState.OFFERED, rollout.Event.NONE_YET.value, tools.now(), None,
        )  # fmt: skip
        work.put_deployment(made)
        _advance(work, tools, made)
        work.commit()
    return made


def _supersede(work: UnitOfWork, tools: Tools, org: OrgId, group: GroupId, by: bytes) -> None:
    """Ends the group's open deployments of any other bundle: no gateway will be offered theirs any more."""
    for open_one in work.deployments(org):
        if open_one.group == group and open_one.state not in rollout.FINAL and open_one.bundle_hash != by:
            work.put_deployment(rollout.step(open_one, rollout.superseded(by), tools.now()))


def recover(tools: Tools) -> None:
    """What a stop left behind: nobody is connected to a process that only starts, and nobody runs its predecessor's analyses."""
    with tools.store.begin() as work:
        for org in work.orgs():
            for report in work.reports(org):
                work.put_report(replace(report, connected=False))
            for analysis in work.analyses(org):
                if analysis.status == "running":
                    work.put_analysis(replace(analysis, status="failed", error="the control plane stopped while it ran; start it again"))
        work.commit()


def on_report(tools: Tools, report: GatewayReport) -> None:
    """Keeps what a gateway reported and moves the open deployments of its group."""
    with tools.store.begin() as work:
        work.put_report(report)
        group = work.gateway(report.org, report.gateway).group
        for deployment in work.deployments(report.org):
            if deployment.group == group and deployment.state not in rollout.FINAL:
                _advance(work, tools, deployment)
        work.commit()


def on_gone(tools: Tools, org: OrgId, gateway: GatewayId) -> None:
    """The gateway's connection ended; what it reported stays what it reported."""
    with tools.store.begin() as work:
        report = work.report(org, gateway)
        if report is not None:
            work.put_report(replace(report, connected=False))
            work.commit()


def _advance(work: UnitOfWork, tools: Tools, deployment: Deployment) -> None:
    members = [g.id for g in work.gateways(deployment.org) if g.group == deployment.group]
    if not members:
        return
    reading = rollout.read(deployment.bundle_hash, members, {r.gateway: r for r in work.reports(deployment.org)})
    work.put_deployment(rollout.step(deployment, reading, tools.now()))


def desired(tools: Tools, org: OrgId, gateway: GatewayId) -> Active | None:
    """What a gateway should run; None when it is not known here any more."""
    with tools.store.begin() as work:
        try:
            return work.group(org, work.gateway(org, gateway).group)[1]
        except NotFound:
            return None


# --- savings ---------------------------------------------------------------------------------------------------------------------------


def measure_saving(tools: Tools, org: OrgId, deployment: str, before: Window, after: Window, gateway: str | None) -> SavingRecord:
    """Predicted from the first window's `in`, realised from the second window's `in` − `out`, or why that cannot be told."""
    with tools.store.begin() as work:
        done = work.deployment(org, DeploymentId(deployment))
        actions = work.template_version(org, done.template, done.version).actions
        book = price_book(work, org)
    db = analyzer.open_tap(tools.segments, org)
    bucket = analyzer.bucket_seconds(db)
    first, second = whole_buckets(before, bucket), whole_buckets(after, bucket)
    name = gateway_id(gateway) if gateway else None
    predicted = analyzer.volume(db, Side.IN, first, actions, name)
    sent, left = analyzer.volume(db, Side.IN, second, None, name), analyzer.volume(db, Side.OUT, second, None, name)
    loss = analyzer.Loss(analyzer.tap_losses(db, second, name))
    applied = done.finished if done.state is DeploymentState.APPLIED else None
    saving = analyzer.judge(sent, left, first, second, applied, loss, book)
    realised = saving if isinstance(saving, Realised) else None
    result: Json = {
        "deployment": done.id,
        "gateway": gateway,
        "predicted": {**volume_json(predicted), "cost": cost_json(analyzer.price(predicted, Signal.METRICS, book))},
        "realised": {**volume_json(realised.volume), "cost": cost_json(realised.cost)} if realised else None,
        "cannot_tell": None if isinstance(saving, Realised) else saving.reason,
        "before": window_json(first),
        "after": window_json(second),
        "in": volume_json(sent),
        "out": volume_json(left),
    }
    record = SavingRecord(org, tools.new_id(), tools.now(), {"id": "", **result})
    record.result["id"] = record.id
    with tools.store.begin() as work:
        work.add_saving(record)
        work.commit()
    return record
