"""LogQL: which attributes of logs a query reads, and when others are seen."""

from __future__ import annotations

import re
import time

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analyzer.references.grammars import MAX_CHARS, MAX_DEPTH
from analyzer.references.logql import NO_METRIC, read_logql
from analyzer.references.queries import Query
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, LabelSet, NotUnderstood, Use, all_except, only

VARIABLES = {"g": ("level", "pod"), "free": ()}


def ask(text: str, root: LabelSet = EVERY_LABEL) -> tuple[Use, ...] | NotUnderstood:
    return read_logql(Query("logql", "panel", "w", text, variables=VARIABLES, root=root))


def uses(text: str, root: LabelSet = EVERY_LABEL) -> tuple[Use, ...]:
    answer = ask(text, root)
    assert not isinstance(answer, NotUnderstood), answer.reason
    return answer


LINES = [
    ('{app="x"}', {"app"}),
    ('{app="x", env!="a", pod=~"b.*", ns!~`c`}', {"app", "env", "pod", "ns"}),
    ('{app="x",}', {"app"}),
    ("{}", set[str]()),
    ('({app="x"})', {"app"}),
    ('{app="x"} |= "a" != "b" |~ `c` !~ "d" |> "<_> e" !> "f"', {"app"}),
    ('{app="x"} |= "a" or "b" or `c`', {"app"}),
    ('{app="x"} |= ip("10.0.0.0/8") or ip("::1")', {"app"}),
    ('{app="x"} |= $search |~ "${other}"', {"app"}),
    ('{app="x"} | json | logfmt | unpack | xml | decolorize', {"app"}),
    ('{app="x"} | json a="b.c[0]", d', {"app"}),
    ('{app="x"} | logfmt --strict --keep-empty a="b", c', {"app"}),
    ('{app="x"} | regexp `(?P<a>\\d+)` | pattern "<b> <_>"', {"app"}),
    ('{app="x"} | level="error"', {"app", "level"}),
    ('{app="x"} | a="b" and c!="d" or e=~"f", g>5 h<=20KB', {"app", "a", "c", "e", "g", "h"}),
    ('{app="x"} | (a>1h30m or (b>=1.5 and c==2)) | d < -1', {"app", "a", "b", "c", "d"}),
    ('{app="x"} | addr=ip("10.0.0.0/8") and other!=ip("::1")', {"app", "addr", "other"}),
    ('{app="x"} | a=`b` |= "c" | d="e"', {"app", "a", "d"}),
    ('{app="x"} | android="y" or order="z"', {"app", "android", "order"}),
    ('{app="x"} | line_format "{{.a}} {{ .b | upper }} {{ if eq .c \\"x.y\\" }}.z{{ end }} .w"', {"app", "a", "b", "c"}),
    ("{app=\"x\"} | line_format `{{.a}}` | label_format b=c, d=`{{.e}}-{{ printf \"%s.f\" .g }}`", {"app", "a", "c", "e", "g"}),
    ('{app="x"} | keep a, b="c" | drop d, e=~"f"', {"app", "a", "b", "d", "e"}),
    ('{app="x"} # comment " {b="c"}\n| json', {"app"}),
    ('{service_name="x", k8s_pod="y"}', {"service_name", "k8s_pod"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mentioned"), LINES)
def test_a_query_that_shows_records_sees_every_attribute(text: str, mentioned: set[str]) -> None:
    (use,) = uses(text)
    assert (use.name, use.signal, use.operator) == ("", Signal.LOGS, "none")
    assert use.mentioned == mentioned
    assert use.demand.all_except
    assert use.why["*"] == "records are shown whole"


FINITE = [
    ('sum(rate({app="x"}[5m]))', {"app"}, "sum"),
    ('sum by (a, b) (count_over_time({app="x"} |= "e" [$__auto]))', {"app", "a", "b"}, "sum"),
    ('sum(bytes_rate({app="x"}[$__interval] offset 5m)) by (a)', {"app", "a"}, "sum"),
    ('sum by (a) (bytes_over_time({app="x"}[[[range]]] offset -1h))', {"app", "a"}, "sum"),
    ('sum by ($g) (rate({app="x"}[5m]))', {"app", "level", "pod"}, "sum"),
    ('topk($k, sum by (a) (rate({app="x"}[5m])))', {"app", "a"}, "sum"),
    ('avg(sum by (a) (rate({app="x"}[5m])))', {"app", "a"}, "sum"),
    ('sort_desc(sum by (a) (rate({app="x"}[5m])))', {"app", "a"}, "sum"),
    ('sum by (a) (sort(rate({app="x"}[5m])))', {"app", "a"}, "sum"),
    ('sum by (a) (rate({app="x"}[5m]) * 60 / 2)', {"app", "a"}, "sum"),
    ('100 * (1 - sum(rate({app="x"}[5m])))', {"app"}, "sum"),
    ('sum by (a) (rate({app="x"} | json | level="e" [5m])) > 1e-3', {"app", "a", "level"}, "sum"),
    ('sum(sum_over_time({app="x"} | unwrap bytes(a) | __error__="" [5m]))', {"app", "a", "__error__"}, "sum"),
    ('sum(sum_over_time(({app="x"} | unwrap a)[5m]))', {"app", "a"}, "sum"),
    ('sum(rate({app="x"}[5m] | json | a="b"))', {"app", "a"}, "sum"),
    ('max by (a) (max_over_time({app="x"} | unwrap duration_seconds(b) [5m]))', {"app", "a", "b"}, "max"),
    ('min(min_over_time({app="x"} | unwrap b [5m])) by (a)', {"app", "a", "b"}, "min"),
    ('quantile_over_time(0.99, {app="x"} | unwrap b [5m]) by (a)', {"app", "a", "b"}, "none"),
    ('max(avg_over_time({app="x"} | unwrap b [5m]) by (a, c)) by (a)', {"app", "a", "b", "c"}, "none"),
    ('absent_over_time({app="x"}[5m])', {"app"}, "none"),
    ('sum by (a) (rate({app="x"} | drop b [5m]))', {"app", "a"}, "sum"),
    ('label_replace(sum by (a) (rate({app="x"}[5m])), "d", "$1", "a", "(.*)")', {"app", "a"}, "sum"),
    ('sum by (a) (rate({app="x"}[5m])) or vector(0)', {"app", "a"}, "sum"),
    ('label_values({app="x"}, a)', {"app", "a"}, "none"),
    ("label_values(a)", {"a"}, "none"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "needed", "operator"), FINITE)
def test_what_adds_up_over_streams_needs_what_it_filters_and_groups_by(text: str, needed: set[str], operator: str) -> None:
    (use,) = uses(text)
    assert use.demand == only(*needed)
    assert use.operator == operator
    assert set(use.why) == needed


EVERYTHING = [
    ('rate({app="x"}[5m])', "every label is shown"),
    ('topk(5, rate({app="x"}[5m]))', "topk sees"),
    ('max by (a) (rate({app="x"}[5m]))', "max sees"),
    ('sum by (a) (max_over_time({app="x"} | unwrap b [5m]))', "sum sees"),
    ('sum by (a) (rate_counter({app="x"} | unwrap b [5m]))', "sum sees"),
    ('avg by (a) (count_over_time({app="x"}[5m]))', "avg sees"),
    ('count(rate({app="x"}[5m]))', "count sees"),
    ('approx_topk(10, rate({app="x"}[5m]))', "approx_topk sees"),
    ('sum(rate({app="x"}[5m]) > 5)', "compared stream by stream"),
    ('sum(rate({app="x"}[5m]) + 1)', "compared stream by stream"),
    ('sum(2 / rate({app="x"}[5m]))', "compared stream by stream"),
    ('some_new_function(rate({app="x"}[5m]))', "some_new_function sees"),
    ('sum by (a) (label_replace(rate({app="x"}[5m]), "a", "$1", "b", "(.*)"))', "label_replace sees"),
    ('{app="x", $filters}', "$filters"),
    ('{app="x"} | $stage', "$stage"),
    ('{app="x"} | json | a="b" ${stages}', "${stages}"),
    ('sum by (a) (count_over_time({app="x"} |= "y" $stages [5m]))', "$stages"),
    ('{$label="x"}', "$label"),
    ('sum(bytes_rate({app="x"} | line_format "{{ . }}" [5m]))', "all labels"),
    ('sum by (a) (rate({app="x"} | label_format a=`{{ index . "x" }}` [5m]))', "all labels"),
    ('sum by ($free) (rate({app="x"}[5m]))', "$free"),
    ('sum by (pre_$g) (rate({app="x"}[5m]))', "pre_$g"),
    ('sum(rate({app="x"} | ${a} = "b" [5m]))', "${a}"),
]


@pytest.mark.parametrize(("text", "reason"), EVERYTHING)
def test_what_sees_streams_one_by_one_needs_every_attribute(text: str, reason: str) -> None:
    (use,) = uses(text)
    assert use.demand == EVERY_LABEL
    assert reason in use.why["*"]


def test_labels_left_out_are_the_only_ones_not_needed() -> None:
    assert uses('sum without (pod, node) (rate({app="x"}[5m]))')[0].demand == all_except("pod", "node")
    assert uses('sum without (app) (rate({app="x"}[5m]))')[0].demand == EVERY_LABEL
    assert uses('rate({app="x"} | drop pod [5m])')[0].demand == all_except("pod")
    assert uses('{app="x"} | drop pod, app, node="n"')[0].demand == all_except("pod")
    assert uses('{app="x"} | drop $free')[0].demand == EVERY_LABEL


def test_every_selector_is_a_use_of_its_own() -> None:
    left, right = uses('sum by (x) (rate({a="b"}[5m])) / on (x) group_left (z) sum by (x, y) (rate({c="d"}[5m]))')
    assert (left.demand, right.demand) == (only("a", "x"), only("c", "x", "y"))
    assert (left.mentioned, right.mentioned) == ({"a", "x", "z"}, {"c", "x", "y", "z"})


def test_a_document_that_asks_for_one_label_needs_no_other() -> None:
    assert uses('{app="x"} | a="b"', only("level"))[0].demand == only("app", "a", "level")


@pytest.mark.parametrize("text", ["vector(0)", "1 + 1"])
def test_a_query_without_logs_reads_nothing(text: str) -> None:
    assert uses(text) == ()


BROKEN = [
    '{app="x"',
    '{app="x"} |',
    '{app="x"} | = 5',
    "sum(",
    '{app="x}',
    "{app}} x",
    'sum(rate({app="x"}[5m]) by (a',
    "",
    "$query",
    'up{a="b"}',
    '{app="x"} | json | |',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_query_touches_no_metric_and_says_so(text: str) -> None:
    answer = ask(text)
    assert isinstance(answer, NotUnderstood)
    assert answer.touches == (NO_METRIC,)
    assert answer.reason


@given(st.text())
def test_no_name_matches_the_pattern_of_no_metric(name: str) -> None:
    assert not re2.fullmatch(NO_METRIC, name)
    assert not re.search(NO_METRIC, name)


@pytest.mark.parametrize(("depth", "understood"), [(MAX_DEPTH - 2, True), (MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_deep_nesting_is_refused_and_not_met(depth: int, understood: bool) -> None:
    """The selector's braces are one level more."""
    assert isinstance(ask("(" * depth + '{app="x"}' + ")" * depth), tuple) is understood


@pytest.mark.parametrize("filters", [1, MAX_DEPTH - 1])
def test_nested_filters_are_read(filters: int) -> None:
    (use,) = uses('{app="x"} | ' + "(" * filters + 'a="b"' + ")" * filters)
    assert use.mentioned == {"app", "a"}


LONG = [
    '{app="x"}' + ' |= "y"' * 4_600,
    '{app="x"}' + ' | a="b"' * 4_000,
    '{app="x"} | a>1' + " and b>2" * 4_000,
    "{" + 'a="b",' * 5_400 + "}",
    "sum(rate({a=`b`}[5m]))" + " + sum(rate({a=`b`}[5m]))" * 1_300,
    "sum by (" + "a," * 16_000 + ") (rate({}[5m]))",
    "-" * MAX_CHARS,
    "a" * MAX_CHARS,
    "${" * (MAX_CHARS // 2),
    "[" * MAX_CHARS,
    "[[a" * (MAX_CHARS // 3),
    '"' + "\\" * (MAX_CHARS - 1),
    '{a="b"} | line_format "' + "{{.a}}" * 5_000 + '"',
    '{a="b"} | line_format "' + "{{" * 16_000 + '"',
    "#" * MAX_CHARS,
    "{" + " " * 32_000 + "}",
]


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_the_longest_texts_are_answered_within_a_second(text: str) -> None:
    ask("{}")
    start = time.process_time()
    ask(text[:MAX_CHARS])
    assert time.process_time() - start < 1


PIECES = [
    "{", "}", 'app="x"', "(", ")", "[5m]", "|", "|=", '"y"', "!=", "=", " and ", " or ", ",", "sum", " by ", "rate", "json", "unwrap ", "line_format ", "`{{.a}}`",
    "$v", "${x}", "[[y]]", "5m", ">", "-", " offset ", "drop ", "keep ", "label_format ", "#", "\n", '"', "on", " ignoring(", "group_left", "ip(", "label_values", "--f",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60))
@example("label_values()")
@example('label_replace({a="b"})')
@example("sum by () ({})")
def test_no_text_raises(text: str) -> None:
    assert isinstance(ask(text), tuple | NotUnderstood)


GOOD = [text for text, *_ in (*LINES, *FINITE)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_a_stage_added_to_a_query_hides_no_attribute(text: str, data: st.DataObject) -> None:
    stage = data.draw(
        st.sampled_from(
            ['| zz="1" ', "| json ", '|= "zz" ', "| line_format `{{.zz}}` ", "| drop zz ", "| unknown_stage zz ", "| keep zz ", '"']
        )
    )
    at = data.draw(st.sampled_from([m.end() for m in re.finditer(r"\}(?![}\"`])", text)] or [0]))
    before = {name for use in uses(text) for name in use.mentioned}
    answer = ask(f"{text[:at]} {stage}{text[at:]}")
    assert isinstance(answer, NotUnderstood) or before <= {name for use in answer for name in use.mentioned}
