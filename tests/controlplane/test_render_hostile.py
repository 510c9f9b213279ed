"""A name is data, whatever it holds: what the real Collector matches is what was meant, and nothing is expanded or added."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.render import render
from controlplane.render.ottl import call
from controlplane.render.preview import Point
from controlplane.yaml import load_config
from flowgate.actions import Action, DropLogs, DropMetric, DropPoints, DropPrefix, DropSpans, Label, Match, Rename
from flowgate.errors import Invalid
from tests.controlplane.hostile import HAND_MADE, NOT_TEXT, distinct_names
from tests.controlplane.running import (
    BASE,
    ExportLogsServiceRequest,
    ExportMetricsServiceRequest,
    ExportTraceServiceRequest,
    Gateway,
    environment,
    items,
    pairs,
)
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

BATCH = 3_000
BYSTANDERS = ["up", "expanded", "expandedexpanded", "name", "a", "b", "true", "x", "${env:X}expanded", "aexpandedb"]
"""What a name that was read as anything else would hit, as a rule. Some are hostile names too."""


def gauges(names: Iterable[str]) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for name in names:
        metrics.add(name=name).gauge.data_points.add(as_int=1)
    return request


def expanded(name: str) -> str:
    return name.replace("${env:X}", "expanded")


def survivors(binary: Path, actions: Sequence[Action], names: Iterable[str]) -> list[str]:
    with Gateway(binary, render(BASE, actions).files[0].body, **environment()) as gateway:
        return [item.metric for out in gateway.through("metrics", gauges(names)) for item, _ in items(out) if isinstance(item, Point)]


def conditions(body: bytes) -> int:
    """How many conditions a YAML reader finds, in a configuration that has nothing beside the base's and one filter."""
    config, base = load_config(body.decode()), load_config(BASE)
    assert set(config) - set(base) <= {"processors"}
    assert {**config, "processors": None, "service": None} == {**base, "processors": None, "service": None}
    (found,) = config["processors"].values()
    assert set(found) == {"error_mode", "metrics"}
    assert set(found["metrics"]) == {"metric"}
    return len(found["metrics"]["metric"])


def judge(binary: Path, names: Sequence[str]) -> None:
    """Half of the names are dropped by a condition each; the others, what they would expand to, and bystanders must stay, all and once."""
    dropped = set(names[::2])
    sent = list(dict.fromkeys([*names, *map(expanded, names), *BYSTANDERS]))
    actions = [DropMetric(n) for n in dropped]
    assert conditions(render(BASE, actions).files[0].body) == len(dropped)
    left = survivors(binary, actions, sent)
    wanted = [n for n in sent if n not in dropped]
    assert sorted(left) == sorted(wanted), (set(left) ^ set(wanted), len(left))


def test_there_are_two_hundred_hand_made_names() -> None:
    assert len(HAND_MADE) + len(NOT_TEXT) >= 200


@pytest.mark.binary
@pytest.mark.parametrize("first", [0, 1])
def test_each_hand_made_name_is_matched_and_nothing_else(collector: Path, first: int) -> None:
    judge(collector, HAND_MADE[first:])


PLANTED = {
    "a dollar that is not doubled": ("controlplane.render.yaml.escaped", lambda text: text),
    "a dollar that is doubled only where it is seen to expand": (
        "controlplane.render.yaml.escaped",
        lambda text: text.replace("${", "$${"),
    ),
    "a quote that is not escaped": ("controlplane.render.ottl._ESCAPES", {"\\": "\\\\"}),
    "a backslash that is not escaped": ("controlplane.render.ottl._ESCAPES", {'"': '\\"'}),
    "a name that is trimmed": ("controlplane.render.ottl.quoted", lambda name: f"{json.dumps(name.strip() or name, ensure_ascii=False)}"),
    "a name as a prefix": ("controlplane.render.metrics.eq", lambda left, name: call("HasPrefix", left, name)),
}


@pytest.mark.binary
@pytest.mark.parametrize("bug", PLANTED)
def test_a_bug_that_is_planted_is_found(collector: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """By the hand-made names, and by as many random ones as a batch of CI has: else the tests above and below could not fail."""
    monkeypatch.setattr(*PLANTED[bug])
    for names in (HAND_MADE, distinct_names(random.Random(7), BATCH)):
        with pytest.raises((AssertionError, Invalid)):
            judge(collector, names)


@pytest.mark.parametrize("name", NOT_TEXT, ids=ascii)
def test_what_no_name_can_be_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        render(BASE, [DropMetric("a"), DropPoints("m", (Match(Label("point", "k"), ("v", name)),))])
    assert [p.path for p in refusal.value.problems] == ["actions/1/where/0/values/1"]


@pytest.mark.binary
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_random_names_are_matched_and_nothing_else(collector: Path, case: str) -> None:
    chance = random.Random(seed_of(case, "hostile names"))
    left = count(20_000, 300_000) // 2
    while left > 0:
        names = distinct_names(chance, min(BATCH, left))
        judge(collector, names)
        left -= len(names)


@pytest.mark.binary
def test_a_name_that_is_not_utf8_is_not_what_it_is_shown_as(collector: Path) -> None:
    """The tap shows a byte that is no UTF-8 as U+FFFD; a drop of that text takes only a name that really holds it."""
    body = gauges(["a~~~b", "a\ufffdb"]).SerializeToString().replace(b"a~~~b", b"a\xff\xfe\xfdb")
    with Gateway(collector, render(BASE, [DropMetric("a\ufffdb")]).files[0].body, **environment()) as gateway:
        gateway.send("metrics", body)
        (out,) = gateway.got["/backend/v1/metrics"]
    assert b"a\xff\xfe\xfdb" in out
    assert "a\ufffdb".encode() not in out


@pytest.mark.binary
def test_a_hostile_prefix_is_a_prefix(collector: Path) -> None:
    prefixes = [n for n in HAND_MADE if 2 <= len(n) < 100][::9]
    sent = list(dict.fromkeys([*HAND_MADE, *(p + "tail" for p in prefixes), *("head" + p for p in prefixes), *map(expanded, HAND_MADE)]))
    left = survivors(collector, [DropPrefix(p) for p in prefixes], sent)
    assert sorted(left) == sorted(n for n in sent if not n.startswith(tuple(prefixes)))


@pytest.mark.binary
def test_hostile_keys_values_and_services_are_matched_and_nothing_else(collector: Path) -> None:
    """One action a name: its label has the name as key, and the name as value."""
    wanted = HAND_MADE[::3]
    actions: list[Action] = [DropPoints("m", (Match(Label(place, n), (n,)),)) for n in wanted[:100] for place in ("point", "resource")]
    request = ExportMetricsServiceRequest()
    for name in HAND_MADE:
        for resource, point in (({}, {name: name}), ({name: name}, {}), ({}, {name: expanded(name) + "x"}), ({}, {name + "x": name})):
            made = request.resource_metrics.add()
            made.resource.attributes.extend(pairs(dict(resource)))
            made.scope_metrics.add().metrics.add(name="m").gauge.data_points.add(as_int=1).attributes.extend(pairs(dict(point)))
    with Gateway(collector, render(BASE, actions).files[0].body, **environment()) as gateway:
        left = [i for out in gateway.through("metrics", request) for i, _ in items(out)]
    gone = [i for i, _ in items(request) if i not in left and isinstance(i, Point)]
    assert len(gone) == 2 * len(wanted[:100])
    assert {next(iter({**i.resource, **i.attributes}.values())) for i in gone} == set(wanted[:100])


def services(*requests: Any) -> list[str]:
    return [str(item.resource["service.name"]) for request in requests for item, _ in items(request)]


@pytest.mark.binary
def test_hostile_services_and_span_names_are_matched_and_nothing_else(collector: Path) -> None:
    wanted = set(HAND_MADE[::2])
    logs, traces = ExportLogsServiceRequest(), ExportTraceServiceRequest()
    for name in dict.fromkeys([*HAND_MADE, *map(expanded, HAND_MADE)]):
        about = logs.resource_logs.add()
        about.resource.attributes.extend(pairs({"service.name": name}))
        about.scope_logs.add().log_records.add(severity_number=5)
        spans = traces.resource_spans.add()
        spans.resource.attributes.extend(pairs({"service.name": name}))
        spans.scope_spans.add().spans.add(name=name, trace_id=bytes(range(16)))
    actions = [a for n in wanted for a in (DropLogs(n, 8), DropSpans(n, n))]
    with Gateway(collector, render(BASE, actions).files[0].body, **environment()) as gateway:
        for signal, request in (("logs", logs), ("traces", traces)):
            left = services(*gateway.through(signal, request))
            assert sorted(left) == sorted(s for s in services(request) if s not in wanted)


@pytest.mark.binary
def test_a_hostile_new_name_is_given_as_it_is(collector: Path) -> None:
    names = [n for n in HAND_MADE if n not in ("a", "b")]
    left = survivors(collector, [Rename(f"old.{k}", n) for k, n in enumerate(names)], [f"old.{k}" for k in range(len(names))])
    assert left == names
