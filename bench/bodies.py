"""OTLP requests to drive taps with: like those of Kubernetes pods, made from a seed, so that two runs send the same bytes but for the time.

Each pod has a resource of 13 attributes and 50 metrics of 10 series: 40 % gauges, 40 % counters, 20 % histograms of 15 buckets; 5 to 7
attributes a point. Points come in the order of pods, metrics and series, scrape after scrape, as exporters send them.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
CODES = (200, 201, 204, 301, 400, 401, 404, 409, 500, 503)
PARTS = ("users", "orders", "carts", "items", "invoices", "sessions")
SERVICES = ("checkout", "cart", "payment", "catalog", "frontend", "shipping", "recommendation", "ads", "currency", "email")
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
METRICS, SERIES = 50, 10
SCRAPE_NS = 15 * 10**9

Point = tuple[int, int, int]
"""Pod, metric, series."""


MARK = "@@@@@@@@"
"""Where `Numbered` writes a number: eight hexadecimal digits of a label of every point."""
MARK_NS = 1_612_345_678_987_654_321
"""And where it writes the time."""


def scrapes(pods: int, scrapes: int, points: int, now_ns: int, order: str = "kept", apart_ns: int = SCRAPE_NS) -> list[bytes]:
    """Requests of `points` points each over `pods * 500` series; `order` is kept or shuffled. Points of later scrapes are `apart_ns` younger."""
    dice = random.Random(7)
    made: list[bytes] = []
    for scrape in range(scrapes):
        listed = _listed(pods, dice if order == "shuffled" else None)
        made.extend(_cut(listed, points, now_ns - (scrapes - scrape) * apart_ns, dice, ""))
    return made


def templates(pods: int, points: int) -> list[bytes]:
    """Requests for `Numbered`."""
    return list(_cut(_listed(pods, None), points, MARK_NS, random.Random(7), MARK))


def _cut(listed: list[Point], points: int, time_ns: int, dice: random.Random, mark: str) -> Iterator[bytes]:
    parts = (listed[at : at + points] for at in range(0, len(listed), points))
    return (_request(part, time_ns, dice, mark).SerializeToString() for part in parts)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A request that is written anew for each sending: each point gets a number, which makes it a series of its own, and the present time."""

    template: bytes
    labels: Any
    times: Any

    @classmethod
    def of(cls, template: bytes) -> Numbered:
        return cls(template, _places(template, MARK.encode()), _places(template, struct.pack("<Q", MARK_NS)))

    @property
    def points(self) -> int:
        return self.labels.shape[0]

    def body(self, first: int, most: int, time_ns: int) -> bytes:
        """Points numbered from `first` on, modulo `most`."""
        made = np.frombuffer(self.template, np.uint8).copy()
        numbers = ((first + np.arange(self.points)) % most).astype(">u4")
        made[self.labels] = _DIGITS[numbers.view(np.uint8).reshape(-1, 4)].reshape(-1, 8)
        made[self.times] = np.array([time_ns], "<u8").view(np.uint8)
        return made.tobytes()


_DIGITS = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint8).reshape(256, 2)


def _places(body: bytes, needle: bytes) -> Any:
    """Indices of the eight bytes of every occurrence, a row each."""
    found, at = list[int](), -1
    while (at := body.find(needle, at + 1)) >= 0:
        found.append(at)
    return np.array(found)[:, None] + np.arange(8)


def _listed(pods: int, dice: random.Random | None) -> list[Point]:
    """Points in the order of a scrape; with dice pods, their metrics and the series of each are shuffled, and stay together as they must."""

    def mixed(count: int) -> list[int]:
        return dice.sample(range(count), count) if dice else list(range(count))

    return [(p, m, s) for p in mixed(pods) for m in mixed(METRICS) for s in mixed(SERIES)]


def _request(points: list[Point], time_ns: int, dice: random.Random, mark: str) -> Any:
    request = ExportMetricsServiceRequest()
    pod = metric = -1
    scoped: Any = None
    data: Any = None
    for p, m, s in points:
        if p != pod:
            group = request.resource_metrics.add()
            _attributes(group.resource.attributes, _resource(p))
            scoped = group.scope_metrics.add()
            scoped.scope.name = "io.opentelemetry.http"
            pod, metric = p, -1
        if m != metric:
            data = _metric(scoped, m)
            metric = m
        point = data.data_points.add(start_time_unix_nano=time_ns - 3600 * 10**9, time_unix_nano=time_ns)
        _attributes(point.attributes, _series(p, m, s, mark))
        _value(point, m, dice)
    return request


def _metric(scoped: Any, m: int) -> Any:
    kind = ("duration", "active", "size", "count", "errors")[m % 5]
    metric = scoped.metrics.add(name=f"http.server.request.m{m:02d}.{kind}", unit=("s", "{request}", "By", "1")[m % 4])
    metric.description = f"Number {m} of what the benchmark's instrumentation measures"
    if m % 5 < 2:
        metric.gauge.SetInParent()
        return metric.gauge
    if m % 5 < 4:
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
        return metric.sum
    metric.histogram.aggregation_temporality = 2
    return metric.histogram


def _value(point: Any, m: int, dice: random.Random) -> None:
    if m % 5 == 4:
        counts = [dice.randrange(1000) for _ in range(len(BOUNDS) + 1)]
        point.bucket_counts.extend(counts)
        point.explicit_bounds.extend(BOUNDS)
        point.count, point.sum, point.min, point.max = sum(counts), sum(counts) * 0.123, 0.001, 9.5
    elif m % 2:
        point.as_int = dice.randrange(1_000_000)
    else:
        point.as_double = dice.random() * 1000


def _resource(p: int) -> Iterator[tuple[str, str]]:
    service = SERVICES[p % len(SERVICES)]
    yield from {
        "service.name": service, "service.namespace": "shop", "service.version": f"2.{p % 7}.0", "service.instance.id": _hex("instance", p),
        "k8s.cluster.name": "prod-eu-1", "k8s.namespace.name": f"shop-{p % 3}", "k8s.deployment.name": service,
        "k8s.pod.name": f"{service}-{_hex('set', p // 10)[:10]}-{_hex('pod', p)[:5]}", "k8s.pod.uid": _hex("uid", p),
        "k8s.node.name": f"ip-10-0-{p % 16}-{p % 251}.eu-west-1.compute.internal", "host.arch": "amd64",
        "telemetry.sdk.language": "go", "telemetry.sdk.version": "1.38.0",
    }.items()  # fmt: skip


def _series(p: int, m: int, s: int, mark: str) -> Iterator[tuple[str, str | int | bool]]:
    part = PARTS[(s + m) % len(PARTS)]
    yield "http.request.method", METHODS[s % 5]
    yield "http.response.status_code", CODES[s % len(CODES)]
    yield "http.route", f"/api/v1/{part}/{{id}}/detail"
    yield "server.address", f"{SERVICES[m % 10]}.shop.svc.cluster.local"
    yield "url.scheme", "https"
    if m % 2:
        yield "network.protocol.version", "1.1" if s % 2 else "2"
    if m % 3 == 0:
        yield "tls.established", bool(s % 2)
    if m % 10 in (3, 7) or mark:
        yield "session.id", mark or _hex("session", p, m, s)


def _attributes(holder: Any, pairs: Iterator[tuple[str, str | int | bool]] | Iterator[tuple[str, str]]) -> None:
    for key, value in pairs:
        pair = holder.add(key=key)
        match value:
            case bool():
                pair.value.bool_value = value
            case int():
                pair.value.int_value = value
            case _:
                pair.value.string_value = value


def _hex(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()
