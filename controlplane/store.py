"""`ControlStore` on SQLite through SQLAlchemy. Which engine it is, is known here alone; the schema is Alembic's, beside it in `migrations/`."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError, OperationalError

from controlplane.ports import Active, Analysis, BookRevision, SavingRecord
from flowgate.advice import Waiver
from flowgate.errors import Broken, Busy, Conflict, FlowgateError, NotFound
from flowgate.fleet import ConfigStatus, Deployment, DeploymentState, Gateway, GatewayReport, Group, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId
from flowgate.ports import Identity
from flowgate.shapes import action_from_json, action_json
from flowgate.sources import NEVER, Document, FailedDocument, Fetch, History, Source, SourceId

Row = Mapping[str, Any]
metadata = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table of things that belong to an org; the org is the first part of every key."""
    org = sa.Column("org", sa.String, sa.ForeignKey("orgs.id"), primary_key=True)
    return sa.Table(name, metadata, org, *columns)


orgs = sa.Table("orgs", metadata, sa.Column("id", sa.String, primary_key=True))
user_tokens = _table("user_tokens", sa.Column("digest", sa.String, primary_key=True, unique=True))
gateways = _table(
    "gateways",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("group_id", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False, unique=True),
)
groups = _table(
    "groups",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("base_config", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("template", sa.String),
    sa.Column("version", sa.Integer),
)
documents = _table("documents", sa.Column("path", sa.String, primary_key=True), sa.Column("text", sa.Text, nullable=False))
sources = _table(
    "sources",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("interval_seconds", sa.Integer, nullable=False),
    sa.Column("tenant", sa.Text),
    sa.Column("prefix", sa.Text),
    sa.Column("user", sa.Text),
    sa.Column("token", sa.Text),
)
fetches = _table(
    "fetches",
    sa.Column("source", sa.String, primary_key=True),
    sa.Column("ok", sa.Boolean, primary_key=True),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("finished", sa.String, nullable=False),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("failed", sa.JSON, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("fault", sa.String),
)
fetched_documents = _table(
    "fetched_documents",
    sa.Column("source", sa.String, primary_key=True),
    sa.Column("path", sa.String, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("text", sa.LargeBinary, nullable=False),
)
price_book_revisions = _table(
    "price_book_revisions",
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
)
analyses = _table(
    "analyses",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("gateway", sa.String),
    sa.Column("start", sa.String, nullable=False),
    sa.Column("end", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.Text),
)
waivers = _table(
    "waivers",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("scope", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("signed_by", sa.String, nullable=False),
    sa.Column("expires", sa.String, nullable=False),
)
template_versions = _table(
    "template_versions",
    sa.Column("template", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("actions", sa.JSON, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.Column("waiver", sa.String),
)
deployments = _table(
    "deployments",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("group_id", sa.String, nullable=False),
    sa.Column("template", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("finished", sa.String),
)
reports = _table(
    "reports",
    sa.Column("gateway", sa.String, primary_key=True),
    sa.Column("instance_uid", sa.String, nullable=False),
    sa.Column("connected", sa.Boolean, nullable=False),
    sa.Column("last_seen", sa.String, nullable=False),
    sa.Column("agent_version", sa.String),
    sa.Column("description", sa.JSON(none_as_null=True)),
    sa.Column("capabilities", sa.Integer),
    sa.Column("config_hash", sa.LargeBinary),
    sa.Column("config_status", sa.String),
    sa.Column("config_error", sa.Text),
    sa.Column("healthy", sa.Boolean),
    sa.Column("health_status", sa.String),
    sa.Column("health_error", sa.Text),
    sa.Column("started", sa.String),
    sa.Column("effective_config", sa.Text),
    sa.Column("components", sa.JSON(none_as_null=True)),
)
savings = _table(
    "savings",
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("result", sa.JSON, nullable=False),
)


class SqlStore:
    """A store in one SQLite file. Opening it brings its schema up to date."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _private(path)
            self._engine = _engine(path)
            migrate(self._engine)
        except (OSError, OperationalError) as error:
            raise Broken(f"{path} cannot be opened: {getattr(error, 'orig', error)}") from error

    @contextmanager
    def begin(self) -> Generator[SqlUnitOfWork]:
        """A transaction that holds the write lock from its start, so that what it read is still so when it writes."""
        try:
            with self._engine.connect() as connection:
                yield SqlUnitOfWork(connection)
                connection.rollback()  # what was committed is; the rest is undone
        except OperationalError as error:
            raise _whose(error) from error

    def close(self) -> None:
        self._engine.dispose()


def _private(path: Path) -> None:
    """Tokens of live sources are in it as they are: its owner alone may read it. SQLite gives its other files the same mode."""
    path.touch(mode=0o600)
    if path.is_file():
        path.chmod(0o600)


def _whose(error: OperationalError) -> FlowgateError:
    """A lock that was not had in time passes; a full or failing disk does not."""
    said = str(error.orig)
    return Busy("the store is busy") if "locked" in said else Broken(f"the store cannot be used: {said}")


def _engine(path: Path) -> sa.Engine:
    # Python's sqlite3 would begin transactions on its own, and only before writes; ours begin by `_begin`, with the write lock.
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 10.0, "isolation_level": None})
    event.listen(engine, "connect", _settings)
    event.listen(engine, "begin", _begin)
    return engine


def _settings(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "busy_timeout=10000", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """To the newest revision; the write lock lets one process at a time do it."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


class SqlUnitOfWork:
    """`UnitOfWork` over one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection

    def commit(self) -> None:
        self._db.commit()

    # --- orgs and tokens ---

    def add_org(self, org: OrgId) -> None:
        self._add(orgs, {"id": org}, f"org {org}")

    def orgs(self) -> Sequence[OrgId]:
        return [OrgId(r["id"]) for r in self._rows(sa.select(orgs).order_by(orgs.c.id))]

    def add_user_token(self, org: OrgId, digest: str) -> None:
        self._add(user_tokens, {"org": org, "digest": digest}, "token")

    def user_org(self, digest: str) -> OrgId | None:
        row = self._first(sa.select(user_tokens).where(user_tokens.c.digest == digest))
        return OrgId(row["org"]) if row else None

    # --- gateways ---

    def add_gateway(self, gateway: Gateway, digest: str) -> None:
        row = {"org": gateway.org, "id": gateway.id, "group_id": gateway.group, "digest": digest}
        self._add(gateways, row, f"gateway {gateway.id}")

    def gateway(self, org: OrgId, gateway: GatewayId) -> Gateway:
        return _gateway(self._one(_of(gateways, org).where(gateways.c.id == gateway), f"gateway {gateway}"))

    def gateways(self, org: OrgId) -> Sequence[Gateway]:
        return [_gateway(r) for r in self._rows(_of(gateways, org).order_by(gateways.c.id))]

    def gateway_identity(self, digest: str) -> Identity | None:
        row = self._first(sa.select(gateways).where(gateways.c.digest == digest))
        return Identity(OrgId(row["org"]), GatewayId(row["id"])) if row else None

    def gateway_tokens(self) -> Sequence[tuple[str, Identity]]:
        rows = self._rows(sa.select(gateways).order_by(gateways.c.digest))
        return [(r["digest"], Identity(OrgId(r["org"]), GatewayId(r["id"]))) for r in rows]

    # --- groups ---

    def put_group(self, group: Group, active: Active) -> None:
        row = {
            "org": group.org, "id": group.id, "base_config": group.base_config, "body": active.body, "hash": active.hash,
            "template": active.template, "version": active.version,
        }  # fmt: skip
        self._put(groups, row)

    def group(self, org: OrgId, group: GroupId) -> tuple[Group, Active]:
        r = self._one(_of(groups, org).where(groups.c.id == group), f"group {group}")
        template = TemplateId(r["template"]) if r["template"] else None
        return Group(org, group, r["base_config"]), Active(r["body"], r["hash"], template, r["version"])

    # --- usage and prices ---

    def put_document(self, org: OrgId, path: str, text: str) -> None:
        self._put(documents, {"org": org, "path": path, "text": text})

    def delete_document(self, org: OrgId, path: str) -> None:
        self._one(_of(documents, org).where(documents.c.path == path), f"document {path}")
        self._db.execute(sa.delete(documents).where(documents.c.org == org, documents.c.path == path))

    def documents(self, org: OrgId) -> Sequence[tuple[str, str]]:
        return [(r["path"], r["text"]) for r in self._rows(_of(documents, org).order_by(documents.c.path))]

    # --- live sources ---

    def add_source(self, source: Source, token: str | None) -> None:
        self._add(sources, {**_source_row(source), "token": token}, f"source {source.id}")

    def replace_source(self, source: Source) -> None:
        old = self.source(source.org, source.id)
        self._put(sources, _source_row(source))
        if old.address != source.address:
            self._delete_of(fetches, source.org, source.id)

    def put_source_token(self, org: OrgId, source: SourceId, token: str | None) -> None:
        self.source(org, source)
        self._db.execute(sa.update(sources).where(sources.c.org == org, sources.c.id == source).values(token=token))

    def delete_source(self, org: OrgId, source: SourceId) -> None:
        self.source(org, source)
        self._delete_of(fetches, org, source)
        self._delete_of(fetched_documents, org, source)
        self._db.execute(sa.delete(sources).where(sources.c.org == org, sources.c.id == source))

    def _delete_of(self, table: sa.Table, org: OrgId, source: SourceId) -> None:
        self._db.execute(sa.delete(table).where(table.c.org == org, table.c.source == source))

    def source(self, org: OrgId, source: SourceId) -> Source:
        return _source(self._one(_of(sources, org).where(sources.c.id == source), f"source {source}"))

    def sources(self, org: OrgId) -> Sequence[Source]:
        return [_source(r) for r in self._rows(_of(sources, org).order_by(sources.c.id))]

    def source_token(self, org: OrgId, source: SourceId) -> str | None:
        return self._one(_of(sources, org).where(sources.c.id == source), f"source {source}")["token"]

    def put_fetch(self, fetch: Fetch, documents: Sequence[Document]) -> None:
        self.source(fetch.org, fetch.source)
        row = {
            "org": fetch.org, "source": fetch.source, "ok": fetch.ok, "started": _text(fetch.started), "finished": _text(fetch.finished),
            "documents": fetch.documents, "failed": [[f.path, f.reason] for f in fetch.failed], "notes": list(fetch.notes),
            "error": fetch.error, "fault": fetch.fault,
        }  # fmt: skip
        self._put(fetches, row)
        t = fetched_documents
        mine = (t.c.org == fetch.org, t.c.source == fetch.source)
        rows = self._db.execute(sa.select(t.c.path, t.c.digest).where(*mine))
        known: dict[str, bytes] = {row.path: row.digest for row in rows}
        for path, text in documents:
            self._put_fetched(fetch, path, text.encode(errors="surrogatepass"), known.get(path))
        if fetch.ok:
            for path in known.keys() - {p for p, _ in documents} - {f.path for f in fetch.failed}:
                self._db.execute(sa.delete(t).where(*mine, t.c.path == path))

    def _put_fetched(self, fetch: Fetch, path: str, text: bytes, known: bytes | None) -> None:
        """Most documents are what they were an hour ago: those are not compressed and written again under the write lock."""
        digest = hashlib.sha256(text).digest()
        if digest != known:
            key = {"org": fetch.org, "source": fetch.source, "path": path}
            self._put(fetched_documents, {**key, "digest": digest, "text": zlib.compress(text, 1)})

    def histories(self, org: OrgId) -> Mapping[SourceId, History]:
        made: dict[SourceId, History] = {}
        for row in self._rows(_of(fetches, org).order_by(fetches.c.started, fetches.c.ok.desc())):
            one = _fetch(row)
            made[one.source] = History(one, one if one.ok else made.get(one.source, NEVER).good)
        return made

    def fetched_documents(self, org: OrgId) -> Sequence[Document]:
        t = fetched_documents
        rows = self._rows(_of(t, org).order_by(t.c.source, t.c.path))
        return [(f"{r['source']}/{r['path']}", zlib.decompress(r["text"]).decode(errors="surrogatepass")) for r in rows]

    def add_price_book(self, book: BookRevision) -> None:
        row = {
            "org": book.org, "destination": book.destination, "revision": book.revision, "text": book.text,
            "created": _text(book.created), "created_by": book.created_by,
        }  # fmt: skip
        self._add(price_book_revisions, row, f"price book {book.destination} revision {book.revision}")

    def price_book(self, org: OrgId, destination: str, revision: int) -> BookRevision:
        t = price_book_revisions
        query = _of(t, org).where(t.c.destination == destination, t.c.revision == revision)
        return _book_revision(self._one(query, f"price book {destination} revision {revision}"))

    def price_books(self, org: OrgId) -> Sequence[BookRevision]:
        t = price_book_revisions
        newest = sa.select(t.c.destination, sa.func.max(t.c.revision).label("revision")).where(t.c.org == org).group_by(t.c.destination)
        last = newest.subquery()
        query = _of(t, org).join(last, sa.and_(t.c.destination == last.c.destination, t.c.revision == last.c.revision))
        return [_book_revision(r) for r in self._rows(query.order_by(t.c.destination))]

    # --- analyses ---

    def put_analysis(self, analysis: Analysis) -> None:
        row = {
            "org": analysis.org, "id": analysis.id, "status": analysis.status, "gateway": analysis.gateway,
            "start": _text(analysis.start), "end": _text(analysis.end), "created": _text(analysis.created),
            "result": analysis.result, "error": analysis.error,
        }  # fmt: skip
        self._put(analyses, row)

    def analysis(self, org: OrgId, analysis: AnalysisId) -> Analysis:
        return _analysis(self._one(_of(analyses, org).where(analyses.c.id == analysis), f"analysis {analysis}"))

    def analyses(self, org: OrgId) -> Sequence[Analysis]:
        return [_analysis(r) for r in self._rows(_of(analyses, org).order_by(analyses.c.created.desc(), analyses.c.id))]

    # --- templates ---

    def add_waiver(self, waiver: Waiver) -> None:
        row = {
            "org": waiver.org, "id": waiver.id, "scope": waiver.scope, "reason": waiver.reason,
            "signed_by": waiver.signed_by, "expires": _text(waiver.expires),
        }  # fmt: skip
        self._add(waivers, row, f"waiver {waiver.id}")

    def waiver(self, org: OrgId, waiver: WaiverId) -> Waiver:
        r = self._one(_of(waivers, org).where(waivers.c.id == waiver), f"waiver {waiver}")
        return Waiver(waiver, org, r["scope"], r["reason"], r["signed_by"], _time(r["expires"]))

    def add_template_version(self, version: TemplateVersion) -> None:
        row = {
            "org": version.org, "template": version.template, "version": version.version,
            "actions": [action_json(a) for a in version.actions], "created": _text(version.created),
            "created_by": version.created_by, "waiver": version.waiver,
        }  # fmt: skip
        self._add(template_versions, row, f"template {version.template} version {version.version}")

    def template_version(self, org: OrgId, template: TemplateId, version: int) -> TemplateVersion:
        t = template_versions.c
        query = _of(template_versions, org).where(t.template == template, t.version == version)
        return _version(self._one(query, f"template {template} version {version}"))

    def template_versions(self, org: OrgId) -> Sequence[TemplateVersion]:
        t = template_versions.c
        return [_version(r) for r in self._rows(_of(template_versions, org).order_by(t.template, t.version))]

    # --- deployments and reports ---

    def put_deployment(self, deployment: Deployment) -> None:
        d = deployment
        row = {
            "org": d.org, "id": d.id, "group_id": d.group, "template": d.template, "version": d.version, "hash": d.bundle_hash,
            "state": d.state.value, "reason": d.reason, "created": _text(d.created),
            "finished": _text(d.finished) if d.finished else None,
        }  # fmt: skip
        self._put(deployments, row)

    def deployment(self, org: OrgId, deployment: DeploymentId) -> Deployment:
        return _deployment(self._one(_of(deployments, org).where(deployments.c.id == deployment), f"deployment {deployment}"))

    def deployments(self, org: OrgId) -> Sequence[Deployment]:
        query = _of(deployments, org).order_by(deployments.c.created.desc(), deployments.c.id)
        return [_deployment(r) for r in self._rows(query)]

    def put_report(self, report: GatewayReport) -> None:
        row = {c.name: getattr(report, c.name) for c in reports.c if c.name not in ("last_seen", "started", "config_status")}
        row["last_seen"] = _text(report.last_seen)
        row["started"] = _text(report.started) if report.started else None
        row["config_status"] = report.config_status.value if report.config_status else None
        row["description"] = dict(report.description) if report.description is not None else None
        row["components"] = list(report.components) if report.components is not None else None
        self._put(reports, row)

    def report(self, org: OrgId, gateway: GatewayId) -> GatewayReport | None:
        row = self._first(_of(reports, org).where(reports.c.gateway == gateway))
        return _report(row) if row else None

    def reports(self, org: OrgId) -> Sequence[GatewayReport]:
        return [_report(r) for r in self._rows(_of(reports, org).order_by(reports.c.gateway))]

    # --- savings ---

    def add_saving(self, saving: SavingRecord) -> None:
        row = {"org": saving.org, "id": saving.id, "created": _text(saving.created), "result": saving.result}
        self._add(savings, row, f"saving {saving.id}")

    def savings(self, org: OrgId) -> Sequence[SavingRecord]:
        rows = self._rows(_of(savings, org).order_by(savings.c.created.desc(), savings.c.id))
        return [SavingRecord(org, r["id"], _time(r["created"]), r["result"]) for r in rows]

    # --- rows ---

    def _add(self, table: sa.Table, row: dict[str, Any], what: str) -> None:
        try:
            self._db.execute(sa.insert(table).values(row))
        except IntegrityError as error:
            if "FOREIGN KEY" in str(error.orig):
                raise NotFound(f"org {row.get('org')} does not exist") from error
            raise Conflict(f"{what} exists already") from error

    def _put(self, table: sa.Table, row: dict[str, Any]) -> None:
        keys = [c.name for c in table.primary_key]
        rest = {name: value for name, value in row.items() if name not in keys}
        try:
            self._db.execute(insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=rest))
        except IntegrityError as error:
            raise NotFound(f"org {row.get('org')} does not exist") from error

    def _rows(self, query: sa.Select[Any]) -> list[Row]:
        return [dict(r) for r in self._db.execute(query).mappings()]

    def _first(self, query: sa.Select[Any]) -> Row | None:
        row = self._db.execute(query).mappings().first()
        return dict(row) if row else None

    def _one(self, query: sa.Select[Any], what: str) -> Row:
        row = self._first(query)
        if row is None:
            raise NotFound(f"{what} does not exist")
        return row


def _of(table: sa.Table, org: OrgId) -> sa.Select[Any]:
    return sa.select(table).where(table.c.org == org)


def _text(moment: datetime) -> str:
    """UTC with microseconds: sorts as it reads."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _gateway(r: Row) -> Gateway:
    return Gateway(OrgId(r["org"]), GatewayId(r["id"]), GroupId(r["group_id"]))


def _source_row(source: Source) -> dict[str, Any]:
    row = {c.name: getattr(source, c.name) for c in sources.c if c.name not in ("created", "token")}
    return {**row, "created": _text(source.created)}


def _source(r: Row) -> Source:
    values: dict[str, Any] = {**r, "created": _time(r["created"])}
    del values["token"]
    return Source(**values)


def _fetch(r: Row) -> Fetch:
    failed = tuple(FailedDocument(path, reason) for path, reason in r["failed"])
    values: dict[str, Any] = {
        **r,
        "started": _time(r["started"]),
        "finished": _time(r["finished"]),
        "failed": failed,
        "notes": tuple(r["notes"]),
    }
    return Fetch(**values)


def _analysis(r: Row) -> Analysis:
    gateway = GatewayId(r["gateway"]) if r["gateway"] else None
    return Analysis(
        OrgId(r["org"]), AnalysisId(r["id"]), r["status"], gateway, _time(r["start"]), _time(r["end"]), _time(r["created"]),
        r["result"], r["error"],
    )  # fmt: skip


def _book_revision(r: Row) -> BookRevision:
    return BookRevision(OrgId(r["org"]), r["destination"], r["revision"], r["text"], _time(r["created"]), r["created_by"])


def _version(r: Row) -> TemplateVersion:
    actions = tuple(action_from_json(a) for a in (json.loads(r["actions"]) if isinstance(r["actions"], str) else r["actions"]))
    waiver = WaiverId(r["waiver"]) if r["waiver"] else None
    return TemplateVersion(OrgId(r["org"]), TemplateId(r["template"]), r["version"], actions, _time(r["created"]), r["created_by"], waiver)


def _deployment(r: Row) -> Deployment:
    return Deployment(
        OrgId(r["org"]), DeploymentId(r["id"]), GroupId(r["group_id"]), TemplateId(r["template"]), r["version"], r["hash"],
        DeploymentState(r["state"]), r["reason"], _time(r["created"]), _time(r["finished"]) if r["finished"] else None,
    )  # fmt: skip


def _report(r: Row) -> GatewayReport:
    values = dict(r)
    values["last_seen"] = _time(r["last_seen"])
    values["started"] = _time(r["started"]) if r["started"] else None
    values["config_status"] = ConfigStatus(r["config_status"]) if r["config_status"] else None
    values["components"] = tuple(r["components"]) if r["components"] is not None else None
    return GatewayReport(**values)
