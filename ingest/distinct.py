"""How many values a label has: their ids while there are few, a HyperLogLog sketch of the ids beyond. Both can be united, in any order.

Ids are the store's keyed hashes, so what taps and segments of one key counted can be united; of two keys it cannot.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasketches

_SKETCHES: Any = datasketches  # its names come from a native module without stubs
EXACT = 1024
"""Ids kept one by one; at 8 bytes each they take four times the room of a sketch."""
LG_K = 12
"""4,096 registers of 4 bits: a relative standard error of 1.04 / sqrt(4096) = 1.6 % after a union."""
CHECKSUM = 4


class DamagedSketch(ValueError):
    """Bytes that are not what was stored."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct values: one of the two is given."""

    ids: tuple[int, ...] | None
    sketch: bytes | None


def counted(ids: Sequence[int]) -> Distinct:
    """Of ids that are distinct already."""
    if len(ids) <= EXACT:
        return Distinct(tuple(sorted(ids)), None)
    made = _SKETCHES.hll_sketch(LG_K, _SKETCHES.HLL_4)
    deque(map(made.update, ids), maxlen=0)
    return Distinct(None, sealed(made.serialize_compact()))


def united(parts: Iterable[Distinct]) -> Distinct:
    """What all of them counted together. Raises `DamagedSketch`."""
    listed = list(parts)
    ids = {i for part in listed for i in part.ids or ()}
    sketches = [part.sketch for part in listed if part.sketch is not None]
    if not sketches:
        return counted(tuple(ids))
    union = _SKETCHES.hll_union(LG_K)
    for sketch in sketches:
        union.update(_SKETCHES.hll_sketch.deserialize(opened(sketch)))
    deque(map(union.update, ids), maxlen=0)
    return Distinct(None, sealed(union.get_result(_SKETCHES.HLL_4).serialize_compact()))


def sealed(sketch: bytes) -> bytes:
    """A sketch as it is stored: behind its CRC-32. The library trusts what it reads, and a flipped bit can end the process."""
    return zlib.crc32(sketch).to_bytes(CHECKSUM, "big") + sketch


def opened(stored: bytes) -> bytes:
    """The sketch in stored bytes; raises `DamagedSketch`."""
    sketch = stored[CHECKSUM:]
    if zlib.crc32(sketch).to_bytes(CHECKSUM, "big") != stored[:CHECKSUM]:
        raise DamagedSketch("a sketch of distinct values is damaged")
    return sketch
