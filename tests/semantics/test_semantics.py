"""What the demand analysis calls removable is removable: a real Prometheus shows the same before and after."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.semantics.__main__ import chosen_of, false_of, told
from tests.semantics.claims import Claim, claims_of
from tests.semantics.corpus import EXAMPLES, SAMPLES, expressions_under
from tests.semantics.fuzz import random_claims
from tests.semantics.judge import Case, Verdict, judged
from tests.semantics.promtool import BINARY

pytestmark = pytest.mark.binary
CLAIMS, DATA_SETS = 60, 3
RANDOM = 120
CONTENT, POWER = 0.8, 0.8
"""At least these shares of cases must show something, and of removals of a needed label be noticed: else the judge proves nothing."""


@pytest.fixture(scope="module")
def fresh() -> int:
    """A seed that no run had before; it is printed, and `Case(claim, seed)` draws the same world again."""
    seed = time.time_ns() % 1_000_000
    print(f"fresh seed {seed}")
    return seed


def _said(verdicts: list[Verdict]) -> str:
    return "\n\n".join(v.told() for v in false_of(verdicts)[:3])


def _shares(verdicts: list[Verdict]) -> tuple[float, float]:
    power = [v.power for v in verdicts if v.power is not None]
    return sum(v.original is not None for v in verdicts) / len(verdicts), sum(power) / max(len(power), 1)


def _claims() -> list[Claim]:
    folders = [EXAMPLES, *([SAMPLES] if SAMPLES.exists() else [])]
    return claims_of(expressions_under(*folders))


def test_every_claim_holds_on_original_and_merged_data(promtool: Path, fresh: int) -> None:
    """60 claims of our own expressions and, where they are, of the samples; on two known data sets and a new one each."""
    assert promtool == BINARY
    claims = _claims()
    chosen = chosen_of(claims, CLAIMS * 2 // 3, seed=5) + chosen_of(claims, CLAIMS // 3, seed=fresh)
    verdicts = judged([Case(claim, seed) for claim in chosen for seed in (1, 2, fresh)][: CLAIMS * DATA_SETS], workers=2)
    print(told(verdicts))
    content, power = _shares(verdicts)
    assert false_of(verdicts) == [], _said(verdicts)
    assert content >= CONTENT
    assert power >= POWER


def test_claims_about_random_expressions_hold(promtool: Path) -> None:
    """Known seeds only: looking for holes with new ones is what `python -m tests.semantics` does."""
    assert promtool == BINARY
    verdicts = judged([Case(claim, 7) for claim in random_claims(7, RANDOM)], workers=2)
    print(told(verdicts))
    assert false_of(verdicts) == [], _said(verdicts)
    assert _shares(verdicts)[0] >= 0.5


def test_a_false_claim_is_found(promtool: Path) -> None:
    """The judge itself: a claim that `max` may be merged by `sum`, and one that a needed label may go."""
    assert promtool == BINARY
    lies = [
        Claim("max by (a) (m)", "m", frozenset({"b"}), "sum"),
        Claim("sum by (a) (m)", "m", frozenset({"a"}), "sum"),
        Claim("sum by (a) (rate(m_total[5m]))", "m_total", frozenset({"b"}), "sum"),
        Claim("count by (a) (m)", "m", frozenset({"b"}), "sum"),
    ]
    verdicts = judged([Case(lie, random.Random(n).randrange(1000)) for lie in lies for n in range(6)])
    noticed = {v.case.claim for v in verdicts if not v.holds}
    assert noticed == set(lies)
