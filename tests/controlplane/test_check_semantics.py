"""What a configuration or an action would do that nobody wants is refused: two writers, lost labels, total losses, protected metrics, newer functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.check import GATEWAY, Catalogue, Need, check_actions, check_change, check_config, touches, with_component
from controlplane.check.semantics import always
from controlplane.render import TAP, render
from controlplane.render.ottl import tokens
from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropLogs,
    DropMetric,
    DropPoints,
    DropPrefix,
    Label,
    Match,
    ReduceBuckets,
    Rename,
    Route,
    SampleLogs,
    SampleTraces,
    SetInterval,
)
from flowgate.telemetry import Signal
from flowgate.usage import all_except, only
from tests.actions import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
BASE = (ROOT / "gateway" / "base.yaml").read_text()
OLD = Catalogue((0, 130), GATEWAY.components)
WITH_AGGREGATION = with_component(GATEWAY, "processors", "aggregation")


def config(
    processors: str = "{batch: {}}", pipelines: str = "{metrics: {receivers: [nop], processors: [batch], exporters: [nop]}}", rest: str = ""
) -> str:
    return f"receivers: {{nop: {{}}}}\nexporters: {{nop: {{}}, nop/b: {{}}, otlp/tap_in: {{endpoint: x}}}}\nprocessors: {processors}\n{rest}\nservice: {{pipelines: {pipelines}}}\n"


def paths(text: str, catalogue: Catalogue = GATEWAY) -> list[str]:
    return [p.path for p in check_config(text, catalogue)]


def one(processor: str, settings: str) -> str:
    return config(f"{{{processor}: {settings}}}", f"{{metrics: {{receivers: [nop], processors: [{processor}], exporters: [nop]}}}}")


ROUTED = (
    "{metrics: {receivers: [nop], exporters: [routing]}, metrics/b: {receivers: [routing], exporters: [nop]}, "
    "metrics/c: {receivers: [routing], exporters: [nop]}}"
)
# --- pipelines -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipelines", "connectors", "wrong"),
    [
        ("{metrics: {receivers: [nop], exporters: [nop]}, metrics/b: {receivers: [nop], exporters: [nop]}}", "{}", ["service/pipelines/metrics/b/exporters"]),
        ("{metrics: {receivers: [nop], exporters: [nop]}, metrics/b: {receivers: [nop], exporters: [nop/b]}}", "{}", []),
        ("{metrics: {receivers: [nop], exporters: [nop]}, logs/b: {receivers: [nop], exporters: [nop]}}", "{}", []),
        (
            "{metrics: {receivers: [nop], exporters: [nop, forward/x]}, metrics/b: {receivers: [forward/x], exporters: [nop]}}", "{forward/x: {}}",
            ["service/pipelines/metrics/b/exporters"],
        ),
        ("{metrics: {receivers: [nop], exporters: [forward/x]}, metrics/b: {receivers: [forward/x], exporters: [nop]}}", "{forward/x: {}}", []),
        (
            ROUTED, "{routing: {error_mode: ignore, table: [{condition: 'true', pipelines: [metrics/c]}], default_pipelines: [metrics/b]}}", [],
        ),
        (
            ROUTED,
            "{routing: {error_mode: ignore, table: [{condition: 'true', action: copy, pipelines: [metrics/c]}], default_pipelines: [metrics/b]}}",
            ["service/pipelines/metrics/c/exporters"],
        ),
        ("{metrics: {receivers: [nop], exporters: [otlp/tap_in]}}", "{}", ["service/pipelines/metrics/exporters"]),
        (
            "{metrics: {receivers: [nop], exporters: [forward/x]}, metrics/tap_out: {receivers: [forward/x], exporters: [otlp/tap_in]}}", "{forward/x: {}}",
            ["service/pipelines/metrics/exporters"],
        ),
        (
            "{metrics: {receivers: [nop, forward/x], exporters: [forward/x]}}", "{forward/x: {}}", ["service/pipelines"],
        ),
        ("{metrics: {receivers: [nop], exporters: [forward/x]}}", "{forward/x: {}}", ["service/pipelines/metrics/exporters"]),
    ],
)  # fmt: skip
def test_every_item_reaches_its_destination_once(pipelines: str, connectors: str, wrong: list[str]) -> None:
    assert paths(config(pipelines=pipelines, rest=f"connectors: {connectors}")) == wrong


def test_so_many_ways_that_nobody_can_tell_are_refused() -> None:
    names = [f"metrics/{k}" for k in range(60)]
    listed = ", ".join(f"{n}: {{receivers: [nop], exporters: [{', '.join(f'nop/{k}' for k in range(60))}]}}" for n in names)
    text = (
        f"receivers: {{nop: {{}}}}\nexporters: {{{', '.join(f'nop/{k}: {{}}' for k in range(60))}}}\nservice: {{pipelines: {{{listed}}}}}"
    )
    assert paths(text) == ["service/pipelines"]


# --- losses ----------------------------------------------------------------------------------------------------------------------------

EVERYTHING = [
    "true", "(true)", "1 == 1", '"a" == "a"', "not false", "true or name == \"a\"", 'name == "a" or (true)', 'IsMatch(name, ".*")', 'IsMatch(name, "")',
    'IsMatch(metric.name, "^.*$")', 'IsMatch(name, "a*")', 'HasPrefix(name, "")', 'name != ""', "name == name", 'name != nil', '  true  ',
    '((IsMatch(name, ".*")))',
]  # fmt: skip
SOMETHING = [
    'name == "a"', 'name == "true"', 'IsMatch(name, "a.*")', 'HasPrefix(name, "a")', 'name != "a"', 'attributes["a"] != nil', 'true and name == "a"',
    'IsMatch(name, ".*") and type == 1', 'name == "or true"', 'attributes["x"] == attributes["y"]', 'name == "" or name == "b"', "severity_number < 5",
    'not IsMatch(name, ".*")', "", 'IsMatch(name, "[")', 'IsMatch(attributes["a"], "^x")', '(name == "a") or (name == "b")',
]  # fmt: skip


@pytest.mark.parametrize("condition", EVERYTHING)
def test_a_filter_that_is_true_for_everything_is_refused(condition: str) -> None:
    text = one("filter/x", f"{{error_mode: ignore, metrics: {{metric: ['name == \"z\"', '{condition}']}}}}")
    assert paths(text) == ["processors/filter/x/metrics/metric/1"]


@pytest.mark.parametrize("condition", SOMETHING)
def test_a_filter_that_asks_for_something_is_not_taken_for_a_total_loss(condition: str) -> None:
    assert not always(list(tokens(condition)))


@pytest.mark.parametrize(
    ("processor", "settings", "path"),
    [
        ("probabilistic_sampler", "{sampling_percentage: 0}", "processors/probabilistic_sampler/sampling_percentage"),
        ("probabilistic_sampler", "{}", "processors/probabilistic_sampler/sampling_percentage"),
        ("filter/x", "{error_mode: ignore, metric_conditions: ['true']}", "processors/filter/x/metric_conditions/0"),
        ("filter/x", "{error_mode: ignore, metric_conditions: [{context: metric, conditions: ['true']}]}", "processors/filter/x/metric_conditions/0/conditions/0"),
        ("filter/x", "{error_mode: ignore, metrics: {exclude: {match_type: regexp, metric_names: [a, '.*']}}}", "processors/filter/x/metrics/exclude/metric_names/1"),
    ],
)  # fmt: skip
def test_other_total_losses_are_refused(processor: str, settings: str, path: str) -> None:
    assert path in paths(one(processor, settings))


@pytest.mark.parametrize(
    ("processor", "settings", "path"),
    [
        ("attributes", "{actions: [{key: a, action: insert, value: 1}, {key: pod, action: delete}]}", "processors/attributes/actions/1"),
        ("resource/x", "{attributes: [{key: host, action: DELETE}]}", "processors/resource/x/attributes/0"),
        ("transform/x", "{error_mode: ignore, metric_statements: ['delete_key(datapoint.attributes, \"pod\")']}", "processors/transform/x/metric_statements/0"),
        (
            "transform/x", "{error_mode: ignore, metric_statements: [{context: datapoint, statements: ['keep_keys(attributes, [\"a\"])']}]}",
            "processors/transform/x/metric_statements/0/statements/0",
        ),
        ("transform/x", "{error_mode: ignore, metric_statements: ['aggregate_on_attributes(\"sum\")']}", "processors/transform/x/metric_statements/0"),
        (
            "metricstransform", "{transforms: [{include: a, action: update, operations: [{action: aggregate_labels, label_set: [a]}]}]}",
            "processors/metricstransform/transforms/0/operations/0",
        ),
        ("metricstransform", "{transforms: [{include: a, action: combine, new_name: b}]}", "processors/metricstransform/transforms/0/action"),
        ("redaction", "{allow_all_keys: true}", "processors/redaction"),
    ],
)  # fmt: skip
def test_a_label_taken_off_metrics_without_adding_up_is_refused(processor: str, settings: str, path: str) -> None:
    assert paths(one(processor, settings)) == [path]
    assert paths(one(processor, settings).replace("{metrics: {receivers", "{logs: {receivers")) == []


# --- versions --------------------------------------------------------------------------------------------------------------------------


def test_functions_newer_than_the_target_are_named() -> None:
    text = one(
        "transform/x", "{error_mode: ignore, metric_statements: ['merge_histogram_buckets(1.0)', 'set(metric.name, Trim(metric.name))']}"
    )
    assert paths(text) == []
    assert [(p.path, p.message) for p in check_config(text, OLD)] == [
        ("processors/transform/x/metric_statements/0", "merge_histogram_buckets needs 0.135, the target runs 0.130")
    ]


def test_fields_newer_than_the_target_are_named() -> None:
    text = one("filter/x", "{error_mode: ignore, metric_conditions: ['metric.name == \"a\"']}")
    assert paths(text) == []
    assert paths(text, OLD) == ["processors/filter/x/metric_conditions"]


def test_a_function_that_is_named_in_a_string_is_no_call() -> None:
    assert paths(one("filter/x", "{error_mode: ignore, metrics: {metric: ['name == \"XXH3(a)\"']}}"), OLD) == []


def test_a_routing_connector_needs_an_error_mode_too() -> None:
    text = config(rest="connectors: {routing: {table: []}}")
    assert paths(text) == ["connectors/routing/error_mode"]


# --- actions ---------------------------------------------------------------------------------------------------------------------------

POD, NODE = Label("point", "k8s.pod.name"), Label("point", "node")


@pytest.mark.parametrize(
    ("action", "hurt"),
    [
        (DropMetric("used"), True),
        (DropMetric("used.too"), False),
        (DropPrefix("used"), True),
        (DropPrefix("used."), False),
        (DropPoints("used", (Match(POD, ("a",)),)), True),
        (AggregateLabels("used", (POD,), "sum", 60.0), True),
        (DeleteLabel("used", POD, (NODE,)), True),
        (ReduceBuckets("used", (), (1.0,)), True),
        (Rename("used", "x"), True),
        (Rename("x", "used"), True),
        (Rename("x", "y"), False),
        (SampleTraces(5.0), False),
        (DropLogs("used", 8), False),
    ],
)
def test_an_action_that_touches_a_protected_metric_is_refused(action: Action, hurt: bool) -> None:
    problems = check_actions([DropMetric("idle"), action], ["used"], WITH_AGGREGATION)
    assert [p.path for p in problems] == (["actions/1"] if hurt else [])
    assert touches(action, "used") is hurt


@pytest.mark.parametrize(
    ("action", "need", "hurt"),
    [
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(only("k8s_pod_name")), True),
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(only("k8s.pod.name")), True),
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(only("node")), False),
        (AggregateLabels("m", (NODE, POD), "sum", 60.0), Need(only("node")), True),
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(all_except("k8s_pod_name")), False),
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(all_except("node")), True),
        (AggregateLabels("m", (Label("resource", "service.name"),), "sum", 60.0), Need(only("job")), True),
        (AggregateLabels("m", (Label("resource", "service.instance.id"),), "sum", 60.0), Need(only("instance")), True),
        (AggregateLabels("m", (POD,), "sum", 60.0), Need(), True),
        (DeleteLabel("m", POD, (NODE,)), Need(only()), False),
        (DeleteLabel("m", POD, (NODE,)), Need(only("k8s_pod_name")), True),
        (ReduceBuckets("m", (1.0,), (0.5, 1.0)), Need(), True),
        (ReduceBuckets("m", (1.0,), (0.5, 1.0)), Need(bounds=frozenset({1.0})), False),
        (ReduceBuckets("m", (1.0,), (0.5, 1.0)), Need(bounds=frozenset({0.5})), True),
        (DropPoints("m", (Match(POD, ("a",)),)), Need(only()), True),
        (DropMetric("m"), Need(only(), frozenset()), True),
    ],
)
def test_an_action_may_take_what_nobody_needs_of_a_metric_that_is_read(action: Action, need: Need, hurt: bool) -> None:
    assert bool(check_actions([action], {"m": need}, WITH_AGGREGATION)) is hurt


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (DropPrefix("abc"), "prefix"),
        (DropLogs("s", 17), "errors are kept"),
        (SampleLogs("s", 24, 5.0), "errors are kept"),
        (DeleteLabel("m", Label("resource", "host.name"), (POD,)), "a resource is shared"),
        (AggregateLabels("m", (POD,), "sum", 60.0), "no processor `aggregation`"),
    ],
)
def test_an_action_that_takes_too_much_or_cannot_be_carried_out_is_refused(action: Action, word: str) -> None:
    (problem,) = check_actions([action], ())
    assert (problem.path, word in problem.message) == ("actions/0", True), problem


def test_actions_that_the_target_cannot_carry_out_are_refused_by_name() -> None:
    def messages(action: Action, catalogue: Catalogue) -> list[str]:
        return [p.message for p in check_actions([action], (), catalogue)]

    assert messages(ReduceBuckets("m", (), (1.0,)), OLD) == ["merge_histogram_buckets needs 0.135, the target runs 0.130"]
    bare = Catalogue((0, 149), {})
    assert messages(Route(Signal.LOGS, "s", "x"), bare) == ["the target's build has no connector `routing`"]
    assert messages(SetInterval("j", 5), bare) == ["the target's build has no receiver `prometheus`"]
    assert messages(SampleTraces(5.0), bare) == ["the target's build has no processor `probabilistic_sampler`"]
    for action in EXAMPLES:
        assert messages(action, bare)
        assert not messages(action, WITH_AGGREGATION)


@pytest.mark.parametrize(
    ("actions", "path"),
    [
        ([Rename("a", "x"), Rename("b", "x")], "actions/0/to"),
        ([Rename("a", "x"), Rename("x", "y")], "actions/0/to"),
        ([Rename("a", "x"), Rename("a", "y")], "actions/1"),
        ([ReduceBuckets("x", (), (1.0,)), Rename("a", "x")], "actions/1/to"),
        ([AggregateLabels("m", (POD,), "sum", 60.0), AggregateLabels("m", (NODE,), "sum", 60.0)], "actions/1"),
        ([DeleteLabel("m", POD, (NODE,)), DeleteLabel("m", NODE, (POD,))], "actions/0/determined_by"),
        ([AggregateLabels("m", (NODE,), "sum", 60.0), DeleteLabel("m", POD, (NODE,))], "actions/1/determined_by"),
        ([ReduceBuckets("m", (), (1.0,)), ReduceBuckets("m", (), (2.0,))], "actions/1"),
        ([SetInterval("j", 5), SetInterval("j", 6)], "actions/1"),
        ([Route(Signal.LOGS, "s", "a"), Route(Signal.LOGS, "s", "b")], "actions/1"),
        ([ReduceBuckets("m", (1.0,), (1.0, 1.0 + 1e-13, 2.0))], "actions/0/of"),
    ],
)  # fmt: skip
def test_actions_that_cannot_be_carried_out_together_are_refused(actions: list[Action], path: str) -> None:
    assert path in [p.path for p in check_actions(actions, (), WITH_AGGREGATION)]


@pytest.mark.parametrize(
    "actions",
    [
        [Rename("a", "x"), DropMetric("x")],
        [Rename("a", "x"), DropMetric("a"), Rename("b", "x")],
        [Route(Signal.LOGS, "s", "a"), Route(Signal.METRICS, "s", "b")],
        [DeleteLabel("m", POD, (NODE,)), DeleteLabel("n", NODE, (POD,))],
        [DropMetric("a"), DropMetric("a")],
    ],
)
def test_actions_that_can_be_are_not(actions: list[Action]) -> None:
    assert check_actions(actions, ()) == []


# --- changes ---------------------------------------------------------------------------------------------------------------------------


def test_a_change_may_not_take_a_signal_away() -> None:
    without = BASE.replace("    logs:\n", "    logs/tap_other:\n", 1)
    assert TAP in "logs/tap_other"
    assert [p.path for p in check_change(BASE, without)] == ["service/pipelines"]
    assert check_change(without, BASE) == []


@pytest.mark.parametrize(("extra", "ok"), [(-1, True), (0, True), (1, False)])
def test_a_change_may_double_a_configuration_and_no_more(extra: int, ok: bool) -> None:
    running = BASE + "#" * (20_000 - len(BASE))
    offered = BASE + "#" * (40_000 - len(BASE) + extra)
    assert (check_change(running, offered) == []) is ok


def test_first_rules_on_a_small_base_may_multiply_it() -> None:
    assert check_change(config(), config() + "#" * 10_000) == []


def test_what_is_rendered_is_a_change_that_is_allowed() -> None:
    assert check_change(BASE, render(BASE, [DropMetric("a"), DropLogs("s", 8)]).files[0].body.decode()) == []


@pytest.mark.parametrize(
    ("action", "ok"),
    [
        (DropPrefix("abc"), False), (DropPrefix("abcd"), True), (DropPrefix("abcde"), True),
        (DropLogs("s", 16), True), (DropLogs("s", 17), False), (DropLogs("s", 18), False),
        (SampleLogs("s", 16, 5.0), True), (SampleLogs("s", 17, 5.0), False), (SampleLogs("s", 18, 5.0), False),
    ],
)  # fmt: skip
def test_limits_of_single_actions_hold_at_the_limit(action: Action, ok: bool) -> None:
    assert (check_actions([action], []) == []) is ok
