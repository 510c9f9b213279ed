"""What scales and judges workloads by metrics: KEDA, HPA, prometheus-adapter, Argo Rollouts, Flagger, Keptn, Datadog's resources.

They fill templates in before they ask. Each placeholder becomes a variable that is known at run time only, so that its position in the
query decides what it may be: `{{args.service}}` is `$args_service`, `<<.LabelMatchers>>` is `$matchers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from analyzer.references.queries import Found, Item, Json, JsonReader, Language, Query, Unread
from analyzer.references.shapes import (
    MAX_TEXT,
    at,
    first,
    is_of,
    listing,
    mapping,
    mappings,
    metadata,
    owner_of,
    scalar,
    unread,
    with_overlooked,
)
from flowgate.usage import EVERY_LABEL, only

_PLACEHOLDER = re.compile(r"\{\{((?:(?!\{\{).)*?)\}\}", re.DOTALL)


def templated(text: str, language: Language = "promql") -> str | None:
    """A query with `{{…}}` as variables; None when there are none. Datadog's variables have no braces."""
    form = "${name}" if language != "datadog" else "$name"
    filled = _PLACEHOLDER.sub(lambda m: form.replace("name", re.sub(r"\W+", "_", m[1]).strip("_") or "value"), text)
    return filled if filled != text else None


def _query(language: Language, where: str, text: str, rule: str | None = None) -> Query:
    return Query(language, "autoscaler", where, text, rule, templated(text, language))


def _foreign(where: str, holder: Any, source: str, text: str | None = None) -> Unread:
    """A query of a source that is not read: it may read every name in it."""
    missed = unread(
        where, holder, f"a query of {source}, which is not read", {"serverAddress", "address", "type", "apiVersion", "authModes"}
    )
    return replace(missed, text=text[:MAX_TEXT]) if text else missed


def _found(kind: str, document: Json, items: list[Item]) -> Found:
    identity, namespace, labels = metadata(document)
    return Found(kind, identity, identity, with_overlooked(document, items, {"metadata"}), owner_of(labels) or namespace)


# KEDA

_KEDA: Mapping[str, tuple[Language, str]] = {
    "prometheus": ("promql", "query"),
    "predictkube": ("promql", "query"),
    "loki": ("logql", "query"),
    "datadog": ("datadog", "query"),
    "gcp-stackdriver": ("gcp_filter", "filter"),
}
"""Trigger types whose metadata hold a query that is read, and the key it is under."""
_KEDA_NO_TELEMETRY = re.compile(
    r"(?:cpu|memory|cron|kubernetes-workload|metrics-api|stan|[\w-]*(?:kafka|redis|queue|pubsub|storage|tasks|eventhub|servicebus|blob|pipelines"
    r"|runner|kinesis|dynamodb|streams|sql|mongodb|cassandra|couchdb|arangodb|etcd|jetstream|mq|artemis|nsq|pulsar|liiklus|selenium|temporal"
    r"|beanstalkd|swift)[\w-]*)"
)
"""Trigger types that look at queues, databases and clocks."""


def read_keda(document: Json) -> Found | None:
    if not is_of(document, "keda.sh", "ScaledObject", "ScaledJob"):
        return None
    triggers = at(document, "spec", "triggers")
    items = [_trigger(index, trigger) for index, trigger in enumerate(listing(triggers))]
    if not isinstance(triggers, list) and document.get("spec") != {}:
        items.append(unread("triggers", document.get("spec"), "a scaler without triggers"))
    return _found("keda_scaler", document, [item for item in items if item is not None])


def _trigger(index: int, trigger: Any) -> Item | None:
    found = mapping(trigger)
    kind, meta = scalar(found.get("type")), mapping(found.get("metadata"))
    where = scalar(found.get("name")) or f"trigger {index + 1}"
    if kind is None:
        return unread(where, trigger, "a trigger without a type")
    if _KEDA_NO_TELEMETRY.fullmatch(kind):
        return None
    language, key = _KEDA.get(kind, (None, "query"))
    text = scalar(meta.get(key))
    if language and text:
        return _query(language, where, text)
    if kind == "datadog" and (name := scalar(meta.get("datadogMetricName"))):
        return Unread(where, name, "its query is in the DatadogMetric of that name", narrowing=True)
    return (
        _foreign(where, meta, kind, text)
        if language is None
        else unread(where, meta, f"a trigger of {kind} without its {key}", {"serverAddress"})
    )


# Horizontal pod autoscalers

_METRIC_SOURCES = ("external", "pods", "object")
_ADAPTER_SUFFIX = re.compile(r"(?:_per_(?:second|minute)|_rate)$")
_MATCH: Mapping[str, str] = {"In": "=~", "NotIn": "!~", "Exists": '!=""', "DoesNotExist": '=""'}
"""Operators of a Kubernetes selector as matchers."""


def read_hpa(document: Json) -> Found | None:
    """Metrics by the names that an adapter gives them, and queries that kube-metrics-adapter takes from annotations."""
    version = document.get("apiVersion")
    scaled = isinstance(version, str) and version.startswith("autoscaling/") and document.get("kind") == "HorizontalPodAutoscaler"
    if not scaled and not is_of(document, "datadoghq.com", "WatermarkPodAutoscaler"):
        return None
    items: list[Item] = [*_annotated(document)]
    for index, metric in enumerate(listing(at(document, "spec", "metrics"))):
        items += _hpa_metric(f"metric {index + 1}", metric)
    return _found("autoscaler", document, items)


def _annotated(document: Json) -> Iterator[Query]:
    """`metric-config.<type>.<name>.prometheus/query: …`, and older spellings of it."""
    for key, value in mapping(at(document, "metadata", "annotations")).items():
        if str(key).startswith("metric-config.") and "prometheus" in str(key) and str(key).endswith("query") and (text := scalar(value)):
            yield _query("promql", str(key), text)


def _hpa_metric(where: str, metric: Any) -> Iterator[Item]:
    found = mapping(metric)
    sources = [mapping(found[key]) for key in _METRIC_SOURCES if isinstance(found.get(key), dict)]
    for source in sources:
        name = scalar(at(source, "metric", "name")) or scalar(source.get("metricName"))
        selector = mapping(at(source, "metric", "selector") or first(source, "metricSelector", "selector"))
        yield from _adapted(where, name, selector) if name else [unread(where, metric, "a metric without a name")]
    if not sources and not {"resource", "containerResource"} & found.keys():
        yield unread(where, metric, "a metric that is not understood")


def _adapted(where: str, name: str, selector: Json) -> Iterator[Item]:
    """A metric of an adapter. Google's writes `/` as `|`; prometheus-adapter leaves out `_total`, `_seconds` and `container_` by default."""
    if name.startswith("datadogmetric@"):
        yield Unread(where, name, "its query is in the DatadogMetric of that name", narrowing=True)
    elif "|" in name:
        labels = "".join(f' AND {key} = "{value}"' for key, value in mapping(selector.get("matchLabels")).items())
        yield Query("gcp_filter", "autoscaler", where, name, expression=f'metric.type = "{name.replace("|", "/")}"{labels}')
    else:
        matchers = ", ".join(_matchers(selector))
        plain = re.fullmatch(r"[A-Za-z_:][\w:]*", name)
        expression = f"{name}{{{matchers}}}" if plain else "{" + ", ".join(filter(None, [_quoted(name), matchers])) + "}"
        yield Query("promql", "autoscaler", where, name, expression=expression)
        before = re.escape(_ADAPTER_SUFFIX.sub("", name))
        yield Query("names", "autoscaler", where, name, expression=f"(?:container_)?{before}(?:_seconds)?(?:_total)?")


def _matchers(selector: Json) -> Iterator[str]:
    for key, value in mapping(selector.get("matchLabels")).items():
        yield f"{_label(str(key))}={_quoted(scalar(value) or '')}"
    for expression in mappings(selector.get("matchExpressions")):
        operator, key = scalar(expression.get("operator")) or "", scalar(expression.get("key"))
        if key and operator in _MATCH:
            values = "|".join(re.escape(v) for v in map(scalar, listing(expression.get("values"))) if v)
            yield f"{_label(key)}{_MATCH[operator]}" + (_quoted(values) if operator in ("In", "NotIn") else "")


def _label(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else _quoted(name)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# prometheus-adapter

_SERIES = re.compile(r"<<\s*\.Series\s*>>(\s*\{)?")
_NAME = re.compile(r"\s*([A-Za-z_:][\w:]*)\s*(?:\{.*\})?\s*", re.DOTALL)
_NAME_MATCHER = re.compile(r"__name__\s*(=~|=)\s*\"((?:[^\"\\]|\\.)*)\"")
_HOLES: Mapping[str, str] = {"LabelMatchers": "$matchers", "GroupBy": "$groupby", "GroupBySlice": "$groupby"}
_HOLE = re.compile(r"<<\s*\.?(\w+)(?:(?!<<).)*?>>", re.DOTALL)


def read_adapter_config(document: Json) -> Found | None:
    """The config of prometheus-adapter, or the values of its chart (`rules.custom`, `rules.external`, `rules.resource`)."""
    lists, resources = _adapter_rules(document)
    if not lists and not resources:
        return None
    items: list[Item] = []
    for place, rules in lists:
        for index, rule in enumerate(rules):
            items += _adapter_rule(f"{place}/{index + 1}", rule)
    for name, rule in resources.items():
        items += _resource_rule(f"resourceRules/{name}", rule)
    return Found("prometheus_adapter", "", "prometheus-adapter", with_overlooked(document, items))


def _adapter_rules(document: Json) -> tuple[list[tuple[str, list[Any]]], Json]:
    values = mapping(document.get("rules"))
    holders = [("rules", document.get("rules")), ("externalRules", document.get("externalRules")), ("rules.custom", values.get("custom"))]
    holders.append(("rules.external", values.get("external")))
    lists = [
        (place, listing(rules)) for place, rules in holders if any({"seriesQuery", "metricsQuery"} & r.keys() for r in mappings(rules))
    ]
    resources = mapping(document.get("resourceRules")) or mapping(values.get("resource"))
    told = {str(k): v for k, v in resources.items() if k != "window"}
    return lists, told if any({"containerQuery", "nodeQuery"} & mapping(v).keys() for v in told.values()) else {}


def _adapter_rule(where: str, rule: Any) -> Iterator[Item]:
    """The adapter looks for series, then asks the query for each of them."""
    found = mapping(rule)
    series, text = scalar(found.get("seriesQuery")), scalar(found.get("metricsQuery"))
    grouped = _grouping(found)
    if series is None:
        yield unread(where, rule, "a rule without its series", {"metricsQuery"})
    else:
        yield Query("promql", "autoscaler", where, series, root=only(*grouped) if grouped else EVERY_LABEL, operator="exists")
    if text is None:
        yield unread(where, rule, "a rule without a query")
    else:
        yield _adapter_query(where, text, series, grouped)


def _grouping(rule: Json) -> tuple[str, ...]:
    """The labels that stand for Kubernetes objects, if the rule lists them; a template may make any."""
    overrides = mapping(at(rule, "resources", "overrides"))
    return () if at(rule, "resources", "template") else tuple(str(k) for k in overrides)


def _adapter_query(where: str, text: str, series: str | None, grouped: tuple[str, ...]) -> Query:
    named = _SERIES.sub(lambda m: _selector(series or "", bool(m[1])), text)
    filled = _HOLE.sub(lambda m: _HOLES.get(m[1], "$adapter"), named)
    return Query("promql", "autoscaler", where, text, expression=filled, variables={"groupby": grouped} if grouped else {})


def _selector(series: str, opens: bool) -> str:
    """What stands for a series that a series query found: its name, or the pattern that it matches, or any; `opens`: with a brace."""
    if named := _NAME.fullmatch(series):
        return named[1] + "{" * opens
    matcher = _NAME_MATCHER.search(series)
    pattern = f'__name__{matcher[1]}"{matcher[2]}"' if matcher else '__name__=~".+"'
    return f"{{{pattern}, " if opens else f"{{{pattern}}}"


def _resource_rule(where: str, rule: Any) -> Iterator[Item]:
    found, known = mapping(rule), False
    for key in ("containerQuery", "nodeQuery"):
        if text := scalar(found.get(key)):
            known = True
            yield _adapter_query(f"{where}/{key}", text, None, _grouping(found))
    if not known:
        yield unread(where, rule, "a resource without a query")


# Argo Rollouts

_ARGO: Mapping[str, Language] = {"prometheus": "promql", "datadog": "datadog"}
_ARGO_NO_TELEMETRY = frozenset({"job", "web", "kayenta"})


def read_analysis(document: Json) -> Found | None:
    """Analyses of Argo Rollouts: each metric has one provider."""
    if not is_of(document, "argoproj.io", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"):
        return None
    spec = mapping(document.get("spec"))
    items = [item for index, metric in enumerate(listing(spec.get("metrics"))) for item in _analysis_metric(index, metric)]
    if not isinstance(spec.get("metrics"), list) and not listing(spec.get("templates")) and document.get("spec") != {}:
        items.append(unread("metrics", spec, "an analysis without metrics"))
    return _found("analysis_template", document, items)


def _analysis_metric(index: int, metric: Any) -> Iterator[Item]:
    found = mapping(metric)
    where, providers = scalar(found.get("name")) or f"metric {index + 1}", mapping(found.get("provider"))
    for kind, provider in providers.items():
        if kind not in _ARGO_NO_TELEMETRY:
            yield from _provider(where, str(kind), mapping(provider))
    if not providers:
        yield unread(where, metric, "a metric without a provider")


def _provider(where: str, kind: str, provider: Json) -> Iterator[Item]:
    """Datadog's newer form has several queries, and a formula over their names."""
    language = _ARGO.get(kind)
    texts = [t for t in (scalar(provider.get("query")), *(scalar(q) for q in mapping(provider.get("queries")).values())) if t]
    if language is None:
        yield _foreign(where, provider, kind, texts[0] if texts else None)
    else:
        yield from (_query(language, where, text) for text in texts)
        if not texts:
            yield unread(where, provider, f"a {kind} provider without a query", {"address"})


# Flagger and Keptn

_FLAGGER: Mapping[str, Language] = {"prometheus": "promql", "datadog": "datadog", "stackdriver": "gcp_filter"}
_BUILT_IN = "|".join(
    (
        r"istio_request.*",
        r"envoy_cluster_upstream_rq.*",
        r"response_total|response_latency_ms.*",
        r"nginx_ingress_controller_.*",
        r"http_request.*",
        r"traefik_service_.*",
        r"skipper_serve_.*",
        r"revision_.*",
        r"apisix_http_.*",
    )
)
"""What the checks `request-success-rate` and `request-duration` read: the request metrics of the meshes and proxies that Flagger knows."""


def read_flagger(document: Json) -> Found | None:
    if is_of(document, "flagger.app", "MetricTemplate"):
        spec = mapping(document.get("spec"))
        return _found("metric_template", document, [_by_provider(spec, scalar(at(spec, "provider", "type")), _FLAGGER)])
    if not is_of(document, "flagger.app", "Canary"):
        return None
    analysis = mapping(first(mapping(document.get("spec")), "analysis", "canaryAnalysis"))
    items = [item for m in listing(analysis.get("metrics")) if (item := _canary_metric(m)) is not None]
    return _found("canary", document, items)


def _canary_metric(metric: Any) -> Item | None:
    """A metric with its own query, one of a template (read where that is), or a built-in one."""
    found = mapping(metric)
    name = scalar(found.get("name")) or "metric"
    if text := scalar(found.get("query")):
        return _query("promql", name, text)
    if isinstance(found.get("templateRef"), dict):
        return None
    if name in ("request-success-rate", "request-duration"):
        return Query("names", "autoscaler", name, name, expression=_BUILT_IN)
    return unread(name, metric, "a metric without a query or a template")


def _by_provider(spec: Json, kind: str | None, languages: Mapping[str, Language]) -> Item:
    text, language = scalar(spec.get("query")), languages.get(kind or "prometheus")
    if text is None:
        return unread("query", spec, "no query", {"provider"})
    return _foreign("query", spec, kind or "", text) if language is None else _query(language, "query", text)


def read_keptn(document: Json) -> Found | None:
    """Keptn names a provider by its resource. One whose name says no other tool is taken for Prometheus; the parser will tell."""
    if not is_of(document, "metrics.keptn.sh", "KeptnMetric", "AnalysisValueTemplate"):
        return None
    spec = mapping(document.get("spec"))
    named = (scalar(at(spec, "provider", "name")) or "").lower()
    kind = next((tool for tool in ("datadog", "dynatrace", "cortex", "thanos") if tool in named), "prometheus")
    languages: Mapping[str, Language] = {"datadog": "datadog", "prometheus": "promql", "cortex": "promql", "thanos": "promql"}
    return _found("keptn_metric", document, [_by_provider(spec, kind, languages)])


# Datadog


def read_datadog_metric(document: Json) -> Found | None:
    """A query that Datadog's cluster agent offers to autoscalers."""
    if not is_of(document, "datadoghq.com", "DatadogMetric"):
        return None
    text = scalar(at(document, "spec", "query"))
    item = _query("datadog", "query", text) if text else unread("query", document.get("spec"), "no query")
    return _found("datadog_metric", document, [item])


READERS: tuple[JsonReader, ...] = (
    read_keda,
    read_hpa,
    read_analysis,
    read_flagger,
    read_keptn,
    read_datadog_metric,
    read_adapter_config,
)
