"""No advice takes what a generator knows to be read, and nearly all that it knows to be waste is found.

`FLOWGATE_SEED` and the number of a set make it again: `planted(seed, number)`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.seeds import FIXED_AND_FRESH, count, full, seed_of
from tests.planted.judge import judged
from tests.planted.sets import planted

SETS = count(5_000, 100_000)
PARTS = 2
LEAST = 0.95
"""Of the planted waste."""


@pytest.mark.timeout(7_200 if full() else 300)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_nothing_that_is_read_is_taken_and_waste_is_found(case: str, part: int, tmp_path: Path) -> None:
    each = SETS // (PARTS * len(FIXED_AND_FRESH))
    score = judged(seed_of(case, f"planted{part}"), range(each), tmp_path)
    print(score.told())
    assert score.wrong == [], score.told()
    assert set(score.planted) == {"metric", "label", "follower", "buckets"}
    for kind in score.planted:
        assert score.share(kind) >= LEAST, f"{score.told()}\n{score.missed[:20]}"


def test_a_set_is_the_same_for_the_same_seed() -> None:
    assert planted(3, 7) == planted(3, 7)
    assert planted(3, 7) != planted(3, 8) != planted(4, 8)
