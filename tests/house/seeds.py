"""Seeds and counts of tests with chance: a fixed seed and a fresh one, printed; small counts in CI, full ones for a release."""

from __future__ import annotations

import os
import secrets


def full() -> bool:
    """Whether the counts of a release are asked for (`make release-checks`)."""
    return os.environ.get("FLOWGATE_FULL") == "1"


FIXED_AND_FRESH = ("fixed", "fresh")
"""To parametrize with: every process of a parallel run must see the same cases."""


def seed_of(case: str, name: str) -> int:
    """A fixed seed or a fresh one, printed (pytest shows it with a failure); FLOWGATE_SEED repeats a run."""
    again = os.environ.get("FLOWGATE_SEED")
    seed = int(again) if again else sum(name.encode()) if case == "fixed" else secrets.randbelow(2**31)
    print(f"{name}: FLOWGATE_SEED={seed}")
    return seed


def count(in_ci: int, for_a_release: int) -> int:
    return for_a_release if full() else in_ci
