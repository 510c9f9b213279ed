# pyright: basic, reportGeneralTypeIssues=false
"""OTLP/protobuf bytes to columns without building an object: drives the compiled kernels over one catalog and one table a source.

`Wire` takes bodies as they come off the wire and gives Arrow tables with the columns of a segment, as `otlp.Decoder` with `tap.Buffer` does,
value by value; those two are its reference in tests and its stand-in while numba compiles. A body that the kernels are not sure of goes
through the protobuf library: it is refused there, or scanned again in canonical form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from flowgate.errors import Broken, Busy, Refused
from flowgate.telemetry import Kind, Signal, Temporality
from ingest import kernels as k
from ingest.columns import Staged, log_table, span_table
from ingest.identity import SCOPE, secrets_of
from ingest.otlp import Body, Decoder, Limits, LogItem, SpanItem, kv_row, metric_identity, parse, service_of
from ingest.tap import Kept, Settings, Source, Totals

_NS = 1_000_000_000
_T = TypeVar("_T")
_KINDS: Mapping[int, Kind] = {5: Kind.GAUGE, 7: Kind.SUM, 9: Kind.HISTOGRAM, 10: Kind.EXPONENTIAL_HISTOGRAM, 11: Kind.SUMMARY}
_TEMPORALITIES: tuple[Temporality, ...] = ("unspecified", "delta", "cumulative")
_FIRST = 1024
MAX_HEADS = 200_000
"""Resources, scopes, metrics and span names remembered, each; beyond, those that no kept series needs are forgotten at the next drain."""

FEW_SERIES = 50_000
"""Kept however short memory is."""
ROWS_OF_ONE = 3
"""Rows that one point may make at most: what its series spills, the point itself where all are kept, and a new series."""

MAX_FRESH_HEADS = 20_000
"""New resources, scopes and metrics that one body may bring: each is read by the library."""


class TooManyHeads(Refused):
    """A body of nearly nothing but new names; nothing of it is kept."""


def _words(*shape: int) -> Any:
    return np.zeros(shape, np.uint64)


def _grown(array: Any, most: int = 1 << 40) -> Any:
    shape = (min(array.shape[0] * 2, most), *array.shape[1:])
    bigger = np.zeros(shape, array.dtype)
    bigger[: array.shape[0]] = array
    return bigger


@dataclass(slots=True)
class Catalog:
    """What all sources share: resources, scopes, metrics and span names by the hash of their bytes, contexts, and key-values."""

    decoder: Decoder
    heads: Any = field(default_factory=lambda: _words(4 * _FIRST, 4))
    n_heads: int = 0
    contexts: Any = field(default_factory=lambda: _words(_FIRST, 4))
    context_slots: Any = field(default_factory=lambda: _words(2 * _FIRST))
    kvs: Any = field(default_factory=lambda: _words(4 * _FIRST, 3))
    kv_slots: Any = field(default_factory=lambda: _words(8 * _FIRST))
    arena: Any = field(default_factory=lambda: np.zeros(1 << 18, np.uint8))
    resources: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    """Indices of the key-values of each resource, by ascending id."""
    resource_services: list[int] = field(default_factory=list[int])
    scopes: list[str] = field(default_factory=list[str])
    metrics: list[tuple[str, str, Kind, Temporality, bool]] = field(default_factory=list[tuple[str, str, Kind, Temporality, bool]])
    services: list[str] = field(default_factory=list[str])
    names: list[str] = field(default_factory=list[str])
    n_metric_heads: int = 0
    """Metrics by all that is said of them, the description too; `metrics` has each once."""
    _metric_ids: dict[tuple[str, str, Kind, Temporality, bool], int] = field(
        default_factory=dict[tuple[str, str, Kind, Temporality, bool], int]
    )
    _service_ids: dict[str, int] = field(default_factory=dict[str, int])
    _name_ids: dict[str, int] = field(default_factory=dict[str, int])

    def service(self, name: str) -> int:
        return _numbered(name, self.services, self._service_ids)

    def name(self, name: str) -> int:
        return _numbered(name, self.names, self._name_ids)

    def metric(self, described: tuple[str, str, Kind, Temporality, bool]) -> int:
        self.n_metric_heads += 1
        return _numbered(described, self.metrics, self._metric_ids)

    def put_head(self, key: Any, identity: int, number: int, reason: str | None = None) -> None:
        if (self.n_heads + 1) * 2 > self.heads.shape[0]:
            bigger = _words(self.heads.shape[0] * 2, 4)
            k.rehash_heads(self.heads, bigger)
            self.heads = bigger
        why = k.REASONS.index(reason) if reason else 0
        k.put_head(self.heads, key, np.uint64(identity), np.uint64(number), np.uint64(why))
        self.n_heads += 1

    def grow_kvs(self) -> None:
        self.kvs = _grown(self.kvs)
        self.kv_slots = _words(self.kv_slots.size * 2)

    def grow_contexts(self, count: int) -> None:
        self.contexts = _grown(self.contexts)
        self.context_slots = _words(self.context_slots.size * 2)
        k.rehash_ctx(self.contexts, count, self.context_slots)


def _numbered(name: _T, listed: list[_T], ids: dict[_T, int]) -> int:
    known = ids.get(name)
    if known is None:
        known = ids[name] = len(listed)
        listed.append(name)
    return known


@dataclass(slots=True)
class Table:
    """One source's series and what it counted since the last drain."""

    keys: Any = field(default_factory=lambda: _words(_FIRST))
    slots: Any = field(default_factory=lambda: _words(2 * _FIRST))
    rows: Any = field(default_factory=lambda: _words(_FIRST, k.ROW))
    skv: Any = field(default_factory=lambda: np.zeros(8 * _FIRST, np.uint32))
    aliases: Any = field(default_factory=lambda: _words(2 * _FIRST, 2))
    """Series by the hash of their attributes' bytes as they were sent; a cache in front of `slots`."""
    order: Any = field(default_factory=lambda: _words(_FIRST, 2))
    """The aliases in the order they were met: exporters keep it, so the next one is nearly always the next one here."""
    n_aliases: int = 0
    n_series: int = 0
    guess: int = 0
    n_skv: int = 0
    spill: Any = field(default_factory=lambda: _words(_FIRST, k.SPILLED))
    n_spill: int = 0
    kv_seen: Any = field(default_factory=lambda: np.zeros(_FIRST, np.uint32))
    stamp: int = 1
    """Numbers the open segment: what carries it has been written to it."""
    tallies: tuple[_Tally, _Tally] = field(default_factory=lambda: (_Tally(), _Tally()))
    logs: list[tuple[LogItem, float]] = field(default_factory=list[tuple[LogItem, float]])
    spans: list[tuple[SpanItem, float]] = field(default_factory=list[tuple[SpanItem, float]])
    kept_points: list[Any] = field(default_factory=list[Any])
    n_kept: int = 0
    reservoirs: Any = field(default_factory=lambda: _words(_FIRST, k.RES))
    """By number of metric."""
    values: Any = field(default_factory=lambda: _words(_FIRST, k.VAL))
    n_values: int = 0
    n_taken: int = 0
    """Values sampled in the open segment."""
    rejected: Counter[str] = field(default_factory=Counter[str])
    threshold: int = 1 << 64
    """Series whose id is below are kept between drains; 2^64 while all are."""

    def pending(self) -> int:
        """In rows of a spilled aggregate, by the memory that they take: eight kept points are one."""
        return self.n_spill + len(self.logs) + len(self.spans) + sum(t.count for t in self.tallies) + self.n_kept // 8


@dataclass(slots=True)
class _Tally:
    """Exact counts of log records or spans by bucket, service, name and number."""

    rows: Any = field(default_factory=lambda: _words(256, k.TALLY))
    slots: Any = field(default_factory=lambda: _words(1024))
    count: int = 0
    groups: Any = field(default_factory=lambda: _words(256, k.TALLY))
    group_slots: Any = field(default_factory=lambda: _words(1024))
    n_groups: int = 0

    def reserve(self, more: int) -> None:
        """Room for `more` rows in both tables."""
        self.rows, self.slots = _reserved(self.rows, self.slots, self.count, more)
        self.groups, self.group_slots = _reserved(self.groups, self.group_slots, self.n_groups, more)

    def clear(self) -> None:
        self.count = self.n_groups = 0
        self.slots[:] = 0
        self.group_slots[:] = 0


def _reserved(rows: Any, slots: Any, count: int, more: int) -> tuple[Any, Any]:
    if count + more <= rows.shape[0]:
        return rows, slots
    size = 1 << (count + more).bit_length()
    bigger, slots = _words(size, k.TALLY), _words(4 * size)
    bigger[:count] = rows[:count]
    k.rehash_tallies(bigger, count, slots)
    return bigger, slots


@dataclass(slots=True)
class Wire:
    """Bodies in, columns out. Not safe for two threads at once; `take` and `drain` are called under one lock."""

    key: bytes
    limits: Limits = field(default_factory=Limits)
    settings: Settings = field(default_factory=Settings)
    max_series: int = 2_000_000
    """Series kept between drains, over all sources."""
    keep_points: bool = False
    totals: Totals = field(default_factory=Totals)
    by_library: int = 0
    """Bodies that the kernels were not sure of."""
    tables: dict[Source, Table] = field(default_factory=dict[Source, Table])
    catalog: Catalog = field(init=False)
    _state: Any = field(init=False)
    _points: Any = field(default_factory=lambda: _words(4 * _FIRST, k.PT))
    _blocks: Any = field(default_factory=lambda: _words(4 * _FIRST, k.BLOCK))
    _items: Any = field(default_factory=lambda: _words(_FIRST, k.ITEM))
    _samples: Any = field(default_factory=lambda: _words(_FIRST, 2))
    _misses: Any = field(default_factory=lambda: _words(4 * _FIRST, k.MISSED))
    _slots: Any = field(default_factory=lambda: _words(2 * k.SLOTS))
    _current: Table | None = None
    _second: int = -1
    _fresh: int = 0
    _met: int = 0
    """Points, records and spans since the last drain."""
    _settled: int = 0
    """Series that the last drain left: those that came since count as rows, or a flood of new ones would have no bound before the next."""

    def __post_init__(self) -> None:
        self.catalog = Catalog(Decoder(self.key, self.limits))
        st = self._state = _words(k.STATE)
        st[k.SECRET0 : k.SECRET3 + 1] = secrets_of(self.key)
        st[k.MAX_ATTRIBUTES], st[k.MAX_NAME], st[k.MAX_VALUE] = self.limits.attributes, self.limits.name_length, self.limits.value_length
        st[k.MAX_BUCKETS] = self.limits.buckets
        st[k.BUCKET_NS] = self.settings.bucket_seconds * _NS
        st[k.VALUE_SAMPLES] = self.settings.value_samples
        st[k.LOG_SAMPLES] = self.settings.log_samples
        st[k.TRACE_MASK] = (1 << self.settings.trace_sample_bits) - 1

    # --- taking ---

    def take(self, source: Source, signal: Signal, body: Body, now_ns: int) -> Kept:
        """Takes one body whole; or raises `Malformed` or `Busy`, and then nothing of it is counted."""
        if ROWS_OF_ONE * self._met >= self.settings.max_rows and self.pending() + self.series() - self._settled >= self.settings.max_rows:
            self.totals.refused += 1
            raise Busy("the tap's buffer is full", self.settings.retry_after)
        table = self.tables.get(source)
        if table is None:
            table = self.tables[source] = Table()
        self._enter(table, now_ns)
        self._fresh = 0
        try:
            body, code = self._scanned(table, signal, body)
        finally:
            self._state[k.TRUSTED] = 0
        if code != k.OK:
            raise Broken("a canonical body could not be scanned")
        if signal is Signal.METRICS:
            self._commit_points(table)
        else:
            self._commit_items(table, signal, body)
        return self._account(table, signal)

    def pending(self) -> int:
        """Rows waiting for a drain, but for the one that each active series holds at most."""
        return sum(t.pending() for t in self.tables.values())

    def series(self) -> int:
        return sum(t.n_series for t in self.tables.values())

    def _enter(self, table: Table, now_ns: int) -> None:
        st, last = self._state, self._current
        if table is not last:
            if last is not None:
                self._leave(last)
            st[k.N_SERIES], st[k.GUESS], st[k.N_SKV], st[k.N_ALIAS] = table.n_series, table.guess, table.n_skv, table.n_aliases
            st[k.N_VALUES], st[k.N_TAKEN] = table.n_values, table.n_taken
            self._current = table
            self._fit_reservoirs(table)
        second = now_ns // _NS
        if second != self._second:
            self._second = second
            st[k.OLDEST] = max(1, now_ns - self.limits.past_seconds * _NS)
            st[k.NEWEST] = now_ns + self.limits.ahead_seconds * _NS

    def _leave(self, table: Table) -> None:
        st = self._state
        table.n_series, table.guess, table.n_skv = int(st[k.N_SERIES]), int(st[k.GUESS]), int(st[k.N_SKV])
        table.n_aliases = int(st[k.N_ALIAS])
        table.n_values, table.n_taken = int(st[k.N_VALUES]), int(st[k.N_TAKEN])

    def _rest(self) -> None:
        """Every table says what it holds; the next body's begins anew."""
        if self._current is not None:
            self._leave(self._current)
        self._current = None

    def _fit_reservoirs(self, table: Table) -> None:
        """One for each metric known by now: asked when a table's turn comes and when metrics were met, as any of them may be scanned then."""
        while len(self.catalog.metrics) > table.reservoirs.shape[0]:
            table.reservoirs = _grown(table.reservoirs)

    def _scanned(self, table: Table, signal: Signal, body: Body) -> tuple[Body, int]:
        """The body as it was scanned, and what came of it."""
        code = self._scan(table, signal, body)
        if code == k.UNSURE:
            self.by_library += 1
            body = parse(signal, body, "protobuf").SerializeToString()
            self._state[k.TRUSTED] = 1
            code = self._scan(table, signal, body)
        return body, code

    def _scan(self, table: Table, signal: Signal, body: Body) -> int:
        data = np.frombuffer(body, np.uint8)
        while True:
            code = self._scan_once(table, signal, data)
            if code == k.GROW:
                self._grow(table)
            elif code == k.MISS and self._register(body):
                self._fit_reservoirs(table)
            else:
                table.n_series = int(self._state[k.N_SERIES])
                return k.UNSURE if code == k.MISS else code

    def _scan_once(self, table: Table, signal: Signal, data: Any) -> int:
        c = self.catalog
        if signal is Signal.METRICS:
            return k.scan_metrics(
                data, self._state, c.heads, c.context_slots, c.contexts, table.slots, table.keys, table.rows,
                c.kv_slots, c.kvs, c.arena, table.skv, table.aliases, table.order, self._points, self._misses, self._blocks, self._slots,
            )  # fmt: skip
        return k.scan_items(data, self._state, c.heads, self._items, self._misses, signal is Signal.TRACES, self._slots)

    def _grow(self, table: Table) -> None:
        st, c = self._state, self.catalog
        match int(st[k.GROW_WHAT]):
            case k.SERIES_FULL:
                table.keys, table.rows = _grown(table.keys), _grown(table.rows)
                table.slots = _words(table.slots.size * 2)
                k.rehash_series(table.keys, int(st[k.N_SERIES]), table.slots)
            case k.KV_FULL:
                c.grow_kvs()
                k.rehash_kv(c.kvs, int(st[k.N_KV]), c.kv_slots)
            case k.ARENA_FULL:
                c.arena = _grown(c.arena)
            case k.SKV_FULL:
                table.skv = _grown(table.skv)
            case k.ALIAS_FULL:
                self._grow_aliases(table)
            case k.CTX_FULL:
                c.grow_contexts(int(st[k.N_CTX]))
            case _:
                self._points, self._blocks, self._items = _grown(self._points), _grown(self._blocks), _grown(self._items)

    def _grow_aliases(self, table: Table) -> None:
        """Attributes in ever new orders make aliases without end: forgotten when there are many more than series."""
        count = int(self._state[k.N_ALIAS])
        if count > 4 * int(self._state[k.N_SERIES]) + _FIRST:
            self._state[k.N_ALIAS] = self._state[k.GUESS] = count = 0
        else:
            table.order = _grown(table.order)
        table.aliases = _words(2 * table.order.shape[0], 2)
        k.rehash_aliases(table.order, count, table.aliases)

    # --- heads ---

    def _register(self, body: Body) -> bool:
        """Makes the missing heads known; False when one is not canonical."""
        trusted = bool(self._state[k.TRUSTED])
        met: set[int] = set()
        for row in self._misses[: int(self._state[k.N_MISS])].tolist():
            kind, key, at, n, at2, n2, what = row
            if key in met:
                continue
            met.add(key)
            self._fresh += kind != k.HEAD_NAME
            if self._fresh > MAX_FRESH_HEADS:
                raise TooManyHeads(f"more than {MAX_FRESH_HEADS} new resources, scopes and metrics in one body")
            try:
                good = self._head(kind, key, bytes(body[at : at + n]) + bytes(body[at2 : at2 + n2]), what, trusted)
            except (DecodeError, UnicodeDecodeError):
                good = False
            if not good:
                return False
        return True

    def _head(self, kind: int, key: int, raw: bytes, what: int, trusted: bool) -> bool:
        c, d = self.catalog, self.catalog.decoder
        word = np.uint64(key)
        match kind:
            case k.HEAD_RESOURCE:
                resource = Resource.FromString(raw)
                if not trusted and not _canonical(resource, raw):
                    return False
                reason = d.wrong_resource(resource.attributes)
                indices = [] if reason else [self._intern(a.SerializeToString()) for a in resource.attributes]
                ids = c.kvs[indices, 0].tolist()
                service = c.service(service_of(resource.attributes))
                identity = key if reason else d.identity.resource(ids)  # what is rejected shares no context with what is not
                c.put_head(word, identity, service << 32 | len(c.resources), reason)
                c.resource_services.append(service)
                c.resources.append(tuple(i for _, i in sorted(zip(ids, indices, strict=True))))
            case k.HEAD_SCOPE:
                scope = InstrumentationScope.FromString(raw)
                if not trusted and not _canonical(scope, raw):
                    return False
                c.put_head(word, d.identity.hash(scope.SerializeToString(), SCOPE), len(c.scopes))
                c.scopes.append(scope.name)
            case k.HEAD_METRIC:
                metric = Metric.FromString(raw)
                if not trusted and not _canonical(metric, raw):
                    return False
                described = (metric.name, metric.unit, _KINDS[what >> 16], _TEMPORALITIES[what >> 8 & 0xFF], bool(what & 1))
                c.put_head(word, metric_identity(d.identity, *described), c.metric(described), d.wrong_name(metric.name))
            case _:
                c.put_head(word, 0, c.name(raw.decode()[: self.limits.name_length]))
        return True

    def _intern(self, raw: bytes) -> int:
        """Index of a key-value, by its canonical bytes."""
        c, data = self.catalog, np.frombuffer(raw, np.uint8)
        while True:
            index, full = k.intern_kv_at(data, np.uint64(0), np.uint64(len(raw)), self._state, c.kv_slots, c.kvs, c.arena)
            if not full:
                return int(index)
            self._state[k.GROW_WHAT] = full
            self._grow(Table())

    # --- counting ---

    def _commit_points(self, table: Table) -> None:
        st = self._state
        n = int(st[k.N_OUT])
        while table.n_spill + n > table.spill.shape[0]:
            table.spill = _grown(table.spill)
        while int(st[k.N_VALUES]) + n > table.values.shape[0]:
            table.values = _grown(table.values)
        table.n_spill = int(
            k.commit(
                st, self._points, table.rows, table.keys, table.spill, np.uint64(table.n_spill),
                self.catalog.contexts, self._blocks, table.reservoirs, table.values,
            )
        )  # fmt: skip
        if self.keep_points and n:
            table.kept_points.append((table.keys[self._points[:n, k.PT_INDEX]], self._points[:n, 1].copy(), self._points[:n, 2].copy()))
            table.n_kept += n

    def _commit_items(self, table: Table, signal: Signal, body: Body) -> None:
        st, spans = self._state, signal is Signal.TRACES
        n, tally = int(st[k.N_OUT]), table.tallies[spans]
        tally.reserve(n)
        if n > self._samples.shape[0]:
            self._samples = _words(1 << n.bit_length(), 2)
        st[k.N_TALLY], st[k.N_SEEN] = tally.count, tally.n_groups
        k.commit_items(st, self._items, n, tally.rows, tally.slots, tally.groups, tally.group_slots, self._samples, spans)
        tally.count, tally.n_groups = int(st[k.N_TALLY]), int(st[k.N_SEEN])
        chosen = self._samples[: int(st[k.N_SAMPLED])]
        rows = self._items[chosen[:, 0]]
        sizes = rows[:, k.IT_BYTES].view(np.float64).tolist()
        d, services = self.catalog.decoder, self.catalog.services
        for (_, _, service, _, _, at, length, _), size, weight in zip(rows.tolist(), sizes, chosen[:, 1].tolist(), strict=True):
            raw = bytes(body[at : at + length])
            if spans:
                table.spans.append((d.span_item(Span.FromString(raw), services[service], size), float(weight)))
            else:
                table.logs.append((d.log_item(LogRecord.FromString(raw), services[service], size), float(weight)))

    def _account(self, table: Table, signal: Signal) -> Kept:
        st = self._state
        kept, received = int(st[k.N_OUT]), int(st[k.RECEIVED])
        self._met += kept
        match signal:
            case Signal.METRICS:
                self.totals.points += kept
            case Signal.LOGS:
                self.totals.log_records += kept
            case Signal.TRACES:
                self.totals.spans += kept
        if kept == received:
            return Kept(kept, {})
        counts = st[k.REASON0 : k.REASON0 + len(k.REASONS)].tolist()
        rejected = {reason: count for reason, count in zip(k.REASONS, counts, strict=True) if count}
        table.rejected.update(rejected)
        self.totals.refused += received - kept
        return Kept(kept, rejected)

    # --- draining ---

    def drain(self) -> dict[Source, Staged]:
        """Everything counted since the last drain, as the tables of a segment; series keep their last value."""
        self._rest()
        drained = {s: d for s, d in ((s, self._drained(t)) for s, t in self.tables.items()) if d is not None}
        self._forget()
        self._settled, self._met = self.series(), 0
        return drained

    def shrink(self) -> None:
        """Memory is short: keeps half as many series between drains, but for some."""
        self.max_series = max(self.max_series // 2, min(self.max_series, FEW_SERIES))

    def stats(self) -> dict[str, object]:
        """Counts since the start, for people."""
        lowest = min((t.threshold for t in self.tables.values()), default=1 << 64)
        return {
            "decoder": "compiled",
            "series": round(sum(_estimate(t) for t in self.tables.values())),
            "series_exact": lowest == 1 << 64,
            "pending": self.pending(),
            "by_library": self.by_library,
            "exemplars": int(self._state[k.EXEMPLARS]),
        }

    def sealed(self) -> None:
        """What is drained from now on belongs to a new segment, which has to name its series anew."""
        self._rest()
        for table in self.tables.values():
            table.stamp += 1
            table.n_taken = 0
            table.reservoirs[:] = 0

    def _drained(self, table: Table) -> Staged | None:
        left = int(k.dirty(table.rows, table.n_series))
        while table.n_spill + left > table.spill.shape[0]:
            table.spill = _grown(table.spill)
        n = int(k.drain(table.rows, table.n_series, table.spill, table.n_spill))
        tables: dict[str, pa.Table] = {}
        if n:
            tables.update(self._series_tables(table, n))
            tables["points"] = self._points_table(table.spill[:n], table.keys)
        if table.kept_points:
            tables["raw_points"] = _raw_points(table.kept_points)
        if table.n_values:
            tables["value_samples"] = self._value_samples(table)
        for spans, tally in enumerate(table.tallies):
            if tally.count:
                tables["span_counts" if spans else "log_counts"] = self._counts(tally, bool(spans))
        if table.logs:
            tables["logs"] = log_table(table.logs)
        if table.spans:
            tables["spans"] = span_table(table.spans)
        rejected = dict(table.rejected)
        self._cleared(table)
        return Staged(tables, rejected) if tables or rejected else None

    def _cleared(self, table: Table) -> None:
        table.n_spill = table.n_kept = table.n_values = 0
        if table.values.shape[0] > 16 * _FIRST:
            table.values = _words(_FIRST, k.VAL)
        if table.spill.shape[0] > 16 * _FIRST and table.spill.shape[0] > 4 * table.n_series:
            table.spill = _words(_FIRST, k.SPILLED)
        table.kept_points, table.logs, table.spans = [], [], []
        table.rejected.clear()
        for tally in table.tallies:
            tally.clear()

    def _points_table(self, spill: Any, keys: Any) -> pa.Table:
        def column(word: int) -> Any:
            return np.ascontiguousarray(spill[:, word])

        def value(word: int) -> Any:
            return column(word).view(np.float64)

        micros = [pa.array((column(w) // 1000).view(np.int64), pa.timestamp("us")) for w in (k.FIRST_T, k.LAST_T)]
        bucket = (column(k.BUCKET) * np.uint64(self.settings.bucket_seconds * 1_000_000)).view(np.int64)
        return pa.table(
            {
                "series_id": keys[spill[:, k.SPILL_INDEX]],
                "bucket": pa.array(bucket, pa.timestamp("us")),
                "count": column(k.COUNT).astype(np.uint32),
                "first_time": micros[0],
                "last_time": micros[1],
                "first": value(k.FIRST),
                "last": value(k.LAST),
                "increase": value(k.INCREASE),
                "min": value(k.LOW),
                "max": value(k.HIGH),
                "bytes": np.rint(value(k.BYTES)).astype(np.uint64),
                "exemplars": column(k.EXEMPLAR_COUNT).astype(np.uint32),
            }
        )

    def _value_samples(self, table: Table) -> pa.Table:
        rows = table.values[: table.n_values]
        return pa.table(
            {
                "series_id": table.keys[rows[:, k.VAL_INDEX]],
                "metric": _coded(rows[:, k.VAL_METRIC].astype(np.int32), [name for name, *_ in self.catalog.metrics]),
                "time": pa.array((rows[:, k.VAL_TIME] // 1000).view(np.int64), pa.timestamp("us")),
                "value": np.ascontiguousarray(rows[:, k.VAL_VALUE]).view(np.float64),
                "weight": rows[:, k.VAL_WEIGHT].astype(np.float64),
                "rank": np.ascontiguousarray(rows[:, k.VAL_RANK]),
            }
        )

    def _series_tables(self, table: Table, n: int) -> dict[str, pa.Table]:
        """Series that the open segment does not name yet, and their key-values."""
        found = _words(n)
        count = int(k.unstamped(table.spill, n, table.rows, np.uint64(table.stamp), found))
        if not count:
            return {}
        found, c = found[:count], self.catalog
        n_kv = int(self._state[k.N_KV])
        if table.kv_seen.size < n_kv:
            seen = np.zeros(c.kvs.shape[0], np.uint32)
            seen[: table.kv_seen.size] = table.kv_seen
            table.kv_seen = seen
        contexts = table.rows[found, k.CONTEXT]
        resources = c.contexts[contexts, k.CTX_RESOURCE]
        met, codes = _numbered_anew(resources, len(c.resources))
        begins, flat = _flat([c.resources[r] for r in met.tolist()])
        offsets = _words(count + 1), _words(met.size + 1)
        values = _words(int(k.count_kvs(found, count, table.rows))), _words(flat.size)
        fresh = _words(n_kv)
        new = k.series_kvs(found, count, table.rows, table.skv, c.kvs, table.kv_seen, table.stamp, offsets[0], values[0], fresh)
        each = np.arange(met.size, dtype=np.uint64)
        new = k.resource_kvs(each, met.size, begins, flat, c.kvs, table.kv_seen, table.stamp, offsets[1], values[1], fresh, new)
        metrics = c.contexts[contexts, k.CTX_METRIC].astype(np.int32)
        named = list(zip(*c.metrics, strict=True))
        series = pa.table(
            {
                "series_id": table.keys[found],
                "metric": _coded(metrics, named[0]),
                "unit": _coded(metrics, named[1]),
                "kind": _coded(metrics, [kind.value for kind in named[2]]),
                "temporality": _coded(metrics, named[3]),
                "monotonic": np.array(named[4], np.bool_)[metrics],
                "scope": _coded(c.contexts[contexts, k.CTX_SCOPE].astype(np.int32), c.scopes),
                "service": _coded(np.array(c.resource_services, np.int32)[resources], c.services),
                "prom_series": (table.rows[found, k.SHAPE] & np.uint64(0xFFFFFFFF)).astype(np.uint32) >> 1,
                "resource_kv": pa.DictionaryArray.from_arrays(codes, pa.ListArray.from_arrays(offsets[1].astype(np.int32), values[1])),
                "point_kv": pa.ListArray.from_arrays(offsets[0].astype(np.int32), values[0]),
            }
        )
        kv = {"kv": self._kv_table(fresh[: int(new)])} if new else {}
        return {**kv, "series": series}

    def _kv_table(self, fresh: Any) -> pa.Table:
        c, n = self.catalog, fresh.size
        room = int(c.kvs[fresh, 2].sum())
        ends = np.zeros(n + 1, np.int32), np.zeros(n + 1, np.int32)
        texts = np.zeros(room, np.uint8), np.zeros(room, np.uint8)
        plain = np.zeros(n, np.bool_)
        k.kv_texts(fresh, n, c.kvs, c.arena, ends[0], texts[0], ends[1], texts[1], plain)
        keys = pa.StringArray.from_buffers(n, pa.py_buffer(ends[0]), pa.py_buffer(texts[0]))
        values = pa.StringArray.from_buffers(n, pa.py_buffer(ends[1]), pa.py_buffer(texts[1]))
        kinds = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array(["string"]))
        whole = pa.table({"kv_id": c.kvs[fresh, 0], "key": keys, "value": values, "value_type": kinds.dictionary_decode()})
        if plain.all():
            return whole
        others = [self._kv_row(i) for i in fresh[~plain].tolist()]
        ids, *columns = zip(*others, strict=True)
        named = dict(zip(("key", "value", "value_type"), (pa.array(c, pa.string()) for c in columns), strict=True))
        rest = pa.table({"kv_id": pa.array(ids, pa.uint64()), **named})
        return pa.concat_tables([whole.filter(pa.array(plain)), rest])

    def _kv_row(self, index: int) -> tuple[int, str, str, str]:
        c = self.catalog
        key, at, n = c.kvs[index].tolist()
        return key, *kv_row(KeyValue.FromString(c.arena[at : at + n].tobytes()))

    def _counts(self, tally: _Tally, spans: bool) -> pa.Table:
        rows, c = tally.rows[: tally.count], self.catalog
        bucket = (rows[:, k.TALLY_BUCKET] * np.uint64(self.settings.bucket_seconds * 1_000_000)).view(np.int64)
        columns = {
            "bucket": pa.array(bucket, pa.timestamp("us")),
            "service": _coded(rows[:, k.TALLY_SERVICE].astype(np.int32), c.services),
        }
        number = rows[:, k.TALLY_NUMBER].astype(np.uint32).view(np.int32)
        if spans:
            columns |= {"name": _coded(rows[:, k.TALLY_NAME].astype(np.int32), c.names), "kind": number}
        else:
            columns["severity_number"] = number
        sizes = np.ascontiguousarray(rows[:, k.TALLY_BYTES]).view(np.float64).astype(np.uint64)
        return pa.table({**columns, "count": np.ascontiguousarray(rows[:, k.TALLY_COUNT]), "bytes": sizes})

    # --- forgetting ---

    def _forget(self) -> None:
        """Keeps within `max_series` between drains, and within MAX_HEADS resources, scopes, metrics or names.

        The threshold of a table falls by halves until the series whose id is below it fit into its share: they are a uniform sample of all.
        The rest are named again when they are seen again, so the segments know every series however few are kept here.
        """
        c, total = self.catalog, self.series()
        many = max(len(c.resources), len(c.scopes), c.n_metric_heads, len(c.names)) > MAX_HEADS
        if total <= self.max_series and not many:
            return
        self._current = None
        if total > self.max_series:
            for table in self.tables.values():
                self._thin(table, self.max_series * table.n_series // total)
        if many:
            self._start_anew()
        else:
            self._forget_kvs()

    def _forget_kvs(self) -> None:
        """Key-values that no kept series and no resource refers to."""
        c, n = self.catalog, int(self._state[k.N_KV])
        used = np.zeros(n, np.bool_)
        used[[i for r in c.resources for i in r]] = True
        for table in self.tables.values():
            used[table.skv[: table.n_skv]] = True
        moved = np.cumsum(used, dtype=np.uint32) - np.uint32(1)
        for table in self.tables.values():
            table.skv[: table.n_skv] = moved[table.skv[: table.n_skv]]
            seen = np.zeros(n, np.uint32)
            seen[: min(n, table.kv_seen.size)] = table.kv_seen[:n]
            table.kv_seen = seen[used]
        c.resources = [tuple(moved[list(r)].tolist()) for r in c.resources]
        kept = np.ascontiguousarray(c.kvs[:n][used])
        arena = np.zeros(max(1 << 18, int(kept[:, 2].sum()) * 2), np.uint8)
        self._state[k.N_ARENA] = k.move_texts(kept, kept.shape[0], c.arena, arena)
        room = 4 * _FIRST
        while room <= kept.shape[0]:
            room *= 2
        c.kvs, c.kv_slots, c.arena = _words(room, 3), _words(2 * room), arena
        c.kvs[: kept.shape[0]] = kept
        self._state[k.N_KV] = kept.shape[0]
        k.rehash_kv(c.kvs, kept.shape[0], c.kv_slots)

    def _thin(self, table: Table, most: int) -> None:
        kept = np.arange(table.n_series, dtype=np.uint64)
        if table.threshold < 1 << 64:
            kept = kept[table.keys[kept] < np.uint64(table.threshold)]
        while kept.size > most:
            table.threshold //= 2
            kept = kept[table.keys[kept] < np.uint64(table.threshold)]
        room = _FIRST
        while room < kept.size + 1:
            room *= 2
        rows, keys, skv = _words(room, k.ROW), _words(room), np.zeros(max(8 * _FIRST, table.skv.size), np.uint32)
        table.n_skv = int(k.keep_series(kept, table.rows, table.keys, table.skv, rows, keys, skv))
        table.rows, table.keys, table.skv, table.n_series = rows, keys, skv, int(kept.size)
        table.slots, table.aliases, table.order = _words(2 * room), _words(2 * _FIRST, 2), _words(_FIRST, 2)
        table.n_aliases = table.guess = 0
        k.rehash_series(table.keys, table.n_series, table.slots)

    def _start_anew(self) -> None:
        """Forgets every series and name: what comes is described again. The last values are lost, so one step of each increase is not counted."""
        self.catalog = Catalog(self.catalog.decoder)
        for index in (k.N_KV, k.N_ARENA, k.N_CTX):
            self._state[index] = 0
        self.tables = {source: Table(stamp=table.stamp, threshold=table.threshold) for source, table in self.tables.items()}


def _estimate(table: Table) -> float:
    """Series seen: all that are kept, or, once a threshold has fallen, those below it over its share of the ids.

    Standard error sqrt((1 - p) / (p n)) for a share p of n series.
    """
    if table.threshold >= 1 << 64:
        return table.n_series
    return int((table.keys[: table.n_series] < np.uint64(table.threshold)).sum()) * (1 << 64) / table.threshold


def _canonical(message: Any, raw: bytes) -> bool:
    """Whether the library knows all of it and needs as many bytes: anything but the order of fields that is not canonical is longer."""
    message.DiscardUnknownFields()
    return message.ByteSize() == len(raw)


def _coded(codes: Any, words: Any) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(words), pa.string()))


def _numbered_anew(numbers: Any, most: int) -> tuple[Any, Any]:
    """The numbers below `most` that occur, ascending, and for each number its place among them: few resources have many series."""
    occur = np.zeros(most, np.bool_)
    occur[numbers] = True
    return np.flatnonzero(occur), (np.cumsum(occur, dtype=np.int32) - np.int32(1))[numbers]


def _flat(lists: list[tuple[int, ...]]) -> tuple[Any, Any]:
    begins = _words(len(lists) + 1)
    np.cumsum([len(x) for x in lists], out=begins[1:])
    return begins, np.array([i for x in lists for i in x], np.uint64)


def _raw_points(kept: list[Any]) -> pa.Table:
    ids, times, values = (np.concatenate(column) for column in zip(*kept, strict=True))
    return pa.table({"series_id": ids, "time": pa.array(times.view(np.int64), pa.timestamp("ns")), "value": values.view(np.float64)})
