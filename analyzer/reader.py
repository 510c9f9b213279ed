"""Opens a folder of sealed segments as SQL: an in-memory DuckDB with one documented view a table. With `profiler` the only DuckDB import here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasketches
import duckdb

from flowgate.errors import Broken, NotFound
from flowgate.ids import DEFAULT_ORG, OrgId
from flowgate.telemetry import TABLES, ColumnType

Json = dict[str, Any]
_SKETCHES: Any = datasketches  # its names come from a native module without stubs

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


def open_tap(path: Path | str, org: OrgId = DEFAULT_ORG) -> duckdb.DuckDBPyConnection:
    """A connection over the segments of `org` below `path` (a segment store, or a data folder with `segments/` in it).

    Views: `points`, `log_counts`, `logs`, `span_counts`, `spans` with the columns of `flowgate.telemetry.TABLES` plus `gateway` and `side`;
    `series` and `kv` without duplicates; `series_kv(series_id, place, key, value)`; `segments`; `series_seen` (first and last seen, points,
    bytes), `new_series` by hour, `metric_bytes`, `label_bytes` by value, `service_bytes` by signal, `span_bytes`, `label_values` by metric and label, `label_counts` (the same from sketches, without reading series),
    `metric_values`, `log_bodies`. What is estimated has its standard error beside it. Times are TIMESTAMP in UTC.
    The connection sees the segments listed when it was opened. Raises `NotFound` when there is no store, `Broken` when its manifest is damaged.
    """
    root = _root(Path(path))
    listed = [s for s in _manifest(root) if s["org"] == org]
    db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for table in TABLES:
        _view(db, table, listed)
    if len({s["worker"] for s in listed if s["rows"].get("points")}) > 1:
        db.execute(f"CREATE OR REPLACE VIEW points AS {_MERGED_POINTS}")
    _segments_view(db, listed)
    db.execute("CREATE VIEW series AS SELECT DISTINCT ON (series_id) * EXCLUDE (gateway, side) FROM all_series")
    db.execute("CREATE VIEW kv AS SELECT DISTINCT kv_id, key, value, value_type FROM all_kv")
    db.execute("""
        CREATE VIEW series_kv AS
        SELECT series_id, place, key, value FROM (
            SELECT series_id, 'resource' AS place, unnest(resource_kv) AS kv_id FROM series
            UNION ALL SELECT series_id, 'point', unnest(point_kv) FROM series
        ) JOIN kv USING (kv_id)""")
    db.create_function("hll_of", hll_of, ["BLOB[]", "UBIGINT[]"], "STRUCT(estimate DOUBLE, error DOUBLE)")
    for name, query in _DERIVED.items():
        db.execute(f"CREATE VIEW {name} AS {query}")
    return db


WORKER = "worker_"
_MERGED_POINTS = """
    WITH shared AS (
        SELECT series_id, gateway, side FROM worker_points JOIN (SELECT DISTINCT series_id FROM all_series WHERE temporality <> 'delta') USING (series_id)
        GROUP BY ALL HAVING count(DISTINCT worker) > 1),
    ordered AS (
        SELECT *, lag(last) OVER own AS own_last, max(last_time) OVER before AS until, arg_max(last, last_time) OVER before AS reached
        FROM worker_points SEMI JOIN shared USING (series_id, gateway, side)
        WINDOW own AS (PARTITION BY series_id, gateway, side, worker ORDER BY last_time),
               before AS (PARTITION BY series_id, gateway, side ORDER BY first_time, last_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
    steps AS (
        SELECT *, CASE WHEN first >= own_last THEN first - own_last ELSE coalesce(first, 0) END AS own_step,
               CASE WHEN first >= reached THEN first - reached ELSE first END AS step,
               CASE WHEN last >= reached THEN last - reached ELSE last END AS beyond
        FROM ordered),
    insides AS (SELECT *, CASE WHEN count = 1 THEN 0 WHEN own_last IS NULL OR increase < own_step THEN increase ELSE increase - own_step END AS inside FROM steps)
    SELECT * EXCLUDE (worker) FROM worker_points ANTI JOIN shared USING (series_id, gateway, side)
    UNION ALL BY NAME
    SELECT * EXCLUDE (worker, increase, own_last, until, reached, own_step, step, beyond, inside),
           coalesce(nullif(CASE WHEN until IS NULL THEN inside WHEN first_time > until THEN step + inside WHEN last_time <= until THEN 0 ELSE beyond END, 'nan'::DOUBLE), 0) AS increase
    FROM insides"""
"""Points of several workers. Each knew the last value that it saw itself, so the steps of a cumulative series whose points went to more than one
overlap: they are taken anew from one row to the next. Within a bucket in which points of one series alternated between workers, a reset is not seen."""

_DERIVED = {
    "series_seen": """
        SELECT side, series_id, min(first_time) AS first_seen, max(last_time) AS last_seen, sum(count)::UBIGINT AS points, sum(bytes)::UBIGINT AS bytes
        FROM points GROUP BY ALL""",
    "new_series": """
        SELECT side, date_trunc('hour', first_seen) AS hour, metric, service, count(*) AS series
        FROM series_seen JOIN series USING (series_id) GROUP BY ALL""",
    "metric_bytes": """
        SELECT side, metric, count(*) AS series, sum(points)::UBIGINT AS points, sum(bytes)::UBIGINT AS bytes
        FROM series_seen JOIN series USING (series_id) GROUP BY ALL""",
    # Of every series that carries the value: a series counts once under each of its labels, so labels do not add up to their metric.
    "label_bytes": """
        SELECT side, metric, place, key, value, count(*) AS series, sum(points)::UBIGINT AS points, sum(bytes)::UBIGINT AS bytes
        FROM series_seen JOIN series_kv USING (series_id) JOIN series USING (series_id) GROUP BY ALL""",
    "service_bytes": """
        SELECT side, service, signal, sum(items)::UBIGINT AS items, sum(bytes)::UBIGINT AS bytes FROM (
            SELECT side, service, 'metrics' AS signal, points AS items, bytes FROM series_seen JOIN series USING (series_id)
            UNION ALL SELECT side, service, 'logs', count, bytes FROM log_counts
            UNION ALL SELECT side, service, 'traces', count, bytes FROM span_counts
        ) GROUP BY ALL""",
    "span_bytes": """
        SELECT side, service, name, kind, sum(count)::UBIGINT AS spans, sum(bytes)::UBIGINT AS bytes FROM span_counts GROUP BY ALL""",
    "label_values": """
        SELECT side, metric, place, key, count(DISTINCT value) AS distinct_values, count(DISTINCT series_id) AS series
        FROM (SELECT DISTINCT side, series_id FROM all_series) JOIN series_kv USING (series_id) JOIN series USING (series_id) GROUP BY ALL""",
    # Exact while no segment had to sketch; a union of sketches carries the standard error that the library gives it.
    "label_counts": """
        WITH listed AS (
            SELECT side, metric, place, key, list(DISTINCT id) AS ids
            FROM (SELECT side, metric, place, key, unnest(ids) AS id FROM label_sketches) GROUP BY ALL),
        sketched AS (SELECT side, metric, place, key, list(sketch) AS sketches FROM label_sketches WHERE sketch IS NOT NULL GROUP BY ALL),
        united AS (
            SELECT side, metric, place, key, ids, sketches, hll_of(sketches, coalesce(ids, [])) AS hll
            FROM listed FULL JOIN sketched USING (side, metric, place, key))
        SELECT side, metric, place, key, coalesce(hll.estimate, len(ids)::DOUBLE) AS distinct_values,
               coalesce(hll.error, 0.0) AS distinct_values_error, sketches IS NULL AS exact
        FROM united""",
    # One weight a metric and segment; the errors take choices for independent, which those of a stratified sample are not quite: they err high.
    "metric_values": """
        SELECT side, metric, count(*) AS sampled, sum(weight) AS points, sqrt(sum(weight * (weight - 1))) AS points_error,
               sum(value * weight) FILTER (NOT isnan(value)) / sum(weight) FILTER (NOT isnan(value)) AS mean,
               stddev_samp(value) FILTER (NOT isnan(value)) / sqrt(count(*) FILTER (NOT isnan(value))) AS mean_error,
               sum(weight) FILTER (value = 0) / sum(weight) AS zeros, sum(weight) FILTER (value = round(value)) / sum(weight) AS whole_numbers
        FROM value_samples GROUP BY ALL""",
    # A record kept with probability 1 / weight stands for weight records: Horvitz-Thompson, with its standard error for independent choices.
    "log_bodies": """
        SELECT side, service, severity_number, body, count(*) AS sampled, sum(weight) AS records, sqrt(sum(weight * (weight - 1))) AS records_error,
               sum(bytes * weight) AS bytes, sqrt(sum(bytes::DOUBLE * bytes * weight * (weight - 1))) AS bytes_error
        FROM logs GROUP BY ALL""",
}
"""Views made of others, each by side: copies of what came in and of what went out do not mix. Exact, but for `log_bodies`, whose estimates carry their standard error."""


LG_K = 12
CHECKSUM = 4


def hll_of(sketches: list[bytes], ids: list[int]) -> dict[str, float]:
    """Distinct ids in stored sketches (`flowgate.telemetry.TABLES`) and beside them, with its standard error. Raises ValueError for a damaged one."""
    union = _SKETCHES.hll_union(LG_K)
    for stored in sketches:
        sketch = stored[CHECKSUM:]
        if (
            zlib.crc32(sketch).to_bytes(CHECKSUM, "big") != stored[:CHECKSUM]
        ):  # the library trusts its input: a flipped bit can end the process
            raise ValueError("a sketch of distinct values is damaged")
        union.update(_SKETCHES.hll_sketch.deserialize(sketch))
    for one in ids:
        union.update(one)
    return {"estimate": union.get_estimate(), "error": (union.get_upper_bound(1) - union.get_lower_bound(1)) / 2}


def _root(path: Path) -> Path:
    for root in (path, path / "segments"):
        if (root / "manifest.json").is_file():
            return root
    raise NotFound(f"{path} holds no segments: no manifest.json")


def _manifest(root: Path) -> list[Json]:
    """What every worker's store lists, each with its path below the root."""
    found = (folder for folder in (root, *sorted(root.glob(f"{WORKER}*"))) if (folder / "manifest.json").is_file())
    return [
        {**s, "path": str(folder / s["path"]), "worker": folder.name if folder != root else ""} for folder in found for s in _listed(folder)
    ]


def _listed(folder: Path) -> list[Json]:
    try:
        segments: list[Json] = json.loads((folder / "manifest.json").read_text())["segments"]
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(f"{folder / 'manifest.json'} is damaged: {error}") from error
    return segments


def _view(db: duckdb.DuckDBPyConnection, table: str, listed: list[Json]) -> None:
    """One view over a table's files; without any file, an empty one with the same columns. `worker_points` also says whose a row is."""
    name = f"all_{table}" if table in ("series", "kv") else table
    files = [(s, str(Path(s["path"]) / f"{table}.parquet")) for s in listed if s["rows"].get(table)]
    if not files:
        columns = ", ".join(f'NULL::{_SQL[kind]} AS "{column}"' for column, kind in TABLES[table].items())
        db.execute(f"CREATE VIEW {name} AS SELECT {columns}, NULL::VARCHAR AS gateway, NULL::VARCHAR AS side WHERE false")
        return
    db.execute(f"CREATE TABLE files_{table} (filename VARCHAR, gateway VARCHAR, side VARCHAR, worker VARCHAR)")
    db.executemany(f"INSERT INTO files_{table} VALUES (?, ?, ?, ?)", [[file, s["gateway"], s["side"], s["worker"]] for s, file in files])
    quoted = ", ".join("'" + file.replace("'", "''") + "'" for _, file in files)
    read = f"FROM read_parquet([{quoted}], filename = true) JOIN files_{table} USING (filename)"
    db.execute(f"CREATE VIEW {name} AS SELECT * EXCLUDE (filename, worker) {read}")
    db.execute(f"CREATE VIEW worker_{table} AS SELECT * EXCLUDE (filename) {read}")


def _segments_view(db: duckdb.DuckDBPyConnection, listed: list[Json]) -> None:
    db.execute("CREATE TABLE segments (id VARCHAR, gateway VARCHAR, side VARCHAR, start TIMESTAMP, end_ TIMESTAMP, bucket_seconds INTEGER)")
    rows = [[s["id"], s["gateway"], s["side"], s["start"], s["end"], s["bucket_seconds"]] for s in listed]
    if rows:
        db.executemany("INSERT INTO segments VALUES (?, ?, ?, ?::TIMESTAMPTZ::TIMESTAMP, ?::TIMESTAMPTZ::TIMESTAMP, ?)", rows)
