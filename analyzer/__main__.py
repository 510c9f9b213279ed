"""`python -m analyzer SEGMENTS USAGE…`: the advice, with no server running."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from analyzer.command import usage_in
from analyzer.engine import Advice, advise
from analyzer.pricing import FREE, parse_price_book
from analyzer.profiler import bucket_seconds, profile
from analyzer.reader import open_tap
from flowgate.advice import Policy, Usage
from flowgate.errors import EXIT_DONE, FlowgateError, NotFound
from flowgate.shapes import blind_spot_json, cost_json, finding_json, recommendation_json, volume_json
from flowgate.telemetry import Side, Window, aligned


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flowgate advise", description="What is sent, what is read, and what need not be sent.")
    parser.add_argument("segments", type=Path, help="folder of sealed segments")
    parser.add_argument("usage", type=Path, nargs="+", help="dashboards, rules, query logs: files, folders or archives")
    parser.add_argument("--price-book", type=Path, help="YAML price book")
    parser.add_argument("--side", choices=[s.value for s in Side], default=Side.IN.value)
    parser.add_argument("--seconds", type=int, default=None, help="length of the window; default: everything there is")
    parser.add_argument("--output", choices=["table", "json"], default="table")
    args = parser.parse_args(argv)
    try:
        advice, usage, window = _advise(args)
    except FlowgateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if args.output == "json":
        json.dump(as_json(advice, usage, window), sys.stdout, indent=2)
        print()
    else:
        _table(advice)
    return EXIT_DONE


def _advise(args: argparse.Namespace) -> tuple[Advice, Usage, Window]:
    book = parse_price_book(args.price_book.read_text()) if args.price_book else FREE
    db = open_tap(args.segments)
    window = latest_window(db, Side(args.side), args.seconds)
    usage = usage_in(args.usage)
    return advise(profile(db, Side(args.side), window), usage, book, Policy(), datetime.now(UTC)), usage, window


def latest_window(db: duckdb.DuckDBPyConnection, side: Side, seconds: int | None) -> Window:
    """The window that ends with the last segment of a side, in whole buckets."""
    row = db.execute("SELECT min(start), max(end_) FROM segments WHERE side = ?", [side.value]).fetchone()
    if row is None or row[0] is None:
        raise NotFound(f"no segments of side {side.value}")
    start, end = row[0].replace(tzinfo=UTC), row[1].replace(tzinfo=UTC)
    if seconds is not None:
        start = max(start, end - timedelta(seconds=seconds))
    return aligned(Window(start, end), bucket_seconds(db))


def as_json(advice: Advice, usage: Usage, window: Window) -> dict[str, object]:
    return {
        "window": {"start": window.start.isoformat(), "end": window.end.isoformat(), "seconds": window.seconds},
        "totals": {
            "metrics": advice.metrics,
            **volume_json(advice.volume),
            "cost": cost_json(advice.cost),
            "expressions": usage.expressions,
            "understood": usage.understood,
        },
        "findings": [finding_json(f) for f in advice.findings],
        "recommendations": [recommendation_json(r) for r in advice.recommendations],
        "blind_spots": [blind_spot_json(b) for b in advice.blind_spots],
    }


def _table(advice: Advice) -> None:
    table = Table("rule", "what", "verdict", "risk", "series", "points/s", "cost / 30 d", "why")
    for f in advice.findings:
        what = f.metric or (f.evidence[0].expression if f.evidence else "") or ""
        cost = f.cost.rounded()
        table.add_row(
            f.rule, f"{what} {f.label or ''}".strip(), f.verdict.value, f.risk.value, str(f.volume.series),
            f"{f.volume.points_per_second:.1f}", f"{cost.amount} {cost.currency}", f.wording,
        )  # fmt: skip
    Console().print(table)
    for spot in advice.blind_spots:
        print(f"{spot.kind}: {spot.reason}" + (f" ({spot.document} {spot.where or ''})" if spot.document else ""))


if __name__ == "__main__":
    raise SystemExit(main())
