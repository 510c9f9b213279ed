"""`flowgate bench decode`: the scanner alone, bytes to counted columns, against the protobuf library's parse alone, one thread, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from bench.bodies import scrapes
from bench.report import Bar, median, say, show
from flowgate.ids import DEFAULT_ORG
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.otlp import Limits
from ingest.tap import Settings, Source
from ingest.wire import Wire

ROUNDS = 5
SOURCE = Source(Identity(DEFAULT_ORG, None), Side.IN)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(name: str, bodies: Sequence[bytes], points: int, now: int, at_least: float, before: Sequence[bytes] = ()) -> list[Bar]:
    """Ratio of the scanner to the library, both warm, and the scanner's rate. `before` is taken first: in whose order the series were met."""
    wire = Wire(b"bench", Limits(), Settings(max_rows=1 << 40), max_series=1 << 40)

    def scan() -> None:
        for body in bodies:
            wire.take(SOURCE, Signal.METRICS, body, now)

    def read() -> None:
        for body in bodies:
            ExportMetricsServiceRequest.FromString(body)

    for body in before:
        wire.take(SOURCE, Signal.METRICS, body, now)
    cold = timed(scan)
    ratios, rates = [], []
    for _ in range(ROUNDS):
        wire.drain()
        ours, theirs = timed(scan), timed(read)
        ratios.append(theirs / ours)
        rates.append(points / ours / 1e6)
    say(
        f"decode {name}: {min(rates):.1f}-{max(rates):.1f} M points/s, {min(ratios):.1f}-{max(ratios):.1f} x, cold {points / cold / 1e6:.2f} M/s"
    )
    if wire.by_library:
        say(f"decode {name}: {wire.by_library} bodies went by the library")
    return [
        Bar(f"decode.{name}.protobuf", median(ratios), "ratio", at_least=at_least),
        Bar(f"decode.{name}.rate", median(rates), "million points per second", at_least=0.0),
    ]


def bars(kept: Sequence[bytes], shuffled: Sequence[bytes]) -> list[Bar]:
    """With requests of a million series, in order and not."""
    now = time.time_ns()
    small = scrapes(100, 1, 1000, now)
    found = compare("order_kept", small, 50_000, now, 10)
    found += compare("order_kept_8000", scrapes(96, 1, 8000, now), 48_000, now, 10)
    found += compare("shuffled_50k", scrapes(100, 1, 1000, now, "shuffled"), 50_000, now, 8, before=small)
    return found + compare("unpredictable_1m", shuffled, 1_000_000, now, 3, before=kept)


def main() -> None:
    now = time.time_ns()
    show(bars(scrapes(2000, 1, 8000, now), scrapes(2000, 1, 8000, now, "shuffled")))


if __name__ == "__main__":
    main()
