"""The model says what the notes' table says; the judge finds nothing wrong with it and much with plain deletion."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aggregation.judge import aligned, edges, staggered, total
from tests.aggregation.model import aggregated, deleted, gained, raw
from tests.aggregation.queries import queries, safe
from tests.aggregation.scenarios import TICKS, Buckets, Point, scenario, scenarios
from tests.house.seeds import FIXED_AND_FRESH, seed_of

seeds = st.integers(0, 2**31)


def points(*values: tuple[float, float, float | None]) -> list[Point]:
    return [Point(time, time, start, value) for time, start, value in values]


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ([(0, -1, 5.0), (1, -1, 9.0)], 9.0),
        ([(0, -1, 5.0), (1, -1, 3.0)], 8.0),
        ([(0, -1, 5.0), (1, 0.5, 7.0)], 12.0),
        ([(0, -1, 5.0), (0, -1, 6.0), (1, -1, 7.0)], 7.0),
        ([(1, -1, 5.0), (0, -1, 4.0), (2, -1, 7.0)], 7.0),
        ([(0, -1, 5.0), (1, -1, None), (2, 1.5, 2.0)], 7.0),
    ],
)
def test_a_counter_counts_from_its_start_and_across_resets(said: list[tuple[float, float, float | None]], counted: float) -> None:
    assert gained(points(*said)) == counted


@given(seeds, st.booleans())
def test_a_scenario_is_the_same_for_the_same_seed_and_its_points_are_in_order(seed: int, aligned: bool) -> None:
    for number in range(8):
        drawn = scenario(seed, number, aligned)
        assert drawn == scenario(seed, number, aligned)
        assert len({one.labels for one in drawn.inputs}) == len(drawn.inputs)
        for one in drawn.inputs:
            times = [p.time for p in one.points]
            assert times == sorted(set(times))
            assert [p.sent for p in one.points] == sorted(p.sent for p in one.points)
            assert all(p.start < p.time and 0 <= p.sent < TICKS + 1 for p in one.points)


def test_scenarios_hold_every_trouble() -> None:
    many = [one for drawn in scenarios(1, 60, False) for one in drawn.inputs]
    assert any(one.points[0].time > 2 for one in many)
    assert any(one.points[-1].value is None for one in many)
    assert any(p.sent > p.time for one in many for p in one.points)
    assert any(len({p.start for p in one.points}) > 1 for one in many)
    bounds = [
        {p.value.bounds for one in drawn.inputs for p in one.points if isinstance(p.value, Buckets)} for drawn in scenarios(1, 60, True)
    ]
    assert {len(found) for found in bounds} == {0, 1, 2}


def test_what_is_judged_by_is_safe_and_nothing_else_is() -> None:
    for drawn in scenarios(1, 8, True):
        assert len(queries(drawn, 1)) >= 3, drawn.name
        unsafe = [f"avg by (a) ({drawn.name})", f"quantile(0.5, {drawn.name})", f"count by (a) ({drawn.name})", drawn.name]
        assert not any(safe(drawn, text) for text in [*unsafe, f"sum by (pod) (rate({drawn.name}[5m]))"])


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_prometheus_shows_the_same_of_the_model(promtool: Path, case: str) -> None:
    seed = seed_of(case, "the aggregation model")
    drawn = scenarios(seed, 24, True)
    verdicts = aligned([(s, aggregated(s)) for s in drawn], seed)
    assert [v.wrong for v in verdicts if v.wrong] == []
    assert sum(v.exact for v in verdicts) > 100


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_births_deaths_gaps_and_restarts_move_an_increase_by_the_edge_error_and_no_more(promtool: Path, case: str) -> None:
    drawn = scenarios(seed_of(case, "the model at edges"), 40, True)
    verdicts = edges([(s, aggregated(s)) for s in drawn])
    assert [v.wrong for v in verdicts if v.wrong] == []
    assert any(v.wrong for v in edges([(s, deleted(s)) for s in drawn]))


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_staggered_increases_of_the_model_are_within_the_lag_and_totals_equal(case: str) -> None:
    drawn = [s for s in scenarios(seed_of(case, "the staggered model"), 60, False) if s.counts]
    assert [v.wrong for s in drawn if (v := staggered(s, aggregated(s))).wrong] == []
    assert [wrong for s in drawn for wrong in total(s, aggregated(s))] == []


def test_the_judge_finds_deletion_wrong(promtool: Path) -> None:
    drawn = scenarios(1, 16, True)
    verdicts = aligned([(s, deleted(s)) for s in drawn], 1)
    assert sum(bool(v.wrong) for v in verdicts) > 12
    apart = [s for s in scenarios(1, 60, False) if s.counts]
    assert sum(bool(staggered(s, deleted(s)).wrong) for s in apart) > len(apart) / 2


def test_a_lost_input_and_a_double_count_are_seen() -> None:
    (drawn,) = scenarios(1, 1, False)
    whole = aggregated(drawn)
    twice = {**whole} | {(name, labels | {("pod", "again")}): samples for (name, labels), samples in raw(drawn).items()}
    key = next(iter(whole))
    assert total(drawn, whole) == []
    assert total(drawn, {k: v for k, v in whole.items() if k != key})
    assert total(drawn, twice)
