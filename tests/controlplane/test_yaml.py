"""What load_config lets through has the shape that its readers lean on; anything else is a problem with its place, never a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.check import check_config
from controlplane.render import METRICS_FILTER, dumped, render
from controlplane.yaml import load_config
from flowgate.actions import DropLogs, DropMetric
from flowgate.errors import Invalid

SERVICE = "service: {pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}\n"
COMPONENTS = "receivers: {otlp: {}}\nexporters: {debug: {}}\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("receivers: [1]\n" + SERVICE, "receivers"),
        ("processors: 3\n" + SERVICE, "processors"),
        ("connectors: text\n" + SERVICE, "connectors"),
        (COMPONENTS + "service: {extensions: 7, pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}", "service/extensions"),
        (COMPONENTS + "service: {pipelines: {metrics: }}", "service/pipelines/metrics"),
        (COMPONENTS + "service: {pipelines: {metrics: {receivers: otlp, exporters: [debug]}}}", "service/pipelines/metrics/receivers"),
        (COMPONENTS + "service: {pipelines: {metrics: {receivers: [otlp], exporters: [{a: 1}]}}}", "service/pipelines/metrics/exporters"),
        (COMPONENTS + "service: {pipelines: {metrics: {receivers: [otlp], processors: batch, exporters: [debug]}}}", "service/pipelines/metrics/processors"),
    ],
)  # fmt: skip
def test_a_wrong_shape_names_its_place(text: str, path: str) -> None:
    assert [p.path for p in check_config(text)] == [path]
    with pytest.raises(Invalid):
        render(text, [DropMetric("m")])


def test_an_extension_that_is_not_defined_names_its_place() -> None:
    text = COMPONENTS + "service: {extensions: [zpages], pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}"
    assert [p.path for p in check_config(text)] == ["service/extensions/0"]
    assert check_config("extensions: {zpages: {}}\n" + text) == []


def test_a_base_may_not_define_what_flowgate_renders() -> None:
    """Else the processor would be replaced in silence and stand twice in the pipeline."""
    base = COMPONENTS + SERVICE + f"processors: {{{METRICS_FILTER}: {{error_mode: ignore}}}}\n"
    with pytest.raises(Invalid, match="the base defines"):
        render(base, [DropMetric("m")])


def test_a_base_with_an_empty_processors_section_can_be_acted_in() -> None:
    config = load_config(render(COMPONENTS + SERVICE + "processors:\n", [DropMetric("m")]).files[0].body.decode())
    assert config["service"]["pipelines"]["metrics"]["processors"] == [METRICS_FILTER]


@pytest.mark.parametrize("spelling", [".inf", "-.inf", ".nan", "1.5", "1e3"])
def test_every_number_keeps_its_type(spelling: str) -> None:
    before = load_config(f"x: {spelling}\n" + SERVICE)
    after = load_config(dumped(before).decode())
    assert repr(after["x"]) == repr(before["x"])
    assert isinstance(after["x"], float)


scalars = st.none() | st.booleans() | st.integers() | st.sampled_from(["otlp", "debug", "metrics", "batch", "filter/x", "${env:X}", ""])
values = st.recursive(
    scalars,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["receivers", "processors", "exporters", "pipelines", "metrics", "logs/tap_x", "a"]), children, max_size=4
        )
    ),
    max_leaves=12,
)
SECTIONS = ["receivers", "processors", "exporters", "connectors", "extensions", "service"]


@given(st.dictionaries(st.sampled_from(SECTIONS), values, max_size=6))
def test_any_tree_is_accepted_or_a_problem(tree: dict[str, object]) -> None:
    text = dumped({**tree, "service": tree.get("service", {"pipelines": {"metrics": tree.get("receivers")}})}).decode()
    check_config(text)
    try:
        made = render(text, [DropMetric("m"), DropLogs("s", 8)])
    except Invalid:
        return
    assert METRICS_FILTER in load_config(made.files[0].body.decode())["processors"]
