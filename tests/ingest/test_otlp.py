"""OTLP bytes to batches: identity, sizes, limits, and the garbage contract."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from flowgate.telemetry import Kind, Signal
from ingest.otlp import Decoder, Encoding, Limits, Malformed, parse
from tests.ingest.otlp_bodies import NOW, attributes, counter, every_kind, gauge, logs, spans

KEY = b"k" * 32


def decoder(**limits: int) -> Decoder:
    return Decoder(KEY, Limits(**limits))


def test_every_kind_makes_the_prometheus_series_contracts_says() -> None:
    d = decoder()
    batch = d.decode(every_kind(), NOW)
    rows = [d.series[p.series] for p in batch.points]
    assert [(r.metric, r.kind, r.prom_series) for r in rows] == [
        ("g", Kind.GAUGE, 1),
        ("s", Kind.SUM, 1),
        ("h", Kind.HISTOGRAM, 6),
        ("e", Kind.EXPONENTIAL_HISTOGRAM, 1),
        ("q", Kind.SUMMARY, 4),
    ]
    assert [p.value for p in batch.points] == [1.0, 3.0, 4.0, 5.0, 6.0]
    assert [(r.temporality, r.monotonic) for r in rows[1:4]] == [("cumulative", True), ("cumulative", False), ("delta", False)]


@pytest.mark.parametrize("signal", list(Signal))
def test_json_means_what_protobuf_means(signal: Signal) -> None:
    request = {Signal.METRICS: every_kind, Signal.LOGS: lambda: logs(9, 5), Signal.TRACES: lambda: spans("a", "b")}[signal]()
    value = json_format.MessageToDict(request)

    def hexed(node: object) -> object:
        if isinstance(node, dict):
            ids = ("traceId", "spanId", "parentSpanId")
            return {k: base64.b64decode(v).hex() if k in ids else hexed(v) for k, v in node.items()}
        return [hexed(v) for v in node] if isinstance(node, list) else node

    body = json.dumps(hexed(value)).encode()
    one, two = decoder(), decoder()
    left = one.decode(parse(signal, request.SerializeToString(), "protobuf"), NOW)
    right = two.decode(parse(signal, body, "json"), NOW)
    assert left == right
    assert one.series == two.series
    assert one.kv == two.kv


def test_the_order_of_attributes_does_not_change_a_series() -> None:
    d = decoder()
    left = d.decode(gauge(1.0, labels={"a": "1", "b": "2"}), NOW).points[0].series
    right = d.decode(gauge(1.0, labels={"b": "2", "a": "1"}), NOW).points[0].series
    assert left == right
    assert len(d.series) == 1


@pytest.mark.parametrize(
    "other",
    [
        gauge(1.0, name="n"),
        gauge(1.0, service="other"),
        gauge(1.0, labels={"a": "2"}),
        gauge(1.0, labels={"a": "1", "b": "1"}),
        gauge(1.0, labels={}),
    ],
)
def test_whatever_identity_names_makes_another_series(other: Any) -> None:
    d = decoder()
    one = d.decode(gauge(1.0, labels={"a": "1"}), NOW).points[0].series
    assert d.decode(other, NOW).points[0].series != one


def test_a_value_of_another_type_is_another_series() -> None:
    d = decoder()
    text, number = gauge(1.0, labels={"a": "1"}), gauge(1.0)
    pair = number.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].attributes.add()
    pair.key, pair.value.int_value = "a", 1
    assert d.decode(text, NOW).points[0].series != d.decode(number, NOW).points[0].series


def test_another_key_gives_other_ids() -> None:
    one = Decoder(KEY).decode(gauge(1.0), NOW).points[0].series
    assert Decoder(b"other").decode(gauge(1.0), NOW).points[0].series != one


def test_bytes_of_all_points_make_up_the_body_but_for_its_framing() -> None:
    request = gauge(*range(50), labels={"k": "v" * 20})
    batch = decoder().decode(request, NOW)
    assert sum(p.bytes for p in batch.points) == pytest.approx(request.ByteSize(), rel=0.05)


@pytest.mark.parametrize(("count", "kept"), [(2, 1), (3, 1), (4, 0)])
def test_attributes_up_to_the_limit_are_kept(count: int, kept: int) -> None:
    batch = decoder(attributes=3).decode(gauge(1.0, labels={str(k): "v" for k in range(count)}), NOW)
    assert len(batch.points) == kept
    assert batch.rejected.get("too_many_attributes", 0) == 1 - kept


@pytest.mark.parametrize(("length", "kept"), [(15, 1), (16, 1), (17, 0)])
def test_names_up_to_the_limit_are_kept(length: int, kept: int) -> None:
    assert len(decoder(name_length=16).decode(gauge(1.0, name="m" * length), NOW).points) == kept


@pytest.mark.parametrize(("ahead", "kept"), [(599, 1), (600, 1), (601, 0)])
def test_points_up_to_ten_minutes_ahead_are_kept(ahead: int, kept: int) -> None:
    batch = decoder().decode(gauge(1.0, at=NOW + ahead * 10**9), NOW)
    assert len(batch.points) == kept
    assert batch.rejected.get("skewed", 0) == 1 - kept


@pytest.mark.parametrize(("age", "kept"), [(99, 1), (100, 1), (101, 0)])
def test_points_older_than_the_retention_are_skewed(age: int, kept: int) -> None:
    assert len(decoder(past_seconds=100).decode(gauge(1.0, at=NOW - age * 10**9), NOW).points) == kept


def test_a_bad_point_does_not_take_its_batch_along() -> None:
    request = gauge(1.0, 2.0, 3.0)
    attributes(request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[1].attributes, {"k": "v" * 5000})
    batch = decoder().decode(request, NOW)
    assert len(batch.points) == 2
    assert batch.rejected == {"attribute_value_too_long": 1}


def test_beyond_the_budget_new_series_are_refused_and_known_ones_are_not() -> None:
    d = Decoder(KEY, max_series=1)
    d.decode(gauge(1.0), NOW)
    batch = d.decode(gauge(1.0, name="other"), NOW)
    assert batch.rejected == {"too_many_series": 1}
    assert len(d.decode(gauge(2.0), NOW).points) == 1


def test_a_point_without_a_recorded_value_is_a_point_without_a_value() -> None:
    request = counter(5.0)
    request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].flags = 1
    assert decoder().decode(request, NOW).points[0].value is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_finite_number_is_no_value(value: float) -> None:
    assert decoder().decode(gauge(value), NOW).points[0].value is None


def test_nested_attribute_values_are_kept_as_json() -> None:
    request = logs(9)
    pair = request.resource_logs[0].scope_logs[0].log_records[0].attributes.add()
    pair.key = "list"
    pair.value.array_value.values.add().string_value = "x"
    assert json.loads(decoder().decode(request, NOW).logs[0].attributes) == {"list": ["x"]}


@given(st.sampled_from(list(Signal)), st.binary(max_size=200), st.sampled_from(["protobuf", "json"]))
def test_garbage_is_a_request_or_malformed_and_nothing_else(signal: Signal, body: bytes, encoding: Encoding) -> None:
    try:
        request = parse(signal, body, encoding)
    except Malformed:
        return
    batch = decoder().decode(request, NOW)
    assert batch.received == len(batch.points) + len(batch.logs) + len(batch.spans) + sum(batch.rejected.values())


@given(st.data())
def test_a_damaged_body_is_accounted_for_or_malformed(data: st.DataObject) -> None:
    """received = kept + rejected, whatever a flipped byte made of it."""
    body = bytearray(every_kind().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = parse(Signal.METRICS, bytes(body), "protobuf")
    except Malformed:
        return
    batch = decoder().decode(request, NOW)
    assert batch.received == len(batch.points) + sum(batch.rejected.values())


@pytest.mark.parametrize("depth", [60, 200, 5_000, 100_000])
def test_deep_json_is_refused_without_harm(depth: int) -> None:
    body = b'{"resourceLogs":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(Malformed):
        parse(Signal.LOGS, body, "json")
