"""`flowgate price …`: checks a price book, says what it charges, and lists the books that are shipped. No server needed."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer import open_tap
from analyzer.__main__ import latest_window
from analyzer.pricebooks import parse_price_book, price_book_json
from analyzer.pricing import Totals, bill, bill_json
from analyzer.totals import totals
from flowgate.errors import EXIT_DONE, EXIT_NO, Invalid, NotFound, Problem
from flowgate.money import CHECK_YOUR_CONTRACT, Line, PriceBook, Volume
from flowgate.shapes import Json
from flowgate.telemetry import Side

BOOKS = Path(__file__).resolve().parents[1] / "examples" / "price-books"
_FIELDS = ("series", "prom_series", "points_per_second", "bytes_per_second", "samples_per_second")
_COUNTS = _FIELDS[:2]


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flowgate price", description="What a destination charges.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="is this a price book? Exit 1 when it is not")
    check.add_argument("book", metavar="FILE", help="a file, or the name of a shipped book")
    check.set_defaults(run=_check)
    billed = commands.add_parser("bill", help="what a price book charges for 30 days")
    billed.add_argument("--price-book", required=True, dest="book", metavar="FILE", help="a file, or the name of a shipped book")
    source = billed.add_mutually_exclusive_group(required=True)
    source.add_argument("--segments", type=Path, metavar="DIR", help="folder of sealed segments")
    source.add_argument("--totals", type=Path, metavar="FILE", help="JSON: metrics, logs, traces, hours")
    billed.add_argument("--side", choices=[s.value for s in Side], default=Side.OUT.value, help="of the segments; default: what went out")
    billed.add_argument("--seconds", type=int, default=None, help="length of the window; default: everything there is")
    billed.set_defaults(run=_bill)
    listed = commands.add_parser("list", help="the price books that are shipped")
    listed.set_defaults(run=_list)
    for command in (check, billed, listed):
        command.add_argument("--output", "-o", choices=["table", "json"], default="table")
    return parser


# --- check -----------------------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    try:
        book = _book(args.book)
    except Invalid as error:
        _refused(error, args.output)
        return EXIT_NO
    if args.output == "json":
        _json({"valid": True, "problems": [], "book": price_book_json(book)})
        return EXIT_DONE
    console, table = Console(), Table("line", "signals", "unit", "measured", "price", "verified", "source")
    for line in book.charges:
        source = line.source or book.source
        _add(
            table, line.name, ", ".join(line.signals), line.unit, _measured(line), _price(line), "yes" if line.verified else "no",
            f"{source.title}, {source.read}" if source else "",
        )  # fmt: skip
    console.print(table)
    console.print(_note(book), markup=False)
    return EXIT_DONE


def _refused(error: Invalid, output: str) -> None:
    if output == "json":
        _json({"valid": False, "problems": [{"path": p.path, "message": p.message} for p in error.problems]})
        return
    table = Table("path", "message")
    for problem in error.problems:
        _add(table, problem.path, problem.message)
    Console().print(table)


def _measured(line: Line) -> str:
    return line.measured if isinstance(line.measured, str) else f"p{line.measured.rank}"


def _price(line: Line) -> str:
    tiers = [f"{t.amount}" + (f" to {t.up_to:,}" if t.up_to is not None else "") for t in line.tiers]
    return ", ".join(tiers) + (f" per {line.per:,}" if line.per > 1 else "") + (f" ({line.tiering})" if len(tiers) > 1 else "")


# --- bill ------------------------------------------------------------------------------------------------------------------------


def _bill(args: argparse.Namespace) -> int:
    book = _book(args.book)
    found = bill(_totals(args), book)
    if args.output == "json":
        _json(bill_json(found, book))
        return EXIT_DONE
    console, table = Console(), Table("line", "quantity", "unit", "amount", "why")
    for line in found.lines:
        _add(table, line.name, f"{line.quantity:,.3f}", line.unit, f"{line.amount:,.2f}", line.reason)
    cost = found.cost.invoiced()
    _add(table, "together", "", "", f"{cost.amount:,.2f} {cost.currency}", "per 30 days")
    console.print(table)
    console.print(_note(book), markup=False)
    return EXIT_DONE


def _totals(args: argparse.Namespace) -> Totals:
    if args.totals is not None:
        return totals_from_json(_read(args.totals))
    db, side = open_tap(args.segments), Side(args.side)
    return totals(db, side, latest_window(db, side, args.seconds))


def totals_from_json(text: str) -> Totals:
    """`{"metrics": {"series", "prom_series", "points_per_second", "bytes_per_second", "samples_per_second"}, "logs": …, "traces": …,
    "hours": […]}`, every part optional. Raises `Invalid` with the places that are wrong."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("the totals are not JSON", (Problem("", str(error)[:300]),)) from None
    problems = [] if isinstance(value, dict) else [Problem("", "expected metrics, logs, traces or hours")]
    found: dict[str, Any] = value if isinstance(value, dict) else {}
    problems += [Problem(key, "unknown field") for key in sorted(set(found) - {"metrics", "logs", "traces", "hours"})]
    hours = found.get("hours", [])
    if not isinstance(hours, list):
        hours = []
        problems.append(Problem("hours", "a list is needed"))
    metrics, logs, traces = (_volume(found.get(signal, {}), signal, problems) for signal in ("metrics", "logs", "traces"))
    history = tuple(_volume(hour, f"hours/{index}", problems) for index, hour in enumerate(hours))
    if problems:
        raise Invalid("the totals are not valid", tuple(problems))
    return Totals(metrics, logs, traces, history)


def _volume(value: Any, path: str, problems: list[Problem]) -> Volume:
    if not isinstance(value, dict):
        problems.append(Problem(path, "a mapping is needed"))
        return Volume()
    wrong = [
        Problem(f"{path}/{key}", f"one of {', '.join(_FIELDS)}; a number, not negative") for key in value if not _sound(key, value[key])
    ]
    problems.extend(wrong)
    return Volume() if wrong else Volume(**value)


def _sound(key: str, value: Any) -> bool:
    kinds = int if key in _COUNTS else int | float
    return key in _FIELDS and isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


# --- list ------------------------------------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    if not BOOKS.is_dir():
        raise NotFound(f"no price books are shipped with this installation: {BOOKS} is not there")
    rows = [_row(path, parse_price_book(_read(path))) for path in sorted(BOOKS.glob("*.yaml"))]
    if args.output == "json":
        _json(rows)
        return EXIT_DONE
    table = Table("name", "vendor", "as of", "lines", "verified", "currency")
    for row in rows:
        _add(table, *(str(row[key]) for key in ("name", "vendor", "as_of", "lines", "verified", "currency")))
    console = Console()
    console.print(table)
    console.print(CHECK_YOUR_CONTRACT, markup=False)
    return EXIT_DONE


def _row(path: Path, book: PriceBook) -> Json:
    return {
        "name": book.name,
        "version": book.version,
        "vendor": book.vendor,
        "currency": book.currency,
        "as_of": book.as_of.isoformat() if book.as_of else None,
        "lines": len(book.lines),
        "verified": sum(line.verified for line in book.lines),
        "path": str(path),
    }


# --- shared ----------------------------------------------------------------------------------------------------------------------


def _book(named: str) -> PriceBook:
    """The book in a file, or the shipped one of that name."""
    path, shipped = Path(named), BOOKS / f"{named}.yaml"
    if not path.exists() and shipped.parent == BOOKS and shipped.is_file():
        path = shipped
    return parse_price_book(_read(path))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise NotFound(f"{path} cannot be read: {error}") from None


def _add(table: Table, *cells: str) -> None:
    """As text: a name in a book is somebody else's, and `[…]` in it is no markup."""
    table.add_row(*(Text(cell) for cell in cells))


def _note(book: PriceBook) -> str:
    return " ".join(part for part in (CHECK_YOUR_CONTRACT, book.note) if part)


def _json(value: Mapping[str, object] | Sequence[object]) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
