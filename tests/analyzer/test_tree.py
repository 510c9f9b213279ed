"""Trees: what is kept of promql-parser's, across a process border and back."""

from __future__ import annotations

import json
import math
from typing import Any

import promql_parser
import pytest
from hypothesis import given

from analyzer.references.tree import (
    MAX_TREE,
    SENTINEL,
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
    TooDeep,
    children,
    dumped,
    loaded,
    written,
)
from tests.analyzer.trees import nodes, rendered

M = Selector("m", ())
N = Selector("n", ())


def read(text: str) -> Node:
    return loaded(dumped(promql_parser.parse(text)))


def binary(op: str, left: Node = M, right: Node = N, **said: Any) -> Binary:
    plain: dict[str, Any] = {"returns_bool": False, "on": None, "labels": (), "many": None, "include": (), "fills": False}
    return Binary(op, left=left, right=right, **(plain | said))


CASES: list[tuple[str, Node]] = [
    ("m", M),
    ("m{}", M),
    ('m{a="b",c!~"d|e"}', Selector("m", ((Matcher("a", "=", "b"), Matcher("c", "!~", "d|e")),))),
    ('{"x.y",a=~"b"}', Selector(None, ((Matcher("__name__", "=", "x.y"), Matcher("a", "=~", "b")),))),
    # promql-parser moves every matcher of an `or` out of `matchers`
    ('m{a="b" or c="d"}', Selector("m", ((Matcher("a", "=", "b"),), (Matcher("c", "=", "d"),)))),
    ("m[5m] offset 1h", M),
    ("m @ 5", M),
    ("rate(m[5m])", Call("rate", (M,))),
    ("max_over_time(m[1h:5m])", Call("max_over_time", (Subquery(M),))),
    ("predict_linear(m[6h], 4 * 60)", Call("predict_linear", (M, binary("*", Number(4.0), Number(60.0))))),
    ("sum(m)", Aggregate("sum", False, (), M, None)),
    ("sum by (a, b) (m)", Aggregate("sum", False, ("a", "b"), M, None)),
    ("sum(m) without (a)", Aggregate("sum", True, ("a",), M, None)),
    ("topk by (a) (5, m)", Aggregate("topk", False, ("a",), M, Number(5.0))),
    ('count_values("v", m)', Aggregate("count_values", False, (), M, Text("v"))),
    ("m + n", binary("+")),
    ("m == bool n", binary("==", returns_bool=True)),
    ("m / on(a) n", binary("/", on=True, labels=("a",))),
    ("m / on() n", binary("/", on=True)),
    ("m / ignoring(a) n", binary("/", on=False, labels=("a",))),
    ("m / ignoring() n", binary("/", on=False)),
    ("m * on(a) group_left(b) n", binary("*", on=True, labels=("a",), many="left", include=("b",))),
    ("m * on(a) group_left n", binary("*", on=True, labels=("a",), many="left")),
    ("m * on(a) group_right(b) n", binary("*", on=True, labels=("a",), many="right", include=("b",))),
    ("m and on(a) n", binary("and", on=True, labels=("a",))),
    ("m + on(a) fill(0) n", binary("+", on=True, labels=("a",), fills=True)),
    ("m + fill_left(0) n", binary("+", fills=True)),
    ("m + on(a) group_left fill_right(3) n", binary("+", on=True, labels=("a",), many="left", fills=True)),
    ("-m", Negated(M)),
    ("(m)", M),
    ("-5", Number(-5.0)),
    ("1h", Number(3600.0)),
    ('label_replace(m, "a", "$1", "b", "(.*)")', Call("label_replace", (M, Text("a"), Text("$1"), Text("b"), Text("(.*)")))),
    # a label of which a variable is a piece might be any
    (f'm{{{SENTINEL}_x="y"}}', Selector("m", ((Matcher(SENTINEL, "=", "y"),),))),
    (f"sum by (a, k8s_{SENTINEL}) (m)", Aggregate("sum", False, ("a", SENTINEL), M, None)),
    (
        f"m * on({SENTINEL}_a) group_left({SENTINEL}{SENTINEL}) n",
        binary("*", on=True, labels=(SENTINEL,), many="left", include=(SENTINEL,)),
    ),
]


@pytest.mark.parametrize(("text", "tree"), CASES, ids=[t for t, _ in CASES])
def test_what_the_parser_says_is_kept(text: str, tree: Node) -> None:
    assert read(text) == tree


def test_numbers_that_json_does_not_know_survive() -> None:
    read_back = [loaded(json.loads(json.dumps(dumped(promql_parser.parse(t))))) for t in ("NaN", "Inf", "-Inf")]
    values = [n.value for n in read_back if isinstance(n, Number)]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


@given(nodes)
def test_a_tree_survives_the_border(node: Node) -> None:
    assert loaded(json.loads(json.dumps(written(node)))) == node


@given(nodes)
def test_the_parsers_tree_is_written_like_ours(node: Node) -> None:
    text = rendered(node)
    assert dumped(promql_parser.parse(text)) == written(read(text))


@pytest.mark.parametrize(
    "value", [[], ["z"], ["s:"], ["s:", "m"], ["n:", "five"], ["a:", "sum"], ["q:", []], "s", {}, ["c:", "f", [["s:"]], False], ["b:", 1]]
)
def test_what_is_no_tree_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a tree"):
        loaded(value)


def test_a_tree_too_deep_to_walk_is_refused() -> None:
    chain = "+".join(["m"] * (MAX_TREE + 1))
    assert isinstance(read(chain), Binary)  # as many levels as may be
    with pytest.raises(TooDeep):
        dumped(promql_parser.parse(chain + "+m"))


def test_every_operand_is_a_child() -> None:
    every = Aggregate("topk", False, (), M, Number(1.0))
    assert children(every) == (M, Number(1.0))
    assert children(binary("+")) == (M, N)
    assert children(Call("f", (M, N))) == (M, N)
    assert children(Negated(M)) == children(Subquery(M)) == (M,)
    assert children(M) == children(Text("")) == children(Number(0.0)) == ()
