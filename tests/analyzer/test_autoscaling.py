"""Autoscalers and analyses: their queries with placeholders as variables, and the names that adapters make up."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.autoscaling import READERS
from analyzer.references.queries import Found
from flowgate.usage import EVERY_LABEL, only
from tests.analyzer.foreign import DOCUMENTS, broken, lost, one, queries, read, texts, unreads


def read_(document: Any) -> Found | None:
    return read(READERS, document)


def resource(version: str, kind: str, spec: Any, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "n", "namespace": "ns", **meta}, "spec": spec}


def keda(kind: str | None, **meta: Any) -> dict[str, Any]:
    return resource(
        "keda.sh/v1alpha1",
        "ScaledObject",
        {"scaleTargetRef": {"name": "d"}, "triggers": [{"type": kind, "metadata": {"threshold": "5", **meta}}]},
    )


QUERY = 'sum(rate(http_requests_total{app="x"}[2m]))'


@pytest.mark.parametrize(
    ("kind", "meta", "language"),
    [
        ("prometheus", {"query": QUERY, "serverAddress": "http://p:9090"}, "promql"),
        ("predictkube", {"query": QUERY}, "promql"),
        ("loki", {"query": QUERY}, "logql"),
        ("datadog", {"query": QUERY}, "datadog"),
        ("gcp-stackdriver", {"filter": QUERY}, "gcp_filter"),
    ],
)
def test_a_trigger_of_keda_has_a_query_in_its_sources_language(kind: str, meta: Any, language: str) -> None:
    for document in (keda(kind, **meta), {**keda(kind, **meta), "kind": "ScaledJob"}):
        query = one(read_(document))
        assert (query.text, query.language, query.role, query.root) == (QUERY, language, "autoscaler", EVERY_LABEL)
        found = read_(document)
        assert found is not None
        assert (found.kind, found.id, found.owner) == ("keda_scaler", "ns/n", "ns")


@pytest.mark.parametrize(
    "kind",
    [
        "cpu",
        "cron",
        "kafka",
        "apache-kafka",
        "aws-sqs-queue",
        "redis-cluster-streams",
        "postgresql",
        "gcp-pubsub",
        "rabbitmq",
        "github-runner",
    ],
)
def test_queues_databases_and_clocks_read_no_telemetry(kind: str) -> None:
    found = read_(keda(kind, queueName="q"))
    assert found is not None
    assert found.items == ()


@pytest.mark.parametrize(
    ("document", "touches"),
    [
        (keda("graphite", query="stats.my_app.count", serverAddress="http://g"), {r"stats\.my_app\.count"}),
        (keda("new-relic", nrql="SELECT my_count FROM Metric"), {"my_count"}),
        (keda("aws-cloudwatch", metricName="my_count"), {"my_count"}),
        (keda("somebodys-own", anything="my_count"), {"my_count"}),
        (keda("prometheus", querry="my_count"), {"my_count"}),
        (keda("prometheus", serverAddress="http://p"), None),
        (keda(None, query="my_count"), {"my_count"}),
        (resource("keda.sh/v1alpha1", "ScaledObject", {"trigger": []}), None),
        (
            resource("autoscaling/v2", "HorizontalPodAutoscaler", {"metrics": [{"type": "External", "external": {"metric": {}}}]}),
            {"External"},
        ),
        (resource("autoscaling/v2", "HorizontalPodAutoscaler", {"metrics": ["my_count"]}), {"my_count"}),
        ({"rules": [{"seriesQuery": "up"}]}, {"up"}),
        ({"resourceRules": {"cpu": {"containerQuery": "x"}, "memory": {"contanerQuery": "my_count"}}}, {"my_count"}),
        (
            resource(
                "argoproj.io/v1alpha1",
                "AnalysisTemplate",
                {"metrics": [{"name": "a", "provider": {"wavefront": {"query": "ts(my_count)"}}}]},
            ),
            {"my_count"},
        ),
        (
            resource(
                "argoproj.io/v1alpha1", "AnalysisTemplate", {"metrics": [{"name": "a", "provider": {"prometheus": {"address": "x"}}}]}
            ),
            None,
        ),
        (resource("argoproj.io/v1alpha1", "AnalysisTemplate", {"metrics": [{"name": "my_count"}]}), {"my_count"}),
        (resource("argoproj.io/v1alpha1", "AnalysisTemplate", {"metric": []}), None),
        (
            resource(
                "flagger.app/v1beta1", "MetricTemplate", {"provider": {"type": "cloudwatch"}, "query": '[{"MetricName": "my_count"}]'}
            ),
            {"my_count"},
        ),
        (resource("flagger.app/v1beta1", "MetricTemplate", {"provider": {"address": "x"}}), None),
        (resource("flagger.app/v1beta1", "Canary", {"analysis": {"metrics": [{"name": "my_count"}]}}), {"my_count"}),
        (resource("metrics.keptn.sh/v1", "KeptnMetric", {"provider": {"name": "my-dynatrace"}, "query": "my_count"}), {"my_count"}),
        (resource("datadoghq.com/v1alpha1", "DatadogMetric", {}), None),
    ],
)
def test_what_is_not_read_is_said_with_the_names_it_may_hold(document: Any, touches: set[str] | None) -> None:
    """None: it may be any name."""
    found = unreads(read_(document))
    assert found
    assert not any(item.narrowing for item in found)
    assert any(touches <= set(item.touches) if touches else item.touches == () for item in found)


# HPA


def hpa(*metrics: Any, version: str = "autoscaling/v2", **meta: Any) -> dict[str, Any]:
    return resource(version, "HorizontalPodAutoscaler", {"metrics": list(metrics)}, **meta)


def external(name: str, **selector: Any) -> dict[str, Any]:
    return {"type": "External", "external": {"metric": {"name": name, "selector": selector}, "target": {}}}


@pytest.mark.parametrize(
    ("metric", "expression"),
    [
        (external("q_length", matchLabels={"queue": "a"}), 'q_length{queue="a"}'),
        (external("q_length", matchExpressions=[{"key": "z", "operator": "In", "values": ["a.b", "c"]}]), 'q_length{z=~"a\\\\.b|c"}'),
        (
            external("q_length", matchExpressions=[{"key": "z", "operator": "Exists"}, {"key": "y", "operator": "DoesNotExist"}]),
            'q_length{z!="", y=""}',
        ),
        (external("q_length", matchExpressions=[{"key": "z", "operator": "NotIn", "values": ["a"]}]), 'q_length{z!~"a"}'),
        (external("my-app/length"), '{"my-app/length"}'),
        (external("my.length", matchLabels={"a-b": "c"}), '{"my.length", "a-b"="c"}'),
        ({"type": "Pods", "pods": {"metric": {"name": "q_length"}}}, "q_length{}"),
        ({"type": "Object", "object": {"metric": {"name": "q_length"}, "describedObject": {"kind": "Service", "name": "s"}}}, "q_length{}"),
        ({"type": "External", "external": {"metricName": "q_length", "metricSelector": {"matchLabels": {"a": "b"}}}}, 'q_length{a="b"}'),
        ({"type": "Pods", "pods": {"metricName": "q_length"}}, "q_length{}"),
    ],
)
def test_a_metric_of_an_autoscaler_is_read_by_its_name(metric: Any, expression: str) -> None:
    exact, _ = queries(read_(hpa(metric)))
    assert (exact.language, exact.evaluated) == ("promql", expression)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("http_requests", "http_requests_total"),
        ("http_requests_per_second", "http_requests_total"),
        ("cpu_usage", "container_cpu_usage_seconds_total"),
        ("memory_usage_bytes", "container_memory_usage_bytes"),
        ("queue.size", "queue.size"),
    ],
)
def test_a_name_may_be_what_prometheus_adapter_made_of_another(name: str, metric: str) -> None:
    _, translated = queries(read_(hpa(external(name))))
    assert translated.language == "names"
    assert re.fullmatch(translated.evaluated, metric)
    assert not re.fullmatch(translated.evaluated, "unrelated_" + metric)


def test_a_metric_of_google_cloud_is_a_filter() -> None:
    query = one(read_(hpa(external("pubsub.googleapis.com|subscription|size", matchLabels={"resource.labels.subscription_id": "a"}))))
    assert query.language == "gcp_filter"
    assert query.evaluated == 'metric.type = "pubsub.googleapis.com/subscription/size" AND resource.labels.subscription_id = "a"'


def test_cpu_and_memory_are_no_metrics_of_ours() -> None:
    found = read_(
        hpa(
            {"type": "Resource", "resource": {"name": "cpu"}},
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c"}},
        )
    )
    assert found is not None
    assert found.items == ()


def test_queries_in_annotations_are_read() -> None:
    key = "metric-config.external.requests.prometheus/query"
    assert texts(read_(hpa(annotations={key: QUERY, "other": "up"}))) == [QUERY]


def test_a_datadog_metric_is_read_where_it_is_defined() -> None:
    (item,) = unreads(read_(hpa(external("datadogmetric@ns:name"))))
    assert item.narrowing
    assert one(read_(resource("datadoghq.com/v1alpha1", "DatadogMetric", {"query": "avg:a{*}"}))).language == "datadog"


# prometheus-adapter


def adapter(series: str, text: str, **more: Any) -> dict[str, Any]:
    return {"rules": [{"seriesQuery": series, "metricsQuery": text, **more}]}


METRICS_QUERY = "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"


@pytest.mark.parametrize(
    ("series", "text", "expression"),
    [
        ('requests_total{pod!=""}', METRICS_QUERY, "sum(rate(requests_total{$matchers}[2m])) by ($groupby)"),
        ("requests_total", "max(<<.Series>>) by (<<.GroupBy>>)", "max(requests_total) by ($groupby)"),
        ('{__name__=~"^container_.*",pod!=""}', METRICS_QUERY, 'sum(rate({__name__=~"^container_.*", $matchers}[2m])) by ($groupby)'),
        ('{__name__="a:b"}', "max(<<.Series>>)", 'max({__name__="a:b"})'),
        ('{pod!=""}', METRICS_QUERY, 'sum(rate({__name__=~".+", $matchers}[2m])) by ($groupby)'),
        (
            "up",
            'sum(<< .Series >>{ns=~"<<index .LabelValuesByName "namespace">>", <<.LabelMatchers>>})',
            'sum(up{ns=~"$adapter", $matchers})',
        ),
    ],
)
def test_a_rule_of_the_adapter_has_its_series_filled_in(series: str, text: str, expression: str) -> None:
    discovered, asked = queries(read_(adapter(series, text)))
    assert (discovered.text, discovered.root, discovered.operator) == (series, EVERY_LABEL, "exists")
    assert (asked.text, asked.evaluated) == (text, expression)


def test_labels_that_stand_for_objects_are_known_where_the_rule_lists_them() -> None:
    overrides = {"overrides": {"kubernetes_namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}}
    discovered, asked = queries(read_(adapter("up", METRICS_QUERY, resources=overrides)))
    assert discovered.root == only("kubernetes_namespace", "pod")
    assert asked.variables == {"groupby": ("kubernetes_namespace", "pod")}
    discovered, asked = queries(read_(adapter("up", METRICS_QUERY, resources={**overrides, "template": "kube_<<.Resource>>"})))
    assert (discovered.root, asked.variables) == (EVERY_LABEL, {})


RULE = {"seriesQuery": "up", "metricsQuery": METRICS_QUERY}
RESOURCE = {
    "cpu": {"containerQuery": "sum(cpu_a{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "nodeQuery": "sum(cpu_b)", "resources": {}},
    "window": "3m",
}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"rules": [RULE], "externalRules": [RULE]}, ["up", METRICS_QUERY] * 2),
        ({"rules": {"default": False, "custom": [RULE], "external": [RULE]}}, ["up", METRICS_QUERY] * 2),
        ({"resourceRules": RESOURCE}, [RESOURCE["cpu"]["containerQuery"], "sum(cpu_b)"]),
        ({"rules": {"resource": RESOURCE}}, [RESOURCE["cpu"]["containerQuery"], "sum(cpu_b)"]),
    ],
)
def test_the_adapters_config_is_read_in_each_shape(document: Any, expected: list[str]) -> None:
    found = read_(document)
    assert texts(found) == expected
    assert not unreads(found)


# Argo Rollouts, Flagger, Keptn


def analysis(kind: str, provider: Any) -> dict[str, Any]:
    return resource(
        "argoproj.io/v1alpha1", kind, {"args": [{"name": "service-name"}], "metrics": [{"name": "success", "provider": provider}]}
    )


@pytest.mark.parametrize("kind", ["AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"])
def test_arguments_of_an_analysis_are_variables(kind: str) -> None:
    text = 'sum(rate(requests_total{service="{{args.service-name}}"}[{{ args.window }}]))'
    query = one(read_(analysis(kind, {"prometheus": {"address": "http://p", "query": text}})))
    assert (query.text, query.where) == (text, "success")
    assert query.evaluated == 'sum(rate(requests_total{service="${args_service_name}"}[${args_window}]))'


def test_datadogs_provider_has_one_query_or_several() -> None:
    assert [q.language for q in queries(read_(analysis("AnalysisTemplate", {"datadog": {"query": "avg:a{b:{{args.x}}}"}})))] == ["datadog"]
    found = read_(analysis("AnalysisTemplate", {"datadog": {"queries": {"a": "avg:a{*}", "b": "avg:b{*}"}, "formula": "a/b"}}))
    assert texts(found) == ["avg:a{*}", "avg:b{*}"]


@pytest.mark.parametrize("provider", [{"job": {"spec": {}}}, {"web": {"url": "u"}}])
def test_jobs_and_web_requests_read_no_telemetry(provider: Any) -> None:
    found = read_(analysis("AnalysisTemplate", provider))
    assert found is not None
    assert found.items == ()


def test_a_template_of_flagger_is_read() -> None:
    text = 'sum(rate(requests_total{ns="{{ namespace }}"}[{{ interval }}]))'
    for provider, language in (
        ({"type": "prometheus"}, "promql"),
        ({"type": "datadog"}, "datadog"),
        ({"type": "stackdriver"}, "gcp_filter"),
    ):
        query = one(read_(resource("flagger.app/v1beta1", "MetricTemplate", {"provider": provider, "query": text})))
        assert (query.text, query.language) == (text, language)
    assert one(read_(resource("flagger.app/v1beta1", "MetricTemplate", {"provider": {"type": "prometheus"}, "query": text}))).evaluated == (
        'sum(rate(requests_total{ns="${namespace}"}[${interval}]))'
    )


def test_a_canary_has_queries_of_its_own_templates_and_built_in_checks() -> None:
    metrics = [
        {"name": "a", "query": "up"},
        {"name": "b", "templateRef": {"name": "t"}},
        {"name": "request-success-rate", "thresholdRange": {"min": 99}},
    ]
    for key in ("analysis", "canaryAnalysis"):
        own, built_in = queries(read_(resource("flagger.app/v1beta1", "Canary", {key: {"metrics": metrics}})))
        assert own.text == "up"
        assert built_in.language == "names"
        for name in ("istio_requests_total", "envoy_cluster_upstream_rq", "nginx_ingress_controller_requests", "response_total"):
            assert re.fullmatch(built_in.evaluated, name)


@pytest.mark.parametrize(
    ("provider", "language"), [("my-prometheus", "promql"), ("datadog-eu", "datadog"), ("thanos", "promql"), ("main", "promql")]
)
def test_a_metric_of_keptn_is_read_by_its_providers_name(provider: str, language: str) -> None:
    assert one(read_(resource("metrics.keptn.sh/v1", "KeptnMetric", {"provider": {"name": provider}, "query": "up"}))).language == language


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"rules": [{"verbs": ["get"]}]},
        {"rules": {"custom": []}},
        {"groups": [{"rules": []}]},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {}},
        {"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication", "spec": {}},
        {"resourceRules": "x"},
    ],
)
def test_documents_of_other_kinds_are_left_to_others(document: Any) -> None:
    assert read_(document) is None


KINDS = [
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("argoproj.io/v1alpha1", "AnalysisTemplate"),
    ("flagger.app/v1beta1", "MetricTemplate"),
    ("flagger.app/v1beta1", "Canary"),
    ("metrics.keptn.sh/v1", "KeptnMetric"),
    ("datadoghq.com/v1alpha1", "DatadogMetric"),
]


@given(DOCUMENTS, st.sampled_from(KINDS))
def test_no_document_raises(document: Any, kind: tuple[str, str]) -> None:
    for reader in READERS:
        reader(document)
        reader({"apiVersion": kind[0], "kind": kind[1], "spec": document})
        reader(
            {
                "apiVersion": kind[0],
                "kind": kind[1],
                "spec": {"triggers": [document], "metrics": [document], "analysis": {"metrics": [document]}},
            }
        )
        reader({"rules": [document, {"seriesQuery": "x"}], "resourceRules": {"a": {"nodeQuery": "x"}, "b": document}})


ORIGINALS = [
    keda("prometheus", query=QUERY),
    hpa(annotations={"metric-config.external.requests.prometheus/query": QUERY}),
    {"rules": [{"seriesQuery": "up", "metricsQuery": QUERY}]},
    {"resourceRules": {"cpu": {"containerQuery": QUERY, "nodeQuery": QUERY}}},
    analysis("AnalysisTemplate", {"prometheus": {"query": QUERY}}),
    resource("flagger.app/v1beta1", "MetricTemplate", {"provider": {"type": "prometheus"}, "query": QUERY}),
    resource("flagger.app/v1beta1", "Canary", {"analysis": {"metrics": [{"name": "a", "query": QUERY}]}}),
    resource("metrics.keptn.sh/v1", "KeptnMetric", {"provider": {"name": "p"}, "query": QUERY}),
]


@given(st.sampled_from([o for o in ORIGINALS if "annotations" not in o.get("metadata", {})]).flatmap(broken))
def test_a_broken_document_never_loses_an_expression_in_silence(document: Any) -> None:
    assert lost(read_(document), document, [QUERY, "up"]) == []
