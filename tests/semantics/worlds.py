"""Random worlds for an expression: series that its selectors match, that its joins can join, and that restart, end, begin and miss scrapes.

A world is drawn inside the regime in which a claim promises equality (notes 5.4): where a metric is read over a window, its inputs have
common timestamps and live in the whole window, and no counter is near zero as the window opens. Where it is read at an instant, its
series begin and end anywhere and miss scrapes one by one.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analyzer.references.tree import Matcher, Node
from tests.semantics.readings import COUNTING, LOOKBACK, Key, Reading, constants, labels_in, readings, rewritten, satisfies, spans
from tests.semantics.regexes import matching
from tests.semantics.series import Gap, Labels, Rule, Series, Value, World, labels_of

BOUNDS = (("0.1", "1", "10", "+Inf"), ("0.5", "1", "5", "+Inf"), ("0.25", "2.5", "10", "+Inf"), ("1", "5", "+Inf"))
COUNTER_SUFFIXES = ("_total", "_count", "_sum", "_bucket")
INVENTED = ("invented_one", "invented_two")
HISTORY, LOOKS = 8, (6, 4, 0)
"""Ticks before anything is looked at; how many ticks before the end the looks are."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The metric whose labels go, and what a claim asks of its data."""

    metric: str
    removed: frozenset[str]
    absent: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Clock:
    interval: int
    total: int
    quiet: int
    """From this tick on nothing that is read over a window begins or ends."""
    missed: frozenset[int]
    """Ticks at which nothing was scraped."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one world is drawn from."""

    readings: tuple[Reading, ...]
    universe: frozenset[str]
    pools: Mapping[str, tuple[str, ...]]
    subject: Subject
    clock: Clock
    constants: tuple[float, ...]
    schema: str
    joins: bool
    exact: bool


def world(expression: str, tree: Node, subject: Subject, seed: int, exact: bool = True, rules: Sequence[tuple[Rule, Node]] = ()) -> World:
    """`exact=False` leaves the regime: whatever is read over a window may begin, end and miss scrapes inside it."""
    rng = random.Random(seed)
    text = " ".join([expression, *(rule.expression for rule, _ in rules)])
    plan = _plan(text, [tree, *(below for _, below in rules)], subject, rng, exact)
    entities = [_entity(plan, rng) for _ in range(rng.choice((1, 2, 3, 4, 6)))]
    recorded = {rule.record for rule, _ in rules}
    names = dict.fromkeys(name for reading in plan.readings for name in reading.names if name not in recorded)
    series = [s for name in names for s in _metric(name, plan, entities, rng)]
    looks = tuple(plan.clock.total - 1 - back for back in LOOKS)
    return World(plan.clock.interval, tuple(series), looks, tuple(rule for rule, _ in rules))


def _plan(expression: str, trees: list[Node], subject: Subject, rng: random.Random, exact: bool) -> Plan:
    named = frozenset[str]().union(*(labels_in(tree) for tree in trees))
    universe = named | subject.removed | {INVENTED[0]}
    found = tuple(r for tree in trees for r in readings(tree, universe, rng))
    patterns = [p for tree in trees for p in rewritten(tree).items()]
    return Plan(
        readings=found,
        universe=universe,
        pools={label: _pool(label, found, dict(patterns).get(label, []), rng) for label in sorted(universe)},
        subject=subject,
        clock=_clock(expression, rng),
        constants=tuple(c for tree in trees for c in constants(tree) if math.isfinite(c)),
        schema=rng.choice(("all", "all", "own", "slim", "slim")),
        joins=rng.random() < 0.85,
        exact=exact,
    )


def _clock(expression: str, rng: random.Random) -> Clock:
    asked = spans(expression)
    reach = math.ceil((asked.reach + LOOKBACK) / asked.interval) + 2
    total = HISTORY + reach + LOOKS[0] + 1
    some = sorted(t for t in range(1, total) if rng.random() < 0.02) if rng.random() < 0.5 else []
    missed = frozenset(t for t, before in zip(some, [-9, *some], strict=False) if t - before > 2)
    return Clock(asked.interval, total, HISTORY, missed)


def _pool(label: str, found: Sequence[Reading], patterns: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """Values for one label: some that each matcher on it lets pass, some of its own, and the empty one seldom."""
    asked = [[m for m in r.matchers if m.label == label] for r in found]
    own = [f"{label[:3]}{i}" for i in range(3)]
    tried = [v for ms in asked for m in ms for v in ([m.value] if m.op in ("=", "!=") else matching(m.value, rng))]
    tried += [v for p in patterns for v in matching(p, rng)]
    liked = [v for ms in asked if ms for v in [*tried, *own, ""] if satisfies(v, ms)]
    wanted = [v for v in dict.fromkeys(liked) if all(satisfies(v, ms) for ms in asked)] or list(dict.fromkeys(liked))
    return tuple(dict.fromkeys([*wanted[:3], *tried[:3], *own[: 2 if wanted else 3]]))


def _entity(plan: Plan, rng: random.Random) -> dict[str, str]:
    """One thing that is measured: a value for every label, so that metrics about it can be joined."""
    return {label: _liked(pool, rng) for label, pool in plan.pools.items()}


def _liked(pool: Sequence[str], rng: random.Random) -> str:
    return pool[min(int(rng.expovariate(0.9)), len(pool) - 1)]


# --- which series a metric has ---------------------------------------------------------------------------------------------------------


def _metric(name: str, plan: Plan, entities: Sequence[dict[str, str]], rng: random.Random) -> Iterator[Series]:
    ours = [r for r in plan.readings if name in r.names]
    schema = _schema(name, ours, plan, rng)
    rows = [_chosen(entity, ours, schema, plan, rng) for entity in entities if rng.random() < 0.9 or entity is entities[0]]
    if name == plan.subject.metric:
        rows = [copy for row in rows for copy in _copies(row, schema, plan, rng)]
    if "le" in schema:
        rows = [{**row, "le": le} for row in rows for le in _bounds(plan, rng)]
    keys = [key for r in ours for key in r.keys] if plan.joins else []
    drawn = _values(_keyed(_distinct(rows), keys), _nature(name, ours, plan, rng), plan, rng)
    return (Series(name, labels, values) for labels, values in drawn)


def _schema(name: str, ours: Sequence[Reading], plan: Plan, rng: random.Random) -> frozenset[str]:
    """Labels of a metric. Matched without `on`, both sides must have the same; `slim` keeps what is named where the metric is read."""
    near = frozenset[str]().union(*(r.near for r in ours))
    elsewhere = frozenset(m.label for r in plan.readings if r not in ours for m in r.matchers) - near
    has_le = "le" in near and (
        name.endswith("_bucket") or any(m.label == "le" for r in ours for m in r.matchers) or "le" in _quantiled(ours)
    )
    schema = {"all": plan.universe, "own": plan.universe - elsewhere, "slim": near & plan.universe}[plan.schema] - {"le"}
    subject = plan.subject
    if name == subject.metric:
        schema = (schema | subject.removed) - subject.absent
    elif rng.random() < 0.5:
        schema = (schema - subject.removed) | near
    return schema | {"le"} if has_le else schema - {"le"}


def _quantiled(ours: Sequence[Reading]) -> frozenset[str]:
    return frozenset({"le"}) if any(f.startswith("histogram_") for r in ours for f in r.functions) else frozenset()


def _chosen(entity: dict[str, str], ours: Sequence[Reading], schema: frozenset[str], plan: Plan, rng: random.Random) -> dict[str, str]:
    """The entity as this metric shows it, mostly such that one of its selectors matches."""
    row = {label: value for label, value in entity.items() if label in schema}
    reading = rng.choice(ours)
    if rng.random() < 0.85:
        for label in {m.label for m in reading.matchers}:
            row.update(_fitted(label, row.get(label, ""), [m for m in reading.matchers if m.label == label], plan))
    return row


def _fitted(label: str, value: str, matchers: list[Matcher], plan: Plan) -> dict[str, str]:
    if satisfies(value, matchers):
        return {label: value}
    return {label: next((v for v in (*plan.pools.get(label, ()), "") if satisfies(v, matchers)), value)}


def _copies(row: dict[str, str], schema: frozenset[str], plan: Plan, rng: random.Random) -> Iterator[dict[str, str]]:
    """The same but for the labels that go: what the removal merges."""
    yield row
    free = sorted(plan.subject.removed & schema)
    for number in range(rng.choice((0, 1, 1, 2)) if free else 0):
        yield {**row, **{label: rng.choice([*plan.pools[label], f"{label[:3]}{number + 5}"]) for label in free}}


def _bounds(plan: Plan, rng: random.Random) -> list[str]:
    asked = [m.value for r in plan.readings for m in r.matchers if m.label == "le" and m.op == "="]
    return list(dict.fromkeys([*asked, *(BOUNDS[0] if rng.random() < 0.6 else rng.choice(BOUNDS))]))


def _distinct(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return list({labels_of(row): row for row in rows}.values())


def _keyed(rows: list[dict[str, str]], keys: Sequence[Key]) -> list[dict[str, str]]:
    """Of the rows that a join would find ambiguous, the first."""
    kept: list[dict[str, str]] = []
    seen: dict[tuple[Key, Labels], Labels] = {}
    for row in rows:
        ones = {(key, _part(row, key.of)): _part(row, key.one - {"le"}) for key in keys}
        if all(seen.get(place, one) == one for place, one in ones.items()):
            seen.update(ones)
            kept.append(row)
    return kept


def _part(row: Mapping[str, str], labels: frozenset[str]) -> Labels:
    return labels_of({k: v for k, v in row.items() if k in labels})


# --- which values they have ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nature:
    """How a metric's values come about. `steady`: read over a window, so common timestamps and no birth or death inside it."""

    kind: Literal["gauge", "counter", "flag", "one"]
    steady: bool
    positive: bool
    resets: bool
    deaths: bool
    far: bool
    """Counters start far from zero, as the exact regime asks; else near it, as processes do."""
    gone: bool
    """All of its series end before anything is looked at: `absent` has something to say."""
    scale: Callable[[random.Random], float]
    moves: bool


def _nature(name: str, ours: Sequence[Reading], plan: Plan, rng: random.Random) -> Nature:
    kinds = plan.subject.kinds if name == plan.subject.metric else frozenset[str]()
    positive = "non_zero" in plan.subject.kinds
    # What is recorded may be read over a window by whoever reads the record.
    ranged = any(r.ranged for r in (plan.readings if "recorded" in kinds else ours))
    return Nature(
        kind=_kind(name, ours, kinds, rng),
        steady=plan.exact and (ranged or "alive" in kinds),
        positive=positive,
        resets="no_reset" not in kinds,
        deaths="no_reset" not in kinds,
        far=plan.exact,
        gone=any(f.startswith("absent") for r in ours for f in r.functions) and rng.random() < 0.6,
        scale=_scale(plan, positive, rng),
        moves=rng.random() < 0.6,
    )


def _kind(name: str, ours: Sequence[Reading], kinds: frozenset[str], rng: random.Random) -> Literal["gauge", "counter", "flag", "one"]:
    if "zero_one" in kinds:
        return "flag"
    if {"counter", "no_reset"} & kinds or any(r.functions & COUNTING for r in ours):
        return "counter"
    if (name.endswith("_info") or any(r.info for r in ours)) and rng.random() < 0.7:
        return "one"
    return "counter" if name.endswith(COUNTER_SUFFIXES) and rng.random() < 0.5 else "gauge"


def _scale(plan: Plan, positive: bool, rng: random.Random) -> Callable[[random.Random], float]:
    """One kind of number for a metric: sums of them are exact (whole or dyadic), so that rounding cannot flip a comparison."""
    near = [c for c in plan.constants if c and abs(c) < 1e12]
    low = 1 if positive else 0
    makers: list[Callable[[random.Random], float]] = [
        lambda r: float(r.randint(low, 3)),
        lambda r: float(r.randint(1, 1000)),
        lambda r: r.randint(low, 64) / 64,
        lambda r: float(r.randint(1, 10**9)),
    ]
    if not positive:
        makers += [lambda r: float(r.randint(-50, 50)), lambda r: float(r.randint(0, 1))]
    if near:
        constant = rng.choice(near)
        makers += [lambda r: _dyadic(abs(constant) if positive else constant, r)] * 2
    return rng.choice(makers)


def _dyadic(constant: float, rng: random.Random) -> float:
    """About a constant of the expression, so that comparisons with it go either way."""
    value = constant * rng.choice((0.25, 0.5, 1, 1, 2, 4))
    return (math.ceil(value * 1024) if value > 0 else math.floor(value * 1024)) / 1024


def _values(rows: Sequence[dict[str, str]], nature: Nature, plan: Plan, rng: random.Random) -> Iterator[tuple[Labels, tuple[Value, ...]]]:
    """Buckets of one histogram live and restart together, and each holds those below it."""
    families: dict[Labels, list[dict[str, str]]] = {}
    for row in rows:
        families.setdefault(labels_of({k: v for k, v in row.items() if k != "le"}), []).append(row)
    for members in families.values():
        draw = _counters if nature.kind == "counter" else _gauges
        columns = draw(len(members), nature, plan.clock.total, rng)
        life = _life(nature, plan.clock, rng)
        for row, column in zip(sorted(members, key=_bound), columns, strict=True):
            yield labels_of(row), _lived(column, life, nature, plan.clock, rng)


def _bound(row: Mapping[str, str]) -> float:
    try:
        return float(row.get("le", "0"))
    except ValueError:
        return 0.0


def _gauges(count: int, nature: Nature, total: int, rng: random.Random) -> list[list[float]]:
    return [_gauge(nature, total, rng) for _ in range(count)]


def _gauge(nature: Nature, total: int, rng: random.Random) -> list[float]:
    draw: Callable[[random.Random], float] = {"flag": lambda r: float(r.randint(0, 1)), "one": lambda _: 1.0}.get(nature.kind, nature.scale)
    still = draw(rng)
    return [draw(rng) if nature.moves else still for _ in range(total)]


def _counters(count: int, nature: Nature, total: int, rng: random.Random) -> list[list[float]]:
    """Each bucket holds its own and those below. A counter stays far above what it gains in a tick, also after its (at most two)
    resets: rate's extrapolation stops at zero, so near zero the rate of a sum is not the sum of rates."""
    size = rng.choice((1.0, 20.0, 0.5, 1000.0))
    resets = frozenset(rng.sample(range(1, total), rng.choice((0, 1, 1, 2)))) if nature.resets else frozenset[int]()
    own = [_counter(size, nature, resets, total, rng) for _ in range(count)]
    return [list(column) for column in zip(*(itertools.accumulate(tick) for tick in zip(*own, strict=True)), strict=True)]


def _counter(size: float, nature: Nature, resets: frozenset[int], total: int, rng: random.Random) -> list[float]:
    idle = not nature.positive and rng.random() < 0.1
    value = rng.randint(*((50, 100) if nature.far else (0, 3))) * size
    column = [value]
    for tick in range(1, total):
        gain = 0.0 if idle else rng.randint(int(nature.positive), 8) * size / 8
        value = min(rng.randint(*((10, 20) if nature.far else (0, 1))) * size, value / 2) if tick in resets else value + gain
        column.append(value)
    return column


def _life(nature: Nature, clock: Clock, rng: random.Random) -> tuple[int, int]:
    """When a series begins and when it ends; at or after the clock's end: it does not."""
    if nature.gone:
        return 0, rng.randint(1, clock.quiet - 1)
    last = clock.quiet - 1 if nature.steady else clock.total - 1
    born = rng.randint(1, last) if rng.random() < 0.25 else 0
    dies = nature.deaths and rng.random() < 0.15 and born < last
    return born, rng.randint(born + 1, last) if dies else clock.total


def _lived(column: Sequence[float], life: tuple[int, int], nature: Nature, clock: Clock, rng: random.Random) -> tuple[Value, ...]:
    born, died = life
    values: list[Value] = []
    for tick, value in enumerate(column):
        alone = not nature.steady and rng.random() < 0.04 and values[-1:] != [Gap.MISSED]
        if tick == died:
            values.append(Gap.STALE)
        elif tick < born or tick > died or tick in clock.missed or alone:
            values.append(Gap.MISSED)
        else:
            values.append(value)
    return tuple(values)
