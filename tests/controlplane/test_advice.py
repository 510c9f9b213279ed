"""Advice and the check of actions agree: what is recommended is never what the check refuses, with what is protected made of the same usage."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.advice_report import advice_json, window_json
from analyzer.engine import Advice, Unable, advise
from analyzer.outlook import NOTHING
from controlplane import handlers
from controlplane.advice import elsewhere_json, protected, protected_of, unable
from controlplane.api.build import analysis_json
from controlplane.check import GATEWAY, check_actions, with_component
from controlplane.collector import Collector
from controlplane.handlers import Tools
from flowgate.actions import AggregateLabels, Label
from flowgate.advice import LabelProfile, LogProfile, MetricProfile, Policy, Profile, SpanProfile, Usage
from flowgate.ids import DEFAULT_ORG
from flowgate.money import Price, PriceBook, Volume
from flowgate.telemetry import Kind, Window
from tests.analyzer.store import MINUTE, Store
from tests.analyzer.test_usage import board, read
from tests.fakes import MemoryStore
from tests.house.test_docs import schema

NOW = datetime(2026, 1, 8, tzinfo=UTC)
WEEK = Window(NOW - timedelta(days=7), NOW)
BOOK = PriceBook("b", 1, "USD", Price(Decimal("0.01"), "prom_series"), Price(Decimal("0.50"), "gigabyte"), None)
SERIES = 1000
BOUNDS = (0.1, 0.5, 1.0)
NAMES = ("calls", "wait", "depth", "up")
KEYS = ("region", "user", "pod", "status", "class")
AGGREGATES = with_component(GATEWAY, "processors", "aggregation")
EXPRESSIONS = [
    f"{function}({metric}{suffix}{matcher}[5m])" if ranged else f"{metric}{suffix}{matcher}"
    for metric in NAMES
    for suffix in ("", "_total", "_count", "_bucket")
    for matcher in ("", '{le="0.5"}', '{user="7"}')
    for function, ranged in (("rate", True), ("", False))
]
WRAPPED = (
    "{}",
    "sum({})",
    "sum by (region) ({})",
    "sum by (status, pod) ({})",
    "max without (user) ({})",
    "count({})",
    "absent({})",
    "max by (le) ({})",
)


def anything(_: object) -> None:
    """A gateway that can carry out whatever there is."""


STATUS = LabelProfile("status", "point", 9, 900)
FOLLOWS: dict[str, Any] = {"series_without": SERIES, "determined_by": (STATUS.key,), "determined_tested": SERIES, "bytes_per_second": 900.0}
labels = st.builds(
    LabelProfile,
    st.sampled_from(KEYS),
    st.sampled_from(["point", "resource"]),
    st.integers(1, 300),
    st.sampled_from([4, 500, 900, SERIES]),
    determined_by=st.lists(st.sampled_from(KEYS).map(lambda k: Label("point", k)), max_size=2, unique=True).map(tuple),
    determined_tested=st.sampled_from([0, 400, SERIES]),
    bytes_per_second=st.sampled_from([None, 10.0, 900.0]),
    shape=st.sampled_from([None, "uuid", "word"]),
)


@st.composite
def determined(draw: st.DrawFn, found: list[LabelProfile]) -> list[LabelProfile]:
    """What was drawn, with `status` of many values, and some of the others following from it as far as what was seen tells."""
    status = replace(STATUS, distinct=draw(st.sampled_from([2, 9, 40])))
    others = [p for p in found if p.label != "status"]
    follow = draw(st.sets(st.sampled_from([p.key for p in others]))) if others else set[Label]()
    return [status, *(replace(p, distinct=draw(st.sampled_from([1, 2, 9])), **FOLLOWS) if p.key in follow else p for p in others)]


@st.composite
def metrics(draw: st.DrawFn) -> MetricProfile:
    kind = draw(st.sampled_from([*Kind, *[Kind.SUM, Kind.HISTOGRAM] * 3]))
    found = draw(st.lists(labels, min_size=1, max_size=5, unique_by=lambda p: p.key))
    fit = [replace(p, determined_by=tuple(d for d in p.determined_by if d != p.key)) for p in found]
    if draw(st.booleans()):
        fit = draw(determined(fit))
    volume = Volume(SERIES, SERIES * 3, 100.0, 10_000.0)
    name, unit = draw(st.sampled_from(NAMES)), draw(st.sampled_from(["", "", "s"]))
    made = MetricProfile(name, unit, kind, "cumulative", kind is Kind.SUM, volume, ("s",), tuple(fit))
    explicit = kind is Kind.HISTOGRAM
    return replace(made, interval_seconds=15.0, bounds=BOUNDS if explicit else (), buckets=3 if explicit else None, born=600, ended=600)


@st.composite
def redundant(draw: st.DrawFn) -> MetricProfile:
    """A counter with labels that follow from its status."""
    points = st.builds(LabelProfile, st.sampled_from(["region", "user", "zone"]), st.just("point"), st.integers(2, 9), st.just(SERIES))
    drawn = draw(st.lists(points, min_size=1, max_size=2, unique_by=lambda p: p.key))
    found = (replace(STATUS, distinct=40), *(replace(p, **FOLLOWS) for p in drawn))
    volume = Volume(SERIES, SERIES, 100.0, 10_000.0)
    return MetricProfile(draw(st.sampled_from(["calls", "depth"])), "", Kind.SUM, "cumulative", True, volume, ("s",), found, 15.0)


@st.composite
def bucketed(draw: st.DrawFn) -> MetricProfile:
    """A histogram that may well be read by some of its parts alone."""
    found = tuple(draw(st.lists(labels, max_size=2, unique_by=lambda p: p.key).map(lambda ps: [replace(p, determined_by=()) for p in ps])))
    volume = Volume(SERIES, SERIES * 6, 100.0, 10_000.0)
    made = MetricProfile(draw(st.sampled_from(["wait", "calls"])), "", Kind.HISTOGRAM, "cumulative", False, volume, ("s",), found, 15.0)
    return replace(made, bounds=BOUNDS, buckets=3)


profiles = st.lists(metrics() | redundant() | bucketed(), max_size=5, unique_by=lambda m: (m.metric, m.unit, m.kind)).map(tuple)
HARMLESS = [f"sum by (status, class) (rate({name}{part}[5m]))" for name in NAMES for part in ("_total", "_count", '_bucket{le="0.5"}')]
documents = st.lists(st.sampled_from(HARMLESS), min_size=2, max_size=8) | st.lists(
    st.builds(lambda w, e: w.format(e), st.sampled_from(WRAPPED), st.sampled_from(EXPRESSIONS))
    | st.just("sum(")
    | st.just("calls{$filters}"),
    max_size=4,
)


def advice(found: tuple[MetricProfile, ...], expressions: list[str], able: Unable = unable) -> tuple[Advice, Profile, Usage]:
    spans, logs = (SpanProfile("s", "GET /health", 50.0, 5000.0),), (LogProfile("s", 5, 9.0, 900.0),)
    profile, usage = Profile(WEEK, found, logs, spans), read(board(*expressions))
    return advise(profile, usage, BOOK, Policy(), NOW, (), able), profile, usage


@settings(max_examples=400, deadline=None)
@given(profiles, documents)
def test_every_action_that_is_recommended_passes_the_check(found: tuple[MetricProfile, ...], expressions: list[str]) -> None:
    """Also those that need a component which no gateway has yet."""
    made, _, _ = advice(found, expressions, anything)
    for recommendation in made.recommendations:
        for action in recommendation.actions:
            assert check_actions((action,), protected(made.protected), AGGREGATES) == [], action


@settings(max_examples=400, deadline=None)
@given(profiles, documents)
def test_all_that_is_recommended_to_a_gateway_as_it_is_built_can_be_taken_at_once(
    found: tuple[MetricProfile, ...], expressions: list[str]
) -> None:
    made, _, _ = advice(found, expressions)
    actions = [a for r in made.recommendations for a in r.actions]
    assert not actions or check_actions(actions, protected(made.protected), GATEWAY) == []


@settings(max_examples=100, deadline=None)
@given(profiles, documents)
def test_what_is_protected_is_read_back_from_what_was_stored(found: tuple[MetricProfile, ...], expressions: list[str]) -> None:
    made, _, usage = advice(found, expressions)
    assert protected_of(advice_json(made, usage, NOTHING)) == protected(made.protected)


@settings(max_examples=100, deadline=None)
@given(profiles, documents)
def test_advice_has_its_shape(found: tuple[MetricProfile, ...], expressions: list[str]) -> None:
    made, profile, usage = advice(found, expressions)
    told = {"window": window_json(profile.window), **advice_json(made, usage, NOTHING), "elsewhere": elsewhere_json(made, profile)}
    schema("advice").validate(told)


def test_the_properties_are_about_actions_of_every_kind() -> None:
    """Else they would hold of nothing."""
    seen: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, database=None, derandomize=True)
    @given(profiles, documents)
    def count(found: tuple[MetricProfile, ...], expressions: list[str]) -> None:
        made, _, _ = advice(found, expressions, anything)
        seen.update(a.type for r in made.recommendations for a in r.actions)

    count()
    assert all(seen[kind] >= 10 for kind in ("drop_metric", "aggregate_labels", "delete_label", "reduce_buckets")), seen


def test_an_analysis_of_before_labels_were_told_apart_protects_all_that_is_read() -> None:
    stored = {"used": [{"metric": "calls"}]}
    action = AggregateLabels("calls", (Label("point", "user"),), "sum", 15.0)
    assert check_actions((action,), protected_of(stored), AGGREGATES)


USER = LabelProfile("user", "point", 50, 4)
CALLS = replace(
    MetricProfile("calls", "", Kind.SUM, "cumulative", True, Volume(SERIES, SERIES, 100.0, 10_000.0), ("s",), (USER,)),
    interval_seconds=15.0,
)


def test_what_the_gateway_cannot_do_stays_a_finding_with_its_action_and_the_way_to_do_it_elsewhere() -> None:
    made, profile, _ = advice((CALLS,), ["sum by (region) (rate(calls_total[5m]))"])
    (finding,) = [f for f in made.findings if f.rule == "unused_label"]
    assert isinstance(finding.action, AggregateLabels)
    assert finding.unable == "the target's build has no processor `aggregation`"
    assert "not at the gateway" in finding.wording
    assert all(finding.id not in r.findings for r in made.recommendations)
    (elsewhere,) = elsewhere_json(made, profile)
    assert elsewhere["finding"] == finding.id
    assert {"python", "java", "go"} <= {way["language"] for way in elsewhere["ways"]}


def test_where_the_gateway_can_it_is_recommended() -> None:
    made, profile, _ = advice((CALLS,), ["sum by (region) (rate(calls_total[5m]))"], anything)
    (finding,) = [f for f in made.findings if f.rule == "unused_label"]
    assert [r.actions for r in made.recommendations if finding.id in r.findings] == [(finding.action,)]
    assert elsewhere_json(made, profile) == []


# --- the API -------------------------------------------------------------------------------------------------------------------------


def test_an_analysis_has_the_shape_that_the_command_prints(tmp_path: Path) -> None:
    segments = Store(tmp_path / "segments")
    segments.series("read_metric")
    segments.series("idle_metric")
    tools = Tools(MemoryStore(), Collector(Path()), segments.write(), tmp_path / "tokens.json", lambda: "id", lambda: NOW)
    with tools.store.begin() as work:
        work.add_org(DEFAULT_ORG)
        work.put_document(DEFAULT_ORG, "d.json", json.dumps(board("read_metric")))
        work.commit()
    done = handlers.finish_analysis(tools, handlers.start_analysis(tools, DEFAULT_ORG, MINUTE, None))
    told = dict(analysis_json(done))
    for own in ("id", "status", "gateway", "created", "usage_digest"):
        told.pop(own)
    schema("advice").validate(told)
    assert [r["actions"] for r in told["recommendations"]] == [[{"type": "drop_metric", "metric": "idle_metric"}]]
    assert list(told["protected"]) == ["read_metric"]
