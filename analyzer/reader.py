"""Opens a folder of sealed segments as SQL: an in-memory DuckDB with one documented view a table. With `profiler` the only DuckDB import here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flowgate.errors import Broken, NotFound
from flowgate.ids import DEFAULT_ORG, OrgId
from flowgate.telemetry import TABLES, ColumnType

Json = dict[str, Any]

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
}


def open_tap(path: Path | str, org: OrgId = DEFAULT_ORG) -> duckdb.DuckDBPyConnection:
    """A connection over the segments of `org` below `path` (a segment store, or a data folder with `segments/` in it).

    Views: `points`, `log_counts`, `logs`, `span_counts`, `spans` with the columns of `flowgate.telemetry.TABLES` plus `gateway` and `side`;
    `series` and `kv` without duplicates; `series_kv(series_id, place, key, value)`; `segments`. Times are TIMESTAMP in UTC.
    The connection sees the segments listed when it was opened. Raises `NotFound` when there is no store, `Broken` when its manifest is damaged.
    """
    root = _root(Path(path))
    listed = [s for s in _manifest(root) if s["org"] == org]
    db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for table in TABLES:
        _view(db, root, table, listed)
    _segments_view(db, listed)
    db.execute("CREATE VIEW series AS SELECT DISTINCT ON (series_id) * EXCLUDE (gateway, side) FROM all_series")
    db.execute("CREATE VIEW kv AS SELECT DISTINCT kv_id, key, value, value_type FROM all_kv")
    db.execute("""
        CREATE VIEW series_kv AS
        SELECT series_id, place, key, value FROM (
            SELECT series_id, 'resource' AS place, unnest(resource_kv) AS kv_id FROM series
            UNION ALL SELECT series_id, 'point', unnest(point_kv) FROM series
        ) JOIN kv USING (kv_id)""")
    return db


def _root(path: Path) -> Path:
    for root in (path, path / "segments"):
        if (root / "manifest.json").is_file():
            return root
    raise NotFound(f"{path} holds no segments: no manifest.json")


def _manifest(root: Path) -> list[Json]:
    try:
        segments: list[Json] = json.loads((root / "manifest.json").read_text())["segments"]
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(f"{root / 'manifest.json'} is damaged: {error}") from error
    return segments


def _view(db: duckdb.DuckDBPyConnection, root: Path, table: str, listed: list[Json]) -> None:
    """One view over a table's files; without any file, an empty one with the same columns."""
    name = f"all_{table}" if table in ("series", "kv") else table
    files = [(s, root / s["path"] / f"{table}.parquet") for s in listed if s["rows"].get(table)]
    if not files:
        columns = ", ".join(f'NULL::{_SQL[kind]} AS "{column}"' for column, kind in TABLES[table].items())
        db.execute(f"CREATE VIEW {name} AS SELECT {columns}, NULL::VARCHAR AS gateway, NULL::VARCHAR AS side WHERE false")
        return
    owners = {str(file): (s["gateway"], s["side"]) for s, file in files}
    db.execute(f"CREATE TABLE files_{table} (filename VARCHAR, gateway VARCHAR, side VARCHAR)")
    db.executemany(f"INSERT INTO files_{table} VALUES (?, ?, ?)", [[f, *owner] for f, owner in owners.items()])
    quoted = ", ".join("'" + file.replace("'", "''") + "'" for file in owners)
    db.execute(f"""
        CREATE VIEW {name} AS SELECT * EXCLUDE (filename)
        FROM read_parquet([{quoted}], filename = true) JOIN files_{table} USING (filename)""")


def _segments_view(db: duckdb.DuckDBPyConnection, listed: list[Json]) -> None:
    db.execute("CREATE TABLE segments (id VARCHAR, gateway VARCHAR, side VARCHAR, start TIMESTAMP, end_ TIMESTAMP, bucket_seconds INTEGER)")
    rows = [[s["id"], s["gateway"], s["side"], s["start"], s["end"], s["bucket_seconds"]] for s in listed]
    if rows:
        db.executemany("INSERT INTO segments VALUES (?, ?, ?, ?::TIMESTAMPTZ::TIMESTAMP, ?::TIMESTAMPTZ::TIMESTAMP, ?)", rows)
