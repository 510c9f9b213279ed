"""Patterns of names: finite ones are lists, and one that says too little is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.patterns import MAX_LENGTH, MAX_NAMES, finite, literals, of_name, told_apart, too_wide, valid
from analyzer.references.tree import SENTINEL

APART = [
    ("foo", {"foo"}, set[str]()),
    ("foo|bar", {"foo", "bar"}, set()),
    ("(foo|bar)", {"foo", "bar"}, set()),
    ("^(?:foo|bar)$", {"foo", "bar"}, set()),
    ("^foo|bar$", {"foo", "bar"}, set()),
    ("foo_(a|b)_total", {"foo_a_total", "foo_b_total"}, set()),
    ("foo_(?:a|b(c|d))", {"foo_a", "foo_bc", "foo_bd"}, set()),
    ("foo(_total)?", {"foo", "foo_total"}, set()),
    ("foos?", {"foo", "foos"}, set()),
    ("fo[ox]", {"foo", "fox"}, set()),
    (r"my\.metric", {"my.metric"}, set()),
    ("job:rate5m:sum", {"job:rate5m:sum"}, set()),
    ("foo|bar_.*", {"foo"}, {"bar_.*"}),
    ("(foo|bar_.+)", {"foo"}, {"bar_.+"}),
    ("foo_.*", set(), {"foo_.*"}),
    ("up|.*", {"up"}, {".*"}),
    ("my.metric", set(), {"my.metric"}),
    ("foo[0-9]", set(), {"foo[0-9]"}),
    ("fo{2}", set(), {"fo{2}"}),
    ("(?i)foo|bar", set(), {"(?i)foo|bar"}),
    (r"\Qa|b\E", set(), {r"\Qa|b\E"}),
    ("[(|]x|y", {"y"}, {"[(|]x"}),
    (f"{SENTINEL}_total|foo", {"foo"}, {".*_total"}),
    (f"({SENTINEL})", set(), {".*"}),
    ("(foo|bar", set(), {"(foo|bar"}),
    ("", set(), set()),
    ("|foo", {"foo"}, set()),
]


@pytest.mark.parametrize(("regex", "exact", "open_ended"), APART, ids=[r for r, _, _ in APART])
def test_names_are_told_from_patterns(regex: str, exact: set[str], open_ended: set[str]) -> None:
    assert told_apart(regex) == (exact, open_ended)


def test_more_names_than_a_few_stay_a_pattern() -> None:
    most = "foo_(" + "|".join(f"a{i}" for i in range(MAX_NAMES)) + ")"
    assert len(told_apart(most)[0]) == MAX_NAMES
    assert told_apart(most.replace(")", "|more)")) == (frozenset(), {most.replace(")", "|more)")})
    assert finite("(a|b)" * 100) is None
    assert finite("(" * 500 + "a" + ")" * 500) is None


regexes = st.recursive(
    st.sampled_from(["a", "b_", "c1", "[de]", r"\.", "f?"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + "|".join(parts) + ")"),
        inner.map(lambda part: f"(?:{part})?"),
    ),
    max_leaves=8,
)


@given(st.lists(regexes, min_size=1, max_size=3).map("|".join), st.text(alphabet="abcdef1_.", max_size=6))
def test_a_name_matches_the_regex_if_and_only_if_it_is_told(regex: str, other: str) -> None:
    exact, open_ended = told_apart(regex)
    assert all(re.fullmatch(regex, name) for name in exact)
    if re.fullmatch(regex, other) and other:
        assert other in exact or any(re.fullmatch(p, other) for p in open_ended)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [(".*", 0), ("foo_.*", 4), ("fo.*", 2), ("a|bc|d", 4), (r"a\.b", 2), ("[abcdef]x", 1), ("a{2,4}b", 2), ("^(foo)$", 3), (r"\d+x", 1)],
)
def test_literal_characters_are_counted_as_the_contract_says(pattern: str, count: int) -> None:
    assert literals(pattern) == count == len(re.sub(r"\\.|\[[^]]*\]|\{[^}]*\}|[.*+?^$|()]", "", pattern))
    assert too_wide(pattern) is (count < 4)


def test_only_re2_is_valid() -> None:
    assert valid("foo_.*")
    assert not valid("(")
    assert not valid("a(?=b)")
    assert not valid("a" * (MAX_LENGTH + 1))
    assert not valid("\ud800")


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_variable_in_a_name_is_any_text(before: str, after: str) -> None:
    pattern = of_name(f"{before}{SENTINEL}{after}")
    assert re.fullmatch(pattern, f"{before}anything{after}")
    assert re.fullmatch(pattern, f"{before}{after}")
