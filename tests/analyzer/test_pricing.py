"""What a bill promises, whatever the book: exact, in tiers that add up unit by unit, and a part's cost by difference alone."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analyzer.pricing import FREE, Bill, Totals, bill, by_currency, marginal, marginal_from, marginals, price
from flowgate.money import CannotTell, Commit, Cost, Fee, Line, Percentile, Price, PriceBook, Tier, Volume
from flowgate.telemetry import Signal

SERIES = Line("series", (Signal.METRICS,), "series", (Tier(None, Decimal("0.01")),), measured="average")
NOTHING = Decimal(0)
rates = st.decimals(0, 10, places=4)


def book(*lines: Line, minimum: Decimal = NOTHING, fees: tuple[Fee, ...] = (), currency: str = "USD") -> PriceBook:
    return PriceBook("b", 1, currency, None, None, None, lines, fees, minimum)


def sent(series: int) -> Totals:
    return Totals(Volume(series, series))


def amount(line: Line, quantity: int) -> Decimal:
    return bill(sent(quantity), book(line)).cost.amount


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.lists(st.integers(1, 120), unique=True, max_size=4)))
    return (*(Tier(Decimal(end), draw(rates)) for end in ends), Tier(None, draw(rates)))


@st.composite
def graduated(draw: st.DrawFn) -> Line:
    return replace(
        SERIES,
        tiers=draw(tiers()),
        included=Decimal(draw(st.integers(0, 50))),
        commit=draw(st.none() | st.builds(Commit, st.integers(1, 60).map(Decimal), rates)),
        per=draw(st.sampled_from([1, 2, 5, 10, 1000])),
    )


def unit_by_unit(line: Line, quantity: int) -> Decimal:
    """The slow way: each unit is looked at, in the order in which it is used up."""
    total = line.commit.quantity * line.commit.amount if line.commit else NOTHING
    paid_for = int(line.included + (line.commit.quantity if line.commit else 0))
    for unit in range(1, max(0, quantity - paid_for) + 1):
        total += next(t.amount for t in line.tiers if t.up_to is None or unit <= t.up_to)
    return total / line.per


@given(graduated(), st.integers(0, 200))
def test_graduated_tiers_cost_what_their_units_cost_one_by_one(line: Line, quantity: int) -> None:
    assert amount(line, quantity) == unit_by_unit(line, quantity)


@given(graduated(), st.integers(0, 300), st.integers(0, 300), st.sampled_from(["none", "down", "up"]))
def test_more_never_costs_less_in_graduated_tiers(line: Line, a: int, b: int, rounding: str) -> None:
    line = replace(line, rounding=rounding)
    assert amount(line, min(a, b)) <= amount(line, max(a, b))


@given(tiers(), st.integers(0, 200))
def test_in_volume_tiers_one_tier_prices_all(found: tuple[Tier, ...], quantity: int) -> None:
    rate = next(t.amount for t in found if t.up_to is None or quantity <= t.up_to)
    assert amount(replace(SERIES, tiers=found, tiering="volume"), quantity) == rate * quantity


def test_in_volume_tiers_more_can_cost_less() -> None:
    line = replace(SERIES, tiers=(Tier(Decimal(100), Decimal("1.00")), Tier(None, Decimal("0.50"))), tiering="volume")
    assert (amount(line, 100), amount(line, 101)) == (Decimal(100), Decimal("50.5"))
    assert marginal(sent(101), sent(100), book(line)).amount == Decimal("-49.5")


# --- what a part costs -----------------------------------------------------------------------------------------------------------


def ordered(line: Line, falling: bool) -> Line:
    amounts = sorted((t.amount for t in line.tiers), reverse=falling)
    return replace(line, tiers=tuple(Tier(t.up_to, a) for t, a in zip(line.tiers, amounts, strict=True)))


@given(graduated(), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_two_parts_together_cost_no_more_than_apart_when_the_last_unit_is_dearest(line: Line, rest: int, a: int, b: int) -> None:
    """Allowances, commitments and rising tiers: what both parts free is free only once."""
    line = ordered(replace(line, commit=None), falling=False)
    total, one = rest + a + b, book(line)
    apart = marginal(sent(total), sent(total - a), one).amount + marginal(sent(total), sent(total - b), one).amount
    assert marginal(sent(total), sent(rest), one).amount <= apart


@given(graduated(), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_two_parts_together_cost_no_less_than_apart_when_the_last_unit_is_cheapest(line: Line, rest: int, a: int, b: int) -> None:
    """Falling tiers: the first part taken away is the cheap one, the second is dearer."""
    line = ordered(replace(line, commit=None, included=NOTHING), falling=True)
    total, one = rest + a + b, book(line)
    apart = marginal(sent(total), sent(total - a), one).amount + marginal(sent(total), sent(total - b), one).amount
    assert marginal(sent(total), sent(rest), one).amount >= apart


@given(st.lists(graduated(), min_size=1, max_size=3), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_steps_add_up_to_the_whole_way_exactly(lines: list[Line], a: int, b: int, c: int) -> None:
    low, middle, high = sorted((a, b, c))
    one = book(*lines)
    way = marginal(sent(high), sent(middle), one) + marginal(sent(middle), sent(low), one)
    assert way == marginal(sent(high), sent(low), one)


@given(graduated(), st.integers(0, 300), st.integers(0, 300))
def test_a_part_costs_at_most_the_bill_and_never_less_than_nothing(line: Line, a: int, b: int) -> None:
    everything, rest = sent(max(a, b)), sent(min(a, b))
    one = book(line, minimum=Decimal(5), fees=(Fee("f", Decimal(3)),))
    assert 0 <= marginal(everything, rest, one).amount <= bill(everything, one).cost.amount


def test_below_a_commitment_a_part_costs_nothing_though_its_average_is_not() -> None:
    line = replace(SERIES, commit=Commit(Decimal(100), Decimal("2")), tiers=(Tier(None, Decimal("3")),))
    assert amount(line, 80) == 200
    assert marginal(sent(80), sent(10), book(line)).amount == 0
    assert marginal(sent(110), sent(60), book(line)).amount == 30  # ten above the commitment, at the overage's rate


def test_below_the_books_minimum_a_part_costs_nothing() -> None:
    one = book(SERIES, minimum=Decimal("5"))
    assert [line.name for line in bill(sent(100), one).lines] == ["series", "minimum"]
    assert bill(sent(100), one).cost.amount == 5
    assert marginal(sent(600), sent(100), one).amount == 1  # 6.00 - 5.00


def test_fees_are_on_the_bill_and_in_no_difference() -> None:
    one = book(SERIES, fees=(Fee("platform", Decimal("19")),))
    assert bill(sent(100), one).cost.amount == 20
    assert marginal(sent(100), sent(0), one).amount == 1


@given(st.lists(graduated(), min_size=1, max_size=5), st.integers(0, 300), st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(lines: list[Line], quantity: int, dice: random.Random) -> None:
    named = [replace(line, name=f"{i}") for i, line in enumerate(lines)]
    shuffled = dice.sample(named, len(named))
    assert bill(sent(quantity), book(*named)).cost == bill(sent(quantity), book(*shuffled)).cost


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.integers(1, 10**6))
def test_a_straight_price_is_exact_to_the_last_place(counts: list[int], micros: int) -> None:
    """No binary fraction and no rounding gets between: the sum of the parts is the whole."""
    line = replace(SERIES, tiers=(Tier(None, Decimal(micros) / 10**6),))
    parts = sum((amount(line, n) for n in counts), NOTHING)
    assert parts == amount(line, sum(counts)) == Decimal(micros) * sum(counts) / 10**6


@given(st.floats(0, 1e9), st.sampled_from(["gigabyte", "gibibyte", "events"]))
def test_rates_become_the_quantity_of_thirty_days(rate: float, unit: str) -> None:
    line = replace(SERIES, signals=(Signal.LOGS,), unit=unit, measured="total")
    found = bill(Totals(logs=Volume(points_per_second=rate, bytes_per_second=rate)), book(line)).lines[0]
    divisor = {"gigabyte": 10**9, "gibibyte": 2**30, "events": 1}[unit]
    assert float(found.quantity) == pytest.approx(rate * 2_592_000 / divisor, rel=1e-9, abs=1e-11)


def test_a_tenth_of_an_event_a_second_is_a_tenth() -> None:
    """Not the binary fraction nearest to it: 0.1 x 2,592,000 is 259,200 exactly."""
    line = replace(SERIES, signals=(Signal.LOGS,), unit="events", measured="total")
    assert bill(Totals(logs=Volume(points_per_second=0.1)), book(line)).lines[0].quantity == 259_200


@pytest.mark.parametrize(("rounding", "billed"), [("none", 1234), ("down", 1200), ("up", 1300)])
def test_a_quantity_is_rounded_to_whole_blocks_before_anything_is_taken_off(rounding: str, billed: int) -> None:
    found = bill(sent(1234), book(replace(SERIES, per=100, rounding=rounding, included=Decimal(100)))).lines[0]
    assert found.quantity == billed
    assert found.amount == Decimal(billed - 100) / 10_000


def test_several_signals_share_one_line_and_its_allowance() -> None:
    line = replace(SERIES, signals=(Signal.LOGS, Signal.TRACES), unit="gigabyte", measured="total", included=Decimal(100))
    found = bill(Totals(Volume(bytes_per_second=9e9), Volume(bytes_per_second=20_000.0), Volume(bytes_per_second=30_000.0)), book(line))
    assert found.lines[0].quantity == Decimal("129.6")
    assert found.cost.amount == Decimal("0.296")


@given(st.lists(graduated(), min_size=1, max_size=3), st.integers(0, 300), st.lists(st.integers(0, 300), max_size=4), st.booleans())
def test_many_alternatives_to_the_same_totals_cost_what_each_alone_does(
    lines: list[Line], everything: int, rests: list[int], remembered: bool
) -> None:
    one = book(*(replace(line, measured=Percentile(Decimal(95))) for line in lines))
    totals = replace(sent(everything), hours=tuple(Volume(n, n) for n in range(300)) if remembered else ())
    saved = marginal_from(totals, one)
    assert [saved(sent(rest)) for rest in rests] == [marginal(totals, sent(rest), one) for rest in rests]


# --- held over hours --------------------------------------------------------------------------------------------------------------

HOURS = tuple(Volume(n, n) for n in range(1, 721))


@pytest.mark.parametrize(
    ("measured", "quantity"),
    [
        ("average", "360.5"),
        ("high_water", "720"),
        (Percentile(Decimal(95)), "684"),  # 36 hours are left out
        (Percentile(Decimal(99)), "712"),  # the ninth highest: 7.2 hours are left out, rounded up
        (Percentile(Decimal(100)), "720"),
    ],
)
def test_a_months_hours_are_measured_as_the_book_says(measured: object, quantity: str) -> None:
    shuffled = tuple(random.Random(1).sample(HOURS, len(HOURS)))
    found = bill(Totals(HOURS[0], hours=shuffled), book(replace(SERIES, measured=measured))).lines[0]
    assert found.quantity == Decimal(quantity)
    assert found.notes == ()


@pytest.mark.parametrize(("hours", "from_the_top"), [(720, 9), (744, 9), (672, 8)])
def test_the_99th_percentile_is_datadogs(hours: int, from_the_top: int) -> None:
    history = tuple(Volume(n, n) for n in range(1, hours + 1))
    found = bill(Totals(hours=history), book(replace(SERIES, measured=Percentile(Decimal(99))))).lines[0]
    assert found.quantity == hours - from_the_top + 1


@pytest.mark.parametrize(("hours", "left_out"), [(1, 0), (2, 0), (19, 0), (20, 1), (39, 1), (671, 33), (672, 34), (720, 36)])
def test_of_less_than_a_month_no_more_than_the_share_is_left_out(hours: int, left_out: int) -> None:
    history = tuple(Volume(n, n) for n in range(1, hours + 1))
    found = bill(Totals(hours=history), book(replace(SERIES, measured=Percentile(Decimal(95))))).lines[0]
    assert found.quantity == hours - left_out


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_lies_between_the_lowest_and_the_highest_hour(counts: list[int], rank: int) -> None:
    line = replace(SERIES, measured=Percentile(Decimal(rank)))
    found = bill(Totals(hours=tuple(Volume(n, n) for n in counts)), book(line)).lines[0]
    assert found.quantity in counts
    left_out = sum(1 for n in counts if n > found.quantity)
    assert left_out <= -(-len(counts) * (100 - rank) // 100)


@pytest.mark.parametrize(
    ("measured", "words"),
    [("average", "the average"), ("high_water", "the highest hour"), (Percentile(Decimal("99.5")), "the 99.5th percentile")],
)
def test_without_a_history_the_window_stands_in_and_the_bill_says_so(measured: object, words: str) -> None:
    found = bill(sent(500), book(replace(SERIES, measured=measured)))
    assert found.lines[0].quantity == 500
    assert found.notes == (f"series: estimate: no hourly history; the window's count stands for {words}",)
    assert found.notes[0].removeprefix("series: ") in found.lines[0].reason


def test_a_short_history_says_how_short() -> None:
    assert "24 hours of history stand for 720" in bill(Totals(hours=HOURS[:24]), book(SERIES)).notes[0]


def test_what_flows_needs_no_history() -> None:
    line = replace(SERIES, unit="samples", measured="total")
    assert bill(sent(1), book(line)).notes == ()


def test_a_difference_takes_the_history_of_everything_times_the_share_that_is_left() -> None:
    """Only everything has a history; the window says that a quarter goes. 684 at the 95th percentile, so 171 are saved."""
    line = replace(SERIES, measured=Percentile(Decimal(95)))
    saved = marginal(Totals(Volume(400, 400), hours=HOURS), Totals(Volume(300, 300)), book(line))
    assert saved.amount == Decimal("1.71")


def test_a_difference_with_two_histories_uses_both() -> None:
    line = replace(SERIES, measured="high_water")
    rest = tuple(Volume(n // 2, n // 2) for n in range(1, 721))
    assert marginal(Totals(hours=HOURS), Totals(hours=rest), book(line)).amount == Decimal("3.60")


def test_a_history_of_the_rest_alone_is_left_aside() -> None:
    line = replace(SERIES, measured="high_water")
    assert marginal(sent(100), Totals(Volume(40, 40), hours=HOURS), book(line)).amount == Decimal("0.60")


def test_nothing_left_of_a_window_costs_nothing_whatever_the_history() -> None:
    line = replace(SERIES, measured="high_water")
    assert marginal(Totals(Volume(400, 400), hours=HOURS), Totals(), book(line)).amount == Decimal("7.20")


def test_a_window_in_which_nothing_was_seen_says_nothing_about_the_share() -> None:
    line = replace(SERIES, measured="high_water")
    assert marginal(Totals(hours=HOURS), Totals(), book(line)).amount == 0


@pytest.mark.parametrize(
    ("points_per_second", "billed"),
    [
        (100 / 60, 100),  # one a minute each: series count
        (200 / 60, 200),  # two a minute: each counts twice
        (25 / 60, 100),  # one in four minutes: at least once
    ],
)
def test_a_series_that_sends_often_counts_more_than_once(points_per_second: float, billed: int) -> None:
    line = replace(SERIES, points_per_minute=Decimal(1))
    assert float(bill(Totals(Volume(100, 100, points_per_second)), book(line)).lines[0].quantity) == pytest.approx(billed)


def test_points_of_prometheus_series_are_samples() -> None:
    line = replace(SERIES, unit="prom_series", points_per_minute=Decimal(1))
    histograms = Volume(10, 120, points_per_second=10 / 15)  # 10 histograms of 12 series every 15 s: 480 samples a minute
    assert float(bill(Totals(histograms), book(line)).lines[0].quantity) == pytest.approx(480)


# --- samples ----------------------------------------------------------------------------------------------------------------------


def test_counted_samples_are_taken_and_uncounted_ones_estimated() -> None:
    counted = Volume(2, 13, 1.5, samples_per_second=4.5)
    assert counted.samples == 4.5
    assert Volume(2, 13, 1.5).samples == pytest.approx(9.75)
    assert Volume(points_per_second=3.0).samples == 3.0


def test_volumes_add_what_was_counted_and_estimate_only_the_rest() -> None:
    gauges, histograms = Volume(10, 10, 10.0), Volume(1, 12, 0.1)
    assert (gauges + histograms).samples_per_second is None
    counted = Volume(10, 10, 10.0, samples_per_second=10.0) + Volume(1, 12, 0.1, samples_per_second=1.2)
    assert counted.samples == pytest.approx(11.2)
    assert (counted - histograms).samples == pytest.approx(10.0)
    assert sum((counted, counted), Volume()).samples == pytest.approx(22.4)


# --- destinations and currencies -------------------------------------------------------------------------------------------------


def test_each_destination_is_priced_by_its_own_book() -> None:
    books = {"a": book(SERIES), "b": book(replace(SERIES, tiers=(Tier(None, Decimal("0.02")),)), currency="EUR")}
    found = marginals({"a": sent(100), "b": sent(100), "c": sent(100)}, {"a": sent(50)}, books)
    assert found == {
        "a": Cost(Decimal("0.5"), "USD"),
        "b": Cost(Decimal(2), "EUR"),  # nothing is sent there any more
        "c": CannotTell("there is no price book for c"),
    }


def test_costs_are_summed_where_currencies_agree() -> None:
    costs = [Cost(Decimal(1), "USD"), Cost(Decimal(2), "EUR"), Cost(Decimal(3), "USD")]
    assert by_currency(costs) == (Cost(Decimal(2), "EUR"), Cost(Decimal(4), "USD"))
    assert by_currency([]) == ()


def test_dollars_and_euros_are_neither_added_nor_taken_away() -> None:
    with pytest.raises(ValueError, match="cannot add EUR to USD"):
        _ = Cost(Decimal(1), "USD") + Cost(Decimal(1), "EUR")
    with pytest.raises(ValueError, match="cannot take EUR from USD"):
        _ = Cost(Decimal(1), "USD") - Cost(Decimal(1), "EUR")


@pytest.mark.parametrize(("exact", "cents"), [("0.005", "0.01"), ("0.0049", "0.00"), ("2.675", "2.68"), ("-0.005", "-0.01")])
def test_an_invoice_rounds_half_a_cent_up(exact: str, cents: str) -> None:
    assert Cost(Decimal(exact), "USD").invoiced().amount == Decimal(cents)


# --- straight prices -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.decimals(0, 10, places=6))
def test_for_a_straight_price_the_price_of_a_part_is_what_it_costs(rest: int, part: int, rate: Decimal) -> None:
    short = PriceBook("b", 1, "USD", Price(rate, "series"), None, None)
    assert price(Volume(part, part), Signal.METRICS, short) == marginal(sent(rest + part), sent(rest), short)


def test_the_price_of_less_than_nothing_is_less_than_nothing() -> None:
    assert price(Volume(-5, -5), Signal.METRICS, book(SERIES)).amount == Decimal("-0.05")


def test_a_price_alone_leaves_out_what_is_included_or_committed() -> None:
    line = replace(SERIES, included=Decimal(1000), commit=Commit(Decimal(1000), Decimal(9)))
    assert price(Volume(100, 100), Signal.METRICS, book(line)).amount == 1
    assert price(Volume(100, 100), Signal.LOGS, book(line)).amount == 0


def test_without_a_book_everything_is_free() -> None:
    assert bill(sent(100), FREE) == Bill((), Cost(NOTHING, "USD"))


# --- parts that cannot be ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"signals": ()},
        {"signals": (Signal.LOGS,)},
        {"tiers": ()},
        {"tiers": (Tier(Decimal(5), Decimal(1)),)},
        {"tiers": (Tier(Decimal(5), Decimal(1)), Tier(Decimal(4), Decimal(1)), Tier(None, Decimal(1)))},
        {"per": 0},
        {"measured": "total"},
        {"unit": "gigabyte"},
        {"included": Decimal(-1)},
        {"included": Decimal("NaN")},
        {"factor": NOTHING},
        {"points_per_minute": NOTHING},
        {"retained_days": Decimal(30)},
        {"unit": "samples", "measured": "total", "points_per_minute": Decimal(1)},
    ],
)
def test_a_line_that_makes_no_sense_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(SERIES, **change)


def test_a_bill_explains_itself() -> None:
    line = replace(
        SERIES, tiers=(Tier(Decimal(2000), Decimal("6.50")), Tier(None, Decimal("5"))), per=1000, included=Decimal(500), name="active"
    )
    found = bill(Totals(hours=(Volume(4000, 4000),) * 720), book(line)).lines[0]
    assert found.reason == "500 included; 2,000 series at 6.5 per 1,000; 1,500 series at 5 per 1,000"
    assert found.amount == Decimal("20.50")


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20))
def test_a_bill_is_the_sum_of_its_lines(counts: list[int]) -> None:
    assume(counts)
    lines = [replace(SERIES, name=str(i), tiers=(Tier(None, Decimal(n)),)) for i, n in enumerate(counts)]
    found = bill(sent(7), book(*lines, minimum=Decimal(100), fees=(Fee("f", Decimal(1)),)))
    assert found.cost.amount == sum(line.amount for line in found.lines)
    assert all(a.name != b.name for a, b in pairwise(found.lines))
