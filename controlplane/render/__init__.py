"""Base configuration + actions → Collector configuration → bundle. Same input, same bytes, same hash, whatever the order of the actions.

Nothing is made by pasting text: conditions are values (`controlplane.render.ottl`), names are quoted the way OTTL reads them, and every
finished scalar has its `$` doubled once, so that no name can become an expansion. YAML is written by a library, each string in quotes.

The order in a main pipeline, behind memory_limiter:
  metrics  drop (`filter`) → delete labels, merge buckets (`transform`) → aggregate → rename → what the base has → route
  logs     drop and sample (`filter`) → redact → trim (`transform`) → what the base has → route
  traces   drop (`filter`) → sample → redact → trim → what the base has → route
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from controlplane.render import metrics, records
from controlplane.render.compose import TAP, add_processors, add_routes, main_pipelines, refuse_ours, set_intervals
from controlplane.render.conflicts import conflicts
from controlplane.render.limits import refuse_too_much
from controlplane.render.ottl import MAX_NAME, not_a_name, quoted
from controlplane.render.yaml import Config, dumped, escaped
from controlplane.yaml import children, load_config
from flowgate.action_shapes import action_json
from flowgate.actions import Action, Route, SetInterval
from flowgate.errors import Invalid, Problem
from flowgate.fleet import ConfigBundle, ConfigFile
from flowgate.telemetry import Signal

__all__ = [
    "FILE_NAME",
    "LOGS_FILTER",
    "MAX_NAME",
    "METRICS_FILTER",
    "TAP",
    "dumped",
    "escaped",
    "main_pipelines",
    "processors",
    "quoted",
    "render",
    "unwritable",
]

FILE_NAME = "collector.yaml"
METRICS_FILTER = metrics.FILTER
LOGS_FILTER = records.LOGS_FILTER


def render(base: str, actions: Sequence[Action]) -> ConfigBundle:
    """The bundle that runs `base` with `actions` in its main pipelines. Raises `Invalid` naming what cannot be rendered."""
    problems = unwritable(actions)
    if problems:
        raise Invalid("a name cannot be written", tuple(problems))
    problems = conflicts(actions)
    if problems:
        raise Invalid("these actions cannot be carried out together", tuple(problems))
    config = load_config(base)
    refuse_ours(config)
    ordered = in_order(actions)
    for signal, made in processors(ordered).items():
        add_processors(config, signal, made)
    add_routes(config, [a for a in ordered if isinstance(a, Route)])
    set_intervals(config, [a for a in ordered if isinstance(a, SetInterval)])
    body = dumped(config)
    refuse_too_much(config, body)
    return ConfigBundle((ConfigFile(FILE_NAME, "text/yaml", body),))


def processors(actions: Sequence[Action]) -> Mapping[Signal, Mapping[str, Config]]:
    """What actions become, by signal: processors by name in the order they run, before any `$` is doubled."""
    return {
        Signal.METRICS: metrics.processors(actions),
        Signal.LOGS: records.log_processors(actions),
        Signal.TRACES: records.trace_processors(actions),
    }


def in_order(actions: Sequence[Action]) -> list[Action]:
    """Each once, by their JSON."""
    return [found for _, found in sorted({json.dumps(action_json(a)): a for a in actions}.items())]


def unwritable(actions: Sequence[Action]) -> list[Problem]:
    """Every text of an action that no configuration can hold, with its place."""
    texts = (found for index, action in enumerate(actions) for found in _texts(action_json(action), f"actions/{index}"))
    return [Problem(place, why) for place, text in texts if (why := not_a_name(text))]


def _texts(value: object, path: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    return [found for key, child in children(value) for found in _texts(child, f"{path}/{key}")]
