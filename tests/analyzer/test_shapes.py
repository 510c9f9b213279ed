"""Foreign JSON narrowed without raising, and the names that a text in an unknown language might hold."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references import autoscaling, perses, prometheus_rules, querylog, slo, targets, tokens
from analyzer.references.queries import Query
from analyzer.references.shapes import MAX_TEXT, first, is_of, might_name, overlooked, owner_of, scalar, shown, texts_in, unread
from tests.analyzer.foreign import VALUES

READERS = (*slo.READERS, *perses.READERS, *autoscaling.READERS, *querylog.READERS, *prometheus_rules.READERS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("stats.my_app.count", {"stats.my_app.count"}),
        ("alias(stats.my-app.count, 'x')", {"stats.my-app.count", "stats.my", "app.count", "alias", "x"}),
        ("servers.*.cpu", {"servers.web1.cpu", "servers", "cpu"}),
        ("servers.{a,b}.cpu", {"servers.a.cpu", "servers.b.cpu"}),
        ("a*b", {"a", "b"}),
        ("foo-bar", {"foo", "bar", "foo-bar"}),
        ("$app.requests", {"shop.requests"}),
        ("${app}_requests", {"shop_requests"}),
        ("[[app]]_requests", {"shop_requests"}),
        ("{{ .app }}_requests{}", {"shop_requests"}),
        ('up{job="$job"}', {"up", "job"}),
        ('SELECT mean(my_field) FROM "my_measurement"', {"my_field", "my_measurement"}),
        ("job:up:sum", {"job:up:sum"}),
    ],
)
def test_every_name_in_a_text_is_touched(text: str, names: set[str]) -> None:
    patterns = might_name(text)
    assert patterns
    for name in names:
        assert any(re2.fullmatch(p, name) for p in patterns), name
    assert not any(re2.fullmatch(p, "unrelated_name") for p in patterns)


@pytest.mark.parametrize(
    "text", ["", " ", "1 + 2", "$metric", "rate(${metric}[5m])", "sum({{ .metric }})", "[[m]]", 'up + "unclosed $metric']
)
def test_a_text_without_names_or_with_a_variable_for_a_name_touches_any(text: str) -> None:
    assert might_name(text) == ()


@given(st.text())
def test_what_is_touched_is_always_patterns(text: str) -> None:
    for pattern in might_name(text):
        re2.compile(pattern)


@given(
    st.lists(st.from_regex(r"[a-z_:][a-z0-9_:]{2,8}[a-z0-9]", fullmatch=True), min_size=1),
    st.sampled_from([" ", " + ", "(", ") / (", ", ", "{", "[5m] - "]),
)
def test_no_word_is_lost(words: list[str], sign: str) -> None:
    patterns = might_name(sign.join(words))
    for word in words:
        assert any(re.fullmatch(p, word) for p in patterns)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (1, "1"), (1.5, "1.5"), (" ", None), (None, None), (True, None), ([], None), ({}, None)],
)
def test_numbers_are_texts_and_nothing_else_is(value: Any, text: str | None) -> None:
    assert scalar(value) == text


def test_a_number_that_python_refuses_to_print_is_no_text() -> None:
    assert scalar(10**5000) is None
    assert shown({"a": 10**5000}) == "{a: int}"


def test_the_first_key_that_holds_something_counts() -> None:
    assert first({"a": None, "b": 0, "c": 1}, "a", "b", "c") == 0
    assert first({}, "a") is None


def nested(depth: int, leaf: Any) -> Any:
    for level in range(depth):
        leaf = {"spec": leaf, "groups": []} if level % 2 else [leaf]
    return leaf


def test_depth_is_no_trouble() -> None:
    deep = nested(50_000, "my_metric")
    assert len(shown(deep)) <= MAX_TEXT
    assert list(texts_in(deep)) == [("spec", "my_metric")]
    assert unread("x", deep, "y").touches == ("my_metric",)
    for document in (deep, {"groups": deep}, {"groups": [{"rules": [deep]}]}, {"kind": "Dashboard", "spec": {"panels": {"a": deep}}}):
        for reader in READERS:
            reader(document)


@given(VALUES)
def test_anything_can_be_shown(value: Any) -> None:
    assert len(shown(value)) <= MAX_TEXT


def test_a_query_that_no_reader_came_across_is_said() -> None:
    document = {"a": [{"expr": "seen"}, {"query": "not_seen"}], "labels": {"expr": "a_label"}, "expr": 1}
    (item,) = overlooked(document, [Query("promql", "panel", "", "seen")], {"labels"})
    assert (item.text, item.touches, item.narrowing) == ("not_seen", ("not_seen",), False)


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ([{"team": "a"}], "a"),
        ([{"team": "a"}, {"owner": "a"}], "a"),
        ([{"team": "a"}, {"squad": "b"}], None),
        ([{"team": []}], None),
        ([], None),
    ],
)
def test_an_owner_is_named_by_all_or_by_none(labels: list[dict[str, Any]], owner: str | None) -> None:
    assert owner_of(*labels) == owner


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"apiVersion": "a.b/v1", "kind": "K", "spec": {}}, True),
        ({"apiVersion": "a.b/v1", "kind": "L", "spec": {}}, False),
        ({"apiVersion": "a/v1", "kind": "K", "spec": {}}, False),
        ({"apiVersion": "a.b/v1", "kind": "K", "name": "n"}, False),
        ({"apiVersion": "a.b/v1", "kind": "K", "speck": {"query": "up"}}, True),
        ({"apiVersion": [], "kind": {}, "spec": {}}, False),
    ],
)
def test_a_resource_that_is_only_mentioned_is_none(document: Any, said: bool) -> None:
    assert is_of(document, "a.b", "K") is said


HOSTILE = [
    "{{",
    "${",
    "{a,",
    "{a,a",
    "$",
    '"',
    "[[",
    "a.",
    "query (",
    "{",
    '\\"',
    "'",
    "a=",
    'a="',
    "<<a",
    "{{b ",
    " ",
    "%",
    "|",
    "#",
    "/label/",
    "${${",
    "${a:",
    "a-",
    "{$",
    "*",
    "'\\",
    '"$\\',
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_of_a_text_and_no_faster(piece: str) -> None:
    """A pattern that tries again at every sign takes minutes of a text that was made for it."""
    text = piece * (60_000 // len(piece))
    start = time.process_time()
    might_name(text)
    prometheus_rules.logql_evidence(text)
    list(prometheus_rules.template_queries("", "", text))
    list(prometheus_rules.template_queries("", "", "{{" + text + "}}"))
    querylog.read_line(f"query {text}")
    querylog.normal(text)
    autoscaling.templated(text)
    for reader in READERS:
        reader({"rules": [{"seriesQuery": text, "metricsQuery": text}]})
        reader({"version": "prometheus/v1", "slos": [{"sli": {"raw": {"error_ratio_query": text}}}]})
    assert time.process_time() - start < 3


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_names_of_60_kb_in_any_language_are_found_within_a_second(piece: str) -> None:
    text = piece * (60_000 // len(piece))
    for seek in (might_name, tokens.touched, lambda t: targets.names_in([t], {}), lambda t: targets.with_values(t, {}, re.escape)):
        start = time.process_time()
        seek(text)
        assert time.process_time() - start < 1
