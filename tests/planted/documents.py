"""Queries → documents as people write and wrap them, and documents that cannot be read."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.planted.asks import Ask

Json = dict[str, Any]
SOURCE = {"type": "prometheus", "uid": "prom"}


@dataclass(frozen=True, slots=True)
class File:
    """One file of a set: its name, its bytes."""

    name: str
    body: bytes


# --- Grafana ---------------------------------------------------------------------------------------------------------------------------


def _panel(rng: Random, number: int, asks: Sequence[Ask]) -> Json:
    targets: list[Json] = []
    for k, ask in enumerate(asks):
        legend = rng.choice(["", "__auto", *(f"{{{{{label}}}}}" for label in ask.shown)])
        targets.append(
            {"refId": chr(65 + k), "expr": ask.text, "legendFormat": legend, **({"datasource": SOURCE} if rng.random() < 0.5 else {})}
        )
    if rng.random() < 0.2:  # only an expression of Grafana's own reads the first
        targets[0]["hide"] = True
        targets.append({"refId": "Z", "datasource": {"type": "__expr__", "uid": "__expr__"}, "type": "math", "expression": "$A * 2"})
    kind = rng.choice(["timeseries", "stat", "table", "graph", "gauge"])
    return {"id": number, "type": kind, "title": f"panel {number}", "datasource": SOURCE, "targets": targets}


def _variables(asks: Sequence[Ask]) -> list[Json]:
    made: dict[str, Mapping[str, object]] = {}
    for ask in asks:
        if ask.variable_only:
            name = f"listed{len(made)}"
            query = {"query": ask.text, "refId": "v"} if len(made) % 2 else ask.text
            made[name] = {"type": "query", "name": name, "datasource": SOURCE, "query": query, "refresh": 1}
        made |= ask.variables
    return [dict(v) for v in made.values()]


def _grouped(rng: Random, asks: Sequence[Ask]) -> list[list[Ask]]:
    shown = [a for a in asks if not a.variable_only]
    groups: list[list[Ask]] = []
    while shown:
        size = rng.randint(1, 2)
        groups.append(shown[:size])
        shown = shown[size:]
    return groups


def dashboard(rng: Random, number: int, asks: Sequence[Ask], mention: str = "") -> Json:
    """`mention` is text that no query asks for: names in it are read by nobody."""
    panels: list[Json] = [_panel(rng, k + 1, group) for k, group in enumerate(_grouped(rng, asks))]
    panels.append(
        {"id": 99, "type": "text", "title": f"About {mention}", "options": {"mode": "markdown", "content": f"# {mention}\nsee there"}}
    )
    made: Json = {"uid": f"u{number}", "title": f"board {number}", "schemaVersion": rng.choice([16, 30, 39]), "tags": [mention]}
    layout = rng.randrange(3)
    if layout == 0:
        made["rows"] = [{"title": "row", "panels": panels}]
    elif layout == 1:
        made["panels"] = [{"id": 100, "type": "row", "title": "row", "collapsed": True, "panels": panels}]
    else:
        made["panels"] = panels
    shown = [a for a in asks if not a.variable_only]
    if shown and rng.random() < 0.2:  # the first is an annotation too
        made["annotations"] = {"list": [{"name": "a", "enable": True, "datasource": SOURCE, "expr": shown[0].text}]}
    return {**made, "templating": {"list": _variables(asks)}}


def _v2(rng: Random, number: int, asks: Sequence[Ask]) -> Json | None:
    """The same in schema v2; variables that list are left to v1."""
    if any(a.variable_only or set(a.variables) - {"var"} for a in asks):
        return None
    elements: Json = {}
    for k, ask in enumerate(asks):
        query = {"kind": "DataQuery", "group": "prometheus", "version": "v0", "datasource": {"name": "prom"}, "spec": {"expr": ask.text}}
        queries = [{"kind": "PanelQuery", "spec": {"refId": "A", "hidden": False, "query": query}}]
        data = {"kind": "QueryGroup", "spec": {"queries": queries, "transformations": [], "queryOptions": {}}}
        viz = {"kind": "VizConfig", "group": "timeseries", "spec": {"fieldConfig": {}, "options": {}}}
        elements[f"panel-{k}"] = {"kind": "Panel", "spec": {"id": k, "title": f"p{k}", "links": [], "data": data, "vizConfig": viz}}
    options = [{"text": "a", "value": "a", "selected": True}]
    variable = {"kind": "CustomVariable", "spec": {"name": "var", "query": "a,b", "options": options, "current": options[0]}}
    spec = {"title": f"board {number}", "tags": [], "elements": elements, "layout": {"kind": "GridLayout", "spec": {"items": []}},
            "variables": [variable], "annotations": []}  # fmt: skip
    return {"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "metadata": {"name": f"b{number}"}, "spec": spec}


def _config_map(name: str, data: Mapping[str, str]) -> Json:
    labels = {"grafana_dashboard": "1"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": dict(data)}


def _library(board: Json, number: int) -> list[Json]:
    """The dashboard with its first panel in a library, and that panel."""
    panels = board.get("panels") or []
    if not panels or panels[0]["type"] == "row":
        return [board]
    model, uid = panels[0], f"lib-{number}"
    there = {"id": 1, "title": "from the library", "libraryPanel": {"uid": uid, "name": "shared"}}
    element = {"result": {"uid": uid, "name": "shared", "kind": 1, "type": model["type"], "model": model}}
    return [{**board, "panels": [there, *panels[1:]]}, element]


def grafana(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    made = (_v2(rng, number, asks) if rng.random() < 0.15 else None) or dashboard(rng, number, asks, mention)
    wrap = rng.randrange(7)
    name = f"board-{number}"
    if wrap == 0 and "panels" in made:
        return [_json(f"{name}-{k}", each) for k, each in enumerate(_library(made, number))]
    if wrap == 1 and "apiVersion" not in made:
        return [_json(name, {"dashboard": made, "meta": {"slug": name, "folderTitle": "Shop"}})]
    if wrap == 2:
        return [_yaml(name, _config_map(name, {f"{name}.json": json.dumps(made)}))]
    if wrap == 3:
        return [_yaml(name, {"apiVersion": "v1", "kind": "List", "items": [_config_map(name, {"x.json": json.dumps(made, indent=1)})]})]
    if wrap == 4 and "apiVersion" not in made:
        spec = {"instanceSelector": {"matchLabels": {"a": "b"}}, "json": json.dumps(made)}
        return [
            _yaml(
                name,
                {"apiVersion": "grafana.integreatly.org/v1beta1", "kind": "GrafanaDashboard", "metadata": {"name": name}, "spec": spec},
            )
        ]
    if wrap == 5:
        return [_otherwise_wrapped(rng, name, made)]
    return [_json(name, made)]


def _otherwise_wrapped(rng: Random, name: str, board: Json) -> File:
    """As programs keep them: compressed in a ConfigMap, in Terraform's JSON, as an app's resource, in a chart's values."""
    text = json.dumps(board)
    packed = base64.b64encode(gzip.compress(text.encode(), 1, mtime=0)).decode()
    meta = {"name": name, "labels": {"grafana_dashboard": "1"}}
    made: list[Json] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": {f"{name}.json.gz": packed}},
        {"resource": {"grafana_dashboard": {name: {"config_json": text}}}},
        {"grafana": {"dashboards": {"default": {name: {"json": text}}}}},
        board if "apiVersion" in board else {"apiVersion": "dashboard.grafana.app/v1beta1", "kind": "Dashboard", "metadata": meta, "spec": board},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {f"{name}.json": text}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {f"{name}.json": base64.b64encode(text.encode()).decode()}},
    ]  # fmt: skip
    return _json(name, text) if rng.random() < 0.1 else _yaml(name, rng.choice(made))


def grafana_alerts(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    rules = []
    for k, ask in enumerate(asks):
        query = {"refId": "A", "datasourceUid": "prom", "relativeTimeRange": {"from": 600, "to": 0},
                 "model": {"expr": ask.text, "refId": "A", "datasource": SOURCE}}  # fmt: skip
        threshold = {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "A", "refId": "B",
                     "conditions": [{"evaluator": {"type": "gt", "params": [1]}}]}}  # fmt: skip
        rules.append({"uid": f"r{k}", "title": f"alert {k}", "condition": "B", "data": [query, threshold], "for": "5m",
                      "annotations": {"summary": mention}})  # fmt: skip
    return [
        _yaml(f"alerts-{number}", {"apiVersion": 1, "groups": [{"orgId": 1, "name": "g", "folder": "f", "interval": "1m", "rules": rules}]})
    ]


# --- Prometheus ------------------------------------------------------------------------------------------------------------------------


def _rule(rng: Random, number: int, ask: Ask, mention: str) -> Json:
    if rng.random() < 0.1:
        return {"record": f"unread:{rng.randrange(10**9)}:sum", "expr": ask.text}
    if rng.random() < 0.1:  # the query stands in the alert's text alone
        said = f"{{{{ with query {json.dumps(ask.text)} }}}}{{{{ . | first | value }}}}{{{{ end }}}}"
        return {"alert": f"Alert{number}", "expr": "vector(1) > 0", "annotations": {"description": said}}
    summary = f"{mention} of {{{{ $labels.{ask.shown[0]} }}}}" if ask.shown and ask.shown[0].isidentifier() else mention
    return {"alert": f"Alert{number}", "expr": ask.text, "for": "5m", "labels": {"severity": "page"}, "annotations": {"summary": summary}}


def prometheus(rng: Random, number: int, rules: Sequence[Json]) -> list[File]:
    half = rng.randint(0, len(rules))
    groups: list[Json] = [
        {"name": f"g{k}", "interval": "30s", "rules": list(part)} for k, part in enumerate((rules[:half], rules[half:])) if part
    ]
    name, wrap = f"rules-{number}", rng.randrange(6)
    if wrap == 0:
        made: Json = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name},
            "spec": {"groups": groups},
        }
        return [_yaml(name, made if rng.random() < 0.5 else {"apiVersion": "v1", "kind": "List", "items": [made]})]
    if wrap == 1:
        return [_yaml(name, _config_map(name, {"alerts.rules": _blocks(groups)}))]
    if wrap == 2:
        return [_json(name, {"groups": groups})]
    if wrap == 3:
        return [
            _json(
                name,
                {"status": "success", "data": {"groups": [{**g, "file": "f", "rules": [*map(_as_served, g["rules"])]} for g in groups]}},
            )
        ]
    if wrap == 4:
        return [_rules_otherwise(rng, name, groups)]
    return [File(f"{name}.yaml", _blocks(groups).encode())]


def _rules_otherwise(rng: Random, name: str, groups: list[Json]) -> File:
    """As clouds and charts keep rules."""
    text = _blocks(groups)
    azure = [{k: v for k, v in {**rule, "expression": rule["expr"]}.items() if k != "expr"} for g in groups for rule in g["rules"]]
    made: list[Json] = [
        {"additionalPrometheusRulesMap": {name: {"groups": groups}}},
        {"serverFiles": {"alerting_rules.yml": {"groups": groups}}},
        {"Resources": {"R": {"Type": "AWS::APS::RuleGroupsNamespace", "Properties": {"Name": name, "Workspace": "w", "Data": text}}}},
        {"resources": [{"type": "Microsoft.AlertsManagement/prometheusRuleGroups", "name": name, "properties": {"rules": azure}}]},
        {"apiVersion": "operator.victoriametrics.com/v1beta1", "kind": "VMRule", "metadata": {"name": name}, "spec": {"groups": groups}},
        {"apiVersion": "monitoring.googleapis.com/v1", "kind": "Rules", "metadata": {"name": name}, "spec": {"groups": groups}},
        {"namespace": "shop", "groups": groups},
        {"shop": groups},
    ]  # fmt: skip
    return _yaml(name, rng.choice(made))


def _as_served(rule: Json) -> Json:
    """As Prometheus' rules API says it."""
    kind, name = ("recording", rule["record"]) if "record" in rule else ("alerting", rule["alert"])
    more = {key: rule.get(key, {}) for key in ("labels", "annotations")}
    return {"type": kind, "name": name, "query": rule["expr"], **more, "health": "ok"}


def _blocks(groups: Sequence[Json]) -> str:
    """YAML as people write it: expressions in literal blocks."""
    lines = ["groups:"]
    for group in groups:
        lines += [f"- name: {group['name']}", "  rules:"]
        for rule in group["rules"]:
            named = "record" if "record" in rule else "alert"
            lines += [f"  - {named}: {json.dumps(rule[named])}", "    expr: |", "      " + rule["expr"].replace("\n", "\n      ")]
            lines += [f"    {key}: {json.dumps(rule[key])}" for key in ("labels", "annotations") if key in rule]
    return "\n".join(lines) + "\n"


def alerts(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    return prometheus(rng, number, [_rule(rng, k, ask, mention) for k, ask in enumerate(asks)])


# --- others ----------------------------------------------------------------------------------------------------------------------------


def perses(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    panels: Json = {}
    for k, ask in enumerate(asks):
        query = {"kind": "TimeSeriesQuery", "spec": {"plugin": {"kind": "PrometheusTimeSeriesQuery", "spec": {"query": ask.text}}}}
        panels[f"p{k}"] = {
            "kind": "Panel",
            "spec": {"display": {"name": mention}, "plugin": {"kind": "TimeSeriesChart", "spec": {}}, "queries": [query]},
        }
    spec = {"display": {"name": mention}, "panels": panels, "layouts": [], "variables": []}
    return [_json(f"perses-{number}", {"kind": "Dashboard", "metadata": {"name": f"d{number}", "project": "shop"}, "spec": spec})]


def sloth(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    slos = [
        {"name": f"slo{k}", "objective": 99.9, "description": mention, "alerting": {"name": "A"},
         "sli": {"events": {"error_query": ask.text.replace("[5m]", "[{{.window}}]"), "total_query": ask.text}}}
        for k, ask in enumerate(asks)
    ]  # fmt: skip
    if rng.random() < 0.5:
        return [_yaml(f"slo-{number}", {"version": "prometheus/v1", "service": "shop", "slos": slos})]
    resource = {
        "apiVersion": "sloth.slok.dev/v1",
        "kind": "PrometheusServiceLevel",
        "metadata": {"name": "s"},
        "spec": {"service": "shop", "slos": slos},
    }
    return [_yaml(f"slo-{number}", resource)]


def open_slo(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    made: list[str] = []
    for k, ask in enumerate(asks):
        source = {"type": "Prometheus", "spec": {"query": ask.text}}
        spec = {"service": "shop", "indicator": {"metadata": {"name": "i"}, "spec": {"thresholdMetric": {"metricSource": source}}},
                "objectives": [{"target": 0.9, "op": "lte", "value": 1}], "timeWindow": [{"duration": "28d", "isRolling": True}],
                "budgetingMethod": "Occurrences"}  # fmt: skip
        made.append(json.dumps({"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": f"o{k}"}, "spec": spec}))
    return [File(f"openslo-{number}.yaml", "\n---\n".join(made).encode())]


def keda(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    triggers = [{"type": "prometheus", "metadata": {"serverAddress": "http://p", "threshold": "5", "query": ask.text}} for ask in asks]
    spec = {"scaleTargetRef": {"name": "shop"}, "triggers": triggers}
    return [_yaml(f"keda-{number}", {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "k"}, "spec": spec})]


def rollouts(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    """What decides on a delivery: Argo Rollouts, Flagger, Keptn."""
    made: list[str] = []
    for k, ask in enumerate(asks):
        query, tool = ask.text, rng.randrange(3)
        if tool == 0:
            metric = {
                "name": "m",
                "interval": "1m",
                "successCondition": "result[0] > 1",
                "provider": {"prometheus": {"address": "http://p", "query": query}},
            }
            document = {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisTemplate",
                "metadata": {"name": f"a{k}"},
                "spec": {"metrics": [metric]},
            }
        elif tool == 1:
            spec = {"provider": {"type": "prometheus", "address": "http://p"}, "query": query}
            document = {"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": f"f{k}"}, "spec": spec}
        else:
            spec = {"provider": {"name": "p"}, "query": query, "fetchIntervalSeconds": 5}
            document = {"apiVersion": "metrics.keptn.sh/v1", "kind": "KeptnMetric", "metadata": {"name": f"k{k}"}, "spec": spec}
        made.append(json.dumps(document))
    return [File(f"rollout-{number}.yaml", "\n---\n".join(made).encode())]


def ruler_of_grafana(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    """Alerts as Grafana's ruler API gives them."""
    rules: list[Json] = []
    for k, ask in enumerate(asks):
        query = {"refId": "A", "queryType": "", "datasourceUid": "prom", "relativeTimeRange": {"from": 600, "to": 0},
                 "model": {"expr": ask.text, "refId": "A", "instant": True, "datasource": SOURCE}}  # fmt: skip
        rules.append({"expr": "", "for": "5m", "annotations": {"summary": mention},
                      "grafana_alert": {"uid": f"u{k}", "title": f"t{k}", "condition": "A", "data": [query]}})  # fmt: skip
    return [_json(f"ruler-{number}", {"folder": [{"name": "g", "interval": "1m", "rules": rules}]})]


def stats_log(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    """What Mimir's query-frontend logs of each query."""
    lines = [
        f'ts=2026-01-01T00:00:{k:02d}.5Z caller=handler.go:384 level=info user=shop msg="query stats" component=query-frontend method=POST '
        f"path=/prometheus/api/v1/query_range response_time=5ms param_query={json.dumps(ask.text)} param_start=1 param_end=2 param_step=60"
        for k, ask in enumerate(asks)
    ]
    return [File(f"frontend-{number}.log", "\n".join(lines).encode() + b"\n")]


def query_log(rng: Random, number: int, asks: Sequence[Ask], mention: str) -> list[File]:
    lines = [
        json.dumps({"params": {"query": ask.text, "start": "2026-01-01T00:00:00.000Z", "end": "2026-01-01T01:00:00.000Z", "step": 60},
                    "ts": f"2026-01-01T00:00:{k:02d}.000Z", "stats": {}})
        for k, ask in enumerate(asks)
    ]  # fmt: skip
    return [File(f"query-{number}.log", "\n".join(lines).encode() + b"\n")]


def noise(rng: Random, number: int, mention: str) -> list[File]:
    """What is there too, and reads nothing."""
    made = rng.choice(
        [
            File(f"README-{number}.md", f"# {mention}\n".encode()),
            File(f"package-{number}.json", json.dumps({"name": mention, "version": "1.0.0", "dependencies": {}}).encode()),
            File(f"deploy-{number}.yaml", json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}).encode()),
        ]
    )
    return [made]


def _json(name: str, document: object) -> File:
    return File(f"{name}.json", json.dumps(document, indent=1 if len(name) % 2 else None).encode())


def _yaml(name: str, document: object) -> File:
    """JSON is YAML: the text of the other is in literal blocks elsewhere."""
    return File(f"{name}.yaml", json.dumps(document, indent=1).encode())


Writer = Callable[[Random, int, Sequence[Ask], str], list[File]]
WITH_VARIABLES: tuple[Writer, ...] = (grafana,)
WITHOUT: tuple[Writer, ...] = (
    alerts,
    alerts,
    alerts,
    grafana_alerts,
    perses,
    sloth,
    open_slo,
    keda,
    query_log,
    stats_log,
    rollouts,
    ruler_of_grafana,
)


# --- what cannot be read -----------------------------------------------------------------------------------------------------------------


def _cut(file: File, rng: Random) -> File:
    """The end is lost. What was in it is not known, so it may have read anything."""
    return File(file.name, file.body.rstrip()[: max(20, len(file.body) * rng.randint(40, 90) // 100)])


def _not_text(file: File, rng: Random) -> File:
    middle = len(file.body) // 2
    return File(file.name, file.body[:middle] + b"\xff\xfe\x80" + file.body[middle:])


def _jsonnet(file: File, rng: Random) -> File:
    return File(
        file.name.rpartition(".")[0] + ".jsonnet", b"local q = import 'q.libsonnet';\n{ expr: q.all, dashboard: " + file.body + b" }\n"
    )


def _template(file: File, rng: Random) -> File:
    return File(file.name.rpartition(".")[0] + ".yaml.tpl", b'{{ include "labels" . }}\n' + file.body)


def _zip(file: File, rng: Random) -> File:
    return File(file.name.rpartition(".")[0] + ".zip", b"PK\x03\x04" + file.body[:200])


def _pointer(file: File, rng: Random) -> File:
    """Large files of a repository that was fetched without them."""
    return File(file.name, f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0f' * 32}\nsize {len(file.body)}\n".encode())


def _login(file: File, rng: Random) -> File:
    """What a server sends instead."""
    return File(file.name.rpartition(".")[0] + ".json", b"<!DOCTYPE html><html><body>Log in</body></html>")


def _cut_string(file: File, rng: Random) -> File:
    """A document in a JSON string, without its end."""
    return File(file.name, json.dumps(file.body.decode()[: len(file.body) * 2 // 3]).encode())


def _archive(file: File, rng: Random) -> File:
    """An archive whose end is lost: what lies before it is read."""
    whole = gzip.compress(file.body, 1, mtime=0)
    return File(file.name + ".gz", whole[: len(whole) - rng.randint(1, len(whole) // 2)])


Damage = Callable[[File, Random], File]
DAMAGES: tuple[Damage, ...] = (_cut, _cut, _not_text, _jsonnet, _template, _zip, _pointer, _login, _cut_string, _archive)
