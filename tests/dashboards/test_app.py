"""The cost page over a stub of the public API: it shows what the API says, and says what to do when there is nothing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

from dashboards import charts
from dashboards.client import Client, Failed

PAGE = Path(__file__).resolve().parents[2] / "dashboards" / "app.py"
COST = {"amount": "1.2345", "currency": "USD", "per": "30d"}
VOLUME = {"series": 10, "prom_series": 20, "points_per_second": 10.0, "bytes_per_second": 500.0}
HOSTILE = "<script>alert(1)</script> **bold** $x$"
WINDOW = {"start": "2026-01-01T00:00:00+00:00", "end": "2026-01-01T00:01:00+00:00", "seconds": 60.0}
FINDING = {"id": "f-1", "verdict": "A", "wording": "not referenced by supplied artefacts"}
ANALYSIS: dict[str, Any] = {
    "id": "a1", "status": "done", "window": WINDOW, "gateway": None, "created": WINDOW["start"],
    "totals": {"metrics": 3, **VOLUME, "cost": COST, "expressions": 7, "understood": 7},
    "findings": [FINDING], "blind_spots": [{"kind": "narrowing", "reason": "no source of executed queries is connected"}],
    "recommendations": [
        {"id": "r-1", "findings": ["f-1"], "actions": [{"type": "drop_metric", "metric": HOSTILE}], "removes": {**VOLUME, "cost": COST}, "risk": "low"}
    ],
}  # fmt: skip
SAVING = {"id": "s", "deployment": "d", "predicted": VOLUME, "realised": {**VOLUME, "series": 9}, "cannot_tell": None}
GATEWAY = {
    "name": "g", "group": "default", "connected": True, "remote_config_status": "applied", "healthy": True, "config_hash": "aa",
    "desired_hash": "aa", "config_error": None,
}  # fmt: skip
FULL: dict[str, Any] = {
    "/api/v1/analyses": {"items": [ANALYSIS]},
    "/api/v1/analyses/a1": ANALYSIS,
    "/api/v1/traffic": {"metrics": [{"metric": HOSTILE, "unit": "s", "kind": "gauge", **VOLUME, "cost": COST}]},
    "/api/v1/savings": {"items": [SAVING]},
    "/api/v1/gateways": {"items": [GATEWAY]},
}


class Stub:
    """An API that answers from a table, and keeps the tokens it was shown."""

    def __init__(self, table: dict[str, Any], status: int = 200) -> None:
        self.tokens: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.tokens.append(self.headers["authorization"])
                body = json.dumps(table.get(self.path.partition("?")[0], {"detail": "not there"})).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    stubs: list[Stub] = []

    def page(table: dict[str, Any], status: int = 200) -> AppTest:
        stub = Stub(table, status)
        stubs.append(stub)
        monkeypatch.setenv("FLOWGATE_API", stub.url)
        monkeypatch.setenv("FLOWGATE_TOKEN", "secret")
        shown = AppTest.from_file(str(PAGE), default_timeout=60).run()
        assert set(stub.tokens) == {"Bearer secret"}
        return shown

    yield page
    for stub in stubs:
        stub.server.shutdown()


def test_the_page_shows_what_the_api_says(run: Any) -> None:
    page = run(FULL)
    assert not page.exception
    assert [m.value for m in page.metric] == ["3", "10", "20", "10", "1.2345 USD / 30d"]
    assert [h.value for h in page.header] == ["Need not be sent", "Sent", "Predicted and realised", "Gateways"]
    frames = [f.value for f in page.dataframe]
    assert frames[0]["what"][0] == f"drop metric {HOSTILE}"
    assert frames[1]["metric"][0] == HOSTILE
    assert list(frames[2]["realised"]) == [9.0, 20.0, 10.0]
    assert frames[3]["healthy"][0]


def test_hostile_names_stay_in_cells(run: Any) -> None:
    page = run(FULL)
    assert all("<script>" not in m.value for m in page.markdown)
    assert "unsafe_allow_html" not in PAGE.read_text()


def test_a_hostile_reason_draws_nothing(run: Any) -> None:
    spots = [{"kind": "hiding", "reason": "![x](http://evil.example/p.png) $x$\n# big"}]
    page = run({**FULL, "/api/v1/analyses/a1": {**ANALYSIS, "blind_spots": spots}})
    shown = next(c.value for c in page.caption if "blind spot" in c.value)
    assert "![" not in shown
    assert "\n" not in shown
    assert all(shown[m.start() - 1] == "\\" for m in re.finditer(r"[]!$#<(\[]", shown))


@given(st.text())
def test_plain_text_survives_markdown(text: str) -> None:
    """Rendered by a CommonMark parser, what was escaped is one paragraph of exactly that text."""
    words = " ".join(text.replace("\0", "").split())
    tokens = MarkdownIt("commonmark").parse(charts.plain(words))
    inline = [t for t in tokens if t.type == "inline"]
    said = "".join(c.content for t in inline for c in t.children or [])
    assert {c.type for t in inline for c in t.children or []} <= {"text", "text_special"}
    assert said == words


def test_without_an_analysis_the_page_says_what_to_do(run: Any) -> None:
    page = run({**FULL, "/api/v1/analyses": {"items": []}})
    assert not page.exception
    assert "flowgate demo" in page.info[0].value


def test_a_refused_token_is_said(run: Any) -> None:
    assert charts.plain("Set FLOWGATE_TOKEN") in run({}, 401).error[0].value


def test_an_api_that_is_down_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGATE_API", "http://127.0.0.1:9")
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert "does not answer" in page.error[0].value


def test_what_cannot_be_told_is_shown_as_such() -> None:
    frame = charts.savings_frame([{**SAVING, "realised": None, "cannot_tell": "lost"}])
    assert frame["realised"].to_list() == [None] * 3
    assert frame["cannot_tell"].to_list() == ["lost"] * 3


def test_the_dearest_metric_comes_first() -> None:
    rows = [{"metric": str(k), "unit": "", "kind": "gauge", **VOLUME, "cost": {**COST, "amount": f"{k}.0"}} for k in range(3)]
    assert charts.metrics_frame(rows)["metric"].to_list() == ["2", "1", "0"]


@pytest.mark.parametrize("frame", [charts.metrics_frame([]), charts.recommendations_frame({}), charts.savings_frame([])])
def test_nothing_is_an_empty_frame_with_its_columns(frame: Any) -> None:
    assert frame.is_empty()
    assert frame.columns


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("body", [[1], "x", 3, None])
def test_an_answer_that_is_no_object_is_a_reason(status: int, body: object) -> None:
    client = Client("http://x", "t", httpx.MockTransport(lambda _: httpx.Response(status, json=body)))
    assert isinstance(client.items("/x"), Failed)


def test_a_token_that_no_header_can_carry_is_a_reason() -> None:
    assert isinstance(Client("http://127.0.0.1:9", "t\u00f6k").get("/x"), Failed)


def test_an_answer_without_json_is_a_reason() -> None:
    client = Client("http://x", "t", httpx.MockTransport(lambda _: httpx.Response(200, text="<html>")))
    assert isinstance(client.get("/x"), Failed)
