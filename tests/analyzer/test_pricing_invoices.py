"""Invoices reckoned by hand, for every shape that is shipped: the arithmetic stands beside each figure.

A period has 30 days of 86,400 seconds: 2,592,000 s, 720 hours. So 1,000 bytes/s are 2.592 GB, and 1,000 samples/s are 2,592,000,000.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from analyzer.pricebooks import parse_price_book
from analyzer.pricing import NOTHING, Bill, Totals, bill, marginal
from flowgate.money import PriceBook, Volume

BOOKS = Path(__file__).resolve().parents[2] / "examples" / "price-books"
SECONDS = 2_592_000
GIB = 2**30


def book(name: str) -> PriceBook:
    return parse_price_book((BOOKS / f"{name}.yaml").read_text())


def lines(found: Bill) -> dict[str, Decimal]:
    return {line.name: line.amount for line in found.lines}


def held(*hours: tuple[int, int]) -> tuple[Volume, ...]:
    """So many hours of so many series, none of which is a histogram."""
    return tuple(Volume(series, series) for count, series in hours for _ in range(count))


def bytes_of(gibibytes: int) -> float:
    return gibibytes * GIB / SECONDS


def test_grafana_cloud_bills_the_95th_percentile_of_series_or_of_points() -> None:
    usual = Volume(series=20_000, prom_series=60_000, points_per_second=500.0, samples_per_second=1_500.0)
    spike = Volume(series=90_000, prom_series=300_000, points_per_second=9_000.0, samples_per_second=20_000.0)
    hours = (usual,) * 684 + (spike,) * 36  # 5 % of 720 hours are 36: the spike is left out
    sent = Totals(usual, Volume(bytes_per_second=100_000.0), Volume(bytes_per_second=50_000.0), hours)
    found = bill(sent, book("grafana-cloud-pro"))
    assert lines(found) == {
        # 1,500 samples/s x 60 = 90,000 a minute, at 1 a minute 90,000 > 60,000 series; 90,000 - 10,000 = 80,000; 80 x 6.50
        "active series": Decimal("520.00"),
        "logs processed": Decimal("12.96"),  # 100,000 B/s = 259.2 GB; x 0.05
        "logs written": Decimal("83.68"),  # 259.2 - 50 = 209.2; x 0.40
        "traces processed": Decimal("6.48"),  # 50,000 B/s = 129.6 GB; x 0.05
        "traces written": Decimal("31.84"),  # 129.6 - 50 = 79.6; x 0.40
        "platform fee": Decimal("19.00"),
    }
    assert found.cost.amount == Decimal("673.96")  # 520.00 + 12.96 + 83.68 + 6.48 + 31.84 + 19.00
    assert found.notes == ()


def test_grafana_clouds_own_example_of_a_spike() -> None:
    """Their page: 6,000 series with a spike to 30,000 for 24 hours of the month are billed as 6,000."""
    hours = held((696, 6_000), (24, 30_000))
    series = bill(Totals(hours[0], hours=hours), book("grafana-cloud-pro")).lines[0]
    assert (series.quantity, series.amount) == (6_000, 0)  # within the 10,000 that are included


def test_datadog_averages_custom_metrics_and_charges_logs_twice() -> None:
    hours = held((480, 3_000), (240, 6_000))
    sent = Totals(
        hours[0],
        Volume(points_per_second=200.0, bytes_per_second=200_000.0),
        Volume(points_per_second=300.0, bytes_per_second=400_000.0),
        hours,
    )
    found = bill(sent, book("datadog"))
    assert lines(found) == {
        "custom metrics": Decimal("100.00"),  # (480 x 3,000 + 240 x 6,000) / 720 = 4,000; - 2,000 = 2,000; 20 hundreds x 5.00
        "log ingestion": Decimal("51.84"),  # 200,000 B/s = 518.4 GB; x 0.10
        # 200/s = 518.4 M; 30 % = 155.52 M; 100 x 1.70 = 170.00; 55.52 x 2.55 = 141.576
        "log indexing, 15 days": Decimal("311.576"),
        "ingested spans": Decimal("28.68"),  # 400,000 B/s = 1,036.8 GB; - 750 = 286.8; x 0.10
        "indexed spans, 15 days": Decimal("123.692"),  # 300/s = 777.6 M; 10 % = 77.76 M; - 5 = 72.76; x 1.70
        "20 Infrastructure Pro hosts": Decimal("300.00"),
        "5 APM hosts": Decimal("155.00"),
    }
    # 100.00 + 51.84 + 311.576 + 28.68 + 123.692 + 455.00 = 1,070.788
    assert found.cost.invoiced().amount == Decimal("1070.79")


def test_datadogs_own_example_of_spans() -> None:
    """Their page: 5 APM hosts, 30 million indexed spans, 900 GB ingested: 155 + 42.50 + 15 = 212.50."""
    spans = Volume(points_per_second=300_000_000 / SECONDS, bytes_per_second=900e9 / SECONDS)  # a tenth of 300 million is indexed
    found = lines(bill(Totals(traces=spans), book("datadog")))
    charged = found["5 APM hosts"] + found["indexed spans, 15 days"] + found["ingested spans"]
    assert charged.quantize(Decimal("0.01")) == Decimal("212.50")


def test_new_relic_counts_whole_gigabytes_of_everything_together() -> None:
    sent = Totals(Volume(bytes_per_second=40_000.0), Volume(bytes_per_second=100_000.0), Volume(bytes_per_second=60_000.0))
    # 200,000 B/s = 518.4 GB -> 518; - 100 = 418; x 0.40
    assert bill(sent, book("new-relic")).cost.invoiced().amount == Decimal("167.20")


def test_new_relics_own_example_of_rounding() -> None:
    """Their page: 100.9 GB in a month are counted as 100 GB."""
    found = bill(Totals(logs=Volume(bytes_per_second=100.9e9 / SECONDS)), book("new-relic"))
    assert (found.lines[0].quantity, found.cost.amount) == (100, 0)


def test_splunk_averages_time_series_beyond_what_comes_with_the_hosts() -> None:
    hours = held((360, 10_000), (360, 14_000))
    found = bill(Totals(hours[0], hours=hours), book("splunk-observability"))
    # average 12,000; - 200 x 20 = 8,000; 8 thousands x 10.00 = 80.00; + 1,500.00
    assert found.cost.invoiced().amount == Decimal("1580.00")


def test_chronosphere_charges_a_quota_used_or_not_and_what_exceeds_it() -> None:
    sent = Totals(Volume(1, 1, points_per_second=120_000.0), Volume(bytes_per_second=200_000.0), Volume(bytes_per_second=100_000.0))
    found = bill(sent, book("chronosphere"))
    assert lines(found) == {
        # 120,000/s = 311,040 M; 259,200 x 0.05 = 12,960.00; 51,840 x 0.10 = 5,184.00
        "persisted writes": Decimal("18144.00"),
        # 40 % = 124,416 M, below the quota: 129,600 x 0.01
        "matched writes": Decimal("1296.00"),
        "traces persisted": Decimal("77.76"),  # 259.2 GB x 0.30
        "logs persisted": Decimal("155.52"),  # 518.4 GB x 0.30
    }
    assert found.cost.amount == Decimal("19673.28")


def test_amazon_prometheus_has_three_graduated_tiers_behind_a_free_one() -> None:
    found = bill(Totals(Volume(1, 1, points_per_second=100_000.0)), book("aws-managed-prometheus"))
    # 100,000/s = 259,200 M; - 40 M = 259,160 M. Tens of millions: 200 x 0.90 = 180.00; 25,000 x 0.35 = 8,750.00; 716 x 0.16 = 114.56
    assert found.cost.amount == Decimal("9044.56")


def test_cloudwatch_has_four_graduated_tiers_of_metrics() -> None:
    hours = held((720, 300_010))
    found = bill(Totals(hours[0], Volume(bytes_per_second=bytes_of(105)), hours=hours), book("aws-cloudwatch"))
    # - 10 free = 300,000: 10,000 x 0.30 = 3,000; 240,000 x 0.10 = 24,000; 50,000 x 0.05 = 2,500. Logs: 105 - 5 = 100 x 0.50 = 50.00
    assert found.cost.invoiced().amount == Decimal("29550.00")


def test_google_cloud_has_samples_in_tiers_logs_by_the_gibibyte_and_spans() -> None:
    sent = Totals(Volume(1, 1, points_per_second=120_000.0), Volume(bytes_per_second=bytes_of(150)), Volume(points_per_second=10.0))
    found = bill(sent, book("google-cloud"))
    # 120,000/s = 311,040 M: 50,000 x 0.06 = 3,000; 200,000 x 0.048 = 9,600; 61,040 x 0.036 = 2,197.44
    assert found.lines[0].amount == Decimal("14797.44")
    # + (150 - 50) x 0.50 = 50.00; + 10/s = 25.92 M - 2.5 = 23.42 x 0.20 = 4.684; together 14,852.124
    assert found.cost.invoiced().amount == Decimal("14852.12")


def test_retention_is_charged_for_what_a_steady_stream_holds() -> None:
    kept = parse_price_book(
        """{format: 2, name: kept, version: 1, vendor: v, currency: USD, as_of: '2026-11-25', source: {title: t, read: '2026-11-25'},
        lines: [{name: kept, signals: [logs], unit: gibibyte, retained_days: '60', per: 30, amount: '0.01'}]}"""
    )
    # 150 GiB a month, 60 days beyond what is free: 300 GiB held; x 0.01
    assert bill(Totals(logs=Volume(bytes_per_second=bytes_of(150))), kept).cost.invoiced().amount == Decimal("3.00")


def test_azure_charges_a_commitment_in_full() -> None:
    sent = Totals(Volume(1, 1, points_per_second=10_000.0), Volume(bytes_per_second=1_000_000.0))
    # 10,000/s = 25,920 M = 2,592 tens of millions x 0.16 = 414.72; 2,592 GB of 3,000 committed x 1.96 = 5,880.00
    assert bill(sent, book("azure-monitor")).cost.amount == Decimal("6294.72")


def test_elastic_charges_what_comes_in_and_what_is_kept() -> None:
    found = bill(Totals(logs=Volume(bytes_per_second=200_000.0)), book("elastic-serverless"))
    # 518.4 GB x 0.15 = 77.76; 518.4 kept for a month x 0.02 = 10.368; together 88.128
    assert found.cost.invoiced().amount == Decimal("88.13")


@pytest.mark.parametrize(
    ("points", "amount"),
    [
        (100.0, "2000.00"),  # 259.2 M = 2,592 x 0.15 = 388.80; + 22.45 below: 411.25, less than the minimum
        (1_000.0, "3910.45"),  # 25,920 x 0.15 = 3,888.00; + 100 GiB x 0.20 = 20.00; + 100 x 35 days x 0.0007 = 2.45
    ],
)
def test_dynatrace_draws_everything_from_one_commitment(points: float, amount: str) -> None:
    sent = Totals(Volume(1, 1, points_per_second=points), Volume(bytes_per_second=bytes_of(100)))
    assert bill(sent, book("dynatrace")).cost.invoiced().amount == Decimal(amount)


@pytest.mark.parametrize(
    ("events", "amount"),
    [
        (38.0, "130.00"),  # 98.496 M x 1.30 = 128.0448, less than the minimum
        (50.0, "155.52"),  # 129.6 M x 1.20
        (173.0, "538.10"),  # 448.416 M x 1.20 = 538.0992
        (174.0, "451.01"),  # 451.008 M x 1.00: more events, a lower bill
    ],
)
def test_honeycombs_band_prices_every_event(events: float, amount: str) -> None:
    sent = Totals(NOTHING, Volume(points_per_second=events - 20.0), Volume(points_per_second=20.0))
    assert bill(sent, book("honeycomb")).cost.invoiced().amount == Decimal(amount)


def test_leaving_a_volume_band_may_cost_more() -> None:
    more, less = (Totals(logs=Volume(points_per_second=n)) for n in (174.0, 173.0))
    # 451.008 - 538.0992
    assert marginal(more, less, book("honeycomb")).amount == Decimal("-87.0912")


def test_self_hosting_is_sized_for_the_highest_hour() -> None:
    hours = held((719, 1_000_000), (1, 2_000_000))
    found = bill(Totals(hours[0], Volume(bytes_per_second=1_000_000.0), hours=hours), book("self-hosted"))
    # 2 x 450.00 = 900.00; 2,592 GB x 0.04 = 103.68; a tenth kept 30 days x 0.023 = 5.9616; + 2,500.00 = 3,509.6416
    assert found.cost.invoiced().amount == Decimal("3509.64")


def test_the_short_form_prices_each_signal_by_one_rate() -> None:
    short = parse_price_book((BOOKS.parent / "price-book.yaml").read_text())
    sent = Totals(Volume(100, 250), Volume(bytes_per_second=1_000_000.0), Volume(bytes_per_second=500_000.0))
    # 250 x 0.008 = 2.00; 2,592 x 0.50 = 1,296.00; 1,296 x 0.30 = 388.80
    assert bill(sent, short).cost.amount == Decimal("1686.80")
