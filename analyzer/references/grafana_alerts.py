"""Alert and recording rules that Grafana itself evaluates: provisioning files, its APIs, its resources and those of its operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from analyzer.references.dashboards import ALONE, Surroundings
from analyzer.references.queries import Found, Item, Json, Recorded, Unread
from analyzer.references.shapes import at, first, listing, mapping, mappings, metadata, owner_of, scalar, shown, texts_in
from analyzer.references.targets import UNKNOWN, Place, Scope, Source, names_in, read_target

KIND = "grafana_alert_rules"
_RESOURCE_GROUP = "rules.alerting.grafana.app"


def is_alerting(value: Any) -> bool:
    """A document of Grafana's alerting, in any of its shapes."""
    document = mapping(value)
    return bool(_groups(document)) or _is_rule(document) or _is_resource(document)


def is_rule_list(values: list[Any]) -> bool:
    """`/api/v1/provisioning/alert-rules` answers with a bare list of rules."""
    return bool(values) and all(_is_rule(mapping(v)) for v in values)


def read_alerting(value: Json | list[Any], around: Surroundings = ALONE) -> Found:
    scope = Scope(sources=around.sources, hearsay=around.hearsay)
    document = mapping(value)
    groups = [("", listing(value))] if isinstance(value, list) else _groups(document) or [("", [document])]
    items = [item for group, rules in groups for rule in rules for item in read_rule(mapping(rule), group, scope)]
    name, namespace, labels = metadata(document)
    title = scalar(document.get("title")) or scalar(at(document, "spec", "title")) or name or groups[0][0]
    folders = {scalar(r.get(k)) for _, rules in groups for r in mappings(rules) for k in ("folderUID", "folder")} - {None}
    folders |= {scalar(g.get("folder")) for g in mappings(document.get("groups"))} - {None}
    only_folder = next(iter(folders)) if len(folders) == 1 else None
    uid = scalar(document.get("uid")) or scalar(at(document, "grafana_alert", "uid")) or name or title
    return Found(KIND, uid, title, tuple(items), only_folder or owner_of(labels, _team(groups)) or namespace)


def _team(groups: list[tuple[str, list[Any]]]) -> Json:
    """The team that every rule's labels name."""
    labels = [mapping(r.get("labels")) for _, rules in groups for r in mappings(rules)]
    said = {owner_of(one) for one in labels}
    return {"team": next(iter(said))} if len(said) == 1 and None not in said else {}


def _is_rule(rule: Json) -> bool:
    inner = mapping(rule.get("grafana_alert")) or rule
    return any("model" in d and ("datasourceUid" in d or "datasourceUID" in d or "refId" in d) for d in mappings(inner.get("data")))


def _is_resource(document: Json) -> bool:
    ours = str(document.get("apiVersion")).startswith(_RESOURCE_GROUP)
    return ours and document.get("kind") in ("AlertRule", "RecordingRule") and isinstance(document.get("spec"), dict)


def _groups(document: Json) -> list[tuple[str, list[Any]]]:
    """Groups of rules with their names: `groups[].rules[]` of files, `{folder: [{name, rules}]}` of the ruler API, one group of an operator."""
    spec = mapping(document.get("spec"))
    if document.get("kind") == "GrafanaAlertRuleGroup":
        return [(scalar(spec.get("name")) or metadata(document)[0], listing(spec.get("rules")))]
    holders = mappings(document.get("groups")) or [document] if "rules" in document or "groups" in document else []
    if not holders:
        holders = [g for groups in document.values() if isinstance(groups, list) for g in mappings(listing(groups)) if "rules" in g]
    found = [(_named(g), listing(g.get("rules"))) for g in holders]
    return found if any(_is_rule(r) for _, rules in found for r in mappings(rules)) else []


def _named(group: Json) -> str:
    return scalar(first(group, "name", "title")) or "group"


def read_rule(rule: Json, group: str, scope: Scope) -> Iterator[Item]:
    """The queries of one rule: those of its `data` that ask a data source. Arithmetic over them (`__expr__`) reads nothing more."""
    spec = mapping(rule.get("grafana_alert")) or (mapping(rule.get("spec")) if _is_resource(rule) else rule)
    name = scalar(first(spec, "title", "metric")) or scalar(rule.get("alert")) or scalar(rule.get("uid")) or "rule"
    records = _records(spec, rule)
    place = Place("recording_rule" if records else "alert", group or name, scope, name, _mentioned(rule, spec), records)
    data = _data(spec)
    for entry in data:
        yield from _read_data(entry, place)
    if not data and ("expr" in rule or "data" in spec or "expressions" in spec):
        yield from _plain_or_broken(rule, place)


def _records(spec: Json, rule: Json) -> Recorded | None:
    held = mapping(spec.get("record")) or mapping(rule.get("record"))
    metric = scalar(held.get("metric")) or (scalar(spec.get("metric")) if "expressions" in spec else None)
    return Recorded(metric, frozenset(map(str, mapping(first(rule, "labels") or spec.get("labels"))))) if metric else None


def _data(spec: Json) -> list[Json]:
    """A list of queries, or a mapping of them by refId."""
    held = first(spec, "data", "expressions")
    if isinstance(held, dict):
        return [{"refId": key, **mapping(v)} for key, v in mapping(held).items() if isinstance(v, dict)]
    return mappings(held)


def _plain_or_broken(rule: Json, place: Place) -> Iterator[Item]:
    text = scalar(rule.get("expr"))
    if text is not None:
        yield place.start("promql", text)
    elif rule.get("data") or rule.get("expressions"):
        yield Unread(place.where, shown(rule), "a rule whose queries are in a shape that is not known")


def _read_data(entry: Json, place: Place) -> Iterator[Item]:
    uid = scalar(first(entry, "datasourceUid", "datasourceUID", "datasource_uid"))
    model = _model(entry.get("model"))
    if model is None:
        yield _broken(entry, place)
        return
    above = place.scope.source(uid) if uid else UNKNOWN
    inner = place.scope.source(model.get("datasource"))
    source = above if above.sure else inner if inner.sure else Source()
    if source.kind == "" and "expr" not in model and str(model.get("type")) in _EXPRESSIONS:
        return
    yield from read_target({**model, "datasource": None}, source, replace(place, where=place.where))


_EXPRESSIONS = frozenset({"math", "reduce", "resample", "classic_conditions", "threshold", "sql"})
"""Types of Grafana's server-side expressions."""


def _model(value: Any) -> Json | None:
    """A mapping, or one as text in JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return mapping(value) if isinstance(value, dict) else None


def _broken(entry: Json, place: Place) -> Unread:
    touches = names_in([t for _, t in texts_in(entry.get("model"))], {})
    return place.unread(shown(entry.get("model")), "a query that is no object", touches)


_LABEL = re.compile(
    r"(?:\$labels|\.Labels|\$values\.\w+\.Labels)\.(\w+)|(?:\$labels|\.Labels)\s*\[?\s*[\"'](\w+)|index\s+\S*[lL]abels\s+\"([^\"]+)\""
)


def _mentioned(rule: Json, spec: Json) -> frozenset[str]:
    """Labels that texts show (`$labels.pod`, `$values.A.Labels.pod`) and that notifications are grouped by."""
    holders = (rule.get("labels"), rule.get("annotations"), spec.get("labels"), spec.get("annotations"))
    found = {name for holder in holders for _, t in texts_in(holder) for groups in _LABEL.findall(t) for name in groups if name}
    settings = first(spec, "notification_settings", "notificationSettings")
    grouped = listing(first(mapping(settings), "group_by", "groupBy"))
    return frozenset(found | {g for g in map(scalar, grouped) if g and g != "..."})
