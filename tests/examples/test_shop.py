"""The shop sends what it promises, and its series are fixed before it says it is ready."""

import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from otlp_sink import OtlpSink, log_records_of, points_of, series_of, spans_of

from examples.shop.catalogue import SERVICES, catalogue
from examples.shop.fluent import event_time, forward, pack
from examples.shop.workload import Targets, Workload

ROOT = Path(__file__).parents[2]


def run_until(sink, seed, exports):
    """Series at `ready`, then series after `exports` further metric exports."""
    workload = Workload(Targets(sink.grpc, sink.http, sink.forward), seed)
    assert workload.start()
    before = set(series_of(sink.metrics))
    target = len(sink.metrics) + exports
    assert sink.wait_until(lambda: len(sink.metrics) >= target and sink.fluent and sink.traces and sink.logs)
    workload.stop()
    return before, set(series_of(sink.metrics))


@pytest.fixture(scope="module")
def run():
    with OtlpSink() as sink:
        yield sink, *run_until(sink, seed=7, exports=24)


def names(series, service=None):
    return {name for resource, _, name, *_ in series if service in (None, dict(resource)["service.name"])}


def test_the_series_do_not_grow_after_ready(run):
    _, before, after = run
    assert before == after
    assert len(before) == sum(1 for metric in catalogue(7) for _ in metric.series())


def test_every_export_of_a_service_carries_the_same_number_of_points(run):
    sink, *_ = run
    sizes = {}
    for request in sink.metrics:
        points = list(points_of(request))
        sizes.setdefault(dict(points[0][0][0])["service.name"], set()).add(len(points))
    assert set(sizes) == set(SERVICES)
    assert all(len(counts) == 1 for counts in sizes.values())


def test_the_same_seed_gives_the_same_series_and_another_seed_other_users(run):
    _, before, _ = run
    with OtlpSink() as again, OtlpSink() as other:
        assert run_until(again, seed=7, exports=1)[0] == before
        different = run_until(other, seed=8, exports=1)[0]
    assert len(different) == len(before)
    assert different != before


def test_every_metric_of_the_catalogue_arrives_under_its_service(run):
    _, before, _ = run
    for service in SERVICES:
        assert names(before, service) == {metric.name for metric in catalogue(7) if metric.service == service}


def test_the_labels_explode_as_promised_and_nothing_overflows(run):
    _, before, _ = run
    values = [dict(attributes) for *_, attributes in before]
    assert len({one["user_id"] for one in values if "user_id" in one}) == 1_500
    assert len({one["pod"] for one in values if "pod" in one}) == 600
    assert not [one for one in values if "otel.metric.overflow" in one]


def test_exactly_two_services_log_at_debug(run):
    sink, *_ = run
    assert {service for service, record in log_records_of(sink.logs) if record.severity_text == "DEBUG"} == {
        "cart",
        "payment",
    }


def test_a_checkout_is_one_trace_across_all_six_services(run):
    sink, *_ = run
    traces = {}
    for service, span in spans_of(sink.traces):
        traces.setdefault(span.trace_id, set()).add(service)
    assert set(SERVICES) in traces.values()


def test_the_legacy_program_sends_fluent_forward(run):
    sink, *_ = run
    assert bytes(sink.fluent[:13]) == b"\x92\xabshop.ledger"


def test_no_gateway_is_a_start_that_failed():
    assert not Workload(Targets("127.0.0.1:9", "127.0.0.1:9"), 7).start(patience=0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds_with_exit_code_0(number):
    with OtlpSink() as sink:
        command = [sys.executable, "-m", "examples.shop", "--otlp-grpc", sink.grpc, "--otlp-http", sink.http]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shop:
            assert shop.stdout.readline() == "ready\n"
            shop.send_signal(number)
            assert shop.wait(timeout=2) == 0
            assert re.fullmatch(r"shop: \d+ metric exports taken, 0 failed\n", shop.stderr.read())


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        ("", b"\xa0"),
        ("a" * 31, b"\xbf" + b"a" * 31),
        ("a" * 32, b"\xd9\x20" + b"a" * 32),
        ("a" * 256, b"\xda\x01\x00" + b"a" * 256),
        ("a" * 65_536, b"\xdb\x00\x01\x00\x00" + b"a" * 65_536),
        (127, b"\x7f"),
        (128, b"\xcf" + struct.pack(">Q", 128)),
        (["x"] * 16, b"\xdc\x00\x10" + b"\xa1x" * 16),
        ({"k": "v"}, b"\x81\xa1k\xa1v"),
    ],
)
def test_values_are_packed_in_the_shortest_form(value, packed):
    assert pack(value) == packed


def test_a_forward_message_is_tag_then_timed_records():
    message = forward("t", 5_000_000_009, [{"log": "x"}])
    assert event_time(5_000_000_009) == b"\xd7\x00\x00\x00\x00\x05\x00\x00\x00\x09"
    assert message == b"\x92\xa1t\x91\x92" + event_time(5_000_000_009) + b"\x81\xa3log\xa1x"
