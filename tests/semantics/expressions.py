"""Random PromQL over everything that the rules of label demand speak of: what finds holes in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LABELS = ("a", "b", "c", "pod")
GAUGES = ("m", "o", "flag")
COUNTERS = ("c_total", "d_total")
_AGGREGATES = (
    "sum",
    "sum",
    "sum",
    "max",
    "max",
    "min",
    "group",
    "count",
    "avg",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
)
_POINTWISE = (
    "abs", "ceil", "floor", "round", "sgn", "ln", "sqrt", "exp", "sort", "sort_desc", "deg", "clamp_max", "clamp_min", "clamp", "timestamp",
    "cos", "-", "log2", "day_of_week",
)  # fmt: skip
_OVER_TIME = (
    "sum_over_time", "max_over_time", "min_over_time", "avg_over_time", "count_over_time", "last_over_time", "present_over_time",
    "first_over_time", "stddev_over_time", "quantile_over_time", "changes", "resets", "delta", "idelta", "deriv", "predict_linear", "mad_over_time",
)  # fmt: skip
Below = Callable[[int], str]
_PLAIN = tuple(name for name in _OVER_TIME if name not in ("quantile_over_time", "predict_linear"))
_COUNTING = ("rate", "increase", "irate")
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
_ARITHMETIC = ("*", "*", "/", "/", "+", "-", "%", "^")
_NUMBERS = ("0", "1", "2", "-1", "0.5", "10", "100")


def expression(seed: int, seen: bool = False) -> str:
    """Most have at the top something below which demand is finite. Half are chains: one operation upon another, and no second metric.
    `seen`: nothing is put on top, as in a recording rule that says little."""
    rng = random.Random(seed)
    write = _Writer(rng)
    if seen:
        return write.chain(rng.choice((0, 1, 1, 2)))
    if rng.random() < 0.5:
        return rng.choice((write.extreme, write.extreme, write.presence, write.keyed))(rng.choice((1, 2, 2, 3)), write.chain)
    depth = rng.choice((1, 2, 2, 3, 3, 4))
    return write.aggregate(depth) if rng.random() < 0.7 else write.vector(depth)


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def vector(self, depth: int) -> str:
        if depth <= 0 or self.rng.random() < 0.12:
            return self.selector()
        makers: Sequence[tuple[Callable[[int], str], int]] = (
            (self.aggregate, 6), (self.pointwise, 3), (self.over_time, 3), (self.counting, 3), (self.scaled, 5), (self.filtered, 3),
            (self.joined, 4), (self.grouped, 3), (self.set_operation, 3), (self.relabelled, 2), (self.presence, 1), (self.quantile, 1),
        )  # fmt: skip
        (make,) = self.rng.choices([m for m, _ in makers], [w for _, w in makers])
        return make(depth - 1)

    def chain(self, depth: int) -> str:
        if depth <= 0:
            return self.selector()
        rng, below = self.rng, lambda: self.chain(depth - 1)
        match rng.choice(("scaled", "scaled", "filtered", "pointwise", "range", "range", "subquery", "subquery", "relabelled")):
            case "scaled":
                sides = [f"({below()})", self.number()]
                rng.shuffle(sides)
                return f" {rng.choice(_ARITHMETIC)} ".join(sides)
            case "filtered":
                return f"({below()}) {self.comparison()} {self.number()}"
            case "pointwise":
                return self.applied(rng.choice(_POINTWISE), below())
            case "range":
                return f"{rng.choice(_COUNTING + _PLAIN)}({self.selector()}[5m])"
            case "subquery":
                return f"{rng.choice(_COUNTING + _PLAIN)}(({below()})[10m:1m])"
            case _:
                return f'label_replace({below()}, "{rng.choice(LABELS)}", "$1", "{rng.choice(LABELS)}", "{rng.choice(("(.*)", "(.+)", ".*0"))}")'

    def extreme(self, depth: int, below: Below) -> str:
        return f"{self.rng.choice(('sum', 'sum', 'max', 'min', 'group'))} {self.rng.choice(('by', 'by', 'without'))} ({self.labels(1)}) ({below(depth)})"

    def keyed(self, depth: int, below: Below) -> str:
        operation = self.rng.choice(("and", "unless", "/", "*", "> bool"))
        return f"o {operation} on ({self.rng.choice(LABELS)}) ({below(depth)})"

    def labels(self, most: int = 2) -> str:
        return ", ".join(self.rng.sample(LABELS, self.rng.randint(0, most)))

    def selector(self, names: Sequence[str] = GAUGES + COUNTERS) -> str:
        matchers = ""
        if self.rng.random() < 0.25:
            label = self.rng.choice(LABELS)
            value = label[:3] + "0"
            matchers = self.rng.choice(
                (f'{label}="{value}"', f'{label}!="{value}"', f'{label}=~"{value}|x"', f'{label}!=""', f'{label}=~".*"')
            )
        return f"{self.rng.choice(names)}{{{matchers}}}" if matchers else self.rng.choice(names)

    def aggregate(self, depth: int) -> str:
        name = self.rng.choice(_AGGREGATES)
        how = self.rng.choice(("by", "by", "by", "without", ""))
        clause = f" {how} ({self.labels()})" if how else ""
        parameter = {"topk": "1, ", "bottomk": "1, ", "quantile": "0.5, ", "count_values": '"v", '}.get(name, "")
        return f"{name}{clause} ({parameter}{self.vector(depth)})"

    def pointwise(self, depth: int) -> str:
        return self.applied(self.rng.choice(_POINTWISE), self.vector(depth))

    def applied(self, name: str, inside: str) -> str:
        if name == "-":
            return f"-({inside})"
        more = {"clamp": ", 0, 10", "clamp_max": f", {self.number()}", "clamp_min": f", {self.number()}"}.get(name, "")
        return f"{name}({inside}{more})"

    def window(self, depth: int, names: Sequence[str]) -> str:
        return f"{self.selector(names)}[5m]" if depth <= 0 or self.rng.random() < 0.7 else f"({self.vector(depth)})[10m:1m]"

    def over_time(self, depth: int) -> str:
        name = self.rng.choice(_OVER_TIME)
        before, behind = {"quantile_over_time": ("0.5, ", ""), "predict_linear": ("", ", 60")}.get(name, ("", ""))
        return f"{name}({before}{self.window(depth, GAUGES)}{behind})"

    def counting(self, depth: int) -> str:
        return f"{self.rng.choice(_COUNTING)}({self.window(depth, COUNTERS)})"

    def number(self) -> str:
        return self.rng.choice(_NUMBERS)

    def scaled(self, depth: int) -> str:
        scalar = self.number() if self.rng.random() < 0.85 else f"scalar({self.vector(depth)})"
        sides = [f"({self.vector(depth)})", scalar]
        self.rng.shuffle(sides)
        return f" {self.rng.choice(_ARITHMETIC)} ".join(sides)

    def filtered(self, depth: int) -> str:
        sides = [f"({self.vector(depth)})", self.number()]
        self.rng.shuffle(sides)
        return f" {self.comparison()} ".join(sides)

    def comparison(self) -> str:
        return self.rng.choice(_COMPARISONS) + self.rng.choice(("", "", " bool"))

    def matching(self) -> str:
        return self.rng.choice((f"on ({self.labels()})", f"on ({self.labels()})", f"ignoring ({self.labels()})", ""))

    def operator(self) -> str:
        return self.rng.choice(_ARITHMETIC) if self.rng.random() < 0.7 else self.comparison()

    def joined(self, depth: int) -> str:
        return f"({self.vector(depth)}) {self.operator()} {self.matching()} ({self.vector(depth)})"

    def grouped(self, depth: int) -> str:
        side, key = self.rng.choice(("group_left", "group_right")), self.rng.sample(LABELS, self.rng.randint(1, 2))
        taken = self.rng.sample([x for x in LABELS if x not in key], self.rng.randint(0, 1))
        modifier = f"on ({', '.join(key)}) {side} ({', '.join(taken)})"
        return f"({self.vector(depth)}) {self.operator()} {modifier} ({self.vector(depth)})"

    def set_operation(self, depth: int) -> str:
        return f"({self.vector(depth)}) {self.rng.choice(('and', 'unless', 'or'))} {self.matching()} ({self.vector(depth)})"

    def relabelled(self, depth: int) -> str:
        target, source = self.rng.choice(LABELS), self.rng.choice(LABELS)
        if self.rng.random() < 0.3:
            return f'label_join({self.vector(depth)}, "{target}", "-", "{source}", "{self.rng.choice(LABELS)}")'
        pattern = self.rng.choice(("(.*)", "(.*)0", "(.+)", ".*", ""))
        return f'label_replace({self.vector(depth)}, "{target}", "{self.rng.choice(("$1", "k", "x$1"))}", "{source}", "{pattern}")'

    def presence(self, depth: int, below: Below | None = None) -> str:
        return f"absent({(below or self.vector)(depth)})" if self.rng.random() < 0.6 else f"absent_over_time({self.window(depth, GAUGES)})"

    def quantile(self, depth: int) -> str:
        inside = self.rng.choice(("h_bucket", "rate(h_bucket[5m])"))
        by = ", ".join(["le", *self.rng.sample(LABELS, self.rng.randint(0, 1))])
        return f"histogram_quantile(0.9, {self.rng.choice((f'sum by ({by}) ({inside})', inside))})"
