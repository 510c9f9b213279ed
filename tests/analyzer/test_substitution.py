"""Variables, each by where it stands: what is left in its place, and which values are written out."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.expressions import Parsed, names_of, read_trees
from analyzer.references.substitution import MAX_LENGTH, MAX_VARIANTS, spellings
from analyzer.references.syntax import parse_text
from analyzer.references.tree import SENTINEL as V
from analyzer.references.tree import Node, Selector
from flowgate.usage import NotUnderstood
from tests.analyzer.trees import names_in, nodes, rendered, walk

VALUES: dict[str, tuple[str, ...]] = {
    "agg": ("sum", "avg"),
    "labels": ("a", "b"),
    "k": ("5", "10"),
    "m": ("foo", "bar"),
    "nested": ("$m",),
    "filters": ('a="1",b="2"',),
    "whole": ('up{job="x"}',),
    "self": ("$self + 1",),
    "op": (">", "<"),
    "window": ("5m", "1h"),
    "steps": ("5m:1m",),
    "all": ("$__all", "foo"),
    "only_all": ("$__all",),
    "empty": ("",),
    "many": tuple(f"m{i}" for i in range(MAX_VARIANTS + 1)),
    "ten": tuple(f"t{i}" for i in range(10)),
    "seven": tuple(f"s{i}" for i in range(7)),
}

ONE = [
    # strings, ranges, moments
    ('m{a="$x"}', f'm{{a="{V}"}}'),
    ('m{a=~"$m"}', f'm{{a=~"{V}"}}'),
    ('m{a=~"${x:regex}-.*", b="[[y:pipe]]"}', f'm{{a=~"{V}-.*", b="{V}"}}'),
    ("m{a='$x', b=`${y.text}`}", f"m{{a='{V}', b=`{V}`}}"),
    ('m{a=~"x$"}', 'm{a=~"x$"}'),
    ('m{a=$x, b=~"y"}', f'm{{a="{V}", b=~"y"}}'),
    ("rate(m[$__rate_interval])", "rate(m[5m])"),
    ("rate(m[${__rate_interval}])", "rate(m[5m])"),
    ("rate(m[[[w]]])", "rate(m[5m])"),
    ("rate(m[${x}s])", "rate(m[5m])"),
    ("rate(m[2*$__interval])", "rate(m[5m])"),
    ("rate(m[{w}])", "rate(m[5m])"),
    ("rate(m[__interval__])", "rate(m[5m])"),
    ("max_over_time(m[5m:$x])", "max_over_time(m[5m:1m])"),
    ("max_over_time(m[$x:$y])", "max_over_time(m[5m:1m])"),
    ("max_over_time(m[$x:])", "max_over_time(m[5m:1m])"),
    ("max_over_time(m[$steps])", "max_over_time(m[5m:1m])"),
    ('m{a="b"}[$x] offset $y', 'm{a="b"}[5m] offset 5m'),
    ("m offset -$x", "m offset -5m"),
    ("m offset ${n}h", f"m offset {V}h"),
    ("m @ $__to", "m @ 5m"),
    # labels
    ("sum by ($x) (m)", f"sum by ({V}) (m)"),
    ("sum by (a, $x) (m)", f"sum by (a, {V}) (m)"),
    ("m / on($x) group_left($y) n", f"m / on({V}) group_left({V}) n"),
    ("m / ignoring(${x:csv}) n", f"m / ignoring({V}) n"),
    ("sum by (k8s_${x}_name) (m)", f"sum by (k8s_{V}_name) (m)"),
    ('m{$x="y"}', f'm{{{V}="y"}}'),
    ('m{$x=~"$y"}', f'm{{{V}=~"{V}"}}'),
    ('m{k8s_$x="y"}', f'm{{k8s_{V}="y"}}'),
    ('m{a $x "y"}', 'm{a != "y"}'),
    # whole matchers
    ("m{$x}", f'm{{{V}="{V}"}}'),
    ('m{a="b",$x}', f'm{{a="b",{V}="{V}"}}'),
    ('m{$x,a="b"}', f'm{{{V}="{V}",a="b"}}'),
    ("m{$x,}", f'm{{{V}="{V}",}}'),
    ("m{$x,$y}", f'm{{{V}="{V}",{V}="{V}"}}'),
    ('m{a="b" $x}', f'm{{a="b" ,{V}="{V}"}}'),
    ('m{$x a="b"}', f'm{{{V}="{V}", a="b"}}'),
    ('m{a="b" or $x}', f'm{{a="b" or {V}="{V}"}}'),
    # names
    ("$x", V),
    ("$x{a='b'}", f"{V}{{a='b'}}"),
    ("rate($x[5m])", f"rate({V}[5m])"),
    ("${x}_total", f"{V}_total"),
    ("[[x]]_total", f"{V}_total"),
    ("foo_${x}_total + foo_$y", f"foo_{V}_total + foo_{V}"),
    ("$x:rate5m", f"{V}:rate5m"),
    ("$a$b", V + V),
    ('{__name__="$x"}', f'{{__name__="{V}"}}'),
    ('{__name__=~"${x}_.*"}', f'{{__name__=~"{V}_.*"}}'),
    ('{"$x.y"}', f'{{"{V}.y"}}'),
    ("${var.prefix}_total", f"{V}_total"),
    ('${x ? "a{b}" : "c"}_total', f"{V}_total"),
    ("$${x}_total", f"{V}_total"),
    ("__metric__{a='b'}", f"{V}{{a='b'}}"),
    # functions, operators, clauses
    ("$x(m[5m])", f"{V}(m[5m])"),
    ("${x}_over_time(m[5m])", f"{V}_over_time(m[5m])"),
    ("$x by (a) (m)", f"{V} by (a) (m)"),
    ("m $x n", f"m  {V}  n"),
    ("m $x", f"m  {V} "),
    ("sum(m) $x", f"sum(m)  {V} "),
    # numbers
    ("topk($x, m)", "topk(NaN, m)"),
    ("topk by (a) ($x, m)", "topk by (a) (NaN, m)"),
    ("histogram_quantile($x, m)", "histogram_quantile(NaN, m)"),
    ("histogram_quantile(0.$x, m)", f"histogram_quantile(0.{V}, m)"),
    ("clamp_max(m, $x)", "clamp_max(m, NaN)"),
    ("m > $x", "m > NaN"),
    ("m > bool $x", "m > bool NaN"),
    ("m / $__interval_ms", "m / 300"),
    ("m * $__range_s", "m * 300"),
    ("m > ${__from:date:seconds}", "m > 300"),
    # what may be a metric is any
    ("m * $x", f"m * {V}"),
    ("$x > m", f"{V} > m"),
    ("sum($x)", f"sum({V})"),
    ("-$x", f"-{V}"),
    # texts
    ('label_replace(m, "$x", "$1", "a", "(.*)")', f'label_replace(m, "{V}", "$1", "a", "(.*)")'),
    ('label_replace(m, $x, "${1}", "a", "(.*)")', f'label_replace(m, "{V}", "${{1}}", "a", "(.*)")'),
    ("count_values($x, m)", f'count_values("{V}", m)'),
    # no variables
    ("m + n", "m + n"),
    ("a < b > c % d", "a < b > c % d"),
    ('m{__address__="x"}', 'm{__address__="x"}'),
    ("m # $x", "m # $x"),
]


@pytest.mark.parametrize(("text", "spelled"), ONE, ids=[t for t, _ in ONE])
def test_an_unknown_variable_is_replaced_by_its_place(text: str, spelled: str) -> None:
    assert spellings(text, VALUES) == [[spelled]]


MANY = [
    ("$m", ["foo", "bar"]),
    ("${m}_total", ["foo_total", "bar_total"]),
    ("rate($m[5m])", ["rate(foo[5m])", "rate(bar[5m])"]),
    ('{__name__=~"$m"}', ['{__name__=~"foo"}', '{__name__=~"bar"}']),
    ('{"$m"}', ['{"foo"}', '{"bar"}']),
    ("$nested", ["foo", "bar"]),
    ("$whole", ['up{job="x"}']),
    ("n{$filters}", ['n{a="1",b="2"}']),
    ("$agg(n)", ["sum(n)", "avg(n)"]),
    ("$agg by (a) (n)", ["sum by (a) (n)", "avg by (a) (n)"]),
    ("sum by ($labels) (n)", ["sum by (a) (n)", "sum by (b) (n)"]),
    ("sum by (x, $labels) (n)", ["sum by (x, a) (n)", "sum by (x, b) (n)"]),
    ('n{$labels="x"}', ['n{a="x"}', 'n{b="x"}']),
    ("n / on($labels) o", ["n / on(a) o", "n / on(b) o"]),
    ("n $op 5", ["n > 5", "n < 5"]),
    ("topk($k, n)", ["topk(5, n)", "topk(10, n)"]),
    ("n * $k", ["n * 5", "n * 10"]),
    ("foo$empty", ["foo"]),
    ("n / $window", ["n / 5m", "n / 1h"]),
    # `All` is every other value
    ("$all", ["foo"]),
    ("$only_all", [V]),
    # where no name, label or operator changes, nothing is written out
    ('n{a=~"$m"}[$window] offset $window', [f'n{{a=~"{V}"}}[5m] offset 5m']),
]


@pytest.mark.parametrize(("text", "spelled"), MANY, ids=[t for t, _ in MANY])
def test_every_value_that_changes_what_is_read_is_written_out(text: str, spelled: list[str]) -> None:
    assert sorted(tries[0] for tries in spellings(text, VALUES)) == sorted(spelled)


def test_values_of_several_variables_are_combined() -> None:
    found = [tries[0] for tries in spellings("$agg by ($labels) ($m)", VALUES)]
    assert len(found) == 8
    assert "avg by (b) (foo)" in found


def test_too_many_values_count_as_unknown() -> None:
    assert spellings("$many", VALUES) == [[V]]
    both = [tries[0] for tries in spellings("$ten + $seven", VALUES)]
    assert sorted(both) == sorted(f"{V} + s{i}" for i in range(7))
    assert len(spellings("$many + $m", VALUES)) == 2


def test_a_long_text_is_written_out_less_often() -> None:
    """All choices together stay small, whatever the text's length."""
    padding = "n or " * 2000
    found = spellings(f"{padding} $ten", VALUES)
    assert sum(len(t) for tries in found for t in tries) < 200_000
    assert spellings(f"{padding} $x", VALUES)[0][0].endswith(V)
    assert spellings("n or " * MAX_LENGTH + "$x", VALUES) == [["n or " * MAX_LENGTH + "$x"]]


def test_values_that_hold_themselves_end() -> None:
    (tries,) = spellings("$self", VALUES)
    assert V in tries[0]


FOREIGN = [
    ("{{ .metric }}_total{a='b'}", f"{V}_total{{a='b'}}"),
    ("rate(m[{{.window}}])", "rate(m[5m])"),
    ("rate(m[{{window}}])", "rate(m[5m])"),
    ("m{ {{ .selector }} }", f'm{{ {V}="{V}" }}'),
    ("m{{{ .selector }}}", f'm{{{V}="{V}"}}'),
    ('m{a="b", {{ include "x" . }}}', f'm{{a="b", {V}="{V}"}}'),
    ("m{%(selector)s}", f'm{{{V}="{V}"}}'),
    ("rate(m[%(window)s])", "rate(m[5m])"),
    ("sum by (%s) (m)", f"sum by ({V}) (m)"),
    ("%(prefix)s_total", f"{V}_total"),
    ("m > <threshold>", "m > NaN"),
    ("rate(m[<window>])", "rate(m[5m])"),
    ('rate(m{{a="b"}}[{w}])', 'rate(m{a="b"}[5m])'),
    ("m offset {{ .lag }}", "m offset 5m"),
    ("m / ${Filter}", f"m / {V}"),
    ('m{a="{{ "{{" }} $labels.x {{ "}}" }}"}', f'm{{a="{V} {V}.x {V}"}}'),
    ('m{a="{{ $labels.x }}"}', f'm{{a="{V}"}}'),
]


@pytest.mark.parametrize(("text", "spelled"), FOREIGN, ids=[t for t, _ in FOREIGN])
def test_what_other_templates_left_is_replaced_when_that_gives_a_parse(text: str, spelled: str) -> None:
    (tries,) = spellings(text, {})
    assert next(t for t in tries if not isinstance(parse_text(t), NotUnderstood)) == spelled


def test_what_parses_without_is_no_template() -> None:
    (tries,) = spellings("a %s", {})
    assert tries[0] == "a %s"
    assert spellings("a <b> c", {})[0][0] == "a <b> c"


def test_a_value_that_does_not_parse_leaves_an_unknown_label() -> None:
    (first, second) = spellings("sum by $labels (m)", VALUES)
    assert first[0] == "sum by a (m)"
    assert first[-1] == second[-1] == f"sum by {V} (m)"
    assert spellings("m $bad", {"bad": ("+ n)",)}) == [["m + n)"]]  # it may read more than `m`


def read(text: str, variables: dict[str, tuple[str, ...]]) -> Parsed | NotUnderstood:
    return read_trees([(text, variables)], lambda texts: [parse_text(t) for t in texts])[0]


@pytest.mark.parametrize("text", [t for t, _ in ONE + FOREIGN], ids=[t for t, _ in ONE + FOREIGN])
def test_every_place_gives_a_tree(text: str) -> None:
    assert isinstance(read(text, VALUES), Parsed)


def reads(tree: Node, name: str) -> bool:
    found = [names_of(n) for n in walk(tree) if isinstance(n, Selector)]
    return any(name in exact or any(p != name and (p == ".*" or name in p) for p in open_ended) for exact, open_ended in found)


BROKEN = [
    "rate(m[$x",
    "m[$x + n]",
    "m{$x",
    'm{a="$x',
    "$",
    "${",
    "${}",
    "${1}",
    "[[",
    "[[x",
    "[[x]",
    "{{",
    "{{ x",
    "}}",
    "%(",
    "<",
    "<x",
    "$$$",
    "__x__[",
    "$x[$y",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_text_never_raises_and_its_names_are_kept(text: str) -> None:
    assert spellings(text, VALUES)
    answer = read(text, {})
    if isinstance(answer, Parsed):
        assert "n" not in text or all(reads(tree, "n") for tree in answer.trees)


def test_a_name_in_a_broken_range_is_not_swallowed() -> None:
    assert isinstance(read("m[$x + n_total]", {}), NotUnderstood)
    assert isinstance(read("(m[$x) + n_total]", {}), NotUnderstood)


places = st.sampled_from(["$x", "${x}", "[[x]]", "{{x}}", "$m", "$labels", "$__interval", "%s", "<x>", "$x$m"])


@given(nodes, places, st.integers(0))
def test_a_variable_put_anywhere_hides_no_name(node: Node, variable: str, at: int) -> None:
    """Whatever it is put into: the names of the original that still stand there are read, or it is said that they may be."""
    text = rendered(node)
    at %= len(text) + 1
    answer = read(text[:at] + variable + text[at:], VALUES)
    if isinstance(answer, NotUnderstood):
        return
    left, right = text[:at].rpartition(" ")[2], text[at:].partition(" ")[0]
    for name in names_in(node):
        if name not in left + right:
            assert all(reads(tree, name) for tree in answer.trees), (text, variable, at)


@pytest.mark.parametrize("piece", ["$x,", "[[a:", "[[", "{{", '{{"', "$x[", "<x", "%(x", "${", "__x__ ", '"$x" ', "(", "[$x", "$x$m "])
@pytest.mark.parametrize("before", ["", "m{", '"', "["])
def test_hostile_texts_take_no_time(piece: str, before: str) -> None:
    text = before + piece * ((MAX_LENGTH - len(before)) // len(piece))
    start = time.process_time()
    spellings(text, VALUES)
    assert time.process_time() - start < 1
