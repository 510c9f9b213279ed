"""Logs of executed queries: distinct queries with count and last use, whatever wrote and wrapped the lines; broken lines are said."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.queries import Found
from analyzer.references.querylog import READERS, normal, read_line, read_lines, read_log, time_of, watched
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, only
from tests.analyzer.foreign import DOCUMENTS, VALUES, one, queries, read, texts, unreads

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEEDS_QUOTES = r"[ =\"{}\\]"
TEXT = 'sum by (job) (rate(http_requests_total{job="a b"}[5m]))'


def prometheus(text: str = TEXT, ts: str = "2026-03-01T12:00:00.000Z", **more: Any) -> str:
    line = {"params": {"end": "e", "query": text, "start": "s", "step": 5}, "stats": {"timings": {}}, "ts": ts}
    return json.dumps({**line, **(more or {"httpRequest": {"clientIP": "::1", "method": "GET", "path": "/api/v1/query_range"}})})


def prometheus_3(text: str = TEXT) -> str:
    return json.dumps(
        {
            "time": "2026-03-01T12:00:00Z",
            "level": "INFO",
            "msg": "promql query logged",
            "params": {"query": text},
            "httpRequest": {"path": "/api/v1/query"},
        }
    )


def logfmt(**fields: str) -> str:
    """As Go's logfmt writes: quotes where there are spaces, quotes, `=`, or signs."""
    return " ".join(f"{k}={json.dumps(v) if re.search(NEEDS_QUOTES, v) or not v else v}" for k, v in fields.items())


def mimir(path: str = "/prometheus/api/v1/query_range", ts: str = "2026-03-01T12:00:00Z", **params: str) -> str:
    fields = {
        "ts": ts,
        "caller": "handler.go:3",
        "level": "info",
        "user": "t",
        "msg": "query stats",
        "component": "query-frontend",
        "path": path,
    }
    return logfmt(
        **fields,
        user_agent="Grafana/11 (x; y)",
        **{k if k.startswith("param_") else f"param_{k}": v for k, v in params.items()},
        param_step="60",
    )


def loki(text: str = '{app="x"} |= "a"', component: str = "frontend") -> str:
    return logfmt(
        level="info",
        ts="2026-03-01T12:00:00Z",
        caller="metrics.go:2",
        component=component,
        latency="fast",
        query=text,
        query_hash="1",
        query_type="filter",
    )


SOURCES = {
    "Prometheus 2": prometheus(),
    "Prometheus 3": prometheus_3(),
    "Mimir's frontend": mimir(query=TEXT),
    "Mimir's frontend as JSON": json.dumps(
        {"ts": "2026-03-01T12:00:00Z", "msg": "query stats", "path": "/prometheus/api/v1/query", "param_query": TEXT}
    ),
    "Thanos's slow queries": logfmt(
        ts="2026-03-01T12:00:00Z", level="info", msg="slow query detected", path="/api/v1/query", param_query=TEXT, time_taken="12s"
    ),
    "VictoriaMetrics's query stats": f"2026-03-01T12:00:00.000Z\tinfo\tstats.go:1\tvm_slow_query_stats type=range query={json.dumps(TEXT)} query_hash=1 start_ms=1 end_ms=2",
    "an access log": '10.0.0.1 - - [01/Mar/2026:12:00:00 +0000] "GET /api/v1/query?query=sum%20by%20(job)%20(rate(http_requests_total%7Bjob%3D%22a%20b%22%7D%5B5m%5D)) HTTP/1.1" 200 1',
}


@pytest.mark.parametrize("line", SOURCES.values(), ids=SOURCES.keys())
def test_an_executed_query_is_found_in_each_log(line: str) -> None:
    found = read_log(line + "\n")
    query = one(found)
    assert (query.text, query.language, query.role, query.root, query.count, query.where) == (
        TEXT,
        "promql",
        "executed",
        EVERY_LABEL,
        1,
        "line 1",
    )
    assert found is not None
    assert found.kind == "query_log"


DATED = [line for name, line in SOURCES.items() if name not in ("an access log", "VictoriaMetrics's query stats")]


@pytest.mark.parametrize("line", DATED)
def test_the_time_of_a_line_is_when_its_query_was_last_seen(line: str) -> None:
    found = read_log(line)
    assert one(found).last_seen == NOON
    assert found is not None
    assert found.covers == (NOON, NOON)


def docker(line: str) -> str:
    return json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-03-01T12:00:00.123Z"})


WRAPPINGS = {
    "Kubernetes": lambda line: f"2026-03-01T12:00:01.5Z stdout F {line}",
    "Docker": docker,
    "logcli": lambda line: json.dumps({"labels": {"app": "p"}, "line": line, "timestamp": "2026-03-01T12:00:00Z"}),
    "Cloud Logging": lambda line: json.dumps({"textPayload": line, "timestamp": "2026-03-01T12:00:00Z"}),
    "Elasticsearch": lambda line: json.dumps({"_source": {"message": line, "@timestamp": "2026-03-01T12:00:00Z"}}),
    "a prefix of kubectl": lambda line: f"[pod/prometheus-0/prometheus] {line}",
}


@pytest.mark.parametrize("wrapped", WRAPPINGS.values(), ids=WRAPPINGS.keys())
@pytest.mark.parametrize("line", [SOURCES["Prometheus 2"], SOURCES["Mimir's frontend"], SOURCES["Prometheus 3"]])
def test_lines_are_taken_out_of_what_carried_them(line: str, wrapped: Any) -> None:
    assert texts(read_lines([wrapped(line)])) == [TEXT]


def test_cloud_logging_keeps_json_as_json() -> None:
    assert texts(read_log(json.dumps({"jsonPayload": json.loads(prometheus()), "timestamp": "2026-03-01T12:00:00Z"}))) == [TEXT]


def test_a_line_that_the_runtime_cut_in_parts_is_one() -> None:
    line = prometheus()
    parts = [line[:20], line[20:60], line[60:]]
    log = [f"2026-03-01T12:00:00Z stdout {'F' if p is parts[-1] else 'P'} {p}\n" for p in parts]
    assert texts(read_lines(log)) == [TEXT]
    assert unreads(read_lines([prometheus(), *log[:2]]))


def test_the_time_of_the_wrapping_stands_in_for_a_missing_one() -> None:
    line = json.dumps({"params": {"query": TEXT}})
    assert one(read_log(docker(line))).last_seen == datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert one(read_lines([f"2026-03-01T12:00:00Z stdout F {line}"])).last_seen == NOON
    assert one(read_log(line)).last_seen is None


# Distinct queries


def test_queries_that_differ_in_white_space_alone_are_one() -> None:
    log = [
        prometheus(f"sum( up )\n  +{s}1", ts)
        for s, ts in ((" ", "2026-03-01T12:00:00Z"), ("\t\n", "2026-03-03T12:00:00Z"), ("  ", "2026-03-02T12:00:00Z"))
    ]
    found = read_lines([*log, prometheus('up{a="x  y"}'), prometheus('up{a="x y"}')])
    assert [(q.text, q.count) for q in queries(found)] == [("sum( up )\n  + 1", 3), ('up{a="x  y"}', 1), ('up{a="x y"}', 1)]
    assert queries(found)[0].last_seen == datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert found is not None
    assert found.covers == (NOON, datetime(2026, 3, 3, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a  +\n b", "a + b"),
        (" a ", "a"),
        ('a{b="c  d"}', 'a{b="c  d"}'),
        ("a #  x\n+ b", "a #  x\n+ b"),
        ("a{b='c  d',\n e=`f  g`}", "a{b='c  d', e=`f  g`}"),
    ],
)
def test_white_space_counts_only_in_strings_and_before_the_end_of_a_comment(text: str, same: str) -> None:
    assert normal(text) == same


@pytest.mark.parametrize("count", [4, 5, 6])
def test_more_distinct_queries_than_the_cap_are_a_blind_spot(count: int) -> None:
    """The cap is 5: what is known is still counted, what is new is left out, and said."""
    log = [prometheus(f"m{i}") for i in range(count)] * 2
    found = read_lines(log, cap=5)
    assert [(q.text, q.count) for q in queries(found)] == [(f"m{i}", 2) for i in range(min(count, 5))]
    assert [(u.touches, u.narrowing) for u in unreads(found)] == ([((), False)] if count > 5 else [])


@pytest.mark.parametrize(
    ("covers", "hours"),
    [
        ([], None),
        ([None], None),
        ([(0, 0)], 0),
        ([(0, 10), None], 10),
        ([(0, 10), (5, 20)], 20),
        ([(0, 20), (5, 10)], 20),
        ([(24, 48), (0, 24)], 48),
        ([(0, 10), (34, 40)], 40),
        ([(0, 10), (35, 41)], 16),
        ([(35, 41), (0, 10), (9, 20)], 41),
    ],
)
def test_logs_are_watched_as_long_as_they_cover_and_a_gap_longer_than_a_day_is_none_of_it(covers: list[Any], hours: int | None) -> None:
    times = [c and (NOON + timedelta(hours=c[0]), NOON + timedelta(hours=c[1])) for c in covers]
    found = watched([Found("query_log", "", "", (), covers=c) for c in times])
    assert found == (None if hours is None else timedelta(hours=hours))


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (prometheus(flowgate_count=7, httpRequest={"path": "/api/v1/query"}), 7),
        (json.dumps({"log": prometheus(), "flowgate_count": 7}), 7),
        (mimir(query="up") + " flowgate_count=7", 7),
        (prometheus(flowgate_count="7"), 7),
        (prometheus(flowgate_count=0), 1),
        (prometheus(flowgate_count=-3), 1),
        (prometheus(flowgate_count="many"), 1),
        (prometheus(flowgate_count=None), 1),
        (prometheus(flowgate_count=1e400), 1),
        (prometheus(flowgate_count=1e300), 10**12),
    ],
)
def test_a_line_of_a_log_that_was_shortened_stands_for_as_many_as_it_says(line: str, count: int) -> None:
    found = read_lines([line, line])
    assert [q.count for q in queries(found)] == [2 * count]
    (said,) = [read_line(line)]
    assert getattr(said, "count", None) == count


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T13:00:00.000000000+01:00", NOON),
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01 12:00:00", NOON),
        (NOON.timestamp(), NOON),
        (int(NOON.timestamp() * 1e3), NOON),
        (int(NOON.timestamp() * 1e9), NOON),
        (str(int(NOON.timestamp())), NOON),
        ("yesterday", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("0001-01-01T00:00:00+10:00", None),
        ([], None),
    ],
)
def test_times_are_read_in_each_form(value: Any, expected: datetime | None) -> None:
    assert time_of(value) == expected


# Rules, other messages, other languages


@pytest.mark.parametrize(
    "line",
    [
        prometheus(ruleGroup={"file": "rules.yml", "name": "my-group"}),
        logfmt(ts="2026-03-01T12:00:00Z", level="info", component="ruler", rule_name="my-group", msg="query stats", query="up"),
        logfmt(
            ts="2026-03-01T12:00:00Z",
            caller="compat.go:6",
            rule_name="my-group",
            rule_type="alerting",
            query='rate({a="b"}[1m])',
            query_hash="1",
            msg="evaluating rule",
        ),
    ],
)
def test_what_rules_ran_is_kept_apart_from_what_was_asked(line: str) -> None:
    (query,) = queries(read_lines([line] * 3))
    assert (query.role, query.rule, query.count) == ("evaluated", "my-group", 3)
    assert query.language == ("logql" if "compat.go" in line else "promql")


def test_rules_whose_queries_are_not_in_the_log_lower_trust_only() -> None:
    line = json.dumps({"ts": "2026-03-01T12:00:00Z", "msg": "promql query logged", "ruleGroup": {"name": "my-group"}})
    found = read_lines([line] * 3)
    assert queries(found) == []
    (item,) = unreads(found)
    assert item.narrowing
    assert item.reason.startswith("3 evaluations")
    assert item.text == "my-group"


@pytest.mark.parametrize(("component", "text"), [("frontend", '{app="x"}'), ("querier", 'rate({app="x"}[5m])')])
def test_a_log_of_loki_is_logql(component: str, text: str) -> None:
    assert one(read_log(loki(text, component))).language == "logql"


def test_a_path_of_loki_is_logql() -> None:
    assert one(read_log(mimir("/loki/api/v1/query_range", query='rate({app="x"}[5m])'))).language == "logql"


OTHERS = [
    'ts=2026-03-01T12:00:00Z level=info msg="Server is ready to receive web requests."',
    'ts=2026-03-01T12:00:00Z level=debug msg="sql" query="SELECT 1"',
    '{"level":"info","msg":"no queries here"}',
    "goroutine 1 [running]: query",
    "",
    mimir("/prometheus/api/v1/status/buildinfo"),
    mimir("/prometheus/api/v1/metadata"),
]


@pytest.mark.parametrize("line", OTHERS)
def test_lines_about_other_things_are_passed_over(line: str) -> None:
    assert read_line(line) is None
    assert one(read_lines([line, prometheus(), line])).count == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "query",
        "\n".join(OTHERS),
        "groups:\n- rules:\n  - expr: up\n    annotations: {url: '/api/v1/query?query=up'}\n---\nkind: List\n",
        'apiVersion: v1\nkind: Pod\nspec:\n  args: ["--query.log=x"]\n',
        "# About\nSee `/api/v1/series?match[]=up` and the query log.\n",
        '{"panels": [\n  {"targets": [{"expr": "up", "query": "x"}]}\n',
    ],
)
def test_texts_that_are_no_query_log_are_left_to_others(text: str) -> None:
    assert read_log(text) is None


# Exploration

EXPLORED: list[tuple[str, dict[str, str], list[tuple[str, str, LabelSet, str, set[str]]]]] = [
    (
        "/api/v1/series",
        {"param_match[]": 'up{a="b,c"},{d="e"}'},
        [("promql", 'up{a="b,c"}', EVERY_LABEL, "none", set()), ("promql", '{d="e"}', EVERY_LABEL, "none", set())],
    ),
    ("/api/v1/labels", {"param_match[]": "up"}, [("promql", "up", NO_LABEL, "exists", set())]),
    ("/api/v1/labels", {}, []),
    ("/api/v1/label/job/values", {"param_match[]": "up"}, [("promql", "up", only("job"), "exists", {"job"})]),
    ("/api/v1/label/job/values", {}, [("names", ".*", only("job"), "exists", {"job"})]),
    ("/api/v1/label/__name__/values", {"param_match[]": "up"}, [("promql", "up", NO_LABEL, "exists", set())]),
    ("/api/v1/label/__name__/values", {}, []),
    ("/loki/api/v1/label/app/values", {}, []),
]


@pytest.mark.parametrize(("path", "params", "expected"), EXPLORED)
def test_a_look_at_series_or_labels_needs_what_it_lists(path: str, params: dict[str, str], expected: list[Any]) -> None:
    found = read_log(mimir(path, **params))
    assert [(q.language, q.evaluated, q.root, q.operator, set(q.mentioned)) for q in queries(found)] == expected
    assert {q.role for q in queries(found)} <= {"explored"}
    assert not unreads(found)


def test_an_access_log_shows_what_is_explored() -> None:
    found = read_log('10.0.0.1 - "GET /prom/api/v1/label/pod/values?match[]=up&match%5B%5D=m%7Ba%3D%22b%2Cc%22%7D HTTP/1.1" 200\n' * 2)
    assert [(q.text, q.root, q.count) for q in queries(found)] == [("up", only("pod"), 2), ('m{a="b,c"}', only("pod"), 2)]


def test_a_remote_read_reads_series_and_one_of_unknown_matchers_may_read_any() -> None:
    assert texts(read_log(mimir("/prometheus/api/v1/read", param_matchers_0='{__name__="up"}'))) == ['{__name__="up"}']
    (item,) = unreads(read_lines([mimir("/prometheus/api/v1/read")] * 2))
    assert (item.touches, item.narrowing) == ((), False)
    assert item.reason.startswith("2 remote reads")


# Broken lines

BROKEN = [
    (prometheus()[:30], ()),
    (prometheus()[: prometheus().index("http_requests_total") + 8], ()),
    (prometheus("sum(up)")[:-10], ("sum", "up")),
    (prometheus("sum(up)")[8:], ("sum", "up")),
    (mimir(query=TEXT)[: mimir(query=TEXT).index("param_query") + 20], ()),
    (mimir(query=TEXT)[: mimir(query=TEXT).index(" param_query")], ()),
    ('{"params": {"query": "sum(up)"}, "ts": }', ("sum", "up")),
]


@pytest.mark.parametrize(("line", "touches"), BROKEN)
def test_a_broken_line_is_said_with_its_number_and_the_names_of_a_query_that_is_whole(line: str, touches: tuple[str, ...]) -> None:
    found = read_lines([prometheus("other"), line])
    assert texts(found) == ["other"]
    (item,) = unreads(found)
    assert (item.where, item.touches, item.narrowing) == ("line 2", touches, False)


def test_all_broken_lines_are_one_blind_spot_and_any_name_if_one_may_hold_any() -> None:
    whole, cut = prometheus("sum(up)")[:-10], prometheus()[:30]
    (item,) = unreads(read_lines([prometheus(), whole, whole]))
    assert item.reason == "2 broken lines, the first is line 2"
    assert item.touches == ("sum", "up")
    (item,) = unreads(read_lines([prometheus(), whole, cut]))
    assert item.touches == ()


# JSON objects


def test_the_top_queries_of_victoriametrics_are_read() -> None:
    top = {
        "topN": "2",
        "topByCount": [{"query": "up", "timeRangeSeconds": 0, "count": 7}],
        "topByAvgDuration": [{"query": "m", "avgDurationSeconds": 1, "count": 2}, {"query": "up", "count": 7}],
    }
    found = read(READERS, top)
    assert [(q.text, q.count, q.role) for q in queries(found)] == [("up", 7, "executed"), ("m", 2, "executed")]
    assert [u.narrowing for u in unreads(found)] == [True]
    assert not all(u.narrowing for u in unreads(read(READERS, {"topByCount": [{"count": 7}]})))


def test_metric_names_that_victoriametrics_saw_queried_are_used() -> None:
    records = [
        {"metricName": "my.m", "queryRequestsCount": 3, "lastRequestTimestamp": int(NOON.timestamp())},
        {"metricName": "never", "queryRequestsCount": 0},
    ]
    found = read(READERS, {"status": "success", "statsCollectedSince": int(NOON.timestamp()) - 60, "records": records})
    query = one(found)
    assert (query.language, query.evaluated, query.root, query.count, query.last_seen) == ("names", r"my\.m", EVERY_LABEL, 3, NOON)
    assert found is not None
    assert found.covers == (datetime(2026, 3, 1, 11, 59, tzinfo=UTC), NOON)
    assert unreads(read(READERS, {"records": [{"queryRequestsCount": 1}]}))


HISTORY = [
    ({"expr": "up", "datasource": {"type": "prometheus", "uid": "p"}}, [("promql", "up")]),
    ({"expr": '{a="b"}', "datasource": {"type": "loki"}}, [("logql", '{a="b"}')]),
    ({"query": "{}", "datasource": {"type": "tempo"}}, [("traceql", "{}")]),
    ({"expr": '{a="b"} |= "c"'}, [("logql", '{a="b"} |= "c"')]),
    ({"expr": "up"}, [("promql", "up")]),
    ({"expr": "up", "datasource": {"type": "grafana-amazonprometheus-datasource"}}, [("promql", "up")]),
]


@pytest.mark.parametrize(("query", "expected"), HISTORY)
@pytest.mark.parametrize("wrap", [lambda h: {"result": {"totalCount": 1, "queryHistory": h}}, lambda h: {"queryHistory": h}])
def test_grafanas_query_history_is_read(query: Any, expected: list[tuple[str, str]], wrap: Any) -> None:
    found = read(READERS, wrap([{"uid": "u", "createdAt": int(NOON.timestamp()), "queries": [{"refId": "A", **query}]}]))
    assert [(q.language, q.text) for q in queries(found)] == expected
    assert found is not None
    assert found.covers == (NOON, NOON)


@pytest.mark.parametrize(
    "entry",
    [
        {"queries": [{"rawSql": "select my_metric", "datasource": {"type": "mysql"}}]},
        {"query": "my_metric"},
        {"queries": [{"query": "my_metric"}]},
        "my_metric",
    ],
)
def test_an_entry_of_the_history_that_is_not_read_is_said(entry: Any) -> None:
    (item,) = unreads(read(READERS, {"result": {"queryHistory": [entry]}}))
    assert "my_metric" in item.touches


def test_a_log_of_one_line_is_a_mapping() -> None:
    for line in (prometheus(), prometheus_3(), SOURCES["Mimir's frontend as JSON"]):
        assert one(read(READERS, json.loads(line))).text == TEXT


@pytest.mark.parametrize(
    "document", [{}, {"params": {"query": "up"}}, {"records": [{"name": "x"}]}, {"result": {}}, {"query": "up", "time": "x"}]
)
def test_documents_of_other_kinds_are_left_to_others(document: Any) -> None:
    assert read(READERS, document) is None


# Properties


@given(DOCUMENTS, VALUES)
def test_no_document_raises(document: Any, value: Any) -> None:
    for reader in READERS:
        reader(document)
        reader({"params": {"query": value}, "ts": value, "ruleGroup": value})
        reader({"param_query": value, "path": value, "param_match[]": value, "ts": value})
        reader(
            {
                "result": {"queryHistory": [value, document, {"queries": [value]}]},
                "topByCount": [value],
                "records": [value],
                "statsCollectedSince": value,
            }
        )


@given(st.lists(st.sampled_from([*SOURCES.values(), *OTHERS, loki()]) | st.text(max_size=40), max_size=5), st.data())
def test_no_text_raises_and_no_query_of_a_whole_line_is_lost(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    read_log(text[:cut])
    found = read_lines([*lines, prometheus("kept_metric")])
    assert "kept_metric" in texts(found)
    expected = sum(line in SOURCES.values() for line in lines)
    assert sum(q.count for q in queries(found) if q.text == TEXT) == expected


@pytest.mark.parametrize("name", SOURCES)
def test_a_line_cut_anywhere_is_read_or_said_once_it_shows_that_it_is_of_a_query(name: str) -> None:
    """A query in a log's last, half-written line may be a reader. (Where an access log's address is cut after a whole word cannot be seen.)"""
    line = SOURCES[name]
    for end in range(len(line) + 1):
        cut = line[:end]
        found = read_lines([prometheus("other"), cut])
        shows = cut.startswith("{") or "param_query=" in cut or " query=" in cut or "?query=s" in cut
        assert bool(unreads(found)) or len(queries(found)) == 2 or not shows, cut
        assert name == "an access log" or set(texts(found)) <= {"other", TEXT}, cut


def test_an_address_that_ends_with_its_line_is_whole_if_its_brackets_are() -> None:
    line = "method=GET status=200 url=/api/v1/query?query=sum(up%7Ba%3D%22b%22%7D)"
    assert texts(read_lines([line])) == ['sum(up{a="b"})']
    for end in range(line.index("(") + 1, len(line)):
        (item,) = unreads(read_lines([prometheus(), line[:end]]))
        assert item.touches == ()
