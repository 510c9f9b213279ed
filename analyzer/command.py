"""`flowgate usage PATH…`: what dashboards, rules and query logs read, with no server running."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analyzer.files import inputs_in
from analyzer.naming import EVERY_STRATEGY, Strategy, candidates
from analyzer.parsers import PromqlWorker
from analyzer.reading import Readers, unexecuted
from analyzer.references.inventory import Input
from analyzer.report import otlp_json, usage_json
from analyzer.usage import read_usage
from analyzer.verdicts import metric_verdict
from flowgate.advice import MetricProfile, Usage
from flowgate.errors import EXIT_DONE, FlowgateError, Invalid, NotFound, Problem, Refused
from flowgate.money import Volume
from flowgate.telemetry import Kind

Json = dict[str, object]


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments().parse_args(argv)
    try:
        asked = [_otlp(text) for text in args.otlp_metric]
        usage = usage_in(args.paths)
    except FlowgateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    report = as_json(usage, asked, frozenset(args.otlp_strategy or EVERY_STRATEGY))
    if args.output == "json":
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        _table(usage, report)
    return EXIT_DONE


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flowgate usage", description="What documents read: metrics, labels, and what could not be read.")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files, folders or archives")
    parser.add_argument(
        "--otlp-strategy",
        action="append",
        type=Strategy,
        choices=list(Strategy),
        metavar="STRATEGY",
        help=f"how the backend names OTLP metrics, may be repeated: {', '.join(Strategy)}; default: all",
    )
    parser.add_argument(
        "--otlp-metric",
        action="append",
        default=[],
        metavar="NAME[,UNIT[,KIND]]",
        help="also say what reads this OTLP metric; may be repeated",
    )
    parser.add_argument("--output", choices=["table", "json"], default="table")
    return parser


def usage_in(paths: Sequence[Path]) -> Usage:
    """What the files below `paths` read. Refused when all there is is one document that cannot be read."""
    found = [inputs_in(path) for path in paths]
    inputs = [replace(one, scope=str(k)) for k, files in enumerate(found) for one in files.inputs]
    if not inputs:
        raise NotFound("no documents were found")
    usage = _read(inputs)
    skipped = tuple((s.path, s.reason) for files in found for s in files.skipped)
    usage = replace(usage, skipped=(*usage.skipped, *skipped))
    if len(usage.documents) == 1 and not usage.references and not usage.everywhere:
        for spot in usage.blind_spots:
            if spot.kind == "hiding":
                raise Refused(f"{spot.document}: {spot.reason}")
    return usage


def _read(inputs: Sequence[Input]) -> Usage:
    console = Console(stderr=True)
    with PromqlWorker() as parse, console.status(f"reading {len(inputs)} files"):
        return read_usage(inputs, parse)


def _otlp(text: str) -> tuple[str, str, Kind, bool]:
    """Name, unit, kind and whether it is monotonic; a sum that says nothing else is a counter."""
    name, unit, word = (*text.split(","), "", "")[:3]
    monotonic = word in ("", "sum", "counter")
    kinds = {"counter": Kind.SUM, "updown": Kind.SUM, "": Kind.SUM}
    try:
        return name, unit, kinds.get(word) or Kind(word), monotonic
    except ValueError:
        raise Invalid("bad OTLP metric", (Problem(text, f"{word!r} is not one of {', '.join([*Kind, 'counter', 'updown'])}"),)) from None


def as_json(usage: Usage, asked: Sequence[tuple[str, str, Kind, bool]], strategies: frozenset[Strategy]) -> Json:
    report = usage_json(usage, unexecuted(usage))
    if asked:
        report["otlp"] = {name: _judged(usage, name, unit, kind, monotonic, strategies) for name, unit, kind, monotonic in asked}
    return report


def _judged(usage: Usage, name: str, unit: str, kind: Kind, monotonic: bool, strategies: frozenset[Strategy]) -> Json:
    metric = MetricProfile(name, unit, kind, "cumulative", monotonic, Volume())
    judged = metric_verdict(Readers.over(usage, unexecuted(usage), strategies).of(metric))
    found = otlp_json(usage, candidates(name, unit, kind, monotonic, strategies))
    return {**found, "verdict": judged.verdict.value, "wording": judged.wording, "risk": judged.risk.value}


def _table(usage: Usage, report: Mapping[str, object]) -> None:
    metrics = report["metrics"]
    assert isinstance(metrics, dict)
    table = Table("metric", "documents", "labels needed", "merged by", "conditions")
    for name, found in metrics.items():
        demand = found["demand"]
        needed = (
            ", ".join(demand["only"])
            if "only" in demand
            else ("all" if not demand["all_except"] else f"all but {', '.join(demand['all_except'])}")
        )
        table.add_row(
            name, str(len(found["documents"])), needed, found["operator"] or "", ", ".join(sorted({c["kind"] for c in found["conditions"]}))
        )
    Console().print(table)
    spots, skipped = report["blind_spots"], report["skipped"]
    assert isinstance(spots, list)
    assert isinstance(skipped, list)
    for spot in spots:
        place = " ".join(filter(None, (spot["document"], spot["where"])))
        print(f"{spot['kind']}: {spot['reason']}{f' ({place})' if place else ''}")
    for one in skipped:
        print(f"skipped: {one['count']} ({one['reason']}): {', '.join(one['paths'])}{', …' if one['count'] > len(one['paths']) else ''}")
    print(f"{len(usage.documents)} documents, {usage.expressions} expressions, {usage.understood} understood")
