"""Patterns over metric names: anchored RE2, as in Prometheus. A finite one is a list of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import re2

from analyzer.references.tree import SENTINEL, cut_at_sentinels

MIN_LITERALS = 4
"""CONTRACTS: a pattern with fewer literal characters is a hiding blind spot, not a reference."""
MAX_NAMES = 64
MAX_LENGTH = 4096
"""The longest pattern worth keeping; lists of names are told apart before."""
ANY_NAME = ".*"
_LITERAL = re.compile(r"[\w:\-/ ]|\\[^\w\s]")
_CLASS = re.compile(r"\[([\w:]+)\]")
_TOKEN = re.compile(r"\\.|\[\^?\]?[^]]*(?:\]|\Z)|[()|]", re.DOTALL)
_CHANGES = re.compile(r"\(\?(?!:|P?<)|\\Q")
_DEEPEST = 20
_NOT_LITERAL = re.compile(r"\(\?(?:P?<\w*>|[a-zA-Z-]*:?)|\\.|\[[^]]*\]|\{[^}]*\}|[.*+?^$|()]")


def literals(pattern: str) -> int:
    """How many characters of a pattern stand for themselves."""
    return len(_NOT_LITERAL.sub("", pattern))


def too_wide(pattern: str) -> bool:
    return literals(pattern) < MIN_LITERALS


def valid(pattern: str) -> bool:
    if len(pattern) > MAX_LENGTH:
        return False
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except (re2.error, UnicodeError):
        return False
    return True


def of_name(name: str) -> str:
    """The pattern of a name of which variables are pieces."""
    return _opened(name, re.escape)


def _opened(text: str, literal: Callable[[str], str]) -> str:
    return "".join(literal(piece) + (held or "") for piece, held in cut_at_sentinels(text))


def told_apart(regex: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names and the patterns that a matcher `__name__=~regex` stands for: `a|b_(c|d)|e.*` are three names and a pattern."""
    exact: set[str] = set()
    open_ended: set[str] = set()
    for branch in _branches(regex):
        names = finite(branch)
        if names is None:
            open_ended.add(_opened(branch, str))
        else:
            exact |= names
    if len(exact) > MAX_NAMES:
        return frozenset(), frozenset({_opened(regex, str)})
    return frozenset(exact - {""}), frozenset(open_ended)


def finite(regex: str) -> frozenset[str] | None:
    """Every text a regex matches, when these are few and it is simple enough to tell."""
    if SENTINEL in regex:
        return None
    try:
        reader = _Finite(regex)
        found = reader.alternatives(0)
    except _Open:
        return None
    return frozenset(found) if reader.at == len(regex) else None


class _Open(Exception):
    """Matches more than can be listed, or is written in a way that is not read here."""


class _Finite:
    """Reads the regex from left to right; every method returns all texts that what it read matches."""

    def __init__(self, regex: str) -> None:
        self._regex = regex
        self.at = 0

    def alternatives(self, depth: int) -> set[str]:
        if depth > _DEEPEST:
            raise _Open
        found = self._sequence(depth)
        while self._ate("|"):
            found |= self._sequence(depth)
        return _few(found)

    def _sequence(self, depth: int) -> set[str]:
        found = {""}
        while self.at < len(self._regex) and self._regex[self.at] not in "|)":
            piece = self._piece(depth)
            if self._ate("?"):
                piece = piece | {""}
            found = _few({left + right for left in found for right in piece})
        return found

    def _piece(self, depth: int) -> set[str]:
        if self._ate("(?:") or (not self._regex.startswith("(?", self.at) and self._ate("(")):
            found = self.alternatives(depth + 1)
            if not self._ate(")"):
                raise _Open
            return found
        if choice := _CLASS.match(self._regex, self.at):
            self.at = choice.end()
            return set(choice[1])
        if literal := _LITERAL.match(self._regex, self.at):
            self.at = literal.end()
            return {literal[0][-1]}
        raise _Open

    def _ate(self, text: str) -> bool:
        if not self._regex.startswith(text, self.at):
            return False
        self.at += len(text)
        return True


def _few(found: set[str]) -> set[str]:
    if len(found) > MAX_NAMES:
        raise _Open
    return found


def _branches(regex: str, depth: int = 0) -> Iterator[str]:
    """The alternatives of a regex, also of one that stands in brackets as a whole, each without the anchors that hold anyway."""
    for part in _split(regex):
        bare = part.removeprefix("^")
        bare = bare[:-1] if bare.endswith("$") and not bare.endswith("\\$") else bare
        inner = _inside(bare)
        if inner is None or depth > _DEEPEST:
            yield bare
        else:
            yield from _branches(inner, depth + 1)


def _split(regex: str) -> list[str]:
    """The regex cut at the bars that are in no brackets; uncut where flags or quoting change what a bar means further on."""
    if _CHANGES.search(regex):
        return [regex]
    parts, level, start = [""], 0, 0
    for token in _TOKEN.finditer(regex):
        level += (token[0] == "(") - (token[0] == ")")
        if token[0] == "|" and level == 0:
            parts[-1] = regex[start : token.start()]
            parts.append("")
            start = token.end()
    parts[-1] = regex[start:]
    return parts


def _inside(regex: str) -> str | None:
    """What stands in the brackets that begin and end the regex."""
    opening = next((o for o in ("(?:", "(") if regex.startswith(o)), None)
    if opening is None or (opening == "(" and regex.startswith("(?")):
        return None
    level = 0
    for token in _TOKEN.finditer(regex):
        level += (token[0] == "(") - (token[0] == ")")
        if level == 0:
            return regex[len(opening) : -1] if token.end() == len(regex) else None
    return None
