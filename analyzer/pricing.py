"""Price books and costs. A book of one price a signal is linear, so the marginal cost of something is the price of its volume."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from ryaml import loads as yaml_loads  # pyright: ignore[reportPrivateImportUsage] - its stubs forget to re-export

from flowgate.errors import Invalid, Problem
from flowgate.money import BYTES_PER_GIGABYTE, SECONDS_PER_PERIOD, Cost, Price, PriceBook, PriceUnit, Volume
from flowgate.telemetry import Signal

FREE = PriceBook("none", 0, "USD", None, None, None)
"""Stands in where no price book was given: everything costs nothing that we know of."""


def price(volume: Volume, signal: Signal, book: PriceBook) -> Cost:
    """What a volume costs for 30 days at this rate."""
    rate = {Signal.METRICS: book.metrics, Signal.LOGS: book.logs, Signal.TRACES: book.traces}[signal]
    amount = rate.amount * _units(volume, rate.per) if rate is not None else Decimal(0)
    return Cost(amount, book.currency)


def _units(volume: Volume, per: PriceUnit) -> Decimal:
    match per:
        case "series":
            return Decimal(volume.series)
        case "prom_series":
            return Decimal(volume.prom_series)
        case "samples":
            expanded = volume.points_per_second * (volume.prom_series / volume.series if volume.series else 1.0)
            return Decimal(expanded) * SECONDS_PER_PERIOD
        case "gigabyte":
            return Decimal(volume.bytes_per_second) * SECONDS_PER_PERIOD / BYTES_PER_GIGABYTE


def parse_price_book(text: str) -> PriceBook:
    """A price book from YAML: name, version, currency and, for metrics, logs and traces, `{per, amount}`. Raises `Invalid` with the place."""
    try:
        value = yaml_loads(text)
    except ValueError as error:
        raise Invalid("the price book is not YAML", (Problem("", str(error).splitlines()[0]),)) from None
    if not isinstance(value, dict):
        raise Invalid("a price book is a mapping", (Problem("", "expected name, version, currency and prices"),))
    unknown = set(value) - {"name", "version", "currency", "metrics", "logs", "traces"}
    if unknown:
        raise Invalid("unknown fields in the price book", tuple(Problem(str(k), "unknown field") for k in sorted(map(str, unknown))))
    return PriceBook(
        _field(value, "name", str),
        _field(value, "version", int),
        _currency(_field(value, "currency", str)),
        _price(value, "metrics"),
        _price(value, "logs"),
        _price(value, "traces"),
    )


def _field(value: dict[str, Any], key: str, kind: type[Any]) -> Any:
    if not isinstance(value.get(key), kind):
        raise Invalid("the price book is not complete", (Problem(key, f"a {kind.__name__} is needed"),))
    return value[key]


def _currency(text: str) -> str:
    if len(text) != 3 or not text.isascii() or not text.isupper():
        raise Invalid("bad currency", (Problem("currency", "three capital letters, ISO 4217"),))
    return text


def _price(value: dict[str, Any], signal: str) -> Price | None:
    entry = value.get(signal)
    if entry is None:
        return None
    if not isinstance(entry, dict) or set(entry) != {"per", "amount"}:
        raise Invalid("bad price", (Problem(signal, "`per` and `amount` are needed"),))
    if entry["per"] not in get_args(PriceUnit) or (signal != "metrics" and entry["per"] != "gigabyte"):
        raise Invalid("bad price", (Problem(f"{signal}/per", "series, prom_series, samples or gigabyte; logs and traces: gigabyte"),))
    return Price(_amount(entry["amount"], signal), entry["per"])


def _amount(value: Any, signal: str) -> Decimal:
    try:
        amount = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0:
        raise Invalid("bad price", (Problem(f"{signal}/amount", "a decimal in quotes, not negative"),))
    return amount
