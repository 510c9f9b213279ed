"""Advice for elsewhere: each snippet is valid where it goes, right for the metric's type, and a name in it is data."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ryaml
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from controlplane.render.elsewhere import Snippet, advice_elsewhere, prometheus_names
from flowgate.actions import AggregateLabels, DeleteLabel, Label
from flowgate.advice import LabelProfile, MetricProfile
from flowgate.money import Volume
from flowgate.telemetry import Kind

PROMTOOL = Path(__file__).resolve().parents[2] / "gateway" / "build" / "promtool"
POD, ROUTE, HOST = Label("point", "k8s.pod.name"), Label("point", "http.route"), Label("resource", "host.name")


def metric(
    name: str = "http.requests", kind: Kind = Kind.SUM, monotonic: bool = True, unit: str = "", *labels: LabelProfile
) -> MetricProfile:
    known = labels or (LabelProfile(POD.key, "point", 9, 3), LabelProfile(ROUTE.key, "point", 3, 9))
    return MetricProfile(name, unit, kind, "cumulative", monotonic, Volume(27, 27, 1.0, 1.0), labels=known)


def aggregate(name: str = "http.requests", operator: Any = "sum", *labels: Label) -> AggregateLabels:
    return AggregateLabels(name, labels or (POD,), operator, 30.0)


def ways(action: AggregateLabels | DeleteLabel, profile: MetricProfile) -> dict[str, Snippet]:
    return {s.where.partition(":")[0] + (" java" * (s.language == "java")): s for s in advice_elsewhere(action, profile).ways}


def text(where: str, action: AggregateLabels | DeleteLabel, profile: MetricProfile) -> str:
    (found,) = [s.text for s in advice_elsewhere(action, profile).ways if where in s.where]
    return found


HOSTILE_KEYS = ['a"b', "a\\", "a\nb", "${env:X}", "é", "😀", "\u2028", "\x00", "a'b", "/* */", "`", "$1"]


def test_the_python_view_keeps_every_other_attribute_and_adds_up() -> None:
    """Run by the real SDK, which says what is exported."""
    labels = [LabelProfile(key, "point", 2, 2) for key in (*HOSTILE_KEYS, POD.key)]
    code = text("Python", aggregate(), metric("http.requests", Kind.SUM, True, "", *labels))
    reader = InMemoryMetricReader()
    made: dict[str, Any] = {}
    exec(code.replace("views=[view]", "views=[view], metric_readers=[READER]"), {"READER": reader}, made)
    provider: MeterProvider = made["provider"]
    counter = provider.get_meter("m").create_counter("http.requests")
    for pod in ("p1", "p2"):
        counter.add(2, {POD.key: pod, **dict.fromkeys(HOSTILE_KEYS, "x")})
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (dict(point.attributes or {}), point.value) == (dict.fromkeys(HOSTILE_KEYS, "x"), 4)


def test_a_view_without_attributes_is_python_too() -> None:
    code = text("Python", aggregate(), metric("http.requests", Kind.SUM, True, "", LabelProfile(POD.key, "point", 2, 1)))
    assert "attribute_keys=set()" in code
    ast.parse(code)


@pytest.mark.parametrize("key", [POD.key, *HOSTILE_KEYS])
def test_the_declarative_view_excludes_the_label(key: str) -> None:
    view = ryaml.loads(text("declarative", aggregate("http.requests", "sum", Label("point", key)), metric()))["meter_provider"]["views"][0]
    assert view == {"selector": {"instrument_name": "http.requests"}, "stream": {"attribute_keys": {"excluded": [key.replace("$", "$$")]}}}


@pytest.mark.binary
def test_the_go_view_is_go(tmp_path: Path) -> None:
    code = text("for Go", aggregate("http.requests", "sum", POD, *(Label("point", k) for k in HOSTILE_KEYS)), metric())
    (tmp_path / "view.go").write_text(code)
    gofmt = shutil.which("gofmt") or "/usr/local/go/bin/gofmt"
    done = subprocess.run([gofmt, "-l", "-e", str(tmp_path / "view.go")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_java_view_is_what_a_compiler_was_shown_once() -> None:
    """Its shape is fixed; only two string literals differ, in escapes that JSON and Java share."""
    code = text("Java", aggregate("http.requests", "sum", *(Label("point", k) for k in HOSTILE_KEYS)), metric())
    literals = [json.loads(found) for found in re.findall(r'"(?:\\.|[^"\\])*"', code)]
    assert literals == [*sorted(HOSTILE_KEYS), "http.requests"]
    assert re.sub(r'"(?:\\.|[^"\\])*"', "_", code) == re.sub(
        r'"(?:\\.|[^"\\])*"', "_", JAVA.replace("_, _", ", ".join("_" * len(HOSTILE_KEYS)))
    )


JAVA = """\
import io.opentelemetry.sdk.metrics.InstrumentSelector;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.View;
import java.util.Set;

class Metrics {
  static final Set<String> GONE = Set.of(_, _);

  static SdkMeterProvider provider() {
    return SdkMeterProvider.builder()
        .registerView(
            InstrumentSelector.builder().setName(_).build(),
            View.builder().setAttributeFilter(key -> !GONE.contains(key)).build())
        .build();
  }
}
"""


@pytest.mark.parametrize(
    ("profile", "operator", "names", "grafana", "victoria"),
    [
        (metric("http.requests"), "sum", ["http_requests_total"], "sum:counter", "total"),
        (metric("node_cpu_seconds_total"), "sum", ["node_cpu_seconds_total"], "sum:counter", "total"),
        (metric("queue.size", Kind.GAUGE, False), "sum", ["queue_size"], "sum", "sum_samples"),
        (metric("queue.size", Kind.GAUGE, False), "max", ["queue_size"], "max", "max"),
        (metric("queue.size", Kind.SUM, False), "min", ["queue_size"], "min", "min"),
        (metric("build.info", Kind.GAUGE, False), "group", ["build_info"], "max", "max"),
        (metric("rpc.duration", Kind.HISTOGRAM, False, "s"), "sum", [f"rpc_duration_seconds_{p}" for p in ("bucket", "sum", "count")], "sum:counter", "total"),
        (metric("rpc.size", Kind.SUMMARY, False, "By"), "sum", ["rpc_size_bytes_sum", "rpc_size_bytes_count"], "sum:counter", "total"),
    ],
)  # fmt: skip
def test_backends_add_up_by_the_metrics_type(profile: MetricProfile, operator: str, names: list[str], grafana: str, victoria: str) -> None:
    action = aggregate(profile.metric, operator, POD, HOST)
    assert list(prometheus_names(profile)) == names
    rules = json.loads(text("Grafana", action, profile))
    assert rules == [
        {"metric": n, "match_type": "exact", "drop_labels": ["host_name", "k8s_pod_name"], "aggregations": [grafana]} for n in names
    ]
    streams = ryaml.loads(text("VictoriaMetrics", action, profile))
    assert [s["match"] for s in streams] == [f'{{__name__="{n}"}}' for n in names]
    for stream in streams:
        assert (stream["without"], stream["outputs"], stream["interval"]) == (["host_name", "k8s_pod_name"], [victoria], "30s")
        assert ("dedup_interval" in stream) is (victoria == "sum_samples")


def test_what_cannot_be_done_there_is_said() -> None:
    found = advice_elsewhere(aggregate("e", "sum"), metric("e", Kind.EXPONENTIAL_HISTOGRAM, False))
    assert any("exponential" in r for r in found.reasons)
    assert not [s for s in found.ways if s.language == "json"]
    found = advice_elsewhere(aggregate("http.requests", "sum", HOST), metric())
    assert any("resource" in r for r in found.reasons)
    assert {s.language for s in found.ways} == {"json", "yaml"}
    found = advice_elsewhere(aggregate("http.*", "sum"), metric("http.*"))
    assert any("No SDK" in r for r in found.reasons)


def test_relabelling_is_offered_only_where_no_two_series_become_one() -> None:
    told = LabelProfile("node", "point", 3, 9, determined_by=(POD,))
    apart = LabelProfile(POD.key, "point", 9, 3)
    profile = metric("http.requests", Kind.SUM, True, "", told, apart)
    found = text("metric_relabel_configs", DeleteLabel("http.requests", Label("point", "node"), (POD,)), profile)
    assert ryaml.loads(found) == {
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "http_requests_total", "target_label": "node", "replacement": ""}
        ]
    }
    kept = advice_elsewhere(aggregate(), profile)
    assert not [s for s in kept.ways if "relabel" in s.where]
    assert any("Relabelling" in r for r in kept.reasons)


@pytest.mark.binary
@pytest.mark.skipif(not PROMTOOL.exists(), reason="promtool is not built: run `make gateway`")
def test_promtool_takes_the_relabelling(tmp_path: Path) -> None:
    told = LabelProfile("node", "point", 3, 9, constant=True)
    profile = metric("rpc.duration", Kind.HISTOGRAM, False, "s", told)
    found = ryaml.loads(text("metric_relabel_configs", aggregate("rpc.duration", "sum", Label("point", "node")), profile))
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [{"job_name": "x", **found}]}))
    done = subprocess.run([PROMTOOL, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@settings(max_examples=100)
@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True),
    st.sampled_from(list(Kind)),
)
def test_any_name_leaves_every_snippet_valid(name: str, keys: list[str], kind: Kind) -> None:
    profile = metric(name, kind, kind is Kind.SUM)
    for snippet in advice_elsewhere(aggregate(name, "sum", *(Label("point", k) for k in keys)), profile).ways:
        if snippet.language == "python":
            ast.parse(snippet.text)
        elif snippet.language == "json":
            json.loads(snippet.text)
        elif snippet.language == "yaml":
            ryaml.loads(snippet.text)
