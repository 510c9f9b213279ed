"""Actions carried out by the real binary: it accepts what is rendered, removes what was predicted and nothing else, and changes what was said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import re2

from controlplane.collector import Collector
from controlplane.render import render
from controlplane.render.ottl import And, Compare, Literal, Or, eq
from controlplane.render.ottl import Path as Field
from controlplane.render.patterns import PERSONAL_DATA
from controlplane.render.preview import Item, removed
from controlplane.render.records import threshold
from flowgate.actions import (
    Action,
    DeleteLabel,
    DropLogs,
    DropPoints,
    Label,
    Match,
    PersonalData,
    Redact,
    ReduceBuckets,
    Rename,
    Route,
    SampleLogs,
    SampleTraces,
    TrimAttribute,
)
from flowgate.telemetry import Signal
from tests.controlplane.running import (
    BASE,
    REQUESTS,
    ExportLogsServiceRequest,
    ExportMetricsServiceRequest,
    ExportTraceServiceRequest,
    Gateway,
    any_value,
    attributes,
    environment,
    items,
    pairs,
    plain,
)
from tests.controlplane.sample import BOUNDS, TEXTS, VALUES, action_set, logs_sample, metrics_sample, traces_sample
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

pytestmark = pytest.mark.binary


def running(binary: Path, actions: Sequence[Action]) -> Gateway:
    return Gateway(binary, render(BASE, actions).files[0].body, **environment())


def numbered(requests: Sequence[Any]) -> dict[object, tuple[Item, Any]]:
    """Items by the number that each carries; one that comes out twice is an error."""
    listed = [(attributes(raw.attributes)["n"], (item, raw)) for request in requests for item, raw in items(request)]
    assert len(dict(listed)) == len(listed)
    return dict(listed)


def replayed(collector: Path, chance: random.Random, sets: int) -> int:
    """Runs a recorded sample through so many sets of actions; what comes out must be what was predicted. How many items were removed."""
    sample = {"metrics": metrics_sample(chance, 400), "logs": logs_sample(chance, 400), "traces": traces_sample(chance, 400)}
    sent = {signal: numbered([request]) for signal, request in sample.items()}
    gone = 0
    for _ in range(sets):
        actions = action_set(chance)
        body = render(BASE, actions).files[0].body
        assert Collector(collector).validate(body) == []
        with Gateway(collector, body, **environment()) as gateway:
            for signal, request in sample.items():
                gateway.send(signal, request.SerializeToString())
                left = numbered([*gateway.arrived(signal), *gateway.arrived(signal, "archive")])
                wanted = {n for n, (item, _) in sent[signal].items() if not removed(actions, item)}
                assert set(left) == wanted, (actions, [sent[signal][n][0] for n in set(left) ^ wanted][:3])
                gone += len(sent[signal]) - len(left)
            assert "expanded" not in str(gateway.got)
    return gone


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_any_set_of_actions_is_accepted_and_removes_exactly_what_was_predicted(collector: Path, case: str) -> None:
    assert replayed(collector, random.Random(seed_of(case, "action sets")), count(100, 1000) // 2) > 5_000


SERVICE = Field("resource.attributes", "service.name")
PLANTED: dict[str, tuple[str, Any]] = {
    "one match is enough": ("controlplane.render.metrics.all_of", lambda *parts: Or(parts)),
    "a record without a severity goes too": (
        "controlplane.render.records.severities",
        lambda service, highest: And((eq(SERVICE, service), Compare(Field("severity_number"), "<=", Literal(highest)))),
    ),
    "a span that failed goes too": (
        "controlplane.render.records._did_not_fail",
        lambda action: And((eq(SERVICE, action.service), eq(Field("name"), action.name))),
    ),
    "one in a hundred more is kept": ("controlplane.render.preview.threshold", lambda percent: threshold(percent) + 655),
}
"""What would remove other items than was predicted."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_bug_that_is_planted_is_found_by_replaying(collector: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    monkeypatch.setattr(*PLANTED[bug])
    with pytest.raises(AssertionError, match="Extra items in the"):
        replayed(collector, random.Random(11), 50)


def every_value_against_every_text(collector: Path) -> set[object]:
    """What goes of points that have each value of the sample under a key for each of its texts, and is asked for by that text."""
    request, metric = one_metric()
    for at, (text, value) in enumerate(product(TEXTS, VALUES)):
        metric.gauge.data_points.add(attributes=pairs({"n": at, text or "none": value}), as_int=1)
    actions = [DropPoints("m", (Match(Label("point", text or "none"), (text,)),)) for text in TEXTS]
    with running(collector, actions) as gateway:
        left = numbered(gateway.through("metrics", request))
    sent = numbered([request])
    assert set(left) == {n for n, (item, _) in sent.items() if not removed(actions, item)}
    return set(sent) - set(left)


def test_any_value_is_compared_as_the_text_that_the_tap_shows(collector: Path) -> None:
    assert len(every_value_against_every_text(collector)) > len(TEXTS)


def test_a_double_that_is_compared_as_go_writes_it_is_found(collector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.render.metrics.shown_double", lambda _: None)
    with pytest.raises(AssertionError, match="Extra items in the"):
        every_value_against_every_text(collector)


def one_metric(name: str = "m") -> tuple[ExportMetricsServiceRequest, Any]:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.extend(pairs({"host": "h"}))
    return request, resource.scope_metrics.add().metrics.add(name=name)


def test_a_renamed_metric_has_its_new_name_and_only_that_one(collector: Path) -> None:
    request, metric = one_metric("old")
    metric.gauge.data_points.add(as_int=1)
    other = request.resource_metrics[0].scope_metrics[0].metrics.add(name="older")
    other.gauge.data_points.add(as_int=2)
    with running(collector, [Rename("old", "new")]) as gateway:
        (out,) = gateway.through("metrics", request)
    assert [m.name for m in out.resource_metrics[0].scope_metrics[0].metrics] == ["new", "older"]


def test_a_label_is_deleted_only_where_those_that_determine_it_are(collector: Path) -> None:
    request, metric = one_metric()
    points: list[dict[str, object]] = [{"pod": "p", "node": "x"}, {"node": "x"}, {"pod": None, "node": "x"}, {"pod": "p"}]
    for given in points:
        metric.gauge.data_points.add(attributes=pairs(given), as_int=1)
    action = DeleteLabel("m", Label("point", "node"), (Label("point", "pod"), Label("resource", "host")))
    with running(collector, [action]) as gateway:
        (out,) = gateway.through("metrics", request)
    left = [attributes(p.attributes) for p in out.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points]
    assert left == [{"pod": "p"}, {"node": "x"}, {"pod": None, "node": "x"}, {"pod": "p"}]


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_merged_buckets_are_those_of_a_histogram_with_fewer_bounds(collector: Path, case: str) -> None:
    """Cumulative counts at every bound that stays are what they were; so are count, sum, min and max."""
    chance = random.Random(seed_of(case, "buckets"))
    request, metric = one_metric()
    metric.histogram.aggregation_temporality = 2
    kept = tuple(b for b in BOUNDS if chance.random() < 0.5)[1:]
    for at in range(200):
        bounds = BOUNDS if chance.random() < 0.7 else tuple(b for b in (*BOUNDS, 5e5) if chance.random() < 0.5)
        counts = [chance.randrange(2**40) for _ in range(len(bounds) + 1)] if chance.random() < 0.9 else []
        point = metric.histogram.data_points.add(
            count=sum(counts), sum=3.5, min=0.1, max=9.0, bucket_counts=counts, explicit_bounds=bounds if counts else []
        )
        point.attributes.extend(pairs({"n": at}))
    with running(collector, [ReduceBuckets("m", kept, BOUNDS)]) as gateway:
        left = numbered(gateway.through("metrics", request))
    for number, (_, before) in numbered([request]).items():
        after = left[number][1]
        assert list(after.explicit_bounds) == [b for b in before.explicit_bounds if b in kept or b not in BOUNDS]
        assert (after.count, after.sum, after.min, after.max) == (before.count, before.sum, before.min, before.max)
        assert {b: c for b, c in cumulative(before).items() if b in cumulative(after)} == cumulative(after)


def cumulative(point: Any) -> dict[float, int]:
    bounds = [*point.explicit_bounds, float("inf")] if point.bucket_counts else []
    return {bound: sum(point.bucket_counts[: at + 1]) for at, bound in enumerate(bounds)}


def test_no_bounds_at_all_leave_count_and_sum(collector: Path) -> None:
    request, metric = one_metric()
    metric.histogram.data_points.add(count=6, sum=1.5, bucket_counts=[1, 1, 1, 1, 1, 1], explicit_bounds=BOUNDS)
    with running(collector, [ReduceBuckets("m", (), BOUNDS)]) as gateway:
        (out,) = gateway.through("metrics", request)
    (point,) = out.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
    assert (list(point.explicit_bounds), list(point.bucket_counts), point.count, point.sum) == ([], [6], 6, 1.5)


def one_record(**fields: Any) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(**fields)
    return request


TRIMMED = [
    "",
    "a",
    "abcd",
    "abcde",
    "é",
    "éé",
    "aéé",
    "名前",
    "a名前",
    "😀",
    "😀😀",
    "ab\ufffd",
    "ab\ufffdc",
    "abcd\ufffd",
    12345678,
    ["a" * 20],
    "\x00" * 9,
]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
def test_a_trimmed_attribute_is_the_longest_whole_text_of_so_many_bytes(collector: Path, limit: int) -> None:
    with running(
        collector, [TrimAttribute(Signal.LOGS, Label("point", "k"), limit), TrimAttribute(Signal.TRACES, Label("resource", "k"), limit)]
    ) as gateway:
        for value in TRIMMED:
            wanted = trimmed(value, limit) if isinstance(value, str) else value
            (out,) = gateway.through("logs", one_record(attributes=pairs({"k": value, "other": "x" * 50})))
            (record,) = [raw for _, raw in items(out)]
            assert attributes(record.attributes) == {"k": wanted, "other": "x" * 50}
            traces = ExportTraceServiceRequest()
            traces.resource_spans.add().scope_spans.add().spans.add(name="s")
            traces.resource_spans[0].resource.attributes.extend(pairs({"k": value}))
            (out,) = gateway.through("traces", traces)
            assert attributes(out.resource_spans[0].resource.attributes) == {"k": wanted}


def trimmed(text: str, limit: int) -> str:
    """As the renderer says: cut, then without what is no UTF-8 any more at the end (a U+FFFD that stood there goes with it)."""
    cut = text.encode()[:limit]
    if len(text.encode()) <= limit:
        return text
    left = cut.decode(errors="ignore")
    taken = len(cut) - len(left.encode())
    while left.endswith("\ufffd") and taken < 3:
        left, taken = left[:-1], taken + 1
    return left


SECRETS: dict[PersonalData, tuple[list[str], list[str]]] = {
    "email": (["a.b+c@mail.example.org", "X@y.io"], ["a@b", "@home", "no mail"]),
    "ip": (
        ["10.0.0.255", "2001:db8::1", "fe80::1ff:fe23:4567:890a", "1:2:3:4:5:6:7:8"],
        ["1.2.3", "256.1.1.300", "12:30:45", "v1.2.3.4.5x"[:2]],
    ),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
    "card": (["4111 1111 1111 1111", "5500000000000004", "3782-822463-10005"], ["1234567890123456", "411111111111111111111"]),
    "phone": (["+49 30 123456", "+1 (415) 555-0100"], ["12345", "2026-11-25", "+5"]),
    "jwt": (["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"], ["eyJhbGciOi"]),
}


@pytest.mark.parametrize("shape", SECRETS)
def test_personal_data_is_replaced_and_the_rest_stays(collector: Path, shape: PersonalData) -> None:
    found, others = SECRETS[shape]
    actions: list[Action] = [
        Redact(Signal.LOGS, None, shape), Redact(Signal.LOGS, Label("point", "k"), shape), Redact(Signal.TRACES, Label("resource", "k"), shape)
    ]  # fmt: skip
    with running(collector, actions) as gateway:
        for secret in [*found, *others]:
            text, wanted = f"<{secret}> and {secret}.", "<****> and ****." if secret in found else f"<{secret}> and {secret}."
            record = one_record(attributes=pairs({"k": text, "other": text}), body=any_value({"a": text, "n": 1, "deep": {"b": text}}))
            record.resource_logs[0].scope_logs[0].log_records.add(body=any_value(text), attributes=pairs({"k": 7}))
            (out,) = gateway.through("logs", record)
            first, second = [raw for _, raw in items(out)]
            assert attributes(first.attributes) == {"k": wanted, "other": text}
            assert plain(first.body) == {"a": wanted, "n": 1, "deep": {"b": text}}
            assert (plain(second.body), attributes(second.attributes)) == (wanted, {"k": 7})


@pytest.mark.parametrize("shape", PERSONAL_DATA)
def test_every_pattern_is_re2_and_quick_to_compile(shape: PersonalData) -> None:
    options = re2.Options()
    options.max_mem = 1 << 20
    assert re2.compile(PERSONAL_DATA[shape], options).groups == 0
    assert len(PERSONAL_DATA[shape]) <= 1_000


@pytest.mark.parametrize("signal", list(Signal))
def test_a_routed_service_reaches_its_exporter_alone(collector: Path, signal: Signal) -> None:
    request: Any = REQUESTS[signal.value]()
    for service in ("batch", "web"):
        if signal is Signal.METRICS:
            resource = request.resource_metrics.add()
            resource.scope_metrics.add().metrics.add(name="m").gauge.data_points.add(as_int=1)
        elif signal is Signal.LOGS:
            resource = request.resource_logs.add()
            resource.scope_logs.add().log_records.add(severity_number=9)
        else:
            resource = request.resource_spans.add()
            resource.scope_spans.add().spans.add(name="s")
        resource.resource.attributes.extend(pairs({"service.name": service}))
    with running(collector, [Route(signal, "batch", "otlp_http/archive")]) as gateway:
        gateway.send(signal.value, request.SerializeToString())
        for exporter, wanted in (("backend", "web"), ("archive", "batch")):
            (out,) = gateway.arrived(signal.value, exporter)
            assert [item.resource["service.name"] for item, _ in items(out)] == [wanted]


def test_two_gateways_keep_the_same_traces_and_a_smaller_sample_lies_within_a_larger_one(collector: Path) -> None:
    chance = random.Random(7)
    request = ExportTraceServiceRequest()
    for at in range(3_000):
        trace = chance.randbytes(16)
        for _ in range(2):
            request.resource_spans.add().scope_spans.add().spans.add(name="s", trace_id=trace, attributes=pairs({"n": at}))
    kept: list[set[bytes]] = []
    for percent in (25.0, 25.0, 5.0):
        with running(collector, [SampleTraces(percent)]) as gateway:
            spans = [raw.trace_id for out in gateway.through("traces", request) for _, raw in items(out)]
        kept.append(set(spans))
        assert all(spans.count(t) == 2 for t in list(kept[-1])[:50])
    assert kept[0] == kept[1] > kept[2]
    assert 600 < len(kept[0]) < 900
    assert 90 < len(kept[2]) < 220


def test_a_sample_of_logs_keeps_about_its_share_of_what_it_is_about_and_all_else(collector: Path) -> None:
    chance = random.Random(8)
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend(pairs({"service.name": "cart"}))
    records = resource.scope_logs.add().log_records
    for at in range(8_000):
        record = records.add(severity_number=chance.choice([0, 5, 17]), time_unix_nano=10**18 + at * 1000, attributes=pairs({"n": at}))
        record.body.string_value = "same text"
    with running(collector, [SampleLogs("cart", 8, 10.0), DropLogs("other", 24)]) as gateway:
        left = [int(raw.severity_number) for out in gateway.through("logs", request) for _, raw in items(out)]
    sent = [int(r.severity_number) for r in records]
    assert [left.count(s) for s in (0, 17)] == [sent.count(s) for s in (0, 17)]
    assert 0.08 < left.count(5) / sent.count(5) < 0.12
