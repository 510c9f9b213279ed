"""When the tap takes nothing for a moment: a write to disk that takes too long, or memory at its bound. What it says then is retryable."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

WRITE_SECONDS = 10.0
"""A write may take so long before the tap refuses: what a kill can lose stays bounded, and so does what waits in memory."""
ROOM = 4
"""The tap refuses when a quarter of its memory is left: what it has taken by then still has to be written."""
SHRINK_SECONDS = 10.0
HURRY_SECONDS = 4.0
"""Twice what is not yet written at full load: from then on writing is no longer behind requests, or those that are refused would keep it from ever ending."""
MEASURED_SECONDS = 0.25
"""Memory is measured so often, whatever is being written: at full load the tap takes some 100 MiB in that time."""
SERIES_BYTES = 2048
"""Of memory for each series that is kept: a third of it is what it takes at rest, the rest what forgetting half of them takes."""
ROW_BYTES = 4096
"""Of memory for each row that waits: a new series takes some 350 bytes in tables, as much again in those that double, in columns and in staging."""


def fitting(wanted: int, most_bytes: int, each: int = SERIES_BYTES) -> int:
    """So many series, or rows, of those wanted fit into the memory."""
    return min(wanted, most_bytes // each)


def resident_bytes() -> int:
    """Of this process, now (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """glibc gives back what it holds free, in every arena."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@dataclass(slots=True)
class Pressure:
    """Asked before each body, told around each write, measured all the while."""

    clock: Callable[[], float]
    most_bytes: int | None = None
    resident: Callable[[], int] = resident_bytes
    trim: Callable[[], None] = trim
    refusals: int = 0
    crowded: bool = False
    _began: float | None = None
    _shrunk: float | None = None

    def refusal(self) -> str | None:
        """Why a body cannot be taken now, or None."""
        if self.crowded:
            why = "the tap is at its memory limit"
        elif self._began is not None and self.clock() - self._began > WRITE_SECONDS:
            why = "writing to disk is behind"
        else:
            return None
        self.refusals += 1
        return why

    @contextlib.contextmanager
    def writing(self) -> Generator[None]:
        self._began = self.clock()
        try:
            yield
        finally:
            self._began = None

    def measure(self) -> bool:
        """Whether the tap should keep fewer series: memory is short although what was free was given back, for the first time in a while."""
        if not self._is_short():
            self.crowded = False
            return False
        self.trim()
        self.crowded = self._is_short()
        now = self.clock()
        if not self.crowded or (self._shrunk is not None and now - self._shrunk < SHRINK_SECONDS):
            return False
        self._shrunk = now
        return True

    def _is_short(self) -> bool:
        return self.most_bytes is not None and self.resident() > self.most_bytes - self.most_bytes // ROOM
