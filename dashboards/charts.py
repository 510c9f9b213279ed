"""Rows → frames and charts. Pure: every number comes from the API as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

Json = dict[str, Any]
TOP = 20
# CommonMark lets every ASCII punctuation be escaped by a backslash (section 2.4).
_MARKDOWN = re.compile(r"[!-/:-@\[-`{-~]")


def metrics_frame(rows: Sequence[Json]) -> pl.DataFrame:
    """One row per metric, dearest first."""
    return pl.DataFrame(
        [
            {
                "metric": str(r["metric"]),
                "unit": str(r["unit"]),
                "kind": str(r["kind"]),
                "series": int(r["series"]),
                "prom_series": int(r["prom_series"]),
                "points_per_second": float(r["points_per_second"]),
                "bytes_per_second": float(r["bytes_per_second"]),
                "cost": float(r["cost"]["amount"]),
                "currency": str(r["cost"]["currency"]),
            }
            for r in rows
        ],
        schema=METRICS,
    ).sort("cost", "bytes_per_second", descending=True)


METRICS = {
    "metric": pl.String,
    "unit": pl.String,
    "kind": pl.String,
    "series": pl.Int64,
    "prom_series": pl.Int64,
    "points_per_second": pl.Float64,
    "bytes_per_second": pl.Float64,
    "cost": pl.Float64,
    "currency": pl.String,
}


def recommendations_frame(analysis: Json) -> pl.DataFrame:
    """One row per recommendation with what its first finding says, in the API's order."""
    findings = {f["id"]: f for f in analysis.get("findings", [])}
    return pl.DataFrame(
        [_recommendation(r, findings.get(r["findings"][0], {})) for r in analysis.get("recommendations", [])],
        schema=RECOMMENDATIONS,
    )


RECOMMENDATIONS = {
    "what": pl.String,
    "verdict": pl.String,
    "risk": pl.String,
    "why": pl.String,
    "series": pl.Int64,
    "points_per_second": pl.Float64,
    "cost": pl.String,
}


def _recommendation(recommendation: Json, finding: Json) -> Json:
    removes = recommendation["removes"]
    return {
        "what": "; ".join(said(a) for a in recommendation["actions"]),
        "verdict": finding.get("verdict", ""),
        "risk": recommendation["risk"],
        "why": finding.get("wording", ""),
        "series": removes["series"],
        "points_per_second": float(removes["points_per_second"]),
        "cost": money(removes["cost"]),
    }


def said(action: Json) -> str:
    """An action in words."""
    match action["type"]:
        case "drop_metric":
            return f"drop metric {action['metric']}"
        case "drop_logs":
            return f"drop logs of {action['service']} up to severity {action['max_severity_number']}"
        case other:
            return str(other)


def plain(text: str) -> str:
    """`text` so that Streamlit's Markdown shows it as it is: a name from telemetry must not draw a link, an image or a formula."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def money(cost: Json) -> str:
    return f"{cost['amount']} {cost['currency']} / {cost['per']}"


def savings_frame(rows: Sequence[Json]) -> pl.DataFrame:
    """Predicted beside realised, one row per measured count; what cannot be told says why."""
    listed: list[Json] = []
    for row in rows:
        for key in ("series", "prom_series", "points_per_second"):
            realised = row["realised"][key] if row["realised"] else None
            listed.append(
                {
                    "deployment": str(row["deployment"]),
                    "count": key,
                    "predicted": float(row["predicted"][key]),
                    "realised": float(realised) if realised is not None else None,
                    "cannot_tell": row["cannot_tell"],
                }
            )
    return pl.DataFrame(listed, schema=SAVINGS)


SAVINGS = {
    "deployment": pl.String,
    "count": pl.String,
    "predicted": pl.Float64,
    "realised": pl.Float64,
    "cannot_tell": pl.String,
}


def top_metrics(frame: pl.DataFrame) -> alt.Chart:
    """The dearest metrics as bars."""
    return (
        alt.Chart(frame.head(TOP))
        .mark_bar()
        .encode(
            x=alt.X("cost:Q", title="cost per 30 days"), y=alt.Y("metric:N", sort="-x", title=None), tooltip=["metric", "series", "cost"]
        )
    )
