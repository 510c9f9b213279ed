"""Live sources against real sockets: what is fetched, and every way in which a system may answer badly, one at a time."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.outbound import Limits, forbidden, trusted
from controlplane.sources import LiveSources
from flowgate.errors import Invalid
from flowgate.ids import OrgId
from flowgate.sources import Fetched, Source, SourceId, SourceKind
from tests.controlplane.standin import (
    RULES_YAML,
    Grafana,
    Mimir,
    Prometheus,
    Reply,
    Server,
    VictoriaMetrics,
    as_json,
    dashboard,
    rule_group,
)

LIMITS = Limits(
    connect=2,
    read=0.4,
    request=0.8,
    total=20,
    body=200_000,
    all_bodies=2_000_000,
    tries=2,
    backoff=0.01,
    longest_wait=0.5,
    page=2,
    in_a_row=3,
)
SECRET = "glsa_s3cr3t"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fetch(kind: SourceKind, url: str, token: str | None = None, limits: Limits = LIMITS, **fields: Any) -> Fetched:
    source = Source(OrgId("a"), SourceId("s"), kind, url, NOW, **fields)
    return asyncio.run(LiveSources(limits=limits)(source, token))


def paths(got: Fetched) -> list[str]:
    return [p for p, _ in got.documents]


@pytest.fixture
def grafana() -> Iterator[Server]:
    with Server(Grafana()) as server:
        yield server


@pytest.fixture
def prometheus() -> Iterator[Server]:
    with Server(Prometheus()) as server:
        yield server


@pytest.fixture
def mimir() -> Iterator[Server]:
    with Server(Mimir()) as server:
        yield server


# --- what is fetched ---------------------------------------------------------------------------------------------------------------------


def test_a_grafana_is_fetched_whole_page_by_page(grafana: Server) -> None:
    got = fetch("grafana", grafana.url)
    assert (got.ok, got.failed) == (True, ())
    assert paths(got) == [
        "grafana/alert-rules/f/g/1.json",
        "grafana/alert-rules/f/h.json",
        *(f"grafana/dashboards/{u}.json" for u in "abcde"),
        "grafana/datasources.json",
        *(f"grafana/library-elements/l{k}.json" for k in range(3)),
    ]
    texts = dict(got.documents)
    assert json.loads(texts["grafana/dashboards/a.json"]) == {"meta": {"folderTitle": "F"}, "dashboard": dashboard("a", "m_a")}
    assert [r["uid"] for r in json.loads(texts["grafana/alert-rules/f/g/1.json"])] == ["r0", "r1"]
    assert json.loads(texts["grafana/library-elements/l0.json"])["result"]["uid"] == "l0"
    assert [q["page"] for p, q, _ in grafana.asked if p == "/api/search"] == ["1", "2", "3", "4"]


def test_of_data_sources_only_what_tells_their_language_is_kept(grafana: Server) -> None:
    text = dict(fetch("grafana", grafana.url).documents)["grafana/datasources.json"]
    assert json.loads(text)["datasources"] == [{"id": 1, "uid": "prom", "name": "P", "type": "prometheus", "isDefault": True}]


def test_a_grafana_below_a_path_is_asked_below_it() -> None:
    inner = Grafana()
    with Server(lambda p, q, h: inner(p.removeprefix("/g"), q, h) if p.startswith("/g/") else Reply(404)) as server:
        got = fetch("grafana", f"{server.url}/g/")
    assert (got.ok, len(got.documents)) == (True, 11)


def test_a_uid_cannot_lead_elsewhere() -> None:
    """A uid is foreign text in our request's path and in our document's path."""
    with Server(Grafana({"../../admin?x=1#y": dashboard("z"), "a/b": dashboard("y")})) as server:
        got = fetch("grafana", server.url)
    assert [p for p in paths(got) if "dashboards" in p] == [
        "grafana/dashboards/%2E%2E/%2E%2E/admin%3Fx%3D1%23y.json",
        "grafana/dashboards/a/b.json",
    ]


def test_a_dashboard_of_the_v2_schema_is_fetched_where_grafana_says(grafana: Server) -> None:
    there = "/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/c"
    grafana.faults["/api/dashboards/uid/c"] = [as_json({"message": f"dashboard api version not supported, use {there} instead"}, 406)]
    grafana.faults[there] = [as_json({"kind": "Dashboard", "spec": {"elements": {}}})]
    got = fetch("grafana", grafana.url)
    assert got.failed == ()
    assert json.loads(dict(got.documents)["grafana/dashboards/c.json"])["kind"] == "Dashboard"


@pytest.mark.parametrize("message", ["use http://evil/apis/x instead", "use /apis/dashboard.grafana.app/v2/../../admin instead", ""])
def test_no_other_hint_of_grafana_is_followed(grafana: Server, message: str) -> None:
    grafana.faults["/api/dashboards/uid/c"] = [as_json({"message": message}, 406)]
    got = fetch("grafana", grafana.url)
    assert [f.path for f in got.failed] == ["grafana/dashboards/c.json"]


def test_without_the_provisioning_permission_rules_come_from_the_ruler(grafana: Server) -> None:
    grafana.faults["/api/v1/provisioning/alert-rules"] = [as_json({}, 403)]
    got = fetch("grafana", grafana.url)
    assert got.ok
    assert [p for p in paths(got) if "alert" in p] == ["grafana/alert-rules/F.json"]


def test_a_grafana_without_alerting_has_no_alert_rules() -> None:
    with Server(Grafana(alerting=False)) as server:
        got = fetch("grafana", server.url)
    assert got.ok
    assert not any("alert" in p for p in paths(got))


def test_where_alert_rules_are_not_found_though_alerting_is_on_the_source_has_failed(grafana: Server) -> None:
    for path in ("/api/v1/provisioning/alert-rules", "/api/ruler/grafana/api/v1/rules"):
        grafana.faults[path] = [as_json({}, 404)]
    assert "provisioning" in str(fetch("grafana", grafana.url).error)


def test_data_sources_come_from_the_settings_where_they_may_not_be_listed(grafana: Server) -> None:
    grafana.faults["/api/datasources"] = [as_json({}, 403)]
    text = dict(fetch("grafana", grafana.url).documents)["grafana/datasources.json"]
    assert json.loads(text)["datasources"] == [{"name": "P", "uid": "prom", "type": "prometheus", "isDefault": True}]


@pytest.mark.parametrize(
    ("scopes", "trusted_less"),
    [(("folders:*",), False), (("dashboards:*", "x"), False), (("folders:uid:a", "dashboards:uid:b"), True), ((), True)],
)
def test_a_token_that_sees_some_dashboards_only_lowers_trust(scopes: tuple[str, ...], trusted_less: bool) -> None:
    with Server(Grafana(scopes=scopes)) as server:
        got = fetch("grafana", server.url)
    assert got.ok
    assert bool(got.notes) is trusted_less


def test_a_grafana_that_does_not_say_what_a_token_may_see_is_taken_at_its_word(grafana: Server) -> None:
    grafana.faults["/api/access-control/user/permissions"] = [Reply(404)]
    got = fetch("grafana", grafana.url)
    assert (got.ok, got.notes) == (True, ())


def test_credentials_and_tenants_go_into_their_headers(grafana: Server, mimir: Server) -> None:
    fetch("grafana", grafana.url, SECRET, tenant="7")
    assert {(h.get("authorization"), h.get("x-grafana-org-id")) for _, _, h in grafana.asked} == {(f"Bearer {SECRET}", "7")}
    fetch("mimir", mimir.url, "pw", tenant="t1", user="me")
    assert {(h.get("authorization"), h.get("x-scope-orgid")) for _, _, h in mimir.asked} == {("Basic bWU6cHc=", "t1")}


def test_the_rules_of_a_prometheus_are_fetched_page_by_page_into_a_document_a_file(prometheus: Server) -> None:
    got = fetch("prometheus", prometheus.url)
    assert (got.ok, paths(got)) == (True, ["prometheus/rules/etc/rules/a.yml.json", "prometheus/rules/etc/rules/b.yml.json"])
    first = json.loads(got.documents[0][1])
    assert (first["status"], [g["name"] for g in first["data"]["groups"]]) == ("success", ["g0", "g2", "g4"])
    assert len(prometheus.asked) == 3


@pytest.mark.parametrize("pages", [True, False])
def test_a_server_that_knows_no_pages_gives_the_same(pages: bool) -> None:
    with Server(Prometheus(pages=pages)) as server:
        assert len(fetch("prometheus", server.url).documents) == 2


def test_the_same_rules_are_the_same_text_whatever_their_alerts_do(prometheus: Server) -> None:
    first = fetch("prometheus", prometheus.url)
    for group in prometheus.answer.groups:
        group["evaluationTime"] = group["rules"][0]["evaluationTime"] = time.time() + 9
        group["rules"][0] |= {"state": "firing", "alerts": [{"value": "1"}], "health": "err", "lastError": "x"}
    assert fetch("prometheus", prometheus.url) == first
    prometheus.answer.groups[0]["rules"][0]["query"] = "down"
    assert fetch("prometheus", prometheus.url) != first


def test_rules_that_are_reloaded_between_two_pages_are_read_again(prometheus: Server) -> None:
    good = prometheus.answer
    prometheus.answer = lambda p, q, h: Reply(400) if "group_next_token" in q and len(prometheus.asked) == 2 else good(p, q, h)
    got = fetch("prometheus", prometheus.url)
    assert (got.ok, len(got.documents)) == (True, 2)


def test_rules_that_are_reloaded_all_the_time_fail(prometheus: Server) -> None:
    good = prometheus.answer
    prometheus.answer = lambda p, q, h: Reply(400) if "group_next_token" in q else good(p, q, h)
    assert "reloaded" in str(fetch("prometheus", prometheus.url).error)


def test_rules_with_a_warning_are_kept_but_not_all_there_are() -> None:
    """Thanos answers for the stores that it reaches, and warns of the others."""
    with Server(Prometheus(warnings=("no answer of ruler-2",))) as server:
        got = fetch("prometheus", server.url)
    assert (got.ok, got.fault, len(got.documents)) == (False, "later", 2)
    assert "ruler-2" in str(got.error)


def test_the_rules_of_a_mimir_are_fetched_as_they_are_configured(mimir: Server) -> None:
    got = fetch("mimir", mimir.url, tenant="t1")
    assert (got.ok, got.documents) == (True, (("mimir/rules.yaml", RULES_YAML.decode()),))


def test_another_prefix_is_asked_below_it() -> None:
    with Server(lambda p, q, h: Reply(200, RULES_YAML) if p == "/api/prom/config/v1/rules" else Reply(404)) as server:
        assert paths(fetch("mimir", server.url, prefix="/api/prom")) == ["mimir/rules.yaml"]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_without_configured_rules_a_mimir_is_asked_for_those_that_run(mimir: Server, status: int) -> None:
    mimir.faults["/prometheus/config/v1/rules"] = [Reply(status)]
    got = fetch("mimir", mimir.url, tenant="t1")
    assert (got.ok, len(got.documents)) == (True, 2)


def test_rules_that_are_too_many_for_one_document_are_fetched_in_several(mimir: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.sources.MAX_YAML", len(RULES_YAML) - 1)
    assert paths(fetch("mimir", mimir.url, tenant="t1")) == ["mimir/rules/etc/rules/a.yml.json", "mimir/rules/etc/rules/b.yml.json"]


def test_yaml_whose_end_is_not_known_is_not_taken(mimir: Server) -> None:
    """A connection that breaks would look like fewer rules."""
    mimir.faults["/prometheus/config/v1/rules"] = [Reply(200, RULES_YAML, length=-1)]
    got = fetch("mimir", mimir.url, tenant="t1")
    assert (got.documents, got.fault) == ((), "theirs")


def test_the_names_that_a_victoriametrics_saw_queried_are_one_document() -> None:
    with Server(VictoriaMetrics()) as server:
        got = fetch("victoriametrics", server.url)
    assert (got.ok, paths(got)) == (True, ["victoriametrics/metric_names_stats.json"])
    assert [r["metricName"] for r in json.loads(got.documents[0][1])["records"]] == ["up", "never", "down"]


def test_names_that_are_cut_off_are_not_known_whole() -> None:
    with Server(VictoriaMetrics(most=2)) as server:
        got = fetch("victoriametrics", server.url)
    assert "2 of 3 names" in str(got.error)


def test_the_digest_of_names_changes_with_a_name_that_was_not_queried_before() -> None:
    from controlplane.handlers import usage_digest

    def digest(**counts: int) -> str:
        with Server(VictoriaMetrics(counts)) as server:
            return usage_digest([(f"s/{p}", t) for p, t in fetch("victoriametrics", server.url).documents])

    assert digest(up=1, down=2, idle=0) == digest(down=9, up=7, idle=0)
    assert digest(up=1, idle=0) != digest(up=1, idle=1)


# --- one failure at a time --------------------------------------------------------------------------------------------------------------

BOMB = gzip.compress(b"[" + b" " * 10_000_000 + b"]")
GZIP = (("content-encoding", "gzip"),)
FAULTS: dict[str, tuple[Reply, str]] = {
    "401": (Reply(401), "theirs"),
    "403": (Reply(403), "theirs"),
    "404": (Reply(404), "theirs"),
    "418": (Reply(418), "theirs"),
    "500": (Reply(500), "later"),
    "502": (Reply(502), "later"),
    "503": (Reply(503), "later"),
    "429": (Reply(429, headers=(("retry-after", "0"),)), "later"),
    "429 for long": (Reply(429, headers=(("retry-after", "86400"),)), "later"),
    "503 until a date": (Reply(503, headers=(("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT"),)), "later"),
    "204": (Reply(204), "theirs"),
    "empty": (Reply(200, b""), "theirs"),
    "html": (Reply(200, b"<html>log in</html>"), "theirs"),
    "cut off": (Reply(200, b'{"status": "success", "data": {"groups": [{"name'), "theirs"),
    "cut off by the connection": (Reply(200, b'{"a": 1', length=5000), "later"),
    "cut off and closed": (Reply(200, b'{"status": "success", "data": {"gro', length=-1), "theirs"),
    "another shape": (Reply(200, b'"text"'), "theirs"),
    "a list of other things": (Reply(200, b"[1, 2]"), "theirs"),
    "deep": (Reply(200, b"[" * 90_000), "theirs"),
    "not utf-8": (Reply(200, b'{"x": "\xff"}'), "theirs"),
    "large": (Reply(200, b"[" + b" " * 300_000 + b"]"), "theirs"),
    "a bomb": (Reply(200, BOMB, GZIP), "theirs"),
    "damaged gzip": (Reply(200, b"\x1f\x8bnothing", GZIP), "theirs"),
    "gzip that ends early": (Reply(200, gzip.compress(b"{}" * 999)[:-8], GZIP), "theirs"),
    "a coding nobody asked for": (Reply(200, b"{}", (("content-encoding", "br"),)), "theirs"),
    "late": (Reply(200, b"[]", wait=0.5), "later"),
    "slow": (Reply(200, b"[" + b" " * 100 + b"]", drip=0.05), "later"),
    "elsewhere": (Reply(302, headers=(("location", "http://127.0.0.2:1/x"),)), "theirs"),
    "another port": (Reply(302, headers=(("location", "http://127.0.0.1:1/x"),)), "theirs"),
    "a file": (Reply(302, headers=(("location", "file:///etc/passwd"),)), "theirs"),
    "nowhere": (Reply(302), "theirs"),
    "no url": (Reply(302, headers=(("location", "http://[::1"),)), "later"),
    "no name": (Reply(302, headers=(("location", "http://xn--a/"),)), "theirs"),
    "no http": (Reply(200, b"", (("content-length", "x"),), length=-1), "later"),
}
LISTS: list[tuple[SourceKind, str]] = [
    ("grafana", "/api/search"),
    ("grafana", "/api/library-elements"),
    ("prometheus", "/api/v1/rules"),
    ("mimir", "/prometheus/config/v1/rules"),
    ("victoriametrics", "/api/v1/status/metric_names_stats"),
]
NOT_A_FAULT = {("/api/library-elements", "404"), *(("/prometheus/config/v1/rules", n) for n in ("403", "404"))}
YAML = {"empty", "html", "cut off", "another shape", "a list of other things", "deep"}
"""Of text that is the analyzer's to parse, whether it parses is the analyzer's to say."""


def serves(kind: SourceKind) -> Server:
    return Server({"grafana": Grafana(), "prometheus": Prometheus(), "mimir": Mimir(), "victoriametrics": VictoriaMetrics()}[kind])


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(("kind", "path"), LISTS)
def test_a_list_that_cannot_be_fetched_whole_is_a_source_that_failed(kind: SourceKind, path: str, name: str) -> None:
    if (path, name) in NOT_A_FAULT or (kind == "mimir" and name in YAML):
        return
    reply, fault = FAULTS[name]
    with serves(kind) as server:
        server.faults[path] = [reply]
        got = fetch(kind, server.url, tenant="t1")
    assert not got.ok
    assert got.fault == fault, got.error
    assert path in str(got.error)


@pytest.mark.parametrize("name", FAULTS)
def test_a_document_that_cannot_be_fetched_is_named_and_the_others_are_there(grafana: Server, name: str) -> None:
    grafana.faults["/api/dashboards/uid/c"] = [FAULTS[name][0]]
    got = fetch("grafana", grafana.url)
    assert got.ok, got.error
    assert [f.path for f in got.failed] == ["grafana/dashboards/c.json"]
    assert len(got.documents) == 10
    assert "/api/dashboards/uid/c" in got.failed[0].reason


@pytest.mark.parametrize("name", [n for n in FAULTS if FAULTS[n][1] == "theirs"])
def test_data_sources_that_cannot_be_read_are_a_document_that_is_missing(grafana: Server, name: str) -> None:
    for path in ("/api/datasources", "/api/frontend/settings"):
        grafana.faults[path] = [FAULTS[name][0]]
    got = fetch("grafana", grafana.url)
    assert got.ok
    assert [f.path for f in got.failed] == ["grafana/datasources.json"]


@pytest.mark.parametrize("name", ["500", "503", "429", "late", "cut off by the connection", "slow"])
def test_what_passes_is_tried_again(prometheus: Server, name: str) -> None:
    good = prometheus.answer("/api/v1/rules", {}, {})
    prometheus.faults["/api/v1/rules"] = [FAULTS[name][0], good]
    got = fetch("prometheus", prometheus.url)
    assert (got.ok, len(prometheus.asked)) == (True, 2)


@pytest.mark.parametrize("name", ["401", "404", "html", "large", "elsewhere", "429 for long", "503 until a date"])
def test_what_does_not_pass_is_not_tried_again(prometheus: Server, name: str) -> None:
    prometheus.faults["/api/v1/rules"] = [FAULTS[name][0]]
    fetch("prometheus", prometheus.url)
    assert len(prometheus.asked) == 1


def test_tries_are_bounded_and_further_and_further_apart(prometheus: Server) -> None:
    prometheus.faults["/api/v1/rules"] = [Reply(503)]
    started = time.monotonic()
    assert not fetch("prometheus", prometheus.url, limits=replace(LIMITS, tries=4, backoff=0.1)).ok
    assert len(prometheus.asked) == 4
    assert 0.1 + 0.2 + 0.4 <= time.monotonic() - started < 3


def test_a_retry_after_is_waited_for(prometheus: Server) -> None:
    good = prometheus.answer("/api/v1/rules", {}, {})
    prometheus.faults["/api/v1/rules"] = [Reply(429, headers=(("retry-after", "1"),)), good]
    started = time.monotonic()
    assert fetch("prometheus", prometheus.url, limits=replace(LIMITS, longest_wait=2)).ok
    assert time.monotonic() - started >= 1


def test_many_documents_that_fail_in_a_row_are_one_failure(grafana: Server) -> None:
    for uid in "abcde":
        grafana.faults[f"/api/dashboards/uid/{uid}"] = [Reply(401)]
    got = fetch("grafana", grafana.url, limits=replace(LIMITS, concurrency=1))
    assert (got.ok, got.fault) == (False, "theirs")
    assert "3 documents failed one after another" in str(got.error)
    assert "/api/dashboards/uid/d" not in grafana.paths()


def test_requests_go_side_by_side_but_not_too_many() -> None:
    slow = Grafana({f"d{k}": dashboard("x") for k in range(40)})
    with Server(lambda p, q, h: replace(slow(p, q, h), wait=0.02)) as server:
        got = fetch("grafana", server.url, limits=replace(LIMITS, concurrency=8, page=100))
    assert got.ok
    assert 4 <= server.most_at_once <= 8


def test_a_list_that_every_page_repeats_is_not_known_whole(grafana: Server) -> None:
    hits = [{"uid": u, "type": "dash-db"} for u in "ab"]
    grafana.faults["/api/search"] = [as_json(hits)]
    assert "cut off" in str(fetch("grafana", grafana.url).error)
    assert fetch("grafana", grafana.url, limits=replace(LIMITS, page=3)).ok


def test_a_list_without_end_ends(grafana: Server) -> None:
    good = grafana.answer
    grafana.answer = lambda p, q, h: as_json([{"uid": f"u{q['page']}"}]) if p == "/api/search" else good(p, q, h)
    assert "more than 5 pages" in str(fetch("grafana", grafana.url, limits=replace(LIMITS, pages=5)).error)


def test_library_elements_that_are_fewer_than_said_are_not_known_whole(grafana: Server) -> None:
    good = grafana.answer
    short = {"result": {"totalCount": 9, "elements": [{"uid": "l", "name": "L", "model": {}}]}}
    grafana.answer = lambda p, q, h: as_json(short) if p == "/api/library-elements" else good(p, q, h)
    got = fetch("grafana", grafana.url)
    assert "1 of 9 elements" in str(got.error)
    assert "grafana/library-elements/l.json" in paths(got)


def test_all_answers_together_are_bounded(grafana: Server) -> None:
    got = fetch("grafana", grafana.url, limits=replace(LIMITS, all_bodies=1_000))
    assert not got.ok
    assert "together" in str(got.error) + str(got.failed)


def test_a_fetch_ends_in_time_with_what_it_has(grafana: Server) -> None:
    for uid in "cde":
        grafana.faults[f"/api/dashboards/uid/{uid}"] = [Reply(200, b"{}", wait=3)]
    started = time.monotonic()
    got = fetch("grafana", grafana.url, limits=replace(LIMITS, total=0.8, read=9, request=9))
    assert time.monotonic() - started < 2.5
    assert (got.ok, got.fault) == (False, "later")
    assert "grafana/dashboards/a.json" in paths(got)


# --- where it may go ------------------------------------------------------------------------------------------------------------------

FORBIDDEN = [
    "169.254.169.254", "169.254.0.1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200", "fd00:ec2::254", "::ffff:0.0.0.0", "febf::1",
]  # fmt: skip
ALLOWED = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "8.8.8.8",
    "2001:db8::1",
    "fd00::1",
    "169.253.255.255",
    "169.255.0.1",
    "100.100.100.199",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_never_asked(address: str) -> None:
    assert forbidden(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_an_address_that_may_be_asked(address: str) -> None:
    assert not forbidden(address)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "0",
        "0.0.0.0",
    ],
)
def test_every_spelling_of_such_an_address_is_refused_and_no_connection_is_made(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: connected.append(address))
    got = fetch("prometheus", f"http://{host}:80")
    assert (got.ok, got.fault) == (False, "theirs"), got.error
    assert connected == []


def resolved(*answers: list[str]) -> tuple[Any, list[str]]:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolver, asked


def test_a_name_goes_to_the_address_that_was_judged(prometheus: Server) -> None:
    """A name server that changes its mind between the judgement and the connection changes nothing: there is one question a request."""
    resolver, asked = resolved(["127.0.0.1"], ["169.254.169.254"])
    source = Source(OrgId("a"), SourceId("s"), "prometheus", f"http://prom.example:{prometheus.port}", NOW)
    got = asyncio.run(LiveSources(limits=LIMITS, resolver=resolver)(source, SECRET))
    assert asked == ["prom.example", "prom.example"]
    assert (got.ok, got.fault, len(prometheus.asked)) == (False, "theirs", 1)
    assert prometheus.asked[0][2]["host"] == f"prom.example:{prometheus.port}"


def test_a_name_with_one_bad_address_is_refused(prometheus: Server) -> None:
    resolver, _ = resolved(["127.0.0.1", "169.254.169.254"])
    source = Source(OrgId("a"), SourceId("s"), "prometheus", f"http://prom.example:{prometheus.port}", NOW)
    assert not asyncio.run(LiveSources(limits=LIMITS, resolver=resolver)(source, None)).ok
    assert prometheus.asked == []


def test_the_next_address_is_tried_when_nobody_listens_at_the_first(prometheus: Server) -> None:
    resolver, _ = resolved(["::1", "127.0.0.1"])
    source = Source(OrgId("a"), SourceId("s"), "prometheus", f"http://localhost:{prometheus.port}", NOW)
    assert asyncio.run(LiveSources(limits=LIMITS, resolver=resolver)(source, None)).ok


def test_a_redirect_to_another_host_is_not_followed_and_the_token_stays(prometheus: Server) -> None:
    with Server(Prometheus()) as other:
        prometheus.faults["/api/v1/rules"] = [Reply(307, headers=(("location", f"{other.url}/api/v1/rules"),))]
        got = fetch("prometheus", prometheus.url, SECRET)
        assert "another host" in str(got.error)
        assert other.asked == []


def test_a_redirect_on_the_same_host_is_followed(prometheus: Server) -> None:
    prometheus.faults["/api/v1/rules"] = [Reply(301, headers=(("location", "/moved"),))]
    prometheus.faults["/moved"] = [as_json({"status": "success", "data": {"groups": [rule_group("g")]}})]
    assert fetch("prometheus", prometheus.url).ok


def test_redirects_in_a_circle_end(prometheus: Server) -> None:
    prometheus.faults["/api/v1/rules"] = [Reply(302, headers=(("location", "/api/v1/rules"),))]
    assert "redirected more than" in str(fetch("prometheus", prometheus.url).error)
    assert len(prometheus.asked) == 6


def test_proxies_of_the_environment_are_not_used(prometheus: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch("prometheus", prometheus.url).ok


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        got = fetch("grafana", f"http://127.0.0.1:{taken.getsockname()[1]}", SECRET)
    assert (got.ok, got.fault) == (False, "later")
    assert "no connection" in str(got.error)


def test_a_name_that_does_not_exist_is_later() -> None:
    got = fetch("grafana", "http://nothing.invalid")
    assert (got.ok, got.fault) == (False, "later")
    assert "nothing.invalid" in str(got.error)


@pytest.mark.parametrize("url", ["http://a..b", "http://" + "a" * 300, "http://h:99999", "http://xn--a"])
def test_a_url_that_cannot_be_one_is_a_failed_fetch(url: str) -> None:
    assert not fetch("grafana", url).ok


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    subprocess.run([*made, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server(Prometheus())
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    with server, pytest.MonkeyPatch.context() as patch:
        url = f"https://localhost:{server.port}"
        got = fetch("prometheus", url, SECRET)
        assert (got.ok, got.fault, server.asked) == (False, "theirs", [])
        assert "not trusted" in str(got.error)
        patch.setenv("SSL_CERT_FILE", str(cert))
        patch.setattr("controlplane.outbound.trusted", trusted.__wrapped__)
        assert fetch("prometheus", url, SECRET).ok
        assert "not trusted" in str(fetch("prometheus", f"https://127.0.0.1:{server.port}", SECRET).error)


@pytest.mark.parametrize("name", ["401", "500", "html", "cut off", "elsewhere", "no http", "large", "late"])
def test_a_token_is_in_no_error_and_in_no_log(grafana: Server, caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.DEBUG)
    reply = replace(FAULTS[name][0], body=FAULTS[name][0].body + SECRET.encode())
    grafana.faults |= {"/api/search": [reply], "/api/datasources": [reply], "/api/frontend/settings": [reply]}
    got = fetch("grafana", grafana.url, SECRET)
    assert SECRET not in repr(got)
    assert SECRET not in caplog.text
    assert all(h["authorization"] == f"Bearer {SECRET}" for _, _, h in grafana.asked)


def test_a_query_log_without_a_folder_is_ours() -> None:
    got = fetch("query_log", "query.log")
    assert (got.ok, got.fault) == (False, "ours")
    assert "FLOWGATE_QUERY_LOGS" in str(got.error)


def test_a_query_log_is_read_from_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "query.log").write_text('{"params": {"query": "up"}}\n')
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "secret")
    live = LiveSources(tmp_path / "logs")
    source = Source(OrgId("a"), SourceId("s"), "query_log", "query.log", NOW)
    assert asyncio.run(live(source, None)).documents == (("query_log/0.log", '{"params": {"query": "up"}, "flowgate_count": 1}\n'),)
    for url in ("../secret", "link", "none", ".", "../logs/none"):
        got = asyncio.run(live(replace(source, url=url), None))
        assert (got.ok, got.fault, got.documents) == (False, "theirs", ()), url


def test_an_invalid_source_never_gets_that_far() -> None:
    from controlplane import handlers
    from tests.fakes import MemoryStore

    tools = handlers.Tools(MemoryStore(), None, Path(), Path(), str, lambda: NOW)
    with pytest.raises(Invalid):
        handlers.add_source(tools, Source(OrgId("a"), SourceId("s"), "grafana", "file:///x", NOW), None)
