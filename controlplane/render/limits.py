"""How large a configuration may become before it is offered to anybody. What grows past a limit is refused here, not by a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.render.yaml import Config
from controlplane.yaml import MAX_BYTES, children
from flowgate.errors import Invalid, Problem

MAX_CONDITIONS = 2_000
"""OTTL conditions and statements, and names that are aggregated, in all of a configuration: they are tried one after another."""
MAX_PROCESSORS = 64
_LISTS = frozenset({"metric", "datapoint", "log_record", "span", "spanevent", "resource", "statements", "names", "table"})


def refuse_too_much(config: Config, body: bytes) -> None:
    sizes = (
        ("", "bytes", len(body), MAX_BYTES),
        ("processors", "processors", len(config.get("processors") or {}), MAX_PROCESSORS),
        ("processors", "conditions and statements", conditions(config), MAX_CONDITIONS),
    )
    problems = tuple(Problem(path, f"{size} {what}: at most {limit}") for path, what, size, limit in sizes if size > limit)
    if problems:
        raise Invalid("the configuration is too large", problems)


def conditions(config: Config) -> int:
    return sum(_lengths({kind: config.get(kind) for kind in ("processors", "connectors")}))


def _lengths(value: Any) -> Iterator[int]:
    for key, child in children(value):
        if isinstance(child, list) and key in _LISTS:
            yield len(children(child))
        yield from _lengths(child)
