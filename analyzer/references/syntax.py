"""One finished expression, without variables, to a tree. promql-parser reads it, in this process: text of unknown origin goes to a worker."""

from __future__ import annotations

import re

import promql_parser

from analyzer.references.tree import Dumped, Node, dumped, loaded
from flowgate.usage import NotUnderstood

MAX_LENGTH = 32 * 1024
MAX_DEPTH = 200
MAX_OPERATORS = 500
"""promql-parser crashes on deep nesting and is quadratic on long chains; a guard hit counts as not understood."""
_SKIPPED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*", re.DOTALL)
_OPERATOR = re.compile(r"[-+*/%^<>=!]+|\b(?:and|or|unless|atan2|default|if|ifnot)\b", re.IGNORECASE)
_CALL = re.compile(r"[\w:]\s*\(")


def guard(text: str) -> str | None:
    """Why an expression must not be given to the parser; None when it may be."""
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    operators = sum(len(m[0]) if m[0][0] in "-+" else 1 for m in _OPERATOR.finditer(text))
    return f"more than {MAX_OPERATORS} operators" if operators > MAX_OPERATORS else None


def parse_text(text: str) -> Node | NotUnderstood:
    """Never call this with text of unknown origin in a process that matters."""
    answer = read_dumped(text)
    return NotUnderstood(answer, ()) if isinstance(answer, str) else loaded(answer)


def read_dumped(text: str) -> Dumped | str:
    """The tree as `dumped` writes it, or why there is none."""
    reason = guard(text)
    if reason is not None:
        return reason
    try:
        return dumped(promql_parser.parse(text))
    except ValueError as error:
        return str(error).splitlines()[0][:200]
