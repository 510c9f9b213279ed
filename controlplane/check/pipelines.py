"""The structure of a configuration: what pipelines name is there, every item reaches its destination, and reaches it once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.render.compose import TAP
from controlplane.yaml import children
from flowgate.errors import Problem

Config = Mapping[str, Any]
MAX_PATHS = 2_000


def pipelines(config: Config) -> Iterator[Problem]:
    connectors = set(config.get("connectors") or {})
    known = {
        "receivers": set(config.get("receivers") or {}) | connectors,
        "processors": set(config.get("processors") or {}),
        "exporters": set(config.get("exporters") or {}) | connectors,
    }
    for name, pipeline in config["service"]["pipelines"].items():
        yield from _references(pipeline, f"service/pipelines/{name}", known)
    yield from _extensions(config)
    yield from _paths(config)


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


@dataclass(frozen=True, slots=True)
class Way:
    """One way of an item: from a receiver through pipelines to an exporter. `taken` are the routes it took at routing connectors."""

    receiver: str
    pipelines: tuple[str, ...]
    exporter: str
    taken: tuple[tuple[str, str], ...] = ()

    def excludes(self, other: Way) -> bool:
        """No item goes both ways: a routing connector sends it one way only."""
        mine, theirs = dict(self.taken), dict(other.taken)
        return any(mine[c] != theirs[c] for c in mine.keys() & theirs.keys())


def _paths(config: Config) -> Iterator[Problem]:
    try:
        ways = list(_ways(config))
    except RecursionError:
        yield Problem("service/pipelines", "connectors lead in a circle")
        return
    if len(ways) > MAX_PATHS:
        yield Problem("service/pipelines", f"more than {MAX_PATHS} ways through the pipelines")
        return
    yield from _destinations(config, ways)
    yield from _writers(ways)


def _destinations(config: Config, ways: Collection[Way]) -> Iterator[Problem]:
    """A main pipeline that only feeds the tap would be a silent total loss."""
    arrive = {name for way in ways if TAP not in way.exporter for name in way.pipelines}
    for name in config["service"]["pipelines"]:
        if TAP not in name and name not in arrive:
            yield Problem(f"service/pipelines/{name}/exporters", "a main pipeline needs a destination besides the tap")


def _writers(ways: Collection[Way]) -> Iterator[Problem]:
    """The same item twice at one exporter: two writers of one series, and every record and span paid for twice."""
    seen: dict[tuple[str, str, str], list[Way]] = {}
    for way in ways:
        signal = way.pipelines[0].partition("/")[0]
        others = seen.setdefault((way.receiver, signal, way.exporter), [])
        for other in others:
            if not way.excludes(other):
                where = f"service/pipelines/{way.pipelines[-1]}/exporters"
                yield Problem(
                    where, f"{way.exporter} gets {signal} of {way.receiver} here and from {other.pipelines[-1]}: two writers of one series"
                )
                break
        others.append(way)


def _ways(config: Config) -> Iterator[Way]:
    found: Config = config["service"]["pipelines"]
    connectors: Config = config.get("connectors") or {}
    made = 0
    for name, pipeline in found.items():
        for receiver in pipeline.get("receivers") or []:
            if receiver not in connectors:
                for way in _onward(config, Way(receiver, (name,), "")):
                    yield way
                    made += 1
                    if made > MAX_PATHS:
                        return


def _onward(config: Config, way: Way) -> Iterator[Way]:
    if len(way.pipelines) > len(config["service"]["pipelines"]):
        raise RecursionError
    for exporter in config["service"]["pipelines"][way.pipelines[-1]].get("exporters") or []:
        if exporter not in (config.get("connectors") or {}):
            yield Way(way.receiver, way.pipelines, exporter, way.taken)
            continue
        for target in _behind(config, exporter, way.pipelines[-1]):
            taken = ((exporter, target),) if exporter.partition("/")[0] == "routing" and not _copies(config, exporter) else ()
            yield from _onward(config, Way(way.receiver, (*way.pipelines, target), "", (*way.taken, *taken)))


def _behind(config: Config, connector: str, pipeline: str) -> Iterator[str]:
    """Pipelines of the same signal that a connector leads to."""
    for name, other in config["service"]["pipelines"].items():
        if connector in (other.get("receivers") or []) and name.partition("/")[0] == pipeline.partition("/")[0]:
            yield name


def _copies(config: Config, connector: str) -> bool:
    table = dict(children((config.get("connectors") or {}).get(connector))).get("table")
    return any(dict(children(row)).get("action") == "copy" for _, row in children(table))
