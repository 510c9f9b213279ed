"""Series as plain values on a common clock, and what an expression gives on them."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Gap(enum.Enum):
    """Why a series has no value at a tick: one scrape was missed, or it ended there (a staleness marker)."""

    MISSED = "_"
    STALE = "stale"


Value = float | Gap
Labels = frozenset[tuple[str, str]]
Outcome = Mapping[Labels, float] | str
"""The samples of one evaluation by their labels (the name is one of them), or the error."""


@dataclass(frozen=True, slots=True)
class Series:
    """`values` holds one value for each tick of the world's clock."""

    name: str
    labels: Labels
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule: what it writes, from what, and the labels that it sets."""

    record: str
    expression: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """What Prometheus has stored: series with a value every `interval` seconds from time 0, and the ticks at which queries look."""

    interval: int
    series: tuple[Series, ...]
    looks: tuple[int, ...]
    rules: tuple[Rule, ...] = ()


def labels_of(pairs: Mapping[str, str]) -> Labels:
    return frozenset((k, v) for k, v in pairs.items() if v)


def without(labels: Labels, removed: frozenset[str]) -> Labels:
    return frozenset((k, v) for k, v in labels if k not in removed)


def same(a: Outcome, b: Outcome) -> bool:
    """Equal label sets, and values equal up to the rounding that another order of additions brings."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str)
    return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)


def _close(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def has_content(outcome: Outcome) -> bool:
    """Whether an evaluation shows anything: an empty result, NaN alone or an error are equal to too much."""
    return not isinstance(outcome, str) and any(math.isfinite(v) for v in outcome.values())


def shown(outcome: Outcome) -> str:
    if isinstance(outcome, str):
        return f"error: {outcome}"
    return ", ".join(sorted(f"{_shown(labels)} {value:.12g}" for labels, value in outcome.items())) or "nothing"


def shown_series(series: Iterable[Series], last: int = 8) -> str:
    return "\n".join(f"{s.name}{_shown(s.labels)} … {' '.join(text_of(v) for v in s.values[-last:])}" for s in series)


def _shown(labels: Labels) -> str:
    return "{" + ", ".join(f'{k}="{v}"' for k, v in sorted(labels)) + "}"


def text_of(value: Value) -> str:
    """A value as promtool's series notation writes it."""
    if isinstance(value, Gap):
        return value.value
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(value)
