"""Price books as text: YAML to a checked `PriceBook` and back to plain values.

Two forms are read. The short one (no `format`, or `format: 1`) has one price a signal; the full one (`format: 2`) has lines, fees and a minimum.
Every problem is reported at once, each with its place (`lines/2/tiers/0/up_to`). `docs/schemas/price-book.json` says the same to an editor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar, get_args

from ryaml import loads as yaml_loads  # pyright: ignore[reportPrivateImportUsage] - its stubs forget to re-export

from flowgate.errors import Invalid, Problem
from flowgate.money import (
    HELD_UNITS,
    Commit,
    Fee,
    Line,
    LineUnit,
    Measured,
    Percentile,
    Price,
    PriceBook,
    PriceUnit,
    Rounding,
    Source,
    Tier,
    Tiering,
)
from flowgate.telemetry import Signal

T = TypeVar("T")
Json = dict[str, object]
MAX_BYTES = 256 * 1024
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
"""As many digits as a product of three keeps exactly in the sixty that prices are reckoned in."""
_DECIMAL_WORDS = "a decimal in quotes, not negative"
_PERCENTILE = re.compile(r"p((?:100|[0-9]{1,2})(?:\.[0-9]{1,3})?)")
_CURRENCY = re.compile(r"[A-Z]{3}")
_BOOK = frozenset({"format", "name", "version", "currency"})
_SHORT = _BOOK | {"metrics", "logs", "traces"}
_FULL = _BOOK | {"vendor", "as_of", "source", "note", "minimum", "fees", "lines"}
_LINE = frozenset(
    {"name", "signals", "unit", "amount", "tiers", "tiering", "per", "measured", "included", "commit", "points_per_minute", "factor",
     "retained_days", "rounding", "verified", "source", "note"}
)  # fmt: skip


def parse_price_book(text: str) -> PriceBook:
    """A price book from YAML. Raises `Invalid` with every place that is wrong."""
    form = _Form(document(text), "", [])
    number = form.value.get("format", 1)
    if type(number) is not int or number not in (1, 2):
        raise Invalid("unknown format of price book", (Problem("format", "1 or 2"),))
    book = _short(form) if number == 1 else _full(form)
    if form.problems or book is None:
        raise Invalid("the price book is not valid", tuple(form.problems))
    return book


def document(text: str) -> dict[Any, Any]:
    """The YAML of a book as plain values, whatever they are."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise Invalid("the price book is too large", (Problem("", f"at most {MAX_BYTES} bytes"),))
    try:
        value = yaml_loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("the price book is not YAML", (Problem("", str(error).splitlines()[0][:300]),)) from None
    if not isinstance(value, dict):
        raise Invalid("a price book is a mapping", (Problem("", "expected name, version, currency and prices"),))
    return value


def _short(form: _Form) -> PriceBook | None:
    form.only(_SHORT)
    name, version, currency = _head(form)
    metrics, logs, traces = (_price(form, signal.value) for signal in Signal)
    return form.made(lambda: PriceBook(name, version, currency, metrics, logs, traces))


def _full(form: _Form) -> PriceBook | None:
    form.only(_FULL)
    name, version, currency = _head(form)
    vendor, as_of, note = form.text("vendor"), form.day("as_of"), form.text("note", "")
    source, minimum = _source(form), form.decimal("minimum", Decimal(0))
    fees = form.each("fees", _fee)
    lines = form.each("lines", _read_line)
    _sensible(form, source, lines, fees)
    return form.made(lambda: PriceBook(name, version, currency, None, None, None, lines, fees, minimum, vendor, as_of, source, note))


def _head(form: _Form) -> tuple[str, int, str]:
    currency = form.text("currency")
    if currency and not _CURRENCY.fullmatch(currency):
        form.wrong("currency", "three capital letters, ISO 4217")
    return form.text("name"), form.integer("version", 0, None), currency


def _sensible(form: _Form, source: Source | None, lines: tuple[Line, ...], fees: tuple[Fee, ...]) -> None:
    """What no single line can say of itself."""
    names = [x.name for x in (*lines, *fees)]
    for name in sorted({n for n in names if names.count(n) > 1}):
        form.wrong("lines", f"{name!r} is the name of two lines or fees")
    if source is None and any(line.source is None for line in lines):
        form.wrong("source", "where the figures come from: of the book, or of each line")
    if not lines and not fees:
        form.wrong("lines", "at least one line or fee")


def _price(form: _Form, signal: str) -> Price | None:
    """The short form's price of one signal."""
    if form.value.get(signal) is None:
        return None
    inner = form.at(signal)
    if inner is None or set(inner.value) != {"per", "amount"}:
        form.wrong(signal, "`per` and `amount` are needed")
        return None
    per = inner.value["per"]
    if per not in get_args(PriceUnit) or (signal != "metrics" and per != "gigabyte"):
        inner.wrong("per", "series, prom_series, samples or gigabyte; logs and traces: gigabyte")
    return Price(inner.decimal("amount"), per)


def _read_line(form: _Form) -> Line | None:
    form.only(_LINE)
    unit: LineUnit | None = form.word("unit", get_args(LineUnit))
    tiering: Tiering | None = form.word("tiering", get_args(Tiering), "graduated")
    rounding: Rounding | None = form.word("rounding", get_args(Rounding), "none")
    signals, tiers = _signals(form), _tiers(form)
    if unit is None or tiering is None or rounding is None or not tiers:
        return None
    fields: dict[str, Any] = {
        "per": form.integer("per", 1, 1),
        "tiering": tiering,
        "measured": _measured(form, unit),
        "included": form.decimal("included", Decimal(0)),
        "commit": _commit(form),
        "points_per_minute": form.maybe("points_per_minute"),
        "factor": form.decimal("factor", Decimal(1)),
        "retained_days": form.maybe("retained_days"),
        "rounding": rounding,
        "verified": form.flag("verified"),
        "source": _source(form),
        "note": form.text("note", ""),
    }
    name = form.text("name")
    return form.made(lambda: Line(name, signals, unit, tiers, **fields))


def _signals(form: _Form) -> tuple[Signal, ...]:
    named = form.value.get("signals")
    if not isinstance(named, list) or not named or not all(isinstance(n, str) and n in set(Signal) for n in named):
        form.wrong("signals", "a list of metrics, logs, traces")
        return ()
    return tuple(Signal(n) for n in named)


def _tiers(form: _Form) -> tuple[Tier, ...]:
    """`amount` is one tier without an end."""
    if ("amount" in form.value) == ("tiers" in form.value):
        form.wrong("amount", "either `amount` or `tiers`")
        return ()
    if "amount" in form.value:
        amount = form.decimal("amount")
        return (Tier(None, amount),)
    return form.each("tiers", _tier)


def _tier(form: _Form) -> Tier | None:
    form.only(frozenset({"up_to", "amount"}))
    end, amount = form.maybe("up_to"), form.decimal("amount")
    return form.made(lambda: Tier(end, amount))


def _commit(form: _Form) -> Commit | None:
    inner = form.at("commit") if "commit" in form.value else None
    if inner is None:
        return None
    inner.only(frozenset({"quantity", "amount"}))
    quantity, amount = inner.decimal("quantity"), inner.decimal("amount")
    return inner.made(lambda: Commit(quantity, amount))


def _measured(form: _Form, unit: LineUnit) -> Measured:
    usual: Measured = "average" if unit in HELD_UNITS else "total"
    match form.value.get("measured", usual):
        case "total" | "average" | "high_water" as word:
            return word
        case str(word) if found := _PERCENTILE.fullmatch(word):
            rank = Decimal(found[1])
            return form.made(lambda: Percentile(rank), "measured") or usual
        case _:
            form.wrong("measured", "total, average, high_water, or a percentile such as p95")
            return usual


def _source(form: _Form) -> Source | None:
    inner = form.at("source") if "source" in form.value else None
    if inner is None:
        return None
    inner.only(frozenset({"title", "url", "read"}))
    title, url, read = inner.text("title"), inner.text("url", ""), inner.day("read")
    return inner.made(lambda: Source(title, url, read))


def _fee(form: _Form) -> Fee | None:
    form.only(frozenset({"name", "amount"}))
    name, amount = form.text("name"), form.decimal("amount")
    return form.made(lambda: Fee(name, amount))


class _Form:
    """A mapping, where it stands, and the one list of what is wrong. A field that is wrong is noted and answered with a harmless value."""

    def __init__(self, value: Mapping[Any, Any], path: str, problems: list[Problem]) -> None:
        self.value = value
        self.problems = problems
        self._path = path

    def path(self, key: str) -> str:
        return "/".join(p for p in (self._path, key) if p)

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(self.path(key), message))

    def only(self, known: frozenset[str]) -> None:
        for key in sorted(str(k) for k in self.value if k not in known):
            self.wrong(key, "unknown field")

    def made(self, make: Callable[[], T], key: str = "") -> T | None:
        """The value, unless it refuses to be; that is noted, if nothing in it is noted yet."""
        try:
            return make()
        except ValueError as error:
            if not any(f"{p.path}/".startswith(f"{self._path}/" if self._path else "") for p in self.problems):
                self.wrong(key, str(error))
            return None

    def at(self, key: str) -> _Form | None:
        inner = self.value.get(key)
        if isinstance(inner, dict):
            return _Form(inner, self.path(key), self.problems)
        self.wrong(key, "a mapping is needed")
        return None

    def each(self, key: str, read: Callable[[_Form], T | None]) -> tuple[T, ...]:
        listed = self.value.get(key, [])
        if not isinstance(listed, list):
            self.wrong(key, "a list is needed")
            return ()
        items = _Form({str(index): value for index, value in enumerate(listed)}, self.path(key), self.problems)
        forms = [items.at(index) for index in items.value]
        return tuple(found for form in forms if form is not None and (found := read(form)) is not None)

    def text(self, key: str, default: str | None = None) -> str:
        found = self.value.get(key, default)
        if not isinstance(found, str) or (default is None and not found):
            self.wrong(key, "a str is needed")
            return ""
        return found

    def integer(self, key: str, least: int, default: int | None) -> int:
        found = self.value.get(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            self.wrong(key, f"a whole number, at least {least}")
            return least
        return found

    def decimal(self, key: str, default: Decimal | None = None) -> Decimal:
        if key not in self.value and default is not None:
            return default
        found = self.value.get(key)
        if not isinstance(found, str) or not _DECIMAL.fullmatch(found):
            self.wrong(key, _DECIMAL_WORDS)
            return Decimal(1)
        return Decimal(found)

    def maybe(self, key: str) -> Decimal | None:
        return self.decimal(key) if key in self.value else None

    def flag(self, key: str) -> bool:
        found = self.value.get(key, False)
        if not isinstance(found, bool):
            self.wrong(key, "true or false")
        return found is True

    def day(self, key: str) -> date:
        found = self.value.get(key)
        try:
            return date.fromisoformat(found if isinstance(found, str) and len(found) == 10 else "")
        except ValueError:
            self.wrong(key, "a day, such as 2026-01-31")
            return date.min

    def word(self, key: str, known: tuple[Any, ...], default: str | None = None) -> Any:
        found = self.value.get(key, default)
        if found not in known:
            self.wrong(key, f"one of {', '.join(known)}")
            return None
        return found


# --- and back --------------------------------------------------------------------------------------------------------------------


def price_book_json(book: PriceBook) -> Json:
    """The full form as plain values: `parse_price_book` of its YAML (or JSON) gives a book of the same charges."""
    return _without_empty(
        {
            "format": 2,
            "name": book.name,
            "version": book.version,
            "vendor": book.vendor,
            "currency": book.currency,
            "as_of": book.as_of.isoformat() if book.as_of else None,
            "source": _source_json(book.source),
            "note": book.note,
            "minimum": str(book.minimum) if book.minimum else None,
            "fees": [{"name": f.name, "amount": f"{f.amount:f}"} for f in book.fees],
            "lines": [_line_json(line) for line in book.charges],
        }
    )


def _line_json(line: Line) -> Json:
    return _without_empty(
        {
            "name": line.name,
            "signals": [s.value for s in line.signals],
            "unit": line.unit,
            "measured": _measured_word(line.measured),
            "per": line.per,
            "tiering": line.tiering,
            "tiers": [_without_empty({"up_to": _text(t.up_to), "amount": _text(t.amount)}) for t in line.tiers],
            "included": _text(line.included) if line.included else None,
            "commit": {"quantity": _text(line.commit.quantity), "amount": _text(line.commit.amount)} if line.commit else None,
            "points_per_minute": _text(line.points_per_minute),
            "factor": _text(line.factor),
            "retained_days": _text(line.retained_days),
            "rounding": line.rounding if line.rounding != "none" else None,
            "verified": line.verified,
            "source": _source_json(line.source),
            "note": line.note,
        }
    )


def _measured_word(measured: Measured) -> str:
    return f"p{measured.rank:f}" if isinstance(measured, Percentile) else measured


def _source_json(source: Source | None) -> Json | None:
    return {"title": source.title, "url": source.url, "read": source.read.isoformat()} if source else None


def _text(value: Decimal | None) -> str | None:
    return f"{value:f}" if value is not None else None


def _without_empty(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None and value not in ("", [])}
