"""The second opinion: never against valid PromQL, and never too few names of what did not parse."""

from __future__ import annotations

import re
import time

import promql_parser
import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.syntax import parse_text
from analyzer.references.tokens import MAX_NAMES, disagreement, identifiers, touched
from analyzer.references.tree import SENTINEL, Node, written
from flowgate.usage import NotUnderstood
from tests.analyzer.test_syntax import METRICSQL, NEWER
from tests.analyzer.test_tree import CASES
from tests.analyzer.trees import names_in, nodes, rendered

SEEN = [
    ("m", {"m"}),
    ("sum(rate(m[5m])) by (a)", {"m", "a"}),
    ('m{a="b", c!~"d"} + n', {"m", "a", "c", "n"}),
    ("m / on(a, b) group_left(c) n", {"m", "a", "b", "c", "n"}),
    ('{"x.y", "a.b"="c"}', {"x.y", "a.b"}),
    ('{__name__="m", a="b"}', {"m", "__name__", "a"}),
    ('{__name__=~"m|n"}', {"__name__"}),
    ('sum by ("a.b", c) (m)', {"a.b", "c", "m"}),
    ("sum + 1", {"sum"}),
    ("m offset 5m > bool 1e3 and on() inf or 0x1F", {"m"}),
    ("m @ start() [5m:1m]", {"m"}),
    ('m # n{x="y"}\n + o', {"m", "o"}),
    ("sum # (n)\n (m)", {"m"}),
    ('m{a="b", # c="d"\n e="#f"}', {"m", "a", "e"}),
    ("sum by (a, # b\n c) (m)", {"m", "a", "c"}),
    ("sum # (n)\n by (a) (m)", {"m", "a"}),
    ('label_replace(m, "a", "$1", "b", "(n)")', {"m"}),
    (f"{SENTINEL}(m) + {SENTINEL} + a{SENTINEL}", {"m"}),
    ("a:b:c + d_e", {"a:b:c", "d_e"}),
    (r"foo\-bar", {"foo-bar"}),
    ("WITH (x = m, f(y) = y) f(x) + n", {"m", "n"}),
]


@pytest.mark.parametrize(("text", "words"), SEEN, ids=[t for t, _ in SEEN])
def test_names_and_labels_are_seen_without_a_grammar(text: str, words: set[str]) -> None:
    assert identifiers(text) == words


@pytest.mark.parametrize(("text", "tree"), CASES + NEWER + METRICSQL, ids=[t for t, _ in CASES + NEWER + METRICSQL])
def test_no_valid_expression_is_disputed(text: str, tree: Node) -> None:
    assert not isinstance(parse_text(text), NotUnderstood)


@given(nodes)
def test_no_random_expression_is_disputed(node: Node) -> None:
    assert parse_text(rendered(node)) == node


def test_a_word_missing_from_the_tree_is_a_dispute() -> None:
    assert disagreement("m + n", '["s:","m",[]]') is not None
    assert disagreement("sum by (a) (m)", '["a:","sum",false,[],["s:","m",[]],null]') is not None
    assert disagreement("m", '["s:","mm",[]]') is not None
    assert disagreement("m", '["s:","n",[[["m","=","x"]]]]') is not None  # there as a label only


# --- what did not parse -------------------------------------------------------------------------------------------------------------

TOUCHED = [
    ("foo_total +", ("foo_total",)),
    ('sum(rate(foo_total{a="b"}[5m])) by (a', ("a", "foo_total")),
    ("sum by (a, b) (foo_total))", ("foo_total",)),
    ("foo_total on(a) bar_total x", ("bar_total", "foo_total", "x")),
    ("${p}_total_seconds )", (".*_total_seconds", "_total_seconds")),
    ("{{ .p }}_total_seconds )", (".*_total_seconds", "_total_seconds")),
    ('{"my.metric", a="b"} )', (r"my\.metric",)),
    ('{__name__=~"abcd|efgh_.*", a="b"} )', ("abcd", "efgh_.*")),
    ('query("up + down")', ("down", "query", "up")),
    ("a.b.c )", (r"a\.b\.c",)),
    ("topk($k, foo_total bar)", ("bar", "foo_total")),
    ("foo_total > $t )", ("foo_total",)),
    ("foo_total $op 5 )", ("foo_total",)),
    ("rate(foo_total[5m) + bar", ("bar", "foo_total")),
    ("# foo\n bar )", ("bar", "foo")),
    (r"foo\{ )", ("foo", r"foo\{")),
]


@pytest.mark.parametrize(("text", "patterns"), TOUCHED, ids=[t for t, _ in TOUCHED])
def test_what_a_broken_text_might_read_is_touched(text: str, patterns: tuple[str, ...]) -> None:
    assert touched(text) == patterns


ANY = [
    "",
    "5 + ",
    "$m{a='b'} )",
    "$m + foo_total )",
    "rate($m[5m] )",
    "{a='b'} )",
    "foo and {a='b'} )",
    "{$filters} )",
    "{__name__=~'.*'} )",
    "{__name__!='foo'} )",
    "{__name__=~'(unclosed'} )",
    "{__name__=~'foo_.*'",
    "{a='b'",
    "${p}_x )",
    "sum by (a) ({b='c'} )",
    " ".join(f"name{i}" for i in range(MAX_NAMES + 1)),
]


@pytest.mark.parametrize("text", ANY, ids=[t[:40] for t in ANY])
def test_a_text_that_may_read_any_metric_touches_all(text: str) -> None:
    assert touched(text) == ()


def covers(touches: tuple[str, ...], name: str) -> bool:
    return not touches or any(re2.fullmatch(t, name) for t in touches)


@given(nodes, st.data())
def test_damage_leaves_every_name_read_or_touched(node: Node, data: st.DataObject) -> None:
    text = rendered(node)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        to = data.draw(st.integers(at, min(len(text), at + 3)))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["", text[at:to] * 2, text[at:to][::-1], '"', "{", "}", "(", ")", "'", "#", ",", "$x", "\\", " "]))
            + text[to:]
        )
    answer = parse_text(text)
    code = re.sub(r"#[^\n]*", "", text)
    for name in names_in(node):
        if name in ("by", "sum", "x"):
            continue  # these stand for something else as well
        if re.search(rf"(?<![\w:.\\]){re.escape(name)}(?![\w:.])", code) is None:
            continue
        if isinstance(answer, NotUnderstood):
            assert covers(touched(text), name), text
        else:
            # What was read as no name stands in a string: the damage has put quotes around it.
            assert name in str(written(answer)), text


PIECES = [
    "[[a:",
    "1",
    '\\"',
    '"',
    "'",
    "`",
    "${",
    "$$",
    "[[",
    "{{",
    '{{"',
    '{"',
    "{",
    "<a",
    "%(",
    "__a",
    "a.",
    "sum(",
    "by (",
    "by( ",
    "(",
    "#",
    '# "\n',
    "-",
    "a,",
    "[a",
    "a{",
    "\\-",
    "(a|b)",
    "with(",
    " ",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("before", ["", "a{", '"', "{__name__=~'"])
def test_hostile_texts_take_no_time(piece: str, before: str) -> None:
    text = before + piece * (32_768 // len(piece))
    start = time.process_time()
    touched(text)
    disagreement(text, "")
    assert time.process_time() - start < 1


def test_the_parser_of_the_tests_is_the_one_of_the_product() -> None:
    with pytest.raises(ValueError, match="invalid promql query"):
        promql_parser.parse("m n")
