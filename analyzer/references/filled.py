"""What a variable that a query fills may hold: names of metrics that match a pattern, numbers alone, or anything.

Grafana asks Prometheus when the dashboard opens, so the values are no part of the document. But `metrics(re)` gives names that match `re`;
what stands in `query_result` behind the labels of a series is a number; and values that were stored, all of them numbers, tell what kind of
values these are. Anything else may be any name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import re2

from analyzer.references.patterns import ANY_NAME, MAX_NAMES, valid
from analyzer.references.queries import Json
from analyzer.references.shapes import mapping, mappings, scalar
from analyzer.references.targets import Scope, language_of, with_values
from analyzer.references.variables import CALL, EVERYTHING, query_text

ANYTHING = (ANY_NAME,)
NUMBERS: tuple[str, ...] = ()
"""No names: what it holds is a number, or nothing that a query could be made with."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf|nan)")
_QUOTES = "\"'"


def held(variables: list[Json], scope: Scope) -> Mapping[str, tuple[str, ...]]:
    """Of every variable that a query fills: anchored patterns of the names that it may hold; none: numbers only."""
    asked = [(scalar(v.get("name")), v) for v in variables if v.get("type") in (None, "", "query")]
    return {name: _held(variable, scope) for name, variable in asked if name}


def _held(variable: Json, scope: Scope) -> tuple[str, ...]:
    text, stored = query_text(variable), _stored(variable)
    regex = str(variable.get("regex") or "")
    if _DIGITS.fullmatch(regex) or (stored and all(map(_NUMBER.fullmatch, stored))):
        return NUMBERS
    call = CALL.fullmatch(text)
    if call is None or language_of(scope.source(variable.get("datasource")), text) not in ("promql", ""):
        return ANYTHING
    if call[1] == "query_result":
        return _value_of_a_series(regex, stored)
    return _with(_NAMES[call[1]](call[2].strip(), scope), stored) if call[1] in _NAMES and _chooses(regex) else ANYTHING


def _stored(variable: Json) -> list[str]:
    """Values that the document remembers: Grafana uses them until it has asked, or for good."""
    chosen = mapping(variable.get("current")).get("value")
    listed = [o.get("value") for o in mappings(variable.get("options"))]
    values = [scalar(v) for v in [*(chosen if isinstance(chosen, list) else [chosen]), *listed, variable.get("allValue")]]
    return [v for v in dict.fromkeys(values) if v and v != EVERYTHING]


def _with(pattern: str | None, stored: list[str]) -> tuple[str, ...]:
    """Stored names that the pattern does not match are held too."""
    if pattern is None or not valid(pattern):
        return ANYTHING
    names = [v for v in stored if not re2.fullmatch(pattern, v)]
    return (pattern, *map(re.escape, names)) if len(names) <= MAX_NAMES else ANYTHING


# --- names ------------------------------------------------------------------------------------------------------------------------------


def _metrics(inner: str, scope: Scope) -> str | None:
    """Grafana searches the pattern anywhere in a name."""
    return f".*(?:{with_values(inner.strip(_QUOTES), scope.variables, str)}).*"


def _label_values(inner: str, scope: Scope) -> str | None:
    """The names of a selector, where it says them in one way; values of other labels may be names of any metric."""
    selector, _, label = inner.rpartition(",")
    if label.strip().strip(_QUOTES) != "__name__":
        return None
    name, _, matchers = selector.strip().partition("{")
    if "__name__" not in matchers:
        return re.escape(name.strip()) if _NAME.fullmatch(name.strip()) else None
    said = _NAMED.findall(matchers)
    if name.strip() or len(said) != 1 or matchers.count("__name__") != 1 or _ALTERNATIVE.search(matchers):
        return None
    return with_values(said[0][1][1:-1], scope.variables, str if said[0][0] == "=~" else re.escape)


_NAME = re.compile(r"[^\W\d][\w:]*")
_NAMED = re.compile(r"(?:^|,)\s*__name__\s*(=~|=)\s*(\"[^\"\\]*\"|'[^'\\]*')")
_ALTERNATIVE = re.compile(r"\bor\b")
_NAMES = {"metrics": _metrics, "label_values": _label_values}


# --- what the regex leaves ----------------------------------------------------------------------------------------------------------------

_GROUP = re.compile(r"\((?!\?(?![P<])|\?<[=!])")
_ALL = re.compile(r"/?\^?\(\.[*+]\)\$?/?")
_FEW_DIGITS = r"(?:\\d|\[(?:0-9|\\d|\\?\.)+\]|\\\.|\d)(?:[+*?]|\{\d*,?\d*\})?"
_DIGITS = re.compile(rf"[^()\\|]*(?:\\.[^()\\|]*)*\((?:\?P?<\w+>)?(?:{_FEW_DIGITS})+\)[^()\\|]*(?:\\.[^()\\|]*)*")
"""A regex with one group, of which digits and dots are all that it can match."""
_SPACE = r"(?: |\\s)[+*]?"
_WORD = r"(?:\.[*+]|\[\^ \][*+]|\[\^\\s\][*+]|\\S[*+])"
_BEHIND_LABELS = re.compile(
    rf"/?\^?(?:\.[*+](?:\\?\}})?{_SPACE}\({_WORD}\)|\\?\{{?\\?\}}{_SPACE}\(\.[*+]\)){_SPACE}(?:\.|\\d|\[0-9\])[*+]\$?/?"
)
"""In `m{a="b"} 5 1700000000000` it finds the 5: behind as much of the labels as it can take, or behind a bracket and with all that may be
labels still, come a space, the group, a space and the rest. A group that held labels would hold quotes, and be no name."""


def _chooses(regex: str) -> bool:
    """Whether a variable's regex leaves out values, and leaves of the others all."""
    return not _GROUP.search(re.sub(r"\\.", "", regex)) or _ALL.fullmatch(regex) is not None


def _value_of_a_series(regex: str, stored: list[str]) -> tuple[str, ...]:
    """Of `query_result`: a scalar as it is; a series as a text, `m{a="b"} 5 1700000000000`, which as a whole is no expression."""
    remembers_names = any(not _NUMBER.fullmatch(v) and "{" not in v for v in stored)
    return NUMBERS if (_chooses(regex) or _BEHIND_LABELS.fullmatch(regex)) and not remembers_names else ANYTHING
