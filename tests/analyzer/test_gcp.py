"""Google Cloud Monitoring: what filters, MQL and documents read, and that nothing broken hides a name."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analyzer.references.gcp import OTLP_ATTRIBUTES, READERS, RESOURCE_TYPES, read_gcp_filter
from analyzer.references.grammars import MAX_CHARS, MAX_DEPTH
from analyzer.references.queries import Found, Query, Unread
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, NotUnderstood, Operator, Use, only

VARIABLES = {"zone": ('resource.labels."zone"="*"',), "other": ()}


def ask(text: str, root: LabelSet = EVERY_LABEL, operator: Operator = "none") -> tuple[Use, ...] | NotUnderstood:
    return read_gcp_filter(Query("gcp_filter", "panel", "w", text, variables=VARIABLES, root=root, operator=operator))


def uses(text: str, root: LabelSet = EVERY_LABEL, operator: Operator = "none") -> tuple[Use, ...]:
    answer = ask(text, root, operator)
    assert not isinstance(answer, NotUnderstood), answer.reason
    return answer


W = "workload.googleapis.com"
NAMES = [
    ('metric.type="compute.googleapis.com/instance/uptime"', {"compute.googleapis.com/instance/uptime"}),
    (f'metric.type = "{W}/http.server.duration"', {f"{W}/http.server.duration", "http.server.duration"}),
    (f"metric.type={W}/http.server.duration", {f"{W}/http.server.duration", "http.server.duration"}),
    (f'metric."type" = "{W}/a.b"', {f"{W}/a.b", "a.b"}),
    ('metric.type="custom.googleapis.com/a/b-c"', {"custom.googleapis.com/a/b-c", "a/b-c"}),
    ('metric.type="custom.googleapis.com/opencensus/a.b"', {"custom.googleapis.com/opencensus/a.b", "opencensus/a.b", "a.b"}),
    ('metric.type="external.googleapis.com/prometheus/a_b"', {"external.googleapis.com/prometheus/a_b", "prometheus/a_b", "a_b"}),
    ('metric.type="prometheus.googleapis.com/a_total/counter"', {"prometheus.googleapis.com/a_total/counter", "a_total"}),
    ('metric.type="prometheus.googleapis.com/a/unknown:counter"', {"prometheus.googleapis.com/a/unknown:counter", "a"}),
    ('metric.type="prometheus.googleapis.com/a/histogram"', {"prometheus.googleapis.com/a/histogram", "a", "a_bucket", "a_sum", "a_count"}),
    ('metric.type="agent.googleapis.com/a/b"', {"agent.googleapis.com/a/b"}),
    (f'metric.type=one_of("{W}/a.b", "kubernetes.io/c")', {f"{W}/a.b", "a.b", "kubernetes.io/c"}),
    ('metric.type="x.y/a" OR metric.type="x.y/b"', {"x.y/a", "x.y/b"}),
    ('metric.type=("x.y/a" OR "x.y/b")', {"x.y/a", "x.y/b"}),
    ('resource.type="gce_instance" AND (metric.type="x.y/a")', {"x.y/a"}),
    ('metric.type="x.y/a" AND NOT metric.type="x.y/b"', {"x.y/a"}),
    ('metric.type="x.y/a" AND metric.type!="x.y/b"', {"x.y/a"}),
    ('metric.type="x.y/a"\n  resource.type="t"', {"x.y/a"}),
    ('select_process_count("has_substring(\\"x\\")") AND resource.type="gce_instance"', set[str]()),
    ("fetch gce_instance::compute.googleapis.com/instance/uptime | align rate(1m)", {"compute.googleapis.com/instance/uptime"}),
    (f"fetch k8s_container\n| metric '{W}/a.b'\n| every 1m", {f"{W}/a.b", "a.b"}),
    ("{ fetch a :: 'b.c/d' | align ; fetch e | metric \"f.g/h\" } | join", {"b.c/d", "f.g/h"}),
    ("fetch a | metric b.c/d | metric 'e.f/g'", {"b.c/d", "e.f/g"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_every_metric_of_a_filter_is_named_also_as_otlp_names_it(text: str, expected: set[str]) -> None:
    assert {u.name for u in uses(text)} == expected
    assert not any(u.pattern for u in uses(text))


PATTERNS = [
    (f'metric.type=starts_with("{W}/http.")', ["workload.googleapis.com/http.x", "http.x"], ["x.http.y"]),
    ('metric.type=starts_with("work")', ["workload.googleapis.com/a", "anything"], []),
    ('metric.type=starts_with("compute.googleapis.com/")', ["compute.googleapis.com/a"], ["a"]),
    ('metric.type=ends_with("/uptime")', ["a/uptime"], ["a/uptime2"]),
    ('metric.type=has_substring("duration")', ["http.duration.x"], ["http"]),
    ('metric.type:"duration"', ["http.duration.x"], ["http"]),
    (f'metric.type=monitoring.regex.full_match("{W}/(a|b).c")', ["workload.googleapis.com/a.c", "a.c", "b.c"], ["d.c"]),
    ('metric.type=monitoring.regex.full_match("workload\\\\.googleapis\\\\.com/a.*")', ["workload.googleapis.com/ab", "ab"], ["b"]),
    ('metric.type=monitoring.regex.full_match("(workload|custom).*/x")', ["custom.googleapis.com/x", "x"], []),
    ('metric.type=monitoring.regex.full_match("compute.googleapis.com/.*")', ["compute.googleapis.com/a"], ["a"]),
    ('metric.type=~"a.*"', ["a.b", "anything"], []),
    (f'metric.type="{W}/${{svc}}.requests"', ["workload.googleapis.com/x.requests", "x.requests"], ["x"]),
    ('metric.type=starts_with("prometheus.googleapis.com/foo_")', ["prometheus.googleapis.com/foo_a/gauge", "foo_a"], ["bar"]),
    ('resource.type="gce_instance"', ["anything"], []),
    ('NOT metric.type="x.y/a"', ["anything"], []),
    ("", ["anything"], []),
]


@pytest.mark.parametrize(("text", "read", "unread"), PATTERNS)
def test_a_test_of_parts_of_a_name_is_a_pattern(text: str, read: list[str], unread: list[str]) -> None:
    found = uses(text, NO_LABEL, "sum")
    assert found
    assert all(u.pattern and u.demand == EVERY_LABEL for u in found)
    assert all(any(re2.fullmatch(u.name, name) for u in found) for name in read)
    assert not any(re2.fullmatch(u.name, name) for u in found for name in unread)


LABELS = [
    ('metric.labels.x="1"', {"x"}),
    ('metric.label.x!="1"', {"x"}),
    ('resource.labels."x y"=starts_with("a")', {"x y"}),
    ('resource.label.x-y : "a"', {"x-y"}),
    ('metadata.user_labels.team="a"', {"team"}),
    ('metadata.system_labels.state="a" metric.labels.code >= 500', {"state", "code"}),
    ('NOT metric.labels.x="1" OR (metric.labels.y = one_of("a", "b") AND -resource.labels.z="c")', {"x", "y", "z"}),
    ('project="p"', {"project_id"}),
    ("${zone}", {"zone"}),
    ('$zone AND metric.labels.x=monitoring.regex.full_match("${other}.*")', {"zone", "x"}),
    ('metric.labels.x="${other}"', {"x"}),
]


@pytest.mark.parametrize(("text", "expected"), LABELS)
def test_filters_need_their_labels_and_what_these_are_made_of(text: str, expected: set[str]) -> None:
    (use,) = uses(f'metric.type="x.y/z" AND {text}', only("group"), "sum")
    made_of = {a for label in expected for a in OTLP_ATTRIBUTES.get(label, ())}
    assert use.mentioned == expected | {"group"}
    assert use.demand == only(*expected, *made_of, "group")
    assert use.operator == "sum"
    assert set(use.why) == use.demand.names


UNKNOWN = ["${other}", "$missing", 'group.id="123"', 'metric.labels.${other}="x"']


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_label_known_at_run_time_only_may_be_any(text: str) -> None:
    (use,) = uses(f'metric.type="x.y/z" AND {text}', NO_LABEL, "sum")
    assert (use.name, use.demand, use.operator) == ("x.y/z", EVERY_LABEL, "none")


def test_a_filter_by_the_type_of_resource_needs_what_makes_it_of_this_type() -> None:
    (use,) = uses('metric.type="x.y/z" resource.type="k8s_pod"', NO_LABEL, "sum")
    assert use.demand == only(*RESOURCE_TYPES["k8s_pod"])
    (use,) = uses('metric.type="x.y/z" resource.type=starts_with("k8s")', NO_LABEL, "sum")
    assert use.demand.names > {*RESOURCE_TYPES["k8s_pod"], *RESOURCE_TYPES["gce_instance"]}
    (use,) = uses('metric.type="x.y/z" resource.type="pubsub_topic"', NO_LABEL, "sum")
    assert use.demand == NO_LABEL


@pytest.mark.parametrize(
    ("text", "any_metric"),
    [
        ('resource.type="cloudsql_database" AND resource.labels.database_id="x"', False),
        ('resource.type=one_of("cloud_function2", "https_lb_rule")', False),
        ('resource.type="global"', True),
        ('resource.type="k8s_container"', True),
        ('resource.type="${x}"', True),
        ('resource.type="cloudsql_database" OR metric.labels.x="1"', True),
        ('NOT resource.type="cloudsql_database"', True),
        ('resource.type!="cloudsql_database"', True),
        ('severity="ERROR"', True),
    ],
)
def test_resources_that_hold_googles_own_metrics_alone_have_none_of_otlp(text: str, any_metric: bool) -> None:
    assert [(u.name, u.pattern) for u in uses(text)] == ([(".*", True)] if any_metric else [])


def test_several_metrics_in_one_filter_need_every_label() -> None:
    assert all(u.demand == EVERY_LABEL for u in uses('metric.type=one_of("x.y/a", "x.y/b")', NO_LABEL, "sum"))


def test_a_histogram_of_managed_prometheus_needs_its_buckets() -> None:
    found = uses('metric.type="prometheus.googleapis.com/a/histogram"', NO_LABEL, "sum")
    assert all(u.demand == only("le", "quantile") for u in found)


def test_mql_needs_every_label_and_mentions_columns() -> None:
    (use,) = uses("fetch a::b.c/d | filter metric.code == '5' && resource.zone =~ 'x' | group_by [metadata.user_labels.team], sum(val())")
    assert (use.demand, use.mentioned) == (EVERY_LABEL, {"code", "zone", "team"})


BROKEN = [
    (f'metric.type="{W}/a.b', [f"{W}/a.b", "a.b"], ["c.d"]),
    (f'metric.type="{W}/a/b-c" AND AND )', [f"{W}/a/b-c", "a/b-c"], ["c.d"]),
    ('metric.type="x.y/z" ${zone} ]', ["x.y/z"], ["c.d"]),
    ("fetch a | every 1m", ["a"], ["c.d"]),
    ("{ fetch a::b.c/d ; fetch e } | join", ["b.c/d"], ["x.y"]),
    ("metric.type = ${x} ]", ["anything"], []),
    ('metric.type=starts_with("x.y/', ["x.y/z"], []),
    ('metric.type=monitoring.regex.full_match("(")', ["anything"], []),
    ("fetch a::$metric", ["anything"], []),
    ("fetch a | metric 'b.c/${x}'", ["b.c/d"], []),
]


@pytest.mark.parametrize(("text", "touched", "untouched"), BROKEN)
def test_a_broken_filter_protects_the_names_in_it(text: str, touched: list[str], untouched: list[str]) -> None:
    answer = ask(text)
    assert isinstance(answer, NotUnderstood)
    assert all(not answer.touches or any(re2.fullmatch(p, name) for p in answer.touches) for name in touched)
    assert not any(re2.fullmatch(p, name) for p in answer.touches for name in untouched)
    assert answer.touches or not untouched


@pytest.mark.parametrize(("depth", "understood"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_deep_nesting_is_refused_and_not_met(depth: int, understood: bool) -> None:
    answer = ask("(" * depth + 'metric.type="x.y/z"' + ")" * depth)
    assert isinstance(answer, tuple) is understood


LONG = [
    'metric.type="x.y/z"' + ' AND metric.labels.x="1"' * 1_300,
    'metric.type="x.y/z"' + " a.b=c" * 5_400,
    "NOT " * 8_000,
    "-" * MAX_CHARS,
    'metric.type=one_of("' + '","'.join(["x.y/z"] * 3_600) + '")',
    "a." * (MAX_CHARS // 2),
    " " * (MAX_CHARS - 20) + 'metric.type="x.y/z"',
    '"' * MAX_CHARS,
    "${a}" * (MAX_CHARS // 4),
    "${" * (MAX_CHARS // 2),
    "fetch a::b.c/d ;" * 2_000,
    "fetch a " * 4_000,
    "fetch " + " " * 32_000,
    'metric.type=monitoring.regex.full_match("' + "(a|b)" * 6_000 + '")',
]


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_the_longest_texts_are_answered_within_a_second(text: str) -> None:
    ask('metric.type="x.y/z"')
    start = time.process_time()
    ask(text[:MAX_CHARS])
    assert time.process_time() - start < 1


def test_a_longer_text_is_refused() -> None:
    assert isinstance(ask('metric.type="x.y/z"'.rjust(MAX_CHARS)), tuple)
    assert isinstance(ask('metric.type="x.y/z"'.rjust(MAX_CHARS + 1)), NotUnderstood)
    assert isinstance(ask("fetch a::b.c/d".rjust(MAX_CHARS + 1)), NotUnderstood)


PIECES = [
    "metric.type", "=", "!=", ":", '"x.y/z"', '"workload.googleapis.com/a.b"', "(", ")", " AND ", " OR ", "NOT ", "-", "metric.labels.x", "resource.type",
    '"', "starts_with(", "monitoring.regex.full_match(", "${zone}", "$other", ",", "fetch ", "a::b.c/d", " | ", "metric ", "'", "\\", "group.id", "5", "[",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60))
@example("metric.type=starts_with()")
def test_no_text_raises(text: str) -> None:
    answer = ask(text)
    assert isinstance(answer, tuple | NotUnderstood)
    assert all(not u.pattern or re2.compile(u.name) for u in (answer if isinstance(answer, tuple) else ()))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([text for text, expected in NAMES if expected]), st.data())
def test_a_change_outside_the_names_loses_none_unless_it_is_said(text: str, data: st.DataObject) -> None:
    """A type that is still compared for equality, in quotes, is named or protected."""
    at = data.draw(st.integers(0, len(text)))
    changed = data.draw(st.sampled_from([text[:at] + text[at + 1 :], text[:at] + data.draw(st.sampled_from(PIECES)) + text[at:]]))
    kept = {
        name
        for name in re.findall(r'(?<![\w.!"])metric\.type\s*=\s*"([\w./:-]+)"(?![\w"])', changed)
        if not re.search(r"NOT|-|!|AND NOT", changed)
    }
    answer = ask(changed)
    if isinstance(answer, NotUnderstood):
        assert not answer.touches or all(any(re2.fullmatch(p, name) for p in answer.touches) for name in kept)
    else:
        assert all(any(u.name == name or (u.pattern and re2.fullmatch(u.name, name)) for u in answer) for name in kept)


# --- documents -------------------------------------------------------------------------------------------------------------------------


def read(document: Any) -> Found | None:
    return next((found for reader in READERS if (found := reader(document)) is not None), None)


def queries(document: Any) -> list[Query]:
    found = read(document)
    assert found is not None
    return [item for item in found.items if isinstance(item, Query)]


def spots(document: Any) -> list[Unread]:
    found = read(document)
    assert found is not None
    return [item for item in found.items if isinstance(item, Unread)]


TYPE = 'metric.type="workload.googleapis.com/a.b"'


def filtered(text: str = TYPE, **aggregation: Any) -> dict[str, Any]:
    return {"timeSeriesFilter": {"filter": text, "aggregation": {"alignmentPeriod": "60s", **aggregation}}}


def chart(query: Any, **fields: Any) -> dict[str, Any]:
    return {"title": "CPU", "xyChart": {"dataSets": [{"timeSeriesQuery": query, "plotType": "LINE", **fields}]}}


def mosaic(*widgets: Any, **fields: Any) -> dict[str, Any]:
    tiles = [{"width": 6, "height": 4, "widget": widget} for widget in widgets]
    return {"name": "projects/1/dashboards/2", "displayName": "Shop", "mosaicLayout": {"columns": 12, "tiles": tiles}, **fields}


LAYOUTS = [
    mosaic(chart(filtered())),
    {"gridLayout": {"columns": "2", "widgets": [chart(filtered())]}},
    {"rowLayout": {"rows": [{"widgets": [chart(filtered())]}]}},
    {"columnLayout": {"columns": [{"widgets": [chart(filtered())]}]}},
    {"grid_layout": {"widgets": [{"xy_chart": {"data_sets": [{"time_series_query": {"time_series_filter": {"filter": TYPE}}}]}}]}},
    mosaic({"title": "S", "scorecard": {"timeSeriesQuery": filtered()}}),
    mosaic({"timeSeriesTable": {"dataSets": [{"timeSeriesQuery": filtered()}]}}),
    mosaic({"pieChart": {"dataSets": [{"timeSeriesQuery": filtered()}]}}),
    mosaic({"collapsibleGroup": {"collapsed": True}}, {"sectionHeader": {}}, chart(filtered())),
    mosaic({"somethingNew": {"filter": TYPE}}),
]


@pytest.mark.parametrize("document", LAYOUTS)
def test_every_layout_and_chart_is_read(document: Any) -> None:
    assert [(q.language, q.role, q.text) for q in queries(document)] == [("gcp_filter", "panel", TYPE)]


def test_a_dashboard_says_who_it_is() -> None:
    found = read(mosaic(chart(filtered()), labels={"team": "shop"}))
    assert found is not None
    assert (found.kind, found.id, found.title, found.owner) == ("gcp_dashboard", "projects/1/dashboards/2", "Shop", "shop")
    assert isinstance(item := found.items[0], Query)
    assert item.where == "mosaicLayout/tiles/0/widget/xyChart/dataSets/0/timeSeriesQuery/timeSeriesFilter 'CPU'"


def test_a_ratio_reads_both_sides() -> None:
    ratio = {"timeSeriesFilterRatio": {"numerator": {"filter": 'metric.type="a/b"'}, "denominator": {"filter": 'metric.type="c/d"'}}}
    assert [q.text for q in queries(mosaic(chart(ratio)))] == ['metric.type="a/b"', 'metric.type="c/d"']


def test_promql_goes_to_promql_with_no_variable_known() -> None:
    """`${Cluster}` stands for a whole matcher: that its values are known would mislead."""
    board = mosaic(
        chart({"prometheusQuery": "sum(rate(up{${Cluster}}[5m]))"}),
        dashboardFilters=[{"filterType": "RESOURCE_LABEL", "labelKey": "cluster", "templateVariable": "Cluster", "stringValue": ""}],
    )
    (query,) = queries(board)
    assert (query.language, query.text, dict(query.variables)) == ("promql", "sum(rate(up{${Cluster}}[5m]))", {})


def test_mql_is_asked_of_the_same_language_as_filters() -> None:
    (query,) = queries(mosaic(chart({"timeSeriesQueryLanguage": "fetch a::b.c/d | every 1m"})))
    assert (query.language, [u.name for u in uses(query.text)]) == ("gcp_filter", ["b.c/d"])


def test_sql_over_logs_only_lowers_trust() -> None:
    (spot,) = spots(mosaic(chart({"opsAnalyticsQuery": {"sql": "SELECT query FROM a.b"}})))
    assert spot.narrowing
    assert not any(re2.search(p, name) for p in spot.touches for name in ("a.b", "", "x"))


def test_panels_of_logs_and_texts_read_no_metric() -> None:
    found = read(
        mosaic(
            {"logsPanel": {"filter": "metric x"}}, {"text": {"content": "sum(a)"}}, {"alertChart": {"name": "projects/1/alertPolicies/2"}}
        )
    )
    assert found is not None
    assert found.items == ()


ALIGNED = [
    ("REDUCE_SUM", "ALIGN_RATE", "sum", ["counter"]),
    ("REDUCE_SUM", "ALIGN_DELTA", "sum", ["counter"]),
    ("REDUCE_SUM", "ALIGN_SUM", "sum", []),
    ("REDUCE_MAX", "ALIGN_MAX", "max", []),
    ("REDUCE_MIN", "ALIGN_MIN", "min", []),
    ("REDUCE_MAX", "ALIGN_NEXT_OLDER", "max", ["alive"]),
    ("REDUCE_SUM", "ALIGN_MEAN", "none", []),
    ("REDUCE_SUM", "ALIGN_MAX", "none", []),
    ("REDUCE_SUM", None, "none", []),
    ("REDUCE_MAX", "ALIGN_RATE", "none", []),
    ("REDUCE_MEAN", "ALIGN_MEAN", "none", []),
    ("REDUCE_PERCENTILE_99", "ALIGN_DELTA", "none", []),
    ("REDUCE_COUNT", "ALIGN_SUM", "none", []),
    ("REDUCE_NONE", "ALIGN_RATE", "none", []),
    (None, "ALIGN_RATE", "none", []),
    (["broken"], {"x": 1}, "none", []),
]


@pytest.mark.parametrize(("reducer", "aligner", "operator", "conditions"), ALIGNED)
def test_a_reducer_merges_what_its_aligner_leaves_as_it_would_be(reducer: Any, aligner: Any, operator: str, conditions: list[str]) -> None:
    """Counter-examples: the maximum of two rates is not the rate of the merged counter; a mean of sums is not a sum of means."""
    fields = ["metric.label.x", 'resource.labels."y"', "metadata.user_labels.z"]
    (query,) = queries(mosaic(chart(filtered(crossSeriesReducer=reducer, perSeriesAligner=aligner, groupByFields=fields))))
    use = read_gcp_filter(query)
    assert isinstance(use, tuple)
    assert {(u.operator, u.demand.all_except) for u in use} == {(operator, operator == "none")}
    assert all([c.kind for c in u.conditions] == conditions for u in use)
    if operator != "none":
        assert query.root == only("x", "y", "z")
        assert all(u.mentioned == {"x", "y", "z"} for u in use)


def test_what_comes_after_the_first_aggregation_sees_groups() -> None:
    query = filtered(crossSeriesReducer="REDUCE_SUM", perSeriesAligner="ALIGN_RATE", groupByFields=["metric.labels.x"])
    query["timeSeriesFilter"]["secondaryAggregation"] = {"crossSeriesReducer": "REDUCE_PERCENTILE_99", "perSeriesAligner": "ALIGN_MEAN"}
    query["timeSeriesFilter"]["pickTimeSeriesFilter"] = {"rankingMethod": "METHOD_MAX", "numTimeSeries": 5}
    assert queries(mosaic(chart(query)))[0].root == only("x")


def test_a_group_field_with_a_variable_may_be_any_label() -> None:
    query = filtered(crossSeriesReducer="REDUCE_SUM", perSeriesAligner="ALIGN_RATE", groupByFields=["metric.labels.${x}"])
    assert queries(mosaic(chart(query)))[0].root == EVERY_LABEL


def test_grouping_by_the_type_of_resource_needs_what_makes_it() -> None:
    query = filtered(crossSeriesReducer="REDUCE_SUM", perSeriesAligner="ALIGN_RATE", groupByFields=["resource.type"])
    assert queries(mosaic(chart(query)))[0].root.names >= {"service.name", "k8s.pod.name", "host.id"}


SUMMED = {"crossSeriesReducer": "REDUCE_SUM", "perSeriesAligner": "ALIGN_RATE"}
FILTERS = [
    ({"filterType": "METRIC_LABEL", "labelKey": "code"}, TYPE, only("code")),
    ({"filterType": "GROUP", "labelKey": "x"}, TYPE, EVERY_LABEL),
    ({"filterType": "METRIC_LABEL"}, TYPE, EVERY_LABEL),
    ({"filterType": "METRIC_LABEL", "labelKey": "code", "templateVariable": "V"}, TYPE, only()),
    ({"filterType": "METRIC_LABEL", "labelKey": "code", "templateVariable": "V"}, TYPE + " ${V}", only("code")),
    ({"filterType": "USER_METADATA_LABEL", "labelKey": "a b", "templateVariable": "V"}, TYPE + " AND $V", only("a b")),
    ({"filterType": "VALUE_ONLY", "templateVariable": "V"}, TYPE + ' metric.labels.x="${V}"', only("x")),
    ({"filterType": "VALUE_ONLY", "templateVariable": "V"}, TYPE + " ${V}", EVERY_LABEL),
    ("broken", TYPE, only()),
]


@pytest.mark.parametrize(("given_filter", "text", "demand"), FILTERS)
def test_filters_of_the_dashboard_hold_where_they_are_named_or_everywhere(given_filter: Any, text: str, demand: LabelSet) -> None:
    (query,) = queries(mosaic(chart(filtered(text, **SUMMED)), dashboardFilters=[given_filter]))
    found = read_gcp_filter(query)
    assert isinstance(found, tuple)
    assert {u.demand for u in found} == {demand}


POLICY = {"name": "projects/1/alertPolicies/2", "displayName": "Down", "userLabels": {"team": "shop"}, "combiner": "OR"}


def policy(*conditions: Any, **fields: Any) -> dict[str, Any]:
    return {**POLICY, "conditions": [{"displayName": "C", **condition} for condition in conditions], **fields}


CONDITIONS = [
    ({"conditionThreshold": {"filter": TYPE, "comparison": "COMPARISON_GT"}}, [("gcp_filter", TYPE)]),
    (
        {"conditionThreshold": {"filter": TYPE, "denominatorFilter": 'metric.type="c/d"'}},
        [("gcp_filter", TYPE), ("gcp_filter", 'metric.type="c/d"')],
    ),
    ({"conditionAbsent": {"filter": TYPE, "duration": "300s"}}, [("gcp_filter", TYPE)]),
    ({"conditionPrometheusQueryLanguage": {"query": "up == 0"}}, [("promql", "up == 0")]),
    ({"conditionMonitoringQueryLanguage": {"query": "fetch a::b.c/d"}}, [("gcp_filter", "fetch a::b.c/d")]),
    ({"condition_threshold": {"filter": TYPE}}, [("gcp_filter", TYPE)]),
    ({"conditionMatchedLog": {"filter": 'resource.type="x"'}}, []),
]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
def test_every_condition_of_an_alert_policy_is_read(condition: Any, expected: list[tuple[str, str]]) -> None:
    found = read(policy(condition))
    assert found is not None
    assert (found.kind, found.id, found.title, found.owner) == ("gcp_alert_policy", POLICY["name"], "Down", "shop")
    assert [(q.language, q.text) for q in queries(policy(condition))] == expected
    assert all((q.role, q.where) == ("alert", "conditions/0 C") for q in queries(policy(condition)))


def test_a_threshold_needs_what_its_first_aggregation_says() -> None:
    threshold = {"filter": TYPE, "aggregations": [{**SUMMED, "groupByFields": ["metric.labels.x"]}, {"crossSeriesReducer": "REDUCE_COUNT"}]}
    (query,) = queries(
        policy({"conditionThreshold": threshold}, documentation={"content": "see ${metric.label.y} of ${resource.labels.z}"})
    )
    assert (query.root, query.operator, query.mentioned) == (only("x"), "sum", {"y", "z"})


def test_a_condition_in_sql_only_lowers_trust() -> None:
    (spot,) = spots(policy({"conditionSql": {"query": "SELECT 1 FROM logs"}}))
    assert spot.narrowing


INDICATORS = [
    {"requestBased": {"goodTotalRatio": {"goodServiceFilter": TYPE, "totalServiceFilter": TYPE}}},
    {"requestBased": {"goodTotalRatio": {"badServiceFilter": TYPE}}},
    {"requestBased": {"distributionCut": {"distributionFilter": TYPE, "range": {"max": 1}}}},
    {"windowsBased": {"goodTotalRatioThreshold": {"performance": {"goodTotalRatio": {"goodServiceFilter": TYPE}}}}},
    {"windowsBased": {"metricMeanInRange": {"timeSeries": TYPE}}},
    {"windowsBased": {"goodBadMetricFilter": TYPE}},
]


@pytest.mark.parametrize("indicator", INDICATORS)
def test_every_indicator_of_an_slo_is_read_and_needs_every_label(indicator: Any) -> None:
    document = {
        "name": "projects/1/services/s/serviceLevelObjectives/o",
        "displayName": "O",
        "goal": 0.99,
        "serviceLevelIndicator": indicator,
    }
    found = read(document)
    assert found is not None
    assert (found.kind, found.title) == ("gcp_slo", "O")
    assert {(q.role, q.text, q.root) for q in queries(document)} == {("slo", TYPE, EVERY_LABEL)}


NOT_OURS = [
    {},
    {"mosaicLayout": None},
    {"layout": {"gridLayout": 1}},
    {"kind": "Pod", "status": {}, "conditions": [{"type": "Ready", "status": "True"}]},
    {"panels": [{"targets": [{"expr": "up"}]}]},
    {"dashboards": [mosaic()]},
    {"serviceLevelIndicator": "x"},
]


@pytest.mark.parametrize("document", NOT_OURS)
def test_other_documents_are_left_to_others(document: Any) -> None:
    assert read(document) is None


def test_a_query_in_a_place_that_is_not_known_is_said() -> None:
    (spot,) = spots(mosaic({"somethingNew": {"query": "sum(rate(a_b[5m]))"}}))
    assert "a_b" in spot.touches


def test_a_dashboard_of_five_megabytes_is_read_within_two_seconds() -> None:
    big = mosaic(*(chart(filtered(f'metric.type="x.y/{n}" AND resource.type="{"k" * 300}"', **SUMMED)) for n in range(8_000)))
    start = time.process_time()
    found = read(big)
    assert time.process_time() - start < 2
    assert found is not None
    assert len(found.items) == 8_000


KEYS = [
    *(
        "mosaicLayout",
        "tiles",
        "widget",
        "xyChart",
        "dataSets",
        "timeSeriesQuery",
        "timeSeriesFilter",
        "filter",
        "aggregation",
        "groupByFields",
    ),
    *("crossSeriesReducer", "perSeriesAligner", "prometheusQuery", "timeSeriesQueryLanguage", "dashboardFilters", "filterType", "labelKey"),
    *("templateVariable", "conditionThreshold", "aggregations", "serviceLevelIndicator", "title", "userLabels", "documentation", "content"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([TYPE, "REDUCE_SUM", "ALIGN_RATE", "", "metric.labels.x", "${x}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["gridLayout", "conditions", "serviceLevelIndicator", "dashboardFilters", "displayName", "name"]), JSON, max_size=5
    )
)
def test_no_document_raises(document: dict[str, Any]) -> None:
    for reader in READERS:
        found = reader(document)
        assert found is None or all(isinstance(read_gcp_filter(q), tuple | NotUnderstood) for q in found.items if isinstance(q, Query))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LAYOUTS), JSON, st.sampled_from(["etag", "labels", "dashboardFilters", "annotations", "displayName"]))
def test_what_is_added_to_a_dashboard_hides_no_query_of_it(document: Any, added: Any, key: str) -> None:
    assert {q.text for q in queries(document)} <= {q.text for q in queries({**document, key: added})}
