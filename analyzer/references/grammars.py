"""What the readers of small languages share: bounds on a text before it is parsed, and grammars that answer or say why not.

Grammars are LALR and their actions fold a text while it is read, so neither its length nor its nesting recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lark import Lark, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from analyzer.references.shapes import might_name

MAX_CHARS = 32 * 1024
MAX_DEPTH = 200
"""As for PromQL (notes/usage 2.1): far above what people write, far below what hurts."""
MAX_BRACES = 1_000
"""Beyond it the search for names in a text takes longer than its size allows."""
VARIABLE = r"\$\{[^{}]*\}|\$\w+|\[\[\w+(?::\w+)?\]\]"
"""A variable of a dashboard: `$x`, `${x}`, `${x:format}`, `[[x]]`."""
_VARIABLE = re.compile(VARIABLE)
_NAME = re.compile(r"\w+")
_BRACKETS = re.compile(r"[()\[\]{}]")
_OPENING = "([{"


@dataclass(frozen=True, slots=True)
class Misread:
    """Why a text is not of a language."""

    reason: str


def grammar(text: str, actions: Transformer[Any, Any], start: Sequence[str] = ("start",)) -> Lark:
    return Lark(text, parser="lalr", transformer=actions, maybe_placeholders=False, start=list(start))


def out_of_bounds(text: str) -> str | None:
    """Why a text must not be parsed. Brackets in strings count too: a text is refused rather too early than too late."""
    if len(text) > MAX_CHARS:
        return f"longer than {MAX_CHARS} characters"
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth = depth + 1 if bracket[0] in _OPENING else max(depth - 1, 0)
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH}"
    return None


def parsed(language: Lark, text: str, start: str = "start") -> Any:
    """What the grammar's actions make of a text, or `Misread`."""
    refusal = out_of_bounds(text)
    if refusal is not None:
        return Misread(refusal)
    try:
        return language.parse(text, start)
    except UnexpectedInput as error:
        return Misread(_reason(error))


def _reason(error: UnexpectedInput) -> str:
    place = f"line {error.line}, column {error.column}"
    match error:
        case UnexpectedToken() if error.token.type == "$END":
            return "ends too early"
        case UnexpectedToken():
            return f"{str(error.token)[:40]!r} is not expected at {place}"
        case UnexpectedCharacters():
            return f"{error.char!r} is not expected at {place}"
        case _:
            return "ends too early"


def protected(text: str) -> tuple[str, ...]:
    """Patterns of the names that a text which is not understood may hold; any, where it is too long or too tangled to look through."""
    return () if len(text) > MAX_CHARS or text.count("{") > MAX_BRACES else might_name(text)


def variables_in(text: str) -> list[str]:
    """Names of the variables in a text; `${x:format}` and `$x.value` are variable x."""
    return [name[0] for found in _VARIABLE.findall(text) if (name := _NAME.search(found))]


def apart(text: str) -> list[str]:
    """A text cut into what is written (even places) and variables (odd places)."""
    parts: list[str] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts += [text[at : found.start()], found[0]]
        at = found.end()
    return [*parts, text[at:]]


def union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def unquoted(text: str) -> str:
    """What a quoted text says; of escapes only those that every language here has."""
    if len(text) < 2 or text[0] not in "\"'`" or text[-1] != text[0]:
        return text
    inner = text[1:-1]
    return inner if text[0] == "`" else re.sub(r"\\([\\\"'])", r"\1", inner)
