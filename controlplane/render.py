"""Base configuration + actions → Collector configuration → bundle. Same input, same bytes, same hash.

Nothing is made by pasting text: conditions are built from typed values, names are quoted the way OTTL reads them, and every finished scalar has
its `$` doubled once, so that no name can become an expansion. YAML is written by a library, as JSON-compatible scalars.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from controlplane.yaml import load_config
from flowgate.actions import Action, DropLogs, DropMetric
from flowgate.errors import Invalid, Problem
from flowgate.fleet import ConfigBundle, ConfigFile

Config = dict[str, Any]
FILE_NAME = "collector.yaml"
METRICS_FILTER = "filter/flowgate_metrics"
LOGS_FILTER = "filter/flowgate_logs"
MAX_NAME = 512
TAP = "/tap_"
_CONTROL = {chr(c) for c in range(32)} | {chr(127)}


def render(base: str, actions: Sequence[Action]) -> ConfigBundle:
    """The bundle that runs `base` with `actions` in its main pipelines. Raises `Invalid` naming what cannot be rendered."""
    config = load_config(base)
    _add(config, METRICS_FILTER, "metrics", metrics_filter([a for a in actions if isinstance(a, DropMetric)]))
    _add(config, LOGS_FILTER, "logs", logs_filter([a for a in actions if isinstance(a, DropLogs)]))
    return ConfigBundle((ConfigFile(FILE_NAME, "text/yaml", dumped(config)),))


def metrics_filter(drops: Sequence[DropMetric]) -> Config | None:
    """A filter that drops metrics by equality of their names; None when there is nothing to drop."""
    conditions = [f"name == {quoted(name)}" for name in sorted({d.metric for d in drops})]
    return {"error_mode": "ignore", "metrics": {"metric": [escaped(c) for c in conditions]}} if conditions else None


def logs_filter(drops: Sequence[DropLogs]) -> Config | None:
    """A filter that drops log records by service and severity number; unset severity (0) is kept."""
    highest = {service: max(d.max_severity_number for d in drops if d.service == service) for service in {d.service for d in drops}}
    conditions = [
        f'resource.attributes["service.name"] == {quoted(service)} and severity_number >= 1 and severity_number <= {highest[service]}'
        for service in sorted(highest)
    ]
    return {"error_mode": "ignore", "logs": {"log_record": [escaped(c) for c in conditions]}} if conditions else None


def quoted(text: str) -> str:
    """An OTTL string literal. Raises `Invalid` for what OTTL's grammar cannot carry: control characters and lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("a name is not valid UTF-8", (Problem("name", ascii(text)),)) from None
    if len(text) > MAX_NAME:
        raise Invalid("a name is too long", (Problem("name", f"at most {MAX_NAME} characters"),))
    if any(c in _CONTROL for c in text):
        raise Invalid("a name holds a control character", (Problem("name", ascii(text)),))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(scalar: str) -> str:
    """The Collector expands `${…}` in every string value and reads `$$` as `$`: each `$` of a finished scalar is doubled, once."""
    return scalar.replace("$", "$$")


def _add(config: Config, name: str, signal: str, processor: Config | None) -> None:
    """Defines the processor and puts it into every main pipeline of the signal, right behind memory_limiter."""
    if processor is None:
        return
    pipelines = main_pipelines(config, signal)
    if not pipelines:
        raise Invalid(f"the base has no {signal} pipeline to act in", (Problem("service/pipelines", f"no main {signal} pipeline"),))
    defined: Config = config.get("processors") or {}
    if name in defined:
        raise Invalid(f"the base defines {name}", (Problem(f"processors/{name}", "this name is Flowgate's"),))
    config["processors"] = {**defined, name: processor}
    for pipeline in pipelines.values():
        before: list[str] = list(pipeline.get("processors") or [])
        at = before.index("memory_limiter") + 1 if "memory_limiter" in before else 0
        pipeline["processors"] = [*before[:at], name, *before[at:]]


def main_pipelines(config: Mapping[str, Any], signal: str) -> dict[str, Any]:
    """Pipelines of a signal that carry telemetry to its destination: all but the copies to the tap."""
    pipelines: dict[str, Any] = config["service"]["pipelines"]
    return {n: p for n, p in pipelines.items() if n.partition("/")[0] == signal and TAP not in n}


def dumped(config: Config) -> bytes:
    """YAML with every string in double quotes, so that no scalar is read as another type; keys in the base's order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.default_style = '"'  # pyright: ignore[reportAttributeAccessIssue] - annotated as always None
    yaml.width = 2**30
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[attr-defined]
    yaml.representer.add_representer(int, _plain("tag:yaml.org,2002:int", str))
    yaml.representer.add_representer(float, _plain("tag:yaml.org,2002:float", _float))
    yaml.representer.add_representer(bool, _plain("tag:yaml.org,2002:bool", json.dumps))
    yaml.representer.add_representer(type(None), _plain("tag:yaml.org,2002:null", json.dumps))
    out = io.BytesIO()
    yaml.dump(config, out)
    return out.getvalue()


def _float(value: float) -> str:
    """YAML's own spelling of what Python calls inf and nan."""
    return repr(value) if math.isfinite(value) else {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[repr(value)]


def _plain(tag: str, spell: Any) -> Any:
    def represent(representer: Any, value: Any) -> Any:
        return representer.represent_scalar(tag, spell(value), style="")

    return represent
