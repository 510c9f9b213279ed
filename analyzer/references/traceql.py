"""TraceQL: which attributes of spans a query reads, with their scope as written (`resource.service.name`, `.error`, `span:duration`).

A search shows spans as they are, so every attribute is seen; a function of metrics shows only what it groups by
(grafana.com/docs/tempo, "TraceQL metrics"). The grammar asks what is named, not which operator may stand where.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lark import Lark, Token, Transformer

from analyzer.references.grammars import VARIABLE, Misread, grammar, out_of_bounds, parsed, union, variables_in
from analyzer.references.logql import NO_METRIC
from analyzer.references.queries import Query
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, LabelSet, NotUnderstood, Use

_METRICS = frozenset(
    [
        "rate",
        "count_over_time",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "quantile_over_time",
        "histogram_over_time",
    ]
)
"""Functions that make series of spans. `compare` does too, but looks at every attribute."""
_STATICS = frozenset(
    [
        "true",
        "false",
        "nil",
        "ok",
        "error",
        "unset",
        "unspecified",
        "internal",
        "server",
        "client",
        "producer",
        "consumer",
        "minInt",
        "maxInt",
    ]
)
_COMPARISONS = frozenset(["=", "!=", ">", ">=", "<", "<=", "=~", "!~"])
_SCOPE = r"(?:parent\.)?(?:resource|span|event|link|instrumentation)\.|parent\.|\."
_PART = rf"(?:\"(?:\\.|[^\"\\])*\"|{VARIABLE}|[^\s{{}}()=~!<>&|^,\"$])"
"""Tempo's lexer takes almost anything for part of an attribute's name; what it does not may stand in quotes."""

_GRAMMAR = rf"""
start: _pipeline hints?
_pipeline: _expr ("|" _expr)*
_expr: _operand (_op _operand)*
_operand: _sign* (spanset | "(" _pipeline ")" | call | _literal | VARIABLE)
_sign: "-" | "!"
_op: OP | "-"
spanset: "{{" _field? "}}"
_field: _term (_op _term)*
_term: _sign* (ATTRIBUTE | WORD | VARIABLE | _literal | "(" _field ")")
call: (FUNCTION | BY) "(" (_argument ("," _argument)*)? ")" by?
_argument: spanset (OP spanset)* | _field
by: BY "(" _field ("," _field)* ")"
hints: WITH "(" (HINT (WORD | _literal) | ",")* ")"
_literal: STRING | NUMBER

ATTRIBUTE.3: /(?:{_SCOPE}){_PART}+/
WORD: /[A-Za-z_]\w*(?::\w+)?/
VARIABLE.2: /{VARIABLE}/
FUNCTION.2: /[a-z_]+(?=\s*\()/
BY.4: /by(?=\s*\()/
WITH.4: /with(?=\s*\()/
HINT.4: /\w+\s*=/
STRING.5: /"(?:\\.|[^"\\])*"|`[^`]*`/
NUMBER.5: /\d[\w.]*|\.\d[\w.]*/
OP.1: />=|<=|=~|!~|!=|==|=|&&|\|\||[!&]?(?:>>|<<|>|<|~)|[+*\/%^]/
COMMENT.9: /\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\//
%ignore COMMENT
%ignore /\s+/
"""


@dataclass(frozen=True, slots=True)
class _Named:
    """What a part of a query names, as written; `function` is what makes series of the spans."""

    names: frozenset[str] = frozenset()
    unknown: str | None = None
    function: str | None = None


class _Actions(Transformer[Any, Any]):
    def start(self, children: list[Any]) -> list[_Named]:
        return [c for c in children if isinstance(c, _Named)]

    def spanset(self, children: list[Any]) -> _Named:
        return _named(children, _filters(children))

    def call(self, children: list[Any]) -> _Named:
        function = str(children[0])
        inner = _named(children[1:], _first_variable(children[1:]) if function in _METRICS else None)
        return _Named(inner.names, inner.unknown, function)

    def by(self, children: list[Any]) -> _Named:
        # A variable here is the name of an attribute: it is looked up among the document's variables.
        return _Named(
            _named(children[1:], None).names | frozenset(str(c) for c in children if isinstance(c, Token) and c.type == "VARIABLE")
        )

    def hints(self, _children: list[Any]) -> None:
        """Hints read nothing."""


def _named(children: list[Any], unknown: str | None) -> _Named:
    parts = [c for c in children if isinstance(c, _Named)]
    tokens = [c for c in children if isinstance(c, Token)]
    written = frozenset(str(t).replace('"', "") for t in tokens if t.type == "ATTRIBUTE" or (t.type == "WORD" and str(t) not in _STATICS))
    return _Named(written | union(p.names for p in parts), unknown or next((p.unknown for p in parts if p.unknown), None))


def _filters(children: list[Any]) -> str | None:
    """A variable that is not compared with, so may be a filter of its own."""
    before = ["", *(str(c) for c in children)]
    for previous, child in zip(before, children, strict=False):
        if isinstance(child, Token) and child.type == "VARIABLE" and previous not in _COMPARISONS:
            return str(child)
    return None


def _first_variable(children: list[Any]) -> str | None:
    """The first argument of a function of metrics is what it measures; a variable elsewhere is a number."""
    first = children[0] if children else None
    return str(first) if isinstance(first, Token) and first.type == "VARIABLE" else None


@functools.cache
def _language() -> Lark:
    return grammar(_GRAMMAR, _Actions())


# --- queries ---------------------------------------------------------------------------------------------------------------------------

_TRACE_ID = re.compile(rf"\s*(?:[0-9a-fA-F]{{4,32}}|{VARIABLE})\s*")
_TAGS = re.compile(r"\s*(?:[^\s={}|()\"]+=(?:\"(?:\\.|[^\"\\])*\"|[^\s\"{}]*)(?:\s+|$))+")
_TAG = re.compile(r"([^\s={}|()\"]+)=(?:\"(?:\\.|[^\"\\])*\"|[^\s\"]*)")


def read_traceql(query: Query) -> tuple[Use, ...] | NotUnderstood:
    """The attributes of spans that a query reads. Also understood: a trace's id, and Tempo's older `key=value` tags."""
    text = query.evaluated
    if out_of_bounds(text) is None and (_TRACE_ID.fullmatch(text) or _TAGS.fullmatch(text)):
        return (_shown(frozenset(_TAG.findall(text)) | query.mentioned, "spans are shown whole"),)
    found = parsed(_language(), text)
    if isinstance(found, Misread):
        return NotUnderstood(f"not TraceQL: {found.reason}", (NO_METRIC,))
    return (_use(found, query),)


def _use(found: list[_Named], query: Query) -> Use:
    names, missing = _resolved(union(part.names for part in found), query.variables)
    unknown = next((part.unknown for part in found if part.unknown), None) or missing
    mentioned = names | query.mentioned
    functions = {part.function for part in found} - {None}
    if unknown:
        return _shown(mentioned, f"which attribute {unknown} is, is known only when the query runs")
    if "compare" in functions:
        return _shown(mentioned, "compare looks at every attribute")
    if not functions & _METRICS:
        return _shown(mentioned, "spans are shown whole")
    return Use("", False, mentioned, LabelSet(names), why=dict.fromkeys(names, "filter, measure or group by"), signal=Signal.TRACES)


def _shown(mentioned: frozenset[str], reason: str) -> Use:
    return Use("", False, mentioned, EVERY_LABEL, why={"*": reason}, signal=Signal.TRACES)


def _resolved(names: Iterable[str], variables: Mapping[str, tuple[str, ...]]) -> tuple[frozenset[str], str | None]:
    """Names with a variable replaced by the values that it may take, and one of which these are not known."""
    plain: set[str] = set()
    missing: str | None = None
    for name in names:
        inside = variables_in(name)
        values = variables.get(inside[0], ()) if len(inside) == 1 else ()
        plain |= {re.sub(VARIABLE, lambda _, v=value: v, name) for value in values} if inside else {name}
        missing = missing or (name if inside and not values else None)
    return frozenset(plain), missing
