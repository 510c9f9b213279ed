"""SigNoz: its dashboards, of both schemas, and its alerts. A query is built of fields, or is PromQL, or SQL.

What its builder puts together is not followed: its metrics are read, every label of them is needed, and those that it names are told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from analyzer.references.places import Place, places
from analyzer.references.queries import Found, Item, Json, JsonReader, Query, Role, Unread
from analyzer.references.shapes import at, first, listing, mapping, mappings, metadata, scalar, shown
from analyzer.references.targets import names_in
from flowgate.usage import EVERY_LABEL, NO_LABEL

KIND = "signoz_dashboard"
_ALERT_KIND = "signoz_alert"
_MARKS = frozenset({"widgets", "data", "spec"})
_ALERT_MARKS = frozenset({"condition", "data"})
_SIGNALS = ("metrics", "logs", "traces")
_ANY_OF = {"logs": ("logql", "{}"), "traces": ("traceql", "{ }")}
_KEY = re.compile(r"([A-Za-z_@][\w.\-/@]*)(?=\s*(?:[=<>]|!=|!~|(?i:not\s+)?(?i:in|like|ilike|contains|regexp|exists|between)\b))")
_VARIABLE = re.compile(r"\$\w|\{\{")
_BUILT = frozenset({"aggregations", "aggregateAttribute", "aggregateOperator"})


def read_dashboard(document: Json) -> Found | None:
    """`widgets` with queries of three kinds, or Perses' shape with plugins of SigNoz."""
    if _MARKS.isdisjoint(document):
        return None
    board = mapping(document.get("data")) if isinstance(at(document, "data", "widgets"), list) else document
    if not (_has_widgets(board) or _has_plugins(board)):
        return None
    title = scalar(board.get("title")) or scalar(at(board, "spec", "display", "name")) or metadata(board)[0]
    identity = scalar(document.get("uuid")) or scalar(document.get("id")) or title
    return Found(KIND, identity, title, tuple(_items(board, "panel", None)))


def read_alert(document: Json) -> Found | None:
    """One rule, as its API and its provider for Terraform hold it."""
    if _ALERT_MARKS.isdisjoint(document):
        return None
    rule = mapping(document.get("data")) if "condition" in mapping(document.get("data")) else document
    if not isinstance(at(rule, "condition", "compositeQuery"), dict):
        return None
    name = scalar(first(rule, "alert", "name")) or ""
    return Found(_ALERT_KIND, scalar(document.get("id")) or name, name, tuple(_items(rule, "alert", name)))


def _has_widgets(board: Json) -> bool:
    asked = (mapping(w.get("query")) for w in mappings(board.get("widgets")))
    return any("queryType" in query and not {"builder", "promql", "clickhouse_sql"}.isdisjoint(query) for query in asked)


def _has_plugins(board: Json) -> bool:
    panels = at(board, "spec", "panels")
    found = (scalar(at(panel, "spec", "plugin", "kind")) for panel in (mapping(panels).values() if isinstance(panels, dict) else ()))
    return any(kind is not None and kind.startswith("signoz/") for kind in found)


def _items(document: Json, role: Role, rule: str | None) -> Iterator[Item]:
    read: set[int] = set()  # the fields of a plugin that was read with its name
    for place in places(document):
        if isinstance(place, Unread):
            yield place
        elif id(place.value) not in read:
            if scalar(first(place.value, "kind", "type")) in _PROMQL:
                read.add(id(place.value.get("spec")))
            yield from _queries(place, role, rule)


def _queries(place: Place, role: Role, rule: str | None) -> Iterator[Item]:
    """What one mapping asks: a built query, a text in PromQL or in SQL, or the values of a variable."""
    holder = place.value
    signal = scalar(first(holder, "dataSource", "signal"))
    if signal in _SIGNALS and not _BUILT.isdisjoint(holder):
        yield from _built(place, signal, role, rule)
    if holder.get("type") == "DYNAMIC" or holder.get("kind") == "signoz/DynamicVariable":
        yield from _values(place)
    yield from _written(place, role, rule)


def _written(place: Place, role: Role, rule: str | None) -> Iterator[Item]:
    """A text; whose language its key says, or the plugin in the mapping around it."""
    plugin = scalar(first(place.value, "kind", "type")) or ""
    spec = mapping(place.value.get("spec"))
    if plugin in _PROMQL and (text := scalar(spec.get("query"))):
        yield Query("promql", role, place.where, text, rule)
    elif text := scalar(first(place.value, "query", "queryValue")):
        if _PROMQL & set(place.path[-2:-1]):
            yield Query("promql", role, place.where, text, rule)
        elif touches := names_in([text], {}):
            yield Unread(place.where, text[:2_000], "a query in a language that is not read", touches)


_PROMQL = frozenset({"promql", "promQueries", "signoz/PromQLQuery"})


def _built(place: Place, signal: str, role: Role, rule: str | None) -> Iterator[Item]:
    keys = frozenset(_keys(place.value))
    if signal != "metrics":
        language, expression = _ANY_OF[signal]
        mentioned = frozenset(f".{k}" for k in keys) if signal == "traces" else keys
        started = Query("logql", role, place.where, shown(place.value), rule, expression)
        yield replace(started, language=language, mentioned=mentioned)
        return
    for name in dict.fromkeys(_names(place.value)):
        yield _metric(Query("promql", role, place.where, name, rule, mentioned=keys))


def _metric(query: Query) -> Query:
    if not _VARIABLE.search(query.text):
        return replace(query, expression=f"{{{json.dumps(query.text, ensure_ascii=False)}}}")
    return replace(query, language="names", expression="|".join(names_in([query.text], {})) or ".*", root=EVERY_LABEL)


def _names(query: Json) -> Iterator[str]:
    held = [mapping(query.get("aggregateAttribute")).get("key"), *(a.get("metricName") for a in mappings(query.get("aggregations")))]
    yield from (name.strip() for name in map(scalar, held) if name)


def _keys(query: Json) -> Iterator[str]:
    """Attributes that a built query names: to filter, group, order and aggregate by."""
    items = mappings(mapping(query.get("filters")).get("items"))
    keyed = [_key(i.get("key")) for i in items]
    listed = [_key(g) for field in ("groupBy", "selectFields", "selectColumns") for g in listing(query.get(field))]
    yield from (k for k in (*keyed, *listed) if k)
    texts = [at(query, "filter", "expression"), *(a.get("expression") for a in mappings(query.get("aggregations")))]
    for text in (t for t in map(scalar, texts) if t):
        yield from _KEY.findall(text)
        yield from re.findall(r"\(\s*([A-Za-z_][\w.]*)\s*\)", text)


def _key(value: Any) -> str | None:
    return scalar(first(mapping(value), "key", "name")) if isinstance(value, dict) else scalar(value)


def _values(place: Place) -> Iterator[Query]:
    """A variable that lists the values of an attribute over all that there is."""
    spec = mapping(place.value.get("spec")) or place.value
    attribute = scalar(first(spec, "dynamicVariablesAttribute", "name"))
    if attribute:
        root = replace(NO_LABEL, names=frozenset({attribute}))
        yield Query("names", "variable", place.where, attribute, expression=".*", root=root, operator="exists")


READERS: tuple[JsonReader, ...] = (read_dashboard, read_alert)
