"""Variables of a Grafana dashboard: the values that they may take, and the queries that fill them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from analyzer.references.queries import Item, Json, Query
from analyzer.references.shapes import first, mapping, mappings, scalar, texts_in
from analyzer.references.targets import Place, Scope, language_of, names_in, read_target, with_values
from flowgate.usage import EVERY_LABEL, NO_LABEL, only

_FIXED = frozenset({"custom", "constant", "textbox", "interval", "datasource", "switch"})
"""Kinds whose values stand in the dashboard. What a query finds, a person types as a filter or picks to group by is known at run time only."""
EVERYTHING = "$__all"
_AMOUNT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+|(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)?")
"""A number or a duration."""


def fixed_values(variables: list[Json]) -> Mapping[str, tuple[str, ...]]:
    """Of every variable whose values the document holds: all of them, not only the one that is chosen now."""
    found = {scalar(v.get("name")): _values(v) for v in variables if scalar(v.get("type")) in _FIXED and not _typed(v)}
    return {name: values for name, values in found.items() if name and values}


def _typed(variable: Json) -> bool:
    """Whether people may type anything: what a text box holds now says what kind of text it is for only where that is a number."""
    return scalar(variable.get("type")) == "textbox" and not all(map(_AMOUNT.fullmatch, _values(variable)))


def _values(variable: Json) -> tuple[str, ...]:
    kind, text = scalar(variable.get("type")) or "", scalar(variable.get("query")) or ""
    written = _WRITTEN[kind](text) if kind in _WRITTEN else ()
    chosen = mapping(variable.get("current")).get("value")
    listed = [o.get("value") for o in mappings(variable.get("options"))]
    extra = [variable.get("allValue"), variable.get("enabledValue"), variable.get("disabledValue")]
    values = [scalar(v) for v in [*written, *listed, *(chosen if isinstance(chosen, list) else [chosen]), *extra]]
    plain = (v.replace("\\,", ",") if v and kind == "custom" else v for v in values)
    return tuple(dict.fromkeys(v for v in plain if v and v != EVERYTHING))


def _custom(text: str) -> list[str]:
    """`a, b` or `shown : value, …`; a comma behind a backslash divides nothing. Newer ones are a JSON list."""
    if text.lstrip().startswith("["):
        try:
            return [v for o in json.loads(text) for v in [scalar(first(mapping(o), "value", "text")) or scalar(o)] if v]
        except (ValueError, TypeError, RecursionError):
            pass
    parts = [re.sub(r"\\(.)", r"\1", p).strip() for p in re.findall(r"(?:\\.|[^,\\])+", text)]
    return [m[1].strip() if (m := re.fullmatch(r".+\s:\s(.+)", p, re.DOTALL)) else p for p in parts]


_WRITTEN = {"custom": _custom, "interval": _custom, "constant": lambda text: [text], "textbox": lambda text: [text]}


def read_variable(variable: Json, scope: Scope) -> Iterator[Item]:
    """The queries that fill a variable."""
    if variable.get("type") not in (None, "", "query"):
        return
    source = scope.asked(variable.get("datasource"))
    shown_in = frozenset(_LABEL_IN_SERIES.findall(str(variable.get("regex") or "")))
    explorable = scope.explorable(variable.get("datasource"))
    place = Place("variable", f"variable {scalar(variable.get('name')) or ''}".strip(), scope, mentioned=shown_in, explorable=explorable)
    text = query_text(variable)
    language = language_of(source, text if CALL.match(text) else "")
    query = variable.get("query")
    if language == "":
        language = "other" if not text or _JSON.match(text) or (source.sure and not CALL.match(text)) else "promql"
    if language in ("promql", "logql") and text:
        yield from _filled(language, text, place)
    elif language in ("promql", "logql"):  # whatever else is said may be the query
        yield from _protected({k: v for k, v in {**variable, **mapping(query)}.items() if k not in _NO_QUERY}, place)
    elif language == "traceql" and scalar(mapping(query).get("label")):
        yield place.start("traceql", f"{{ {mapping(query)['label']} != nil }}")
    elif language != "none":
        target = mapping(query) if isinstance(query, dict) else {"query": query}
        yield from read_target({**target, "datasource": None}, source, place) if language != "other" else _protected(target, place)


_NO_QUERY = frozenset(
    ["name", "label", "type", "datasource", "current", "options", "regex", "allValue", "description", "tags", "refId", "qryType", "spec"]
)
_LABEL_IN_SERIES = re.compile(r"([A-Za-z_]\w*)\s*=~?\s*\\?[\"']")
"""A variable's `regex` cuts a label's value out of a series as text: `/pod="([^"]+)"/`."""
_JSON = re.compile(r"\s*\{\s*\"\w+\"\s*:")
CALL = re.compile(r"\s*(label_values|label_names|metrics|query_result)\s*\((.*)\)\s*", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z_][\w.]*")
_QUOTED = re.compile(r"([\"'`])((?:(?!\1)[^\\])+)\1", re.DOTALL)
"""A label in quotes may have any signs."""


def _protected(target: Json, place: Place) -> Iterator[Item]:
    texts = [t for _, t in texts_in(target) if t.strip()]
    touches = names_in(texts, place.scope.variables)
    if touches:
        yield place.unread("\n".join(texts), "a variable's query in a language that is not read", touches)


def query_text(variable: Json) -> str:
    """The query as text: a string, an object that holds one, an object of fields, or the mirror `definition`."""
    query = variable.get("query")
    held = first(mapping(query), "query", "expr", "rawQuery") if isinstance(query, dict) else query
    return scalar(held) or _from_fields(mapping(query)) or scalar(variable.get("definition")) or ""


def _from_fields(query: Json) -> str:
    """Grafana's forms: `{metric, label, labelFilters}` (Prometheus), `{label, stream}` (Loki)."""
    label, metric, stream = (scalar(query.get(key)) for key in ("label", "metric", "stream"))
    filters = [f"{f.get('label')}{f.get('op') or '='}{json.dumps(str(f.get('value')))}" for f in mappings(query.get("labelFilters"))]
    selector = stream or (metric or "") + (f"{{{','.join(filters)}}}" if filters else "")
    if label:
        return f"label_values({selector}, {label})" if selector else f"label_values({label})"
    return f"metrics({metric})" if metric and str(query.get("qryType")) == "2" else selector


def _filled(language: Any, text: str, place: Place) -> Iterator[Query]:
    call = CALL.fullmatch(text)
    if call is None:
        if text:
            yield place.start(language, text)
    else:
        yield from _CALLS[call[1]](place.start(language, text), call[2].strip())


def _label_values(query: Query, inner: str) -> Iterator[Query]:
    """`label_values(selector, L)` needs L, and whether a series exists; without a selector it needs L of every metric there is."""
    selector, comma, label = inner.rpartition(",")
    quoted = _QUOTED.fullmatch(label.strip())
    label = quoted[2] if quoted else label.strip().strip("\"'`")
    if label.startswith(("$", "[[")):
        values = query.variables.get(label.strip("${}[]").partition(":")[0], ())
    elif quoted and ("$" in label or "[[" in label):
        values = ()
    elif quoted or _LABEL.fullmatch(label):
        values = (label,)
    else:
        yield replace(query, expression=inner)
        return
    root = only(*values) if values else EVERY_LABEL
    needed = replace(query, root=root, operator="exists", mentioned=query.mentioned | frozenset(values))
    if comma and selector.strip():
        yield replace(needed, expression=selector.strip(), root=NO_LABEL if root == only("__name__") else root)
    elif query.language == "logql":
        yield replace(needed, expression=f'{{{label}=~".+"}}') if _LABEL.fullmatch(label) else replace(needed, expression="{}")
    else:
        yield replace(needed, language="names", expression=".*")


def _label_names(query: Query, inner: str) -> Iterator[Query]:
    """Without a selector it lists whatever labels there are and reads none."""
    if inner:
        yield replace(query, expression=inner, operator="exists")


def _metrics(query: Query, inner: str) -> Iterator[Query]:
    """Grafana searches the pattern anywhere in a name."""
    pattern = with_values(inner.strip("\"'"), query.variables, str)
    yield replace(query, language="names", expression=f".*(?:{pattern}).*", root=NO_LABEL, operator="exists")


def _query_result(query: Query, inner: str) -> Iterator[Query]:
    yield replace(query, expression=inner)


_CALLS = {"label_values": _label_values, "label_names": _label_names, "metrics": _metrics, "query_result": _query_result}
