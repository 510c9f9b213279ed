"""One query of Grafana: which language it is in, by its data source where that is known and by its own fields where not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from analyzer.references.logql import NO_METRIC
from analyzer.references.queries import Item, Json, Query, Recorded, Role, Unread
from analyzer.references.shapes import at, listing, mapping, mappings, scalar, shown, texts_in

_PROMETHEUS_LIKE = re.compile(r"prometheus|promscale|promxy|victoriametrics|vmselect|mimir|thanos|cortex|chronosphere")
_OTHER_LANGUAGE = re.compile(
    r"logs|elastic|opensearch|influx|graphite|sql|postgres|mssql|cloudwatch|clickhouse|bigquery|timestream|athena|redshift|snowflake|databricks|oracle|mongo"
    r"|jaeger|zipkin|xray|pyroscope|phlare|parca|testdata|random|infinity|json|csv|azure|monitor|opentsdb|druid|zabbix|splunk|newrelic|dynatrace|appdynamics"
    r"|honeycomb|sentry|github|gitlab|jira|alertmanager|redis|simpod|marcusolson|googlesheets|pagerduty|servicenow|iot|sitewise|wavefront|falconlogscale|humio"
)
"""Plugin types whose queries are in a language of their own; looked at after the Prometheus-like and the read ones."""
SKIPPED = frozenset({"-- dashboard --", "-- grafana --", "grafana", "__expr__", "-100", "dashboard"})
"""Not stores: another panel's result (read there), Grafana's own annotations, arithmetic over other queries."""
_MIXED = frozenset({"", "-- mixed --", "mixed", "default", "-- default --", "datasource", "null"})
_DEFAULT = frozenset({"", "default", "-- default --", "null"})
_OPEN = "$"
"""A variable or input of which nobody says what it stands for."""
_LOGQL = re.compile(r"\}\s*(?:\|=|\|~|\||!=\s*[\"`]|!~\s*[\"`])")
"""What may follow a stream selector and never follows a PromQL selector."""
_TEXT_OR_VARIABLE = re.compile(r"\"(?:\\.|[^\"\\])*+\"|'(?:\\.|[^'\\])*+'|`[^`]*+`|\$\{[^{}]{0,200}\}")
_NAMELESS = re.compile(r"(?<![\w:.\"])\{")
_REFERENCE = re.compile(r"\$\{(\w{1,200})(?::[^}]{0,200})?\}|\$(\w+)|\[\[(\w{1,200})(?::[^\]]{0,200})?\]\]")
"""What is longer is no variable: a text of nothing but openings takes linear time."""
_PROMQL_FIELDS = ("expr", "query", "expression", "queryText", "rawQuery", "promql", "promQL")
"""Where Prometheus-like plugins keep their text; `expr` in all but a few."""
_NOT_A_QUERY = frozenset(
    {"refId", "datasource", "legendFormat", "alias", "aliasBy", "resultFormat", "format", "queryType", "intervalFactor", "key", "uid"}
)


@dataclass(frozen=True, slots=True)
class Source:
    """A data source's plugin type in small letters; not `sure` when it is only the name that somebody gave it."""

    kind: str = ""
    sure: bool = False


UNKNOWN = Source()


@dataclass(frozen=True, slots=True)
class Scope:
    """What a document says about all its queries: values of variables, and data sources' types by variable, input, uid and name.

    `hearsay` are types that documents of elsewhere give by uid and name, where this one's own surroundings give none: another Grafana may
    call another data source so. `default` is the type of the data source that is asked where none is named.
    """

    variables: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hearsay: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default: str = ""
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Of variables that a query fills: patterns of the names that they may hold."""
    explored: frozenset[str] | None = frozenset()
    """Data sources (uid or name, as written) that ad-hoc filters apply to; None: any."""

    def source(self, reference: Any) -> Source:
        """The type behind a reference: a variable of type datasource or an input first (they decide at run time), then the type written."""
        if isinstance(reference, dict):
            return self._of_mapping(mapping(reference))
        return self._of_name(reference) if isinstance(reference, str) else UNKNOWN

    def asked(self, reference: Any) -> Source:
        """As `source`, and the default where none is named. That is never sure: a panel may have been made when another one was it."""
        found = self.source(reference)
        return Source(self.default.casefold()) if found.kind in _DEFAULT else found

    def _of_mapping(self, reference: Json) -> Source:
        uid, kind = scalar(reference.get("uid")) or scalar(reference.get("name")) or "", scalar(reference.get("type")) or ""
        if uid.casefold() in SKIPPED | _MIXED - {""}:
            return Source(uid.casefold(), True)
        named = self._of_name(uid)
        if named.sure or not kind or _REFERENCE.fullmatch(kind):
            return named
        return Source(kind.casefold(), kind.casefold() not in _MIXED)

    def _of_name(self, name: str) -> Source:
        match = _REFERENCE.fullmatch(name.strip())
        known = self.sources.get(next(filter(None, match.groups()))) if match else self.sources.get(name)
        if known:
            return Source(known.casefold(), True)
        plain = _OPEN if match else name.strip().casefold()
        heard = None if plain in SKIPPED else self.hearsay.get(name)
        return Source((heard or plain).casefold(), plain in SKIPPED)

    def explorable(self, reference: Any) -> bool:
        if self.explored is None:
            return True
        written = written_as(reference) or "$"
        either = self.explored | {written}
        return bool(self.explored) and (written in self.explored or any(name.startswith("$") for name in either))


def written_as(reference: Any) -> str | None:
    """A data source as a document writes it; None: the default one, or none named."""
    name = scalar(mapping(reference).get("uid")) or scalar(mapping(reference).get("name")) if isinstance(reference, dict) else reference
    if not isinstance(name, str) or name.casefold() in _MIXED:
        return None
    match = _REFERENCE.fullmatch(name.strip())
    return "$" + next(filter(None, match.groups())) if match else name


@dataclass(frozen=True, slots=True)
class Place:
    """Where a query stands in its document, and what the document does with its output."""

    role: Role
    where: str
    scope: Scope
    rule: str | None = None
    mentioned: frozenset[str] = frozenset()
    records: Recorded | None = None
    explorable: bool = False

    def query(self, query: Query) -> Query:
        return replace(query, mentioned=query.mentioned | self.mentioned, explorable=self.explorable, records=self.records)

    def start(self, language: Any, text: str) -> Query:
        scope = self.scope
        return self.query(Query(language, self.role, self.where, text, self.rule, variables=scope.variables, patterns=scope.patterns))

    def unread(self, text: str, reason: str, touches: tuple[str, ...]) -> Unread:
        return Unread(self.where, text[:2_000], reason, touches)


def read_target(target: Json, above: Source, place: Place) -> Iterator[Item]:
    """The queries of one target; `above` is the data source of what it stands in."""
    source = _asked(place.scope.source(target.get("datasource")), above)
    place = replace(place, mentioned=place.mentioned | legend_labels(target.get("legendFormat")) | legend_labels(target.get("alias")))
    yield from _reader(source, target)(target, source, place)


def _asked(own: Source, above: Source) -> Source:
    """Grafana asks the panel's data source, unless that is mixed; a target's own is a memory of where it was written."""
    if own.kind in _MIXED or (above.sure and above.kind not in _MIXED | SKIPPED and own.kind not in SKIPPED):
        return above
    return own


_Reader = Callable[[Json, Source, Place], Iterable[Item]]


def language_of(source: Source, text: Any) -> str:
    """`promql`, `logql`, …; `other` is read by nobody, `none` is no store at all; empty: not known. A mere name is not believed where it
    does not fit the text's place: `text` stands in `expr`, the field of PromQL and LogQL."""
    if source.kind in SKIPPED:
        return "none"
    found = "" if source.kind in _MIXED else next((name for pattern, name in _LANGUAGES if pattern.search(source.kind)), "")
    return found if source.sure or found in ("promql", "logql") or not text else ""


def _reader(source: Source, target: Json) -> _Reader:
    return _READERS.get(language_of(source, scalar(target.get("expr"))), _by_shape)


def _nothing(target: Json, source: Source, place: Place) -> Iterable[Item]:
    return ()


def _by_shape(target: Json, source: Source, place: Place) -> Iterable[Item]:
    """A query whose data source is not known by type: what its fields say."""
    if str(target.get("queryType")).startswith("traceql"):
        return _traceql(target, source, place)
    for fields, reader in _SHAPES:
        if any(at(target, *path) for path in fields):
            return reader(target, source, place)
    return _other(target, source, place)


def _is_logql(text: str) -> bool:
    """What stands in a text, `"${a}|${b}"`, follows no selector."""
    return bool(_LOGQL.search(text)) and bool(_LOGQL.search(_TEXT_OR_VARIABLE.sub('""', text)))


def _promql(target: Json, source: Source, place: Place) -> Iterator[Item]:
    value = next((target[f] for f in _PROMQL_FIELDS if target.get(f) and target[f] is not True), None)
    text = scalar(value)
    if text is not None:
        logs = _is_logql(text) or ("loki" in source.kind and _NAMELESS.search(text))
        yield place.start("logql" if logs else "promql", text)
    elif value and not isinstance(value, str):
        yield place.unread(shown(value), "a query that is no text", ())
    elif value is None:
        yield from _unknown_field(target, place)


_SETTINGS = _NOT_A_QUERY | {"editorMode", "interval", "step", "type", "timezone", "builderMode", "queryMode", "name", "fields"}


def _unknown_field(target: Json, place: Place) -> Iterator[Item]:
    """No query where queries stand: whatever else is said may be one."""
    texts = [t for _, t in texts_in(target, _SETTINGS) if t.strip()]
    touches = names_in(texts, place.scope.variables)
    if touches:
        yield place.unread("\n".join(texts), "a query in a field that is not known", touches)


def _logql(target: Json, source: Source, place: Place) -> Iterator[Item]:
    text = scalar(target.get("expr")) or scalar(target.get("query"))
    if text is not None:
        if source.sure or _is_logql(text) or _NAMELESS.search(text):
            yield place.start("logql", text)
        else:
            yield place.start("promql", text)


def _traceql(target: Json, source: Source, place: Place) -> Iterator[Item]:
    """Tempo: a TraceQL text, a search form of filters, or the service map, which Grafana draws from Prometheus metrics."""
    if target.get("queryType") == "serviceMap":
        text = scalar(target.get("serviceMapQuery")) or "service map"
        yield replace(place.start("names", text), expression=_SERVICE_GRAPH)
        return
    text = scalar(target.get("query"))
    filters = [f for f in map(_trace_filter, mappings(target.get("filters"))) if f]
    if target.get("queryType") == "traceqlSearch" and filters:
        yield place.start("traceql", "{" + " && ".join(filters) + "}")
    elif text is not None:
        yield place.start("traceql", text)
    elif scalar(target.get("search")) or scalar(target.get("serviceName")):
        yield from _other(target, source, place)


_SERVICE_GRAPH = r"traces_(?:service_graph|spanmetrics)_.*"
"""The metrics of Tempo's metrics-generator, which Grafana's service graph reads."""


def _trace_filter(given: Json) -> str | None:
    tag, scope, value = scalar(given.get("tag")), scalar(given.get("scope")) or "unscoped", given.get("value")
    if tag is None:
        return None
    path = tag if scope == "intrinsic" else f".{tag}" if scope == "unscoped" else f"{scope}.{tag}"
    values = [v for v in map(scalar, value if isinstance(value, list) else [value]) if v]
    if not values:
        return f"{path} != nil"
    operator = scalar(given.get("operator")) or "="
    quoted = given.get("valueType") in (None, "string") or len(values) > 1
    joined = json.dumps("|".join(values)) if quoted else values[0]
    return f"{path} {operator if len(values) == 1 else '=~'} {joined}"


def _datadog(target: Json, source: Source, place: Place) -> Iterator[Item]:
    text = next((t for f in ("query", "rawQuery", "rawQueryText", "expr") if isinstance(t := target.get(f), str) and t.strip()), None)
    metric = scalar(target.get("metric"))
    if text is None and metric is not None:
        tags = ",".join(filter(None, map(scalar, listing(target.get("tags"))))) or "*"
        groups = ",".join(filter(None, map(scalar, listing(target.get("groups")))))
        text = f"{scalar(target.get('aggregator')) or 'avg'}:{metric}{{{tags}}}" + (f" by {{{groups}}}" if groups else "")
    if text is not None:
        yield place.start("datadog", text)
    for query in mappings(target.get("queries")):
        yield from _datadog({k: v for k, v in query.items() if k != "queries"}, source, place)


def _gcp(target: Json, source: Source, place: Place) -> Iterator[Item]:
    """Google Cloud Monitoring: PromQL, lists of filters (`[key, op, value, "AND", …]`), or MQL."""
    prom = scalar(at(target, "promQLQuery", "expr"))
    if prom is not None and target.get("queryType") in (None, "promQL"):
        yield place.start("promql", prom)
        return
    holders = [target, *(mapping(target.get(key)) for key in ("timeSeriesList", "metricQuery"))]
    read = [item for holder in holders for item in _gcp_filters(holder, place)]
    mql = [scalar(at(target, key, "query")) for key in ("timeSeriesQuery", "metricQuery")]
    read += [place.start("gcp_filter", text) for text in mql if text]
    yield from read or _other(target, source, place)


def _gcp_filters(holder: Json, place: Place) -> Iterator[Query]:
    parts = [scalar(p) or "" for p in listing(holder.get("filters"))]
    terms = [_gcp_term(*triple) for triple in _whole([parts[i : i + 3] for i in range(0, len(parts), 4)])]
    metric = scalar(holder.get("metricType"))
    if metric is not None:
        terms.insert(0, f"metric.type = {json.dumps(metric)}")
    if terms:
        groups = filter(None, map(scalar, listing(holder.get("groupBys")) + listing(holder.get("groupByFields"))))
        started = place.start("gcp_filter", " AND ".join(terms))
        yield replace(started, mentioned=started.mentioned | {g.rpartition(".")[2] for g in groups})


def _gcp_term(key: str, operator: str, value: str) -> str:
    """Grafana writes `=~`; the API has a function for it."""
    said = json.dumps(value)
    return f"{key} {operator[:-1]} monitoring.regex.full_match({said})" if operator in ("=~", "!=~") else f"{key} {operator} {said}"


def _whole(triples: list[list[str]]) -> Iterator[tuple[str, str, str]]:
    for triple in triples:
        if len(triple) == 3 and triple[0]:
            yield triple[0], triple[1], triple[2]


def _other(target: Json, source: Source, place: Place) -> Iterator[Item]:
    """A language that is not read: what it names in its texts is protected, and records of logs where it may be of them."""
    texts = [t for _, t in texts_in(target, _NOT_A_QUERY) if t.strip()]
    touches = names_in(texts, place.scope.variables)
    if touches:
        language = source.kind if source.sure and source.kind else "a language that is not known"
        logs = () if source.sure and _NO_LOGS.search(source.kind) else (NO_METRIC,)
        yield place.unread("\n".join(texts), f"a query in {language}, which is not read", (*touches, *logs))


_NO_LOGS = re.compile(
    r"influx|graphite|opentsdb|sql|postgres|oracle|redshift|mongo|redis|zabbix|wavefront|jaeger|zipkin|xray|tempo|pyroscope|phlare|parca"
    r"|testdata|random|csv|googlesheets|github|gitlab|jira|pagerduty|servicenow|alertmanager|iot|sitewise"
)
"""Where no logs are kept. What asks any other store in a language that is not read may read records, which have no name (`NO_METRIC`)."""


_VARIABLE = r"\$\{[^}]{0,200}\}|\[\[\w{1,200}(?::\w{1,200})?\]\]|\$\w+"
_TOKEN = re.compile(rf"(?:{_VARIABLE}|[A-Za-z_:*])(?:{_VARIABLE}|\{{[\w,.-]*,[\w,.-]*\}}|[\w:./$*%\-])*")
_JOINTS = re.compile(r"[:/\-](?![^{}]{0,200}\})")
_WILDCARD = re.compile(r"\*|%|\{[^}$]{0,200}\}")
"""Of Graphite and search engines, of SQL's LIKE, and Graphite's alternatives."""
_PLAIN = re.compile(r"[A-Za-z_:][\w:.]*")


def names_in(texts: Iterable[str], variables: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Anchored patterns of the names in texts of an unread language. Signs that may join or divide names (`-`, `/`) count both ways;
    a variable inside a name is any of its values, or anything; one that stands alone is its values."""
    found: dict[str, None] = {}
    for text in texts:
        for match in _TOKEN.finditer(text):
            token = match[0].rstrip(".:-/")
            parts = dict.fromkeys(_JOINTS.split(token)) if _JOINTS.search(token) else ()
            found.update(dict.fromkeys(p for part in (token, *parts) for p in _patterns(part, variables)))
        found.update(dict.fromkeys(re.escape(m[0].rstrip(".:")) for m in _PLAIN.finditer(text)))
    found.pop("", None)
    return tuple(found)


def _patterns(token: str, variables: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    match = _REFERENCE.fullmatch(token)
    if match:
        yield from map(re.escape, variables.get(next(filter(None, match.groups())), ()))
    elif _REFERENCE.search(token) or _WILDCARD.search(token):
        pattern = with_values(token, variables, _with_wildcards)
        if len(re.sub(r"\\.|\W", "", pattern)) >= 2:
            yield pattern
    elif token:
        yield re.escape(token)


def _with_wildcards(text: str) -> str:
    return ".*".join(map(re.escape, _WILDCARD.split(text)))


def with_values(text: str, variables: Mapping[str, tuple[str, ...]], literal: Callable[[str], str]) -> str:
    """A pattern in which every variable stands for its values, or for anything where they are not known."""
    parts: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        values = variables.get(next(filter(None, match.groups())), ())
        parts += [literal(text[end : match.start()]), f"(?:{'|'.join(map(re.escape, values))})" if values else ".*"]
        end = match.end()
    return "".join([*parts, literal(text[end:])])


_LANGUAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"victoria.*logs|vlogs"), "other"),
    (_PROMETHEUS_LIKE, "promql"),
    (re.compile(r"loki"), "logql"),
    (re.compile(r"tempo"), "traceql"),
    (re.compile(r"datadog"), "datadog"),
    (re.compile(r"stackdriver|google.?cloud.?monitoring"), "gcp"),
    (_OTHER_LANGUAGE, "other"),
)
_READERS: Mapping[str, _Reader] = {
    "none": _nothing, "promql": _promql, "logql": _logql, "traceql": _traceql, "datadog": _datadog, "gcp": _gcp, "other": _other,
}  # fmt: skip
_SHAPES: tuple[tuple[tuple[tuple[str, ...], ...], _Reader], ...] = (
    ((("expr",),), _promql),
    ((("promQLQuery", "expr"), ("timeSeriesList",), ("timeSeriesQuery",), ("metricQuery",)), _gcp),
    ((("serviceMapQuery",),), _traceql),
)

_LEGEND = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
_NO_LABELS = frozenset({"Time", "Value", "Metric", "time", "value", "__name__", "__auto"})


def legend_labels(text: Any) -> frozenset[str]:
    """Labels that a legend or an annotation's text shows: `{{pod}}`."""
    return frozenset(_LEGEND.findall(text)) - _NO_LABELS if isinstance(text, str) else frozenset()
