"""Metrics that a generator plants: how they are sent, and under which names queries must ask for them.

Names are put together from words twice, once as OTLP and once as a backend stores them: nothing here asks `analyzer.naming`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal

from flowgate.actions import Label, Place
from flowgate.advice import LabelProfile, MetricProfile, Profile
from flowgate.money import Volume
from flowgate.telemetry import Kind, Temporality, Window

Style = Literal["suffixed", "escaped", "utf8", "utf8_suffixed"]
"""How a backend names OTLP metrics: Prometheus' four translation strategies."""
STYLES: tuple[Style, ...] = ("suffixed", "suffixed", "suffixed", "escaped", "utf8", "utf8_suffixed")
READ_SHARE = 0.6
START = datetime(2026, 1, 1, tzinfo=UTC)

_FIRST = ("http", "rpc", "db", "queue", "cache", "jvm", "process", "disk", "net", "order", "cart", "payment", "mail", "search", "auth")
_SECOND = ("server", "client", "pool", "worker", "consumer", "producer", "batch", "session", "index", "page", "stream", "shard")
_THIRD = ("request", "response", "failure", "retry", "lag", "depth", "usage", "limit", "wait", "hit", "miss", "drop", "flush", "lease")
UNIT_WORDS = {"s": "seconds", "By": "bytes", "ms": "milliseconds", "{item}": "", "": ""}

POINT_KEYS = (
    "http.route", "method", "status", "error.type", "tenant.id", "peer", "zone", "device", "user_id", "queue.name", "op", "protocol",
    "url.path", "shop-id", "color", "phase", "reason", "le_group",
)  # fmt: skip
RESOURCE_KEYS = ("k8s.pod.name", "k8s.namespace.name", "host.name", "cloud.region", "team")
IDENTIFYING = {"service.name": "job", "service.instance.id": "instance"}
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Key:
    """One label of one metric: as it is sent, and as queries say it."""

    key: str
    said: str
    place: Place
    distinct: int
    left: int
    """Series left without it."""
    by: str | None = None
    """The key of another label that it follows from."""


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    said: str
    """As queries say it; of a histogram or summary without the part."""
    unit: str
    kind: Kind
    counter: bool
    keys: tuple[Key, ...]
    series: int
    bounds: tuple[float, ...]
    interval: float | None

    @property
    def labels(self) -> frozenset[str]:
        """As queries say them."""
        return frozenset(key.said for key in self.keys)

    def part(self, part: str = "") -> str:
        return f"{self.said}_{part}" if part else self.said


@dataclass(frozen=True, slots=True)
class World:
    """What one set's gateways send. `metrics` are those that queries ask for by name, `sent` are all."""

    style: Style
    metrics: tuple[Metric, ...]
    sent: tuple[Metric, ...]


def world(rng: Random, size: int) -> World:
    style = rng.choice(STYLES)
    words = [*dict.fromkeys((rng.choice(_FIRST), rng.choice(_SECOND), rng.choice(_THIRD)) for _ in range(size))]
    words += [(*w[:2], w[2] + "s", "extra") for w in words[: size // 4]]  # names that begin as others do
    sent = tuple(_metric(rng, style, each) for each in words)
    sent += tuple(_again(style, m) for m in sent[:1] if m.kind in (Kind.GAUGE, Kind.SUM) and rng.random() < 0.3)
    asked = tuple(m for m in sent if rng.random() < READ_SHARE) or sent[:1]
    built_in = (_up(rng, style),) if rng.random() < 0.1 else ()
    return World(style, asked, (*sent, *built_in))


def _metric(rng: Random, style: Style, words: Sequence[str]) -> Metric:
    kind, counter = rng.choice(
        [(Kind.SUM, True), (Kind.SUM, True), (Kind.SUM, False), (Kind.GAUGE, False), (Kind.GAUGE, False), (Kind.HISTOGRAM, False),
         (Kind.HISTOGRAM, False), (Kind.SUMMARY, False), (Kind.EXPONENTIAL_HISTOGRAM, False)]
    )  # fmt: skip
    unit = rng.choice(tuple(UNIT_WORDS))
    name = rng.choice([".", ".", "_"]).join(words)
    series = rng.choice([40, 200, 1_000, 12_000])
    return Metric(
        name,
        said(style, name, unit, counter),
        unit,
        kind,
        counter,
        _keys(rng, style, series),
        series,
        BOUNDS if kind is Kind.HISTOGRAM and rng.random() < 0.9 else (),
        15.0 if rng.random() < 0.95 else None,
    )


BUILT_IN = "up"
"""Alerts and joins lean on it without naming it: it counts as read, always."""


def _up(rng: Random, style: Style) -> Metric:
    return Metric(BUILT_IN, BUILT_IN, "", Kind.GAUGE, False, _keys(rng, style, 200), 200, (), 15.0)


def _again(style: Style, metric: Metric) -> Metric:
    """The same name with another unit and type, as two libraries may send it."""
    unit, counter = ("By" if metric.unit == "s" else "s"), not metric.counter
    kind = Kind.SUM if counter else Kind.GAUGE
    return replace(metric, said=said(style, metric.name, unit, counter), unit=unit, kind=kind, counter=counter)


def said(style: Style, name: str, unit: str, counter: bool) -> str:
    """The stored name, by the style's rules for such words as are planted here (letters, dots, underscores; no unit among them)."""
    base = name if style.startswith("utf8") else name.replace(".", "_")
    if not style.endswith("suffixed"):
        return base
    word = UNIT_WORDS[unit]
    return base + (f"_{word}" if word else "") + ("_total" if counter else "")


def label_said(style: Style, key: str, promoted: bool) -> str:
    """Labels are escaped as names are; `job` and `instance` are what Prometheus makes of the service, unless it is promoted as it is."""
    return (not promoted and IDENTIFYING.get(key)) or (key if style.startswith("utf8") else key.replace(".", "_").replace("-", "_"))


def _keys(rng: Random, style: Style, series: int) -> tuple[Key, ...]:
    points = rng.sample(POINT_KEYS, rng.randint(2, 5))
    resources = [*rng.sample(RESOURCE_KEYS, rng.randint(0, 3)), *(k for k in IDENTIFYING if rng.random() < 0.6)]
    promoted = rng.random() < 0.15
    made = [_key(rng, label_said(style, key, promoted), key, "point", series) for key in points]
    made += [_key(rng, label_said(style, key, promoted), key, "resource", series) for key in resources]
    if rng.random() < 0.3:  # one that follows from another, and merges nothing
        made.append(Key("follower", "follower", "point", 4, series, points[0]))
    return tuple(made)


def _key(rng: Random, said: str, key: str, place: Place, series: int) -> Key:
    distinct = rng.choice([1, 2, 5, 20, 150])
    merged = series if distinct == 1 else max(1, series // distinct)
    return Key(key, said, place, distinct, merged)


# --- what a tap would have said of it ------------------------------------------------------------------------------------------------


def profile(world: World) -> Profile:
    window = Window(START, START + timedelta(days=8))
    return Profile(window, tuple(_profile(metric) for metric in world.sent), (), ())


def _profile(metric: Metric) -> MetricProfile:
    rate = metric.series / 15
    per = {Kind.HISTOGRAM: len(BOUNDS) + 3, Kind.SUMMARY: 5}.get(metric.kind, 1)
    temporality: Temporality = "unspecified" if metric.kind in (Kind.GAUGE, Kind.SUMMARY) else "cumulative"
    return MetricProfile(
        metric.name,
        metric.unit,
        metric.kind,
        temporality,
        metric.counter,
        Volume(metric.series, metric.series * per, rate, rate * 120, rate * per),
        ("shop",),
        tuple(_label(metric, key, rate) for key in metric.keys),
        metric.interval,
        bounds=metric.bounds,
    )


def _label(metric: Metric, key: Key, rate: float) -> LabelProfile:
    by = tuple(Label(k.place, k.key) for k in metric.keys if k.key == key.by)
    return LabelProfile(
        key.key,
        key.place,
        key.distinct,
        key.left,
        series_with=metric.series,
        determined_by=by,
        determined_tested=metric.series // 2 if by else 0,
        constant=key.distinct == 1,
        bytes_per_second=rate * 12 if key.place == "point" else None,
    )
