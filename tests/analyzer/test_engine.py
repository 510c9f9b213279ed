"""Judgement: unknown is never unused, what is read is kept, and advice is the same for the same facts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.engine import advise
from analyzer.pricing import FREE, parse_price_book, price
from analyzer.savings import Loss, judge
from flowgate.actions import DropLogs, DropMetric
from flowgate.advice import LabelProfile, LogProfile, MetricProfile, Policy, Profile, Risk, Usage, Verdict
from flowgate.errors import Invalid
from flowgate.money import CannotTell, Price, PriceBook, Realised, Volume
from flowgate.telemetry import Kind, Signal, Window
from tests.analyzer.test_usage import read

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(NOW, NOW + timedelta(seconds=60))
BOOK = PriceBook("b", 1, "USD", Price(Decimal("0.01"), "prom_series"), Price(Decimal("0.50"), "gigabyte"), None)


def metric(name: str, kind: Kind = Kind.GAUGE, unit: str = "", series: int = 1, labels: tuple[LabelProfile, ...] = ()) -> MetricProfile:
    return MetricProfile(
        name, unit, kind, "cumulative", kind is Kind.SUM, Volume(series, series, float(series), 50.0 * series), ("s",), labels
    )


def sent(*metrics: MetricProfile, logs: tuple[LogProfile, ...] = ()) -> Profile:
    return Profile(WINDOW, metrics, logs, ())


def reads(*documents: str) -> Usage:
    return read(*documents)


def rule(expression: str) -> str:
    return f"groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '{expression}'\n"


def verdicts(profile: Profile, usage: Usage) -> dict[str | None, Verdict]:
    return {f.metric: f.verdict for f in advise(profile, usage, BOOK, Policy(), NOW).findings if f.rule == "unused_metric"}


def test_a_metric_that_nobody_reads_is_unreferenced_and_says_so_carefully() -> None:
    advice = advise(sent(metric("idle")), reads(rule("up")), BOOK, Policy(), NOW)
    (finding,) = advice.findings
    assert (finding.verdict, finding.wording, finding.risk) == (Verdict.UNREFERENCED, "not referenced by supplied artefacts", Risk.LOW)
    assert [r.actions for r in advice.recommendations] == [(DropMetric("idle"),)]
    assert advice.recommendations[0].expires == NOW + timedelta(days=90)


@pytest.mark.parametrize(
    ("profile", "expression"),
    [
        (metric("orders", Kind.SUM), "rate(orders_total[5m]) > 1"),
        (metric("shop.checkout.duration", Kind.HISTOGRAM, "s"), "rate(shop_checkout_duration_seconds_count[5m])"),
        (metric("shop.pay.time", Kind.GAUGE), '{__name__=~"shop_pay_.*"}'),
        (metric("heartbeat"), "absent(heartbeat)"),
        (metric("up"), "vector(1)"),
        (metric("target.info"), "vector(1)"),
    ],
)
def test_what_is_read_is_never_dropped(profile: MetricProfile, expression: str) -> None:
    advice = advise(sent(profile), reads(rule(expression)), BOOK, Policy(), NOW)
    assert advice.recommendations == ()
    assert all(f.rule != "unused_metric" for f in advice.findings)


@pytest.mark.parametrize("broken", ["{", rule('{job="a"}'), rule("sum($m"), rule("idle + ")])
def test_whatever_might_hide_a_reader_makes_the_verdict_unknown(broken: str) -> None:
    advice = advise(sent(metric("idle")), reads(rule("up"), broken), BOOK, Policy(), NOW)
    assert {f.verdict for f in advice.findings} == {Verdict.UNKNOWN}
    assert advice.recommendations == ()
    assert all(f.blind_spots and f.wording.startswith("cannot tell") for f in advice.findings)


def test_a_blind_spot_touches_only_what_it_could_match() -> None:
    found = verdicts(sent(metric("idle"), metric("other")), reads(rule("idle + ")))
    assert found == {"idle": Verdict.UNKNOWN, "other": Verdict.UNREFERENCED}


def test_one_unit_that_is_read_protects_the_name() -> None:
    """A drop is by OTLP name: two metrics of one name stand and fall together."""
    profile = sent(metric("size", unit="By"), metric("size", unit="s"))
    assert verdicts(profile, reads(rule("size_seconds > 1"))) == {}


@given(
    st.lists(st.sampled_from(["a_metric", "b_metric", "c_metric", "{", "x + "]), max_size=6), st.sampled_from(["a_metric", "d_metric", "{"])
)
def test_more_documents_never_shrink_what_is_protected(documents: list[str], more: str) -> None:
    def texts(names: list[str]) -> list[str]:
        return [n if n == "{" else rule(n) for n in names]

    profile = sent(*(metric(n) for n in ("a_metric", "b_metric", "c_metric", "d_metric")))
    few, many = reads(*texts(documents)), reads(*texts([*documents, more]))

    def dropped(usage: Usage) -> set[str | None]:
        return {m for m, v in verdicts(profile, usage).items() if v is Verdict.UNREFERENCED}

    assert dropped(many) <= dropped(few)


def label(name: str = "user_id", distinct: int = 500, without: int = 3) -> LabelProfile:
    return LabelProfile(name, "point", distinct, without)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("sum by (region) (rate(logins_total[5m]))", Verdict.SAFE),
        ("rate(logins_total[5m])", Verdict.VISIBLE),
        ("sum by (user_id) (rate(logins_total[5m]))", Verdict.NEEDED),
        ('logins_total{user_id="7"}', Verdict.NEEDED),
        ("logins_total{$filters}", Verdict.NEEDED),
    ],
)
def test_an_explosive_label_is_advice_with_a_verdict(expression: str, verdict: Verdict) -> None:
    profile = sent(metric("logins", Kind.SUM, series=1000, labels=(label(),)))
    text = '{"panels": [{"title": "p", "targets": [{"expr": %s}]}]}' % __import__("json").dumps(expression)  # noqa: UP031
    advice = advise(profile, reads(text), BOOK, Policy(), NOW)
    (finding,) = advice.findings
    assert (finding.rule, finding.label, finding.verdict) == ("high_cardinality_label", "user_id", verdict)
    assert finding.volume.series == 997
    assert advice.recommendations == ()


@pytest.mark.parametrize(("distinct", "without", "found"), [(99, 3, 0), (100, 3, 1), (500, 500, 1), (500, 501, 0)])
def test_a_label_counts_as_explosive_from_its_bounds_on(distinct: int, without: int, found: int) -> None:
    profile = sent(metric("logins", Kind.SUM, series=1000, labels=(label(distinct=distinct, without=without),)))
    findings = advise(profile, reads(rule("logins_total")), BOOK, Policy(), NOW).findings
    assert [f.rule for f in findings] == (["high_cardinality_label"] if found else ["unused_label"])


@pytest.mark.parametrize(
    ("severity", "service", "rate", "found"),
    [
        (5, "cart", 1.0, True),
        (8, "cart", 1.0, True),
        (9, "cart", 9.0, False),
        (0, "cart", 9.0, False),
        (5, "", 9.0, False),
        (5, "cart", 0.09, False),
    ],
)
def test_debug_logs_are_those_with_a_debug_severity_and_a_service(severity: int, service: str, rate: float, found: bool) -> None:
    advice = advise(sent(logs=(LogProfile(service, severity, rate, rate * 100),)), reads(rule("up")), BOOK, Policy(), NOW)
    assert [r.actions for r in advice.recommendations] == ([(DropLogs("cart", 8),)] if found else [])


def asks(plugin: str, query: str) -> str:
    return json.dumps({"panels": [{"targets": [{"query": query, "datasource": {"type": plugin}}]}]})


LOKI = '{"panels": [{"targets": [{"expr": "%s", "datasource": {"type": "loki"}}]}]}'


@pytest.mark.parametrize(
    ("document", "letter", "reasons"),
    [
        (rule("up"), Verdict.UNREFERENCED, []),
        (rule("up{"), Verdict.UNREFERENCED, []),
        ("{broken", Verdict.UNKNOWN, ["not readable"]),
        (LOKI % "{app=", Verdict.UNKNOWN, ["not LogQL"]),
        (asks("elasticsearch", "level:debug"), Verdict.UNKNOWN, ["a query in elasticsearch"]),
        (asks("grafana-clickhouse-datasource", "SELECT * FROM otel_logs"), Verdict.UNKNOWN, ["a query in grafana-clickhouse"]),
        (asks("nobody-knows", "level:debug"), Verdict.UNKNOWN, ["a query in nobody-knows"]),
        (asks("grafana-postgresql-datasource", "SELECT * FROM orders"), Verdict.UNREFERENCED, []),
        (asks("influxdb", "SELECT * FROM cpu"), Verdict.UNREFERENCED, []),
    ],
)
def test_a_finding_about_logs_names_what_hides_their_readers(document: str, letter: Verdict, reasons: list[str]) -> None:
    (finding,) = advise(sent(logs=(LogProfile("cart", 5, 1.0, 100.0),)), reads(document), BOOK, Policy(), NOW).findings
    hiding = [spot.reason for spot in finding.blind_spots if spot.kind == "hiding"]
    assert finding.verdict is letter
    assert len(hiding) == len(reasons)
    assert all(h.startswith(r) for h, r in zip(hiding, reasons, strict=True))
    assert "no source of log queries is connected" in [spot.reason for spot in finding.blind_spots if spot.kind == "narrowing"]
    assert (finding.action is None) is bool(reasons)


def test_the_dearest_comes_first_and_the_order_is_the_same_every_time() -> None:
    metrics = [metric(f"m{k}", series=k) for k in range(1, 6)]
    one = advise(sent(*metrics), reads(rule("up")), BOOK, Policy(), NOW)
    two = advise(sent(*reversed(metrics)), reads(rule("up")), BOOK, Policy(), NOW)
    assert [f.metric for f in one.findings] == ["m5", "m4", "m3", "m2", "m1"]
    assert one.findings == two.findings
    assert one.recommendations == two.recommendations


def test_costs_are_exact_decimals() -> None:
    assert price(Volume(1, 3, 0, 0), Signal.METRICS, BOOK).amount == Decimal("0.03")
    assert price(Volume(bytes_per_second=1000.0), Signal.LOGS, BOOK).amount == Decimal("1.296")
    assert price(Volume(bytes_per_second=1000.0), Signal.TRACES, BOOK).amount == 0
    assert price(Volume(2, 12, 1.0, 0), Signal.METRICS, replace(BOOK, metrics=Price(Decimal("0.000001"), "samples"))).amount == Decimal(
        "15.552"
    )
    assert price(Volume(5, 9), Signal.METRICS, FREE).amount == 0


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[]", ""),
        ("a: [", ""),
        ("version: 1\ncurrency: USD", "name"),
        ("name: n\nversion: x\ncurrency: USD", "version"),
        ("name: n\nversion: 1\ncurrency: usd", "currency"),
        ("name: n\nversion: 1\ncurrency: USD\nextra: 1", "extra"),
        ("name: n\nversion: 1\ncurrency: USD\nmetrics: {per: furlong, amount: '1'}", "metrics/per"),
        ("name: n\nversion: 1\ncurrency: USD\nlogs: {per: series, amount: '1'}", "logs/per"),
        ("name: n\nversion: 1\ncurrency: USD\nmetrics: {per: series}", "metrics"),
        ("name: n\nversion: 1\ncurrency: USD\nmetrics: {per: series, amount: 0.1}", "metrics/amount"),
        ("name: n\nversion: 1\ncurrency: USD\nmetrics: {per: series, amount: '-1'}", "metrics/amount"),
        ("name: n\nversion: 1\ncurrency: USD\nmetrics: {per: series, amount: 'NaN'}", "metrics/amount"),
    ],
)
def test_a_bad_price_book_names_the_place(text: str, path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_price_book(text)
    assert [p.path for p in refusal.value.problems] == [path]


AFTER = Window(NOW + timedelta(seconds=120), NOW + timedelta(seconds=180))
APPLIED = NOW + timedelta(seconds=119)


def test_what_was_saved_is_in_minus_out() -> None:
    saving = judge(Volume(10, 12, 10.0, 5.0), Volume(4, 5, 4.0, 2.0), WINDOW, AFTER, APPLIED, Loss(0), BOOK)
    assert isinstance(saving, Realised)
    assert saving.volume == Volume(6, 7, 6.0, 3.0)
    assert saving.cost.amount == Decimal("0.07")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"applied": None}, "not reported as applied"),
        ({"applied": AFTER.start + timedelta(seconds=1)}, "before the change"),
        ({"after": Window(AFTER.start, AFTER.end + timedelta(seconds=5))}, "differ in length"),
        ({"sent": Volume()}, "nothing was sent"),
        ({"loss": Loss(3)}, "3 items were refused"),
        ({"loss": Loss(None)}, "not known"),
    ],
)
def test_what_cannot_be_told_says_why(change: dict[str, object], words: str) -> None:
    facts: dict[str, object] = {
        "sent": Volume(1),
        "left": Volume(),
        "before": WINDOW,
        "after": AFTER,
        "applied": APPLIED,
        "loss": Loss(0),
        "book": BOOK,
    }
    saving = judge(**{**facts, **change})  # type: ignore[arg-type]
    assert isinstance(saving, CannotTell)
    assert words in saving.reason
