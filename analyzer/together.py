"""What all uses of one metric need together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowgate.usage import Condition, LabelSet, Operator, Use

_MERGING: tuple[Operator, ...] = ("sum", "min", "max")


@dataclass(frozen=True, slots=True)
class MetricUsage:
    """All uses of one name together. `demand`: the union; `operator`: None when nothing merges, or the uses disagree."""

    demand: LabelSet
    operator: Operator | None
    conditions: tuple[Condition, ...]
    mentioned: frozenset[str]


def together(uses: Sequence[Use]) -> MetricUsage:
    """What uses of one metric need together. Overwritten labels become conditions: those that are needed must be absent, the others
    absent or removed with the rest (removing less can be unsafe)."""
    needed = uses[0].demand
    for use in uses[1:]:
        needed = needed | use.demand
    overwritten = frozenset(label for u in uses for label in u.overwritten)
    clash, free = needed.among(overwritten), overwritten - needed.among(overwritten)
    conditions = list(dict.fromkeys(c for u in uses for c in u.conditions))
    if clash:
        conditions.append(Condition("must_be_absent", clash, "a query sets the label anew and another place needs the metric's own"))
    if free:
        conditions.append(
            Condition("absent_or_removed", free, "a query sets the label anew: left alone it keeps series apart that would be merged")
        )
    return MetricUsage(needed, _operator(uses), tuple(conditions), frozenset(label for u in uses for label in u.mentioned))


def _operator(uses: Sequence[Use]) -> Operator | None:
    found: set[Operator] = {u.operator for u in uses}
    merging: list[Operator] = [op for op in _MERGING if op in found]
    if "none" in found or len(merging) > 1:
        return None
    return merging[0] if merging else "max" if "unique" in found else "group"
