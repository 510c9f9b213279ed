"""The compiled scanner says what the protobuf library says, column by column, and leaves to it what it is not sure of."""

from __future__ import annotations

import pytest

from flowgate.errors import Busy
from flowgate.telemetry import Signal
from ingest.otlp import Limits, Malformed
from ingest.tap import Settings
from ingest.wire import Wire
from tests.ingest.oracle import KEY, SOURCE, Pair, agree
from tests.ingest.otlp_bodies import NOW, attributes, counter, every_kind, gauge, logs, spans


def test_every_kind_agrees() -> None:
    body = every_kind().SerializeToString()
    tables = agree(Signal.METRICS, [body, body])
    assert len(tables["series"]) == 5
    assert len(tables["points"]) == 5


def test_the_path_is_the_fast_one() -> None:
    """What exporters send never needs the library."""
    pair = Pair()
    for signal, request in ((Signal.METRICS, every_kind()), (Signal.LOGS, logs(9, 5)), (Signal.TRACES, spans("a", "b"))):
        pair.feed(signal, request.SerializeToString())
    assert pair.wire.by_library == 0
