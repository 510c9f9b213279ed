"""What queries need: sets of labels that may be infinite, and one use of one metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from flowgate.telemetry import Signal

Operator = Literal["sum", "min", "max", "group", "exists", "unique", "none"]
"""What merges series above a selector. `exists`: only whether there is a series matters. `unique`: the query works only when
there is one series a key, so nothing merges. `none`: nothing is merged, every series is seen."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A set of label names: `names` alone, or every label but `names`. There is always a label that no query has named."""

    names: frozenset[str] = frozenset()
    all_except: bool = False

    def __contains__(self, label: str) -> bool:
        return (label in self.names) is not self.all_except

    def __or__(self, other: LabelSet) -> LabelSet:
        match self.all_except, other.all_except:
            case False, False:
                return LabelSet(self.names | other.names)
            case True, True:
                return LabelSet(self.names & other.names, True)
            case True, False:
                return LabelSet(self.names - other.names, True)
            case _:
                return LabelSet(other.names - self.names, True)

    def __sub__(self, labels: frozenset[str]) -> LabelSet:
        return LabelSet(self.names | labels, True) if self.all_except else LabelSet(self.names - labels)

    def __and__(self, other: LabelSet) -> LabelSet:
        return ~(~self | ~other)

    def __invert__(self) -> LabelSet:
        return LabelSet(self.names, not self.all_except)

    def among(self, labels: frozenset[str]) -> frozenset[str]:
        """Those of `labels` that are in the set."""
        return labels - self.names if self.all_except else labels & self.names


NO_LABEL = LabelSet()
EVERY_LABEL = LabelSet(frozenset(), True)


def only(*labels: str) -> LabelSet:
    return LabelSet(frozenset(labels))


def all_except(*labels: str) -> LabelSet:
    return LabelSet(frozenset(labels), True)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of a metric's series for the removal of labels outside its demand to change nothing."""

    kind: Literal["absent_or_removed", "must_be_absent", "counter", "no_reset", "non_zero", "alive", "zero_one", "functional", "recorded"]
    labels: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """One selector of one query: which metric it reads, and which labels the query needs of it.

    Of logs and traces there are no names: `name` is empty and `mentioned` are the attributes read. Of metrics, `name` is exact in the
    form the query uses, or (`pattern`) an anchored RE2 pattern over names. `mentioned` are the labels that the query names with it;
    `overwritten` those that the query sets anew between this selector and what merges or matches above it: the metric's own must be
    absent, or among the removed. `exposed` are labels that reach the query's result. `dynamic`: the query names labels that are known only
    when it runs, so it may name any. `why` says for a label of `demand` by which rule it
    is needed (`*`: why every label is). `le`: the values of that label which the selector asks for, each by equality; None: any.
    """

    name: str
    pattern: bool = False
    mentioned: frozenset[str] = frozenset()
    demand: LabelSet = EVERY_LABEL
    operator: Operator = "none"
    overwritten: frozenset[str] = frozenset()
    exposed: LabelSet = EVERY_LABEL
    dynamic: bool = False
    conditions: tuple[Condition, ...] = ()
    why: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    signal: Signal = Signal.METRICS
    le: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Why a text was not understood, and the anchored patterns of every name it might read; none: any name."""

    reason: str
    touches: tuple[str, ...]
