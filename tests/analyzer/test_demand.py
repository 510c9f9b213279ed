"""Which labels a query needs of each metric: one row a rule, and every counter-example of a merge that changes a result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.demand import uses
from analyzer.references.syntax import parse_text
from analyzer.references.tree import Node
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, NotUnderstood, Use, all_except, only


def tree(expression: str) -> Node:
    found = parse_text(expression)
    assert not isinstance(found, NotUnderstood), found
    return found


def use_of(expression: str, name: str = "m", root: LabelSet = EVERY_LABEL, operator: str = "none") -> Use:
    found = [u for u in uses(tree(expression), root, operator) if u.name == name]
    assert len(found) == 1, found
    return found[0]


FINITE = [
    # aggregations reset what is needed to their own labels
    ("sum(m)", only(), "sum"),
    ("sum by (a, b) (m)", only("a", "b"), "sum"),
    ("min by (a) (m{c='1'})", only("a", "c"), "min"),
    ("max(m{pod!=''})", only("pod"), "max"),
    ("group by (a) (m)", only("a"), "group"),
    ("topk(5, sum by (a) (m))", only("a"), "sum"),
    ("avg(sum by (a) (m))", only("a"), "sum"),
    ("count(sum by (a) (m))", only("a"), "sum"),
    ("sum(sum without (a) (m{b='1'}))", only("b"), "sum"),
    ("max by (c) (max without (a) (m))", only("c"), "max"),
    # a matcher that excludes nothing needs nothing
    ("sum(m{a=~'.*'})", only(), "sum"),
    ("sum(m{a=~'.+'})", only("a"), "sum"),
    # linear functions under sum
    ("sum(rate(m[5m]))", only(), "sum"),
    ("sum by (a) (increase(m{b='1'}[5m]))", only("a", "b"), "sum"),
    ("sum(irate(m[5m]))", only(), "sum"),
    ("sum(sum_over_time(m[5m]))", only(), "sum"),
    ("sum(-m)", only(), "sum"),
    ("sum(m * 8)", only(), "sum"),
    ("sum(8 * m)", only(), "sum"),
    ("sum(m / 1024 / 1024)", only(), "sum"),
    ("sum(m * (60 * 60))", only(), "sum"),
    ("sum(delta(m[5m]))", only(), "sum"),
    ("histogram_quantile(0.9, sum by (le) (rate(m[5m])))", only("le"), "sum"),
    ("histogram_quantile(0.9, sum by (a, le) (rate(m[5m]))) > 3", only("a", "le"), "sum"),
    # rising functions under max, min
    ("max(clamp_max(m, 2))", only(), "max"),
    ("max(ln(m))", only(), "max"),
    ("min(ceil(m))", only(), "min"),
    ("max(max_over_time(m[5m]))", only(), "max"),
    ("min(min_over_time(m[5m]))", only(), "min"),
    ("max by (a) (m * 2 + 1)", only("a"), "max"),
    ("max(m > 2)", only(), "max"),
    ("min(m < 2)", only(), "min"),
    ("max(2 < m)", only(), "max"),
    # whether there is a series
    ("absent(m{a='1'})", only("a"), "exists"),
    ("absent_over_time(m{a='1'}[5m])", only("a"), "exists"),
    ("absent(m > 2)", only(), "max"),
    ("absent(m < 2)", only(), "min"),
    ("absent(m == 1)", only(), "max"),
    ("absent(count by (a) (m))", only("a"), "exists"),
    ("absent(m + 1)", only(), "exists"),
    # matching
    ("sum by (a) (m) / on (a) group_left o", only("a"), "sum"),
    ("o / on (a) m", only("a"), "unique"),
    ("m / on (a, b) o", only("a", "b"), "unique"),
    ("m > bool on (a) o", only("a"), "unique"),
    ("o > on (a) m", only("a"), "unique"),
    ("o * on (a) group_left (b) m", only("a", "b"), "unique"),
    ("sum by (x) (m * on (a) group_left (x) o)", only("a"), "sum"),
    ("sum by (x, y) (m * on (a) group_left (x) o)", only("a", "y"), "sum"),
    ("sum(m / on (a) group_left o)", only("a"), "sum"),
    ("o and on (a) m", only("a"), "exists"),
    ("o unless on (a) m", only("a"), "exists"),
    ("sum(m and on (a) o)", only("a"), "sum"),
    ("sum(m unless on (a) o)", only("a"), "sum"),
    ("sum by (b) (m or on (a) o)", only("a", "b"), "sum"),
    # labels made from others
    ("sum by (x) (label_replace(m, 'x', '$1', 'y', '(.*)'))", only("y"), "sum"),
    ("sum by (x) (label_replace(m, 'x', '$1', 'y', '(a.*)'))", only("x", "y"), "sum"),
    ("sum by (z) (label_replace(m, 'x', '$1', 'y', '(.*)'))", only("z"), "sum"),
    ("sum by (x) (label_replace(m, 'x', 'k', '', ''))", only(), "sum"),
    ("sum by (x) (label_replace(m, 'y', '$1', 'y', '(.*)'))", only("x"), "sum"),
    ("sum by (x) (label_join(m, 'x', '-', 'a', 'b'))", only("a", "b"), "sum"),
    # beside a scalar, a time, another metric
    ("sum(m) or vector(0)", only(), "sum"),
    ("time() - max(m)", only(), "max"),
    ("1 - (sum(m) / sum(o))", only(), "sum"),
    ("max_over_time(sum(m)[1h:5m])", only(), "sum"),
    ("sum by (a) (m @ end() offset 5m)", only("a"), "sum"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "demand", "operator"), FINITE)
def test_a_finite_demand(expression: str, demand: LabelSet, operator: str) -> None:
    found = use_of(expression)
    assert (found.demand, found.operator) == (demand, operator)


EVERY = [
    # what shows or counts single series
    "m", "m > 5", "rate(m[5m])", "m * 2", "m == 0", "sum(o) or m", "sort(m)", "m / o", "m and o",
    # the counter-examples: merged by sum or max they give another result
    "avg(m)", "count(m)", "topk(1, m)", "bottomk(1, m)", "quantile(.5, m)", "stddev(m)", "stdvar(m)", "count_values('v', m)",
    "limitk(2, m)", "limit_ratio(0.5, m)", "count(count by (pod) (m{pod=~'.*'}) + on (pod) m) + m",
    "sum(m > 2)", "sum(clamp_max(m, 2))", "sum(m ^ 2)", "sum(m + 1)", "sum(m - 1)", "sum(m % 2)", "count(m > 0)", "sum(m == 1)",
    "sum(m > bool 2)", "sum(max_over_time(m[5m]))", "sum(min_over_time(m[5m]))", "sum(count_over_time(m[5m]))", "sum(abs(m))",
    "sum(changes(m[5m]))", "sum(resets(m[5m]))", "sum(timestamp(m))", "sum(2 / m)", "sum(m / 0)", "sum(holt_winters(m[5m], 0.5, 0.5))",
    "scalar(m)", "vector(scalar(m))", "max(rate(m[5m]))", "min(rate(m[5m]))", "max(m < 2)", "min(m > 2)", "min(ln(m))", "min(sqrt(m))",
    "max(m * -1)", "max(-m)", "max(1 / m)", "max(2 - m)", "max(m == 3)", "max(abs(m))", "max(clamp_max(m, scalar(o)))",
    "max(histogram_quantile(0.9, m))", "sum(histogram_quantile(0.9, rate(m[5m])))", "absent(m == 3)", "absent(m != 1)",
    # matching that sees every label, or filters before it looks
    "m > on (x) o", "sum(m or o)", "sum by (x) (m or on (x) o) or m",
    "sum(m + on (x) group_left o)", "sum(o / on (x) group_right m)", "max(m * on (x) group_left o)", "absent(m > on (x) group_left o)",
    "(m > 2) / on (x) o",
    # labels changed in place below an operator
    "sum(label_replace(m, 'x', '$1', 'x', '(a).*'))", "sum(label_join(m, 'x', '-', 'x', 'y'))",
    # unknown when it runs, or not known at all
    "sum by (__fgvar__) (m)", "sum(m{__fgvar__=~'.*'})", "sum(o) * on (__fgvar__) group_left m", "sum(label_replace(m, '__fgvar__', '$1', 'a', '(.*)'))",
    "sum(m / on (a) fill (0) o)",
]  # fmt: skip


@pytest.mark.parametrize("expression", EVERY)
def test_every_label_is_needed_where_a_merge_would_be_seen(expression: str) -> None:
    demands = [u.demand for u in uses(tree(expression)) if u.name == "m"]
    assert demands
    assert any(d == EVERY_LABEL for d in demands)


COFINITE = [
    ("sum without (a) (m)", all_except("a"), "sum"),
    ("avg(sum without (a, b) (m{b='1'}))", all_except("a"), "sum"),
    ("o / ignoring (a) m", all_except("a"), "unique"),
    ("m * on (a) group_left (x) o", all_except("x"), "none"),
    ("label_replace(m, 'x', '$1', 'y', '(.*)')", all_except("x"), "none"),
    ("label_join(m, 'x', '-', 'y')", all_except("x"), "none"),
]


@pytest.mark.parametrize(("expression", "demand", "operator"), COFINITE)
def test_a_demand_for_all_but_some(expression: str, demand: LabelSet, operator: str) -> None:
    found = use_of(expression)
    assert (found.demand, found.operator) == (demand, operator)


def kinds(expression: str) -> set[str]:
    return {c.kind for c in use_of(expression).conditions}


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("sum(rate(m[5m]))", "counter"),
        ("sum(delta(m[5m]))", "alive"),
        ("sum(avg_over_time(m[5m]))", "alive"),
        ("o / on (a) rate(m[5m])", "alive"),
        ("absent(rate(m[5m]))", "alive"),
        ("sum(m * scalar(o))", "non_zero"),
        ("sum(m / time())", "non_zero"),
        ("sum(m * on (a) group_left o)", "non_zero"),
        ("absent(m == 1)", "zero_one"),
        ("max(m == 1)", "zero_one"),
        ("min(m == 0)", "zero_one"),
        ("sum(rate(m[5m:1m]))", "no_reset"),
    ],
)
def test_what_is_safe_on_a_condition_says_so(expression: str, kind: str) -> None:
    assert kind in kinds(expression)


@pytest.mark.parametrize("expression", ["sum(m)", "max by (a) (m)", "absent(m{a='1'})", "sum(m * 8)", "o / on (a) m"])
def test_what_is_safe_without_one_says_none(expression: str) -> None:
    assert kinds(expression) == set()


def test_a_counter_by_name_that_is_added_up_raw_must_not_reset() -> None:
    (use,) = uses(tree("sum(requests_total)"))
    assert [c.kind for c in use.conditions] == ["no_reset"]


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("m * on (a) group_left (x) o", {"x"}),
        ("sum by (x) (m * on (a) group_left (x, y) o)", {"x", "y"}),
        ("label_replace(m, 'x', '$1', 'y', '(.*)')", {"x"}),
        ("label_join(m, 'x', '-', 'y')", {"x"}),
        ("label_join(m, 'x', '-', 'y', 'x')", set()),
        ("sum by (x) (label_replace(m, 'x', 'k', '', ''))", {"x"}),
        ("label_replace(m, 'y', '$1', 'y', '(v.*)')", set()),
        ("label_replace(sum by (y) (m), 'x', '$1', 'y', '(.*)')", set()),
    ],
)
def test_labels_that_are_set_anew_are_told(expression: str, labels: set[str]) -> None:
    assert use_of(expression).overwritten == labels


def test_only_what_names_a_label_gives_the_reason_why_it_is_kept() -> None:
    found = use_of("sum by (a) (rate(m{b='1'}[5m])) / on (a) group_left o")
    assert dict(found.why) == {"a": "sum by", "b": "matcher"}
    assert use_of("avg by (a) (m)").why["*"] == "avg depends on how many series there are"
    assert use_of("m").why["*"] == "every label of the result is seen"


def test_labels_that_the_document_reads_from_the_result_are_needed() -> None:
    (use,) = uses(tree("m"), only("a"), "exists", mentioned=frozenset({"b"}))
    assert use.demand == only("a", "b")
    assert use.mentioned == {"b"}


def test_the_values_of_one_label_need_that_label_alone() -> None:
    found = use_of("m{a='1'}", root=only("b"), operator="exists")
    assert (found.demand, found.operator) == (only("a", "b"), "exists")
    assert use_of("sum by (b, c) (m)", root=only("b"), operator="exists").demand == only("b", "c")


def test_a_selector_of_several_names_needs_every_label() -> None:
    found = uses(tree('sum({__name__=~"one|two"})'))
    assert {(u.name, u.demand) for u in found} == {("one", EVERY_LABEL), ("two", EVERY_LABEL)}
    (pattern,) = uses(tree('sum({__name__=~"one_.*"})'))
    assert (pattern.name, pattern.pattern, pattern.demand) == ("one_.*", True, EVERY_LABEL)


@pytest.mark.parametrize(
    ("expression", "exposed"),
    [
        ("m", EVERY_LABEL), ("avg by (a) (m)", only("a")), ("topk(3, m)", EVERY_LABEL), ("sum without (a) (m)", all_except("a")),
        ("avg by (a) (topk(3, m))", only("a")), ("scalar(m)", NO_LABEL), ("absent(m)", NO_LABEL), ("o and on (a) m", NO_LABEL),
        ("sum by (a) (count by (a, b) (m))", only("a")), ("clamp_max(o, scalar(m))", NO_LABEL), ("o > m", EVERY_LABEL),
    ],
)  # fmt: skip
def test_labels_that_reach_the_result_are_exposed(expression: str, exposed: LabelSet) -> None:
    assert use_of(expression).exposed == exposed


def test_info_reads_target_info() -> None:
    found = {u.name: u.demand for u in uses(tree("info(m, {k8s_pod='x'})"))}
    assert found == {"m": EVERY_LABEL, "target_info": only("job", "instance", "k8s_pod")}


LABELS = st.sampled_from(["a", "b", "c"])
SETS = st.builds(LabelSet, st.frozensets(LABELS), st.booleans())


@given(SETS, SETS, st.frozensets(LABELS), LABELS)
def test_label_sets_are_sets(left: LabelSet, right: LabelSet, minus: frozenset[str], label: str) -> None:
    assert (label in left | right) == (label in left or label in right)
    assert (label in left - minus) == (label in left and label not in minus)
    assert left | left == left
    assert left | NO_LABEL == left
    assert left | EVERY_LABEL == EVERY_LABEL
    assert (label in left & right) == (label in left and label in right)
    assert (label in ~left) != (label in left)
    assert left.among(frozenset({"a", "b", "c"})) == {x for x in "abc" if x in left}


def _expressions() -> st.SearchStrategy[str]:
    base = st.sampled_from(["m", "m{a='1'}", "rate(m[5m])", "o"])
    return st.recursive(
        base,
        lambda inner: st.one_of(
            st.builds("sum by ({1}) ({0})".format, inner, LABELS),
            st.builds("max without ({1}) ({0})".format, inner, LABELS),
            st.builds("avg({0})".format, inner),
            st.builds("({0}) * on ({2}) group_left ({3}) ({1})".format, inner, inner, LABELS, st.sampled_from(["x", "y"])),
            st.builds("label_replace({0}, '{1}', '$1', '{2}', '(.*)')".format, inner, LABELS, LABELS),
            st.builds("({0}) or on ({2}) ({1})".format, inner, inner, LABELS),
            st.builds("clamp_max({0}, 3)".format, inner),
        ),
        max_leaves=6,
    )


@given(_expressions(), SETS, SETS)
def test_who_needs_more_of_the_result_never_needs_less_of_a_metric(expression: str, less: LabelSet, more: LabelSet) -> None:
    """Monotone in what is needed: the readers of a recorded metric can be joined one by one."""
    parsed = tree(expression)
    few, many = uses(parsed, less), uses(parsed, less | more)
    assert [u.name for u in few] == [u.name for u in many]
    assert all(a.demand | b.demand == b.demand for a, b in zip(few, many, strict=True))


@given(_expressions())
def test_every_selector_has_a_use_and_every_needed_label_a_reason(expression: str) -> None:
    found = uses(tree(expression))
    assert sorted(u.name for u in found) == sorted(x for x in _names(expression))
    for use in found:
        assert use.demand.all_except == ("*" in use.why)
        assert use.demand.all_except or use.demand.names <= set(use.why)


def _names(expression: str) -> list[str]:
    import re

    return re.findall(r"(?<![\w'])([mo])(?![\w'])", expression)
