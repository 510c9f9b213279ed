"""The page on prices says what the code does: its example is billed, its table names every shipped book and every field."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from analyzer.pricebooks import parse_price_book
from analyzer.pricing import Totals, bill, marginal
from controlplane.price import BOOKS, totals_from_json
from flowgate.money import Volume

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "prices.md").read_text()
FULL = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if "format: 2" in block)


def series(*hours: tuple[int, int]) -> Totals:
    history = tuple(Volume(n, n) for count, n in hours for _ in range(count))
    return Totals(history[0], hours=history)


def test_the_books_on_the_page_are_books() -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S):
        parse_price_book(block)


def test_the_worked_example_is_right() -> None:
    book = parse_price_book(FULL)
    everything = series((684, 150_000), (36, 400_000))
    assert bill(everything, book).cost.amount == Decimal("889.00")
    assert [step.amount for step in bill(everything, book).lines[0].steps] == [0, Decimal("650"), Decimal("220")]
    without = series((684, 120_000), (36, 370_000))
    assert marginal(everything, without, book).amount == Decimal("165.00")
    assert Decimal("889.00") * 30_000 / 150_000 == Decimal("177.80")


def test_every_shipped_book_is_on_the_page() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.split("## Shapes that are shipped")[1], re.M)
    assert listed
    assert set(listed) == {path.stem for path in BOOKS.glob("*.yaml")}


def test_the_totals_on_the_page_are_read() -> None:
    found = totals_from_json(re.findall(r"```json\n(.*?)```", PAGE, re.S)[0])
    assert found.metrics == found.hours[0]
    assert found.traces.bytes_per_second == 400_000.0
