"""docs/templates.md: every example on it is what the code renders and decides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from controlplane.check import GATEWAY, check_actions, check_config, with_component
from controlplane.collector import Collector
from controlplane.render import dumped, limits, ottl, render
from controlplane.render.preview import Item, Point, Record, Span, removed
from controlplane.yaml import MAX_BYTES, MAX_DEPTH, children, load_config
from flowgate.action_shapes import ACTION_TYPES, action_from_json
from flowgate.actions import Action, AggregateLabels, Label, TrimAttribute
from flowgate.telemetry import Signal

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "templates.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EVERYTHING = with_component(GATEWAY, "processors", "aggregation")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BASE = blocks(PAGE, "yaml")[0]


def action_in(kind: str) -> Action:
    return action_from_json(json.loads(blocks(SECTIONS[kind], "json")[0]))


def difference(base: Mapping[str, Any], rendered: Mapping[str, Any]) -> dict[str, Any]:
    """What a rendered configuration has that its base has not."""
    changed = {kind: entries(base.get(kind), value) for kind, value in rendered.items() if kind != "service"}
    pipelines = entries(base["service"]["pipelines"], rendered["service"]["pipelines"])
    return {k: v for k, v in {**changed, "service": {"pipelines": pipelines} if pipelines else None}.items() if v}


def entries(before: Any, after: Any) -> dict[str, Any]:
    known = dict(children(before))
    return {name: value for name, value in children(after) if known.get(name) != value}


def items(listed: list[Mapping[str, Any]]) -> Iterator[Item]:
    for given in listed:
        resource = given.get("resource", {})
        if "metric" in given:
            yield Point(given["metric"], resource, given.get("attributes", {}))
        elif "span" in given:
            yield Span(resource, given["span"], given.get("attributes", {}), given.get("status_code", 0), bytes(range(16)))
        else:
            yield Record(resource, given["severity_number"], given.get("body"), 0)


def test_there_is_one_example_of_each_template() -> None:
    assert sorted(SECTIONS) == sorted(ACTION_TYPES)


@pytest.mark.parametrize("kind", ACTION_TYPES)
def test_an_example_is_what_is_rendered(kind: str) -> None:
    action = action_in(kind)
    assert action.type == kind
    rendered = load_config(render(BASE, [action]).files[0].body.decode())
    assert blocks(SECTIONS[kind], "yaml") == [dumped(difference(load_config(BASE), rendered)).decode()]


@pytest.mark.parametrize("kind", ACTION_TYPES)
def test_an_example_passes_the_check(kind: str) -> None:
    assert check_actions([action_in(kind)], [], EVERYTHING) == []
    assert check_config(render(BASE, [action_in(kind)]).files[0].body.decode(), EVERYTHING) == []


@pytest.mark.binary
@pytest.mark.parametrize("together", [False, True])
def test_the_binary_accepts_the_examples(collector: Path, together: bool) -> None:
    """One by one and all at once; aggregation where the build has it."""
    actions = [a for a in map(action_in, ACTION_TYPES) if not isinstance(a, AggregateLabels) or GATEWAY.has("processors", "aggregation")]
    for listed in [actions] if together else [[a] for a in actions]:
        assert Collector(collector).validate(render(BASE, listed).files[0].body) == [], listed


REMOVING = [kind for kind, text in SECTIONS.items() if len(blocks(text, "json")) > 1]


def test_what_drops_says_what_goes_and_what_stays() -> None:
    assert set(REMOVING) >= {kind for kind in ACTION_TYPES if kind.startswith("drop_")}


@pytest.mark.parametrize("kind", REMOVING)
def test_what_goes_and_what_stays_is_what_the_preview_decides(kind: str) -> None:
    told = json.loads(blocks(SECTIONS[kind], "json")[1])
    assert set(told) == {"goes", "stays"}
    for word, listed in told.items():
        assert listed
        assert [removed([action_in(kind)], item) for item in items(listed)] == [word == "goes"] * len(listed)


def test_the_order_on_the_page_is_the_order_of_processors() -> None:
    """All examples at once, in each main pipeline; in none of them is something changed in traces."""
    actions = [*map(action_in, ACTION_TYPES), TrimAttribute(Signal.TRACES, Label("point", "k"), 5)]
    pipelines = load_config(render(BASE, actions).files[0].body.decode())["service"]["pipelines"]
    told = dict(re.findall(r"^\| (metrics|logs|traces) \| (.*) \|$", PAGE, re.MULTILINE))
    assert {s: re.findall(r"`([\w/]+)`", row) for s, row in told.items()} == {s: pipelines[s]["processors"] for s in told}


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    told = {int(n.replace(",", "")) for n in re.findall(r"^\| [^|]+ \| ([\d,]+) \|", PAGE, re.MULTILINE)}
    assert told == {MAX_BYTES, limits.MAX_CONDITIONS, limits.MAX_PROCESSORS, ottl.MAX_NAME, MAX_DEPTH}
