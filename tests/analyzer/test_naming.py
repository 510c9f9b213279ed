"""OTLP names to Prometheus names, forward, over every strategy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.naming import Strategy, candidates, label_candidates, label_name
from flowgate.telemetry import Kind


@pytest.mark.parametrize(
    ("metric", "unit", "kind", "monotonic", "expected"),
    [
        ("http.requests", "{request}", Kind.SUM, True, {"http_requests_total", "http_requests", "http.requests_total", "http.requests"}),
        ("cpu.util", "1", Kind.GAUGE, False, {"cpu_util_ratio", "cpu_util", "cpu.util_ratio", "cpu.util"}),
        ("updown", "1", Kind.SUM, False, {"updown"}),
        ("node_cpu_seconds_total", "", Kind.SUM, True, {"node_cpu_seconds_total"}),
        ("system.cpu.time", "s", Kind.SUM, True, {"system_cpu_time_seconds_total", "system_cpu_time"}),
        ("system.memory.usage", "By", Kind.SUM, False, {"system_memory_usage_bytes"}),
        ("speed", "m/s", Kind.GAUGE, False, {"speed_meters_per_second"}),
        ("x.bytes", "By", Kind.GAUGE, False, {"x_bytes"}),
        ("a..b", "", Kind.GAUGE, False, {"a_b", "a__b", "a..b"}),
        ("2xx", "", Kind.GAUGE, False, {"_2xx"}),
        ("queue.size", "{item}", Kind.GAUGE, False, {"queue_size"}),
        ("total.orders", "", Kind.SUM, True, {"orders_total"}),
        ("odd", "furlong", Kind.GAUGE, False, {"odd_furlong"}),
    ],
)
def test_the_names_a_query_may_use(metric: str, unit: str, kind: Kind, monotonic: bool, expected: set[str]) -> None:
    assert expected <= set(candidates(metric, unit, kind, monotonic))


def test_a_histogram_has_parts() -> None:
    found = candidates("http.server.request.duration", "s", Kind.HISTOGRAM, False)
    assert found["http_server_request_duration_seconds_bucket"] == "bucket"
    assert found["http_server_request_duration_seconds_sum"] == "sum"
    assert found["http_server_request_duration_seconds_count"] == "count"
    assert found["http_server_request_duration_seconds"] is None


def test_a_summary_has_no_buckets() -> None:
    assert set(candidates("s", "", Kind.SUMMARY, False).values()) == {None, "sum", "count"}


@pytest.mark.parametrize(
    ("strategy", "metric", "unit", "kind", "monotonic", "name"),
    [
        (Strategy.ESCAPED_WITH_SUFFIXES, "http.server.request.duration", "s", Kind.GAUGE, False, "http_server_request_duration_seconds"),
        (Strategy.ESCAPED, "http.server.request.duration", "s", Kind.GAUGE, False, "http_server_request_duration"),
        (Strategy.UTF8_WITH_SUFFIXES, "http.server.request.duration", "s", Kind.GAUGE, False, "http.server.request.duration_seconds"),
        (Strategy.UTF8, "http.server.request.duration", "s", Kind.GAUGE, False, "http.server.request.duration"),
        (Strategy.ESCAPED_WITH_SUFFIXES, "http.requests", "{request}", Kind.SUM, True, "http_requests_total"),
        (Strategy.ESCAPED, "http.requests", "{request}", Kind.SUM, True, "http_requests"),
        (Strategy.UTF8_WITH_SUFFIXES, "http.requests", "{request}", Kind.SUM, True, "http.requests_total"),
        (Strategy.ESCAPED_WITH_SUFFIXES, "cpu.util", "1", Kind.GAUGE, False, "cpu_util_ratio"),
        (Strategy.UTF8_WITH_SUFFIXES, "cpu.util", "1", Kind.GAUGE, False, "cpu.util_ratio"),
        (Strategy.UTF8_WITH_SUFFIXES, "foo.milliseconds", "s", Kind.GAUGE, False, "foo.milliseconds"),
        (Strategy.ESCAPED_WITH_SUFFIXES, "foo.milliseconds", "s", Kind.GAUGE, False, "foo_milliseconds_seconds"),
        (Strategy.ESCAPED_WITH_SUFFIXES, "speed", "m/s", Kind.GAUGE, False, "speed_meters_per_second"),
        (Strategy.ESCAPED, "a__b", "", Kind.GAUGE, False, "a__b"),
        (Strategy.ESCAPED_WITH_SUFFIXES, "a__b", "", Kind.GAUGE, False, "a_b"),
    ],
)
def test_one_strategy_gives_its_own_name(strategy: Strategy, metric: str, unit: str, kind: Kind, monotonic: bool, name: str) -> None:
    """The examples of Prometheus' translation table."""
    found = candidates(metric, unit, kind, monotonic, [strategy])
    assert name in found
    others = {n for other in Strategy for n in candidates(metric, unit, kind, monotonic, [other])}
    assert set(found) <= others


def test_fewer_strategies_never_give_a_name_that_all_do_not() -> None:
    every = set(candidates("a.b", "By/s", Kind.HISTOGRAM, False))
    for strategy in Strategy:
        assert set(candidates("a.b", "By/s", Kind.HISTOGRAM, False, [strategy])) < every


@pytest.mark.parametrize(
    "name",
    [
        "workload.googleapis.com/flink.jvm.memory",
        "workload_googleapis_com:flink_jvm_memory",
        "ns_flink_jvm_memory_bytes",
        "flink.jvm.memory",
    ],
)
def test_a_backend_may_put_something_before_the_name(name: str) -> None:
    assert name in candidates("flink.jvm.memory", "By", Kind.GAUGE, False, namespace="ns")


@pytest.mark.parametrize(
    ("metric", "kind", "monotonic", "names"),
    [
        ("http.requests", Kind.SUM, True, {"prometheus.googleapis.com/http_requests_total/counter", "prometheus_googleapis_com:http_requests_total_counter"}),
        ("http.requests", Kind.SUM, False, {"prometheus.googleapis.com/http_requests/gauge"}),
        ("queue-size", Kind.GAUGE, False, {"prometheus.googleapis.com/queue_size/gauge", "prometheus.googleapis.com/queue-size/unknown", "queue_size"}),
        ("latency", Kind.HISTOGRAM, False, {"prometheus.googleapis.com/latency/histogram", "prometheus_googleapis_com:latency_histogram_bucket"}),
        ("latency", Kind.SUMMARY, False, {"prometheus.googleapis.com/latency/summary", "prometheus.googleapis.com/latency_sum/summary:counter"}),
        ("a.b", Kind.GAUGE, False, {"custom.googleapis.com/opencensus/a.b", "custom_googleapis_com:opencensus_a_b"}),
        ("system.cpu.time", Kind.SUM, True, {"otel.system.cpu.time"}),
        ("process.runtime.go.gc.count", Kind.SUM, True, {"otel.process.runtime.go.gc.count"}),
        ("kafka.producer.request-rate", Kind.GAUGE, False, {"kafka.producer.request_rate", "otel.kafka.producer.request_rate"}),
        ("http/latency", Kind.HISTOGRAM, False, {"http_latency.sum", "http_latency.max"}),
        ("x", Kind.SUMMARY, False, {"x.quantile"}),
    ],
)  # fmt: skip
def test_the_names_of_google_cloud_and_datadog(metric: str, kind: Kind, monotonic: bool, names: set[str]) -> None:
    """Managed Service for Prometheus writes the type behind the name; Datadog keeps dots and no other sign."""
    assert names <= set(candidates(metric, "", kind, monotonic))


def test_every_name_of_a_histogram_says_which_part_it_reads() -> None:
    found = candidates("latency", "", Kind.HISTOGRAM, False)
    assert found["latency.count"] == found["workload.googleapis.com/latency_count"] == "count"
    assert found["prometheus_googleapis_com:latency_histogram_sum"] == "sum"
    assert found["prometheus.googleapis.com/latency/histogram"] is found["latency.max"] is None
    assert len(found) < 120


@pytest.mark.parametrize(
    ("attribute", "resource", "labels"),
    [
        ("service.name", True, {"service.name", "service_name", "job"}),
        ("service.name", False, {"service.name", "service_name"}),
        ("service.namespace", True, {"service.namespace", "service_namespace", "job"}),
        ("service.instance.id", True, {"service.instance.id", "service_instance_id", "instance"}),
        ("a..b", False, {"a..b", "a_b", "a__b"}),
        ("_x", False, {"_x", "key_x"}),
        ("user_id", False, {"user_id"}),
        ("userId", False, {"userId", "userid"}),
        ("http.Status-Code", False, {"http.Status-Code", "http_Status_Code", "http.status-code"}),
    ],
)
def test_the_labels_an_attribute_may_appear_under(attribute: str, resource: bool, labels: set[str]) -> None:
    assert label_candidates(attribute, resource) == labels


@given(st.text(max_size=30), st.text(max_size=8), st.sampled_from(list(Kind)), st.booleans())
def test_any_name_has_itself_among_its_candidates(metric: str, unit: str, kind: Kind, monotonic: bool) -> None:
    assert metric in candidates(metric, unit, kind, monotonic)


@pytest.mark.parametrize(
    ("attribute", "label"),
    [("service.name", "service_name"), ("user_id", "user_id"), ("a..b", "a_b"), ("2xx", "key_2xx"), ("__x__", "__x__"), ("é", "_")],
)
def test_label_names_are_escaped(attribute: str, label: str) -> None:
    assert label_name(attribute) == label
