"""The letter that each way of reading, or of not being able to read, must give."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from analyzer.reading import Readers, Reading, unexecuted
from analyzer.rules import debug_logs
from analyzer.verdicts import label_verdict, metric_verdict
from flowgate.advice import BlindSpot, LabelProfile, MetricProfile, Risk, Usage, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Kind
from tests.analyzer.test_usage import board, read, record, rules

A, B, C, D, E, U = (Verdict(letter) for letter in "ABCDEU")
SERIES = 1000


def metric(name: str = "logins", kind: Kind = Kind.SUM, monotonic: bool = True, *labels: LabelProfile) -> MetricProfile:
    return MetricProfile(name, "", kind, "cumulative", monotonic, Volume(SERIES, SERIES, 10.0, 100.0), ("shop",), labels or (USER, REGION))


USER = LabelProfile("user_id", "point", 900, 4)
REGION = LabelProfile("region", "point", 4, 900)
FOLLOWS = LabelProfile("user_name", "point", 900, SERIES)
POD = LabelProfile("k8s.pod.name", "resource", 50, 20)
INSTANCE = LabelProfile("service.instance.id", "resource", 50, 20)


def reading(usage: Usage, of: MetricProfile | None = None, *narrowing: BlindSpot) -> Reading:
    return Readers.over(usage, narrowing).of(of or metric())


def prometheus(**query: Any) -> dict[str, Any]:
    return {"templating": {"list": [{"type": "query", "name": "v", "datasource": {"type": "prometheus"}, **query}]}}


LIBRARY = {"title": "b", "uid": "b", "schemaVersion": 39, "panels": [{"title": "p", "libraryPanel": {"uid": "l", "name": "Logins"}}]}
UNIFIED = {
    "apiVersion": 1,
    "groups": [
        {
            "name": "g",
            "folder": "f",
            "rules": [
                {
                    "uid": "r",
                    "title": "too many",
                    "data": [
                        {"refId": "A", "datasourceUid": "prom", "model": {"expr": "rate(logins_total[5m])", "refId": "A"}},
                        {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "A", "refId": "B"}},
                    ],
                }
            ],
        }
    ],
}
METRIC_CASES = {
    "nothing reads it": (board("other"), A),
    "a panel reads it": (board("logins_total"), E),
    "a library panel that is not there": (LIBRARY, U),
    "a unified alert reads it": (UNIFIED, E),
    "one of two names": (board('{__name__=~"logins_total|other"}'), E),
    "neither of two names": (board('{__name__=~"logouts_total|other"}'), A),
    "a pattern of names": (board('{__name__=~"logins_.*"}'), E),
    "a pattern that says too little": (board('{__name__=~"lo.*"}'), U),
    "a pattern that says too little, and is another name's": (board('{__name__=~"up.*"}'), A),
    "any filters": (board("logins_total{$filters}"), E),
    "a name in a variable": (board("$metric"), U),
    "a part of a name in a variable": (board("${prefix}logins_total"), E),
    "an expression that is not understood": (board("logins_total{"), U),
    "another metric's that is not understood": (board("something_else{"), A),
    "a document that cannot be read": ('{"panels": [', U),
    "the values of a label over all metrics": (board("other", **prometheus(query="label_values(region)")), A),
    "the names of all metrics": (board("other", **prometheus(query="label_values(__name__)")), U),
    "the names of all metrics, by a pattern": (board("other", **prometheus(query="metrics(.*)")), U),
    "the values of a label of it": (board("other", **prometheus(query="label_values(logins_total, region)")), E),
    "a chain of rules that nobody reads": (rules(record("a:m", "sum(logins_total)"), record("b:m", "a:m * 2")), D),
    "a chain of rules that an alert reads": (
        rules(record("a:m", "sum(logins_total)"), record("b:m", "a:m * 2"), {"alert": "x", "expr": "b:m > 1"}),
        E,
    ),
    "the same name with suffixes switched off": (board("logins"), E),
}  # fmt: skip


@pytest.mark.parametrize(("documents", "letter"), METRIC_CASES.values(), ids=METRIC_CASES)
def test_a_metric(documents: Any, letter: Verdict) -> None:
    assert metric_verdict(reading(read(documents))).verdict is letter


def test_a_name_in_utf8_is_the_otlp_name() -> None:
    usage = read(board('{"logins.per.user", region="eu"}'))
    assert metric_verdict(reading(usage, metric("logins.per.user"))).verdict is E
    assert metric_verdict(reading(usage, metric("logins.per.host"))).verdict is A


def test_a_histogram_that_is_read_by_its_count_alone_says_so() -> None:
    usage = read(board("sum(rate(http_server_request_duration_count[5m]))"))
    found = reading(usage, metric("http.server.request.duration", Kind.HISTOGRAM))
    assert metric_verdict(found).verdict is E
    assert found.parts == {"count"}


LABEL_CASES = {
    "nothing reads the metric": (board("other"), A),
    "sums by something else": (board("sum by (region) (rate(logins_total[5m]))"), B),
    "a matcher names it": (board('sum(rate(logins_total{user_id!=""}[5m]))'), E),
    "grouped by it": (board("sum by (user_id) (rate(logins_total[5m]))"), E),
    "series are shown": (board("rate(logins_total[5m])"), C),
    "series are counted": (board("count(logins_total)"), E),
    "an alert on series": (rules({"alert": "x", "expr": "rate(logins_total[5m]) > 1"}), C),
    "raw counters are added up": (board("sum(logins_total)"), D),
    "sums here, extremes there": (board("sum(increase(logins_total[5m]))", "max by (region) (logins_total)"), D),
    "any filters": (board("sum(rate(logins_total{$filters}[5m]))"), E),
    "a dynamic grouping": (board("sum by ($by) (rate(logins_total[5m]))"), E),
    "ad-hoc filters": (
        board("sum(rate(logins_total[5m]))", templating={"list": [{"type": "adhoc", "name": "f", "datasource": {"type": "prometheus"}}]}),
        E,
    ),
    "its values are listed over all metrics": (board("sum(rate(logins_total[5m]))", **prometheus(query="label_values(user_id)")), E),
    "its values are listed": (board("sum(rate(logins_total[5m]))", **prometheus(query="label_values(logins_total, user_id)")), E),
    "a library panel that is not there": (LIBRARY, U),
    "without something else": (board("sum without (region) (rate(logins_total[5m]))"), C),
    "a label set anew on top of it": (
        board("sum by (region) (rate(logins_total[5m]) * on (region) group_left (user_id) owners)"),
        D,
    ),
    "a label set anew that the metric has": (
        board("sum by (zone) (label_replace(rate(logins_total[5m]), 'region', '$1', 'zone', '(.*)'))"),
        D,
    ),
    "a rule that a panel sums up": (
        [rules(record("l:rate", "sum without (pod) (rate(logins_total[5m]))")), board("sum by (region) (l:rate)")],
        D,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("documents", "letter"), LABEL_CASES.values(), ids=LABEL_CASES)
def test_a_label(documents: Any, letter: Verdict) -> None:
    usage = read(*documents) if isinstance(documents, list) else read(documents)
    assert label_verdict(USER, metric(), reading(usage)).verdict is letter


def test_a_safe_label_says_how_series_may_be_merged() -> None:
    usage = read(board("sum by (region) (rate(logins_total[5m]))"))
    judged = label_verdict(USER, metric(), reading(usage))
    assert (judged.operator, judged.conditions, judged.risk) == ("sum", (), Risk.NONE)


def test_a_gauge_that_is_read_through_rate_is_no_counter() -> None:
    usage = read(board("sum by (region) (rate(logins[5m]))"))
    gauge = metric("logins", Kind.GAUGE, monotonic=False)
    judged = label_verdict(USER, gauge, reading(usage, gauge))
    assert (judged.verdict, [c.kind for c in judged.conditions]) == (D, ["counter"])


def test_a_gauge_that_is_added_up_is_safe_where_a_counter_is_not() -> None:
    usage = read(board("sum by (region) (queue_count)"))
    gauge, counter = metric("queue_count", Kind.GAUGE, monotonic=False), metric("queue_count")
    assert label_verdict(USER, gauge, reading(usage, gauge)).verdict is B
    assert label_verdict(USER, counter, reading(usage, counter)).verdict is D


def test_a_counter_that_is_added_up_raw_is_known_by_its_type_where_its_name_does_not_say_so() -> None:
    """With suffixes switched off nothing in the query tells a counter from a gauge; one whose points are increases has no resets."""
    usage = read(board("sum by (region) (queue)", "max by (region) (depth)", "sum by (region) (rate(visits[5m]))"))
    gauge, updown, counter = (metric("queue", kind, monotonic) for kind, monotonic in KINDS)
    judged = label_verdict(USER, counter, reading(usage, counter))
    assert (judged.verdict, [c.kind for c in judged.conditions], judged.operator) == (D, ["no_reset"], "sum")
    for safe in (gauge, updown, replace(counter, temporality="delta"), metric("visits")):
        assert label_verdict(USER, safe, reading(usage, safe)).verdict is B


MERGED = {
    "the greatest of gauges": (Kind.GAUGE, None, "max by (region) (logins)", B),
    "the greatest of counters": (Kind.SUM, None, "max by (region) (logins_total)", D),
    "one of counters": (Kind.SUM, None, "group by (region) (logins_total)", B),
    "quantiles of like buckets": (Kind.HISTOGRAM, 12, "histogram_quantile(0.9, sum by (le) (rate(logins_bucket[5m])))", B),
    "counts of like buckets": (Kind.HISTOGRAM, 12, "sum(rate(logins_count[5m]))", B),
    "counts of buckets that differ": (Kind.HISTOGRAM, None, "sum(rate(logins_count[5m]))", D),
    "quantiles of exponential buckets": (Kind.EXPONENTIAL_HISTOGRAM, None, "histogram_quantile(0.9, sum(rate(logins[5m])))", D),
    "counts of exponential buckets": (Kind.EXPONENTIAL_HISTOGRAM, None, "sum(rate(logins_count[5m]))", B),
    "counts of a summary": (Kind.SUMMARY, None, "sum(rate(logins_count[5m]))", B),
    "quantiles of a summary": (Kind.SUMMARY, None, "max by (quantile) (logins)", D),
}


@pytest.mark.parametrize(("kind", "buckets", "expression", "letter"), MERGED.values(), ids=MERGED)
def test_series_are_merged_only_as_their_type_can_be(kind: Kind, buckets: int | None, expression: str, letter: Verdict) -> None:
    """What a query does not need may still not be taken away where no merge of the type leaves its result alone."""
    found = replace(metric("logins", kind, kind is Kind.SUM), buckets=buckets)
    assert label_verdict(USER, found, reading(read(board(expression)), found)).verdict is letter


KINDS = ((Kind.GAUGE, False), (Kind.SUM, False), (Kind.SUM, True))


def test_a_label_that_follows_from_the_others_may_go_where_only_values_hang_on_it() -> None:
    usage = read(board("avg by (region) (logins_total)"))
    assert label_verdict(FOLLOWS, metric(), reading(usage)).verdict is D
    assert label_verdict(USER, metric(), reading(usage)).verdict is E
    assert label_verdict(FOLLOWS, metric(), reading(read(board("logins_total")))).verdict is C


@pytest.mark.parametrize(
    ("expression", "label", "letter"),
    [
        ("sum by (job) (rate(logins_total[5m]))", INSTANCE, B),
        ("sum by (instance) (rate(logins_total[5m]))", INSTANCE, E),
        ("sum by (k8s_pod_name) (rate(logins_total[5m]))", POD, E),
        ("sum(rate(logins_total[5m])) + on () group_left (k8s_pod_name) target_info", POD, E),
        ("sum by (job) (rate(logins_total[5m]) * on (job, instance) group_left (k8s_node) target_info)", POD, D),
        ("sum by (job) (rate(logins_total[5m])) and on () target_info{k8s_pod_name='x'}", POD, E),
        ("info(logins_total)", POD, E),
        ("sum by (k8s_cluster) (info(rate(logins_total[5m]), {k8s_cluster=~'.+'}))", POD, E),
    ],
)
def test_a_resource_attribute_is_read_on_the_metric_in_job_and_instance_or_in_target_info(
    expression: str, label: LabelProfile, letter: Verdict
) -> None:
    assert label_verdict(label, metric("logins", Kind.SUM, True, label), reading(read(board(expression)))).verdict is letter


def test_narrowing_keeps_the_letter_raises_the_risk_and_changes_the_wording() -> None:
    spot = BlindSpot("narrowing", "no source of executed queries is connected")
    wide, narrow = reading(read(board("other"))), reading(read(board("other")), None, spot)
    assert metric_verdict(wide).verdict is metric_verdict(narrow).verdict is A
    assert (metric_verdict(wide).risk, metric_verdict(narrow).risk) == (Risk.NONE, Risk.LOW)
    assert metric_verdict(narrow).wording == "not referenced by supplied artefacts"


def test_what_hides_any_name_hides_readers_of_logs_too() -> None:
    assert debug_logs.verdict(read(board("m")).blind_spots)[0] is A
    assert debug_logs.verdict(read(LIBRARY).blind_spots)[0] is U
    assert debug_logs.verdict(read(board("something_else{")).blind_spots)[0] is A


def test_queries_that_were_run_take_the_narrowing_away() -> None:
    assert [s.kind for s in unexecuted(read(board("m")))] == ["narrowing"]
    line = json.dumps(
        {"params": {"query": "m", "start": "2026-11-24T00:00:00Z", "end": "2026-11-24T00:00:00Z", "step": 0}, "ts": "2026-11-24T00:00:00Z"}
    )
    later = line.replace("2026-11-24", "2026-12-24")
    assert unexecuted(read(f"{line}\n{later}\n")) == ()


@pytest.mark.parametrize("case", sorted(LABEL_CASES))
def test_a_hiding_blind_spot_leaves_no_letter_from_a_to_d(case: str) -> None:
    documents = LABEL_CASES[case][0]
    usage = read(*(documents if isinstance(documents, list) else [documents]), LIBRARY)
    assert label_verdict(USER, metric(), reading(usage)).verdict in (E, U)
    assert metric_verdict(reading(usage)).verdict in (E, U)
