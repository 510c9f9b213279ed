"""A PromQL expression as plain values, free of the parser that made it: they cross a process border and are walked by pure code.

`SENTINEL` stands where a dashboard variable stood whose value is known at run time only. As a label (`by`, `on`, a matcher, a string that
names a label) it is a label that nobody can name; inside a metric name or a value of `__name__` it is any text; as a function or an operator
it is one that nobody knows. A label of which a variable is only a piece is read as the sentinel alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MatchOp = Literal["=", "!=", "=~", "!~"]
SENTINEL = "__fgvar__"
_HELD = re.compile(rf"{SENTINEL}(?:x((?:[0-9a-f]{{2}})+)x__)?")
MAX_TREE = 200
"""Levels of a tree. Whoever walks one may spend a few calls on each; the interpreter allows a thousand."""


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """`{…}`. `alternatives` are the groups of `or` (MetricsQL); a selector of PromQL has one, or none when it has no matcher."""

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
    """MetricsQL's `sum(a, b) limit 5` is written `limitk(5, sum(union(a, b)))`, which it means."""

    op: str
    without: bool
    labels: tuple[str, ...]
    expr: Node
    param: Node | None


@dataclass(frozen=True, slots=True)
class Binary:
    """`on` is None when neither `on` nor `ignoring` is written, else whether it is `on`. `many` is the side that may have many series a key.

    `op` may be one of MetricsQL's: `default`, `if`, `ifnot`. Beside one that nobody knows there is no telling what is matched with what:
    then `labels` are those that were named, and `on` is None.
    """

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
    """`keeps_names`: MetricsQL's `keep_metric_names`."""

    function: str
    args: tuple[Node, ...]
    keeps_names: bool = False


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
Dumped = list[Any]
"""A node as nested lists of JSON values, a tag first that is no name and no label."""


def holding(pattern: str) -> str:
    """A sentinel, as a piece of a name or of a pattern over names, that stands for what matches the pattern and nothing else."""
    return f"{SENTINEL}x{pattern.encode().hex()}x__"


def cut_at_sentinels(text: str) -> Iterator[tuple[str, str | None]]:
    """The text before each sentinel and the pattern of what that stands for, and the rest with none."""
    end = 0
    for match in _HELD.finditer(text):
        yield text[end : match.start()], ".*" if match[1] is None else f"(?:{bytes.fromhex(match[1]).decode(errors='replace')})"
        end = match.end()
    yield text[end:], None


def label_of(text: str) -> str:
    """A label of which a variable is a piece might be any."""
    return SENTINEL if SENTINEL in text else text


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Aggregate():
            return (node.expr,) if node.param is None else (node.expr, node.param)
        case Binary():
            return (node.left, node.right)
        case Call():
            return node.args
        case Subquery() | Negated():
            return (node.expr,)
        case _:
            return ()


# --- from promql-parser -------------------------------------------------------------------------------------------------------------

_MATCH_OPS: Mapping[str, MatchOp] = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_SIDES: Mapping[str, str] = {"VectorMatchCardinality.ManyToOne": "left", "VectorMatchCardinality.OneToMany": "right"}


class TooDeep(Exception):
    """A tree that those who walk it could not."""


def dumped(node: Any, depth: int = 0) -> Dumped:
    """A tree of promql-parser as values. Raises TooDeep, and ValueError for a node that is not known."""
    if depth > MAX_TREE:
        raise TooDeep
    write = _WRITERS.get(type(node).__name__)
    if write is None:
        raise ValueError(f"the parser returned a {type(node).__name__}, which is not known")
    return write(node, depth + 1)


def _selector(node: Any, _: int) -> Dumped:
    found = node.matchers
    groups = [found.matchers, *found.or_matchers]
    return ["s:", node.name, [[[label_of(m.name), _MATCH_OPS[str(m.op)], m.value] for m in group] for group in groups if group]]


def _aggregate(node: Any, depth: int) -> Dumped:
    modifier = node.modifier
    without = modifier is not None and str(modifier.type).endswith("Without")
    labels = [] if modifier is None else _labels(modifier.labels)
    param = None if node.param is None else dumped(node.param, depth)
    return ["a:", str(node.op), without, labels, dumped(node.expr, depth), param]


def _binary(node: Any, depth: int) -> Dumped:
    return ["b:", str(node.op), *_matching(node.modifier), dumped(node.lhs, depth), dumped(node.rhs, depth)]


def _matching(modifier: Any) -> list[Any]:
    if modifier is None:
        return [False, None, [], None, [], False]
    matching, fills = modifier.matching, modifier.fill_values
    on = None if matching is None else str(matching.type).endswith("Include")
    labels = [] if matching is None else _labels(matching.labels)
    filled = fills is not None and (fills.lhs is not None or fills.rhs is not None)
    return [bool(modifier.return_bool), on, labels, _SIDES.get(str(modifier.card)), _labels(modifier.group_labels or ()), filled]


def _labels(labels: Iterable[str]) -> list[str]:
    return [label_of(label) for label in labels]


_WRITERS: Mapping[str, Callable[[Any, int], Dumped]] = {
    "VectorSelector": _selector,
    "MatrixSelector": lambda node, depth: _selector(node.vector_selector, depth),
    "AggregateExpr": _aggregate,
    "BinaryExpr": _binary,
    "Call": lambda node, depth: ["c:", node.func.name, [dumped(a, depth) for a in node.args], False],
    "NumberLiteral": lambda node, _: ["n:", repr(float(node.val))],
    "StringLiteral": lambda node, _: ["t:", node.val],
    "SubqueryExpr": lambda node, depth: ["q:", dumped(node.expr, depth)],
    "UnaryExpr": lambda node, depth: ["m:", dumped(node.expr, depth)],
    "ParenExpr": lambda node, depth: dumped(node.expr, depth),
}


# --- across the process border ------------------------------------------------------------------------------------------------------


def written(node: Node) -> Dumped:
    """What `loaded` reads back as the same node."""
    match node:
        case Selector():
            return ["s:", node.name, [[[m.label, m.op, m.value] for m in group] for group in node.alternatives]]
        case Aggregate():
            param = None if node.param is None else written(node.param)
            return ["a:", node.op, node.without, list(node.labels), written(node.expr), param]
        case Binary():
            matching = [node.returns_bool, node.on, list(node.labels), node.many, list(node.include), node.fills]
            return ["b:", node.op, *matching, written(node.left), written(node.right)]
        case Call():
            return ["c:", node.function, [written(a) for a in node.args], node.keeps_names]
        case Number():
            return ["n:", repr(node.value)]
        case Text():
            return ["t:", node.value]
        case Subquery():
            return ["q:", written(node.expr)]
        case Negated():
            return ["m:", written(node.expr)]


def loaded(value: Sequence[Any]) -> Node:
    """The node behind what `dumped` or `written` wrote. Raises ValueError on anything else."""
    try:
        return _READERS[value[0]](*value[1:])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a tree: {str(value)[:80]}") from error


def _load_selector(name: str | None, groups: list[list[Any]]) -> Node:
    return Selector(name, tuple([tuple([_load_matcher(*m) for m in group]) for group in groups]))


def _load_matcher(label: str, op: MatchOp, value: str) -> Matcher:
    return Matcher(label, op, value)


def _load_aggregate(*value: Any) -> Node:
    op, without, labels, expr, param = value
    return Aggregate(op, without, tuple(labels), loaded(expr), None if param is None else loaded(param))


def _load_binary(*value: Any) -> Node:
    op, returns_bool, on, labels, many, include, fills, left, right = value
    return Binary(op, returns_bool, on, tuple(labels), many, tuple(include), fills, loaded(left), loaded(right))


_READERS: Mapping[str, Callable[..., Node]] = {
    "s:": _load_selector,
    "a:": _load_aggregate,
    "b:": _load_binary,
    "c:": lambda function, args, keeps_names: Call(function, tuple([loaded(a) for a in args]), keeps_names),
    "n:": lambda number: Number(float(number)),
    "t:": Text,
    "q:": lambda expr: Subquery(loaded(expr)),
    "m:": lambda expr: Negated(loaded(expr)),
}
