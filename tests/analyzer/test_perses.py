"""Perses dashboards and variables: each plugin's query in its language, with what the document reads of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.perses import READERS
from analyzer.references.queries import Found
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, only
from tests.analyzer.foreign import DOCUMENTS, broken, lost, one, queries, read, texts, unreads


def read_(document: Any) -> Found | None:
    return read(READERS, document)


def plugin(kind: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "spec": spec}


def panel(*queries_: Any, table: Any = None) -> dict[str, Any]:
    found = [{"kind": "TimeSeriesQuery", "spec": {"plugin": q}} for q in queries_]
    return {"kind": "Panel", "spec": {"display": {"name": "Requests"}, "plugin": plugin("Table", **(table or {})), "queries": found}}


def listed(name: str, of: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "ListVariable", "spec": {"name": name, "allowMultiple": True, "plugin": of, **more}}


def board(*panels: Any, variables: Any = (), **more: Any) -> dict[str, Any]:
    spec = {
        "display": {"name": "Shop"},
        "panels": {f"p{i}": p for i, p in enumerate(panels)},
        "layouts": [],
        "variables": list(variables),
        **more,
    }
    return {"kind": "Dashboard", "metadata": {"name": "shop", "project": "team-a"}, "spec": spec}


PROMQL = plugin(
    "PrometheusTimeSeriesQuery", query='sum by (job) (rate(m{job="$job"}[$__rate_interval]))', seriesNameFormat="{{job}} of {{ pod }}"
)


def test_a_panels_query_has_its_legend_and_the_documents_variables() -> None:
    variables = [listed("job", plugin("StaticListVariable", values=["a", {"label": "B", "value": "b"}]))]
    found = read_(board(panel(PROMQL), variables=variables))
    query = one(found)
    assert (query.language, query.role, query.where, query.text) == ("promql", "panel", "Requests", PROMQL["spec"]["query"])
    assert (query.mentioned, query.root, query.variables) == ({"job", "pod"}, EVERY_LABEL, {"job": ("a", "b")})
    assert found is not None
    assert (found.kind, found.id, found.title, found.owner) == ("perses_dashboard", "team-a/shop", "Shop", "team-a")


def resource(document: Any, **config: Any) -> dict[str, Any]:
    return {
        "apiVersion": "perses.dev/v1alpha1",
        "kind": "PersesDashboard",
        "metadata": {"name": "shop", "namespace": "ns"},
        "spec": config or document["spec"],
    }


@pytest.mark.parametrize(
    "document",
    [
        resource(board(panel(PROMQL))),
        resource(None, config=board(panel(PROMQL))["spec"], instanceSelector={}),
        {**board(panel(PROMQL)), "kind": "EphemeralDashboard"},
    ],
)
def test_a_dashboard_is_read_in_every_wrapping(document: Any) -> None:
    assert texts(read_(document)) == [PROMQL["spec"]["query"]]


@pytest.mark.parametrize(
    ("kind", "language"),
    [
        ("PrometheusTimeSeriesQuery", "promql"),
        ("LokiLogQuery", "logql"),
        ("LokiTimeSeriesQuery", "logql"),
        ("LokiQuery", "logql"),
        ("TempoTraceQuery", "traceql"),
    ],
)
def test_a_plugins_kind_is_its_language(kind: str, language: str) -> None:
    assert one(read_(board(panel(plugin(kind, query="q"))))).language == language


@pytest.mark.parametrize(
    ("found", "touches"),
    [
        (plugin("ClickHouseTimeSeriesQuery", query="SELECT my_metric FROM x"), {"my_metric"}),
        (plugin("CloudWatchTimeSeriesQuery", metrics=[{"name": "my_metric"}]), {"my_metric"}),
        (plugin("PrometheusTimeSeriesQuery", quer="my_metric"), {"my_metric"}),
        (plugin("PrometheusTimeSeriesQuery"), None),
        ({}, None),
        ("my_metric", {"my_metric"}),
    ],
)
def test_a_query_that_is_not_read_protects_the_names_in_it(found: Any, touches: set[str] | None) -> None:
    (item,) = unreads(read_(board(panel(found))))
    assert not item.narrowing
    assert item.where == "Requests"
    assert (touches is None and item.touches == ()) or (touches is not None and touches <= set(item.touches))


def test_alerts_and_profiles_hide_no_reader() -> None:
    for kind in ("AlertManagerAlertsQuery", "PyroscopeProfileQuery"):
        (item,) = unreads(read_(board(panel(plugin(kind)))))
        assert item.narrowing


def test_columns_and_joins_of_a_table_are_mentioned() -> None:
    table = {
        "columnSettings": [{"name": "pod", "hide": True}, {"name": "timestamp"}, {"name": "value #1"}],
        "transforms": [plugin("JoinByColumnValue", columns=["node"])],
    }
    assert one(read_(board(panel(PROMQL, table=table)))).mentioned == {"job", "pod", "node"}


def test_a_panel_without_queries_is_no_blind_spot() -> None:
    assert read_(board(panel(), {"kind": "Panel", "spec": {"plugin": plugin("Markdown", text="up")}})) is not None
    assert not unreads(read_(board(panel())))


VARIABLES: list[tuple[Any, list[tuple[str, str, LabelSet, str, frozenset[str]]]]] = [
    (
        plugin("PrometheusLabelValuesVariable", labelName="pod", matchers=['up{a="$b"}', "matched_metric"]),
        [
            ("promql", 'up{a="$b"}', only("pod"), "exists", frozenset({"pod"})),
            ("promql", "matched_metric", only("pod"), "exists", frozenset({"pod"})),
        ],
    ),
    (plugin("PrometheusLabelValuesVariable", labelName="pod"), [("names", ".*", only("pod"), "exists", frozenset({"pod"}))]),
    (plugin("PrometheusLabelValuesVariable", labelName="$l", matchers=["up"]), [("promql", "up", EVERY_LABEL, "exists", frozenset())]),
    (plugin("PrometheusLabelNamesVariable", matchers=["up"]), [("promql", "up", NO_LABEL, "exists", frozenset())]),
    (plugin("PrometheusLabelNamesVariable"), [("names", ".*", NO_LABEL, "exists", frozenset())]),
    (
        plugin("PrometheusPromQLVariable", expr="group by (pod) (up)", labelName="pod"),
        [("promql", "group by (pod) (up)", only("pod"), "exists", frozenset({"pod"}))],
    ),
    (plugin("PrometheusPromQLVariable", expr="up"), [("promql", "up", EVERY_LABEL, "none", frozenset())]),
    (plugin("LokiLogQLVariable", expr='{a="b"}'), [("logql", '{a="b"}', EVERY_LABEL, "none", frozenset())]),
    (plugin("StaticListVariable", values=["a"]), []),
    (plugin("DatasourceVariable", datasourcePluginKind="x"), []),
]


@pytest.mark.parametrize(("of", "expected"), VARIABLES)
def test_a_variable_needs_what_it_lists(of: Any, expected: list[Any]) -> None:
    for document in (
        board(variables=[listed("v", of)]),
        {"kind": "Variable", "metadata": {"name": "v", "project": "p"}, "spec": {"kind": "ListVariable", "spec": {"plugin": of}}},
        {"kind": "GlobalVariable", "metadata": {"name": "v"}, "spec": {"kind": "ListVariable", "spec": {"plugin": of}}},
    ):
        found = read_(document)
        assert [(q.language, q.evaluated, q.root, q.operator, q.mentioned) for q in queries(found)] == expected
        assert {q.role for q in queries(found)} <= {"variable"}
        assert not unreads(found)


@pytest.mark.parametrize(
    "of",
    [
        plugin("InfluxVariable", query="my_metric"),
        plugin("PrometheusPromQLVariable", expr=None),
        plugin("PrometheusLabelValuesVariable", labelName="a", matchers=[None]),
    ],
)
def test_a_variable_that_is_not_read_is_said(of: Any) -> None:
    assert unreads(read_(board(variables=[listed("v", of)])))


def test_values_of_variables_are_known_only_where_the_document_says_them() -> None:
    variables = [
        {"kind": "TextVariable", "spec": {"name": "typed", "value": "x"}},
        {"kind": "TextVariable", "spec": {"name": "fixed", "value": "x", "constant": True}},
        listed("some", plugin("StaticListVariable", values=["a", "b"]), allowAllValue=True, customAllValue=".*"),
        listed("asked", plugin("PrometheusPromQLVariable", expr="up", labelName="a")),
    ]
    query = next(q for q in queries(read_(board(panel(PROMQL), variables=variables))) if q.role == "panel")
    assert query.variables == {"typed": (), "fixed": ("x",), "some": ("a", "b", ".*"), "asked": ()}


def test_an_annotation_is_a_query() -> None:
    found = read_(
        board(annotations=[{"display": {"name": "deploys"}, "plugin": plugin("PrometheusPromQLAnnotation", expr="changes(v[1m])")}])
    )
    assert [(q.role, q.text) for q in queries(found)] == [("annotation", "changes(v[1m])")]


@pytest.mark.parametrize(
    "document",
    [
        resource(None, display={}),
        board() | {"spec": {"panels": [1], "layouts": []}},
        board() | {"spec": {"panels": {"a": None}}},
        board() | {"spec": {"panels": {"a": {"spec": {"queries": {"a": "b"}}}}}},
        board() | {"spec": {"panels": {}, "variables": {"a": "b"}}},
        board(old=[{"targets": [{"expr": "up"}]}]),
    ],
)
def test_a_broken_dashboard_is_said(document: Any) -> None:
    assert unreads(read_(document))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "spec": {"elements": {}, "layout": {}, "panels": {}}},
        {"kind": "Dashboard", "spec": {"elements": {}}},
        {"kind": "PersesDatasource", "spec": {}},
        {"kind": "PersesDashboard", "name": "persesdashboards.perses.dev", "version": "v1alpha1"},
        {"apiVersion": "perses.dev/v1alpha1", "kind": "PersesDashboard", "metadata": {"name": "to-delete"}},
        {"kind": "GlobalDatasource", "spec": {"plugin": {}}},
        {"kind": "Variable", "spec": {"type": "x"}},
        {"panels": [], "title": "x"},
    ],
)
def test_documents_of_other_kinds_are_left_to_others(document: Any) -> None:
    assert read_(document) is None


@given(DOCUMENTS, st.sampled_from(["Dashboard", "PersesDashboard", "Variable", "PersesVariable"]))
def test_no_document_raises(document: Any, kind: str) -> None:
    for reader in READERS:
        reader(document)
        reader({"kind": kind, "spec": document})
        reader({"kind": kind, "spec": {"panels": {"a": {"spec": document}}, "variables": [{"kind": "ListVariable", "spec": document}]}})


FULL = board(
    panel(PROMQL, plugin("LokiLogQuery", query='{a="b"}')),
    panel(PROMQL),
    variables=[listed(f"v{i}", of) for i, (of, _) in enumerate(VARIABLES)],
)
EXPRESSIONS = [PROMQL["spec"]["query"], '{a="b"}', 'up{a="$b"}', "matched_metric", "group by (pod) (up)"]


@given(st.sampled_from([FULL, resource(FULL)]).flatmap(broken))
def test_a_broken_document_never_loses_an_expression_in_silence(document: Any) -> None:
    assert lost(read_(document), document, EXPRESSIONS) == []
