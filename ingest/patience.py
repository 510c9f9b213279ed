"""Trying again for a moment: what a tap that was killed still holds is free once the last of its processes has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Exception)
PAUSE_SECONDS = 0.05


def patiently(work: Callable[[], _T], raises: type[_E], passes: Callable[[_E], bool], seconds: float) -> _T:
    """What `work` returns. While it raises what passes by itself, it is tried again for so long; then, or for anything else, that is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except raises as error:
            if not passes(error) or time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_SECONDS)
