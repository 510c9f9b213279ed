"""Writes a small segment store as the tap would, with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowgate.telemetry import TABLES, Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = Window(T0, T0 + timedelta(seconds=60))
TYPES = {
    "u64": pa.uint64(), "u32": pa.uint32(), "i32": pa.int32(), "f64": pa.float64(), "bool": pa.bool_(), "text": pa.string(),
    "time": pa.timestamp("us"), "list_u64": pa.list_(pa.uint64()),
}  # fmt: skip


@dataclass
class Store:
    """Rows by table; `write` makes one segment of them."""

    root: Path
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {t: [] for t in TABLES})
    segments: list[dict[str, Any]] = field(default_factory=list)
    _kv: dict[tuple[str, str], int] = field(default_factory=dict)
    _series: int = 0

    def kv(self, key: str, value: str) -> int:
        if (key, value) not in self._kv:
            self._kv[key, value] = len(self._kv) + 1
            self.rows["kv"].append({"kv_id": self._kv[key, value], "key": key, "value": value, "value_type": "string"})
        return self._kv[key, value]

    def series(
        self,
        metric: str,
        labels: Mapping[str, str] | None = None,
        *,
        resource: Mapping[str, str] | None = None,
        points: int = 60,
        kind: str = "gauge",
        unit: str = "",
        monotonic: bool = False,
        prom_series: int = 1,
        increase: float = 0.0,
        at: datetime = T0,
    ) -> None:
        """One series with `points` points in one bucket."""
        self._series += 1
        self.rows["series"].append(
            {
                "series_id": self._series, "metric": metric, "unit": unit, "kind": kind, "temporality": "cumulative", "monotonic": monotonic,
                "scope": "", "service": (resource or {}).get("service.name", ""), "prom_series": prom_series,
                "resource_kv": [self.kv(k, v) for k, v in (resource or {}).items()],
                "point_kv": [self.kv(k, v) for k, v in (labels or {}).items()],
            }
        )  # fmt: skip
        moment = at.replace(tzinfo=None)
        self.rows["points"].append(
            {
                "series_id": self._series, "bucket": moment, "count": points, "first_time": moment, "last_time": moment, "first": 0.0,
                "last": 0.0, "increase": increase, "min": 0.0, "max": 0.0, "bytes": points * 50, "exemplars": 0,
            }
        )  # fmt: skip

    def logs(self, service: str, severity: int, count: int) -> None:
        row = {"bucket": T0.replace(tzinfo=None), "service": service, "severity_number": severity, "count": count, "bytes": count * 100}
        self.rows["log_counts"].append(row)

    def write(self, side: str = "in", gateway: str = "g", org: str = "default") -> Path:
        """Seals what was added since the last call as one segment; returns the root."""
        name = f"s{len(self.segments)}"
        folder = self.root / org / gateway / side / name
        folder.mkdir(parents=True)
        for table, rows in self.rows.items():
            if rows:
                schema = pa.schema([(n, TYPES[k]) for n, k in TABLES[table].items()])
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{table}.parquet")
        self.segments.append(
            {
                "id": name, "org": org, "gateway": gateway, "side": side, "start": T0.isoformat(),
                "end": (T0 + timedelta(seconds=60)).isoformat(), "path": str(folder.relative_to(self.root)), "bucket_seconds": 5,
                "rows": {t: len(r) for t, r in self.rows.items()}, "rejected": {},
            }
        )  # fmt: skip
        (self.root / "manifest.json").write_text(json.dumps({"segments": self.segments}))
        self.rows = {t: [] for t in TABLES}
        self._kv = {}
        return self.root


def names(rows: Sequence[Any]) -> list[str]:
    return [r.metric for r in rows]
