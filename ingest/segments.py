"""The segment store: stages rows in DuckDB, seals immutable Parquet segments, retires old ones. The only DuckDB import in this room.

Promise: what `stage` has returned for survives a kill and is sealed at the next start. What was in the buffer and not yet staged is lost.
A segment appears whole or not at all: it is written under a temporary name, then renamed, then listed in `manifest.json`. Staged rows are
deleted after that; a kill in between leaves both, and the next start drops the rows whose segment is already there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from flowgate.errors import Broken
from flowgate.ids import GatewayId, OrgId
from flowgate.telemetry import TABLES, ColumnType, Segment, Side, Window
from ingest.otlp import KvRow, SeriesRow
from ingest.tap import Pending, Source

Json = dict[str, Any]

_ARROW: Mapping[ColumnType, pa.DataType] = {
    "u64": pa.uint64(),
    "u32": pa.uint32(),
    "i32": pa.int32(),
    "f64": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "time": pa.timestamp("us"),
    "list_u64": pa.list_(pa.uint64()),
}
_SQL: Mapping[ColumnType, str] = {
    "u64": "UBIGINT",
    "u32": "UINTEGER",
    "i32": "INTEGER",
    "f64": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "time": "TIMESTAMP",
    "list_u64": "UBIGINT[]",
}
# How rows staged at different moments become one row of a segment; tables not named here are copied as they are.
_SEALED: Mapping[str, str] = {
    "kv": "SELECT DISTINCT kv_id, key, value, value_type FROM {rows}",
    "series": "SELECT DISTINCT ON (series_id) * EXCLUDE (segment) FROM {rows}",
    "points": """
        SELECT series_id, bucket, sum(count)::UINTEGER AS count, min(first_time) AS first_time, max(last_time) AS last_time,
               arg_min(first, first_time) AS first, arg_max(last, last_time) AS last, sum(increase) AS increase,
               min(min) FILTER (NOT isnan(min)) AS min, max(max) FILTER (NOT isnan(max)) AS max, sum(bytes)::UBIGINT AS bytes
        FROM {rows} GROUP BY series_id, bucket ORDER BY series_id, bucket""",
    "log_counts": """
        SELECT bucket, service, severity_number, sum(count)::UBIGINT AS count, sum(bytes)::UBIGINT AS bytes
        FROM {rows} GROUP BY ALL ORDER BY ALL""",
    "span_counts": """
        SELECT bucket, service, name, kind, sum(count)::UBIGINT AS count, sum(bytes)::UBIGINT AS bytes
        FROM {rows} GROUP BY ALL ORDER BY ALL""",
}
_TIME_COLUMN = {"points": "bucket", "log_counts": "bucket", "span_counts": "bucket"}
TEMPORARY = ".tmp-"
_EPOCH = datetime(1970, 1, 1)


@dataclass(slots=True)
class SegmentStore:
    """The tap's store below `root`. One process at a time: DuckDB locks the staging file."""

    root: Path
    bucket_seconds: int
    _db: duckdb.DuckDBPyConnection
    _open: dict[Source, str]

    @classmethod
    def open(cls, root: Path, bucket_seconds: int) -> SegmentStore:
        """Opens or makes the store, removes half-written segments and seals what a killed tap had staged. Raises `Broken`."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            _remove_temporary(root)
            store = cls(root, bucket_seconds, _staging(root / "staging.duckdb"), {})
            store._recover()
            store._write_manifest()
        except OSError as error:
            raise Broken(f"{root} cannot be written: {error.strerror}") from error
        except duckdb.Error as error:
            raise Broken(f"{root}/staging.duckdb cannot be opened: {str(error).splitlines()[0]}") from error
        return store

    def stage(self, pending: Mapping[Source, Pending], series: Mapping[int, SeriesRow], kv: Mapping[int, KvRow]) -> None:
        """Writes drained rows to the staging file and commits: all of them, or, raising `Broken` when the disk is full, none."""
        opened = dict(self._open)
        try:
            self._db.execute("BEGIN")
            for source, rows in pending.items():
                self._stage_source(source, rows, series, kv)
            self._db.execute("COMMIT")
        except (OSError, duckdb.Error) as error:
            self._open = opened
            with contextlib.suppress(duckdb.Error):  # DuckDB may have ended the transaction by itself
                self._db.execute("ROLLBACK")
            raise Broken(f"{self.root} cannot be written: {str(error).splitlines()[0]}") from error

    def seal(self) -> tuple[Segment, ...]:
        """Turns everything staged into segments, one a source, and lists them."""
        try:
            made = tuple(s for s in (self._seal_one(i) for i in sorted(self._open.values())) if s is not None)
            self._open.clear()
            if made:
                self._write_manifest()
        except (OSError, duckdb.Error) as error:
            raise Broken(f"{self.root} cannot be written: {str(error).splitlines()[0]}") from error
        return made

    def retire(self, before: datetime) -> int:
        """Removes segments that end before `before`; returns how many."""
        old = [s for s in read_segments(self.root) if s.window.end < before]
        for segment in old:
            shutil.rmtree(self.root / segment.path, ignore_errors=True)
        if old:
            self._write_manifest()
        return len(old)

    def close(self) -> None:
        self._db.close()

    # --- staging ---

    def _stage_source(self, source: Source, rows: Pending, series: Mapping[int, SeriesRow], kv: Mapping[int, KvRow]) -> None:
        segment = self._open.get(source)
        if segment is None:
            segment = self._open[source] = uuid.uuid4().hex[:16]
            identity = source.identity
            self._db.execute(
                "INSERT INTO staged VALUES (?, ?, ?, ?, ?)",
                [segment, identity.org, identity.gateway or "unknown", source.side.value, "{}"],
            )
        self._reject(segment, rows.rejected)
        for table, columns in columns_of(rows, series, kv).items():
            if columns[next(iter(columns))]:
                staged = _arrow(table, columns)
                self._db.register("batch", staged)
                self._db.execute(f"INSERT INTO stage_{table} SELECT ?, * FROM batch", [segment])
                self._db.unregister("batch")

    def _reject(self, segment: str, rejected: Mapping[str, int]) -> None:
        if not rejected:
            return
        known: dict[str, int] = json.loads(self._one("SELECT rejected FROM staged WHERE segment = ?", segment))
        merged = {reason: known.get(reason, 0) + rejected.get(reason, 0) for reason in {*known, *rejected}}
        self._db.execute("UPDATE staged SET rejected = ? WHERE segment = ?", [json.dumps(merged), segment])

    def _one(self, sql: str, *args: object) -> Any:
        row = self._db.execute(sql, list(args)).fetchone()
        return row[0] if row else None

    # --- sealing ---

    def _seal_one(self, segment: str) -> Segment | None:
        row = self._db.execute("SELECT org, gateway, side, rejected FROM staged WHERE segment = ?", [segment]).fetchone()
        window = self._window(segment)
        if row is None or window is None:
            self._forget(segment)
            return None
        org, gateway, side, rejected = row
        path = Path(org, gateway, side, f"{window.start:%Y%m%dT%H%M%SZ}-{segment}")
        temporary = self.root / f"{TEMPORARY}{segment}"
        temporary.mkdir()
        rows = {table: self._copy(table, segment, temporary) for table in TABLES}
        made = Segment(
            segment, OrgId(org), GatewayId(gateway), Side(side), window, str(path), self.bucket_seconds, rows, json.loads(rejected)
        )
        (temporary / "segment.json").write_text(json.dumps(segment_json(made)))
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(self.root / path)
        self._forget(segment)
        return made

    def _copy(self, table: str, segment: str, folder: Path) -> int:
        rows = f"(FROM stage_{table} WHERE segment = '{segment}')"
        if not self._one(f"SELECT count(*) FROM {rows}"):
            return 0
        select = _SEALED.get(table, "SELECT * EXCLUDE (segment) FROM {rows}").format(rows=rows)
        file = str(folder / f"{table}.parquet").replace("'", "''")
        made = self._db.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)").fetchone()
        return int(made[0]) if made else 0

    def _window(self, segment: str) -> Window | None:
        """From the first bucket to the end of the last."""
        parts = " UNION ALL ".join(
            f"SELECT min(bucket) AS low, max(bucket) AS high FROM stage_{t} WHERE segment = $1" for t in _TIME_COLUMN
        )
        row = self._db.execute(f"SELECT min(low), max(high) FROM ({parts})", [segment]).fetchone()
        if row is None or row[0] is None:
            return None
        low, high = (moment.replace(tzinfo=UTC) for moment in row)
        return Window(low, high + timedelta(seconds=self.bucket_seconds))

    def _forget(self, segment: str) -> None:
        self._db.execute("BEGIN")
        for table in TABLES:
            self._db.execute(f"DELETE FROM stage_{table} WHERE segment = ?", [segment])
        self._db.execute("DELETE FROM staged WHERE segment = ?", [segment])
        self._db.execute("COMMIT")

    def _recover(self) -> None:
        sealed = {s.id for s in read_segments(self.root)}
        for (segment,) in self._db.execute("SELECT segment FROM staged").fetchall():
            if segment in sealed:
                self._forget(segment)
            else:
                self._seal_one(segment)

    def _write_manifest(self) -> None:
        listed = sorted(read_segments(self.root), key=lambda s: (s.window.start, s.id))
        _replace(self.root / "manifest.json", json.dumps({"segments": [segment_json(s) for s in listed]}))


@dataclass(frozen=True, slots=True)
class FolderSegments:
    """`SegmentSource` over a store's manifest, for readers in any process."""

    root: Path

    def segments(self, org: OrgId, window: Window) -> Sequence[Segment]:
        try:
            listed = json.loads((self.root / "manifest.json").read_text())["segments"]
        except FileNotFoundError:
            return ()
        found = (segment_from_json(s) for s in listed)
        return tuple(s for s in found if s.org == org and s.window.overlaps(window))


def segment_json(segment: Segment) -> Json:
    return {
        "id": segment.id,
        "org": segment.org,
        "gateway": segment.gateway,
        "side": segment.side.value,
        "start": segment.window.start.isoformat(),
        "end": segment.window.end.isoformat(),
        "path": segment.path,
        "bucket_seconds": segment.bucket_seconds,
        "rows": dict(segment.rows),
        "rejected": dict(segment.rejected),
    }


def segment_from_json(value: Json) -> Segment:
    window = Window(datetime.fromisoformat(value["start"]), datetime.fromisoformat(value["end"]))
    return Segment(
        value["id"], OrgId(value["org"]), GatewayId(value["gateway"]), Side(value["side"]), window,
        value["path"], value["bucket_seconds"], value["rows"], value["rejected"],
    )  # fmt: skip


def read_segments(root: Path) -> list[Segment]:
    """Every segment that lies below `root`, by its own `segment.json`."""
    return [segment_from_json(json.loads(f.read_text())) for f in root.glob("*/*/*/*/segment.json")]


def columns_of(rows: Pending, series: Mapping[int, SeriesRow], kv: Mapping[int, KvRow]) -> dict[str, dict[str, list[Any]]]:
    """Drained rows as the columns of TABLES, with every series and key-value that they refer to."""
    named = sorted({key[0] for key in rows.points})
    kvs = sorted({k for s in named for k in (*series[s].resource_kv, *series[s].point_kv)})
    return {
        "kv": _columns("kv", ((k, *kv[k]) for k in kvs)),
        "series": _columns("series", (_series_row(s, series[s]) for s in named)),
        "points": _columns("points", (_point_row(key, a) for key, a in rows.points.items())),
        "log_counts": _columns("log_counts", ((_at(k[0]), *k[1:], int(c), int(b)) for k, (c, b) in rows.log_counts.items())),
        "logs": _columns("logs", (_log_row(r, w) for r, w in rows.logs)),
        "span_counts": _columns("span_counts", ((_at(k[0]), *k[1:], int(c), int(b)) for k, (c, b) in rows.span_counts.items())),
        "spans": _columns("spans", (_span_row(s, w) for s, w in rows.spans)),
    }


def _columns(table: str, rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in TABLES[table]}
    for row in rows:
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return columns


def _series_row(series: int, row: SeriesRow) -> tuple[Any, ...]:
    return (
        series, row.metric, row.unit, row.kind.value, row.temporality, row.monotonic, row.scope, row.service,
        row.prom_series, list(row.resource_kv), list(row.point_kv),
    )  # fmt: skip


def _point_row(key: tuple[int, int], a: Any) -> tuple[Any, ...]:
    times = (_at_ns(a.first_ns), _at_ns(a.last_ns))
    return key[0], _at(key[1]), a.count, *times, a.first, a.last, a.increase, a.low, a.high, round(a.bytes)


def _log_row(record: Any, weight: float) -> tuple[Any, ...]:
    return (
        _at_ns(record.time_ns), record.service, record.severity_number, record.severity_text, record.body,
        record.attributes, record.trace_id, record.span_id, round(record.bytes), weight,
    )  # fmt: skip


def _span_row(span: Any, weight: float) -> tuple[Any, ...]:
    return (
        _at_ns(span.time_ns), span.service, span.name, span.kind, span.trace_id, span.span_id, span.parent_span_id,
        span.duration_ns, span.status, span.attributes, round(span.bytes), weight,
    )  # fmt: skip


def _at(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _at_ns(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def _arrow(table: str, columns: Mapping[str, list[Any]]) -> Any:
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in TABLES[table].items()])
    return pa.table(dict(columns), schema=schema)


def _staging(path: Path) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(str(path), config={"autoinstall_known_extensions": "false", "threads": "1"})
    db.execute("CREATE TABLE IF NOT EXISTS staged (segment VARCHAR, org VARCHAR, gateway VARCHAR, side VARCHAR, rejected VARCHAR)")
    for table, columns in TABLES.items():
        listed = ", ".join(f'"{name}" {_SQL[kind]}' for name, kind in columns.items())
        db.execute(f"CREATE TABLE IF NOT EXISTS stage_{table} (segment VARCHAR, {listed})")
    db.execute("CHECKPOINT")
    return db


def _remove_temporary(root: Path) -> None:
    for left in root.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


def _replace(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never a part."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
