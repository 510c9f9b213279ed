"""Price books and what they charge: a bill for everything that is sent, and what a part of it really costs.

The cost of a part is `bill(everything) − bill(everything without it)`, never its share of an average: below a commitment it is nothing, in
the dearest tier it is that tier's price. Amounts are exact: every line's amount is a decimal of ten places, and sums do not round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import reduce

from analyzer.pricebooks import parse_price_book
from flowgate.money import (
    BYTES_PER_GIBIBYTE,
    BYTES_PER_GIGABYTE,
    CHECK_YOUR_CONTRACT,
    SECONDS_PER_PERIOD,
    CannotTell,
    Cost,
    Line,
    LineUnit,
    Percentile,
    PriceBook,
    Tier,
    Volume,
)
from flowgate.shapes import cost_json
from flowgate.telemetry import Signal

__all__ = [
    "FREE",
    "Bill",
    "BillLine",
    "Step",
    "Totals",
    "bill",
    "bill_json",
    "by_currency",
    "marginal",
    "marginal_from",
    "marginals",
    "parse_price_book",
    "price",
]
FREE = PriceBook("none", 0, "USD", None, None, None)
"""Stands in where no price book was given: everything costs nothing that we know of."""
_EXACT = Context(prec=60)
_QUANTITY = Decimal("1e-12")
_AMOUNT = Decimal("1e-10")
NOTHING = Volume()
HOURS_PER_PERIOD = SECONDS_PER_PERIOD // 3600
HOURS_OF_A_SHORT_MONTH = 28 * 24


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything that one destination is sent. For logs and traces, a point is a record or a span.

    The volumes are of one window and stand for the whole period. `hours` is the history of metrics, one Volume for each hour of the
    period: what high-water and percentile billing need. Without it, their lines are estimates and say so.
    """

    metrics: Volume = NOTHING
    logs: Volume = NOTHING
    traces: Volume = NOTHING
    hours: tuple[Volume, ...] = ()

    def of(self, signal: Signal) -> Volume:
        match signal:
            case Signal.METRICS:
                return self.metrics
            case Signal.LOGS:
                return self.logs
            case Signal.TRACES:
                return self.traces


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a line's quantity (in units), and what one `per` of it costs."""

    quantity: Decimal
    rate: Decimal
    amount: Decimal
    what: str


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one line of a book comes to: `quantity` as billed, before what is included is taken off."""

    name: str
    unit: str
    quantity: Decimal
    per: int
    amount: Decimal
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    """Why the amount is an estimate, if it is one."""

    @property
    def reason(self) -> str:
        each = f" per {self.per:,}" if self.per > 1 else ""
        priced = [f"{_plain(s.quantity)} {s.what}" + (f" at {_plain(s.rate)}{each}" if s.rate else "") for s in self.steps]
        return "; ".join([*priced, *self.notes])


@dataclass(frozen=True, slots=True)
class Bill:
    """What a destination charges for 30 days, line by line. `notes` say what about it is an estimate."""

    lines: tuple[BillLine, ...]
    cost: Cost

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{line.name}: {note}" for line in self.lines for note in line.notes)


def bill(totals: Totals, book: PriceBook) -> Bill:
    """What the book charges for this, in the book's order."""
    return _bill(totals, book, (None,) * len(book.charges))


def marginal(totals: Totals, without: Totals, book: PriceBook) -> Cost:
    """What is saved when `totals` becomes `without`: below zero when sending less costs more (volume tiers).

    Where only `totals` has a history, `without` is thought to have the same one, smaller by the share of the window that is gone; a history
    of `without` alone is left aside.
    """
    return marginal_from(totals, book)(without)


def marginal_from(totals: Totals, book: PriceBook) -> Callable[[Totals], Cost]:
    """`marginal` of many a `without` against the same `totals`, whose bill and history are reckoned once."""
    everything = bill(totals, book).cost
    known = tuple(_history(line, totals) for line in book.charges)

    def saved(without: Totals) -> Cost:
        return everything - _bill(without if totals.hours else replace(without, hours=()), book, known).cost

    return saved


def marginals(
    totals: Mapping[str, Totals], without: Mapping[str, Totals], books: Mapping[str, PriceBook]
) -> Mapping[str, Cost | CannotTell]:
    """The marginal cost at each destination; what is missing from `without` is no longer sent there at all."""
    return {
        destination: marginal(everything, without.get(destination, Totals()), books[destination])
        if destination in books
        else CannotTell(f"there is no price book for {destination}")
        for destination, everything in totals.items()
    }


def by_currency(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    """One sum for each currency, in the order of their names."""
    found: dict[str, Cost] = {}
    for cost in costs:
        found[cost.currency] = found[cost.currency] + cost if cost.currency in found else cost
    return tuple(found[currency] for currency in sorted(found))


def price(volume: Volume, signal: Signal, book: PriceBook) -> Cost:
    """What a volume costs for 30 days at the rates of a book's lines, nothing included, committed or rounded: right for books of one price a signal,
    else `marginal` is. A negative volume costs the same, negative."""
    totals = _only(volume, signal)
    lines = [replace(line, included=Decimal(0), commit=None, rounding="none") for line in book.charges if signal in line.signals]
    return Cost(sum((_billed(line, totals, None).amount for line in lines), Decimal(0)), book.currency)


def _only(volume: Volume, signal: Signal) -> Totals:
    match signal:
        case Signal.METRICS:
            return Totals(metrics=volume)
        case Signal.LOGS:
            return Totals(logs=volume)
        case Signal.TRACES:
            return Totals(traces=volume)


def _bill(totals: Totals, book: PriceBook, known: Sequence[_History | None]) -> Bill:
    lines = [_billed(line, totals, history) for line, history in zip(book.charges, known, strict=True)]
    used = sum((line.amount for line in lines), Decimal(0))
    if used < book.minimum:
        short = book.minimum - used
        lines.append(BillLine("minimum", "fee", Decimal(1), 1, short, (Step(Decimal(1), short, short, "up to the minimum"),)))
    lines += [BillLine(f.name, "fee", Decimal(1), 1, f.amount, (Step(Decimal(1), f.amount, f.amount, "fee"),)) for f in book.fees]
    return Bill(tuple(lines), Cost(sum((line.amount for line in lines), Decimal(0)), book.currency))


# --- one line ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _History:
    """What a line measured over the hours of everything, and what it counted in the window of everything."""

    over: Decimal
    window: Decimal


def _history(line: Line, totals: Totals) -> _History | None:
    if line.measured == "total" or not totals.hours:
        return None
    return _History(_over(line, totals.hours), _now(line, totals))


def _billed(line: Line, totals: Totals, known: _History | None) -> BillLine:
    measured, notes = _measured(line, totals, known)
    exact = _times(measured, line.factor, line.retained_days or Decimal(1)).quantize(_QUANTITY, context=_EXACT)
    quantity = _rounded(line, abs(exact)).copy_sign(exact)
    unit = f"{line.unit}-days" if line.retained_days is not None else line.unit
    steps = _steps(line, abs(quantity), unit)
    if quantity < 0:
        steps = tuple(Step(-s.quantity, s.rate, -s.amount, s.what) for s in steps)
    return BillLine(line.name, unit, quantity, line.per, sum((s.amount for s in steps), Decimal(0)), steps, notes)


def _rounded(line: Line, quantity: Decimal) -> Decimal:
    if line.rounding == "none":
        return quantity
    blocks = _EXACT.divide(quantity, Decimal(line.per))
    return blocks.to_integral_value(ROUND_FLOOR if line.rounding == "down" else ROUND_CEILING) * line.per


def _steps(line: Line, quantity: Decimal, unit: str) -> tuple[Step, ...]:
    """Included first, then the commitment, then the tiers."""
    steps: list[Step] = []
    free = min(quantity, line.included)
    if free:
        steps.append(Step(free, Decimal(0), Decimal(0), "included"))
    left = quantity - free
    if line.commit is not None:
        steps.append(_step(line.commit.quantity, line.commit.amount, line.per, "committed"))
        left = max(Decimal(0), left - line.commit.quantity)
    what = "above the commitment" if line.commit is not None else unit
    return (*steps, *(_step(part, tier.amount, line.per, what) for part, tier in _parts(line, left) if part))


def _parts(line: Line, quantity: Decimal) -> Iterable[tuple[Decimal, Tier]]:
    """How much of a quantity each tier prices."""
    if line.tiering == "volume":
        return [(quantity, next(t for t in line.tiers if t.up_to is None or quantity <= t.up_to))]
    starts = [Decimal(0), *(t.up_to for t in line.tiers if t.up_to is not None)]
    ends = [quantity if t.up_to is None else min(quantity, t.up_to) for t in line.tiers]
    return [(max(Decimal(0), end - start), tier) for start, end, tier in zip(starts, ends, line.tiers, strict=True)]


def _step(quantity: Decimal, rate: Decimal, per: int, what: str) -> Step:
    amount = _EXACT.divide(_EXACT.multiply(quantity, rate), Decimal(per)).quantize(_AMOUNT, context=_EXACT)
    return Step(quantity, rate, amount, what)


# --- quantities ----------------------------------------------------------------------------------------------------------------


def _measured(line: Line, totals: Totals, known: _History | None) -> tuple[Decimal, tuple[str, ...]]:
    """The period's quantity, and why it is an estimate when it is one."""
    if line.measured == "total":
        return _flow(line, totals), ()
    if totals.hours:
        return _over(line, totals.hours), _short(totals.hours)
    now = _now(line, totals)
    if known is not None:
        share = _EXACT.divide(now, known.window) if known.window else Decimal(1)
        return _times(known.over, share), ("estimate: the history of everything, times the share of the window that is left",)
    return now, (f"estimate: no hourly history; the window's count stands for the {_words(line)}",)


def _now(line: Line, totals: Totals) -> Decimal:
    return max(_exact(value) for value in _bases(line, totals.metrics))


def _over(line: Line, hours: tuple[Volume, ...]) -> Decimal:
    """Series, and series by their points, are each measured over the hours; the larger one counts."""
    return max(_exact(_pick(line, column)) for column in zip(*(_bases(line, hour) for hour in hours), strict=True))


def _pick(line: Line, column: tuple[float, ...]) -> float:
    if isinstance(line.measured, Percentile):
        return sorted(column)[len(column) - 1 - _left_out(line.measured, len(column))]
    return max(column) if line.measured == "high_water" else math.fsum(column) / len(column)


def _left_out(percentile: Percentile, hours: int) -> int:
    """How many of the highest hours do not count. Of less than a month, rounded down: one hour of two is no 5 %."""
    share = (100 - percentile.rank) * hours / 100
    return min(hours - 1, math.ceil(share) if hours >= HOURS_OF_A_SHORT_MONTH else math.floor(share))


def _bases(line: Line, volume: Volume) -> tuple[float, ...]:
    """What is held: the series, and beside them the points per minute in units of `points_per_minute`."""
    expanded = line.unit == "prom_series"
    held = volume.prom_series if expanded else volume.series
    if line.points_per_minute is None:
        return (float(held),)
    rate = volume.samples if expanded else volume.points_per_second
    return float(held), rate * 60 / float(line.points_per_minute)


def _flow(line: Line, totals: Totals) -> Decimal:
    rates = [_rate(line.unit, totals.of(signal)) for signal in line.signals]
    return _times(reduce(_EXACT.add, rates), Decimal(SECONDS_PER_PERIOD))


def _rate(unit: LineUnit, volume: Volume) -> Decimal:
    match unit:
        case "gigabyte":
            return _EXACT.divide(_exact(volume.bytes_per_second), Decimal(BYTES_PER_GIGABYTE))
        case "gibibyte":
            return _EXACT.divide(_exact(volume.bytes_per_second), Decimal(BYTES_PER_GIBIBYTE))
        case "samples":
            return _exact(volume.samples)
        case _:
            return _exact(volume.points_per_second)


def _short(hours: tuple[Volume, ...]) -> tuple[str, ...]:
    if len(hours) >= HOURS_PER_PERIOD:
        return ()
    return (f"estimate: {len(hours)} hours of history stand for {HOURS_PER_PERIOD}",)


def _words(line: Line) -> str:
    if isinstance(line.measured, Percentile):
        return f"{_plain(line.measured.rank)}th percentile"
    return "average" if line.measured == "average" else "highest hour"


def _exact(value: float) -> Decimal:
    """The decimal that is printed: 0.1 is a tenth, not the binary fraction nearest to it."""
    return Decimal(repr(value))


def _times(*factors: Decimal) -> Decimal:
    return reduce(_EXACT.multiply, factors)


def _plain(value: Decimal) -> str:
    """Without an exponent or trailing zeros, thousands set apart."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- as shown --------------------------------------------------------------------------------------------------------------------


def bill_json(found: Bill, book: PriceBook) -> dict[str, object]:
    """The shape `bill` (`docs/schemas/bill.json`): amounts are decimal strings, those of lines with four places, `invoiced` with two."""
    return {
        "price_book": {
            "name": book.name,
            "version": book.version,
            "vendor": book.vendor,
            "as_of": book.as_of.isoformat() if book.as_of else None,
        },
        "lines": [_line_json(line, book.currency) for line in found.lines],
        "cost": cost_json(found.cost),
        "invoiced": str(found.cost.invoiced().amount),
        "estimates": list(found.notes),
        "note": " ".join(part for part in (CHECK_YOUR_CONTRACT, book.note) if part),
    }


def _line_json(line: BillLine, currency: str) -> dict[str, object]:
    return {
        "name": line.name,
        "quantity": f"{line.quantity:f}",
        "unit": line.unit,
        "per": line.per,
        "amount": str(Cost(line.amount, currency).rounded().amount),
        "reason": line.reason,
        "estimate": bool(line.notes),
    }
