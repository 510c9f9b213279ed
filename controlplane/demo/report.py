"""What the demo's run proved: planted truth against what was found, as values. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

REALISED_TOLERANCE = 0.05
BACKEND_TOLERANCE = 0.02
PLANTED_AT_LEAST = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the demo, whether it held, and the figures."""

    name: str
    ok: bool
    says: str


def planted(truth: Sequence[Json], analysis: Json, actions: Sequence[Json]) -> list[Json]:
    """One row per planted item: what was expected, what the run found, whether they agree."""
    return [_planted_row(item, analysis, actions) for item in truth]


def _planted_row(item: Json, analysis: Json, actions: Sequence[Json]) -> Json:
    found = _found(item, analysis, actions)
    return {
        "name": item["name"],
        "kind": item["kind"],
        "expected": item["expected"],
        "found": found,
        "ok": found == item["expected"],
    }


def _found(item: Json, analysis: Json, actions: Sequence[Json]) -> str:
    if _dropped(item, actions):
        return "dropped"
    if item.get("label"):
        return "advised" if _advised(item, analysis["findings"]) else "missed"
    if item["kind"] == "trap" and item.get("metric"):
        return "kept" if _read(item["metric"], analysis["used"]) else "not known to be read"
    return "missed"


def _dropped(item: Json, actions: Sequence[Json]) -> bool:
    if item.get("label"):
        return False
    if item.get("signal") == "logs":
        return any(a["type"] == "drop_logs" and a["service"] == item["service"] for a in actions)
    return any(a["type"] == "drop_metric" and a["metric"] == item["metric"] for a in actions)


def _advised(item: Json, findings: Sequence[Json]) -> bool:
    return any(f["rule"] == item["rule"] and f["metric"] == item["metric"] and f["label"] == item["label"] for f in findings)


def _read(metric: str, used: Sequence[Json]) -> bool:
    return any(u["metric"] == metric and u["read_by"] for u in used)


def protected(used: Sequence[Json], before: Mapping[str, float], after: Mapping[str, float]) -> list[Json]:
    """Every metric that something reads and that was sent before: who reads it, and whether it still leaves the gateway.

    `before` and `after` are points per second by metric, of `in` in the first window and `out` in the second.
    """
    return [
        {
            "metric": row["metric"],
            "read_by": sorted({str(e["document"]) for e in row["read_by"]}),
            "flowing": after.get(row["metric"], 0.0) > 0.0,
        }
        for row in used
        if row["read_by"] and before.get(row["metric"], 0.0) > 0.0
    ]


def within(value: float, wanted: float, tolerance: float) -> bool:
    """Whether `value` differs from `wanted` by at most that share of it; nothing is within any share of zero but zero."""
    return abs(value - wanted) <= tolerance * abs(wanted)


def share(value: float, wanted: float) -> str:
    """How far off, for people: `+1.2 %`; `n/a` when there is nothing to compare with."""
    return f"{(value - wanted) / wanted:+.1%}" if wanted else "n/a"


def saving_checks(predicted: Json, realised: Json | None) -> list[Check]:
    """Realised within 5 % of predicted, by each of the three counts."""
    if realised is None:
        return [Check("realised", False, "cannot tell")]
    return [
        Check(
            f"realised {key}",
            predicted[key] > 0 and within(realised[key], predicted[key], REALISED_TOLERANCE),
            f"predicted {predicted[key]:,.0f}, realised {realised[key]:,.0f} ({share(realised[key], predicted[key])})",
        )
        for key in ("series", "prom_series", "points_per_second")
    ]


def checks(report: Json) -> list[Check]:
    """Everything the demo promises, judged on its own report."""
    gateway, backend, rows = report["gateway"], report["backend"], report["planted"]
    wrong = [r["name"] for r in rows if not r["ok"]]
    dry = [p["metric"] for p in report["protected"] if not p["flowing"]]
    out, after = backend["out_points_per_second"], backend["points_per_second_after"]
    return [
        Check("config applied", gateway["remote_config_status"] == "applied", str(gateway["remote_config_status"])),
        Check("gateway healthy", gateway["healthy"] is True, str(gateway["healthy"])),
        Check(
            "planted",
            len(rows) >= PLANTED_AT_LEAST and not wrong,
            f"{len(rows) - len(wrong)} of {len(rows)} as expected {wrong or ''}".strip(),
        ),
        *saving_checks(report["predicted"], report["realised"]),
        Check(
            "backend counts what left",
            within(after, out, BACKEND_TOLERANCE),
            f"out {out:,.1f}/s, backend {after:,.1f}/s ({share(after, out)})",
        ),
        Check(
            "protected metrics flow",
            bool(report["protected"]) and not dry,
            f"{len(report['protected']) - len(dry)} of {len(report['protected'])} {dry or ''}".strip(),
        ),
    ]
