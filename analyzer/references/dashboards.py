"""Grafana dashboards (v1 JSON) → their queries. What the dashboard points at and does not hold is said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from analyzer.references.filled import held
from analyzer.references.queries import Found, Item, Json, Unread
from analyzer.references.shapes import at, listing, mapping, mappings, owner_of, scalar, texts_in
from analyzer.references.targets import SKIPPED, UNKNOWN, Place, Scope, legend_labels, names_in, read_target, written_as
from analyzer.references.variables import CALL, fixed_values, read_variable

_HINTS = frozenset(
    [
        "schemaVersion",
        "templating",
        "title",
        "uid",
        "annotations",
        "time",
        "timezone",
        "editable",
        "refresh",
        "style",
        "timepicker",
        "version",
    ]
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other documents say: library panels by uid and by name, plugin types of data sources by uid and by name (`hearsay`: from
    elsewhere than this document), and that of the default one. `own`: all of it is from the Grafana that the document is in, which
    then knows better than the document."""

    panels: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    named: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hearsay: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default: str = ""
    own: bool = False


ALONE = Surroundings()


def is_dashboard(value: Any) -> bool:
    """A v1 dashboard, not a search result that names one."""
    board = mapping(value)
    panels, rows, templating = board.get("panels"), board.get("rows"), board.get("templating")
    if isinstance(panels, list):
        return not _HINTS.isdisjoint(board) or any("targets" in p or "gridPos" in p for p in mappings(listing(panels)))
    if isinstance(rows, list):
        return any("panels" in r for r in mappings(listing(rows))) or isinstance(templating, dict)
    return isinstance(mapping(templating).get("list"), list) or ("schemaVersion" in board and "title" in board)


def is_panel(value: Any) -> bool:
    """One panel alone, as Grafana's "panel JSON" and library elements hold it."""
    panel = mapping(value)
    return isinstance(panel.get("type"), str) and any("refId" in t or "expr" in t for t in mappings(panel.get("targets")))


def read_dashboard(board: Json, around: Surroundings = ALONE, kind: str = "grafana_dashboard") -> Found:
    """Every query of a dashboard: panels at any depth, rows, variables, annotations, alerts; and any `expr` that stands elsewhere."""
    board = board if is_dashboard(board) else {"panels": [board]}
    reader = _Reader(scope_of(board, around), _with_own(board, around))
    items = [*reader.variables(board), *reader.annotations(board), *reader.panels(board), *reader.rows(board)]
    items += strays(board, items, reader.scope)
    title = scalar(board.get("title")) or scalar(at(mappings(board.get("panels"))[:1] and board["panels"][0], "title")) or ""
    return Found(kind, scalar(board.get("uid")) or scalar(board.get("id")) or title, title, tuple(items), _owner(board))


def _owner(board: Json) -> str | None:
    tags = [t.partition(":") for t in map(scalar, listing(board.get("tags"))) if t]
    named = [{key.strip().casefold(): value.strip()} for key, _, value in tags if value.strip()]
    return scalar(at(board, "meta", "folderTitle")) or owner_of(*named)


def scope_of(board: Json, around: Surroundings) -> Scope:
    """Values of variables, types of data sources, and where ad-hoc filters and groupings apply."""
    variables = mappings(at(board, "templating", "list"))
    inputs = mappings(board.get("__inputs"))
    constants = [{"type": "constant", "name": i.get("name"), "query": i.get("value")} for i in inputs if i.get("type") == "constant"]
    kinds = {scalar(v.get("name")): scalar(v.get("query")) for v in variables if v.get("type") == "datasource"}
    given = {scalar(i.get("name")): scalar(i.get("pluginId")) for i in inputs if i.get("type") == "datasource"}
    written = _types_by_uid(board)
    types = {**written, **around.sources} if around.own else {**around.sources, **written}
    sources = {name: kind for name, kind in {**types, **given, **kinds}.items() if name and kind}
    at_run_time = [v.get("datasource") for v in variables if v.get("type") in ("adhoc", "groupby")]
    filtered = [written_as(d) for d in at_run_time]
    explored = None if None in filtered else frozenset(w for w in filtered if w)
    scope = Scope(fixed_values([*constants, *variables]), sources, around.hearsay, around.default, explored=explored)
    return replace(scope, patterns=held(variables, scope))


def _types_by_uid(board: Json) -> dict[str | None, str | None]:
    """A data source written with its type in one place tells it for the places where it is written without."""
    return {
        scalar(d.get("uid")): scalar(d.get("type"))
        for node in _nodes(board)
        if isinstance(d := node.get("datasource"), dict) and d.get("type") and "$" not in str(d.get("uid"))
    }


def _nodes(value: Any, leave: frozenset[str] = frozenset()) -> Iterator[Json]:
    """Every mapping in a value, itself included."""
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(v for k, v in node.items() if isinstance(v, dict | list) and k not in leave)
        elif isinstance(node, list):
            stack.extend(v for v in node if isinstance(v, dict | list))


def _with_own(board: Json, around: Surroundings) -> Surroundings:
    elements = board.get("__elements")
    own = list(mapping(elements).values()) if isinstance(elements, dict) else listing(elements)
    return with_elements(around, own) if own else around


def with_elements(around: Surroundings, elements: list[Any]) -> Surroundings:
    """With more library elements, as exports (`__elements`) and `/api/library-elements` hold them."""
    known = [(e, mapping(e.get("model"))) for e in mappings(elements) if isinstance(e.get("model"), dict)]
    uids = {uid: model for e, model in known if (uid := scalar(e.get("uid")))}
    names = {name: model for e, model in known if (name := scalar(e.get("name")))}
    return replace(around, panels={**around.panels, **uids}, named={**around.named, **names})


@dataclass(frozen=True, slots=True)
class _Reader:
    scope: Scope
    around: Surroundings

    def variables(self, board: Json) -> Iterator[Item]:
        for variable in mappings(at(board, "templating", "list")):
            yield from read_variable(variable, self.scope)

    def annotations(self, board: Json) -> Iterator[Item]:
        for annotation in mappings(at(board, "annotations", "list")):
            where = f"annotation {scalar(annotation.get('name')) or ''}".strip()
            shown = frozenset[str]().union(*(legend_labels(annotation.get(key)) for key in ("titleFormat", "textFormat", "tagKeys")))
            named = frozenset(re.findall(r"[A-Za-z_]\w*", str(annotation.get("tagKeys") or "")))
            reference = annotation.get("datasource")
            place = Place("annotation", where, self.scope, mentioned=shown | named, explorable=self.scope.explorable(reference))
            source = self.scope.asked(reference)
            yield from read_target({k: v for k, v in annotation.items() if k not in _NO_QUERY}, source, place)
            target = mapping(annotation.get("target"))
            if target.get("expr") != annotation.get("expr") or not target.get("expr"):
                yield from read_target(target, source, place)

    def rows(self, board: Json) -> Iterator[Item]:
        for row in mappings(board.get("rows")):
            yield from self.panels(row)

    def panels(self, holder: Json) -> Iterator[Item]:
        for panel in mappings(holder.get("panels")):
            yield from self._panel(panel)
            yield from self.panels(panel)
            yield from self.rows(panel)

    def _panel(self, panel: Json) -> Iterator[Item]:
        stub = mapping(panel.get("libraryPanel"))
        if stub:
            yield from self._library(panel, stub)
        labels = panel_labels(panel)
        where = scalar(panel.get("title")) or f"panel {scalar(panel.get('id')) or ''}".strip()
        source = self.scope.asked(panel.get("datasource"))
        alert = mapping(panel.get("alert"))
        for target in mappings(panel.get("targets")):
            asked = [d for d in (panel.get("datasource"), target.get("datasource")) if written_as(d)] or [None]
            explorable = any(map(self.scope.explorable, asked))
            place = Place("panel", where, self.scope, mentioned=labels, explorable=explorable)
            yield from read_target(target, source, _alerting(place, alert, target) if alert else place)

    def _library(self, panel: Json, stub: Json) -> Iterator[Item]:
        uid, name = scalar(stub.get("uid")), scalar(stub.get("name"))
        model = self.around.panels.get(uid) if uid else self.around.named.get(name or "")
        if model is not None:
            yield from self.panels({"panels": [{**model, "libraryPanel": None, "title": panel.get("title") or model.get("title") or name}]})
        elif not panel.get("targets") and not ("type" in panel and ("options" in panel or "fieldConfig" in panel)):
            where = scalar(panel.get("title")) or name or "library panel"
            yield Unread(where, name or uid or "", f"the library panel {name or ''} ({uid or 'no uid'}) is not among the documents")


_NO_QUERY = frozenset(
    [
        "target",
        "datasource",
        "name",
        "titleFormat",
        "textFormat",
        "tagKeys",
        "tags",
        "iconColor",
        "type",
        "mappings",
        "filter",
        "snapshotData",
    ]
)
"""Of an annotation: `target` is read by itself, the rest says how it looks."""


def _alerting(place: Place, alert: Json, target: Json) -> Place:
    """A legacy alert reads the targets that its conditions name by refId; one whose conditions are not seen may read any."""
    conditions = mappings(alert.get("conditions"))
    read = {scalar(p) for c in conditions for p in listing(at(c, "query", "params"))[:1]}
    if read and scalar(target.get("refId")) not in read:
        return place
    return replace(place, role="alert", rule=scalar(alert.get("name")) or place.where)


_FIELD_LABEL = re.compile(r"__(?:field\.labels|data\.fields|series\.labels)(?:\.([A-Za-z_]\w*)|\[[\\\"']*([^\]\"'\\]+)[\\\"']*\])")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*")
_NOT_LABELS = frozenset({"Time", "Value", "Metric", "Field", "time", "value", "instance_name"})
_NAMES_AS_KEYS = frozenset({"excludeByName", "includeByName", "indexByName", "renameByName", "fields"})
_NAMES_AS_TEXTS = frozenset(
    ["names", "fields", "byField", "field", "fieldName", "columnField", "rowField", "valueField", "valueLabel", "keepLabels", "source"]
)


def panel_labels(panel: Json) -> frozenset[str]:
    """Labels that a panel reads from its queries' output: links, overrides by name, transformations, columns of old tables."""
    config = panel.get("fieldConfig")
    texts = (t for holder in (config, panel.get("links"), panel.get("options")) for _, t in texts_in(holder) if "__" in t)
    found = {a or b for text in texts for a, b in _FIELD_LABEL.findall(text)}
    if _is_table(panel):
        found |= {
            scalar(at(o, "matcher", "options")) for o in mappings(mapping(config).get("overrides")) if at(o, "matcher", "id") == "byName"
        }
    found |= {name for t in mappings(panel.get("transformations")) for name in _fields_of(mapping(t.get("options")))}
    found |= {scalar(c.get("value")) for c in mappings(panel.get("columns"))} | {
        scalar(s.get("pattern")) for s in mappings(panel.get("styles"))
    }
    found |= {scalar(s.get("displayName")) for s in mappings(at(panel, "options", "sortBy"))} | {scalar(panel.get("tableColumn"))}
    return frozenset(n for n in found if n and _IDENTIFIER.fullmatch(n)) - _NOT_LABELS


def _is_table(panel: Json) -> bool:
    """In a table the fields are labels; in a graph they are legends, whose names say nothing."""
    tables = any(t.get("format") == "table" for t in mappings(panel.get("targets")))
    return tables or "table" in str(panel.get("type")) or bool(panel.get("transformations"))


def _fields_of(options: Json) -> Iterator[str]:
    for node in _nodes(options):
        for key, value in node.items():
            if key in _NAMES_AS_KEYS and isinstance(value, dict):
                yield from map(str, mapping(value))
            if key in _NAMES_AS_TEXTS:
                yield from (t for v in (value if isinstance(value, list) else [value]) if (t := scalar(v)))


_ELSEWHERE = frozenset({"__elements", "snapshotData"})


def strays(document: Json, items: list[Item], scope: Scope) -> Iterator[Item]:
    """Every `expr` of a document, and every query for a variable's values, that is in none of its items: it stands in a place that this
    reader does not know."""
    seen = {item.text for item in items}
    stack: list[Any] = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict) and scope.source(node.get("datasource")).kind not in SKIPPED:
            stack.extend(v for k, v in mapping(node).items() if isinstance(v, dict | list) and k not in _ELSEWHERE)
            text = node.get("expr")
            if isinstance(text, str) and text.strip() and text not in seen:
                seen.add(text)
                yield from _stray(node, scope, items)
            yield from _stray_values(node.get("query"), seen)


def _stray_values(text: Any, seen: set[str]) -> Iterator[Unread]:
    """`label_values(…)` where no variable is known to be."""
    call = CALL.fullmatch(text) if isinstance(text, str) and text not in seen else None
    touches = names_in([call[2]], {}) if call else ()
    if call and touches:
        seen.add(call[0])
        yield Unread("elsewhere", call[0][:2_000], "a variable's query in a place that is not known", touches)


def _stray(node: Json, scope: Scope, items: list[Item]) -> Iterator[Any]:
    text = str(node["expr"])
    if not any(text in i.text for i in items if isinstance(i, Unread)):
        yield from read_target(node, UNKNOWN, Place("panel", scalar(node.get("title")) or "elsewhere", scope))
