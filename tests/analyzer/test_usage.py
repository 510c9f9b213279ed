"""From documents to what they read together: rules are followed to their readers, and what was not understood is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from analyzer.references.inventory import Input
from analyzer.references.syntax import parse_text
from analyzer.references.tree import Node
from analyzer.report import usage_json
from analyzer.together import together
from analyzer.usage import read_usage
from flowgate.advice import Usage
from flowgate.usage import EVERY_LABEL, LabelSet, NotUnderstood, Use, all_except, only
from tests.house.test_docs import schema


def parse(texts: Sequence[str]) -> list[Node | NotUnderstood]:
    return [parse_text(t) for t in texts]


def read(*documents: Any) -> Usage:
    texts = [d if isinstance(d, str) else json.dumps(d) for d in documents]
    return read_usage([Input(f"d{k}.json", text) for k, text in enumerate(texts)], parse)


def board(*expressions: str, **more: Any) -> dict[str, Any]:
    panels = [{"title": f"p{k}", "datasource": {"type": "prometheus"}, "targets": [{"expr": e}]} for k, e in enumerate(expressions)]
    return {"title": "board", "uid": "b", "schemaVersion": 39, "panels": panels, **more}


def rules(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [{"name": "g", "rules": list(listed)}]}


def record(name: str, expression: str, **labels: str) -> dict[str, Any]:
    return {"record": name, "expr": expression, "labels": labels}


def needed(usage: Usage, name: str) -> LabelSet:
    return together([u for r in usage.references for u in r.uses if u.name == name]).demand


def test_a_rule_that_nobody_reads_is_dead_and_its_inputs_with_it() -> None:
    usage = read(rules(record("job:m:sum", "sum by (job) (m)")))
    assert usage.recorded == {"job:m:sum": False}
    assert [r.live for r in usage.references] == [False]


@pytest.mark.parametrize(
    "reader",
    [board("job:m:sum"), board("max({__name__=~'job:m:.*'})"), rules({"alert": "a", "expr": "job:m:sum > 1"})],
    ids=["panel", "pattern", "alert"],
)
def test_a_rule_is_live_when_a_root_reads_its_output(reader: dict[str, Any]) -> None:
    usage = read(rules(record("job:m:sum", "sum by (job) (m)")), reader)
    assert usage.recorded == {"job:m:sum": True}


def test_a_chain_of_rules_is_live_from_its_end() -> None:
    chain = rules(record("a:m", "sum by (x) (m)"), record("b:m", "max(a:m)"), record("c:m", "min(b:m)"))
    assert read(chain).recorded == {"a:m": False, "b:m": False, "c:m": False}
    assert read(chain, board("c:m")).recorded == {"a:m": True, "b:m": True, "c:m": True}
    assert read(chain, board("b:m")).recorded == {"a:m": True, "b:m": True, "c:m": False}


def test_rules_that_read_each_other_come_to_an_end() -> None:
    usage = read(rules(record("a:m", "b:m or m"), record("b:m", "a:m + 1")), board("sum by (x) (a:m)"))
    assert usage.recorded == {"a:m": True, "b:m": True}
    assert read(rules(record("a:m", "a:m or m"))).recorded == {"a:m": False}


def test_what_was_not_understood_keeps_a_rule_alive() -> None:
    usage = read(rules(record("job:m:sum", "sum by (job) (m)")), board("job:m:sum )) broken"))
    assert usage.recorded == {"job:m:sum": True}


def test_who_reads_a_rules_output_decides_where_all_of_it_would_need_every_label() -> None:
    """A rule that keeps all but `instance` needs every other label; its one reader sums by job."""
    kept = rules(record("m:rate", "sum without (instance) (rate(m[5m]))"))
    assert needed(read(kept, board("m:rate")), "m") == all_except("instance")
    assert needed(read(kept, board("sum by (job) (m:rate)")), "m") == only("job")
    assert needed(read(kept, board("sum by (job) (m:rate)", "max by (pod) (m:rate)")), "m") == all_except("instance")
    assert needed(read(kept, board("sum by (job) (m:rate)", "sum by (zone) (m:rate)")), "m") == only("job", "zone")


def test_a_need_that_came_through_a_rule_is_told_as_a_condition() -> None:
    usage = read(rules(record("m:rate", "sum without (instance) (rate(m[5m]))")), board("sum by (job) (m:rate)"))
    kinds = {c.kind for r in usage.references for u in r.uses if u.name == "m" for c in u.conditions}
    assert "recorded" in kinds


def test_a_finite_need_of_a_rule_stays_what_it_is() -> None:
    usage = read(rules(record("ab:m", "sum by (a, b) (m)")), board("sum by (a) (ab:m)"))
    assert needed(usage, "m") == only("a", "b")
    assert needed(usage, "ab:m") == only("a")


def test_a_rules_own_labels_are_not_asked_of_its_inputs() -> None:
    usage = read(rules(record("m:max", "max without (x) (m)", team="core")), board("max by (team) (m:max)"))
    assert needed(usage, "m") == only()


def test_a_pattern_that_matches_a_recorded_name_needs_all_of_it() -> None:
    usage = read(rules(record("m:rate", "sum without (i) (m)")), board("sum by (job) (m:rate)", "sum({__name__=~'m:ra.*'})"))
    assert needed(usage, "m") == all_except("i")


def test_ad_hoc_filters_need_every_label() -> None:
    adhoc = {"templating": {"list": [{"type": "adhoc", "name": "f", "datasource": {"type": "prometheus"}}]}}
    usage = read(board("sum by (a) (m)", **adhoc))
    assert needed(usage, "m") == EVERY_LABEL


def test_a_name_pattern_that_says_too_little_is_a_blind_spot_and_no_reference() -> None:
    usage = read(board("sum({__name__=~'a.*'})", "m"))
    assert [(s.kind, s.touches) for s in usage.blind_spots] == [("hiding", ("a.*",))]
    assert {u.name for r in usage.references for u in r.uses} == {"m"}


def test_values_of_a_label_over_all_metrics_are_no_reference_to_one() -> None:
    listed = {"templating": {"list": [{"type": "query", "name": "v", "datasource": {"type": "prometheus"}, "query": "label_values(zone)"}]}}
    usage = read(board("m", **listed))
    assert set(usage.everywhere) == {"zone"}
    assert not usage.blind_spots


def use(name: str = "m", **more: Any) -> Use:
    return Use(name, **more)


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        (["sum"], "sum"), (["sum", "exists"], "sum"), (["sum", "max"], None), (["sum", "none"], None), (["exists"], "group"),
        (["group", "exists"], "group"), (["unique"], "max"), (["unique", "min"], "min"), (["none"], None),
    ],
)  # fmt: skip
def test_one_operator_or_none(operators: list[Any], expected: str | None) -> None:
    assert together([use(operator=op, demand=only()) for op in operators]).operator == expected


def test_labels_set_anew_must_be_absent_where_they_are_needed_and_absent_or_removed_elsewhere() -> None:
    joined = together([use(demand=only("a"), overwritten=frozenset({"a", "b"})), use(demand=only("c"))])
    assert joined.demand == only("a", "c")
    assert {c.kind: c.labels for c in joined.conditions} == {"must_be_absent": {"a"}, "absent_or_removed": {"b"}}


def test_the_report_has_the_shape_of_the_contract() -> None:
    usage = read(
        board("sum by (a) (rate(m_total[5m]))", "broken(", "{__name__=~'node_.*'}", 'avg(x{b="1"})'),
        rules(record("r:m", "sum without (i) (m_total)"), {"alert": "A", "expr": "r:m > 1", "labels": {"team": "x"}}),
    )
    report = usage_json(usage)
    validator: Draft202012Validator = schema("usage")
    validator.validate(report)
    metrics: Any = report["metrics"]
    assert metrics["x"]["why"]["b"] == {"rule": "matcher", "document": "d0.json", "expression": 'avg(x{b="1"})'}
    assert metrics["x"]["demand"] == {"all_except": []}
    documents: Any = report["documents"]
    assert documents[0]["patterns"] == ["node_.*"]
    assert [n["text"] for n in documents[0]["not_understood"]] == ["broken("]
    assert report["totals"] == {"documents": 2, "expressions": 6, "understood": 5}


def test_what_is_no_document_is_counted_by_reason_the_rarest_first() -> None:
    listed = [(f"{n}.png", "a picture") for n in range(9)] + [("z", "empty"), ("b.md", "plain text"), ("a.md", "plain text")]
    report: Any = usage_json(Usage((), (), (), skipped=tuple(listed)))
    assert report["skipped"] == [
        {"reason": "empty", "count": 1, "paths": ["z"]},
        {"reason": "plain text", "count": 2, "paths": ["b.md", "a.md"]},
        {"reason": "a picture", "count": 9, "paths": [f"{n}.png" for n in range(5)]},
    ]
    schema("usage").validate(report)


def test_a_pattern_makes_every_known_name_that_it_matches_wholly_needed() -> None:
    report: Any = usage_json(read(board("sum by (a) (node_load1)", "{__name__=~'node_.*'}")))
    assert report["metrics"]["node_load1"]["demand"] == {"all_except": []}
    report = usage_json(read(rules(record("node:x", "sum(y)")), board("{__name__=~'node:.*'}")))
    assert report["metrics"]["node:x"]["demand"] == {"all_except": []}
