"""OTLP names to Prometheus names, forward, over every strategy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.naming import candidates, label_name
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


@given(st.text(max_size=30), st.text(max_size=8), st.sampled_from(list(Kind)), st.booleans())
def test_any_name_has_itself_among_its_candidates(metric: str, unit: str, kind: Kind, monotonic: bool) -> None:
    assert metric in candidates(metric, unit, kind, monotonic)


@pytest.mark.parametrize(
    ("attribute", "label"),
    [("service.name", "service_name"), ("user_id", "user_id"), ("a..b", "a_b"), ("2xx", "key_2xx"), ("__x__", "__x__"), ("é", "_")],
)
def test_label_names_are_escaped(attribute: str, label: str) -> None:
    assert label_name(attribute) == label
