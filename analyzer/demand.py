"""Query tree → which labels each metric must keep, by which operator its series may be merged, and why.

A need travels from the query's result down to its selectors: the labels that are needed of a node's output, and what merges series above
it. Each rule says what a node needs of its arguments so that, when labels outside the need are merged away, the node's result is the same.
What has no rule needs every label. Each rule was fuzzed against a real Prometheus; `tests/semantics` does so still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import re2

from analyzer.references.expressions import names_of
from analyzer.references.tree import SENTINEL, Aggregate, Binary, Call, Negated, Node, Number, Selector, Subquery, Text
from flowgate.usage import EVERY_LABEL, NO_LABEL, Condition, LabelSet, Operator, Use, only

_NOTHING: frozenset[str] = frozenset()
_OUTPUT = "every label of the result is seen"


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed of a node's output.

    `operator` is the nearest one above that merges series; `overwritten` the labels that are set anew between here and there; `exposed`
    those that reach the result; `mentioned` every label that the operators above name; `counts` says that only increases are taken.
    """

    labels: LabelSet = EVERY_LABEL
    operator: Operator = "none"
    overwritten: frozenset[str] = _NOTHING
    conditions: tuple[Condition, ...] = ()
    why: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"*": _OUTPUT}))
    mentioned: frozenset[str] = _NOTHING
    counts: bool = False
    exposed: LabelSet = EVERY_LABEL
    dynamic: bool = False


Needs = Iterator[tuple[Node, Need]]


def uses(
    tree: Node,
    root: LabelSet = EVERY_LABEL,
    operator: Operator = "none",
    overwritten: frozenset[str] = _NOTHING,
    mentioned: frozenset[str] = _NOTHING,
    conditions: tuple[Condition, ...] = (),
    counts: bool = False,
) -> tuple[Use, ...]:
    """One use a selector (a selector of several names: one a name).

    `root` and `operator` say what is needed of the result, and `conditions` what already must hold for that; `counts`: only increases of
    it are taken; a recording rule's own
    labels are `overwritten` in it; `mentioned` are labels that the document reads from the result.
    """
    why = {"*": _OUTPUT} if root.all_except else dict.fromkeys(root.names, "read from the result")
    need = Need(root | LabelSet(mentioned), operator, overwritten, conditions, why, mentioned, counts, root)
    found: list[Use] = []
    todo: list[tuple[Node, Need]] = [(tree, need)]
    while todo:
        node, need = todo.pop()
        if isinstance(node, Selector):
            found.extend(_selected(node, need))
        else:
            todo.extend(_RULES[type(node)](node, need))
    return tuple(reversed(found))


def _everything(need: Need, reason: str) -> Need:
    """Nothing is known of what this node does with its input: every label is needed, nothing may be merged."""
    return replace(need, labels=EVERY_LABEL, operator="none", conditions=(), why={"*": reason}, counts=False)


def _fresh(need: Need, reason: str) -> Need:
    """As `_everything`, below what forgets which labels were set anew."""
    return replace(_everything(need, reason), overwritten=_NOTHING)


def _dynamic(need: Need, reason: str) -> Need:
    """As `_everything`, since any label may be named when the query runs."""
    return replace(_everything(need, reason), dynamic=True)


def _parameter(need: Need, reason: str) -> Need:
    """As `_everything`, for a number: its labels do not reach the result."""
    return replace(_fresh(need, reason), exposed=NO_LABEL)


def _mentioning(need: Need, labels: frozenset[str]) -> Need:
    return replace(need, mentioned=need.mentioned | labels) if labels - need.mentioned else need


def _if(need: Need, condition: Condition) -> Need:
    return replace(need, conditions=(*need.conditions, condition))


def _with(need: Need, labels: LabelSet, reason: str) -> Need:
    """The same need and these labels too."""
    added = {"*": reason} if labels.all_except else dict.fromkeys(labels.names, reason)
    return replace(need, labels=need.labels | labels, why={**added, **need.why})


# --- selectors -----------------------------------------------------------------------------------------------------------------------


def _selected(node: Selector, need: Need) -> Iterator[Use]:
    matchers = [m for m in node.matchers if m.label != "__name__"]
    said = frozenset(m.label for m in matchers)
    if any(_unknown(label) for label in said):
        need = _dynamic(need, "a variable stands for matchers that are known only when the query runs")
    binding = frozenset(m.label for m in matchers if not _unknown(m.label) and (m.op, m.value) != ("=~", ".*"))
    need = _with(need, LabelSet(binding), "matcher") if binding else need
    names, patterns = names_of(node)
    if len(names) + len(patterns) > 1:
        need = _everything(need, "the selector reads several metrics")
    mentioned = frozenset(label for label in need.mentioned | said if not _unknown(label))
    for name in sorted(names):
        yield _use(name, need, mentioned, _buckets(node))
    for pattern in sorted(patterns):
        wide = _everything(need, "the metric is reached by a pattern of names")
        yield Use(pattern, True, mentioned, EVERY_LABEL, "none", need.overwritten, need.exposed, need.dynamic, (), wide.why)


def _buckets(node: Selector) -> frozenset[str] | None:
    """The upper bounds that a selector asks for by equality."""
    if len(node.alternatives) != 1:
        return None
    return next((frozenset({m.value}) for m in node.matchers if (m.label, m.op) == ("le", "=") and SENTINEL not in m.value), None)


def _use(name: str, need: Need, mentioned: frozenset[str], le: frozenset[str] | None) -> Use:
    why = {label: reason for label, reason in need.why.items() if label == "*" or label in need.labels}
    if not need.labels.all_except:
        why.pop("*", None)
    dynamic = need.dynamic and need.labels.all_except
    conditions = (*need.conditions, *_type_conditions(name, need))
    return Use(name, False, mentioned, need.labels, need.operator, need.overwritten, need.exposed, dynamic, conditions, why, le=le)


def _type_conditions(name: str, need: Need) -> Iterator[Condition]:
    """How the metric must be merged for a sum to mean what it meant: only increases are compared, or a counter is added up raw."""
    if need.operator == "sum" and need.counts:
        yield Condition("counter", _NOTHING, "read through rate or increase: merged as a counter, with the resets of each input")
    elif need.operator == "sum" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        yield Condition(
            "no_reset", _NOTHING, "looks like a counter and is added up raw: a merged counter does not fall when an input resets"
        )


def _unknown(label: str) -> bool:
    return SENTINEL in label


# --- aggregations ----------------------------------------------------------------------------------------------------------------------

_MERGES: Mapping[str, Operator] = {"sum": "sum", "min": "min", "max": "max", "group": "group"}
_BLIND_TO_VALUES = frozenset(["avg", "count", "stddev", "stdvar", "quantile"])
"""Under `exists` these only say which groups there are."""
_SELECTING = frozenset(["topk", "bottomk", "limitk", "limit_ratio"])
"""They show the series themselves."""


def _aggregate(node: Aggregate, need: Need) -> Needs:
    labels = frozenset(node.labels)
    below = replace(_mentioning(need, frozenset(x for x in labels if not _unknown(x))), overwritten=_NOTHING, conditions=(), counts=False)
    if node.param is not None:
        yield node.param, _parameter(below, f"parameter of {node.op}")
    grouped = _grouped(node, labels, need, below)
    if node.op not in _SELECTING and not any(_unknown(label) for label in labels):
        grouped = replace(grouped, exposed=need.exposed & LabelSet(labels, node.without))
    yield node.expr, grouped


def _grouped(node: Aggregate, labels: frozenset[str], need: Need, below: Need) -> Need:
    if node.op not in _MERGES and not (need.operator == "exists" and node.op in _BLIND_TO_VALUES):
        return _everything(below, f"{node.op} depends on how many series there are")
    if any(_unknown(label) for label in labels):
        return _dynamic(below, f"{node.op} groups by a label that is known only when the query runs")
    operator: Operator = "exists" if need.operator == "exists" else _MERGES[node.op]
    if not node.without:
        return replace(below, labels=LabelSet(labels), operator=operator, why=dict.fromkeys(labels, f"{node.op} by"))
    if _same_merge(need.operator, operator):
        kept = replace(below, conditions=need.conditions, overwritten=need.overwritten - labels, why=need.why)
        return replace(kept, labels=need.labels - labels, operator=operator)
    return replace(
        below, labels=LabelSet(labels, True), operator=operator, why={"*": f"{node.op} without names what is merged, not what is kept"}
    )


def _same_merge(above: Operator, here: Operator) -> bool:
    """Whether merging twice is merging once: a sum of sums; and where one series a key is left, groups are keys."""
    return above in (here, "unique") or above == "exists"


# --- calls -------------------------------------------------------------------------------------------------------------------------------

_COUNTING = frozenset(["rate", "increase", "irate"])
_LINEAR = frozenset(["sum_over_time", "histogram_sum", "histogram_count", "sort", "sort_desc", "deg", "rad"])
_LINEAR_WHILE_ALIVE = frozenset(["delta", "idelta", "deriv", "predict_linear", "avg_over_time", "last_over_time", "first_over_time"])
_RISING = frozenset(["clamp", "clamp_min", "clamp_max", "ceil", "floor", "round", "exp", "sgn", "sort", "sort_desc", "deg", "rad"])
_RISING_IF_POSITIVE = frozenset(["ln", "log2", "log10", "sqrt"])
"""Below zero they are NaN, which max passes over and min does not."""
_ANGLES = frozenset(["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"])
_DATES = frozenset(["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"])
_POINTWISE = _RISING | _RISING_IF_POSITIVE | _ANGLES | _DATES | {"abs", "timestamp", "histogram_sum", "histogram_count"}
_OVER_TIME = frozenset(
    ["avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "quantile_over_time", "stddev_over_time",
     "stdvar_over_time", "last_over_time", "first_over_time", "present_over_time", "mad_over_time", "ts_of_min_over_time",
     "ts_of_max_over_time", "ts_of_last_over_time", "ts_of_first_over_time"]
)  # fmt: skip
_OF_A_RANGE = _COUNTING | _LINEAR_WHILE_ALIVE | {"changes", "resets", "double_exponential_smoothing", "holt_winters", "xrate", "xincrease"}
_QUANTILES = frozenset(["histogram_quantile", "histogram_fraction", "histogram_quantiles"])
_OF_NATIVE = frozenset(["histogram_avg", "histogram_stddev", "histogram_stdvar"])
_NO_SERIES = frozenset(["time", "pi", "start", "end", "step", "range", "now"])


def _call(node: Call, need: Need) -> Needs:
    rule = _CALLS.get(node.function)
    if rule is not None:
        yield from rule(node, need)
        return
    passed = _through(node, need)
    for argument in node.args:
        yield argument, _parameter(need, f"parameter of {node.function}") if _is_scalar(argument) else passed


def _through(node: Call, need: Need) -> Need:
    """What a function of one vector needs of it."""
    name = node.function
    if name in _COUNTING and any(isinstance(a, Subquery) for a in node.args):
        need = _if(need, Condition("no_reset", _NOTHING, f"{name} of a subquery: exact while no reset falls between its steps"))
    if need.operator == "none" and name in _POINTWISE | _OVER_TIME | _OF_A_RANGE | _OF_NATIVE:
        return need
    passed = _UNDER[need.operator](name, node, need)
    return passed or _everything(need, f"{name} under {_shown(need.operator)}")


def _alive(need: Need, name: str) -> Need:
    return _if(need, Condition("alive", _NOTHING, f"{name}: exact for inputs that are there in the whole window"))


def _under_sum(name: str, node: Call, need: Need) -> Need | None:
    if need.counts:  # increases of increases: what a function gives is no counter
        return need if name in ("sort", "sort_desc") else None
    if name in _COUNTING:
        return replace(need, counts=True)
    if name in _LINEAR:
        return need
    return _alive(need, name) if name in _LINEAR_WHILE_ALIVE else None


def _under_max(name: str, node: Call, need: Need) -> Need | None:
    rising = name in _RISING | _RISING_IF_POSITIVE | {"max_over_time"}
    return need if rising and _constant_parameters(node) else None


def _under_min(name: str, node: Call, need: Need) -> Need | None:
    return need if name in _RISING | {"min_over_time"} and _constant_parameters(node) else None


def _under_presence(name: str, node: Call, need: Need) -> Need | None:
    if name in _POINTWISE | _OVER_TIME:
        return need
    return _alive(need, name) if name in _OF_A_RANGE else None


def _under_unique(name: str, node: Call, need: Need) -> Need | None:
    if name in _POINTWISE | _OF_NATIVE:
        return need
    return _alive(need, name) if name in _OF_A_RANGE | _OVER_TIME else None


def _under_none(name: str, node: Call, need: Need) -> Need | None:
    return None


_UNDER: Mapping[Operator, Callable[[str, Call, Need], Need | None]] = {
    "sum": _under_sum, "max": _under_max, "min": _under_min, "group": _under_presence, "exists": _under_presence,
    "unique": _under_unique, "none": _under_none,
}  # fmt: skip


def _constant_parameters(node: Call) -> bool:
    return all(_constant(a) is not None for a in node.args if _is_scalar(a))


def _shown(operator: Operator) -> str:
    return "no merge" if operator == "none" else operator


def _quantile(node: Call, need: Need) -> Needs:
    """The buckets of one histogram belong together: all of its labels and `le`."""
    below = _mentioning(need, frozenset({"le"}))
    if need.operator in ("none", "unique"):
        below = _with(below, only("le"), f"{node.function} needs the buckets")
    else:
        below = _everything(below, f"{node.function} under {need.operator}")
    for argument in node.args:
        yield argument, _parameter(need, f"parameter of {node.function}") if _is_scalar(argument) else below


def _absent(node: Call, need: Need) -> Needs:
    for argument in node.args:
        yield argument, replace(_parameter(need, ""), labels=NO_LABEL, operator="exists", why={})


def _scalar(node: Call, need: Need) -> Needs:
    for argument in node.args:
        yield argument, _parameter(need, f"{node.function} depends on there being one series")


def _info(node: Call, need: Need) -> Needs:
    """`info(v, selector)`: joins target_info by job and instance, and takes over its labels, or those of the selector."""
    first, *rest = node.args
    joined = only("job", "instance")
    taken = frozenset(m.label for a in rest if isinstance(a, Selector) for m in a.matchers if m.label != "__name__")
    if need.operator == "none":
        yield first, replace(_with(need, joined, "info joins by it"), overwritten=need.overwritten | taken)
    else:
        yield first, _everything(need, f"info under {need.operator}")
    target = next((a for a in rest if isinstance(a, Selector)), Selector("target_info", ()))
    named = target if names_of(target)[0] else replace(target, name="target_info")
    labels = joined | LabelSet(taken) if taken and not any(_unknown(t) for t in taken) else EVERY_LABEL
    why = {"*": "info takes over every label"} if labels.all_except else dict.fromkeys(labels.names, "info takes it over")
    yield named, Need(labels, "unique", _NOTHING, (), why, need.mentioned | joined.names, False, need.exposed)


def _label_replace(node: Call, need: Need) -> Needs:
    vector, *texts = node.args
    said = [t.value for t in texts if isinstance(t, Text)]
    if len(said) != 4 or any(_unknown(s) for s in said):
        yield vector, _dynamic(need, "label_replace with a part that is known only when the query runs")
        return
    target, replacement, source, pattern = said
    below = _mentioning(need, frozenset(s for s in (target, source) if s))
    yield vector, _replaced(below, target, replacement, source, pattern)


def _replaced(need: Need, target: str, replacement: str, source: str, pattern: str) -> Need:
    always = _matches_everything(pattern) or (not source and _matches(pattern, ""))
    if (not source and not always) or (target == source and replacement == "$1" and pattern == "(.*)"):
        return need  # changes nothing
    if target == source and need.operator != "none":
        return _everything(need, "label_replace changes a label in place, below something that merges")
    written = replace(need, overwritten=need.overwritten | ({target} - {source}))
    if target not in need.labels:
        return written
    kept = written if not always else replace(written, labels=need.labels - frozenset({target}))
    return _with(kept, only(source), f"label_replace makes {target} of it") if source else kept


def _matches_everything(pattern: str) -> bool:
    return pattern in (".*", "(.*)", "^.*$", "^(.*)$", "(?s).*")


def _matches(pattern: str, text: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).fullmatch(text) is not None
    except re2.error:
        return True  # Prometheus would refuse the query; to take it as matching keeps `target` overwritten


def _label_join(node: Call, need: Need) -> Needs:
    vector, *texts = node.args
    said = [t.value for t in texts if isinstance(t, Text)]
    if len(said) < 2 or len(said) != len(texts) or any(_unknown(s) for s in said):
        yield vector, _dynamic(need, "label_join with a part that is known only when the query runs")
        return
    target, sources = said[0], frozenset(s for s in said[2:] if s)
    below = _mentioning(need, sources | {target})
    if target in sources and need.operator != "none":
        yield vector, _everything(below, "label_join changes a label in place, below something that merges")
        return
    below = replace(below, overwritten=below.overwritten | ({target} - sources))
    if target in need.labels:
        below = _with(replace(below, labels=need.labels - frozenset({target})), LabelSet(sources), f"label_join makes {target} of it")
    yield vector, below


def _sort_by_label(node: Call, need: Need) -> Needs:
    vector, *texts = node.args
    labels = frozenset(t.value for t in texts if isinstance(t, Text))
    yield vector, _with(_mentioning(need, labels), LabelSet(labels), "sorted by it")


def _no_series(node: Call, need: Need) -> Needs:
    for argument in node.args:
        yield argument, _parameter(need, f"parameter of {node.function}")


_CALLS: Mapping[str, Callable[[Call, Need], Needs]] = {
    **dict.fromkeys(_QUANTILES, _quantile),
    **dict.fromkeys(("absent", "absent_over_time"), _absent),
    **dict.fromkeys(("scalar", "vector"), _scalar),
    **dict.fromkeys(_NO_SERIES, _no_series),
    **dict.fromkeys(("sort_by_label", "sort_by_label_desc"), _sort_by_label),
    "info": _info,
    "label_replace": _label_replace,
    "label_join": _label_join,
}


# --- scalars ---------------------------------------------------------------------------------------------------------------------------


def _is_scalar(node: Node) -> bool:
    match node:
        case Number() | Text():
            return True
        case Call(function=function):
            return function == "scalar" or function in _NO_SERIES
        case Negated(expr=expr):
            return _is_scalar(expr)
        case Binary(left=left, right=right):
            return _is_scalar(left) and _is_scalar(right)
        case _:
            return False


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b, "^": lambda a, b: a**b,
    "%": math.fmod,
}  # fmt: skip


def _constant(node: Node) -> float | None:
    """The value of a scalar that is written out; None when it is not, or not finite."""
    match node:
        case Number(value=value):
            return value if math.isfinite(value) else None
        case Negated(expr=expr):
            value = _constant(expr)
            return None if value is None else -value
        case Binary(op=op, left=left, right=right) if op in _ARITHMETIC:
            return _folded(op, _constant(left), _constant(right))
        case _:
            return None


def _folded(op: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None:
        return None
    try:
        value = _ARITHMETIC[op](left, right)
    except (ArithmeticError, ValueError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


# --- binary operators --------------------------------------------------------------------------------------------------------------------

_COMPARISONS = frozenset(["==", "!=", ">", "<", ">=", "<="])
_FLIPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_SETS = {"and": "and", "if": "and", "unless": "unless", "ifnot": "unless", "or": "or", "default": "or"}


def _binary(node: Binary, need: Need) -> Needs:
    left, right = _is_scalar(node.left), _is_scalar(node.right)
    if left and right:
        yield node.left, _parameter(need, "part of a scalar")
        yield node.right, _parameter(need, "part of a scalar")
    elif left or right:
        vector, scalar = (node.right, node.left) if left else (node.left, node.right)
        yield scalar, _parameter(need, "part of a scalar")
        yield vector, _with_scalar(node, scalar, left, need)
    else:
        yield from _vectors(node, need)


def _vectors(node: Binary, need: Need) -> Needs:
    below = _mentioning(need, frozenset(x for x in (*node.labels, *node.include) if not _unknown(x)))
    if any(_unknown(x) for x in (*node.labels, *node.include)):
        yield node.left, _dynamic(below, f"{node.op} matches by a label that is known only when the query runs")
        yield node.right, _dynamic(below, f"{node.op} matches by a label that is known only when the query runs")
    elif node.op in _SETS:
        yield from _set_operator(node, below)
    elif node.many is None:
        yield from _one_to_one(node, below)
    else:
        yield from _many_to_one(node, below)


def _key(node: Binary) -> LabelSet:
    return EVERY_LABEL if node.on is None else LabelSet(frozenset(node.labels), not node.on)


def _filters(node: Binary) -> bool:
    return node.op in _COMPARISONS and not node.returns_bool


def _with_scalar(node: Binary, scalar: Node, scalar_is_left: bool, need: Need) -> Need:
    if need.operator == "none":
        return need
    op = _FLIPPED.get(node.op, node.op) if scalar_is_left else node.op
    value = _constant(scalar)
    if _filters(node):
        passed = _filtered(op, value, _plain(node.left if not scalar_is_left else node.right), need)
    else:
        passed = _SCALED[need.operator](node, op, value, scalar_is_left, need)
    return passed or _everything(need, f"{node.op} with a number under {need.operator}")


def _plain(node: Node) -> bool:
    """Whether the values are a metric's own: what says that it is 0 or 1 says it of these."""
    return isinstance(node, Selector) or (
        isinstance(node, Call) and node.function in ("label_replace", "label_join") and _plain(node.args[0])
    )


def _filtered(op: str, value: float | None, plain: bool, need: Need) -> Need | None:
    """`m > k` has a series for a key if the greatest has; and then the greatest is the same."""
    presence = need.operator in ("exists", "group")
    if op in (">", ">=") and value is not None and (presence or need.operator == "max"):
        return replace(need, operator="max")
    if op in ("<", "<=") and value is not None and (presence or need.operator == "min"):
        return replace(need, operator="min")
    if op == "==" and value in (0.0, 1.0) and plain:
        wanted: Operator = "max" if value == 1.0 else "min"
        if presence or need.operator == wanted:
            return _if(
                replace(need, operator=wanted), Condition("zero_one", _NOTHING, f"compared with {value:g}: exact while only 0 and 1 occur")
            )
    return None


def _scaled_sum(node: Binary, op: str, value: float | None, scalar_is_left: bool, need: Need) -> Need | None:
    if op not in ("*", "/") or (op == "/" and scalar_is_left) or (op == "/" and value == 0):
        return None
    if need.counts and (value is None or value <= 0):
        return None  # a counter that is turned round, or scaled by what changes, is none
    if value is not None:
        return need
    return _if(need, Condition("non_zero", _NOTHING, f"{op} by a number that is not written out: exact while it is finite and not zero"))


def _scaled_extreme(node: Binary, op: str, value: float | None, scalar_is_left: bool, need: Need) -> Need | None:
    if value is None or (scalar_is_left and op not in ("*", "+")):
        return None
    return need if op in ("+", "-") or (op in ("*", "/") and value > 0) else None


def _scaled_presence(node: Binary, op: str, value: float | None, scalar_is_left: bool, need: Need) -> Need | None:
    return need


_SCALED: Mapping[Operator, Callable[[Binary, str, float | None, bool, Need], Need | None]] = {
    "sum": _scaled_sum, "max": _scaled_extreme, "min": _scaled_extreme, "group": _scaled_presence, "exists": _scaled_presence,
    "unique": _scaled_presence, "none": _scaled_presence,
}  # fmt: skip


def _set_operator(node: Binary, need: Need) -> Needs:
    key, kind = _key(node), _SETS[node.op]
    if kind == "or":
        passed = need.operator in ("sum", "max", "min", "exists") and node.on is True and node.op == "or"
        below = _with(need, key, f"{node.op} on") if passed else _everything(need, f"{node.op} compares whole label sets")
        yield node.left, below
        yield node.right, below
        return
    yield node.left, _with(need, key, f"{node.op} matches by it")
    yield node.right, replace(_keyed(need, key, "exists", f"{node.op} matches by it"), exposed=NO_LABEL)


def _keyed(need: Need, key: LabelSet, operator: Operator, reason: str) -> Need:
    why = {"*": reason} if key.all_except else dict.fromkeys(key.names, reason)
    return replace(need, labels=key, operator=operator, overwritten=_NOTHING, conditions=(), why=why, counts=False)


def _one_to_one(node: Binary, need: Need) -> Needs:
    key, reason = _key(node), f"{node.op} matches by it"
    if node.fills:
        yield node.left, _fresh(need, f"{node.op} fills in what does not match")
        yield node.right, _fresh(need, f"{node.op} fills in what does not match")
        return
    one = _keyed(need, key, "unique", reason)
    # A filter compares first and tests for duplicates only in what is left, so its left side may have many series a key.
    yield node.left, _fresh(need, f"{node.op} filters before it looks for duplicates") if _filters(node) else one
    yield node.right, one


def _many_to_one(node: Binary, need: Need) -> Needs:
    key, taken = _key(node), frozenset(node.include)
    many, one = (node.left, node.right) if node.many == "left" else (node.right, node.left)
    written = replace(need, overwritten=need.overwritten | (taken - frozenset(node.labels if node.on else ())))
    passed = None if node.fills else _scaled_by_one(node, replace(written, labels=need.labels - taken))
    if passed is None:
        yield many, _everything(written, f"{node.op} of many to one under {_shown(need.operator)}")
    else:
        yield many, _with(passed, key, f"{node.op} matches by it")
    yield one, _keyed(need, key | LabelSet(taken), "unique", f"{node.op} matches by it or takes it over")


def _scaled_by_one(node: Binary, need: Need) -> Need | None:
    if need.operator == "none":
        return need
    if need.operator in ("unique", "exists", "group"):
        return None if _filters(node) else need
    if need.counts or need.operator != "sum" or node.op not in ("*", "/") or (node.op == "/" and node.many == "right"):
        return None
    reason = f"{node.op} by another series: exact while that is finite and not zero"
    return _if(need, Condition("non_zero", _NOTHING, reason))


def _negated(node: Negated, need: Need) -> Needs:
    if need.operator in ("max", "min") or need.counts:
        yield node.expr, _everything(need, f"a minus under {need.operator}")
    else:
        yield node.expr, need


def _subquery(node: Subquery, need: Need) -> Needs:
    yield node.expr, need


def _leaf(node: Number | Text, need: Need) -> Needs:
    yield from ()


_RULES: Mapping[type, Callable[..., Needs]] = {
    Aggregate: _aggregate, Call: _call, Binary: _binary, Negated: _negated, Subquery: _subquery, Number: _leaf, Text: _leaf,
}  # fmt: skip
