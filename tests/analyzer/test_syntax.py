"""Finished expressions to trees: PromQL old and new, MetricsQL, what a variable leaves, and what is refused."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references import lenient
from analyzer.references.lexing import Unreadable, number, unquoted
from analyzer.references.syntax import MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS, answered, guard, node_of, parse_text
from analyzer.references.tree import SENTINEL, Aggregate, Binary, Call, Matcher, Negated, Node, Number, Selector, Subquery, Text
from flowgate.usage import NotUnderstood
from tests.analyzer.test_tree import CASES, M, N, binary
from tests.analyzer.trees import names_in, nodes, rendered, walk

V = SENTINEL


def matched(name: str | None, *groups: tuple[tuple[str, str], ...]) -> Selector:
    return Selector(name, tuple(tuple(Matcher(label, "=", value) for label, value in group) for group in groups))


# --- the guard ----------------------------------------------------------------------------------------------------------------------

GUARDED = [
    ("characters", lambda n: "m" * n, MAX_LENGTH),
    ("brackets", lambda n: "(" * n + "m" + ")" * n, MAX_DEPTH),
    ("functions", lambda n: "sum(" * n + "m" + ")" * n, MAX_DEPTH),
    ("braces and ranges", lambda n: "{[" * (n // 2) + "(" * (n % 2), MAX_DEPTH),
    ("binary operators", lambda n: "+".join(["m"] * (n + 1)), MAX_OPERATORS),
    ("words", lambda n: " or ".join(["m"] * (n + 1)), MAX_OPERATORS),
    ("comparisons", lambda n: " == ".join(["m"] * (n + 1)), MAX_OPERATORS),
    ("unary minus", lambda n: "-" * n + "m", MAX_OPERATORS),
    ("spaced unary minus", lambda n: "- " * n + "m", MAX_OPERATORS),
]


@pytest.mark.parametrize(("what", "text", "most"), GUARDED, ids=[g[0] for g in GUARDED])
def test_the_guard_lets_through_as_much_as_it_says_and_no_more(what: str, text: object, most: int) -> None:
    assert callable(text)
    assert guard(text(most - 1)) is None
    assert guard(text(most)) is None
    assert guard(text(most + 1)) is not None


def test_operators_in_strings_and_comments_are_none() -> None:
    value = "-".join("abc" for _ in range(MAX_OPERATORS * 2))
    assert guard(f'm{{a=~"{value}"}}') is None
    assert guard(f"m{{a=~'{value}'}} # {value}") is None
    assert guard(f"m{{a=~`{value}`}} - {value}") is not None


@pytest.mark.parametrize(
    "text", ["(" * 20_000, "-" * 20_000 + "m", "sum(" * 5_000, "+".join(["m"] * 3_000), "(" * 20_000 + "m" + ")" * 20_000]
)
def test_what_crashes_the_parser_is_refused_before(text: str) -> None:
    assert isinstance(parse_text(text), NotUnderstood)


def test_a_chain_that_the_guard_lets_through_is_read_or_refused_in_time() -> None:
    start = time.process_time()
    for n in (100, 199, 300, MAX_OPERATORS):
        parse_text("+".join(["m"] * (n + 1)))
        parse_text("^".join(["m"] * (n + 1)))
        parse_text("-" * n + "m")
    assert time.process_time() - start < 5
    assert not isinstance(parse_text("+".join(["m"] * 200)), NotUnderstood)
    assert parse_text("+".join(["m"] * 400)) == NotUnderstood(f"nested deeper than {MAX_DEPTH} levels", ())


# --- newer PromQL -------------------------------------------------------------------------------------------------------------------

NEWER: list[tuple[str, Node]] = [
    ("m[5m+1m]", M),
    ("rate(m[step()])", Call("rate", (M,))),
    ("rate(m[max(step(), 5m) * 2])", Call("rate", (M,))),
    ("m offset (1h+5m)", M),
    ("m offset -(1h+5m)", M),
    ("m offset step()", M),
    ("rate(m[5m] anchored)", Call("rate", (M,))),
    ("increase(m[5m] smoothed) + n", binary("+", Call("increase", (M,)), N)),
    ("m </ 5", binary("</", right=Number(5.0))),
    ("m >/ n", binary(">/")),
    ("m * 0b11", binary("*", right=Number(3.0))),
    ("m + 1_000", binary("+", right=Number(1000.0))),
    ("bool", Selector("bool", ())),
    ("on + 1", binary("+", Selector("on", ()), Number(1.0))),
    ("m == bool on(a) bool", binary("==", right=Selector("bool", ()), returns_bool=True, on=True, labels=("a",))),
    ("m == bool", binary("==", right=Selector("bool", ()))),
    ("holt_winters(m[5m], 0.5, 0.5)", Call("holt_winters", (M, Number(0.5), Number(0.5)))),
    ("new_in_prometheus_9(m[5m])", Call("new_in_prometheus_9", (M,))),
    (r'm{a=~"\Qx.y\E"}', Selector("m", ((Matcher("a", "=~", r"\Qx.y\E"),),))),
    (r"m{a=~`x\d`}", Selector("m", ((Matcher("a", "=~", r"x\d"),),))),
    (r'm{a=~"x\d"}', Selector("m", ((Matcher("a", "=~", r"x\d"),),))),
    (r'm{a="\xe9A\101"}', matched("m", (("a", "éAA"),))),
]
METRICSQL: list[tuple[str, Node]] = [
    ("rate(m)", Call("rate", (M,))),
    ("rate(m[5i])", Call("rate", (M,))),
    ("m[1h30m:5i]", Subquery(M)),
    ("sum(rate(m))[1h]", Subquery(Aggregate("sum", False, (), Call("rate", (M,)), None))),
    ("rate(sum(m))", Call("rate", (Subquery(Aggregate("sum", False, (), M, None)),))),
    ("rate(m[5m]) keep_metric_names", Call("rate", (M,), keeps_names=True)),
    ("m default n", binary("default")),
    ("m default 0", binary("default", right=Number(0.0))),
    ("m if n", binary("if")),
    ("m ifnot n", binary("ifnot")),
    ("m default n or m", binary("default", right=binary("or", N, M))),
    ("sum(m, n) by (a)", Aggregate("sum", False, ("a",), Call("union", (M, N)), None)),
    ("sum(m) by (a) limit 5", Aggregate("limitk", False, (), Aggregate("sum", False, ("a",), M, None), Number(5.0))),
    ("sum by (a) (m) limit 5", Aggregate("limitk", False, (), Aggregate("sum", False, ("a",), M, None), Number(5.0))),
    ("topk_avg(3, m, 'other=x')", Aggregate("topk_avg", False, (), Call("union", (M, Text("other=x"))), Number(3.0))),
    ("median(m) by (a)", Aggregate("median", False, ("a",), M, None)),
    ('quantiles("phi", 0.5, m)', Aggregate("quantiles", False, (), Call("union", (Number(0.5), M)), Text("phi"))),
    ('label_set(m, "a", "b")', Call("label_set", (M, Text("a"), Text("b")))),
    ('label_del(m, "a")', Call("label_del", (M, Text("a")))),
    ("union(m, n)", Call("union", (M, N))),
    ("(m, n)", Call("union", (M, N))),
    ("m > 5Mi", binary(">", right=Number(5 * 2.0**20))),
    ("m > 1.5K", binary(">", right=Number(1500.0))),
    ("m @ (n - 5)", Call("@", (M, binary("-", N, Number(5.0))))),
    ("m{a='1' or b='2', c='3'}", matched("m", (("a", "1"),), (("b", "2"), ("c", "3")))),
    ("{__name__='m' or __name__='n'}", matched(None, (("__name__", "m"),), (("__name__", "n"),))),
    (r"foo\-bar{a='b'}", matched("foo-bar", (("a", "b"),))),
    ("a.b.c{a='b'}", matched("a.b.c", (("a", "b"),))),
    ("WITH (x = m) x + x", binary("+", M, M)),
    ("WITH (f = {a='b'}) m{f, c='d'}", matched("m", (("a", "b"), ("c", "d")))),
    ("WITH (f = {a='b'}) m{f}[5m]", matched("m", (("a", "b"),))),
    ("WITH (r(q, l) = sum(rate(q)) by (l)) r(m, a)", Aggregate("sum", False, ("a",), Call("rate", (M,)), None)),
    ("WITH (x = m + n) x * 2", binary("*", binary("+"), Number(2.0))),
    ("WITH (x = m, y = x) y", M),
]


@pytest.mark.parametrize(("text", "tree"), NEWER + METRICSQL, ids=[t for t, _ in NEWER + METRICSQL])
def test_what_the_parser_does_not_know_is_read(text: str, tree: Node) -> None:
    assert parse_text(text) == tree


SENTINELS: list[tuple[str, Node]] = [
    (f"{V}", Selector(V, ())),
    (f"{V}_total", Selector(f"{V}_total", ())),
    (f"m{{{V}}}", matched("m", ((V, V),))),
    (f"m{{{V}{V}}}", matched("m", ((V, V),))),
    (f"{V}(m)", Call(V, (M,))),
    (f"{V}_over_time(m[5m])", Call(V, (M,))),
    (f"{V} by (a) (m)", Aggregate(V, False, ("a",), M, None)),
    (f"sum {V} (m)", Aggregate("sum", False, (V,), M, None)),
    (f"sum by {V} (m)", Aggregate("sum", False, (V,), M, None)),
    (f"sum(m) {V}", binary(V, Aggregate("sum", False, (V,), M, None), Number(math.nan))),
    (f"m {V} n", binary(V)),
    (f"m / on {V} n", binary("/", on=True, labels=(V,))),
    (f"m / on(a) group_left(b) n {V} 5", binary(V, binary(V, labels=("a", "b")), Number(5.0))),
    (f"m / {V} n", binary(V, labels=(V,))),
    (f"rate(m[5m] {V})", Call("rate", (M,))),
    (f"m offset {V}", M),
    (f"m @ {V}", M),
    (f"topk(5{V}, m)", Aggregate("topk", False, (), M, Number(math.nan))),
]


@pytest.mark.parametrize(("text", "tree"), SENTINELS, ids=[t for t, _ in SENTINELS])
def test_a_variable_of_unknown_value_leaves_the_widest_tree(text: str, tree: Node) -> None:
    assert repr(parse_text(text)) == repr(tree)  # NaN is not itself


def test_beside_an_unknown_operator_nobody_knows_what_binds_to_what() -> None:
    """`a * b ? c` may be `a * (b ^ c)`: of no operand may less be needed than all."""
    tree = parse_text(f"m * on(a) n {V} m")
    assert [n.op for n in walk(tree) if isinstance(n, Binary)] == [V, V]
    inside = parse_text(f"m * (n {V} m)")
    assert [n.op for n in walk(inside) if isinstance(n, Binary)] == ["*", V]


# --- not understood -----------------------------------------------------------------------------------------------------------------

REFUSED = [
    "",
    " ",
    "# only a comment",
    "sum(",
    "m)",
    "m n",
    "m +",
    "+",
    "m{a=}",
    "m{a='b'",
    "m{a='b' c='d'}",
    "m{a}",
    "m{a='b' or }",
    "m{'unclosed}",
    "m[",
    "m[]",
    "m[n]",
    "m[5m",
    "m offset",
    "m offset n",
    "sum by (a (m)",
    "sum()",
    "topk(5)",
    "m and",
    "m or or n",
    "{app='x'} |= 'error'",
    "SELECT a FROM b",
    "from(bucket: 'x') |> range(start: -1h)",
    "$v",
    "m{$v}",
    "rate(m[$v])",
    'query("up")',
    "metrics(foo)",
    "label_values(m, a)",
    "label_names()",
    "WITH (x = ) m",
    "WITH (x) m",
    "WITH (x = m",
    "m.{a='b'} ; n",
    "5x",
    "avg:system.load.1{*}",
    "\0",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_expression_is_not_understood(text: str) -> None:
    answer = parse_text(text)
    assert isinstance(answer, NotUnderstood)
    assert answer.reason


def test_templates_that_grow_without_bound_are_refused() -> None:
    doubling = ", ".join(f"x{i} = x{i - 1} + x{i - 1}" for i in range(1, 30))
    start = time.process_time()
    assert isinstance(parse_text(f"WITH (x0 = m, {doubling}) x29"), NotUnderstood)
    assert isinstance(parse_text("WITH (x = x + x) x"), NotUnderstood | Binary)
    assert time.process_time() - start < 1


def test_the_two_readings_must_agree() -> None:
    """A tree that lost a name or a label on the way is refused."""
    whole = answered('sum by (a) (m{b="c"})')
    assert not isinstance(node_of('sum by (a) (m{b="c"})', whole), NotUnderstood)
    assert isinstance(node_of('sum by (a) (m{b="c"}) + n', whole), NotUnderstood)
    assert isinstance(node_of('sum by (a) (m{b="c", d="e"})', whole), NotUnderstood)
    assert isinstance(node_of('sum by (a, d) (m{b="c"})', whole), NotUnderstood)
    assert isinstance(node_of("m", '["s:",null,[[["__name__","=~","m"]]]]'), NotUnderstood)


@pytest.mark.parametrize("answer", ["", "{", "5", "null", "[]", '["s:"]', '["?",1]', "[" * 3000 + "]" * 3000])
def test_an_answer_that_is_none_is_refused(answer: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        node_of("m", answer)


# --- two parsers, one language ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "tree"), CASES, ids=[t for t, _ in CASES])
def test_the_lenient_grammar_reads_promql_as_the_parser_does(text: str, tree: Node) -> None:
    assert lenient.parsed(text) == tree


@given(nodes)
def test_random_promql_is_read_alike_by_both(node: Node) -> None:
    text = rendered(node)
    assert parse_text(text) == lenient.parsed(text) == node


@given(nodes, st.integers(0), st.integers(0), st.sampled_from("()[]{}\"'`,=~+-*/#\\ \nax5$"))
def test_a_damaged_expression_never_raises(node: Node, at: int, to: int, char: str) -> None:
    text = rendered(node)
    at, to = at % len(text), to % len(text)
    for damaged in (text[:at], text[at:], text[:at] + char + text[at:], text[:at] + text[to:], text[at:to] * 2):
        answer = parse_text(damaged)
        assert isinstance(answer, NotUnderstood) or names_in(answer) is not None


# --- words --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("1e-3", 0.001),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("5m", 300),
        ("1h30m", 5400),
        ("100ms", 0.1),
        ("1.5h", 5400),
        ("1d", 86400),
        ("5M", 5e6),
        ("5Mi", 5 * 2**20),
        ("2K", 2000),
        ("2KiB", 2048),
        ("1y", 31_536_000),
    ],
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["5x", "0b2", "1.2.3", "5m6", "0x", "1e", "9" * 5000])
def test_what_is_no_number_is_refused(text: str) -> None:
    try:
        assert not math.isfinite(number(text))
    except Unreadable:
        return


@pytest.mark.parametrize("text", ["5i", f"5{V}", f"0.{V}"])
def test_a_number_that_is_known_at_run_time_only_is_none(text: str) -> None:
    assert math.isnan(number(text))


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"a\"b"', 'a"b'),
        (r"'a\'b'", "a'b"),
        (r"`a\n`", r"a\n"),
        (r'"a\\d"', r"a\d"),
        (r'"a\d"', r"a\d"),
        (r'"\u00e9"', "é"),
        (r'"\UFFFFFFFF"', r"\UFFFFFFFF"),
        ('"é"', "é"),
        (r'"\t\n"', "\t\n"),
        ('""', ""),
    ],
)
def test_strings_are_read(literal: str, value: str) -> None:
    assert unquoted(literal) == value


def test_negation_binds_looser_than_powers_and_tighter_than_products() -> None:
    assert lenient.parsed("-m ^ n") == Negated(binary("^"))
    assert lenient.parsed("-m * n") == binary("*", Negated(M))
    assert lenient.parsed("m ^ n ^ m") == binary("^", M, binary("^", N, M))
    assert lenient.parsed("m - n - m") == binary("-", binary("-"), M)


@pytest.mark.parametrize(
    "piece", ["1", "1e", ".", "a", "a.", "#", "# \n", '"', '"a', "{a='b',", "a,", "a[5m]", "offset ", "\\a", "__", "é", "sum ", "by "]
)
@pytest.mark.parametrize("before", ["", "m{", "m[", "sum("])
def test_hostile_texts_within_the_guard_take_no_time(piece: str, before: str) -> None:
    text = before + piece * ((MAX_LENGTH - len(before)) // len(piece))
    start = time.process_time()
    parse_text(text)
    assert time.process_time() - start < 1
