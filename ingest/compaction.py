"""Which segments become one, and which go when the store is full. Pure: segments and their sizes in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from flowgate.telemetry import Segment

RUN = 12
"""Segments merged at once: a minute of five-second ones. A row is so written about once more for each power of twelve in a segment's age."""
SMALLEST = 64 * 2**10
MAX_BYTES = 256 * 2**20
MAX_SPAN = timedelta(hours=1)
"""A merged segment retires as a whole, so it may not reach over more than this."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A sealed segment and its bytes on disk."""

    segment: Segment
    bytes: int


def tier(size: int) -> int:
    """0 below 64 KiB, then one more for each factor of 8 (size-tiered compaction)."""
    return ((size // SMALLEST).bit_length() + 2) // 3


def due(stored: Iterable[Stored]) -> tuple[tuple[Stored, ...], ...]:
    """Runs of `RUN` segments of one source and tier to merge. Time in which nothing was sent stays visible: no run reaches over a gap."""
    ordered = sorted(stored, key=lambda s: (_kind(s), s.segment.window.start, s.segment.id))
    return tuple(run for _, same in groupby(ordered, _kind) for run in _runs(same))


def over(stored: Iterable[Stored], most: int) -> tuple[Stored, ...]:
    """The oldest segments, as many as must go for the rest to have at most `most` bytes."""
    oldest = sorted(stored, key=lambda s: (s.segment.window.end, s.segment.id))
    left = sum(s.bytes for s in oldest)
    going: list[Stored] = []
    for one in oldest:
        if left <= most:
            break
        going.append(one)
        left -= one.bytes
    return tuple(going)


def _kind(stored: Stored) -> tuple[str, str, str, int, int]:
    s = stored.segment
    return s.org, s.gateway, s.side.value, s.bucket_seconds, tier(stored.bytes)


def _runs(ordered: Iterable[Stored]) -> Iterator[tuple[Stored, ...]]:
    run: list[Stored] = []
    for one in ordered:
        if run and not _joins(run, one):
            run = []
        run.append(one)
        if len(run) == RUN:
            yield tuple(run)
            run = []


def _joins(run: list[Stored], one: Stored) -> bool:
    end = max(s.segment.window.end for s in run)
    start, last = run[0].segment.window.start, max(end, one.segment.window.end)
    return one.segment.window.start <= end and last - start <= MAX_SPAN and sum(s.bytes for s in run) + one.bytes <= MAX_BYTES
