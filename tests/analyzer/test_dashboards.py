"""A Grafana dashboard gives every query it holds, in the language of its data source; what it only points at is said."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.dashboards import Surroundings, is_dashboard, read_dashboard, with_elements
from analyzer.references.queries import Found, Query, Unread
from flowgate.usage import EVERY_LABEL, NO_LABEL, only

Json = dict[str, Any]
PROM = {"type": "prometheus", "uid": "p1"}


def board(*panels: Json, variables: list[Json] | None = None, **more: Any) -> Json:
    return {"title": "Shop", "uid": "shop", "schemaVersion": 39, "panels": list(panels), "templating": {"list": variables or []}, **more}


def panel(*targets: Json, **more: Any) -> Json:
    return {"id": 7, "type": "timeseries", "title": "Orders", "datasource": PROM, "targets": list(targets), **more}


def queries(found: Found) -> list[Query]:
    return [i for i in found.items if isinstance(i, Query)]


def unread(found: Found) -> list[Unread]:
    return [i for i in found.items if isinstance(i, Unread)]


def one(found: Found) -> Query:
    assert len(found.items) == 1, found.items
    (query,) = queries(found)
    return query


T = {"refId": "A", "expr": "up"}
SHAPES: list[tuple[str, Json]] = [
    ("a panel", board(panel(T))),
    ("a hidden target", board(panel({**T, "hide": True}))),
    ("a panel in a collapsed row", board({"type": "row", "collapsed": True, "panels": [panel(T)]})),
    ("a panel in a panel in a panel", board({"type": "row", "panels": [{"type": "row", "panels": [panel(T)]}]})),
    ("a legacy row", {"title": "old", "rows": [{"panels": [panel(T)]}]}),
    ("a legacy row in a row", {"title": "old", "rows": [{"panels": [{"panels": [panel(T)]}]}]}),
    ("no title", {"panels": [{"targets": [T], "gridPos": {}}]}),
    ("a target in a mapping instead of a list", board({"type": "graph", "targets": {"A": T}})),
    ("a plugin's own place", board({"type": "x", "options": {"inner": {"query": {"expr": "up"}}}})),
    ("a snapshot's", board(panel(T), snapshot={"expires": "never"})),
]


@pytest.mark.parametrize(("document"), [d for _, d in SHAPES], ids=[n for n, _ in SHAPES])
def test_a_query_is_found_wherever_it_stands(document: Json) -> None:
    assert is_dashboard(document)
    query = one(read_dashboard(document))
    assert (query.language, query.role, query.text) == ("promql", "panel", "up")
    assert query.root == EVERY_LABEL


@pytest.mark.parametrize(
    "document",
    [
        {"id": 1, "uid": "x", "title": "Shop", "uri": "db/shop", "type": "dash-db", "tags": []},
        {"title": "Shop", "widgets": [], "layout_type": "ordered"},
        {"kind": "Dashboard", "metadata": {"name": "a"}, "spec": {"panels": {"p": {}}}},
        {"groups": [{"name": "g", "rules": []}]},
        {"rows": [[1, 2]], "columns": ["a"]},
        {"panels": "three"},
        [],
        None,
        "dashboard",
    ],
)
def test_a_search_result_and_other_tools_documents_are_no_dashboard(document: Any) -> None:
    assert not is_dashboard(document)


SOURCES: list[tuple[Any, Json, str, str]] = [
    # data source, target, language, text
    (PROM, {"expr": "up"}, "promql", "up"),
    (None, {"expr": "up"}, "promql", "up"),
    ("Prometheus", {"expr": "up"}, "promql", "up"),
    ("Some name", {"expr": "up"}, "promql", "up"),
    ({"uid": "unknown-uid"}, {"expr": "up"}, "promql", "up"),
    ({"type": "grafana-amazonprometheus-datasource"}, {"expr": "up"}, "promql", "up"),
    ({"type": "grafana-azureprometheus-datasource"}, {"expr": "up"}, "promql", "up"),
    ({"type": "victoriametrics-metrics-datasource"}, {"expr": "up"}, "promql", "up"),
    ({"type": "mimir-thing"}, {"query": "up"}, "promql", "up"),
    (PROM, {"expr": "", "query": "up"}, "promql", "up"),
    (PROM, {"expr": 1}, "promql", "1"),
    ({"type": "someone-unknown-datasource"}, {"expr": "up"}, "promql", "up"),
    ({"type": "loki"}, {"expr": '{app="a"}'}, "logql", '{app="a"}'),
    ("Loki", {"expr": 'count_over_time({app="a"}[5m])'}, "logql", 'count_over_time({app="a"}[5m])'),
    ("Loki", {"expr": "up"}, "promql", "up"),
    (None, {"expr": '{app="a"} |= "x"'}, "logql", '{app="a"} |= "x"'),
    (None, {"expr": 'up{pod=~"${a}|${b}"} == 1'}, "promql", 'up{pod=~"${a}|${b}"} == 1'),
    (None, {"expr": "{app=~'${a}|b'} |~ `${c}|d`"}, "logql", "{app=~'${a}|b'} |~ `${c}|d`"),
    ({"type": "tempo"}, {"query": "{ .a = 1 }", "queryType": "traceql"}, "traceql", "{ .a = 1 }"),
    (None, {"query": "{ .a = 1 }", "queryType": "traceql"}, "traceql", "{ .a = 1 }"),
    (
        {"type": "tempo"},
        {"queryType": "traceqlSearch", "filters": [{"tag": "service.name", "scope": "resource", "operator": "=", "value": ["a", "b"]}]},
        "traceql",
        '{resource.service.name =~ "a|b"}',
    ),
    ({"type": "tempo"}, {"queryType": "serviceMap"}, "names", "service map"),
    ({"type": "grafana-datadog-datasource"}, {"query": "avg:a.b{*}"}, "datadog", "avg:a.b{*}"),
    ({"type": "grafana-datadog-datasource"}, {"metric": "a.b", "aggregator": "sum", "tags": ["x:y"]}, "datadog", "sum:a.b{x:y}"),
    ({"type": "stackdriver"}, {"queryType": "promQL", "promQLQuery": {"expr": "up"}}, "promql", "up"),
    (
        {"type": "stackdriver"},
        {"timeSeriesList": {"filters": ["metric.type", "=", "a/b", "AND", "resource.labels.z", "=", "c"]}},
        "gcp_filter",
        'metric.type = "a/b" AND resource.labels.z = "c"',
    ),
    (
        {"type": "stackdriver"},
        {"timeSeriesList": {"filters": ["metric.type", "=", "a/b", "AND", "resource.labels.z", "!=~", "c.*"]}},
        "gcp_filter",
        'metric.type = "a/b" AND resource.labels.z != monitoring.regex.full_match("c.*")',
    ),
    ({"type": "stackdriver"}, {"timeSeriesQuery": {"query": "fetch k8s | metric 'a/b'"}}, "gcp_filter", "fetch k8s | metric 'a/b'"),
    ({"type": "stackdriver"}, {"metricQuery": {"metricType": "a/b", "filters": []}}, "gcp_filter", 'metric.type = "a/b"'),
]


@pytest.mark.parametrize(("source", "target", "language", "text"), SOURCES)
def test_the_data_source_decides_the_language(source: Any, target: Json, language: str, text: str) -> None:
    query = one(read_dashboard(board({"title": "P", "type": "graph", "datasource": source, "targets": [{"refId": "A", **target}]})))
    assert (query.language, query.text) == (language, text)


@pytest.mark.parametrize("said", ["panel", "target", "variable", "old variable", "bracketed", "input", "elsewhere", "other document"])
def test_a_data_source_is_resolved_by_target_panel_variable_input_or_another_place(said: str) -> None:
    loki, target = {"type": "loki", "uid": "l1"}, {"refId": "A", "expr": '{app="a"}'}
    variable = {"type": "datasource", "name": "ds", "query": "loki"}
    boards: dict[str, Json] = {
        "panel": board(panel(target, datasource=loki)),
        "target": board(panel({**target, "datasource": loki}, datasource={"uid": "-- Mixed --", "type": "datasource"})),
        "variable": board(panel(target, datasource={"type": "prometheus", "uid": "${ds}"}), variables=[variable]),
        "old variable": board(panel(target, datasource="$ds"), variables=[variable]),
        "bracketed": board(panel(target, datasource="[[ds]]"), variables=[variable]),
        "input": board(
            panel(target, datasource="${DS_L}"), __inputs=[{"name": "DS_L", "type": "datasource", "pluginId": "loki", "label": "L"}]
        ),
        "elsewhere": board(panel(target, datasource={"uid": "l1"}), panel(datasource=loki)),
        "other document": board(panel(target, datasource={"uid": "l9"})),
    }
    assert one(read_dashboard(boards[said], Surroundings(sources={"l9": "loki"}))).language == "logql"


@pytest.mark.parametrize(
    "source", ["-- Dashboard --", "-- Grafana --", {"type": "__expr__", "uid": "__expr__"}, {"type": "datasource", "uid": "grafana"}]
)
def test_what_is_no_store_is_not_read(source: Any) -> None:
    assert read_dashboard(board(panel({**T, "expression": "$A > 1"}, datasource=source))).items == ()


OTHERS: list[tuple[str, Json, set[str]]] = [
    ("mysql", {"rawSql": "SELECT x FROM http_requests WHERE $__timeFilter(t)"}, {"http_requests"}),
    (
        "influxdb",
        {"measurement": "cpu.usage-idle", "select": [[{"params": ["value"], "type": "field"}]]},
        {r"cpu\.usage\-idle", r"cpu\.usage"},
    ),
    ("graphite", {"target": "servers.*.cpu.$kind.total"}, {r"servers\..*\.cpu\..*\.total"}),
    ("elasticsearch", {"query": "name:jvm_*", "bucketAggs": [{"field": "service.name"}]}, {r"jvm_.*", r"service\.name"}),
    ("cloudwatch", {"metricName": "CPUUtilization", "expression": ""}, {"CPUUtilization"}),
    ("grafana-clickhouse-datasource", {"rawSql": "SELECT * FROM m WHERE name LIKE 'http_%'"}, {r"http_.*"}),
    ("victoriametrics-logs-datasource", {"expr": "error AND app:shop"}, {"app:shop"}),
]


@pytest.mark.parametrize(("kind", "target", "touches"), OTHERS, ids=[o[0] for o in OTHERS])
def test_a_language_that_is_not_read_protects_what_it_names_and_no_more(kind: str, target: Json, touches: set[str]) -> None:
    found = read_dashboard(board(panel({"refId": "A", **target}, datasource={"type": kind, "uid": "x"})))
    (item,) = unread(found)
    assert touches <= set(item.touches)
    assert ".*" not in item.touches
    assert kind in item.reason
    assert queries(found) == []


def test_a_variable_alone_in_an_unread_query_is_its_values() -> None:
    variables = [{"type": "custom", "name": "m", "query": "cpu_a,cpu_b"}]
    found = read_dashboard(board(panel({"rawSql": "SELECT $m"}, datasource={"type": "mysql"}), variables=variables))
    assert {"cpu_a", "cpu_b"} <= set(unread(found)[0].touches)


def test_a_target_without_text_is_nothing_and_one_with_a_strange_text_is_said() -> None:
    assert read_dashboard(board(panel({"refId": "A"}, {"refId": "B", "expr": "  "}))).items == ()
    (item,) = unread(read_dashboard(board(panel({"refId": "A", "expr": ["a"]}))))
    assert item.touches == ()


# Variables

CALLS: list[tuple[Any, str, str, Any, str, set[str]]] = [
    # query, language, what is evaluated, root, operator, mentioned
    ("label_values(up, job)", "promql", "up", only("job"), "exists", {"job"}),
    ('label_values(up{a="x, y"}, job)', "promql", 'up{a="x, y"}', only("job"), "exists", {"job"}),
    ({"query": "label_values(up,job)", "refId": "x"}, "promql", "up", only("job"), "exists", {"job"}),
    ({"qryType": 1, "metric": "up", "label": "job", "labelFilters": []}, "promql", "up", only("job"), "exists", {"job"}),
    (
        {"qryType": 1, "metric": "up", "label": "job", "labelFilters": [{"label": "a", "op": "=~", "value": "b.*"}], "query": ""},
        "promql",
        'up{a=~"b.*"}',
        only("job"),
        "exists",
        {"job"},
    ),
    ("label_values(job)", "names", ".*", only("job"), "exists", {"job"}),
    ("label_values(up, __name__)", "promql", "up", NO_LABEL, "exists", {"__name__"}),
    ("label_values(up, $kind)", "promql", "up", only("pod", "node"), "exists", {"pod", "node"}),
    ("label_values(up, $unknown)", "promql", "up", EVERY_LABEL, "exists", set()),
    ('label_values(up, "shop-id")', "promql", "up", only("shop-id"), "exists", {"shop-id"}),
    ('label_values("shop-id")', "names", ".*", only("shop-id"), "exists", {"shop-id"}),
    ("label_values(up, '$kind')", "promql", "up", only("pod", "node"), "exists", {"pod", "node"}),
    ('label_values(up, "a.$kind")', "promql", "up", EVERY_LABEL, "exists", set()),
    ("metrics(http_.*)", "names", ".*(?:http_.*).*", NO_LABEL, "exists", set()),
    ("metrics(${kind}_total)", "names", ".*(?:(?:pod|node)_total).*", NO_LABEL, "exists", set()),
    ("metrics($unknown)", "names", ".*(?:.*).*", NO_LABEL, "exists", set()),
    ("query_result(topk(5, up))", "promql", "topk(5, up)", EVERY_LABEL, "none", set()),
    ("label_names(up)", "promql", "up", EVERY_LABEL, "exists", set()),
    ("up", "promql", "up", EVERY_LABEL, "none", set()),
]


@pytest.mark.parametrize(("query", "language", "evaluated", "root", "operator", "mentioned"), CALLS)
def test_a_query_variable_needs_what_it_shows(
    query: Any, language: str, evaluated: str, root: Any, operator: str, mentioned: set[str]
) -> None:
    kind = {"type": "custom", "name": "kind", "query": "pod,node"}
    found = read_dashboard(board(variables=[kind, {"type": "query", "name": "v", "datasource": PROM, "query": query}]))
    got = one(found)
    assert (got.role, got.where, got.language, got.evaluated, got.root, got.operator) == (
        "variable",
        "variable v",
        language,
        evaluated,
        root,
        operator,
    )
    assert got.mentioned == mentioned


@pytest.mark.parametrize("text", ["label_names()", "", None])
def test_a_variable_that_reads_no_metric_is_nothing(text: Any) -> None:
    assert read_dashboard(board(variables=[{"type": "query", "name": "v", "datasource": PROM, "query": text}])).items == ()


def test_a_definition_stands_for_a_query_that_is_missing() -> None:
    assert (
        one(read_dashboard(board(variables=[{"type": "query", "name": "v", "query": {}, "definition": "label_values(up, a)"}]))).evaluated
        == "up"
    )


def test_a_variables_regex_reads_labels_from_the_series_text() -> None:
    variable = {"type": "query", "name": "v", "query": "query_result(up)", "regex": '/pod="([^"]+)",.*ns="(.*)"/'}
    assert one(read_dashboard(board(variables=[variable]))).mentioned == {"pod", "ns"}


def test_a_variable_of_another_store_is_read_in_its_language_or_protected() -> None:
    loki = {"type": "query", "name": "v", "datasource": {"type": "loki"}, "query": {"label": "app", "stream": '{ns="x"}', "type": 1}}
    query = one(read_dashboard(board(variables=[loki])))
    assert (query.language, query.evaluated, query.root) == ("logql", '{ns="x"}', only("app"))
    sql = {"type": "query", "name": "v", "datasource": {"type": "mysql"}, "query": "SELECT name FROM http_metrics"}
    assert "http_metrics" in unread(read_dashboard(board(variables=[sql])))[0].touches
    strange = {"type": "query", "name": "v", "datasource": {"type": "some-plugin"}, "query": "labels list of http_metrics"}
    assert "http_metrics" in unread(read_dashboard(board(variables=[strange])))[0].touches
    terms = {"type": "query", "name": "v", "query": '{"find": "terms", "field": "host.name"}'}
    assert r"host\.name" in unread(read_dashboard(board(variables=[terms])))[0].touches


VALUES: list[tuple[Json, tuple[str, ...]]] = [
    ({"type": "custom", "query": "a,b, c"}, ("a", "b", "c")),
    ({"type": "custom", "query": "One : a,Two : b"}, ("a", "b")),
    ({"type": "custom", "query": r"a\,b,c"}, ("a,b", "c")),
    ({"type": "custom", "query": '[{"text": "A", "value": "a"}, {"value": "b"}]'}, ("a", "b")),
    ({"type": "custom", "query": "[broken"}, ("[broken",)),
    ({"type": "custom", "query": "", "options": [{"value": "$__all"}, {"value": "a"}]}, ("a",)),
    ({"type": "custom", "query": "a", "includeAll": True, "allValue": ".+"}, ("a", ".+")),
    ({"type": "custom", "query": "a", "current": {"value": ["b", "$__all"]}}, ("a", "b")),
    ({"type": "custom", "query": r"One : a\,b", "options": [{"value": r"a\,b"}], "current": {"value": r"a\,b"}}, ("a,b",)),
    ({"type": "constant", "query": "a,b"}, ("a,b",)),
    ({"type": "textbox", "query": "a", "current": {"value": "b"}}, ()),
    ({"type": "textbox", "query": "5", "current": {"value": "a"}}, ()),
    ({"type": "textbox", "query": "0.95", "current": {"value": "1e3"}}, ("0.95", "1e3")),
    ({"type": "textbox", "query": "1h30m"}, ("1h30m",)),
    ({"type": "interval", "query": "1m,10m", "auto": True}, ("1m", "10m")),
    ({"type": "datasource", "query": "prometheus", "current": {"value": "p1"}}, ("p1",)),
    ({"type": "switch", "enabledValue": "on", "disabledValue": "off"}, ("on", "off")),
    ({"type": "query", "query": "label_values(a)", "current": {"value": "x"}}, ()),
    ({"type": "adhoc", "query": "x"}, ()),
]


@pytest.mark.parametrize(("variable", "values"), VALUES)
def test_a_variable_may_take_all_the_values_that_the_dashboard_holds(variable: Json, values: tuple[str, ...]) -> None:
    found = read_dashboard(board(panel(T), variables=[{"name": "v", **variable}]))
    (query,) = [q for q in queries(found) if q.role == "panel"]
    assert query.variables.get("v", ()) == values


def test_a_constant_input_of_an_export_is_a_variable() -> None:
    found = read_dashboard(board(panel(T), __inputs=[{"name": "VAR_P", "type": "constant", "value": "app"}]))
    assert one(found).variables["VAR_P"] == ("app",)


EXPLORED: list[tuple[Any, Any, bool]] = [
    # the ad-hoc filter's data source, the panel's, explorable
    (None, PROM, True),
    (PROM, PROM, True),
    ("$ds", PROM, True),
    (PROM, "$ds", True),
    ({"type": "prometheus", "uid": "p2"}, PROM, False),
]


@pytest.mark.parametrize("kind", ["adhoc", "groupby"])
@pytest.mark.parametrize(("filters", "panels", "explorable"), EXPLORED)
def test_ad_hoc_filters_make_queries_of_their_data_source_explorable(kind: str, filters: Any, panels: Any, explorable: bool) -> None:
    found = read_dashboard(board(panel(T, datasource=panels), variables=[{"type": kind, "name": "f", "datasource": filters}]))
    assert one(found).explorable is explorable


def test_without_ad_hoc_filters_nothing_is_explorable() -> None:
    assert not one(read_dashboard(board(panel(T)))).explorable


# Annotations, alerts, library panels, what panels show


@pytest.mark.parametrize(
    "annotation",
    [
        {"datasource": PROM, "expr": "up", "titleFormat": "{{pod}}", "tagKeys": "ns, zone"},
        {"datasource": "Prometheus", "expr": "up", "enable": False, "textFormat": "{{pod}}", "tagKeys": "ns,zone"},
        {"datasource": PROM, "target": {"expr": "up", "refId": "A"}, "titleFormat": "{{ pod }}", "tagKeys": "ns,zone"},
        {"datasource": PROM, "expr": "up", "target": {"expr": "up"}, "titleFormat": "{{pod}}", "tagKeys": "ns,zone"},
    ],
)
def test_an_annotation_is_read_once_with_the_labels_it_shows(annotation: Json) -> None:
    query = one(read_dashboard(board(annotations={"list": [{"name": "deploys", **annotation}]})))
    assert (query.role, query.where, query.text) == ("annotation", "annotation deploys", "up")
    assert query.mentioned == {"pod", "ns", "zone"}


def test_the_builtin_annotation_reads_nothing() -> None:
    builtin = {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "name": "Annotations & Alerts", "type": "dashboard"}
    assert read_dashboard(board(annotations={"list": [builtin]})).items == ()


def test_a_legacy_alert_reads_the_targets_of_its_conditions() -> None:
    alert = {"name": "Too slow", "conditions": [{"query": {"params": ["B", "5m", "now"]}, "type": "query"}]}
    found = read_dashboard(board(panel(T, {"refId": "B", "expr": "slow"}, alert=alert)))
    assert [(q.text, q.role, q.rule) for q in queries(found)] == [("up", "panel", None), ("slow", "alert", "Too slow")]
    unclear = read_dashboard(board(panel(T, alert={"name": "x", "conditions": []})))
    assert one(unclear).role == "alert"


STUB = {"id": 3, "gridPos": {}, "libraryPanel": {"uid": "lib1", "name": "Shared"}}
ELEMENT = {"uid": "lib1", "name": "Shared", "kind": 1, "model": panel(T)}


def test_a_library_panel_is_resolved_by_its_uid_or_said_to_be_missing() -> None:
    assert one(read_dashboard(board(STUB), with_elements(Surroundings(), [ELEMENT]))).text == "up"
    assert one(read_dashboard(board(STUB, __elements={"lib1": ELEMENT}))).text == "up"
    assert one(read_dashboard(board(STUB, __elements=[ELEMENT]))).text == "up"
    (item,) = unread(read_dashboard(board(STUB)))
    assert item.touches == ()
    assert "Shared" in item.reason
    assert "lib1" in item.reason
    other = with_elements(Surroundings(), [{**ELEMENT, "uid": "lib2"}])
    assert unread(read_dashboard(board(STUB), other)), "a library panel of the same name is another one"


def test_a_library_panel_that_the_api_filled_in_needs_nothing_else() -> None:
    assert one(read_dashboard(board({**STUB, **panel(T)}))).text == "up"
    assert read_dashboard(board({**STUB, "type": "text", "options": {"content": "x"}})).items == ()


def test_a_library_panel_takes_the_dashboards_variables_and_may_not_nest_for_ever() -> None:
    nested = {**ELEMENT, "model": {**panel(T), "libraryPanel": {"uid": "lib1", "name": "Shared"}}}
    found = read_dashboard(board(STUB, variables=[{"type": "custom", "name": "v", "query": "a"}], __elements=[nested]))
    assert one(found).variables == {"v": ("a",)}


SHOWN: list[tuple[Json, set[str]]] = [
    ({"targets": [{**T, "legendFormat": "{{pod}} of {{ k8s.node }} {{__name__}}"}]}, {"pod", "k8s.node"}),
    ({"fieldConfig": {"defaults": {"links": [{"url": '/d/x?var-pod=${__field.labels.pod}&n=${__data.fields["node"]}'}]}}}, {"pod", "node"}),
    ({"links": [{"url": "${__field.labels.zone}"}]}, {"zone"}),
    ({"type": "table", "fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": "pod"}}]}}, {"pod"}),
    ({"fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": "errors"}}]}}, set()),
    (
        {
            "transformations": [
                {"id": "organize", "options": {"excludeByName": {"Time": True, "pod": True}, "renameByName": {"ns": "Namespace"}}}
            ]
        },
        {"pod", "ns"},
    ),
    ({"transformations": [{"id": "groupBy", "options": {"fields": {"zone": {"operation": "groupby"}}}}]}, {"zone"}),
    ({"transformations": [{"id": "filterFieldsByName", "options": {"include": {"names": ["a", "Value #A"]}}}]}, {"a"}),
    ({"transformations": [{"id": "joinByField", "options": {"byField": "host"}}]}, {"host"}),
    ({"styles": [{"pattern": "pod", "alias": "Pod"}, {"pattern": "/.*/"}], "type": "table-old"}, {"pod"}),
    ({"columns": [{"text": "Pod", "value": "pod"}]}, {"pod"}),
]


@pytest.mark.parametrize(("more", "labels"), SHOWN)
def test_labels_that_a_panel_shows_are_mentioned(more: Json, labels: set[str]) -> None:
    assert one(read_dashboard(board({**panel(T), **more}))).mentioned == labels


def test_what_a_dashboard_is_called_and_who_owns_it() -> None:
    found = read_dashboard(board(tags=["prod", "team:checkout"]))
    assert (found.kind, found.id, found.title, found.owner) == ("grafana_dashboard", "shop", "Shop", "checkout")
    assert read_dashboard({**board(), "meta": {"folderTitle": "Shops"}}).owner == "Shops"
    assert read_dashboard(board()).owner is None


# Whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["panels", "targets", "expr", "datasource", "type", "uid", "templating", "list", "query", "name", "rows", "libraryPanel", "alert",
         "conditions", "annotations", "target", "fieldConfig", "overrides", "matcher", "options", "transformations", "title", "tags", "__inputs",
         "__elements", "model", "filters", "current", "value", "legendFormat", "regex", "kind"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_nothing_makes_the_reader_raise(value: Any) -> None:
    read_dashboard(value if isinstance(value, dict) else {"panels": value})


WHOLE = board(
    panel({"refId": "A", "expr": "aa_one"}, {"refId": "B", "expr": "aa_two"}),
    {"type": "row", "panels": [panel({"refId": "A", "expr": "aa_three"})]},
    STUB,
    variables=[
        {"type": "query", "name": "v", "query": "label_values(aa_four, x)", "datasource": PROM},
        {"type": "custom", "name": "w", "query": "a"},
    ],
    annotations={"list": [{"name": "n", "expr": "aa_five", "datasource": PROM}]},
    rows=[{"panels": [panel({"refId": "A", "expr": "aa_six"})]}],
    __elements=[ELEMENT],
)


def exprs(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "expr" and isinstance(v, str)] + [
            e for k, v in value.items() if k != "__elements" for e in exprs(v)
        ]
    return [e for v in value for e in exprs(v)] if isinstance(value, list) else []


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


FILLED: Json = {"name": "v", "type": "query", "datasource": PROM}
MOVED: dict[str, Json] = {
    "a target's expression under another key": board(panel({"refId": "A", "xpr": "rate(my_metric[5m])"})),
    "a target's expression deeper in": board(panel({"refId": "A", "model": {"raw": "my_metric"}})),
    "an annotation's expression under another key": board(
        annotations={"list": [{"name": "a", "datasource": PROM, "xpr": "my_metric > 0"}]}
    ),
    "a variable's query under another key": board(variables=[{**FILLED, "qery": "label_values(my_metric, a)"}]),
    "a variable's query deeper under another key": board(variables=[{**FILLED, "query": {"refId": "x", "qery": "metrics(my_metric)"}}]),
    "variables under another key": board(tmplating={"list": [{**FILLED, "query": "label_values(my_metric, a)"}]}),
    "panels under another key": {"title": "x", "templating": {"list": []}, "pnels": [panel({"expr": "my_metric"})]},
}


@pytest.mark.parametrize("document", MOVED.values(), ids=MOVED)
def test_a_query_that_does_not_stand_where_queries_stand_protects_what_it_names(document: Json) -> None:
    found = read_dashboard(document)
    assert found.items
    for item in found.items:
        assert isinstance(item, Query) or (item.touches and any(re2.fullmatch(p, "my_metric") for p in item.touches))


@pytest.mark.parametrize("target", [{"refId": "A"}, {"refId": "A", "expr": ""}, {"editorMode": "code", "legendFormat": "a_b", "step": 4}])
def test_a_target_that_asks_nothing_says_nothing(target: Json) -> None:
    assert read_dashboard(board(panel(target))).items == ()


@given(st.sampled_from(places(WHOLE)[1:]), st.sampled_from(["drop", "wrap in a list", "wrap in a mapping", "null", "empty", "text"]))
def test_a_mutated_dashboard_never_loses_an_expression_in_silence(path: tuple[Any, ...], how: str) -> None:
    """Every `expr` that is still in the document is in a query or is said."""
    mutated = copy.deepcopy(WHOLE)
    holder: Any = mutated
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    if how == "drop":
        del holder[path[-1]]
    else:
        holder[path[-1]] = {"wrap in a list": [old], "wrap in a mapping": {"x": old}, "null": None, "empty": {}, "text": "x"}[how]
    texts = [i.text for i in read_dashboard(mutated).items]
    assert [e for e in exprs(mutated) if e.strip() and not any(e in t for t in texts)] == []
