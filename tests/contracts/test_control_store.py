"""What every `ControlStore` promises; the fake passes it too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.ports import Active, Analysis, BookRevision, ControlStore, SavingRecord
from controlplane.store import SqlStore
from flowgate.actions import DropLogs, DropMetric
from flowgate.advice import Waiver
from flowgate.errors import Conflict, NotFound
from flowgate.fleet import ConfigStatus, Deployment, DeploymentState, Gateway, GatewayReport, Group, TemplateVersion
from flowgate.ids import AnalysisId, DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId
from flowgate.ports import Identity
from flowgate.sources import FailedDocument, Fetch, History, Source, SourceId
from tests.fakes import MemoryStore

A, B = OrgId("a"), OrgId("b")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
G = GatewayId("g")
ACTIVE = Active(b"x: 1", b"h" * 32, None, None)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlStore]:
    made = MemoryStore() if request.param == "memory" else SqlStore(tmp_path / "control.db")
    with made.begin() as work:
        work.add_org(A)
        work.add_org(B)
        work.commit()
    yield made
    if isinstance(made, SqlStore):
        made.close()


def deployment(org: OrgId = A, name: str = "d", at: datetime = NOW) -> Deployment:
    return Deployment(org, DeploymentId(name), GroupId("g"), TemplateId("t"), 1, b"h", DeploymentState.OFFERED, "why", at, None)


S = SourceId("s")


def source(org: OrgId = A, url: str = "http://grafana", name: str = "s") -> Source:
    return Source(org, SourceId(name), "grafana", url, NOW, False, 60, "7", "/x", "me")


def attempt(minute: int, ok: bool, *failed: str) -> Fetch:
    at = NOW + timedelta(minutes=minute)
    missing = tuple(FailedDocument(path, "why") for path in failed)
    made = Fetch(A, S, at, at + timedelta(seconds=1), ok, 2, missing, notes=("a note",))
    return made if ok else replace(made, error="down", fault="later")


def test_leaving_without_commit_undoes_everything(store: ControlStore) -> None:
    with store.begin() as work:
        work.put_document(A, "p", "text")
    with store.begin() as work:
        assert list(work.documents(A)) == []


def test_an_error_undoes_everything(store: ControlStore) -> None:
    def half_done() -> None:
        with store.begin() as work:
            work.put_document(A, "p", "text")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_done()
    with store.begin() as work:
        assert list(work.documents(A)) == []


def test_what_was_committed_is_there(store: ControlStore) -> None:
    with store.begin() as work:
        work.put_document(A, "p", "text")
        work.commit()
    with store.begin() as work:
        assert list(work.documents(A)) == [("p", "text")]


def test_an_org_sees_nothing_of_another(store: ControlStore) -> None:
    with store.begin() as work:
        work.put_document(A, "p", "text")
        work.add_price_book(BookRevision(A, "d", 1, "book", NOW, "who"))
        work.put_group(Group(A, GroupId("g"), "base"), ACTIVE)
        work.add_gateway(Gateway(A, G, GroupId("g")), "digest")
        work.put_analysis(Analysis(A, AnalysisId("n"), "running", None, NOW, NOW, NOW))
        work.add_waiver(Waiver(WaiverId("w"), A, "s", "r", "who", NOW))
        work.add_template_version(TemplateVersion(A, TemplateId("t"), 1, (DropMetric("m"),), NOW, "who", None))
        work.put_deployment(deployment())
        work.put_report(GatewayReport(A, G, "00", True, NOW))
        work.add_saving(SavingRecord(A, "s", NOW, {}))
        work.add_source(source(), "secret")
        work.put_fetch(Fetch(A, S, NOW, NOW, True, 1), [("p", "text")])
        work.commit()
    with store.begin() as work:
        lists = (
            work.documents, work.gateways, work.analyses, work.template_versions, work.deployments, work.reports, work.savings, work.sources,
            work.histories, work.fetched_documents, work.price_books,
        )  # fmt: skip
        assert [len(read(B)) for read in lists] == [0] * len(lists)
        assert [len(read(A)) for read in lists] == [1] * len(lists)
        assert work.report(B, G) is None
        for read in (
            lambda: work.gateway(B, G),
            lambda: work.group(B, GroupId("g")),
            lambda: work.analysis(B, AnalysisId("n")),
            lambda: work.waiver(B, WaiverId("w")),
            lambda: work.template_version(B, TemplateId("t"), 1),
            lambda: work.deployment(B, DeploymentId("d")),
            lambda: work.delete_document(B, "p"),
            lambda: work.price_book(B, "d", 1),
            lambda: work.source(B, S),
            lambda: work.source_token(B, S),
            lambda: work.put_source_token(B, S, "mine"),
            lambda: work.replace_source(source(B)),
            lambda: work.delete_source(B, S),
            lambda: work.put_fetch(Fetch(B, S, NOW, NOW, True), []),
        ):
            with pytest.raises(NotFound):
                read()


def test_names_are_unique_within_an_org_only(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_gateway(Gateway(A, G, GroupId("g")), "one")
        work.add_gateway(Gateway(B, G, GroupId("g")), "two")
        with pytest.raises(Conflict):
            work.add_gateway(Gateway(A, G, GroupId("g")), "three")


def test_a_token_belongs_to_one_gateway(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_gateway(Gateway(A, G, GroupId("g")), "one")
        with pytest.raises(Conflict):
            work.add_gateway(Gateway(B, GatewayId("h"), GroupId("g")), "one")


def test_tokens_lead_to_their_owner(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_user_token(B, "user")
        work.add_gateway(Gateway(A, G, GroupId("g")), "gate")
        assert work.user_org("user") == B
        assert work.user_org("gate") is None
        assert work.gateway_identity("gate") == Identity(A, G)
        assert work.gateway_identity("user") is None
        assert list(work.gateway_tokens()) == [("gate", Identity(A, G))]


def test_a_template_version_is_immutable(store: ControlStore) -> None:
    version = TemplateVersion(A, TemplateId("t"), 1, (DropMetric("m"), DropLogs("s", 8)), NOW, "who", WaiverId("w"))
    with store.begin() as work:
        work.add_template_version(version)
        with pytest.raises(Conflict):
            work.add_template_version(version)
        assert work.template_version(A, TemplateId("t"), 1) == version


def test_values_come_back_as_they_went_in(store: ControlStore) -> None:
    report = GatewayReport(
        A,
        G,
        "0a",
        True,
        NOW,
        "1.2",
        {"k": "v"},
        7,
        b"\x01",
        ConfigStatus.FAILED,
        "why",
        False,
        "StatusOK",
        "oops",
        NOW,
        "eff",
        ("receivers/otlp",),
    )
    analysis = Analysis(A, AnalysisId("n"), "done", G, NOW, NOW + timedelta(seconds=1), NOW, {"a": [1, None]}, None)
    waiver = Waiver(WaiverId("w"), A, "scope", "reason", "who", NOW)
    with store.begin() as work:
        work.put_report(report)
        work.put_analysis(analysis)
        work.add_waiver(waiver)
        work.put_deployment(deployment())
        work.put_group(Group(A, GroupId("g"), "base"), ACTIVE)
        work.commit()
    with store.begin() as work:
        assert work.report(A, G) == report
        assert work.analysis(A, analysis.id) == analysis
        assert work.waiver(A, waiver.id) == waiver
        assert work.deployment(A, DeploymentId("d")) == deployment()
        assert work.group(A, GroupId("g")) == (Group(A, GroupId("g"), "base"), ACTIVE)


def test_a_fact_that_was_not_reported_stays_missing(store: ControlStore) -> None:
    bare = GatewayReport(A, G, "0a", False, NOW)
    with store.begin() as work:
        work.put_report(bare)
        assert work.report(A, G) == bare


def test_newest_comes_first(store: ControlStore) -> None:
    with store.begin() as work:
        for k in range(3):
            work.put_deployment(deployment(name=f"d{k}", at=NOW + timedelta(seconds=k)))
        assert [d.id for d in work.deployments(A)] == ["d2", "d1", "d0"]


def test_putting_again_replaces(store: ControlStore) -> None:
    with store.begin() as work:
        work.put_document(A, "p", "one")
        work.put_document(A, "p", "two")
        assert list(work.documents(A)) == [("p", "two")]


def test_price_books_are_kept_for_each_destination_revision_by_revision(store: ControlStore) -> None:
    books = [
        BookRevision(A, destination, revision, f"{destination}{revision}", NOW, "who") for destination in "ba" for revision in (1, 2, 10)
    ]
    with store.begin() as work:
        for book in books:
            work.add_price_book(book)
        work.add_price_book(BookRevision(B, "b", 11, "theirs", NOW, "who"))
        assert [(b.destination, b.revision) for b in work.price_books(A)] == [("a", 10), ("b", 10)]
        assert [work.price_book(A, b.destination, b.revision) for b in books] == books
        with pytest.raises(NotFound):
            work.price_book(A, "a", 3)
        work.commit()
    with store.begin() as work, pytest.raises(Conflict):
        work.add_price_book(replace(books[0], text="another"))
    with store.begin() as work:
        assert work.price_book(A, "b", 1) == books[0]


def test_an_unknown_org_cannot_own_anything(store: ControlStore) -> None:
    with store.begin() as work, pytest.raises(NotFound):
        work.add_user_token(OrgId("nobody"), "digest")


def test_a_source_comes_back_as_it_went_in_and_its_token_only_by_itself(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_source(source(), "secret")
        work.add_source(source(name="r"), None)
        with pytest.raises(Conflict):
            work.add_source(source(), "other")
        assert work.source(A, S) == source()
        assert list(work.sources(A)) == [source(name="r"), source()]
        assert (work.source_token(A, S), work.source_token(A, SourceId("r"))) == ("secret", None)
        work.replace_source(replace(source(), enabled=True))
        assert (work.source(A, S).enabled, work.source_token(A, S)) == (True, "secret")
        work.put_source_token(A, S, None)
        assert work.source_token(A, S) is None


def test_the_last_attempt_and_the_last_good_one_are_kept(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_source(source(), None)
        assert work.histories(A) == {}
        first, second = attempt(0, False, "x"), attempt(1, True)
        work.put_fetch(first, [])
        assert work.histories(A) == {S: History(first, None)}
        work.put_fetch(second, [])
        assert work.histories(A) == {S: History(second, second)}
        for third in (attempt(2, False), attempt(3, False)):
            work.put_fetch(third, [])
            assert work.histories(A) == {S: History(third, second)}


def test_of_two_attempts_at_one_moment_the_bad_one_is_the_last(store: ControlStore) -> None:
    """A clock may stand still, or be set back: in doubt the source has failed."""
    good, bad = attempt(0, True), attempt(0, False)
    with store.begin() as work:
        work.add_source(source(), None)
        for one in (bad, good, bad):
            work.put_fetch(one, [])
        assert work.histories(A) == {S: History(bad, good)}


def test_only_a_whole_fetch_forgets_and_not_what_it_failed_to_fetch(store: ControlStore) -> None:
    def paths() -> list[tuple[str, str]]:
        return [(p.removeprefix("s/"), t) for p, t in work.fetched_documents(A)]

    with store.begin() as work:
        work.add_source(source(), None)
        work.put_fetch(attempt(0, True), [("a", "1"), ("b", "1"), ("c", "1")])
        work.put_fetch(attempt(1, False), [("a", "2")])
        assert paths() == [("a", "2"), ("b", "1"), ("c", "1")]
        work.put_fetch(attempt(2, True, "b"), [("a", "2"), ("d", "\ud800 é")])
        assert paths() == [("a", "2"), ("b", "1"), ("d", "\ud800 é")]


@pytest.mark.parametrize("change", [{"url": "http://other"}, {"tenant": None}, {"prefix": None}, {"user": None}, {"kind": "mimir"}])
def test_another_address_is_a_source_that_was_never_fetched(store: ControlStore, change: dict[str, Any]) -> None:
    with store.begin() as work:
        work.add_source(source(), None)
        work.put_fetch(attempt(0, True), [("a", "1")])
        work.replace_source(replace(source(), interval_seconds=61))
        assert work.histories(A) != {}
        work.replace_source(replace(source(), **change))
        assert work.histories(A) == {}
        assert list(work.fetched_documents(A)) == [("s/a", "1")]


def test_a_deleted_source_leaves_nothing(store: ControlStore) -> None:
    with store.begin() as work:
        work.add_source(source(), "secret")
        work.put_fetch(attempt(0, True), [("a", "1")])
        work.delete_source(A, S)
        work.add_source(source(), None)
        assert (work.histories(A), list(work.fetched_documents(A)), work.source_token(A, S)) == ({}, [], None)
