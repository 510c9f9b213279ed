"""Perses dashboards and variables, as Perses stores them and as Kubernetes resources of its operator.

Panels name a plugin for each query, and so do variables: the plugin decides the language. The schemas are those of `perses/plugins`.
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
    is_reference,
    listing,
    mapping,
    mappings,
    metadata,
    owner_of,
    scalar,
    unread,
    with_overlooked,
)
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, Operator, only

KIND = "perses_dashboard"
_LANGUAGES: Mapping[str, Language] = {
    "PrometheusTimeSeriesQuery": "promql",
    "VictoriaMetricsTimeSeriesQuery": "promql",
    "PrometheusPromQLVariable": "promql",
    "PrometheusPromQLAnnotation": "promql",
    "LokiLogQuery": "logql",
    "LokiTimeSeriesQuery": "logql",
    "LokiQuery": "logql",
    "LokiLogQLVariable": "logql",
    "TempoTraceQuery": "traceql",
}
_READ_LABELS = frozenset({"PrometheusLabelValuesVariable", "PrometheusLabelNamesVariable"})
_ELSEWHERE = frozenset({"AlertManagerAlertsQuery", "AlertManagerSilencesQuery", "PyroscopeProfileQuery"})
"""Query alerts, silences and profiles: nothing that this product removes."""
_NO_QUERY = frozenset({"StaticListVariable", "DatasourceVariable"})
_LEGEND = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
_NOT_LABELS = frozenset({"timestamp", "value"})
"""Columns of a table that are not labels."""

Variables = Mapping[str, tuple[str, ...]]


def read_dashboard(document: Json) -> Found | None:
    """A dashboard, also an ephemeral one and one in the operator's resource (`spec` or `spec.config`)."""
    spec = _spec(document)
    if spec is None:
        return None
    identity, project, labels = metadata(document)
    variables = _values(spec.get("variables"))
    items = [
        *_panels(spec.get("panels"), variables),
        *_variables(spec.get("variables"), variables),
        *_annotations(spec.get("annotations"), variables),
    ]
    if not {"panels", "layouts"} & spec.keys() and document.get("spec") != {}:
        items.append(unread("spec", spec, "a dashboard without panels"))
    title = scalar(at(spec, "display", "name")) or identity
    return Found(
        KIND, identity, title, with_overlooked(document, items, {"datasources", "display"}), owner_of(labels, _tags(document)) or project
    )


def _spec(document: Json) -> Json | None:
    """The spec of what is a dashboard of Perses. Grafana's of the same kind has an `apiVersion`, and Perses's own has none."""
    kind, spec = document.get("kind"), mapping(document.get("spec"))
    if (kind == "PersesDashboard" and not is_reference(document)) or (kind == "Dashboard" and is_of(document, "perses.dev")):
        return mapping(spec["config"]) if isinstance(spec.get("config"), dict) else spec
    own = kind in ("Dashboard", "EphemeralDashboard") and "apiVersion" not in document and "elements" not in spec
    return spec if own and {"panels", "layouts"} & spec.keys() else None


def _tags(document: Json) -> Json:
    """Perses's metadata has tags instead of labels; some write `team:payments`."""
    tags = [t.partition(":") for t in map(scalar, listing(at(document, "metadata", "tags"))) if t]
    return {key: value for key, _, value in tags if value}


# Panels


def _panels(panels: Any, variables: Variables) -> Iterator[Item]:
    if panels is not None and not isinstance(panels, dict):
        yield unread("panels", panels, "panels that are not a mapping")
    for key, panel in mapping(panels).items():
        yield from _panel(str(key), panel, variables)


def _panel(key: str, panel: Any, variables: Variables) -> Iterator[Item]:
    spec = mapping(mapping(panel).get("spec"))
    where = scalar(at(spec, "display", "name")) or key
    queries = spec.get("queries")
    if not spec or not isinstance(queries, list | None):
        yield unread(where, panel, "a panel that is not understood")
        return
    read = _columns(mapping(at(spec, "plugin", "spec")))
    for query in listing(queries):
        yield _panel_query(where, query, variables, read)


def _panel_query(where: str, query: Any, variables: Variables, read: frozenset[str]) -> Item:
    plugin = mapping(at(query, "spec", "plugin"))
    item = _plugin_query(where, query, plugin, variables, "query")
    if not isinstance(item, Query):
        return item
    legend = frozenset(_LEGEND.findall(scalar(at(plugin, "spec", "seriesNameFormat")) or ""))
    return replace(item, role="panel", mentioned=legend | read)


def _columns(plugin: Json) -> frozenset[str]:
    """The labels that a table shows, hides, joins or colours by name."""
    columns = [scalar(first(c, "name", "columnId")) for c in mappings(plugin.get("columnSettings"))]
    values = [scalar(first(mapping(t.get("spec")), "columnName", "labelName", "groupBy")) for t in mappings(plugin.get("transforms"))]
    listed = [scalar(c) for t in mappings(plugin.get("transforms")) for c in listing(at(t, "spec", "columns"))]
    label = [scalar(first(plugin, "labelName", "colorBy", "groupBy"))]
    return frozenset(c for c in (*columns, *values, *listed, *label) if c and re.fullmatch(r"[A-Za-z_][\w.]*", c)) - _NOT_LABELS


def _plugin_query(where: str, whole: Any, plugin: Json, variables: Variables, key: str) -> Query | Unread:
    """The query of a plugin, whose language its kind says; a plugin of another kind is not read."""
    kind, spec = scalar(plugin.get("kind")) or "", mapping(plugin.get("spec"))
    text, language = scalar(first(spec, key, "query", "expr")), _LANGUAGES.get(kind)
    if text is not None and language is not None:
        return Query(language, "panel", where, text, variables=variables)
    if kind in _ELSEWHERE:
        return Unread(where, text or kind, f"{kind} reads no metrics, logs or traces", narrowing=True)
    reason = f"a query of {kind}, which is not read" if kind and language is None else "a query that is not understood"
    missed = unread(where, whole, reason, {"kind", "datasource"})
    return replace(missed, text=text[:MAX_TEXT]) if text else missed


def _annotations(annotations: Any, variables: Variables) -> Iterator[Item]:
    for annotation in mappings(annotations):
        plugin = mapping(first(annotation, "plugin") or at(annotation, "spec", "plugin"))
        where = scalar(first(annotation, "name") or at(annotation, "spec", "display", "name")) or "annotation"
        item = _plugin_query(where, annotation, plugin, variables, "expr")
        yield replace(item, role="annotation") if isinstance(item, Query) else item


# Variables


def _values(variables: Any) -> Variables:
    """What each variable may stand for, where the document says it: static lists and constants. A text is typed at run time."""
    return {name: values for variable in mappings(variables) if (name := _name(variable)) for values in [_static(variable)]}


def _name(variable: Json) -> str | None:
    return scalar(at(variable, "spec", "name")) or scalar(at(variable, "metadata", "name"))


def _static(variable: Json) -> tuple[str, ...]:
    spec = mapping(variable.get("spec"))
    if variable.get("kind") == "TextVariable":
        text = scalar(spec.get("value"))
        return (text,) if text and spec.get("constant") is True else ()
    if at(spec, "plugin", "kind") != "StaticListVariable":
        return ()
    options = [scalar(first(mapping(v), "value", "label")) or scalar(v) for v in listing(at(spec, "plugin", "spec", "values"))]
    every = scalar(spec.get("customAllValue")) if spec.get("allowAllValue") else None
    return tuple(o for o in (*options, every) if o)


def _variables(variables: Any, known: Variables) -> Iterator[Item]:
    if variables is not None and not isinstance(variables, list):
        yield unread("variables", variables, "variables that are not a list")
    for index, variable in enumerate(listing(variables)):
        yield from _variable(_name(mapping(variable)) or f"variable {index + 1}", variable, known)


def _variable(name: str, variable: Any, known: Variables) -> Iterator[Item]:
    found, where = mapping(variable), f"variable {name}"
    plugin = mapping(at(found, "spec", "plugin"))
    kind = scalar(plugin.get("kind")) or ""
    if found.get("kind") == "TextVariable" or kind in _NO_QUERY:
        return
    if kind in _READ_LABELS:
        yield from _label_variable(where, kind, plugin, known)
    elif kind == "PrometheusPromQLVariable":
        yield _promql_variable(where, variable, plugin, known)
    else:
        item = _plugin_query(where, variable, plugin, known, "expr")
        yield replace(item, role="variable") if isinstance(item, Query) else item


def _promql_variable(where: str, variable: Any, plugin: Json, known: Variables) -> Item:
    """Takes the values of one label of a query's result."""
    item, label = _plugin_query(where, variable, plugin, known, "expr"), scalar(at(plugin, "spec", "labelName"))
    if not isinstance(item, Query):
        return item
    if label is None or not re.fullmatch(r"\w+", label):
        return replace(item, role="variable")
    return replace(item, role="variable", root=only(label), operator="exists", mentioned=frozenset({label}))


def _label_variable(where: str, kind: str, plugin: Json, known: Variables) -> Iterator[Item]:
    """Values of a label, or names of labels, over the series that matchers select; without matchers over all series there are."""
    spec, values = mapping(plugin.get("spec")), kind == "PrometheusLabelValuesVariable"
    label, matchers = scalar(spec.get("labelName")), listing(spec.get("matchers"))
    misshapen = not isinstance(spec.get("matchers"), list | None) or (values and label is None)
    if misshapen or plugin.keys() - {"kind", "spec"} or spec.keys() - {"labelName", "matchers", "datasource"}:
        yield unread(where, plugin, "a variable that is not understood", {"kind", "datasource"})
    named, root, operator = _asked(kind, label)
    for matcher in matchers:
        if (text := scalar(matcher)) is None:
            yield unread(where, matcher, "a matcher that is not a text")
        else:
            yield Query("promql", "variable", where, text, variables=known, mentioned=named, root=root, operator=operator)
    if not matchers:
        text = f"label_values({label})" if values else "label_names()"
        yield Query("names", "variable", where, text, expression=".*", mentioned=named, root=root, operator=operator)


def _asked(kind: str, label: str | None) -> tuple[frozenset[str], LabelSet, Operator]:
    """What a label variable needs of the series: a label that is not known (missing, or a variable) may be any; a list of names has one
    name less when a label is removed, and that is all."""
    if kind == "PrometheusLabelNamesVariable" or label is None or not re.fullmatch(r"[\w.]+", label):
        return frozenset(), NO_LABEL if kind == "PrometheusLabelNamesVariable" else EVERY_LABEL, "exists"
    return frozenset({label}), only(label), "exists"


def read_variable(document: Json) -> Found | None:
    """A variable of a project or of all: a document of its own that dashboards use by name."""
    kind, spec = document.get("kind"), mapping(document.get("spec"))
    inner = mapping(spec["config"]) if isinstance(spec.get("config"), dict) else spec
    own = kind in ("Variable", "GlobalVariable") and "apiVersion" not in document and inner.get("kind") in ("ListVariable", "TextVariable")
    if not own and (kind not in ("PersesVariable", "PersesGlobalVariable") or is_reference(document)):
        return None
    identity, project, labels = metadata(document)
    items = [*_variable(scalar(at(document, "metadata", "name")) or "variable", inner, {})]
    return Found("perses_variable", identity, identity, with_overlooked(document, items), owner_of(labels) or project)


READERS: tuple[JsonReader, ...] = (read_dashboard, read_variable)
