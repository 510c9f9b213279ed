"""Which fields a value may have: a tree of what is allowed, walked beside the value. What is not named is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.yaml import children
from flowgate.errors import Problem


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value; `wrong` says what is wrong with it, or nothing."""

    wrong: Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Many:
    """A list of these."""

    of: Spec


@dataclass(frozen=True, slots=True)
class Keyed:
    """A mapping with any keys."""

    of: Spec


@dataclass(frozen=True, slots=True)
class Either:
    """The first of two shapes when the value is a list or mapping as it is, else the second."""

    first: Many | Keyed | Mapping[str, Any]
    second: Spec


Spec = Leaf | Many | Keyed | Either | Mapping[str, Any]
"""A mapping lists its fields; their specs are its values (`Any`, since types of this depth cannot be written down)."""


def refused(value: Any, spec: Spec, path: str) -> Iterator[Problem]:
    """Everything in a value that its spec does not allow. No value at all is always allowed: the component's default holds."""
    if value is None:
        return
    match spec:
        case Leaf(wrong):
            message = "a single value is expected" if isinstance(value, dict | list) else wrong(value)
            if message:
                yield Problem(path, message)
        case Many(of):
            yield from _many(value, of, path)
        case Either(first, second):
            fits = isinstance(value, list if isinstance(first, Many) else dict)
            yield from refused(value, first if fits else second, path)
        case _:
            yield from _mapping(value, spec, path)


def _many(value: Any, of: Spec, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, "a list is expected")
    for index, child in children(value) if isinstance(value, list) else ():
        yield from refused(child, of, f"{path}/{index}")


def _mapping(value: Any, spec: Keyed | Mapping[str, Any], path: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, "a mapping is expected")
        return
    for key, child in children(value):
        place = f"{path}/{key}"
        if isinstance(spec, Keyed):
            yield from refused(child, spec.of, place)
        elif key in spec:
            yield from refused(child, spec[key], place)
        else:
            yield Problem(place, _why_not(str(key)))


_REASONS = (
    (re.compile(r"_file$|_files$|^filename$|_file_reload$"), "this field reads a file of the gateway's machine"),
    (re.compile(r"_sd_configs?$|^target_allocator$|^api_server$"), "discovery can reach anything: list static targets"),
    (re.compile(r"^wal$|^output_paths$|^error_output_paths$|path$|^directory$"), "this field reads or writes the gateway's disk"),
    (re.compile(r"proxy"), "a proxy would see everything"),
    (re.compile(r"^tpm$|^middlewares$|^request_params$"), "this field is not needed, and not judged"),
)


def _why_not(key: str) -> str:
    return next((f"{reason}; it is not allowed" for pattern, reason in _REASONS if pattern.search(key)), "this field is not allowed")


# --- leaves ------------------------------------------------------------------------------------------------------------------------

_ENVIRONMENT = re.compile(r"\$\{env:FLOWGATE_[A-Z0-9_]+\}")
_SCHEME = re.compile(r"^\s*([A-Za-z][A-Za-z0-9+.-]*)://")


def _from_environment(value: Any) -> str | None:
    return None if isinstance(value, str) and _ENVIRONMENT.fullmatch(value) else "comes from the gateway's environment: ${env:FLOWGATE_…}"


def _address(value: Any) -> str | None:
    if not isinstance(value, str):
        return "an address is expected"
    scheme = _SCHEME.match(value)
    if scheme and scheme[1] not in ("http", "https"):
        return f"an address of scheme {scheme[1]} is not allowed: host and port, http or https"
    if value.lstrip().startswith(("/", "unix:", "npipe:", "@")):
        return "a socket of the gateway's machine is not allowed: host and port, http or https"
    return "no user or password in an address: use headers from the environment" if "@" in value else None


def word(*known: str) -> Leaf:
    return Leaf(lambda value: None if value in known else f"one of {', '.join(known)}")


VALUE = Leaf(lambda _: None)
"""Any single value; `${…}` in it is judged elsewhere."""
ENV = Leaf(_from_environment)
"""A path or secret: not written in a configuration."""
ADDRESS = Leaf(_address)
NOT_TRUE = Leaf(lambda value: None if value is False else "whom it talks to is always verified: false, or left out")
