"""`python -m analyzer --segments DIR --usage PATH…`: the advice, with no server running."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer.advice_report import advice_json, window_json
from analyzer.command import usage_in
from analyzer.engine import Advice, Unable, advise, no_aggregation
from analyzer.outlook import Outlook, outlook
from analyzer.pricing import FREE, parse_price_book
from analyzer.profiler import bucket_seconds, history, profile
from analyzer.reader import open_tap
from analyzer.totals import totals
from flowgate.advice import Finding, Policy, Profile, Usage
from flowgate.errors import EXIT_DONE, EXIT_USAGE, FlowgateError, Invalid, NotFound
from flowgate.money import PriceBook
from flowgate.telemetry import Side, Window, aligned

Elsewhere = Callable[[Advice, Profile], list[dict[str, object]]]
"""Where else labels can be taken away: known to whoever knows of SDKs and backends."""
MOST_ROWS = 50


@dataclass(frozen=True, slots=True)
class Answer:
    advice: Advice
    usage: Usage
    profile: Profile
    outlook: Outlook


def main(argv: Sequence[str] | None = None, unable: Unable = no_aggregation, elsewhere: Elsewhere | None = None) -> int:
    args = _arguments().parse_args(argv)
    segments, usage = _given(args)
    if segments is None or not usage:
        print("flowgate advise: --segments DIR and --usage PATH… are needed", file=sys.stderr)
        return EXIT_USAGE
    try:
        answer = _answer(segments, usage, args, unable)
    except FlowgateError as error:
        print(error, file=sys.stderr)
        for problem in error.problems if isinstance(error, Invalid) else ():
            print(f"  {problem.path}: {problem.message}", file=sys.stderr)
        return error.exit_code
    if args.output == "json":
        json.dump(as_json(answer, elsewhere), sys.stdout, indent=1)
        print()
    else:
        _table(answer)
    return EXIT_DONE


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flowgate advise", description="What is sent, what is read, and what need not be sent.")
    parser.add_argument("paths", type=Path, nargs="*", metavar="SEGMENTS USAGE", help="the same as --segments and --usage, in this order")
    parser.add_argument("--segments", type=Path, metavar="DIR", help="folder of sealed segments")
    parser.add_argument(
        "--usage",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="dashboards, rules, query logs: files, folders or archives",
    )
    parser.add_argument("--price-book", type=Path, metavar="FILE", help="YAML price book; default: everything is free")
    parser.add_argument("--side", choices=[s.value for s in Side], default=Side.IN.value)
    parser.add_argument("--seconds", type=int, default=None, help="length of the window; default: everything there is")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser


def _given(args: argparse.Namespace) -> tuple[Path | None, list[Path]]:
    paths: list[Path] = [*args.paths]
    segments = args.segments or (paths.pop(0) if paths else None)
    return segments, [*args.usage, *paths]


# --- the work ------------------------------------------------------------------------------------------------------------------------


def _answer(segments: Path, paths: Sequence[Path], args: argparse.Namespace, unable: Unable) -> Answer:
    book = _book(args.price_book)
    step, side, db = partial(_step, quiet=args.quiet), Side(args.side), open_tap(segments)
    window = latest_window(db, side, args.seconds)
    with step("what is read"):
        usage = usage_in(paths)
    with step(f"what is sent, {window.seconds:.0f} s"):
        seen, whole = profile(db, side, window), totals(db, side, window)
    with step("what need not be sent"):
        advice = advise(seen, usage, book, Policy(), datetime.now(UTC), whole.hours, unable)
    with step("what is ahead"):
        expected = outlook(history(db, side, latest_window(db, side, None)), advice.totals, book)
    return Answer(advice, usage, seen, expected)


def _book(path: Path | None) -> PriceBook:
    if path is None:
        return FREE
    try:
        return parse_price_book(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read: {error}") from None


@contextmanager
def _step(what: str, quiet: bool) -> Generator[None]:
    """Says on stderr what was done, and how long it took."""
    started = monotonic()
    yield
    if not quiet:
        print(f"{what}: {monotonic() - started:.1f} s", file=sys.stderr)


def latest_window(db: duckdb.DuckDBPyConnection, side: Side, seconds: int | None) -> Window:
    """The window that ends with the last segment of a side, in whole buckets."""
    row = db.execute("SELECT min(start), max(end_) FROM segments WHERE side = ?", [side.value]).fetchone()
    if row is None or row[0] is None:
        raise NotFound(f"no segments of side {side.value}")
    start, end = row[0].replace(tzinfo=UTC), row[1].replace(tzinfo=UTC)
    if seconds is not None:
        start = max(start, end - timedelta(seconds=seconds))
    return aligned(Window(start, end), bucket_seconds(db))


# --- as shown ------------------------------------------------------------------------------------------------------------------------


def as_json(answer: Answer, elsewhere: Elsewhere | None = None) -> dict[str, object]:
    made = {"window": window_json(answer.profile.window), **advice_json(answer.advice, answer.usage, answer.outlook)}
    return {**made, "elsewhere": elsewhere(answer.advice, answer.profile)} if elsewhere else made


def _table(answer: Answer) -> None:
    advice, console = answer.advice, Console()
    table = Table("rule", "what", "verdict", "risk", "series", "points/s", "cost / 30 d", "why")
    for finding in advice.findings[:MOST_ROWS]:
        table.add_row(*(Text(cell) for cell in _row(finding)))
    console.print(table)
    if len(advice.findings) > MOST_ROWS:
        print(f"{len(advice.findings) - MOST_ROWS} more findings: --output json has them all")
    cost, saved = advice.bill.cost.invoiced(), len(advice.recommendations)
    print(
        f"{len(advice.findings)} findings, {saved} of them with an action for the gateway; everything sent costs {cost.amount} {cost.currency} for 30 days"
    )
    for note in advice.notes:
        print(note)
    for spot in advice.blind_spots:
        print(f"{spot.kind}: {spot.reason}" + (f" ({spot.document} {spot.where or ''})" if spot.document else ""))


def _row(finding: Finding) -> tuple[str, ...]:
    what = finding.metric or finding.service or (finding.evidence[0].expression if finding.evidence else "") or ""
    cost = finding.cost.rounded()
    return (
        finding.rule, f"{what} {finding.label or ''}".strip(), finding.verdict.value, finding.risk.value, str(finding.volume.series),
        f"{finding.volume.points_per_second:.1f}", f"{cost.amount} {cost.currency}", finding.wording,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
