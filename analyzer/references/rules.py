"""Prometheus rule files and PrometheusRule resources → expressions of alerts and recording rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from analyzer.references.grafana import Expression, Item, Unread

Json = dict[str, Any]


def groups_of(document: Any) -> list[Any] | None:
    """The rule groups of a document: a rule file, or the `spec` of a PrometheusRule; None when there are none."""
    if not isinstance(document, dict):
        return None
    spec = document.get("spec")
    holder: Json = spec if isinstance(spec, dict) else document
    groups = holder.get("groups")
    return groups if isinstance(groups, list) else None


def read_groups(groups: list[Any]) -> Iterator[Item]:
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("rules"), list):
            yield Unread("groups", str(group)[:200], "a group without rules")
            continue
        for rule in group["rules"]:
            yield _rule(str(group.get("name") or "group"), rule)


def _rule(group: str, rule: Any) -> Item:
    if not isinstance(rule, dict) or rule.get("expr") is None:
        return Unread(group, str(rule)[:200], "a rule without an expression")
    name = str(rule.get("alert") or rule.get("record") or "rule")
    kind = "alert" if "alert" in rule else "recording_rule"
    templates = " ".join(str(v) for v in [*_values(rule.get("labels")), *_values(rule.get("annotations"))])
    labels = frozenset(re.findall(r"\$labels\.(\w+)", templates))
    return Expression(kind, group, str(rule["expr"]), name, {}, labels)


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []
