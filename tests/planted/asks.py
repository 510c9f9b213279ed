"""Queries that are made, not read: each shape knows from how it puts a query together what that needs of each metric.

The world is closed: a need is a set of labels that the metric really has. What is put around an aggregation sees the labels of its `by`
alone, so it adds nothing; what is put between a selector and an aggregation is from a list of what is known to be right or wrong
(`tests/semantics` has a real Prometheus judge such claims).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from flowgate.telemetry import Kind
from tests.planted.world import BOUNDS, Metric, World

Merge = Literal["sum", "min", "max", "any", "nothing"]
"""By what the series of a metric may be merged below a query; `any`: only whether there is one matters."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one query needs of one metric.

    `keep`: labels that are named, or that the result shows; `apart`: besides, those that keep series apart which must not be merged.
    Whether another label may go is sure only where the read is `exact`. A read that is not `certain` may be one (a rule that nothing reads).
    `bounds` are the bucket bounds needed; None: all.
    """

    metric: str
    keep: frozenset[str]
    apart: frozenset[str] = frozenset()
    merge: Merge = "any"
    exact: bool = True
    certain: bool = True
    bounds: frozenset[float] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Ask:
    """A query's text and what it reads. `shown`: the labels of its result, as far as they are known. `variables` are its dashboard's."""

    text: str
    reads: tuple[Read, ...]
    shown: tuple[str, ...] = ()
    variables: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    variable_only: bool = False
    """It stands in a variable, not in a panel."""
    note: str = ""


# --- selectors -----------------------------------------------------------------------------------------------------------------------

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz_0123456789:")
_MATCHERS = ('="a"', '!="a"', '=~"a|b"', '!~"a.+"', "='a'", '=~".+"', "=''", "=~`x.*y`", '="$var"')
VAR: Mapping[str, Mapping[str, object]] = {"var": {"type": "custom", "name": "var", "query": "a,b", "current": {"value": "a", "text": "a"}}}


def name_of(label: str) -> str:
    return label if set(label) <= _PLAIN else json.dumps(label)


@dataclass(frozen=True, slots=True)
class Selected:
    text: str
    matched: frozenset[str]


def selector(rng: Random, metric: Metric, part: str = "", *, more: Sequence[str] = (), window: str | None = None) -> Selected:
    name = metric.part(part)
    chosen = rng.sample(sorted(metric.labels), min(len(metric.labels), rng.choice([0, 0, 1, 1, 2])))
    said = [name_of(label) + rng.choice(_MATCHERS) for label in chosen]
    if chosen and rng.random() < 0.1:
        said.append(f'{name_of(rng.choice(chosen))}=~".*"')
    said += more
    rng.shuffle(said)
    if set(name) <= _PLAIN and rng.random() < 0.9:
        text = name + ("{" + ", ".join(said) + "}" if said or rng.random() < 0.2 else "")
    elif set(name) <= _PLAIN:
        text = "{" + ", ".join([f'__name__="{name}"', *said]) + "}"
    else:
        text = "{" + ", ".join([json.dumps(name), *said]) + "}"
    return Selected(text + ("" if window is None else f"[{window}]"), frozenset(chosen))


WINDOWS = ("5m", "1m", "30s", "1h", "5m30s", "$__rate_interval", "$__range", "${__interval}")
_FIXED = ("5m", "1m", "1h", "1h30m")


def window(rng: Random, variables: bool) -> str:
    return rng.choice(WINDOWS if variables else _FIXED)


def by(rng: Random, op: str, labels: Sequence[str], inner: str) -> str:
    said = ", ".join(map(name_of, labels))
    if not labels and rng.random() < 0.6:
        return f"{op}({inner})"
    if rng.random() < 0.1:
        return f"{op.upper()} BY ({said},) ({inner})" if said else f"{op.upper()} ({inner})"
    return f"{op} by ({said}) ({inner})" if rng.random() < 0.7 else f"{op}({inner}) by ({said})"


def some(rng: Random, metric: Metric, most: int = 3) -> list[str]:
    return rng.sample(sorted(metric.labels), min(len(metric.labels), rng.randint(0, most)))


# --- queries whose need is finite --------------------------------------------------------------------------------------------------


def aggregated(rng: Random, metric: Metric, labels: Sequence[str], variables: bool = True) -> Ask:
    """One metric, aggregated by `labels` with what is right for its type."""
    shape = _BY_KIND.get(metric.kind, _of_sum)
    return shape(rng, metric, labels, variables)


_LINEAR = ("{}", "{}", "{} * 8", "{} / 1024", "-{}", "100 * {}")
_OF_GAUGES: tuple[Merge, ...] = ("sum", "sum", "max", "min")
_RISING = ("{}", "{}", "ceil({})", "clamp_min({}, 0)", "{} + 1", "{} * 2", "round({})")


def _of_sum(rng: Random, metric: Metric, labels: Sequence[str], variables: bool) -> Ask:
    if not metric.counter:
        return _of_gauge(rng, metric, labels, variables)
    found = selector(rng, metric, window=window(rng, variables))
    inner = rng.choice(_LINEAR).format(f"{rng.choice(['rate', 'increase', 'irate'])}({found.text})")
    return _finite(metric, labels, found.matched, "sum", by(rng, "sum", labels, inner))


def _of_gauge(rng: Random, metric: Metric, labels: Sequence[str], variables: bool) -> Ask:
    merge = rng.choice(_OF_GAUGES)
    if rng.random() < 0.3:
        found = selector(rng, metric, window=window(rng, variables))
        inner = f"{merge}_over_time({found.text})"
    else:
        found = selector(rng, metric)
        inner = rng.choice(_LINEAR if merge == "sum" else _RISING).format(found.text)
    return _finite(metric, labels, found.matched, merge, by(rng, merge, labels, inner))


def _of_histogram(rng: Random, metric: Metric, labels: Sequence[str], variables: bool) -> Ask:
    shape = rng.randrange(4)
    if shape == 0:
        found = selector(rng, metric, "bucket", window=window(rng, variables))
        text = f"histogram_quantile(0.9{rng.randint(0, 9)}, {by(rng, 'sum', ['le', *labels], f'rate({found.text})')})"
        return _finite(metric, labels, found.matched, "sum", text, None)
    if shape == 1:
        bound = rng.choice(BOUNDS)
        found = selector(rng, metric, "bucket", more=[f'le="{bound:g}"'], window=window(rng, variables))
        return _finite(metric, labels, found.matched, "sum", by(rng, "sum", labels, f"rate({found.text})"), frozenset({bound}))
    found = selector(rng, metric, rng.choice(["count", "sum"]), window=window(rng, variables))
    text = by(rng, "sum", labels, f"rate({found.text})")
    return _finite(metric, labels, found.matched, "sum", text)


def _of_summary(rng: Random, metric: Metric, labels: Sequence[str], variables: bool) -> Ask:
    found = selector(rng, metric, rng.choice(["count", "sum"]), window=window(rng, variables))
    return _finite(metric, labels, found.matched, "sum", by(rng, "sum", labels, f"increase({found.text})"))


def _of_native(rng: Random, metric: Metric, labels: Sequence[str], variables: bool) -> Ask:
    """Merged ones have the coarsest scale among them: a quantile may move."""
    found = selector(rng, metric, window=window(rng, variables))
    shape = rng.choice(["histogram_quantile(0.9, {})", "histogram_count({})", "histogram_fraction(0, 1, {})"])
    made = _finite(metric, labels, found.matched, "sum", shape.format(by(rng, "sum", labels, f"rate({found.text})")), None)
    return replace(made, reads=tuple(replace(r, exact=False) for r in made.reads))


_BY_KIND: Mapping[Kind, Callable[[Random, Metric, Sequence[str], bool], Ask]] = {
    Kind.GAUGE: _of_gauge,
    Kind.HISTOGRAM: _of_histogram,
    Kind.SUMMARY: _of_summary,
    Kind.EXPONENTIAL_HISTOGRAM: _of_native,
}


def _finite(
    metric: Metric, labels: Sequence[str], matched: frozenset[str], merge: Merge, text: str, bounds: frozenset[float] | None = frozenset()
) -> Ask:
    return Ask(text, (Read(metric.name, frozenset(labels) | matched, merge=merge, bounds=bounds),), tuple(labels), VAR)


def plain(rng: Random, world: World, variables: bool) -> Ask:
    metric = rng.choice(world.metrics)
    return dressed(rng, aggregated(rng, metric, some(rng, metric), variables))


_DRESS = ("{}", "{}", "{} > 5", "topk(3, {})", "sort_desc({})", "({}) * 100", "abs({})", "clamp_max({}, 1)", "max_over_time(({})[1h:5m])",
          "({}) or vector(0)", "sum({})", "round({})", "avg({})", "count({} > 0)", "1 - ({})")  # fmt: skip


def dressed(rng: Random, ask: Ask) -> Ask:
    """Whatever stands around an aggregation sees its labels alone. What is summed away above may or may not be needed."""
    form = rng.choice(_DRESS)
    shown = () if form.startswith(("sum", "avg", "count")) else ask.shown
    return replace(ask, text=form.format(ask.text), shown=shown)


def without(rng: Random, world: World, variables: bool) -> Ask:
    """All but the labels that are named is needed."""
    metric = rng.choice(world.metrics)
    gone = rng.sample(sorted(metric.labels), min(len(metric.labels), rng.randint(1, 2)))
    if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
        found = selector(rng, metric, "count", window=window(rng, variables))
        inner = f"rate({found.text})"
    elif metric.counter or metric.kind is Kind.EXPONENTIAL_HISTOGRAM:
        found = selector(rng, metric, window=window(rng, variables))
        inner = f"rate({found.text})"
    else:
        found = selector(rng, metric)
        inner = found.text
    kept = (metric.labels - frozenset(gone)) | found.matched
    text = f"sum without ({', '.join(map(name_of, gone))}) ({inner})"
    # What does not name a label keeps it, and which names a label may have where it is stored nobody says.
    plain_names = all(k.key == k.said for k in metric.keys if k.said in gone)
    native = metric.kind is Kind.EXPONENTIAL_HISTOGRAM
    read = Read(metric.name, kept, merge="sum", exact=plain_names and not native, bounds=None if native else frozenset())
    return Ask(text, (read,), (), VAR)


def absent(rng: Random, world: World, variables: bool) -> Ask:
    metric = rng.choice(world.metrics)
    part = rng.choice(["count", "sum"]) if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else ""
    found = selector(rng, metric, part)
    return Ask(f"absent({found.text})", (Read(metric.name, found.matched),), (), VAR)


def ratio(rng: Random, world: World, variables: bool) -> Ask:
    """Two aggregations by the same labels, matched by them."""
    left, right = rng.choice(world.metrics), rng.choice(world.metrics)
    shared = sorted(left.labels & right.labels)
    labels = rng.sample(shared, min(len(shared), rng.randint(0, 2)))
    a, b = aggregated(rng, left, labels, variables), aggregated(rng, right, labels, variables)
    on = f" on ({', '.join(map(name_of, labels))})" if rng.random() < 0.5 else ""
    op = rng.choice(["/", "/", "-", "*", ">", "and", "unless", "or"])
    there = [replace(r, merge="any", exact=False) for r in b.reads] if op in ("and", "unless") else b.reads  # only whether there is one
    return Ask(f"{a.text} {op}{on} {b.text}", (*a.reads, *there), tuple(labels), VAR)


def joined(rng: Random, world: World, variables: bool) -> Ask:
    """Of every series, whatever a metric of the one side says of it; the many side is shown whole."""
    many, one = rng.choice(world.metrics), rng.choice(_values(world))
    if many.kind in (Kind.HISTOGRAM, Kind.SUMMARY) or many is one:
        return plain(rng, world, variables)
    on = rng.sample(sorted(many.labels & one.labels), min(1, len(many.labels & one.labels)))
    taken = rng.sample(sorted(one.labels - many.labels), min(1, len(one.labels - many.labels)))
    a, b = selector(rng, many), selector(rng, one)
    said, took = ", ".join(map(name_of, on)), ", ".join(map(name_of, taken))
    text = f"{a.text} * on ({said}) group_left ({took}) {b.text}"
    kept = frozenset(on) | frozenset(taken) | b.matched
    return Ask(text, (Read(many.name, many.labels), Read(one.name, kept, exact=False, bounds=None)), (), VAR)


def joined_below(rng: Random, world: World, variables: bool) -> Ask:
    """The same below a sum: what is merged away above is not needed, while the one side is never 0."""
    many, one = rng.choice(world.metrics), rng.choice(_values(world))
    shared = sorted(many.labels & one.labels)
    taken = sorted(one.labels - many.labels)
    if not many.counter or many is one or not shared or not taken:
        return ratio(rng, world, variables)
    on, took = [rng.choice(shared)], [rng.choice(taken)]
    labels = some(rng, many, 1)
    a, b = selector(rng, many, window=window(rng, variables)), selector(rng, one)
    inner = f"rate({a.text}) * on ({name_of(on[0])}) group_left ({name_of(took[0])}) {b.text}"
    text = by(rng, "sum", [*labels, *took], inner)
    reads = (
        Read(many.name, frozenset(labels) | frozenset(on) | a.matched, merge="sum", exact=False),
        Read(one.name, frozenset(on) | frozenset(took) | b.matched, exact=False, bounds=None),
    )
    return Ask(text, reads, (*labels, *took), VAR)


def _values(world: World) -> list[Metric]:
    found = [m for m in world.metrics if m.kind is Kind.GAUGE]
    return found or [world.metrics[0]]


def filtered(rng: Random, world: World, variables: bool) -> Ask:
    """An aggregation, where there is a series of something else."""
    metric, other = rng.choice(world.metrics), rng.choice(_values(world))
    shared = sorted(metric.labels & other.labels)
    labels = rng.sample(shared, min(len(shared), rng.randint(0, 2)))
    a, b = aggregated(rng, metric, labels, variables), selector(rng, other)
    text = f"{a.text} {rng.choice(['and', 'unless'])} on ({', '.join(map(name_of, labels))}) {b.text}"
    part = other.kind in (Kind.HISTOGRAM, Kind.SUMMARY)
    return Ask(text, (*a.reads, Read(other.name, frozenset(labels) | b.matched, bounds=None, exact=not part)), tuple(labels), VAR)


def relabelled(rng: Random, world: World, variables: bool) -> Ask:
    """Grouped by a label that is made of another."""
    metric = rng.choice(world.metrics)
    if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) or not metric.counter:
        return without(rng, world, variables)
    source = rng.choice(sorted(metric.labels))
    found = selector(rng, metric, window=window(rng, variables))
    text = f'sum by (made) (label_replace(rate({found.text}), "made", "$1", "{source}", "(.*)"))'
    return Ask(text, (Read(metric.name, found.matched | {source}, merge="sum", exact=False),), ("made",), VAR)


# --- queries that need every label ---------------------------------------------------------------------------------------------------


def whole(rng: Random, world: World, variables: bool) -> Ask:
    """Every series is shown."""
    metric = rng.choice(world.metrics)
    part = rng.choice(["count", "sum", "bucket"]) if metric.kind is Kind.HISTOGRAM else ""
    ranged = selector(rng, metric, part, window=window(rng, variables))
    found = selector(rng, metric, part)
    text = rng.choice([found.text, f"rate({ranged.text})", f"topk(5, {found.text})", f"{found.text} > 0", f"sort({found.text})",
                       f"max_over_time({ranged.text})", f"{found.text} offset 1d", f"limitk(3, {found.text})"])  # fmt: skip
    return Ask(text, (Read(metric.name, metric.labels, bounds=None if part not in ("count", "sum") else frozenset()),), (), VAR)


_COUNTED = ("avg", "count", "stddev", "quantile", "stdvar")
_BENT = ("{0} > 2", "{0} ^ 2", "{0} + 1", "clamp_max({0}, 2)", "abs({0})", "changes({0}[5m])", "max_over_time({0}[5m])", "timestamp({0})")


def partitioned(rng: Random, world: World, variables: bool) -> Ask:
    """Aggregated, but values depend on how many series there are, or on which."""
    metric = rng.choice(world.metrics)
    part = "count" if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else ""
    found, labels = selector(rng, metric, part), some(rng, metric, 2)
    shape = rng.randrange(3)
    if shape == 0:
        op = rng.choice(_COUNTED)
        text = by(rng, op, labels, ("0.5, " if op == "quantile" else "") + found.text)
    elif shape == 1:
        text = by(rng, "sum", labels, rng.choice(_BENT).format(found.text))
    else:
        text = by(rng, "max", labels, f"rate({found.text}[5m])")
    return Ask(text, (Read(metric.name, frozenset(labels) | found.matched, metric.labels),), tuple(labels), VAR)


def matched(rng: Random, world: World, variables: bool) -> Ask:
    """Series of two metrics, one by one: the result has the labels that are matched by, and nothing may become ambiguous."""
    a, b = rng.choice(_values(world)), rng.choice(_values(world))
    if a is b or not a.kind is b.kind is Kind.GAUGE:
        return whole(rng, world, variables)
    x, y = selector(rng, a), selector(rng, b)
    shared = sorted(a.labels & b.labels)
    labels = rng.sample(shared, min(len(shared), rng.randint(0, 2)))
    said = ", ".join(map(name_of, labels))
    if rng.random() < 0.5:
        op, left = rng.choice([("/", frozenset[str]()), ("- ", frozenset[str]()), (">", a.labels), ("== bool", frozenset[str]())])
        reads = (Read(a.name, frozenset(labels) | x.matched, left, exact=False), Read(b.name, frozenset(labels) | y.matched, exact=False))
        return Ask(f"{x.text} {op} on ({said}) {y.text}", reads, tuple(labels), VAR)
    kept = [(m.labels - frozenset(labels)) | s.matched for m, s in ((a, x), (b, y))]
    reads = (Read(a.name, kept[0], exact=False), Read(b.name, kept[1], exact=False))
    return Ask(f"{x.text} + ignoring ({said}) {y.text}", reads, (), VAR)


def of_a_scalar(rng: Random, world: World, variables: bool) -> Ask:
    """A metric against the one value of another, which is NaN unless there is one series."""
    a, b = rng.choice(_values(world)), rng.choice(world.metrics)
    x = selector(rng, a)
    inner = aggregated(rng, b, [], variables)
    reads = (Read(a.name, a.labels, bounds=None), *inner.reads)
    return Ask(f"{x.text} / scalar({inner.text})", reads, (), VAR)


def label_chosen(rng: Random, world: World, variables: bool) -> Ask:
    """The label of a matcher is a variable."""
    metric = rng.choice(_values(world))
    if not variables or not set(metric.said) <= _PLAIN:
        return whole(rng, world, variables)
    chosen = {"type": "query", "name": "key", "query": "label_names()", "datasource": {"type": "prometheus", "uid": "prom"}}
    text = rng.choice(['sum({}{{$key="a"}})', 'max({}{{${{key}}=~".+"}})', 'sum({}{{a="b", [[key]]!=""}})']).format(metric.said)
    return Ask(text, (Read(metric.name, metric.labels, bounds=None),), (), {"key": chosen})


def valued(rng: Random, world: World, variables: bool) -> Ask:
    """Labels that are made of values, of other labels, or by a subquery below a sum."""
    metric = rng.choice(_values(world))
    found, labels = selector(rng, metric), some(rng, metric, 1)
    text = rng.choice(
        [by(rng, "sum", labels, f"max_over_time(deriv({found.text}[5m])[1h:1m])"), f'count_values("made", {found.text})',
         by(rng, "sum", labels, f"{found.text} - {found.text} offset 1d"), by(rng, "max", labels, f"-({found.text})"),
         by(rng, "min", labels, f"sqrt({found.text})"), by(rng, "sum", labels, f"{found.text} or vector(0)")]
    )  # fmt: skip
    kept = found.matched if text.startswith("count_values") else found.matched | frozenset(labels)
    return Ask(text, (Read(metric.name, kept, metric.labels, bounds=None),), (), VAR)


def pieced(rng: Random, world: World, variables: bool) -> Ask:
    """A part of the metric's name is a variable."""
    metric = rng.choice(world.metrics)
    if not variables or not set(metric.said) <= _PLAIN or metric.kind not in (Kind.SUM, Kind.GAUGE):
        return plain(rng, world, variables)
    at, variable = rng.randint(3, len(metric.said) - 2), f"piece{rng.randrange(10**6)}"
    values = [metric.said[at:], "nothing_like_it"]
    chosen = {"type": "custom", "name": variable, "query": " , ".join(values), "current": {"value": values[1]}}
    text = by(rng, "sum", [], rng.choice(["{0}${{{1}}}", "{0}[[{1}]]"]).format(metric.said[:at], variable))
    return Ask(text, (Read(metric.name, frozenset(), merge="nothing" if metric.counter else "sum", bounds=None),), (), {variable: chosen})


def counted_twice(rng: Random, world: World, variables: bool) -> Ask:
    """How many values a label has: `count(count by (L) (m))`."""
    metric = rng.choice(_values(world))
    label = rng.choice(sorted(metric.labels))
    found = selector(rng, metric)
    text = f"count(count by ({name_of(label)}) ({found.text}))"
    bounds = None if metric.kind is Kind.HISTOGRAM else frozenset[float]()
    return Ask(text, (Read(metric.name, found.matched | {label}, metric.labels, bounds=bounds),), (), VAR)


def raw_counter(rng: Random, world: World, variables: bool) -> Ask:
    """A counter that is added up raw: right while no input restarts, so nothing is sure."""
    counters = [m for m in world.metrics if m.counter]
    if not counters:
        return whole(rng, world, variables)
    metric, op = rng.choice(counters), rng.choice(["sum", "max", "min"])
    labels, found = some(rng, metric, 2), selector(rng, metric)
    return Ask(
        by(rng, op, labels, found.text), (Read(metric.name, frozenset(labels) | found.matched, merge="nothing"),), tuple(labels), VAR
    )


def dynamic(rng: Random, world: World, variables: bool) -> Ask:
    """Grouped by whatever somebody chooses."""
    if not variables:
        return whole(rng, world, variables)
    metric = rng.choice(world.metrics)
    found = selector(rng, metric, "count" if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else "", window=window(rng, True))
    chosen = {"type": "textbox", "name": "grouping", "query": "a", "current": {"value": "a"}}
    text = f"sum by ({rng.choice(['$grouping', '${grouping:csv}', '[[grouping]]'])}) (rate({found.text}))"
    return Ask(text, (Read(metric.name, metric.labels),), (), {**VAR, "grouping": chosen})


def wide(rng: Random, world: World, variables: bool) -> Ask:
    """Several metrics by a pattern of their names."""
    metric = rng.choice(world.metrics)
    stem = metric.said[: max(8, len(metric.said) * 2 // 3)]
    hit = [m for m in world.sent if m.said.startswith(stem)]
    pattern = "".join(c if c in _PLAIN else "." for c in stem)
    loose = [m for m in world.sent if _like(m, pattern) and m not in hit]
    labels = some(rng, metric, 1) if rng.random() < 0.5 else None
    selected = '{__name__=~"' + pattern + '.*"}'
    text = selected if labels is None else by(rng, rng.choice(["sum", "max"]), labels, selected)
    reads = [Read(m.name, m.labels if labels is None else m.labels & frozenset(labels), m.labels, bounds=None) for m in hit]
    return Ask(text, (*reads, *(maybe(m) for m in loose)), tuple(labels or ()), VAR)


def _like(metric: Metric, pattern: str) -> bool:
    """Whether any spelling of the name might fit: such a metric is neither read for sure nor waste for sure."""
    return metric.name.replace(".", "_").startswith(pattern.replace(".", "_"))


def maybe(metric: Metric) -> Read:
    return Read(metric.name, frozenset(), exact=False, certain=False, bounds=None)


def either(rng: Random, world: World, variables: bool) -> Ask:
    """Two names in one selector."""
    a, b = rng.choice(world.metrics), rng.choice(world.metrics)
    if a.said == b.said:
        return whole(rng, world, variables)
    labels = sorted(a.labels & b.labels)[:1]
    names = "|".join("".join(c if c in _PLAIN else f"\\\\{c}" for c in m.said) for m in (a, b))
    text = by(rng, "sum", labels, '{__name__=~"' + names + '"}')
    return Ask(text, tuple(Read(m.name, frozenset(labels), m.labels, bounds=None) for m in (a, b)), tuple(labels), VAR)


def named_by_variable(rng: Random, world: World, variables: bool) -> Ask:
    """The metric's name is a variable with written-out values."""
    metric = rng.choice(world.metrics)
    alike = [m for m in world.metrics if m.kind is Kind.SUM and m.counter and set(m.said) <= _PLAIN]
    if not variables or not alike:
        return plain(rng, world, variables)
    metric, other = rng.choice(alike), rng.choice(alike)
    labels = sorted(metric.labels & other.labels)[:2]
    names = [m.said for m in {metric.name: metric, other.name: other}.values()]
    variable = f"metric{rng.randrange(10**6)}"
    chosen = {"type": "custom", "name": variable, "query": ",".join(names), "current": {"value": names[0]},
              "options": [{"value": n, "text": n} for n in names]}  # fmt: skip
    text = by(rng, "sum", labels, f"rate({rng.choice(['${0}', '${{{0}}}', '[[{0}]]']).format(variable)}[5m])")
    reads = tuple(Read(m.name, frozenset(labels), merge="sum") for m in {metric.name: metric, other.name: other}.values())
    return Ask(text, reads, tuple(labels), {**VAR, variable: chosen})


def listed(rng: Random, world: World, variables: bool) -> Ask:
    """A variable's values are those of a label."""
    metric = rng.choice(world.metrics)
    if not variables:
        return absent(rng, world, variables)
    part = "count" if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else ""
    found, label = selector(rng, metric, part), rng.choice(sorted(metric.labels))
    said = label if set(label) <= _PLAIN else json.dumps(label)
    return Ask(f"label_values({found.text}, {said})", (Read(metric.name, found.matched | {label}),), (), VAR, True)


def broken(rng: Random, world: World, variables: bool) -> Ask:
    """An expression that nobody can parse protects the names in it."""
    metric = rng.choice(world.metrics)
    if not set(metric.said) <= _PLAIN:
        return whole(rng, world, variables)
    part = "count" if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else ""
    text = rng.choice(["sum(rate({}[5m])", "{} and and 1", "sum by (a (rate({}[5m]))", "{} >>> 5"]).format(metric.part(part))
    return Ask(text, (Read(metric.name, metric.labels, bounds=None),), (), VAR, note="broken")


def from_list(rng: Random, world: World, variables: bool) -> Ask:
    """The metric's name is a variable that the backend's names fill."""
    metric = rng.choice(world.metrics)
    if not variables or not set(metric.said) <= _PLAIN:
        return plain(rng, world, variables)
    stem = metric.said[: max(8, len(metric.said) * 3 // 4)]
    hit = [m for m in world.sent if stem in m.said]
    loose = [m for m in world.sent if m not in hit and stem.replace("_", ".") in m.name.replace("_", ".")]
    variable = f"named{rng.randrange(10**6)}"
    query = rng.choice([f"metrics({stem})", f'label_values({{__name__=~"{stem}.*"}}, __name__)'])
    if query.startswith("label_values"):
        loose += [m for m in hit if not m.said.startswith(stem)]
        hit = [m for m in hit if m.said.startswith(stem)]
    chosen = {"type": "query", "name": variable, "query": query, "datasource": {"type": "prometheus", "uid": "prom"}}
    reads = (*(Read(m.name, m.labels, bounds=None) for m in hit), *map(maybe, loose))
    return Ask(f"topk(5, ${variable})", reads, (), {variable: chosen})


def composed(rng: Random, world: World, variables: bool) -> Ask:
    """Two queries side by side, matched by whatever labels their results have."""
    a, b = (rng.choice(FINITE if rng.random() < 0.8 else INFINITE)(rng, world, variables) for _ in range(2))
    if a.variable_only or b.variable_only or "broken" in (a.note, b.note):
        return a
    op = rng.choice(["+", "-", "/", ">", "or", "unless"])
    # Right of `unless` counts only which label sets there are.
    there = tuple(replace(r, apart=frozenset(), merge="any", exact=False) for r in b.reads) if op == "unless" else b.reads
    return Ask(f"({a.text}) {op} ({b.text})", (*a.reads, *there), (), {**a.variables, **b.variables})


Shape = Callable[[Random, World, bool], Ask]
FINITE: tuple[Shape, ...] = (
    composed,
    plain,
    plain,
    plain,
    plain,
    ratio,
    without,
    absent,
    joined_below,
    filtered,
    relabelled,
    named_by_variable,
    listed,
)
INFINITE: tuple[Shape, ...] = (
    composed,
    whole,
    from_list,
    partitioned,
    joined,
    counted_twice,
    matched,
    of_a_scalar,
    label_chosen,
    valued,
    raw_counter,
    dynamic,
    wide,
    either,
    broken,
)


def ask(rng: Random, world: World, variables: bool) -> Ask:
    """One query. `variables`: it stands in a dashboard, where they are filled in."""
    shapes = FINITE if rng.random() < 0.8 else INFINITE
    made = rng.choice(shapes)(rng, world, variables)
    if rng.random() < 0.1 and not made.variable_only:
        made = replace(
            made,
            text=rng.choice(["# nothing: other_metric{a='b'}\n{0}", "{0}\n# and other_metric", "(\n  {0}\n)"]).replace("{0}", made.text),
        )
    return made if variables or "$var" not in made.text else replace(made, text=made.text.replace("$var", "a"))
