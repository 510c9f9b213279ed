"""Puts processors, routes and intervals into a base configuration. Only main pipelines change; the copies to the tap stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controlplane.render.ottl import Path, eq, text
from controlplane.render.yaml import Config, finished
from controlplane.yaml import children
from flowgate.actions import Route, SetInterval
from flowgate.errors import Invalid, Problem
from flowgate.telemetry import Signal

TAP = "/tap_"
OURS = "flowgate"
"""What follows the slash in the names of components that are rendered."""


def is_ours(component: str) -> bool:
    """Whether a component's or pipeline's name is one of those that only Flowgate renders."""
    _, _, name = component.partition("/")
    return name == OURS or name.startswith(OURS + "_")


def main_pipelines(config: Mapping[str, Any], signal: str) -> dict[str, Any]:
    """Pipelines of a signal that carry telemetry to its destination: all but the copies to the tap."""
    pipelines: dict[str, Any] = config["service"]["pipelines"]
    return {n: p for n, p in pipelines.items() if n.partition("/")[0] == signal and TAP not in n}


def refuse_ours(config: Config) -> None:
    """A base that holds such a name would be overwritten in silence, or pass for what was rendered."""
    sections = {kind: config.get(kind) or {} for kind in ("processors", "connectors")}
    sections["service/pipelines"] = config["service"]["pipelines"]
    taken = [f"{kind}/{name}" for kind, named in sections.items() for name in named if is_ours(name)]
    if taken:
        raise Invalid(
            f"the base defines {taken[0].rpartition('/flowgate')[0]}/…", tuple(Problem(t, "this name is Flowgate's") for t in taken)
        )


def add_processors(config: Config, signal: Signal, processors: Mapping[str, Config]) -> None:
    """Defines them and puts them into every main pipeline of the signal, in their order, right behind memory_limiter."""
    if not processors:
        return
    pipelines = _needed(config, signal)
    config["processors"] = {**(config.get("processors") or {}), **{name: finished(made) for name, made in processors.items()}}
    for pipeline in pipelines.values():
        before: list[str] = list(pipeline.get("processors") or [])
        at = before.index("memory_limiter") + 1 if "memory_limiter" in before else 0
        pipeline["processors"] = [*before[:at], *processors, *before[at:]]


def _needed(config: Config, signal: Signal) -> dict[str, Any]:
    pipelines = main_pipelines(config, signal.value)
    if not pipelines:
        raise Invalid(f"the base has no {signal} pipeline to act in", (Problem("service/pipelines", f"no main {signal} pipeline"),))
    return pipelines


# --- routes ------------------------------------------------------------------------------------------------------------------------


def add_routes(config: Config, routes: Sequence[Route]) -> None:
    """A routing connector at the end of each main pipeline: one pipeline for each exporter that is routed to, one for all the rest, which
    keeps the exporters the pipeline had. What is routed does not reach the copy `out`, as it does not reach that pipeline's backend."""
    for signal in Signal:
        wanted = [r for r in routes if r.signal is signal]
        if wanted:
            _known_exporters(config, wanted)
            for name, pipeline in _needed(config, signal).items():
                _route(config, name, pipeline, wanted)


def _known_exporters(config: Config, routes: Sequence[Route]) -> None:
    defined: Config = config.get("exporters") or {}
    for route in routes:
        if route.exporter not in defined or TAP in route.exporter:
            known = ", ".join(sorted(e for e in defined if TAP not in e)) or "none"
            raise Invalid(
                "no such exporter", (Problem(f"exporters/{route.exporter}", f"a route leads to an exporter of the base: {known}"),)
            )


def _route(config: Config, name: str, pipeline: Config, routes: Sequence[Route]) -> None:
    signal, _, own = name.partition("/")
    suffix = f"_{own.replace('/', '_')}" if own else ""
    connector = f"routing/{OURS}_{signal}{suffix}"
    rest = f"{signal}/{OURS}_rest{suffix}"
    exporters = sorted({r.exporter for r in routes})
    targets = {e: f"{signal}/{OURS}_route{suffix}_{number}" for number, e in enumerate(exporters)}
    table = [{"context": "resource", "condition": text(_service(r)), "pipelines": [targets[r.exporter]]} for r in routes]
    made = {"error_mode": "ignore", "default_pipelines": [rest], "table": table}
    config["connectors"] = {**(config.get("connectors") or {}), connector: finished(made)}
    pipelines: Config = config["service"]["pipelines"]
    pipelines[rest] = {"receivers": [connector], "exporters": pipeline["exporters"]}
    pipelines.update({target: {"receivers": [connector], "exporters": [exporter]} for exporter, target in targets.items()})
    pipeline["exporters"] = [connector]


def _service(route: Route) -> Any:
    return eq(Path("attributes", "service.name"), route.service)


# --- intervals -----------------------------------------------------------------------------------------------------------------------


def set_intervals(config: Config, actions: Sequence[SetInterval]) -> None:
    """Writes the interval of a scrape job of a main pipeline. The copy `in` shares its receivers: it sees the new interval too."""
    for action in actions:
        jobs = [job for job in _scrape_jobs(config) if job.get("job_name") == action.job]
        if not jobs:
            raise Invalid(
                "no such scrape job", (Problem("receivers", f"no Prometheus receiver of a main pipeline has a job {action.job!r}"),)
            )
        for job in jobs:
            job["scrape_interval"] = f"{action.seconds}s"
            if "scrape_timeout" in job:
                raise Invalid("the job sets its own scrape_timeout", (Problem("receivers", f"job {action.job!r}: remove scrape_timeout"),))


def _scrape_jobs(config: Config) -> Iterator[Config]:
    used = {r for pipeline in main_pipelines(config, "metrics").values() for r in pipeline.get("receivers") or []}
    for name, receiver in children(config.get("receivers")):
        if name in used and name.partition("/")[0] == "prometheus":
            listed = dict(children(dict(children(receiver)).get("config"))).get("scrape_configs")
            yield from (job for _, job in children(listed) if isinstance(job, dict))
