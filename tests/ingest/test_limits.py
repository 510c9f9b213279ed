"""Every limit that docs/tap.md names, at n - 1, n and n + 1, through both decoders; and the numbers there are those of the code."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from controlplane.processes import free_port
from flowgate.telemetry import Signal
from ingest import calls, server, wire
from ingest.engine import Library
from ingest.otlp import MAX_JSON_DEPTH, Decoder, Limits, Malformed, parse
from ingest.segments import SegmentStore
from ingest.tap import Buffer
from ingest.tokens import FileTokens
from tests.ingest.mutate import varint
from tests.ingest.oracle import KEY, SOURCE, Pair
from tests.ingest.otlp_bodies import NOW, attributes, every_kind, gauge, logs, spans

N = 20
DEEPEST = 47
"""Lists in lists that the protobuf library reads in a record: 100 messages of its limit, two a level, the rest around them."""
LIMITS = Limits(attributes=N, name_length=N, value_length=N, resource_value_length=N, buckets=N)
STEPS = pytest.mark.parametrize("count", [N - 1, N, N + 1])


def points(kind: str, change: Callable[[Any, int], None]) -> Callable[[int], Any]:
    """A request whose only point, of that kind, is changed."""

    def made(count: int) -> Any:
        request = every_kind()
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        (kept,) = (m for m in metrics if m.WhichOneof("data") == kind)
        one = type(kept)()
        one.CopyFrom(kept)
        del metrics[:]
        metrics.append(one)
        change(getattr(metrics[0], kind).data_points[0], count)
        return request

    return made


def replaced(field: str) -> Callable[[Any, int], None]:
    """A repeated number field, of so many."""

    def change(point: Any, count: int) -> None:
        holder, _, name = field.rpartition(".")
        owner = getattr(point, holder) if holder else point
        del getattr(owner, name)[:]
        getattr(owner, name).extend([1] * count)

    return change


def quantiles(point: Any, count: int) -> None:
    del point.quantile_values[:]
    for number in range(count):
        point.quantile_values.add(quantile=number / 100, value=1.0)


def resource(request: Any, group: str, labels: dict[str, str]) -> Any:
    attributes(getattr(request, group)[0].resource.attributes, labels)
    return request


def labelled(request: Any, items: Any, labels: dict[str, str]) -> Any:
    del items[0].attributes[:]
    attributes(items[0].attributes, labels)
    return request


def record(labels: dict[str, str]) -> Any:
    request = logs(9)
    return labelled(request, request.resource_logs[0].scope_logs[0].log_records, labels)


def span(labels: dict[str, str]) -> Any:
    request = spans("a")
    return labelled(request, request.resource_spans[0].scope_spans[0].spans, labels)


def many(count: int) -> dict[str, str]:
    return {f"k{i}": "v" for i in range(count)}


def bare(request: Any, group: str) -> Any:
    del getattr(request, group)[0].resource.attributes[:]
    return request


VALUE = N - 2
"""Characters of a string whose AnyValue has N bytes: a tag and a length go with it."""
CASES: dict[str, tuple[Signal, str, Callable[[int], Any]]] = {
    "a metric's name": (Signal.METRICS, "bad_name", lambda n: gauge(1.0, name="m" * n)),
    "a metric's name, in bytes": (Signal.METRICS, "bad_name", lambda n: gauge(1.0, name="é" * (n // 2) + "m" * (n % 2))),
    "attributes of a point": (Signal.METRICS, "too_many_attributes", lambda n: gauge(1.0, labels=many(n))),
    "attributes of a record": (Signal.LOGS, "too_many_attributes", lambda n: record(many(n))),
    "attributes of a span": (Signal.TRACES, "too_many_attributes", lambda n: span(many(n))),
    "attributes of a resource": (
        Signal.METRICS,
        "too_many_attributes",
        lambda n: resource(bare(gauge(1.0), "resource_metrics"), "resource_metrics", many(n)),
    ),
    "a key": (Signal.METRICS, "attribute_name_too_long", lambda n: gauge(1.0, labels={"k" * n: "v"})),
    "a record's key": (Signal.LOGS, "attribute_name_too_long", lambda n: record({"k" * n: "v"})),
    "a value": (Signal.METRICS, "attribute_value_too_long", lambda n: gauge(1.0, labels={"k": "v" * (n - N + VALUE)})),
    "a span's value": (Signal.TRACES, "attribute_value_too_long", lambda n: span({"k": "v" * (n - N + VALUE)})),
    "a resource's value": (
        Signal.METRICS,
        "attribute_value_too_long",
        lambda n: resource(bare(gauge(1.0), "resource_metrics"), "resource_metrics", {"k": "v" * (n - N + VALUE)}),
    ),
    "bucket counts": (Signal.METRICS, "too_many_buckets", points("histogram", replaced("bucket_counts"))),
    "bounds": (Signal.METRICS, "too_many_buckets", points("histogram", replaced("explicit_bounds"))),
    "positive buckets": (Signal.METRICS, "too_many_buckets", points("exponential_histogram", replaced("positive.bucket_counts"))),
    "negative buckets": (Signal.METRICS, "too_many_buckets", points("exponential_histogram", replaced("negative.bucket_counts"))),
    "quantiles": (Signal.METRICS, "too_many_buckets", points("summary", quantiles)),
}


@STEPS
@pytest.mark.parametrize("name", CASES)
def test_up_to_the_limit_it_is_kept_and_beyond_it_is_rejected_for_that(name: str, count: int) -> None:
    signal, reason, made = CASES[name]
    pair = Pair(limits=LIMITS)
    kept = pair.feed(signal, made(count).SerializeToString())
    assert kept is not None
    assert kept.rejected == ({} if count <= N else {reason: 1})
    assert kept.items == (1 if count <= N else 0)
    pair.compare()


def nested(depth: int) -> bytes:
    """A record with an attribute whose value is a list in a list, so many deep."""
    request = logs(9)
    pair = request.resource_logs[0].scope_logs[0].log_records[0].attributes.add()
    pair.key = "deep"
    value = pair.value
    for _ in range(depth):
        value = value.array_value.values.add()
    value.string_value = "x"
    return request.SerializeToString()


@pytest.mark.parametrize(("depth", "taken"), [(7, True), (8, True), (9, True), (DEEPEST - 1, True), (DEEPEST, True), (DEEPEST + 1, False)])
def test_values_are_as_deep_as_the_library_reads_them(depth: int, taken: bool) -> None:
    """Over eight levels the kernels leave a body to the library; both refuse what it does not read."""
    assert (Pair().feed(Signal.LOGS, nested(depth)) is not None) is taken


@pytest.mark.parametrize(("depth", "taken"), [(MAX_JSON_DEPTH - 1, True), (MAX_JSON_DEPTH, True), (MAX_JSON_DEPTH + 1, False)])
def test_json_is_as_deep_as_the_limit(depth: int, taken: bool) -> None:
    body = b'{"unknown":' + b"[" * depth + b"]" * depth + b"}"
    if taken:
        parse(Signal.LOGS, body, "json")
    else:
        with pytest.raises(Malformed, match="deeper"):
            parse(Signal.LOGS, body, "json")


def protobuf(size: int) -> bytes:
    """A good request that an unknown field brings to that size."""
    good = gauge(1.0, at=time.time_ns()).SerializeToString()
    for digits in range(1, 6):
        room = size - len(good) - 2 - digits
        tagged = b"\xfa\x01" + varint(room)
        if len(tagged) == 2 + digits:
            return good + tagged + bytes(room)
    raise AssertionError(size)


def json_of(size: int) -> bytes:
    head = b'{"unknown":"'
    return head + b"x" * (size - len(head) - 2) + b'"}'


def tap(folder: Path) -> server.Tap:
    store = SegmentStore.open(folder / "s", 5)
    return server.Tap(Library(Decoder(KEY), Buffer()), store, FileTokens(None, time.monotonic), timedelta(hours=1))


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize(
    ("kind", "body", "most"),
    [("application/x-protobuf", protobuf, server.MAX_BODY_BYTES), ("application/json", json_of, server.MAX_JSON_BYTES)],
)
def test_a_body_has_at_most_so_many_bytes(tmp_path: Path, kind: str, body: Callable[[int], bytes], most: int, extra: int) -> None:
    async def post() -> int:
        transport = httpx.ASGITransport(server.http_app(tap(tmp_path)))
        async with httpx.AsyncClient(transport=transport, base_url="http://tap") as client:
            return (await client.post("/v1/metrics", content=body(most + extra), headers={"content-type": kind})).status_code

    assert asyncio.run(post()) == (413 if extra > 0 else 200)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_call_has_at_most_so_many_bytes(tmp_path: Path, extra: int) -> None:
    receiver, port = server.grpc_server(tap(tmp_path)), free_port()
    receiver.add_insecure_port(f"127.0.0.1:{port}")
    receiver.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        code = call.future(protobuf(server.MAX_BODY_BYTES + extra), timeout=60).code()
    receiver.stop(None)
    assert code is (grpc.StatusCode.RESOURCE_EXHAUSTED if extra > 0 else grpc.StatusCode.OK)


@pytest.mark.parametrize("count", [49, 50, 51])
def test_a_body_may_bring_so_many_new_names(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A resource, a scope and the metrics; what a body over the limit brought is not counted."""
    monkeypatch.setattr(wire, "MAX_FRESH_HEADS", 50)
    engine, request = wire.Wire(KEY), gauge(1.0)
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    for number in range(count - 3):
        attributes(metrics.add(name=f"n{number}").gauge.data_points.add(time_unix_nano=NOW, as_int=1).attributes, {})
    body = request.SerializeToString()
    if count <= 50:
        assert engine.take(SOURCE, Signal.METRICS, body, NOW).items == count - 2
    else:
        with pytest.raises(wire.TooManyHeads):
            engine.take(SOURCE, Signal.METRICS, body, NOW)
        assert engine.totals.points == 0


def test_the_numbers_of_the_docs_are_those_of_the_code() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tap.md").read_text()
    table = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in text.splitlines() if row.startswith("| ")}
    said = {name: [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", value)] for name, value in table.items()}
    mib, usual = 2**20, Limits()
    assert said["a body, before and after decompression"] == [server.MAX_BODY_BYTES // mib]
    assert said["a JSON body"] == [server.MAX_JSON_BYTES // mib]
    assert said["HTTP bodies being received at once"] == [server.MAX_IN_FLIGHT_BYTES // mib]
    assert said["gRPC calls at once: of a connection, of an address, in all"] == [
        calls.MAX_STREAMS,
        calls.MAX_CALLS_PER_SOURCE,
        calls.MAX_CALLS,
    ]
    assert said["gRPC connections: of an address that made calls in the last 10 s, in all"] == [
        server.MAX_CONNECTIONS_PER_SOURCE,
        server.Patience().connections,
    ]
    assert said["connections of one address (HTTP)"] == [server.MAX_CONNECTIONS_PER_SOURCE]
    assert said["new resources, scopes and metrics in one body"] == [wire.MAX_FRESH_HEADS]
    assert said["attributes of an item"] == [usual.attributes]
    assert said["a metric's name, an attribute's key"] == [usual.name_length]
    assert said["an attribute's value"] == [usual.value_length, usual.resource_value_length]
    assert said["buckets of a point (a side of an exponential histogram), quantiles"] == [usual.buckets]
