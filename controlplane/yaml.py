"""Reads YAML that somebody else wrote, within limits and without surprises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ryaml import loads as yaml_loads  # pyright: ignore[reportPrivateImportUsage] - its stubs forget to re-export

from flowgate.errors import Invalid, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
SECTIONS = ("receivers", "processors", "exporters", "connectors", "extensions")


def load_config(text: str) -> dict[str, Any]:
    """A Collector configuration as plain values. Raises `Invalid`: too large, not YAML, duplicate keys, too deep, not a mapping, no pipelines,
    or a section, a pipeline or a list of names of another type, so that whoever reads it may lean on those."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise Invalid("the configuration is too large", (Problem("", f"at most {MAX_BYTES} bytes"),))
    try:
        value = yaml_loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("the configuration is not YAML", (Problem("", str(error).splitlines()[0][:300]),)) from None
    if not isinstance(value, dict):
        raise Invalid("the configuration is not a mapping", (Problem("", "expected receivers, exporters, service"),))
    _depth(value, "", 0)
    service = value.get("service")
    pipelines = service.get("pipelines") if isinstance(service, dict) else None
    if not isinstance(service, dict) or not isinstance(pipelines, dict) or not pipelines:
        raise Invalid("the configuration has no pipelines", (Problem("service/pipelines", "at least one pipeline"),))
    wrong = (*_shape(value, service), *_pipeline_shapes(pipelines))
    if wrong:
        raise Invalid("the configuration has the wrong shape", wrong)
    return value


def children(value: Any) -> list[tuple[Any, Any]]:
    """What a plain value holds: a mapping's by key, a list's by position, nothing of a scalar."""
    if isinstance(value, Mapping):
        return list(cast("Mapping[Any, Any]", value).items())
    return list(enumerate(cast("list[Any]", value))) if isinstance(value, list) else []


def _shape(config: dict[str, Any], service: dict[str, Any]) -> Iterator[Problem]:
    for kind in SECTIONS:
        if not isinstance(config.get(kind) or {}, dict):
            yield Problem(kind, "a mapping of components")
    if not _names(service.get("extensions")):
        yield Problem("service/extensions", "a list of names")


def _pipeline_shapes(pipelines: dict[str, Any]) -> Iterator[Problem]:
    for name, pipeline in pipelines.items():
        path = f"service/pipelines/{name}"
        if not isinstance(pipeline, dict):
            yield Problem(path, "a pipeline is a mapping")
            continue
        for kind in ("receivers", "processors", "exporters"):
            if not _names(pipeline.get(kind)):
                yield Problem(f"{path}/{kind}", "a list of names")


def _names(value: Any) -> bool:
    """A list of text, or nothing."""
    return value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _depth(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Invalid("the configuration is too deep", (Problem(path, f"at most {MAX_DEPTH} levels"),))
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise Invalid("a key is not text", (Problem(path, repr(key)),))
            _depth(child, f"{path}/{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _depth(child, f"{path}/{index}", depth + 1)
