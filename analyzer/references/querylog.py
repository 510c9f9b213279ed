"""Executed queries: the logs of Prometheus and of query frontends, statistics of VictoriaMetrics, Grafana's query history.

A log is read line by line. Lines of other messages are passed over; a line that is cut off may have held any query, and is said. What
rules ran is kept apart, with the rule's or its group's name: it counts where the rule is not among the documents. Sources: Prometheus "Query log" guide (`params`, `ts`,
`httpRequest` or `ruleGroup`; since 3.0 with `time`, `level`, `msg`); Mimir's and Cortex's `query stats` and Thanos's `slow query
detected` (request parameters as `param_…`, values of one joined by commas); Loki's `metrics.go` (`query`, `query_hash`, `query_type`).
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs, unquote

from analyzer.references.prometheus_rules import logql_evidence
from analyzer.references.queries import Found, Item, Json, JsonReader, Language, Query, TextReader, Unread
from analyzer.references.shapes import MAX_TEXT, at, first, listing, mapping, mappings, might_name, scalar, shown, unread
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, Operator, only

KIND = "query_log"
COUNT = "flowgate_count"
"""The field in which a log that was shortened (`controlplane.querylog`) says for how many equal lines a line stands."""
MAX_CHARACTERS = 128 * 2**20
"""Of their texts together."""
MAX_PARTS = 256
"""Of one line in a container's log, of 16 KiB each."""
MAX_COUNT = 10**12
MAX_DISTINCT = 100_000
"""Distinct queries kept of one log: at about 1 kB each, 100 MB."""

# Time


def time_of(value: Any) -> datetime | None:
    """A time as logs write it: RFC 3339, or a Unix time in s, ms, µs or ns."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return _unix(value)
    return _unix(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _unix(value: str | float) -> datetime | None:
    try:
        seconds = float(value)
        for _ in range(3):  # s are below 1e11 until the year 5138; ms, µs and ns of today are all above
            seconds /= 1_000 if abs(seconds) > 1e11 else 1
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


MAX_GAP = timedelta(days=1)
"""Between two logs: rotation is daily, and a quiet night between one's last line and the next one's first is no gap."""


def watched(founds: Iterable[Found]) -> timedelta | None:
    """For how long logs were kept, together: without the time between two of them, if that is no rotation. None: none says when."""
    total, end = timedelta(), None
    for first_, last in sorted(found.covers for found in founds if found.covers):
        if end is None or first_ > end + MAX_GAP:
            total += last - first_
        else:
            total += max(last - end, timedelta())
        end = last if end is None else max(end, last)
    return None if end is None else total


# Lines

_CRI = re.compile(r"(\d{4}-\d\d-\d\dT\S+) (?:stdout|stderr) ([FP]) ?(.*)", re.DOTALL)
"""How Kubernetes writes a container's lines; P is part of a line that goes on."""
_SIGNS = ("query", "match", "/label", "/series", "/api/v1/read")
_WRAPPED = ("log", "line", "message", "msg", "textPayload", "jsonPayload", "_source", "body", "MESSAGE")
"""Where Docker, logcli, Elasticsearch, Cloud Logging, OpenTelemetry and journald keep a line."""
_TIMES = ("ts", "time", "timestamp", "@timestamp", "t")
_PAIR = re.compile(r"(?<!\S)([^\s=\"]+)=(\"[^\"\\]*(?:\\.[^\"\\]*)*\"|[^\s\"]*)(?=\s|$)")
_OPEN_QUOTE = re.compile(r"=\"[^\"\\]*(?:\\.[^\"\\]*)*\\?$|query=$")
_JSON_QUERY = re.compile(r"\"(?:param_)?query\"\s*:")
_WHOLE_QUERY = re.compile(r"\"(?:param_)?query\"\s*:\s*(\"(?:[^\"\\]|\\.)*\")")
_LOG_LINE = re.compile(r"\{\"|\d{4}[-/]\d\d[-/]\d\d[T ]|\d+\.\d+\.\d+\.\d+ |[A-Z][a-z]{2} +\d+ |[\w.]+=\S* [\w.]+=|<\d+>|[IWEF]\d{4} ")

Fields = Mapping[str, Any]
Asked = tuple[str, str | None, tuple[str, ...]]
"""The path of a request, its query, its matchers."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Somebody asked, or (`rule`) a rule of this group did. Nothing asked: a read of what the log does not say. `count`: as often."""

    at: datetime | None
    asked: Asked | None = None
    rule: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no whole record; `query` where the whole text of its query is in it."""

    text: str
    query: str | None


def _payloads(lines: Iterable[str]) -> Iterator[tuple[int, str | None, str]]:
    """Each line without what a container runtime put before it: its number, the runtime's time, the text."""
    parts: list[str] = []
    number = 0
    for number, line in enumerate(lines, 1):
        found = _CRI.match(line) if line[:1].isdigit() else None
        if found is None:
            yield number, None, line.strip()
        elif found[2] == "P":
            parts.append(found[3].rstrip("\r\n"))
            if len(parts) > MAX_PARTS:
                yield number, found[1], "".join(parts)
                parts.clear()
        else:
            yield number, found[1], ("".join(parts) + found[3]).strip()
            parts.clear()
    if parts:
        yield number, None, "".join(parts)


def read_line(text: str, outer: str | None = None, depth: int = 3) -> Ran | Broken | None:
    """What one line says; None when it is about something else. `outer`: the time that its wrapping gives."""
    cut = text[:1] == "{" and text[-1:] != "}"
    if not cut and not any(sign in text for sign in _SIGNS):
        return None
    start = text.find('{"')
    if start >= 0 and "=" not in text[:start]:
        try:
            return _ran(mapping(json.loads(text[start:])), outer, depth)
        except (ValueError, RecursionError):
            return _broken(text)
    pairs = {key: _unquoted(value) if value[:1] == '"' else value for key, value in _PAIR.findall(text)}
    if "vm_slow_query_stats" in text:
        pairs.setdefault("query_hash", "")
    said = _ran(pairs, outer, 0) or (_ran(found, outer, 0) if (found := _url_fields(text)) else None)
    return said or (_broken(text) if cut or _JSON_QUERY.search(text) or _cut_off(text, pairs) else None)


def _cut_off(text: str, pairs: Fields) -> bool:
    """Whether a line of logfmt ends within a quoted value, or before the value of a query."""
    open_end = _OPEN_QUOTE.search(_PAIR.sub("", text)) is not None or (_ASKED_URL.search(text) is not None and "query=" in text)
    return open_end or "" in (pairs.get("query"), pairs.get("param_query"))


def _broken(text: str) -> Broken:
    found = _WHOLE_QUERY.search(text)
    return Broken(text, _unquoted(found[1]) if found else None)


def _unquoted(literal: str) -> str:
    if "\\" not in literal:
        return literal[1:-1]
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return literal[1:-1].replace('\\"', '"')  # Go writes `\x07`, which JSON does not know


def _ran(fields: Fields, outer: str | None, depth: int) -> Ran | Broken | None:
    """What a record says, or one that stands in it."""
    said = _record(fields, outer, depth)
    return replace(said, count=said.count * _times(fields[COUNT])) if COUNT in fields and isinstance(said, Ran) else said


def _times(value: Any) -> int:
    try:
        return min(max(int(value), 1), MAX_COUNT)
    except (ValueError, TypeError, OverflowError):
        return 1


def _record(fields: Fields, outer: str | None, depth: int) -> Ran | Broken | None:
    said = _said(fields, outer)
    if said is not None or depth == 0:
        return said
    outer = next((t for key in _TIMES if isinstance(t := fields.get(key), str)), outer)
    for key in _WRAPPED:
        inner = fields.get(key)
        if isinstance(inner, str) and (said := read_line(inner.strip(), outer, depth - 1)) is not None:
            return said
        if isinstance(inner, dict) and (said := _ran(mapping(cast("object", inner)), outer, depth - 1)) is not None:
            return said
    return None


# What a record says

_ASKED_URL = re.compile(r"(/api/v1/(?:query|query_range|query_exemplars|series|labels|label/[^/\s?\"]+/values))\?([^\s\"'<>]*)")
_LABEL_VALUES = re.compile(r"/label/([^/\s?\"]+)/values")
_QUERY_PATH = re.compile(r"/(?:query|query_range|query_exemplars)$")
_OF_LOGS = ("/loki/", "/logs/")
_OWN_QUERY = frozenset({"query_hash", "query_type", "range_type", "returned_lines", "start_ms", "time_taken", "rule_name"})
"""Beside `query`, signs of a query engine's log and not of an application's that logs its SQL."""
_MESSAGES = ("query stats", "slow query detected")
_RULER_OF_LOKI = "evaluating rule"


def _said(fields: Fields, outer: str | None) -> Ran | Broken | None:
    when = _when(fields) or time_of(outer)
    if (rule := _rule_of(fields)) is not None:
        text = scalar(at(fields.get("params"), "query")) or scalar(fields.get("query"))
        return Ran(when, ("/loki/" if fields.get("msg") == _RULER_OF_LOKI else "", text, ()) if text else None, rule)
    path = scalar(fields.get("path")) or scalar(at(fields.get("httpRequest"), "path")) or ""
    if path.endswith("/api/v1/read"):
        matchers = tuple(str(v) for k, v in fields.items() if str(k).startswith("param_matchers"))
        return Ran(when, (path, None, matchers) if matchers else None)
    asked = _asked(fields, path)
    if asked is None and scalar(fields.get("msg")) in _MESSAGES and (not path or _QUERY_PATH.search(path)):
        return Broken(shown(dict(fields)), None)
    return asked and Ran(when, asked)


def _when(fields: Fields) -> datetime | None:
    for key in _TIMES:
        if key in fields and (found := time_of(fields[key])) is not None:
            return found
    return None


def _rule_of(fields: Fields) -> str | None:
    """The group of the rule that ran, if a rule did: Prometheus names it, Mimir and Loki log it as the ruler's."""
    if "ruleGroup" in fields:
        return scalar(at(fields["ruleGroup"], "name")) or "rules"
    ruler = "query" in fields and (fields.get("component") == "ruler" or fields.get("msg") == _RULER_OF_LOKI)
    return scalar(fields.get("rule_name")) or "rules" if ruler else None


def _asked(fields: Fields, path: str) -> Asked | None:
    text = scalar(at(fields.get("params"), "query")) or scalar(fields.get("param_query"))
    if (
        text is None
        and "query" in fields
        and (_OWN_QUERY & fields.keys() or (scalar(fields.get("caller")) or "").startswith("metrics.go:"))
    ):
        text, path = scalar(fields["query"]), path or ("/loki/" if "query_type" in fields else "")
    joined = first(dict(fields), "param_match[]", "param_match") if text is None else None
    matches = tuple(_split(joined)) if isinstance(joined, str) else ()
    explores = path.endswith(("/series", "/labels")) or _LABEL_VALUES.search(path) is not None
    return (path, text, matches) if text is not None or matches or explores else None


def _split(matches: str) -> Iterator[str]:
    """Selectors that were joined by commas; a comma in braces or quotes is theirs."""
    parts, depth = [""], 0
    for piece in re.findall(r"\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|.", matches, re.DOTALL):
        depth += (piece == "{") - (piece == "}")
        if piece == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return (part.strip() for part in parts if part.strip())


def _url_fields(text: str) -> Fields:
    """An access log's line as the fields of a frontend's; none where its address ends with the line, within brackets or an escape."""
    found = _ASKED_URL.search(text)
    if found is None or (found.end() == len(text) and not _balanced(found[2])):
        return {}
    params = parse_qs(found[2])
    query = {"param_query": params["query"][0]} if "query" in params else {}
    return {"path": found[1], **query, "param_match[]": ",".join(params.get("match[]", []))}


def _balanced(encoded: str) -> bool:
    text = unquote(encoded)
    return all(text.count(o) == text.count(c) for o, c in ("()", "[]", "{}")) and text.count('"') % 2 == 0 and not re.search(r"%.?$", text)


def _queries(asked: Asked, rule: str | None, where: str) -> Iterator[Query]:
    path, text, matches = asked
    logs = any(part in path for part in _OF_LOGS)
    if text is not None:
        yield Query(_language(text, logs), "executed" if rule is None else "evaluated", where, text, rule)
    elif path.endswith("/api/v1/read"):
        yield from (Query("promql", "executed", where, m) for m in matches)
    elif not logs:
        yield from _explored(path, matches, where)


def _language(text: str, logs: bool = False) -> Language:
    return "logql" if logs or logql_evidence(text) == "certain" else "promql"


def _explored(path: str, matches: tuple[str, ...], where: str) -> Iterator[Query]:
    """A look at series needs all of their labels, one at a label's values that label, one at names of labels or metrics none. Without
    matchers it is one at everything: that a label has values stays true if one metric keeps it; names alone are nobody's need."""
    label = _LABEL_VALUES.search(path)
    mentioned: frozenset[str] = frozenset()
    root: LabelSet = NO_LABEL
    operator: Operator = "exists"
    if label and label[1] != "__name__":
        root, mentioned = only(label[1]), frozenset({label[1]})
    elif not path.endswith("/labels") and not label:
        root, operator = EVERY_LABEL, "none"
    for match in matches:
        yield Query("promql", "explored", where, match, mentioned=mentioned, root=root, operator=operator)
    if mentioned and not matches:
        yield Query("names", "explored", where, path, expression=".*", mentioned=mentioned, root=root, operator=operator)


# A whole log

_SPACE_OR_STRING = re.compile(r"(\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z))|\s+", re.DOTALL)
_MAX_TOUCHES = 1_000


def normal(text: str) -> str:
    """A query with every run of white space outside strings as one space. A comment ends at its line, so one with `#` stays as it is."""
    return text if "#" in text else _SPACE_OR_STRING.sub(lambda m: m[1] or " ", text).strip()


@dataclass(slots=True)
class _Seen:
    query: Query
    count: int = 0
    last: datetime | None = None


Key = tuple[str, str, str | None, str, str, frozenset[str]]


class _Tally:
    """What a log has said so far: one entry for each distinct query, up to a cap."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._seen: dict[Key, _Seen] = {}
        self._of: dict[tuple[Asked, str | None], tuple[_Seen, ...]] = {}
        self._over = self._hidden = self._known = self._size = self._cached = 0
        self._rules: Counter[str] = Counter()
        self._broken: list[tuple[int, Broken]] = []
        self._broken_count = 0
        self._touches: dict[str, None] | None = {}
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, number: int, said: Ran | Broken) -> None:
        if isinstance(said, Broken):
            self._break(number, said)
            return
        self._known += 1
        if said.at is not None:
            if self._first is None or said.at < self._first:
                self._first = said.at
            if self._last is None or said.at > self._last:
                self._last = said.at
        if said.asked is not None:
            for seen in self._of.get((said.asked, said.rule)) or self._entries(number, said.asked, said.rule):
                seen.count += said.count
                if said.at is not None and (seen.last is None or said.at > seen.last):
                    seen.last = said.at
        elif said.rule is not None:
            self._rules[said.rule if len(self._rules) < _MAX_TOUCHES else "others"] += said.count
        else:
            self._hidden += 1

    def _entries(self, number: int, asked: Asked, rule: str | None) -> tuple[_Seen, ...]:
        found: list[_Seen] = []
        for query in _queries(asked, rule, f"line {number}"):
            key = (query.language, query.role, query.rule, normal(query.text), query.operator, query.mentioned)
            if key not in self._seen and (len(self._seen) >= self._cap or self._size > MAX_CHARACTERS):
                self._over += 1
            else:
                self._size += 0 if key in self._seen else 2 * len(query.text)
                found.append(self._seen.setdefault(key, _Seen(query)))
        if len(self._of) >= 2 * self._cap or self._cached > MAX_CHARACTERS:
            self._of.clear()  # many spellings of the same queries; it only saves time
            self._cached = 0
        self._cached += len(asked[1] or "") + sum(map(len, asked[2]))
        self._of[asked, rule] = tuple(found)
        return self._of[asked, rule]

    def _break(self, number: int, said: Broken) -> None:
        self._broken_count += 1
        if not self._broken:
            self._broken.append((number, said))
        touches = might_name(said.query) if said.query else ()
        if self._touches is not None:
            self._touches.update(dict.fromkeys(touches))
            if not touches or len(self._touches) > _MAX_TOUCHES:
                self._touches = None

    def found(self) -> Found | None:
        if not self._known:
            return None
        queries = [replace(s.query, count=s.count, last_seen=s.last) for s in self._seen.values()]
        covers = (self._first, self._last) if self._first is not None and self._last is not None else None
        return Found(KIND, "", "Executed queries", (*queries, *self._unread()), covers=covers)

    def _unread(self) -> Iterator[Unread]:
        if self._rules:
            named = ", ".join(list(self._rules)[:20])
            yield Unread(
                "rules",
                named,
                f"{self._rules.total()} evaluations of rules whose queries are not in the log: rules are read where they are given",
                narrowing=True,
            )
        if self._over:
            yield Unread("log", "", f"more distinct queries than are kept, {len(self._seen)}: {self._over} requests are left out")
        if self._hidden:
            yield Unread("log", "", f"{self._hidden} remote reads of what the log does not say")
        for number, said in self._broken:
            reason = f"{self._broken_count} broken lines, the first is line {number}"
            yield Unread(f"line {number}", said.text[:MAX_TEXT], reason, tuple(self._touches or ()))


def read_lines(lines: Iterable[str], cap: int = MAX_DISTINCT) -> Found | None:
    """The distinct queries of a log, each with its count and when it ran last; None when no line is of a query."""
    tally = _Tally(cap)
    for number, outer, text in _payloads(lines):
        if (said := read_line(text, outer)) is not None:
            tally.add(number, said)
    return tally.found()


def read_log(text: str) -> Found | None:
    """A whole log as text, if most of its first lines look like a log's. (A YAML of many documents may quote a request, too.)"""
    if not any(sign in text for sign in _SIGNS):
        return None
    return read_lines(io.StringIO(text.lstrip("\ufeff"))) if _begins_as_log(text) else None


def _begins_as_log(text: str) -> bool:
    head = [line for line in text[:100_000].lstrip("\ufeff").split("\n")[:50] if line.strip()][:10]
    return sum(_LOG_LINE.match(line) is not None for line in head) * 2 >= len(head)


def is_log(head: str) -> bool:
    """Whether a text that begins so is a log of executed queries: one of its whole lines must be of one, since lines may be documents."""
    return _begins_as_log(head) and read_lines(io.StringIO(head.rpartition("\n")[0])) is not None


# One JSON object


def read_log_object(document: Json) -> Found | None:
    """A log of one line."""
    marks = "param_query" in document or (
        isinstance(at(document, "params", "query"), str) and {"ts", "time", "httpRequest"} & document.keys()
    )
    said = _said(document, None) if marks else None
    if said is None:
        return None
    tally = _Tally(MAX_DISTINCT)
    tally.add(1, said)
    return tally.found()


_TOP = ("topByCount", "topByAvgDuration", "topBySumDuration", "topByAvgMemoryUsage")


def read_top_queries(document: Json) -> Found | None:
    """`/api/v1/status/top_queries` of VictoriaMetrics: the most frequent and the slowest queries, not all of them."""
    if not any(isinstance(document.get(key), list) for key in _TOP):
        return None
    counts: dict[str, int] = {}
    items: list[Item] = []
    for entry in (e for key in _TOP for e in listing(document.get(key))):
        text, count = scalar(mapping(entry).get("query")), mapping(entry).get("count")
        if text is None:
            items.append(unread("top_queries", entry, "an entry without a query"))
        else:
            counts[text] = max(counts.get(text, 1), count if isinstance(count, int) else 1)
    items += (Query("promql", "executed", "top_queries", text, count=count) for text, count in counts.items())
    items.append(Unread("top_queries", "", "only the top queries are listed", narrowing=True))
    return Found(KIND, "", "Top queries", tuple(items))


def read_metric_names_stats(document: Json) -> Found | None:
    """`/api/v1/status/metric_names_stats` of VictoriaMetrics: how often each metric was queried, but not by what: any label may be read."""
    records = document.get("records")
    if not isinstance(records, list) or not (
        "statsCollectedSince" in document or any("queryRequestsCount" in r for r in mappings(records))
    ):
        return None
    items = [item for record in listing(cast("object", records)) if (item := _queried(record)) is not None]
    times = [t for t in (time_of(document.get("statsCollectedSince")), *(i.last_seen for i in items if isinstance(i, Query))) if t]
    return Found(KIND, "", "Queried metric names", tuple(items), covers=(min(times), max(times)) if times else None)


def _queried(record: Any) -> Item | None:
    found = mapping(record)
    name, count = scalar(found.get("metricName")), found.get("queryRequestsCount")
    if name is None or not isinstance(count, int):
        return unread("metric_names_stats", record, "a record without a name or a count")
    if count <= 0:
        return None
    last = time_of(found.get("lastRequestTimestamp"))
    return Query("names", "executed", "metric_names_stats", name, expression=re.escape(name), count=count, last_seen=last)


_SOURCES: Mapping[str, Language] = {"prometheus": "promql", "victoriametrics": "promql", "loki": "logql", "tempo": "traceql"}


def read_query_history(document: Json) -> Found | None:
    """`/api/query-history` of Grafana: what people ran in Explore."""
    history = at(document, "result", "queryHistory") if "result" in document else document.get("queryHistory")
    if not isinstance(history, list):
        return None
    items = [item for entry in listing(cast("object", history)) for item in _remembered(entry)]
    times = [i.last_seen for i in items if isinstance(i, Query) and i.last_seen]
    return Found(KIND, "", "Query history", tuple(items), covers=(min(times), max(times)) if times else None)


def _remembered(entry: Any) -> Iterator[Item]:
    found, when = mapping(entry), time_of(mapping(entry).get("createdAt"))
    if not isinstance(found.get("queries"), list):
        yield unread("query history", entry, "an entry without queries")
    for query in listing(found.get("queries")):
        item = _remembered_query(query)
        yield replace(item, last_seen=when) if isinstance(item, Query) else item


def _remembered_query(query: Any) -> Query | Unread:
    """Its data source decides; one that is not named is Prometheus's or Loki's if the query is an `expr`."""
    found = mapping(query)
    kind = scalar(at(found, "datasource", "type")) or ""
    language: Language | None = next((said for name, said in _SOURCES.items() if name in kind.lower()), None)
    text = scalar(first(found, "expr", "query") if language else found.get("expr") if not kind else None)
    if text is None:
        return unread(
            "query history", query, f"a query of {kind or 'an unknown source'}, which is not read", {"datasource", "refId", "key"}
        )
    return Query(language or _language(text), "executed", "query history", text)


TEXT_READERS: tuple[TextReader, ...] = (read_log,)
READERS: tuple[JsonReader, ...] = (read_query_history, read_top_queries, read_metric_names_stats, read_log_object)
