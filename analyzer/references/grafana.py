"""Grafana dashboards (v1 JSON) → expressions with their places. Library panels and what else is not in the file become blind spots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_PROMETHEUS = frozenset({"prometheus", "amazonprometheus", "grafana-amazonprometheus-datasource", "victoriametrics-metrics-datasource"})
_OTHERS = frozenset(
    [
        "loki",
        "tempo",
        "jaeger",
        "zipkin",
        "elasticsearch",
        "opensearch",
        "influxdb",
        "graphite",
        "mysql",
        "postgres",
        "mssql",
        "cloudwatch",
        "datadog",
        "testdata",
        "grafana-testdata-datasource",
        "grafana-pyroscope-datasource",
        "pyroscope",
        "parca",
        "dashboard",
        "datasource",
        "grafana",
        "__expr__",
        "stackdriver",
        "grafana-postgresql-datasource",
    ]
)


@dataclass(frozen=True, slots=True)
class Expression:
    """One query in a document. `options` are the values a variable may take, where the document says so."""

    kind: str
    where: str
    text: str
    rule: str | None
    options: Mapping[str, tuple[str, ...]]
    extra_labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unread:
    """Something in a document that cannot be read. `touches` empty: it might read any metric."""

    where: str
    text: str
    reason: str
    touches: tuple[str, ...] = ()


Item = Expression | Unread


def dashboard_of(document: Any) -> Json | None:
    """The dashboard in a file or an API envelope; None when the document is none."""
    if not isinstance(document, dict):
        return None
    inner = document.get("dashboard")
    board: Json = inner if isinstance(inner, dict) else document
    return board if any(key in board for key in ("panels", "rows", "templating", "schemaVersion")) else None


def read_dashboard(board: Json) -> Iterator[Item]:
    """Every expression of a dashboard: panels at any depth, rows, variables, annotations, legacy alerts."""
    variables = _list(_dict(board.get("templating")).get("list"))
    options = {str(v.get("name")): _options(v) for v in variables if _options(v)}
    sources = {str(v.get("name")): str(v.get("query")) for v in variables if v.get("type") == "datasource"}
    walker = _Walker(options, sources)
    for variable in variables:
        yield from walker.variable(variable)
    for annotation in _list(_dict(board.get("annotations")).get("list")):
        yield from walker.annotation(annotation)
    for panel in _list(board.get("panels")):
        yield from walker.panel(panel, None)
    for row in _list(board.get("rows")):
        for panel in _list(row.get("panels")):
            yield from walker.panel(panel, None)


@dataclass(frozen=True, slots=True)
class _Walker:
    options: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]

    def panel(self, panel: Json, above: Any) -> Iterator[Item]:
        title = str(panel.get("title") or panel.get("id") or "panel")
        source = panel.get("datasource") or above
        if panel.get("libraryPanel") and not panel.get("targets"):
            yield Unread(title, str(_dict(panel["libraryPanel"]).get("name") or ""), "a library panel, which is not in this file")
        for target in _list(panel.get("targets")):
            yield from self._target(title, target, source)
        for nested in _list(panel.get("panels")):
            yield from self.panel(nested, source)

    def _target(self, title: str, target: Json, above: Any) -> Iterator[Item]:
        text = target.get("expr")
        if not isinstance(text, str) or not text.strip():
            return
        if self._is_promql(target.get("datasource") or above):
            legend = frozenset(re.findall(r"\{\{\s*([\w.]+)\s*\}\}", str(target.get("legendFormat") or "")))
            yield Expression("dashboard", title, text, None, self.options, legend)

    def variable(self, variable: Json) -> Iterator[Item]:
        name = str(variable.get("name"))
        if variable.get("type") == "adhoc":
            return
        if variable.get("type") != "query" or not self._is_promql(variable.get("datasource")):
            return
        query = variable.get("query")
        text = _dict(query).get("query") if isinstance(query, dict) else query
        text = text if isinstance(text, str) and text.strip() else variable.get("definition")
        if isinstance(text, str) and text.strip():
            yield from self._variable_query(f"variable {name}", text)

    def _variable_query(self, where: str, text: str) -> Iterator[Item]:
        call = re.fullmatch(r"\s*(label_values|label_names|metrics|query_result)\s*\((.*)\)\s*", text, re.DOTALL)
        if call is None:
            yield Expression("variable", where, text, None, self.options)
        elif call[1] == "query_result":
            yield Expression("variable", where, call[2], None, self.options)
        elif call[1] == "metrics":
            yield Expression("variable", where, f'{{__name__=~"{call[2].strip()}"}}', None, self.options)
        elif call[1] == "label_values" and "," in call[2]:
            selector, _, label = call[2].rpartition(",")
            yield Expression("variable", where, selector, None, self.options, frozenset({label.strip()}))

    def annotation(self, annotation: Json) -> Iterator[Item]:
        text = annotation.get("expr")
        if isinstance(text, str) and text.strip() and self._is_promql(annotation.get("datasource")):
            yield Expression("annotation", str(annotation.get("name") or "annotation"), text, None, self.options)

    def _is_promql(self, source: Any) -> bool:
        """Whether a data source speaks PromQL; one that is not known by type is taken to."""
        kind = source.get("type") if isinstance(source, dict) else source
        kind = str(kind or "").strip()
        reference = re.fullmatch(r"\$\{?(\w+)\}?", kind)
        kind = self.sources.get(reference[1], "") if reference else kind
        return kind.lower() not in _OTHERS or kind.lower() in _PROMETHEUS


def _options(variable: Json) -> tuple[str, ...]:
    """The values of a custom, constant or textbox variable, all of them; empty when they are known only at run time."""
    if variable.get("type") not in ("custom", "constant", "textbox"):
        return ()
    listed = [str(o.get("value")) for o in _list(variable.get("options")) if o.get("value") not in (None, "$__all")]
    text = variable.get("query")
    written = [p.strip().split(" : ")[-1].strip() for p in text.split(",")] if isinstance(text, str) else []
    whole = variable.get("allValue")
    return tuple(dict.fromkeys([*listed, *(w for w in written if w), *([whole] if isinstance(whole, str) and whole else [])]))


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Json]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
