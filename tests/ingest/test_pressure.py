"""The tap refuses for a moment when a write takes too long or memory is short, and takes again afterwards."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from flowgate.errors import Busy
from flowgate.ids import DEFAULT_ORG
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.pressure import ROW_BYTES, SERIES_BYTES, SHRINK_SECONDS, WRITE_SECONDS, Pressure, fitting, resident_bytes
from ingest.segments import SegmentStore
from ingest.server import Tap, ticker
from ingest.tap import Buffer, Source
from ingest.tokens import FileTokens
from tests.ingest.otlp_bodies import gauge

SOURCE = Source(Identity(DEFAULT_ORG, None), Side.IN)


@dataclass
class World:
    """A clock and a memory that stand where they are put; `freed` is what a trim gives back."""

    now: float = 100.0
    used: int = 0
    freed: int = 0
    trims: int = field(default=0)

    def pressure(self, most: int | None = 1000) -> Pressure:
        return Pressure(lambda: self.now, most, lambda: self.used, self._trim)

    def _trim(self) -> None:
        self.trims += 1
        self.used -= self.freed


def test_a_write_that_takes_long_refuses_until_it_is_done() -> None:
    world = World()
    pressure = world.pressure()
    with pressure.writing():
        world.now += WRITE_SECONDS
        assert pressure.refusal() is None
        world.now += 0.1
        assert pressure.refusal() == "writing to disk is behind"
    assert pressure.refusal() is None
    assert pressure.refusals == 1


def test_a_write_that_fails_is_over_too() -> None:
    pressure = World().pressure()
    with pytest.raises(OSError, match="full"), pressure.writing():
        raise OSError("full")
    assert pressure.refusal() is None


@pytest.mark.parametrize(("used", "short"), [(0, False), (750, False), (751, True), (5000, True)])
def test_memory_is_short_when_a_quarter_is_left(used: int, short: bool) -> None:
    world = World(used=used)
    pressure = world.pressure()
    assert pressure.measure() is short
    assert (pressure.refusal() is not None) is short
    assert world.trims == short


def test_what_was_free_is_given_back_before_anything_is_refused() -> None:
    world = World(used=900, freed=200)
    pressure = world.pressure()
    assert pressure.measure() is False
    assert pressure.refusal() is None


def test_series_are_kept_fewer_once_in_a_while_and_bodies_are_taken_again_when_there_is_room() -> None:
    world = World(used=900)
    pressure = world.pressure()
    assert [pressure.measure() for _ in range(3)] == [True, False, False]
    world.now += SHRINK_SECONDS
    assert pressure.measure() is True
    world.used = 100
    assert pressure.measure() is False
    assert pressure.refusal() is None


def test_without_a_bound_memory_is_never_short() -> None:
    assert World(used=10**12).pressure(None).measure() is False


@pytest.mark.parametrize(("most", "fits"), [(0, 0), (999 * SERIES_BYTES, 999), (10**15, 2_000_000)])
def test_no_more_series_are_kept_than_fit(most: int, fits: int) -> None:
    assert fitting(2_000_000, most) == fits


def test_a_row_that_waits_takes_more_than_a_series_that_is_kept() -> None:
    """With 2 GiB, what three times its capacity brought together took 2.5 while as many rows might wait as series are kept."""
    assert fitting(2_000_000, 2 * 2**30, ROW_BYTES) == 524_288 < fitting(2_000_000, 2 * 2**30)


def test_this_process_has_a_size() -> None:
    assert 2**20 < resident_bytes() < 2**40


def tap(folder: Path) -> Tap:
    library = Library(Decoder(b"k"), Buffer())
    return Tap(library, SegmentStore.open(folder / "s", 5), FileTokens(None, time.monotonic), timedelta(hours=1))


def body() -> bytes:
    return gauge(1.0, at=time.time_ns()).SerializeToString()


def test_a_tap_under_pressure_says_busy_and_keeps_nothing(tmp_path: Path) -> None:
    full = tap(tmp_path)
    full.pressure.crowded = True
    with pytest.raises(Busy, match="memory limit") as busy:
        full.take(SOURCE, Signal.METRICS, body(), "protobuf")
    assert busy.value.retry_after == 1.0
    assert full.stats()["busy"] == 1
    assert full.engine.totals.points == 0


def test_a_tap_whose_writing_has_ended_takes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended the thread: what nobody would write is not acknowledged."""
    broken = tap(tmp_path)

    def fails(_: Tap) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Tap, "flush", fails)
    with pytest.raises(ZeroDivisionError):
        ticker(broken, 3600, threading.Event())
    with pytest.raises(Busy, match="has ended"):
        broken.take(SOURCE, Signal.METRICS, body(), "protobuf")
    assert broken.health() == "the thread that writes has ended"
