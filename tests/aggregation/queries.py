"""The queries that a scenario is judged by: those of which the label proof says that the label may go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from analyzer.demand import uses
from tests.aggregation.model import DROP
from tests.aggregation.scenarios import DROPPED, Kind, Scenario
from tests.semantics.claims import Promise, promises, tree_of
from tests.semantics.expressions import expression

_COUNTER = (
    "sum by (a) (rate(M[5m]))",
    "sum(increase(M[5m]))",
    "sum by (a, b) (irate(M[5m]))",
    "sum without (pod) (rate(M[3m])) * 60",
    "topk(1, sum by (a) (rate(M[5m])))",
    "max(sum by (a) (rate(M[4m])))",
    "sum(rate(M[5m])) / on () group_left sum by (a) (rate(M[5m]))",
)
_HISTOGRAM = (
    "histogram_quantile(0.9, sum by (le) (rate(M_bucket[5m])))",
    "histogram_quantile(0.5, sum by (le, a) (rate(M_bucket[5m])))",
    "sum by (a) (rate(M_sum[5m])) / sum by (a) (rate(M_count[5m]))",
    "sum by (a) (increase(M_count[5m]))",
    'sum(rate(M_bucket{le="5"}[5m])) / sum(rate(M_count[5m]))',
)
_GAUGE = (
    "sum by (a) (M)",
    "sum(M) / 3",
    "sum without (pod) (M)",
    "sum by (b) (-M)",
    "min by (a) (M)",
    "min(min_over_time(M[5m]))",
    "max by (a) (M)",
    "max(max_over_time(M[5m]))",
    "topk(1, max by (a, b) (M))",
    "max(M > 3)",
    "min(M < 500)",
    "max by (a) (M) > 100",
    "max_over_time((sum by (a) (M))[5m:1m])",
    "group by (a) (M)",
    "absent(M)",
    "avg by (a) (M)",
    "count by (a) (M)",
    "quantile(0.5, M)",
    "M",
)
"""The last four are never safe: that the proof refuses them is tested."""
WRITTEN: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"counter": _COUNTER, "histogram": _HISTOGRAM, "gauge": _GAUGE, "updown": _GAUGE}
)
RANDOM, TRIED = 3, 60
"""How many random expressions are added, and of how many at most."""


def safe(scenario: Scenario, text: str) -> bool:
    """Whether the label may go, by the scenario's operator, on data such as the scenario's."""
    tree = tree_of(text)
    if tree is None:
        return False
    found = uses(tree)
    made = promises(text, found)
    names = {use.name for use in found}
    return len(made) == len(names) and all(_of(name, scenario.name) for name in names) and all(_holds(scenario, p) for p in made)


def _of(name: str, metric: str) -> bool:
    return name == metric or name in {f"{metric}_bucket", f"{metric}_sum", f"{metric}_count"}


def _holds(scenario: Scenario, promise: Promise) -> bool:
    """Absolute values, which a merged counter has none of, and data without zeros or deaths are not what scenarios are about."""
    claim = promise.removing(DROP)
    allowed = {"counter"} if scenario.counts else set[str]()
    fitting = {scenario.operator, "group", "exists"}
    never = {"a", "b", "le"} & claim.absent
    return (
        DROPPED not in promise.demand
        and claim.operator in fitting
        and claim.kinds - {"absent_or_removed", "must_be_absent"} <= allowed
        and ("counter" in claim.kinds) == scenario.counts
        and not never
    )


def queries(scenario: Scenario, seed: int) -> tuple[str, ...]:
    written = [text.replace("M", scenario.name) for text in WRITTEN[scenario.kind]]
    return tuple(text for text in dict.fromkeys([*written, *_random(scenario, seed)]) if safe(scenario, text))


def _random(scenario: Scenario, seed: int) -> Iterator[str]:
    metric = "c_total" if scenario.counts else "m"
    found = 0
    for number in range(TRIED):
        text = expression(seed * TRIED + number)
        tree = tree_of(text)
        if tree is None or {use.name for use in uses(tree)} != {metric} or found == RANDOM:
            continue
        ours = _renamed(text, metric, f"{scenario.name}_count" if scenario.kind == "histogram" else scenario.name)
        if safe(scenario, ours):
            found += 1
            yield ours


def _renamed(text: str, metric: str, name: str) -> str:
    """Only the metric: `m` also stands in durations and in functions' names."""
    return re.sub(rf"(?<![\w:]){metric}(?![\w:(])", name, text)
