"""What segments say a destination is sent: the totals that a price book is applied to. The SQL lies beside it in `sql/`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from analyzer.pricing import Totals
from flowgate.ids import GatewayId
from flowgate.money import Volume
from flowgate.telemetry import Side, Window, aligned

HOUR = 3600
_FOLDER = Path(__file__).parent / "sql"


class Rows(Protocol):
    def fetchall(self) -> list[Any]: ...


class Database(Protocol):
    """What `analyzer.reader.open_tap` opens."""

    def execute(self, query: str, parameters: object = ..., /) -> Rows: ...


def totals(db: Database, side: Side, window: Window, gateway: GatewayId | None = None) -> Totals:
    """Everything of one side in a window of whole buckets; the history has the whole hours of the window in which metrics were seen."""
    asked = [side.value, _utc(window.start), _utc(window.end), gateway]
    whole = db.execute(_sql("totals"), [*asked, False]).fetchall()
    counted = {
        signal: Volume(points_per_second=int(items) / window.seconds, bytes_per_second=int(size) / window.seconds)
        for signal, items, size in db.execute(_sql("counted"), asked).fetchall()
    }
    return Totals(
        _volume(whole[0], window.seconds) if whole else Volume(),
        counted["logs"],
        counted["traces"],
        _hours(db, side, window, gateway),
    )


def _hours(db: Database, side: Side, window: Window, gateway: GatewayId | None) -> tuple[Volume, ...]:
    try:
        inside = aligned(window, HOUR)
    except ValueError:  # shorter than a whole hour
        return ()
    asked = [side.value, _utc(inside.start), _utc(inside.end), gateway, True]
    return tuple(_volume(row, HOUR) for row in db.execute(_sql("totals"), asked).fetchall())


def _volume(row: tuple[Any, ...], seconds: float) -> Volume:
    _, series, prom_series, points, size, samples = row
    return Volume(int(series), int(prom_series), float(points) / seconds, float(size) / seconds, float(samples) / seconds)


def _sql(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()


def _utc(moment: datetime) -> datetime:
    """Segments hold UTC without a zone; so does the question."""
    return moment.astimezone(UTC).replace(tzinfo=None)
