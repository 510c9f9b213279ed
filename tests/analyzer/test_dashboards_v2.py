"""Schema v2 says the same as v1 in other words, and gives the same queries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.dashboards import Surroundings, with_elements
from analyzer.references.dashboards_v2 import is_dashboard_v2, read_dashboard_v2
from analyzer.references.queries import Found, Query, Unread
from flowgate.usage import only

Json = dict[str, Any]


def query(text: str, **more: Any) -> Json:
    return {
        "kind": "PanelQuery",
        "spec": {
            "refId": "A",
            "hidden": False,
            "query": {
                "kind": "DataQuery",
                "group": "prometheus",
                "version": "v0",
                "datasource": {"name": "p1"},
                "spec": {"expr": text},
                **more,
            },
        },
    }


def panel(*given: Json, **spec: Any) -> Json:
    data = {"kind": "QueryGroup", "spec": {"queries": list(given), "transformations": spec.pop("transformations", []), "queryOptions": {}}}
    viz = {
        "kind": "VizConfig",
        "group": spec.pop("type", "timeseries"),
        "spec": {"fieldConfig": spec.pop("fieldConfig", {}), "options": {}},
    }
    return {"kind": "Panel", "spec": {"id": 1, "title": "Orders", "links": [], "data": data, "vizConfig": viz, **spec}}


def spec(*panels: Json, **more: Any) -> Json:
    return {
        "title": "Shop",
        "tags": [],
        "elements": {f"panel-{n}": p for n, p in enumerate(panels)},
        "layout": {"kind": "GridLayout", "spec": {"items": []}},
        "variables": [],
        "annotations": [],
        **more,
    }


def resource(inner: Json, version: str = "v2beta1", **more: Any) -> Json:
    return {"apiVersion": f"dashboard.grafana.app/{version}", "kind": "Dashboard", "metadata": {"name": "shop"}, "spec": inner, **more}


def queries(found: Found) -> list[Query]:
    return [i for i in found.items if isinstance(i, Query)]


def unread(found: Found) -> list[Unread]:
    return [i for i in found.items if isinstance(i, Unread)]


V1 = {"title": "Shop", "panels": [{"title": "Orders", "type": "graph", "targets": [{"refId": "A", "expr": "up"}]}]}
ALPHA = {
    "kind": "PanelQuery",
    "spec": {"refId": "A", "datasource": {"type": "prometheus"}, "query": {"kind": "prometheus", "spec": {"expr": "up"}}},
}
SHAPES: list[tuple[str, Json]] = [
    ("a resource", resource(spec(panel(query("up"))))),
    ("stable", resource(spec(panel(query("up"))), "v2")),
    ("the first alpha", resource(spec(panel(ALPHA)), "v2alpha1")),
    ("a bare spec", spec(panel(query("up")))),
    ("without apiVersion", {"kind": "Dashboard", "metadata": {"name": "shop"}, "spec": spec(panel(query("up")))}),
    ("with access", resource(spec(panel(query("up")))) | {"kind": "DashboardWithAccessInfo", "access": {}}),
    ("hidden", resource(spec(panel({"kind": "PanelQuery", "spec": {**query("up")["spec"], "hidden": True}})))),
    ("another layout", resource(spec(panel(query("up")), layout={"kind": "TabsLayout", "spec": {"tabs": [{"kind": "TabsLayoutTab"}]}}))),
    ("v1 in a resource", resource(V1, "v1beta1")),
    ("v1 in the first resource", resource(V1, "v0alpha1")),
]


@pytest.mark.parametrize("document", [d for _, d in SHAPES], ids=[n for n, _ in SHAPES])
def test_a_query_is_found_in_every_version(document: Json) -> None:
    assert is_dashboard_v2(document)
    found = read_dashboard_v2(document)
    (got,) = queries(found)
    assert (got.language, got.role, got.where, got.text) == ("promql", "panel", "Orders", "up")
    assert (found.kind, found.title, unread(found)) == ("grafana_dashboard", "Shop", [])
    assert found.id in ("shop", "Shop")


@pytest.mark.parametrize(
    "document",
    [
        V1,
        {"kind": "Dashboard", "metadata": {"name": "a", "project": "b"}, "spec": {"panels": {"p": {"kind": "Panel"}}, "layouts": []}},
        {"kind": "Dashboard", "apiVersion": "perses.dev/v1alpha2", "spec": {"config": {}}},
        {"elements": {"a": {"kind": "Button"}}},
        {"elements": ["a"], "layout": {}},
        None,
        "x",
    ],
)
def test_other_dashboards_are_not_v2(document: Any) -> None:
    assert not is_dashboard_v2(document)


@pytest.mark.parametrize(
    ("group", "inner", "language"),
    [
        ("prometheus", {"expr": "up"}, "promql"),
        ("loki", {"expr": '{a="b"}'}, "logql"),
        ("tempo", {"query": "{}", "queryType": "traceql"}, "traceql"),
        ("grafana-datadog-datasource", {"query": "avg:a.b{*}"}, "datadog"),
        ("", {"expr": "up"}, "promql"),
    ],
)
def test_the_group_decides_the_language(group: str, inner: Json, language: str) -> None:
    (got,) = queries(read_dashboard_v2(resource(spec(panel(query("", group=group, spec=inner))))))
    assert got.language == language


def test_a_data_source_behind_a_variable_is_its_plugin() -> None:
    variable = {"kind": "DatasourceVariable", "spec": {"name": "ds", "pluginId": "loki"}}
    given = query('{a="b"}', datasource={"name": "${ds}"})
    (got,) = queries(read_dashboard_v2(resource(spec(panel(given), variables=[variable]))))
    assert got.language == "logql"


def test_what_is_no_store_and_what_is_not_read() -> None:
    expression = query("", group="__expr__", spec={"expression": "$A * 2", "type": "math"}, datasource={"name": "__expr__"})
    sql = query("", group="mysql", spec={"rawSql": "SELECT http_requests"})
    found = read_dashboard_v2(resource(spec(panel(expression, sql))))
    assert queries(found) == []
    (item,) = unread(found)
    assert "http_requests" in item.touches


def variable(kind: str, **more: Any) -> Json:
    return {"kind": kind, "spec": {"name": "v", **more}}


VALUES: list[tuple[Json, tuple[str, ...]]] = [
    (variable("CustomVariable", query="a,b", current={"value": "a"}, options=[]), ("a", "b")),
    (variable("ConstantVariable", query="a"), ("a",)),
    (variable("TextVariable", query="a", current={"value": "b"}), ()),
    (variable("TextVariable", query="5m", current={"value": "10m"}), ("5m", "10m")),
    (variable("IntervalVariable", query="1m,5m"), ("1m", "5m")),
    (variable("SwitchVariable", enabledValue="x", disabledValue="y"), ("x", "y")),
    (variable("QueryVariable", query={"kind": "DataQuery", "group": "loki", "spec": {}}), ()),
    (variable("SomeNewVariable", query="a"), ()),
]


@pytest.mark.parametrize(("given", "values"), VALUES)
def test_variables_have_the_values_that_the_dashboard_holds(given: Json, values: tuple[str, ...]) -> None:
    (got, *_) = queries(read_dashboard_v2(resource(spec(panel(query("up")), variables=[given]))))
    assert got.variables.get("v", ()) == values


@pytest.mark.parametrize(
    "inner",
    [
        {"query": "label_values(up, job)", "refId": "x"},
        {"__legacyStringValue": "label_values(up, job)"},
        {"qryType": 1, "metric": "up", "label": "job"},
    ],
)
def test_a_query_variable_needs_what_it_shows(inner: Json) -> None:
    given = variable("QueryVariable", query={"kind": "DataQuery", "group": "prometheus", "spec": inner})
    (got,) = queries(read_dashboard_v2(resource(spec(variables=[given]))))
    assert (got.role, got.evaluated, got.root, got.operator) == ("variable", "up", only("job"), "exists")


def test_a_query_variable_of_the_first_alpha_is_text() -> None:
    given = variable("QueryVariable", query="label_values(up, job)", datasource={"type": "prometheus", "uid": "p"})
    (got,) = queries(read_dashboard_v2(resource(spec(variables=[given]), "v2alpha1")))
    assert got.evaluated == "up"


@pytest.mark.parametrize("kind", ["AdhocVariable", "GroupByVariable"])
@pytest.mark.parametrize(("name", "explorable"), [("p1", True), ("p2", False), (None, True)])
def test_ad_hoc_filters_make_queries_explorable(kind: str, name: str | None, explorable: bool) -> None:
    given = {**variable(kind), "group": "prometheus", "datasource": {"name": name} if name else {}}
    (got,) = queries(read_dashboard_v2(resource(spec(panel(query("up")), variables=[given]))))
    assert got.explorable is explorable


@pytest.mark.parametrize(
    "inner",
    [
        {"query": {"kind": "DataQuery", "group": "prometheus", "spec": {"expr": "up"}}},
        {"query": {"kind": "DataQuery", "group": "prometheus", "spec": {}}, "legacyOptions": {"expr": "up", "titleFormat": "{{x}}"}},
        {"target": {"expr": "up"}},
    ],
)
def test_an_annotation_is_read(inner: Json) -> None:
    given = {"kind": "AnnotationQuery", "spec": {"name": "deploys", "enable": False, **inner}}
    (got,) = queries(read_dashboard_v2(resource(spec(annotations=[given]))))
    assert (got.role, got.text) == ("annotation", "up")


STUB = {"kind": "LibraryPanel", "spec": {"id": 2, "title": "", "libraryPanel": {"uid": "lib1", "name": "Shared"}}}


def test_a_library_panel_is_resolved_or_said_to_be_missing() -> None:
    model = {"title": "Shared", "type": "graph", "targets": [{"refId": "A", "expr": "up"}]}
    around = with_elements(Surroundings(), [{"uid": "lib1", "name": "Shared", "model": model}])
    (got,) = queries(read_dashboard_v2(resource(spec(STUB)), around))
    assert got.text == "up"
    (item,) = unread(read_dashboard_v2(resource(spec(STUB))))
    assert item.touches == ()
    assert "Shared" in item.reason


def test_transformations_overrides_and_legends_mention_labels() -> None:
    shown = panel(
        query("", spec={"expr": "up", "legendFormat": "{{pod}}", "format": "table"}),
        transformations=[{"kind": "organize", "spec": {"id": "organize", "options": {"renameByName": {"ns": "N"}}}}],
        fieldConfig={"overrides": [{"matcher": {"id": "byName", "options": "zone"}}]},
    )
    (got,) = queries(read_dashboard_v2(resource(spec(shown))))
    assert got.mentioned == {"pod", "ns", "zone"}


def test_what_is_not_known_is_said() -> None:
    strange = {"kind": "Robot", "spec": {"asks": "http_requests_total"}}
    (item,) = unread(read_dashboard_v2(resource(spec(panel(), strange))))
    assert "http_requests_total" in item.touches
    (whole,) = unread(read_dashboard_v2(resource({"title": "x", "boxes": {}}, "v7")))
    assert whole.touches == ()


def test_a_query_in_an_unknown_place_is_still_read() -> None:
    (got,) = queries(read_dashboard_v2(resource(spec(panel(), more={"deep": [{"expr": "up"}]}))))
    assert got.text == "up"


def test_the_folder_is_the_owner() -> None:
    document = resource(spec(), metadata={"name": "shop", "namespace": "default", "annotations": {"grafana.app/folder": "f1"}})
    assert read_dashboard_v2(document).owner == "f1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["spec", "kind", "elements", "query", "group", "datasource", "name", "expr", "variables", "annotations", "data", "queries", "vizConfig",
         "libraryPanel", "transformations", "options", "metadata", "apiVersion", "layout", "legacyOptions", "refId"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_nothing_makes_the_reader_raise(value: Any) -> None:
    is_dashboard_v2(value)
    read_dashboard_v2(resource(value if isinstance(value, dict) else {}))
    read_dashboard_v2(spec(elements=value, variables=value, annotations=value))
