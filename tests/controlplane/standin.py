"""Servers that play Grafana, Prometheus and Mimir on a real socket, and every way in which one may answer badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Query = Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """`length` is what Content-Length says: None for what is true, -1 for nothing. `drip`: a byte at a time, so many seconds apart."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    wait: float = 0.0
    drip: float = 0.0


def as_json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), (("content-type", "application/json"),))


Answer = Callable[[str, Query, Mapping[str, str]], Reply]


@dataclass
class Server:
    """Answers by `answer`, except for paths with replies in `faults`: each is given in turn, and the last one for ever."""

    answer: Answer
    faults: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> ThreadingHTTPServer:
        return self._http

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def reply(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Reply:
        with self._lock:
            self.asked.append((path, query, headers))
            faults = self.faults.get(path)
            if faults:
                return faults.pop(0) if len(faults) > 1 else faults[0]
        return self.answer(path, query, headers)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                with server._lock:
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                try:
                    with suppress(OSError):
                        self._reply()
                finally:
                    with server._lock:
                        server.at_once -= 1

            def _reply(self) -> None:
                url = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
                reply = server.reply(unquote(url.path), query, {k.lower(): v for k, v in self.headers.items()})
                time.sleep(reply.wait)
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                if reply.length != -1:
                    self.send_header("content-length", str(len(reply.body) if reply.length is None else reply.length))
                if reply.length is not None:
                    self.close_connection = True
                    self.send_header("connection", "close")
                self.end_headers()
                for part in [reply.body] if not reply.drip else [reply.body[k : k + 1] for k in range(len(reply.body))]:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(reply.drip)

        return Handler


def page_of(items: list[Any], query: Query, size: str = "limit") -> list[Any]:
    count, number = int(query[size]), int(query.get("page", 1))
    return items[(number - 1) * count : number * count]


def dashboard(uid: str, expr: str = "up") -> dict[str, Any]:
    return {"uid": uid, "title": uid, "panels": [{"title": "p", "targets": [{"expr": expr, "datasource": {"uid": "prom"}}]}]}


@dataclass
class Grafana:
    """As much of Grafana's API as is asked for. `token`: what must be sent; None takes anybody."""

    dashboards: dict[str, dict[str, Any]] = field(default_factory=lambda: {u: dashboard(u, f"m_{u}") for u in ("a", "b", "c", "d", "e")})
    library: list[dict[str, Any]] = field(
        default_factory=lambda: [{"uid": f"l{k}", "name": f"L{k}", "model": {"type": "graph"}} for k in range(3)]
    )
    rules: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {
                "uid": f"r{k}",
                "title": f"R{k}",
                "folderUID": "f",
                "ruleGroup": "g/1" if k < 2 else "h",
                "condition": "A",
                "data": [{"refId": "A", "datasourceUid": "prom", "model": {"refId": "A", "expr": "up"}}],
            }
            for k in range(3)
        ]
    )
    token: str | None = None
    alerting: bool = True
    scopes: tuple[str, ...] = ("dashboards:*", "folders:*")

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> Reply:
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            return as_json({"message": "Unauthorized"}, 401)
        uid = path.removeprefix("/api/dashboards/uid/")
        if uid != path:
            found = self.dashboards.get(uid)
            return as_json({"meta": {"folderTitle": "F"}, "dashboard": found}) if found else as_json({"message": "not found"}, 404)
        answer = self._lists().get(path)
        return as_json(answer(query)) if answer else as_json({"message": "Not found"}, 404)

    def _lists(self) -> dict[str, Callable[[Query], Any]]:
        hits = [{"uid": u, "type": "dash-db", "title": u} for u in self.dashboards]
        sources = [
            {
                "id": 1,
                "uid": "prom",
                "name": "P",
                "type": "prometheus",
                "isDefault": True,
                "url": "http://in",
                "basicAuthPassword": "hidden",
            }
        ]
        made: dict[str, Callable[[Query], Any]] = {
            "/api/search": lambda q: page_of(hits, q),
            "/api/library-elements": lambda q: {
                "result": {"totalCount": len(self.library), "elements": page_of(self.library, q, "perPage")}
            },
            "/api/datasources": lambda _: sources,
            "/api/access-control/user/permissions": lambda _: {"dashboards:read": list(self.scopes)},
            "/api/frontend/settings": lambda _: {
                "unifiedAlertingEnabled": self.alerting,
                "defaultDatasource": "P",
                "datasources": {"P": {"uid": "prom", "type": "prometheus", "url": "/api/proxy/1"}},
            },
        }
        if self.alerting:
            made["/api/v1/provisioning/alert-rules"] = lambda _: self.rules
            made["/api/ruler/grafana/api/v1/rules"] = lambda _: {"F": [{"name": "g", "rules": [{"grafana_alert": {"data": []}}]}]}
        return made


def rule_group(name: str, file: str = "/etc/rules/a.yml", expr: str = "up == 0") -> dict[str, Any]:
    rule = {
        "type": "alerting",
        "name": "A",
        "query": expr,
        "labels": {},
        "alerts": [],
        "state": "inactive",
        "health": "ok",
        "evaluationTime": time.time(),
    }
    return {"name": name, "file": file, "interval": 60, "rules": [rule], "evaluationTime": time.time(), "lastEvaluation": "now"}


@dataclass
class Prometheus:
    """The rules API. `pages`: whether `group_limit` is known, as it is since 3.1."""

    groups: list[dict[str, Any]] = field(default_factory=lambda: [rule_group(f"g{k}", f"/etc/rules/{'ab'[k % 2]}.yml") for k in range(5)])
    pages: bool = True
    warnings: tuple[str, ...] = ()
    prefix: str = ""

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> Reply:
        if path != f"{self.prefix}/api/v1/rules":
            return Reply(404, b"404 page not found")
        start = int(query.get("group_next_token", 0)) if self.pages else 0
        end = start + int(query.get("group_limit", 10**9)) if self.pages else len(self.groups)
        data: dict[str, Any] = {"groups": self.groups[start:end]}
        if self.pages:
            data["groupNextToken"] = str(end) if end < len(self.groups) else ""
        return as_json({"status": "success", "data": data, **({"warnings": list(self.warnings)} if self.warnings else {})})


@dataclass
class VictoriaMetrics:
    """Statistics of the names that were queried; `most` is a limit of its own."""

    counts: dict[str, int] = field(default_factory=lambda: {"up": 3, "never": 0, "down": 1})
    most: int = 1000

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> Reply:
        if path != "/api/v1/status/metric_names_stats":
            return Reply(400, b"unsupported path")
        records = [{"metricName": n, "queryRequestsCount": c, "lastRequestTimestamp": int(time.time())} for n, c in self.counts.items()]
        shown = records[: min(self.most, int(query.get("limit", 1000)))]
        return as_json({"status": "success", "statsCollectedSince": 1, "statsCollectedRecordsTotal": len(records), "records": shown})


RULES_YAML = b"team-a:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0}\n"


@dataclass
class Mimir:
    """The ruler's configured rules of one tenant as YAML, and the rules API below the same prefix."""

    yaml: bytes | None = RULES_YAML
    tenant: str = "t1"

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> Reply:
        if headers.get("x-scope-orgid") != self.tenant:
            return Reply(401, b"no org id")
        if path == "/prometheus/config/v1/rules":
            return (
                Reply(404, b"no rule groups found") if self.yaml is None else Reply(200, self.yaml, (("content-type", "application/yaml"),))
            )
        return Prometheus(prefix="/prometheus")(path, query, headers)
