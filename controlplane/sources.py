"""Live sources → usage documents as text. What is in them is the analyzer's to say; here only lists are read, and pages turned.

One document that cannot be fetched is named and the rest goes on; a list that cannot be fetched whole makes the attempt not `ok`, because
then nobody knows what else exists. What changes without anybody changing a query (states of alerts, times of evaluation) is left out, so
that the same rules are the same text. Paths: `grafana/dashboards/UID.json`, `grafana/library-elements/UID.json`,
`grafana/alert-rules/FOLDER/GROUP.json`, `grafana/datasources.json`, `prometheus/rules/FILE.json`, `mimir/rules.yaml`,
`victoriametrics/metric_names_stats.json`, `query_log/N.log`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx

from controlplane import querylog
from controlplane.outbound import DEFAULT, Answer, Limits, Outbound, Resolve, as_json, refusal, resolve
from flowgate.errors import Broken, Busy, FlowgateError, NotFound, Refused, Unreachable
from flowgate.sources import FailedDocument, Fault, Fetched, Source

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveSources:
    """Reads any source once. `query_logs` is the one folder whose files may be read; None: no query log can be."""

    query_logs: Path | None = None
    limits: Limits = DEFAULT
    resolver: Resolve = resolve

    async def __call__(self, source: Source, token: str | None) -> Fetched:
        """Never raises for what the other side does or is: that is in the value. What was fetched before a failure is in it too."""
        basket = Basket()
        try:
            async with asyncio.timeout(self.limits.total):
                await self._read(source, token, basket)
        except TimeoutError:
            basket.fail(Unreachable(f"not done in {self.limits.total:.0f} s"))
        except FlowgateError as error:
            basket.fail(error)
        return basket.fetched()

    async def _read(self, source: Source, token: str | None, basket: Basket) -> None:
        if source.kind == "query_log":
            await self._read_log(source, basket)
            return
        async with self._connect(source, token) as http:
            await _READERS[source.kind](http, source, basket)

    async def _read_log(self, source: Source, basket: Basket) -> None:
        if self.query_logs is None:
            raise Broken("no folder of query logs is set: FLOWGATE_QUERY_LOGS")
        found = await asyncio.to_thread(querylog.read, self.query_logs, source.url)
        for number, text in enumerate(found.texts):
            basket.put(f"query_log/{number}.log", text)
        for path, reason in found.unread:
            basket.miss(f"query_log/{path}", reason)

    def _connect(self, source: Source, token: str | None) -> Outbound:
        headers = {_TENANT[source.kind]: source.tenant} if source.tenant is not None else {}
        auth = httpx.BasicAuth(source.user, token or "") if source.user is not None else None
        if auth is None and token is not None:
            headers["authorization"] = f"Bearer {token}"
        return Outbound(source.url, headers, self.limits, auth, self.resolver)


_TENANT = {"grafana": "x-grafana-org-id", "mimir": "x-scope-orgid", "prometheus": "x-scope-orgid", "victoriametrics": "x-scope-orgid"}


class Basket:
    """What one attempt collects."""

    def __init__(self) -> None:
        self._documents: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._errors: dict[str, FlowgateError] = {}
        self._notes: list[str] = []

    def put(self, path: str, text: str) -> None:
        self._documents[path] = text

    def miss(self, path: str, reason: str) -> None:
        self._failed[path] = reason

    def fail(self, error: FlowgateError) -> None:
        """A list is not known whole."""
        self._errors.setdefault(str(error), error)

    def note(self, text: str) -> None:
        """Something that lowers trust."""
        self._notes.append(text)

    def fetched(self) -> Fetched:
        failed = tuple(FailedDocument(p, r) for p, r in sorted(self._failed.items()))
        first = next(iter(self._errors.values()), None)
        error = "; ".join(self._errors) if self._errors else None
        return Fetched(tuple(sorted(self._documents.items())), failed, error, fault_of(first) if first else None, tuple(self._notes))


def fault_of(error: FlowgateError) -> Fault:
    if isinstance(error, Busy | Unreachable):
        return "later"
    return "theirs" if isinstance(error, Refused) else "ours"


Wanted = tuple[str, Callable[[], Awaitable[str]]]


async def each(wanted: Sequence[Wanted], basket: Basket, limits: Limits) -> None:
    """Fetches many documents side by side. Many failures in a row are one failure of the system: the rest is not tried."""
    left, failures = iter(wanted), 0
    last: FlowgateError | None = None

    async def work() -> None:
        nonlocal failures, last
        for path, get in left:
            if failures >= limits.in_a_row:
                return
            try:
                basket.put(path, await get())
                failures = 0
            except FlowgateError as error:
                basket.miss(path, str(error))
                failures, last = failures + 1, error

    await asyncio.gather(*(work() for _ in range(limits.concurrency)))
    if last is not None and failures >= limits.in_a_row:
        raise type(last)(f"{failures} documents failed one after another, the last: {last}")


def decoded(body: bytes, path: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refused(f"{path}: the answer is not UTF-8") from None


def dumped(value: Any) -> str:
    """The same value is the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def mapping(value: Any, path: str) -> Json:
    if not isinstance(value, dict):
        raise Refused(f"{path}: the answer has another shape")
    return cast("Json", value)


def listing(value: Any, path: str) -> list[Json]:
    """A list of mappings; one that holds anything else is not understood at all, for it may hide what was meant."""
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in cast("list[Any]", value)):
        raise Refused(f"{path}: the answer has another shape")
    return cast("list[Json]", value)


def named(value: Any, what: str) -> str:
    """A text that names something, such as a uid."""
    if not isinstance(value, str) or not value:
        raise Refused(f"{what} without a name")
    return value


def safe(text: str) -> str:
    """A foreign name as part of a path of ours."""
    return quote(text.strip("/"), safe="/ ").replace("..", "%2E%2E")


# --- Grafana -------------------------------------------------------------------------------------------------------------------------------


async def read_grafana(http: Outbound, source: Source, basket: Basket) -> None:
    for part in (_dashboards, _library_elements, _alert_rules, _datasources, _permissions):
        try:
            await part(http, basket)
        except Unreachable:
            raise  # the next part would only wait for the same
        except FlowgateError as error:
            basket.fail(error)


async def _dashboards(http: Outbound, basket: Basket) -> None:
    uids = await _dashboard_uids(http)
    await each([(f"grafana/dashboards/{safe(u)}.json", lambda u=u: _dashboard(http, u)) for u in uids], basket, http.limits)


async def _dashboard_uids(http: Outbound) -> list[str]:
    """Pages until one is empty: a server may give fewer than were asked for before its last page."""
    path, found = "/api/search", dict[str, None]()
    for page in range(1, http.limits.pages + 1):
        hits = listing(await http.json(path, type="dash-db", limit=http.limits.page, page=page), path)
        new = dict.fromkeys(named(h.get("uid"), f"{path}: a dashboard") for h in hits if h.get("type", "dash-db") == "dash-db")
        if not new.keys() - found.keys():
            if len(hits) >= http.limits.page:
                raise Refused(f"{path}: every page is the same, so the list may be cut off")
            return list(found)
        found |= new
    raise Refused(f"{path}: more than {http.limits.pages} pages")


_MOVED = re.compile(r"/apis/dashboard\.grafana\.app/v[0-9a-z]+/namespaces/[\w.-]+/dashboards/[\w.-]+")


async def _dashboard(http: Outbound, uid: str) -> str:
    """The API's envelope, whose `meta` names the folder. Dashboards of the v2 schema are refused there with 406 and the path to ask instead."""
    path = f"/api/dashboards/uid/{quote(uid, safe='')}"
    answer = await http.get(path)
    moved = _MOVED.search(answer.body.decode(errors="replace")) if answer.status == HTTPStatus.NOT_ACCEPTABLE else None
    if moved:
        path = moved.group()
        answer = await http.get(path)
    return _document(answer, path)


def _document(answer: Answer, path: str) -> str:
    if answer.status != HTTPStatus.OK:
        raise refusal(answer.status, path)
    mapping(as_json(answer.body, path), path)
    return decoded(answer.body, path)


async def _library_elements(http: Outbound, basket: Basket) -> None:
    """Library panels; before Grafana 8 there were none, and a dashboard that names one that is missing is the analyzer's to report."""
    path, found, total = "/api/library-elements", dict[str, Json](), 0
    for page in range(1, http.limits.pages + 1):
        try:
            result = mapping(mapping(await http.json(path, perPage=http.limits.page, page=page), path).get("result"), path)
        except NotFound:
            return
        new = {named(e.get("uid"), f"{path}: an element"): e for e in listing(result.get("elements") or [], path)}
        total = _count(result.get("totalCount"), len(new))
        if not new.keys() - found.keys():
            break
        found |= new
        if len(found) >= total:
            break
    for uid, element in found.items():
        basket.put(f"grafana/library-elements/{safe(uid)}.json", dumped({"result": element}))
    if len(found) < total:
        raise Refused(f"{path}: {len(found)} of {total} elements")


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


async def _alert_rules(http: Outbound, basket: Basket) -> None:
    """By the provisioning API, or by the ruler's where the token may not use that one. Neither: perhaps alerting is switched off."""
    provisioning, ruler = "/api/v1/provisioning/alert-rules", "/api/ruler/grafana/api/v1/rules"
    first = await http.get(provisioning)
    if first.status == HTTPStatus.OK:
        _provisioned(listing(as_json(first.body, provisioning), provisioning), basket)
        return
    second = await http.get(ruler)
    if second.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):  # it says 202 when it means 200
        folders = mapping(as_json(second.body, ruler), ruler)
        for folder, groups in folders.items():
            basket.put(f"grafana/alert-rules/{safe(folder)}.json", dumped({folder: listing(groups, ruler)}))
    elif first.status != HTTPStatus.NOT_FOUND or await _unified_alerting(http):
        raise refusal(first.status, provisioning)


async def _unified_alerting(http: Outbound) -> bool:
    return (await _frontend_settings(http)).get("unifiedAlertingEnabled") is not False


async def _frontend_settings(http: Outbound) -> Json:
    path = "/api/frontend/settings"
    return mapping(await http.json(path), path)


def _provisioned(rules: Iterable[Json], basket: Basket) -> None:
    """One document a rule group: a list of its rules, as the API lists all."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for rule in rules:
        groups.setdefault((str(rule.get("folderUID")), str(rule.get("ruleGroup"))), []).append(rule)
    for (folder, group), members in groups.items():
        basket.put(f"grafana/alert-rules/{safe(folder)}/{safe(group)}.json", dumped(members))


_KEPT = ("id", "uid", "name", "type", "isDefault")
"""Of a data source: enough to tell a query's language, and nothing of how it is reached."""


async def _datasources(http: Outbound, basket: Basket) -> None:
    """In the shape of a provisioning file. A token that may not list them can still read them in the frontend's settings, by name."""
    path, document = "/api/datasources", "grafana/datasources.json"
    try:
        answer = await http.get(path)
        if answer.status == HTTPStatus.OK:
            found = listing(as_json(answer.body, path), path)
        else:
            found = _of_settings(await _frontend_settings(http), refusal(answer.status, path))
    except Refused as error:
        basket.miss(document, str(error))
        return
    basket.put(document, dumped({"apiVersion": 1, "datasources": [{k: d[k] for k in _KEPT if k in d} for d in found]}))


def _of_settings(settings: Json, otherwise: FlowgateError) -> list[Json]:
    found = settings.get("datasources")
    if not isinstance(found, dict):
        raise otherwise
    default = settings.get("defaultDatasource")
    items = cast("Json", found).items()
    return [{"name": n, **mapping(d, "/api/frontend/settings"), "isDefault": n == default} for n, d in items]


_ALL = frozenset({"*", "dashboards:*", "dashboards:uid:*", "folders:*", "folders:uid:*"})


async def _permissions(http: Outbound, basket: Basket) -> None:
    """Grafana lists what the token may see and is silent about the rest. Where it says what the token may read, that is looked at; before
    its access control (8.x) nobody says."""
    path = "/api/access-control/user/permissions"
    try:
        scopes = mapping(await http.json(path), path).get("dashboards:read")
    except Refused:
        return
    if not isinstance(scopes, list) or not _ALL & set(map(str, cast("list[Any]", scopes))):
        basket.note("its token may read dashboards by name only, not `folders:*`: there may be others that it does not see")


# --- Prometheus, Thanos, vmalert, Mimir, Cortex, VictoriaMetrics --------------------------------------------------------------------------------------------


async def read_prometheus(http: Outbound, source: Source, basket: Basket) -> None:
    await _rules(http, f"{source.prefix or ''}/api/v1/rules", "prometheus", basket)


async def read_mimir(http: Outbound, source: Source, basket: Basket) -> None:
    """The configured rules as YAML; by the rules API where those are too many for one document, switched off, or none (404 says both)."""
    prefix = "/prometheus" if source.prefix is None else source.prefix
    path = f"{prefix}/config/v1/rules"
    answer = await http.get(path)
    if answer.status == HTTPStatus.OK and len(answer.body) <= MAX_YAML:
        text = decoded(answer.body, path)
        if not answer.delimited:
            raise Refused(f"{path}: the server does not say where its answer ends")
        basket.put("mimir/rules.yaml", text)
    elif answer.status in _ELSEWHERE:
        await _rules(http, f"{prefix}/api/v1/rules", "mimir", basket)
    else:
        raise refusal(answer.status, path)


MAX_YAML = 4 * 2**20
"""Below what the analyzer takes as one document."""
_ELSEWHERE = {HTTPStatus.OK, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


async def _rules(http: Outbound, path: str, folder: str, basket: Basket) -> None:
    """One document a rule file, in the shape of the API's answer."""
    try:
        groups, warnings = await _rule_groups(http, path)
    except _Reloaded:
        groups, warnings = await _rule_groups(http, path)
    files: dict[str, list[Json]] = {}
    for group in groups:
        files.setdefault(str(group.get("file", "")), []).append(_stable(group, path))
    for file, found in files.items():
        ordered = sorted(found, key=lambda g: str(g.get("name")))
        basket.put(f"{folder}/rules/{safe(file) or 'rules'}.json", dumped({"status": "success", "data": {"groups": ordered}}))
    if warnings:
        raise Busy(f"{path}: not all rules, the server warned: {'; '.join(map(str, warnings))[:300]}")


class _Reloaded(Refused):
    """The rules changed between two pages, and the token of the next page is void (Prometheus says 400)."""


async def _rule_groups(http: Outbound, path: str) -> tuple[list[Json], list[Any]]:
    """All groups, and warnings: Thanos answers with those that it could reach and warns of the others.

    Servers before 3.1 and others know no `group_limit`: they answer with all at once and without a token.
    """
    found: list[Json] = []
    warnings: list[Any] = []
    query: dict[str, str | int] = {"exclude_alerts": "true", "group_limit": http.limits.page}
    for _ in range(http.limits.pages):
        answer = await _rule_page(http, path, query)
        data = mapping(answer.get("data"), path)
        found += listing(data.get("groups") or [], path)
        warnings += cast("list[Any]", answer.get("warnings") or [])
        token = data.get("groupNextToken")
        if not token:
            return found, warnings
        query["group_next_token"] = str(token)
    raise Refused(f"{path}: more than {http.limits.pages} pages")


async def _rule_page(http: Outbound, path: str, query: Mapping[str, str | int]) -> Json:
    got = await http.get(path, **query)
    if got.status == HTTPStatus.BAD_REQUEST and "group_next_token" in query:
        raise _Reloaded(f"{path}: the rules were reloaded while they were read")
    if got.status != HTTPStatus.OK:
        raise refusal(got.status, path)
    answer = mapping(as_json(got.body, path), path)
    if answer.get("status") != "success":
        raise Refused(f"{path}: the answer is not a success")
    return answer


_VOLATILE = frozenset(
    {"alerts", "debug", "evaluationTime", "health", "lastError", "lastEvaluation", "lastSamples", "lastSeriesFetched", "state", "updates"}
)


def _stable(group: Json, path: str) -> Json:
    """Without what changes by itself; of Prometheus and of vmalert."""
    rules = [_without(rule) for rule in listing(group.get("rules") or [], path)]
    return {**_without(group), "rules": rules}


def _without(value: Mapping[str, Any]) -> Json:
    return {k: v for k, v in value.items() if k not in _VOLATILE}


async def read_victoriametrics(http: Outbound, source: Source, basket: Basket) -> None:
    """The names that were queried, with counts, since the server tracks them; the server's own limit is 1,000, so all are asked for."""
    path = f"{source.prefix or ''}/api/v1/status/metric_names_stats"
    answer = mapping(await http.json(path, limit=http.limits.page * http.limits.pages), path)
    records = listing(answer.get("records"), path)
    total = _count(answer.get("statsCollectedRecordsTotal"), len(records))
    basket.put("victoriametrics/metric_names_stats.json", dumped(answer))
    if len(records) < total:
        raise Refused(f"{path}: {len(records)} of {total} names")


_READERS: Mapping[str, Callable[[Outbound, Source, Basket], Awaitable[None]]] = {
    "grafana": read_grafana,
    "prometheus": read_prometheus,
    "mimir": read_mimir,
    "victoriametrics": read_victoriametrics,
}
