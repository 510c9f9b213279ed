"""What use cases ask of storage: a unit of work, with OrgId first in every call. Leaving one without `commit` undoes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from flowgate.advice import Waiver
from flowgate.fleet import Deployment, Gateway, GatewayReport, Group, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId
from flowgate.ports import Identity
from flowgate.sources import Document, Fetch, Fetched, History, Source, SourceId

Json = dict[str, Any]
ReadSource = Callable[[Source, str | None], Awaitable[Fetched]]
"""Fetches a source once, with its token. Never raises for what the other side does."""


@dataclass(frozen=True, slots=True)
class Active:
    """What a group's gateways should run: the bundle's one file, its hash, and the template version in it (None: the bare base)."""

    body: bytes
    hash: bytes
    template: TemplateId | None
    version: int | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One run of the analyzer. `result` is the JSON of the API once it is done."""

    org: OrgId
    id: AnalysisId
    status: Literal["running", "done", "failed"]
    gateway: GatewayId | None
    start: datetime
    end: datetime
    created: datetime
    result: Json | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SavingRecord:
    """One measured saving, as the JSON of the API."""

    org: OrgId
    id: str
    created: datetime
    result: Json


DEFAULT_DESTINATION = "default"
"""Whose price book prices what is analysed."""


@dataclass(frozen=True, slots=True)
class BookRevision:
    """What a destination charges, as it was written down at a moment. Immutable: a change is a new revision, counted from 1."""

    org: OrgId
    destination: str
    revision: int
    text: str
    created: datetime
    created_by: str


class UnitOfWork(Protocol):
    """One transaction. Reads raise `NotFound` where one thing is named; adds raise `Conflict` where it exists."""

    def commit(self) -> None: ...

    def add_org(self, org: OrgId) -> None: ...
    def orgs(self) -> Sequence[OrgId]: ...
    def add_user_token(self, org: OrgId, digest: str) -> None: ...
    def user_org(self, digest: str) -> OrgId | None: ...

    def add_gateway(self, gateway: Gateway, digest: str) -> None: ...
    def gateway(self, org: OrgId, gateway: GatewayId) -> Gateway: ...
    def gateways(self, org: OrgId) -> Sequence[Gateway]: ...
    def gateway_identity(self, digest: str) -> Identity | None: ...
    def gateway_tokens(self) -> Sequence[tuple[str, Identity]]: ...

    def put_group(self, group: Group, active: Active) -> None: ...
    def group(self, org: OrgId, group: GroupId) -> tuple[Group, Active]: ...

    def put_document(self, org: OrgId, path: str, text: str) -> None: ...
    def delete_document(self, org: OrgId, path: str) -> None: ...
    def documents(self, org: OrgId) -> Sequence[tuple[str, str]]: ...

    def add_source(self, source: Source, token: str | None) -> None: ...
    def replace_source(self, source: Source) -> None:
        """Keeps its token. A new `address` forgets its fetches: what they say was said by another."""
        ...

    def put_source_token(self, org: OrgId, source: SourceId, token: str | None) -> None: ...
    def delete_source(self, org: OrgId, source: SourceId) -> None:
        """With its token, its fetches and its documents."""
        ...

    def source(self, org: OrgId, source: SourceId) -> Source: ...
    def sources(self, org: OrgId) -> Sequence[Source]: ...
    def source_token(self, org: OrgId, source: SourceId) -> str | None:
        """The secret itself: for whoever fetches, never for an answer."""
        ...

    def put_fetch(self, fetch: Fetch, documents: Sequence[Document]) -> None:
        """Keeps an attempt and what it brought. Only an `ok` one says what no longer exists: the source's other documents go, except those
        that it `failed` to fetch, of which an older text is better than none. Of attempts, the last `ok` and the last other one are kept."""
        ...

    def histories(self, org: OrgId) -> Mapping[SourceId, History]:
        """Of two attempts that started at one moment, the one that was not `ok` counts as the last."""
        ...

    def fetched_documents(self, org: OrgId) -> Sequence[Document]:
        """Of all sources, by path; each path stands below its source's id."""
        ...

    def add_price_book(self, book: BookRevision) -> None: ...
    def price_book(self, org: OrgId, destination: str, revision: int) -> BookRevision: ...
    def price_books(self, org: OrgId) -> Sequence[BookRevision]:
        """The last revision of each destination's, by destination."""
        ...

    def put_analysis(self, analysis: Analysis) -> None: ...
    def analysis(self, org: OrgId, analysis: AnalysisId) -> Analysis: ...
    def analyses(self, org: OrgId) -> Sequence[Analysis]: ...

    def add_waiver(self, waiver: Waiver) -> None: ...
    def waiver(self, org: OrgId, waiver: WaiverId) -> Waiver: ...

    def add_template_version(self, version: TemplateVersion) -> None: ...
    def template_version(self, org: OrgId, template: TemplateId, version: int) -> TemplateVersion: ...
    def template_versions(self, org: OrgId) -> Sequence[TemplateVersion]: ...

    def put_deployment(self, deployment: Deployment) -> None: ...
    def deployment(self, org: OrgId, deployment: DeploymentId) -> Deployment: ...
    def deployments(self, org: OrgId) -> Sequence[Deployment]: ...

    def put_report(self, report: GatewayReport) -> None: ...
    def report(self, org: OrgId, gateway: GatewayId) -> GatewayReport | None: ...
    def reports(self, org: OrgId) -> Sequence[GatewayReport]: ...

    def add_saving(self, saving: SavingRecord) -> None: ...
    def savings(self, org: OrgId) -> Sequence[SavingRecord]: ...


class ControlStore(Protocol):
    """Where units of work come from."""

    def begin(self) -> AbstractContextManager[UnitOfWork]: ...
