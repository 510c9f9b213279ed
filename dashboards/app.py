"""The cost page: what is sent, what it costs, what need not be sent, and what was really saved."""

from __future__ import annotations

import os

import streamlit as st

from dashboards import charts
from dashboards.client import Client, Failed, Json

API, TOKEN = "FLOWGATE_API", "FLOWGATE_TOKEN"


def main() -> None:
    """Draws the page once; Streamlit runs it again on every interaction."""
    st.set_page_config(page_title="Flowgate", layout="wide")
    st.title("What is sent, what it costs")
    client = Client(os.environ.get(API, "http://127.0.0.1:8000"), os.environ.get(TOKEN, ""))
    analyses = client.items("/api/v1/analyses")
    if isinstance(analyses, Failed):
        st.error(charts.plain(analyses.reason))
        return
    done = [a for a in analyses if a["status"] == "done"]
    if not done:
        st.info("No analysis yet. Start one with POST /api/v1/analyses, or run `flowgate demo`.")
        return
    chosen = st.selectbox("Analysis", done, format_func=lambda a: f"{a['window']['start']} · {a['window']['seconds']:.0f} s · {a['id']}")
    analysis = client.get(f"/api/v1/analyses/{chosen['id']}")
    if isinstance(analysis, Failed):
        st.error(charts.plain(analysis.reason))
        return
    totals(analysis)
    recommendations(analysis)
    metrics(client, analysis)
    savings(client)
    gateways(client)


def totals(analysis: Json) -> None:
    said = analysis["totals"]
    columns = st.columns(5)
    columns[0].metric("Metrics", f"{said['metrics']:,}")
    columns[1].metric("Series", f"{said['series']:,}")
    columns[2].metric("Prometheus series", f"{said['prom_series']:,}")
    columns[3].metric("Points per second", f"{said['points_per_second']:,.0f}")
    columns[4].metric("Cost", charts.money(said["cost"]))
    st.caption(f"{said['understood']} of {said['expressions']} expressions understood")


def recommendations(analysis: Json) -> None:
    st.header("Need not be sent")
    frame = charts.recommendations_frame(analysis)
    if frame.is_empty():
        st.info("Nothing to recommend: everything sent is read, or what is read cannot be told.")
    else:
        st.dataframe(frame, hide_index=True)
    for spot in analysis["blind_spots"]:
        st.caption(charts.plain(f"{spot['kind']} blind spot: {spot['reason']}"))


def metrics(client: Client, analysis: Json) -> None:
    st.header("Sent")
    span = analysis["window"]
    params = {"start": span["start"], "end": span["end"], "side": "in"}
    if analysis["gateway"]:
        params["gateway"] = analysis["gateway"]
    sent = client.get("/api/v1/traffic", params)
    if isinstance(sent, Failed):
        st.error(charts.plain(sent.reason))
        return
    frame = charts.metrics_frame(sent["metrics"])
    st.altair_chart(charts.top_metrics(frame))
    st.dataframe(frame, hide_index=True)


def savings(client: Client) -> None:
    st.header("Predicted and realised")
    rows = client.items("/api/v1/savings")
    if isinstance(rows, Failed):
        st.error(charts.plain(rows.reason))
    elif not rows:
        st.info("No saving has been measured yet.")
    else:
        st.dataframe(charts.savings_frame(rows), hide_index=True)


def gateways(client: Client) -> None:
    st.header("Gateways")
    rows = client.items("/api/v1/gateways")
    if isinstance(rows, Failed):
        st.error(charts.plain(rows.reason))
        return
    keys = ("name", "group", "connected", "remote_config_status", "healthy", "config_hash", "desired_hash", "config_error")
    st.dataframe([{k: row[k] for k in keys} for row in rows], hide_index=True)


main()
