"""`flowgate bench advise`: a whole analysis, from segments and documents to advice as JSON, in the process that a person starts.

Two thirds of the metrics are read, by dashboards of distinct expressions; so it is known which must stay and which may go. Besides: how many
series of one metric are left without any set of its labels. `python -m bench.advise --largest` asks that of ten million series too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer.cardinality import LabelTable
from analyzer.profiler import label_tables
from analyzer.reader import open_tap
from bench.advise_data import Planted, is_gauge, write_segments
from bench.report import Bar, median, say, show
from bench.usage import board
from flowgate.telemetry import Side

SERIES, METRICS, DOCUMENTS, ROUNDS = 1_000_000, 5_000, 700, 3
PER_DOCUMENT = 12
READ, OF = 2, 3
"""So many of so many metrics are read."""
SUBSETS = 40
BOOK = Path(__file__).resolve().parents[1] / "examples" / "price-book.yaml"
GIBIBYTE = 2**30

_OF_COUNTERS = (
    'sum by (job, method) (rate({m}_total{{status=~"5..", k8s_namespace_name="$namespace"}}[$__rate_interval]))',
    "sum by (route) (rate({m}_total[5m])) / on (route) sum by (route) (rate({m}_total[1h]))",
    "topk(5, sum by (job, status) (increase({m}_total[1h])))",
    'avg by (host_name) (rate({m}_total{{method!="GET"}}[5m]))',
)
_OF_GAUGES = (
    'max by (job) ({m}_ratio{{cloud_region="$region"}})',
    "avg_over_time({m}_ratio[30m]) > 5",
    "sum without (k8s_pod_name) ({m}_ratio)",
    "min by (route, method) ({m}_ratio) * on (route) group_left () max by (route) ({m}_ratio)",
)


def expressions(metrics: Sequence[str]) -> Iterator[str]:
    """Of all metrics but every third, again and again; all distinct."""
    round_ = 0
    while True:
        for k, metric in enumerate(metrics):
            if k % OF < READ:
                listed = _OF_GAUGES if is_gauge(k) else _OF_COUNTERS
                yield f"{listed[(k + round_) % len(listed)].format(m=metric.replace('.', '_'))} + {round_}"
        round_ += 1


def write_documents(folder: Path, metrics: Sequence[str], documents: int) -> None:
    made = expressions(metrics)
    for k in range(documents):
        (folder / f"board-{k}.json").write_text(board(k, [next(made) for _ in range(PER_DOCUMENT)]))


def read_metrics(metrics: Sequence[str], documents: int) -> frozenset[str]:
    """Those that some board asks for."""
    asked = [m for k, m in enumerate(metrics) if k % OF < READ]
    return frozenset(asked[: documents * PER_DOCUMENT])


# --- one analysis ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    peak_bytes: int
    """Of the process and all that it started, together."""
    advice: Any


def analysis(segments: Path, documents: Path, answer: Path) -> Run:
    command = [sys.executable, "-c", "from controlplane.cli import main; main()", "advise", "--segments", str(segments)]
    command += ["--usage", str(documents), "--price-book", str(BOOK), "--output", "json"]
    with answer.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        watch = _Watch(process.pid)
        code = process.wait()
        seconds = time.perf_counter() - start
    if code != 0:
        raise SystemExit(f"flowgate advise ended with {code}")
    return Run(seconds, watch.peak(), json.loads(answer.read_bytes()))


class _Watch:
    """Samples what a process and its children hold, until it ends."""

    def __init__(self, pid: int, every: float = 0.05) -> None:
        self._pid, self._every, self._peak = pid, every, 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def peak(self) -> int:
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while resident := sum(map(_resident, _family(self._pid))):
            self._peak = max(self._peak, resident)
            time.sleep(self._every)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident(pid: int) -> int:
    """Bytes; 0 of a process that is no more."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def dropped(advice: Any) -> frozenset[str]:
    """Metrics that the advice would drop."""
    actions = [action for each in advice["recommendations"] for action in each["actions"]]
    return frozenset(action["metric"] for action in actions if action["type"] == "drop_metric")


def analyses(root: Path, series: int, metrics: int, documents: int, rounds: int) -> list[Bar]:
    planted = _planted(root / "segments", series, metrics)
    boards = root / "boards"
    boards.mkdir()
    write_documents(boards, planted.metrics, documents)
    runs: list[Run] = []
    for k in range(rounds):
        runs.append(analysis(root / "segments", boards, root / "advice.json"))
        say(f"advise round {k + 1} of {rounds}: {runs[-1].seconds:.1f} s, {runs[-1].peak_bytes / GIBIBYTE:.2f} GiB")
    read = read_metrics(planted.metrics, documents)
    waste, gone = frozenset(planted.metrics) - read, dropped(runs[-1].advice)
    seconds, peaks = [r.seconds for r in runs], [r.peak_bytes / GIBIBYTE for r in runs]
    what = f"{planted.series} series of {metrics} metrics, {documents} documents"
    return [
        Bar("advise.analysis.seconds", median(seconds), f"seconds for {what}", at_most=60, low=min(seconds), high=max(seconds)),
        Bar("advise.analysis.memory", max(peaks), "GiB at most, of all its processes", at_most=4, low=min(peaks), high=max(peaks)),
        Bar("advise.waste.found", len(gone & waste) / max(1, len(waste)), "share of the metrics that nobody reads", at_least=0.95),
        Bar("advise.read.dropped", len(gone & read), "metrics that are read and would be dropped", at_most=0),
    ]


def _planted(root: Path, series: int, metrics: int, scrapes: int = 12) -> Planted:
    start = time.perf_counter()
    made = write_segments(root, series, metrics, scrapes=scrapes)
    say(f"{made.series} series of {metrics} metrics written in {time.perf_counter() - start:.1f} s")
    return made


# --- series left without any labels ------------------------------------------------------------------------------------------------------


def any_subset(root: Path, series: int, seconds: float) -> list[Bar]:
    """The slowest of many sets of labels, of one metric of so many series."""
    planted = _planted(root, series, 1, scrapes=1)
    start = time.perf_counter()
    (found,) = label_tables(open_tap(root), Side.IN, planted.window, planted.metrics)
    say(f"the labels of {series} series loaded in {time.perf_counter() - start:.1f} s")
    times = [_asked(found.table, subset) for subset in _subsets(found.table)]
    unit = f"seconds, the slowest of {len(times)} sets of labels"
    return [Bar(f"advise.left.{series}", max(times), unit, at_most=seconds, low=min(times), high=max(times))]


def _subsets(table: LabelTable) -> Iterator[tuple[Any, ...]]:
    rng = random.Random(6)
    for _ in range(SUBSETS):
        yield tuple(rng.sample(table.labels, rng.randint(1, len(table.labels) - 1)))


def _asked(table: LabelTable, without: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    table.left(without)
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.advise")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--metrics", type=int, default=METRICS)
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--largest", action="store_true", help="any set of labels of ten times the series too: 6 GiB of memory")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        bars = analyses(root, args.series, args.metrics, args.documents, args.rounds)
        bars += any_subset(root / "one", args.series, 1)
        if args.largest:
            bars += any_subset(root / "large", args.series * 10, 10)
    show(bars)


if __name__ == "__main__":
    main()
