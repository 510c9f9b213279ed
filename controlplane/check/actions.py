"""Typed actions, judged before anything is rendered: never by reading OTTL back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from analyzer.naming import label_candidates
from controlplane.check.catalogue import GATEWAY, Catalogue
from controlplane.check.semantics import SINCE
from controlplane.render import processors, unwritable
from controlplane.render.conflicts import conflicts
from controlplane.render.ottl import functions
from controlplane.yaml import children
from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropLogs,
    DropMetric,
    DropPoints,
    DropPrefix,
    Label,
    ReduceBuckets,
    Rename,
    SampleLogs,
    SetInterval,
)
from flowgate.errors import Problem
from flowgate.usage import EVERY_LABEL, LabelSet

MIN_PREFIX = 4
"""Characters: a shorter prefix is a guess. (CONTRACTS hold a pattern with fewer than 4 literal characters for a blind spot.)"""
FIRST_ERROR = 17
"""OTLP severity ERROR: what is that bad is never dropped by level."""


@dataclass(frozen=True, slots=True)
class Need:
    """What of a metric is read. As it stands: everything."""

    labels: LabelSet = field(default=EVERY_LABEL)
    """Label names as queries say them."""
    bounds: frozenset[float] | None = None
    """Bucket bounds that are read; None: all of them."""


Protected = Collection[str] | Mapping[str, Need]
"""OTLP metric names, read whole, or what is needed of each."""


def check_actions(actions: Sequence[Action], protected: Protected, catalogue: Catalogue = GATEWAY) -> list[Problem]:
    """Everything wrong with a set of actions, each with its place."""
    if not actions:
        return [Problem("actions", "at least one action")]
    nameless = unwritable(actions)
    if nameless:
        return nameless
    needs = protected if isinstance(protected, Mapping) else {name: Need() for name in protected}
    return [
        *conflicts(actions),
        *(Problem(f"actions/{index}", why) for index, action in enumerate(actions) for why in _reasons(action, needs, catalogue)),
    ]


def _reasons(action: Action, needs: Mapping[str, Need], catalogue: Catalogue) -> Iterator[str]:
    yield from (why for metric in sorted(_named(action, needs)) if (why := _hurts(action, metric, needs[metric])))
    yield from _too_much(action)
    yield from _cannot(action, catalogue)


def touches(action: Action, metric: str) -> bool:
    """Whether an action drops or changes something of the metric with this OTLP name."""
    return metric in _named(action, (metric,))


def _named(action: Action, metrics: Collection[str]) -> set[str]:
    match action:
        case DropPrefix(prefix):
            return {m for m in metrics if m.startswith(prefix)}
        case Rename(old, new):
            return {old, new} & set(metrics)
        case DropMetric(name) | DropPoints(name) | AggregateLabels(name) | DeleteLabel(name) | ReduceBuckets(name):
            return {name} & set(metrics)
        case _:
            return set()


def _hurts(action: Action, metric: str, need: Need) -> str | None:
    """Why an action must not touch a metric of which this is needed."""
    match action:
        case DeleteLabel(_, label):
            return _label_needed(metric, (label,), need)
        case AggregateLabels(_, labels):
            return _label_needed(metric, labels, need)
        case ReduceBuckets():
            gone = action.merged if need.bounds is None else [b for b in action.merged if b in need.bounds]
            return f"{metric}: buckets that are read would go: {', '.join(f'{b:g}' for b in gone[:5])}" if gone else None
        case Rename(_, new) if new == metric:
            return f"{metric} is read by something: another metric would write into it"
        case _:
            return f"{metric} is read by something"


def _label_needed(metric: str, labels: Sequence[Label], need: Need) -> str | None:
    for label in labels:
        known = {label.key, *label_candidates(label.key, label.place == "resource")} & need.labels.names
        if bool(known) is not need.labels.all_except:
            return f"{metric} is read with its label {label.key}"
    return None


def _too_much(action: Action) -> Iterator[str]:
    match action:
        case DropPrefix(prefix) if len(prefix) < MIN_PREFIX:
            yield f"a prefix of fewer than {MIN_PREFIX} characters names too much: {prefix!r}"
        case DropLogs(_, highest) | SampleLogs(_, highest) if highest >= FIRST_ERROR:
            yield f"errors are kept: severity numbers from {FIRST_ERROR} on are not dropped by level"
        case DeleteLabel(_, label) if label.place == "resource":
            yield f"a resource is shared by all its metrics: {label.key} cannot be taken off one of them. Take it away where it is set, or aggregate"
        case _:
            return


# --- what the target can do ------------------------------------------------------------------------------------------------------------


def _cannot(action: Action, catalogue: Catalogue) -> Iterator[str]:
    """Components and OTTL functions that an action needs and its target has not."""
    if isinstance(action, SetInterval):
        if not catalogue.has("receivers", "prometheus"):
            yield "the target's build has no receiver `prometheus`"
        return
    for kind, component in sorted(_components(action)):
        if not catalogue.has(kind, component):
            yield f"the target's build has no {kind.removesuffix('s')} `{component}`"
    for name in sorted(_functions(action)):
        since = SINCE.get(name, (0, 0))
        if since > catalogue.version:
            yield f"{name} needs {since[0]}.{since[1]}, the target runs {catalogue.text}"


def _components(action: Action) -> set[tuple[str, str]]:
    if action.type == "route":
        return {("connectors", "routing")}
    return {("processors", name.partition("/")[0]) for made in processors([action]).values() for name in made}


def _functions(action: Action) -> frozenset[str]:
    found = frozenset[str]()
    for made in processors([action]).values():
        for name, config in made.items():
            if name.partition("/")[0] in ("filter", "transform"):
                found |= _of_texts(config, functions)
    return found


def _of_texts(value: object, ask: Callable[[str], frozenset[str]]) -> frozenset[str]:
    if isinstance(value, str):
        return ask(value)
    found = frozenset[str]()
    for _, child in children(value):
        found |= _of_texts(child, ask)
    return found
