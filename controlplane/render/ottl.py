r"""OTTL as values: expressions are built, then written once. A name is a literal and can be nothing else.

The grammar is that of `pkg/ottl/grammar.go` (v0.149.0): its lexer takes `"(\\.|[^\\"])*"` as a string and reads it back with Go's
`strconv.UnquoteChar`, rune by rune.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal as Word
from typing import assert_never

from flowgate.errors import Invalid, Problem

MAX_NAME = 512
"""Characters of one name: the tap refuses longer ones, so none can be meant."""


@dataclass(frozen=True, slots=True)
class Path:
    """Such as `metric.name`, or `datapoint.attributes["a"]` where `key` is given."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Literal:
    """A value; None is OTTL's `nil`."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of values."""

    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A converter (`String(…)`) or an editor (`set(…)`)."""

    function: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    left: Value
    operator: Word["==", "!=", "<", "<=", ">", ">="]
    right: Value


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


Value = Path | Literal | Listed | Call
Condition = Compare | And | Or | Not | Call


def eq(left: Value, value: str | int | float | bool | None) -> Compare:
    return Compare(left, "==", Literal(value))


def one_of(left: Value, values: Sequence[str]) -> Condition:
    """Equality with one of these: a list of equalities, never a pattern."""
    parts = tuple(eq(left, v) for v in values)
    return parts[0] if len(parts) == 1 else Or(parts)


def all_of(*parts: Condition) -> Condition:
    return parts[0] if len(parts) == 1 else And(parts)


def call(function: str, *arguments: Value | str | int | float) -> Call:
    return Call(function, tuple(Literal(a) if isinstance(a, str | int | float) else a for a in arguments))


def text(expression: Value | Condition) -> str:
    """As OTTL reads it; every compound part of a condition stands in parentheses."""
    match expression:
        case Path(name, key):
            return name if key is None else f"{name}[{quoted(key)}]"
        case Literal(value):
            return _literal(value)
        case Listed(items):
            return f"[{', '.join(map(text, items))}]"
        case Call(function, arguments):
            return f"{function}({', '.join(map(text, arguments))})"
        case Compare(left, operator, right):
            return f"{text(left)} {operator} {text(right)}"
        case And(parts):
            return " and ".join(map(_inner, parts))
        case Or(parts):
            return " or ".join(map(_inner, parts))
        case Not(part):
            return f"not ({text(part)})"
        case _:
            assert_never(expression)


def _inner(part: Condition) -> str:
    return f"({text(part)})" if isinstance(part, And | Or) else text(part)


def statement(editor: Call, where: Condition | None = None) -> str:
    return text(editor) if where is None else f"{text(editor)} where {text(where)}"


def _literal(value: str | int | float | bool | None) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int():
            return str(value)
        case float():
            return number(value)


def number(value: float) -> str:
    """A float has a point in OTTL: `1e-05` would be read as a name."""
    if not math.isfinite(value):
        raise Invalid("a number is not finite", (Problem("number", repr(value)),))
    mantissa, mark, exponent = repr(value).partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{mark}{exponent}"


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def not_a_name(text: str) -> str | None:
    """Why no string literal can hold a text: half a surrogate pair stands for bytes that are not UTF-8, and a name is not that long."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return f"not valid UTF-8: {ascii(text)[:200]}"
    return f"at most {MAX_NAME} characters, not {len(text)}" if len(text) > MAX_NAME else None


def quoted(name: str) -> str:
    """A string literal: quotes, backslashes and everything that is not printable escaped as Go does. Raises `Invalid` for what is no name."""
    why = not_a_name(name)
    if why:
        raise Invalid("a name cannot be written", (Problem("name", why),))
    return f'"{"".join(map(_escaped, name))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- reading back, for those who check ---------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?P<bytes>0x[a-fA-F0-9]+)|(?P<float>(?:\d+\.\d*|\d*\.\d+)(?:[eE][-+]?\d+)?)|(?P<int>\d+)"
    r'|(?P<string>"(?:\\.|[^\\"])*")|(?P<word>[A-Za-z][A-Za-z0-9_]*)|(?P<operator>==|!=|>=|<=|>|<|\+|-|/|\*|=)'
    r"|(?P<punct>[(){}:,.\[\]])|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


def tokens(source: str) -> Iterator[Token]:
    """Somebody's OTTL cut into tokens, by the rules of its lexer (words of two cases are one token here); `other`: no token of OTTL."""
    for found in _TOKENS.finditer(source):
        if found.lastgroup and found.lastgroup != "space":
            yield Token(found.lastgroup, found[0])


def functions(source: str) -> frozenset[str]:
    """Names of the functions that some OTTL calls."""
    listed = list(tokens(source))
    words = (a.text for a, b in pairwise(listed) if a.kind == "word" and b.text == "(")
    return frozenset(words) - {"and", "or", "not", "where"}
