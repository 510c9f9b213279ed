"""The JSON shapes of CONTRACTS, written once: values to JSON-ready dictionaries, and actions back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from flowgate.actions import Action, DropLogs, DropMetric
from flowgate.advice import BlindSpot, Evidence, Finding, Recommendation
from flowgate.errors import Invalid, Problem
from flowgate.money import PERIOD, Cost, Volume

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


def action_json(action: Action) -> Json:
    match action:
        case DropMetric():
            return {"type": action.type, "metric": action.metric}
        case DropLogs():
            return {
                "type": action.type,
                "service": action.service,
                "max_severity_number": action.max_severity_number,
            }
        case _:
            assert_never(action)


def action_from_json(value: Mapping[str, object], path: str = "action") -> Action:
    """The action a JSON object says; `Invalid` names the field that is missing, of the wrong type or unknown."""
    match value.get("type"):
        case "drop_metric":
            _only(value, {"type", "metric"}, path)
            return DropMetric(_text(value, "metric", path))
        case "drop_logs":
            _only(value, {"type", "service", "max_severity_number"}, path)
            return _drop_logs(value, path)
        case other:
            raise Invalid("unknown action", (Problem(f"{path}/type", f"{other!r} is not an action type"),))


def _drop_logs(value: Mapping[str, object], path: str) -> DropLogs:
    severity = value.get("max_severity_number")
    if not isinstance(severity, int) or isinstance(severity, bool) or not 1 <= severity <= 24:
        raise Invalid("bad action", (Problem(f"{path}/max_severity_number", "an integer from 1 to 24"),))
    return DropLogs(_text(value, "service", path), severity)


def _text(value: Mapping[str, object], key: str, path: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise Invalid("bad action", (Problem(f"{path}/{key}", "a non-empty string"),))
    return text


def _only(value: Mapping[str, object], known: set[str], path: str) -> None:
    extra = sorted(set(value) - known)
    if extra:
        raise Invalid("bad action", tuple(Problem(f"{path}/{key}", "unknown field") for key in extra))
