"""What lowers trust: no executed queries, too few days of them, sources that say so themselves. The letter stays, the risk rises one step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import FREE, advise
from analyzer.reading import Pattern, Patterns, Readers, joined, narrowing_spots, unexecuted
from analyzer.references.inventory import Input
from analyzer.usage import read_usage
from analyzer.verdicts import metric_verdict
from flowgate.advice import BlindSpot, Evidence, Executed, LabelProfile, MetricProfile, Policy, Profile, Risk, Usage, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Kind, Window
from tests.analyzer.test_usage import board, parse, record, rules

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400.0
IDLE = MetricProfile("idle", "", Kind.GAUGE, "cumulative", False, Volume(1, 1))


def ran(query: str, day: float = 0, **more: Any) -> str:
    return json.dumps({"params": {"query": query}, "ts": (START + timedelta(days=day)).isoformat(), **more})


def log(*days: float, query: str = "m") -> str:
    return "".join(f"{ran(query, day)}\n" for day in days)


def supplied(*inputs: Input | str) -> Usage:
    named = [i if isinstance(i, Input) else Input(f"q{k}.log", i) for k, i in enumerate(inputs)]
    return read_usage(named, parse)


def live(source: str, text: str) -> Input:
    return Input(f"{source}/query_log/0.log", text, scope=source, live=True)


def reasons(usage: Usage, policy: Policy | None = None) -> list[str]:
    spots = unexecuted(usage, policy) if policy else unexecuted(usage)
    assert all(s.kind == "narrowing" for s in spots)
    return [s.reason for s in spots]


HISTORY = json.dumps({"result": {"queryHistory": [{"queries": [{"expr": "m"}]}]}})


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([json.dumps(board("m"))], ["no source of executed queries is connected"]),
        ([log(0, 30)], []),
        ([log(0, 29.99)], ["what was supplied covers 29.9 days of executed queries, the policy asks for 30 days"]),
        ([log(0, 0.5)], ["what was supplied covers 43200 s of executed queries, the policy asks for 30 days"]),
        ([log(0, 20), log(15, 30)], []),
        ([log(0, 20), log(22, 32)], []),
        ([log(0, 20), log(22, 30)], ["what was supplied covers 28.0 days of executed queries, the policy asks for 30 days"]),
        ([log(0), log(30)], ["what was supplied covers 0 s of executed queries, the policy asks for 30 days"]),
        ([HISTORY], ["what was supplied does not say for how long executed queries were watched; the policy asks for 30 days"]),
        ([HISTORY, log(0, 30)], []),
        ([log(0, 60, query='{app="x"} |= "y"')], ["what was supplied holds no executed query of a metric"]),
        ([live("s", log(0, 30))], []),
        ([live("s", log(0, 3))], ["the source s covers 3.0 days of executed queries, the policy asks for 30 days"]),
        (
            [live("a", log(0, 30)), live("b", log(0, 3)), log(0, 1)],
            [
                "the source b covers 3.0 days of executed queries, the policy asks for 30 days",
                "what was supplied covers 1.0 days of executed queries, the policy asks for 30 days",
            ],
        ),
        ([ran("m", 0, ruleGroup={"name": "g"}) + "\n" + ran("m", 60, ruleGroup={"name": "g"})], ["what was supplied holds no executed query of a metric"]),
    ],
)  # fmt: skip
def test_executed_queries_are_held_against_the_policy(inputs: list[Any], expected: list[str]) -> None:
    assert reasons(supplied(*inputs)) == expected


def test_the_policy_says_how_many_days() -> None:
    assert reasons(supplied(log(0, 3)), Policy(days_of_queries=3)) == []
    assert reasons(supplied(log(0, 3)), Policy(days_of_queries=4)) != []


def test_a_connected_source_that_read_nothing_says_so() -> None:
    """The control plane adds it: nobody can see from documents that a source is connected."""
    assert reasons(Usage((), (), (), executed=(Executed("s", 0, None),))) == ["the source s holds no executed query of a metric"]


@pytest.mark.parametrize(("days", "short"), [(6.99, True), (7, False), (30, False)])
def test_the_window_of_the_tap_is_held_against_the_policy(days: float, short: bool) -> None:
    found = [s.reason for s in narrowing_spots(days * DAY, Policy(), supplied(log(0, 30)))]
    assert found == (["the tap was looked at for 6.9 days, the policy asks for 7 days"] if short else [])


def judged(usage: Usage, *narrowing: BlindSpot) -> tuple[Verdict, str, Risk]:
    found = metric_verdict(Readers.over(usage, narrowing).of(IDLE))
    return found.verdict, found.wording, found.risk


NARROW = BlindSpot("narrowing", "a token that may not see everything")


@pytest.mark.parametrize(
    ("own", "beside", "risk"),
    [
        ((), (), Risk.NONE),
        ((NARROW,), (), Risk.LOW),
        ((), (NARROW,), Risk.LOW),
        ((NARROW,), (NARROW,), Risk.LOW),
        ((BlindSpot("narrowing", "of another", touches=("busy",)),), (), Risk.NONE),
        ((BlindSpot("narrowing", "of it", touches=("id.e",)),), (), Risk.LOW),
    ],
)
def test_a_narrowing_spot_of_the_usage_counts_as_the_engines_own(
    own: tuple[BlindSpot, ...], beside: tuple[BlindSpot, ...], risk: Risk
) -> None:
    wording = "not referenced" if risk is Risk.NONE else "not referenced by supplied artefacts"
    assert judged(Usage((), own, ()), *beside) == (Verdict.UNREFERENCED, wording, risk)


def test_a_narrowing_spot_that_a_document_brings_raises_the_risk() -> None:
    """Only the top queries are listed: there were others."""
    top = json.dumps({"topByCount": [{"query": "m", "count": 3}]})
    assert judged(supplied(top))[2] is Risk.LOW
    assert judged(supplied(log(0, 30)))[2] is Risk.NONE


# What rules ran


EVALUATED = ran("sum(idle)", 0, ruleGroup={"name": "g", "file": "r.yml"})


def evidence(usage: Usage) -> list[Evidence]:
    return [r.evidence for r in usage.references]


def test_a_rule_that_is_known_from_a_log_alone_reads_what_it_ran() -> None:
    usage = supplied(EVALUATED)
    assert judged(usage)[0] is Verdict.NEEDED
    assert [(e.kind, e.rule) for e in evidence(usage)] == [("evaluated", "g")]
    assert [(s.kind, s.where, s.text) for s in usage.blind_spots] == [("narrowing", "rules", "g")]


@pytest.mark.parametrize("expression", ["sum(idle)", "sum( idle )  # the same, written otherwise", "max(busy) + sum(idle)"])
def test_a_rule_that_is_among_the_documents_speaks_for_itself(expression: str) -> None:
    usage = supplied(EVALUATED, Input("rules.json", json.dumps(rules(record("r", expression)))))
    assert [e.kind for e in evidence(usage)] == ["recording_rule"]
    assert judged(usage)[0] is Verdict.CONDITIONAL
    assert usage.blind_spots == ()


@pytest.mark.parametrize(
    "document",
    [
        {"groups": [{"name": "g", "rules": [record("r", "sum(busy)")]}]},
        {"groups": [{"name": "other", "rules": [record("r", "sum(idle)")]}]},
    ],
)
def test_another_rule_or_group_does_not_speak_for_it(document: dict[str, Any]) -> None:
    usage = supplied(EVALUATED, Input("rules.json", json.dumps(document)))
    assert judged(usage)[0] is Verdict.NEEDED
    assert [s.kind for s in usage.blind_spots] == ["narrowing"]


def test_what_a_rule_ran_and_nobody_understands_hides() -> None:
    usage = supplied(ran("sum(idle", 0, ruleGroup={"name": "g"}), Input("rules.json", json.dumps(rules(record("r", "sum(busy)")))))
    assert judged(usage)[0] is Verdict.UNKNOWN


PIECES = ["a", "b", "_", ".*", "a|b", "(", ")", "[a", "(?i)A", "\\Qa", "\\E", "(?:b)+", "", "|", "^", "$", ".", "\\"]


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=80),
    st.lists(st.text("abA_()", max_size=4), min_size=1, max_size=5),
)
def test_many_patterns_asked_together_match_as_each_alone(texts: list[str], names: list[str]) -> None:
    """Also those that are refused, of which two halves may make a whole."""
    together = Patterns(texts)
    for name in names:
        assert sorted(together.matching(name)) == sorted({t for t in texts if Pattern(t).fullmatch(name)})


def alert(query: str) -> Input:
    return Input("r.yaml", json.dumps(rules({"alert": "a", "expr": query})))


LABELS = (*(LabelProfile(key, "resource", 5, 1) for key in ("k8s.pod.name", "team", "service.name")), LabelProfile("route", "point", 5, 1))
SERVED = MetricProfile("served", "", Kind.GAUGE, "unspecified", False, Volume(25, 25), labels=LABELS)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("served * on (job) group_left (k8s_pod_name) target_info", {"k8s_pod_name", "job"}),
        ("sum by (route) (served) and on () target_info{team='a'}", {"team"}),
        ("served", set[str]()),
        ("target_info", {"k8s_pod_name", "k8s.pod.name", "team", "job", "service_name", "service.name"}),
    ],
)
def test_resource_attributes_that_somebody_takes_are_asked_of_every_metric(query: str, asked: set[str]) -> None:
    reading = Readers.over(supplied(alert(query)), ()).of(SERVED)
    assert set(reading.everywhere) == asked


def test_of_several_metrics_everything_is_asked_that_is_asked_of_one() -> None:
    usage = supplied(alert("served * on () group_left (team) target_info"))
    readers = Readers.over(usage, ())
    assert set(joined([readers.of(IDLE), readers.of(SERVED)]).everywhere) == {"team"}


def test_what_is_taken_from_the_resource_is_protected_and_not_only_judged_needed() -> None:
    usage = supplied(alert("sum by (route) (served) * on () group_left (team) target_info"))
    window = Window(START, START + timedelta(days=8))
    advice = advise(Profile(window, (SERVED,), (), ()), usage, FREE, Policy(), START)
    assert advice.protected["served"].labels.among(frozenset({"team", "route", "k8s_pod_name"})) == {"team", "route"}
