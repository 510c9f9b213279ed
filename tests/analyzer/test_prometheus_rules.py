"""Rules in every wrapping that exists give every expression; what is broken is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ryaml
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.prometheus_rules import READERS, logql_evidence, template_queries
from analyzer.references.queries import Found, Query, Recorded, Unread
from flowgate.usage import EVERY_LABEL
from tests.analyzer.foreign import DOCUMENTS, broken, lost, one, queries, read, texts, unreads

SAMPLES = Path(__file__).resolve().parents[3] / "shared/samples/usage/kube-prometheus/manifests"


def rules(*found: Any, **more: Any) -> dict[str, Any]:
    return {"groups": [{"name": "g", "rules": list(found), **more}]}


def resource(kind: str, group: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "n", "namespace": "ns"}, "spec": spec}


def read_(document: Any) -> Found | None:
    return read(READERS, document)


ALERT = {"alert": "Down", "expr": "up == 0", "for": "5m", "labels": {"team": "infra"}, "annotations": {"summary": "{{ $labels.job }}"}}
RECORD = {"record": "job:up:sum", "expr": "sum by (job) (up)", "labels": {"tier": "a"}}

WRAPPINGS = {
    "a rule file": rules(ALERT, RECORD),
    "a rule file with other keys": {**rules(ALERT, RECORD), "source_tenants": ["a"], "partial_response_strategy": "warn"},
    "mimirtool's namespace": {"namespace": "team-a", **rules(ALERT, RECORD)},
    "the ruler's map": {"team-a": rules(ALERT, RECORD)["groups"]},
    "the ruler's map of all tenants": {"tenant": {"team-a": rules(ALERT, RECORD)["groups"]}},
    "PrometheusRule": resource("PrometheusRule", "monitoring.coreos.com", rules(ALERT, RECORD)),
    "VMRule": resource("VMRule", "operator.victoriametrics.com", rules(ALERT, RECORD)),
    "Rules": resource("Rules", "monitoring.googleapis.com", rules(ALERT, RECORD)),
    "ClusterRules": resource("ClusterRules", "monitoring.googleapis.com", rules(ALERT, RECORD)),
    "GlobalRules": resource("GlobalRules", "monitoring.googleapis.com", rules(ALERT, RECORD)),
    "a resource of a kind that is not known": resource("ThanosRule", "example.com", rules(ALERT, RECORD)),
    "the rules API": {
        "status": "success",
        "data": {
            "groups": [
                {
                    "name": "g",
                    "file": "f.yml",
                    "rules": [
                        {
                            "name": "Down",
                            "query": "up == 0",
                            "type": "alerting",
                            "labels": {"team": "infra"},
                            "annotations": {"x": "{{ $labels.job }}"},
                            "alerts": [],
                        },
                        {"name": "job:up:sum", "query": "sum by (job) (up)", "type": "recording", "labels": {"tier": "a"}},
                    ],
                }
            ]
        },
    },
    "Azure's rule group": {
        "name": "n",
        "type": "Microsoft.AlertsManagement/prometheusRuleGroups",
        "properties": {
            "rules": [{**ALERT, "expression": ALERT["expr"], "expr": None}, {**RECORD, "expression": RECORD["expr"], "expr": None}]
        },
    },
}


@pytest.mark.parametrize("document", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_rules_are_found_in_every_wrapping(document: Any) -> None:
    found = read_(document)
    alert, record = queries(found)
    assert (alert.text, alert.role, alert.rule, alert.mentioned, alert.records) == ("up == 0", "alert", "Down", {"job"}, None)
    assert (record.text, record.role, record.records) == (
        "sum by (job) (up)",
        "recording_rule",
        Recorded("job:up:sum", frozenset({"tier"})),
    )
    assert alert.root == record.root == EVERY_LABEL
    assert not unreads(found)
    assert found is not None
    assert found.kind == "prometheus_rules"


@pytest.mark.parametrize(
    ("document", "identity", "owner"),
    [
        (WRAPPINGS["PrometheusRule"], "ns/n", "infra"),
        (resource("PrometheusRule", "monitoring.coreos.com", rules(RECORD)), "ns/n", "ns"),
        (WRAPPINGS["mimirtool's namespace"], "team-a", "infra"),
        (WRAPPINGS["the rules API"], "f.yml", "infra"),
        (rules(RECORD), "", None),
        (rules(ALERT, {**ALERT, "labels": {"team": "other"}}), "", None),
    ],
)
def test_the_owner_is_the_one_team_that_is_named_or_else_the_namespace(document: Any, identity: str, owner: str | None) -> None:
    found = read_(document)
    assert found is not None
    assert (found.id, found.owner) == (identity, owner)


def test_labels_of_the_group_are_labels_of_what_it_records() -> None:
    assert one(read_(rules(RECORD, labels={"region": "x"}))).records == Recorded("job:up:sum", frozenset({"tier", "region"}))


def test_a_number_is_an_expression() -> None:
    assert one(read_(rules({"record": "one", "expr": 1}))).text == "1"


def test_templates_of_helm_pass_as_they_are() -> None:
    text = "rate({{ .Values.metric | quote }}[5m]) > 1"
    query = one(read_(rules({"alert": "A", "expr": text})))
    assert (query.text, query.language) == (text, "promql")


BROKEN = {
    "a rule without an expression": (rules({"alert": "A", "for": "5m"}), ()),
    "a misspelt expression protects its names": (rules({"alert": "A", "exprs": "my_metric > 1"}), ("my_metric",)),
    "an expression that is a mapping": (rules({"alert": "A", "expr": {"my": 1}}), ()),
    "a rule that is a text": (rules("my_rule"), ("my_rule",)),
    "a group without rules": ({"groups": [{"name": "a", "rules": []}, {"name": "b", "rule": [{"expr": "my_metric"}]}]}, ("my_metric",)),
    "rules that are no list": (rules() | {"groups": [{"name": "g", "rules": {"expr": "my_metric"}}]}, ("my_metric",)),
    "groups that are no list": (resource("PrometheusRule", "monitoring.coreos.com", {"groups": {"a": "my_metric"}}), ("my_metric",)),
    "a resource without groups": (resource("PrometheusRule", "monitoring.coreos.com", {"group": []}), ()),
    "a resource without spec": (resource("VMRule", "operator.victoriametrics.com", None), ()),
    "a group of graphite": (rules({"alert": "A", "expr": "my.app.count"}, type="graphite"), (r"my\.app\.count",)),
    "a group of vlogs": (rules({"alert": "A", "expr": "my_field:error | stats count()"}, type="vlogs"), ("my_field:error",)),
}


@pytest.mark.parametrize(("document", "touches"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_said_with_the_names_it_may_hold(document: Any, touches: tuple[str, ...]) -> None:
    """No names at all means any."""
    found = read_(document)
    assert not queries(found)
    assert unreads(found)
    for item in unreads(found):
        assert not item.narrowing
        assert set(touches) <= set(item.touches)
        assert bool(touches) == bool(item.touches)


def test_a_rule_of_another_language_is_said_once_by_its_expression() -> None:
    document = rules({"alert": "A", "expr": "my.app.count"}, {"alert": "B"}, type="graphite")
    assert [item.text for item in unreads(read_(document))] == ["my.app.count", "{alert: B}"]


@pytest.mark.parametrize(
    "document",
    [
        resource("PrometheusRule", "monitoring.coreos.com", {}),
        {"groups": []},
        {"groups": None},
        {"groups": [{"name": "g", "rules": None}]},
        {"status": "success", "data": {"groups": []}},
    ],
)
def test_no_rules_are_no_rules(document: Any) -> None:
    found = read_(document)
    assert found is not None
    assert found.items == ()


GRAFANAS = {
    "apiVersion": 1,
    "groups": [{"name": "g", "folder": "f", "rules": [{"uid": "u", "title": "T", "condition": "A", "data": [{"model": {"expr": "up"}}]}]}],
}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"groups": "x"},
        {"groups": [{"name": "users", "members": []}]},
        {"rules": [{"expr": "up"}]},
        GRAFANAS,
        {"apiVersion": 1, "groups": [{"rules": [{"record": {"metric": "m", "from": "A"}, "data": []}]}]},
        {"apiVersion": "rbac/v1", "kind": "ClusterRole", "rules": [{"verbs": ["get"]}]},
        {
            "clusterPermissions": [{"serviceAccountName": "a", "rules": [{"apiGroups": [""], "verbs": ["get"]}]}],
            "deployments": [{"name": "d"}],
        },
        {"groups": [{"name": "g", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}]},
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "spec": {"endpoints": [{"port": "http", "path": "/metrics"}]}},
        {"title": "board", "panels": []},
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "to-delete"}},
    ],
)
def test_documents_of_other_kinds_are_left_to_others(document: Any) -> None:
    assert read_(document) is None


# Languages

LOGQL = [
    'sum(rate({app="x"} |= "err" [5m])) > 1',
    'sum by (a) (count_over_time({app="x"} | json | level="error" [5m]))',
    'bytes_over_time({app="x"}[1h])',
    'quantile_over_time(0.9, {app="x"} | unwrap d [5m])',
    '{app="x"} |~ "a"',
]
PROMQL = [
    "up == 0",
    'rate(x{a="|"}[5m]) # | json',
    'rate({__name__=~"a|b"}[5m])',
    'rate({"my.metric", app="x"}[5m])',
    'rate({app="x"}[5m]) / my_metric',
    'rate({app="x"}[5m]) / on (app) my_metric{a="b"}',
    '{{ .Values.a | default "b" }} > up',
    "sum without (a) (up) or vector(0)",
]


@pytest.mark.parametrize("text", LOGQL)
def test_pipes_and_byte_functions_are_of_logql(text: str) -> None:
    assert logql_evidence(text) == "certain"
    assert one(read_(rules({"alert": "A", "expr": text}))).language == "logql"


@pytest.mark.parametrize("text", PROMQL)
def test_an_expression_that_names_a_metric_is_promql_whatever_is_beside_it(text: str) -> None:
    assert logql_evidence(text) == "none"
    document = rules({"alert": "A", "expr": text}, {"alert": "B", "expr": LOGQL[0]})
    assert [q.language for q in queries(read_(document))] == ["promql", "logql"]


BOTH = 'sum by (x) (rate({app="x"}[5m])) > 10'


@pytest.mark.parametrize(("beside", "language"), [((), "logql"), (("up",), "promql"), ((LOGQL[0],), "logql"), ((LOGQL[0], "up"), "logql")])
def test_what_may_be_both_is_what_the_rules_beside_it_are(beside: tuple[str, ...], language: str) -> None:
    document = rules(*({"alert": "A", "expr": text} for text in (BOTH, *beside)))
    assert queries(read_(document))[0].language == language


def test_a_resource_of_the_loki_operator_is_logql() -> None:
    document = resource("AlertingRule", "loki.grafana.com", rules({"alert": "A", "expr": BOTH}, {"alert": "B", "expr": "vector(1)"}))
    assert {q.language for q in queries(read_(document))} == {"logql"}


# Templates

TEMPLATES = [
    ('{{ query "up" }}', "up", None),
    ('{{ with query "up{a=\\"b\\"}" }}{{ . | first | value }}{{ end }}', 'up{a="b"}', None),
    ("{{ with printf \"n{i='%s'}\" $labels.instance | query }}{{ end }}", "n{i='%s'}", "n{i='$value'}"),
    ("{{ range query (printf `n{i=%q}` .Labels.i) }}{{ end }}", "n{i=%q}", 'n{i="$value"}'),
    ('{{- "up" | query | first | value -}}', "up", None),
    ('{{ with label "x" (query "up" | first) }}', "up", None),
    ('{{ $x := printf "%s" "a" }}{{ query "up" }}', "up", None),
]


@pytest.mark.parametrize(("template", "text", "expression"), TEMPLATES)
def test_annotations_run_queries(template: str, text: str, expression: str | None) -> None:
    (item,) = template_queries("g", "A", template)
    assert isinstance(item, Query)
    assert (item.text, item.expression, item.role) == (text, expression, "annotation")


@pytest.mark.parametrize("template", ["{{ query $q }}", "{{ my_metric | query }}", "{{ query }}"])
def test_a_query_that_a_template_makes_up_may_be_any(template: str) -> None:
    (item,) = template_queries("g", "A", template)
    assert isinstance(item, Unread)
    assert item.touches == ()
    assert not item.narrowing


@pytest.mark.parametrize(
    "template", ["see query results", "{{ $labels.query }}", '{{ "query" }}', "{{ .Value | humanize }}", "{{ unclosed query"]
)
def test_a_template_without_the_function_queries_nothing(template: str) -> None:
    assert list(template_queries("g", "A", template)) == []


@pytest.mark.parametrize(
    "template",
    [
        "{{ $labels.pod }}",
        "{{ .Labels.pod }}",
        '{{ index $labels "pod" }}',
        '{{ $labels["pod"] }}',
        '{{ range query "up" }}{{ . | label "pod" }}{{ end }}',
    ],
)
def test_labels_that_a_template_reads_are_mentioned(template: str) -> None:
    for place in ("labels", "annotations"):
        found = read_(rules({"alert": "A", "expr": "m > 0", place: {"x": template}}))
        assert next(q for q in queries(found) if q.role == "alert").mentioned == {"pod"}


def test_grafanas_copy_of_the_rules_api_holds_stages_as_text() -> None:
    stages = [
        {"datasourceUid": "p", "model": {"expr": "up"}},
        {"datasourceUid": "__expr__", "model": {"expression": "A"}},
        {"datasourceUid": "d", "model": {"rawSql": "select a_b"}},
    ]
    rule = {"name": "R", "query": json.dumps(stages), "type": "alerting"}
    found = read_({"status": "success", "data": {"groups": [{"name": "g", "file": "folder", "rules": [rule]}]}})
    assert texts(found) == ["up"]
    assert [u.touches for u in unreads(found)] == [("d", "select", "a_b")]
    rule["query"] = rule["query"][:-20]
    (cut,) = unreads(read_({"status": "success", "data": {"groups": [{"rules": [rule]}]}}))
    assert "up" in cut.touches


# Configs


def test_a_federation_reads_what_it_matches() -> None:
    config = {
        "scrape_configs": [
            {"job_name": "f", "metrics_path": "/prometheus/federate", "params": {"match[]": ['{job="a"}', "up"]}},
            {"job_name": "s"},
        ]
    }
    found = read_(config)
    assert [(q.text, q.role, q.root) for q in queries(found)] == [
        ('{job="a"}', "federation", EVERY_LABEL),
        ("up", "federation", EVERY_LABEL),
    ]
    monitor = resource("ServiceMonitor", "monitoring.coreos.com", {"endpoints": [{"path": "/federate", "params": {"match[]": ["up"]}}]})
    assert one(read_(monitor)).role == "federation"


@pytest.mark.parametrize("params", [{}, {"match[]": []}, {"match[]": "up"}, {"match[]": [None]}])
def test_a_federation_of_what_is_not_said_is_said(params: Any) -> None:
    config = {"scrape_configs": [{"job_name": "f", "metrics_path": "/federate", "params": params}]}
    assert unreads(read_(config))


KEEPS = [
    ({"source_labels": ["__name__"], "regex": "a_.*|b", "action": "keep"}, ["a_.*|b"]),
    ({"sourceLabels": ["__name__"], "regex": "a", "action": "keep"}, ["a"]),
    ({"source_labels": ["__name__", "job"], "regex": "a;b", "action": "keep"}, ["a"]),
    ({"source_labels": ["__name__"], "regex": "a", "action": "drop"}, []),
    ({"source_labels": ["job"], "regex": "a", "action": "keep"}, []),
    ({"source_labels": ["__name__"], "action": "keep"}, []),
]


@pytest.mark.parametrize(("relabel", "names"), KEEPS)
def test_names_that_remote_write_keeps_are_wanted_elsewhere(relabel: Any, names: list[str]) -> None:
    found = read_({"global": {}, "remote_write": [{"url": "u", "write_relabel_configs": [relabel]}]})
    assert [(q.language, q.role, q.evaluated) for q in queries(found)] == [("names", "federation", n) for n in names]
    custom = resource("Prometheus", "monitoring.coreos.com", {"remoteWrite": [{"writeRelabelConfigs": [relabel]}]})
    assert [q.evaluated for q in (queries(read_(custom)) if names else [])] == names


def test_names_kept_together_with_other_labels_may_be_any() -> None:
    relabel = {"source_labels": ["job", "__name__"], "regex": "a;b", "action": "keep"}
    (item,) = unreads(read_({"remote_write": [{"write_relabel_configs": [relabel]}]}))
    assert item.touches == ()


def test_rule_files_that_are_named_lower_trust_only() -> None:
    (item,) = unreads(read_({"rule_files": ["rules/*.yml"], "metric_relabel_configs": []}))
    assert (item.narrowing, item.text) == (True, "rules/*.yml")


@pytest.mark.parametrize(
    "document",
    [
        {"route": {"receiver": "r", "group_by": ["job"]}, "receivers": [], "inhibit_rules": [{"equal": ["ns"]}]},
        {"alertmanager_config": "route: {}", "template_files": {}},
        resource("AlertmanagerConfig", "monitoring.coreos.com", {"route": {}}),
    ],
)
def test_an_alertmanagers_config_is_known_and_reads_no_metrics(document: Any) -> None:
    found = read_(document)
    assert found is not None
    assert (found.kind, found.items) == ("alertmanager_config", ())


def test_unit_tests_of_rules_read_nothing() -> None:
    tests = [{"input_series": [{"series": "up", "values": "1"}], "promql_expr_test": [{"expr": "up", "eval_time": "1m"}]}]
    found = read_({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests})
    assert found is not None
    assert (found.kind, found.items) == ("rule_tests", ())


# Properties


@given(DOCUMENTS)
def test_no_document_raises(document: Any) -> None:
    for reader in READERS:
        reader(document)


ORIGINALS = [w for k, w in WRAPPINGS.items() if not k.startswith("Azure")]


@given(st.sampled_from(ORIGINALS).flatmap(broken))
def test_a_broken_document_never_loses_an_expression_in_silence(document: Any) -> None:
    assert lost(read_(document), document, ["up == 0", "sum by (job) (up)"]) == []


@pytest.mark.skipif(not SAMPLES.exists(), reason="the shared samples are not beside the checkout")
def test_every_rule_of_the_samples_is_found() -> None:
    count = 0
    for path in SAMPLES.glob("*Rule.yaml"):
        document = ryaml.loads(path.read_text())
        expected = [str(rule["expr"]) for group in document["spec"]["groups"] for rule in group["rules"]]
        found = read_(document)
        assert [q.text for q in queries(found) if q.role != "annotation"] == expected
        assert not unreads(found)
        count += len(expected)
    assert count > 200
