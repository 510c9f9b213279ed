"""A PromQL expression as plain values, free of the parser that made it: they cross a process border and are walked by pure code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

MatchOp = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """`{…}`. `alternatives` are the groups of `or` (MetricsQL); a selector of PromQL has one."""

    name: str | None
    alternatives: tuple[tuple[Matcher, ...], ...]

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        return tuple(itertools.chain.from_iterable(self.alternatives))


@dataclass(frozen=True, slots=True)
class Subquery:
    expr: Node


@dataclass(frozen=True, slots=True)
class Aggregate:
    op: str
    without: bool
    labels: tuple[str, ...]
    expr: Node
    param: Node | None


@dataclass(frozen=True, slots=True)
class Binary:
    """`on` is None when neither `on` nor `ignoring` is written. `many` says which side may have many series a key."""

    op: str
    returns_bool: bool
    on: bool | None
    labels: tuple[str, ...]
    many: Literal["left", "right"] | None
    include: tuple[str, ...]
    fills: bool
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    expr: Node


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


Node = Selector | Subquery | Aggregate | Binary | Call | Negated | Number | Text

_OPS: dict[str, MatchOp] = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def dumped(node: Any) -> list[Any]:
    """A tree of promql-parser as nested lists of JSON values, a tag first."""
    match type(node).__name__:
        case "VectorSelector":
            return _selector(node)
        case "MatrixSelector":
            return _selector(node.vector_selector)
        case "AggregateExpr":
            modifier = node.modifier
            without = modifier is not None and str(modifier.type).endswith("Without")
            param = None if node.param is None else dumped(node.param)
            return ["a", str(node.op), without, list(modifier.labels) if modifier else [], dumped(node.expr), param]
        case "BinaryExpr":
            return ["b", str(node.op), *_matching(node.modifier), dumped(node.lhs), dumped(node.rhs)]
        case "Call":
            return ["c", node.func.name, [dumped(a) for a in node.args]]
        case "NumberLiteral":
            return ["n", repr(node.val)]
        case "StringLiteral":
            return ["t", node.val]
        case "SubqueryExpr":
            return ["q", dumped(node.expr)]
        case "UnaryExpr":
            return ["m", dumped(node.expr)]
        case "ParenExpr":
            return dumped(node.expr)
        case kind:
            raise ValueError(f"the parser returned a {kind}, which is not known")


def _selector(node: Any) -> list[Any]:
    groups = [node.matchers.matchers, *node.matchers.or_matchers]
    return ["s", node.name, [[[m.name, _OPS[str(m.op)], m.value] for m in group] for group in groups if group]]


def _matching(modifier: Any) -> list[Any]:
    if modifier is None:
        return [False, None, [], None, [], False]
    card = str(modifier.card)
    many = "left" if card.endswith("ManyToOne") else "right" if card.endswith("OneToMany") else None
    on, labels = None, []
    if modifier.matching is not None:
        on, labels = str(modifier.matching.type).endswith("Include"), list(modifier.matching.labels)
    fills = modifier.fill_values is not None and str(modifier.fill_values) != str(_no_fill())
    return [bool(modifier.return_bool), on, labels, many, list(modifier.group_labels or []), fills]


def _no_fill() -> str:
    return ""


def loaded(value: Sequence[Any]) -> Node:
    """The values behind what `dumped` wrote."""
    match value:
        case ["s", name, groups]:
            return Selector(name, tuple(tuple(Matcher(*m) for m in group) for group in groups))
        case ["a", op, without, labels, expr, param]:
            return Aggregate(op, without, tuple(labels), loaded(expr), None if param is None else loaded(param))
        case ["b", op, returns_bool, on, labels, many, include, fills, left, right]:
            return Binary(op, returns_bool, on, tuple(labels), many, tuple(include), fills, loaded(left), loaded(right))
        case ["c", function, args]:
            return Call(function, tuple(loaded(a) for a in args))
        case ["n", number]:
            return Number(float(number))
        case ["t", text]:
            return Text(text)
        case ["q", expr]:
            return Subquery(loaded(expr))
        case ["m", expr]:
            return Negated(loaded(expr))
        case _:
            raise ValueError(f"not a tree: {str(value)[:80]}")
