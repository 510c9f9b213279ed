"""What an expression asks of the data: its selectors, what stands above each, its windows and its constants."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from analyzer.references.tree import Aggregate, Binary, Call, Matcher, Negated, Node, Number, Selector, Subquery, Text, children
from tests.semantics.regexes import full_match, matching

COUNTING = frozenset(["rate", "increase", "irate"])
OVER_A_RANGE = COUNTING | {
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "changes",
    "resets",
    "holt_winters",
    "double_exponential_smoothing",
}
QUANTILES = frozenset(["histogram_quantile", "histogram_fraction", "histogram_quantiles"])
LOOKBACK = 300
"""Prometheus' default: for how many seconds an instant selector takes the last sample."""
MOST_TICKS = 240
"""Windows of more samples than this are evaluated as this long: what a window's length is changes no rule."""
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_PLACE = re.compile(
    r"(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*)"
    r"|\[\s*((?:\d+(?:ms|[smhdwy]))+)\s*(:\s*((?:\d+(?:ms|[smhdwy]))+)?)?\s*\]|\boffset\s+((?:\d+(?:ms|[smhdwy]))+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Key:
    """Of one combination of the `of` labels there is one combination of the `one` labels: what a join needs to be possible."""

    of: frozenset[str]
    one: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """One selector. `functions` stand above it; `near` are the labels named by what stands above; `info`: it is the one side of a join."""

    names: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    functions: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    keys: tuple[Key, ...] = ()
    info: bool = False

    @property
    def ranged(self) -> bool:
        return any(f in OVER_A_RANGE or f.endswith("_over_time") or f == "subquery" for f in self.functions)


def seconds(duration: str) -> float:
    return sum(int(n) * _UNITS[unit.lower()] for n, unit in _DURATION.findall(duration.lower()))


@dataclass(frozen=True, slots=True)
class Spans:
    """`windows` and `offsets` of an expression in seconds."""

    windows: tuple[float, ...]
    offsets: tuple[float, ...]

    @property
    def interval(self) -> int:
        """Seconds between scrapes: the shortest window holds four samples, and no gap of three ticks is as long as the lookback."""
        shortest = min((w for w in self.windows if w), default=LOOKBACK)
        return next((i for i in (60, 30, 15, 10, 5, 1) if 4 * i <= shortest), 1)

    @property
    def reach(self) -> float:
        """How far back a query can look: as if all were nested."""
        return sum(sorted(set(self.windows))[-2:]) + sum(sorted(set(self.offsets))[-2:])


def spans(expression: str) -> Spans:
    places = [m.groups() for m in _PLACE.finditer(expression)]
    windows = [seconds(window) for _, window, _, _, _ in places if window]
    return Spans(tuple(windows), tuple(seconds(o) for *_, o in places if o))


def shortened(expression: str) -> str:
    """The expression with no window, step or offset longer than worlds last."""
    longest = spans(expression).interval * MOST_TICKS
    return _PLACE.sub(lambda m: _shortened(m, longest), expression)


def _shortened(place: re.Match[str], longest: int) -> str:
    text = place.group(0)
    if place.group(1) is not None:
        return text
    return re.sub(
        r"(?:\d+(?:ms|[smhdwy]))+", lambda d: f"{longest}s" if seconds(d.group(0)) > longest else d.group(0), text, flags=re.IGNORECASE
    )


def constants(tree: Node) -> list[float]:
    own = [tree.value] if isinstance(tree, Number) else []
    return [*own, *(c for child in children(tree) for c in constants(child))]


def labels_in(tree: Node) -> frozenset[str]:
    """Every label that the expression names."""
    match tree:
        case Selector():
            own = {m.label for m in tree.matchers}
        case Aggregate():
            own = set(tree.labels)
        case Binary():
            own = {*tree.labels, *tree.include}
        case Call(function="label_replace" | "label_join" | "sort_by_label" | "sort_by_label_desc"):
            own = {a.value for a in tree.args if isinstance(a, Text) and re.fullmatch(r"[A-Za-z_]\w*", a.value)}
        case _:
            own: set[str] = set()
    below = (labels_in(child) for child in children(tree))
    return frozenset(own).union(*below) - {"__name__", ""}


def rewritten(tree: Node) -> dict[str, list[str]]:
    """Label → the regexes that label_replace asks of it."""
    found: dict[str, list[str]] = {}
    if isinstance(tree, Call) and tree.function == "label_replace":
        texts = [a.value for a in tree.args if isinstance(a, Text)]
        if len(texts) == 4:
            found.setdefault(texts[2], []).append(texts[3])
    for child in children(tree):
        for label, patterns in rewritten(child).items():
            found.setdefault(label, []).extend(patterns)
    return found


@dataclass(frozen=True, slots=True)
class _Above:
    functions: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    keys: tuple[Key, ...] = ()
    info: bool = False


def readings(tree: Node, universe: frozenset[str], rng: random.Random) -> list[Reading]:
    return list(_read(tree, _Above(), universe, rng))


def _read(node: Node, above: _Above, universe: frozenset[str], rng: random.Random) -> Iterator[Reading]:
    if isinstance(node, Selector):
        names = names_of(node, rng)
        matchers = tuple(m for m in (node.alternatives[0] if node.alternatives else ()) if m.label != "__name__")
        yield Reading(names, matchers, above.functions, above.near | {m.label for m in matchers}, above.keys, above.info)
        return
    for child, below in _below(node, above, universe):
        yield from _read(child, below, universe, rng)


def _below(node: Node, above: _Above, universe: frozenset[str]) -> Iterator[tuple[Node, _Above]]:
    match node:
        case Aggregate():
            yield from _below_aggregate(node, above, universe)
        case Binary():
            yield from _below_binary(node, above, universe)
        case Call():
            here = replace(above, functions=above.functions | {node.function})
            if node.function in QUANTILES:
                here = replace(here, near=here.near | {"le"}, keys=tuple(Key(k.of - {"le"}, k.one - {"le"}) for k in here.keys))
            for child in children(node):
                yield child, here
        case Subquery():
            yield node.expr, replace(above, functions=above.functions | {"subquery"})
        case Negated():
            yield node.expr, above
        case _:
            return


def _below_aggregate(node: Aggregate, above: _Above, universe: frozenset[str]) -> Iterator[tuple[Node, _Above]]:
    kept = universe - set(node.labels) if node.without else universe & set(node.labels)
    keys = above.keys if node.op in ("topk", "bottomk", "limitk") else tuple(Key(k.of & kept, k.one & kept) for k in above.keys)
    keys = tuple(k for k in keys if k.one - k.of)
    yield node.expr, _Above(above.functions, above.near | set(node.labels), keys)
    if node.param is not None:
        yield node.param, _Above()


def _below_binary(node: Binary, above: _Above, universe: frozenset[str]) -> Iterator[tuple[Node, _Above]]:
    key = universe - set(node.labels) if not node.on else universe & set(node.labels)
    near = above.near | set(node.labels)
    plain = replace(above, near=near, info=False)
    single = _Above(above.functions, near, (Key(key, universe),))
    one = replace(single, near=near | set(node.include), info=node.many is not None and node.op == "*")
    if node.op in ("and", "or", "unless"):
        yield node.left, plain
        yield node.right, plain if node.op == "or" else _Above(above.functions, near)
    elif node.many == "left":
        yield node.left, plain
        yield node.right, one
    elif node.many == "right":
        yield node.left, one
        yield node.right, plain
    else:
        carried = tuple(Key(k.of & key, k.one & key) for k in above.keys)
        both = replace(single, keys=(*single.keys, *(k for k in carried if k.one - k.of)))
        yield node.left, both
        yield node.right, both


def names_of(node: Selector, rng: random.Random) -> tuple[str, ...]:
    """Names that a selector reads: its own, or two that its matchers of `__name__` let pass."""
    if node.name:
        return (node.name,)
    asked = [m for m in node.matchers if m.label == "__name__"]
    exact = [m.value for m in asked if m.op == "="]
    if exact:
        return (exact[0],)
    drawn = [name for m in asked if m.op == "=~" for name in matching(m.value, rng, 2)] or ["any_metric"]
    return tuple(name for name in drawn if satisfies(name, asked)) or ("any_metric",)


def satisfies(value: str, matchers: list[Matcher]) -> bool:
    return all(_holds(value, m) for m in matchers)


def _holds(value: str, matcher: Matcher) -> bool:
    match matcher.op:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return full_match(matcher.value, value)
        case "!~":
            return not full_match(matcher.value, value)
