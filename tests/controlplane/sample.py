"""A small recorded sample with every kind of item, and action sets by chance that are about it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from controlplane.render.conflicts import conflicts
from flowgate.actions import (
    Action,
    DeleteLabel,
    DropLogs,
    DropMetric,
    DropPoints,
    DropPrefix,
    DropSpans,
    Label,
    Match,
    Redact,
    ReduceBuckets,
    Rename,
    Route,
    SampleLogs,
    SampleTraces,
    SetInterval,
    TrimAttribute,
)
from flowgate.telemetry import Signal
from tests.controlplane.running import (
    ExportLogsServiceRequest,
    ExportMetricsServiceRequest,
    ExportTraceServiceRequest,
    any_value,
    pairs,
)

SERVICES = ("cart", "check${env:X}out", 'pay"ment', "", "名前")
METRICS = (
    "http.server.duration", "http.server.requests", "http.client.duration", "process.idle", "queue.size", "a${env:X}", 'b"c\\', "go.gc", "go.goroutines",
)  # fmt: skip
BOUNDS = (0.005, 0.5, 1.0, 2.5, 1e3)
SPANS = ("GET /health", "GET /cart", "SELECT 1", "$x")
VALUES: tuple[object, ...] = (
    "/health",
    "/cart",
    "",
    "200",
    200,
    200.0,
    1.5,
    1e-7,
    1e22,
    True,
    "true",
    b"\x01",
    None,
    ["a", 1],
    {"k": "v<"},
    "é\n",
)
TEXTS = ("200", "200.0", "1.5", "/health", "", "true", "01", "1e-07", "1e+22", '["a",1]', '{"k":"v\\u003c"}', "é\n", "none of them")
KEYS = ("http.route", "pod", "no${env:X}de", 'a"b', "code")
BODIES: tuple[object, ...] = (
    "hello",
    "mail a.b@example.org now",
    "<&>",
    "",
    None,
    7,
    2.5,
    {"b": "x@y.example", "a": [1, "z"]},
    ["q"],
    b"\xff\x00",
    "é" * 300,
)


def metrics_sample(chance: random.Random, number: int) -> ExportMetricsServiceRequest:
    """Every point carries a number of its own in attribute `n`."""
    request = ExportMetricsServiceRequest()
    for at in range(number):
        resource = request.resource_metrics.add()
        resource.resource.attributes.extend(pairs({"service.name": chance.choice(SERVICES), **_some(chance)}))
        metric = resource.scope_metrics.add().metrics.add(name=chance.choice(METRICS))
        _point(chance, metric).attributes.extend(pairs({"n": at, **_some(chance)}))
    return request


def _point(chance: random.Random, metric: Metric):
    match chance.randrange(5):
        case 0:
            return metric.gauge.data_points.add(as_double=chance.random())
        case 1:
            metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
            return metric.sum.data_points.add(as_int=chance.randrange(100))
        case 2:
            metric.histogram.aggregation_temporality = 2
            counts = [chance.randrange(9) for _ in range(len(BOUNDS) + 1)]
            return metric.histogram.data_points.add(count=sum(counts), sum=1.0, bucket_counts=counts, explicit_bounds=BOUNDS)
        case 3:
            metric.exponential_histogram.aggregation_temporality = 2
            return metric.exponential_histogram.data_points.add(count=1, sum=2.0, zero_count=1)
        case _:
            return metric.summary.data_points.add(count=3, sum=4.0)


def _some(chance: random.Random) -> dict[str, object]:
    return {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randrange(3))}


def logs_sample(chance: random.Random, number: int) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    for at in range(number):
        resource = request.resource_logs.add()
        resource.resource.attributes.extend(pairs({"service.name": chance.choice(SERVICES), **_some(chance)}))
        times = {
            "time_unix_nano": chance.choice([0, chance.randrange(2**60)]),
            "observed_time_unix_nano": chance.choice([0, chance.randrange(2**60)]),
        }
        record = resource.scope_logs.add().log_records.add(
            severity_number=chance.randrange(25), attributes=pairs({"n": at, **_some(chance)}), **times
        )
        record.body.CopyFrom(any_value(chance.choice(BODIES)))
        if chance.random() < 0.5:
            record.trace_id, record.span_id = chance.randbytes(16), chance.randbytes(8)
    return request


def traces_sample(chance: random.Random, number: int) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    codes: tuple[dict[str, object], ...] = (
        *[{}] * 4, {"http.status_code": 500}, {"http.response.status_code": 503.0}, {"http.status_code": "500"}, {"http.status_code": 499},
        {"sampling.priority": 0}, {"sampling.priority": 1}, {"sampling.priority": "0.0"},
    )  # fmt: skip
    states = ("", "", "", "ot=th:8", "ot=th:c;rv:fffffffffffff0", "ot=rv:0123456789abcd", "x=y,ot=th:f", "ot=th:0", "foo", "ot=zz:1")
    for at in range(number):
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(pairs({"service.name": chance.choice(SERVICES), **_some(chance)}))
        attributes = pairs({"n": at, **_some(chance), **chance.choice(codes)})
        trace_id = bytes(16) if chance.random() < 0.05 else chance.randbytes(16)
        span = resource.scope_spans.add().spans.add(
            name=chance.choice(SPANS), trace_id=trace_id, span_id=chance.randbytes(8), attributes=attributes
        )
        span.trace_state, span.status.code = chance.choice(states), chance.randrange(3)
    return request


# --- actions about it ------------------------------------------------------------------------------------------------------------


def action_set(chance: random.Random) -> list[Action]:
    """Up to twelve actions that can be carried out together."""
    found: list[Action] = []
    for _ in range(chance.randint(1, 12)):
        one = chance.choice(MAKERS)(chance)
        if not conflicts([*found, one]):
            found.append(one)
    chance.shuffle(found)
    return found


def _label(chance: random.Random) -> Label:
    return Label(chance.choice(["resource", "point"]), chance.choice(KEYS))


def _points(chance: random.Random) -> DropPoints:
    keys = chance.sample(KEYS, chance.randint(1, 2))
    where = tuple(Match(Label(chance.choice(["resource", "point"]), k), tuple(chance.sample(TEXTS, chance.randint(1, 4)))) for k in keys)
    return DropPoints(chance.choice(METRICS), where)


def _delete(chance: random.Random) -> DeleteLabel:
    first, *others = chance.sample(KEYS, 3)
    return DeleteLabel(chance.choice(METRICS), Label("point", first), tuple(Label(chance.choice(["resource", "point"]), k) for k in others))


def _buckets(chance: random.Random) -> ReduceBuckets:
    of: Sequence[float] = chance.choice([BOUNDS, BOUNDS[1:], (0.1, *BOUNDS)])
    return ReduceBuckets(chance.choice(METRICS), tuple(b for b in of if chance.random() < 0.5)[1:], tuple(sorted(of)))


def _redact(chance: random.Random) -> Redact:
    label = _label(chance)
    shape = chance.choice(["email", "ip", "uuid", "card", "phone", "jwt"])
    return Redact(Signal.LOGS, chance.choice([label, None]), shape) if chance.random() < 0.6 else Redact(Signal.TRACES, label, shape)


MAKERS = (
    lambda c: DropMetric(c.choice(METRICS)),
    lambda c: DropPrefix(c.choice(["http.s", "go.", "a${", "zzzz"])),
    _points,
    _points,
    _delete,
    _buckets,
    lambda c: Rename(c.choice(METRICS), c.choice(["new.one", "new${env:X}", 'new"\n'])),
    lambda c: SetInterval("node", c.choice([15, 60])),
    lambda c: DropLogs(c.choice(SERVICES[:3]), c.randint(1, 12)),
    lambda c: SampleLogs(c.choice(SERVICES[:3]), c.randint(1, 24), c.choice([0.1, 10.0, 33.3, 50.0, 99.9])),
    lambda c: DropSpans(c.choice(SERVICES[:3]), c.choice(SPANS)),
    lambda c: SampleTraces(c.choice([0.01, 1.0, 12.5, 50.0, 99.0])),
    lambda c: TrimAttribute(c.choice([Signal.LOGS, Signal.TRACES]), _label(c), c.choice([1, 2, 7])),
    _redact,
    lambda c: Route(c.choice(list(Signal)), c.choice(SERVICES[:3]), c.choice(["otlp_http/archive", "otlp_http/backend"])),
)
