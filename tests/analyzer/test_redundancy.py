"""Metrics that repeat others: found when they do, and never on little or on chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from analyzer.redundancy import CELLS, FAMILY, Cells, compare
from flowgate.advice import Twin
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

Values = Mapping[int, float]


def cells(of: Mapping[str, Values], buckets: int = 4) -> tuple[Cells, list[str]]:
    names = sorted(of)
    rows = sorted((k, cell, value) for k, name in enumerate(names) for cell, value in of[name].items())
    metric, cell, value = zip(*rows, strict=True) if rows else ((), (), ())
    made = Cells(np.array(metric, np.int64), np.array(cell, np.uint64), np.array(value, np.float64), buckets)
    return made, names


def twins(of: Mapping[str, Values]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(t.metric, t.relation, t.of) for t in compare(*cells(of)).twins]


def drawn(seed: int, n: int = 40, high: int = 10**6) -> dict[int, float]:
    dice = np.random.default_rng(seed)
    return dict(enumerate(dice.integers(1, high, n).astype(float).tolist()))


def plus(*of: Values) -> dict[int, float]:
    return {cell: sum(one[cell] for one in of) for cell in of[0]}


def test_the_later_name_is_the_twin_and_the_evidence_is_counted() -> None:
    found = compare(*cells({"b": drawn(1), "a": drawn(1), "c": drawn(2)}))
    assert found.twins == (Twin("b", "equal", ("a",), 40, 10),)
    assert found.cannot_tell == 0


def test_of_three_that_are_equal_two_are_twins_of_the_first() -> None:
    assert twins({"a": drawn(1), "b": drawn(1), "c": drawn(1)}) == [("b", "equal", ("a",)), ("c", "equal", ("a",))]


def test_one_different_value_is_enough_to_be_no_twin() -> None:
    assert twins({"a": drawn(1), "b": {**drawn(1), 17: 5.0}}) == []


def test_a_twin_may_miss_the_windows_last_values_but_not_more() -> None:
    whole = drawn(1)
    assert twins({"a": whole, "b": {c: v for c, v in whole.items() if c < 38}}) == [("b", "equal", ("a",))]
    assert twins({"a": whole, "b": {c: v for c, v in whole.items() if c < 20}}) == []


@pytest.mark.parametrize(
    "values",
    [
        dict.fromkeys(range(100), 0.0),
        dict.fromkeys(range(100), 1.0),
        {k: float(k % 3) for k in range(100)},
        {k: float(k + 1) for k in range(CELLS - 1)},
    ],
    ids=["always 0", "always 1", "0, 1 and 2", "few values"],
)
def test_what_proves_nothing_is_not_compared(values: Values) -> None:
    found = compare(*cells({"a": values, "b": values}))
    assert found.twins == ()
    assert found.cannot_tell == 2


def test_equal_values_on_other_label_sets_are_no_twins() -> None:
    assert twins({"a": drawn(1), "b": {cell + 1000: value for cell, value in drawn(1).items()}}) == []


def test_a_metric_of_two_units_is_no_twin_of_itself() -> None:
    made, _ = cells({"a": drawn(1), "b": drawn(1)})
    assert compare(made, ["same", "same"]).twins == ()


def test_two_parts_that_add_up_are_found() -> None:
    read, write = drawn(1), drawn(2)
    assert twins({"io": plus(read, write), "read": read, "write": write, "else": drawn(3)}) == [("io", "sum", ("read", "write"))]


def test_five_parts_that_add_up_are_found_among_others() -> None:
    parts = {f"part{k}": drawn(k, 60) for k in range(5)}
    others = {f"other{k}": drawn(k, 60) for k in range(50, 55)}
    assert twins({"total": plus(*parts.values()), **parts, **others}) == [("total", "sum", tuple(sorted(parts)))]


def test_sums_of_doubles_may_be_rounded() -> None:
    parts = [{c: v / 7 for c, v in drawn(k).items()} for k in range(2)]
    assert [t[1] for t in twins({"total": plus(*parts), "p": parts[0], "q": parts[1]})] == ["sum"]


def test_a_sum_that_is_off_in_one_cell_is_none() -> None:
    read, write = drawn(1), drawn(2)
    assert twins({"io": {**plus(read, write), 7: 3.0}, "read": read, "write": write}) == []


def test_a_part_that_is_nearly_always_zero_proves_nothing() -> None:
    whole = drawn(1)
    rare = {cell: 5.0 if cell == 3 else 0.0 for cell in whole}
    assert twins({"total": plus(whole, rare), "whole": whole, "rare": rare}) == []


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_planted_twins_are_found_and_nothing_else_is(case: str) -> None:
    """Counters that grow by what is drawn, of which some repeat or add up others."""
    dice = np.random.default_rng(seed_of(case, "redundancy"))
    for _ in range(count(60, 2000)):
        n = int(dice.integers(3, 30))
        of = {f"m{k:02d}": dict(enumerate(np.cumsum(dice.integers(0, 50, 48)).astype(float).tolist())) for k in range(n)}
        planted = [("z_copy", "equal", ("m00",)), ("z_sum", "sum", ("m01", "m02"))]
        assert twins({**of, "z_copy": of["m00"], "z_sum": plus(of["m01"], of["m02"])}) == planted
        assert twins(of) == []


def test_nothing_at_all_and_very_many() -> None:
    assert compare(*cells({})).twins == ()
    many = {f"m{k:04d}": drawn(k, CELLS) for k in range(FAMILY + 1)}
    assert twins({**many, "z": many["m0000"]}) == [("z", "equal", ("m0000",))]
