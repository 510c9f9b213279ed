"""Actions that cannot be carried out together: rendered one after another they would do something that none of them says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from controlplane.render.metrics import dropped
from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropPoints,
    Label,
    ReduceBuckets,
    Rename,
    Route,
    SetInterval,
)
from flowgate.errors import Problem

_ONCE: Mapping[type[Any], tuple[Callable[[Any], Hashable], str]] = {
    AggregateLabels: (lambda a: a.metric, "two actions aggregate {0!r} in different ways: both would write the series that are left"),
    ReduceBuckets: (lambda a: a.metric, "two actions leave {0!r} different buckets"),
    Rename: (lambda a: a.metric, "two actions give {0!r} different names"),
    SetInterval: (lambda a: a.job, "two actions set different intervals of job {0!r}"),
    Route: (lambda a: (a.signal.value, a.service), "two actions send the same telemetry to different exporters: {0!r}"),
}


def conflicts(actions: Sequence[Action]) -> list[Problem]:
    """Each with the place of the action that comes second, as given."""
    return [*_twice(actions), *_writers(actions), *_determining(actions), *_close_bounds(actions)]


def _twice(actions: Sequence[Action]) -> Iterator[Problem]:
    first: dict[Hashable, Action] = {}
    for index, action in enumerate(actions):
        if type(action) in _ONCE:
            key, message = _ONCE[type(action)]
            other = first.setdefault((type(action), key(action)), action)
            if other != action:
                yield Problem(f"actions/{index}", message.format(key(action)))


def _writers(actions: Sequence[Action]) -> Iterator[Problem]:
    """A new name must be nobody else's, else two sources write one series and a backend takes either."""
    renames = {a for a in actions if isinstance(a, Rename) and not dropped(a.metric, actions)}
    for index, action in enumerate(actions):
        if action not in renames:
            continue
        if any(r.to == action.to and r.metric != action.metric for r in renames):
            yield Problem(f"actions/{index}/to", f"another metric is renamed to {action.to!r} too: two writers of one series")
        elif _acts_on(action.to, actions) and not dropped(action.to, actions):
            yield Problem(
                f"actions/{index}/to", f"there is a metric {action.to!r} already, another action is about it: two writers of one series"
            )


def _acts_on(metric: str, actions: Sequence[Action]) -> bool:
    named = (DropPoints, AggregateLabels, DeleteLabel, ReduceBuckets, Rename)
    return any(isinstance(a, named) and a.metric == metric for a in actions)


def _determining(actions: Sequence[Action]) -> Iterator[Problem]:
    """A label may go because others tell it, so those must stay."""
    gone: dict[str, set[Label]] = {}
    for action in actions:
        if isinstance(action, DeleteLabel):
            gone.setdefault(action.metric, set()).add(action.label)
        elif isinstance(action, AggregateLabels):
            gone.setdefault(action.metric, set()).update(action.labels)
    for index, action in enumerate(actions):
        if isinstance(action, DeleteLabel):
            for label in action.determined_by:
                if label in gone[action.metric]:
                    yield Problem(
                        f"actions/{index}/determined_by", f"{label.key!r} is taken away too, so {action.label.key!r} would be lost"
                    )


_CLOSE = 1e-12
"""The Collector takes two bounds nearer than this for one (`merge_histogram_buckets`)."""


def _close_bounds(actions: Sequence[Action]) -> Iterator[Problem]:
    for index, action in enumerate(actions):
        if isinstance(action, ReduceBuckets) and any(after - before < _CLOSE for before, after in pairwise(action.of)):
            yield Problem(f"actions/{index}/of", f"{action.metric!r} has bounds nearer than {_CLOSE:g}: reduce them where they are set")
