"""The gateway is killed under load and comes back: what it counts goes on from a reset, and nothing is counted twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from controlplane.processes import Children
from tests.aggregation.judge import LAG, counted, kept
from tests.aggregation.model import Stored, raw
from tests.aggregation.runs import INTERVALS, SETTLE, Sides, Sink, clock_from_now, feed, own, start
from tests.aggregation.scenarios import TICKS, Scenario, scenarios
from tests.aggregation.wire import deliveries, stored
from tests.house.seeds import seed_of

pytestmark = [pytest.mark.e2e, pytest.mark.binary]
KILLED = 13.0
"""The tick of the kill: troubles of the inputs are over."""


def killed(drawn: tuple[Scenario, ...], sides: Sides, folder: Path) -> tuple[Stored, float]:
    """What came out of the only side around a kill, and the tick from which the second process was there."""
    sink, seconds = Sink(), INTERVALS[1]
    with Children(folder) as children:
        first = start(children, "first", folder, sides, sink)
        clock = clock_from_now(seconds)
        feeder = threading.Thread(target=feed, args=(first.address, deliveries(drawn, clock), clock, True))
        feeder.start()
        time.sleep(max(0.0, (clock.at(KILLED) - time.time_ns()) / 1e9))
        os.killpg(first.child.process.pid, signal.SIGKILL)
        start(children, "second", folder, sides, sink, first.port)
        back = clock.ticks(time.time_ns())
        feeder.join()
        time.sleep(SETTLE * seconds)
    sink.close()
    return stored(sink.bodies[next(iter(sides))], clock), back


def counters(seed: int) -> tuple[Scenario, ...]:
    return tuple(s for s in scenarios(seed, 24, True) if s.kind == "counter")


def miscounted(drawn: tuple[Scenario, ...], out: Stored, back: float) -> list[str]:
    """Series that counted more than their inputs, or less than these without what nobody heard while the gateway was away."""
    found: list[str] = []
    for scenario in drawn:
        before, after = kept(raw(scenario)), kept(own(out, scenario))
        found += [f"{key} is not in both" for key in before.keys() ^ after.keys()]
        for key in before.keys() & after.keys():
            whole = sum(counted(samples, TICKS) for samples in before[key])
            unheard = sum(counted(samples, back + LAG) - counted(samples, KILLED - LAG) for samples in before[key])
            count = sum(counted(samples, 1e9) for samples in after[key])
            if not whole - unheard - 1e-9 <= count <= whole + 1e-9:
                found.append(f"{key}: {count}, inputs {whole}, of that unheard {unheard}")
    return found


def test_what_the_gateway_only_passes_on_survives_a_kill_but_for_what_nobody_heard(collector: Path, tmp_path: Path) -> None:
    drawn = counters(seed_of("fresh", "a kill under load"))
    out, back = killed(drawn, {"nothing": {}}, tmp_path)
    assert back < TICKS - 5
    assert miscounted(drawn, out, back) == []
    again = {(name, frozenset(p for p in labels if p[0] != "pod") | {("pod", "again")}): samples for (name, labels), samples in out.items()}
    assert miscounted(drawn, {**out, **again}, back)
