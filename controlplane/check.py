"""A Collector configuration or a set of actions → the problems in it. Structure and policy only; the gateway's binary judges the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from controlplane.render import TAP
from controlplane.yaml import load_config
from flowgate.actions import Action, AggregateLabels, DeleteLabel, DropMetric, DropPoints, DropPrefix, ReduceBuckets, Rename
from flowgate.errors import Invalid, Problem

Config = Mapping[str, Any]

ALLOWED: Mapping[str, frozenset[str]] = {
    "receivers": frozenset({"otlp", "prometheus", "hostmetrics", "filelog", "file_log", "fluentforward", "nop"}),
    "processors": frozenset(
        [
            "batch",
            "memory_limiter",
            "filter",
            "transform",
            "attributes",
            "resource",
            "metricstransform",
            "groupbyattrs",
            "redaction",
            "probabilistic_sampler",
            "tail_sampling",
            "logdedup",
            "interval",
            "cumulativetodelta",
            "deltatocumulative",
        ]
    ),
    "exporters": frozenset({"otlp", "otlp_grpc", "otlphttp", "otlp_http", "prometheusremotewrite", "debug", "nop"}),
    "connectors": frozenset({"forward", "routing"}),
    "extensions": frozenset({"opamp", "health_check", "file_storage", "zpages", "bearertokenauth"}),
}
"""Component types of the gateway's build, by both names where 0.149.0 renamed them."""
_SUBSTITUTION = re.compile(r"\$\{([^}]*)\}?")
_ALLOWED_SUBSTITUTION = re.compile(r"env:FLOWGATE_[A-Z0-9_]+")
_ERROR_MODE = frozenset({"filter", "transform"})


def check_config(text: str) -> list[Problem]:
    """Everything wrong with a configuration, each with its path; empty when the binary may be asked."""
    try:
        config = load_config(text)
    except Invalid as error:
        return list(error.problems)
    return [*_components(config), *_substitutions(config, ""), *_error_modes(config), *_pipelines(config), *_extensions(config)]


def check_actions(actions: Sequence[Action], protected: Collection[str]) -> list[Problem]:
    """Actions that would take away or change a protected metric. Judged on the typed action, never by reading OTTL back."""
    if not actions:
        return [Problem("actions", "at least one action")]
    return [
        Problem(f"actions/{index}", f"{metric} is read by something")
        for index, action in enumerate(actions)
        for metric in sorted(protected)
        if touches(action, metric)
    ]


def touches(action: Action, metric: str) -> bool:
    """Whether an action drops or changes something of the metric with this OTLP name."""
    match action:
        case DropPrefix(prefix):
            return metric.startswith(prefix)
        case Rename(old, new):
            return metric in (old, new)
        case DropMetric(name) | DropPoints(name) | AggregateLabels(name) | DeleteLabel(name) | ReduceBuckets(name):
            return metric == name
        case _:
            return False


def _components(config: Config) -> Iterator[Problem]:
    """Default deny: a component type that is not in the gateway's build is refused."""
    for kind, allowed in ALLOWED.items():
        for name in config.get(kind) or {}:
            if name.partition("/")[0] not in allowed:
                yield Problem(f"{kind}/{name}", "this component is not in the gateway's build")


def _substitutions(value: Any, path: str) -> Iterator[Problem]:
    """Only `${env:FLOWGATE_…}` is expanded; anything else could read a file, an address or a secret."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _substitutions(child, f"{path}/{key}" if path else str(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _substitutions(child, f"{path}/{index}")
    elif isinstance(value, str):
        for found in _SUBSTITUTION.finditer(value.replace("$$", "")):
            if not _ALLOWED_SUBSTITUTION.fullmatch(found[1]):
                yield Problem(path, f"{found[0]} is not ${{env:FLOWGATE_…}}")


def _error_modes(config: Config) -> Iterator[Problem]:
    """Without `error_mode: ignore` one OTTL error drops a whole payload."""
    for name, settings in (config.get("processors") or {}).items():
        written = settings.get("error_mode") if isinstance(settings, Mapping) else None
        if name.partition("/")[0] in _ERROR_MODE and written != "ignore":
            yield Problem(f"processors/{name}/error_mode", "must be `ignore`")


def _pipelines(config: Config) -> Iterator[Problem]:
    connectors = set(config.get("connectors") or {})
    known = {
        "receivers": set(config.get("receivers") or {}) | connectors,
        "processors": set(config.get("processors") or {}),
        "exporters": set(config.get("exporters") or {}) | connectors,
    }
    for name, pipeline in config["service"]["pipelines"].items():
        path = f"service/pipelines/{name}"
        yield from _references(pipeline, path, known)
        yield from _destinations(name, pipeline, path, connectors)


def _extensions(config: Config) -> Iterator[Problem]:
    defined = config.get("extensions") or {}
    for index, name in enumerate(config["service"].get("extensions") or []):
        if name not in defined:
            yield Problem(f"service/extensions/{index}", f"{name} is not defined")


def _references(pipeline: Config, path: str, known: Mapping[str, set[str]]) -> Iterator[Problem]:
    for kind, defined in known.items():
        listed = pipeline.get(kind) or []
        if not listed and kind != "processors":
            yield Problem(f"{path}/{kind}", "at least one is needed")
        for index, component in enumerate(listed):
            if component not in defined:
                yield Problem(f"{path}/{kind}/{index}", f"{component} is not defined")


def _destinations(name: str, pipeline: Config, path: str, connectors: Collection[str]) -> Iterator[Problem]:
    """A main pipeline that only feeds the tap would be a silent total loss."""
    exporters = [e for e in pipeline.get("exporters") or [] if e not in connectors and TAP not in str(e)]
    if TAP not in name and not exporters:
        yield Problem(f"{path}/exporters", "a main pipeline needs a destination besides the tap")
