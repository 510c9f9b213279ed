"""PromQL expressions → metric names, name patterns and labels.

Dashboards write variables into expressions; they are replaced by position, not by name: a range becomes `5m`, a piece of a name becomes part
of a pattern. What cannot be parsed is reported with every identifier in it, so that it protects what it might read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import promql_parser
import re2

MAX_LENGTH = 32 * 1024
MAX_DEPTH = 200
MAX_OPERATORS = 500
"""promql-parser crashes on deep nesting and is quadratic on long chains; a guard hit counts as not understood."""
MAX_VARIANTS = 64
MIN_LITERAL = 4
"""CONTRACTS: a pattern with fewer literal characters is a hiding blind spot, not a reference."""
MARK = "fgvar"
_SENTINEL = f"__{MARK}__"
_VARIABLE = re.compile(r"\$\{(?P<braced>[A-Za-z_]\w*)(?:[:.][^}]*)?\}|\$(?P<plain>[A-Za-z_]\w*)|\[\[(?P<old>[A-Za-z_]\w*)(?::\w+)?\]\]")
_NUMERIC = re.compile(r"(_ms|_s|__from|__to)$")
_IDENTIFIER = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_:.]+")
_KEYWORDS = frozenset(
    [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "offset",
        "bool",
        "start",
        "end",
        "inf",
        "nan",
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "stddev",
        "stdvar",
        "count",
        "count_values",
        "bottomk",
        "topk",
        "quantile",
        "limitk",
        "limit_ratio",
    ]
)


@dataclass(frozen=True, slots=True)
class Selected:
    """What one expression reads. `labels` by exact name or pattern; `*` holds labels that belong to no one metric."""

    metrics: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Why an expression was not understood, and the anchored patterns of every name it might read; none: any name."""

    reason: str
    touches: tuple[str, ...]


Answer = Selected | NotUnderstood
Parse = Callable[[Sequence[str]], Sequence[Answer]]
"""Parses finished PromQL (no variables), one answer each; an answer for every expression, whatever happens."""


def read_expressions(expressions: Sequence[tuple[str, Mapping[str, tuple[str, ...]]]], parse: Parse) -> list[Answer]:
    """One answer per (expression, options of its variables). All variants of all expressions go to the parser in one batch."""
    variants = [list(substitutions(text, options)) for text, options in expressions]
    flat = list(itertools.chain.from_iterable(itertools.chain.from_iterable(variants)))
    answers = iter(parse(flat))
    return [
        _first_of_all(text, [[next(answers) for _ in tries] for tries in each])
        for (text, _), each in zip(expressions, variants, strict=True)
    ]


def _first_of_all(text: str, each: list[list[Answer]]) -> Answer:
    """Of every choice of options the first spelling that parses, all joined; one choice not understood makes all of it so."""
    chosen: list[Selected] = []
    for tries in each:
        good = next((a for a in tries if isinstance(a, Selected)), None)
        if good is None:
            reason = next((a.reason for a in tries if isinstance(a, NotUnderstood)), "nothing to parse")
            return NotUnderstood(reason, touched(text))
        chosen.append(good)
    return _wide(joined(chosen), text)


def _wide(selected: Selected, text: str) -> Answer:
    """A pattern that says too little could mean any metric: that is not a reference."""
    wide = sorted(p for p in selected.patterns if literals(p) < MIN_LITERAL)
    if wide:
        return NotUnderstood(f"the name pattern {wide[0]!r} is too wide", tuple(wide))
    bad = sorted(p for p in selected.patterns if not valid_pattern(p))
    if bad:
        return NotUnderstood(f"the name pattern {bad[0]!r} is not RE2", touched(text))
    return selected


def joined(parts: Iterable[Selected]) -> Selected:
    metrics: set[str] = set()
    patterns: set[str] = set()
    labels: dict[str, frozenset[str]] = {}
    for part in parts:
        metrics |= part.metrics
        patterns |= part.patterns
        for name, said in part.labels.items():
            labels[name] = labels.get(name, frozenset()) | said
    return Selected(frozenset(metrics), frozenset(patterns), labels)


# --- variables ----------------------------------------------------------------------------------------------------------------------


def substitutions(text: str, options: Mapping[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """For each choice of options: spellings of the expression without variables, to be tried in order."""
    pieces = _pieces(text)
    named = sorted({p.name for p in pieces if p.place in ("name", "alone") and options.get(p.name)})
    choices = [options[name] for name in named]
    size = 1
    for choice in choices:
        size *= len(choice)
    if size > MAX_VARIANTS:
        named, choices = [], []
    for choice in itertools.product(*choices):
        yield _spellings(pieces, dict(zip(named, choice, strict=True)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text as it is (`name` empty), or a variable and where it stands."""

    text: str
    name: str = ""
    place: str = ""


_ALONE = (_SENTINEL, "5", "5m", "", "sum", "*", ">")


def _spellings(pieces: Sequence[_Piece], chosen: Mapping[str, str]) -> list[str]:
    """One spelling, or one for each thing that a variable standing alone might be."""
    loose = any(p.place == "alone" and p.name not in chosen for p in pieces)
    tries = _ALONE if loose else ("",)
    return ["".join(_spelled(p, chosen, alone) for p in pieces) for alone in tries]


def _spelled(piece: _Piece, chosen: Mapping[str, str], alone: str) -> str:
    if not piece.name:
        return piece.text
    if piece.place in ("name", "alone") and piece.name in chosen:
        return chosen[piece.name]
    return {
        "string": _SENTINEL,
        "range": "5m",
        "step": "1m",
        "number": "1",
        "matcher": f'{_SENTINEL}=~".*"',
        "label": _SENTINEL,
        "name": _SENTINEL,
        "alone": alone,
    }[piece.place]


def _pieces(text: str) -> list[_Piece]:
    """The expression cut at its variables, each with its place."""
    pieces: list[_Piece] = []
    at = 0
    for match, quote, bracket, brace in _scan(text):
        name = match["braced"] or match["plain"] or match["old"]
        pieces.append(_Piece(text[at : match.start()]))
        pieces.append(_Piece(match[0], name, _place(text, match, name, (quote, bracket, brace))))
        at = match.end()
    pieces.append(_Piece(text[at:]))
    return pieces


def _scan(text: str) -> Iterator[tuple[re.Match[str], str, bool, bool]]:
    """Every variable, and whether it stands in a string, a range or braces."""
    quote, bracket, brace, at = "", 0, 0, 0
    while at < len(text):
        match = _VARIABLE.match(text, at)
        if match:
            yield match, quote, bracket > 0, brace > 0
            at = match.end()
            continue
        char = text[at]
        if quote:
            at += 1 if char == "\\" and quote != "`" else 0
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote = char
        else:
            bracket += (char == "[") - (char == "]")
            brace += (char == "{") - (char == "}")
        at += 1


def _place(text: str, match: re.Match[str], name: str, inside: tuple[str, bool, bool]) -> str:
    quote, bracket, brace = inside
    before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
    if quote:
        return "string"
    if bracket:
        return "step" if before.endswith(":") else "range"
    if brace:
        return "matcher" if before[-1:] in "{," and after[:1] in ("}", ",") else "label"
    if re.search(r"\boffset\s*-?$", before):
        return "range"
    if _NUMERIC.search(name):
        return "number"
    glued = text[: match.start()][-1:] + text[match.end() :][:1]
    return "name" if re.search(r"[A-Za-z0-9_:$\]}]", glued.replace("}", "") if after[:1] == "}" else glued) else "alone"


# --- parsing ------------------------------------------------------------------------------------------------------------------------


def guard(text: str) -> str | None:
    """Why an expression must not be given to the parser; None when it may be."""
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH or text.count("-" * 50):
        return f"nested deeper than {MAX_DEPTH} levels"
    operators = len(re.findall(r"[-+*/%^<>=!]+|\b(?:and|or|unless)\b", text))
    return f"more than {MAX_OPERATORS} operators" if operators > MAX_OPERATORS else None


def parse_one(text: str) -> Answer:
    """Parses one finished expression in this process. Use a `PromqlWorker` for text of unknown origin."""
    reason = guard(text)
    if reason is not None:
        return NotUnderstood(reason, touched(text))
    try:
        tree = promql_parser.parse(text)
    except ValueError as error:
        return NotUnderstood(str(error).splitlines()[0][:200], touched(text))
    metrics: set[str] = set()
    patterns: set[str] = set()
    labels: dict[str, set[str]] = {}
    _walk(tree, metrics, patterns, labels, frozenset())
    return Selected(frozenset(metrics), frozenset(patterns), {n: frozenset(v) for n, v in labels.items()})


def _walk(node: Any, metrics: set[str], patterns: set[str], labels: dict[str, set[str]], around: frozenset[str]) -> None:
    """Collects names, patterns and labels; `around` are labels that the operators above name."""
    match type(node).__name__:
        case "VectorSelector":
            _selector(node, metrics, patterns, labels, around)
        case "MatrixSelector":
            _selector(node.vector_selector, metrics, patterns, labels, around)
        case "AggregateExpr":
            said = frozenset(node.modifier.labels) if node.modifier else frozenset[str]()
            _walk(node.expr, metrics, patterns, labels, around | said)
            if node.param is not None:
                _walk(node.param, metrics, patterns, labels, around)
        case "BinaryExpr":
            said = _matching(node.modifier)
            _walk(node.lhs, metrics, patterns, labels, around | said)
            _walk(node.rhs, metrics, patterns, labels, around | said)
        case "Call":
            said = _named_in_call(node)
            for argument in node.args:
                _walk(argument, metrics, patterns, labels, around | said)
        case "NumberLiteral" | "StringLiteral":
            return
        case _:
            _walk(node.expr, metrics, patterns, labels, around)


def _matching(modifier: Any) -> frozenset[str]:
    if modifier is None:
        return frozenset()
    matching = modifier.matching.labels if modifier.matching else []
    return frozenset(matching) | frozenset(getattr(modifier, "group_labels", None) or [])


def _named_in_call(node: Any) -> frozenset[str]:
    """label_replace and label_join name labels in their string arguments."""
    strings = [a.val for a in node.args if type(a).__name__ == "StringLiteral"]
    match node.func.name:
        case "label_replace":
            return frozenset(s for s in (strings[0:1] + strings[2:3]) if s)
        case "label_join":
            return frozenset(s for s in strings[0:1] + strings[2:] if s)
        case "sort_by_label" | "sort_by_label_desc":
            return frozenset(strings)
        case _:
            return frozenset()


def _selector(node: Any, metrics: set[str], patterns: set[str], labels: dict[str, set[str]], around: frozenset[str]) -> None:
    matchers = [*node.matchers.matchers, *itertools.chain.from_iterable(node.matchers.or_matchers)]
    said = {m.name for m in matchers if m.name not in ("__name__", _SENTINEL)} | around
    if any(m.name == _SENTINEL for m in matchers):
        said.add("*")
    names, found = _names(node.name, [m for m in matchers if m.name == "__name__"])
    metrics |= names
    patterns |= found
    for name in names | found:
        labels.setdefault(name, set()).update(said)


def _names(name: str | None, matchers: Sequence[Any]) -> tuple[set[str], set[str]]:
    """Exact names and patterns that a selector reads. Without any name it may read every metric."""
    if name:
        return _name_or_pattern(name)
    positive = [m for m in matchers if str(m.op) in ("MatchOp.Equal", "MatchOp.Re")]
    if not positive:
        return set(), {".*"}
    names: set[str] = set()
    patterns: set[str] = set()
    for matcher in positive:
        more, found = _name_or_pattern(matcher.value) if str(matcher.op) == "MatchOp.Equal" else _alternatives(matcher.value)
        names |= more
        patterns |= found
    return names, patterns


def _name_or_pattern(value: str) -> tuple[set[str], set[str]]:
    if _SENTINEL not in value:
        return {value}, set()
    return set(), {".*".join(re.escape(piece) for piece in value.split(_SENTINEL))}


def _alternatives(value: str) -> tuple[set[str], set[str]]:
    """`a|b` names two metrics; anything else is a pattern."""
    plain = value.removeprefix("(").removesuffix(")") if value.startswith("(") and value.endswith(")") else value
    parts = plain.removeprefix("?:").split("|")
    if _SENTINEL not in value and all(_PLAIN_NAME.fullmatch(p) and "." not in p for p in parts):
        return set(parts), set()
    return set(), {value.replace(_SENTINEL, ".*")}


def literals(pattern: str) -> int:
    """How many characters of a pattern stand for themselves."""
    return len(re.sub(r"\\.|\[[^]]*\]|\{[^}]*\}|[.*+?^$|()]", "", pattern))


def valid_pattern(pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True


def touched(text: str) -> tuple[str, ...]:
    """Second opinion on text that does not parse: an anchored pattern for every identifier outside strings; none found: any name."""
    quoted = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", " ", text)
    with_variables = _VARIABLE.sub(_SENTINEL, quoted)
    found = {m[0] for m in _IDENTIFIER.finditer(with_variables)} - _KEYWORDS
    patterns = {".*".join(re.escape(p) for p in name.split(_SENTINEL)) for name in found}
    strings = " ".join(re.findall(r"__name__\s*(?:=~?|!~|!=)\s*[\"'`]([^\"'`]*)", text))
    if strings or any(literals(p) < MIN_LITERAL and ".*" in p for p in patterns):
        return ()
    return tuple(sorted(patterns))
