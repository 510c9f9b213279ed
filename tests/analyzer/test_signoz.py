"""SigNoz' dashboards and alerts: every metric that is read, of both schemas; SQL protects what it names."""

from __future__ import annotations

import json
from typing import Any

import pytest
import re2
from hypothesis import given

from analyzer.references.inventory import Input, read_inputs
from analyzer.references.queries import Found, Json, Query, Unread
from analyzer.references.signoz import READERS
from analyzer.references.syntax import parse_text
from analyzer.usage import read_usage
from flowgate.advice import Usage
from flowgate.telemetry import Signal
from tests.analyzer.foreign import VALUES

BUILT: Json = {
    "queryName": "A",
    "expression": "A",
    "dataSource": "metrics",
    "aggregations": [{"metricName": "k8s.pod.cpu.usage", "timeAggregation": "avg", "spaceAggregation": "sum"}],
    "filter": {"expression": "k8s.cluster.name IN $cluster AND env = 'prod' AND owner EXISTS"},
    "groupBy": [{"key": "k8s.pod.name", "type": "tag"}],
}
OLDER: Json = {
    "queryName": "A",
    "dataSource": "metrics",
    "aggregateOperator": "sum_rate",
    "aggregateAttribute": {"key": "signoz_calls_total", "dataType": "float64"},
    "filters": {"op": "AND", "items": [{"key": {"key": "service_name"}, "op": "in", "value": ["{{.service}}"]}]},
    "groupBy": [{"key": "operation"}],
}


def widgets(*built: Json, **more: Any) -> Json:
    query = {"queryType": "builder", "builder": {"queryData": list(built), "queryFormulas": [{"expression": "A/B"}]}, **more}
    return {"title": "Pods", "layout": [], "widgets": [{"id": "1", "title": "CPU", "panelTypes": "graph", "query": query}]}


def panels(kind: str, spec: Json, **more: Any) -> Json:
    query = {"kind": "time_series", "spec": {"name": "A", "plugin": {"kind": kind, "spec": spec}}}
    panel = {"kind": "Panel", "spec": {"plugin": {"kind": "signoz/TimeSeriesPanel", "spec": {}}, "queries": [query]}}
    return {"schemaVersion": "v6", "spec": {"display": {"name": "Pods"}, "panels": {"p": panel}, **more}}


NEWER: Json = {
    "name": "A",
    "signal": "metrics",
    "aggregations": BUILT["aggregations"],
    "filter": BUILT["filter"],
    "groupBy": [{"name": "k8s.pod.name"}],
}
ALERT: Json = {"alert": "Busy", "alertType": "METRIC_BASED_ALERT"}
KEYS = {"k8s.cluster.name", "env", "owner", "k8s.pod.name"}

CASES: dict[str, tuple[Json, str, set[str]]] = {
    "a widget": (widgets(BUILT), "k8s.pod.cpu.usage", KEYS),
    "a widget of the older form": (widgets(OLDER), "signoz_calls_total", {"service_name", "operation"}),
    "a dashboard of the API": ({"id": "7", "data": widgets(BUILT)}, "k8s.pod.cpu.usage", KEYS),
    "a widget in PromQL": (widgets(promql=[{"name": "A", "query": "sum by (a) (up)"}]), "up", {"a"}),
    "a panel of the newer schema": (panels("signoz/BuilderQuery", NEWER), "k8s.pod.cpu.usage", KEYS),
    "a panel of several queries": (
        panels("signoz/CompositeQuery", {"queries": [{"type": "builder_query", "spec": NEWER}, {"type": "builder_formula", "spec": {"expression": "A"}}]}),
        "k8s.pod.cpu.usage",
        KEYS,
    ),
    "a panel in PromQL": (panels("signoz/PromQLQuery", {"name": "A", "query": "sum by (a) (up)"}), "up", {"a"}),
    "an alert": (
        {**ALERT, "condition": {"compositeQuery": {"queryType": "builder", "builderQueries": {"A": BUILT}}}},
        "k8s.pod.cpu.usage",
        KEYS,
    ),
    "an alert of the newer form": (
        {**ALERT, "condition": {"compositeQuery": {"queries": [{"type": "builder_query", "spec": NEWER}]}}},
        "k8s.pod.cpu.usage",
        KEYS,
    ),
    "an alert in PromQL": (
        {**ALERT, "condition": {"compositeQuery": {"promQueries": {"A": {"query": "sum by (a) (up) > 1"}}}}},
        "up",
        {"a"},
    ),
    "an alert in PromQL of the newer form": (
        {**ALERT, "condition": {"compositeQuery": {"queries": [{"type": "promql", "spec": {"name": "A", "query": "sum by (a) (up)"}}]}}},
        "up",
        {"a"},
    ),
}  # fmt: skip


def read(document: Json) -> Found:
    (found,) = [f for reader in READERS if (f := reader(document)) is not None]
    return found


def usage(document: Json) -> Usage:
    return read_usage([Input("f.json", json.dumps(document, default=str, skipkeys=True))], lambda texts: [parse_text(t) for t in texts])


@pytest.mark.parametrize(("document", "name", "labels"), CASES.values(), ids=CASES)
def test_every_metric_is_read_with_the_attributes_that_are_named(document: Json, name: str, labels: set[str]) -> None:
    found = usage(document)
    (use,) = [u for r in found.references for u in r.uses]
    assert (use.name, use.pattern) == (name, False)
    assert labels <= use.mentioned
    assert found.blind_spots == ()
    assert next(d.kind for d in found.documents).startswith("signoz_")


def test_what_the_builder_puts_together_needs_every_label() -> None:
    (use,) = [u for r in usage(widgets(BUILT)).references for u in r.uses]
    assert use.demand.all_except
    assert use.operator == "none"


@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_logs_and_spans_are_read_whole(signal: str) -> None:
    built = {**BUILT, "dataSource": signal, "aggregations": [{"expression": "sum(gen_ai.tokens)"}]}
    (use,) = [u for r in usage(widgets(built)).references for u in r.uses]
    assert use.signal is Signal(signal)
    assert use.demand.all_except
    assert {"env", "gen_ai.tokens"} <= {m.removeprefix(".") for m in use.mentioned}


@pytest.mark.parametrize(
    "document",
    [
        widgets(clickhouse_sql=[{"name": "A", "query": "SELECT x FROM t WHERE metric_name = 'my.metric'"}]),
        panels("signoz/ClickHouseSQL", {"query": "SELECT x FROM t WHERE metric_name = 'my.metric'"}),
        {**widgets(), "variables": {"v": {"type": "QUERY", "queryValue": "SELECT x FROM t WHERE metric_name = 'my.metric'"}}},
        {**ALERT, "condition": {"compositeQuery": {"chQueries": {"A": {"query": "SELECT x FROM t WHERE n = 'my.metric'"}}}}},
        panels("signoz/SomethingNew", {"query": "my.metric | something"}),
    ],
)
def test_a_query_in_a_language_that_is_not_read_protects_its_names(document: Json) -> None:
    (item,) = read(document).items
    assert isinstance(item, Unread)
    assert any(re2.fullmatch(p, "my.metric") for p in item.touches)


def test_a_variable_in_a_metrics_name_makes_a_pattern_of_it() -> None:
    built = {**BUILT, "aggregations": [{"metricName": "aws_$service_cpu"}, {"metricName": "aws_{{.what}}_memory"}]}
    uses = [u for r in usage(widgets(built)).references for u in r.uses]
    assert uses
    assert all(u.pattern and u.demand.all_except for u in uses)
    assert any(re2.fullmatch(u.name, "aws_rds_memory") for u in uses)


def test_a_variable_lists_its_attribute_over_everything() -> None:
    variable = {"type": "DYNAMIC", "name": "ns", "dynamicVariablesAttribute": "k8s.namespace.name", "dynamicVariablesSource": "Metrics"}
    assert set(usage({**widgets(), "variables": {"v": variable}}).everywhere) == {"k8s.namespace.name"}
    newer = {
        "kind": "ListVariable",
        "spec": {"plugin": {"kind": "signoz/DynamicVariable", "spec": {"name": "host.name", "signal": "metrics"}}},
    }
    assert set(usage(panels("signoz/BuilderQuery", NEWER, variables=[newer])).everywhere) == {"host.name"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"widgets": []},
        {"widgets": [{"definition": {"requests": [{"q": "avg:a.b{*}"}]}}], "layout_type": "ordered"},
        {"spec": {"panels": {"p": {"spec": {"plugin": {"kind": "TimeSeriesChart"}}}}}},
        {"condition": {"compositeQuery": None}},
        {"data": {"widgets": 1}},
    ],
)
def test_documents_of_others_are_left_to_them(document: Json) -> None:
    assert all(reader(document) is None for reader in READERS)


def test_a_built_query_without_a_metric_reads_none() -> None:
    empty = {**BUILT, "aggregations": [{"metricName": ""}], "aggregateAttribute": {"key": ""}}
    assert [i for i in read(widgets(empty)).items if isinstance(i, Query)] == []


@given(VALUES)
def test_no_value_raises(value: Any) -> None:
    for document in (widgets(value), panels("signoz/BuilderQuery", value), {"widgets": value}, {"condition": {"compositeQuery": value}}):
        for reader in READERS:
            reader(document)
        read_inputs([Input("f.json", json.dumps(document, default=str, skipkeys=True))])
