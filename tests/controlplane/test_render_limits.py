"""How large a configuration may become, at each limit, one below and one above; what cannot be put into a base is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from controlplane.render import MAX_NAME, render
from controlplane.render.limits import MAX_CONDITIONS, MAX_PROCESSORS, conditions
from controlplane.yaml import MAX_BYTES, MAX_DEPTH, load_config
from flowgate.actions import (
    Action,
    AggregateLabels,
    DropLogs,
    DropMetric,
    DropPoints,
    DropPrefix,
    DropSpans,
    Label,
    Match,
    Redact,
    Rename,
    Route,
    SampleLogs,
    SetInterval,
)
from flowgate.errors import Invalid
from flowgate.telemetry import Signal
from tests.actions import EXAMPLES

BASE = "receivers: {nop: {}}\nexporters: {nop: {}, nop/b: {}, nop/tap_x: {}}\nprocessors: {%s}\nservice: {pipelines: {%s}}\n"
ALL = ", ".join(f"{s}: {{receivers: [nop], exporters: [nop]}}" for s in Signal)


def base(processors: str = "", pipelines: str = ALL) -> str:
    return BASE % (processors, pipelines)


def config(actions: Sequence[Action], text: str = "") -> dict[str, Any]:
    return load_config(render(text or base(), actions).files[0].body.decode())


def refusals(text: str, actions: Sequence[Action]) -> list[str]:
    """Why it is not rendered; a refusal always says what it is about."""
    try:
        render(text, actions)
    except Invalid as error:
        return [p.message for p in error.problems] or ["no reason"]
    return []


def allowed(text: str, actions: Sequence[Action]) -> bool:
    found = refusals(text, actions)
    assert "no reason" not in found
    return not found


ONE_CONDITION: dict[str, Callable[[str], Action]] = {
    "drop_metric": DropMetric,
    "drop_prefix": DropPrefix,
    "drop_points": lambda n: DropPoints(n, (Match(Label("point", "a"), ("v",)),)),
    "drop_logs": lambda n: DropLogs(n, 5),
    "rename": lambda n: Rename(n, f"new.{n}"),
    "aggregate_labels": lambda n: AggregateLabels(n, (Label("point", "a"),), "sum", 60.0),
}
"""Actions that become one condition, statement or aggregated name each, of any name."""


@pytest.mark.parametrize(("number", "ok"), [(MAX_CONDITIONS - 1, True), (MAX_CONDITIONS, True), (MAX_CONDITIONS + 1, False)])
@pytest.mark.parametrize("kind", ONE_CONDITION)
def test_conditions_are_limited(kind: str, number: int, ok: bool) -> None:
    made = [ONE_CONDITION[kind](f"m{k:05}") for k in range(number)]
    assert refusals(base(), made) == ([] if ok else [f"{number} conditions and statements: at most {MAX_CONDITIONS}"])


def test_conditions_of_all_kinds_and_of_the_base_count_together() -> None:
    half = MAX_CONDITIONS // 2
    listed = [*(DropMetric(f"m{k}") for k in range(half)), *(DropLogs(f"s{k}", 5) for k in range(half - 1))]
    own = base("filter/own: {error_mode: ignore, traces: {span: ['name == \"x\"'%s]}}")
    assert allowed(own % "", listed)
    assert not allowed(own % ", 'name == \"y\"'", listed)


def test_what_is_longer_counts_too() -> None:
    """Theirs are so long that bytes end first."""
    listed = [
        DropSpans("s", "a"),
        DropSpans("s", "b"),
        Route(Signal.LOGS, "s", "nop"),
        SampleLogs("s", 5, 1.0),
        Redact(Signal.LOGS, Label("point", "k"), "ip"),
    ]
    assert conditions(config(listed)) == 5


@pytest.mark.parametrize(("number", "ok"), [(MAX_PROCESSORS - 2, True), (MAX_PROCESSORS - 1, True), (MAX_PROCESSORS, False)])
def test_processors_are_limited(number: int, ok: bool) -> None:
    assert allowed(base(", ".join(f"batch/{k}: {{}}" for k in range(number))), [DropMetric("m")]) is ok


def five_hundred(characters: int) -> list[Action]:
    """Drops of metrics whose names have so many characters together: each of them is one byte of the configuration."""
    return [DropMetric(f"{k:03}".ljust(characters // 500 + (k < characters % 500), "x")) for k in range(500)]


@pytest.mark.parametrize(("extra", "ok"), [(-1, True), (0, True), (1, False)])
def test_bytes_are_limited(extra: int, ok: bool) -> None:
    others = len(render(base(), five_hundred(5_000)).files[0].body) - 5_000
    assert allowed(base(), five_hundred(MAX_BYTES - others + extra)) is ok


@pytest.mark.parametrize(("extra", "ok"), [(-1, True), (0, True), (1, False)])
def test_bytes_of_a_base_are_limited(extra: int, ok: bool) -> None:
    room = MAX_BYTES - len(base()) - 2
    assert allowed(f"{base()}# {'x' * (room + extra)}", [DropMetric("m")]) is ok


@pytest.mark.parametrize(("depth", "ok"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_the_depth_of_a_base_is_limited(depth: int, ok: bool) -> None:
    """`nop/deep` stands two levels down."""
    deep = "{a: " * (depth - 2) + "1" + "}" * (depth - 2)
    assert allowed(base().replace("exporters: {", f"exporters: {{nop/deep: {deep}, "), [DropMetric("m")]) is ok


@pytest.mark.parametrize(("length", "ok"), [(MAX_NAME - 1, True), (MAX_NAME, True), (MAX_NAME + 1, False)])
def test_names_are_limited(length: int, ok: bool) -> None:
    assert allowed(base(), [DropMetric("x" * length)]) is ok
    assert allowed(base(), [DropPrefix("é" * length)]) is ok


# --- what a base must have -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "path"),
    [
        (Route(Signal.LOGS, "s", "none"), "exporters/none"),
        (Route(Signal.LOGS, "s", "nop/tap_x"), "exporters/nop/tap_x"),
        (SetInterval("node", 5), "receivers"),
    ],
)
def test_what_the_base_does_not_have_is_named(action: Action, path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        render(base(), [action])
    assert [p.path for p in refusal.value.problems] == [path]


@pytest.mark.parametrize("action", [a for a in EXAMPLES if a.type not in ("set_interval", "route")], ids=lambda a: a.type)
def test_an_action_without_a_pipeline_to_act_in_is_refused(action: Action) -> None:
    with pytest.raises(Invalid, match="pipeline to act in"):
        render(base("", "metrics/tap_x: {receivers: [nop], exporters: [nop]}"), [action])


@pytest.mark.parametrize(
    "text",
    [
        base("filter/flowgate_metrics: {}"),
        base("transform/flowgate: {}"),
        base("", ALL + ", logs/flowgate_rest: {receivers: [nop], exporters: [nop]}"),
        base() + "connectors: {routing/flowgate_logs: {}}\n",
    ],
)
def test_a_base_may_not_hold_a_name_that_is_rendered(text: str) -> None:
    """Else it would pass for what was rendered, or be overwritten in silence."""
    with pytest.raises(Invalid, match="the base defines"):
        render(text, [DropMetric("m")])


SCRAPING = """
receivers:
  prometheus: {config: {scrape_configs: [{job_name: node, scrape_interval: 1s%s}, {job_name: other, scrape_interval: 1s}]}}
  prometheus/self: {config: {scrape_configs: [{job_name: self, scrape_interval: 1s}]}}
exporters: {nop: {}}
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [nop]}, metrics/tap_self: {receivers: [prometheus/self], exporters: [nop]}}}
"""


def test_only_the_named_job_of_a_main_pipeline_gets_another_interval() -> None:
    jobs = config([SetInterval("node", 30)], SCRAPING % "")["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert [(j["job_name"], j["scrape_interval"]) for j in jobs] == [("node", "30s"), ("other", "1s")]
    assert not allowed(SCRAPING % "", [SetInterval("self", 30)])
    assert not allowed(SCRAPING % ", scrape_timeout: 10s", [SetInterval("node", 30)])


# --- order and minimality --------------------------------------------------------------------------------------------------------------


def test_processors_run_in_the_order_that_is_explained() -> None:
    text = base("memory_limiter: {}, batch: {}", ", ".join(
        f"{s}: {{receivers: [nop], processors: [memory_limiter, batch], exporters: [nop]}}" for s in Signal
    ))  # fmt: skip
    actions = [a for a in EXAMPLES if a.type not in ("set_interval", "route")]
    actions += [Redact(Signal.TRACES, Label("point", "k"), "ip")]
    pipelines = config(actions, text)["service"]["pipelines"]
    assert pipelines["metrics"]["processors"] == [
        "memory_limiter", "filter/flowgate_metrics", "transform/flowgate_metrics", "aggregation/flowgate", "transform/flowgate_rename", "batch",
    ]  # fmt: skip
    assert pipelines["logs"]["processors"] == ["memory_limiter", "filter/flowgate_logs", "transform/flowgate_logs", "batch"]
    assert pipelines["traces"]["processors"] == [
        "memory_limiter", "filter/flowgate_traces", "probabilistic_sampler/flowgate_traces", "transform/flowgate_traces", "batch",
    ]  # fmt: skip
    assert config(list(reversed(actions)), text) == config(actions, text)


def test_aggregation_is_exactly_what_its_component_reads() -> None:
    point, resource = Label("point", "pod"), Label("resource", "host")
    actions: list[Action] = [
        AggregateLabels("b", (point, resource), "sum", 60.0), AggregateLabels("a", (resource, point), "sum", 60.0),
        AggregateLabels("c", (point,), "max", 60.0),
    ]  # fmt: skip
    assert config(actions)["processors"]["aggregation/flowgate"] == {
        "interval": "60s",
        "rules": [
            {"metrics": {"names": ["a", "b"]}, "drop_labels": {"resource": ["host"], "point": ["pod"]}, "operator": "sum"},
            {"metrics": {"names": ["c"]}, "drop_labels": {"point": ["pod"]}, "operator": "max"},
        ],
    }
    several = config([*actions, AggregateLabels("d", (point,), "sum", 2.5)])
    assert {n: p["interval"] for n, p in several["processors"].items()} == {
        "aggregation/flowgate_2.5s": "2.5s",
        "aggregation/flowgate_60s": "60s",
    }


@pytest.mark.parametrize("other", [60.0000001, 86_400.5, 1_234_567.0])
def test_every_interval_has_its_own_processor(other: float) -> None:
    """Written in full: Go's durations have no exponent, and two that were shortened to one would lose the rules of either."""
    found = config([AggregateLabels(str(i), (Label("point", "a"),), "sum", i) for i in (60.0, other)])["processors"]
    assert {float(p["interval"].removesuffix("s")): p["rules"][0]["metrics"]["names"] for p in found.values()} == {
        60.0: ["60.0"],
        other: [str(other)],
    }
    assert not any("e" in p["interval"] for p in found.values())


def test_what_is_dropped_anyway_needs_no_second_condition() -> None:
    found = config([DropPrefix("go."), DropPrefix("go.mem"), DropMetric("go.gc"), DropMetric("up"), Rename("go.x", "y"), Rename("up", "z")])
    assert list(found["processors"]) == ["filter/flowgate_metrics"]
    assert found["processors"]["filter/flowgate_metrics"]["metrics"] == {"metric": ['name == "up"', 'HasPrefix(name, "go.")']}


def test_every_main_pipeline_of_a_signal_gets_its_own_route() -> None:
    text = base("", "logs: {receivers: [nop], exporters: [nop]}, logs/b/c: {receivers: [nop], exporters: [nop/b]}")
    found = config([Route(Signal.LOGS, "s", "nop")], text)
    pipelines = found["service"]["pipelines"]
    assert {n: p["exporters"] for n, p in pipelines.items()} == {
        "logs": ["routing/flowgate_logs"],
        "logs/b/c": ["routing/flowgate_logs_b_c"],
        "logs/flowgate_rest": ["nop"],
        "logs/flowgate_route_0": ["nop"],
        "logs/flowgate_rest_b_c": ["nop/b"],
        "logs/flowgate_route_b_c_0": ["nop"],
    }
    assert all(c["error_mode"] == "ignore" for c in found["connectors"].values())
