"""Texts that a matcher's regex matches: enough of the syntax for the regexes of dashboards, checked by RE2 itself."""

from __future__ import annotations

import random
from collections.abc import Mapping

import re2

_COMMON = ("", "a", "b", "ab", "1", "200", "500", "GET", "10.0.0.1:80", "node-1", "eth0", "sda", "/", "ext4", "default", "__fgvar__")
_ESCAPES = {"d": "0123456789", "w": "abc1", "s": " ", "D": "ab", "W": "-.", "S": "ab"}
_REPEATS: Mapping[str, tuple[int, int]] = {"*": (0, 2), "+": (1, 3), "?": (0, 1)}


def full_match(pattern: str, text: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"(?s:{pattern})", options).fullmatch(text) is not None
    except re2.error:
        return False


def matching(pattern: str, rng: random.Random, wanted: int = 3) -> list[str]:
    """Some texts that the whole of `pattern` matches; none where it is beyond this reader and the common texts."""
    found = {text for _ in range(8 * wanted) if full_match(pattern, text := _drawn(pattern, rng))}
    if not found:
        found = {text for text in _COMMON if full_match(pattern, text)}
    return sorted(found, key=lambda text: (not text, len(text), text))[:wanted]


def _drawn(pattern: str, rng: random.Random) -> str:
    try:
        return _Sampler(pattern, rng).alternatives()
    except IndexError:
        return ""


class _Sampler:
    """Reads a regex from left to right and draws a text for what it read."""

    def __init__(self, pattern: str, rng: random.Random) -> None:
        self.pattern, self.rng, self.at = pattern, rng, 0

    def alternatives(self) -> str:
        branches = [self._branch()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._branch())
        return self.rng.choice(branches)

    def _peek(self) -> str:
        return self.pattern[self.at] if self.at < len(self.pattern) else ""

    def _take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    def _branch(self) -> str:
        text = ""
        while self._peek() and self._peek() not in "|)":
            start = self.at
            self._atom()
            end = self.at
            low, high = self._repeat()
            for _ in range(self.rng.randint(low, high)):
                self.at, after = start, self.at
                text += self._atom()
                self.at = max(after, end)
        return text

    def _repeat(self) -> tuple[int, int]:
        sign = self._peek()
        if sign in _REPEATS and sign:
            self.at += 1
            low, high = _REPEATS[sign]
        elif sign == "{":
            inside = self.pattern[self.at + 1 : self.pattern.index("}", self.at)] if "}" in self.pattern[self.at :] else "1"
            self.at += len(inside) + 2
            low = int(inside.split(",")[0] or 0) if inside.replace(",", "").isdigit() else 1
            high = low
        else:
            return 1, 1
        if self._peek() == "?":
            self.at += 1
        return low, high

    def _atom(self) -> str:
        char = self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case ".":
                return self.rng.choice("abxy1")
            case "^" | "$":
                return ""
            case _:
                return char

    def _group(self) -> str:
        if self._peek() == "?":
            while self._take() not in ":>":
                pass
        text = self.alternatives()
        self.at += 1
        return text

    def _class(self) -> str:
        negated = self._peek() == "^"
        self.at += negated
        chars = ""
        while self._peek() != "]" or not chars:
            char = self._take()
            if char == "\\":
                char = self._escape()
            elif self._peek() == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                char += self._take()
            chars += char
        self.at += 1
        return self.rng.choice([c for c in "zq7-" if c not in chars] or ["~"]) if negated else self.rng.choice(chars)

    def _escape(self) -> str:
        char = self._take()
        return self.rng.choice(_ESCAPES[char]) if char in _ESCAPES else char
