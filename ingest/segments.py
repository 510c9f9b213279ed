"""The segment store: stages rows in DuckDB, seals immutable Parquet segments, retires old ones. The only DuckDB import in this room.

Promise: what `stage` has returned for survives a kill and is sealed at the next start. What was in the buffer and not yet staged is lost.
A segment appears whole or not at all: it is written under a temporary name, then renamed, then listed in `manifest.json`. Staged rows are
deleted after that; a kill in between leaves both, and the next start drops the rows whose segment is already there.

Small segments are merged (`ingest.compaction`), by a thread of its own while others stage and seal. A merged segment names those it replaces; they are listed no more from that moment, and their
files stay a while for readers that opened the list before. A damaged segment is set aside below `damaged/`, counted and named.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowgate.errors import Broken
from flowgate.ids import GatewayId, OrgId
from flowgate.telemetry import TABLES, ColumnType, Segment, Side, Window
from ingest.columns import Staged
from ingest.columns import table as rows_as
from ingest.compaction import Stored, due, over
from ingest.distinct import EXACT, DamagedSketch, Distinct, counted, united
from ingest.patience import patiently
from ingest.tap import Source

Json = dict[str, Any]
_T = TypeVar("_T")

_SQL: Mapping[ColumnType, str] = {
    "u64": "UBIGINT",
    "u32": "UINTEGER",
    "i32": "INTEGER",
    "f64": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "time": "TIMESTAMP",
    "time_ns": "TIMESTAMP_NS",
    "list_u64": "UBIGINT[]",
    "bytes": "BLOB",
}
_PLAIN = "SELECT * EXCLUDE (segment) FROM {rows}"
# How rows staged at different moments become one row of a segment; tables not named here are copied as they are.
_SEALED: Mapping[str, str] = {
    "kv": "SELECT DISTINCT kv_id, key, value, value_type FROM {rows}",
    "series": "SELECT DISTINCT ON (series_id) * EXCLUDE (segment) FROM {rows}",
    "points": """
        SELECT series_id, bucket, sum(count)::UINTEGER AS count, min(first_time) AS first_time, max(last_time) AS last_time,
               arg_min(first, first_time) AS first, arg_max(last, last_time) AS last, sum(increase) AS increase,
               min(min) FILTER (NOT isnan(min)) AS min, max(max) FILTER (NOT isnan(max)) AS max, sum(bytes)::UBIGINT AS bytes, sum(exemplars)::UINTEGER AS exemplars
        FROM {rows} GROUP BY series_id, bucket ORDER BY series_id, bucket""",
    # One weight for all samples of a metric: at least the largest that one has, and so large that about 64 stay. A sample of a smaller weight
    # stays when that many of its rank's low bits are zero, which are used up by it.
    "value_samples": """
        SELECT series_id, metric, time, value, top AS weight, rank // (top / weight)::UBIGINT AS rank
        FROM (SELECT *, greatest(max(weight) OVER same, pow(2, ceil(log2(greatest(1, sum(weight) OVER same / 64))))) AS top
              FROM {rows} WINDOW same AS (PARTITION BY metric))
        WHERE rank % (top / weight)::UBIGINT = 0 ORDER BY metric, time, series_id""",
    "log_counts": """
        SELECT bucket, service, severity_number, sum(count)::UBIGINT AS count, sum(bytes)::UBIGINT AS bytes
        FROM {rows} GROUP BY ALL ORDER BY ALL""",
    "span_counts": """
        SELECT bucket, service, name, kind, sum(count)::UBIGINT AS count, sum(bytes)::UBIGINT AS bytes
        FROM {rows} GROUP BY ALL ORDER BY ALL""",
}
# Values of each label of each metric, once. Many series share a resource, so each metric's distinct resources are taken apart, not its series'.
_LABELS = """
    WITH described AS (SELECT metric, resource_kv, point_kv FROM {series}),
    listed AS (
        SELECT metric, 'point' AS place, kv_id FROM (SELECT DISTINCT metric, unnest(point_kv) AS kv_id FROM described)
        UNION ALL SELECT metric, 'resource', kv_id
        FROM (SELECT DISTINCT metric, unnest(resource_kv) AS kv_id FROM (SELECT DISTINCT metric, resource_kv FROM described))
    )
    SELECT metric, place, key, list(kv_id ORDER BY kv_id) AS ids
    FROM listed JOIN (SELECT DISTINCT kv_id, key FROM {kv}) USING (kv_id) GROUP BY ALL ORDER BY ALL"""
DERIVED = frozenset({"label_sketches"})
"""Tables that are made of others when a segment is sealed; nothing is staged for them."""
STAGED = tuple(table for table in TABLES if table not in DERIVED)
_TIME_COLUMN = {"points": "bucket", "log_counts": "bucket", "span_counts": "bucket"}
TEMPORARY = ".tmp-"
SOFT_MEMORY = "400MB"
"""Of DuckDB, which else keeps whatever it can get."""
MERGING_MEMORY = "200MB"
"""Of merging; what does not fit goes to disk, and what cannot go there is not merged."""
LOG_BYTES = "256MB"
"""The staging file's log may grow to this before it is worked in; nearly all of it is deleted before, with what was sealed."""
DAMAGED = "damaged"
WORKER = "worker_"
"""A folder of that name and a number holds the store of another worker; no org is called so (`flowgate.ids.slug`)."""
LEAVING_SECONDS = 600.0
"""Files of merged segments stay this long after they are listed no more: readers list first and read then."""


@dataclass(slots=True)
class SegmentStore:
    """The tap's store below `root`. One process at a time: DuckDB locks the staging file."""

    root: Path
    bucket_seconds: int
    _db: duckdb.DuckDBPyConnection
    _merging: duckdb.DuckDBPyConnection
    """Knows no staged rows: reads segments and writes one."""
    _open: dict[Source, str] = field(default_factory=dict[Source, str])
    damaged: list[str] = field(default_factory=list[str])
    """Paths of segments that were set aside since the start."""
    unmerged: str | None = None
    """Why the last run of segments could not be merged; None when it could."""
    _stored: dict[str, Stored] = field(default_factory=dict[str, Stored])
    _leaving: list[tuple[float, Path]] = field(default_factory=list[tuple[float, Path]])
    _listed: bool = False
    """Whether the manifest lists what is stored."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """Of what is stored, leaving and listed; never held while rows are read or written."""
    _too_large: set[str] = field(default_factory=set[str])
    """Segments of a run whose merging does not fit into memory."""
    _ends: bool = False
    _most: int = 0
    """Bytes of DuckDB's for what cannot do with `SOFT_MEMORY`; 0: those of the machine."""

    @classmethod
    def open(cls, root: Path, bucket_seconds: int, patience: float = 0.0, most_memory: int = 0) -> SegmentStore:
        """Opens or makes the store, removes half-written segments and seals what a killed tap had staged. Raises `Broken`.

        `patience`: seconds that another process, which may be ending, has to let go of it. `most_memory`: bytes of DuckDB's for what cannot do
        with `SOFT_MEMORY`; 0: as many as the machine has.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            staging = patiently(lambda: _staging(root / "staging.duckdb"), duckdb.IOException, _is_locked, patience)
            _remove_temporary(root)  # of a tap that was killed, not of one that is still writing
            store = cls(root, bucket_seconds, staging, _reading(root), _most=most_memory)
            store._take_stock()
            store._recover()
            store._write_manifest()
        except OSError as error:
            raise Broken(f"{root} cannot be written: {error.strerror}") from error
        except duckdb.Error as error:
            raise Broken(f"{root}/staging.duckdb cannot be opened: {str(error).splitlines()[0]}") from error
        return store

    def stage(self, drained: Mapping[Source, Staged]) -> None:
        """Writes drained rows to the staging file and commits: all of them, or, raising `Broken` when the disk is full, none."""
        try:
            self._roomy(self._db, lambda: self._stage_all(drained))
        except (OSError, duckdb.Error) as error:
            raise Broken(f"{self.root} cannot be written: {str(error).splitlines()[0]}") from error

    def seal(self) -> tuple[Segment, ...]:
        """Turns everything staged into segments, one a source, and lists them."""
        try:
            made = tuple(s for s in (self._seal_one(i) for i in sorted(self._open.values())) if s is not None)
            self._open.clear()
            if made:
                self._write_manifest()
                self._db.execute("CHECKPOINT")  # of nearly empty tables
        except (OSError, duckdb.Error) as error:
            raise Broken(f"{self.root} cannot be written: {str(error).splitlines()[0]}") from error
        return made

    def retire(self, before: datetime, most_bytes: int | None = None, now: float = 0.0) -> int:
        """Lists segments that end before `before` no more, nor the oldest until the rest has `most_bytes`; returns how many. Raises `Broken`.

        Files of the first kind stay for readers that have opened the list, as those of merged segments do; room is made at once.
        """
        with self._lock, self._writing():
            old = {i for i, s in self._stored.items() if s.segment.window.end < before}
            fat = set[str]()
            if most_bytes is not None:
                fat = {s.segment.id for s in over((s for i, s in self._stored.items() if i not in old), most_bytes)}
            gone = {i: self.root / self._stored.pop(i).segment.path for i in old | fat}
            if gone:
                self._write_manifest()
            self._leaving += [(now, path) for i, path in gone.items() if i in old]
        for identity in fat:
            shutil.rmtree(gone[identity], ignore_errors=True)
        return len(gone)

    def compact(self, now: float) -> tuple[Segment, ...]:
        """Merges the runs of small segments that are due and removes the files of those merged ten minutes ago. `now`: seconds of any steady clock.

        A run that cannot be read is looked through: what is damaged is set aside. One that cannot be written, for want of space, waits, and
        `unmerged` says why; one that does not fit into memory is left as it is. Raises `Broken` when the list of segments cannot be written.
        May be called by one thread while another stages, seals and retires.
        """
        with self._lock, self._writing():
            if not self._listed:
                self._write_manifest()
            self._sweep(now)
            runs = due(s for s in self._stored.values() if s.segment.id not in self._too_large)
        with self._writing():
            return tuple([m for m in (self._merged(run, now) for run in runs if self._still_stored(run)) if m is not None])

    def end(self) -> None:
        """What is being merged is given up; nothing is merged any more."""
        self._ends = True
        self._merging.interrupt()

    @contextlib.contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise Broken(f"{self.root} cannot be written: {error.strerror}") from error

    def bytes(self) -> int:
        """Of all listed segments on disk."""
        with self._lock:
            return sum(s.bytes for s in self._stored.values())

    def close(self) -> None:
        self._db.close()
        self._merging.close()

    def _roomy(self, db: duckdb.DuckDBPyConnection, work: Callable[[], _T]) -> _T:
        """Runs `work` within `SOFT_MEMORY`. What cannot be sealed with it, millions of series, has the tap's share for once; merging can wait."""
        try:
            return work()
        except duckdb.OutOfMemoryException:
            if db is self._merging:
                raise
        try:
            return self._with_memory(f"{self._most // 1000}KB" if self._most else _most_memory(), work)
        except duckdb.OutOfMemoryException:
            if not self._most:
                raise
        return self._with_memory(_most_memory(), work)  # one row may be as large as a body: what was promised goes before the bound

    def _with_memory(self, most: str, work: Callable[[], _T]) -> _T:
        self._db.execute(f"SET memory_limit = '{most}'")
        try:
            return work()
        finally:
            with contextlib.suppress(duckdb.Error):  # it cannot give back so much at once: the next time it may
                self._db.execute(f"SET memory_limit = '{SOFT_MEMORY}'")

    # --- staging ---

    def _stage_all(self, drained: Mapping[Source, Staged]) -> None:
        opened = dict(self._open)
        try:
            self._db.execute("BEGIN")
            for source, rows in drained.items():
                self._stage_source(source, rows)
            self._db.execute("COMMIT")
        except (OSError, duckdb.Error):
            self._open = opened
            with contextlib.suppress(duckdb.Error):  # DuckDB may have ended the transaction by itself
                self._db.execute("ROLLBACK")
            raise

    def _stage_source(self, source: Source, rows: Staged) -> None:
        segment = self._open.get(source)
        if segment is None:
            segment = self._open[source] = uuid.uuid4().hex[:16]
            identity = source.identity
            self._db.execute(
                "INSERT INTO staged VALUES (?, ?, ?, ?, ?)",
                [segment, identity.org, identity.gateway or "unknown", source.side.value, "{}"],
            )
        self._reject(segment, rows.rejected)
        for table, columns in rows.tables.items():
            self._db.register("batch", columns)
            self._db.execute(f"INSERT INTO stage_{table} SELECT '{segment}', * FROM batch")
            self._db.unregister("batch")

    def _reject(self, segment: str, rejected: Mapping[str, int]) -> None:
        if not rejected:
            return
        known: dict[str, int] = json.loads(_one(self._db, "SELECT rejected FROM staged WHERE segment = ?", segment))
        merged = {reason: known.get(reason, 0) + rejected.get(reason, 0) for reason in {*known, *rejected}}
        self._db.execute("UPDATE staged SET rejected = ? WHERE segment = ?", [json.dumps(merged), segment])

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
        rows = {table: self._copy(table, segment, temporary) for table in STAGED} | {"label_sketches": 0}
        if rows["series"]:
            rows["label_sketches"] = self._count_labels(self._db, _staged("series", segment), _staged("kv", segment), temporary)
        made = Segment(
            segment, OrgId(org), GatewayId(gateway), Side(side), window, str(path), self.bucket_seconds, rows, json.loads(rejected)
        )
        (temporary / "segment.json").write_text(json.dumps(segment_json(made)))
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(self.root / path)
        self._keep(made)
        self._forget(segment)
        return made

    def _keep(self, segment: Segment) -> None:
        with self._lock:
            self._stored[segment.id] = Stored(segment, _size(self.root / segment.path))

    def _copy(self, table: str, segment: str, folder: Path) -> int:
        return self._copy_rows(self._db, table, _staged(table, segment), folder)

    def _copy_rows(self, db: duckdb.DuckDBPyConnection, table: str, rows: str, folder: Path) -> int:
        if not _one(db, f"SELECT count(*) FROM {rows}"):
            return 0
        select = (_PLAIN if _is_unique(db, table, rows) else _SEALED.get(table, _PLAIN)).format(rows=rows)
        file = str(folder / f"{table}.parquet").replace("'", "''")
        made = self._roomy(db, lambda: db.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)").fetchone())
        return int(made[0]) if made else 0

    def _count_labels(self, db: duckdb.DuckDBPyConnection, series: str, kv: str, folder: Path) -> int:
        listed = self._roomy(db, lambda: db.execute(_LABELS.format(series=series, kv=kv)).to_arrow_table())
        return _write_labels(_sketched(listed), folder)

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
        for table in STAGED:
            self._db.execute(f"DELETE FROM stage_{table} WHERE segment = ?", [segment])
        self._db.execute("DELETE FROM staged WHERE segment = ?", [segment])
        self._db.execute("COMMIT")

    # --- merging and keeping ---

    def _merged(self, run: tuple[Stored, ...], now: float) -> Segment | None:
        temporary = self.root / f"{TEMPORARY}{uuid.uuid4().hex[:16]}"
        try:
            made = self._merge(run, temporary)
        except (OSError, duckdb.Error, pa.ArrowException) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if not self._ends and self._still_stored(run):
                self._not_merged(run, error)
            return None
        self.unmerged = None
        return self._replaced(run, made, now)

    def _still_stored(self, run: Iterable[Stored]) -> bool:
        """False when one of them had to make room meanwhile."""
        with self._lock:
            return all(one.segment.id in self._stored for one in run)

    def _not_merged(self, run: tuple[Stored, ...], error: Exception) -> None:
        self.unmerged = str(error).splitlines()[0]
        if isinstance(error, duckdb.OutOfMemoryException):
            self._too_large.update(one.segment.id for one in run)
            return
        damaged = [one.segment for one in run if not self._sound(one.segment, whole=True)]
        with self._lock:
            for segment in damaged:
                if self._stored.pop(segment.id, None) is not None:
                    self._set_aside(self.root / segment.path)
            if damaged:
                self._write_manifest()

    def _replaced(self, run: tuple[Stored, ...], made: Segment, now: float) -> Segment | None:
        """The merged segment in place of its parts; None when one of them had to make room meanwhile."""
        with self._lock:
            if not self._still_stored(run):
                shutil.rmtree(self.root / made.path, ignore_errors=True)
                return None
            self._keep(made)
            for one in run:
                del self._stored[one.segment.id]
                self._leaving.append((now, self.root / one.segment.path))
            self._write_manifest()
        return made

    def _merge(self, run: tuple[Stored, ...], temporary: Path) -> Segment:
        parts = [s.segment for s in run]
        one, identity = parts[0], temporary.name.removeprefix(TEMPORARY)
        window = Window(min(p.window.start for p in parts), max(p.window.end for p in parts))
        path = Path(one.org, one.gateway, one.side.value, f"{window.start:%Y%m%dT%H%M%SZ}-{identity}")
        temporary.mkdir()
        rows = {table: self._merge_rows(table, parts, temporary) for table in STAGED}
        rows["label_sketches"] = self._unite_labels(parts, temporary) if rows["series"] else 0
        rejected = {reason: sum(p.rejected.get(reason, 0) for p in parts) for reason in {r for p in parts for r in p.rejected}}
        made = Segment(identity, one.org, one.gateway, one.side, window, str(path), one.bucket_seconds, rows, rejected)
        (temporary / "segment.json").write_text(json.dumps(segment_json(made) | {"replaces": [p.id for p in parts]}))
        temporary.rename(self.root / path)
        return made

    def _merge_rows(self, table: str, parts: Sequence[Segment], folder: Path) -> int:
        if self._ends:
            raise duckdb.InterruptException("the tap ends")
        return self._copy_rows(self._merging, table, self._parquet(table, parts), folder) if _holds(parts, table) else 0

    def _unite_labels(self, parts: Sequence[Segment], folder: Path) -> int:
        """From what the parts counted; from their series when one did not count or its sketches are damaged."""
        try:
            if all(p.rows.get("label_sketches") for p in parts if p.rows.get("series")):
                return _write_labels(_united(self.root / p.path / "label_sketches.parquet" for p in parts if p.rows.get("series")), folder)
        except DamagedSketch:
            pass
        return self._count_labels(self._merging, self._parquet("series", parts), self._parquet("kv", parts), folder)

    def _parquet(self, table: str, parts: Iterable[Segment]) -> str:
        files = [str(self.root / p.path / f"{table}.parquet").replace("'", "''") for p in parts if p.rows.get(table)]
        columns = ", ".join(f'"{c}"' for c in TABLES[table])
        return "(SELECT '' AS segment, {} FROM read_parquet([{}]))".format(columns, ", ".join(f"'{f}'" for f in files))

    def _sweep(self, now: float) -> None:
        for since, path in list(self._leaving):
            if now - since >= LEAVING_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
                self._leaving.remove((since, path))

    def _take_stock(self) -> None:
        """Lists what lies below the root: without what a merged segment replaces, without what is damaged."""
        found = {f.name.rpartition("-")[2]: f for f in self.root.glob("*/*/*/*") if f.is_dir() and not self._others(f)}
        sound: dict[str, Json] = {}
        for identity, folder in found.items():
            content = _content(folder)
            if content is None or not self._sound(segment_from_json(content), whole=False):
                self._set_aside(folder)
            else:
                sound[identity] = content
        replaced = {str(r) for c in sound.values() for r in c.get("replaces", ())}  # what a damaged segment replaces stays
        for identity, content in sound.items():
            if identity in replaced:
                shutil.rmtree(found[identity], ignore_errors=True)
            else:
                self._keep(segment_from_json(content))

    def _others(self, folder: Path) -> bool:
        return folder.relative_to(self.root).parts[0].startswith(WORKER)

    def _sound(self, segment: Segment, *, whole: bool) -> bool:
        """Whether every file is there, is Parquet and has as many rows as its segment says; `whole`: and every page can be read."""
        folder = self.root / segment.path
        return all(_readable(folder / f"{table}.parquet", count, whole) for table, count in segment.rows.items() if count)

    def _set_aside(self, folder: Path) -> None:
        name = str(folder.relative_to(self.root))
        target = self.root / DAMAGED / name.replace("/", "_")
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        self.damaged.append(name)

    def _recover(self) -> None:
        sealed = set(self._stored)
        for (segment,) in self._db.execute("SELECT segment FROM staged").fetchall():
            if segment in sealed:
                self._forget(segment)
            else:
                self._seal_one(segment)

    def _write_manifest(self) -> None:
        with self._lock:
            self._listed = False
            listed = sorted((s.segment for s in self._stored.values()), key=lambda s: (s.window.start, s.id))
            _replace(self.root / "manifest.json", json.dumps({"segments": [segment_json(s) for s in listed]}))
            self._listed = True


@dataclass(frozen=True, slots=True)
class FolderSegments:
    """`SegmentSource` over a store's manifest, for readers in any process."""

    root: Path

    def segments(self, org: OrgId, window: Window) -> Sequence[Segment]:
        found = (segment_from_json({**s, "path": str(at / s["path"])}) for at, listed in self._listed() for s in listed)
        return tuple(s for s in found if s.org == org and s.window.overlaps(window))

    def _listed(self) -> list[tuple[Path, list[Json]]]:
        """What each worker's store lists, and where it is below the root."""
        folders = [self.root, *sorted(self.root.glob(f"{WORKER}*"))]
        manifests = ((f.relative_to(self.root), f / "manifest.json") for f in folders)
        return [(at, json.loads(m.read_text())["segments"]) for at, m in manifests if m.is_file()]


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


def _content(folder: Path) -> Json | None:
    """A segment's own description, or None when it cannot be one."""
    try:
        content: Json = json.loads((folder / "segment.json").read_text())
        segment_from_json(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content


def _readable(file: Path, count: int, whole: bool) -> bool:
    try:
        found = pq.read_table(file).num_rows if whole else pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException):
        return False
    return int(found) == count


def _staged(table: str, segment: str) -> str:
    return f"(FROM stage_{table} WHERE segment = '{segment}')"


def _sketched(found: Any) -> Any:
    """Rows of metric, place, key and every id: those with more ids than are kept get a sketch of them instead. Few rows have so many."""
    ids = found.column("ids").combine_chunks()
    many = (np.diff(ids.offsets.to_numpy()) > EXACT).tolist()
    sketches = pa.array([counted(one.as_py()).sketch if over else None for one, over in zip(ids, many, strict=True)], pa.binary())
    if any(many):
        ids = pa.array([None if over else one.as_py() for one, over in zip(ids, many, strict=True)], ids.type)
    return pa.table([*(found.column(c) for c in ("metric", "place", "key")), ids, sketches], names=list(TABLES["label_sketches"]))


def _united(files: Iterable[Path]) -> Any:
    """What several segments counted of each label, as one. Raises `DamagedSketch`."""
    labels: dict[tuple[str, str, str], list[Distinct]] = {}
    for file in files:
        for row in pq.read_table(file).to_pylist():
            part = Distinct(None if row["ids"] is None else tuple(row["ids"]), row["sketch"])
            labels.setdefault((row["metric"], row["place"], row["key"]), []).append(part)
    whole = ((label, united(parts)) for label, parts in sorted(labels.items()))
    return rows_as("label_sketches", ((*label, d.ids, d.sketch) for label, d in whole))


def _write_labels(labels: Any, folder: Path) -> int:
    """Returns how many; none make no file."""
    if labels.num_rows:
        pq.write_table(labels, folder / "label_sketches.parquet", compression="zstd")
    return int(labels.num_rows)


def _holds(parts: Iterable[Segment], table: str) -> bool:
    return any(p.rows.get(table) for p in parts)


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.iterdir())


def _staging(path: Path) -> duckdb.DuckDBPyConnection:
    options: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "threads": "1",
        "memory_limit": SOFT_MEMORY,
        "wal_autocheckpoint": LOG_BYTES,
    }
    db = duckdb.connect(str(path), config=options)
    db.execute("CREATE TABLE IF NOT EXISTS staged (segment VARCHAR, org VARCHAR, gateway VARCHAR, side VARCHAR, rejected VARCHAR)")
    for table in STAGED:
        listed = ", ".join(f'"{name}" {_SQL[kind]}' for name, kind in TABLES[table].items())
        db.execute(f"CREATE TABLE IF NOT EXISTS stage_{table} (segment VARCHAR, {listed})")
    db.execute("CHECKPOINT")
    return db


def _is_locked(error: duckdb.IOException) -> bool:
    """Another process has the staging file: DuckDB says so in words alone."""
    return "lock" in str(error)


def _reading(root: Path) -> duckdb.DuckDBPyConnection:
    options: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false", "threads": "1", "memory_limit": MERGING_MEMORY, "temp_directory": str(root / f"{TEMPORARY}merging"),
    }  # fmt: skip
    return duckdb.connect(":memory:", config=options)


def _one(db: duckdb.DuckDBPyConnection, sql: str, *args: object) -> Any:
    row = db.execute(sql, list(args)).fetchone()
    return row[0] if row else None


def _is_unique(db: duckdb.DuckDBPyConnection, table: str, rows: str) -> bool:
    """Whether each series is named once, as it is but for those that were forgotten meanwhile: then there is nothing to make one of."""
    return table == "series" and bool(_one(db, f"SELECT count(*) = count(DISTINCT series_id) FROM {rows}"))


def _most_memory() -> str:
    """DuckDB's own default: four fifths of the machine's."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') * 4 // 5 // 1000}KB"


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
