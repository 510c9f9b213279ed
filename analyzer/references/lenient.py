"""PromQL newer than promql-parser, MetricsQL, and what a variable of unknown value leaves behind: read with a grammar that is wider than any.

Only texts that promql-parser refuses come here. Wider means: no types, any function, ranges anywhere; every name and label is kept. A
sentinel may stand for a function, an operator, a clause or all that follows an operand; then nothing can be said of how series are merged, and
the tree says so with operators and labels that are the sentinel.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analyzer.references.lexing import Token, Unreadable, number, tokens_of
from analyzer.references.templates import expanded
from analyzer.references.tree import (
    SENTINEL,
    Aggregate,
    Binary,
    Call,
    Matcher,
    MatchOp,
    Negated,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    children,
    label_of,
)

MAX_DEPTH = 60
"""Each level costs six calls; the interpreter allows a thousand. No query of the corpora nests deeper than 20."""

_LEVELS: Sequence[Sequence[str]] = (
    ("default",),
    ("if", "ifnot"),
    ("or",),
    ("and", "unless"),
    ("==", "!=", "<", ">", "<=", ">=", "</", ">/"),
    ("+", "-"),
    ("*", "/", "%", "atan2"),
    ("^",),
)
"""Loosest first; MetricsQL's three are looser than PromQL's."""
_BINDS = {op: level for level, ops in enumerate(_LEVELS) for op in ops}
_POWER = _BINDS["^"]
_WORD_OPS = frozenset(op for op in _BINDS if op.isalpha() or op == "atan2")
_MATCH_OPS: dict[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}

_WITH_PARAMETER = frozenset(
    [
        "topk",
        "bottomk",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
        "outliersk",
        "outliers_mad",
        "topk_min",
        "topk_max",
        "topk_avg",
        "topk_last",
        "topk_median",
        "bottomk_min",
        "bottomk_max",
        "bottomk_avg",
        "bottomk_last",
        "bottomk_median",
    ]
)
AGGREGATES = _WITH_PARAMETER | frozenset(
    [
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "count",
        "stddev",
        "stdvar",
        "any",
        "distinct",
        "geomean",
        "histogram",
        "iqr",
        "mad",
        "median",
        "mode",
        "outliers_iqr",
        "quantiles",
        "share",
        "sum2",
        "zscore",
    ]
)
_OVER_TIME = frozenset(
    [
        "rate",
        "increase",
        "irate",
        "idelta",
        "delta",
        "deriv",
        "changes",
        "resets",
        "predict_linear",
        "holt_winters",
        "double_exponential_smoothing",
    ]
)
"""MetricsQL's `rate(sum(m))` is `rate(sum(m)[5m:])`."""
_IN_DURATIONS = frozenset(("step", "range", "start", "end", "min", "max", "min_of", "max_of"))


@dataclass(frozen=True, slots=True)
class _Op:
    op: str
    returns_bool: bool = False
    on: bool | None = None
    labels: tuple[str, ...] = ()
    many: Literal["left", "right"] | None = None
    include: tuple[str, ...] = ()
    fills: bool = False

    def unknown(self) -> _Op:
        """Nobody knows what is matched with what: only which labels were named is kept."""
        return _Op(SENTINEL, labels=(*self.labels, *self.include))

    def joins(self, left: Node, right: Node) -> Binary:
        return Binary(self.op, self.returns_bool, self.on, self.labels, self.many, self.include, self.fills, left, right)


_UNKNOWN_OP = _Op(SENTINEL)
_UNKNOWN_NUMBER = Number(math.nan)
_NEGATE = "negate"


def parsed(text: str) -> Node:
    """The tree of a text; raises Unreadable where it has none."""
    reader = _Reader(expanded(tokens_of(text)))
    tree = reader.expression()
    reader.expect_end()
    return tree


_NOT_FUNCTIONS = frozenset(("label_values", "label_names", "metrics", "query_result"))
"""Grafana's queries for the values of a variable: `metrics(a)` does not read `a`."""


def _unknown(word: str) -> bool:
    return SENTINEL in word


def _reads(node: Node) -> bool:
    return isinstance(node, Selector) or any(_reads(child) for child in children(node))


def _variable(token: Token) -> bool:
    """A variable, or several in a row, and nothing glued to it."""
    return token.kind == "name" and SENTINEL in token.text and not token.text.replace(SENTINEL, "")


class _Reader:
    """Recursive descent over tokens; each method reads what it is named after and moves on."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    # tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _ahead(self, by: int = 1) -> Token:
        return self._tokens[min(self._at + by, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _ate(self, *signs: str) -> bool:
        found = self._next.says(*signs)
        self._at += found
        return found

    def _ate_word(self, *words: str) -> bool:
        found = self._next.means(*words)
        self._at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._ate(sign):
            self._fail(f"{sign!r} expected")

    def expect_end(self) -> None:
        if self._next.kind != "end":
            self._fail("an operator expected")

    def _fail(self, expected: str) -> None:
        token = self._next
        raise Unreadable(f"{expected} at {token.at}, found {token.text[:40]!r}" if token.kind != "end" else f"{expected} at the end")

    # operators

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
        chain: list[Node | _Op | str] = []
        self._operand_into(chain)
        while (op := self._operator()) is not None:
            chain.append(op)
            if op is _UNKNOWN_OP and not self._starts_operand():
                chain.append(_UNKNOWN_NUMBER)
            else:
                self._operand_into(chain)
        self._depth -= 1
        return _Chain(chain).joined()

    def _operand_into(self, chain: list[Node | _Op | str]) -> None:
        while self._next.says("-", "+"):
            if self._take().text == "-":
                chain.append(_NEGATE)
        chain.append(self._postfixed(self._primary()))

    def _operator(self) -> _Op | None:
        token = self._next
        word = token.text.lower()
        if _variable(token):
            self._take()
            return _UNKNOWN_OP
        if (token.kind == "sign" and token.text in _BINDS) or (token.kind == "name" and word in _WORD_OPS):
            self._take()
            return self._matching(_Op(word))
        return None

    def _starts_operand(self) -> bool:
        token = self._next
        return (
            token.kind in ("number", "text")
            or token.says("(", "{", "-", "+")
            or (token.kind == "name" and token.text.lower() not in _WORD_OPS)
        )

    def _matching(self, op: _Op) -> _Op:
        if self._next.means("bool") and not (self._ahead().kind == "end" or self._ahead().says(")", ",", "{", "[")):
            self._take()
            op = replace(op, returns_bool=True)
        if self._next.means("on", "ignoring") and self._clause_follows():
            op = replace(op, on=self._take().text.lower() == "on", labels=self._labels())
        elif _variable(self._next) and self._ahead().kind == "name" and self._ahead().text.lower() not in _WORD_OPS:
            self._take()
            return replace(op, op=SENTINEL, labels=(SENTINEL,))
        if self._next.means("group_left", "group_right"):
            op = replace(op, many="left" if self._take().text.lower() == "group_left" else "right")
            op = replace(op, include=self._labels() if self._clause_follows(0) else ())
            if self._ate_word("prefix"):
                op = replace(op, include=(*op.include, SENTINEL))
                self._take()
        return self._fills(op)

    def _fills(self, op: _Op) -> _Op:
        while self._next.means("fill", "fill_left", "fill_right") and self._ahead().says("("):
            self._take()
            self._primary()
            op = replace(op, fills=True)
        return op

    def _clause_follows(self, by: int = 1) -> bool:
        """A list of labels, or a variable that stands for one."""
        token = self._ahead(by)
        return token.says("(") or _variable(token)

    def _labels(self) -> tuple[str, ...]:
        if _variable(self._next):
            self._take()
            return (SENTINEL,)
        self._expect("(")
        labels: list[str] = []
        while not self._ate(")"):
            token = self._take()
            if token.kind not in ("name", "text"):
                raise Unreadable(f"a label expected at {token.at}")
            labels.append(label_of(token.text))
            # A variable may bring its commas along.
            if not self._next.says(")") and not self._ate(",") and not _unknown(token.text + self._next.text):
                self._fail("',' or ')' expected")
        return tuple(labels)

    # operands

    def _primary(self) -> Node:
        token = self._next
        if token.kind == "number":
            return Number(number(self._take().text))
        if token.kind == "text":
            return Text(self._take().text)
        if token.says("("):
            return self._bracketed()
        if token.says("{"):
            return Selector(None, self._matchers())
        if token.kind == "name":
            return self._named()
        self._fail("an operand expected")
        raise AssertionError

    def _bracketed(self) -> Node:
        """`(a)`; MetricsQL also has `(a, b)`, the union of both."""
        self._expect("(")
        args = self._until_closed()
        return args[0] if len(args) == 1 else Call("union", args)

    def _until_closed(self) -> tuple[Node, ...]:
        args: list[Node] = []
        while not self._ate(")"):
            args.append(self.expression())
            if not self._next.says(")"):
                self._expect(",")
        return tuple(args)

    def _named(self) -> Node:
        name = self._next.text
        word = name.lower()
        follows = self._ahead()
        if word in ("inf", "nan") and not follows.says("(", "{", "["):
            self._take()
            return Number(float(word))
        if word in _WORD_OPS:
            self._fail("an operand expected")
        if follows.says("(") or (follows.means("by", "without") and self._clause_follows(2)):
            return self._applied()
        if word in AGGREGATES and _variable(follows) and self._ahead(2).says("("):
            return self._applied()
        self._take()
        return Selector(name, self._matchers() if self._next.says("{") else ())

    def _applied(self) -> Node:
        """A function or an aggregation: `f(…)`, `sum(…) by (…)`, `sum by (…) (…)`."""
        name = self._take().text
        clause = self._grouping()
        self._expect("(")
        args = self._until_closed()
        clause = clause or self._grouping()
        if name.lower() not in AGGREGATES and clause is None:
            return self._called(name, args)
        return self._aggregated(name, clause or (False, ()), args)

    def _called(self, name: str, args: tuple[Node, ...]) -> Node:
        if name in _NOT_FUNCTIONS or (args and all(isinstance(a, Text) for a in args)):
            raise Unreadable(f"{name[:40]!r} is not a function of PromQL, and its texts might be queries")
        if name in _OVER_TIME or name.endswith("_over_time"):
            args = tuple(a if isinstance(a, Selector | Subquery) or not _reads(a) else Subquery(a) for a in args)
        return Call(SENTINEL if _unknown(name) else name, args)

    def _aggregated(self, name: str, clause: tuple[bool, tuple[str, ...]], args: tuple[Node, ...]) -> Node:
        op = SENTINEL if _unknown(name) else name.lower()
        series = deque(args)
        takes = op in _WITH_PARAMETER or (len(args) > 1 and isinstance(args[0], Number | Text))
        param = series.popleft() if takes and series else None
        if not series:
            raise Unreadable(f"{name[:40]!r} without its series")
        if _variable(self._next) and not clause[1]:
            clause = (False, (SENTINEL,))  # `sum(m) $by`: the variable may be the clause
        expr = series[0] if len(series) == 1 else Call("union", tuple(series))
        aggregate = Aggregate(op, clause[0], clause[1], expr, param)
        return Aggregate("limitk", False, (), aggregate, self._primary()) if self._ate_word("limit") else aggregate

    def _grouping(self) -> tuple[bool, tuple[str, ...]] | None:
        if self._next.means("by", "without"):
            without = self._take().text.lower() == "without"
            return without, self._labels()
        if _variable(self._next) and self._ahead().says("("):
            self._take()
            return False, (SENTINEL,)
        return None

    # selectors

    def _matchers(self) -> tuple[tuple[Matcher, ...], ...]:
        self._expect("{")
        groups: list[list[Matcher]] = [[]]
        while not self._ate("}"):
            if self._next.means("or") and not (self._ahead().kind == "sign" and self._ahead().text in _MATCH_OPS):
                self._take()
                groups.append([])
            elif not self._ate(","):
                groups[-1].append(self._matcher())
                if not self._next.says("}", ",") and not self._next.means("or"):
                    self._fail("',' or '}' expected")
        if len(groups) > 1 and not all(groups):
            self._fail("a matcher expected beside 'or'")
        return tuple(tuple(group) for group in groups if group)

    def _matcher(self) -> Matcher:
        label = self._take()
        if label.kind not in ("name", "text"):
            raise Unreadable(f"a label expected at {label.at}")
        op = _MATCH_OPS.get(self._next.text) if self._next.kind == "sign" else None
        if op is None:
            return self._alone(label)
        self._take()
        value = self._take()
        if value.kind != "text":
            raise Unreadable(f"a text expected at {value.at}")
        return Matcher(label_of(label.text), op, value.text)

    @staticmethod
    def _alone(label: Token) -> Matcher:
        """`{"a.name"}`, or a variable that stands for a matcher."""
        if label.kind == "text":
            return Matcher("__name__", "=", label.text)
        if _unknown(label.text):
            return Matcher(SENTINEL, "=", SENTINEL)
        raise Unreadable(f"a matcher expected at {label.at}")

    # what follows an operand

    def _postfixed(self, node: Node) -> Node:
        ranged = False
        while True:
            if self._next.says("["):
                node = Subquery(node) if self._range() or not isinstance(node, Selector) else node
                ranged = True
            elif self._ate_word("offset"):
                self._moment()
            elif self._ate("@"):
                node = self._moved(node)
            elif self._ate_word("keep_metric_names"):
                node = replace(node, keeps_names=True) if isinstance(node, Call) else node
            elif ranged and _variable(self._next):
                self._take()  # only `offset` and `@` can follow a range
            elif not self._ate_word("anchored", "smoothed"):
                return node

    def _range(self) -> bool:
        """`[5m]`, `[5m:1m]`, `[step() * 2]`: nothing in it is read. Says whether it is a subquery's."""
        self._expect("[")
        start, level, steps = self._at, 0, False
        while level > 0 or not self._next.says("]"):
            token = self._take()
            level += token.says("(") - token.says(")")
            steps |= token.says(":")
            if not _in_duration(token):
                raise Unreadable(f"a duration expected at {token.at}")
        if self._at == start:
            self._fail("a duration expected")
        self._take()
        return steps

    def _moment(self) -> None:
        """What `offset` is followed by."""
        while self._ate("-", "+"):
            pass
        if not self._next.says("(") and not self._ahead().says("("):
            token = self._take()
            if token.kind != "number" and not _unknown(token.text):
                raise Unreadable(f"a duration expected at {token.at}")
            return
        if self._next.kind == "name":
            self._take()
        level = 0
        while True:
            token = self._take()
            level += token.says("(") - token.says(")")
            if not _in_duration(token):
                raise Unreadable(f"a duration expected at {token.at}")
            if level == 0:
                return

    def _moved(self, node: Node) -> Node:
        """`@ 1700000000`, `@ start()`; in MetricsQL any expression, of which nobody knows what it takes."""
        while self._ate("-", "+"):
            pass
        if _variable(self._next):
            self._take()
            return node
        moment = self._primary()
        known = isinstance(moment, Number) or (isinstance(moment, Call) and not moment.args)
        return node if known else Call("@", (node, moment))


def _in_duration(token: Token) -> bool:
    if token.kind == "number":
        return True
    if token.kind == "sign":
        return token.text in "+-*/%^(),:"
    return token.kind == "name" and (token.text.lower() in _IN_DURATIONS or _unknown(token.text))


class _Chain:
    """Operands and operators in a row, joined as tightly as each binds. With an unknown operator among them nobody knows how: then all are."""

    def __init__(self, chain: Sequence[Node | _Op | str]) -> None:
        self._chain = chain
        self._at = 0
        self._unknown = any(isinstance(each, _Op) and each.op == SENTINEL for each in chain)

    def joined(self) -> Node:
        return self._climb(0)

    def _climb(self, level: int) -> Node:
        left = self._unary()
        while self._at < len(self._chain):
            op = self._chain[self._at]
            binds = self._binds(op)
            if not isinstance(op, _Op) or binds < level:
                return left
            self._at += 1
            right = self._climb(binds + (binds != _POWER))
            left = (op.unknown() if self._unknown else op).joins(left, right)
        return left

    def _binds(self, op: Node | _Op | str) -> int:
        return 0 if self._unknown or not isinstance(op, _Op) else _BINDS[op.op]

    def _unary(self) -> Node:
        each = self._chain[self._at]
        self._at += 1
        if each == _NEGATE:
            node = self._climb(_POWER) if not self._unknown else self._unary()
            return Number(-node.value) if isinstance(node, Number) else Negated(node)
        assert not isinstance(each, _Op | str)
        return each
