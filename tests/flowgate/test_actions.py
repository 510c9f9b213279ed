"""Every action: a value that exists is valid, survives its JSON, and its schema says the same as the code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowgate import actions
from flowgate.action_shapes import ACTION_TYPES, action_from_json, action_json
from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropLogs,
    DropMetric,
    DropPoints,
    Label,
    Match,
    Redact,
    ReduceBuckets,
    Rename,
    SampleLogs,
    SampleTraces,
    SetInterval,
    TrimAttribute,
    merged,
)
from flowgate.errors import Invalid
from flowgate.telemetry import Signal
from tests.actions import EXAMPLES, HOST, NODE, POD, any_action

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "action.json").read_text())
valid = Draft202012Validator(SCHEMA)


def test_union_json_schema_and_examples_know_the_same_types() -> None:
    types = {member.__name__ for part in get_args(Action) for member in (get_args(part) or (part,))}
    assert {type(a).__name__ for a in EXAMPLES} == types
    assert {a.type for a in EXAMPLES} == set(ACTION_TYPES) == {one["properties"]["type"]["const"] for one in SCHEMA["oneOf"]}


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda a: a.type)
def test_an_example_of_each_survives_the_round_trip(action: Action) -> None:
    assert action_from_json(json.loads(json.dumps(action_json(action)))) == action
    valid.validate(action_json(action))


@given(any_action())
def test_any_action_survives_the_round_trip_and_fits_the_schema(action: Action) -> None:
    found = json.loads(json.dumps(action_json(action)))
    assert action_from_json(found) == action
    valid.validate(found)


junk = st.none() | st.booleans() | st.integers(-5, 100_000) | st.floats(allow_nan=False) | st.text(max_size=3) | st.just([]) | st.just({})


@given(any_action(), st.data())
def test_whatever_one_field_becomes_code_and_schema_refuse_the_same_types(action: Action, data: st.DataObject) -> None:
    """The schema cannot say everything (bounds that ascend), but what it refuses the code refuses, and the code never raises anything else."""
    found: dict[str, Any] = json.loads(json.dumps(action_json(action)))
    found[data.draw(st.sampled_from(sorted(found)))] = data.draw(junk)
    try:
        action_from_json(found)
    except Invalid:
        return
    valid.validate(found)


@pytest.mark.parametrize("action", EXAMPLES, ids=lambda a: a.type)
def test_every_field_is_needed_and_no_other_is_known(action: Action) -> None:
    found: dict[str, Any] = action_json(action)
    for field in set(found) - {"type"}:
        short = {k: v for k, v in found.items() if k != field}
        with pytest.raises(Invalid) as refusal:
            action_from_json(short)
        assert any(p.path.startswith(f"action/{field}") for p in refusal.value.problems)
        assert not valid.is_valid(short)
    with pytest.raises(Invalid):
        action_from_json({**found, "why": "x"})
    assert not valid.is_valid({**found, "why": "x"})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"type": "drop_points", "metric": "m", "where": [{"label": {"place": "scope", "key": "a"}, "values": ["x"]}]}, "action/where/0/label/place"),
        ({"type": "drop_points", "metric": "m", "where": [{"label": {"place": "point", "key": "a"}, "values": [7]}]}, "action/where/0/values/0"),
        ({"type": "drop_points", "metric": "m", "where": [7]}, "action/where/0"),
        ({"type": "drop_points", "metric": "m", "where": []}, "action"),
        ({"type": "reduce_buckets", "metric": "m", "bounds": [], "of": [1, "2"]}, "action/of/1"),
        ({"type": "reduce_buckets", "metric": "m", "bounds": [], "of": [10**400]}, "action/of/0"),
        ({"type": "reduce_buckets", "metric": "m", "bounds": [1], "of": [1]}, "action"),
        ({"type": "sample_traces", "keep_percent": 100}, "action"),
        ({"type": "sample_traces", "keep_percent": True}, "action/keep_percent"),
        ({"type": "redact", "signal": "traces", "label": None, "shape": "email"}, "action"),
        ({"type": "redact", "signal": "metrics", "label": None, "shape": "email"}, "action/signal"),
        ({"type": "trim_attribute", "signal": "logs", "label": {"place": "point"}, "max_bytes": 5}, "action/label/key"),
        ({"type": "route", "signal": "x", "service": "s", "exporter": "e"}, "action/signal"),
        ({"type": ["drop_metric"]}, "action/type"),
    ],
)  # fmt: skip
def test_what_is_wrong_inside_names_its_place(value: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        action_from_json(value)
    assert [p.path for p in refusal.value.problems] == [path]


@pytest.mark.parametrize(
    "make",
    [
        lambda: DropMetric(""),
        lambda: Label("point", ""),
        lambda: Match(POD, ()),
        lambda: Match(POD, ("a", "a")),
        lambda: DropPoints("m", (Match(POD, ("a",)), Match(POD, ("b",)))),
        lambda: AggregateLabels("m", (), "sum", 60.0),
        lambda: AggregateLabels("m", (POD, POD), "sum", 60.0),
        lambda: AggregateLabels("m", (POD,), "none", 60.0),  # type: ignore[arg-type]
        lambda: AggregateLabels("m", (POD,), "sum", float("inf")),
        lambda: AggregateLabels("m", (POD,), "sum", 0.0),
        lambda: DeleteLabel("m", POD, ()),
        lambda: DeleteLabel("m", POD, (POD,)),
        lambda: DeleteLabel("m", POD, (NODE, NODE)),
        lambda: ReduceBuckets("m", (), ()),
        lambda: ReduceBuckets("m", (1.0,), (2.0, 1.0)),
        lambda: ReduceBuckets("m", (3.0,), (1.0, 2.0)),
        lambda: ReduceBuckets("m", (), (float("inf"),)),
        lambda: Rename("a", "a"),
        lambda: SetInterval("j", 0),
        lambda: SetInterval("j", 3601),
        lambda: SampleTraces(0.0),
        lambda: SampleTraces(float("nan")),
        lambda: TrimAttribute(Signal.METRICS, POD, 5),  # type: ignore[arg-type]
        lambda: TrimAttribute(Signal.LOGS, POD, 0),
        lambda: Redact(Signal.METRICS, POD, "ip"),  # type: ignore[arg-type]
        lambda: Redact(Signal.TRACES, None, "ip"),
    ],
)
def test_a_value_that_exists_is_valid(make: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()


@pytest.mark.parametrize(
    ("make", "fits", "too_much"),
    [
        (lambda n: SetInterval("j", n), (1, 2, 3599, 3600), (0, 3601)),
        (lambda n: TrimAttribute(Signal.LOGS, POD, n), (1, 2, 65_535, 65_536), (0, 65_537)),
        (lambda n: DropLogs("s", n), (1, 2, 23, 24), (0, 25)),
        (lambda n: SampleLogs("s", n, 5.0), (1, 2, 23, 24), (0, 25)),
    ],
)
def test_ranges_hold_at_their_ends(make: Any, fits: tuple[int, ...], too_much: tuple[int, ...]) -> None:
    """In the value, in what is read back, and in the schema."""
    for number in fits:
        written: dict[str, Any] = action_json(make(number))
        assert action_from_json(written) == make(number)
        assert valid.is_valid(written)
    for number in too_much:
        with pytest.raises(ValueError, match=r"\d"):
            make(number)
        told: dict[str, Any] = {k: number if v == fits[0] and isinstance(v, int) else v for k, v in action_json(make(fits[0])).items()}
        assert not valid.is_valid(told)
        with pytest.raises(Invalid):
            action_from_json(told)


def test_what_buckets_lose_is_what_is_not_kept() -> None:
    assert ReduceBuckets("m", (1.0,), (0.5, 1.0, 2.0)).merged == (0.5, 2.0)


def test_every_action_says_what_it_does() -> None:
    for action in EXAMPLES:
        assert getattr(actions, type(action).__name__).__doc__


# --- several that are one ------------------------------------------------------------------------------------------------------------


def aggregates(listed: Sequence[Action]) -> list[AggregateLabels]:
    return [a for a in listed if isinstance(a, AggregateLabels)]


def test_labels_of_one_metric_are_taken_away_by_one_action() -> None:
    pod, node, other = (AggregateLabels("m", labels, "sum", 60.0) for labels in ((POD,), (NODE, POD), (HOST,)))
    listed = [DropMetric("a"), pod, DropMetric("b"), node, replace(other, metric="n")]
    assert merged(listed) == (DropMetric("a"), AggregateLabels("m", (NODE, POD), "sum", 60.0), DropMetric("b"), replace(other, metric="n"))


@pytest.mark.parametrize("other", [AggregateLabels("m", (NODE,), "max", 60.0), AggregateLabels("m", (NODE,), "sum", 30.0)])
def test_what_differs_in_operator_or_interval_stays_apart(other: AggregateLabels) -> None:
    listed = (AggregateLabels("m", (POD,), "sum", 60.0), other)
    assert merged(listed) == listed


few = any_action(st.sampled_from(["m", "n"])).map(
    lambda a: replace(a, interval_seconds=60.0 if a.interval_seconds < 900 else 30.0) if isinstance(a, AggregateLabels) else a
)


@given(st.lists(few, max_size=12))
def test_merging_loses_no_label_and_no_other_action(listed: list[Action]) -> None:
    found = merged(listed)
    taken: dict[tuple[str, str, float], set[Label]] = {}
    for action in aggregates(listed):
        taken.setdefault((action.metric, action.operator, action.interval_seconds), set()).update(action.labels)
    assert {(a.metric, a.operator, a.interval_seconds): set(a.labels) for a in aggregates(found)} == taken
    assert len(aggregates(found)) == len(taken)
    others = (a for a in listed if not isinstance(a, AggregateLabels))
    assert [a for a in found if not isinstance(a, AggregateLabels)] == list(dict.fromkeys(others))
    assert merged(found) == found
