"""The words of PromQL and MetricsQL, cut leniently: what promql-parser does not know is read from these."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from analyzer.references.tree import SENTINEL

LONGEST_NUMBER = 100
Kind = Literal["name", "number", "text", "sign", "end"]


class Unreadable(Exception):
    """The text is in no language that is read here; the message says where it stops being so."""


@dataclass(frozen=True, slots=True)
class Token:
    """`text` as written, but of a string its value. `at` is where it begins."""

    kind: Kind
    text: str
    at: int = 0

    def says(self, *signs: str) -> bool:
        return self.kind == "sign" and self.text in signs

    def means(self, *words: str) -> bool:
        return self.kind == "name" and self.text.lower() in words


_SPACE = r"(?P<space>(?:\s|#[^\n]*+)++)"
_STRING = r"(?P<string>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`)"
_NUMBER = r"(?P<number>0[xX][0-9A-Fa-f_]+|(?:\d|\.\d)(?:[eE][+-]\d|[\w.])*)"
_NAME = r"(?P<name>(?:[^\W\d]|:|\\.)(?:[\w.:]|\\.)*)"
_BARE_NAME = r"(?P<name>[^\W\d]\w*)"
_SIGN = r"(?P<sign>==|!=|<=|>=|=~|!~|</|>/|[-+*/%^<>=(){}\[\],:@])"
_CODE = re.compile("|".join((_SPACE, _STRING, _NUMBER, _NAME, _SIGN)), re.DOTALL)
_RANGE = re.compile("|".join((_SPACE, _STRING, _NUMBER, _BARE_NAME, _SIGN)), re.DOTALL)
"""In `[5m:1m]` a colon is no part of a name."""


def tokens_of(text: str) -> list[Token]:
    """The tokens, and one of kind `end`."""
    found: list[Token] = []
    at = brackets = 0
    while at < len(text):
        match = (_RANGE if brackets else _CODE).match(text, at)
        if match is None:
            raise Unreadable(f"unexpected character {text[at]!r} at {at}")
        token = _token(match)
        at = match.end()
        if token is not None:
            found.append(token)
            brackets += token.says("[") - token.says("]")
    found.append(Token("end", "", len(text)))
    return found


def _token(match: re.Match[str]) -> Token | None:
    match match.lastgroup:
        case "string":
            return Token("text", unquoted(match[0]), match.start())
        case "number":
            return Token("number", match[0], match.start())
        case "name":
            return Token("name", re.sub(r"\\(.)", r"\1", match[0]), match.start())
        case "sign":
            return Token("sign", match[0], match.start())
        case _:
            return None


_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'", "`": "`"}


def unquoted(literal: str) -> str:
    """The value of a string. An escape that Prometheus does not know stays as it is: most are a regex written for another quoting."""
    return literal[1:-1] if literal[0] == "`" else _ESCAPE.sub(_unescaped, literal[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits or match[4]:
        code = int(digits, 16) if digits else int(match[4], 8)
        return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else match[0]
    return _PLAIN.get(match[5], match[0])


_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|[smhdwyi])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000, "i": math.nan}
_SIZED = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([KMGT]i?)B?", re.IGNORECASE)
_SIZES = {"k": 1e3, "ki": 2.0**10, "m": 1e6, "mi": 2.0**20, "g": 1e9, "gi": 2.0**30, "t": 1e12, "ti": 2.0**40}


def number(text: str) -> float:
    """The value of a number, a duration in seconds, or of MetricsQL's sizes (`5Mi`); NaN where a variable is part of it.

    `i` is a step, whose length is known at run time only. `5m` is five minutes, `5M` five million.
    """
    if SENTINEL in text:
        return math.nan
    if len(text) > LONGEST_NUMBER:
        raise Unreadable(f"not a number: {text[:40]!r}")
    durations = list(_DURATION.finditer(text))
    if "".join(m[0] for m in durations) == text:
        return math.fsum(float(m[1]) * _SECONDS[m[2]] for m in durations)
    if sized := _SIZED.fullmatch(text):
        return float(sized[1]) * _SIZES[sized[2].lower()]
    plain = text.replace("_", "")
    try:
        return float(int(plain, 0)) if plain[:2].lower() in ("0x", "0b", "0o") else float(plain)
    except (ValueError, OverflowError):
        raise Unreadable(f"not a number: {text[:40]!r}") from None
