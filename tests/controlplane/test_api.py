"""The public API: problems everywhere, orgs apart, and nothing refused is ever offered."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from controlplane import auth
from controlplane.api.document import document
from controlplane.app import ControlPlane, wire
from controlplane.handlers import actions_in, desired
from controlplane.render import render
from controlplane.settings import Settings
from controlplane.store import SqlStore
from flowgate.errors import Broken
from flowgate.ids import DEFAULT_ORG, GatewayId, OrgId
from tests.analyzer.store import MINUTE, T0, Store
from tests.controlplane.standin import Grafana, Server, dashboard

pytestmark = pytest.mark.binary
ROOT = Path(__file__).resolve().parents[2]
RULES = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: used_metric}\n"
SOURCE = {"name": "s", "kind": "grafana", "url": "http://127.0.0.1:9"}
SPAN = {"start": MINUTE.start.isoformat(), "end": MINUTE.end.isoformat()}


class Api:
    """A wired control plane on a folder of its own, with a store of segments."""

    def __init__(self, folder: Path, collector: Path) -> None:
        segments = Store(folder / "segments")
        for name in ("used_metric", "idle_metric", "other_idle"):
            segments.series(name, resource={"service.name": "svc"})
        segments.logs("cart", 5, 600)
        segments.write()
        self.settings = Settings(data=folder, collector=collector, base_config=ROOT / "gateway" / "base.yaml")
        self.store = SqlStore(folder / "control.db")
        self.plane: ControlPlane = wire(self.settings, self.store)
        self.http = TestClient(self.plane.app, raise_server_exceptions=False)
        self.token = (folder / "admin-token").read_text().strip()
        self.http.headers["authorization"] = f"Bearer {self.token}"

    def post(self, path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
        answer = self.http.post(f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, status: int = 200) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1{path}")
        assert answer.status_code == status, answer.text
        return answer.json()

    def analysis(self) -> dict[str, Any]:
        self.http.put("/api/v1/usage/rules.yaml", content=RULES)
        made = self.post("/analyses", SPAN, 202)
        for _ in range(200):
            made = self.get(f"/analyses/{made['id']}")
            if made["status"] != "running":
                return made
            time.sleep(0.05)
        raise AssertionError("the analysis did not end")

    def waiver(self, scope: str = "template/t", **fields: str) -> str:
        body = {"scope": scope, "reason": "why", "signed_by": "me", "expires": "2999-01-01T00:00:00Z", **fields}
        return self.post("/waivers", body)["id"]

    def template(self, analysis: dict[str, Any]) -> dict[str, Any]:
        chosen = [r["id"] for r in analysis["recommendations"]]
        return self.post("/templates", {"name": "t", "analysis": analysis["id"], "recommendations": chosen, "waiver": self.waiver()})


@pytest.fixture
def api(tmp_path: Path, collector: Path) -> Iterator[Api]:
    made = Api(tmp_path, collector)
    yield made
    made.plane.jobs.close()
    made.store.close()


def test_from_traffic_to_an_offered_bundle(api: Api) -> None:
    token = api.post("/gateways", {"name": "g"})["token"]
    analysis = api.analysis()
    assert {f["metric"] for f in analysis["findings"]} == {"idle_metric", "other_idle", None}
    assert [u["metric"] for u in analysis["used"]] == ["used_metric"]
    template = api.template(analysis)
    assert (template["name"], template["version"]) == ("t", 1)
    checked = api.post("/templates/t/versions/1/check", {}, 200)
    assert checked["ok"]
    assert checked["validated_by"].endswith("0.149.0")
    deployment = api.post("/deployments", {"template": "t", "version": 1})
    assert deployment["state"] == "offered"
    assert deployment["config_hash"] == checked["config_hash"] == api.get("/gateways/g")["desired_hash"]
    assert auth.digest(token) in json.loads((api.settings.data / "tap-tokens.json").read_text())


def test_the_same_name_again_is_the_next_version(api: Api) -> None:
    analysis = api.analysis()
    first, second = api.template(analysis), api.template(analysis)
    assert (first["version"], second["version"]) == (1, 2)
    assert api.get("/templates/t/versions/1") == first
    assert [v["version"] for v in api.get("/templates")["items"]] == [1, 2]


@pytest.mark.parametrize(
    ("waiver", "words"),
    [
        (None, "policy"),
        ({"scope": "template/other"}, "waiver"),
    ],
)
def test_without_evidence_or_a_fitting_waiver_nothing_is_accepted(api: Api, waiver: dict[str, str] | None, words: str) -> None:
    analysis = api.analysis()
    body = {"name": "t", "analysis": analysis["id"], "recommendations": [analysis["recommendations"][0]["id"]]}
    if waiver is not None:
        body["waiver"] = api.waiver(**waiver)
    assert words in api.post("/templates", body, 422)["detail"]
    assert api.get("/templates")["items"] == []


def test_what_a_rule_written_since_reads_is_neither_accepted_nor_deployed(api: Api) -> None:
    """The worst bug is to drop what an alert reads: advice holds only for the documents it was made from."""
    analysis = api.analysis()
    api.template(analysis)
    api.http.put("/api/v1/usage/new.yaml", content=RULES.replace("used_metric", "idle_metric"))
    refused = api.post("/deployments", {"template": "t", "version": 1}, 422)
    assert "analyse again" in refused["errors"][0]["message"]
    body = {"name": "t", "analysis": analysis["id"], "recommendations": [analysis["recommendations"][0]["id"]], "waiver": api.waiver()}
    assert "analyse again" in api.post("/templates", body, 422)["errors"][0]["message"]
    api.analysis()
    refused = api.post("/deployments", {"template": "t", "version": 1}, 422)
    assert [e["message"] for e in refused["errors"]] == ["no analysis of today's documents recommends this"]
    assert api.get("/deployments")["items"] == []


def test_while_a_source_hides_nothing_is_accepted_or_deployed(api: Api) -> None:
    """Whatever an analysis said before: a reader may be there now."""
    analysis = api.analysis()
    api.template(analysis)
    api.post("/sources", SOURCE)
    refused = api.post("/deployments", {"template": "t", "version": 1}, 422)
    assert refused["errors"][0]["path"] == "sources"
    body = {"name": "t", "analysis": analysis["id"], "recommendations": [analysis["recommendations"][0]["id"]], "waiver": api.waiver()}
    assert api.post("/templates", body, 422)["errors"][0]["path"] == "sources"
    assert api.http.delete("/api/v1/sources/s").status_code == 204
    api.post("/deployments", {"template": "t", "version": 1})


def test_an_expired_waiver_cannot_be_signed(api: Api) -> None:
    body = {"scope": "s", "reason": "r", "signed_by": "me", "expires": "2020-01-01T00:00:00Z"}
    assert api.post("/waivers", body, 422)["errors"][0]["path"] == "expires"


def test_an_unknown_recommendation_is_named(api: Api) -> None:
    analysis = api.analysis()
    body = {"name": "t", "analysis": analysis["id"], "recommendations": ["r-nothing"], "waiver": api.waiver()}
    assert api.post("/templates", body, 422)["errors"][0]["message"] == "r-nothing"


def test_a_config_the_binary_refuses_is_never_offered_and_the_place_is_named(api: Api) -> None:
    api.post("/gateways", {"name": "g"})
    before = desired(api.plane.tools, DEFAULT_ORG, GatewayId("g"))
    base = (ROOT / "gateway" / "base.yaml").read_text()
    broken = base.replace("send_batch_max_size: 8192", "send_batch_max_size: 1")
    assert broken != base
    answer = api.http.put("/api/v1/groups/default/base-config", content=broken)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["path"].startswith("processors/batch")
    assert desired(api.plane.tools, DEFAULT_ORG, GatewayId("g")) == before
    assert api.http.get("/api/v1/groups/default/base-config").text == base


def test_a_good_base_config_becomes_what_the_group_should_run(api: Api) -> None:
    base = (ROOT / "gateway" / "base.yaml").read_text().replace("scrape_interval: 1s", "scrape_interval: 2s")
    answer = api.http.put("/api/v1/groups/default/base-config", content=base)
    assert answer.status_code == 200
    api.post("/gateways", {"name": "g"})
    assert api.get("/gateways/g")["desired_hash"] == answer.json()["config_hash"]


def test_a_broken_dashboard_turns_advice_into_cannot_tell(api: Api) -> None:
    api.http.put("/api/v1/usage/broken.json", content="{")
    analysis = api.analysis()
    metrics = [f for f in analysis["findings"] if f["signal"] == "metrics"]
    assert metrics
    assert {f["verdict"] for f in metrics} == {"U"}
    assert [b["document"] for b in analysis["blind_spots"] if b["kind"] == "hiding"] == ["broken.json"]


def test_what_was_not_reported_is_null(api: Api) -> None:
    api.post("/gateways", {"name": "g"})
    gateway = api.get("/gateways/g")
    assert [gateway[k] for k in ("healthy", "config_hash", "remote_config_status", "instance_uid", "components")] == [None] * 5
    assert gateway["connected"] is False
    api.get("/gateways/g/effective-config", 404)


def test_traffic_is_priced_by_the_book(api: Api) -> None:
    book = "name: n\nversion: 1\ncurrency: EUR\nmetrics: {per: series, amount: '2'}\n"
    assert api.http.put("/api/v1/price-book", content=book).status_code == 200
    answer = api.http.get("/api/v1/traffic", params={**SPAN, "side": "in"}).json()
    assert answer["totals"]["cost"] == {"amount": "6.0000", "currency": "EUR", "per": "30d"}
    assert len(answer["metrics"]) == 3
    assert api.http.get("/api/v1/price-book").text == book


def test_price_books_are_kept_by_destination_and_revision(api: Api) -> None:
    one, two = (f"name: n\nversion: {n}\ncurrency: EUR\nmetrics: {{per: series, amount: '{n}'}}\n" for n in (1, 2))
    assert api.get("/price-books")["items"] == []
    first = api.post("/price-books", {"text": one})
    assert (first["destination"], first["revision"], first["name"], first["version"], first["currency"]) == ("default", 1, "n", 1, "EUR")
    assert api.post("/price-books", {"text": one}) == first  # the same again is no new revision
    assert api.post("/price-books", {"text": two, "destination": "default"})["revision"] == 2
    full = {
        "format": 2, "name": "s", "version": 3, "vendor": "v", "currency": "USD", "as_of": "2026-11-25", "source": {"title": "t", "read": "2026-11-25"},
        "fees": [{"name": "f", "amount": "1"}],
    }  # fmt: skip
    assert api.post("/price-books", {"text": json.dumps(full), "destination": "second"})["as_of"] == "2026-11-25"
    listed = api.get("/price-books")["items"]
    assert [(b["destination"], b["revision"], b["vendor"]) for b in listed] == [("default", 2, ""), ("second", 1, "v")]
    assert api.http.get("/api/v1/price-book").text == two
    assert api.http.get("/api/v1/price-books/default").text == two
    assert api.http.get("/api/v1/price-books/default", params={"revision": 1}).text == one
    assert json.loads(api.http.get("/api/v1/price-books/second").text) == full


def test_a_saving_that_cannot_be_told_says_why(api: Api) -> None:
    api.post("/gateways", {"name": "g"})
    api.template(api.analysis())
    deployment = api.post("/deployments", {"template": "t", "version": 1})
    saving = api.post("/savings", {"deployment": deployment["id"], "before": SPAN, "after": SPAN})
    assert saving["realised"] is None
    assert "not reported as applied" in saving["cannot_tell"]
    assert saving["predicted"]["series"] == 2
    assert api.get("/savings")["items"] == [saving]


def test_actions_are_rendered_and_checked_as_they_are_on_the_command_line(api: Api) -> None:
    api.analysis()
    asked = {
        "actions": [{"type": "drop_metric", "metric": "idle_metric"}, {"type": "drop_logs", "service": "cart", "max_severity_number": 5}]
    }
    made, checked = api.post("/render", asked, 200), api.post("/check", asked, 200)
    base = api.http.get("/api/v1/groups/default/base-config").text
    bundle = render(base, actions_in(asked["actions"]))
    assert made["config"] == checked["config"] == bundle.files[0].body.decode()
    assert made["config_hash"] == checked["config_hash"] == bundle.hash.hex()
    assert (checked["ok"], checked["validated_by"]) == (True, "flowgate-collector version 0.149.0")
    added = [line for line in made["diff"].splitlines() if line.startswith(("+", "-"))]
    assert len(added) > 5
    assert not [line for line in added if line.startswith("-") and line != "--- base"]
    assert api.get("/deployments")["items"] == []


@pytest.mark.parametrize(
    ("action", "path", "words"),
    [
        ({"type": "drop_metric", "metric": "used_metric"}, "actions/1", "is read by something"),
        ({"type": "drop_metric"}, "actions/1/metric", "a non-empty string"),
        ({"type": "x"}, "actions/1/type", "not an action type"),
        ({"type": "drop_metric", "metric": "x" * 600}, "actions/1/metric", "at most 512 characters"),
        ({"type": "drop_prefix", "prefix": "abc"}, "actions/1", "fewer than 4 characters"),
        ({"type": "drop_logs", "service": "s", "max_severity_number": 17}, "actions/1", "errors are kept"),
    ],
)
def test_actions_that_are_refused_are_named_with_the_reason(api: Api, action: dict[str, Any], path: str, words: str) -> None:
    api.analysis()
    refused = api.post("/check", {"actions": [{"type": "drop_metric", "metric": "idle_metric"}, action]}, 422)["errors"]
    assert [e["path"] for e in refused] == [path]
    assert words in refused[0]["message"]


def test_an_unknown_group_and_no_actions_are_refused(api: Api) -> None:
    api.post("/render", {"group": "none", "actions": []}, 404)
    assert api.post("/render", {"actions": []}, 200)["diff"] == ""
    assert [e["path"] for e in api.post("/check", {"actions": []}, 422)["errors"]] == ["actions"]


ROUTES = [
    ("GET", "/gateways"), ("POST", "/gateways"), ("GET", "/gateways/x"), ("GET", "/gateways/x/effective-config"),
    ("GET", "/groups/default/base-config"), ("PUT", "/groups/default/base-config"), ("GET", "/usage"), ("GET", "/usage/report"), ("PUT", "/usage/x"), ("DELETE", "/usage/x"),
    ("POST", "/sources"), ("GET", "/sources"), ("GET", "/sources/x"), ("PATCH", "/sources/x"), ("DELETE", "/sources/x"), ("POST", "/sources/x/fetch"),
    ("GET", "/price-book"), ("PUT", "/price-book"), ("GET", "/price-books"), ("POST", "/price-books"), ("GET", "/price-books/x"), ("GET", "/traffic"), ("POST", "/analyses"), ("GET", "/analyses"), ("GET", "/analyses/x"),
    ("POST", "/waivers"), ("POST", "/templates"), ("GET", "/templates"), ("POST", "/templates/x/versions"), ("GET", "/templates/x/versions/1"),
    ("POST", "/templates/x/versions/1/check"), ("POST", "/deployments"), ("GET", "/deployments"), ("GET", "/deployments/x"), ("POST", "/savings"),
    ("GET", "/savings"), ("POST", "/render"), ("POST", "/check"),
]  # fmt: skip


def test_the_matrix_covers_every_route() -> None:
    paths = document()["paths"]
    listed = {(m.upper(), p.replace("/api/v1", "", 1)) for p, ms in paths.items() for m in ms if p.startswith("/api/v1")}
    shaped = {(m, _shape(p)) for m, p in ROUTES}
    assert shaped == {(m, _shape(p)) for m, p in listed}


def _shape(path: str) -> tuple[str, ...]:
    return tuple("*" if part.startswith("{") or part in ("x", "1", "default") else part for part in path.strip("/").split("/"))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_a_users_token(api: Api, method: str, path: str) -> None:
    gateway = api.post("/gateways", {"name": "g"})["token"]
    for header, status in ((None, 401), ("Bearer wrong", 401), ("Bearer ", 401), (f"Bearer {gateway}", 403)):
        headers = {"authorization": header} if header else {}
        bare = TestClient(api.plane.app, raise_server_exceptions=False)
        answer = bare.request(method, f"/api/v1{path}", headers=headers, json={})
        assert answer.status_code == status, (header, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_org_sees_nothing_of_another(api: Api) -> None:
    api.post("/gateways", {"name": "g"})
    analysis = api.analysis()
    api.template(analysis)
    api.post("/sources", SOURCE)
    with api.store.begin() as work:
        work.add_org(OrgId("else"))
        work.add_user_token(OrgId("else"), auth.digest("other"))
        work.commit()
    api.http.headers["authorization"] = "Bearer other"
    for path in ("/gateways", "/usage", "/sources", "/analyses", "/templates", "/deployments", "/savings"):
        assert api.get(path) == {"items": []}
    for path in ("/gateways/g", "/sources/s", f"/analyses/{analysis['id']}", "/templates/t/versions/1"):
        api.get(path, 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/gateways", {"name": "UPPER"}, 422),
        ("POST", "/gateways", {"name": "g", "group": "none"}, 404),
        ("POST", "/gateways", {"name": "g", "org": "else"}, 422),
        ("POST", "/analyses", {"start": SPAN["end"], "end": SPAN["start"]}, 422),
        ("POST", "/analyses", {"start": "2026-01-01T00:00:00", "end": "2026-01-01T00:01:00"}, 422),
        ("POST", "/analyses", {**SPAN, "gateway": "none"}, 404),
        ("POST", "/deployments", {"template": "none", "version": 1}, 404),
        ("POST", "/deployments", {"template": "t", "version": 0}, 422),
        ("POST", "/savings", {"deployment": "none", "before": SPAN, "after": SPAN}, 404),
        ("POST", "/sources", {**SOURCE, "url": "file:///etc/passwd"}, 422),
        ("POST", "/sources", {**SOURCE, "url": "http://user:secret@host"}, 422),
        ("POST", "/sources", {**SOURCE, "kind": "query_log", "url": "../control.db"}, 422),
        ("POST", "/sources", {**SOURCE, "kind": "carbon"}, 422),
        ("POST", "/sources", {**SOURCE, "name": "a/b"}, 422),
        ("POST", "/sources", {**SOURCE, "token": "a\nb"}, 422),
        ("POST", "/sources", {**SOURCE, "interval_seconds": 86_400}, 422),
        ("PATCH", "/sources/none", {"enabled": False}, 404),
        ("POST", "/sources/none/fetch", None, 404),
        ("DELETE", "/sources/none", None, 404),
        ("GET", "/traffic?start=x&end=y", None, 422),
        ("GET", "/nothing", None, 404),
        ("PATCH", "/gateways", None, 405),
        ("PUT", "/price-book", {"name": 1}, 422),
        ("POST", "/price-books", {"text": "a: ["}, 422),
        ("POST", "/price-books", {"text": "", "destination": "d"}, 422),
        ("POST", "/price-books", {"text": "name: n\nversion: 1\ncurrency: USD", "destination": "a/b"}, 422),
        ("GET", "/price-books/none", None, 404),
        ("GET", "/price-books/default?revision=7", None, 404),
        ("GET", "/price-books/default?revision=0", None, 422),
        ("GET", "/price-books/default?revision=99999999999999999999", None, 422),
        ("DELETE", "/usage/none", None, 404),
        ("GET", "/templates/t/versions/99999999999999999999", None, 404),
    ],
)
def test_bad_input_is_a_problem(api: Api, method: str, path: str, body: dict[str, Any] | None, status: int) -> None:
    answer = api.http.request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_a_sources_token_is_written_and_never_shown(api: Api) -> None:
    secret = "glsa_very-secret"
    said = [api.post("/sources", {**SOURCE, "token": secret, "enabled": False})]
    said += [api.get("/sources"), api.get("/sources/s")]
    assert [x["has_token"] for x in (said[0], said[1]["items"][0], said[2])] == [True] * 3
    answer = api.http.patch("/api/v1/sources/s", json={"token": None, "interval_seconds": 60})
    assert (answer.json()["has_token"], answer.json()["interval_seconds"]) == (False, 60)
    said.append(api.http.patch("/api/v1/sources/s", json={"token": secret + "\n"}).json())
    assert secret not in json.dumps(said)
    api.post("/sources", SOURCE, 409)


def test_a_source_that_cannot_be_fetched_says_why_and_turns_advice_into_cannot_tell(api: Api) -> None:
    assert api.post("/sources", SOURCE)["state"] == "never"
    for _ in range(200):
        source = api.get("/sources/s")
        if source["last_fetch"]:
            break
        time.sleep(0.05)
    assert (source["state"], source["age_seconds"], source["last_fetch"]["fault"]) == ("failed", None, "later")
    assert "no connection" in source["last_fetch"]["error"]
    assert api.post("/sources/s/fetch", {}, 202)["name"] == "s"
    analysis = api.analysis()
    assert {f["verdict"] for f in analysis["findings"] if f["signal"] == "metrics"} == {"U"}
    assert [b["document"] for b in analysis["blind_spots"] if b["kind"] == "hiding"] == ["s"]
    assert api.http.delete("/api/v1/sources/s").status_code == 204
    assert {f["verdict"] for f in api.analysis()["findings"] if f["signal"] == "metrics"} == {"A"}


def test_what_a_live_grafana_reads_is_used_and_its_path_says_where(api: Api) -> None:
    with Server(Grafana({"uid1": dashboard("uid1", "idle_metric")}, token="glsa_x")) as server:
        api.post("/sources", {**SOURCE, "url": server.url, "token": "glsa_x", "tenant": "1"})
        for _ in range(200):
            source = api.get("/sources/s")
            if source["last_fetch"]:
                break
            time.sleep(0.05)
    assert (source["state"], source["last_fetch"]["error"], source["last_fetch"]["failed"]) == ("good", None, [])
    assert 0 <= source["age_seconds"] < 60
    used = {u["metric"]: [e["document"] for e in u["read_by"]] for u in api.analysis()["used"]}
    assert used["idle_metric"] == ["s/grafana/dashboards/uid1.json"]
    assert set(used) == {"used_metric", "idle_metric"}


def test_the_database_is_its_owners_alone(api: Api) -> None:
    """Tokens of live sources are in it as they are."""
    for name in ("control.db", "control.db-wal"):
        assert (api.settings.data / name).stat().st_mode & 0o777 == 0o600


def test_a_gateway_exists_once(api: Api) -> None:
    api.post("/gateways", {"name": "g"})
    api.post("/gateways", {"name": "g"}, 409)


def test_tokens_are_hashed_at_rest_and_private(api: Api) -> None:
    token = api.post("/gateways", {"name": "g"})["token"]
    stored = (api.settings.data / "control.db").read_bytes() + (api.settings.data / "control.db-wal").read_bytes()
    assert token.encode() not in stored
    assert api.token.encode() not in stored
    for name in ("admin-token", "tap-tokens.json"):
        assert (api.settings.data / name).stat().st_mode & 0o777 == 0o600


def test_health_needs_no_token(api: Api) -> None:
    bare = TestClient(api.plane.app)
    assert bare.get("/healthz").status_code == 200
    assert bare.get("/readyz").json() == {"ready": True}


def test_a_second_start_keeps_org_and_token(api: Api) -> None:
    wire(api.settings, api.store).jobs.close()
    assert (api.settings.data / "admin-token").read_text().strip() == api.token
    api.get("/gateways")


def test_an_analysis_without_segments_fails_with_its_reason(api: Api) -> None:
    body = {"start": (T0 + timedelta(days=1)).isoformat(), "end": (T0 + timedelta(days=1, seconds=1)).isoformat()}
    made = api.post("/analyses", body, 202)
    for _ in range(200):
        made = api.get(f"/analyses/{made['id']}")
        if made["status"] != "running":
            break
        time.sleep(0.05)
    assert made["status"] == "failed"
    assert "empty window" in made["error"]


def test_no_binary_is_one_clear_sentence(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, collector=tmp_path / "none", base_config=ROOT / "gateway" / "base.yaml")
    store = SqlStore(tmp_path / "control.db")
    with pytest.raises(Broken, match="make gateway"):
        wire(settings, store)
    store.close()


def test_operations_are_named_after_their_functions() -> None:
    ids = [o["operationId"] for ms in document()["paths"].values() for o in ms.values()]
    assert len(ids) == len(set(ids))
    assert {"create_gateway", "get_traffic", "create_deployment"} <= set(ids)


def test_random_requests_never_break_it(api: Api) -> None:
    """Schemathesis makes requests from our own OpenAPI document; none may be answered with a 5xx or without a problem."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, settings

    schema = schemathesis.openapi.from_asgi("/openapi.json", api.plane.app)
    headers = {"authorization": f"Bearer {api.token}"}

    for operation in schema.get_all_operations():
        test = settings(
            max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )(_given(operation.ok(), headers))
        test()


def _given(operation: Any, headers: dict[str, str]) -> Any:
    from hypothesis import given

    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        answer = case.call(headers=headers)
        assert answer.status_code < 500, (case.method, case.path, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0] == "application/problem+json"

    return run
