"""Honest in-memory adapters: each passes the contract suite of its port."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from controlplane.ports import Active, Analysis, BookRevision, SavingRecord
from flowgate.advice import Waiver
from flowgate.errors import Conflict, NotFound
from flowgate.fleet import Deployment, Gateway, GatewayReport, Group, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId
from flowgate.ports import Identity
from flowgate.sources import NEVER, Document, Fetch, History, Source, SourceId
from flowgate.telemetry import Segment, Window

T = TypeVar("T")


class MemorySegments:
    """`SegmentSource` over a list."""

    def __init__(self, *segments: Segment) -> None:
        self._segments = segments

    def segments(self, org: OrgId, window: Window) -> Sequence[Segment]:
        return [s for s in self._segments if s.org == org and s.window.overlaps(window)]


class MemoryTokens:
    """`Authenticator` over a table; `open_org` stands in for loopback's default."""

    def __init__(self, known: dict[str, Identity], open_org: OrgId | None = None) -> None:
        self._known, self._open = known, open_org

    def authenticate(self, token: str | None) -> Identity | None:
        if token is None or not token.strip():
            return Identity(self._open, None) if self._open else None
        return self._known.get(token.strip())


@dataclass
class Tables:
    rows: dict[str, dict[tuple[Any, ...], Any]] = field(default_factory=dict)

    def table(self, name: str) -> dict[tuple[Any, ...], Any]:
        return self.rows.setdefault(name, {})


class MemoryStore:
    """`ControlStore` in dictionaries: a unit of work changes a copy, `commit` puts it in place."""

    def __init__(self) -> None:
        self._tables = Tables()

    @contextmanager
    def begin(self) -> Generator[MemoryUnitOfWork]:
        yield MemoryUnitOfWork(self, deepcopy(self._tables))

    def keep(self, tables: Tables) -> None:
        self._tables = deepcopy(tables)


class MemoryUnitOfWork:
    def __init__(self, store: MemoryStore, tables: Tables) -> None:
        self._store, self._tables = store, tables

    def commit(self) -> None:
        self._store.keep(self._tables)

    def _add(self, table: str, key: tuple[Any, ...], value: Any, what: str) -> None:
        if table != "orgs" and (key[0],) not in self._tables.table("orgs"):
            raise NotFound(f"org {key[0]} does not exist")
        if key in self._tables.table(table):
            raise Conflict(f"{what} exists already")
        self._tables.table(table)[key] = value

    def _put(self, table: str, key: tuple[Any, ...], value: Any) -> None:
        if (key[0],) not in self._tables.table("orgs"):
            raise NotFound(f"org {key[0]} does not exist")
        self._tables.table(table)[key] = value

    def _one(self, table: str, key: tuple[Any, ...], what: str) -> Any:
        try:
            return self._tables.table(table)[key]
        except KeyError:
            raise NotFound(f"{what} does not exist") from None

    def _all(self, table: str, org: OrgId) -> list[Any]:
        return [v for k, v in sorted(self._tables.table(table).items()) if k[0] == org]

    def add_org(self, org: OrgId) -> None:
        self._add("orgs", (org,), org, f"org {org}")

    def orgs(self) -> Sequence[OrgId]:
        return [k[0] for k in sorted(self._tables.table("orgs"))]

    def add_user_token(self, org: OrgId, digest: str) -> None:
        self._add("users", (org, digest), org, "token")

    def user_org(self, digest: str) -> OrgId | None:
        return next((o for (o, d), _ in self._tables.table("users").items() if d == digest), None)

    def add_gateway(self, gateway: Gateway, digest: str) -> None:
        if any(d == digest for _, d in self._tables.table("gateways").values()):
            raise Conflict("token exists already")
        self._add("gateways", (gateway.org, gateway.id), (gateway, digest), f"gateway {gateway.id}")

    def gateway(self, org: OrgId, gateway: GatewayId) -> Gateway:
        return self._one("gateways", (org, gateway), f"gateway {gateway}")[0]

    def gateways(self, org: OrgId) -> Sequence[Gateway]:
        return [g for g, _ in self._all("gateways", org)]

    def gateway_identity(self, digest: str) -> Identity | None:
        return next((i for d, i in self.gateway_tokens() if d == digest), None)

    def gateway_tokens(self) -> Sequence[tuple[str, Identity]]:
        return sorted(((d, Identity(g.org, g.id)) for g, d in self._tables.table("gateways").values()), key=lambda p: p[0])

    def put_group(self, group: Group, active: Active) -> None:
        self._put("groups", (group.org, group.id), (group, active))

    def group(self, org: OrgId, group: GroupId) -> tuple[Group, Active]:
        return self._one("groups", (org, group), f"group {group}")

    def put_document(self, org: OrgId, path: str, text: str) -> None:
        self._put("documents", (org, path), (path, text))

    def delete_document(self, org: OrgId, path: str) -> None:
        self._one("documents", (org, path), f"document {path}")
        del self._tables.table("documents")[org, path]

    def documents(self, org: OrgId) -> Sequence[tuple[str, str]]:
        return self._all("documents", org)

    def add_source(self, source: Source, token: str | None) -> None:
        self._add("sources", (source.org, source.id), source, f"source {source.id}")
        self._tables.table("source_tokens")[source.org, source.id] = token

    def replace_source(self, source: Source) -> None:
        old = self.source(source.org, source.id)
        self._put("sources", (source.org, source.id), source)
        if old.address != source.address:
            self._delete_of("fetches", source.org, source.id)

    def put_source_token(self, org: OrgId, source: SourceId, token: str | None) -> None:
        self.source(org, source)
        self._tables.table("source_tokens")[org, source] = token

    def delete_source(self, org: OrgId, source: SourceId) -> None:
        self.source(org, source)
        for table in ("sources", "source_tokens", "fetches", "fetched"):
            self._delete_of(table, org, source)

    def _delete_of(self, table: str, org: OrgId, source: SourceId) -> None:
        rows = self._tables.table(table)
        for key in [k for k in rows if k[:2] == (org, source)]:
            del rows[key]

    def source(self, org: OrgId, source: SourceId) -> Source:
        return self._one("sources", (org, source), f"source {source}")

    def sources(self, org: OrgId) -> Sequence[Source]:
        return self._all("sources", org)

    def source_token(self, org: OrgId, source: SourceId) -> str | None:
        return self._one("source_tokens", (org, source), f"source {source}")

    def put_fetch(self, fetch: Fetch, documents: Sequence[Document]) -> None:
        self.source(fetch.org, fetch.source)
        self._put("fetches", (fetch.org, fetch.source, fetch.ok), fetch)
        rows = self._tables.table("fetched")
        kept = {p for p, _ in documents} | {f.path for f in fetch.failed}
        for key in [k for k in rows if k[:2] == (fetch.org, fetch.source) and fetch.ok and k[2] not in kept]:
            del rows[key]
        for path, text in documents:
            rows[fetch.org, fetch.source, path] = (f"{fetch.source}/{path}", text)

    def histories(self, org: OrgId) -> Mapping[SourceId, History]:
        made: dict[SourceId, History] = {}
        for one in sorted(self._all("fetches", org), key=lambda f: (f.started, not f.ok)):
            made[one.source] = History(one, one if one.ok else made.get(one.source, NEVER).good)
        return made

    def fetched_documents(self, org: OrgId) -> Sequence[Document]:
        return self._all("fetched", org)

    def add_price_book(self, book: BookRevision) -> None:
        key = (book.org, book.destination, book.revision)
        self._add("prices", key, book, f"price book {book.destination} revision {book.revision}")

    def price_book(self, org: OrgId, destination: str, revision: int) -> BookRevision:
        return self._one("prices", (org, destination, revision), f"price book {destination} revision {revision}")

    def price_books(self, org: OrgId) -> Sequence[BookRevision]:
        newest = {book.destination: book for book in sorted(self._all("prices", org), key=lambda b: b.revision)}
        return [newest[destination] for destination in sorted(newest)]

    def put_analysis(self, analysis: Analysis) -> None:
        self._put("analyses", (analysis.org, analysis.id), analysis)

    def analysis(self, org: OrgId, analysis: AnalysisId) -> Analysis:
        return self._one("analyses", (org, analysis), f"analysis {analysis}")

    def analyses(self, org: OrgId) -> Sequence[Analysis]:
        return sorted(self._all("analyses", org), key=lambda a: a.created, reverse=True)

    def add_waiver(self, waiver: Waiver) -> None:
        self._add("waivers", (waiver.org, waiver.id), waiver, f"waiver {waiver.id}")

    def waiver(self, org: OrgId, waiver: WaiverId) -> Waiver:
        return self._one("waivers", (org, waiver), f"waiver {waiver}")

    def add_template_version(self, version: TemplateVersion) -> None:
        key = (version.org, version.template, version.version)
        self._add("versions", key, version, f"template {version.template} version {version.version}")

    def template_version(self, org: OrgId, template: TemplateId, version: int) -> TemplateVersion:
        return self._one("versions", (org, template, version), f"template {template} version {version}")

    def template_versions(self, org: OrgId) -> Sequence[TemplateVersion]:
        return self._all("versions", org)

    def put_deployment(self, deployment: Deployment) -> None:
        self._put("deployments", (deployment.org, deployment.id), deployment)

    def deployment(self, org: OrgId, deployment: DeploymentId) -> Deployment:
        return self._one("deployments", (org, deployment), f"deployment {deployment}")

    def deployments(self, org: OrgId) -> Sequence[Deployment]:
        return sorted(self._all("deployments", org), key=lambda d: d.created, reverse=True)

    def put_report(self, report: GatewayReport) -> None:
        self._put("reports", (report.org, report.gateway), report)

    def report(self, org: OrgId, gateway: GatewayId) -> GatewayReport | None:
        return self._tables.table("reports").get((org, gateway))

    def reports(self, org: OrgId) -> Sequence[GatewayReport]:
        return self._all("reports", org)

    def add_saving(self, saving: SavingRecord) -> None:
        self._add("savings", (saving.org, saving.id), saving, f"saving {saving.id}")

    def savings(self, org: OrgId) -> Sequence[SavingRecord]:
        return sorted(self._all("savings", org), key=lambda s: s.created, reverse=True)
