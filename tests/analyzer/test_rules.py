"""Rules about metrics: what each finds, what it must not find, and what it would do about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analyzer.reading import Readers
from analyzer.rules import METRIC_RULES, churn, fine_interval, high_cardinality_label, spike, unread_buckets, unused_label, unused_metric
from analyzer.rules.cases import Found, MetricCase, MetricRule
from flowgate.actions import AggregateLabels, DeleteLabel, DropMetric, Label, ReduceBuckets
from flowgate.advice import BlindSpot, LabelProfile, MetricProfile, Owner, Policy, Profile, Risk, Usage, Verdict
from flowgate.money import Volume
from flowgate.telemetry import Kind, Window
from tests.analyzer.test_usage import board, read, record, rules
from tests.analyzer.test_verdicts import prometheus

A, B, C, D, E, U = (Verdict(letter) for letter in "ABCDEU")
START = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = Window(START, START + timedelta(days=7))
HOUR = Window(START, START + timedelta(hours=1))
SERIES = 1000
REGION = LabelProfile("region", "point", 4, 900)
SUMMED = "sum by (region) (rate(logins_total[5m]))"


def metric(*labels: LabelProfile, name: str = "logins", kind: Kind = Kind.SUM, **more: Any) -> MetricProfile:
    made = MetricProfile(name, "", kind, "cumulative", kind is Kind.SUM, Volume(SERIES, SERIES, 100.0, 10_000.0), ("shop",), labels)
    return replace(made, interval_seconds=15.0, **more)


def case(usage: Usage, *metrics: MetricProfile, window: Window = WEEK, policy: Policy | None = None) -> MetricCase:
    readers = Readers.over(usage, ())
    return MetricCase(tuple((m, readers.of(m)) for m in metrics), Profile(window, metrics, (), ()), policy or Policy())


def found(rule: MetricRule, usage: Usage, *metrics: MetricProfile, **more: Any) -> list[Found]:
    return list(rule(case(usage, *metrics, **more)))


# --- unused metric -----------------------------------------------------------------------------------------------------------------


def test_a_metric_read_by_dead_rules_alone_names_them() -> None:
    (one,) = found(unused_metric.find, read(rules(record("a:m", "sum(logins_total)"))), metric())
    assert (one.judged.verdict, one.action) == (D, None)
    assert [e.kind for e in one.evidence] == ["traffic", "recording_rule"]


# --- labels that nobody needs --------------------------------------------------------------------------------------------------------

USER = LabelProfile("user", "point", 50, 4)


@pytest.mark.parametrize(
    ("expression", "letter", "operator"),
    [
        (SUMMED, B, "sum"),
        ("rate(logins_total[5m])", C, None),
        ("sum(logins_total)", D, None),
        ("sum by (user) (rate(logins_total[5m]))", None, None),
    ],
)
def test_an_unused_label_is_merged_by_the_operator_of_the_proof(expression: str, letter: Verdict | None, operator: str | None) -> None:
    said = found(unused_label.find, read(board(expression)), metric(USER))
    assert [f.judged.verdict for f in said] == ([letter] if letter else [])
    expected = AggregateLabels("logins", (Label("point", "user"),), "sum", 15.0) if operator else None
    assert [f.action for f in said] == ([expected] if letter else [])


@pytest.mark.parametrize(("without", "is_found"), [(990, False), (900, True), (901, False)])
def test_a_label_is_worth_a_finding_from_its_bounds_on(without: int, is_found: bool) -> None:
    assert bool(found(unused_label.find, read(board(SUMMED)), metric(replace(USER, series_without=without)))) is is_found


def test_no_merge_is_proposed_where_it_is_not_known_how_often_points_come() -> None:
    (one,) = found(unused_label.find, read(board(SUMMED)), replace(metric(USER), interval_seconds=None))
    assert (one.judged.verdict, one.action) == (B, None)


def test_a_label_that_another_unit_of_the_name_needs_is_needed() -> None:
    """The action is by name, so what reads one metric of the name reads all."""
    seconds, plain = replace(metric(USER), unit="s"), metric(USER)
    usage = read(board("sum(rate(logins_total[5m]))", "sum by (user) (rate(logins_seconds_total[5m]))"))
    assert found(unused_label.find, usage, plain)
    assert found(unused_label.find, usage, plain, seconds) == []


# --- labels that say what others say --------------------------------------------------------------------------------------------------

STATUS = LabelProfile("status", "point", 9, 800)
CLASS = LabelProfile(
    "class", "point", 3, SERIES, determined_by=(STATUS.key,), determined_tested=SERIES, bytes_per_second=500.0
)  # fmt: skip
KEPT = "sum by (status, pod) (rate(logins_total[5m]))"
DELETED = [DeleteLabel("logins", CLASS.key, (STATUS.key,))]
POD, IP = LabelProfile("pod", "point", 40, 900), LabelProfile("pod_ip", "point", 40, SERIES)


def deleted(*labels: LabelProfile, expression: str = KEPT, window: Window = WEEK) -> list[Any]:
    said = found(unused_label.find, read(board(expression)), metric(*labels), window=window)
    return [f.action for f in said if isinstance(f.action, DeleteLabel)]


def test_a_label_that_follows_from_one_that_stays_is_deleted() -> None:
    (one,) = [f for f in found(unused_label.find, read(board(KEPT)), metric(CLASS, STATUS)) if f.label == CLASS.key]
    assert ([one.action], one.judged.verdict, one.gone) == (DELETED, B, Volume(bytes_per_second=500.0))
    assert one.judged.risk is Risk.LOW


@pytest.mark.parametrize(
    "labels",
    [
        (replace(CLASS, distinct=1), replace(STATUS, distinct=1)),
        (replace(CLASS, distinct=1), STATUS),
        (replace(CLASS, distinct=3), replace(STATUS, distinct=3)),
        (replace(CLASS, determined_tested=0), STATUS),
        (replace(CLASS, determined_tested=499), STATUS),
        (replace(CLASS, determined_by=()), STATUS),
        (replace(CLASS, series_without=999), STATUS),
        (replace(CLASS, place="resource"), STATUS),
        (replace(CLASS, bytes_per_second=99.0), STATUS),
        (replace(CLASS, bytes_per_second=None), STATUS),
        (CLASS,),
    ],
    ids=[
        "both have one value", "it has one value", "few values, one to one", "nothing could have shown otherwise", "little could have",
        "nothing determines it", "series would meet", "a resource's", "it takes too little", "its size is not known", "what it follows from is not there",
    ],
)  # fmt: skip
def test_what_little_was_seen_of_is_not_deleted(labels: tuple[LabelProfile, ...]) -> None:
    """Methods and statuses go together until the first error; then two counters would have one identity."""
    assert deleted(*labels) == []


def test_one_instance_like_label_does_not_stand_for_another() -> None:
    """One pod a node today is two tomorrow."""
    follows = replace(IP, determined_by=(POD.key,), determined_tested=SERIES, bytes_per_second=500.0)
    assert deleted(follows, POD) == []
    assert deleted(replace(follows, distinct=12), POD) == [DeleteLabel("logins", IP.key, (POD.key,))]


@pytest.mark.parametrize(
    "expression", ["sum by (class, status) (rate(logins_total[5m]))", "rate(logins_total[5m])", "count(logins_total)", "other"]
)
def test_a_label_that_is_needed_or_shown_is_not_deleted(expression: str) -> None:
    assert deleted(CLASS, STATUS, expression=expression) == []


def test_a_label_is_not_deleted_where_a_query_sets_anew_what_it_follows_from() -> None:
    """The query's result would have two series of the same labels."""
    assert (
        deleted(CLASS, STATUS, expression="sum by (zone, status) (label_replace(rate(logins_total[5m]), 'status', '$1', 'zone', '(.*)'))")
        == []
    )


@pytest.mark.parametrize("expression", [KEPT, "sum by (status) (logins_total)", "max by (status) (logins_total)"])
def test_what_is_asked_of_merged_series_is_not_asked_where_none_merge(expression: str) -> None:
    assert deleted(CLASS, STATUS, expression=expression) == DELETED


def test_a_merge_that_is_not_worth_a_finding_is_no_reason_to_keep_a_label() -> None:
    assert deleted(CLASS, replace(STATUS, series_without=995), expression=SUMMED) == DELETED


def test_in_a_short_window_it_is_said_and_not_done() -> None:
    (one,) = [f for f in found(unused_label.find, read(board(KEPT)), metric(CLASS, STATUS), window=HOUR) if f.label == CLASS.key]
    assert (one.judged.verdict, one.action, one.judged.risk) == (D, None, Risk.MEDIUM)
    assert "in 3600 s, and 86400 s are asked for" in one.judged.wording


def test_of_two_labels_that_follow_from_each_other_one_stays() -> None:
    one = LabelProfile(
        "a_code", "point", 8, SERIES, determined_by=(Label("point", "b_word"),), determined_tested=SERIES, bytes_per_second=500.0
    )
    two = replace(one, label="b_word", determined_by=(Label("point", "a_code"),))
    assert deleted(one, two) == [DeleteLabel("logins", two.key, (one.key,))]


def test_in_a_chain_what_a_deleted_label_follows_from_stays() -> None:
    """`z` goes because `m` tells it, so `m` stays although `a` tells that."""
    last = LabelProfile("z", "point", 3, SERIES, determined_by=(Label("point", "m"),), determined_tested=SERIES, bytes_per_second=500.0)
    middle = replace(last, label="m", distinct=6, determined_by=(Label("point", "a"),))
    first = LabelProfile("a", "point", 12, 995)
    assert deleted(last, middle, first) == [DeleteLabel("logins", last.key, (middle.key,))]


def test_what_cannot_be_told_of_a_label_is_said_by_the_metric_alone() -> None:
    assert found(unused_label.find, read(board(SUMMED), "{broken"), metric(USER, CLASS, STATUS)) == []


def test_what_a_deleted_label_follows_from_is_not_merged_away() -> None:
    """No query needs either, but the one tells the other only while it is there."""
    merging = replace(STATUS, series_without=100)
    said = found(unused_label.find, read(board(SUMMED)), metric(CLASS, merging))
    assert [type(f.action) for f in said] == [AggregateLabels]


# --- many values ---------------------------------------------------------------------------------------------------------------------


def test_a_label_of_many_values_says_what_they_look_like() -> None:
    many = LabelProfile("user", "point", 900, 4, shape="uuid", shape_share=0.97)
    (one,) = found(high_cardinality_label.find, read(board(SUMMED)), metric(many))
    assert one.judged.wording.endswith("; 97% of its values look like UUIDs")
    assert one.action == AggregateLabels("logins", (many.key,), "sum", 15.0)
    assert found(unused_label.find, read(board(SUMMED)), metric(many)) == []


# --- churn ---------------------------------------------------------------------------------------------------------------------------

CHURNS = [
    (600, 600, True), (500, 500, True), (499, 600, False), (600, 499, False), (900, 0, False), (0, 900, False), (None, 900, False), (900, None, False),
]  # fmt: skip


@pytest.mark.parametrize(("born", "ended", "is_found"), CHURNS)
def test_churn_is_series_that_end_while_others_begin(born: int | None, ended: int | None, is_found: bool) -> None:
    """Growth alone, or an end alone, is none; what is not known is none either."""
    said = found(churn.find, read(board("rate(logins_total[5m])")), metric(born=born, ended=ended))
    assert bool(said) is is_found
    assert all(f.action is None for f in said)


def test_churn_names_the_label_that_comes_and_goes() -> None:
    pod = LabelProfile("k8s.pod.name", "resource", 120, 20)
    (one,) = found(churn.find, read(board(SUMMED)), metric(pod, REGION, born=600, ended=600))
    assert (one.label, one.judged.verdict, one.gone.series) == (pod.key, B, 600)


# --- spikes --------------------------------------------------------------------------------------------------------------------------

NOW = Volume(900, 900, 90.0, 900.0)


@pytest.mark.parametrize(
    ("now", "before", "is_found"),
    [
        (NOW, None, False),
        (NOW, Volume(300, 300, 90.0, 900.0), True),
        (NOW, Volume(301, 301, 90.0, 900.0), False),
        (NOW, Volume(), True),
        (Volume(99, 99, 9.0, 9.0), Volume(), False),
        (Volume(9, 9, 300.0, 9.0), Volume(9, 9, 100.0, 3.0), True),
        (Volume(9, 9, 150.0, 9.0), Volume(9, 9, 51.0, 3.0), False),
        (Volume(300, 300, 9.0, 9.0), NOW, False),
    ],
    ids=["not seen", "three times", "not quite", "new", "new and small", "points", "points, too few", "a fall"],
)
def test_a_spike_is_against_a_window_that_was_seen(now: Volume, before: Volume | None, is_found: bool) -> None:
    said = found(spike.find, read(board("other")), replace(metric(), volume=now, previous=before))
    assert bool(said) is is_found
    assert all(f.action is None and f.gone.series >= 0 and f.gone.points_per_second >= 0 for f in said)


def test_a_spike_names_who_sends_most() -> None:
    owners = (Owner("cart", "", "", Volume(10)), Owner("shop", "", "", Volume(800)))
    (one,) = found(spike.find, read(board("other")), replace(metric(), volume=NOW, previous=Volume(1), owners=owners))
    assert (one.evidence[0].expression or "").endswith("most of it from shop")


# --- buckets -------------------------------------------------------------------------------------------------------------------------

BOUNDS = (0.1, 0.5, 1.0, 5.0)
READ_BUCKETS = {
    "by count alone": (board("sum(rate(wait_count[5m]))"), ()),
    "by sum over count": (board("sum(rate(wait_sum[5m])) / sum(rate(wait_count[5m]))"), ()),
    "by one bucket": (board('sum(rate(wait_bucket{le="0.5"}[5m])) / sum(rate(wait_count[5m]))'), (0.5,)),
    "by two buckets": (board('sum(rate(wait_bucket{le="0.5"}[5m]))', 'sum(rate(wait_bucket{le="1"}[5m]))'), (0.5, 1.0)),
    "by the last bucket": (board('sum(rate(wait_bucket{le="+Inf"}[5m]))'), ()),
    "by a quantile": (board("histogram_quantile(0.9, sum by (le) (rate(wait_bucket[5m])))"), None),
    "by a bucket and a quantile": (board('sum(rate(wait_bucket{le="1"}[5m]))', "histogram_quantile(0.9, wait_bucket)"), None),
    "by a pattern of buckets": (board('sum(rate(wait_bucket{le=~"0.5|1"}[5m]))'), None),
    "by all but one": (board('sum(rate(wait_bucket{le!="0.5"}[5m]))'), None),
    "by a bucket in a variable": (board('sum(rate(wait_bucket{le="$le"}[5m]))'), None),
    "by a bucket that is no number": (board('sum(rate(wait_bucket{le="fast"}[5m]))'), None),
    "as a native histogram": (board("histogram_quantile(0.9, sum(rate(wait[5m])))"), None),
    "by a pattern of names": (board('{__name__=~"wait_.*"}'), None),
    "by nobody": (board("other"), None),
    "by what is not understood": (board("sum(rate(wait_count[5m]))", "wait_bucket{"), None),
    "where bounds are listed": (board("sum(rate(wait_count[5m]))", **prometheus(query="label_values(le)")), None),
}


@pytest.mark.parametrize(("document", "kept"), READ_BUCKETS.values(), ids=READ_BUCKETS)
def test_buckets_go_only_where_every_reader_says_which_it_reads(document: Any, kept: tuple[float, ...] | None) -> None:
    histogram = metric(name="wait", kind=Kind.HISTOGRAM, bounds=BOUNDS, buckets=4)
    said = found(unread_buckets.find, read(document), histogram)
    assert [f.action for f in said] == ([] if kept is None else [ReduceBuckets("wait", kept, BOUNDS)])


def test_of_buckets_that_go_their_series_samples_and_bytes_go() -> None:
    histogram = metric(name="wait", kind=Kind.HISTOGRAM, bounds=BOUNDS, buckets=4)
    (one,) = found(unread_buckets.find, read(board('sum(rate(wait_bucket{le="0.5"}[5m]))')), histogram)
    assert one.gone == Volume(0, 3 * SERIES, 0.0, 100.0 * 3 * 16, 300.0)


def test_without_its_bounds_a_histogram_is_put_right_at_the_source() -> None:
    (one,) = found(unread_buckets.find, read(board("sum(rate(wait_count[5m]))")), metric(name="wait", kind=Kind.HISTOGRAM, buckets=4))
    assert one.action is None
    assert "at the source" in one.judged.wording


def test_a_name_that_ends_like_a_part_is_not_taken_for_one() -> None:
    """A histogram called `wait_count` is read whole by its own name."""
    histogram = metric(name="wait_count", kind=Kind.HISTOGRAM, bounds=BOUNDS, buckets=4)
    assert found(unread_buckets.find, read(board("wait_count")), histogram) == []


# --- intervals -----------------------------------------------------------------------------------------------------------------------

RANGES = {
    "one range": (["sum(rate(logins_total[5m]))"], 75.0),
    "the shortest of two": (["sum(rate(logins_total[1h]))", "sum(rate(logins_total[2m]))"], 30.0),
    "with matchers": (['sum(rate(logins_total{a="}[9s]"}[4m]))'], 60.0),
    "a compound range": (["sum(rate(logins_total[1m30s]))"], None),
    "a range that follows the zoom": (["sum(rate(logins_total[$__rate_interval]))"], None),
    "no range": (["logins_total"], None),
    "a range here, none there": (["sum(rate(logins_total[5m]))", "logins_total"], None),
    "both in one": (["sum(rate(logins_total[5m])) / sum(logins_total)"], None),
    "a subquery": (["max_over_time(rate(logins_total[5m])[1h:])"], 75.0),
    "a name in quotes": (['rate({"logins_total"}[5m])'], None),
    "by a pattern": (['rate({__name__=~"logins_.*"}[5m])'], None),
    "what is not understood": (["sum(rate(logins_total[5m]))", "logins_total{"], None),
    "nobody": (["other"], None),
}


@pytest.mark.parametrize(("expressions", "enough"), RANGES.values(), ids=RANGES)
def test_an_interval_is_too_fine_only_where_every_query_writes_its_range_out(expressions: list[str], enough: float | None) -> None:
    said = found(fine_interval.find, read(board(*expressions)), metric())
    assert len(said) == (enough is not None)
    assert all(f"every {enough:g} s holds 4 points" in f.judged.wording and f.action is None for f in said)


def test_points_go_with_a_longer_interval_and_series_stay() -> None:
    (one,) = found(fine_interval.find, read(board("sum(rate(logins_total[4m]))")), metric())
    assert (one.gone.series, one.gone.points_per_second, one.gone.bytes_per_second) == (0, 75.0, 7500.0)


# --- all ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", METRIC_RULES, ids=lambda r: r.__module__.rpartition(".")[2])
@pytest.mark.parametrize("touches", [(), ("logins.*",)])
def test_nothing_is_done_about_a_metric_whose_readers_may_be_hidden(rule: MetricRule, touches: tuple[str, ...]) -> None:
    usage = replace(read(board(SUMMED)), blind_spots=(BlindSpot("hiding", "not readable", touches=touches),))
    wasteful = metric(USER, CLASS, STATUS, born=900, ended=900, previous=Volume())
    assert [f.action for f in found(rule, usage, wasteful) if f.action is not None] == []


@pytest.mark.parametrize("name", ["up", "target.info", "scrape_samples_scraped"])
@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.HISTOGRAM])
def test_nothing_is_done_about_what_is_read_without_being_named(name: str, kind: Kind) -> None:
    """Also where something reads it by name besides, and needs little of it."""
    usage = read(board(*(f"sum by (status) ({n})" for n in (name.replace(".", "_"), f"{name}_count"))))
    wasteful = metric(USER, CLASS, STATUS, name=name, kind=kind, bounds=BOUNDS if kind is Kind.HISTOGRAM else (), buckets=4)
    assert [f.action for rule in METRIC_RULES for f in found(rule, usage, wasteful) if f.action is not None] == []


def test_of_a_metric_that_may_go_as_a_whole_nothing_is_said_of_its_parts() -> None:
    usage = read(board("other"))
    said = [f for rule in METRIC_RULES for f in found(rule, usage, metric(USER, CLASS, STATUS, born=900, ended=900))]
    assert [f.action for f in said] == [DropMetric("logins")]


# --- the page ------------------------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "advice.md").read_text()
HISTOGRAM = metric(name="wait", kind=Kind.HISTOGRAM, bounds=BOUNDS, buckets=4)
MANY = LabelProfile("user", "point", 900, 4, shape="uuid", shape_share=0.97)
EXAMPLES: dict[str, tuple[MetricRule, Any, MetricProfile]] = {
    "unused": (unused_metric.find, board("other"), metric()),
    "dead rules": (unused_metric.find, rules(record("a:m", "sum(logins_total)")), metric()),
    "merged": (unused_label.find, board(SUMMED), metric(USER)),
    "shown": (unused_label.find, board("rate(logins_total[5m])"), metric(USER)),
    "deleted": (unused_label.find, board(KEPT), metric(CLASS, STATUS)),
    "many": (high_cardinality_label.find, board(SUMMED), metric(MANY)),
    "spike": (spike.find, board("other"), replace(metric(), volume=NOW, previous=Volume(300, 300, 30.0, 300.0))),
    "a bucket": (unread_buckets.find, board('sum(rate(wait_bucket{le="0.5"}[5m])) / sum(rate(wait_count[5m]))'), HISTOGRAM),
    "no bucket": (unread_buckets.find, board("sum(rate(wait_count[5m]))"), replace(HISTOGRAM, bounds=())),
}


@pytest.mark.parametrize(("rule", "document", "of"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_page_says_what_the_code_says(rule: MetricRule, document: Any, of: MetricProfile) -> None:
    (one,) = found(rule, read(document), of)
    assert f"**{one.judged.verdict}**" in PAGE
    assert f"*{one.judged.wording}*" in " ".join(PAGE.split()).replace("; not referenced*:", "; not referenced*")


@pytest.mark.parametrize("rule", METRIC_RULES, ids=lambda r: r.__module__.rpartition(".")[2])
def test_the_page_has_every_rule_about_metrics(rule: MetricRule) -> None:
    assert f"### `{rule.__module__.rpartition('.')[2]}`" in PAGE
