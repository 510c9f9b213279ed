"""Every known counter-example differs under a real Prometheus, and the demand analysis calls none of them safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.demand import uses
from tests.semantics.claims import tree_of
from tests.semantics.controls import BY_CHANCE, CONTROLS, SAME, Control, after, outcome_of, world_of
from tests.semantics.promtool import Evaluation, evaluated
from tests.semantics.series import same, shown


def _title(control: Control) -> str:
    return f"{control.expression} by {control.operator}"


@pytest.mark.parametrize("control", [*CONTROLS, *BY_CHANCE], ids=_title)
def test_a_merge_that_changes_a_result_is_not_called_safe(control: Control) -> None:
    tree = tree_of(control.expression)
    assert tree is not None
    for metric in control.metrics:
        ours = [use for use in uses(tree) if use.name == metric]
        assert ours
        reasons = {word for use in ours for word in _objections(control, use.demand.among(frozenset({control.removed})), use.operator)}
        reasons |= {"overwritten" for use in ours if use.overwritten - {control.removed}}
        reasons |= {condition.kind for use in ours for condition in use.conditions}
        assert control.unsafe in reasons, ours


def _objections(control: Control, needed: frozenset[str], operator: str) -> set[str]:
    other = {"operator"} if operator not in (control.operator, "exists", "unique") else set[str]()
    return other | ({"demand"} if needed else set[str]())


@pytest.mark.binary
def test_counter_examples_differ_under_prometheus_exactly_as_told(promtool: Path) -> None:
    controls = [*CONTROLS, *BY_CHANCE, *SAME]
    before = evaluated([Evaluation(c.expression, world_of(c)) for c in controls], binary=promtool)
    merged = evaluated([Evaluation(c.expression, after(c)) for c in controls], binary=promtool)
    wrong: list[str] = []
    for control, (was,), (now,) in zip(controls, before, merged, strict=True):
        expected = outcome_of(control.was), outcome_of(control.now)
        if not (same(was, expected[0]) and same(now, expected[1])) or same(was, now) is not (control in SAME):
            wrong.append(f"{_title(control)}: {shown(was)} -> {shown(now)}, not {shown(expected[0])} -> {shown(expected[1])}")
    assert wrong == []
