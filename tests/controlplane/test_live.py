"""Live sources end to end: a source that fails or goes stale takes every verdict with it, and fetching goes on in the background."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.engine import advise
from controlplane import handlers
from controlplane.collector import Collector
from controlplane.handlers import Tools
from controlplane.jobs import Fetching
from controlplane.outbound import Limits
from controlplane.sources import LiveSources
from flowgate.advice import LabelProfile, LogProfile, MetricProfile, Policy, Profile, Risk, Verdict
from flowgate.errors import Conflict, NotFound
from flowgate.ids import DEFAULT_ORG, OrgId
from flowgate.money import Price, PriceBook, Volume
from flowgate.sources import KINDS, STALE, Fetched, Source, SourceId, SourceKind
from flowgate.telemetry import Kind, Window
from tests.controlplane.standin import Grafana, Mimir, Prometheus, Reply, Server, VictoriaMetrics
from tests.fakes import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
S = SourceId("s")
NAMES = "/api/v1/status/metric_names_stats"
LIMITS = Limits(connect=2, read=1, request=2, total=20, tries=1, page=2, in_a_row=9)
BOOK = PriceBook("b", 1, "USD", Price(Decimal("0.01"), "prom_series"), None, None)
PROFILE = Profile(
    Window(START, START + timedelta(minutes=1)),
    (
        MetricProfile("idle", "", Kind.GAUGE, "cumulative", False, Volume(1, 1, 1.0, 50.0), ("s",)),
        MetricProfile(
            "logins", "", Kind.SUM, "cumulative", True, Volume(999, 999, 9.0, 50.0), ("s",), (LabelProfile("user_id", "point", 500, 3),)
        ),
    ),
    (LogProfile("cart", 5, 1.0, 100.0),),
    (),
)
RAN = '{"params": {"query": "up"}, "ts": "%sT00:00:00Z", "httpRequest": {"path": "/api/v1/query"}}'
RULES = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'sum by (region) (rate(logins_total[5m])) > 1'}\n"


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


def made(clock: Clock, **fields: Any) -> Tools:
    ids = count()
    tools = Tools(MemoryStore(), Collector(Path()), Path(), Path(), lambda: f"id{next(ids)}", clock, **fields)
    with tools.store.begin() as work:
        work.add_org(DEFAULT_ORG)
        work.put_document(DEFAULT_ORG, "rules.yaml", RULES)
        work.commit()
    return tools


# --- verdicts --------------------------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A system of each kind that can be made to fail, and one source of it."""

    kind: SourceKind
    server: Server
    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.tools = made(self.clock, read_source=LiveSources(self.folder, LIMITS))
        (self.folder / "q.log").write_text(f"{RAN % '2026-01-01'}\n")
        url = "q.log" if self.kind == "query_log" else self.server.url
        tenant = "t1" if self.kind == "mimir" else None
        handlers.add_source(self.tools, Source(DEFAULT_ORG, S, self.kind, url, START, tenant=tenant), None)

    def fetch(self) -> None:
        self.clock.now += SECOND
        asyncio.run(handlers.fetch_source(self.tools, DEFAULT_ORG, S))

    def fail(self) -> None:
        paths = {"grafana": "/api/search", "prometheus": "/api/v1/rules", "mimir": "/prometheus/config/v1/rules", "victoriametrics": NAMES}
        if self.kind == "query_log":
            (self.folder / "q.log").rename(self.folder / "gone.log")
        else:
            self.server.faults[paths[self.kind]] = [Reply(500)]

    def lose_one(self) -> None:
        """One document fails; of a Prometheus and a Mimir there is one list alone, so the whole does."""
        if self.kind == "query_log":
            (self.folder / "q.log.1.gz").write_bytes(gzip.compress(b"x\n" * 99)[:-9])
        elif self.kind == "grafana":
            self.server.faults["/api/dashboards/uid/c"] = [Reply(200, b"{")]
        else:
            self.fail()

    def verdicts(self) -> dict[tuple[str, str | None], Verdict]:
        with self.tools.store.begin() as work:
            given = handlers.supplied(work, DEFAULT_ORG, self.clock())
        self.usage = usage = handlers.usage_of(given)
        self.hiding = [s for s in usage.blind_spots if s.kind == "hiding"]
        found = advise(PROFILE, usage, BOOK, Policy(), self.clock()).findings
        self.risks = {str(f.metric or f.signal): f.risk for f in found}
        self.reasons = [s.reason for f in found if f.metric == "idle" for s in f.blind_spots if s.kind == "narrowing"]
        for finding in found:
            unseen = any(s.kind == "hiding" for s in finding.blind_spots)
            assert unseen or finding.verdict is not Verdict.UNKNOWN, finding
        return {(str(f.metric or f.signal), f.label): f.verdict for f in found}


@pytest.fixture(scope="module")
def parser() -> Iterator[analyzer.PromqlWorker]:
    with analyzer.PromqlWorker() as made:
        yield made


@pytest.fixture(autouse=True)
def one_parser(parser: analyzer.PromqlWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each look at the verdicts would take most of the time."""
    monkeypatch.setattr(analyzer, "PromqlWorker", lambda: nullcontext(parser))


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    answer = {"grafana": Grafana(), "prometheus": Prometheus(), "mimir": Mimir(), "victoriametrics": VictoriaMetrics()}.get(request.param)
    with Server(answer or (lambda *_: Reply(404))) as server:
        yield World(request.param, server, tmp_path)


SURE = {("idle", None), ("logins", "user_id"), ("logs", None)}


def all_unknown(world: World) -> None:
    found = world.verdicts()
    assert set(found) == SURE
    assert set(found.values()) == {Verdict.UNKNOWN}
    assert any("s" in str(s.document) and s.touches == () for s in world.hiding)


def all_known(world: World) -> None:
    found = world.verdicts()
    assert [s for s in world.hiding if not s.touches] == []
    assert found[("idle", None)] is found[("logs", None)] is Verdict.UNREFERENCED
    assert found[("logins", "user_id")] in (Verdict.SAFE, Verdict.VISIBLE, Verdict.CONDITIONAL)


def never(world: World) -> None: ...


def failed(world: World) -> None:
    world.fetch()
    all_known(world)
    world.fail()
    world.fetch()


def failed_at_once(world: World) -> None:
    world.fail()
    world.fetch()


def stale(world: World) -> None:
    world.fetch()
    world.clock.now += STALE  # since the fetch started
    all_known(world)
    world.clock.now += SECOND


def partial(world: World) -> None:
    world.fetch()
    world.lose_one()
    world.fetch()


def disabled(world: World) -> None:
    world.fetch()
    handlers.change_source(world.tools, DEFAULT_ORG, S, {"enabled": False})


def moved(world: World) -> None:
    world.fetch()
    handlers.change_source(world.tools, DEFAULT_ORG, S, {"tenant": "t2"})


def broken_here(world: World) -> None:
    world.fetch()
    handlers.broken_fetch(world.tools, DEFAULT_ORG, S, "something broke here")


@pytest.mark.parametrize("happens", [never, failed, failed_at_once, stale, partial, disabled, moved, broken_here], ids=lambda h: h.__name__)
def test_a_source_that_fails_or_goes_stale_leaves_no_verdict_standing(world: World, happens: Callable[[World], None]) -> None:
    """Every verdict it could have changed falls to U; none stays A to D. Deleting it is how a person says that it does not count."""
    happens(world)
    all_unknown(world)
    handlers.delete_source(world.tools, DEFAULT_ORG, S)
    all_known(world)


WEEKS = ["2026-01-01", "2026-01-31"]
TAP = "the tap was looked at for 60 s, the policy asks for 7 days"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the source s holds no executed query of a metric"),
        (["{}"], "the source s holds no executed query of a metric"),
        ([RAN % WEEKS[0]], "the source s covers 0 s of executed queries, the policy asks for 30 days"),
        ([RAN % day for day in WEEKS], None),
    ],
)
def test_a_query_log_that_is_empty_or_too_young_raises_the_risk_and_says_so(tmp_path: Path, lines: list[str], said: str | None) -> None:
    with Server(lambda *_: Reply(404)) as server:
        world = World("query_log", server, tmp_path)
        (tmp_path / "q.log").write_text("".join(f"{line}\n" for line in lines))
        world.fetch()
        all_known(world)
        assert world.reasons == [*([said] if said else []), TAP]
        assert world.risks["idle"] is Risk.LOW
        handlers.delete_source(world.tools, DEFAULT_ORG, S)
        all_known(world)
        assert world.reasons == ["no source of executed queries is connected", TAP]


def test_a_token_that_may_not_see_everything_raises_the_risk(tmp_path: Path) -> None:
    """Also where nothing else would: 30 days of queries, 7 of tap."""
    with Server(Grafana()) as server:
        world = World("grafana", server, tmp_path)
        server.faults["/api/access-control/user/permissions"] = [Reply(200, b'{"dashboards:read": ["dashboards:uid:a"]}')]
        world.fetch()
        all_known(world)
        assert "s: its token may read dashboards by name only, not `folders:*`: there may be others that it does not see" in world.reasons


@pytest.mark.parametrize("happens", [failed, partial, stale, broken_here], ids=lambda h: h.__name__)
def test_the_next_good_fetch_heals(world: World, happens: Callable[[World], None]) -> None:
    happens(world)
    all_unknown(world)
    world.server.faults.clear()
    (world.folder / "q.log.1.gz").unlink(missing_ok=True)
    if (world.folder / "gone.log").exists():
        (world.folder / "gone.log").rename(world.folder / "q.log")
    world.fetch()
    all_known(world)


def test_what_a_source_said_before_it_failed_still_protects(tmp_path: Path) -> None:
    """Also in its last whole text, of a document that can no longer be fetched."""
    with Server(Grafana({"a": {"uid": "a", "title": "t", "panels": [{"targets": [{"expr": "idle"}]}]}})) as server:
        world = World("grafana", server, tmp_path)
        world.fetch()
        assert ("idle", None) not in world.verdicts()
        server.faults["/api/dashboards/uid/a"] = [Reply(200, b"{")]
        world.fetch()
        assert ("idle", None) not in world.verdicts()
        server.faults["/api/search"] = [Reply(500)]
        world.fetch()
        assert ("idle", None) not in world.verdicts()
        server.faults.clear()
        server.answer = Grafana({})
        world.fetch()
        assert world.verdicts()[("idle", None)] is Verdict.UNREFERENCED


# --- in the background -------------------------------------------------------------------------------------------------------------------


class Slow:
    """A source that answers when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.calls, self.cancelled = threading.Event(), threading.Event(), 0, False

    async def __call__(self, source: Source, token: str | None) -> Fetched:
        self.calls += 1
        self.begun.set()
        try:
            while not self.go_on.is_set():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Fetched((("d", token or "none"),))


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def background(slow: Slow) -> Iterator[tuple[Tools, Fetching, Clock]]:
    clock = Clock()
    tools = made(clock, read_source=slow)
    handlers.add_source(tools, Source(DEFAULT_ORG, S, "grafana", "http://h", START, interval_seconds=60), "secret")
    fetching = Fetching(tools, tick=0.01)
    yield tools, fetching, clock
    slow.go_on.set()
    fetching.close()


def last(tools: Tools) -> Any:
    with tools.store.begin() as work:
        history = work.histories(DEFAULT_ORG).get(S)
    return history.last if history else None


def until(holds: Callable[[], object]) -> None:
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("it never held")


def test_a_source_is_fetched_once_at_a_time_however_often_it_is_asked_for(background: tuple[Tools, Fetching, Clock], slow: Slow) -> None:
    tools, fetching, _ = background
    for _ in range(5):
        fetching.fetch(DEFAULT_ORG, S)
    assert slow.begun.wait(5)
    time.sleep(0.05)
    assert (slow.calls, last(tools)) == (1, None)
    slow.go_on.set()
    until(lambda: last(tools))
    with tools.store.begin() as work:
        assert list(work.fetched_documents(DEFAULT_ORG)) == [("s/d", "secret")]
    fetching.fetch(DEFAULT_ORG, S)
    until(lambda: slow.calls == 2)


def test_what_is_due_is_fetched_and_not_again_before_its_interval(background: tuple[Tools, Fetching, Clock], slow: Slow) -> None:
    tools, fetching, clock = background
    slow.go_on.set()
    fetching.start()
    fetching.start()
    until(lambda: last(tools))
    time.sleep(0.1)
    assert slow.calls == 1
    clock.now += timedelta(seconds=67)
    until(lambda: slow.calls == 2)
    handlers.change_source(tools, DEFAULT_ORG, S, {"enabled": False})
    clock.now += timedelta(days=1)
    time.sleep(0.1)
    assert slow.calls == 2


def test_closing_ends_a_fetch_where_it_is(slow: Slow) -> None:
    tools = made(Clock(), read_source=slow)
    handlers.add_source(tools, Source(DEFAULT_ORG, S, "grafana", "http://h", START), None)
    fetching = Fetching(tools)
    fetching.start()
    assert slow.begun.wait(5)
    started = time.monotonic()
    fetching.close()
    assert time.monotonic() - started < 2
    assert slow.cancelled
    assert last(tools) is None


def test_a_reader_that_breaks_leaves_a_failed_fetch_and_the_clock_goes_on() -> None:
    calls = count()

    async def breaks(source: Source, token: str | None) -> Fetched:
        next(calls)
        raise ZeroDivisionError("a bug")

    clock = Clock()
    tools = made(clock, read_source=breaks)
    handlers.add_source(tools, Source(DEFAULT_ORG, S, "grafana", "http://h", START, interval_seconds=60), None)
    fetching = Fetching(tools, tick=0.01)
    fetching.start()
    until(lambda: last(tools))
    assert (last(tools).ok, last(tools).fault) == (False, "ours")
    first = last(tools)
    clock.now += timedelta(seconds=67)
    until(lambda: last(tools) != first)
    fetching.close()


def test_a_source_that_changed_while_it_was_fetched_keeps_nothing_of_it(background: tuple[Tools, Fetching, Clock], slow: Slow) -> None:
    tools, _, _ = background

    async def meanwhile(change: Callable[[], object]) -> None:
        slow.begun.clear()
        slow.go_on.clear()
        task = asyncio.create_task(handlers.fetch_source(tools, DEFAULT_ORG, S))
        while not slow.begun.is_set():
            await asyncio.sleep(0.001)
        change()
        slow.go_on.set()
        await task

    with pytest.raises(Conflict):
        asyncio.run(meanwhile(lambda: handlers.change_source(tools, DEFAULT_ORG, S, {"url": "http://other"})))
    assert last(tools) is None
    asyncio.run(meanwhile(lambda: handlers.change_source(tools, DEFAULT_ORG, S, {"interval_seconds": 61})))
    assert last(tools).ok
    with pytest.raises(NotFound):
        asyncio.run(meanwhile(lambda: handlers.delete_source(tools, DEFAULT_ORG, S)))


def test_due_sources_are_those_of_every_org_that_are_due() -> None:
    tools = made(Clock())
    with tools.store.begin() as work:
        work.add_org(OrgId("b"))
        work.commit()
    base = Source(DEFAULT_ORG, S, "grafana", "http://h", START)
    for one in (base, replace(base, org=OrgId("b")), replace(base, id=SourceId("off"), enabled=False)):
        handlers.add_source(tools, one, None)
    assert [(s.org, s.id) for s in handlers.due_sources(tools, START)] == [("b", "s"), ("default", "s")]
