"""What a document holds: queries in some language, and what could not be read. The one contract between document readers and languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from flowgate.usage import EVERY_LABEL, Condition, LabelSet, NotUnderstood, Operator, Use

Json = dict[str, Any]
Language = Literal["promql", "names", "datadog", "gcp_filter", "logql", "traceql"]
"""`promql`: also MetricsQL, read leniently. `names`: the text is an anchored pattern over metric names, nothing else is asked."""
Role = Literal[
    "panel", "variable", "annotation", "alert", "recording_rule", "slo", "autoscaler", "executed", "explored", "evaluated", "federation"
]
"""`executed`: somebody ran it (query log). `explored`: a /series or /labels call. `evaluated`: a rule ran it, says a log; where the rule
itself is not among the documents, this is all that is known of it. Every role but `recording_rule` is a root of liveness."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording rule writes: the metric's name, and the labels that the rule itself sets."""

    name: str
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """One query in a document.

    `text` is the query as written, the evidence. `expression` is what to evaluate where that differs (a template's window filled in).
    `variables` are the values a variable of the document may take; one that is missing, or has none, is known at run time only.
    `patterns` are anchored patterns of the names that such a one may hold; none: numbers only; one that is missing may hold anything.
    `mentioned` are labels that the document reads from the query's output (legend, `$labels.x`, table columns).
    `root` and `operator` say what is needed of the query's output: every label, unless the document says less (`label_values(m, L)`
    needs L, and only whether a series exists); `conditions` what must hold for that to be enough, where aggregation stands beside a
    query (Google Cloud). `explorable`: ad-hoc filters may add matchers when it runs.
    """

    language: Language
    role: Role
    where: str
    text: str
    rule: str | None = None
    expression: str | None = None
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    mentioned: frozenset[str] = frozenset()
    root: LabelSet = EVERY_LABEL
    operator: Operator = "none"
    explorable: bool = False
    records: Recorded | None = None
    count: int = 1
    last_seen: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def evaluated(self) -> str:
        return self.text if self.expression is None else self.expression


@dataclass(frozen=True, slots=True)
class Unread:
    """Something in a document that cannot be read. `touches`: anchored patterns of every name it might read; none: any name.

    `narrowing`: it cannot hide a reader, it only lowers trust.
    """

    where: str
    text: str
    reason: str
    touches: tuple[str, ...] = ()
    narrowing: bool = False


Item = Query | Unread


@dataclass(frozen=True, slots=True)
class Found:
    """One document as its reader sees it. `kind` is snake_case (`grafana_dashboard`, `prometheus_rules`, …); `owner` a folder, namespace
    or team label, where the document names one. `covers`: of a log, the first and the last time in it."""

    kind: str
    id: str
    title: str
    items: tuple[Item, ...]
    owner: str | None = None
    covers: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A found document and its place: the path relative to the argument given, `path#key` inside lists and archives. `live`: the source
    that it was fetched from."""

    path: str
    found: Found
    live: str | None = None


JsonReader = Callable[[Json], Found | None]
"""Reads one mapping (loaded JSON or YAML) if it is of its kind, or says None. Never raises on any value."""
TextReader = Callable[[str], Found | None]
"""Reads one whole text that is neither JSON nor YAML (logs), if it is of its kind, or says None. Never raises."""
Answer = Sequence[Use] | NotUnderstood
ReadQuery = Callable[[Query], Answer]
"""Reads one query of its language. Never raises: what it does not understand it returns, with what the text might touch."""
