"""Documents are found in every wrapping, once; what does not load, and what is only pointed at, is a document that says so."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.references.inventory import Input, Inventory, Skipped, read_inputs
from analyzer.references.loading import load
from analyzer.references.queries import Found, Query, Unread
from analyzer.references.wrappings import MAX_DOCUMENT_BYTES

Json = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "usage"


def board(expr: str = "up", uid: str = "shop", **more: Any) -> Json:
    return {
        "title": "Shop",
        "uid": uid,
        "schemaVersion": 39,
        "panels": [{"title": "P", "type": "graph", "targets": [{"refId": "A", "expr": expr}]}],
        **more,
    }


RULES = {"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": "sum(up)"}]}]}
STUB = {"id": 1, "gridPos": {}, "libraryPanel": {"uid": "lib1", "name": "Shared"}}
ELEMENT = {
    "uid": "lib1",
    "name": "Shared",
    "kind": 1,
    "model": {"title": "Shared", "type": "graph", "targets": [{"refId": "A", "expr": "lib"}]},
}


def read(*texts: str | Input | Json) -> Inventory:
    given_inputs = [
        t if isinstance(t, Input) else Input(f"f{n}.yaml", t if isinstance(t, str) else json.dumps(t)) for n, t in enumerate(texts)
    ]
    return read_inputs(given_inputs)


def paths(inventory: Inventory) -> list[str]:
    return [d.path for d in inventory.documents]


def texts(inventory: Inventory) -> list[str]:
    return [i.text for d in inventory.documents for i in d.found.items if isinstance(i, Query)]


def unread(inventory: Inventory) -> list[Unread]:
    return [i for d in inventory.documents for i in d.found.items if isinstance(i, Unread)]


# Wrappings


def resource(kind: str, **more: Any) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "shop", "namespace": "mon"}, **more}


def operators(**spec: Any) -> Json:
    return {**resource("GrafanaDashboard", spec=spec), "apiVersion": "grafana.integreatly.org/v1beta1"}


def encoded(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


Wrap = Callable[[Any], Any]
WRAPPINGS: dict[str, Wrap] = {
    "an envelope": lambda b: {"meta": {"folderTitle": "Shops"}, "dashboard": b},
    "an import": lambda b: {"dashboard": b, "folderUid": "x", "overwrite": True},
    "an array": lambda b: [b],
    "a list": lambda b: resource("List", items=[b]),
    "a ConfigMap": lambda b: resource("ConfigMap", data={"shop.json": json.dumps(b)}),
    "a ConfigMap of another suffix": lambda b: resource("ConfigMap", data={"shop": json.dumps(b)}),
    "a list of ConfigMaps": lambda b: resource("ConfigMapList", items=[resource("ConfigMap", data={"shop.json": json.dumps(b)})]),
    "a packed ConfigMap": lambda b: resource("ConfigMap", binaryData={"shop.json.gz": encoded(gzip.compress(json.dumps(b).encode()))}),
    "a Secret": lambda b: resource("Secret", data={"shop.json": encoded(b)}),
    "a Secret as text": lambda b: resource("Secret", stringData={"shop.json": json.dumps(b)}),
    "an operator's text": lambda b: operators(json=json.dumps(b)),
    "an operator's gzip": lambda b: operators(gzipJson=encoded(gzip.compress(json.dumps(b).encode()))),
    "values of a chart": lambda b: {"grafana": {"dashboards": {"default": {"shop": {"json": json.dumps(b)}}}}},
    "values as a mapping": lambda b: {"shop": {"dashboard": b}, "replicas": 2},
    "Terraform": lambda b: {"resource": {"grafana_dashboard": {"shop": {"config_json": json.dumps(b)}}}},
    "Crossplane": lambda b: {**resource("Dashboard", spec={"forProvider": {"configJson": json.dumps(b)}}), "apiVersion": "oss.grafana.crossplane.io/v1alpha1"},
    "versions": lambda b: {"versions": [{"id": 1, "data": b}]},
}  # fmt: skip


OF_DASHBOARDS = ("an envelope", "an import")
WRAPPED = [(n, board(), "up") for n in WRAPPINGS] + [(n, RULES, "sum(up)") for n in WRAPPINGS if n not in OF_DASHBOARDS]


@pytest.mark.parametrize(("name", "document", "text"), WRAPPED)
def test_a_document_is_found_in_every_wrapping(name: str, document: Json, text: str) -> None:
    inventory = read(WRAPPINGS[name](document))
    assert texts(inventory) == [text]
    assert len(inventory.documents) == 1
    assert unread(inventory) == []


@settings(max_examples=300)
@given(st.lists(st.sampled_from(sorted(WRAPPINGS)), max_size=4), st.booleans())
def test_any_wrappings_in_any_order_give_the_same_queries_once(names: list[str], as_yaml: bool) -> None:
    document: Any = board("rate(a[5m])")
    for name in names:
        document = WRAPPINGS[name](document)
    text = json.dumps(document)
    inventory = read(f"---\n{text}\n---\n" if as_yaml else text)
    assert texts(inventory) == ["rate(a[5m])"]


LOADS: list[tuple[str, str]] = [
    ("JSON", json.dumps(board())),
    ("JSON with a byte order mark", "\ufeff" + json.dumps(board())),
    ("indented JSON", "\n\n  " + json.dumps(board(), indent=2)),
    ("JSON with comments", "// ours\n" + json.dumps(board(), indent=1).replace('"title"', '/* "x" */ "title"', 1)),
    ("JSON with a comma too many", json.dumps(board()).replace("]}]", "],}],", 1)),
    ("YAML", "title: Shop\npanels:\n- title: P\n  targets:\n  - expr: up\n"),
    ("YAML with comments", "# ours\n---\ntitle: Shop\npanels:\n- title: P # x\n  targets: [{expr: up}]\n"),
    ("YAML with aliases", "x: &t [{expr: up}]\ntitle: Shop\npanels:\n- title: P\n  targets: *t\n"),
    ("YAML with merge keys", "x: &t {expr: up}\ntitle: Shop\npanels:\n- targets:\n  - <<: *t\n    refId: A\n"),
    ("YAML in flow style", "{title: Shop, panels: [{targets: [{expr: up}]}]}"),
    ("YAML of two documents, one empty", "---\n---\n" + json.dumps(board()) + "\n"),
    ("YAML with a byte order mark", "\ufefftitle: Shop\npanels: [{targets: [{expr: up}]}]\n"),
]


@pytest.mark.parametrize("text", [t for _, t in LOADS], ids=[n for n, _ in LOADS])
def test_a_text_is_loaded_however_it_is_written(text: str) -> None:
    inventory = read(text)
    assert texts(inventory) == ["up"]
    assert paths(inventory) == ["f0.yaml"]
    assert unread(inventory) == []


def test_json_lines_and_documents_of_yaml_have_keys() -> None:
    two = json.dumps(board("one", "a")) + "\n" + json.dumps(board("two", "b"))
    assert paths(read(two)) == ["f0.yaml#0", "f0.yaml#1"]
    assert texts(read(two)) == ["one", "two"]
    yaml = "\n---\n".join(json.dumps(b) for b in (board("one", "a"), board("two", "b"), RULES))
    assert texts(read(yaml)) == ["one", "two", "sum(up)"]


BROKEN: list[tuple[str, str, str]] = [
    ("truncated JSON", json.dumps(board())[:-20], "not readable"),
    ("bad YAML", "groups:\n - name: g\n  rules: [", "not readable"),
    ("a key twice in YAML", "groups: []\ngroups: []\n", "duplicate"),
    ("a tab in YAML", "groups:\n\t- name: x\n", "not readable"),
    ("a chart's template", "{{- if .Values.rules }}\ngroups:\n- name: g\n{{- end }}\n", "template"),
    ("a template in a value", "groups: {{ .Values.groups }}\n", "template"),
    ("a playbook's template", "groups:\n{% for g in x %}\n- name: g\n{% endfor %}\n", "template"),
    ("JSON too deep", '{"groups": ' * 300 + "1" + "}" * 300, "deeper"),
    ("JSON far too deep", "[" * 100_000, "deep"),
    ("YAML too deep", "a: " + "[" * 1000 + "]" * 1000, "not readable"),
    ("JSON that is cut after a legend", '{"x": [{"legend": "{{pod}}"}, {"titl', "not|template"),
    ("an anchor that is not there", "a: *x\n", "not readable"),
    ("a bomb of aliases", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefghi", "bcdefghij", strict=True)), "not readable"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [(t, r) for _, t, r in BROKEN], ids=[n for n, _, _ in BROKEN])
def test_what_does_not_load_may_read_any_name(text: str, reason: str) -> None:
    inventory = read(text)
    (document,) = inventory.documents
    (item,) = unread(inventory)
    assert document.found.kind == "unreadable"
    assert re.search(reason, item.reason)
    assert (item.touches, item.narrowing) == ((), False)


def test_one_bad_document_does_not_take_the_others_with_it() -> None:
    inventory = read(f"{json.dumps(board())}\n---\ngroups: [\n---\n{json.dumps(RULES)}\n")
    assert sorted(texts(inventory)) == ["sum(up)", "up"]
    assert len(unread(inventory)) == 1
    lines = read(json.dumps(board()) + '\n{"title": "cut')
    assert texts(lines) == ["up"]
    assert len(unread(lines)) == 1


def test_a_broken_text_in_a_ConfigMap_is_said_with_its_key() -> None:
    inventory = read(resource("ConfigMap", data={"a.json": '{"panels": [', "b.json": json.dumps(board())}))
    assert dict(zip(paths(inventory), (d.found.kind for d in inventory.documents), strict=True)) == {
        "f0.yaml#a.json": "unreadable",
        "f0.yaml#b.json": "grafana_dashboard",
    }


def test_a_key_that_stands_twice_hides_nothing_silently() -> None:
    text = '{"title": "x", "panels": [{"targets": [{"expr": "lost_metric"}]}], "panels": [{"targets": [{"expr": "up"}]}]}'
    inventory = read(text)
    assert texts(inventory) == ["up"]
    (item,) = unread(inventory)
    assert "lost_metric" in item.touches
    assert unread(read('{"title": "x", "panels": [], "panels": [], "id": 1, "id": 2}')) == []


def test_a_key_that_lost_a_quote_hides_nothing_silently() -> None:
    text = '{"title": "x", "panels": [{"datasource": {"type": "prometheus"}, "targets": [{expr": "lost_metric"}, {"expr": "up"}]}]}'
    inventory = read(text)
    assert texts(inventory) == ["up"]
    assert all("lost_metric" in item.touches for item in unread(inventory))
    assert [item.where for item in unread(inventory)] == ["panel", 'key expr"']
    assert unread(read(text.replace('{expr":', "{expr:"))) == []


def test_a_tag_that_nobody_evaluates_lowers_nothing_silently() -> None:
    inventory = read("groups:\n- name: g\n  rules:\n  - alert: a\n    expr: up\n    labels: !include x.yaml\n")
    assert texts(inventory) == ["up"]
    assert any("!include" in i.reason and i.touches == () for i in unread(inventory))
    assert read("Resources:\n  A: !Ref B\n").documents == ()


# What is no document

NOTHING: list[tuple[str, str, str]] = [
    ("a Deployment", json.dumps(resource("Deployment", spec={"replicas": 1})), "Deployment"),
    ("a schema", json.dumps(resource("CustomResourceDefinition", spec={"expr": "x{"})), "schema"),
    ("a ConfigMap of scripts", json.dumps(resource("ConfigMap", data={"run.sh": "#!/bin/sh\necho hello world"})), "ConfigMap"),
    ("values", "replicas: 1\nimage: {tag: x}\n", "nothing in it is a query"),
    ("a search", json.dumps([{"id": 1, "uid": "a", "title": "Shop", "type": "dash-db", "url": "/d/a", "tags": []}]), "search result"),
    ("an empty file", "", "empty"),
    ("comments alone", "# nothing\n---\n", "empty"),
    ("words", "just some words\nand more of them\n", "plain text"),
    ("a template of a Deployment", "{{- if .Values.x }}\nkind: Deployment\n{{- end }}\n", "template"),
    (
        "data sources",
        json.dumps({"apiVersion": 1, "datasources": [{"name": "P", "type": "prometheus", "access": "proxy"}]}),
        "data sources",
    ),
]


@pytest.mark.parametrize(("text", "reason"), [(t, r) for _, t, r in NOTHING], ids=[n for n, _, _ in NOTHING])
def test_what_holds_no_query_is_skipped_with_the_reason(text: str, reason: str) -> None:
    inventory = read(text)
    assert inventory.documents == ()
    (skipped,) = inventory.skipped
    assert reason in skipped.reason


def test_documents_that_are_found_are_not_also_skipped() -> None:
    assert read(resource("ConfigMapList", items=[resource("ConfigMap", data={"a.json": json.dumps(board())})])).skipped == ()
    mixed = read(resource("List", items=[resource("Deployment", spec={}), resource("ConfigMap", data={"a.json": json.dumps(board())})]))
    assert [s.reason for s in mixed.skipped] == ["Deployment: nothing in it is a query"]


LOOSE: list[tuple[Json, str | None]] = [
    ({"tests": [{"expr": "rate(x_total[5m]) > 1"}]}, "rate(x_total[5m]) > 1"),
    ({"a": {"b": {"query": 'up{job="x"}'}}}, 'up{job="x"}'),
    ({"queries": ["sum(up)"]}, "sum(up)"),
    (resource("SomethingNew", spec={"promql": "sum(up)"}), "sum(up)"),
    ({"a": {"query": "jobs_failed > 0"}}, "jobs_failed > 0"),
    ({"a": {"query": "100 - (free_bytes / all_bytes) * 100 > 90"}}, "100 - (free_bytes / all_bytes) * 100 > 90"),
    ({"a": {"query": "sysUpTime / 100 < 300"}}, "sysUpTime / 100 < 300"),
    ({"a": {"query": "(queue_size offset 10m) > 3"}}, "(queue_size offset 10m) > 3"),
    ({"a": {"query": "read_bytes unless sent_bytes"}}, "read_bytes unless sent_bytes"),
    ({"watch": {"filter": 'metric.type="a/b"'}}, 'metric.type="a/b"'),
]


@pytest.mark.parametrize(("document", "text"), LOOSE)
def test_a_query_in_a_document_that_nobody_knows_is_tried(document: Json, text: str) -> None:
    inventory = read(document)
    assert texts(inventory) == [text]
    assert [d.found.kind for d in inventory.documents] == ["unknown"]


def test_a_text_in_an_unknown_language_protects_what_it_names() -> None:
    for text in (
        "SELECT cpu_load FROM t WHERE disk.free < 1",
        "cpu_load is over 5 and disk.free is not",
    ):
        (item,) = unread(read({"a": {"expression": text}}))
        assert {"cpu_load", r"disk\.free"} <= set(item.touches)
    (item,) = unread(read({"a": {"query": "my_index-2024"}}))
    assert r"my_index\-2024" in item.touches


# What is elsewhere


@pytest.mark.parametrize(
    "document",
    [
        operators(jsonnet="local g = import 'x'; g"),
        operators(jsonnetLib={"fileName": "a.jsonnet"}),
        operators(grafanaCom={"id": 1860}),
        operators(url="http://x/y.json"),
        operators(configMapRef={"name": "other", "key": "a.json"}),
        operators(gzipJson="no gzip"),
        operators(gzipJson=encoded(gzip.compress(b"{}")[:-6])),
        operators(json="{broken"),
        {"grafana": {"dashboards": {"default": {"node": {"gnetId": 1860, "revision": 1}}}}},
        {"grafana": {"dashboards": {"default": {"node": {"url": "http://x/y.json"}}}}},
        board(panels=[STUB]),
    ],
)
def test_what_is_only_pointed_at_may_read_any_name(document: Json) -> None:
    (item,) = unread(read(document))
    assert item.touches == ()


def test_a_ConfigMap_that_a_resource_names_is_read_where_it_is() -> None:
    reference = operators(configMapRef={"name": "shop", "key": "a.json"})
    inventory = read(reference, resource("ConfigMap", data={"a.json": json.dumps(board())}))
    assert texts(inventory) == ["up"]
    assert unread(inventory) == []
    assert len(unread(read(reference, resource("ConfigMap", data={"b.json": json.dumps(board())})))) == 1


PANEL = ELEMENT["model"]
LIBRARIES: list[tuple[str, Any]] = [
    ("the API's list", {"result": {"totalCount": 1, "elements": [ELEMENT]}}),
    ("the API's single one", {"result": ELEMENT}),
    ("an export", board("x", "other", __elements={"lib1": ELEMENT}, panels=[])),
    ("the operator's element", {**operators(json=json.dumps(ELEMENT)), "kind": "GrafanaLibraryPanel"}),
    ("the operator's model", {**operators(uid="lib1", json=json.dumps(PANEL)), "kind": "GrafanaLibraryPanel"}),
    ("a ConfigMap", resource("ConfigMap", data={"lib.json": json.dumps({"result": ELEMENT})})),
]


@pytest.mark.parametrize("library", [v for n, v in LIBRARIES if n != "an export"], ids=[n for n, _ in LIBRARIES if n != "an export"])
@pytest.mark.parametrize("first", [True, False])
def test_a_library_panel_is_resolved_by_any_other_document(library: Any, first: bool) -> None:
    shop = board(panels=[STUB])
    inventory = read(library, shop) if first else read(shop, library)
    assert texts(inventory) == ["lib"]
    assert unread(inventory) == []
    assert [d.found.kind for d in inventory.documents] == ["grafana_dashboard"]


def test_a_library_panel_of_one_export_serves_another_dashboard() -> None:
    inventory = read(board("x", "other", __elements={"lib1": ELEMENT}), board(panels=[STUB]))
    assert texts(inventory) == ["x", "lib"]
    assert unread(inventory) == []


def test_a_library_panel_that_nobody_shows_is_read_alone() -> None:
    inventory = read({"result": {"elements": [ELEMENT]}})
    assert [(d.found.kind, d.found.id) for d in inventory.documents] == [("grafana_library_panel", "lib1")]
    assert texts(inventory) == ["lib"]


def test_a_data_source_is_known_by_another_document() -> None:
    panel = {"title": "P", "type": "graph", "datasource": {"uid": "l9"}, "targets": [{"expr": '{a="b"}'}]}
    source = {"apiVersion": 1, "datasources": [{"name": "Logs", "uid": "l9", "type": "loki", "access": "proxy"}]}
    (document, *_) = read(board(panels=[panel]), source).documents
    assert [i.language for i in document.found.items if isinstance(i, Query)] == ["logql"]
    unclear = read(board(panels=[panel]), source, {"datasources": [{"name": "Logs", "uid": "l9", "type": "prometheus"}]})
    assert [i.language for i in unclear.documents[0].found.items if isinstance(i, Query)] == ["promql"]


# Paths, owners


PATHS: list[tuple[Any, list[str]]] = [
    (board(), [""]),
    ([board()], [""]),
    ([board("a", "a"), board("b", "b")], ["#0", "#1"]),
    (resource("ConfigMap", data={"shop.json": json.dumps(board())}), ["#shop.json"]),
    (
        resource(
            "List", items=[{**resource("ConfigMap", data={"d.json": json.dumps(board())}), "metadata": {"name": n}} for n in ("a", "b")]
        ),
        ["#a/d.json", "#b/d.json"],
    ),
    (
        resource("List", items=[{**operators(json=json.dumps(board())), "metadata": {"name": n, "namespace": "x"}} for n in ("a", "b")]),
        ["#x/a", "#x/b"],
    ),
    ([{"dashboard": board(), "meta": {}}, {"dashboard": board(), "meta": {}}], ["#0", "#1"]),
    ({"a": {"rules.yaml": json.dumps(RULES)}, "b": {"alerts.yaml": json.dumps(RULES)}}, ["#rules.yaml", "#alerts.yaml"]),
    (resource("List", items=[operators(json=json.dumps(board()))] * 2), ["#mon/shop", "#mon/shop~2"]),
]


@pytest.mark.parametrize(("document", "keys"), PATHS)
def test_a_path_says_where_and_no_more(document: Any, keys: list[str]) -> None:
    assert paths(read(Input("a/b.json", json.dumps(document)))) == [f"a/b.json{key}" for key in keys]


OWNERS: list[tuple[Any, str | None]] = [
    (board(), None),
    ({"meta": {"folderTitle": "Shops"}, "dashboard": board()}, "Shops"),
    (resource("ConfigMap", data={"a.json": json.dumps(board())}), "mon"),
    (
        resource(
            "ConfigMap",
            metadata={"name": "a", "namespace": "mon", "annotations": {"grafana_folder": "F"}},
            data={"a.json": json.dumps(board())},
        ),
        "F",
    ),
    (resource("ConfigMap", metadata={"name": "a", "labels": {"team": "T"}}, data={"a.json": json.dumps(board())}), "T"),
    (operators(folder="F", json=json.dumps(board())), "F"),
    (resource("ConfigMap", data={"a.json": json.dumps(board(tags=["team:t"]))}), "t"),
]


@pytest.mark.parametrize(("document", "owner"), OWNERS)
def test_an_owner_is_a_folder_team_or_namespace(document: Any, owner: str | None) -> None:
    assert [d.found.owner for d in read(document).documents] == [owner]


# Bounds


@pytest.mark.parametrize(("more", "readable"), [(-1, True), (0, True), (1, False)])
def test_a_document_may_be_so_large_and_no_larger(more: int, readable: bool) -> None:
    start = json.dumps(board())
    text = start + " " * (MAX_DOCUMENT_BYTES - len(start) + more)
    inventory = read(text)
    assert (texts(inventory) == ["up"]) is readable
    assert ("larger than" in "".join(i.reason for i in unread(inventory))) is not readable


def test_size_is_counted_in_bytes_and_packed_texts_are_bounded() -> None:
    wide = json.dumps({**board(), "description": "é" * (MAX_DOCUMENT_BYTES // 2)}, ensure_ascii=False)
    assert "larger than" in unread(read(wide))[0].reason
    bomb = operators(gzipJson=encoded(gzip.compress(b" " * (MAX_DOCUMENT_BYTES + 1))))
    (item,) = unread(read(bomb))
    assert item.touches == ()


def test_texts_inside_texts_end_somewhere_and_say_so() -> None:
    document: Any = board()
    for _ in range(12):
        document = resource("ConfigMap", data={"a.json": json.dumps(document)})
    (item,) = unread(read(document))
    assert "texts inside texts" in item.reason


def test_deep_values_end_somewhere_and_say_so() -> None:
    document: Any = board()
    for _ in range(100):
        document = {"x": document}
    assert "deeper" in unread(read(document))[0].reason


def test_a_file_that_the_shell_could_not_give_is_a_document() -> None:
    inventory = read(Input("a.json", "", "not text in UTF-8"))
    assert [(d.path, d.found.kind) for d in inventory.documents] == [("a.json", "unreadable")]
    assert unread(inventory)[0].reason == "not text in UTF-8"


def big_board(size: int) -> str:
    panel = {"type": "timeseries", "title": "P", "fieldConfig": {"defaults": {"custom": {str(n): n for n in range(20)}}, "overrides": []},
             "targets": [{"refId": "A", "expr": 'sum by (pod) (rate(http_requests_total{job="x"}[5m]))', "legendFormat": "{{pod}}"}]}  # fmt: skip
    return json.dumps(board(panels=[panel] * (size // len(json.dumps(panel)))))


@pytest.mark.parametrize("kind", ["a dashboard", "an unknown document", "YAML"])
def test_five_megabytes_take_less_than_two_seconds(kind: str) -> None:
    text = big_board(5 * 2**20)
    if kind == "an unknown document":
        text = text.replace('"panels"', '"boxes"').replace('"targets"', '"things"').replace("schemaVersion", "schema")
    if kind == "YAML":
        text = "# x\nspec: 1\n---\n" + text
    start = time.process_time()
    inventory = read(text)
    assert time.process_time() - start < 2
    assert len(texts(inventory)) > 3_000


# Logs


def test_a_text_reader_is_asked_about_what_is_no_single_value() -> None:
    def log(text: str) -> Found | None:
        return Found("log", "", "", (Query("promql", "executed", "log", "up"),)) if "query stats" in text else None

    lines = 'ts=1 msg="query stats" param_query=up\nts=2 msg="query stats"\n'
    json_lines = '{"msg": "query stats"}\n{"msg": "query stats"}\n'
    for text in (lines, json_lines):
        inventory = read_inputs([Input("q.log", text)], text_readers=(log,))
        assert [d.found.kind for d in inventory.documents] == ["log"]
    assert (
        read_inputs([Input("a.json", json.dumps({**board(), "x": "query stats"}))], text_readers=(log,)).documents[0].found.kind
        == "grafana_dashboard"
    )


# Whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10) | st.sampled_from(["ConfigMap", "List", "Dashboard"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(
        ["kind", "apiVersion", "metadata", "name", "namespace", "labels", "annotations", "data", "items", "spec", "json", "gzipJson", "model", "uid",
         "dashboard", "dashboards", "gnetId", "panels", "groups", "rules", "elements", "datasources", "type", "query", "expr", "filter", "url"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_no_value_makes_the_inventory_raise(value: Any) -> None:
    read(json.dumps(value))


@given(st.text(max_size=200))
def test_no_text_makes_the_inventory_raise(text: str) -> None:
    inventory = read(text)
    assert inventory.documents or inventory.skipped


@settings(max_examples=300)
@given(st.integers(0, 400), st.sampled_from(["cut", "drop", "double", "brace", "quote", "tab"]), st.booleans())
def test_a_damaged_text_gives_its_queries_or_says_so(at: int, how: str, yaml: bool) -> None:
    text = "groups:\n- name: g\n  rules:\n  - record: a:b\n    expr: sum(up)\n" if yaml else json.dumps(board("sum(up)"))
    at %= len(text)
    damaged = {
        "cut": text[:at],
        "drop": text[:at] + text[at + 1 :],
        "double": text[:at] + text[at] + text[at:],
        "brace": text[:at] + "}" + text[at:],
        "quote": text[:at] + '"' + text[at:],
        "tab": text[:at] + "\t" + text[at:],
    }[how]
    inventory = read(damaged)
    if "expr" in damaged and "sum(up)" in damaged:
        assert "sum(up)" in "".join(texts(inventory)) or unread(inventory)


def test_a_lone_surrogate_does_not_get_through() -> None:
    loaded = load('{"a": "\\ud800", "b": "\\ud83d\\ude00"}')
    assert loaded.values == ({"a": "\ufffd", "b": "😀"},)


# Real ones


@pytest.mark.skipif(not SAMPLES.exists(), reason="the shared samples are not beside this checkout")
@pytest.mark.parametrize("corpus", ["kube-prometheus", "rfmoz"])
def test_every_document_of_the_samples_is_found_with_every_name(corpus: str) -> None:
    expected = json.loads((SAMPLES / f"{corpus}.expected.json").read_text())
    files = [p for p in sorted((SAMPLES / corpus).rglob("*")) if p.suffix in (".json", ".yaml")]
    inventory = read_inputs([Input(str(p.relative_to(SAMPLES / corpus)), p.read_text()) for p in files])
    assert unread(inventory) == []
    assert len(inventory.documents) == len(expected["docs"])
    for wanted in expected["docs"]:
        (document,) = [
            d
            for d in inventory.documents
            if d.path.split("#")[0] == wanted["file"] and (wanted["kind"] == "rules" or d.found.id == wanted["id"])
        ]
        said = "\n".join(i.evaluated for i in document.found.items if isinstance(i, Query))
        assert [name for name in wanted["metrics"] if name not in said] == []


def test_what_is_skipped_is_a_value() -> None:
    assert read("").skipped == (Skipped("f0.yaml", "empty"),)


# Every reader is asked

SLO_QUERY = {"error_query": 'sum(rate(e{job="x"}[{{.window}}]))', "total_query": "sum(rate(t[{{.window}}]))"}
KINDS: list[tuple[str, Json]] = [
    ("prometheus_rules", RULES),
    ("prometheus_rules", {"namespace": "n", **RULES}),
    ("prometheus_rules", {"status": "success", "data": {"groups": [{"name": "g", "rules": [{"type": "alerting", "name": "a", "query": "up == 0"}]}]}}),
    ("prometheus_rules", {"tenant-ns": [{"name": "g", "rules": [{"alert": "a", "expr": "up == 0"}]}]}),
    ("prometheus_rules", {**resource("PrometheusRule", spec=RULES), "apiVersion": "monitoring.coreos.com/v1"}),
    ("prometheus_config", {"global": {"scrape_interval": "15s"}, "scrape_configs": []}),
    ("alertmanager_config", {"route": {"receiver": "x"}, "receivers": [{"name": "x"}]}),
    ("slo", {"version": "prometheus/v1", "service": "s", "slos": [{"name": "a", "objective": 99.9, "sli": {"events": SLO_QUERY}}]}),
    ("slo", {**resource("PrometheusServiceLevel", spec={"service": "s", "slos": []}), "apiVersion": "sloth.slok.dev/v1"}),
    ("slo", {**resource("ServiceLevelObjective", spec={"indicator": {"ratio": {"errors": {"metric": "e"}, "total": {"metric": "t"}}}}), "apiVersion": "pyrra.dev/v1alpha1"}),
    ("perses_dashboard", {"kind": "Dashboard", "metadata": {"name": "a", "project": "p"}, "spec": {"panels": {}, "layouts": []}}),
    ("gcp_dashboard", {"displayName": "x", "mosaicLayout": {"columns": 12, "tiles": []}}),
    ("gcp_alert_policy", {"displayName": "x", "conditions": [{"conditionThreshold": {"filter": 'metric.type="a/b"'}}]}),
    ("datadog_dashboard", {"title": "x", "layout_type": "ordered", "widgets": [{"definition": {"type": "timeseries", "requests": [{"q": "avg:a.b{*}"}]}}]}),
    ("datadog_monitors", {"name": "x", "type": "metric alert", "query": "avg(last_5m):avg:a.b{*} > 1"}),
    ("keda_scaler", {**resource("ScaledObject", spec={"triggers": [{"type": "prometheus", "metadata": {"query": "sum(up)"}}]}), "apiVersion": "keda.sh/v1alpha1"}),
    ("prometheus_adapter", {"rules": [{"seriesQuery": "up", "metricsQuery": "sum(<<.Series>>)"}]}),
    ("grafana_dashboard", board()),
    ("grafana_alert_rules", {"apiVersion": 1, "groups": [{"name": "g", "folder": "f", "rules": [{"title": "x", "data": [{"refId": "A", "datasourceUid": "p", "model": {"expr": "up"}}]}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "document"), KINDS)
def test_a_document_of_every_kind_reaches_its_reader_alone_or_wrapped(kind: str, document: Json) -> None:
    wrapped = (document, resource("ConfigMap", data={"x.yaml": json.dumps(document)}), {"values": {"deep": document}}, [document])
    assert [[d.found.kind for d in read(w).documents] for w in wrapped] == [[kind]] * 4


def test_logs_are_read_as_lines() -> None:
    line = json.dumps({"params": {"query": "up", "start": "2026-01-01T00:00:00.000Z", "end": "2026-01-01T00:00:00.000Z", "step": 0}, "ts": "2026-01-01T00:00:00.000Z", "httpRequest": {"path": "/api/v1/query"}})  # fmt: skip
    for text in (line, f"{line}\n{line}\n", f'{line}\n{line}\n{{"params": {{"qu'):
        inventory = read_inputs([Input("query.log", text)])
        assert len(inventory.documents) == 1
        assert set(texts(inventory)) == {"up"}


def test_an_slo_of_a_version_that_nobody_knows_is_not_lost() -> None:
    document = {"version": "prometheus/v99", "service": "s", "slos": [{"name": "a", "sli": {"events": SLO_QUERY}}]}
    assert set(texts(read(document))) == set(SLO_QUERY.values())


LINE = 'ts=2026-01-01T00:00:0{0}.5Z caller=handler.go:384 level=info msg="query stats" path=/prometheus/api/v1/query param_query="up{0}"'


@pytest.mark.parametrize("more", ['err="code: {0}"', "note=a: b", '"{0}": 1'])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_log_is_one_also_where_its_lines_happen_to_be_yaml(more: str, count: int) -> None:
    """`a=b c="d: e"` is a mapping with one strange key: what it says would be lost, not even said to be."""
    lines = [f"{LINE} {more}".format(k) for k in range(count)]
    assert len(load("\n".join(lines)).values) == 1
    assert texts(read(Input("query.log", "\n".join(lines)))) == [f"up{k}" for k in range(count)]


def test_a_document_that_quotes_a_request_stays_one() -> None:
    text = "groups:\n- name: g\n  rules:\n  - alert: a\n    expr: up\n    annotations:\n      see: ts=1 path=/api/v1/query param_query=down"
    assert texts(read(Input("r.yaml", text))) == ["up"]


LFS = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("path", "text", "hides"),
    [
        ("board.json", LFS, True),
        ("rules.yaml", LFS, True),
        ("README.md", LFS, False),
        ("board.json", "<html><body>Log in</body></html>", True),
        ("board.json", "404 page not found", True),
        ("page.html", "<html><body>Log in</body></html>", False),
        ("rules.yaml", "just words", False),
        ("word.json", '"just words"', False),
        ("board.json", "../common/board.json", False),
    ],
)
def test_words_in_the_place_of_a_document_are_said(path: str, text: str, hides: bool) -> None:
    inventory = read(Input(path, text))
    assert [i.touches for d in inventory.documents for i in d.found.items if isinstance(i, Unread)] == ([()] if hides else [])
    assert len(inventory.skipped) == (not hides)


def test_a_document_in_a_string_is_read() -> None:
    """`jq .spec.json` gives one, and so do APIs."""
    assert texts(read(Input("a.json", json.dumps(json.dumps(board("quoted")))))) == ["quoted"]
    assert texts(read(Input("a.json", json.dumps(json.dumps(json.dumps(board("twice"))))))) == ["twice"]
    broken = read(Input("a.json", json.dumps(json.dumps(board("quoted"))[:-9])))
    assert any(isinstance(i, Unread) and not i.touches for d in broken.documents for i in d.found.items)


QUERY = 'sum(rate(foo_total{a="b"}[5m])) by (x)'


@pytest.mark.parametrize(
    "document",
    [
        {"spec_version": "1.0", "indicators": {"error_rate": QUERY}},
        {"slos": {"availability": {"sli": {"good": QUERY, "total": QUERY}}}},
        {"spec": {"provider": "prometheus", "params": [{"name": "query", "value": QUERY}]}},
        {"kind": "Deployment", "metadata": {"annotations": {"metric-config.external.prometheus-query.prometheus/x": QUERY}}},
        {"a": {"b": 'foo_total{a="b"} / 5'}},
        {"a": {"b": "sum by (x) (foo_total)"}},
        {"a": {"promQuery": "foo_total > 5"}},
        {"probe": {"url": "http://p:9090/api/v1/query?time=1&query=sum%28rate%28foo_total%5B5m%5D%29%29"}},
        {"script": "curl -s 'http://p/api/v1/query_range?query=rate(foo_total[5m])&step=60'\necho done"},
    ],
)
def test_an_expression_is_one_under_whatever_key_of_a_document_that_nobody_knows(document: Json) -> None:
    inventory = read(document)
    assert any("foo_total" in text for text in texts(inventory))
    assert inventory.skipped == ()


@pytest.mark.parametrize(
    "text",
    ["SUM(A1:A3)", "count (of things)", "max (5)", "min and max by (hand)", "rate limits {a, b}", "sum", "the sum(rate(foo[5m])) of all"],
)
def test_words_that_only_begin_as_an_expression_are_none(text: str) -> None:
    assert texts(read({"a": {"b": text}})) == []


def test_what_stands_around_an_address_is_still_read() -> None:
    text = f"see: http://p/api/v1/query?query=up{{}}\n{json.dumps(board('inner'))}"
    rule = "# http://p/api/v1/query?query=rate(asked[5m])\ngroups:\n- name: g\n  rules:\n  - alert: a\n    expr: ruled\n"
    assert set(texts(read({"data": {"some": rule}, "more": {"x": text}}))) >= {"rate(asked[5m])", "ruled"}


@pytest.mark.parametrize("key", ["match[]", "metricName"])
def test_names_under_keys_that_ask_are_protected(key: str) -> None:
    touched = [i.touches for d in read({"a": {key: "foo_total"}}).documents for i in d.found.items if isinstance(i, Unread)]
    assert any("foo_total" in touches for touches in touched)
