"""A configuration against the one that runs: a change may not take a signal away, nor grow without bounds."""

from __future__ import annotations

from controlplane.render.compose import main_pipelines
from controlplane.yaml import load_config
from flowgate.errors import Problem
from flowgate.telemetry import Signal

MAX_GROWTH = 2.0
SMALL = 16 * 1024
"""Bytes below which growth is not judged: the first rules on an empty base multiply it."""


def check_change(running: str, offered: str) -> list[Problem]:
    """What the offered configuration would take away, or whether it is suspiciously larger. Both have passed `check_config`."""
    before, after = load_config(running), load_config(offered)
    lost = [s for s in Signal if main_pipelines(before, s.value) and not main_pipelines(after, s.value)]
    found = [Problem("service/pipelines", f"the running configuration carries {signal}, this one would stop it") for signal in lost]
    sizes = len(running.encode()), len(offered.encode())
    if sizes[1] > max(SMALL, MAX_GROWTH * sizes[0]):
        found.append(Problem("", f"{sizes[1]} bytes, and the running one has {sizes[0]}: more than {MAX_GROWTH:g} times"))
    return found
