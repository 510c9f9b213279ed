"""Requests made at random, then damaged: in their meaning (protobuf objects), in their framing (fields moved, doubled, re-tagged, re-sized),
and in their bytes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flowgate.telemetry import Signal
from tests.ingest.otlp_bodies import NOW

WORDS = ("a", "b", "service.name", "http.route", "k" * 24, "k" * 25, "é", "日本語", "", "x\x00y", "job")
TEXTS = ("v", "checkout", "1", "", "ü" * 10, "v" * 34, "v" * 37, "v" * 38, "v" * 39, "v" * 70, "🦊", "true")
NUMBERS = (0, 1, -1, 200, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.5, -2.0, math.nan, math.inf, -math.inf, 1e308, 5e-324)
TIMES = (
    NOW,
    NOW + 1000,
    NOW - 10**9,
    NOW + 5 * 10**9,
    NOW + 600 * 10**9,
    NOW + 601 * 10**9,
    NOW - 86400 * 10**9 - 1,
    0,
    1,
    2**63,
    2**64 - 1,
)


def mutant(dice: random.Random) -> tuple[Signal, bytes]:
    """A signal and a body that may or may not be a request of it."""
    signal = dice.choices(list(Signal), (6, 2, 2))[0]
    body = _MAKERS[signal](dice).SerializeToString()
    order = dice.random()
    if order < 0.4:
        body = descending(body, ATTRIBUTES if order < 0.2 else frozenset())
    for _ in range(dice.choice((0, 0, 1, 1, 2, 3))):
        body = dice.choice((_flip, _reframe, _reframe, _reframe, _cut, _insert))(dice, body)
    return signal, body


# --- requests ---------------------------------------------------------------------------------------------------------------------


def _value(dice: random.Random, value: Any, depth: int = 0) -> None:
    kind = dice.choices(
        ("s", "i", "d", "b", "y", "l", "m", "n", "x"), (40, 8, 5, 5, 3, 3 if depth < 4 else 0, 3 if depth < 4 else 0, 2, 1)
    )[0]
    match kind:
        case "s":
            value.string_value = dice.choice(TEXTS)
        case "i":
            value.int_value = dice.choice(NUMBERS)
        case "d":
            value.double_value = dice.choice(FLOATS)
        case "b":
            value.bool_value = dice.random() < 0.5
        case "y":
            value.bytes_value = dice.randbytes(dice.randrange(5))
        case "l":
            value.array_value.SetInParent()
            for _ in range(dice.randrange(3)):
                _value(dice, value.array_value.values.add(), depth + 1)
        case "m":
            value.kvlist_value.SetInParent()
            for _ in range(dice.randrange(3)):
                _pair(dice, value.kvlist_value.values.add(), depth + 1)
        case "n":
            value.SetInParent()
        case _:
            value.string_value_strindex = dice.choice((0, 3))


def _pair(dice: random.Random, pair: Any, depth: int = 0) -> None:
    pair.key = dice.choice(WORDS)
    if dice.random() < 0.97:
        _value(dice, pair.value, depth)
    if dice.random() < 0.01:
        pair.key_strindex = 2


def _attributes(dice: random.Random, holder: Any, most: int = 4) -> None:
    for _ in range(dice.randrange(most + 1) if dice.random() < 0.97 else dice.randrange(5, 9)):
        _pair(dice, holder.add())


def _resource(dice: random.Random, group: Any) -> None:
    if dice.random() < 0.8:
        pair = group.resource.attributes.add()
        pair.key, pair.value.string_value = "service.name", dice.choice(("checkout", "cart"))
    if dice.random() < 0.3:
        _attributes(dice, group.resource.attributes)
    if dice.random() < 0.1:
        group.resource.dropped_attributes_count = dice.randrange(3)
    if dice.random() < 0.05:
        group.resource.entity_refs.add(type="host", id_keys=["a"])
    if dice.random() < 0.2:
        group.schema_url = dice.choice(TEXTS)


def _scope(dice: random.Random, scoped: Any) -> None:
    if dice.random() < 0.7:
        scoped.scope.name = dice.choice(("otel", "", "é"))
    if dice.random() < 0.2:
        _attributes(dice, scoped.scope.attributes, 2)
    if dice.random() < 0.1:
        scoped.scope.version = "1"
    if dice.random() < 0.1:
        scoped.schema_url = "u"


def _metrics(dice: random.Random) -> Any:
    request = ExportMetricsServiceRequest()
    _groups(dice, request.resource_metrics, "scope_metrics", "metrics", _metric)
    return request


def _metric(dice: random.Random, metric: Any) -> None:
    metric.name = dice.choice(("m", "requests", "n" * 24, "n" * 25, "", "größe"))
    metric.unit = dice.choice(("", "s", "By"))
    metric.description = dice.choice(("", "what it is", "é"))
    if dice.random() < 0.05:
        _attributes(dice, metric.metadata, 2)
    kind = dice.choices(("gauge", "sum", "histogram", "exponential_histogram", "summary", ""), (5, 5, 4, 3, 2, 1))[0]
    if not kind:
        return
    data = getattr(metric, kind)
    data.SetInParent()
    if hasattr(data, "aggregation_temporality") and dice.random() < 0.9:
        data.aggregation_temporality = dice.choice((0, 1, 2, 2, 3, 7, 200))
    if kind == "sum":
        data.is_monotonic = dice.random() < 0.5
    for _ in range(dice.choice((0, 1, 2, 4))):
        _POINTS[kind](dice, data.data_points.add())


def _common(dice: random.Random, point: Any) -> None:
    point.time_unix_nano = dice.choices(TIMES, (20, 10, 5, 5, 1, 1, 1, 1, 1, 1, 1))[0]
    if dice.random() < 0.7:
        point.start_time_unix_nano = NOW - 10**9
    if dice.random() < 0.15:
        point.flags = dice.choice((0, 1, 2, 3, 2**32 - 1))
    _attributes(dice, point.attributes)


def _exemplars(dice: random.Random, point: Any) -> None:
    while dice.random() < 0.2:
        exemplar = point.exemplars.add(time_unix_nano=NOW, span_id=dice.randbytes(8), trace_id=dice.randbytes(dice.choice((0, 16))))
        if dice.random() < 0.8:
            exemplar.as_double = dice.choice(FLOATS)
        _attributes(dice, exemplar.filtered_attributes, 1)


def _number(dice: random.Random, point: Any) -> None:
    _common(dice, point)
    if dice.random() < 0.95:
        if dice.random() < 0.5:
            point.as_int = dice.choice(NUMBERS)
        else:
            point.as_double = dice.choice(FLOATS)
    _exemplars(dice, point)


def _histogram(dice: random.Random, point: Any) -> None:
    _common(dice, point)
    n = dice.choice((0, 1, 4, 5, 6, 7))
    point.bucket_counts.extend(dice.randrange(9) for _ in range(n))
    point.explicit_bounds.extend(float(k) for k in range(max(0, n - 1) if dice.random() < 0.9 else dice.randrange(8)))
    point.count = dice.choice((0, 5, 2**64 - 1))
    if dice.random() < 0.7:
        point.sum, point.min, point.max = dice.choice(FLOATS), dice.choice(FLOATS), dice.choice(FLOATS)
    _exemplars(dice, point)


def _exponential(dice: random.Random, point: Any) -> None:
    _common(dice, point)
    point.count, point.scale, point.zero_count = dice.choice((0, 5)), dice.choice((0, 1, -3)), dice.choice((0, 2))
    for side in (point.positive, point.negative):
        if dice.random() < 0.6:
            side.offset = dice.choice((0, -4, 7))
            side.bucket_counts.extend(dice.choice((0, 1, 300, 2**63)) for _ in range(dice.choice((0, 1, 6, 7))))
    if dice.random() < 0.5:
        point.sum, point.max, point.zero_threshold = 1.0, 0.0, dice.choice(FLOATS)
    _exemplars(dice, point)


def _summary(dice: random.Random, point: Any) -> None:
    _common(dice, point)
    point.count, point.sum = dice.choice((0, 4)), dice.choice(FLOATS)
    for _ in range(dice.choice((0, 1, 2, 6, 7))):
        point.quantile_values.add(quantile=dice.choice((0.0, 0.5)), value=dice.choice(FLOATS))


_POINTS: dict[str, Callable[[random.Random, Any], None]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}


def _groups(dice: random.Random, groups: Any, scopes: str, items: str, fill: Callable[[random.Random, Any], None]) -> None:
    """Resources with scopes with items, sometimes none, each filled by chance."""
    for _ in range(dice.choice((0, 1, 1, 2))):
        group = groups.add()
        _resource(dice, group)
        for _ in range(dice.choice((0, 1, 2))):
            scoped = getattr(group, scopes).add()
            _scope(dice, scoped)
            for _ in range(dice.choice((0, 1, 3))):
                fill(dice, getattr(scoped, items).add())


def _logs(dice: random.Random) -> Any:
    request = ExportLogsServiceRequest()
    _groups(dice, request.resource_logs, "scope_logs", "log_records", _record)
    return request


def _record(dice: random.Random, record: Any) -> None:
    record.severity_number, record.severity_text = dice.choice((0, 5, 9, 24, 99, -1)), dice.choice(TEXTS)
    record.time_unix_nano = dice.choices(TIMES, (20, 10, 5, 5, 1, 1, 1, 9, 1, 1, 1))[0]
    record.observed_time_unix_nano = dice.choice((NOW, 0))
    if dice.random() < 0.9:
        _value(dice, record.body)
    if dice.random() < 0.6:
        record.trace_id, record.span_id = dice.randbytes(16), dice.randbytes(8)
    if dice.random() < 0.2:
        record.flags, record.dropped_attributes_count, record.event_name = 1, dice.randrange(3), dice.choice(TEXTS)
    _attributes(dice, record.attributes)


def _spans(dice: random.Random) -> Any:
    request = ExportTraceServiceRequest()
    _groups(dice, request.resource_spans, "scope_spans", "spans", _span)
    return request


def _span(dice: random.Random, span: Any) -> None:
    span.name, span.kind = dice.choice(TEXTS), dice.choice((0, 1, 2, 77, -3))
    span.trace_id, span.span_id = dice.randbytes(dice.choice((16, 16, 0, 3))), dice.randbytes(8)
    span.start_time_unix_nano = dice.choices(TIMES, (20, 10, 5, 5, 1, 1, 1, 1, 1, 1, 1))[0]
    span.end_time_unix_nano = dice.choice(TIMES)
    _attributes(dice, span.attributes)
    if dice.random() < 0.3:
        event = span.events.add(time_unix_nano=NOW, name=dice.choice(TEXTS), dropped_attributes_count=dice.randrange(2))
        _attributes(dice, event.attributes, 2)
    if dice.random() < 0.2:
        link = span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8, trace_state=dice.choice(TEXTS), flags=dice.randrange(2))
        _attributes(dice, link.attributes, 2)
    if dice.random() < 0.4:
        span.status.code, span.status.message = dice.choice((0, 1, 2, 9)), dice.choice(TEXTS)
    if dice.random() < 0.3:
        span.flags, span.trace_state, span.dropped_events_count = 256, dice.choice(TEXTS), dice.randrange(2)
    if dice.random() < 0.5:
        span.parent_span_id = dice.randbytes(8)


_MAKERS: dict[Signal, Callable[[random.Random], Any]] = {Signal.METRICS: _metrics, Signal.LOGS: _logs, Signal.TRACES: _spans}

# --- framing ----------------------------------------------------------------------------------------------------------------------


def varint(value: int, pad: int = 0) -> bytes:
    """A varint, made `pad` bytes longer than it need be."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    for _ in range(pad):
        out[-1] |= 128
        out.append(0)
    return bytes(out)


def fields(body: bytes) -> list[tuple[int, bytes]] | None:
    """(tag, payload without its length) of each field; None when it is not a message."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(body):
        tag, at = _read(body, at)
        if at < 0 or tag < 8:
            return None
        match tag & 7:
            case 0:
                end = _read(body, at)[1]
            case 1:
                end = at + 8
            case 2:
                n, at = _read(body, at)
                end = at + n
            case 5:
                end = at + 4
            case _:
                return None
        if at < 0 or end < 0 or end > len(body):
            return None
        found.append((tag, body[at:end]))
        at = end
    return found


def _read(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while 0 <= at < len(body) and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return 0, -1


def join(parts: list[tuple[int, bytes]], pad: int = 0) -> bytes:
    """The fields as a message; lengths are written `pad` bytes longer than they need be."""
    return b"".join(varint(tag) + (varint(len(data), pad) if tag & 7 == 2 else b"") + data for tag, data in parts)


ATTRIBUTES = frozenset({58, 74})
"""Tags of the attributes of points."""


def descending(body: bytes, last: frozenset[int] = frozenset()) -> bytes:
    """Every message's fields in reverse; text that looks like a message suffers too. The Collector writes so, but for attributes, which come last."""
    parts = fields(body)
    if not parts:
        return body
    runs: list[list[tuple[int, bytes]]] = []
    for tag, data in parts:
        nested = (tag, descending(data, last)) if tag & 7 == 2 else (tag, data)
        if runs and runs[-1][0][0] == tag:
            runs[-1].append(nested)
        else:
            runs.append([nested])
    runs.reverse()
    runs.sort(key=lambda run: run[0][0] in last)
    return join([part for run in runs for part in run])


def _reframe(dice: random.Random, body: bytes) -> bytes:
    """Changes the message at some depth: what it does there is one of ten things that a wire format allows, or nearly."""
    parts = fields(body)
    if not parts:
        return body
    nested = [i for i, (tag, data) in enumerate(parts) if tag & 7 == 2 and data]
    if nested and dice.random() < 0.8:
        i = dice.choice(nested)
        tag, data = parts[i]
        parts[i] = (tag, _reframe(dice, data))
        return join(parts)
    i = dice.randrange(len(parts))
    tag, data = parts[i]
    match dice.randrange(12):
        case 0:
            dice.shuffle(parts)
        case 1:
            parts.insert(dice.randrange(len(parts) + 1), parts[i])
        case 2:
            del parts[i]
        case 3:
            return join(parts, pad=1)
        case 4:
            parts[i] = (dice.choice((8, 10, 16, 18, 25, 33, 42, 50, 58, 74, 80, 8 * 200 + 2, 8 * 99, 11, 12)), data)
        case 5:
            parts.append((dice.choice((8 * 77, 8 * 300)), b"\x05"))
        case 6:
            parts.append((tag, b"") if tag & 7 == 2 else (tag, b"\x00" * len(data)))
        case 7:
            parts[i] = (tag, data[:-1])
        case 8:
            parts[i] = (tag, data + dice.randbytes(1))
        case 9:
            parts[i] = (tag, b"\xff" * len(data)) if tag & 7 != 0 else (tag, b"\xff" * 9 + b"\x01")
        case 10:
            parts[i] = (tag, b"\x00" * len(data)) if tag & 7 in (1, 5) else (tag, data)
        case _:
            parts.insert(0, parts[dice.randrange(len(parts))])
    return join(parts)


def _flip(dice: random.Random, body: bytes) -> bytes:
    if not body:
        return body
    out = bytearray(body)
    for _ in range(dice.choice((1, 1, 2, 4))):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def _cut(dice: random.Random, body: bytes) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def _insert(dice: random.Random, body: bytes) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + dice.randbytes(dice.choice((1, 2, 8))) + body[at:]
