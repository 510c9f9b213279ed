"""Random expressions: as trees, and as the text that a parser must read as the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hypothesis import strategies as st

from analyzer.references.tree import (
    Aggregate,
    Binary,
    Call,
    Matcher,
    Negated,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    children,
)

NAMES = ("foo_total", "bar_bytes", "up", "job:rate5m:sum", "node_load1", "by", "sum", "x")
LABELS = ("a", "b", "pod", "le", "on", "__name__x")
names = st.sampled_from(NAMES)
labels = st.sampled_from(LABELS)
values = st.text(alphabet="ab.*|()\\\"'`\n\té{}[]#$1 ", max_size=6)


def _regex(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    op = draw(st.sampled_from(["=", "!=", "=~", "!~"]))
    return Matcher(draw(labels), op, draw(values) if "~" not in op else draw(st.sampled_from(["a|b", ".*", "a.+", "x-[0-9]+", "$"])))


selectors = st.builds(lambda name, group: Selector(name, (tuple(group),) if group else ()), names, st.lists(matchers(), max_size=2))
numbers = st.sampled_from([0.0, 1.0, 5.0, 0.5, 1e6]).map(Number)


@st.composite
def _binaries(draw: st.DrawFn, inner: st.SearchStrategy[Node]) -> Binary:
    op = draw(st.sampled_from(["+", "-", "*", "/", "%", "^", "==", ">", "<=", "and", "or", "unless", "atan2"]))
    sets = op in ("and", "or", "unless")
    on = draw(st.sampled_from([None, True, False]))
    many = None if sets or on is None else draw(st.sampled_from([None, "left", "right"]))
    listed = () if on is None else tuple(draw(st.lists(labels, max_size=2, unique=True)))
    include = () if many is None else tuple(draw(st.lists(st.sampled_from(("u", "v")), max_size=2, unique=True)))
    returns_bool = op in ("==", ">", "<=") and draw(st.booleans())
    return Binary(op, returns_bool, on, listed, many, include, False, draw(inner), draw(inner))


def _larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    ops = st.sampled_from(["sum", "avg", "min", "max", "count", "group"])
    listed = st.lists(labels, max_size=2, unique=True).map(tuple)
    return st.one_of(
        st.builds(lambda op, without, by, expr: Aggregate(op, without and bool(by), by, expr, None), ops, st.booleans(), listed, inner),
        st.builds(lambda by, k, expr: Aggregate("topk", False, by, expr, k), listed, numbers, inner),
        st.builds(lambda name, expr: Call(name, (expr,)), st.sampled_from(["abs", "ceil", "sort"]), inner),
        st.builds(lambda name, s: Call(name, (s,)), st.sampled_from(["rate", "increase"]), selectors),
        st.builds(lambda expr: Call("max_over_time", (Subquery(expr),)), inner),
        st.builds(lambda expr: Call("label_replace", (expr, Text("a"), Text("$1"), Text("b"), Text("(.*)"))), inner),
        st.builds(Negated, inner),
        _binaries(inner),
        st.builds(
            lambda op, left, right: Binary(op, False, None, (), None, (), False, left, right), st.sampled_from("+-*/^"), inner, numbers
        ),
    )


nodes: st.SearchStrategy[Node] = st.recursive(selectors, _larger, max_leaves=8)
"""Only vectors at the root: what every parser accepts."""


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def rendered(node: Node) -> str:
    """The node as PromQL, every operand in brackets of its own."""
    match node:
        case Selector(name, alternatives):
            groups = (",".join(f"{m.label}{m.op}{quoted(m.value)}" for m in group) for group in alternatives)
            return f"{name}{{{' or '.join(groups)}}}" if alternatives else str(name)
        case Aggregate(op, without, by, expr, param):
            clause = f" {'without' if without else 'by'} ({', '.join(by)}) " if by else ""
            return f"{op}{clause}({'' if param is None else rendered(param) + ', '}{rendered(expr)})"
        case Call("rate" | "increase", (Selector() as s,)):
            return f"{node.function}({rendered(s)}[5m])"
        case Call(function, args):
            return f"{function}({', '.join(rendered(a) for a in args)})"
        case Subquery(expr):
            return f"({rendered(expr)})[1h:5m]"
        case Negated(expr):
            return f"-({rendered(expr)})"
        case Binary():
            return f"({rendered(node.left)}) {_operator(node)} ({rendered(node.right)})"
        case Number(value):
            return repr(value)
        case Text(value):
            return quoted(value)


def _operator(node: Binary) -> str:
    parts = [node.op, *(["bool"] if node.returns_bool else [])]
    if node.on is not None:
        parts.append(f"{'on' if node.on else 'ignoring'}({', '.join(node.labels)})")
    if node.many is not None:
        parts.append(f"group_{node.many}({', '.join(node.include)})")
    return " ".join(parts)


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from walk(child)


def names_in(node: Node) -> set[str]:
    return {n.name for n in walk(node) if isinstance(n, Selector) and n.name is not None}
