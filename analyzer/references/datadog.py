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

from analyzer.references.datadog_names import OTLP_ATTRIBUTES, made_of, made_of_any
from analyzer.references.grammars import VARIABLE, Misread, apart, grammar, parsed, protected, unquoted, variables_in
from analyzer.references.logql import NO_METRIC
from analyzer.references.patterns import ANY_NAME
from analyzer.references.places import Place, places
from analyzer.references.queries import Found, Item, Json, JsonReader, Query, Role, Unread
from analyzer.references.shapes import at, first, listing, mapping, mappings, scalar, shown, with_overlooked
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, Condition, LabelSet, NotUnderstood, Operator, Use

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
bracket: "(" expr ("," expr)* ")" _after*
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

WINDOW.9: /[A-Za-z_]\w*\s*\(\s*(?:[A-Za-z_]\w*\s*\(\s*(?:last|current|next)_\w+\s*\)\s*,\s*)?(?:last|current|next)_\w+[^()]*\)\s*:/
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

_EVENTS = re.compile(r"\s*(?:!\s*)?(?:[A-Za-z][\w-]*\s*\(\s*[\"']|[\"'])")
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
    return protected(scopes_known.replace(":", " "))


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
    name, pattern = _name(read.name)
    conditions = _merging(read)
    reason = read.reordered or keys.unknown or ("the metric is reached by a pattern of names" if pattern else None)
    if conditions is None or reason:
        yield Use(name, pattern, mentioned, EVERY_LABEL, why={"*": reason or _partitioned(read)})
    else:
        demand, why = _needed(keys.why)
        yield Use(name, False, mentioned, demand, _OPERATORS[read.aggregator], conditions=conditions, why=why)
    for source in made_of_any(name) if pattern else made_of(name):
        yield Use(source, False, mentioned, EVERY_LABEL, why={"*": f"Datadog computes {name} of it"})


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
    attributes = {attribute: f"{reason}: tag {tag}" for tag, reason in why.items() for attribute in OTLP_ATTRIBUTES.get(tag, ())}
    whole = {**attributes, **why}
    return LabelSet(frozenset(whole)), whole


def _name(name: str) -> tuple[str, bool]:
    """The name, or a pattern (True) where variables are pieces of it."""
    plain = apart(name)[::2]
    return (name, False) if len(plain) == 1 else (ANY_NAME.join(re.escape(part) for part in plain), True)


# --- searches in other products --------------------------------------------------------------------------------------------------------

_SEARCHED = re.compile(r"(?:^|(?<=[\s(\-!]))(@?[A-Za-z_][\w.\-/@]*)\s*:")
_IN_QUOTES = re.compile(r"\"(?:\\.|[^\"\\])*\"")


def _events(query: Query, found: list[_Event] | Misread) -> tuple[Use, ...] | NotUnderstood:
    if isinstance(found, Misread):
        touches = _touched(query.evaluated)
        return NotUnderstood(f"not a Datadog search: {found.reason}", (*touches, NO_METRIC) if touches else ())
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


# --- documents -------------------------------------------------------------------------------------------------------------------------

_SEARCHED_SOURCES: Mapping[str, str] = {
    "logs": "logs",
    "logs_stream": "logs",
    "logs_pattern_stream": "logs",
    "logs_transaction_stream": "logs",
    "spans": "spans",
    "trace_stream": "spans",
    "log_query": "logs",
    "apm_query": "spans",
}
"""Data sources, and fields of the older form, of searches in what OTLP brings."""
_STATS = re.compile(r"apm_(?:resource_stats|dependency_stats|metrics|stats_query)")
"""Counts that Datadog makes of all spans: they read these of a span."""
_STATS_SEARCH = 'spans("env:* service:* operation_name:* resource_name:*").rollup("count").by("*")'
_OTHER_SOURCES = re.compile(
    r"rum\w*|events?|event_stream|slo\w*|process|container|ci_\w+|audit\w*|security\w*|network\w*|profile?\w*|database\w*|synthetics\w*"
    r"|product_analytics\w*|incident\w*|issue_stream|on_call\w*|recommendations|error_tracking\w*|dora\w*|user_\w+|llm_\w+|ddsql\w*"
)
"""Products that read no metric, log or span of OTLP."""
_EVENT_KEYS = ("events", "custom_links", "markers", "template_variable_presets")
"""Under these keys a `q` is a search for events, or nothing is a query."""
_METRIC_QUERY = re.compile(r"[\w.]\s*\{")


@dataclass(frozen=True, slots=True)
class _Document:
    """What a document says of all its queries."""

    role: Role
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    mentioned: frozenset[str] = frozenset()
    split: tuple[str, ...] = ()

    def query(self, where: str, text: str, expression: str | None = None) -> Query:
        if expression is None and self.split:
            expression = f"({text}) by {{{','.join(self.split)}}}"
        return Query("datadog", self.role, where, text, expression=expression, variables=self.variables, mentioned=self.mentioned)


def _variables(document: Json) -> dict[str, tuple[str, ...]]:
    """A template variable stands for its tag with any value; without a prefix, for whatever is chosen."""
    variables: dict[str, tuple[str, ...]] = {}
    for each in mappings(document.get("template_variables")):
        name, prefix = scalar(each.get("name")), scalar(each.get("prefix"))
        if name:
            variables[name.lstrip("$")] = (f"{prefix}:*",) if prefix and each.get("type") != "group" else ()
    return variables


def _items(document: Json, about: _Document) -> Iterator[Item]:
    """Every query under a document's widgets, cells or specification, in order."""
    splits: dict[tuple[str, ...], tuple[str, ...]] = {}
    for place in places(document):
        if isinstance(place, Unread):
            yield place
            continue
        if dimensions := mappings(at(place.value, "split_config", "split_dimensions")):
            splits[place.path] = tuple(tag for d in dimensions if (tag := scalar(d.get("one_graph_per"))))
        if not place.under(*_EVENT_KEYS):
            split = tuple(tag for path, tags in splits.items() if path == place.path[: len(path)] for tag in tags)
            yield from _request(place, replace(about, split=split) if split else about)


def _request(place: Place, about: _Document) -> Iterator[Item]:
    """The queries that stand in one mapping: a request of the older form (`q`), or a query with its data source."""
    holder, key = place.value, place.path[-1] if place.path else ""
    source = scalar(holder.get("data_source")) or (key if key in _SEARCHED_SOURCES or _STATS.fullmatch(key) else "")
    if text := scalar(holder.get("q")):
        yield about.query(place.where, text)
    if source in _SEARCHED_SOURCES:
        yield _search(place, source, about)
    elif _STATS.fullmatch(source):
        yield about.query(place.where, shown(holder), _STATS_SEARCH)
    elif (text := scalar(holder.get("query"))) and not _OTHER_SOURCES.fullmatch(source):
        yield from _plain(place, text, source, about)


def _plain(place: Place, text: str, source: str, about: _Document) -> Iterator[Item]:
    """A `query` that is a text: a metric query, unless it stands in a widget that searches logs, monitors or events."""
    if place.value.get("type") == "log_stream":
        yield about.query(place.where, text, _expression("logs", text))
    elif source or "queries" in place.path[-2:-1] or _METRIC_QUERY.search(text):
        yield about.query(place.where, text)
        if place.value.get("semantic_mode") == "combined":
            yield Unread(place.where, text, "read together with the metrics that Datadog holds to be equivalent, in a table of its own")


def _search(place: Place, source: str, about: _Document) -> Query:
    """A search in logs or spans, written as monitors write it."""
    holder = place.value
    text = scalar(at(holder, "search", "query")) or scalar(holder.get("query_string")) or scalar(holder.get("search")) or ""
    computes = [mapping(holder.get("compute")), *mappings(holder.get("multi_compute"))]
    measures = [scalar(c.get("metric")) or scalar(c.get("facet")) for c in computes]
    groups = [scalar(g.get("facet")) for g in mappings(first(holder, "group_by", "groupBy"))]
    counted = any(computes) or bool(groups)
    expression = _expression(_SEARCHED_SOURCES[source], text, [m for m in measures if m], [g for g in groups if g], counted)
    return about.query(place.where, text or "*", expression)


def _expression(source: str, text: str, measures: Sequence[str] = (), groups: Sequence[str] = (), counted: bool = False) -> str:
    steps = [f"{source}({_quoted(text)})"]
    if counted:
        steps.append(f"rollup({', '.join(map(_quoted, ('count', *measures)))})")
    if groups:
        steps.append(f"by({_quoted(','.join(groups))})")
    return ".".join(steps)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_datadog_dashboard(document: Json) -> Found | None:
    """A dashboard, the older screenboard or timeboard, or a powerpack."""
    content = mapping(document.get("attributes")) if isinstance(at(document, "attributes", "group_widget"), dict) else document
    if not (
        _is_widget(content.get("group_widget"))
        or any(map(_is_widget, [*mappings(content.get("widgets")), *mappings(content.get("graphs"))]))
    ):
        return None
    items = list(_items(content, _Document("panel", _variables(content))))
    title = scalar(first(content, "title", "board_title", "name")) or ""
    return _found("datadog_dashboard", document, title, with_overlooked(content, items, _EVENT_KEYS, _searches_in(content)))


def _is_widget(value: Any) -> bool:
    widget = mapping(value)
    definition = mapping(first(widget, "definition", "tile_def"))
    return isinstance(definition.get("type"), str) or isinstance(first(definition, "requests", "viz"), list | dict | str)


def _searches_in(document: Json) -> set[str]:
    """Texts under `query` that are read as part of a search, or search what is neither metric, log nor span."""
    found = [place.value for place in places(document) if isinstance(place, Place)]
    return {text for holder in found if (text := scalar(holder.get("query")))}


_ALERT = re.compile(r".+ alert|service check|composite")
_NO_TELEMETRY = re.compile(
    r"(?:rum|synthetics|ci-\w+|audit|process|slo|event(?:-v2)?|error-tracking|database-monitoring|network\S*) alert|service check|composite"
)
"""Monitors of what no OTLP metric, log or span makes; service checks are a kind of their own."""
_WINDOWED = re.compile(r"\s*\w+\(\s*(?:\w+\(\s*)?(?:last|current|next)_")
_PRINTED = re.compile(r"\{\{[#^]?(?:is_\w+\s+\"|)\s*([\w.\-]+?)\.name\b")


def read_datadog_monitors(document: Json) -> Found | None:
    """One monitor, or `{"monitors": […]}`."""
    monitors = [document] if _is_monitor(document) else [m for m in mappings(document.get("monitors")) if _is_monitor(m)]
    if not monitors:
        return None
    items = [item for monitor in monitors for item in _monitor(monitor)]
    title = (scalar(monitors[0].get("name")) or "") if monitors[0] is document else "monitors"
    return _found("datadog_monitors", document, title, items)


def _is_monitor(document: Json) -> bool:
    text, kind = document.get("query"), document.get("type")
    if not isinstance(text, str):
        return False
    return bool(_ALERT.fullmatch(kind)) if isinstance(kind, str) else bool(_WINDOWED.match(text))


def _monitor(monitor: Json) -> Iterator[Item]:
    if _NO_TELEMETRY.fullmatch(scalar(monitor.get("type")) or ""):
        return
    printed = frozenset(_PRINTED.findall(scalar(monitor.get("message")) or ""))
    about = _Document("alert", mentioned=printed)
    where = f"monitor {scalar(monitor.get('name')) or ''}".strip()
    if text := scalar(monitor.get("query")):
        yield about.query(where, text)
    for item in _items({"variables": listing(at(monitor, "options", "variables"))}, about):
        yield replace(item, where=f"{where}: {item.where}")


def read_datadog_slo(document: Json) -> Found | None:
    """An SLO over metrics (a ratio or time slices). One over monitors reads nothing itself."""
    query, specification = mapping(document.get("query")), mapping(document.get("sli_specification"))
    ratio = [(key, text) for key in ("numerator", "denominator") if (text := scalar(query.get(key)))]
    counts = scalar(document.get("type")) in {"metric", "monitor", "time_slice"} and isinstance(document.get("thresholds"), list)
    if not counts or not (ratio or specification or document.get("monitor_ids")):
        return None
    about = _Document("slo")
    items: list[Item] = [about.query(key, text) for key, text in ratio]
    items += _items({"sli_specification": specification}, about)
    return _found("datadog_slo", document, scalar(document.get("name")) or "", items)


def read_datadog_notebook(document: Json) -> Found | None:
    content = mapping(document.get("attributes")) if "attributes" in document else document
    cells = mappings(content.get("cells"))
    if not any(isinstance(at(cell, "attributes", "definition"), dict) for cell in cells):
        return None
    items = list(_items({"cells": cells}, _Document("panel", _variables(content))))
    title = scalar(content.get("name")) or ""
    return _found("datadog_notebook", document, title, with_overlooked({"cells": cells}, items, _EVENT_KEYS, _searches_in(content)))


def _found(kind: str, document: Json, title: str, items: Iterable[Item]) -> Found:
    tags = [t for t in listing(document.get("tags")) if isinstance(t, str)]
    teams = {tag.partition(":")[2] for tag in tags if tag.startswith("team:")}
    return Found(kind, scalar(document.get("id")) or title, title, tuple(items), next(iter(teams)) if len(teams) == 1 else None)


READERS: tuple[JsonReader, ...] = (read_datadog_dashboard, read_datadog_monitors, read_datadog_slo, read_datadog_notebook)
