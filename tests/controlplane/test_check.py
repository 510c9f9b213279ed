"""Structure and policy: what is refused names its place, and what we ship is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.check import check_actions, check_config
from controlplane.yaml import MAX_BYTES, MAX_DEPTH, load_config
from flowgate.actions import DropLogs, DropMetric
from flowgate.errors import Invalid

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
receivers: {otlp: {protocols: {grpc: {endpoint: "${env:FLOWGATE_OTLP_GRPC_ENDPOINT}"}}}}
processors: {filter/x: {error_mode: ignore, metrics: {metric: ['name == "a"']}}}
exporters: {otlp/backend: {endpoint: "${env:FLOWGATE_BACKEND_ENDPOINT}"}, otlp/tap_in: {endpoint: x}}
connectors: {forward/tap_out: {}}
service:
  pipelines:
    metrics: {receivers: [otlp], processors: [filter/x], exporters: [otlp/backend, forward/tap_out]}
    metrics/tap_out: {receivers: [forward/tap_out], exporters: [otlp/tap_in]}
"""


def test_what_we_ship_is_accepted() -> None:
    assert check_config((ROOT / "gateway" / "base.yaml").read_text()) == []
    assert check_config(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("filter/x: {error_mode: ignore, ", "filter/x: {", "processors/filter/x/error_mode"),
        ("error_mode: ignore", "error_mode: propagate", "processors/filter/x/error_mode"),
        ("processors: [filter/x]", "processors: [filter/y]", "service/pipelines/metrics/processors/0"),
        ("exporters: [otlp/backend, forward/tap_out]", "exporters: [nothing]", "service/pipelines/metrics/exporters/0"),
        ("exporters: [otlp/backend, forward/tap_out]", "exporters: [forward/tap_out]", "service/pipelines/metrics/exporters"),
        ("exporters: [otlp/backend, forward/tap_out]", "exporters: []", "service/pipelines/metrics/exporters"),
        ("receivers: [otlp]", "receivers: []", "service/pipelines/metrics/receivers"),
        ("{receivers: [otlp], processors: [filter/x], exporters: [otlp/backend, forward/tap_out]}", "7", "service/pipelines/metrics"),
        ("otlp/tap_in: {endpoint: x}", "file/x: {path: /tmp/x}, otlp/tap_in: {endpoint: x}", "exporters/file/x"),
        ("endpoint: x", 'endpoint: "${env:HOME}"', "exporters/otlp/tap_in/endpoint"),
        ("endpoint: x", 'endpoint: "${file:/etc/passwd}"', "exporters/otlp/tap_in/endpoint"),
        ("endpoint: x", 'endpoint: "${https://x/?k=${env:FLOWGATE_A}}"', "exporters/otlp/tap_in/endpoint"),
        ("endpoint: x", 'endpoint: "${FLOWGATE_A}"', "exporters/otlp/tap_in/endpoint"),
        ("endpoint: x", 'endpoint: ["a", "$$${env:B}"]', "exporters/otlp/tap_in/endpoint/1"),
    ],
)
def test_what_is_wrong_names_its_place(old: str, new: str, path: str) -> None:
    assert old in GOOD
    assert path in [p.path for p in check_config(GOOD.replace(old, new))]


def test_a_doubled_dollar_is_no_substitution() -> None:
    assert check_config(GOOD.replace("endpoint: x", 'endpoint: "$${env:HOME}"')) == []


@pytest.mark.parametrize("text", ["", "a: [", "[]", "a: 1\na: 2", "7: {}\nservice: {pipelines: {a: {}}}", "service: {pipelines: []}"])
def test_what_is_not_a_configuration_is_refused(text: str) -> None:
    assert check_config(text)


@pytest.mark.parametrize(("extra", "ok"), [(-1, True), (0, True), (1, False)])
def test_configurations_up_to_the_size_limit_are_read(extra: int, ok: bool) -> None:
    text = GOOD + "#" * (MAX_BYTES - len(GOOD) + extra)
    assert (check_config(text) == []) is ok


@pytest.mark.parametrize(("depth", "ok"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_configurations_up_to_the_depth_limit_are_read(depth: int, ok: bool) -> None:
    text = "service: {pipelines: {a: {}}}\nx: " + "[" * depth + "]" * depth
    if ok:
        load_config(text)
    else:
        with pytest.raises(Invalid, match="too deep"):
            load_config(text)


def test_an_action_on_a_protected_metric_is_refused() -> None:
    actions = [DropMetric("idle"), DropMetric("used"), DropLogs("used", 8)]
    assert [p.path for p in check_actions(actions, {"used"})] == ["actions/1"]


def test_no_action_is_no_template() -> None:
    assert check_actions([], set())
