"""What the independent backend counted: its own counters, read from its own metrics endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

ACCEPTED = "otelcol_receiver_accepted_metric_points"


def counter(text: str, name: str) -> float:
    """Sum over the samples of counter `name` in a Prometheus text page, with or without a `_total` or unit suffix."""
    total = 0.0
    for line in text.splitlines():
        if line.startswith(name):
            total += float(line.rsplit(" ", 1)[1])
    return total


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of (seconds, count): the rate per second.

    A counter that rises in steps (a batch a second) read at a window's two ends is wrong by up to one step; the fit over many readings
    averages the steps away.
    """
    n = len(samples)
    if n < 2:
        raise ValueError("a rate needs two readings")
    mean_t = sum(t for t, _ in samples) / n
    mean_c = sum(c for _, c in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return sum((t - mean_t) * (c - mean_c) for t, c in samples) / spread


@dataclass(slots=True)
class Reader:
    """Reads the backend's accepted-points counter every `every` seconds in a thread, until stopped."""

    url: str
    every: float = 0.25
    samples: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="backend-reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def rate(self, start: float, end: float) -> float:
        """Points per second between two Unix times."""
        return slope([(t, c) for t, c in list(self.samples) if start <= t < end])

    def _run(self) -> None:
        with httpx.Client(timeout=2.0) as client:
            while not self._stop.wait(self.every):
                moment = time.time()
                try:
                    self.samples.append((moment, counter(client.get(self.url).text, ACCEPTED)))
                except httpx.TransportError:
                    continue  # a missed reading is one sample fewer in the fit, never a made-up one
