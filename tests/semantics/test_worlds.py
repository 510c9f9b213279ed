"""The judge's parts: worlds are what they promise to be, the merge is the one told, and promtool's words are read right."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.usage import Operator
from tests.semantics.claims import tree_of
from tests.semantics.merging import merged, merges
from tests.semantics.promtool import notation, outcome_of
from tests.semantics.readings import shortened, spans
from tests.semantics.regexes import full_match, matching
from tests.semantics.series import Gap, Outcome, Series, Value, World, has_content, labels_of, same
from tests.semantics.worlds import Subject, world

_, X = Gap.MISSED, Gap.STALE
seeds = st.integers(0, 2**32)


def drawn(expression: str, metric: str, seed: int, removed: str = "pod", **more: frozenset[str]) -> World:
    tree = tree_of(expression)
    assert tree is not None
    return world(expression, tree, Subject(metric, frozenset({removed}), **more), seed)


def of(seen: World, metric: str) -> list[Series]:
    return [s for s in seen.series if s.name == metric]


# --- the merge -------------------------------------------------------------------------------------------------------------------------


def together(operator: Operator, counter: bool, *inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    series = tuple(Series("m", labels_of({"pod": str(n)}), values) for n, values in enumerate(inputs))
    (only,) = merged(World(60, series, (0,)), "m", frozenset({"pod"}), operator, counter).series
    return only.values


@pytest.mark.parametrize(
    ("operator", "counter", "inputs", "expected"),
    [
        ("sum", False, [(1.0, 2.0), (3.0, 4.0)], (4.0, 6.0)),
        ("min", False, [(1.0, 2.0), (3.0, -4.0)], (1.0, -4.0)),
        ("max", False, [(1.0, 2.0), (3.0, 4.0)], (3.0, 4.0)),
        ("group", False, [(1.0, 1.0), (1.0, 1.0)], (1.0, 1.0)),
        # a missed scrape keeps the last value; where nobody was heard there is no value
        ("sum", False, [(1.0, _, _), (3.0, 4.0, _)], (4.0, 5.0, _)),
        # births count from the first sample, deaths from the marker on; the last one leaves a marker
        ("sum", False, [(_, 2.0, 2.0), (3.0, 4.0, X)], (3.0, 6.0, 2.0)),
        ("sum", False, [(1.0, X, _), (1.0, 2.0, X)], (2.0, 2.0, X)),
        # counters: each input's own resets; what was counted is not lost when an input ends
        ("sum", True, [(100.0, 0.0, 10.0), (50.0, 60.0, 70.0)], (150.0, 160.0, 180.0)),
        ("sum", True, [(100.0, 110.0, X), (5.0, 6.0, 7.0)], (105.0, 116.0, 117.0)),
        ("sum", True, [(_, 3.0, 4.0), (5.0, 6.0, 7.0)], (5.0, 9.0, 11.0)),
        ("sum", True, [(5.0, X, 2.0), (1.0, 1.0, 1.0)], (6.0, 6.0, 8.0)),
    ],
)
def test_inputs_are_merged_tick_by_tick(
    operator: Operator, counter: bool, inputs: list[tuple[Value, ...]], expected: tuple[Value, ...]
) -> None:
    assert together(operator, counter, *inputs) == expected


def test_only_the_metric_asked_for_is_merged_and_only_within_its_other_labels() -> None:
    rows = [("m", {"a": "1", "pod": "p"}), ("m", {"a": "1", "pod": "q"}), ("m", {"a": "2", "pod": "p"}), ("o", {"pod": "p"})]
    before = World(60, tuple(Series(name, labels_of(labels), (1.0,)) for name, labels in rows), (0,))
    after = merged(before, "m", frozenset({"pod"}), "sum", False)
    assert {(s.name, s.labels): s.values for s in after.series} == {
        ("m", labels_of({"a": "1"})): (2.0,),
        ("m", labels_of({"a": "2"})): (1.0,),
        ("o", labels_of({"pod": "p"})): (1.0,),
    }
    assert merges(before, "m", frozenset({"pod"}))
    assert not merges(before, "m", frozenset({"x"}))


@given(st.lists(st.lists(st.integers(0, 50).map(float), min_size=4, max_size=4), min_size=1, max_size=4))
def test_a_merged_counter_never_falls_and_gains_what_its_inputs_gain(inputs: list[list[float]]) -> None:
    values = [v for v in together("sum", True, *map(tuple, inputs)) if isinstance(v, float)]
    gained = sum(sum(b if b < a else b - a for a, b in pairwise(column)) for column in inputs)
    assert all(a <= b for a, b in pairwise(values))
    assert values[-1] - values[0] == gained


# --- worlds ----------------------------------------------------------------------------------------------------------------------------


@given(seeds)
def test_a_world_is_the_same_for_the_same_seed(seed: int) -> None:
    assert drawn("sum by (a) (m) / on (a) o", "m", seed) == drawn("sum by (a) (m) / on (a) o", "m", seed)


@given(seeds)
def test_series_are_distinct_and_inputs_of_a_join_are_mostly_alone(seed: int) -> None:
    seen = drawn('m{x=~"p|q"} * on (a) group_left (b) o', "m", seed)
    assert len({(s.name, s.labels) for s in seen.series}) == len(seen.series)
    assert of(seen, "m")
    assert of(seen, "o")


@given(seeds)
def test_a_counter_read_over_a_window_neither_begins_nor_ends_in_it(seed: int) -> None:
    seen = drawn("sum(rate(m[5m]))", "m", seed)
    window = range(seen.looks[0] - 5, seen.looks[-1] + 1)
    ours = of(seen, "m")
    heard = [frozenset(t for t in window if isinstance(s.values[t], float)) for s in ours]
    assert {h for h in heard if h} in (set[frozenset[int]](), {max(heard, key=len)})


@given(seeds)
def test_a_counter_without_resets_never_falls_nor_ends(seed: int) -> None:
    for series in of(drawn("sum(m_total)", "m_total", seed, kinds=frozenset({"no_reset"})), "m_total"):
        values = [v for v in series.values if isinstance(v, float)]
        assert all(a <= b for a, b in pairwise(values))
        assert Gap.STALE not in series.values


@given(seeds)
def test_conditions_are_kept(seed: int) -> None:
    flags = drawn("max(m == 1)", "m", seed, kinds=frozenset({"zero_one"}))
    assert {v for s in of(flags, "m") for v in s.values if isinstance(v, float)} <= {0.0, 1.0}
    divisors = drawn("sum(m / scalar(o))", "m", seed, kinds=frozenset({"non_zero"}))
    assert all(v > 0 for s in divisors.series for v in s.values if isinstance(v, float))
    lacking = drawn("sum by (x) (m * on (y) group_left (x) o)", "m", seed, absent=frozenset({"x"}))
    assert all("x" not in dict(s.labels) for s in of(lacking, "m"))


@given(seeds)
def test_a_bucket_holds_what_smaller_ones_hold(seed: int) -> None:
    seen = drawn("histogram_quantile(0.9, sum by (le) (rate(m_bucket[5m])))", "m_bucket", seed)
    families: dict[frozenset[tuple[str, str]], list[Series]] = {}
    for series in of(seen, "m_bucket"):
        families.setdefault(frozenset(p for p in series.labels if p[0] != "le"), []).append(series)
    for family in families.values():
        ordered = sorted(family, key=lambda s: float(dict(s.labels)["le"]))
        for small, large in pairwise(ordered):
            assert all(a <= b for a, b in zip(small.values, large.values, strict=True) if isinstance(a, float) and isinstance(b, float))


def test_some_world_satisfies_every_matcher() -> None:
    expression = 'm{a="1", b!="", c=~"x|y.+", d!~"z.*"}'
    rows = [dict(s.labels) for seed in range(20) for s in of(drawn(expression, "m", seed), "m")]
    good = [
        r for r in rows if r.get("a") == "1" and r.get("b") and full_match("x|y.+", r.get("c", "")) and not r.get("d", "").startswith("z")
    ]
    assert len(good) > len(rows) / 4


# --- reading expressions ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["a|b", "5..", "[a-c]+", "x(y|z)?", ".*", ".+", "", "^(a|b)$", r"\d{2,3}", "[^:]+:.*", "(?:k|l)m*", r"10\.0\..+"]
)
@given(seeds)
def test_drawn_texts_match_their_regex(pattern: str, seed: int) -> None:
    found = matching(pattern, random.Random(seed))
    assert found
    assert all(full_match(pattern, text) for text in found)


@given(st.text(alphabet=r"ab.|()[]*+?{}\^$-1,:", max_size=12), seeds)
def test_no_regex_stops_the_reader(pattern: str, seed: int) -> None:
    assert all(full_match(pattern, text) for text in matching(pattern, random.Random(seed)))


@pytest.mark.parametrize(
    ("expression", "short"),
    [
        ("rate(m[5m])", "rate(m[5m])"),
        ("rate(m[5m]) + rate(m[30d])", "rate(m[5m]) + rate(m[14400s])"),
        ('rate(m{a="[30d]"}[1m])', 'rate(m{a="[30d]"}[1m])'),
        ("max_over_time(m[1w:1m]) offset 1w", "max_over_time(m[14400s:1m]) offset 14400s"),
        ("rate(m[30s] offset 1d)", "rate(m[30s] offset 1200s)"),
    ],
)
def test_windows_are_shortened_and_text_is_not(expression: str, short: str) -> None:
    assert shortened(expression) == short


@pytest.mark.parametrize(
    ("expression", "interval"), [("m", 60), ("rate(m[5m])", 60), ("rate(m[1m])", 15), ("rate(m[30s])", 5), ("rate(m[2m])", 30)]
)
def test_the_shortest_window_holds_four_scrapes(expression: str, interval: int) -> None:
    assert spans(expression).interval == interval


# --- promtool's words --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("    expr: \"m\", time: 5m,\n        exp: {judge=\"never\"} 0E+00\n        got: nil", {}),
        ("    expr: \"m\", time: 5m,\n        exp: x\n        got: {} 1.5E+00", {labels_of({}): 1.5}),
        (
            '    expr: "m", time: 5m,\n        exp: x\n        got: {__name__="m", a="q\\"}, {1"} 1E+00, {"b.c"="2"} -Inf',
            {labels_of({"__name__": "m", "a": 'q"}, {1'}): 1.0, labels_of({"b.c": "2"}): float("-inf")},
        ),
        ('    expr: "m", time: 5m, err: found duplicate series', "found duplicate series"),
        ("    expr: \"m\", time: 5m,\n        exp: x\n        got: {} {{schema:0 count:1}}", "not a list of float samples: {} {{schema:0 count:1}}"),
    ],
)  # fmt: skip
def test_what_promtool_got_is_read(failure: str, expected: Outcome) -> None:
    assert outcome_of(failure) == expected


def test_series_are_written_as_promql_reads_them() -> None:
    assert notation(Series("m", labels_of({"a": 'x"y', "b": ""}), ())) == 'm{a="x\\"y"}'
    assert notation(Series("m.n", labels_of({"a.b": "1"}), ())) == '{"m.n", "a.b"="1"}'


def test_outcomes_are_the_same_up_to_rounding() -> None:
    one, other = {labels_of({"a": "1"}): 0.1 + 0.2}, {labels_of({"a": "1"}): 0.3}
    assert same(one, other)
    assert same({labels_of({}): float("nan")}, {labels_of({}): float("nan")})
    assert not same(one, {labels_of({"a": "1"}): 0.300001})
    assert not same(one, {})
    assert not same(one, "an error")
    assert has_content(one)
    assert not has_content({labels_of({}): float("nan")})
