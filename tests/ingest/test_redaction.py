"""What a rule matches is in no file that the tap wrote."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from flowgate.errors import Broken
from flowgate.ids import DEFAULT_ORG, GatewayId, OrgId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.engine import Engine, Library
from ingest.otlp import Decoder
from ingest.redaction import FileRules, Rule, parse_rules, redacted
from ingest.segments import SegmentStore
from ingest.server import Tap
from ingest.tap import Buffer, Settings, Source
from ingest.tokens import FileTokens
from ingest.wire import Wire
from tests.ingest.otlp_bodies import attributes, gauge, spans

CANARY = "canary-7f3a@example.org"
NUMBER = 4111111111111111
RULES = {
    "*": [{"name": "mail", "pattern": r"[\w.-]+@[\w.-]+\.\w+", "replacement": "<mail>"}],
    "default": [{"name": "card", "pattern": r"\b4\d{15}\b", "replacement": "<card>"}],
}
MINE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)
OTHERS = Source(Identity(OrgId("other"), GatewayId("g")), Side.IN)


def bodies(now: int) -> list[tuple[Signal, bytes]]:
    """The canary everywhere that a value may be: bodies, attributes of every depth, names of spans and services, labels."""
    metrics = gauge(1.0, labels={"user": f"{CANARY} x"}, at=now)
    attributes(metrics.resource_metrics[0].resource.attributes, {"service.name": CANARY, "owner": CANARY})
    logs = ExportLogsServiceRequest()
    group = logs.resource_logs.add()
    attributes(group.resource.attributes, {"service.name": f"svc-{CANARY}"})
    for nested in (False, True):
        record = group.scope_logs.add().log_records.add(time_unix_nano=now, severity_number=9)
        record.attributes.add(key="card").value.int_value = NUMBER
        record.attributes.add(key="list").value.array_value.values.add().string_value = f'"{CANARY}"'
        if nested:
            record.body.kvlist_value.values.add(key="who").value.string_value = f"é {CANARY}"
        else:
            record.body.string_value = f"login of {CANARY} with {NUMBER}"
    traces = spans(f"GET /users/{CANARY}")
    for span in traces.resource_spans[0].scope_spans[0].spans:
        span.start_time_unix_nano = span.end_time_unix_nano = now
        attributes(span.attributes, {"url.path": f"/users/{CANARY}"})
    return [
        (Signal.METRICS, metrics.SerializeToString()),
        (Signal.LOGS, logs.SerializeToString()),
        (Signal.TRACES, traces.SerializeToString()),
    ]


def made(root: Path, engine: Engine) -> Tap:
    file = root / "rules.json"
    file.write_text(json.dumps(RULES))
    tokens = FileTokens(None, time.monotonic)
    return Tap(engine, SegmentStore.open(root / "store", 5), tokens, timedelta(hours=1), None, FileRules(file, time.monotonic))


def everything(store: Path) -> str:
    """All text below the store: raw bytes, and what compression hides in Parquet and DuckDB files."""
    texts: list[str] = []
    for file in (f for f in store.rglob("*") if f.is_file()):
        texts.append(file.read_bytes().decode("latin-1"))
        if file.suffix == ".parquet":
            texts.append(repr(pq.read_table(file).to_pylist()))
    with duckdb.connect(str(store / "staging.duckdb")) as db:
        for (table,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            texts.append(repr(db.execute(f"FROM {table}").fetchall()))
    return "\n".join(texts)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("engine", ["compiled", "library"])
def test_the_canary_is_in_no_file(tmp_path: Path, engine: str, sealed: bool) -> None:
    tap = made(tmp_path, Wire(b"k") if engine == "compiled" else Library(Decoder(b"k"), Buffer(Settings())))
    for source in (MINE, OTHERS):
        for signal, body in bodies(time.time_ns()):
            tap.take(source, signal, body, "protobuf")
    tap.seal() if sealed else tap.flush()
    tap.store.close()
    found = everything(tmp_path / "store")
    assert "<mail>" in found
    assert CANARY not in found
    assert "canary" not in found


def test_the_rules_of_an_org_are_its_own(tmp_path: Path) -> None:
    tap = made(tmp_path, Wire(b"k"))
    for source in (MINE, OTHERS):
        for signal, body in bodies(time.time_ns()):
            tap.take(source, signal, body, "protobuf")
    tap.seal()
    cards = {f.parts[-5]: str(NUMBER) in repr(pq.read_table(f).to_pylist()) for f in (tmp_path / "store").rglob("logs.parquet")}
    assert cards == {"default": False, "other": True}


def test_without_rules_the_canary_is_found_so_the_search_can_find_it(tmp_path: Path) -> None:
    tap = made(tmp_path, Wire(b"k"))
    tap.redaction = FileRules(None, time.monotonic)
    for signal, body in bodies(time.time_ns()):
        tap.take(MINE, signal, body, "protobuf")
    tap.seal()
    tap.store.close()
    assert everything(tmp_path / "store").count(CANARY) > 5


def test_without_rules_nothing_is_touched() -> None:
    engine = Wire(b"k")
    for signal, body in bodies(time.time_ns()):
        engine.take(MINE, signal, body, time.time_ns())
    rows = engine.drain()[MINE]
    assert redacted(rows, ()) is rows


@given(st.text(max_size=40), st.text(max_size=40))
def test_attributes_stay_json_and_what_does_not_match_stays(before: str, after: str) -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=10**18)
    record.attributes.add(key="k").value.string_value = f"{before}\x01SECRET\x01{after}"
    engine = Wire(b"k")
    engine.take(MINE, Signal.LOGS, request.SerializeToString(), 10**18)
    (row,) = redacted(engine.drain()[MINE], (Rule("r", "\x01SECRET\x01", '"\\1'),)).tables["logs"].to_pylist()
    assert json.loads(row["attributes"]) == {"k": f'{before}"\\1{after}'}


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":  1.50}', "[not json", '{"a": "b"', "{}", "[1e400]"])
def test_a_body_that_no_rule_matches_stays_as_it_was_written(body: str) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=10**18).body.string_value = body
    engine = Wire(b"k")
    engine.take(MINE, Signal.LOGS, request.SerializeToString(), 10**18)
    rows = engine.drain()[MINE]
    (row,) = redacted(rows, (Rule("r", "SECRET", "x"),)).tables["logs"].to_pylist()
    assert row == rows.tables["logs"].to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "object of orgs"),
        ('{"a": {}}', "a: not a list"),
        ('{"a": [{"name": "n"}]}', "a: a rule has"),
        ('{"a": [{"name": "n", "pattern": "(?=x)", "replacement": ""}]}', "a: n: "),
        ('{"a": [{"name": "n", "pattern": "x*", "replacement": ""}]}', "matches the empty text"),
        ("{", "Expecting"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start_and_says_where(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        parse_rules(text)
    file = tmp_path / "rules.json"
    file.write_text(text)
    with pytest.raises(Broken, match="holds no redaction rules"):
        FileRules(file, time.monotonic)


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        FileRules(tmp_path / "none.json", time.monotonic)


def test_a_file_that_becomes_wrong_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    file, now = tmp_path / "rules.json", [0.0]
    file.write_text(json.dumps(RULES))
    rules = FileRules(file, lambda: now[0])
    assert [r.name for r in rules.rules(DEFAULT_ORG)] == ["mail", "card"]
    file.write_text("{")
    now[0] = 10.0
    assert [r.name for r in rules.rules(DEFAULT_ORG)] == ["mail", "card"]
    assert rules.damaged == 1
    file.write_text('{"*": []}')
    now[0] = 20.0
    assert rules.rules(DEFAULT_ORG) == ()
