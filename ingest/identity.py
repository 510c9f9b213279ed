"""Keyed 64-bit identity of key-values and series, in plain Python: what `ingest.kernels` computes compiled, bit for bit.

The mixing step is a 64x64→128 bit multiply folded by xor (as in wyhash, Wang Yi 2019, public domain). Unlike there, every constant is derived
from the store's key, so that nobody without it can choose names that collide. Key-values are summed, so their order does not matter.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

_MASK = (1 << 64) - 1
KV, RESOURCE, SCOPE, METRIC, NAME, TRACE, TEXT, POINT, VALUE = range(1, 10)
"""What is hashed; the same bytes as two of these have two hashes."""
SECRETS = 4


def secrets_of(key: bytes) -> tuple[int, ...]:
    """The four odd 64-bit constants that a store's key stands for."""
    drawn = hashlib.blake2b(key, digest_size=8 * SECRETS, person=b"flowgate-ids").digest()
    return tuple(value | 1 for value in struct.unpack(f"<{SECRETS}Q", drawn))


@dataclass(frozen=True, slots=True)
class Identity64:
    """The hash functions of one store's key."""

    key: bytes
    secrets: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "secrets", secrets_of(self.key))

    def hash(self, data: bytes, kind: int) -> int:
        """64 bits of `data` as a `kind`; never 0."""
        s0, s1, s2, _ = self.secrets
        h = (s0 + kind * s1) & _MASK
        n, at, end = len(data), 0, len(data)
        if n >= 16:
            while end - at > 16:
                h = mum(_u64(data, at) ^ s1, _u64(data, at + 8) ^ h)
                at += 16
            a, b = _u64(data, end - 16), _u64(data, end - 8)
        elif n >= 8:
            a, b = _u64(data, 0), _u64(data, n - 8)
        elif n >= 4:
            a, b = _u32(data, 0), _u32(data, n - 4)
        else:
            a, b = int.from_bytes(data, "little"), 0
        return mum(s1 ^ n, mum(a ^ s2, b ^ h)) or 1

    def kv(self, key: bytes, value: bytes) -> int:
        """Of a key-value, from its key and its value's canonical protobuf bytes, whichever of the two was sent first; never 0."""
        _, _, s2, s3 = self.secrets
        return mum(self.hash(key, KV) ^ s2, self.hash(value, VALUE) ^ s3) or 1

    def resource(self, kvs: Iterable[int]) -> int:
        """Of a resource, from its key-values' ids."""
        s0, s1, _, _ = self.secrets
        return mum(s0 ^ RESOURCE, (sum(kvs) & _MASK) ^ s1)

    def context(self, resource: int, scope: int, metric: int) -> int:
        """Of what points travel under."""
        s0, s1, s2, s3 = self.secrets
        return mum(mum(resource ^ s0, scope ^ s1) ^ s2, metric ^ s3)

    def series(self, context: int, kvs: Iterable[int]) -> int:
        """Of a series, from its context's identity and its point attributes' ids; never 0."""
        _, s1, s2, _ = self.secrets
        return mum(context ^ s1, (sum(kvs) & _MASK) ^ s2) or 1


def mum(a: int, b: int) -> int:
    """The product's two halves, xored."""
    product = a * b
    return (product & _MASK) ^ (product >> 64)


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
