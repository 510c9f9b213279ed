"""The JSON shapes of CONTRACTS, written once: values to JSON-ready dictionaries, and actions back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowgate.action_shapes import action_from_json, action_json
from flowgate.advice import BlindSpot, Evidence, Finding, Needed, Recommendation
from flowgate.money import PERIOD, Cost, Volume
from flowgate.usage import LabelSet

__all__ = [
    "action_from_json",
    "action_json",
    "blind_spot_json",
    "cost_json",
    "evidence_json",
    "finding_json",
    "label_set_json",
    "needed_from_json",
    "needed_json",
    "recommendation_json",
    "volume_json",
]

Json = dict[str, object]


def cost_json(cost: Cost) -> Json:
    """`{"amount", "currency", "per"}`; the amount is a decimal string with four places."""
    return {"amount": str(cost.rounded().amount), "currency": cost.currency, "per": PERIOD}


def volume_json(volume: Volume) -> Json:
    return {
        "series": volume.series,
        "prom_series": volume.prom_series,
        "points_per_second": round(volume.points_per_second, 4),
        "bytes_per_second": round(volume.bytes_per_second, 1),
    }


def evidence_json(evidence: Evidence) -> Json:
    return {
        "kind": evidence.kind,
        "document": evidence.document,
        "panel": evidence.panel,
        "expression": evidence.expression,
        "rule": evidence.rule,
    }


def blind_spot_json(spot: BlindSpot) -> Json:
    return {
        "kind": spot.kind,
        "reason": spot.reason,
        "document": spot.document,
        "where": spot.where,
        "text": spot.text,
        "touches": list(spot.touches),
    }


def finding_json(finding: Finding) -> Json:
    return {
        "id": finding.id,
        "rule": finding.rule,
        "signal": finding.signal.value,
        "metric": finding.metric,
        "label": finding.label,
        "verdict": finding.verdict.value,
        "wording": finding.wording,
        "risk": finding.risk.value,
        "evidence": [evidence_json(e) for e in finding.evidence],
        "blind_spots": [blind_spot_json(b) for b in finding.blind_spots],
        **volume_json(finding.volume),
        "cost": cost_json(finding.cost),
        "service": finding.service,
        "detail": finding.detail,
        "action": action_json(finding.action) if finding.action else None,
        "unable": finding.unable,
        "undo": finding.undo,
    }


def label_set_json(labels: LabelSet) -> Json:
    return {"all_except" if labels.all_except else "only": sorted(labels.names)}


def needed_json(needed: Needed) -> Json:
    """What `flowgate check --protected` reads of each metric."""
    return {"labels": label_set_json(needed.labels), "bounds": None if needed.bounds is None else sorted(needed.bounds)}


def needed_from_json(value: Mapping[str, Any]) -> Needed:
    """What `needed_json` wrote."""
    labels, bounds = value["labels"], value["bounds"]
    every = "all_except" in labels
    return Needed(LabelSet(frozenset(labels["all_except" if every else "only"]), every), None if bounds is None else frozenset(bounds))


def recommendation_json(recommendation: Recommendation) -> Json:
    low, high = recommendation.interval
    return {
        "id": recommendation.id,
        "findings": list(recommendation.findings),
        "actions": [action_json(a) for a in recommendation.actions],
        "removes": {**volume_json(recommendation.removes.volume), "cost": cost_json(recommendation.removes.cost)},
        "interval": {"level": 0.95, "low": round(low, 4), "high": round(high, 4)},
        "risk": recommendation.risk.value,
        "reversible": recommendation.reversible,
        "expires": recommendation.expires.isoformat(),
    }
