"""Received = stored + rejected by reason, whatever chance made of the bodies, from the wire to the sealed segments.

`FLOWGATE_ACCOUNT` points (1,000,000 in CI, release-checks run 10,000,000), from a fixed seed and a fresh one, which is printed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from analyzer.reader import open_tap
from bench.bodies import scrapes
from flowgate.errors import Refused
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.otlp import Limits, parse
from ingest.segments import SegmentStore, read_segments
from ingest.tap import Settings, Source
from ingest.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
POINTS = int(os.environ.get("FLOWGATE_ACCOUNT", "1000000"))
FRESH = time.time_ns() % 1_000_000
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)


def points_of(body: bytes) -> int:
    """By the protobuf library alone."""
    request = parse(Signal.METRICS, body, "protobuf")
    metrics = (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics)
    return sum(len(getattr(m, m.WhichOneof("data")).data_points) for m in metrics if m.WhichOneof("data"))


def spoiled(dice: random.Random, body: bytes) -> bytes:
    """The same request with some points too old, with too many attributes or with a value too long, and some metrics without a name."""
    request = parse(Signal.METRICS, body, "protobuf")
    for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
        if dice.random() < 0.05:
            metric.name = ""
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            match dice.randrange(30):
                case 0:
                    point.time_unix_nano -= 3 * 10**14
                case 1:
                    for i in range(20):
                        point.attributes.add(key=f"k{i}").value.int_value = i
                case 2:
                    point.attributes.add(key="long").value.string_value = "v" * 100
                case _:
                    pass
    return request.SerializeToString()


def damaged(dice: random.Random, body: bytes) -> bytes:
    """As it was, or with points over a limit, or with some bytes changed, or with a piece of it cut out."""
    if dice.random() < 0.2:
        return spoiled(dice, body)
    data = bytearray(body)
    match dice.randrange(10):
        case 0 | 1:
            pass
        case 2:
            at = dice.randrange(len(data))
            del data[at : at + dice.randrange(1, 200)]
        case _:
            for _ in range(dice.choice((1, 2, 5, 50))):
                data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("which", ["fixed", "fresh"])
def test_every_point_is_stored_or_rejected_for_a_reason(tmp_path: Path, which: str) -> None:
    seed = 4 if which == "fixed" else FRESH
    dice, now = random.Random(seed), time.time_ns()
    print(f"accounting seed {seed}")
    wire = Wire(b"k", Limits(attributes=14, name_length=40, value_length=80, buckets=16), Settings(max_rows=1 << 40))
    store = SegmentStore.open(tmp_path / "store", 5)
    bodies = scrapes(8, 1, 500, now)
    received = refused = number = 0
    rejected: Counter[str] = Counter()
    while received < POINTS // 2:
        number += 1
        body = damaged(dice, dice.choice(bodies))
        try:
            kept = wire.take(SOURCE, Signal.METRICS, body, now)
        except Refused:
            refused += 1
            continue
        received += points_of(body)
        rejected.update(kept.rejected)
        if number % 200 == 199:
            store.stage(wire.drain())
        if number % 800 == 799:
            wire.sealed()
            store.seal()
            store.compact(0.0)
    store.stage(wire.drain())
    store.seal()
    listed = [s.segment for s in store._stored.values()]
    store.close()
    (stored,) = open_tap(tmp_path / "store").execute("SELECT sum(count) FROM points").fetchone() or (0,)
    written: Counter[str] = Counter()
    for segment in listed:
        written.update(segment.rejected)
    print(f"{received} received, {stored} stored, rejected {dict(rejected)}, {refused} bodies refused, {len(listed)} segments")
    assert received == stored + sum(rejected.values())
    assert written == rejected
    assert refused > 0
    assert rejected.keys() >= {"skewed", "too_many_attributes", "attribute_value_too_long", "bad_name"}
    assert {s.id for s in listed} <= {s.id for s in read_segments(tmp_path / "store")}
