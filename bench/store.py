"""`flowgate bench store`: rows of aggregates staged and sealed a second, with 50 thousand series, and bytes they take on disk."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from bench.bodies import scrapes
from bench.decode import SOURCE, timed
from bench.report import Bar, median, say, show
from flowgate.telemetry import Signal
from ingest.otlp import Limits
from ingest.segments import SegmentStore
from ingest.tap import Settings
from ingest.wire import Wire

ROUNDS = 5
POINTS = 50_000


def main() -> None:
    now = time.time_ns()
    wire = Wire(b"bench", Limits(), Settings())
    bodies = scrapes(100, 1, 1000, now)
    staged: list[float] = []
    sealed: list[float] = []
    sizes: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        store = SegmentStore.open(Path(name), 5)
        for _ in range(ROUNDS):
            for body in bodies:
                wire.take(SOURCE, Signal.METRICS, body, now)
            drained = wire.drain()
            staged.append(POINTS / timed(partial(store.stage, drained)) / 1e6)
            wire.sealed()
            sealed.append(POINTS / timed(store.seal) / 1e6)
            newest = max(Path(name).glob("*/*/*/*/points.parquet"), key=lambda f: f.stat().st_mtime)
            sizes.append(newest.stat().st_size / POINTS)
        store.close()
    say(f"store: staged {min(staged):.2f}-{max(staged):.2f}, sealed {min(sealed):.2f}-{max(sealed):.2f} M rows/s with their series")
    show(
        [
            Bar("store.stage.rows", median(staged), "million rows per second", at_least=0.0),
            Bar("store.seal.rows", median(sealed), "million rows per second", at_least=0.0),
            Bar("store.seal.bytes_per_row", median(sizes), "bytes", at_most=64.0),
        ]
    )


if __name__ == "__main__":
    main()
