"""What of advice only the control plane knows: what a gateway's build can carry out, where else it is put right, and what no action may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analyzer import Advice
from controlplane.check import GATEWAY, Need, Protected, check_actions
from controlplane.render.elsewhere import Snippets, advice_elsewhere
from flowgate.actions import Action, AggregateLabels, DeleteLabel, Label
from flowgate.advice import Finding, MetricProfile, Needed, Profile
from flowgate.shapes import needed_from_json

Json = dict[str, Any]
MOST_ELSEWHERE = 200
"""Findings with snippets, the costliest: each has some kilobytes of them."""


def unable(action: Action) -> str | None:
    """Why the gateway's build cannot carry an action out."""
    return "; ".join(problem.message for problem in check_actions((action,), {}, GATEWAY)) or None


def protected(needed: Mapping[str, Needed]) -> Protected:
    """As the check of actions asks for it."""
    return {metric: Need(need.labels, need.bounds) for metric, need in needed.items()}


def protected_of(result: Mapping[str, Any]) -> Protected:
    """From an analysis that was stored; one without is of before labels and buckets were told apart, and protects all that is read."""
    if "protected" not in result:
        return {used["metric"]: Need() for used in result["used"]}
    return protected({metric: needed_from_json(need) for metric, need in result["protected"].items()})


def elsewhere_json(advice: Advice, profile: Profile) -> list[Json]:
    """Of each finding whose action the gateway cannot carry out, how to do the same somewhere else."""
    metrics = {(m.metric, label.key): m for m in reversed(profile.metrics) for label in m.labels}
    return [_found_json(finding, ways) for finding, ways in _ways(advice.findings, metrics)]


def _ways(findings: Sequence[Finding], metrics: dict[tuple[str, Label], MetricProfile]) -> Iterator[tuple[Finding, Snippets]]:
    for finding in [f for f in findings if f.unable is not None][:MOST_ELSEWHERE]:
        match finding.action:
            case AggregateLabels(metric, labels):
                yield finding, advice_elsewhere(finding.action, metrics[metric, labels[0]])
            case DeleteLabel(metric, label):
                yield finding, advice_elsewhere(finding.action, metrics[metric, label])
            case _:
                pass


def _found_json(finding: Finding, ways: Snippets) -> Json:
    return {
        "finding": finding.id,
        "ways": [{"where": w.where, "language": w.language, "text": w.text, "note": w.note} for w in ways.ways],
        "reasons": list(ways.reasons),
    }
