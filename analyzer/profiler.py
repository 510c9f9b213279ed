"""Segments to profiles. The SQL lies beside it in `sql/`, one file a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from flowgate.actions import Action, DropMetric
from flowgate.advice import LabelProfile, LogProfile, MetricProfile, Profile, SpanProfile
from flowgate.ids import GatewayId
from flowgate.money import Volume
from flowgate.telemetry import Kind, Side, Window

LABELS_FROM_SERIES = 50
"""Metrics with fewer series than this have no label worth looking at."""
_FOLDER = Path(__file__).parent / "sql"


@cache
def _sql(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()


def bucket_seconds(db: duckdb.DuckDBPyConnection) -> int:
    """The longest bucket among the segments: windows that are whole multiples of it are exact. 1 when there are none."""
    row = db.execute("SELECT coalesce(max(bucket_seconds), 1) FROM segments").fetchone()
    return int(row[0]) if row else 1


def profile(db: duckdb.DuckDBPyConnection, side: Side, window: Window, gateway: GatewayId | None = None) -> Profile:
    """What one side sent in a window whose ends are bucket starts (`flowgate.telemetry.aligned`)."""
    asked = _asked(side, window, gateway)
    labels = _labels(db, asked)
    metrics = tuple(_metric(row, window, labels) for row in db.execute(_sql("metrics"), asked).fetchall())
    logs = tuple(
        LogProfile(service, severity, records / window.seconds, size / window.seconds)
        for service, severity, records, size in db.execute(_sql("logs"), asked).fetchall()
    )
    spans = tuple(
        SpanProfile(service, name, count / window.seconds, size / window.seconds)
        for service, name, count, size in db.execute(_sql("spans"), asked).fetchall()
    )
    return Profile(window, metrics, logs, spans)


def volume(
    db: duckdb.DuckDBPyConnection,
    side: Side,
    window: Window,
    actions: Sequence[Action] | None = None,
    gateway: GatewayId | None = None,
) -> Volume:
    """Metrics volume of a side: all of it, or what `actions` would remove from it."""
    names = None if actions is None else [a.metric for a in actions if isinstance(a, DropMetric)]
    row = db.execute(_sql("volume"), [*_asked(side, window, gateway), names]).fetchone()
    if row is None:
        return Volume()
    series, points, size, prom_series = row
    return Volume(int(series), int(prom_series), float(points) / window.seconds, float(size) / window.seconds)


def tap_losses(db: duckdb.DuckDBPyConnection, window: Window, gateway: GatewayId | None = None) -> int | None:
    """Items the gateways failed to hand to the tap in a window, by their own counters (side `self`); None when those were not seen."""
    row = db.execute(_sql("losses"), _asked(Side.SELF, window, gateway)).fetchone()
    return None if row is None or not row[0] else round(row[1])


def _metric(row: tuple[Any, ...], window: Window, labels: dict[tuple[str, str, str], list[LabelProfile]]) -> MetricProfile:
    metric, unit, kind, temporality, monotonic, series, prom_series, points, size, services = row
    return MetricProfile(
        metric,
        unit,
        Kind(kind),
        temporality,
        monotonic,
        Volume(int(series), int(prom_series), float(points) / window.seconds, float(size) / window.seconds),
        tuple(services or ()),
        tuple(labels[metric, unit, kind]),
    )


def _labels(db: duckdb.DuckDBPyConnection, asked: list[Any]) -> dict[tuple[str, str, str], list[LabelProfile]]:
    found: dict[tuple[str, str, str], list[LabelProfile]] = defaultdict(list)
    for metric, unit, kind, label, place, distinct, without, examples in db.execute(
        _sql("labels"), [*asked, LABELS_FROM_SERIES]
    ).fetchall():
        found[metric, unit, kind].append(LabelProfile(label, place, int(distinct), int(without), tuple(examples)))
    return found


def _asked(side: Side, window: Window, gateway: GatewayId | None) -> list[Any]:
    return [side.value, _utc(window.start), _utc(window.end), gateway]


def _utc(moment: datetime) -> datetime:
    """Segments hold UTC without a zone; so does the question."""
    return moment.astimezone(UTC).replace(tzinfo=None)
