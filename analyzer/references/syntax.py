"""One finished expression, without variables, to a tree. promql-parser reads it, in this process: text of unknown origin goes to a worker."""

from __future__ import annotations

import json
import re

import promql_parser

from analyzer.references.lenient import parsed
from analyzer.references.lexing import Unreadable
from analyzer.references.tokens import disagreement
from analyzer.references.tree import Dumped, Node, TooDeep, dumped, loaded, written
from flowgate.usage import NotUnderstood

MAX_LENGTH = 32 * 1024
MAX_DEPTH = 200
MAX_OPERATORS = 500
"""promql-parser crashes on deep nesting and is quadratic on long chains; a guard hit counts as not understood."""
_SKIPPED = re.compile(r"\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z)|#[^\n]*+", re.DOTALL)
_OPERATOR = re.compile(r"[-+]|[*/%^<>=!]+|\b(?:and|or|unless|atan2|default|if|ifnot)\b", re.IGNORECASE)
_BRACKET = re.compile(r"[()\[\]{}]")
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def guard(text: str) -> str | None:
    """Why an expression must not be given to the parser; None when it may be."""
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if len(text) <= MAX_DEPTH:
        return None  # too short for either of the others
    if _deepest(text) > MAX_DEPTH:
        return _TOO_DEEP
    # Signs are counted one by one: `- - -` and `---` nest alike.
    operators = sum(1 for _ in _OPERATOR.finditer(_SKIPPED.sub(" ", text)))
    return f"more than {MAX_OPERATORS} operators" if operators > MAX_OPERATORS else None


def _deepest(text: str) -> int:
    """Brackets in strings count too: what ends a string is the parser's to say."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


def parse_text(text: str) -> Node | NotUnderstood:
    """Never call this with text of unknown origin in a process that matters."""
    return node_of(text, answered(text))


def answered(text: str) -> str:
    """As JSON on one line, without tabs, the tree in lists as `loaded` takes them, or a text: why there is none."""
    return json.dumps(_read(text), separators=(",", ":"))


def node_of(text: str, answer: str) -> Node | NotUnderstood:
    """What was answered, unless the second opinion is another. Raises ValueError when the answer is none."""
    tree = json.loads(answer)
    if not isinstance(tree, str):
        node, reason = loaded(tree), disagreement(text, answer)
        return node if reason is None else NotUnderstood(reason, ())
    return NotUnderstood(tree, ())


def _read(text: str) -> Dumped | str:
    reason = guard(text)
    if reason is not None:
        return reason
    try:
        return _by_parser(text) or written(parsed(text))
    except Unreadable as error:
        return str(error)
    except (RecursionError, TooDeep):
        return _TOO_DEEP


def _by_parser(text: str) -> Dumped | None:
    try:
        tree = promql_parser.parse(text)
    except ValueError:
        return None
    return dumped(tree)
