"""Datadog: what metric queries, searches and documents read, and that nothing broken hides a name."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analyzer.references.datadog import READERS, read_datadog
from analyzer.references.datadog_names import OTLP_ATTRIBUTES
from analyzer.references.grammars import MAX_CHARS, MAX_DEPTH
from analyzer.references.queries import Found, Query, Unread
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, NotUnderstood, Use

VARIABLES = {"env": ("env:*",), "scope": (), "host": ("host:*",)}


def ask(text: str) -> tuple[Use, ...] | NotUnderstood:
    return read_datadog(Query("datadog", "panel", "w", text, variables=VARIABLES))


def uses(text: str) -> tuple[Use, ...]:
    answer = ask(text)
    assert not isinstance(answer, NotUnderstood), answer.reason
    return answer


def names(text: str) -> set[str]:
    return {u.name for u in uses(text)}


def tags(use: Use) -> set[str] | None:
    """The tags of a finite demand, without the OTLP attributes behind them; None: every label."""
    made_of = {a for tag in use.demand.names for a in OTLP_ATTRIBUTES.get(tag, ())}
    return None if use.demand.all_except else set(use.demand.names - made_of)


FINITE = [
    ("sum:a.b{*}", set(), "sum", ["alive"]),
    ("sum:a.b{*}.as_count()", set(), "sum", ["counter"]),
    ("sum:a.b{k:v} by {x,y}.as_rate()", {"k", "x", "y"}, "sum", ["counter"]),
    ("sum:a.b{*} by {x}.rollup(sum, 60)", {"x"}, "sum", []),
    ("sum:a.b{*}.as_count().rollup('sum', 3600)", set(), "sum", ["counter"]),
    ("max:a.b{*} by {x}.rollup(max)", {"x"}, "max", []),
    ("min:a.b{k:v}.rollup(min, 300)", {"k"}, "min", []),
    ("max:a.b{*} by {x}", {"x"}, "max", ["functional"]),
    ("min:a.b{*}", set(), "min", ["functional"]),
    ("sum:a.b{!k:v}", {"k"}, "sum", ["alive"]),
    ("sum:a.b{-k:v,l:w}", {"k", "l"}, "sum", ["alive"]),
    ("sum:a.b{k:v AND NOT l:w}", {"k", "l"}, "sum", ["alive"]),
    ("sum:a.b{k IN (v, w) OR l NOT IN (u)}", {"k", "l"}, "sum", ["alive"]),
    ("sum:a.b{k:v and (l:w or not m:u)}", {"k", "l", "m"}, "sum", ["alive"]),
    ("sum:a.b{service_x:(v OR w)}", {"service_x"}, "sum", ["alive"]),
    ("sum:a.b{url:https://x.y/z*}", {"url"}, "sum", ["alive"]),
    ("sum:a.b{pod_name:web-*, availability-zone:us-east-1a}", {"pod_name", "availability-zone"}, "sum", ["alive"]),
    ("sum:a.b{k:v,,l:w,}", {"k", "l"}, "sum", ["alive"]),
    ("sum:a.b{bare}", {"bare"}, "sum", ["alive"]),
    ("sum:a.b{$env}", {"env"}, "sum", ["alive"]),
    ("sum:a.b{${env}, k:$host.value}", {"env", "k"}, "sum", ["alive"]),
    ("sum:a.b{k:{{host.name}}}", {"k"}, "sum", ["alive"]),
    ("sum:a.b{k:${var.region}}", {"k"}, "sum", ["alive"]),
    ("sum:a.b{*} by {$env.key}", {"env"}, "sum", ["alive"]),
    ("default_zero(sum:a.b{*} by {x})", {"x"}, "sum", ["alive"]),
    ("top(abs(sum:a.b{*} by {x}), 10, 'mean', 'desc')", {"x"}, "sum", ["alive"]),
    ("100 * per_second(sum:a.b{*}) - -1", set(), "sum", ["alive"]),
    ("avg(last_15m):sum:a.b{k:v} by {x} > 0.9", {"k", "x"}, "sum", ["alive"]),
    ("avg(last_15m):sum:a.b{*} by {x} > 0.9 by {y}", {"x", "y"}, "sum", ["alive"]),
    ("change(avg(last_5m),last_1h):sum:a.b{*} >= 1e3", set(), "sum", ["alive"]),
    (
        "avg(last_4h):anomalies(sum:a.b{*}, 'basic', 2, direction='both', interval=60, count_default_zero='true') >= 1",
        set(),
        "sum",
        ["alive"],
    ),
    ("forecast(sum:a.b{*} by {x}, 'linear', 1, history='1w')", {"x"}, "sum", ["alive"]),
    ("max(sum:a.b{*} by {x,y}) by {x}", {"x", "y"}, "sum", ["alive"]),
    ("timeshift(sum:a.b{*}.fill(zero), -3600)", set(), "sum", ["alive"]),
]


@pytest.mark.parametrize(("text", "expected", "operator", "conditions"), FINITE)
def test_a_merging_aggregator_needs_the_tags_that_the_query_names(
    text: str, expected: set[str], operator: str, conditions: list[str]
) -> None:
    (use,) = uses(text)
    assert use.name == "a.b"
    assert tags(use) == expected
    assert (use.operator, [c.kind for c in use.conditions]) == (operator, conditions)
    assert use.mentioned == expected
    assert set(use.why) == set(use.demand.names)


EVERYTHING = [
    ("avg:a.b{*} by {x}", "avg sees"),
    ("a.b{k:v}", "avg sees"),
    ("count:a.b{*}", "count sees"),
    ("p99.9:a.b{*} by {x}", "p99.9 sees"),
    ("count(v: v<=1):a.b{*}", "count sees"),
    ("sum:a.b{*}.rollup(max, 60)", "sum of max over time sees"),
    ("max:a.b{*}.rollup(sum)", "max of sum over time sees"),
    ("max:a.b{*}.as_count()", "max of as_count over time sees"),
    ("sum:a.b{*}.rollup(sum, 60).rollup(max, 60)", "sum of sum and max over time sees"),
    ("sum:a.b{*}.weighted()", "weighted()"),
    ("sum:a.b{$scope}", "$scope"),
    ("sum:a.b{$unknown.value}", "$unknown"),
    ("sum:a.b{*} by {$scope}", "$scope"),
    ("sum:a.b{pre_$env:v}", "pre_$env:v"),
    ("sum:a.b{*:v}", "*:v"),
]


@pytest.mark.parametrize(("text", "reason"), EVERYTHING)
def test_what_sees_how_series_are_cut_needs_every_label(text: str, reason: str) -> None:
    (use,) = uses(text)
    assert use.name == "a.b"
    assert (use.demand, use.operator) == (EVERY_LABEL, "none")
    assert reason in use.why["*"]


NAMES = [
    ("sum:a.b{*} / sum:c.d{*} by {x}", {"a.b", "c.d"}),
    ("(sum:a.b{*} + c.d{*}) * 100 / (e.f{*} - 1)", {"a.b", "c.d", "e.f"}),
    ("avg:a.b{*}, avg:c.d{*} by {x}", {"a.b", "c.d"}),
    ("avg:Größe.b{*}", {"Größe.b"}),
    ("avg : a.b {*} by {x}", {"a.b"}),
    ("avg:a.b", {"a.b"}),
    ("a.b", {"a.b"}),
    ("anomalies(a.b{*}, basic, 2)", {"a.b"}),
    ("per_second(a.b{*}) > other.metric", {"a.b", "other.metric"}),
    ("top(a.b{*}, $n, 'mean', 'desc')", {"a.b"}),
    ("123 && !(456 || 7)", set[str]()),
    ("min(last_1d):sum:a.b{*} - week_before(sum:a.b{*}) > 3", {"a.b"}),
    ("avg(current_1mo):a.b{*} > 1", {"a.b"}),
    ("max(next_2w):forecast(sum:a.b{*}.as_count().rollup(sum, 86400), 'linear', 2, model='reactive', interval='60m') >= 1", {"a.b"}),
    ("avg(last_10m):100 - avg:a.b{*} by {host} > 90", {"a.b"}),
    ("sum:a.b{env:p, service:{{ .observed.composite.spec.name }}}.as_count()", {"a.b"}),
    ("max(last_5m):avg:a.b{role:<%= role %>,status:up} by {host} > 0", {"a.b"}),
    ("avg(last_5m):avg:a.b{host:${config.deployment.name}.machine} by {host} > 0.99", {"a.b"}),
    ("avg:otel.system.cpu.time{*}", {"otel.system.cpu.time"}),
    ("avg:kafka.consumer_lag{*}", {"kafka.consumer_lag", "kafka.consumer_group.lag"}),
    (
        "avg:container.io.read{*}",
        {"container.io.read", "container.blockio.io_service_bytes_recursive", "container.blockio.io_service_bytes_recursive.read"},
    ),
    ("avg:system.load.1{*}", {"system.load.1", "system.cpu.load_average.1m"}),
]


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_every_metric_of_a_query_is_named(text: str, expected: set[str]) -> None:
    assert names(text) == expected


def test_what_datadog_computes_needs_every_label_of_what_it_is_made_of_also_where_a_variable_is_in_the_name() -> None:
    for text in ("sum:system.mem.usable{*}", "sum:system.mem.$what{*}"):
        (made,) = [u for u in uses(text) if not u.pattern and u.name == "system.memory.usage"]
        assert (made.demand, made.operator) == (EVERY_LABEL, "none")
    assert [u.name for u in uses("sum:shop.$what{*}")] == ["shop\\..*"]


def test_a_variable_in_a_name_makes_a_pattern_of_it() -> None:
    (use,) = uses("sum:$team.requests{*}")
    assert (use.name, use.pattern, use.demand) == (r".*\.requests", True, EVERY_LABEL)
    assert re.fullmatch(use.name, "checkout.requests")


def test_who_needs_a_tag_needs_the_attribute_that_it_is_made_of() -> None:
    (use,) = uses("sum:a.b{env:prod} by {service}")
    assert use.mentioned == {"env", "service"}
    assert use.demand.names >= {"service.name", "deployment.environment", "deployment.environment.name"}
    assert use.why["service.name"] == "group by: tag service"


BROKEN = [
    ("sum:a.b{", ["a.b"], ["c.d"]),
    ("sum:a.b{k:v} by {x", ["a.b"], ["c.d"]),
    ("sum:a.b{*} // avg:c.d{*}", ["a.b", "c.d"], ["e.f"]),
    ("sum:a.b{$scope}}", ["a.b"], ["c.d"]),
    ("sum:pre.${x}.post{", ["pre.any.post"], ["other.name"]),
]


@pytest.mark.parametrize(("text", "touched", "untouched"), BROKEN)
def test_a_broken_query_protects_the_names_in_it(text: str, touched: list[str], untouched: list[str]) -> None:
    answer = ask(text)
    assert isinstance(answer, NotUnderstood)
    patterns = [re2.compile(p) for p in answer.touches]
    assert patterns
    assert all(any(p.fullmatch(name) for p in patterns) for name in touched)
    assert not any(p.fullmatch(name) for p in patterns for name in untouched)


@pytest.mark.parametrize("text", ["$query", "${a} / ${b}", "", "   ", "{*}", "sum:{*} $x ]"])
def test_a_query_without_a_name_may_read_any(text: str) -> None:
    assert isinstance(answer := ask(text), NotUnderstood)
    assert answer.touches == () or not text.startswith("$")


def test_log_searches_read_what_they_filter_group_and_measure_by() -> None:
    text = 'logs("service:web -@http.status_code:[400 TO 499] \\"a:b c\\" NOT env:(x OR y)").index("*").rollup("cardinality", "@usr.id").by("@http.method,team").last("5m") > 10'
    (use,) = uses(text)
    assert (use.name, use.signal) == ("", Signal.LOGS)
    assert use.mentioned == {"service", "http.status_code", "env", "usr.id", "http.method", "team"}
    assert not use.demand.all_except
    assert use.demand.names >= use.mentioned | {"service.name"}


def test_a_list_of_logs_shows_them_whole() -> None:
    (use,) = uses('logs("status:error $env")')
    assert (use.mentioned, use.demand, use.signal) == ({"status", "env"}, EVERY_LABEL, Signal.LOGS)


def test_a_search_with_an_unknown_variable_may_read_any_attribute() -> None:
    (use,) = uses('logs("$scope").rollup("count").by("host")')
    assert use.demand == EVERY_LABEL


def test_searches_of_spans_read_traces() -> None:
    (use,) = uses('trace-analytics("env:prod operation_name:web.request").rollup("count").last("5m") > 1')
    assert (use.signal, use.mentioned) == (Signal.TRACES, {"env", "operation_name"})


@pytest.mark.parametrize(
    "text",
    [
        '"datadog.agent.up".over("*").by("host").last(2).count_by_status()',
        'formula("query1 / query2").last("15m") > 0.8',
        'burn_rate("abc").over("30d").long_window("1h").short_window("5m") > 14.4',
        "events('priority:all \"restart\"').rollup('count').last('5m') > 1",
        'rum("@type:error").rollup("count").last("5m") > 1',
    ],
)
def test_searches_in_other_products_read_nothing_of_otlp(text: str) -> None:
    assert uses(text) == ()


def test_a_broken_search_protects_what_is_in_it() -> None:
    answer = ask('logs("a:b" sum:c.d{*}')
    assert isinstance(answer, NotUnderstood)
    assert r"c\.d" in answer.touches


@pytest.mark.parametrize(("depth", "understood"), [(MAX_DEPTH - 2, True), (MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_deep_nesting_is_refused_and_not_met(depth: int, understood: bool) -> None:
    """The scope's braces are one level more."""
    answer = ask("(" * depth + "sum:a.b{*}" + ")" * depth)
    assert isinstance(answer, tuple) is understood
    if isinstance(answer, NotUnderstood):
        assert "nested deeper" in answer.reason
        assert r"a\.b" in answer.touches


LONG = [
    "sum:a.b{*}" + " + sum:a.b{*}" * 2_500,
    "sum:a.b{" + ",".join(["k:v"] * 8_000) + "}",
    "sum:a.b{*} by {" + "k," * 16_000 + "}",
    "a" * MAX_CHARS,
    "a." * (MAX_CHARS // 2),
    " " * (MAX_CHARS - 10) + "sum:a.b{*}",
    '"' * MAX_CHARS,
    "'" + "\\" * (MAX_CHARS - 1),
    "a(" * 100 + "x" * 32_000,
    "-" * MAX_CHARS,
    "${" * (MAX_CHARS // 2),
    "avg(last_5m" * 2_900,
    "{{" * 90 + "a " * 16_000,
    'logs("' + "a:b " * 8_000 + '").rollup("count")',
]


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_the_longest_texts_are_answered_within_a_second(text: str) -> None:
    ask("sum:a.b{*}")
    start = time.process_time()
    ask(text[:MAX_CHARS])
    assert time.process_time() - start < 1


def test_a_longer_text_is_refused() -> None:
    assert isinstance(ask("sum:a.b{*}".rjust(MAX_CHARS)), tuple)
    assert isinstance(answer := ask("sum:a.b{*}".rjust(MAX_CHARS + 1)), NotUnderstood)
    assert "longer" in answer.reason


PIECES = [
    "sum:", "avg:", "a.b", "c.d", "{", "}", "*", "(", ")", ",", " by ", "k:v", "!", "-", "$env", "${x}", "[[y]]", "+", "/", "> 5", "'t'", '"', "top(",
    ".rollup(", "sum", "avg(last_5m):", " AND ", " IN ", "logs(", "\\", "{{", "}}", "1e5", ";", "\n", "count(v: v<1):",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60))
@example('logs("')
@example("sum:a.b{*}.rollup()")
def test_no_text_raises(text: str) -> None:
    assert isinstance(ask(text), tuple | NotUnderstood)


GOOD = [text for text, *_ in (*FINITE, *EVERYTHING, *NAMES)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_a_change_outside_the_names_loses_none_unless_it_is_said(text: str, data: st.DataObject) -> None:
    """What a cut or an added character leaves whole is still named, or protected."""
    before = names(text)
    at = data.draw(st.integers(0, len(text)))
    changed = data.draw(st.sampled_from([text[:at] + text[at + 1 :], text[:at] + data.draw(st.sampled_from(PIECES)) + text[at:]]))
    kept = {
        name for name in before if re.search(rf"(?<![\w.:$}}]){re.escape(name)}(?=\s*\{{)", re.sub(r"\b\w+(?:\([^)]*\))?:", " ", changed))
    }
    answer = ask(changed)
    if isinstance(answer, NotUnderstood):
        assert answer.touches == () or all(any(re2.fullmatch(p, name) for p in answer.touches) for name in kept)
    else:
        assert all(any(u.name == name or (u.pattern and re2.fullmatch(u.name, name)) for u in answer) for name in kept)


# --- documents -------------------------------------------------------------------------------------------------------------------------


def read(document: Any) -> Found | None:
    return next((found for reader in READERS if (found := reader(document)) is not None), None)


def queries(document: Any) -> list[Query]:
    found = read(document)
    assert found is not None
    return [item for item in found.items if isinstance(item, Query)]


def texts(document: Any) -> list[str]:
    return [q.text for q in queries(document)]


def read_by(document: Any) -> set[str]:
    return {use.name for q in queries(document) for use in known(q)}


def known(query: Query) -> tuple[Use, ...]:
    answer = read_datadog(query)
    assert not isinstance(answer, NotUnderstood), (query, answer)
    return answer


def widget(**definition: Any) -> dict[str, Any]:
    return {"definition": {"type": "timeseries", "title": "T", **definition}}


def board(*widgets: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "abc-123", "title": "Shop", "layout_type": "ordered", "widgets": list(widgets), **fields}


def metric(text: str, **fields: Any) -> dict[str, Any]:
    return {"data_source": "metrics", "name": "query1", "query": text, **fields}


WIDGETS = [
    ("older request", widget(requests=[{"q": "sum:a.b{*}"}]), {"a.b"}),
    (
        "formulas",
        widget(requests=[{"formulas": [{"formula": "query1 * 2"}], "queries": [metric("sum:a.b{*}"), metric("sum:c.d{*}")]}]),
        {"a.b", "c.d"},
    ),
    (
        "hostmap",
        widget(type="hostmap", requests={"fill": {"q": "avg:a.b{*} by {host}"}, "size": {"q": "avg:c.d{*} by {host}"}}),
        {"a.b", "c.d"},
    ),
    (
        "scatterplot",
        widget(type="scatterplot", requests={"x": {"q": "avg:a.b{*}"}, "table": {"queries": [metric("avg:c.d{*}")]}}),
        {"a.b", "c.d"},
    ),
    ("group", widget(type="group", widgets=[widget(requests=[{"q": "sum:a.b{*}"}])]), {"a.b"}),
    ("powerpack", widget(type="powerpack", powerpack_id="x"), set[str]()),
    ("no data source", widget(requests=[{"queries": [{"query": "sum:a.b{*}"}]}]), {"a.b"}),
    ("unknown data source", widget(requests=[{"queries": [{"data_source": "metrics_v9", "query": "sum:a.b{*}"}]}]), {"a.b"}),
    (
        "cloud cost",
        widget(requests=[{"queries": [{"data_source": "cloud_cost", "query": "sum:aws.cost.amortized{*} by {x}"}]}]),
        {"aws.cost.amortized"},
    ),
    ("query outside requests", widget(type="new_kind", thing={"query": "avg:a.b{*}"}), {"a.b"}),
    ("screenboard", {"tile_def": {"viz": "timeseries", "requests": [{"q": "sum:a.b{*}"}]}}, {"a.b"}),
    ("overlay of events", widget(requests=[{"q": "sum:a.b{*}"}], events=[{"q": "sources:deploy {x}"}]), {"a.b"}),
    ("manage status", widget(type="manage_status", query="tag:team"), set[str]()),
    ("note", widget(type="note", content="avg:not.read{*}"), set[str]()),
    (
        "rum",
        widget(requests=[{"queries": [{"data_source": "rum", "search": {"query": "@type:error"}, "compute": {"aggregation": "count"}}]}]),
        set[str](),
    ),
    (
        "process",
        widget(requests=[{"queries": [{"data_source": "process", "metric": "process.stat.cpu.total_pct", "name": "q"}]}]),
        set[str](),
    ),
]


@pytest.mark.parametrize(("value", "expected"), [pytest.param(w, e, id=i) for i, w, e in WIDGETS])
def test_every_kind_of_widget_is_read(value: Any, expected: set[str]) -> None:
    assert read_by(board(value, widget())) == expected


def test_a_dashboard_says_who_it_is() -> None:
    found = read(board(widget(requests=[{"q": "sum:a.b{*}"}]), tags=["team:shop", "x"]))
    assert found is not None
    assert (found.kind, found.id, found.title, found.owner) == ("datadog_dashboard", "abc-123", "Shop", "shop")
    assert isinstance(item := found.items[0], Query)
    assert (item.role, item.where) == ("panel", "widgets/0/definition/requests/0 'T'")


def test_a_timeboard_is_a_dashboard() -> None:
    assert texts({"title": "x", "graphs": [{"title": "g", "definition": {"viz": "timeseries", "requests": [{"q": "sum:a.b{*}"}]}}]}) == [
        "sum:a.b{*}"
    ]


def test_a_powerpack_is_a_dashboard() -> None:
    group = widget(type="group", widgets=[widget(requests=[{"q": "sum:a.b{$env}"}])])
    pack = {"type": "powerpack", "id": "p", "attributes": {"name": "P", "group_widget": group, "template_variables": [{"name": "env"}]}}
    (query,) = queries(pack)
    assert (known(query)[0].name, known(query)[0].demand) == ("a.b", EVERY_LABEL)


TEMPLATED = [
    ([{"name": "env", "prefix": "env", "default": "*"}], {"env"}),
    ([{"name": "env", "prefix": "stage", "available_values": ["prod"], "defaults": ["prod"]}], {"stage"}),
    ([{"name": "env", "prefix": None, "default": "*"}], None),
    ([{"name": "env", "prefix": "env", "type": "group"}], None),
    ([{"name": "other", "prefix": "env"}], None),
    ("broken", None),
]


@pytest.mark.parametrize(("variables", "expected"), TEMPLATED)
def test_a_template_variable_filters_by_its_prefix(variables: Any, expected: set[str] | None) -> None:
    (query,) = queries(board(widget(requests=[{"q": "sum:a.b{$env}"}]), template_variables=variables))
    assert tags(known(query)[0]) == expected


def test_a_split_graph_groups_by_its_dimension() -> None:
    split = widget(
        type="split_group",
        source_widget_definition=widget(requests=[{"queries": [metric("sum:a.b{*}")]}])["definition"],
        split_config={"split_dimensions": [{"one_graph_per": "zone_x"}], "limit": 24},
    )
    split_query, plain = queries(board(split, widget(requests=[{"q": "sum:c.d{*}"}])))
    assert (split_query.text, tags(known(split_query)[0])) == ("sum:a.b{*}", {"zone_x"})
    assert tags(known(plain)[0]) == set()


def test_a_query_that_is_combined_with_equivalent_metrics_may_read_any() -> None:
    found = read(board(widget(requests=[{"queries": [metric("sum:a.b{*}", semantic_mode="combined")]}])))
    assert found is not None
    query, spot = found.items
    assert isinstance(query, Query)
    assert isinstance(spot, Unread)
    assert (spot.touches, spot.narrowing) == ((), False)


SEARCHES = [
    (
        {"queries": [{"data_source": "logs", "search": {"query": "service:web @a.b:1"}, "compute": {"aggregation": "avg", "metric": "@dur"}, "group_by": [{"facet": "@m"}]}]},
        Signal.LOGS,
        {"service", "a.b", "dur", "m"},
        False,
    ),
    ({"log_query": {"index": "*", "search": {"query": "x:y"}, "compute": {"aggregation": "count"}, "groupBy": [{"facet": "h"}]}}, Signal.LOGS, {"x", "h"}, False),
    ({"query": {"data_source": "logs_stream", "query_string": "x:y"}}, Signal.LOGS, {"x"}, True),
    ({"apm_query": {"index": "*", "search": {"query": "x:y"}, "multi_compute": [{"aggregation": "pc99", "facet": "@duration"}]}}, Signal.TRACES, {"x", "duration"}, False),
    ({"queries": [{"data_source": "spans", "search": {"query": "x:y"}, "compute": {"aggregation": "count"}}]}, Signal.TRACES, {"x"}, False),
    ({"queries": [{"data_source": "apm_resource_stats", "service": "web", "env": "prod", "stat": "hits"}]}, Signal.TRACES, {"env", "service", "operation_name", "resource_name"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "signal", "expected", "whole"), SEARCHES)
def test_searches_in_logs_and_spans_name_their_attributes(request_: Any, signal: Signal, expected: set[str], whole: bool) -> None:
    (query,) = queries(board(widget(requests=[request_])))
    (use,) = known(query)
    assert (use.signal, use.mentioned, use.demand.all_except) == (signal, expected, whole)


def test_a_log_stream_widget_reads_logs() -> None:
    (query,) = queries(board(widget(type="log_stream", query='service:a "x\\y"', indexes=["main"])))
    assert (known(query)[0].signal, known(query)[0].mentioned) == (Signal.LOGS, {"service"})


MONITOR = {
    "id": 7,
    "name": "CPU",
    "type": "query alert",
    "query": "avg(last_5m):sum:a.b{*} by {x} > 1",
    "message": "{{x.name}} {{#is_alert}}@me{{/is_alert}}",
}


def test_a_monitor_reads_its_query_and_prints_tags() -> None:
    found = read(MONITOR)
    assert found is not None
    assert (found.kind, found.id, found.title) == ("datadog_monitors", "7", "CPU")
    (query,) = queries(MONITOR)
    assert (query.role, query.mentioned, known(query)[0].name) == ("alert", {"x"}, "a.b")


MONITORS = [
    ({**MONITOR, "type": "metric alert"}, {"a.b"}),
    ({k: v for k, v in MONITOR.items() if k != "type"}, {"a.b"}),
    ({"monitors": [MONITOR, {**MONITOR, "query": "avg(last_5m):c.d{*} > 1"}, {"broken": 1}]}, {"a.b", "c.d"}),
    ({**MONITOR, "type": "composite", "query": "12 && 13"}, set[str]()),
    ({**MONITOR, "type": "service check", "query": '"x".over("*").last(2).count_by_status()'}, set[str]()),
    ({**MONITOR, "type": "log alert", "query": 'logs("service:a").index("*").rollup("count").last("5m") > 1'}, {""}),
    (
        {**MONITOR, "query": 'formula("q").last("5m") > 1', "options": {"variables": [metric("sum:a.b{*}"), metric("sum:c.d{*}")]}},
        {"a.b", "c.d"},
    ),
]


@pytest.mark.parametrize(("document", "expected"), MONITORS)
def test_monitors_of_every_type_are_read(document: Any, expected: set[str]) -> None:
    assert read_by(document) == expected


SLOS = [
    ({"type": "metric", "query": {"numerator": "sum:a.b{ok:yes}.as_count()", "denominator": "sum:c.d{*}.as_count()"}}, {"a.b", "c.d"}),
    ({"type": "monitor", "monitor_ids": [1, 2]}, set[str]()),
    (
        {
            "type": "time_slice",
            "sli_specification": {"time_slice": {"query": {"formulas": [{"formula": "q"}], "queries": [metric("sum:a.b{*}")]}}},
        },
        {"a.b"},
    ),
]


@pytest.mark.parametrize(("document", "expected"), SLOS)
def test_slos_of_every_type_are_read(document: Any, expected: set[str]) -> None:
    whole = {"id": "s", "name": "S", "thresholds": [{"target": 99, "timeframe": "7d"}], **document}
    found = read(whole)
    assert found is not None
    assert (found.kind, found.title) == ("datadog_slo", "S")
    assert read_by(whole) == expected
    assert all(q.role == "slo" for q in queries(whole))


def test_a_notebook_is_read_with_its_id() -> None:
    cell = {"type": "notebook_cells", "attributes": {"definition": widget(requests=[{"q": "sum:a.b{*}"}])["definition"]}}
    note = {"type": "notebook_cells", "attributes": {"definition": {"type": "markdown", "text": "## x"}}}
    found = read({"id": 9, "type": "notebooks", "attributes": {"name": "N", "cells": [note, cell]}})
    assert found is not None
    assert (found.kind, found.id, found.title, len(found.items)) == ("datadog_notebook", "9", "N", 1)


NOT_OURS = [
    {},
    {"dashboards": [board(widget())]},
    {"widgets": []},
    {"widgets": [{"type": "metric", "properties": {"metrics": [["AWS/EC2", "x"]]}}]},
    {"rows": [], "widgets": [{"definition": {"lineChart": {"query": "x"}}}]},
    {"panels": [{"targets": [{"expr": "up"}]}]},
    {"groups": [{"rules": [{"alert": "x", "expr": "up"}]}]},
    {"cells": [{"cell_type": "code", "source": []}]},
    {"type": "prometheus", "query": "up"},
    {"query": {"numerator": "a", "denominator": "b"}},
    {"type": "query alert", "query": {"a": 1}},
]


@pytest.mark.parametrize("document", NOT_OURS)
def test_other_documents_are_left_to_others(document: Any) -> None:
    assert read(document) is None


def test_a_query_under_a_key_of_other_tools_is_said_to_be_overlooked() -> None:
    found = read(board(widget(requests=[{"q": "sum:a.b{*}"}], extra={"expr": "sum(rate(c_d[5m]))"})))
    assert found is not None
    (spot,) = [item for item in found.items if isinstance(item, Unread)]
    assert "c_d" in spot.touches


def test_a_document_deeper_than_anybody_writes_is_said_to_be_unread() -> None:
    deep: Any = {"q": "sum:a.b{*}"}
    for _ in range(5_000):
        deep = {"definition": deep}
    found = read(board(widget(), deep))
    assert found is not None
    (spot,) = found.items
    assert isinstance(spot, Unread)
    assert "nested deeper" in spot.reason


def test_a_dashboard_of_five_megabytes_is_read_within_two_seconds() -> None:
    big = board(
        *(
            widget(requests=[{"q": f"sum:a.b{n}{{*}} by {{{'x' * 40}}}", "style": {"palette": "dog_classic"}} for n in range(10)])
            for _ in range(3_500)
        )
    )
    start = time.process_time()
    found = read(big)
    assert time.process_time() - start < 2
    assert found is not None
    assert len(found.items) == 35_000


KEYS = [
    "widgets",
    "definition",
    "requests",
    "q",
    "query",
    "queries",
    "data_source",
    "type",
    "title",
    "template_variables",
    "name",
    "prefix",
    "monitors",
    "options",
    "variables",
    "cells",
    "attributes",
    "thresholds",
    "sli_specification",
    "search",
    "compute",
    "group_by",
    "split_config",
    "tags",
    "id",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["sum:a.b{*}", "query alert", "logs", "", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["widgets", "graphs", "query", "type", "cells", "attributes", "thresholds", "group_widget", "tags"]),
        JSON,
        max_size=5,
    )
)
def test_no_document_raises(document: dict[str, Any]) -> None:
    for reader in READERS:
        assert reader(document) is None or isinstance(reader(document), Found)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([w for _, w, e in WIDGETS if e]), JSON, st.sampled_from(["title", "requests2", "custom_links", "style", "yaxis", "id"])
)
def test_what_is_added_to_a_widget_hides_no_query_of_it(value: Any, added: Any, key: str) -> None:
    before = set(texts(board(value)))
    inner = "definition" if "definition" in value else "tile_def"
    after = set(texts(board({**value, inner: {**value[inner], key: added}})))
    assert before <= after
