"""Base + actions → bundle: same input, same bytes; a name is data, whatever it holds; the real binary is the judge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import ryaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.collector import Collector
from controlplane.render import LOGS_FILTER, MAX_NAME, METRICS_FILTER, quoted, render
from flowgate.actions import DropLogs, DropMetric
from flowgate.errors import Invalid

ROOT = Path(__file__).resolve().parents[2]
BASE = (ROOT / "gateway" / "base.yaml").read_text()
HOSTILE = [
    "${env:HOME}", "$${env:HOME}", "$$$", "${file:/etc/passwd}", 'a"b', "a\\", "a\\\\\"", "a' or true or '", '" or true or name == "',
    "on", "yes", "null", "~", "1e3", "12:30:45", "0x10", "- a", "a: b", "#c", "{{x}}", "%s", "é", "名前", "a b", "*", "&a", "!tag", "|", ">",
    "a.b", ".*", "(", "name == \"x\"", "\u2028", "\u00a0", "a\nb", "a\x00", "\x7f", "\t", "\ufffe", "\U0010ffff", "x" * MAX_NAME,
]  # fmt: skip


def config(actions: list[Any]) -> dict[str, Any]:
    return ryaml.loads(render(BASE, actions).files[0].body.decode())  # type: ignore[no-any-return]


def unquoted(condition: str) -> str:
    """What the Collector and then OTTL make of a finished condition: `$$` is `$`, and the literal is read back."""
    literal = condition.replace("$$", "$").split(" == ", 1)[1]
    assert literal[0] == literal[-1] == '"'
    return re.sub(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", _unescaped, literal[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else {"n": "\n", "r": "\r", "t": "\t"}.get(found[3], found[3])


def test_the_same_input_makes_the_same_bytes_in_any_order() -> None:
    actions = [DropMetric("b"), DropMetric("a"), DropLogs("s", 8), DropMetric("b")]
    assert render(BASE, actions) == render(BASE, list(reversed(actions)))


def test_no_actions_is_the_base_itself() -> None:
    assert config([]) == ryaml.loads(BASE)


def test_filters_stand_right_behind_memory_limiter_in_main_pipelines_only() -> None:
    pipelines = config([DropMetric("a"), DropLogs("s", 8)])["service"]["pipelines"]
    assert pipelines["metrics"]["processors"] == ["memory_limiter", METRICS_FILTER, "batch"]
    assert pipelines["logs"]["processors"] == ["memory_limiter", LOGS_FILTER, "batch"]
    rest = {n: p for n, p in pipelines.items() if n not in ("metrics", "logs")}
    assert rest == {n: p for n, p in ryaml.loads(BASE)["service"]["pipelines"].items() if n not in ("metrics", "logs")}


def test_error_mode_is_always_written() -> None:
    processors = config([DropMetric("a"), DropLogs("s", 8)])["processors"]
    assert processors[METRICS_FILTER]["error_mode"] == processors[LOGS_FILTER]["error_mode"] == "ignore"


def test_the_highest_severity_of_a_service_wins() -> None:
    (condition,) = config([DropLogs("s", 4), DropLogs("s", 8)])["processors"][LOGS_FILTER]["logs"]["log_record"]
    assert condition.endswith("severity_number >= 1 and severity_number <= 8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_read_back_as_it_is(name: str) -> None:
    (condition,) = config([DropMetric(name)])["processors"][METRICS_FILTER]["metrics"]["metric"]
    assert unquoted(condition) == name
    assert "${" not in condition.replace("$$", "")


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=300)
@given(names)
def test_any_name_is_read_back_as_it_is(name: str) -> None:
    base = "receivers: {nop: {}}\nexporters: {nop: {}}\nservice: {pipelines: {metrics: {receivers: [nop], exporters: [nop]}}}\n"
    parsed: dict[str, Any] = ryaml.loads(render(base, [DropMetric(name)]).files[0].body.decode())
    (condition,) = parsed["processors"][METRICS_FILTER]["metrics"]["metric"]
    assert unquoted(condition) == name


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb", "x" * (MAX_NAME + 1)])
def test_what_ottl_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        quoted(name)


@pytest.mark.parametrize("base", ["", "[]", "receivers: {}", "service: {pipelines: {}}", "a: 1\na: 2", "service: {pipelines: {logs: {}}}"])
def test_a_base_that_cannot_be_acted_in_is_refused(base: str) -> None:
    with pytest.raises(Invalid):
        render(base, [DropMetric("a")])


@pytest.mark.binary
def test_the_binary_accepts_every_hostile_name_at_once(collector: Path) -> None:
    actions = [DropMetric(n) for n in HOSTILE] + [DropLogs(n, 8) for n in HOSTILE]
    assert Collector(collector).validate(render(BASE, actions).files[0].body) == []


@pytest.mark.binary
def test_the_binary_names_the_place_that_it_refuses(collector: Path) -> None:
    body = render(BASE, [DropMetric("a")]).files[0].body.replace(b"name ==", b"nme ==")
    (problem,) = Collector(collector).validate(body)
    assert problem.path == f"processors/{METRICS_FILTER}"
    assert "nme" in problem.message


@pytest.mark.binary
def test_the_binary_says_its_version(collector: Path) -> None:
    assert Collector(collector).version() == "flowgate-collector version 0.149.0"
