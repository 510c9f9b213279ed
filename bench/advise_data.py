"""Segments of many series, as a tap seals them, for `flowgate bench advise` and tests: same arguments, same rows.

Metrics are `svc_<service>.<noun>.<number>`; a few have most of the series. Each service has pods of its own, whose resources are
`service.name`, `k8s.namespace.name`, `k8s.pod.name`, `host.name`, `cloud.region` (constant) and `telemetry.sdk.language` (follows from the
service). Points carry `route`, `method`, `status` and `status_class` (follows from `status`); one metric of `EXPLOSIVE` has a
`user_id` instead of a route, with a value of its own for each series of a pod. What else is planted is told by `Planted`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.telemetry import Segment, Side, Window
from ingest.segments import segment_json

START = datetime(2026, 1, 1, tzinfo=UTC)
EXPLOSIVE = 50
"""One metric in so many has an unbounded label."""
TWIN = 100
"""One metric in so many has the label sets and values of the one before."""
PODS = 20
_NOUNS = ("requests", "errors", "latency", "queue.depth", "cache.hits", "bytes.sent", "gc.pauses", "connections")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_STATUSES = ("200", "201", "204", "301", "400", "404", "429", "500", "503")
_LANGUAGES = ("go", "java", "python", "nodejs", "dotnet")
_KEYS = (
    "service.name", "k8s.namespace.name", "k8s.pod.name", "host.name", "cloud.region", "telemetry.sdk.language",
    "route", "method", "status", "status_class", "user_id",
)  # fmt: skip
_KEY = {key: i for i, key in enumerate(_KEYS)}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Planted:
    """What was written, and what an analysis should find in it."""

    root: Path
    window: Window
    series: int
    metrics: tuple[str, ...]
    """In the order of their numbers; the first have the most series."""
    explosive: tuple[str, ...]
    twins: tuple[tuple[str, str], ...]
    """A metric, and the one that it repeats."""


def write_segments(
    root: Path,
    series: int = 1_000_000,
    metrics: int = 5_000,
    *,
    scrapes: int = 12,
    interval_seconds: int = 15,
    side: Side = Side.IN,
    gateway: str = "bench",
    start: datetime = START,
    segments: int = 4,
) -> Planted:
    """Writes `segments` segments and their manifest below `root`; together they hold `scrapes` points of each series.

    `series` is met exactly when it is at least `metrics`. Each scrape is one bucket of `interval_seconds`.
    """
    sizes = _sizes(series, metrics)
    of = np.repeat(np.arange(metrics), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    described, kv = _described(of, within, metrics)
    names = tuple(_name(k) for k in range(metrics))
    listed: list[dict[str, Any]] = []
    for k, moments in enumerate(np.array_split(np.arange(scrapes), min(segments, scrapes))):
        times = [start + timedelta(seconds=int(m) * interval_seconds) for m in moments]
        window = Window(times[0], times[-1] + timedelta(seconds=interval_seconds))
        folder = root / DEFAULT_ORG / gateway / side.value / f"{window.start:%Y%m%dT%H%M%SZ}-{k}"
        folder.mkdir(parents=True)
        rows = _write(folder, described, kv, _points(described, of, within, moments, times))
        identity = uuid.uuid5(uuid.NAMESPACE_URL, str(folder.relative_to(root))).hex[:16]
        made = Segment(
            identity, DEFAULT_ORG, GatewayId(gateway), side, window, str(folder.relative_to(root)), interval_seconds, rows, {}
        )  # fmt: skip
        (folder / "segment.json").write_text(json.dumps(segment_json(made)))
        listed.append(segment_json(made))
    _list(root, listed)
    return Planted(
        root,
        Window(start, start + timedelta(seconds=scrapes * interval_seconds)),
        int(sizes.sum()),
        names,
        tuple(names[k] for k in range(metrics) if _is_explosive(k)),
        tuple((names[k], names[k - 1]) for k in range(metrics) if _is_twin(k) and sizes[k] == sizes[k - 1]),
    )


def _list(root: Path, listed: list[dict[str, Any]]) -> None:
    """Adds to what the manifest lists."""
    manifest = root / "manifest.json"
    known = json.loads(manifest.read_text())["segments"] if manifest.is_file() else []
    manifest.write_text(json.dumps({"segments": [*known, *listed]}))


def _name(metric: int) -> str:
    return f"svc_{_service(metric):03d}.{_NOUNS[metric % len(_NOUNS)]}.{metric:05d}"


def _service(metric: int) -> int:
    """A twin is of the same service as what it repeats."""
    return (metric - _is_twin(metric)) % 200


def is_gauge(metric: int) -> bool:
    """The others are counters. A twin is as what it repeats."""
    return (metric - _is_twin(metric)) % 3 == 0


def _is_explosive(metric: int) -> bool:
    return metric % EXPLOSIVE == 3


def _is_twin(metric: int) -> bool:
    return metric % TWIN == TWIN - 1


def _sizes(series: int, metrics: int) -> Any:
    """Series a metric: as 1 / rank, at least one; a twin has as many as the one before it."""
    weights = 1.0 / np.arange(1, metrics + 1)
    sizes = np.maximum(1, (weights / weights.sum() * max(0, series - metrics)).astype(np.int64))
    twins = np.flatnonzero(np.arange(metrics) % TWIN == TWIN - 1)
    sizes[twins] = sizes[twins - 1]
    sizes[0] += max(0, series - int(sizes.sum()))
    return sizes


# --- series and their key-values ---------------------------------------------------------------------------------------------------


def _kv_id(key: Any, value: Any) -> Any:
    """An id for each (key, number of the value); never 0."""
    return _mixed((np.asarray(key, np.uint64) << np.uint64(40)) + np.asarray(value, np.uint64) + np.uint64(1))


def _mixed(x: Any) -> Any:
    """splitmix64's finalizer (Steele, Lea, Flood 2014), a permutation: ids that look random and do not collide."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _described(of: Any, within: Any, metrics: int) -> tuple[Any, Any]:
    """The `series` table and the `kv` table."""
    gauge = np.array([is_gauge(k) for k in range(metrics)])
    service = np.array([_service(k) for k in range(metrics)])[of]
    pod = service * PODS + within % PODS
    own = within // PODS
    explosive = of % EXPLOSIVE == 3
    route, method, status = own % 40, own // 40 % 4, own // 160
    user = np.where(explosive, own, 0)
    resource, pods = _resources(pod)
    point = np.stack(
        [
            np.where(explosive, _kv_id(_KEY["user_id"], user), _kv_id(_KEY["route"], route)),
            _kv_id(_KEY["method"], np.where(explosive, 0, method)),
            _kv_id(_KEY["status"], np.where(explosive, 0, status)),
            _kv_id(_KEY["status_class"], np.where(explosive, 0, status // 100)),
        ],
        axis=1,
    )
    table = pa.table(
        {
            "series_id": _mixed((of.astype(np.uint64) << np.uint64(32)) + within.astype(np.uint64) + _MULTIPLIER),
            "metric": _coded(of, [_name(k) for k in range(metrics)]),
            "unit": _coded(np.zeros_like(of), ["1"]),
            "kind": _coded(of, np.where(gauge, "gauge", "sum").tolist()),
            "temporality": _coded(of, np.where(gauge, "unspecified", "cumulative").tolist()),
            "monotonic": ~gauge[of],
            "scope": _coded(service % 7, [f"scope-{k}" for k in range(7)]),
            "service": _coded(service, [f"svc_{k:03d}" for k in range(200)]),
            "prom_series": np.ones(of.size, np.uint32),
            "resource_kv": _lists(resource),
            "point_kv": _lists(point),
        }
    )
    return table, _kv_table(pods, int(own.max()) + 1, int(status.max()) + 1)


def _resources(pod: Any) -> tuple[Any, Any]:
    service = pod // PODS
    columns = [
        ("service.name", service), ("k8s.namespace.name", service // 20), ("k8s.pod.name", pod), ("host.name", pod % 50),
        ("cloud.region", np.zeros_like(pod)), ("telemetry.sdk.language", service % 5),
    ]  # fmt: skip
    return np.stack([_kv_id(_KEY[key], value) for key, value in columns], axis=1), np.unique(pod)


def _kv_table(pods: Any, users: int, statuses: int) -> Any:
    texts: dict[str, list[str]] = {
        "service.name": [f"svc_{k:03d}" for k in range(200)],
        "k8s.namespace.name": [f"team-{k}" for k in range(10)],
        "k8s.pod.name": [f"svc-{k // PODS:03d}-{uuid.uuid5(uuid.NAMESPACE_OID, str(k)).hex[:10]}" for k in range(200 * PODS)],
        "host.name": [f"node-{k}.example.internal" for k in range(50)],
        "cloud.region": ["eu-central-1"],
        "telemetry.sdk.language": list(_LANGUAGES),
        "route": [f"/api/v1/{'orders' if k % 2 else 'carts'}/{k}" for k in range(40)],
        "method": list(_METHODS),
        "status": [str(_STATUSES[k]) if k < len(_STATUSES) else f"{100 + k}" for k in range(statuses)],
        "status_class": [f"class-{k}" for k in range(statuses // 100 + 1)],
        "user_id": [str(uuid.UUID(int=(k + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) for k in range(users)],
    }
    ids = np.concatenate([_kv_id(_KEY[key], np.arange(len(values))) for key, values in texts.items()])
    keys = [key for key, values in texts.items() for _ in values]
    values = [value for each in texts.values() for value in each]
    return pa.table({"kv_id": ids, "key": keys, "value": values, "value_type": ["string"] * len(keys)})


def _coded(codes: Any, words: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.string()))


def _lists(ids: Any) -> Any:
    rows, width = ids.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(ids.ravel()))


# --- points --------------------------------------------------------------------------------------------------------------------------


def _points(described: Any, of: Any, within: Any, moments: Any, times: list[datetime]) -> list[Any]:
    """One table a scrape. A value depends on the metric (a twin: on what it repeats), the series and the scrape alone."""
    like = of - (of % TWIN == TWIN - 1)
    rate = (_mixed(like.astype(np.uint64) * _MULTIPLIER + within.astype(np.uint64)) % np.uint64(1000)).astype(np.float64) + 1
    ids = described.column("series_id")
    return [_scrape(ids, rate, int(m), t) for m, t in zip(moments, times, strict=True)]


def _scrape(ids: Any, rate: Any, scrape: int, time: datetime) -> Any:
    n = len(rate)
    moment = np.full(n, int(time.timestamp() * 1e6), np.int64)
    at = pa.array(moment, pa.timestamp("us"))
    value = rate * (scrape + 1)
    return pa.table(
        {
            "series_id": ids, "bucket": at, "count": np.ones(n, np.uint32), "first_time": at, "last_time": at, "first": value, "last": value,
            "increase": rate, "min": value, "max": value, "bytes": np.full(n, 120, np.uint64), "exemplars": np.zeros(n, np.uint32),
        }
    )  # fmt: skip


def _write(folder: Path, series: Any, kv: Any, points: list[Any]) -> dict[str, int]:
    pq.write_table(series, folder / "series.parquet", compression="zstd")
    pq.write_table(kv, folder / "kv.parquet", compression="zstd")
    with pq.ParquetWriter(folder / "points.parquet", points[0].schema, compression="zstd") as writer:
        for table in points:
            writer.write_table(table)
    return {"kv": kv.num_rows, "series": series.num_rows, "points": sum(p.num_rows for p in points)}
