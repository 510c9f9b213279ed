"""Structure-aware fuzzing: mutated requests through the scanner and the protobuf library, which must agree on everything.

`FLOWGATE_FUZZ` bodies (100,000 in CI, release-checks run 1,000,000) from fixed seeds and one fresh seed, which is printed.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from flowgate.telemetry import Signal
from ingest.otlp import Limits
from ingest.tap import Kept
from tests.ingest.mutate import mutant
from tests.ingest.oracle import Pair, agree
from tests.ingest.otlp_bodies import every_kind, logs

BODIES = int(os.environ.get("FLOWGATE_FUZZ", "100000"))
FRESH = int(os.environ.get("FLOWGATE_FUZZ_SEED", "0")) or time.time_ns() % 1_000_000
SLOWEST = 0.1
BATCH = 250


def timed(pair: Pair, signal: Signal, body: bytes) -> tuple[Kept | None, float]:
    """What both say of a body, and how long that took of this thread's own time: others of the machine are not its fault."""
    began = time.thread_time()
    return pair.feed(signal, body), time.thread_time() - began


@pytest.mark.e2e
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("which", ["fixed 1", "fixed 2", "fixed 3", "fresh"])
def test_the_scanner_and_the_library_agree_on_mutants(which: str) -> None:
    seed = FRESH if which == "fresh" else int(which.split()[1])
    print(f"fuzz seed {seed}")
    agree(Signal.METRICS, [every_kind().SerializeToString()])  # compiled or loaded before anything is timed
    agree(Signal.LOGS, [logs(9).SerializeToString()])
    dice = random.Random(seed)
    accepted = refused = 0
    limits = Limits(attributes=6, name_length=24, value_length=40, buckets=6, resource_value_length=60)
    while accepted + refused < BODIES // 4:
        pair = Pair(limits=limits)
        for _ in range(BATCH):
            signal, body = mutant(dice)
            kept, took = timed(pair, signal, body)
            if took > SLOWEST:  # a hiccup of the machine does not come twice
                kept, took = timed(pair, signal, body)
            assert took < SLOWEST, f"seed {seed}: a body of {len(body)} bytes took too long"
            accepted += kept is not None
            refused += kept is None
        pair.compare()
    print(f"{accepted} accepted, {refused} refused")
    assert accepted > BODIES // 20
    assert refused > BODIES // 100
