"""TraceQL: which attributes of spans a query reads, and when others are seen."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analyzer.references.grammars import MAX_CHARS, MAX_DEPTH
from analyzer.references.logql import NO_METRIC
from analyzer.references.queries import Query
from analyzer.references.traceql import read_traceql
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, NotUnderstood, Use, only

VARIABLES = {"g": ("span.a", "resource.b"), "key": ("a", "b"), "free": ()}


def ask(text: str) -> tuple[Use, ...] | NotUnderstood:
    return read_traceql(Query("traceql", "panel", "w", text, variables=VARIABLES))


def use_of(text: str) -> Use:
    answer = ask(text)
    assert not isinstance(answer, NotUnderstood), answer.reason
    (use,) = answer
    return use


SEARCHES = [
    ("{}", set[str]()),
    ("{ }", set[str]()),
    ('{ resource.service.name = "a" && span.http.status_code >= 500 }', {"resource.service.name", "span.http.status_code"}),
    ("{ .error = true || !(.x != nil) }", {".error", ".x"}),
    ('{ span."a b".c =~ "x|y" && span.d-e/f:g !~ `z` }', {"span.a b.c", "span.d-e/f:g"}),
    ("{ event.a = 1 && link.b = 2 && instrumentation.c = 3 && parent.d = 4 && parent.resource.e = 5 }", {"event.a", "link.b", "instrumentation.c", "parent.d", "parent.resource.e"}),
    ("{ status = error && kind = server && name = \"x\" && duration > 1.5s }", {"status", "kind", "name", "duration"}),
    ("{ span:status = ok && trace:rootName != \"x\" && event:timeSinceStart > 2ms && nestedSetParent < 0 }", {"span:status", "trace:rootName", "event:timeSinceStart", "nestedSetParent"}),
    ("{ rootServiceName = \"x\" && traceDuration > 3s && statusMessage != \"\" && parent = nil }", {"rootServiceName", "traceDuration", "statusMessage", "parent"}),
    ("{ .a + .b > -1 * .c }", {".a", ".b", ".c"}),
    ("{ .a } && { .b } || { .c }", {".a", ".b", ".c"}),
    ("{ .a } > { .b } >> { .c } < { .d } << { .e } ~ { .f }", {".a", ".b", ".c", ".d", ".e", ".f"}),
    ("{ .a } !> { .b } !>> { .c } !< { .d } !<< { .e } !~ { .f } &>> { .g } &~ { .h }", {".a", ".b", ".c", ".d", ".e", ".f", ".g", ".h"}),
    ("({ .a } >> { .b }) | count() > 2", {".a", ".b"}),
    ("{ .a } | avg(duration) > 20ms && max(span.b) < 1h", {".a", "duration", "span.b"}),
    ("{ .a } | by(resource.b) | count() > 2 | coalesce()", {".a", "resource.b"}),
    ("{ .a } | select(span.b, .c, event.d, status)", {".a", "span.b", ".c", "event.d", "status"}),
    ("{ .a = $value && span.b =~ \"${other}.*\" }", {".a", "span.b"}),
    ("{ .a = \"x\" } // { .b }\n| count() > 1 /* { .c } */", {".a"}),
    ("{ .a } with (most_recent=true, sample=0.1)", {".a"}),
    ("service.name=foo error=true x=\"y z\" http.url=a=b", {"service.name", "error", "x", "http.url"}),
    ("0123456789abcdef0123456789ABCDEF", set[str]()),
    ("0ae1", set[str]()),
    ("${traceId}", set[str]()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mentioned"), SEARCHES)
def test_a_search_shows_spans_with_every_attribute(text: str, mentioned: set[str]) -> None:
    use = use_of(text)
    assert (use.name, use.signal, use.demand, use.operator) == ("", Signal.TRACES, EVERY_LABEL, "none")
    assert use.mentioned == mentioned


METRICS = [
    ("{} | rate()", set[str]()),
    ("{ .a = 1 } | rate() by (resource.b, span.c)", {".a", "resource.b", "span.c"}),
    ("{ .a = 1 } | rate() by (resource.b) > 10 | topk(5)", {".a", "resource.b"}),
    ("{ .a = 1 } | count_over_time() by (.b) | bottomk($k)", {".a", ".b"}),
    ("{ .a = 1 } | quantile_over_time(duration, .99, 0.9, $q) by (span.b) with (sample=true)", {".a", "duration", "span.b"}),
    ("{ .a = 1 } | histogram_over_time(span.b)", {".a", "span.b"}),
    ("{ .a = 1 } | max_over_time(span.b) | 5 < 6", {".a", "span.b"}),
    ("({ .a = 1 } | rate()) / ({ .b = 2 } | rate())", {".a", ".b"}),
    ("{ .a = 1 } >> { .b = $v } | rate() by ($g)", {".a", ".b", "span.a", "resource.b"}),
    ("{ span.$key = 1 } | rate()", {"span.a", "span.b"}),
    ("{ .a = 1 } | avg_over_time(duration) by (rootServiceName, name)", {".a", "duration", "rootServiceName", "name"}),
]


@pytest.mark.parametrize(("text", "needed"), METRICS)
def test_a_function_of_metrics_needs_what_it_filters_measures_and_groups_by(text: str, needed: set[str]) -> None:
    use = use_of(text)
    assert use.demand == only(*needed)
    assert use.mentioned == needed
    assert set(use.why) == needed


EVERYTHING = [
    ("{ .a } | compare({ status = error }, 10, 1, 2)", "compare"),
    ("{ $filter } | rate()", "$filter"),
    ("{ .a = 1 && ($filter || .b) } | rate()", "$filter"),
    ("{ .a = 1 } | rate() by ($free)", "$free"),
    ("{ .a = 1 } | rate() by (span.$free)", "span.$free"),
    ("{ .a = 1 } | avg_over_time($what)", "$what"),
    ("{ .a = 1 } | new_function() by (.b)", "shown whole"),
]


@pytest.mark.parametrize(("text", "reason"), EVERYTHING)
def test_what_is_known_at_run_time_only_may_be_any_attribute(text: str, reason: str) -> None:
    use = use_of(text)
    assert use.demand == EVERY_LABEL
    assert reason in use.why["*"]


BROKEN = [
    "{ .a = }",
    "{ .a",
    "{ .a = 1 } |",
    "{ .a } } ",
    "rate() by",
    '{ .a = "x }',
    "foo bar",
    "",
    "{ .a = 1 } | rate( by (x)",
    "{a=}",
    "x=1 y",
    "SELECT 1",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_query_touches_no_metric_and_says_so(text: str) -> None:
    answer = ask(text)
    assert isinstance(answer, NotUnderstood)
    assert answer.touches == (NO_METRIC,)
    assert answer.reason


@pytest.mark.parametrize(("depth", "understood"), [(MAX_DEPTH - 2, True), (MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_deep_nesting_is_refused_and_not_met(depth: int, understood: bool) -> None:
    assert isinstance(ask("(" * depth + "{ .a }" + ")" * depth), tuple) is understood
    assert isinstance(ask("{ " + "(" * depth + ".a = 1" + ")" * depth + " }"), tuple) is understood


LONG = [
    "{ .a = 1" + " && .b = 2" * 3_200 + " }",
    "{ .a }" + " >> { .b }" * 3_200,
    "{}" + " | count() > 1" * 2_300,
    "{} | rate() by (" + ".a," * 10_000 + ".b)",
    "-" * MAX_CHARS,
    "." * MAX_CHARS,
    "a=" * (MAX_CHARS // 2),
    "a=b " * (MAX_CHARS // 4),
    "a=b " * (MAX_CHARS // 4 - 1) + "{",
    'a="' * (MAX_CHARS // 3),
    "/*" * (MAX_CHARS // 2),
    "{" + " " * 32_000 + "}",
    "f" * MAX_CHARS,
    '."' * (MAX_CHARS // 2),
    "${" * (MAX_CHARS // 2),
]


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_the_longest_texts_are_answered_within_a_second(text: str) -> None:
    ask("{}")
    start = time.process_time()
    ask(text[:MAX_CHARS])
    assert time.process_time() - start < 1


PIECES = [
    "{", "}", ".a", "span.b", 'resource."c d"', "=", "!=", "=~", '"x"', "5ms", "&&", "||", ">>", "!>>", "~", "|", "rate()", "count()", " by (", "by(", ")", "(",
    "select(", "compare(", " with (", "sample=true", "$v", "${x}", ",", "-", "!", "status", "error", "nil", "//", "/*", '"', "span:name", "\n", "a=b ",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60))
@example("{ .a } | compare({})")
@example("by()")
def test_no_text_raises(text: str) -> None:
    assert isinstance(ask(text), tuple | NotUnderstood)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([text for text, _ in (*SEARCHES[:16], *METRICS)]),
    st.sampled_from([" | count() > 1", " && { .zz }", " | select(.zz)", " >> {}", " | zz", " }", '"']),
)
def test_a_stage_added_to_a_query_hides_no_attribute(text: str, stage: str) -> None:
    answer = ask(text + stage)
    assert isinstance(answer, NotUnderstood) or use_of(text).mentioned <= answer[0].mentioned
