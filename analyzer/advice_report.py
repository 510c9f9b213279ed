"""Advice as JSON: the shape `advice` (`docs/schemas/advice.json`), the same from the command and from the API."""

from __future__ import annotations

from analyzer.engine import Advice
from analyzer.outlook import Outlook, outlook_json
from analyzer.pricing import bill_json
from flowgate.advice import Usage
from flowgate.shapes import blind_spot_json, cost_json, evidence_json, finding_json, needed_json, recommendation_json, volume_json
from flowgate.telemetry import Window

Json = dict[str, object]


def window_json(window: Window) -> Json:
    return {"start": window.start.isoformat(), "end": window.end.isoformat(), "seconds": window.seconds}


def advice_json(advice: Advice, usage: Usage, outlook: Outlook) -> Json:
    """Everything but the window, which whoever asked knows. `elsewhere` is for whoever knows of snippets to fill."""
    return {
        "totals": {
            "metrics": advice.metrics,
            **volume_json(advice.volume),
            "cost": cost_json(advice.cost),
            "expressions": usage.expressions,
            "understood": usage.understood,
        },
        "bill": bill_json(advice.bill, advice.book),
        "findings": [finding_json(f) for f in advice.findings],
        "recommendations": [recommendation_json(r) for r in advice.recommendations],
        "blind_spots": [blind_spot_json(b) for b in advice.blind_spots],
        "used": [
            {"metric": u.metric, "prom_names": list(u.prom_names), "read_by": [evidence_json(e) for e in u.read_by]} for u in advice.used
        ],
        "protected": {metric: needed_json(needed) for metric, needed in sorted(advice.protected.items())},
        "untold": [{"what": u.what, "reason": u.reason} for u in advice.untold],
        "forecast": outlook_json(outlook),
        "elsewhere": [],
    }
