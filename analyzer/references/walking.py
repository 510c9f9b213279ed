"""Any loaded value → the documents in it, at any depth: lists, values of charts, texts inside texts. Nothing is met twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from analyzer.references.grafana_alerts import is_rule_list, read_alerting
from analyzer.references.loading import Loaded, load
from analyzer.references.queries import Found, Item, Json, JsonReader, Query, Unread
from analyzer.references.shapes import listing, mapping, scalar
from analyzer.references.targets import names_in
from analyzer.references.things import At, Inner, Loose, Met, Nothing, Text, Thing, Wrapped, unreadable
from analyzer.references.wrappings import WRAPPINGS, is_called, library_panel, of_resource

MAX_DEPTH = 60
"""Of wrappings and keys down to a document."""
MAX_TEXTS = 5
"""Of texts inside texts: a list of ConfigMaps of a resource that holds a dashboard as text has three."""
Readers = tuple[JsonReader, ...]


def walk(value: Any, at: At, readers: Readers) -> Iterator[Thing]:
    """Every thing in a loaded value. What a reader takes, it takes whole."""
    if at.depth > MAX_DEPTH:
        yield unreadable(at, Unread("document", "", f"nested deeper than {MAX_DEPTH} wrappings"))
    elif isinstance(value, dict):
        for thing in _mapping(mapping(value), of_resource(mapping(value), at), readers):
            yield from _opened(thing, readers)
    elif isinstance(value, list):
        yield from _list(listing(value), at, readers)


def _opened(thing: Wrapped, readers: Readers) -> Iterator[Thing]:
    if isinstance(thing, Inner):
        return walk(thing.value, thing.at, readers)
    return _text(thing, readers) if isinstance(thing, Text) else iter((thing,))


def _list(values: list[Any], at: At, readers: Readers) -> Iterator[Thing]:
    if is_rule_list(values):
        yield Met(at, lambda around: read_alerting(values, around.grafana))
        return
    for number, value in enumerate(values):
        yield from walk(value, at.down(str(number)), readers)


def _mapping(value: Json, at: At, readers: Readers) -> Iterator[Wrapped]:
    if value.get("kind") == "CustomResourceDefinition":
        yield Nothing(at, "a schema of resources: nothing in it is a query")
        return
    if not _may_be_known(value):
        yield from _inside(value, at)
        return
    for wrapping in WRAPPINGS:
        things = wrapping(value, at)
        if things is not None:
            yield from things
            return
    for reader in readers:
        found = reader(value)
        if found is not None:
            yield Met(at, _constant(found))
            return
    yield from _inside(value, at)


def _may_be_known(value: Json) -> bool:
    """Whether any wrapping or reader could take a mapping: of the many mappings of large documents most have none of their marks."""
    return not _MARKS.isdisjoint(value) or any(_may_be_groups(v) for v in value.values() if isinstance(v, list))


def _may_be_groups(value: Any) -> bool:
    """The rulers of Mimir and Grafana answer with lists of groups under names of their own."""
    return any("rules" in mapping(group) for group in listing(value)[:3])


_MARKS = frozenset(
    [
        "apiVersion",
        "kind",
        "version",
        "type",
        "data",
        "dashboard",
        "elements",
        "panels",
        "rows",
        "condition",
        "templating",
        "schemaVersion",
        "model",
        "targets",
        "grafana_alert",
        "groups",
        "rules",
        "resources",
        "global",
        "scrape_configs",
        "rule_files",
        "remote_write",
        "scrape_config_files",
        "route",
        "receivers",
        "alertmanager_config",
        "externalRules",
        "resourceRules",
        "slos",
        "query",
        "objectives",
        "widgets",
        "graphs",
        "group_widget",
        "attributes",
        "cells",
        "monitors",
        "sli_specification",
        "mosaicLayout",
        "gridLayout",
        "rowLayout",
        "columnLayout",
        "mosaic_layout",
        "grid_layout",
        "row_layout",
        "column_layout",
        "conditions",
        "serviceLevelIndicator",
        "service_level_indicator",
        "param_query",
        "params",
        "topByCount",
        "topByAvgDuration",
        "topBySumDuration",
        "topByAvgMemoryUsage",
        "records",
        "result",
        "queryHistory",
    ]
)
"""Of each kind of document that is read, a key that it cannot be without."""


def _constant(found: Found) -> Callable[[Any], Found]:
    return lambda _: found


# What no reader knows

QUERY_KEYS = frozenset(
    [
        "expr",
        "query",
        "queries",
        "promql",
        "promqlquery",
        "expression",
        "metricquery",
        "metric_query",
        "metricsquery",
        "metrics_query",
        "seriesquery",
        "error_query",
        "errorquery",
        "total_query",
        "totalquery",
        "error_ratio_query",
        "errorratioquery",
        "prometheus_query",
        "prometheusquery",
        "promql_query",
        "promquery",
        "promqlexpr",
        "match[]",
        "metricname",
    ]
)
"""In small letters: where documents of all kinds keep queries."""
_FUNCTIONS = (
    "sum|avg|min|max|count|group|stddev|stdvar|quantile|topk|bottomk|count_values|i?rate|increase|i?delta|deriv|predict_linear|absent|"
    "absent_over_time|[a-z]+_over_time|histogram_[a-z]+|label_replace|label_join|clamp(?:_min|_max)?|round|ceil|floor|abs|sort(?:_desc)?|"
    "scalar|vector|changes|resets"
)
_BEGINS = re.compile(
    rf"[\s(\d.*/+-]*(?:(?:{_FUNCTIONS})\s*(?:(?:by|without)\s*\([^()]*\)\s*)?\(|[A-Za-z_:][\w:]*\s*\{{[^{{}}]*[=~]\s*[\"'`$])",
    re.IGNORECASE,
)
_SELECTS = re.compile(r"\[\s*(?:\d+(?:ms|[smhdwy])|\$)|\{[^{}]*[=~]\s*[\"'`$]|\b(?:by|without)\s*\(", re.IGNORECASE)
"""A text that begins as an expression, and selects or groups as PromQL alone does, is one under whatever key: `error_rate: sum(rate(…[5m]))`."""
_API = "/api/v1/query"
_ADDRESS = re.compile(rf"{_API}(?:_range)?\?(?:[^\s\"'?]{{0,500}}&)?query=([^&\"'\n]+)")
_MAX_ADDRESSES = 100_000
"""Characters of one text in which addresses are looked for."""
_TELLING = re.compile(r"^[\s-]*[\"']?(?:expr|query|groups|panels|targets|rules|record|alert|slos|widgets)[\"']?\s*:", re.MULTILINE)
_SHORTEST = 12
"""No shorter text holds a document."""


def _inside(value: Json, at: At) -> Iterator[Wrapped]:
    """The members of a mapping that nobody knows; it is told when nothing is in them, if it is a document's whole or a resource."""
    if at.depth == 0 or _is_search(value) or (isinstance(value.get("kind"), str) and isinstance(value.get("metadata"), dict)):
        yield Nothing(at, _reason(value), unless_met=True)
    for key, inner in value.items():
        if inner and isinstance(inner, _HOLDERS):
            yield from _member(str(key), inner, at)


_HOLDERS = (str, list, dict)


def _reason(value: Json) -> str:
    if _is_search(value):
        return "a search result, which names a dashboard and holds none"
    kind = scalar(value.get("kind"))
    return f"{kind}: nothing in it is a query" if kind else "nothing in it is a query"


def _is_search(value: Json) -> bool:
    return "uid" in value and str(value.get("type")).startswith("dash-")


def _member(key: str, inner: Any, at: At) -> Iterator[Wrapped]:
    if key.casefold() in QUERY_KEYS or (key == "filter" and isinstance(inner, str) and "metric.type" in inner):
        texts = [t for t in (inner if isinstance(inner, list) else [inner]) if isinstance(t, str) and t.strip()]
        yield from (Loose(at, key, t) for t in texts)
        if texts:
            return
    if isinstance(inner, str):
        if _BEGINS.match(inner) and _SELECTS.search(inner):
            yield Loose(at, key, inner)
            return
        if _API in inner:  # an address asks; what stands around it may be a document still
            yield from (Loose(at, key, unquote_plus(m[1])) for m in _ADDRESS.finditer(inner, 0, _MAX_ADDRESSES))
        must = is_called(key)
        if must or (len(inner) >= _SHORTEST and (inner.lstrip()[:1] in ("{", "[") or "\n" in inner)):
            yield Text(at.down(key, named=must), inner, must)
    elif "dashboards" in at.keys and isinstance(inner, dict) and _is_fetched(mapping(inner)):
        yield _fetched(mapping(inner), key, at)
    else:
        yield Inner(at.down(key), inner)


def _is_fetched(value: Json) -> bool:
    """Grafana's Helm chart fetches dashboards by number or address: `dashboards: {folder: {name: {gnetId: 1860}}}`."""
    told = bool(scalar(value.get("gnetId"))) or isinstance(value.get("url"), str)
    return told and {"json", "panels", "rows", "templating"}.isdisjoint(value)


def _fetched(value: Json, key: str, at: At) -> Met:
    number = scalar(value.get("gnetId"))
    name = f"dashboard {number} of grafana.com" if number else f"dashboard at {scalar(value.get('url'))}"
    gone = Unread(key, name, f"the {name} is not among the documents")
    return Met(at.down(key), _constant(Found("grafana_dashboard", key, key, (gone,))))


def _text(given: Text, readers: Readers) -> Iterator[Thing]:
    """The documents in a text that stands in a value. One that was meant to be one must load; others are tried if they look like it."""
    text, at = given.text, given.at
    if (
        not text.strip()
        or not (given.must or len(text) >= _SHORTEST)
        or not (given.must or text.lstrip()[:1] in ("{", "[") or _TELLING.search(text))
    ):
        return
    if at.texts >= MAX_TEXTS:
        yield unreadable(at, Unread("document", "", f"more than {MAX_TEXTS} texts inside texts"))
        return
    loaded = load(text)
    element = library_panel(mapping(loaded.values[0]), at, given.library) if given.library is not None and loaded.values else None
    if element is not None:
        yield element
    else:
        yield from things_of(loaded, replace(at, texts=at.texts + 1), readers, _failures(given, loaded))


def _failures(given: Text, loaded: Loaded) -> tuple[Unread, ...]:
    """Of a text that only looks like a document, the names in it are protected and no others."""
    if given.must or not loaded.failed:
        return loaded.failed
    if not _TELLING.search(given.text):
        return ()
    touches = names_in([given.text], {})
    return tuple(replace(f, text=given.text[:2_000], touches=touches) for f in loaded.failed) if touches else ()


def things_of(loaded: Loaded, at: At, readers: Readers, failed: tuple[Unread, ...]) -> Iterator[Thing]:
    """What a loaded text holds. Doubts about it count where a document was found in it."""
    several = len(loaded.values) + len(loaded.failed) > 1
    met = False
    for number, value in enumerate(loaded.values):
        for thing in walk(value, at.down(str(number)) if several else at, readers):
            met = met or isinstance(thing, Met)
            yield thing
    for number, item in enumerate((*failed, *(loaded.doubts if met else ())), len(loaded.values)):
        yield unreadable(at.down(str(number)) if several else at, item)


_CALCULATED = r"\s*(?:[<>]=?|[=!]=)\s*[\w(.-]|\s+[-+*/%^]\s+[\w(.-]|\s+offset\s+\d|\s+(?:and|or|unless)\s+\(*[A-Za-z:]+_"
_PROMQL = re.compile(rf"[A-Za-z_:][\w:]*\s*[({{\[]|^[\s(\d.+*/-]*[A-Za-z:]+[_:A-Z][\w:]*(?:{_CALCULATED})")
"""Brackets after a name; or before all other words a name of several parts, which is compared or counted with."""


def loose_query(loose: Loose) -> Item | None:
    """A text that looks like PromQL is tried as such; of any other the names in it are protected."""
    where = "/".join((*loose.at.names, loose.key))
    if loose.key == "filter":
        return Query("gcp_filter", "panel", where, loose.text)
    if _PROMQL.search(loose.text):
        return Query("promql", "panel", where, loose.text)
    touches = names_in([loose.text], {})
    return Unread(where, loose.text[:2_000], "a query in a document of unknown kind", touches) if touches else None
