"""Google Cloud Monitoring: its filters and MQL, and the dashboards, alert policies and SLOs that hold them.

A filter selects; what is made of its series stands beside it (aligner, reducer, group fields) and comes with the query as `root` and
`operator`. Metrics that OTLP brings stand under a domain (`workload.googleapis.com/http.server.duration`): a use names both forms.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer

from analyzer.references.grammars import VARIABLE, Misread, apart, grammar, out_of_bounds, parsed, protected, unquoted, variables_in
from analyzer.references.logql import NO_METRIC
from analyzer.references.patterns import ANY_NAME, valid
from analyzer.references.places import Place, places
from analyzer.references.queries import Found, Item, Json, JsonReader, Language, Query, Unread
from analyzer.references.shapes import at, first, listing, mapping, mappings, owner_of, scalar, shown, with_overlooked
from flowgate.usage import EVERY_LABEL, Condition, LabelSet, NotUnderstood, Operator, Use

# --- names -----------------------------------------------------------------------------------------------------------------------------

_DOMAINS = (
    "workload.googleapis.com/",
    "custom.googleapis.com/opencensus/",
    "custom.googleapis.com/",
    "external.googleapis.com/prometheus/",
    "external.googleapis.com/",
)
"""What exporters put before the name of a metric (cloud.google.com/monitoring/api/v3/naming-conventions)."""
_MANAGED = "prometheus.googleapis.com/"
_MANAGED_NAME = re.compile(r"(.+)/(?:counter|gauge|histogram|summary(?::counter)?|unknown(?::counter)?)")
"""Managed Prometheus ends a name with its type: `prometheus.googleapis.com/foo_total/counter`."""
_HISTOGRAM_PARTS = ("", "_bucket", "_sum", "_count")

Test = Literal["is", "starts", "ends", "has", "matches"]
_TESTS: Mapping[str, Test] = {
    "starts_with": "starts",
    "ends_with": "ends",
    "has_substring": "has",
    "monitoring.regex.full_match": "matches",
    "one_of": "is",
}


@dataclass(frozen=True, slots=True)
class _Type:
    """A test of `metric.type`."""

    test: Test
    value: str


def _names(test: _Type) -> Iterator[tuple[str, bool]]:
    """The names, or patterns (True), that may be read: the type as written, and what it is before an exporter named it."""
    yield from _written(test)
    if test.test == "matches":
        yield from _bare_regexes(test.value)
        return
    for domain in _DOMAINS:
        if test.value.startswith(domain):
            yield from _written(replace(test, value=test.value.removeprefix(domain)))
        elif test.test == "starts" and domain.startswith(test.value):
            yield ANY_NAME, True
    if test.value.startswith(_MANAGED):
        yield from _managed(test, test.value.removeprefix(_MANAGED))


def _written(test: _Type) -> Iterator[tuple[str, bool]]:
    plain = apart(test.value)[::2]
    text = ANY_NAME.join(re.escape(part) for part in plain)
    match test.test:
        case "starts":
            yield f"{text}{ANY_NAME}", True
        case "ends":
            yield f"{ANY_NAME}{text}", True
        case "has":
            yield f"{ANY_NAME}{text}{ANY_NAME}", True
        case "matches":
            yield ANY_NAME.join(plain), True
        case "is":
            yield (text, True) if len(plain) > 1 else (test.value, False)


def _managed(test: _Type, rest: str) -> Iterator[tuple[str, bool]]:
    """The Prometheus names of a type of Managed Prometheus; a histogram is stored whole and stands for all its parts."""
    typed = _MANAGED_NAME.fullmatch(rest)
    name = typed[1] if typed else rest
    parts = _HISTOGRAM_PARTS if rest.endswith(("/histogram", "/summary")) else ("",)
    for part in parts:
        yield from _written(replace(test, value=f"{name}{part}"))


_REGEX_DOMAIN = re.compile(r"\^?(?:\(\?[:imsU]*)?(?:workload|custom|external)\\?\.googleapis\\?\.com/(?:opencensus/|prometheus/)?")
_OTHER_DOMAIN = re.compile(r"\^?[a-z0-9_-]+(?:\\?\.[a-z0-9_-]+)*/")


def _bare_regexes(regex: str) -> Iterator[tuple[str, bool]]:
    """A regex over types as one over names without a domain. One that may begin in any way may mean any name."""
    own = _REGEX_DOMAIN.match(regex)
    if own and valid(regex[own.end() :]):
        yield regex[own.end() :], True
    elif own or not _OTHER_DOMAIN.match(regex):
        yield ANY_NAME, True


# --- labels ----------------------------------------------------------------------------------------------------------------------------

OTLP_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "location": ("cloud.availability_zone", "cloud.region"),
    "zone": ("cloud.availability_zone",),
    "region": ("cloud.region", "cloud.availability_zone"),
    "cluster_name": ("k8s.cluster.name",),
    "cluster": ("k8s.cluster.name",),
    "namespace_name": ("k8s.namespace.name",),
    "namespace": ("service.namespace", "k8s.namespace.name"),
    "pod_name": ("k8s.pod.name",),
    "container_name": ("k8s.container.name",),
    "node_name": ("k8s.node.name",),
    "node_id": ("host.id", "host.name"),
    "instance_id": ("host.id", "faas.instance", "service.instance.id"),
    "instance": ("service.instance.id",),
    "job": ("service.name", "faas.name"),
    "task_id": ("service.instance.id", "faas.instance"),
    "service_name": ("service.name", "faas.name"),
    "revision_name": ("faas.version",),
    "configuration_name": ("faas.name",),
    "module_id": ("faas.name",),
    "version_id": ("faas.version",),
    "aws_account": ("cloud.account.id",),
    "project_id": ("gcp.project.id", "cloud.account.id"),
}
"""Labels of monitored resources and the OTLP resource attributes that Google's exporters make them of (monitored resource mapping)."""


_NODE = ("k8s.cluster.name", "k8s.node.name", "cloud.availability_zone", "cloud.region")
_POD = ("k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "cloud.availability_zone", "cloud.region")
_TASK = (
    "service.name",
    "service.namespace",
    "service.instance.id",
    "faas.name",
    "faas.instance",
    "cloud.availability_zone",
    "cloud.region",
)
RESOURCE_TYPES: Mapping[str, tuple[str, ...]] = {
    "k8s_cluster": ("k8s.cluster.name", "cloud.availability_zone", "cloud.region"),
    "k8s_node": _NODE,
    "k8s_pod": _POD,
    "k8s_container": (*_POD, "k8s.container.name"),
    "gce_instance": ("cloud.platform", "host.id", "cloud.availability_zone"),
    "aws_ec2_instance": ("cloud.platform", "host.id", "cloud.availability_zone", "cloud.region", "cloud.account.id"),
    "gae_instance": ("cloud.platform", "faas.name", "faas.version", "faas.instance"),
    "cloud_run_revision": ("cloud.platform", "faas.name", "faas.version", "cloud.region"),
    "cloud_function": ("cloud.platform", "faas.name", "cloud.region"),
    "generic_task": _TASK,
    "generic_node": ("host.id", "host.name", "service.namespace", "cloud.availability_zone", "cloud.region"),
    "prometheus_target": (*_TASK, "k8s.cluster.name", "k8s.namespace.name"),
}
"""Which OTLP resource attributes make a series one of a monitored resource of this type: without them it becomes one of another."""
_ALL_ATTRIBUTES = frozenset(attribute for made_of in RESOURCE_TYPES.values() for attribute in made_of)


@dataclass(frozen=True, slots=True)
class _Filter:
    """A part of a filter: tests of the metric's type (None: it has none), types of resource that hold for all series (empty: any),
    labels, and why labels may be more than these."""

    types: tuple[_Type, ...] | None = None
    resources: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    unknown: str | None = None
    variables: frozenset[str] = frozenset()


_HOLD_CUSTOM_METRICS = frozenset([*RESOURCE_TYPES, "global", "gke_container", "dataflow_job", "cloud_run_job", "consul_service"])
"""Types of resource that metrics of users may have (cloud.google.com/monitoring/custom-metrics/creating-metrics). All others hold
Google's own metrics alone."""


def _of_resource(types: tuple[_Type, ...] | None) -> _Filter:
    """A test of `resource.type`. One that is not for equality may mean every type."""
    if types is None or any(t.test != "is" or variables_in(t.value) for t in types):
        return _Filter(attributes=_ALL_ATTRIBUTES)
    values = frozenset(t.value for t in types)
    return _Filter(resources=values, attributes=frozenset(a for value in values for a in RESOURCE_TYPES.get(value, ())))


def _label(path: str) -> _Filter:
    """What a path selects by: `metric.labels.x` and `resource.label."x"` are label x."""
    parts = [unquoted(part) for part in _SEGMENT.findall(path)]
    if any(variables_in(part) for part in parts):
        return _Filter(unknown=f"which label {path} is, is known only when the query runs")
    if parts[0] == "group":
        return _Filter(unknown="a group's members are told by labels that the group names")
    if parts == ["resource", "type"]:
        return _Filter(attributes=_ALL_ATTRIBUTES)
    if parts[0] == "project":
        return _Filter(labels=frozenset(["project_id"]))
    return _Filter(labels=frozenset([".".join(parts[2:])]) if len(parts) > 2 else frozenset())


_SEGMENT = re.compile(rf"\"(?:\\.|[^\"\\])*\"|(?:{VARIABLE}|[\w\-/])+")

# --- the grammar -----------------------------------------------------------------------------------------------------------------------

_GRAMMAR = rf"""
start: _clause*
_clause: _logic* (comparison | negated | group | variable | process)
_logic: AND | OR
negated: NOT (comparison | negated | group | variable | process)
group: "(" _clause* ")"
comparison: PATH OP _value
_value: STRING | BARE | function | "(" (STRING | BARE | function | _logic | ",")* ")"
function: FUNCTION "(" (STRING | BARE | ",")* ")"
process: FUNCTION "(" (STRING | BARE | ",")* ")"
variable: VARIABLE

STRING.5: /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/
FUNCTION.4: /[A-Za-z_][\w.]*(?=\s*\()/
AND.6: /AND(?![\w.])/i
OR.6: /OR(?![\w.])/i
NOT.6: /NOT(?![\w.])|-|!(?!=)/i
VARIABLE.3: /{VARIABLE}/
PATH.2: /[A-Za-z_]\w*(?:\s*\.\s*(?:"(?:\\.|[^"\\])*"|(?:{VARIABLE}|[\w\-\/])+))*/
BARE.1: /(?:{VARIABLE}|[^\s()=<>!,:"'])(?:{VARIABLE}|[^\s()=<>!,"'])*/
OP: />=|<=|==|!=|=~|!~|=|:|>|</
%ignore /\s+/
"""


class _Actions(Transformer[Any, Any]):
    def start(self, children: list[Any]) -> _Filter:
        return _joined(children)

    def group(self, children: list[Any]) -> _Filter:
        return _joined(children)

    def negated(self, children: list[Any]) -> _Filter:
        # What is not of a type may be of any other.
        return replace(_joined(children), types=None, resources=frozenset())

    def comparison(self, children: list[Any]) -> _Filter:
        path, operator, *values = children
        match [unquoted(part) for part in _SEGMENT.findall(path)]:
            case ["metric", "type"]:
                return _Filter(_typed(str(operator), values))
            case ["resource", "type"]:
                return _of_resource(_typed(str(operator), values))
            case _:
                return _label(str(path))

    def function(self, children: list[Any]) -> tuple[_Type, ...]:
        test = _TESTS.get(str(children[0]), "has")
        return tuple(_Type(test, unquoted(str(value))) for value in children[1:])

    def process(self, _children: list[Any]) -> _Filter:
        # `select_process_count(…)` counts the processes that Google's agent sees.
        return _Filter(())

    def variable(self, children: list[Any]) -> _Filter:
        return _Filter(variables=frozenset(variables_in(children[0])))


_OPERATORS: Mapping[str, Test] = {"=": "is", "==": "is", ":": "has", "=~": "matches"}


def _typed(operator: str, values: list[Any]) -> tuple[_Type, ...] | None:
    test = _OPERATORS.get(operator)
    if test is None:
        return None
    plain = [_Type(test, unquoted(str(v))) for v in values if isinstance(v, Token) and v.type in {"STRING", "BARE"}]
    called = [each for v in values if isinstance(v, tuple) for each in v]
    return (*plain, *called)


def _joined(children: Iterable[Any]) -> _Filter:
    """Clauses together. Series are read of the types that are named: the API lists none without (`filters`, "Retrieving time series")."""
    whole = functools.reduce(_and, (c for c in children if isinstance(c, _Filter)), _Filter())
    either = any(isinstance(c, Token) and c.type == "OR" for c in children)
    return replace(whole, resources=frozenset()) if either else whole


def _and(left: _Filter, right: _Filter) -> _Filter:
    types = left.types if right.types is None else right.types if left.types is None else (*left.types, *right.types)
    return _Filter(
        types,
        left.resources | right.resources,
        left.labels | right.labels,
        left.attributes | right.attributes,
        left.unknown or right.unknown,
        left.variables | right.variables,
    )


@functools.cache
def _language() -> Lark:
    return grammar(_GRAMMAR, _Actions())


# --- queries ---------------------------------------------------------------------------------------------------------------------------


def read_gcp_filter(query: Query) -> tuple[Use, ...] | NotUnderstood:
    """The metrics that a filter (or an MQL query) reads, and the labels that it, its group fields and its dashboard's filters name."""
    text = query.evaluated
    if _FETCH.search(_without_texts(text)):
        return _mql(query)
    found = parsed(_language(), text)
    if isinstance(found, Misread):
        return NotUnderstood(f"not a filter of Cloud Monitoring: {found.reason}", _touched(text))
    invalid = [t.value for t in found.types or () if t.test == "matches" and not valid(t.value)]
    if invalid:
        return NotUnderstood(f"{invalid[0]!r} is no regular expression", _touched(text))
    resolved = functools.reduce(_and, (_of_variable(name, query) for name in sorted(found.variables)), found)
    return tuple(_uses(resolved, query))


_CLAUSE = re.compile(rf"(?:^|(?<=[\s)]))(?:{VARIABLE})")
_OPEN = re.compile(r"starts_with|ends_with|has_substring|full_match|=~|metric\s*\.\s*type\s*:")


def _touched(text: str) -> tuple[str, ...]:
    """Patterns of the names that a filter may hold, with and without the domain; any, if it may hold parts of names. A variable that
    nothing is compared with is a clause, no name."""
    if _OPEN.search(text):
        return ()
    closed = re.sub(r"([=:,(])\s+", r"\1", text)
    bare = functools.reduce(lambda rest, domain: rest.replace(domain, " "), _DOMAINS, closed)
    return protected(_CLAUSE.sub(" ", f"{closed} {bare}"))


def _of_variable(name: str, query: Query) -> _Filter:
    """What a dashboard's filter puts in place of `${name}`: a comparison with one label, or nothing."""
    paths = [value.partition("=")[0] for value in query.variables.get(name, ())]
    if not paths:
        return _Filter(unknown=f"what ${{{name}}} filters is known only when the query runs")
    return functools.reduce(_and, (_label(path) for path in paths))


def _uses(found: _Filter, query: Query) -> Iterator[Use]:
    root = query.root
    mentioned = found.labels | query.mentioned | (frozenset() if root.all_except else root.names)
    types = _any_type(found) if found.types is None else found.types
    several = "the filter reads several metrics" if len(types) > 1 else None
    whole = found.unknown or several or ("every series is shown" if root.all_except else None)
    for test in dict.fromkeys(types):
        for name, pattern in dict.fromkeys(_names(test)):
            reason = whole or ("the metric is reached by a pattern of names" if pattern else None)
            if reason:
                yield Use(_any_if_wide(name), pattern, mentioned, EVERY_LABEL, why={"*": reason})
            else:
                why = _why(found, root.names) | dict.fromkeys(_stored_with(test), "a distribution is read whole")
                yield Use(name, False, mentioned, LabelSet(frozenset(why)), query.operator, conditions=query.conditions, why=why)


def _any_type(found: _Filter) -> tuple[_Type, ...]:
    """A filter without a metric's type may read any metric, unless its resources have none but Google's own."""
    return () if found.resources and found.resources.isdisjoint(_HOLD_CUSTOM_METRICS) else (_Type("has", ""),)


def _stored_with(test: _Type) -> tuple[str, ...]:
    """Labels of Prometheus that are the points of one value in Google Cloud."""
    return ("le", "quantile") if test.value.startswith(_MANAGED) and test.value.endswith(("/histogram", "/summary")) else ()


def _any_if_wide(pattern: str) -> str:
    return ANY_NAME if pattern.replace(ANY_NAME, "") == "" else pattern


def _why(found: _Filter, fields: frozenset[str]) -> dict[str, str]:
    """The labels, and the OTLP attributes that they and the type of the resource are made of."""
    named = {**dict.fromkeys(fields, "group by"), **dict.fromkeys(found.labels, "filter")}
    made_of = {attribute: f"{reason}: label {label}" for label, reason in named.items() for attribute in OTLP_ATTRIBUTES.get(label, ())}
    return {**dict.fromkeys(found.attributes, "filter: resource.type"), **made_of, **named}


# --- MQL -------------------------------------------------------------------------------------------------------------------------------

_TEXT = re.compile(r"'(?:\\.|[^'\\])*+\\?('|\Z)|\"(?:\\.|[^\"\\])*+\\?(\"|\Z)", re.DOTALL)
_FETCH = re.compile(r"(?:^|[\s({;:|])fetch(?:_cluster_outer)?\s+[\w'\"$]")
_METRIC = r"('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[\w.\-]+/[\w.\-/]+)"
_FETCHED = re.compile(rf"\bfetch(?:_cluster_outer)?\s+[\w.\-/]+\s*(?:::\s*{_METRIC})?")
_NAMED = re.compile(rf"\|\s*metric\s+{_METRIC}")
_COLUMN = re.compile(r"\b(?:metric|resource|metadata\.user(?:_labels)?|metadata\.system(?:_labels)?)\.(\w+)")


def _without_texts(text: str) -> str:
    """One that is not closed stays, to its end: what it holds is not known to be a text."""
    return _TEXT.sub(lambda m: '""' if m[1] or m[2] else m[0], text)


def _mql(query: Query) -> tuple[Use, ...] | NotUnderstood:
    """MQL (deprecated) is not followed: its metrics are read, every label of them is needed. Each `fetch` must show its metric."""
    text = query.evaluated
    refusal = out_of_bounds(text)
    fetched = [m[1] for m in _FETCHED.finditer(text)]
    named = [m[1] for m in _NAMED.finditer(text)]
    fetches = len(_FETCH.findall(_without_texts(text)))
    names = [unquoted(name) for name in (*fetched, *named) if name]
    if refusal or fetches != len(fetched) or len(named) < fetched.count(None) or any(variables_in(name) for name in names):
        return NotUnderstood(refusal or "MQL in which a metric's name is not found", protected(text.replace("::", " ")))
    mentioned = frozenset(_COLUMN.findall(text)) | query.mentioned
    types = _Filter(tuple(_Type("is", name) for name in names), labels=mentioned, unknown="MQL is not followed")
    return tuple(_uses(types, query))


# --- aggregation -----------------------------------------------------------------------------------------------------------------------

_COUNTED = Condition("counter", frozenset(), "aligned to a rate or an increase: merged as a counter, with the resets of each input")
_ALIVE = Condition("alive", frozenset(), "the last value of each input at a time: equal while every input is there all the time")
_MERGES: Mapping[tuple[str, str], tuple[Condition, ...]] = {
    ("SUM", "RATE"): (_COUNTED,),
    ("SUM", "DELTA"): (_COUNTED,),
    ("SUM", "SUM"): (),
    ("SUM", "NEXT_OLDER"): (_ALIVE,),
    ("SUM", "INTERPOLATE"): (_ALIVE,),
    ("MAX", "MAX"): (),
    ("MAX", "NEXT_OLDER"): (_ALIVE,),
    ("MIN", "MIN"): (),
    ("MIN", "NEXT_OLDER"): (_ALIVE,),
}
"""By reducer over series and aligner over time, which comes first: what must hold for series to be merged before they are aligned. Under
other pairs (a mean, a percentile, a count) the result tells how series are cut."""
_OPERATORS_OF: Mapping[str, Operator] = {"SUM": "sum", "MAX": "max", "MIN": "min"}


@dataclass(frozen=True, slots=True)
class _Output:
    """What is needed of a filter's series by the aggregation beside it."""

    root: LabelSet = EVERY_LABEL
    operator: Operator = "none"
    conditions: tuple[Condition, ...] = ()


_WHOLE = _Output()


def _output(aggregation: Json) -> _Output:
    """By the first aggregation alone: what comes after it (`secondaryAggregation`, `pickTimeSeriesFilter`, a threshold) sees groups."""
    reducer = (scalar(_get(aggregation, "crossSeriesReducer")) or "").removeprefix("REDUCE_")
    aligner = (scalar(_get(aggregation, "perSeriesAligner")) or "").removeprefix("ALIGN_")
    conditions = _MERGES.get((reducer, aligner))
    fields = [_label(field) for field in listing(_get(aggregation, "groupByFields")) if isinstance(field, str)]
    whole = functools.reduce(_and, fields, _Filter())
    if conditions is None or whole.unknown:
        return _WHOLE
    return _Output(LabelSet(whole.labels | whole.attributes), _OPERATORS_OF[reducer], conditions)


# --- documents -------------------------------------------------------------------------------------------------------------------------

_LAYOUTS = ("mosaicLayout", "gridLayout", "rowLayout", "columnLayout")
_FILTERED = frozenset(["timeSeriesFilter", "numerator", "denominator"])
"""Under these keys a `filter` stands with its `aggregation`."""
_LOGS = ("logsPanel", "logs_panel", "conditionMatchedLog", "condition_matched_log", "errorReportingPanel", "error_reporting_panel")
_SQL = ("opsAnalyticsQuery", "conditionSql")
_LABEL_IN_TEXT = re.compile(r"\$\{(?:(?:metric|resource)\.)?(?:labels?|metadata\.user_labels|metadata\.system_labels)\.([\w\-]+)\}")
_SNAKE = re.compile(r"([A-Z])")
_WORDS = re.compile(r"_([a-z])")
_FILTER_TYPES: Mapping[str, str] = {
    "METRIC_LABEL": "metric.labels",
    "RESOURCE_LABEL": "resource.labels",
    "USER_METADATA_LABEL": "metadata.user_labels",
    "SYSTEM_METADATA_LABEL": "metadata.system_labels",
}


def _get(holder: Json, key: str) -> Any:
    """A field under its JSON name or its proto name: `timeSeriesFilter`, `time_series_filter`."""
    return first(holder, key, _snake(key))


@functools.cache
def _snake(key: str) -> str:
    return _SNAKE.sub(r"_\1", key).lower()


def _camel(key: str) -> str:
    return _WORDS.sub(lambda m: m[1].upper(), key)


def _labels_in(*texts: Any) -> frozenset[str]:
    """The labels that a legend or a documentation prints."""
    return frozenset(label for text in texts if isinstance(text, str) for label in _LABEL_IN_TEXT.findall(text))


@dataclass(frozen=True, slots=True)
class _Board:
    """What a dashboard's own filters do: those with a variable stand where a query names it, others hold for every chart."""

    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    always: _Filter = _Filter()


def _board(document: Json) -> _Board:
    variables: dict[str, tuple[str, ...]] = {}
    always = _Filter()
    for each in mappings(_get(document, "dashboardFilters")):
        scope, key = _FILTER_TYPES.get(scalar(_get(each, "filterType")) or ""), scalar(_get(each, "labelKey"))
        path = f'{scope}."{key}"' if scope and key else ""
        name = scalar(_get(each, "templateVariable"))
        if name:
            variables[name] = (f'{path}="*"',) if path else ()
        else:
            always = _and(always, _label(path) if path else _Filter(unknown="a filter of the dashboard may ask for any label"))
    return _Board(variables, always)


def read_gcp_dashboard(document: Json) -> Found | None:
    if not any(isinstance(_get(document, layout), dict) for layout in _LAYOUTS):
        return None
    board = _board(document)
    items = [item for place in places(document) for item in ([place] if isinstance(place, Unread) else _chart(place, board))]
    return _found("gcp_dashboard", document, with_overlooked(document, items, skip=(*_LOGS, *_SQL)))


def _chart(place: Place, board: _Board) -> Iterator[Item]:
    """The queries that stand in one mapping of a dashboard."""
    holder = place.value
    if place.under(*_LOGS):
        return
    text = scalar(holder.get("filter"))
    if text and (_camel(place.path[-1]) in _FILTERED or "metric" in text):
        yield _filtered(place, text, _output(mapping(holder.get("aggregation"))), board)
    if promql := scalar(_get(holder, "prometheusQuery")):
        yield Query("promql", "panel", place.where, promql)
    if mql := scalar(_get(holder, "timeSeriesQueryLanguage")):
        yield Query("gcp_filter", "panel", place.where, mql, variables=board.variables)
    if sql := _get(holder, "opsAnalyticsQuery"):
        yield _sql(place.where, sql)


def _filtered(place: Place, text: str, output: _Output, board: _Board) -> Query:
    always = board.always
    root = EVERY_LABEL if always.unknown or output.root.all_except else output.root | LabelSet(always.labels)
    return Query(
        "gcp_filter",
        "panel",
        place.where,
        text,
        variables=board.variables,
        mentioned=always.labels,
        root=root,
        operator="none" if root.all_except else output.operator,
        conditions=() if root.all_except else output.conditions,
    )


def _sql(where: str, value: Any) -> Unread:
    return Unread(where, shown(value), "SQL over stored logs, which reads no metrics", (NO_METRIC,), narrowing=True)


def _found(kind: str, document: Json, items: Iterable[Item]) -> Found:
    title = scalar(_get(document, "displayName")) or ""
    owner = owner_of(mapping(_get(document, "userLabels")), mapping(document.get("labels")))
    return Found(kind, scalar(document.get("name")) or title, title, tuple(items), owner)


_THRESHOLDS = ("conditionThreshold", "conditionAbsent")
_QUERIES: Mapping[str, Language] = {"conditionPrometheusQueryLanguage": "promql", "conditionMonitoringQueryLanguage": "gcp_filter"}
_CONDITIONS = (*_THRESHOLDS, *_QUERIES, "conditionMatchedLog", "conditionSql")


def read_gcp_alert_policy(document: Json) -> Found | None:
    conditions = mappings(document.get("conditions"))
    if not any(isinstance(_get(condition, key), dict) for condition in conditions for key in _CONDITIONS):
        return None
    printed = _labels_in(at(document, "documentation", "content"), at(document, "documentation", "subject"))
    items = [item for number, condition in enumerate(conditions) for item in _condition(condition, number, printed)]
    return _found("gcp_alert_policy", document, with_overlooked(document, items, skip=("conditionSql", "condition_sql")))


def _condition(condition: Json, number: int, printed: frozenset[str]) -> Iterator[Item]:
    where = f"conditions/{number} {_get(condition, 'displayName') or ''}".strip()
    for key in _THRESHOLDS:
        holder = mapping(_get(condition, key))
        for prefix, aggregations in (("filter", "aggregations"), ("denominatorFilter", "denominatorAggregations")):
            if text := scalar(_get(holder, prefix)):
                output = _output(next(iter(mappings(_get(holder, aggregations))), {}))
                yield Query(
                    "gcp_filter", "alert", where, text, None, None, {}, printed, output.root, output.operator, conditions=output.conditions
                )
    for key, language in _QUERIES.items():
        if text := scalar(mapping(_get(condition, key)).get("query")):
            yield Query(language, "alert", where, text, mentioned=printed)
    if sql := _get(condition, "conditionSql"):
        yield _sql(where, sql)


_INDICATORS = ("goodServiceFilter", "badServiceFilter", "totalServiceFilter", "distributionFilter", "goodBadMetricFilter", "timeSeries")


def read_gcp_slo(document: Json) -> Found | None:
    """How series are put together is not said by the indicator, so every label of them is needed."""
    indicator = _get(document, "serviceLevelIndicator")
    if not isinstance(indicator, dict):
        return None
    items: list[Item] = []
    for place in places(mapping(cast("object", indicator))):
        if isinstance(place, Unread):
            items.append(place)
            continue
        texts = (scalar(_get(place.value, key)) for key in _INDICATORS)
        items += [Query("gcp_filter", "slo", place.where or "serviceLevelIndicator", text) for text in texts if text]
    return _found("gcp_slo", document, items)


READERS: tuple[JsonReader, ...] = (read_gcp_dashboard, read_gcp_alert_policy, read_gcp_slo)
