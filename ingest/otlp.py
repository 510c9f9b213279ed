"""OTLP protobuf and OTLP/JSON to batches, through the protobuf library: reference and fallback of a compiled scanner behind the same door.

Identity: a series is resource attributes + scope + metric name + unit + kind + temporality + point attributes (CONTRACTS). `series_id` and
`kv_id` are keyed 64-bit hashes (`ingest.identity`); the order of attributes does not matter. Bytes of an item are its own canonical protobuf
bytes, without fields that this version does not know, plus an equal share of the resource, scope and metric it travels under.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from flowgate.errors import Refused
from flowgate.telemetry import Kind, Signal, Temporality
from ingest.identity import METRIC, SCOPE, TEXT, TRACE, Identity64, mum

Request = ExportMetricsServiceRequest | ExportLogsServiceRequest | ExportTraceServiceRequest
Encoding = Literal["protobuf", "json"]

_REQUESTS: Mapping[Signal, type[ExportMetricsServiceRequest] | type[ExportLogsServiceRequest] | type[ExportTraceServiceRequest]] = {
    Signal.METRICS: ExportMetricsServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
}
_TEMPORALITY: tuple[Temporality, ...] = ("unspecified", "delta", "cumulative")
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_ID_FIELDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
MAX_JSON_DEPTH = 64
_NS = 1_000_000_000


class Malformed(Refused):
    """A body that is not the OTLP request it claims to be; nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may hold; an item beyond is rejected by itself, with its reason, never its batch."""

    attributes: int = 128
    name_length: int = 512
    """Bytes of UTF-8 of a metric's name or an attribute's key."""
    value_length: int = 4096
    """Protobuf bytes of an attribute's value; characters of a log body that are kept."""
    resource_value_length: int = 65_536
    """The same for a resource's attributes: a long command line must not hide a service."""
    buckets: int = 512
    """Of a histogram's point, or quantiles of a summary's; an exponential histogram has at most so many on either side of zero."""
    past_seconds: int = 24 * 3600
    """Older items are `skewed`: they lie outside the retention."""
    ahead_seconds: int = 600


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series as the `series` table holds it."""

    metric: str
    unit: str
    kind: Kind
    temporality: Temporality
    monotonic: bool
    scope: str
    service: str
    prom_series: int
    resource_kv: tuple[int, ...]
    point_kv: tuple[int, ...]


KvRow = tuple[str, str, str]
"""(key, value as text, value type)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One data point. `value` is None when none was recorded; of a histogram or summary it is the observation count."""

    series: int
    time_ns: int
    value: float | None
    bytes: float
    exemplars: int = 0


@dataclass(frozen=True, slots=True)
class LogItem:
    time_ns: int
    service: str
    severity_number: int
    severity_text: str
    body: str
    attributes: str
    trace_id: str
    span_id: str
    bytes: float
    rank: int
    """Uniform 64 bits that decide whether a sample holds it: of its trace id, or without one of its body and time."""


@dataclass(frozen=True, slots=True)
class SpanItem:
    time_ns: int
    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_span_id: str
    duration_ns: int
    status: int
    attributes: str
    bytes: float
    rank: int
    """Uniform 64 bits of its trace id: a sample holds whole traces."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request holds: received = points + logs + spans + rejected, always."""

    received: int
    points: tuple[Point, ...] = ()
    logs: tuple[LogItem, ...] = ()
    spans: tuple[SpanItem, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])


Body = bytes | memoryview


def parse(signal: Signal, body: Body, encoding: Encoding) -> Request:
    """The request in `body`; raises `Malformed` saying why it is not one."""
    try:
        if encoding == "protobuf":
            known = _REQUESTS[signal].FromString(bytes(body))
            known.DiscardUnknownFields()
            return known
        message = _REQUESTS[signal]()
        value = json.loads(bytes(body))
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        json_format.ParseDict(_with_base64_ids(value, 0), message, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError, TypeError, AttributeError) as error:
        # protobuf's JSON parser answers some shapes that are not the message's with the last two
        raise Malformed(f"not an OTLP {signal.value} request: {error}") from None
    return message


def _with_base64_ids(value: Any, depth: int) -> Any:
    """OTLP/JSON writes trace and span ids as hex (OTLP specification, "JSON Protobuf Encoding"); protobuf's JSON wants base64."""
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        return {k: _id64(v) if k in _ID_FIELDS and isinstance(v, str) else _with_base64_ids(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_base64_ids(v, depth + 1) for v in value]
    return value


def _id64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


@dataclass(slots=True)
class _Context:
    """A resource, scope and metric that points travel under, and the ids of the series seen under it by their attributes' bytes."""

    identity: int
    row: SeriesRow
    head_size: int
    reason: str | None
    known: dict[tuple[bytes, ...], int] = field(default_factory=dict[tuple[bytes, ...], int])


MAX_CONTEXTS = 100_000
"""Contexts remembered; they are a cache, and forgotten together when there are more."""


@dataclass(slots=True)
class Decoder:
    """Requests to batches. Remembers the series and key-values it has met: `series` and `kv` grow by what each batch brings.

    Not safe for two threads at once. At `max_series` a new series is rejected as `too_many_series`.
    """

    key: bytes
    limits: Limits = field(default_factory=Limits)
    max_series: int = 1_000_000
    series: dict[int, SeriesRow] = field(default_factory=dict[int, SeriesRow])
    kv: dict[int, KvRow] = field(default_factory=dict[int, KvRow])
    identity: Identity64 = field(init=False)
    _contexts: dict[tuple[object, ...], _Context] = field(default_factory=dict[tuple[object, ...], _Context])

    def __post_init__(self) -> None:
        self.identity = Identity64(self.key)

    def decode(self, request: Request, now_ns: int) -> Batch:
        """The batch in `request`; `now_ns` decides what is skewed."""
        work = _Work(now_ns - self.limits.past_seconds * _NS, now_ns + self.limits.ahead_seconds * _NS)
        if isinstance(request, ExportMetricsServiceRequest):
            self._metrics(request, work)
        elif isinstance(request, ExportLogsServiceRequest):
            self._logs(request, work)
        else:
            self._spans(request, work)
        return work.batch()

    # --- metrics ---

    def _metrics(self, request: ExportMetricsServiceRequest, work: _Work) -> None:
        for group in request.resource_metrics:
            resource = group.resource.SerializeToString()
            items = sum(len(_points(m)) for s in group.scope_metrics for m in s.metrics)
            for scoped in group.scope_metrics:
                scope = scoped.scope.SerializeToString()
                own = sum(len(_points(m)) for m in scoped.metrics)
                shares = (len(scope) / own if own else 0.0, len(resource) / items if items else 0.0)
                for metric in scoped.metrics:
                    if _points(metric):
                        context = self._context(metric, group.resource.attributes, (resource, scope), scoped.scope.name)
                        self._metric(metric, context, shares, work)

    def _metric(self, metric: Metric, context: _Context, shares: tuple[float, float], work: _Work) -> None:
        points = _points(metric)
        if context.reason is not None:
            work.reject(context.reason, len(points))
            return
        share = context.head_size / len(points)
        for point in points:
            self._point(point, context, (share, *shares), work)

    def _context(self, metric: Metric, resource: Sequence[KeyValue], where: tuple[bytes, bytes], scope: str) -> _Context:
        head = metric_head(metric)
        kind, temporality, monotonic = kind_of(metric)
        key = (*where, head, kind, temporality, monotonic)
        known = self._contexts.get(key)
        if known is None:
            kvs = self._kv_ids(resource)
            reason = self.wrong_resource(resource) or self.wrong_name(metric.name)
            row = SeriesRow(metric.name, metric.unit, kind, temporality, monotonic, scope, service_of(resource), 1, kvs, ())
            names = metric_identity(self.identity, metric.name, metric.unit, kind, temporality, monotonic)
            identity = self.identity.context(self.identity.resource(kvs), self.identity.hash(where[1], SCOPE), names)
            if len(self._contexts) >= MAX_CONTEXTS:
                self._contexts.clear()
            known = self._contexts[key] = _Context(identity, row, len(head), reason)
        return known

    def _point(self, point: Any, context: _Context, shares: tuple[float, float, float], work: _Work) -> None:
        if not work.in_time(point.time_unix_nano):
            return
        if _buckets(point, context.row.kind) > self.limits.buckets:
            work.reject("too_many_buckets")
            return
        attributes = tuple([a.SerializeToString() for a in point.attributes])
        series = context.known.get(attributes)
        if series is None:
            series = self._new_series(point, context, attributes, work)
            if series is None:
                return
        value = None if point.flags & _NO_VALUE else _value(point, context.row.kind)
        exemplars = len(point.exemplars) if context.row.kind is not Kind.SUMMARY else 0
        size = point.ByteSize() + shares[0] + shares[1] + shares[2]
        work.points.append(Point(series, point.time_unix_nano, value, size, exemplars))

    def _new_series(self, point: Any, context: _Context, attributes: tuple[bytes, ...], work: _Work) -> int | None:
        reason = self.wrong(point.attributes)
        if reason is None and len(self.series) >= self.max_series:
            reason = "too_many_series"
        if reason is not None:
            work.reject(reason)
            return None
        kvs = self._kv_ids(point.attributes)
        series = self.identity.series(context.identity, kvs)
        row = context.row
        described = SeriesRow(
            row.metric, row.unit, row.kind, row.temporality, row.monotonic, row.scope, row.service,
            _prom_series(point, row.kind), row.resource_kv, kvs,
        )  # fmt: skip
        self.series.setdefault(series, described)
        context.known[attributes] = series
        return series

    # --- logs and spans ---

    def _logs(self, request: ExportLogsServiceRequest, work: _Work) -> None:
        for group in request.resource_logs:
            service, reason = service_of(group.resource.attributes), self.wrong_resource(group.resource.attributes)
            items = sum(len(s.log_records) for s in group.scope_logs)
            for scoped in group.scope_logs:
                if reason is not None:
                    work.reject(reason, len(scoped.log_records))
                    continue
                for record in scoped.log_records:
                    size = record.ByteSize() + scoped.scope.ByteSize() / len(scoped.log_records) + group.resource.ByteSize() / items
                    self._log(record, service, size, work)

    def _log(self, record: LogRecord, service: str, size: float, work: _Work) -> None:
        if not work.in_time(record.time_unix_nano or record.observed_time_unix_nano):
            return
        reason = self.wrong(record.attributes)
        if reason is not None:
            work.reject(reason)
            return
        work.logs.append(self.log_item(record, service, size))

    def log_item(self, record: LogRecord, service: str, size: float) -> LogItem:
        """A record as a row of `logs` holds it; `size` in bytes with its shares."""
        moment = record.time_unix_nano or record.observed_time_unix_nano
        body, _ = _text(record.body)
        return LogItem(
            moment, service, int(record.severity_number), record.severity_text, body[: self.limits.value_length],
            _attributes_json(record.attributes), record.trace_id.hex(), record.span_id.hex(), size, self._log_rank(record, moment),
        )  # fmt: skip

    def _log_rank(self, record: LogRecord, moment: int) -> int:
        if record.trace_id:
            return self.identity.hash(record.trace_id, TRACE)
        s0, _, _, s3 = self.identity.secrets
        return mum(self.identity.hash(record.body.SerializeToString(), TEXT) ^ s3, moment ^ s0)

    def _spans(self, request: ExportTraceServiceRequest, work: _Work) -> None:
        for group in request.resource_spans:
            service, reason = service_of(group.resource.attributes), self.wrong_resource(group.resource.attributes)
            items = sum(len(s.spans) for s in group.scope_spans)
            for scoped in group.scope_spans:
                if reason is not None:
                    work.reject(reason, len(scoped.spans))
                    continue
                for span in scoped.spans:
                    size = span.ByteSize() + scoped.scope.ByteSize() / len(scoped.spans) + group.resource.ByteSize() / items
                    self._span(span, service, size, work)

    def _span(self, span: Span, service: str, size: float, work: _Work) -> None:
        if not work.in_time(span.start_time_unix_nano):
            return
        reason = self.wrong(span.attributes)
        if reason is not None:
            work.reject(reason)
            return
        work.spans.append(self.span_item(span, service, size))

    def span_item(self, span: Span, service: str, size: float) -> SpanItem:
        """A span as a row of `spans` holds it; `size` in bytes with its shares."""
        return SpanItem(
            span.start_time_unix_nano, service, span.name[: self.limits.name_length], int(span.kind), span.trace_id.hex(),
            span.span_id.hex(), span.parent_span_id.hex(), max(0, span.end_time_unix_nano - span.start_time_unix_nano),
            int(span.status.code), _attributes_json(span.attributes), size, self.identity.hash(span.trace_id, TRACE),
        )  # fmt: skip

    # --- identity ---

    def wrong_name(self, name: str) -> str | None:
        """Why a metric cannot be called so; None when it can."""
        return None if 0 < _length(name) <= self.limits.name_length else "bad_name"

    def wrong_resource(self, attributes: Sequence[KeyValue]) -> str | None:
        """Why a resource is beyond the limits; None when it is not. What travels under it is rejected with it."""
        return self.wrong(attributes, self.limits.resource_value_length)

    def wrong(self, attributes: Sequence[KeyValue], value_length: int | None = None) -> str | None:
        """Why these attributes are beyond the limits; None when they are not."""
        most = self.limits.value_length if value_length is None else value_length
        if len(attributes) > self.limits.attributes:
            return "too_many_attributes"
        for attribute in attributes:
            if _length(attribute.key) > self.limits.name_length:
                return "attribute_name_too_long"
            if attribute.value.ByteSize() > most:
                return "attribute_value_too_long"
        return None

    def _kv_ids(self, attributes: Iterable[KeyValue]) -> tuple[int, ...]:
        ids: list[int] = []
        for attribute in attributes:
            kv = self.identity.kv(attribute.key.encode(), attribute.value.SerializeToString())
            if kv not in self.kv:
                self.kv[kv] = kv_row(attribute)
            ids.append(kv)
        return tuple(sorted(ids))


def kv_row(attribute: KeyValue) -> KvRow:
    """A key-value as a row of `kv` holds it."""
    return attribute.key, *_text(attribute.value)


def metric_head(metric: Metric) -> bytes:
    """A metric without its data, in canonical form."""
    head = Metric(name=metric.name, description=metric.description, unit=metric.unit, metadata=metric.metadata)
    return head.SerializeToString()


def metric_identity(identity: Identity64, name: str, unit: str, kind: Kind, temporality: str, monotonic: bool) -> int:
    """What of a series' identity its metric gives."""
    return identity.hash(_joined((name.encode(), unit.encode(), kind.encode(), temporality.encode(), bytes([monotonic]))), METRIC)


@dataclass(slots=True)
class _Work:
    """One batch being made."""

    oldest: int
    newest: int
    points: list[Point] = field(default_factory=list[Point])
    logs: list[LogItem] = field(default_factory=list[LogItem])
    spans: list[SpanItem] = field(default_factory=list[SpanItem])
    rejected: Counter[str] = field(default_factory=Counter[str])

    def reject(self, reason: str, items: int = 1) -> None:
        if items:
            self.rejected[reason] += items

    def in_time(self, time_ns: int) -> bool:
        if self.oldest <= time_ns <= self.newest:
            return True
        self.reject("skewed")
        return False

    def batch(self) -> Batch:
        kept = len(self.points) + len(self.logs) + len(self.spans)
        return Batch(kept + self.rejected.total(), tuple(self.points), tuple(self.logs), tuple(self.spans), dict(self.rejected))


def _buckets(point: Any, kind: Kind) -> int:
    match kind:
        case Kind.HISTOGRAM:
            return max(len(point.bucket_counts), len(point.explicit_bounds))
        case Kind.EXPONENTIAL_HISTOGRAM:
            return max(len(point.positive.bucket_counts), len(point.negative.bucket_counts))
        case Kind.SUMMARY:
            return len(point.quantile_values)
        case _:
            return 0


def _length(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _points(metric: Metric) -> Sequence[Any]:
    data = metric.WhichOneof("data")
    return getattr(metric, data).data_points if data else ()


def kind_of(metric: Metric) -> tuple[Kind, Temporality, bool]:
    """Kind, temporality, and whether it is monotonic."""
    data = metric.WhichOneof("data") or "gauge"
    holder = getattr(metric, data)
    # An enum that is open: a number this version does not know is as good as none.
    number = holder.aggregation_temporality if data in _WITH_TEMPORALITY else 0
    temporality = _TEMPORALITY[number] if 0 <= number < len(_TEMPORALITY) else "unspecified"
    return Kind(data), temporality, bool(data == "sum" and holder.is_monotonic)


_WITH_TEMPORALITY = frozenset({"sum", "histogram", "exponential_histogram"})


def _prom_series(point: Any, kind: Kind) -> int:
    """CONTRACTS: number 1; explicit histogram with n bounds n+3; exponential 1; summary q+2."""
    match kind:
        case Kind.HISTOGRAM:
            return len(point.explicit_bounds) + 3
        case Kind.SUMMARY:
            return len(point.quantile_values) + 2
        case _:
            return 1


def _value(point: Any, kind: Kind) -> float | None:
    if kind in (Kind.GAUGE, Kind.SUM):
        which = point.WhichOneof("value")
        value = float(getattr(point, which)) if which else None
    else:
        value = float(point.count)
    return value if value is not None and math.isfinite(value) else None


def service_of(attributes: Iterable[KeyValue]) -> str:
    """`service.name`, or empty."""
    return next((a.value.string_value for a in attributes if a.key == "service.name"), "")


def _joined(parts: Iterable[bytes]) -> bytes:
    """Length-prefixed, so that no two lists of parts join to the same bytes."""
    return b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def _text(value: AnyValue) -> tuple[str, str]:
    """A value as text, and its type's name."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return "", "empty"
        case "string_value":
            return value.string_value, "string"
        case "bool_value":
            return ("true" if value.bool_value else "false"), "bool"
        case "int_value":
            return str(value.int_value), "int"
        case "double_value":
            return repr(value.double_value), "double"
        case "bytes_value":
            return value.bytes_value.hex(), "bytes"
        case "string_value_strindex":  # an index into a table that only profiles carry: the text is not here
            return str(value.string_value_strindex), "strindex"
        case _:
            return json.dumps(_plain(value), sort_keys=True), kind.removesuffix("_value")


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(v) for v in value.array_value.values]
        case "kvlist_value":
            return {v.key: _plain(v.value) for v in value.kvlist_value.values}
        case _:
            return _text(value)[0]


def _attributes_json(attributes: Iterable[KeyValue]) -> str:
    return json.dumps({a.key: _plain(a.value) for a in attributes}, sort_keys=True)
