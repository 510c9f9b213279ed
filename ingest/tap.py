"""The tap's buffer: batches go in, rows for the store come out. Pure: time is an argument, chance is derived from ids.

Aggregates are exact: each kept point counts once in its (series, bucket). Log records and spans are counted exactly and sampled: the first
`log_samples` records of a (service, severity) between two drains are kept one for one, then one in 2, 4, 8, … by a hash, with the weight to match.

Of the points of each metric in a segment a stratified reservoir keeps the first `value_samples`, then one of each two, of each four, …: its points
are numbered as they come, and cut into strata whose width doubles; the point taken from one decides by a hash which of the next is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from flowgate.errors import Busy
from flowgate.ports import Identity
from flowgate.telemetry import Side
from ingest.identity import mum
from ingest.otlp import Batch, LogItem, Point, SeriesRow, SpanItem

_NS = 1_000_000_000
_Key = TypeVar("_Key")
MAX_ROWS = 2_000_000


class Source(NamedTuple):
    """Who sent it and which copy it is."""

    identity: Identity
    side: Side


@dataclass(slots=True)
class Aggregate:
    """One series in one bucket; what the `points` table holds."""

    count: int
    first_ns: int
    last_ns: int
    first: float
    last: float
    increase: float
    low: float
    high: float
    bytes: float
    exemplars: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The whole batch was taken: `items` kept, `rejected` by reason."""

    items: int
    rejected: Mapping[str, int]


class Sampled(NamedTuple):
    """A point that stands for `weight` points of its metric."""

    series: int
    metric: str
    time_ns: int
    value: float
    weight: int
    rank: int


@dataclass(slots=True)
class Pending:
    """What one source sent since the last drain."""

    points: dict[tuple[int, int], Aggregate] = field(default_factory=dict[tuple[int, int], Aggregate])
    log_counts: dict[tuple[int, str, int], list[float]] = field(default_factory=dict[tuple[int, str, int], list[float]])
    logs: list[tuple[LogItem, float]] = field(default_factory=list[tuple[LogItem, float]])
    logs_seen: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    span_counts: dict[tuple[int, str, str, int], list[float]] = field(default_factory=dict[tuple[int, str, str, int], list[float]])
    spans: list[tuple[SpanItem, float]] = field(default_factory=list[tuple[SpanItem, float]])
    values: list[Sampled] = field(default_factory=list["Sampled"])
    rejected: Counter[str] = field(default_factory=Counter[str])

    def rows(self) -> int:
        return len(self.points) + len(self.log_counts) + len(self.logs) + len(self.span_counts) + len(self.spans)


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of the buffer. `max_rows` pending rows over all sources make it busy; buckets are `bucket_seconds` long."""

    bucket_seconds: int = 5
    max_rows: int = MAX_ROWS
    log_samples: int = 1_000
    value_samples: int = 64
    trace_sample_bits: int = 0
    """Whole traces are kept when this many leading bits of their id's hash are zero: one in 2^bits."""
    retry_after: float = 1.0


@dataclass(slots=True)
class Totals:
    """Since the start."""

    points: int = 0
    log_records: int = 0
    spans: int = 0
    refused: int = 0


_MIX_OFFSET, _MIX_RANK = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
"""Odd constants that keep two uses of one series' id apart; the id itself is a keyed hash."""
_SAMPLES_BITS = 14


@dataclass(slots=True)
class _Reservoir:
    """Points of one metric met in the open segment, the next to take, and the stratum it is taken from."""

    seen: int = 0
    next: int = 0
    base: int = 0
    width: int = 1


@dataclass(slots=True)
class _Reservoirs:
    """Of one source. Each 16,384 samples in one segment double the width of the strata that begin after them."""

    samples: int
    taken: int = 0
    metrics: dict[tuple[object, ...], _Reservoir] = field(default_factory=dict[tuple[object, ...], _Reservoir])

    def offer(self, point: Point, row: SeriesRow) -> Sampled | None:
        """The sample that the point becomes, or None."""
        metric = self.metrics.setdefault((row.metric, row.unit, row.kind, row.temporality, row.monotonic), _Reservoir())
        number, weight = metric.seen, metric.width
        metric.seen += 1
        if number != metric.next:
            return None
        self.taken += 1
        metric.base += weight
        metric.width = _log_weight(metric.base + 1, self.samples) << min(self.taken >> _SAMPLES_BITS, 16)
        metric.next = metric.base + (mum(point.series ^ _MIX_OFFSET, point.time_ns ^ metric.base) & (metric.width - 1))
        value = float("nan") if point.value is None else point.value
        return Sampled(point.series, row.metric, point.time_ns, value, weight, mum(point.series ^ _MIX_RANK, point.time_ns))


@dataclass(slots=True)
class Buffer:
    """Takes batches until it is full, and is drained by the store. Not safe for two threads at once."""

    settings: Settings = field(default_factory=Settings)
    pending: dict[Source, Pending] = field(default_factory=dict[Source, Pending])
    totals: Totals = field(default_factory=Totals)
    _last: dict[tuple[Source, int], tuple[int, float]] = field(default_factory=dict[tuple[Source, int], tuple[int, float]])
    _reservoirs: dict[Source, _Reservoirs] = field(default_factory=dict[Source, _Reservoirs])

    def add(self, source: Source, batch: Batch, series: Mapping[int, SeriesRow]) -> Kept:
        """Takes the whole batch, or raises `Busy` and takes nothing. `series` describes every series the batch names."""
        if self.rows() >= self.settings.max_rows:
            self.totals.refused += batch.received
            raise Busy("the tap's buffer is full", self.settings.retry_after)
        pending = self.pending.setdefault(source, Pending())
        reservoirs = self._reservoirs.setdefault(source, _Reservoirs(self.settings.value_samples))
        for point in batch.points:
            self._point(source, pending, point, series[point.series])
            sample = reservoirs.offer(point, series[point.series])
            if sample is not None:
                pending.values.append(sample)
        for record in batch.logs:
            self._log(pending, record)
        for span in batch.spans:
            self._span(pending, span)
        pending.rejected.update(batch.rejected)
        self._count(batch)
        return Kept(batch.received - sum(batch.rejected.values()), batch.rejected)

    def rows(self) -> int:
        return sum(p.rows() for p in self.pending.values())

    def drain(self) -> dict[Source, Pending]:
        """Everything pending; the buffer is empty afterwards, but remembers each series' last value."""
        drained = {s: p for s, p in self.pending.items() if p.rows() or p.rejected}
        self.pending = {}
        return drained

    def sealed(self) -> None:
        """A new segment begins, with reservoirs of its own."""
        self._reservoirs.clear()

    def _count(self, batch: Batch) -> None:
        self.totals.points += len(batch.points)
        self.totals.log_records += len(batch.logs)
        self.totals.spans += len(batch.spans)
        self.totals.refused += sum(batch.rejected.values())

    def _bucket(self, time_ns: int) -> int:
        """Start of the bucket, in seconds since the epoch."""
        seconds = time_ns // _NS
        return seconds - seconds % self.settings.bucket_seconds

    def _point(self, source: Source, pending: Pending, point: Point, row: SeriesRow) -> None:
        key = (point.series, self._bucket(point.time_ns))
        gained = self._gained(source, point, row)
        value = point.value if point.value is not None else float("nan")
        known = pending.points.get(key)
        if known is None:
            pending.points[key] = Aggregate(
                1, point.time_ns, point.time_ns, value, value, gained, value, value, point.bytes, point.exemplars
            )
        else:
            _merge(known, point, value, gained)

    def _gained(self, source: Source, point: Point, row: SeriesRow) -> float:
        """What the point adds to its series: a delta's value; else the step from the last value, from zero after a decrease.

        The first point ever seen adds nothing: what came before it was not seen.
        """
        if point.value is None:
            return 0.0
        if row.temporality == "delta":
            return point.value
        last = self._last.get((source, point.series))
        if last is not None and point.time_ns <= last[0]:
            return 0.0
        self._last[source, point.series] = (point.time_ns, point.value)
        if last is None:
            return 0.0
        return point.value - last[1] if point.value >= last[1] else point.value

    def _log(self, pending: Pending, record: LogItem) -> None:
        kind = (record.service, record.severity_number)
        _tally(pending.log_counts, (self._bucket(record.time_ns), *kind), record.bytes)
        pending.logs_seen[kind] += 1
        weight = _log_weight(pending.logs_seen[kind], self.settings.log_samples)
        if record.rank % weight == 0:
            pending.logs.append((record, float(weight)))

    def _span(self, pending: Pending, span: SpanItem) -> None:
        _tally(pending.span_counts, (self._bucket(span.time_ns), span.service, span.name, span.kind), span.bytes)
        one_in = 1 << self.settings.trace_sample_bits
        if span.rank % one_in == 0:
            pending.spans.append((span, float(one_in)))


def _merge(known: Aggregate, point: Point, value: float, gained: float) -> None:
    time_ns = point.time_ns
    known.count += 1
    known.bytes += point.bytes
    known.exemplars += point.exemplars
    known.increase += gained
    if time_ns < known.first_ns:
        known.first_ns, known.first = time_ns, value
    if time_ns >= known.last_ns:
        known.last_ns, known.last = time_ns, value
    # NaN stands for "no value": a comparison with it is false, so it never replaces a number, and a number always replaces it.
    known.low = value if value < known.low or known.low != known.low else known.low
    known.high = value if value > known.high or known.high != known.high else known.high


def _tally(counts: dict[_Key, list[float]], key: _Key, size: float) -> None:
    counts.setdefault(key, [0.0, 0.0])
    counts[key][0] += 1
    counts[key][1] += size


def _log_weight(seen: int, samples: int) -> int:
    """1 for the first `samples`, then 2 for as many again, then 4, …"""
    return 1 << ((seen - 1) // samples).bit_length()
