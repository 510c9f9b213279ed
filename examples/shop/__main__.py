"""`python -m examples.shop`: runs the shop against a gateway until it is told to stop."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from examples.shop.workload import Targets, Workload

UNREACHABLE = 4
"""Exit code when the gateway does not take the first export."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.shop", description="A seeded OTLP workload of a small shop.")
    parser.add_argument("--otlp-grpc", default="127.0.0.1:4317", metavar="HOST:PORT")
    parser.add_argument("--otlp-http", default="127.0.0.1:4318", metavar="HOST:PORT")
    parser.add_argument("--fluent", metavar="HOST:PORT", help="Fluent Forward listener; without it no legacy log lines")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, help="stop after this many seconds; default: at SIGTERM or SIGINT")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print `ready` when every series has arrived once; 0 after a stop, 4 when no gateway answers."""
    options = parse(arguments)
    # A gateway that restarts with a new config refuses exports for a moment: they are counted, not printed one by one.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    news: SimpleQueue[str] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: news.put("stop"))
    workload = Workload(Targets(options.otlp_grpc, options.otlp_http, options.fluent), options.seed)
    start = threading.Thread(target=lambda: news.put("ready" if workload.start() else "unreachable"), daemon=True)
    start.start()
    return follow(news, workload, options.seconds)


def follow(news: SimpleQueue[str], workload: Workload, seconds: float | None) -> int:
    """Wait for the start to end, then for a stop or for `seconds` to pass; returns the exit code."""
    first = news.get()
    if first == "unreachable":
        print("shop: no gateway took the first export; is it listening on the given addresses?", file=sys.stderr)
        return UNREACHABLE
    if first == "ready":
        print("ready", flush=True)
        with suppress(Empty):
            news.get(timeout=seconds)
    taken, failed = workload.stop()
    print(f"shop: {taken} metric exports taken, {failed} failed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
