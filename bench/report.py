"""What a benchmark prints: the `bench` shape of CONTRACTS on stdout, progress on stderr."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure: named line.case.peer, with the least or most it should be."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    low: float | None = None
    high: float | None = None
    """The range over the rounds, where there is more than one."""

    def json(self) -> dict[str, Any]:
        holds = (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)
        bound = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
        spread = {} if self.low is None or self.high is None else {"range": [round(self.low, 4), round(self.high, 4)]}
        return {"name": self.name, "value": round(self.value, 4), "unit": self.unit, **bound, **spread, "holds": holds}


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> dict[str, Any]:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def show(bars: Sequence[Bar]) -> None:
    print(json.dumps({"machine": machine(), "bars": [bar.json() for bar in bars]}, indent=1))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
