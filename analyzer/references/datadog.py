"""Datadog: its metric queries, and the dashboards, monitors, SLOs and notebooks that hold them.

A query aggregates twice before anything else happens: over time, series by series, and then over the tags that `by` does not name
(docs.datadoghq.com/metrics, "Anatomy of a metric query"). All functions and arithmetic see groups, so what a query needs of a metric is
told by its aggregator, scope and `by` alone, and by whether the rollup over time commutes with the aggregator.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lark import Lark, Transformer

from analyzer.references.grammars import VARIABLE, Misread, apart, grammar, parsed, unquoted, variables_in
from analyzer.references.logql import NO_METRIC
from analyzer.references.queries import Query
from analyzer.references.shapes import touched
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, Condition, LabelSet, NotUnderstood, Operator, Use

OTLP_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "service": ("service.name",),
    "env": ("deployment.environment", "deployment.environment.name"),
    "version": ("service.version",),
    "host": ("host.name", "host.id", "datadog.host.name", "k8s.node.name", "k8s.cluster.name"),
    "region": ("cloud.region",),
    "zone": ("cloud.availability_zone",),
    "availability-zone": ("cloud.availability_zone",),
    "cloud_provider": ("cloud.provider",),
    "project_id": ("cloud.account.id",),
    "container_id": ("container.id",),
    "container_name": ("container.name", "k8s.container.name"),
    "image_name": ("container.image.name",),
    "image_tag": ("container.image.tag", "container.image.tags"),
    "runtime": ("container.runtime",),
    "kube_container_name": ("k8s.container.name",),
    "kube_cluster_name": ("k8s.cluster.name",),
    "kube_namespace": ("k8s.namespace.name",),
    "kube_deployment": ("k8s.deployment.name",),
    "kube_replica_set": ("k8s.replicaset.name",),
    "kube_stateful_set": ("k8s.statefulset.name",),
    "kube_daemon_set": ("k8s.daemonset.name",),
    "kube_job": ("k8s.job.name",),
    "kube_cronjob": ("k8s.cronjob.name",),
    "pod_name": ("k8s.pod.name",),
    "kube_node": ("k8s.node.name",),
    "ecs_cluster_name": ("aws.ecs.cluster.arn",),
    "task_arn": ("aws.ecs.task.arn",),
    "task_family": ("aws.ecs.task.family",),
    "task_version": ("aws.ecs.task.revision",),
}
"""Tags that Datadog makes of OTLP resource attributes (docs.datadoghq.com, "OpenTelemetry semantic conventions and Datadog conventions"):
who needs the tag needs the attribute."""

_COUNTED = Condition("counter", frozenset(), "read as a count or rate: merged as a counter, with the resets of each input")
_ALIVE = Condition("alive", frozenset(), "averaged over time and then added up: equal while every input is there all the time")
_UNMERGED = Condition("functional", frozenset(), "averaged over time before the extreme is taken: equal only where nothing merges")
_COMMUTES: Mapping[tuple[str, str], tuple[Condition, ...]] = {
    ("sum", "sum"): (),
    ("sum", "as_count"): (_COUNTED,),
    ("sum", "as_rate"): (_COUNTED,),
    ("sum", "avg"): (_ALIVE,),
    ("max", "max"): (),
    ("min", "min"): (),
    ("max", "avg"): (_UNMERGED,),
    ("min", "avg"): (_UNMERGED,),
}
"""By aggregator over tags and rollup over time (`avg` is the default): what must hold for series to be merged before the rollup. Other
pairs see how series are cut. Series of 10,0 and of 0,10 average to 5 and 5; their merged maximum averages to 10."""
_OPERATORS: Mapping[str, Operator] = {"sum": "sum", "min": "min", "max": "max"}


@dataclass(frozen=True, slots=True)
class _Read:
    """One metric of a query as written. `rollups` are the suffixes that say how points are put together over time."""

    aggregator: str
    name: str
    scope: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    rollups: tuple[str, ...] = ()
    reordered: str | None = None


@dataclass(frozen=True, slots=True)
class _Scope:
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _By:
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Suffix:
    name: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Event:
    """A search in another product of Datadog: `logs("service:a").index("*").rollup("count").by("host").last("5m")`."""

    source: str
    search: str = ""
    suffixes: tuple[_Suffix, ...] = ()

    def args(self, *names: str) -> list[str]:
        return [arg for suffix in self.suffixes if suffix.name in names for arg in suffix.args]


_Reads = tuple[_Read, ...]

# --- the grammar -----------------------------------------------------------------------------------------------------------------------

_AGGREGATOR = r"(?:[A-Za-z]\w*(?:\.\d+)?|count\s*\(\s*v\s*:[^()]*\))"
"""Also `p99.9`, and the thresholds of distributions: `count(v: v<=1)`."""
_NAME = rf"(?:[^\W\d]|{VARIABLE})(?:[\w.]|{VARIABLE})*"
_TAG = r"(?:\"[^\"]*\"|'[^']*'|\$\{[^{}]*\}|\{\{[^{}]*\}\}|[^\s,(){}\"'])+"

_GRAMMAR = rf"""
start: WINDOW? expr ("," expr)* ";"?
expr: _term (_op _term)*
_term: _sign* (metric | call | bracket | number | STRING)
_sign: "-" | "+" | "!"
_op: OP | "-" | "+" | "*"
metric: METRIC (scope | _after)*
call: FUNCTION "(" (_arg | ",")* ")" _after*
bracket: "(" expr ")" _after*
number: NUMBER by?
_arg: KEYWORD? expr
_after: suffix | by
suffix: "." FUNCTION "(" (KEYWORD | METRIC | NUMBER | STRING | "-" | ",")* ")"
scope: "{{" _item* "}}"
by: BY "{{" (TAG | ",")* "}}"
_item: TAG | "," | LOGIC | choice | inner
choice: IN "(" (TAG | ",")* ")"
inner: "(" _item* ")"

events: "!"? event ((OP | "-" | "+" | "*") "!"? event)*
event: (SOURCE "(" STRING ")" | STRING | NUMBER) esuffix*
esuffix: "." FUNCTION "(" (KEYWORD | METRIC | NUMBER | STRING | "-" | ",")* ")"

WINDOW.9: /[A-Za-z_]\w*\s*\(\s*(?:[A-Za-z_]\w*\s*\(\s*(?:last|current)_\w+\s*\)\s*,\s*)?(?:last|current)_\w+[^()]*\)\s*:/
METRIC.4: /{_AGGREGATOR}\s*:\s*{_NAME}|{_NAME}/
FUNCTION.5: /[A-Za-z_]\w*(?=\s*\()(?!\s*\(\s*v\s*:)/
SOURCE: /[A-Za-z][\w-]*/
KEYWORD.6: /[A-Za-z_]\w*\s*=(?!=)/
NUMBER.7: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+/
STRING.8: /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/
OP.2: />=|<=|==|!=|&&|\|\||[><\/%^]/
BY.8: /by(?=\s*\{{)/i
IN.8: /(?:not\s+)?in(?=\s*\()/i
LOGIC.8: /(?:and|or|not)(?=[\s(){{}},]|$)/i
TAG.1: /{_TAG}/
%ignore /\s+/
"""
_WORDS = frozenset(
    [
        "basic",
        "agile",
        "robust",
        "linear",
        "seasonal",
        "mean",
        "max",
        "min",
        "last",
        "sum",
        "avg",
        "area",
        "norm",
        "l2norm",
        "desc",
        "asc",
        "zero",
        "null",
    ]
)
"""What stands bare among a function's arguments and is no metric."""


class _Actions(Transformer[Any, Any]):
    """Folds a query to the metrics it reads, and a search in another product to events."""

    def start(self, children: list[Any]) -> _Reads:
        return _flat(children)

    def expr(self, children: list[Any]) -> _Reads:
        # Monitors may have `by {host}` after the threshold: it groups all that stands before it.
        return _grouped(children)

    def metric(self, children: list[Any]) -> _Reads:
        aggregator, colon, name = str(children[0]).rpartition(":")
        if not colon and len(children) == 1 and (name in _WORDS or re.fullmatch(VARIABLE, name)):
            return ()
        plain = re.sub(r"\W.*", "", aggregator.strip()) if "(" in aggregator else aggregator.strip()
        return (functools.reduce(_followed, children[1:], _Read(plain or "avg", name.strip())),)

    def call(self, children: list[Any]) -> _Reads:
        return _grouped(children)

    def bracket(self, children: list[Any]) -> _Reads:
        return _grouped(children)

    def number(self, children: list[Any]) -> _By:
        return next((c for c in children if isinstance(c, _By)), _By())

    def suffix(self, children: list[Any]) -> _Suffix:
        return _Suffix(str(children[0]), tuple(unquoted(str(c)) for c in children[1:]))

    esuffix = suffix

    def by(self, children: list[Any]) -> _By:
        return _By(_tags(children))

    def scope(self, children: list[Any]) -> _Scope:
        return _Scope(_tags(children))

    inner = scope

    def choice(self, _children: list[Any]) -> None:
        """The values of `k IN (a, b)` are no keys."""

    def event(self, children: list[Any]) -> _Event:
        suffixes = tuple(c for c in children if isinstance(c, _Suffix))
        words = [str(c) for c in children if not isinstance(c, _Suffix)]
        return _Event(words[0], unquoted(words[1]), suffixes) if len(words) == 2 else _Event("", unquoted(words[0]), suffixes)

    def events(self, children: list[Any]) -> list[_Event]:
        return [c for c in children if isinstance(c, _Event)]


def _flat(children: Iterable[Any]) -> _Reads:
    return tuple(read for child in children if isinstance(child, tuple) for read in child)


def _grouped(children: list[Any]) -> _Reads:
    """The reads of a part of a query, each with the tags that a `by` around it names too."""
    tags = tuple(tag for child in children if isinstance(child, _By) for tag in child.tags)
    reads = _flat(children)
    return tuple(replace(read, by=(*read.by, *tags)) for read in reads) if tags else reads


def _tags(children: Iterable[Any]) -> tuple[str, ...]:
    """The tags of a scope or `by`. In `service:(a OR b)` what stands in the brackets are values."""
    tags: list[str] = []
    before = ""
    for child in children:
        if isinstance(child, _Scope):
            tags += child.tags if not before.endswith(":") else [t for t in child.tags if ":" in t]
        elif child is not None and child.type == "TAG":
            before = str(child)
            tags.append(before)
    return tuple(tags)


def _followed(read: _Read, after: _Scope | _By | _Suffix) -> _Read:
    match after:
        case _Scope(tags):
            return replace(read, scope=(*read.scope, *tags))
        case _By(tags):
            return replace(read, by=(*read.by, *tags))
        case _Suffix("as_count" | "as_rate" as name, _):
            return replace(read, rollups=(*read.rollups, name))
        case _Suffix("rollup", args):
            return replace(read, rollups=(*read.rollups, _time_aggregator(args)))
        case _Suffix("weighted", _):
            return replace(read, reordered="weighted() sees how series are cut")
        case _:
            return read


def _time_aggregator(args: Sequence[str]) -> str:
    """`.rollup(sum, 60)`, `.rollup('max')`; `.rollup(60)` leaves the default."""
    words = [arg for arg in args if not re.match(r"[\d$.\-]", arg)]
    return words[0] if words else "avg"


@functools.cache
def _language() -> Lark:
    return grammar(_GRAMMAR, _Actions(), ("start", "events"))


# --- queries ---------------------------------------------------------------------------------------------------------------------------

_EVENTS = re.compile(r"\s*!?\s*(?:[A-Za-z][\w-]*\s*\(\s*[\"']|[\"'])")
"""Searches of other products begin with a text; functions of metrics never do."""
_SIGNALS: Mapping[str, Signal] = {
    "logs": Signal.LOGS,
    "log": Signal.LOGS,
    "spans": Signal.TRACES,
    "trace-analytics": Signal.TRACES,
    "apm": Signal.TRACES,
}
"""Which products search what OTLP brings. Others (`events`, `rum`, `synthetics`, …) read nothing that a gateway sees."""


def read_datadog(query: Query) -> tuple[Use, ...] | NotUnderstood:
    """The metrics of a metric query or metric monitor; of searches in logs and spans, the attributes."""
    text = query.evaluated
    if _EVENTS.match(text):
        return _events(query, parsed(_language(), text, "events"))
    found = parsed(_language(), text)
    if isinstance(found, Misread):
        return NotUnderstood(f"not a Datadog query: {found.reason}", _touched(text))
    if not found and variables_in(text):
        return NotUnderstood("a variable stands for the whole query", ())
    return _distinct(use for read in found for use in _uses(read, query))


_BRACES = re.compile(r"(?<!\$)\{(?:[^{}]|\$\{[^{}]*\})*\}")


def _touched(text: str) -> tuple[str, ...]:
    """Patterns of the names that a text may hold: `sum:` is no part of one, and a variable in a scope is a tag."""
    scopes_known = _BRACES.sub(lambda scope: re.sub(VARIABLE, " ", scope[0]), text)
    return touched(scopes_known.replace(":", " "))


def _distinct(uses: Iterable[Use]) -> tuple[Use, ...]:
    return tuple({(u.name, u.pattern, u.demand, u.operator, u.mentioned, u.conditions): u for u in uses}.values())


@dataclass(frozen=True, slots=True)
class _Keys:
    """Tag keys with what names them; `unknown` says why there may be others."""

    why: Mapping[str, str] = field(default_factory=dict[str, str])
    unknown: str | None = None

    def __or__(self, other: _Keys) -> _Keys:
        return _Keys({**self.why, **other.why}, self.unknown or other.unknown)


def _keys(tags: Iterable[str], reason: str, query: Query) -> _Keys:
    return functools.reduce(_Keys.__or__, (_key(tag, reason, query) for tag in tags), _Keys())


def _key(tag: str, reason: str, query: Query) -> _Keys:
    """The key of `k:v`, `!k:v`, `k`; of a template variable, what the document says it stands for (`k:*`)."""
    head, colon, _ = tag.strip("!-#\"'").partition(":")
    names = variables_in(head)
    if names and re.fullmatch(rf"(?:{VARIABLE})(?:\.\w+)?", head):
        return _variable(names[0], reason, query)
    if names or "*" in head.strip("*") or (head.startswith("*") and colon):
        return _Keys({}, f"{tag} may be any tag")
    return _Keys({head: reason} if head.strip("*") else {})


def _variable(name: str, reason: str, query: Query) -> _Keys:
    values = query.variables.get(name, ())
    keys = {value.partition(":")[0] for value in values if ":" in value}
    if len(keys) == 0 or any(":" not in value for value in values):
        return _Keys({}, f"which tag ${name} filters is known only when the query runs")
    return _Keys(dict.fromkeys(keys, f"{reason} (${name})"))


def _uses(read: _Read, query: Query) -> Iterator[Use]:
    scope, by = _keys(read.scope, "filter", query), _keys(read.by, "group by", query)
    keys = scope | by
    mentioned = frozenset(keys.why) | query.mentioned
    conditions = _merging(read)
    blind = read.reordered or keys.unknown or (_partitioned(read) if conditions is None else None)
    demand, why = (EVERY_LABEL, {"*": blind}) if blind else _needed(keys.why)
    for name, pattern in _names(read.name):
        if blind:
            yield Use(name, pattern, mentioned, demand, why=why)
        else:
            yield Use(name, pattern, mentioned, demand, _OPERATORS[read.aggregator], conditions=conditions or (), why=why)


def _partitioned(read: _Read) -> str:
    what = f"{read.aggregator} of {' and '.join(read.rollups)} over time" if read.aggregator in _OPERATORS else read.aggregator
    return f"{what} sees how series are cut"


def _merging(read: _Read) -> tuple[Condition, ...] | None:
    """What must hold for series to be merged by the aggregator; None: they must not be."""
    found = [_COMMUTES.get((read.aggregator, rollup)) for rollup in read.rollups or ("avg",)]
    if any(conditions is None for conditions in found):
        return None
    return tuple(dict.fromkeys(c for conditions in found for c in conditions or ()))


def _needed(why: Mapping[str, str]) -> tuple[LabelSet, dict[str, str]]:
    """The tags, and the OTLP attributes that they are made of."""
    made_of = {attribute: f"{reason}: tag {tag}" for tag, reason in why.items() for attribute in OTLP_ATTRIBUTES.get(tag, ())}
    whole = {**made_of, **why}
    return LabelSet(frozenset(whole)), whole


def _names(name: str) -> list[tuple[str, bool]]:
    parts = apart(name)
    if len(parts) == 1:
        return [(name, False)]
    return [("".join(".*" if i % 2 else re.escape(part) for i, part in enumerate(parts)), True)]


# --- searches in other products --------------------------------------------------------------------------------------------------------

_SEARCHED = re.compile(r"(?:^|(?<=[\s(\-!]))(@?[A-Za-z_][\w.\-/@]*)\s*:")
_IN_QUOTES = re.compile(r"\"(?:\\.|[^\"\\])*\"")


def _events(query: Query, found: list[_Event] | Misread) -> tuple[Use, ...] | NotUnderstood:
    if isinstance(found, Misread):
        return NotUnderstood(f"not a Datadog search: {found.reason}", (NO_METRIC,))
    return _distinct(_searched(event, _SIGNALS[event.source], query) for event in found if event.source in _SIGNALS)


def _searched(event: _Event, signal: Signal, query: Query) -> Use:
    """What a search reads of logs or spans: every attribute where records are listed, else what it filters, groups and measures by."""
    facets = [f.strip() for arg in event.args("by") for f in arg.split(",")]
    measures = event.args("rollup")[1:]
    filters = [*_SEARCHED.findall(_IN_QUOTES.sub('""', event.search)), *re.findall(VARIABLE, event.search)]
    keys = _keys(filters, "filter", query) | _keys(facets, "group by", query) | _keys(measures, "measure", query)
    named = {key.removeprefix("@"): reason for key, reason in keys.why.items()}
    mentioned = frozenset(named) | query.mentioned
    listed = keys.unknown or (None if event.args("rollup") else "records are shown whole")
    if listed:
        return Use("", False, mentioned, EVERY_LABEL, why={"*": listed}, signal=signal)
    demand, why = _needed(named)
    return Use("", False, mentioned, demand, why=why, signal=signal)
