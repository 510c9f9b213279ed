"""The protobuf library against the kernels: the same bodies through both, and every column of what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.columns import Staged, staged
from ingest.otlp import Decoder, Limits, Malformed, parse
from ingest.tap import Buffer, Kept, Settings, Source
from ingest.wire import Wire
from tests.ingest.otlp_bodies import NOW

KEY = b"k" * 32
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)
KEYS = {
    "kv": ("kv_id",),
    "series": ("series_id",),
    "points": ("series_id", "bucket", "first_time", "last_time", "count", "bytes"),
    "log_counts": ("bucket", "service", "severity_number"),
    "logs": ("time", "body", "trace_id", "span_id", "attributes", "bytes", "severity_number", "severity_text", "service", "weight"),
    "span_counts": ("bucket", "service", "name", "kind"),
    "value_samples": ("series_id", "time", "value"),
    "spans": ("time", "trace_id", "span_id", "name", "attributes", "bytes", "weight", "duration_ns", "parent_span_id", "status"),
}


Bucket = tuple[int, Any]


def rows(drained: Staged | None, ties: set[tuple[Bucket, str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Every table as sorted rows, with what cannot be compared made comparable."""
    if drained is None:
        return {}
    return {name: _rows(name, table, ties) for name, table in drained.tables.items() if name in KEYS}


def ties(drained: Staged | None) -> set[tuple[Bucket, str]]:
    """Buckets written in several rows whose first or last times are in one microsecond, which is what a segment can tell apart."""
    if drained is None or "points" not in drained.tables:
        return set()
    seen: dict[tuple[Bucket, str], set[Any]] = {}
    tied: set[tuple[Bucket, str]] = set()
    for row in drained.tables["points"].to_pylist():
        for column in ("first", "last"):
            key = ((row["series_id"], row["bucket"]), column)
            met = seen.setdefault(key, set())
            if row[f"{column}_time"] in met:
                tied.add(key)
            met.add(row[f"{column}_time"])
    return tied


def _rows(name: str, table: Any, ties: set[tuple[Bucket, str]]) -> list[tuple[Any, ...]]:
    named = _merged(table.to_pylist(), ties) if name == "points" else table.to_pydict()
    ordered = sorted(zip(*(named[c] for c in KEYS[name]), *(named[c] for c in sorted(named)), strict=True), key=repr)
    return [tuple(_comparable(v) for v in row) for row in ordered]


def _merged(rows: list[dict[str, Any]], ties: set[tuple[Bucket, str]]) -> dict[str, list[Any]]:
    """Rows of one series and bucket as one: the scanner writes several when a series left its bucket and came back."""
    merged: dict[tuple[int, Any], dict[str, Any]] = {}
    for row in rows:
        known = merged.setdefault((row["series_id"], row["bucket"]), row)
        if known is row:
            continue
        for column in ("count", "exemplars", "bytes", "increase"):
            known[column] += row[column]
        if row["first_time"] < known["first_time"]:
            known |= {"first_time": row["first_time"], "first": row["first"]}
        if row["last_time"] >= known["last_time"]:
            known |= {"last_time": row["last_time"], "last": row["last"]}
        known["min"] = min(_numbers(known["min"], row["min"]), default=math.nan)
        known["max"] = max(_numbers(known["max"], row["max"]), default=math.nan)
    for row in merged.values():
        row["bytes"] = 0  # each row was rounded by itself; `compare` holds their sum to that
        row["increase"] = f"{row['increase']:.9g}"
        for column in ("first", "last"):
            if ((row["series_id"], row["bucket"]), column) in ties:
                row[column] = 0.0
    return {column: [row[column] for row in merged.values()] for column in rows[0]}


def _numbers(*values: float) -> list[float]:
    return [v for v in values if not math.isnan(v)]


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(value)
    return tuple(value) if isinstance(value, list) else value


@dataclass(slots=True)
class Pair:
    """Both ways side by side, fed with the same bodies."""

    limits: Limits = field(default_factory=Limits)
    settings: Settings = field(default_factory=lambda: Settings(log_samples=2, value_samples=2, trace_sample_bits=1))
    wire: Wire = field(init=False)
    decoder: Decoder = field(init=False)
    buffer: Buffer = field(init=False)

    def __post_init__(self) -> None:
        self.wire = Wire(KEY, self.limits, self.settings)
        self.decoder = Decoder(KEY, self.limits)
        self.buffer = Buffer(self.settings)

    def feed(self, signal: Signal, body: bytes, now: int = NOW) -> Kept | None:
        """What both say of one body, which must be the same; None when both refuse it."""
        left, right = self._wire(signal, body, now), self._reference(signal, body, now)
        assert left == right, f"scanner {left}, reference {right}: {body.hex()}"
        return left

    def _wire(self, signal: Signal, body: bytes, now: int) -> Kept | None:
        try:
            return self.wire.take(SOURCE, signal, body, now)
        except Malformed:
            return None

    def _reference(self, signal: Signal, body: bytes, now: int) -> Kept | None:
        try:
            request = parse(signal, body, "protobuf")
        except Malformed:
            return None
        return self.buffer.add(SOURCE, self.decoder.decode(request, now), self.decoder.series)

    def compare(self) -> dict[str, list[tuple[Any, ...]]]:
        """Drains both into new segments and compares every column; returns the rows."""
        scanned = self.wire.drain().get(SOURCE)
        pending = self.buffer.drain().get(SOURCE)
        read = staged(pending, self.decoder.series, self.decoder.kv) if pending is not None else None
        tied = ties(scanned)
        left, right = rows(scanned, tied), rows(read, tied)
        if scanned is not None and read is not None and "points" in scanned.tables:
            sums = [sum(s.tables["points"]["bytes"].to_pylist()) for s in (scanned, read)]
            assert abs(sums[0] - sums[1]) <= scanned.tables["points"].num_rows
        self.wire.sealed()
        self.buffer.sealed()
        assert left.keys() == right.keys()
        for name in left:
            assert left[name] == right[name], f"{name}: {_first_difference(left[name], right[name])}"
        return left


def _first_difference(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> str:
    only = set(left) - set(right), set(right) - set(left)
    return f"scanner {len(left)} rows, reference {len(right)}; scanner only {list(only[0])[:2]}; reference only {list(only[1])[:2]}"


def agree(signal: Signal, bodies: Iterable[bytes], **kwargs: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Feeds the bodies to a new pair and compares."""
    pair = Pair(**kwargs)
    for body in bodies:
        pair.feed(signal, body)
    return pair.compare()
