"""Merges that change a result, each with the data that shows it: what the demand analysis must never call safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import promql_parser

from flowgate.usage import Operator
from tests.semantics.merging import merged
from tests.semantics.series import Gap, Labels, Outcome, Series, Value, World

Word = str
"""Why it is unsafe: `demand` (the label is needed), `operator` (another merge is needed), `overwritten` (a label that the query sets anew
is there), or the kind of a condition that the data break."""


@dataclass(frozen=True, slots=True)
class Control:
    """`was` and `now` are the samples before and after; for one sample without labels its value. Either may be `error`."""

    expression: str
    data: Mapping[str, str]
    was: float | Mapping[str, float] | str
    now: float | Mapping[str, float] | str
    unsafe: Word = "demand"
    operator: Operator = "sum"
    metrics: tuple[str, ...] = ("m",)
    removed: str = "pod"
    counter: bool = False


M = {'m{pod="a"}': "1", 'm{pod="b"}': "3"}
NAN = float("nan")
INF = float("inf")
NOTHING: Mapping[str, float] = {}

CONTROLS = (
    Control("avg(m)", M, 2, 4),
    Control("count(m)", M, 2, 1),
    Control("max(m)", M, 3, 4, "operator"),
    Control("topk(1, m)", M, {'m{pod="b"}': 3}, {"m": 4}),
    Control("quantile(0.5, m)", M, 2, 4),
    Control("stddev(m)", M, 1, 0),
    Control("sum(m > 2)", M, 3, 4),
    Control("sum(clamp_max(m, 2))", M, 3, 2),
    Control("sum(m ^ 2)", M, 10, 16),
    Control("sum(m + 1)", M, 6, 5),
    Control("count(m > 0)", M, 2, 1),
    Control("sum(a / b)", {'a{pod="a"}': "1", 'a{pod="b"}': "3", 'b{pod="a"}': "1", 'b{pod="b"}': "1"}, 4, 2, metrics=("a", "b")),
    Control("sum(max_over_time(m[2m]))", {'m{pod="a"}': "3 0", 'm{pod="b"}': "0 3"}, 6, 3),
    Control(
        "sum without (instance) (m)",
        {'m{pod="a", instance="i"}': "1", 'm{pod="b", instance="i"}': "3"},
        {'{pod="a"}': 1, '{pod="b"}': 3},
        4,
    ),
    Control("count(count by (pod) (m))", M, 2, 1),
    Control("scalar(m)", M, NAN, 4),
    Control('m{pod!=""}', M, {'m{pod="a"}': 1, 'm{pod="b"}': 3}, NOTHING),
    Control(
        "m * on (pod) group_left (node) kube_pod_info",
        {**M, 'kube_pod_info{pod="a", node="n"}': "1", 'kube_pod_info{pod="b", node="n"}': "1"},
        {'{pod="a", node="n"}': 1, '{pod="b", node="n"}': 3},
        NOTHING,
    ),
    Control(
        "x unless on (ns) (m > 2)",
        {'x{ns="n"}': "7", 'm{ns="n", pod="a"}': "2", 'm{ns="n", pod="b"}': "2"},
        {'x{ns="n"}': 7},
        NOTHING,
        "operator",
    ),
    Control("sum(changes(m[2m]))", {'m{pod="a"}': "1 2", 'm{pod="b"}': "3 2"}, 2, 0),
    Control(
        "sum(x * on (node) group_left max by (node) (m))",
        {'x{node="n"}': "5", 'm{node="n", pod="a"}': "1", 'm{node="n", pod="b"}': "1"},
        5,
        10,
        "operator",
    ),
    Control("m == 0", {'m{pod="a"}': "0", 'm{pod="b"}': "1"}, {'m{pod="a"}': 0}, NOTHING),
    # increase takes two scrapes for three minutes: 30 of 2 minutes are 45 of 3
    Control("sum(increase(m[3m]))", {'m{pod="a"}': "100 0 10", 'm{pod="b"}': "50 60 70"}, 45, 120, "counter"),
    Control("sum(increase(m[3m]))", {'m{pod="a"}': "980 1000 stale", 'm{pod="b"}': "500 520 540"}, 120, 870, "counter"),
    Control("sum(rate(m[3m]))", {'m{pod="a"}': "90 93 3", 'm{pod="b"}': "90 93 96"}, 12 / 120, 105 / 120, "counter"),
    Control(
        "histogram_quantile(0.5, m)",
        {
            'm{le="1", pod="a"}': "4",
            'm{le="5", pod="a"}': "4",
            'm{le="+Inf", pod="a"}': "4",
            'm{le="2", pod="b"}': "0",
            'm{le="5", pod="b"}': "4",
            'm{le="+Inf", pod="b"}': "4",
        },
        {'{pod="a"}': 0.5, '{pod="b"}': 3.5},
        1,
    ),
    # Prometheus 2 filtered before it looked for duplicates and said 3; 3.10 looks first. Other engines may do either.
    Control("m > on (x) o", {'m{x="1", pod="a"}': "1", 'm{x="1", pod="b"}': "3", 'o{x="1"}': "2"}, "error", {'{x="1"}': 4}),
    Control(
        'sum by (x) (label_replace(m, "x", "$1", "y", "(.*)"))',
        {'m{x="1", y="k", pod="a"}': "1", 'm{x="2", y="k", pod="b"}': "3"},
        {'{x="k"}': 4},
        "error",
        "overwritten",
    ),
    Control(
        "sum by (x) (m * on (y) group_left (x) o)",
        {'m{x="1", y="k", pod="a"}': "1", 'm{x="2", y="k", pod="b"}': "3", 'o{x="z", y="k"}': "2"},
        {'{x="z"}': 8},
        "error",
        "overwritten",
    ),
    Control("min(ln(m))", {'m{pod="a"}': "-1", 'm{pod="b"}': "3"}, 1.0986122886681098, NAN, operator="min"),
    Control("sum(m / 0)", {'m{pod="a"}': "-1", 'm{pod="b"}': "3"}, NAN, INF),
    Control("sum(avg_over_time(m[10m]))", {'m{pod="a"}': "2 2 2 2 2", 'm{pod="b"}': "3"}, 5, 4, "alive"),
    Control("sum(delta(m[3m]))", {'m{pod="a"}': "_ _ 100 100", 'm{pod="b"}': "5"}, 0, 150, "alive"),
    Control("(m > 2) / on (x) o", {'m{x="1", pod="a"}': "1", 'm{x="1", pod="b"}': "3", 'o{x="1"}': "1"}, {'{x="1"}': 3}, {'{x="1"}': 4}),
    # what is a counter by its name, added up raw, falls with its input; the merged counter does not
    Control("sum(m_total)", {'m_total{pod="a"}': "100 0", 'm_total{pod="b"}': "1"}, 1, 101, "no_reset", metrics=("m_total",), counter=True),
    Control("sum(m * on (x) group_left o)", {'m{x="1", pod="a"}': "-1", 'm{x="1", pod="b"}': "3", 'o{x="1"}': "Inf"}, NAN, INF, "non_zero"),
    Control("max(m == 1)", {'m{pod="a"}': "1", 'm{pod="b"}': "2"}, 1, NOTHING, "zero_one", operator="max"),
)

_GROWS = {'m{a="1", pod="a"}': "100 200 300", 'm{a="1", pod="b"}': "100 100 100", 'o{a="1"}': "1 0.8 0.8"}

BY_CHANCE = (
    Control("sum(increase((-m)[3m:1m]))", {'m{pod="a"}': "100 200 300", 'm{pod="b"}': "100 100 100"}, -750, -1050, counter=True),
    Control("sum(increase((m * on (a) group_left o)[3m:1m]))", _GROWS, 330, 180, counter=True),
    Control("sum(increase((m * scalar(o))[3m:1m]))", _GROWS, 330, 180, counter=True),
    Control(
        "sum(increase(irate(m[2m])[3m:1m]))",
        {'m{pod="a"}': "100 200 300 320 330", 'm{pod="b"}': "100 100 100 200 300"},
        2.4166666666666665,
        3.25,
        counter=True,
    ),
    Control("max((m + 1) == 1)", {'m{pod="a"}': "0", 'm{pod="b"}': "1"}, 1, NOTHING, operator="max"),
    Control("absent((m + 1) == 1)", {'m{pod="a"}': "0", 'm{pod="b"}': "1"}, NOTHING, 1, operator="max"),
)
"""Found by random expressions: increases are taken of what is no counter any more; what is compared with 0 or 1 is not the metric itself."""

SAME = (
    Control("sum(a) / sum(b)", {'a{pod="a"}': "1", 'a{pod="b"}': "3", 'b{pod="a"}': "1", 'b{pod="b"}': "1"}, 2, 2, metrics=("a", "b")),
    Control("max(m)", M, 3, 3, operator="max"),
    Control("sum(m) * 2", M, 8, 8),
    Control("sum(increase(m[3m]))", {'m{pod="a"}': "100 0 10", 'm{pod="b"}': "50 60 70"}, 45, 45, counter=True),
)
"""Merges that change nothing: the judge must see that too."""

TICKS = 12


def world_of(control: Control) -> World:
    """A single value holds all the time; several are the last ones, and before them nothing was."""
    return World(60, tuple(_series(text, values) for text, values in control.data.items()), (TICKS - 1,))


def after(control: Control) -> World:
    world = world_of(control)
    for metric in control.metrics:
        world = merged(world, metric, frozenset({control.removed}), control.operator, control.counter)
    return world


def _series(text: str, values: str) -> Series:
    name, labels = _identity(text)
    words = values.split()
    filled = words * TICKS if len(words) == 1 else [*["_"] * (TICKS - len(words)), *words]
    return Series(name, labels, tuple(_value(word) for word in filled))


def _value(word: str) -> Value:
    return {"_": Gap.MISSED, "stale": Gap.STALE}.get(word) or float(word)


def _identity(text: str) -> tuple[str, Labels]:
    selector = promql_parser.parse(text)
    if not isinstance(selector, promql_parser.VectorSelector):
        raise ValueError(f"not a series: {text}")
    return selector.name or "", frozenset((m.name, m.value) for m in selector.matchers.matchers)


def outcome_of(expected: float | Mapping[str, float] | str) -> Outcome:
    if isinstance(expected, str):
        return expected
    if not isinstance(expected, Mapping):
        return {frozenset(): float(expected)}
    return {_all_labels(text): float(value) for text, value in expected.items()}


def _all_labels(text: str) -> Labels:
    name, labels = ("", frozenset[tuple[str, str]]()) if text == "" else _identity(text)
    return labels | {("__name__", name)} if name else labels
