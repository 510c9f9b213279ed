"""Reading price books: every problem at its place, the same answers as the schema, and back again without loss."""

from __future__ import annotations

import copy
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from analyzer.pricebooks import MAX_BYTES, document, parse_price_book, price_book_json
from flowgate.errors import Invalid
from flowgate.money import Commit, Fee, Line, Percentile, Price, Source, Tier
from flowgate.telemetry import Signal

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [ROOT / "examples" / "price-book.yaml", *sorted((ROOT / "examples" / "price-books").glob("*.yaml"))]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "price-book.json").read_text()))
LINE: dict[str, Any] = {"name": "l", "signals": ["metrics"], "unit": "series", "amount": "1.50"}
FULL: dict[str, Any] = {
    "format": 2, "name": "n", "version": 3, "vendor": "v", "currency": "EUR", "as_of": "2026-11-25",
    "source": {"title": "t", "url": "https://example.org", "read": "2026-11-24"},
    "fees": [{"name": "f", "amount": "19.00"}], "lines": [LINE],
}  # fmt: skip


def changed(at: str, value: object) -> dict[str, Any]:
    """FULL with another value at `at`, or without it (`...`)."""
    book = copy.deepcopy(FULL)
    *way, last = at.split("/")
    inner: Any = book
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    key: Any = int(last) if last.isdigit() else last
    if value is ...:
        del inner[key]
    else:
        inner[key] = value
    return book


def dumped(book: object) -> str:
    return json.dumps(book, ensure_ascii=False)


def problems(book: object) -> list[str]:
    with pytest.raises(Invalid) as refusal:
        parse_price_book(dumped(book))
    assert refusal.value.problems
    return [p.path for p in refusal.value.problems]


def test_every_field_of_the_full_form_is_read() -> None:
    book = parse_price_book(
        """
format: 2
name: n
version: 3
vendor: v
currency: EUR
as_of: 2026-11-25
source: {title: t, url: u, read: 2026-11-24}
note: ask
minimum: "10.50"
fees: [{name: f, amount: "19.00"}]
lines:
  - name: a
    signals: [metrics]
    unit: prom_series
    measured: p99.5
    per: 1000
    tiering: volume
    tiers: [{up_to: "5000", amount: "2"}, {amount: "1"}]
    included: "100"
    commit: {quantity: "1000", amount: "0.5"}
    points_per_minute: "4"
    factor: "1.25"
    rounding: up
    verified: true
    source: {title: t2, read: 2026-11-23}
    note: n2
  - {name: b, signals: [logs, traces], unit: events, retained_days: "30", amount: "0.000001"}
"""
    )
    source = Source("t", "u", date(2026, 11, 24))
    assert (book.name, book.version, book.vendor, book.currency, book.as_of, book.source, book.note) == (
        "n", 3, "v", "EUR", date(2026, 11, 25), source, "ask",
    )  # fmt: skip
    assert (book.minimum, book.fees) == (Decimal("10.50"), (Fee("f", Decimal(19)),))
    assert book.lines == (
        Line(
            "a", (Signal.METRICS,), "prom_series", (Tier(Decimal(5000), Decimal(2)), Tier(None, Decimal(1))), 1000, "volume",
            Percentile(Decimal("99.5")), Decimal(100), Commit(Decimal(1000), Decimal("0.5")), Decimal(4), Decimal("1.25"), "up", None, True,
            Source("t2", "", date(2026, 11, 23)), "n2",
        ),
        Line("b", (Signal.LOGS, Signal.TRACES), "events", (Tier(None, Decimal("0.000001")),), retained_days=Decimal(30)),
    )  # fmt: skip


def test_the_short_form_is_still_read() -> None:
    book = parse_price_book('{name: n, version: 1, currency: USD, metrics: {per: samples, amount: "0.1"}, logs: null}')
    assert book.metrics == Price(Decimal("0.1"), "samples")
    assert [(line.name, line.unit, line.measured) for line in book.charges] == [("metrics", "samples", "total")]


BROKEN: list[tuple[str, object, str]] = [
    ("format", 3, "format"),
    ("format", True, "format"),
    ("format", "2", "format"),
    ("name", ..., "name"),
    ("name", "", "name"),
    ("name", 7, "name"),
    ("version", -1, "version"),
    ("version", True, "version"),
    ("version", "1", "version"),
    ("currency", "usd", "currency"),
    ("currency", "EURO", "currency"),
    ("vendor", ..., "vendor"),
    ("as_of", ..., "as_of"),
    ("as_of", "25.11.2026", "as_of"),
    ("as_of", 20261125, "as_of"),
    ("colour", "red", "colour"),
    ("source", ..., "source"),
    ("source", "a page", "source"),
    ("source", None, "source"),
    ("source/title", "", "source/title"),
    ("source/read", ..., "source/read"),
    ("source/pages", 3, "source/pages"),
    ("minimum", 10, "minimum"),
    ("minimum", "-1", "minimum"),
    ("fees", {}, "fees"),
    ("fees/0", "f", "fees/0"),
    ("fees/0/amount", "1e3", "fees/0/amount"),
    ("lines", "l", "lines"),
    ("lines/0", None, "lines/0"),
    ("lines/0/name", ..., "lines/0/name"),
    ("lines/0/signals", ..., "lines/0/signals"),
    ("lines/0/signals", "metrics", "lines/0/signals"),
    ("lines/0/signals", [], "lines/0/signals"),
    ("lines/0/signals", ["profiles"], "lines/0/signals"),
    ("lines/0/signals", [[]], "lines/0/signals"),
    ("lines/0/signals", ["logs"], "lines/0"),
    ("lines/0/signals", ["metrics", "metrics"], "lines/0"),
    ("lines/0/unit", "furlong", "lines/0/unit"),
    ("lines/0/unit", ["series"], "lines/0/unit"),
    ("lines/0/amount", ..., "lines/0/amount"),
    ("lines/0/amount", 1.5, "lines/0/amount"),
    ("lines/0/amount", 1, "lines/0/amount"),
    ("lines/0/amount", "NaN", "lines/0/amount"),
    ("lines/0/amount", "Infinity", "lines/0/amount"),
    ("lines/0/amount", "1_000", "lines/0/amount"),
    ("lines/0/amount", " 1", "lines/0/amount"),
    ("lines/0/amount", "٣", "lines/0/amount"),
    ("lines/0/amount", "1" * 16, "lines/0/amount"),
    ("lines/0/amount", "0." + "1" * 13, "lines/0/amount"),
    ("lines/0/tiers", [{"amount": "1"}], "lines/0/amount"),
    ("lines/0/per", 0, "lines/0/per"),
    ("lines/0/per", "1000", "lines/0/per"),
    ("lines/0/per", 1.5, "lines/0/per"),
    ("lines/0/tiering", "stepped", "lines/0/tiering"),
    ("lines/0/measured", "total", "lines/0"),
    ("lines/0/measured", "p0", "lines/0/measured"),
    ("lines/0/measured", "p101", "lines/0/measured"),
    ("lines/0/measured", "p100.5", "lines/0/measured"),
    ("lines/0/measured", "median", "lines/0/measured"),
    ("lines/0/measured", 95, "lines/0/measured"),
    ("lines/0/measured", None, "lines/0/measured"),
    ("lines/0/included", "-1", "lines/0/included"),
    ("lines/0/commit", {"quantity": "5"}, "lines/0/commit/amount"),
    ("lines/0/commit", {"quantity": "0", "amount": "1"}, "lines/0/commit"),
    ("lines/0/commit", {"quantity": "5", "amount": "1", "rate": "1"}, "lines/0/commit/rate"),
    ("lines/0/commit", "100", "lines/0/commit"),
    ("lines/0/points_per_minute", "0", "lines/0"),
    ("lines/0/factor", "0", "lines/0"),
    ("lines/0/factor", None, "lines/0/factor"),
    ("lines/0/retained_days", "30", "lines/0"),
    ("lines/0/rounding", "half", "lines/0/rounding"),
    ("lines/0/verified", "yes", "lines/0/verified"),
    ("lines/0/source", {}, "lines/0/source/title"),
    ("lines/0/note", 1, "lines/0/note"),
    ("lines/0/price", "1", "lines/0/price"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "value", "path"), BROKEN, ids=[f"{at}={value!r:.20}" for at, value, _ in BROKEN])
def test_what_is_broken_is_refused_at_its_place_by_parser_and_schema(at: str, value: object, path: str) -> None:
    book = changed(at, value)
    assert path in problems(book)
    assert not SCHEMA.is_valid(book)


BEYOND_THE_SCHEMA: list[tuple[str, object, str]] = [
    ("as_of", "2026-02-30", "as_of"),
    ("lines/0/amount", "1\n", "lines/0/amount"),  # `$` of a pattern is also the place before a last newline
    ("lines", [LINE, LINE], "lines"),
    ("lines/0/name", "f", "lines"),
    ("lines/0", {**{k: v for k, v in LINE.items() if k != "amount"}, "tiers": [{"up_to": "5", "amount": "1"}]}, "lines/0"),
    ("lines/0", {**{k: v for k, v in LINE.items() if k != "amount"}, "tiers": [{"amount": "1"}, {"amount": "1"}]}, "lines/0"),
    (
        "lines/0",
        {
            **{k: v for k, v in LINE.items() if k != "amount"},
            "tiers": [{"up_to": "5", "amount": "1"}, {"up_to": "5", "amount": "1"}, {"amount": "1"}],
        },
        "lines/0",
    ),
]


@pytest.mark.parametrize(("at", "value", "path"), BEYOND_THE_SCHEMA)
def test_what_a_schema_cannot_say_the_parser_does(at: str, value: object, path: str) -> None:
    assert problems(changed(at, value)) == [path]


def test_every_problem_is_reported_at_once() -> None:
    book = changed("name", 7)
    book["lines"] = [{**LINE, "amount": "x"}, {**LINE, "name": "m", "unit": "yard"}, {**LINE, "name": "o", "measured": "total"}]
    assert problems(book) == ["name", "lines/0/amount", "lines/1/unit", "lines/2"]


@pytest.mark.parametrize(
    "text", ["", "- a", "a: [", "a: 1\na: 2", "[" * 5000, "name: n\n" + "#" * MAX_BYTES, "1: 2", "{[a]: 1}", "\0", "&a [*a]"]
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_price_book(text)
    assert refusal.value.problems


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_book_is_valid_dated_and_says_to_check_your_contract(path: Path) -> None:
    text = path.read_text()
    book = parse_price_book(text)
    assert book.charges
    assert "check your own contract" in text.lower() or "check your contract" in text.lower() or "Replace every figure" in text
    if book.lines:
        assert book.name == path.stem
        assert book.as_of is not None
        assert book.source is not None
        assert book.source.url.startswith("https://") or book.vendor == "self-hosted"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_book_has_the_shape_of_the_schema(path: Path) -> None:
    SCHEMA.validate(document(path.read_text()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_an_unverified_figure_says_so_in_words(path: Path) -> None:
    book = parse_price_book(path.read_text())
    words = ("verified", "second-hand", "placeholder", "found in no source", "not found", "replace every figure")
    for line in book.lines:
        if not line.verified:
            assert any(w in (line.note + book.note).lower() for w in words), (path.stem, line.name)


# --- generated books -------------------------------------------------------------------------------------------------------------

whole = st.integers(1, 10**9)
amounts = st.decimals(0, 1000, places=6).map(lambda d: f"{d:f}")
positives = st.decimals("0.001", 10**6, places=3).map(lambda d: f"{d:f}")


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, str]]:
    ends = sorted(draw(st.lists(whole, unique=True, max_size=4)))
    return [*({"up_to": str(end), "amount": draw(amounts)} for end in ends), {"amount": draw(amounts)}]


@st.composite
def line_documents(draw: st.DrawFn) -> dict[str, Any]:
    unit = draw(st.sampled_from(["series", "prom_series", "custom_metric", "samples", "gigabyte", "gibibyte", "events"]))
    held = unit in ("series", "prom_series", "custom_metric")
    signals = ["metrics"] if held or unit == "samples" else draw(st.lists(st.sampled_from(list(Signal)), min_size=1, unique=True))
    options: dict[str, Any] = {
        "tiering": st.sampled_from(["graduated", "volume"]),
        "per": st.integers(1, 10**7),
        "measured": st.sampled_from(["average", "high_water", "p95", "p99", "p50.5"] if held else ["total"]),
        "included": positives,
        "commit": st.fixed_dictionaries({"quantity": positives, "amount": amounts}),
        "points_per_minute" if held else "retained_days": positives,
        "factor": positives,
        "rounding": st.sampled_from(["none", "down", "up"]),
        "verified": st.booleans(),
        "note": st.text("a\u00e4\"\\: #{}'\u65e5\U0001f600", max_size=5),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(options)), unique=True))
    return {"signals": signals, "unit": unit, "tiers": draw(tiers())} | {name: draw(options[name]) for name in chosen}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    drawn = draw(st.lists(line_documents(), min_size=1, max_size=4))
    return FULL | {"lines": [{**line, "name": f"line {i}"} for i, line in enumerate(drawn)], "minimum": draw(amounts)}


@given(documents())
def test_parser_and_schema_accept_the_same_books(drawn: dict[str, Any]) -> None:
    parse_price_book(dumped(drawn))
    SCHEMA.validate(drawn)


@given(documents())
def test_a_book_comes_back_from_its_own_writing(drawn: dict[str, Any]) -> None:
    book = parse_price_book(dumped(drawn))
    written = price_book_json(book)
    assert parse_price_book(dumped(written)) == book
    SCHEMA.validate(written)


def taken(text: str) -> bool:
    """Whether a book is read; the only other answer is a refusal that names a place."""
    try:
        parse_price_book(text)
    except Invalid as refusal:
        if not refusal.problems:
            raise
        return False
    return True


@given(documents(), st.data())
def test_a_damaged_book_is_read_or_refused_and_nothing_else(drawn: dict[str, Any], data: st.DataObject) -> None:
    """Any value may stand in any place: the answer is a book or `Invalid`, and the schema never refuses what the parser takes."""
    damaged = copy.deepcopy(drawn)
    inner: Any = damaged
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))))
        if isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
            inner = inner[key]
            continue
        inner[key] = data.draw(
            st.sampled_from([None, True, 0, -1, 1.5, "", "x", "1", "-1", [], {}, [1], {"a": 1}, "p95", "total", "metrics", 10**30])
        )
        break
    if taken(dumped(damaged)):
        SCHEMA.validate(damaged)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    taken(text)
