"""Segments to profiles. The SQL lies beside it in `sql/`, one file a question; what its rows mean is decided in pure modules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.compute
from numpy.typing import NDArray

from analyzer import shapes
from analyzer.cardinality import LabelTable
from analyzer.labelling import (
    SHAPED,
    SHAPED_FROM,
    Classifier,
    Column,
    KeyValues,
    Rows,
    columns,
    looked_at,
    metric_columns,
    profiled,
    resource_attributes,
    shape_name,
    shaped,
    table,
)
from analyzer.redundancy import Cells, Compared, compare, same_sums, summed
from flowgate.actions import Action, DropMetric, Label
from flowgate.advice import (
    AttributeProfile,
    LabelProfile,
    LogProfile,
    MetricProfile,
    Owner,
    Profile,
    ResourceAttribute,
    SpanProfile,
    Twin,
    Untold,
)
from flowgate.ids import GatewayId
from flowgate.money import Volume
from flowgate.telemetry import Kind, Side, Signal, Temporality, Window

_ARROW: Any = pyarrow.compute  # its functions are made when it is imported
LABELS_FROM_SERIES = 50
"""Metrics with fewer series than this have no label worth looking at."""
OWNERS = 20
LABEL_SETS = 16
"""Of each metric, whose values are compared with other metrics'."""
MOST_SUMMED = 20
"""Pairs of metrics of which one may be the other summed over labels, that are looked at."""
ATTRIBUTES = 500
"""Of log records and spans, the costliest."""
MOST_SHAPED = 60_000
"""Values looked at for their shape, over all labels: some 50 microseconds each."""
HOURS_OF_A_DAY = 22
"""With points, for a day to be whole: a restart may cost two."""
SECONDS_OF_A_DAY = 86_400.0
_FOLDER = Path(__file__).parent / "sql"
_BOUNDS = Untold("bounds", "segments say how many bounds a histogram has, and not which")


@cache
def _sql(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()


def bucket_seconds(db: duckdb.DuckDBPyConnection) -> int:
    """The longest bucket among the segments: windows that are whole multiples of it are exact. 1 when there are none."""
    row = db.execute("SELECT coalesce(max(bucket_seconds), 1) FROM segments").fetchone()
    return int(row[0]) if row else 1


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question about one side and window, over a connection of its own: its tables are seen by nobody else."""

    db: duckdb.DuckDBPyConnection
    side: Side
    window: Window
    gateway: GatewayId | None
    reached: tuple[datetime, datetime] | None
    """First and last moment that segments touch."""

    @property
    def seconds(self) -> float:
        return self.window.seconds

    @property
    def previous(self) -> Window | None:
        """The window of the same length before, if segments reach over the whole of it."""
        before = Window(self.window.start - (self.window.end - self.window.start), self.window.start)
        return before if self.reached is not None and self.reached[0] <= before.start else None

    @property
    def seen(self) -> tuple[datetime, datetime]:
        """The part of the window that segments touch."""
        first, last = self.reached or (self.window.start, self.window.end)
        return max(first, self.window.start), min(last, self.window.end)

    def rows(self, name: str, *args: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(_sql(name), list(args) or None).fetchall()

    def over(self, name: str, window: Window) -> list[tuple[Any, ...]]:
        return self.rows(name, *_asked(self.side, window, self.gateway))

    def volume(self, series: Any, prom_series: Any, points: Any, size: Any, samples: Any) -> Volume:
        """From counts of the window."""
        return Volume(int(series), int(prom_series), points / self.seconds, size / self.seconds, samples / self.seconds)


def profile(
    db: duckdb.DuckDBPyConnection, side: Side, window: Window, gateway: GatewayId | None = None, classify: Classifier | None = None
) -> Profile:
    """What one side sent in a window whose ends are bucket starts (`flowgate.telemetry.aligned`).

    `classify` names the shapes of values, by default as `analyzer.shapes` does. docs/profiles.md says what each figure means and how far it
    can be off.
    """
    classify = classify or (shapes.classify if shapes.available() else None)
    asked = _prepared(db, side, window, gateway)
    asked.over("intervals", window)
    asked = _without_gap(asked)
    kvs = _key_values(asked)
    resources, paid = _resources(asked, kvs)
    labels, attributes = dict(_labels(asked, resources, kvs)), _attributes(asked)
    shape_of = _shapes([*(values for of in labels.values() for _, values in of), *(values for _, values in attributes)], classify)
    metrics = _metrics(asked, {number: tuple(shaped(p, shape_of(v)) for p, v in of) for number, of in labels.items()})
    compared = _compared(asked, metrics)
    return Profile(
        window,
        metrics,
        _logs(asked),
        _spans(asked),
        paid,
        compared.twins,
        tuple(replace(a, shape=shape_name(shape_of(v))) for a, v in attributes),
        tuple(_untold(asked, compared.cannot_tell, classify is not None)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class MetricTable:
    """The series of one metric as columns of its labels, and the points that each sent in the window."""

    metric: str
    unit: str
    kind: Kind
    temporality: Temporality
    monotonic: bool
    table: LabelTable
    points: NDArray[np.float64]


def label_tables(
    db: duckdb.DuckDBPyConnection, side: Side, window: Window, metrics: Sequence[str], gateway: GatewayId | None = None
) -> tuple[MetricTable, ...]:
    """Of the metrics with these names, one for each unit and kind: what tells how many series are left without any set of labels."""
    asked = _prepared(db, side, window, gateway, metrics)
    for table_read in ("seen", "before", "known"):
        asked.db.execute(f"DROP TABLE {table_read}")  # what is left needs the memory
    kvs = _key_values(asked)
    resources, _ = _resources(asked, kvs)
    heads = {row[0]: row[1:] for row in asked.db.execute("FROM names").fetchall()}
    return tuple(
        MetricTable(*_head(heads[number]), left, points) for number, _, left, points in _tables(asked, resources, kvs, from_series=0)
    )


def history(db: duckdb.DuckDBPyConnection, side: Side, window: Window, gateway: GatewayId | None = None) -> dict[str, dict[date, Volume]]:
    """What each metric sent on each whole day of a window, in UTC: what `analyzer.forecast` goes by.

    A metric that sent nothing on a day that was seen sent nothing; a day that was not seen, or not nearly all of it, is absent.
    """
    asked = _asked(side, window, gateway)
    days = [row[0] for row in db.execute(_sql("days"), [*asked, HOURS_OF_A_DAY]).fetchall()]
    found: dict[str, dict[date, Volume]] = {}
    for metric, day, series, prom_series, *rates in db.execute(_sql("history"), asked).fetchall():
        of = found.setdefault(metric, dict.fromkeys(days, Volume()))
        if day in of:
            of[day] = Volume(int(series), int(prom_series), *(rate / SECONDS_OF_A_DAY for rate in rates))
    return found


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


def _asked(side: Side, window: Window, gateway: GatewayId | None) -> list[Any]:
    return [side.value, _utc(window.start), _utc(window.end), gateway]


def _utc(moment: datetime) -> datetime:
    """Segments hold UTC without a zone; so does the question."""
    return moment.astimezone(UTC).replace(tzinfo=None)


# --- the series seen -------------------------------------------------------------------------------------------------------------


def _prepared(
    db: duckdb.DuckDBPyConnection, side: Side, window: Window, gateway: GatewayId | None, metrics: Sequence[str] | None = None
) -> _Asked:
    """Reads the points once, and the series that they are of: all, or those of some metrics."""
    own = db.cursor()
    first, last = own.execute(_sql("covered"), [side.value, gateway]).fetchall()[0]
    reached = None if first is None else (first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))
    asked = _Asked(own, side, window, gateway, reached)
    asked.over("seen", window)
    # An empty window is none: nothing was before where the window before was not seen.
    asked.over("before", asked.previous) if asked.previous else own.execute(_sql("unseen"))
    asked.rows("known", side.value, None if metrics is None else list(metrics))
    for name in ("names", "resources", "described"):
        asked.rows(name)
    return asked


def _without_gap(asked: _Asked) -> _Asked:
    """Where nothing was seen for a while in the window before, it was not seen as a whole: a tap that was away must not look like a rise."""
    if asked.previous is None or not asked.over("gap", asked.previous)[0][0]:
        return asked
    asked.rows("unseen")
    return replace(asked, reached=asked.seen)


def _untold(asked: _Asked, not_compared: int, has_shapes: bool) -> Iterator[Untold]:
    yield _BOUNDS
    if not has_shapes:
        yield Untold("shape", "scikit-learn is not installed")
    if asked.previous is None:
        yield Untold("previous", "segments do not reach over the whole window before, or nothing at all was seen for a part of it")
    if not_compared:
        yield Untold("twins", f"{not_compared} metric(s) had too few values, or too few different ones, to be compared")


# --- metrics ---------------------------------------------------------------------------------------------------------------------


def _metrics(asked: _Asked, labels: Mapping[int, tuple[LabelProfile, ...]]) -> tuple[MetricProfile, ...]:
    previous = {number: asked.volume(*counts) for number, *counts in asked.rows("previous")}
    churn = {n: rest for n, *rest in asked.rows("churn", asked.previous is not None, _utc(asked.seen[1]))}
    owners = _owners(asked)
    nothing = Volume() if asked.previous else None
    return tuple(
        _metric(asked, row, labels.get(row[0], ()), churn[row[0]], previous.get(row[0], nothing), owners[row[0]])
        for row in asked.rows("metrics")
    )


def _metric(
    asked: _Asked,
    row: tuple[Any, ...],
    labels: tuple[LabelProfile, ...],
    churn: Sequence[Any],
    previous: Volume | None,
    owners: Sequence[Owner],
) -> MetricProfile:
    _, metric, unit, kind, temporality, monotonic, *counts, services, buckets = row
    born, ended, interval = churn
    return MetricProfile(
        metric,
        unit,
        Kind(kind),
        temporality,
        monotonic,
        asked.volume(*counts),
        tuple(services or ()),
        labels,
        interval,
        born,
        ended,
        previous,
        buckets=buckets,
        owners=tuple(owners),
    )


def _owners(asked: _Asked) -> dict[int, list[Owner]]:
    owners: dict[int, list[Owner]] = defaultdict(list)
    for number, service, scope, namespace, *counts in asked.rows("owners", OWNERS):
        owners[number].append(Owner(service, scope, namespace, asked.volume(*counts)))
    return owners


def _compared(asked: _Asked, metrics: Sequence[MetricProfile]) -> Compared:
    window = _asked(asked.side, asked.window, asked.gateway)
    buckets = asked.over("buckets", asked.window)[0][0]
    found = compare(_cells(asked, "cells", "cell", buckets, *window, LABEL_SETS), [m.metric for m in metrics])
    known = {t.metric for t in found.twins}
    summed_up = (t for t in _summed_up(asked, metrics) if t.metric not in known)
    return replace(found, twins=tuple(sorted((*found.twins, *summed_up), key=lambda t: (t.metric, t.relation, t.of))))


def _summed_up(asked: _Asked, metrics: Sequence[MetricProfile]) -> Iterator[Twin]:
    """Metrics that are another one, summed over some of its labels. The same sums may be chance: what is cheap to refuse is refused first."""
    window = _asked(asked.side, asked.window, asked.gateway)
    sums = _cells(asked, "sums", "bucket", 1, *window)
    pairs = ((metrics[a], metrics[b], a, b) for a, b in same_sums(sums, [m.volume.series for m in metrics]))
    alike = (
        pair for pair in pairs if pair[0].metric != pair[1].metric and pair[0].unit == pair[1].unit and pair[0].services == pair[1].services
    )
    for coarse, fine, *numbers in islice(alike, MOST_SUMMED):
        over = tuple(Label("point", key) for (key,) in asked.rows("over", *numbers) if key)
        held = summed(asked.rows("summed", *window, *numbers, LABEL_SETS)) if over else None
        if held is not None:
            yield Twin(coarse.metric, "aggregate", (fine.metric,), *held, over)


def _cells(asked: _Asked, name: str, cell: str, buckets: int, *args: Any) -> Cells:
    found = asked.db.execute(_sql(name), list(args)).to_arrow_table()
    return Cells(_numbers(found, "number"), _numbers(found, cell).astype(np.uint64), _numbers(found, "value"), max(1, buckets))


# --- labels ----------------------------------------------------------------------------------------------------------------------


def _key_values(asked: _Asked) -> KeyValues:
    found = asked.db.execute(_sql("key_values")).to_arrow_table().combine_chunks()
    keys = found.column("key").combine_chunks().dictionary_encode()  # in the order in which they come, which is their own
    ids, values = (found.column(name).combine_chunks() for name in ("kv_id", "value"))
    codes, names = keys.indices.to_numpy(zero_copy_only=False).astype(np.int64), keys.dictionary.to_pylist()
    return KeyValues(
        lambda wanted: _ARROW.index_in(wanted, value_set=ids).fill_null(-1).to_numpy(zero_copy_only=False),
        tuple(names),
        np.searchsorted(codes, np.arange(len(names) + 1)),
        codes,
        lambda rows: values.take(rows).to_pylist(),
        _numbers(found, "bytes"),
    )


def _resources(asked: _Asked, kvs: KeyValues) -> tuple[tuple[Column, ...], tuple[ResourceAttribute, ...]]:
    """Attributes of all resources, a row a resource, and what they cost."""
    found = asked.db.execute(_sql("exports")).to_arrow_table().combine_chunks()
    begins, items = _lists(found, "resource_kv")
    of = tuple(columns("resource", kvs.find(items), np.repeat(np.arange(found.num_rows), np.diff(begins)), found.num_rows, kvs))
    return of, resource_attributes(of, _numbers(found, "series"), _numbers(found, "exports"), asked.seconds, kvs)


def _labels(asked: _Asked, resources: Sequence[Column], kvs: KeyValues) -> Iterator[tuple[int, list[tuple[LabelProfile, tuple[str, ...]]]]]:
    """Of each metric with enough series: its labels, each with the values to be looked at for its shape."""
    for number, of, left, points in _tables(asked, resources, kvs, LABELS_FROM_SERIES):
        values = {c.label: looked_at(c, kvs) for c in of}
        yield number, [(p, values[p.key]) for p in profiled(of, left, points, asked.seconds, kvs)]


def _tables(
    asked: _Asked, resources: Sequence[Column], kvs: KeyValues, from_series: int
) -> Iterator[tuple[int, tuple[Column, ...], LabelTable, NDArray[np.float64]]]:
    """Of each metric with enough series: its number, its labels, its series and their points."""
    found = asked.db.execute(_sql("labels"), [from_series]).to_arrow_table().combine_chunks()
    if np.any(np.diff(_numbers(found, "number")) < 0):
        found = found.take(np.argsort(_numbers(found, "number"), kind="stable")).combine_chunks()
    begins, ids = _lists(found, "point_kv")
    number, resource, scope, points = (_numbers(found, name) for name in ("number", "resource", "scope", "points"))
    rows = Rows(number, resource, scope, points, begins, kvs.find(ids))
    for metric, part in rows.metrics():
        of = metric_columns(rows, part, resources, kvs)
        yield metric, of, table(of, part.stop - part.start, scope[part].astype(np.uint32)), points[part]


def _head(row: Sequence[Any]) -> tuple[str, str, Kind, Temporality, bool]:
    metric, unit, kind, temporality, monotonic = row
    return metric, unit, Kind(kind), temporality, monotonic


def _shapes(looked_at: Sequence[Sequence[str]], classify: Classifier | None) -> Callable[[Sequence[str]], list[str]]:
    """What gives the shapes of values that are looked at: of all of them, or of a part where they are very many."""
    if classify is None:
        return lambda values: []
    every = max(1, -(-sum(map(len, looked_at)) // MOST_SHAPED))
    texts = sorted({value for values in looked_at for value in values[::every]})
    known = dict(zip(texts, classify(texts), strict=True))
    return lambda values: [known[value] for value in values[::every]]


def _numbers(found: Any, column: str) -> Any:
    return found.column(column).combine_chunks().to_numpy(zero_copy_only=False)


def _lists(found: Any, column: str) -> tuple[Any, Any]:
    """Where each row's items begin, and at last where the last one's end, and the items, an Arrow array."""
    lists = found.column(column).combine_chunks()
    return lists.offsets.to_numpy().astype(np.int64), lists.values


# --- logs and spans --------------------------------------------------------------------------------------------------------------


def _logs(asked: _Asked) -> tuple[LogProfile, ...]:
    before = _before(asked, "logs")
    return tuple(
        replace(
            LogProfile(service, severity, records / asked.seconds, size / asked.seconds),
            previous_per_second=None if before is None else before.get((service, severity), 0.0),
        )
        for service, severity, records, size in asked.over("logs", asked.window)
    )


def _spans(asked: _Asked) -> tuple[SpanProfile, ...]:
    before = _before(asked, "spans")
    failed = {(service, name): share or 0.0 for service, name, share in asked.over("failed", asked.window)}
    return tuple(
        SpanProfile(
            service,
            name,
            count / asked.seconds,
            size / asked.seconds,
            None if before is None else before.get((service, name), 0.0),
            failed.get((service, name)),
        )
        for service, name, count, size in asked.over("spans", asked.window)
    )


def _attributes(asked: _Asked) -> list[tuple[AttributeProfile, tuple[str, ...]]]:
    """Each with the values to be looked at for its shape."""
    window = _asked(asked.side, asked.window, asked.gateway)
    return [_attribute(asked, *row) for row in asked.rows("attributes", *window, ATTRIBUTES, SHAPED)]


def _attribute(
    asked: _Asked,
    signal: str,
    service: str,
    key: str,
    items: float,
    item_bytes: float,
    carrying: float,
    size: float,
    mean: float,
    longest: int,
    sampled: int,
    values: list[str],
) -> tuple[AttributeProfile, tuple[str, ...]]:
    of = Signal.LOGS if signal == Signal.LOGS.value else Signal.TRACES
    share = size / item_bytes if item_bytes else 0.0
    different = tuple(dict.fromkeys(values))
    made = AttributeProfile(of, service, key, carrying / items, size / asked.seconds, mean, longest, sampled, bytes_share=share)
    return made, different if len(different) >= SHAPED_FROM else ()


def _before(asked: _Asked, name: str) -> dict[tuple[Any, Any], float] | None:
    """Items a second in the window before, by what they are counted by."""
    if asked.previous is None:
        return None
    return {(row[0], row[1]): row[2] / asked.seconds for row in asked.over(name, asked.previous)}
