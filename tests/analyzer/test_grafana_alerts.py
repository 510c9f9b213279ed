"""Rules that Grafana itself evaluates, in files, in answers of its APIs and in resources: every query of a data source, and no arithmetic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.dashboards import Surroundings
from analyzer.references.grafana_alerts import is_alerting, is_rule_list, read_alerting
from analyzer.references.queries import Found, Query, Recorded, Unread

Json = dict[str, Any]


def asks(text: str = "up", uid: str = "p1", **model: Any) -> Json:
    return {"refId": "A", "relativeTimeRange": {"from": 600, "to": 0}, "datasourceUid": uid, "model": {"expr": text, "refId": "A", **model}}


REDUCE = {
    "refId": "B",
    "datasourceUid": "__expr__",
    "model": {"type": "reduce", "expression": "A", "datasource": {"type": "__expr__", "uid": "__expr__"}},
}
OLD = {"refId": "C", "datasourceUid": "-100", "model": {"type": "classic_conditions", "conditions": []}}


def rule(*data: Json, **more: Any) -> Json:
    return {"uid": "r1", "title": "Down", "condition": "B", "data": list(data) or [asks(), REDUCE], "for": "5m", **more}


def queries(found: Found) -> list[Query]:
    return [i for i in found.items if isinstance(i, Query)]


FILE = {"apiVersion": 1, "groups": [{"orgId": 1, "name": "g", "folder": "Shops", "interval": "1m", "rules": [rule()]}]}
RULER = {"Shops": [{"name": "g", "interval": "1m", "rules": [{"for": "5m", "labels": {}, "grafana_alert": rule()}]}]}
OPERATOR = {
    "apiVersion": "grafana.integreatly.org/v1beta1",
    "kind": "GrafanaAlertRuleGroup",
    "metadata": {"name": "g", "namespace": "mon"},
    "spec": {"folderRef": "f", "rules": [rule()]},
}
RESOURCE = {
    "apiVersion": "rules.alerting.grafana.app/v0alpha1",
    "kind": "AlertRule",
    "metadata": {"name": "r1"},
    "spec": {
        "title": "Down",
        "expressions": {"A": {"datasourceUID": "p1", "model": {"expr": "up"}}, "B": {"model": {"type": "reduce"}, "source": True}},
    },
}
SHAPES: list[tuple[str, Any]] = [
    ("a provisioning file", FILE),
    ("one group", FILE["groups"][0]),
    ("one rule", rule()),
    ("a list of rules", [rule()]),
    ("the ruler's API", RULER),
    ("a ruler's rule", {"grafana_alert": rule()}),
    ("the operator's group", OPERATOR),
    ("a resource", RESOURCE),
    ("a model as text", rule({**asks(), "model": json.dumps({"expr": "up"})})),
    ("old expressions", rule(asks(), OLD)),
    ("hidden", rule(asks(hide=True))),
    ("paused", rule(isPaused=True)),
]


@pytest.mark.parametrize("document", [d for _, d in SHAPES], ids=[n for n, _ in SHAPES])
def test_a_rules_query_is_found_in_every_shape(document: Any) -> None:
    assert is_rule_list(document) if isinstance(document, list) else is_alerting(document)
    found = read_alerting(document)
    (got,) = found.items
    assert isinstance(got, Query)
    assert (found.kind, got.language, got.role, got.rule, got.text, got.records) == (
        "grafana_alert_rules",
        "promql",
        "alert",
        "Down",
        "up",
        None,
    )


@pytest.mark.parametrize(
    "document",
    [
        {"groups": [{"name": "g", "rules": [{"alert": "a", "expr": "up"}]}]},
        {"shop": [{"name": "g", "rules": [{"record": "a", "expr": "up"}]}]},
        {"apiVersion": 1, "contactPoints": [{"name": "x"}]},
        {"data": [1, 2]},
        {"title": "a library panel", "uid": "x", "model": {"type": "graph"}},
        {},
        None,
        [],
        [{"id": 1}],
    ],
)
def test_other_documents_are_not_grafanas_rules(document: Any) -> None:
    assert not (is_rule_list(document) if isinstance(document, list) else is_alerting(document))


@pytest.mark.parametrize(
    ("document", "labels"),
    [
        (rule(record={"metric": "job:up:sum", "from": "B"}, labels={"team": "x"}), {"team"}),
        ({"grafana_alert": rule(record={"metric": "job:up:sum", "from": "A"}), "labels": {"team": "x"}}, {"team"}),
        (
            {
                **RESOURCE,
                "kind": "RecordingRule",
                "spec": {
                    "title": "r",
                    "metric": "job:up:sum",
                    "labels": {"team": "x"},
                    "expressions": {"A": {"datasourceUID": "p", "model": {"expr": "up"}}},
                },
            },
            {"team"},
        ),
    ],
)
def test_a_recording_rule_says_what_it_writes(document: Json, labels: set[str]) -> None:
    (got,) = queries(read_alerting(document))
    assert (got.role, got.records) == ("recording_rule", Recorded("job:up:sum", frozenset(labels)))


SOURCES: list[tuple[Json, str | None]] = [
    (asks(), "promql"),
    (asks(datasource={"type": "prometheus", "uid": "p1"}), "promql"),
    (asks('{a="b"}', datasource={"type": "loki", "uid": "l1"}), "logql"),
    (asks('{a="b"}', uid="l9"), "logql"),
    (asks('count_over_time({a="b"} |= "x" [5m])'), "logql"),
    ({"refId": "A", "datasourceUid": "t", "model": {"query": "{}", "queryType": "traceql", "datasource": {"type": "tempo"}}}, "traceql"),
    ({"refId": "A", "datasourceUid": "s", "model": {"rawSql": "SELECT http_requests", "datasource": {"type": "mysql"}}}, None),
]


@pytest.mark.parametrize(("data", "language"), SOURCES)
def test_the_models_data_source_decides_or_another_documents(data: Json, language: str | None) -> None:
    found = read_alerting(rule(data), Surroundings(sources={"l9": "loki"}))
    if language is None:
        (item,) = found.items
        assert isinstance(item, Unread)
        assert "http_requests" in item.touches
    else:
        assert [q.language for q in queries(found)] == [language]


def test_labels_in_texts_and_groupings_are_mentioned() -> None:
    given = rule(
        labels={"severity": "{{ $labels.tier }}"},
        annotations={"a": '{{ $labels.pod }} {{ $values.A.Labels.node }} {{ index $labels "zone" }} {{ .Labels.shop }}'},
        notification_settings={"receiver": "x", "group_by": ["ns", "..."]},
    )
    (got,) = queries(read_alerting(given))
    assert got.mentioned == {"tier", "pod", "node", "zone", "shop", "ns"}


@pytest.mark.parametrize("model", ["{not json", ["http_requests"], None, 7])
def test_a_model_that_is_none_is_said(model: Any) -> None:
    (item,) = read_alerting(rule(asks("a"), {**asks("b"), "model": model})).items[1:]
    assert isinstance(item, Unread)


def test_a_plain_rule_beside_grafanas_is_read() -> None:
    document = {"Shops": [{"name": "g", "rules": [{"grafana_alert": rule()}, {"alert": "x", "expr": "other"}]}]}
    assert [q.text for q in queries(read_alerting(document))] == ["up", "other"]


def test_ids_titles_and_owners() -> None:
    assert read_alerting(FILE).owner == "Shops"
    assert (read_alerting(OPERATOR).id, read_alerting(OPERATOR).owner) == ("mon/g", "mon")
    assert read_alerting(rule(labels={"team": "checkout"})).owner == "checkout"
    assert read_alerting(rule()).id == "r1"
    two = {"groups": [{"name": "a", "folder": "X", "rules": [rule()]}, {"name": "b", "folder": "Y", "rules": [rule()]}]}
    assert read_alerting(two).owner is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["groups", "rules", "data", "model", "datasourceUid", "refId", "expr", "labels", "annotations", "record", "metric", "grafana_alert", "spec",
         "kind", "apiVersion", "expressions", "datasource", "type", "uid", "title", "notification_settings", "group_by", "folder"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_nothing_makes_the_reader_raise(value: Any) -> None:
    is_alerting(value)
    read_alerting(value if isinstance(value, dict | list) else {})
    read_alerting(rule(data=value, labels=value, annotations=value, record=value))
    read_alerting({**RESOURCE, "spec": value})
