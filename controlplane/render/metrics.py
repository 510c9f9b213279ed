"""Processors that carry out actions on metrics, in the order they run: drop, delete labels and merge buckets, aggregate, rename.

Names in actions are the names that arrive, so what drops stands first and what renames stands last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from controlplane.render.gojson import go_double
from controlplane.render.ottl import And, Call, Compare, Condition, Literal, Or, Path, Value, all_of, call, eq, one_of, statement, text
from controlplane.render.yaml import Config
from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropMetric,
    DropPoints,
    DropPrefix,
    Label,
    Match,
    ReduceBuckets,
    Rename,
)

FILTER = "filter/flowgate_metrics"
TRANSFORM = "transform/flowgate_metrics"
AGGREGATION = "aggregation/flowgate"
RENAME = "transform/flowgate_rename"
_NAME = Path("name")
_METRIC_NAME = Path("metric.name")


def processors(actions: Sequence[Action]) -> dict[str, Config]:
    """By name, in the order they run; nothing for what has nothing to do."""
    left = [a for a in actions if not _dead(a, actions)]
    made = {FILTER: _filter(left), TRANSFORM: _transform(left), **_aggregations(left), RENAME: _rename(left)}
    return {name: config for name, config in made.items() if config is not None}


def dropped(metric: str, actions: Iterable[Action]) -> bool:
    """Whether an action drops the metric whole."""
    return any(
        (isinstance(a, DropMetric) and a.metric == metric) or (isinstance(a, DropPrefix) and metric.startswith(a.prefix)) for a in actions
    )


def _dead(action: Action, actions: Sequence[Action]) -> bool:
    """What would never see a point, because another action drops all of them first."""
    match action:
        case DropMetric(metric):
            return any(isinstance(a, DropPrefix) and metric.startswith(a.prefix) for a in actions)
        case DropPrefix(prefix):
            return any(isinstance(a, DropPrefix) and prefix != a.prefix and prefix.startswith(a.prefix) for a in actions)
        case DropPoints(metric) | AggregateLabels(metric) | DeleteLabel(metric) | ReduceBuckets(metric) | Rename(metric):
            return dropped(metric, actions)
        case _:
            return False


def _filter(actions: Sequence[Action]) -> Config | None:
    whole: list[Condition] = [eq(_NAME, a.metric) for a in actions if isinstance(a, DropMetric)]
    whole += [call("HasPrefix", _NAME, a.prefix) for a in actions if isinstance(a, DropPrefix)]
    points = [matching(a) for a in actions if isinstance(a, DropPoints)]
    conditions = {key: [text(c) for c in listed] for key, listed in (("metric", whole), ("datapoint", points)) if listed}
    return {"error_mode": "ignore", "metrics": conditions} if conditions else None


def matching(action: DropPoints) -> Condition:
    """The points of an action, in the datapoint context."""
    return all_of(eq(_METRIC_NAME, action.metric), *(_has(m) for m in action.where))


def _has(match: Match) -> Condition:
    """Values are compared as text: an integer 200 is "200". A double is both what Go writes (1) and what the tap shows (1.0)."""
    path = Path("resource.attributes" if match.label.place == "resource" else "attributes", match.label.key)
    as_text = call("String", path)
    shorter = [And((call("IsDouble", path), eq(as_text, go))) for go in map(shown_double, match.values) if go]
    same = one_of(as_text, match.values)
    return Or((*(same.parts if isinstance(same, Or) else (same,)), *shorter)) if shorter else same


def shown_double(value: str) -> str | None:
    """What Go writes for the double that the tap shows like this, where they differ; None for other text."""
    try:
        number = float(value)
    except ValueError:
        return None
    if repr(number) != value or not math.isfinite(number):
        return None
    return go_double(number) if go_double(number) != value else None


def _transform(actions: Sequence[Action]) -> Config | None:
    deletes = [
        statement(call("delete_key", Path("datapoint.attributes"), a.label.key), _determined(a))
        for a in actions
        if isinstance(a, DeleteLabel)
    ]
    merges = [
        statement(Call("merge_histogram_buckets", (Literal(bound),)), eq(_METRIC_NAME, a.metric))
        for a in actions
        if isinstance(a, ReduceBuckets)
        for bound in a.merged
    ]
    return transform("metric_statements", {"datapoint": [*deletes, *merges]})


def _determined(action: DeleteLabel) -> Condition:
    """Only where every label that determines it is there: a point without one keeps the label."""
    present = (Compare(attribute("datapoint", d), "!=", Literal(None)) for d in action.determined_by)
    return all_of(eq(_METRIC_NAME, action.metric), *present)


def attribute(item: str, label: Label) -> Value:
    """Where an attribute is: `item` is `datapoint`, `log` or `span`."""
    return Path(f"{'resource' if label.place == 'resource' else item}.attributes", label.key)


def _rename(actions: Sequence[Action]) -> Config | None:
    renames = [statement(call("set", _METRIC_NAME, a.to), eq(_METRIC_NAME, a.metric)) for a in actions if isinstance(a, Rename)]
    return transform("metric_statements", {"metric": renames})


def transform(statements: str, by_context: dict[str, list[str]]) -> Config | None:
    """A transform processor; contexts run in the order they are given, statements in theirs."""
    groups = [{"context": context, "statements": listed} for context, listed in by_context.items() if listed]
    return {"error_mode": "ignore", statements: groups} if groups else None


def _aggregations(actions: Sequence[Action]) -> dict[str, Config]:
    """One processor an output interval; within it one rule for all metrics that lose the same labels by the same operator."""
    wanted = [a for a in actions if isinstance(a, AggregateLabels)]
    intervals = sorted({a.interval_seconds for a in wanted})
    names = {i: AGGREGATION if len(intervals) == 1 else f"{AGGREGATION}_{go_double(i)}s" for i in intervals}
    return {names[i]: {"interval": f"{go_double(i)}s", "rules": _rules([a for a in wanted if a.interval_seconds == i])} for i in intervals}


def _rules(actions: Sequence[AggregateLabels]) -> list[Config]:
    def rule(action: AggregateLabels) -> str:
        return json.dumps([[[label.place, label.key] for label in sorted(action.labels)], action.operator])

    ordered = sorted(actions, key=lambda a: (rule(a), a.metric))
    return [_rule(list(group)) for _, group in groupby(ordered, key=rule)]


def _rule(actions: Sequence[AggregateLabels]) -> Config:
    first = actions[0]
    places = ("resource", "point")
    labels = {place: sorted(label.key for label in first.labels if label.place == place) for place in places}
    return {
        "metrics": {"names": [a.metric for a in actions]},
        "drop_labels": {place: keys for place, keys in labels.items() if keys},
        "operator": first.operator,
    }
