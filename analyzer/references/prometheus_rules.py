"""Rules of Prometheus, Mimir, Thanos, VictoriaMetrics and Loki in all their wrappings, and the configs of Prometheus and Alertmanager.

A rule of Loki has the shape of one of Prometheus; its expression decides. `|` outside strings exists in LogQL alone, and so do some
functions. `rate({app="x"}[5m])` is legal in both: it is LogQL if the document is, or if no expression of its group has a metric's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal

from analyzer.references.queries import Found, Item, Json, JsonReader, Language, Query, Recorded, Role, Unread
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
    might_name,
    owner_of,
    scalar,
    shown,
    texts_in,
    unread,
    with_overlooked,
)

KIND = "prometheus_rules"
_EXPRESSION_KEYS = ("expr", "query", "expression")
"""`expr` in files and resources, `query` in the rules API, `expression` in Azure's rule groups."""
_TEMPLATES = frozenset({"labels", "annotations"})
_NOT_PROMQL = frozenset({"graphite", "vlogs"})
"""Types of vmalert's groups; `prometheus` is its default."""

# Language of an expression

_STRING_OR_COMMENT = re.compile(r"(\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z)|`[^`]*+`)|#[^\n]*", re.DOTALL)
_TEMPLATED = re.compile(r"\{\{(?:(?!\{\{).)*?\}\}", re.DOTALL)
_LOGQL_ONLY = re.compile(r"\||\b(?:bytes_rate|bytes_over_time|unwrap)\b")
_NAMELESS = re.compile(r"\b(?:rate|count_over_time|absent_over_time)\s*\(\s*\{")
_NAME_IN_BRACES = re.compile(r"__name__|[{,]\s*\"\"\s*[,}]")
_NO_NAMES = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)|\{[^{}]*\}|\[[^\]]*\]|\b\d\w*")
_BARE_NAME = re.compile(r"\b(?!(?:and|or|unless|bool|offset|inf|nan|by|without)\b)[A-Za-z_:][\w:]*\b(?!\s*\()", re.IGNORECASE)
_PREFIXED = re.compile(r"\b[A-Za-z_]\w*\s+(?=(?:by|without)\b)", re.IGNORECASE)

Evidence = Literal["certain", "possible", "none"]


def logql_evidence(text: str) -> Evidence:
    """Whether an expression is LogQL: only it has pipes and byte functions; it shares functions over nameless selectors with PromQL."""
    bare = _STRING_OR_COMMENT.sub(lambda m: '""' if m[1] else "", _TEMPLATED.sub("", text))
    if _LOGQL_ONLY.search(bare):
        return "certain"
    return "possible" if _NAMELESS.search(bare) and not _names_a_metric(bare) else "none"


def _names_a_metric(bare: str) -> bool:
    """Whether a metric's name is in an expression without strings: in braces, or as a word that is no function, keyword or label."""
    return bool(_NAME_IN_BRACES.search(bare) or _BARE_NAME.search(_NO_NAMES.sub(" ", _PREFIXED.sub("", bare))))


def _language(said: Sequence[Evidence]) -> Language:
    """What an expression that could be LogQL is, beside others of its group."""
    return "logql" if "certain" in said or all(s == "possible" for s in said) else "promql"


# One rule

_LABEL_READ = re.compile(
    r"(?:\$labels|\.Labels)\.(\w+)|(?:\$?labels|\.Labels)\s*\[\s*[\"'](\w+)|index\s+(?:\$labels|\.Labels)\s+\"(\w+)\"|\b(?:label|sortByLabel)\s+\"(\w+)\""
)
_ACTION = re.compile(r"\{\{((?:(?!\{\{).)*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r"\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)|`[^`]*+`|[|()]|[^\s|()\"`]+", re.DOTALL)
_VERB = re.compile(r"%[-+# 0]*[\d.]*([a-zA-Z])")


def labels_read(templates: str) -> frozenset[str]:
    """The labels that templates of Prometheus read of an alert or of a query's result."""
    return frozenset(name for m in _LABEL_READ.finditer(templates) for name in m.groups() if name)


def template_queries(where: str, rule: str | None, template: str) -> Iterator[Item]:
    """The queries that an annotation runs: `{{ query "up" }}`, `{{ with printf "up{job='%s'}" $labels.job | query }}`."""
    for action in _ACTION.findall(template):
        tokens: list[str] = _TOKEN.findall(action.strip("-"))
        for index in (i for i, word in enumerate(tokens) if word == "query"):
            if (literal := _query_argument(tokens, index)) is not None:
                yield _template_query(where, rule, _unquoted(literal), labels_read(template))
            else:
                yield Unread(where, action.strip(), "an annotation queries what a template makes up")


def _query_argument(tokens: Sequence[str], index: int) -> str | None:
    """The text that `query` at `index` runs: `query "…"`, `query (printf "…" …)`, `"…" | query`, `printf "…" … | query`."""
    after = [t for t in tokens[index + 1 : index + 4] if t not in ("(", "printf")]
    if after and after[0] != ")" and after[0] != "|":
        return after[0] if _is_string(after[0]) else None
    before = tokens[: max(index - 1, 0)]
    formats = [i for i, word in enumerate(before) if word == "printf"]
    strings = [t for t in before[formats[-1] :] if _is_string(t)] if formats else [t for t in reversed(before) if _is_string(t)]
    return strings[0] if strings else None


def _is_string(token: str) -> bool:
    return token[0] in '"`'


def _template_query(where: str, rule: str | None, text: str, mentioned: frozenset[str]) -> Query:
    """`%s` stands for what is known at run time only: a variable. `%q` writes its quotes itself."""
    filled = _VERB.sub(lambda m: '"$value"' if m[1] == "q" else "$value", text)
    return Query("promql", "annotation", where, text, rule, filled if filled != text else None, mentioned=mentioned)


def _unquoted(literal: str) -> str:
    if literal.startswith("`"):
        return literal[1:-1]
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return literal[1:-1]  # `\x41`: Go knows escapes that JSON does not


def _expression(rule: Json) -> str | None:
    return scalar(first(rule, *_EXPRESSION_KEYS))


def _role(rule: Json) -> Role:
    said = rule.get("type")
    if said in ("alerting", "recording"):
        return "alert" if said == "alerting" else "recording_rule"
    return "recording_rule" if rule.get("record") is not None and rule.get("alert") is None else "alert"


def _rule(where: str, rule: Any, language: Language, inherited: Json) -> Iterator[Item]:
    """A rule's query, and those of its annotations. One that is neither an alert nor a recording may be either: it is a root."""
    found = mapping(rule)
    text, name = _expression(found), scalar(first(found, "alert", "record", "name"))
    labels, annotations = mapping(found.get("labels")), mapping(found.get("annotations"))
    templates = [t for t in (scalar(v) for v in chain(labels.values(), annotations.values())) if t]
    for template in templates:
        yield from template_queries(where, name, template)
    if text is None:
        yield unread(where, rule, "a rule without an expression", _TEMPLATES | {"alert", "record", "name", "for", "keep_firing_for"})
        return
    role = _role(found)
    written = frozenset(str(k) for k in chain(labels, inherited))
    records = Recorded(name, written) if role == "recording_rule" and name else None
    yield Query(language, role, where, text, name, mentioned=labels_read("\n".join(templates)), records=records)


# Groups

_GRAFANA_RULE = frozenset({"data", "condition", "grafana_alert"})
_RULE_KEYS = frozenset({"alert", "record", *_EXPRESSION_KEYS})
_RBAC_RULE = frozenset({"apiGroups", "verbs", "resources", "nonResourceURLs"})


def _is_grafanas(rule: Json) -> bool:
    """Rules of Grafana's own alerting have the same wrapping, but queries with stages instead of an expression."""
    return bool(_GRAFANA_RULE & rule.keys()) or isinstance(rule.get("record"), dict)


def _is_rule(rule: Json) -> bool:
    return bool(_RULE_KEYS & rule.keys()) and not _is_grafanas(rule)


def _rules_in(groups: Any) -> list[Json]:
    return [rule for group in mappings(groups) for rule in mappings(group.get("rules"))]


def _are_groups(value: Any) -> bool:
    """Whether a value is a list of rule groups, broken ones among them, and not of Grafana's nor of Kubernetes's permissions."""
    rules = _rules_in(value)
    if rules:
        return any(map(_is_rule, rules)) or not all(_is_grafanas(r) or _RBAC_RULE & r.keys() for r in rules)
    return any("rules" in group for group in mappings(value))


def read_groups(groups: Any, place: str = "", language: Language | None = None) -> Iterator[Item]:
    """The items of a list of groups. `language` where the document says it; else each group's expressions do."""
    if groups is None:
        return
    if not isinstance(groups, list):
        yield unread(place or "groups", groups, "groups that are not a list")
        return
    certain = language is None and any(_evidence(g).count("certain") for g in mappings(groups))
    for index, group in enumerate(listing(groups)):
        yield from _group(_place(place, group, index), group, language, certain)


def _place(place: str, group: Any, index: int) -> str:
    name = scalar(mapping(group).get("name")) or f"group {index + 1}"
    return f"{place}/{name}" if place else name


def _evidence(group: Json) -> list[Evidence]:
    return [logql_evidence(text) for text in map(_expression, mappings(group.get("rules"))) if text]


def _group(where: str, group: Any, language: Language | None, certain: bool) -> Iterator[Item]:
    found, said = mapping(group), mapping(group).get("type")
    if not isinstance(found.get("rules", ""), list):
        if found.get("rules", "") is not None:
            yield unread(where, group, "a group without rules", {"name", "interval"})
        return
    if isinstance(said, str) and said in _NOT_PROMQL:
        yield from (_of_another_language(where, rule, said) for rule in listing(found["rules"]))
        return
    beside: list[Evidence] = ["certain"] if certain else _evidence(found)
    for rule in listing(found["rules"]):
        if _holds_stages(mapping(rule)):
            yield from _grafana_rule(where, mapping(rule))
        else:
            yield from _rule(where, rule, language or _rule_language(rule, beside), mapping(found.get("labels")))


def _of_another_language(where: str, rule: Any, language: str) -> Unread:
    said = unread(where, rule, f"a rule of {language}, which is not read", _TEMPLATES)
    text = _expression(mapping(rule))
    return replace(said, text=text[:MAX_TEXT]) if text else said


def _rule_language(rule: Any, beside: Sequence[Evidence]) -> Language:
    said = logql_evidence(_expression(mapping(rule)) or "")
    return "promql" if said == "none" else "logql" if said == "certain" else _language(beside)


def _holds_stages(rule: Json) -> bool:
    text = rule.get("query")
    return isinstance(text, str) and text.lstrip().startswith("[{")


def _grafana_rule(where: str, rule: Json) -> Iterator[Item]:
    """A Grafana-managed rule as Grafana's copy of the rules API shows it: its `query` holds all stages as JSON."""
    text = str(rule["query"])
    try:
        stages = json.loads(text)
    except (ValueError, RecursionError):
        yield Unread(where, shown(text), "a rule of Grafana that is cut off", might_name(text))
        return
    annotations = " ".join(t for t in map(scalar, mapping(rule.get("annotations")).values()) if t)
    for stage in mappings(stages):
        if stage.get("datasourceUid") not in ("__expr__", "-100"):
            yield _stage(where, scalar(rule.get("name")), labels_read(annotations), stage)


def _stage(where: str, name: str | None, mentioned: frozenset[str], stage: Json) -> Item:
    text = scalar(at(stage, "model", "expr"))
    if text is None:
        return unread(where, stage, "a stage of Grafana's alerting that is not of Prometheus")
    return Query("logql" if logql_evidence(text) == "certain" else "promql", "alert", where, text, name, mentioned=mentioned)


def _found(document: Json, items: list[Item], identity: str, owner: str | None) -> Found:
    title = identity or ", ".join(dict.fromkeys(item.where for item in items))[:200]
    stages = [text for key, text in texts_in(document) if key == "query" and text.lstrip().startswith("[{")]
    return Found(KIND, identity, title, with_overlooked(document, items, {*_TEMPLATES, "alerts"}, stages), owner)


def _owner(groups: Any, *more: Json) -> str | None:
    rules = _rules_in(groups)
    return owner_of(*more, *(mapping(g.get("labels")) for g in mappings(groups)), *(mapping(r.get("labels")) for r in rules))


# Wrappings


def read_rule_file(document: Json) -> Found | None:
    """A rule file, also in the wrapper of mimirtool (`namespace:` beside `groups:`)."""
    groups = document.get("groups")
    if not _are_groups(groups) and not (not groups and "groups" in document and document.keys() <= {"groups", "namespace"}):
        return None
    namespace = scalar(document.get("namespace"))
    return _found(document, [*read_groups(groups, namespace or "")], namespace or "", _owner(groups) or namespace)


def read_rules_api(document: Json) -> Found | None:
    """The answer of `/api/v1/rules`, of Prometheus, Thanos, Mimir or vmalert."""
    groups = at(document, "data", "groups")
    if not _are_groups(groups) and not (groups == [] and document.get("status") == "success"):
        return None
    files = sorted({name for g in mappings(groups) if (name := scalar(g.get("file")))})
    items = [item for g in listing(groups) for item in read_groups([g], scalar(mapping(g).get("file")) or "")]
    return _found(document, items, files[0] if len(files) == 1 else "", _owner(groups))


def read_ruler_map(document: Json) -> Found | None:
    """What the ruler of Mimir, Cortex and Loki lists: groups by namespace, or by tenant and namespace."""
    spaces = list(_spaces(document, 2))
    if not any(_is_rule(rule) for _, groups in spaces for rule in _rules_in(groups)) or not all(
        isinstance(groups, list) for _, groups in spaces
    ):
        return None
    items = [item for name, groups in spaces for item in read_groups(groups, name)]
    return _found(document, items, spaces[0][0] if len(spaces) == 1 else "", spaces[0][0] if len(spaces) == 1 else None)


def _spaces(document: Json, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        nested = mapping(value)
        if nested and depth > 1:
            yield from ((f"{key}/{name}", groups) for name, groups in _spaces(nested, depth - 1))
        else:
            yield str(key), value


_RULE_KINDS = frozenset({"PrometheusRule", "VMRule", "Rules", "ClusterRules", "GlobalRules", "AlertingRule", "RecordingRule"})
"""Prometheus operator (also Azure's copy), VictoriaMetrics operator, Google's managed Prometheus, and the Loki operator or OpenShift."""


def read_rule_resource(document: Json) -> Found | None:
    """A Kubernetes resource with `spec.groups`: of a known kind even when broken, of any kind when its groups hold rules."""
    if "apiVersion" not in document or "kind" not in document or is_reference(document):
        return None
    groups, kind = at(document, "spec", "groups"), document.get("kind")
    known = isinstance(kind, str) and kind in _RULE_KINDS
    if not known and not _are_groups(groups):
        return None
    identity, namespace, labels = metadata(document)
    items: list[Item] = [*read_groups(groups, language="logql" if is_of(document, "loki.grafana.com") else None)]
    if "groups" not in mapping(document.get("spec")) and document.get("spec") != {}:
        items.append(unread("spec", document.get("spec"), f"{kind} without groups"))
    return _found(document, items, identity, _owner(groups, labels) or namespace)


def read_azure_rule_group(document: Json) -> Found | None:
    """A rule group of Azure's managed Prometheus, alone or among the `resources` of a template."""
    resources = [r for r in (document, *mappings(document.get("resources"))) if _is_azures(r)]
    if not resources:
        return None
    items = [item for r in resources for item in read_groups([{"name": r.get("name"), "rules": at(r, "properties", "rules")}])]
    return _found(document, items, scalar(resources[0].get("name")) or "", None)


def _is_azures(resource: Json) -> bool:
    said = resource.get("type")
    return isinstance(said, str) and said.lower() == "microsoft.alertsmanagement/prometheusrulegroups"


# Configs


def read_rule_tests(document: Json) -> Found | None:
    """Unit tests for promtool: what they evaluate, they evaluate over series that they make up."""
    tests = mappings(document.get("tests"))
    if not any({"input_series", "alert_rule_test", "promql_expr_test"} & test.keys() for test in tests):
        return None
    return Found("rule_tests", "", "Rule unit tests", ())


def read_prometheus_config(document: Json) -> Found | None:
    """Prometheus's own config: what other servers take from it (`/federate`, and the names that remote write keeps)."""
    if "apiVersion" in document or not _is_prometheus_config(document):
        return None
    items = [*_federations(document.get("scrape_configs")), *_remote_writes(document.get("remote_write")), *_rule_files(document)]
    return Found("prometheus_config", "", "Prometheus config", tuple(items))


def _is_prometheus_config(document: Json) -> bool:
    listed = any(isinstance(document.get(key), list) for key in ("scrape_configs", "rule_files", "remote_write", "scrape_config_files"))
    return listed or bool({"scrape_interval", "evaluation_interval"} & mapping(document.get("global")).keys())


def _rule_files(document: Json) -> Iterator[Unread]:
    """Rules in files are documents of their own. Whether they were given cannot be seen from here: it lowers trust, no more."""
    if paths := [p for p in map(scalar, listing(document.get("rule_files"))) if p]:
        yield Unread("rule_files", shown("\n".join(paths)), "rule files are named here and read only where they are given", narrowing=True)


_FEDERATION_PATH = re.compile(r"/federate/?$")


def _federations(scrapes: Any) -> Iterator[Item]:
    for scrape in mappings(scrapes):
        where = f"scrape_configs/{scalar(first(scrape, 'job_name', 'port')) or 'job'}"
        if _FEDERATION_PATH.search(scalar(first(scrape, "metrics_path", "metricsPath", "path")) or ""):
            yield from _federation(where, at(scrape, "params", "match[]"))


def _federation(where: str, matches: Any) -> Iterator[Item]:
    found = [m for m in map(scalar, listing(matches)) if m]
    yield from (Query("promql", "federation", where, m) for m in found)
    if not found or len(found) < len(listing(matches)):
        yield unread(where, matches, "federation of what is not said")


def _remote_writes(writes: Any) -> Iterator[Item]:
    for index, write in enumerate(mappings(writes)):
        where = f"remote_write/{scalar(write.get('name')) or index + 1}"
        for relabel in mappings(first(write, "write_relabel_configs", "writeRelabelConfigs")):
            if relabel.get("action") == "keep":
                yield from _kept(where, relabel)


def _kept(where: str, relabel: Json) -> Iterator[Item]:
    """A regex of names to keep: somebody elsewhere wants them. Prometheus anchors it and joins source labels by `;`."""
    sources = listing(first(relabel, "source_labels", "sourceLabels"))
    text = scalar(relabel.get("regex"))
    if "__name__" not in sources or text is None:
        return
    if len(sources) > 1 and (sources[0] != "__name__" or text.count(";") != len(sources) - 1):
        yield Unread(where, text, "names that are kept together with other labels", ())
        return
    yield Query("names", "federation", where, text, expression=text.split(";")[0] if len(sources) > 1 else text)


def read_scrape_resource(document: Json) -> Found | None:
    """Resources of the Prometheus operator that federate or remote write; those that only scrape use nothing and are not taken."""
    if not is_of(document, "monitoring.coreos.com"):
        return None
    spec = mapping(document.get("spec"))
    scrapes = [*listing(first(spec, "endpoints", "podMetricsEndpoints")), spec]
    items = [*_federations(scrapes), *_remote_writes(first(spec, "remoteWrite", "remote_write"))]
    identity, namespace, labels = metadata(document)
    return Found("prometheus_config", identity, identity, tuple(items), owner_of(labels) or namespace) if items else None


def read_alertmanager_config(document: Json) -> Found | None:
    """Routes, inhibitions and groupings read labels of alerts only; every label of an alert's result is needed anyway."""
    if is_of(document, "monitoring.coreos.com", "AlertmanagerConfig") or is_of(
        document, "operator.victoriametrics.com", "VMAlertmanagerConfig"
    ):
        identity, namespace, labels = metadata(document)
        return Found("alertmanager_config", identity, identity, (), owner_of(labels) or namespace)
    if "alertmanager_config" in document or (isinstance(document.get("route"), dict) and isinstance(document.get("receivers"), list)):
        return Found("alertmanager_config", "", "Alertmanager config", ())
    return None


READERS: tuple[JsonReader, ...] = (
    read_rule_resource,
    read_rules_api,
    read_rule_file,
    read_ruler_map,
    read_azure_rule_group,
    read_rule_tests,
    read_prometheus_config,
    read_scrape_resource,
    read_alertmanager_config,
)
