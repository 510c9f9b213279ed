"""Which language a query is in, by the data sources that its own surroundings know: those of another Grafana never decide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analyzer.references.dashboards import Surroundings, read_dashboard
from analyzer.references.inventory import Input, read_inputs
from analyzer.references.queries import Query
from analyzer.usage import read_usage
from flowgate.advice import Usage
from flowgate.telemetry import Signal
from tests.analyzer.test_usage import parse

PROMQL = "sum(rate(logins_total[5m]))"
EITHER = 'sum(rate({app="cart"}[5m]))'
"""Valid in PromQL and in LogQL."""


def sources(*listed: tuple[str, str] | tuple[str, str, bool]) -> str:
    """As provisioned: uid, type, and whether it is the default."""
    made = [{"name": f"name of {s[0]}", "uid": s[0], "type": s[1], "access": "proxy", "isDefault": len(s) > 2} for s in listed]
    return json.dumps({"apiVersion": 1, "datasources": made})


def board(datasource: Any, expr: str = EITHER, target: Any = None, **fields: Any) -> str:
    query = {"refId": "A", **(fields or {"expr": expr}), **({"datasource": target} if target is not None else {})}
    panel = {"title": "p", "type": "timeseries", "datasource": datasource, "targets": [query]}
    return json.dumps({"title": "t", "uid": "t", "schemaVersion": 39, "panels": [panel]})


def languages(*inputs: Input) -> dict[str, list[str]]:
    """Of each input's documents, the languages of their queries; what is protected and not read is `unread`."""
    found: dict[str, list[str]] = {}
    for document in read_inputs(inputs).documents:
        said = [i.language if isinstance(i, Query) else "unread" for i in document.found.items]
        found.setdefault(document.path, []).extend(said)
    return found


def test_two_grafanas_that_use_one_uid_for_two_data_sources_are_kept_apart() -> None:
    found = languages(
        Input("a/board", board({"uid": "main"}), scope="a", live=True),
        Input("a/sources", sources(("main", "prometheus")), scope="a", live=True),
        Input("b/board", board({"uid": "main"}), scope="b", live=True),
        Input("b/sources", sources(("main", "loki")), scope="b", live=True),
    )
    assert found == {"a/board": ["promql"], "b/board": ["logql"]}


@pytest.mark.parametrize("live", [True, False])
def test_an_argument_or_source_that_knows_nothing_does_not_believe_another(live: bool) -> None:
    """Were it believed that `main` is Loki, damaged PromQL would be LogQL, which reads no metric."""
    given = [
        Input("b", board({"uid": "main"}, "logins_total{"), scope="b", live=live),
        Input("a", sources(("main", "loki")), scope="a", live=live),
    ]
    usage = read_usage(given, parse)
    assert [s.touches for s in usage.blind_spots] == [("logins_total",)]


def test_files_hear_of_each_other_where_they_agree() -> None:
    """`query` is a field of many plugins: that its data source is Prometheus is said in another argument."""
    fields = {"query": PROMQL}
    asked = Input("b", board({"uid": "main"}, **fields), scope="1")
    assert languages(asked) == {"b": ["unread"]}
    assert languages(asked, Input("s", sources(("main", "prometheus")), scope="2")) == {"b": ["promql"]}
    disputed = [Input(f"s{k}", sources(("main", kind)), scope=f"2{k}") for k, kind in enumerate(["prometheus", "elasticsearch"])]
    assert languages(asked, *disputed) == {"b": ["unread"]}
    assert languages(asked, *disputed, Input("own", sources(("main", "prometheus")), scope="1")) == {"b": ["promql"]}
    assert languages(
        Input("b", board({"uid": "main"}, **fields), scope="1", live=True), Input("s", sources(("main", "prometheus")), scope="2")
    ) == {"b": ["unread"]}


def test_one_argument_that_says_two_things_of_a_name_has_said_nothing() -> None:
    both = [Input("s1", sources(("main", "prometheus"))), Input("s2", sources(("main", "loki")))]
    assert languages(Input("b", board({"uid": "main"})), *both) == {"b": ["promql"]}
    assert languages(Input("b", board({"uid": "main"}, '{app="cart"} |= "x"')), *both) == {"b": ["logql"]}


@pytest.mark.parametrize(
    ("own", "language"),
    [(True, "promql"), (False, "logql")],
    ids=["fetched together: Grafana's list decides", "files: the dashboard's own word is nearer"],
)
def test_a_type_that_a_dashboard_writes_itself(own: bool, language: str) -> None:
    datasource = {"uid": "main", "type": "loki"}
    found = languages(Input("b", board(datasource), scope="s", live=own), Input("s", sources(("main", "prometheus")), scope="s", live=own))
    assert found["b"] == [language]


# The default data source

DEFAULTS = [None, "", "default", "-- Default --", {}, {"uid": None}, {"uid": "default"}, {"uid": "", "type": ""}]


@pytest.mark.parametrize("reference", DEFAULTS, ids=str)
@pytest.mark.parametrize("live", [True, False])
def test_a_panel_that_names_no_data_source_asks_the_default_one(reference: Any, live: bool) -> None:
    asked = Input("b", board(reference, query=PROMQL), scope="s", live=live)
    for kind, language in {"prometheus": "promql", "influxdb": "unread", "elasticsearch": "unread"}.items():
        assert languages(asked, Input("d", sources(("other", "loki"), ("main", kind, True)), scope="s", live=live)) == {"b": [language]}


@pytest.mark.parametrize("named", ["", "-- Mixed --", {"uid": "-- Mixed --"}, {"uid": "-- Mixed --", "type": "datasource"}], ids=str)
def test_a_targets_own_data_source_is_asked_before_the_default(named: Any) -> None:
    given = sources(("main", "elasticsearch", True), ("prom", "prometheus"))
    assert languages(Input("b", board(named, query=PROMQL, target={"uid": "prom"})), Input("d", given)) == {"b": ["promql"]}


def test_a_data_source_that_is_named_and_not_known_is_not_the_default() -> None:
    """Nor is a variable that nobody explains: its `query` is protected by its names."""
    given = Input("d", sources(("main", "loki", True)))
    for reference in ("gone", {"uid": "gone"}, "${DS_GONE}", {"uid": "$gone"}):
        assert languages(Input("b", board(reference, query=PROMQL)), given) == {"b": ["unread"]}
        assert languages(Input("b", board(reference)), given) == {"b": ["promql"]}


def test_two_defaults_of_different_types_are_none() -> None:
    given = [Input("d1", sources(("a", "prometheus", True))), Input("d2", sources(("b", "influxdb", True)))]
    assert languages(Input("b", board(None, query=PROMQL)), *given) == {"b": ["unread"]}


@pytest.mark.parametrize("expression", [PROMQL, "logins_total{", "logins_total + up"])
@pytest.mark.parametrize("kind", ["loki", "tempo", "elasticsearch", "influxdb", "stackdriver", "datadog", "graphite", "nobody-knows"])
def test_the_default_never_takes_a_metric_away(kind: str, expression: str) -> None:
    """A dashboard may have been made where another one was the default."""
    usage = read_usage([Input("b", board(None, expression)), Input("d", sources(("main", kind, True)))], parse)
    assert reads(usage, "logins_total")


def reads(usage: Usage, name: str) -> bool:
    used = {u.name for r in usage.references for u in r.uses if u.signal is Signal.METRICS}
    return name in used or any(not s.touches or name in s.touches for s in usage.blind_spots if s.kind == "hiding")


@pytest.mark.parametrize(
    "name", ["tempo-metrics", "Datadog", "google-cloud-monitoring", "jaeger", "my loki", "grafana-cloud", "$ds", "logs"]
)
@pytest.mark.parametrize("where", ["panel", "target"])
def test_a_data_source_that_is_only_a_name_loses_no_metric(name: str, where: str) -> None:
    document = board(name) if where == "panel" else board(None, target=name)
    document = document.replace(json.dumps(EITHER), json.dumps(PROMQL))
    assert reads(read_usage([Input("b", document)], parse), "logins_total")


def test_a_variable_and_an_annotation_ask_the_default_too() -> None:
    listed = [{"name": "v", "type": "query", "query": "label_values(logins_total, app)"}]
    document = {"title": "t", "templating": {"list": listed}, "annotations": {"list": [{"name": "a", "query": PROMQL}]}}
    known = read_dashboard(document, Surroundings(default="prometheus"))
    assert [i.language if isinstance(i, Query) else "unread" for i in known.items] == ["promql", "promql"]
    other = read_dashboard(document, Surroundings(default="influxdb"))
    assert [i.language if isinstance(i, Query) else "unread" for i in other.items] == ["promql", "unread"]


# Library panels


def element(expr: str) -> str:
    model = {"type": "stat", "targets": [{"refId": "A", "expr": expr}], "datasource": {"type": "prometheus"}}
    return json.dumps({"result": {"uid": "lib", "name": "lib", "model": model}})


STUB = json.dumps({"title": "t", "schemaVersion": 39, "panels": [{"title": "p", "libraryPanel": {"uid": "lib", "name": "lib"}}]})


def expressions(*inputs: Input) -> list[tuple[str, str]]:
    return [(d.path, i.text if isinstance(i, Query) else i.reason) for d in read_inputs(inputs).documents for i in d.found.items]


MISSING = "the library panel lib (lib) is not among the documents"


def test_a_library_panel_of_one_grafana_is_not_shown_in_another() -> None:
    found = expressions(
        Input("a/board", STUB, scope="a", live=True),
        Input("a/lib", element("a_total"), scope="a", live=True),
        Input("b/board", STUB, scope="b", live=True),
        Input("b/lib", element("b_total"), scope="b", live=True),
        Input("c/board", STUB, scope="c", live=True),
    )
    assert found == [("a/board", "a_total"), ("b/board", "b_total"), ("c/board", MISSING)]


def test_a_library_panel_that_nobody_in_its_own_grafana_shows_is_read_alone() -> None:
    given = [Input("a/lib", element("a_total"), scope="a", live=True), Input("b/board", STUB, scope="b", live=True)]
    assert expressions(*given) == [("a/lib", "a_total"), ("b/board", MISSING)]


def test_files_share_their_library_panels_where_these_agree() -> None:
    asked = Input("board", STUB, scope="1")
    assert expressions(asked, Input("lib", element("a_total"), scope="2")) == [("board", "a_total")]
    assert expressions(asked, Input("lib", element("a_total"), scope="2", live=True))[0] == ("board", "a_total")
    two = [Input(f"lib{k}", element(f"{k}_total"), scope=f"2{k}") for k in "ab"]
    assert expressions(asked, *two) == [("board", MISSING)]
    assert expressions(asked, *two, Input("own", element("own_total"), scope="1")) == [("board", "own_total")]
