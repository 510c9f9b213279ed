"""What the buffer holds as Arrow tables with the columns of a segment (`flowgate.telemetry.TABLES`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from flowgate.telemetry import TABLES, ColumnType
from ingest.otlp import KvRow, LogItem, SeriesRow, SpanItem
from ingest.tap import Aggregate, Pending, Sampled

_ARROW: Mapping[ColumnType, pa.DataType] = {
    "u64": pa.uint64(),
    "u32": pa.uint32(),
    "i32": pa.int32(),
    "f64": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "time": pa.timestamp("us"),
    "time_ns": pa.timestamp("ns"),
    "list_u64": pa.list_(pa.uint64()),
    "bytes": pa.binary(),
}
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Staged:
    """What one source sent between two drains: a table by its name in TABLES, and the items rejected, by reason."""

    tables: Mapping[str, Any]
    rejected: Mapping[str, int]


def staged(rows: Pending, series: Mapping[int, SeriesRow], kv: Mapping[int, KvRow]) -> Staged:
    """Drained rows as tables, with every series and key-value that they refer to."""
    named = sorted({key[0] for key in rows.points})
    kvs = sorted({k for s in named for k in (*series[s].resource_kv, *series[s].point_kv)})
    tables = {
        "kv": table("kv", ((k, *kv[k]) for k in kvs)),
        "series": table("series", (_series_row(s, series[s]) for s in named)),
        "points": table("points", (_point_row(key, a) for key, a in rows.points.items())),
        "value_samples": table("value_samples", (_sample_row(v) for v in rows.values)),
        "log_counts": table("log_counts", ((_at(k[0]), *k[1:], int(c), int(b)) for k, (c, b) in rows.log_counts.items())),
        "logs": log_table(rows.logs),
        "span_counts": table("span_counts", ((_at(k[0]), *k[1:], int(c), int(b)) for k, (c, b) in rows.span_counts.items())),
        "spans": span_table(rows.spans),
    }
    return Staged({name: made for name, made in tables.items() if made.num_rows}, dict(rows.rejected))


def table(name: str, rows: Iterable[tuple[Any, ...]]) -> Any:
    """Rows in the order of the columns of `TABLES[name]`."""
    columns: dict[str, list[Any]] = {column: [] for column in TABLES[name]}
    for row in rows:
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return pa.table(dict(columns), schema=pa.schema([(column, _ARROW[kind]) for column, kind in TABLES[name].items()]))


def log_table(logs: Iterable[tuple[LogItem, float]]) -> Any:
    """Sampled log records and what each stands for."""
    return table("logs", (_log_row(r, w) for r, w in logs))


def span_table(spans: Iterable[tuple[SpanItem, float]]) -> Any:
    """Sampled spans and what each stands for."""
    return table("spans", (_span_row(s, w) for s, w in spans))


def _series_row(series: int, row: SeriesRow) -> tuple[Any, ...]:
    return (
        series, row.metric, row.unit, row.kind.value, row.temporality, row.monotonic, row.scope, row.service,
        row.prom_series, list(row.resource_kv), list(row.point_kv),
    )  # fmt: skip


def _point_row(key: tuple[int, int], a: Aggregate) -> tuple[Any, ...]:
    times = (_at_ns(a.first_ns), _at_ns(a.last_ns))
    return key[0], _at(key[1]), a.count, *times, a.first, a.last, a.increase, a.low, a.high, round(a.bytes), a.exemplars


def _sample_row(sample: Sampled) -> tuple[Any, ...]:
    return sample.series, sample.metric, _at_ns(sample.time_ns), sample.value, float(sample.weight), sample.rank


def _log_row(record: LogItem, weight: float) -> tuple[Any, ...]:
    return (
        _at_ns(record.time_ns), record.service, record.severity_number, record.severity_text, record.body,
        record.attributes, record.trace_id, record.span_id, round(record.bytes), weight,
    )  # fmt: skip


def _span_row(span: SpanItem, weight: float) -> tuple[Any, ...]:
    return (
        _at_ns(span.time_ns), span.service, span.name, span.kind, span.trace_id, span.span_id, span.parent_span_id,
        span.duration_ns, span.status, span.attributes, round(span.bytes), weight,
    )  # fmt: skip


def _at(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _at_ns(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)
