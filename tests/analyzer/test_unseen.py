"""From samples alone: the interval covers the truth as often as it says."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from analyzer.cardinality import LabelTable
from analyzer.unseen import FEWEST, Interval, estimated
from flowgate.actions import Label
from flowgate.money import CannotTell
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

LABELS = tuple(Label("point", f"l{k}") for k in range(5))


def population(dice: np.random.Generator) -> LabelTable:
    """Series over five labels: grids, heavy tails, labels that follow from others, one with a value of its own for each."""
    n = int(dice.integers(500, 30_000))
    columns = []
    for _ in LABELS:
        size = int(dice.choice([2, 5, 30, 300, 3000]))
        flat, tailed = dice.integers(0, size, n), np.minimum(dice.zipf(1.5, n), size) - 1
        columns.append([flat, tailed, (flat + tailed) % size, np.arange(n)][int(dice.integers(4))])
    if dice.random() < 0.5:
        columns[1] = columns[0] % 7
    rows = np.unique(np.stack(columns), axis=1).astype(np.uint32) + np.uint32(1)
    return LabelTable(LABELS, rows, tuple(int(r.max()) + 1 for r in rows))


def drawn(whole: LabelTable, share: float, dice: np.random.Generator) -> LabelTable:
    return LabelTable(whole.labels, whole.codes[:, dice.random(whole.series) < share], whole.sizes)


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_the_interval_covers_the_truth(case: str) -> None:
    """At least 93 of 100 answers; how wide they are, and how often there was none, is printed (docs/profiles.md has the full run)."""
    dice = np.random.default_rng(seed_of(case, "unseen"))
    held, widths, untold, inside = [], [], 0, []
    for _ in range(count(200, 5000)):
        whole = population(dice)
        share = float(dice.choice([0.5, 0.25, 0.125, 1 / 32]))
        gone = [LABELS[i] for i in dice.permutation(5)[: int(dice.integers(1, 4))]]
        answer = estimated(drawn(whole, share, dice), share, gone)
        truth = whole.left(gone)
        if isinstance(answer, CannotTell):
            untold += 1
            continue
        held.append(answer.low <= truth <= answer.high)
        widths.append(answer.width)
        inside.append(truth)
    covered = sum(held) / len(held)
    print(f"unseen: covered {covered:.3f} of {len(held)}, median width {median(widths):.3f} of the middle, cannot tell {untold}")
    assert covered >= 0.93
    assert len(held) > untold


def test_a_whole_sample_is_exact() -> None:
    whole = population(np.random.default_rng(1))
    exact = whole.left(LABELS[:2])
    assert estimated(whole, 1.0, LABELS[:2]) == Interval(exact, exact)


def test_a_handful_tells_nothing() -> None:
    few = population(np.random.default_rng(1)).first(FEWEST - 1)
    assert isinstance(estimated(few, 0.5, LABELS[:1]), CannotTell)


def test_groups_of_which_each_was_met_once_tell_nothing_at_a_small_share() -> None:
    """A sixteenth of the series, forty groups met by one series each: those groups may be all there are, or a sixteenth."""
    codes = np.arange(1, 41, dtype=np.uint32)[None, :]
    assert isinstance(estimated(LabelTable(LABELS[:1], codes, (41,)), 1 / 16, [LABELS[4]]), CannotTell)


def test_many_groups_met_once_and_none_twice_say_that_the_groups_are_of_one_series() -> None:
    """Were they of two, every thirtieth would have been met twice."""
    codes = np.arange(1, 2001, dtype=np.uint32)[None, :]
    answer = estimated(LabelTable(LABELS[:1], codes, (2001,)), 1 / 16, [LABELS[4]])
    assert isinstance(answer, Interval)
    assert answer.low <= 32_000 <= answer.high
    assert answer.low > 25_000


def test_groups_that_were_met_many_times_are_all_there_are() -> None:
    codes = np.stack([np.arange(2000, dtype=np.uint32) % 20 + 1, np.arange(2000, dtype=np.uint32) + 1])
    answer = estimated(LabelTable(LABELS[:2], codes, (21, 2001)), 0.25, [LABELS[1]])
    assert isinstance(answer, Interval)
    assert answer.low == 20
    assert answer.high <= 35


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        estimated(population(np.random.default_rng(1)), share)
