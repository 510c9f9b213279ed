"""A Collector configuration or a set of actions → the problems in it. Default deny; the gateway's binary judges the rest.

A configuration passes three gates here: every component and every field is one that is allowed (`fields`, `components`), everything named is
there and every item reaches its destination once (`pipelines`), and nothing does to telemetry what nobody would want (`semantics`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.check.actions import Need, Protected, check_actions, touches
from controlplane.check.catalogue import GATEWAY, KINDS, Catalogue, catalogue_of, with_component
from controlplane.check.change import check_change
from controlplane.check.components import ALLOWED, SERVICE
from controlplane.check.fields import refused
from controlplane.check.pipelines import pipelines
from controlplane.check.semantics import semantics
from controlplane.yaml import children, load_config
from flowgate.errors import Invalid, Problem

__all__ = [
    "ALLOWED", "GATEWAY", "Catalogue", "Need", "Protected", "catalogue_of", "check_actions", "check_change", "check_config", "touches", "with_component",
]  # fmt: skip

Config = Mapping[str, Any]
_SUBSTITUTION = re.compile(r"\$\{([^}]*)\}?")
_ALLOWED_SUBSTITUTION = re.compile(r"env:FLOWGATE_[A-Z0-9_]+")


def check_config(text: str, catalogue: Catalogue = GATEWAY) -> list[Problem]:
    """Everything wrong with a configuration for a target, each with its path; empty when the binary may be asked."""
    try:
        config = load_config(text)
    except Invalid as error:
        return list(error.problems)
    return [*_components(config, catalogue), *_substitutions(config, ""), *pipelines(config), *semantics(config, catalogue)]


def _components(config: Config, catalogue: Catalogue) -> Iterator[Problem]:
    for kind, settings in config.items():
        if kind not in (*KINDS, "service"):
            yield Problem(kind, "this section is not allowed")
        elif kind == "service":
            yield from refused(settings, SERVICE, kind)
    for kind in KINDS:
        for name, settings in children(config.get(kind)):
            allowed = ALLOWED[kind].get(name.partition("/")[0])
            if allowed is None:
                yield Problem(f"{kind}/{name}", "this component is not one that a gateway may run")
            elif not catalogue.has(kind, name):
                yield Problem(f"{kind}/{name}", f"this component is not in the gateway's build ({catalogue.text})")
            else:
                yield from refused(settings, allowed, f"{kind}/{name}")


def _substitutions(value: Any, path: str) -> Iterator[Problem]:
    """Only `${env:FLOWGATE_…}` is expanded; anything else could read a file, an address or a secret."""
    for key, child in children(value):
        yield from _substitutions(child, f"{path}/{key}" if path else str(key))
    if isinstance(value, str):
        for found in _SUBSTITUTION.finditer(value.replace("$$", "")):
            if not _ALLOWED_SUBSTITUTION.fullmatch(found[1]):
                yield Problem(path, f"{found[0]} is not ${{env:FLOWGATE_…}}")
