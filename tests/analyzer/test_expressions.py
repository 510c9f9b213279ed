"""From the text of a document to trees, and from a selector to the metrics it reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analyzer.demand import uses
from analyzer.references.expressions import Parsed, names_of, read_trees, too_wide
from analyzer.references.syntax import parse_text
from analyzer.references.tree import SENTINEL, Node, Selector
from flowgate.usage import EVERY_LABEL, NotUnderstood, only
from tests.analyzer.trees import walk

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "usage"


def parse(texts: Sequence[str]) -> list[Node | NotUnderstood]:
    return [parse_text(t) for t in texts]


def read(text: str, **variables: tuple[str, ...]) -> Parsed | NotUnderstood:
    return read_trees([(text, variables)], parse)[0]


def names(text: str, **variables: tuple[str, ...]) -> tuple[set[str], set[str]]:
    answer = read(text, **variables)
    assert isinstance(answer, Parsed), answer
    found = [names_of(n) for tree in answer.trees for n in walk(tree) if isinstance(n, Selector)]
    return {n for exact, _ in found for n in exact}, {p for _, open_ended in found for p in open_ended}


NAMES = [
    ("up", {"up"}, set[str]()),
    ("a / (b + on(x) c)", {"a", "b", "c"}, set()),
    ('{__name__="a"}', {"a"}, set()),
    ('{"my.metric"}', {"my.metric"}, set()),
    ('{"a", __name__="b"}', {"a", "b"}, set()),
    ('m{__name__="b"}', {"m", "b"}, set()),
    ('{__name__=~"a|b"}', {"a", "b"}, set()),
    ('{__name__=~"foo_(a|b)_total"}', {"foo_a_total", "foo_b_total"}, set()),
    ('{__name__=~"foo_.*|bar"}', {"bar"}, {"foo_.*"}),
    ('{__name__=~"foo_.*", __name__!="foo_x"}', set(), {"foo_.*"}),
    ('{__name__="a", __name__=~"b_.*"}', {"a"}, {"b_.*"}),
    # a negative operator says nothing of what is read
    ('{__name__!="a", b="c"}', set(), {".*"}),
    ('{__name__!~"a.*", b="c"}', set(), {".*"}),
    ('m{__name__!="a"}', {"m"}, set()),
    ('{job="x"}', set(), {".*"}),
    ('{__name__=~"", job="x"}', set(), {".*"}),
    # MetricsQL: every group is a selector of its own
    ('{__name__="a" or __name__="b"}', {"a", "b"}, set()),
    ('{__name__="a" or job="b"}', {"a"}, {".*"}),
    ('m{a="b" or c="d"}', {"m"}, set()),
    ("sum(a, b)", {"a", "b"}, set()),
    ("WITH (x = a) x + b", {"a", "b"}, set()),
    # variables
    ("${p}_total_seconds", set(), {".*_total_seconds"}),
    ('{__name__=~"${p}_total|b"}', {"b"}, {".*_total"}),
    ('{__name__="${p}.x"}', set(), {r".*\.x"}),
    ("$x", set(), {".*"}),
    ('m{$filters} + {a="b",$filters}', {"m"}, {".*"}),
    ("m $op n", {"m", "n"}, set()),
    ("1 + 1 == bool 2", set(), set()),
]


@pytest.mark.parametrize(("text", "exact", "open_ended"), NAMES, ids=[t for t, _, _ in NAMES])
def test_a_selector_says_which_metrics_it_reads(text: str, exact: set[str], open_ended: set[str]) -> None:
    assert names(text) == (exact, open_ended)


def test_all_values_of_a_variable_are_read() -> None:
    assert names("${m}_total + up", m=("a", "b")) == ({"a_total", "b_total", "up"}, set())
    assert names('{__name__=~"$m"}', m=("a", "b_.*")) == ({"a"}, {"b_.*"})
    answer = read("sum by ($l) (m)", l=("a", "b"))
    assert isinstance(answer, Parsed)
    assert len(answer.trees) == 2


def test_one_value_that_is_not_understood_makes_the_whole_so() -> None:
    answer = read("$m + up_seconds", m=("good_total", "bad{"))
    assert isinstance(answer, NotUnderstood)
    assert answer.touches == ()  # the variable may be any name


def test_what_is_not_understood_says_why_and_what_it_might_read() -> None:
    assert read("sum(foo_total") == NotUnderstood("',' expected at the end", ("foo_total",))
    assert read('{__name__=~"foo_(?=x)"}') == NotUnderstood("the name pattern 'foo_(?=x)' is not RE2", ())
    hidden = read("foo_total bar_total")
    assert isinstance(hidden, NotUnderstood)
    assert hidden.touches == ("bar_total", "foo_total")


def test_too_wide_a_pattern_is_the_callers_to_judge() -> None:
    _, open_ended = names("${p}_x")
    assert open_ended == {".*_x"}
    assert too_wide(".*_x")
    assert not too_wide(".*_xyz")


def test_a_selector_without_a_name_may_read_all() -> None:
    assert names_of(Selector(None, ())) == (frozenset(), {".*"})
    assert names_of(Selector(f"a{SENTINEL}", ())) == (frozenset(), {"a.*"})


def test_each_text_goes_to_the_parser_once_and_later_spellings_only_when_needed() -> None:
    batches: list[list[str]] = []

    def counting(texts: Sequence[str]) -> list[Node | NotUnderstood]:
        batches.append(list(texts))
        return parse(texts)

    queries: list[tuple[str, dict[str, tuple[str, ...]]]] = [
        ("up", {}),
        ("up", {}),
        ("m{a='$x'}", {}),
        ("m{a='$y'}", {}),
        ("{{ .x }}_total", {}),
    ]
    answers = read_trees(queries, counting)
    assert [isinstance(a, Parsed) for a in answers] == [True] * 5
    assert batches == [["up", f"m{{a='{SENTINEL}'}}", "{{ .x }}_total"], [f"{SENTINEL}_total"]]


def test_nothing_asked_is_nothing_parsed() -> None:
    assert read_trees([], parse) == []


def strings(value: Any, key: str) -> list[str]:
    """Every text under a key, also in documents inside documents."""
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k == key and isinstance(v, str)]
        return own + [s for v in value.values() for s in strings(v, key)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v, key)]
    return []


@pytest.mark.skipif(not SAMPLES.exists(), reason="the shared samples are not beside this checkout")
def test_the_samples_are_understood_and_nothing_is_disputed() -> None:
    texts = {
        s for path in sorted(SAMPLES.rglob("*.json")) if "expected" not in path.name for s in strings(json.loads(path.read_text()), "expr")
    }
    answers = read_trees([(t, {}) for t in sorted(texts)], parse)
    assert len(texts) > 300
    assert [a for a in answers if isinstance(a, NotUnderstood)] == []


WIDE = [
    "sum by (a) (m $op 5)",
    "sum(m) $by",
    "$agg by (a) (m)",
    "${agg}_over_time(m)",
    "sum by ($l) (m)",
    "sum by (a_$l) (m)",
    "sum(m{$filters})",
    "sum(m @ (n))",
    "sum(m, n) by (a)",
    'quantiles("phi", 0.5, m)',
    "m / on(x) n $op o",
    "n * on(x) m $op o",
    "o $op n * on(x) m",
    "m / $on n",
    "sum(m > $t)",
    "max(m == $t)",
    "sum(m * on(a) group_left($l) n)",
    "sum(label_replace(m, '$l', 'x', 'b', '(.*)'))",
    "sum(sum by (a) (m) limit 3) + m",
    "sum(m default 0)",
    "sum((m, n))",
    "median(m)",
    "any(m) by (a)",
    "share(m)",
]


@pytest.mark.parametrize("text", WIDE)
def test_what_nobody_knows_needs_every_label(text: str) -> None:
    answer = read(text)
    assert isinstance(answer, Parsed)
    needs = [u.demand for tree in answer.trees for u in uses(tree) if u.name == "m"]
    assert needs
    assert EVERY_LABEL in needs


def test_a_limit_needs_what_it_chooses_among() -> None:
    answer = read("sum(sum by (a) (m) limit 3)")
    assert isinstance(answer, Parsed)
    assert [u.demand for u in uses(answer.trees[0])] == [only("a")]
