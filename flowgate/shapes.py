"""The JSON shapes of CONTRACTS, written once: values to JSON-ready dictionaries, and actions back."""

from __future__ import annotations

from flowgate.action_shapes import action_from_json, action_json
from flowgate.advice import BlindSpot, Evidence, Finding, Recommendation
from flowgate.money import PERIOD, Cost, Volume

__all__ = [
    "action_from_json",
    "action_json",
    "blind_spot_json",
    "cost_json",
    "evidence_json",
    "finding_json",
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
    }


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
