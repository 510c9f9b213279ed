"""Telemetry: signals, sides, windows, and the columns of a segment: the one contract between tap and profiler.

A segment on disk is a folder of Parquet files, one a table of `TABLES`, each file with exactly the columns listed there, beside a
`segment.json`. Every segment is self-contained: the series and key-values its rows refer to are in it too, so any set of segments can be read.
All times are UTC. Counts in two segments for the same (series, bucket) add up; `min`/`max` combine by min/max.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from flowgate.ids import GatewayId, OrgId


class Signal(StrEnum):
    """One of the three OTLP signals."""

    METRICS = "metrics"
    LOGS = "logs"
    TRACES = "traces"


class Side(StrEnum):
    """Where a copy was taken: before our processors, after them, or a gateway's own telemetry."""

    IN = "in"
    OUT = "out"
    SELF = "self"


class Kind(StrEnum):
    """An OTLP metric's data type."""

    GAUGE = "gauge"
    SUM = "sum"
    HISTOGRAM = "histogram"
    EXPONENTIAL_HISTOGRAM = "exponential_histogram"
    SUMMARY = "summary"


Temporality = Literal["unspecified", "delta", "cumulative"]


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of event time: `start` is in it, `end` is not. Both are aware and UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's ends carry a time zone")
        if self.start >= self.end:
            raise ValueError(f"empty window: {self.start} .. {self.end}")

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def overlaps(self, other: Window) -> bool:
        return self.start < other.end and other.start < self.end

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def bucket_start(moment: datetime, seconds: int) -> datetime:
    """The start of the bucket that `moment` falls in; buckets are `seconds` long and counted from the Unix epoch."""
    epoch = int(moment.timestamp())
    return datetime.fromtimestamp(epoch - epoch % seconds, UTC)


def aligned(window: Window, seconds: int) -> Window:
    """The widest window of whole buckets inside `window`; raises ValueError when there is none."""
    start = bucket_start(window.start, seconds)
    if start < window.start:
        start += timedelta(seconds=seconds)
    return Window(start, bucket_start(window.end, seconds))


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed, immutable piece of what a gateway sent: who, which copy, and which event time it touches."""

    id: str
    org: OrgId
    gateway: GatewayId
    side: Side
    window: Window
    path: str
    """Folder of the segment, relative to the store's root."""
    bucket_seconds: int
    rows: Mapping[str, int]
    """Rows per table."""
    rejected: Mapping[str, int]
    """Items refused or left out while this segment was filled, by reason (`skewed`, `too_many_attributes`, …)."""


ColumnType = Literal["u64", "u32", "i32", "f64", "bool", "text", "time", "time_ns", "list_u64", "bytes"]

TABLES: Mapping[str, Mapping[str, ColumnType]] = {
    # One row per key-value seen. `kv_id` is a keyed 64-bit hash of (key, type, value).
    "kv": {"kv_id": "u64", "key": "text", "value": "text", "value_type": "text"},
    # One row per series seen in the segment. `prom_series` per CONTRACTS (number 1, histogram n+3, exponential 1, summary q+2).
    "series": {
        "series_id": "u64",
        "metric": "text",
        "unit": "text",
        "kind": "text",
        "temporality": "text",
        "monotonic": "bool",
        "scope": "text",
        "service": "text",
        "prom_series": "u32",
        "resource_kv": "list_u64",
        "point_kv": "list_u64",
    },
    # One row per (series, bucket). Values are the point's number; of a histogram or summary its observation count.
    # `increase` is reset-aware (a decrease counts from zero) and includes the step from the last point before the bucket.
    "points": {
        "series_id": "u64",
        "bucket": "time",
        "count": "u32",
        "first_time": "time",
        "last_time": "time",
        "first": "f64",
        "last": "f64",
        "increase": "f64",
        "min": "f64",
        "max": "f64",
        "bytes": "u64",
        "exemplars": "u32",
    },
    # Distinct values by metric and label, `place` being `resource` or `point`: the ids of its key-values while they are few, else a sketch of
    # them (CRC-32, big endian, then a datasketches HLL of lg_k 12). Those of one store can be united.
    "label_sketches": {
        "metric": "text",
        "place": "text",
        "key": "text",
        "ids": "list_u64",
        "sketch": "bytes",
    },
    # Every point, where the tap was told to keep them (`--keep-points`).
    "raw_points": {
        "series_id": "u64",
        "time": "time_ns",
        "value": "f64",
    },
    # Sampled points, about 64 a metric and segment; each stands for `weight` points of its metric. Of a histogram or summary, the value is the
    # observation count; NaN where none was recorded. `rank`: uniform bits that decide what is left when samples are united.
    "value_samples": {
        "series_id": "u64",
        "metric": "text",
        "time": "time",
        "value": "f64",
        "weight": "f64",
        "rank": "u64",
    },
    # Exact counts of every log record, whether or not a sample of it is kept.
    "log_counts": {
        "bucket": "time",
        "service": "text",
        "severity_number": "i32",
        "count": "u64",
        "bytes": "u64",
    },
    # Sampled log records; each stands for `weight` records.
    "logs": {
        "time": "time",
        "service": "text",
        "severity_number": "i32",
        "severity_text": "text",
        "body": "text",
        "attributes": "text",
        "trace_id": "text",
        "span_id": "text",
        "bytes": "u64",
        "weight": "f64",
    },
    # Exact counts of every span.
    "span_counts": {
        "bucket": "time",
        "service": "text",
        "name": "text",
        "kind": "i32",
        "count": "u64",
        "bytes": "u64",
    },
    # Sampled spans (whole traces, by trace-id hash); each stands for `weight` spans.
    "spans": {
        "time": "time",
        "service": "text",
        "name": "text",
        "kind": "i32",
        "trace_id": "text",
        "span_id": "text",
        "parent_span_id": "text",
        "duration_ns": "u64",
        "status": "i32",
        "attributes": "text",
        "bytes": "u64",
        "weight": "f64",
    },
}
"""`attributes` are JSON objects as text; `service` is the resource's `service.name`, or empty."""
