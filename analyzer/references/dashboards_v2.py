"""Grafana dashboards of schema v2 said in the words of v1, so that one reader reads both; and resources that wrap a v1 dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analyzer.references.dashboards import ALONE, Surroundings, is_dashboard, read_dashboard, scope_of, strays
from analyzer.references.queries import Found, Json, Unread
from analyzer.references.shapes import first, mapping, mappings, metadata, scalar, shown, texts_in
from analyzer.references.targets import SKIPPED, names_in

GROUP = "dashboard.grafana.app"


def is_dashboard_v2(value: Any) -> bool:
    """A v2 spec, bare or in a resource; or a resource of Grafana's dashboard API that holds a v1 dashboard."""
    document = mapping(value)
    return _is_spec(document) or _spec(document) is not None


def _is_spec(document: Json) -> bool:
    elements = document.get("elements")
    kinds = {scalar(mapping(e).get("kind")) for e in mapping(elements).values()}
    known = not kinds.isdisjoint({"Panel", "LibraryPanel"})
    return isinstance(elements, dict) and (known or (isinstance(document.get("layout"), dict) and "title" in document))


def _spec(document: Json) -> Json | None:
    spec = mapping(document.get("spec"))
    ours = str(document.get("apiVersion")).startswith(GROUP)
    if document.get("kind") not in ("Dashboard", "DashboardWithAccessInfo"):
        return None
    return spec if ours or _is_spec(spec) or is_dashboard(spec) else None


def read_dashboard_v2(document: Json, around: Surroundings = ALONE) -> Found:
    """A dashboard in a resource is called by its name, which is its uid."""
    spec = document if _is_spec(document) else _spec(document) or {}
    name, namespace, _ = metadata(document)
    notes = mapping(mapping(document.get("metadata")).get("annotations"))
    uid = scalar(mapping(document.get("metadata")).get("name")) or scalar(spec.get("uid")) or name
    if not _is_spec(spec) and not is_dashboard(spec):
        return Found("grafana_dashboard", uid, scalar(spec.get("title")) or "", (_unknown(spec),), namespace)
    board = as_v1(spec) if _is_spec(spec) else spec
    found = read_dashboard({**board, "uid": uid}, around)
    items = list(found.items)
    items += strays(spec, items, scope_of(board, around))
    items += _unknown_elements(spec)
    owner = found.owner or scalar(notes.get("grafana.app/folder")) or namespace
    return Found("grafana_dashboard", uid or found.title, found.title, tuple(items), owner)


def _unknown(spec: Json) -> Unread:
    return Unread("spec", shown(spec), "a dashboard of a schema that is not known")


def _unknown_elements(spec: Json) -> Iterator[Unread]:
    """A kind of element that this version does not know may hold queries: what it names is protected."""
    for key, element in mapping(spec.get("elements")).items():
        if mapping(element).get("kind") not in ("Panel", "LibraryPanel"):
            touches = names_in([t for _, t in texts_in(element)], {})
            yield Unread(str(key), shown(element), "an element of a kind that is not known", touches)


def as_v1(spec: Json) -> Json:
    """The same dashboard in v1's words. The layout says where panels stand, never what they read."""
    elements = mapping(spec.get("elements"))
    return {
        "title": spec.get("title"),
        "tags": spec.get("tags"),
        "panels": [_panel(mapping(e)) for e in elements.values()],
        "templating": {"list": list(map(_variable, mappings(spec.get("variables"))))},
        "annotations": {"list": [_annotation(mapping(a.get("spec"))) for a in mappings(spec.get("annotations"))]},
    }


def _panel(element: Json) -> Json:
    spec = mapping(element.get("spec"))
    if element.get("kind") == "LibraryPanel":
        return {"title": spec.get("title"), "id": spec.get("id"), "libraryPanel": mapping(spec.get("libraryPanel"))}
    data = mapping(mapping(spec.get("data")).get("spec"))
    viz = mapping(spec.get("vizConfig"))
    shape = mapping(viz.get("spec"))
    return {
        "title": spec.get("title"),
        "id": spec.get("id"),
        "type": first(viz, "group", "kind"),
        "links": spec.get("links"),
        "fieldConfig": shape.get("fieldConfig"),
        "options": shape.get("options"),
        "transformations": [{"id": t.get("kind"), **mapping(t.get("spec"))} for t in mappings(data.get("transformations"))],
        "targets": [_target(mapping(q.get("spec")) or q) for q in mappings(data.get("queries"))],
    }


def _target(query: Json) -> Json:
    """`{refId, hidden, query: {group, datasource, spec}}`; in the first alphas the kind was the plugin and the data source stood outside."""
    inner = mapping(query.get("query"))
    return {**mapping(inner.get("spec")), "refId": query.get("refId"), "datasource": _source(inner, query)}


def _source(query: Json, holder: Json) -> Json:
    given = mapping(query.get("datasource")) or mapping(holder.get("datasource"))
    kind = (
        scalar(query.get("group")) or scalar(given.get("type")) or (scalar(query.get("kind")) if query.get("kind") != "DataQuery" else None)
    )
    name = scalar(given.get("name")) or scalar(given.get("uid"))
    return {"type": kind, "uid": name if name or kind not in SKIPPED else kind}


_KINDS = {
    "QueryVariable": "query",
    "CustomVariable": "custom",
    "ConstantVariable": "constant",
    "TextVariable": "textbox",
    "IntervalVariable": "interval",
    "DatasourceVariable": "datasource",
    "AdhocVariable": "adhoc",
    "GroupByVariable": "groupby",
    "SwitchVariable": "switch",
}


def _variable(variable: Json) -> Json:
    spec = mapping(variable.get("spec"))
    kind = _KINDS.get(str(variable.get("kind")), str(variable.get("kind")))
    query = spec.get("query")
    made: Json = {**spec, "type": kind}
    if kind == "datasource":
        made["query"] = spec.get("pluginId")
    elif kind in ("adhoc", "groupby"):
        made["datasource"] = _source(variable, spec) if "datasource" in variable or "datasource" in spec else None
    elif kind == "query" and isinstance(query, dict):
        held = mapping(mapping(query).get("spec"))
        made |= {"query": held.get("__legacyStringValue") or held, "datasource": _source(mapping(query), spec)}
    return made


def _annotation(spec: Json) -> Json:
    query = mapping(spec.get("query"))
    legacy = mapping(spec.get("legacyOptions"))
    return {
        **legacy,
        "name": spec.get("name"),
        "datasource": _source(query, spec),
        "target": mapping(query.get("spec")) or mapping(spec.get("target")),
    }
