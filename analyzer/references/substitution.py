"""Variables in expressions are replaced by where they stand, not by what they are called.

A variable whose values are known and that may change which metrics or labels are read is written out, once for each value. Any other leaves
behind what keeps the tree as wide as it may be: a name that is any name, a label that is any label, a function or operator that nobody knows.
Grafana's variables are the main case; what Helm, jsonnet, Terraform or a text template left in a file is tried as one when the text does
not parse without.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from analyzer.references.patterns import too_wide
from analyzer.references.tree import SENTINEL, holding

MAX_LENGTH = 32 * 1024
"""Longer texts are not parsed."""
MAX_FOREIGN = 8 * 1024
"""Longer texts are not tried as a template of another language."""
MAX_VARIANTS = 64
"""More choices than this, and the variable with most values counts as unknown."""
MAX_WRITTEN = 100_000
"""Characters of all choices of one text together."""
MAX_ROUNDS = 4
"""Values may hold variables, and these again."""

MAX_PATTERN = 500
"""A variable that holds names of a longer pattern may hold any."""

Variables = Mapping[str, tuple[str, ...]]
NOT_HELD: Variables = MappingProxyType({})
Kind = Literal["variable", "string", "space", "word", "number", "sign"]
Place = Literal[
    "value",
    "name",
    "label",
    "label_text",
    "matcher",
    "match_op",
    "quoted",
    "moment",
    "piece",
    "applied",
    "operand",
    "number",
    "compared",
    "text",
    "after",
]

_GRAFANA = (
    r"\${1,2}\{(?!\d+\})(?P<braced>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}"
    r"|\${1,2}(?P<plain>[A-Za-z_]\w*)"
    r"|\[\[(?P<old>[A-Za-z_]\w*)(?::[^\]\[]*)?\]\]"
)
_PLACEHOLDER = r"(?<![\w:])__(?!name__)[A-Za-z](?:\w*?[A-Za-z0-9])?__(?![\w:])"
_TEMPLATE = r"\{\{(?!\{)(?:\"[^\"]*\"|`[^`]*`|'[^']*'|(?!\}\}|\{\{)[^\"'`])*\}\}"
_FORMAT = r"%\([\w.\[\]]+\)(?:\.\d+)?[a-z]|%[sdgf](?![A-Za-z(])|<[A-Za-z_][\w .:-]*>"
_REST = (
    r"|(?P<space>(?:\s|#[^\n]*+)++)|(?P<quote>[\"'`])|(?P<word>[^\W\d][\w:]*|:[\w:]+)|(?P<number>(?:\d|\.\d)(?:[eE][+-]\d|[\w.])*)"
    r"|(?P<sign>==|!=|<=|>=|=~|!~|</|>/|.)"
)
_KNOWN_WAYS = re.compile(f"(?P<variable>{_GRAFANA}|{_PLACEHOLDER}){_REST}", re.DOTALL)
_ANY_WAY = re.compile(f"(?P<variable>{_GRAFANA}|{_PLACEHOLDER}|{_TEMPLATE}|{_FORMAT}){_REST}", re.DOTALL)
_IN_STRING = re.compile(rf"(?P<variable>{_GRAFANA}|{_TEMPLATE}|{_FORMAT})|(?P<end>[\"'`])|\\.|.", re.DOTALL)
_FOREIGN = re.compile(f"{_TEMPLATE}|{_FORMAT}", re.DOTALL)
_MARKED = re.compile(r"\$|\[\[|\{\{|%[(sdgf]|<[A-Za-z_]|__(?!name__)|\[[^]\[]*\{")
_LABELS = re.compile(r"[\w.,|]*")
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:[:.].*)?", re.DOTALL)
_DOUBLED = re.compile(r"\{\{(?=\s*[A-Za-z_]\w*\s*(?:=~?|!=|!~)\s*[\"'`])(.{0,2000}?)\}\}(?!\})", re.DOTALL)
"""`m{{a="b"}}` in the text of a program that formats it: braces doubled to mean themselves."""

_MATCH_OPS = ("=", "!=", "=~", "!~")
_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
_WORD_OPS = frozenset(("and", "or", "unless", "atan2", "default", "if", "ifnot"))
_LISTS = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_NO_OPERAND = _WORD_OPS | _LISTS | {"bool", "offset"}
_CLOCK = re.compile(r"__(?:(?:rate_|auto_)?interval|range|from|to|auto)(?:_ms|_s)?")
"""Grafana's own variables of time: a positive number wherever a number may stand."""

_SCALARS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("topk", "bottomk", "limitk", "limit_ratio", "quantile", "histogram_quantile", "quantile_over_time", "vector"), (0,)),
    **dict.fromkeys(("outliersk", "outliers_mad"), (0,)),
    **{f"{end}k_{what}": (0,) for end in ("top", "bottom") for what in ("min", "max", "avg", "median", "last")},
    **dict.fromkeys(("clamp_min", "clamp_max", "round", "predict_linear"), (1,)),
    **dict.fromkeys(("clamp", "holt_winters", "double_exponential_smoothing"), (1, 2)),
    "histogram_fraction": (0, 1),
}
"""Which arguments are numbers. A variable there is no metric."""
_TEXTS: Mapping[str, tuple[int, ...]] = {
    "label_replace": (1, 2, 3, 4),
    "label_join": tuple(range(1, 20)),
    "count_values": (0,),
    "sort_by_label": tuple(range(1, 20)),
    "sort_by_label_desc": tuple(range(1, 20)),
}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A variable (`name`, perhaps empty), a string cut into literal text and variables, or any other word. `inside` is the innermost bracket
    around it: `L` is one that lists labels."""

    kind: Kind
    text: str
    name: str = ""
    inside: str = ""
    parts: tuple[_Piece, ...] = field(default=())


def spellings(text: str, variables: Variables, patterns: Variables = NOT_HELD) -> list[list[str]]:
    """The text without variables: for each choice of their values (all are read) the spellings to try, of which the first that parses counts.
    `patterns`: of variables whose values are not known, those of the names that they may hold; none: numbers only."""
    if len(text) > MAX_LENGTH or not _MARKED.search(text):
        return [[text]]
    quick = _quick(text, variables)
    if quick is not None:
        return [[quick]]
    chosen = _written_out(text, variables, 0, max(1, min(MAX_VARIANTS, MAX_WRITTEN // len(text))))
    last = _tries(text, variables, patterns) if chosen != [text] and _are_labels(text, variables) else []
    return [list(dict.fromkeys([*_tries(each, variables, patterns), *last])) for each in chosen]


def _are_labels(text: str, variables: Variables) -> bool:
    """Whether the values written out are labels and lists of them at most: then the variable may as well count as unknown where a value
    does not parse, as in `sum by $labels (m)`, since no name is in them."""
    places = [(p.name, place) for p, place in _placed(_pieces(text, _KNOWN_WAYS)) if place not in _UNEXPANDED and variables.get(p.name)]
    return all(place in ("label", "label_text", "after", "applied") for _, place in places) and all(
        _LABELS.fullmatch(value) for name, _ in places for value in variables[name]
    )


# --- the common case ----------------------------------------------------------------------------------------------------------------

_VALUE = re.compile(r"(?<=[=~])\"(?:\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*(?::\w+)?\})\"")
_WINDOW = re.compile(r"(?<=[\w}])\[\$\{?([A-Za-z_]\w*)\}?\]")
_NAMED_IN_BRACES = re.compile(r"__name__|[{,]\s*[\"'`]")


def _quick(text: str, variables: Variables) -> str | None:
    """A text whose variables are whole values of labels and whole windows, which most are."""
    if _NAMED_IN_BRACES.search(text) or any(":" in v for m in _WINDOW.finditer(text) for v in variables.get(m[1], ())):
        return None
    replaced = _WINDOW.sub("[5m]", _VALUE.sub(f'"{SENTINEL}"', text))
    return None if _MARKED.search(replaced.replace(SENTINEL, "")) else replaced


# --- values -------------------------------------------------------------------------------------------------------------------------


def _written_out(text: str, variables: Variables, rounds: int, budget: int) -> list[str]:
    """The text for each choice of values of the variables that are worth it; as it is when there is none."""
    if rounds == MAX_ROUNDS or len(text) > MAX_LENGTH:
        return [text]
    pieces = _pieces(text, _KNOWN_WAYS)
    found = _few({name: _values(variables[name]) for name in _worth_it(pieces) if variables.get(name)}, budget)
    if not found:
        return [text]
    size = math.prod(map(len, found.values()))
    out: list[str] = []
    for choice in itertools.product(*found.values()):
        chosen = dict(zip(found, choice, strict=True))
        replaced = "".join(_replaced(piece, chosen) for piece in pieces)
        out += _written_out(replaced, variables, rounds + 1, budget // size)
    return list(dict.fromkeys(out))


def _few(found: dict[str, tuple[str, ...]], budget: int) -> dict[str, tuple[str, ...]]:
    """As many variables as the budget allows, those of fewest values first."""
    kept: dict[str, tuple[str, ...]] = {}
    for name in sorted(found, key=lambda name: (len(found[name]), name)):
        if found[name] and math.prod(map(len, kept.values())) * len(found[name]) <= budget:
            kept[name] = found[name]
    return kept


def _values(values: tuple[str, ...]) -> tuple[str, ...]:
    """`$__all` stands for all others."""
    return tuple(dict.fromkeys(v for v in values if v != "$__all"))


def _worth_it(pieces: Sequence[_Piece]) -> list[str]:
    """The variables whose value may change names, labels or operators."""
    return list(dict.fromkeys(p.name for p, place in _placed(pieces) if p.name and place not in _UNEXPANDED))


_UNEXPANDED = frozenset[Place](("value", "moment", "quoted", "text"))


def _replaced(piece: _Piece, chosen: Mapping[str, str]) -> str:
    if piece.kind == "string":
        return "".join(_replaced(part, chosen) for part in piece.parts)
    return chosen.get(piece.name, piece.text) if piece.kind == "variable" else piece.text


# --- spelling -----------------------------------------------------------------------------------------------------------------------


def _tries(text: str, variables: Variables, patterns: Variables) -> list[str]:
    """Without what other template languages left, then with."""
    if len(text) > MAX_LENGTH:
        return [text]
    tries = [_spelled(text, variables, patterns, _KNOWN_WAYS)]
    if len(text) <= MAX_FOREIGN and _FOREIGN.search(text):
        tries.append(_spelled(_DOUBLED.sub(r"{\1}", text), variables, patterns, _ANY_WAY))
        tries.append(_spelled(text, variables, patterns, _ANY_WAY))
    return list(dict.fromkeys(tries))


def _spelled(text: str, variables: Variables, patterns: Variables, ways: re.Pattern[str]) -> str:
    pieces = _with_windows(_pieces(text, ways), variables)
    places: dict[int, Place] = {id(piece): place for piece, place in _placed(pieces)}
    return "".join(_spelled_piece(pieces, i, places, patterns) for i in range(len(pieces)))


def _with_windows(pieces: Sequence[_Piece], variables: Variables) -> list[_Piece]:
    """A range that holds a variable becomes one that holds none: there are no names in it."""
    out: list[_Piece] = []
    at = 0
    while at < len(pieces):
        end = _closing(pieces, at) if pieces[at].text == "[" and pieces[at].inside != "{" else None
        window = pieces[at + 1 : end] if end is not None else []
        if end is not None and _is_unknown(window):
            steps = any(":" in p.text for p in window if p.kind != "variable")
            steps |= any(":" in v for p in window if p.kind == "variable" for v in variables.get(p.name, ()))
            out.append(_Piece("sign", "[5m:1m]" if steps else "[5m]", inside=pieces[at].inside))
            at = end + 1
        else:
            out.append(pieces[at])
            at += 1
    return out


_UNIT = re.compile(r"ms|[smhdwyi]|step|range|start|end|min|max|min_of|max_of")


def _is_unknown(window: Sequence[_Piece]) -> bool:
    """Whether a range holds a variable, `{w}` among them, and else only what durations are made of."""
    unknown = False
    for at, piece in enumerate(window):
        if piece.kind == "word" and not _UNIT.fullmatch(piece.text) and window[at - 1].text != "{":
            return False
        unknown |= piece.kind == "variable" or piece.text == "{"
    return unknown


def _closing(pieces: Sequence[_Piece], at: int) -> int | None:
    for i in range(at + 1, len(pieces)):
        if pieces[i].kind == "string" or pieces[i].text == "[":
            return None
        if pieces[i].text == "]":
            return i
    return None


_SPELLED: Mapping[Place, str] = {
    "value": SENTINEL,
    "name": SENTINEL,
    "label": SENTINEL,
    "label_text": SENTINEL,
    "quoted": f'"{SENTINEL}"',
    "match_op": "!=",
    "moment": "5m",
    "piece": SENTINEL,
    "applied": SENTINEL,
    "operand": SENTINEL,
    "number": "NaN",
    "compared": "NaN",
    "text": f'"{SENTINEL}"',
    "after": f" {SENTINEL} ",
}


def _spelled_piece(pieces: Sequence[_Piece], at: int, places: Mapping[int, Place], patterns: Variables) -> str:
    piece = pieces[at]
    if piece.kind == "string":
        return "".join(_in_string(part, places, patterns) if part.kind == "variable" else part.text for part in piece.parts)
    if piece.kind != "variable":
        return piece.text
    place = places.get(id(piece), "name")  # in a range that is not closed it has no place
    if place in ("operand", "number", "compared") and _CLOCK.fullmatch(piece.name):
        return "300"
    if place in _NAMES and piece.name in patterns:
        return _holding(patterns[piece.name], "NaN" if place in _OPERANDS else SENTINEL)
    return _matcher(pieces, at) if place == "matcher" else _SPELLED[place]


_OPERANDS = frozenset[Place](("operand", "compared"))
_NAMES = _OPERANDS | {"name"}


def _in_string(part: _Piece, places: Mapping[int, Place], patterns: Variables) -> str:
    named = places.get(id(part)) == "name" and part.name in patterns
    return _holding(patterns[part.name], SENTINEL) if named else SENTINEL


def _holding(patterns: tuple[str, ...], number: str) -> str:
    """What stands for a variable that holds names of these patterns, or a number."""
    if not patterns:
        return number
    joined = "|".join(patterns)
    return SENTINEL if len(joined) > MAX_PATTERN or any(map(too_wide, patterns)) else holding(joined)


def _matcher(pieces: Sequence[_Piece], at: int) -> str:
    """A whole matcher, with the commas that its value may bring along."""
    before = _before(pieces, at)
    after = _after(pieces, at)
    left = "" if before is None or before.text in ("{", ",", "or") or before.kind == "variable" else ","
    right = "" if after is None or after.text in ("}", ",", "or") else ","
    return f'{left}{SENTINEL}="{SENTINEL}"{right}'


# --- places -------------------------------------------------------------------------------------------------------------------------


def _placed(pieces: Sequence[_Piece]) -> Iterator[tuple[_Piece, Place]]:
    arguments = _arguments(pieces)
    for at, piece in enumerate(pieces):
        if piece.kind == "variable" and piece.inside != "[":
            yield piece, _place(pieces, at, arguments)
        elif piece.kind == "string" and len(piece.parts) > 1:
            place = _place_of_string(pieces, at)
            for part in piece.parts:
                if part.kind == "variable":
                    yield part, place


def _place_of_string(pieces: Sequence[_Piece], at: int) -> Place:
    """In braces a string alone is a name, and one before an operator a label; the value of `__name__` is a name."""
    inside, before, after = pieces[at].inside, _before(pieces, at), _after(pieces, at)
    if inside == "L":
        return "label_text"
    if inside != "{" or before is None:
        return "value"
    if before.text in ("{", ","):
        return "label_text" if after is not None and after.text in _MATCH_OPS else "name"
    label = _before(pieces, _index_before(pieces, at))
    return "name" if label is not None and label.text.strip("\"'`") == "__name__" else "value"


def _place(pieces: Sequence[_Piece], at: int, arguments: Sequence[tuple[str, int]]) -> Place:
    match pieces[at].inside:
        case "L":
            return "label"
        case "{":
            return _place_in_braces(pieces, at)
        case _:
            return _place_in_code(pieces, at, arguments[at])


def _place_in_braces(pieces: Sequence[_Piece], at: int) -> Place:
    before, after = _before(pieces, at), _after(pieces, at)
    if before is not None and before.text in _MATCH_OPS:
        return "quoted"
    if _glued(pieces, at) or (after is not None and after.text in _MATCH_OPS):
        return "label"
    if after is not None and after.kind == "string" and before is not None and before.kind in ("word", "variable"):
        return "match_op"
    return "matcher"


def _place_in_code(pieces: Sequence[_Piece], at: int, argument: tuple[str, int]) -> Place:
    before, after = _before(pieces, at), _after(pieces, at)
    if _is_moment(pieces, at):
        return "piece" if _glued(pieces, at) else "moment"
    if _glued(pieces, at):
        return "piece"
    if _ends_operand(before):
        return "after"
    if after is not None and (after.text in ("{", "[") or after.text.startswith("[5m")):
        return "name"
    if after is not None and (after.text == "(" or after.text.lower() in ("by", "without")):
        return "applied"
    return _place_of_operand(pieces, at, *argument)


def _place_of_operand(pieces: Sequence[_Piece], at: int, function: str, argument: int) -> Place:
    before = _before(pieces, at)
    if before is not None and before.text.lower() == "bool":
        before = _before(pieces, _index_before(pieces, at))
    if before is not None and before.text in _COMPARISONS:
        return "compared"
    if argument in _SCALARS.get(function, ()):
        return "number"
    return "text" if argument in _TEXTS.get(function, ()) else "operand"


def _is_moment(pieces: Sequence[_Piece], at: int) -> bool:
    """After `offset` or `@`, a sign between."""
    at = _index_before(pieces, at)
    while at >= 0 and pieces[at].text in ("-", "+"):
        at = _index_before(pieces, at)
    return at >= 0 and (pieces[at].text == "@" or pieces[at].text.lower() == "offset")


def _ends_operand(piece: _Piece | None) -> bool:
    if piece is None:
        return False
    if piece.kind == "word":
        return piece.text.lower() not in _NO_OPERAND
    return piece.kind in ("number", "string", "variable") or piece.text in (")", "}", "]") or piece.text.startswith("[5m")


def _glued(pieces: Sequence[_Piece], at: int) -> bool:
    """A piece of a longer word: `${p}_total`, `0.$q`, `$a$b`."""
    return any(
        0 <= i < len(pieces) and (pieces[i].kind in ("word", "number", "variable") or pieces[i].text in (".", ":"))
        for i in (at - 1, at + 1)
    )


def _arguments(pieces: Sequence[_Piece]) -> list[tuple[str, int]]:
    """Of every piece the function in whose brackets it stands, and in which argument."""
    out: list[tuple[str, int]] = []
    around: list[tuple[str, int]] = []
    for at, piece in enumerate(pieces):
        out.append(around[-1] if around else ("", 0))
        if piece.kind != "sign":
            continue
        if piece.text in ("(", "{", "["):
            around.append((_applied_at(pieces, at), 0))
        elif piece.text in (")", "}", "]") and around:
            around.pop()
        elif piece.text == "," and around:
            around[-1] = (around[-1][0], around[-1][1] + 1)
    return out


def _applied_at(pieces: Sequence[_Piece], at: int) -> str:
    """The word before a bracket, or before the `by (…)` that stands between."""
    i = _index_before(pieces, at)
    if i >= 0 and pieces[i].text == ")" and pieces[i].inside == "L":
        while i >= 0 and pieces[i].text != "(":
            i -= 1
        i = _index_before(pieces, _index_before(pieces, i))
    return pieces[i].text.lower() if i >= 0 and pieces[i].kind == "word" else ""


def _index_before(pieces: Sequence[_Piece], at: int) -> int:
    at -= 1
    while at >= 0 and pieces[at].kind == "space":
        at -= 1
    return at


def _before(pieces: Sequence[_Piece], at: int) -> _Piece | None:
    i = _index_before(pieces, at)
    return pieces[i] if i >= 0 else None


def _after(pieces: Sequence[_Piece], at: int) -> _Piece | None:
    return next((pieces[i] for i in range(at + 1, len(pieces)) if pieces[i].kind != "space"), None)


# --- cutting ------------------------------------------------------------------------------------------------------------------------


def _pieces(text: str, ways: re.Pattern[str]) -> list[_Piece]:
    out: list[_Piece] = []
    inside: list[str] = []
    at = 0
    while at < len(text):
        match = ways.match(text, at)
        assert match is not None  # the last way matches any character
        at = match.end()
        within = inside[-1] if inside else ""
        if match["quote"]:
            parts, at = _parts(text, match.start())
            out.append(_Piece("string", text[match.start() : at], inside=within, parts=parts))
        elif match["variable"]:
            out.append(_Piece(*_variable_or_word(match, text, within), inside=within))
        elif match["sign"]:
            _step(inside, match[0], out)
            # A bracket itself stands inside what it opens or closes only for lists of labels.
            out.append(_Piece("sign", match[0], inside="L" if match[0] == ")" and within == "L" else within))
        else:
            kind: Kind = "space" if match["space"] else "word" if match["word"] else "number"
            out.append(_Piece(kind, match[0], inside=within))
    return out


def _step(inside: list[str], sign: str, before: Sequence[_Piece]) -> None:
    """Into or out of a bracket."""
    if sign == "(":
        word = _before(before, len(before))
        inside.append("L" if word is not None and word.kind == "word" and word.text.lower() in _LISTS else "(")
    elif sign in ("[", "{"):
        inside.append(sign)
    elif sign in (")", "]", "}") and inside:
        inside.pop()


_MATCHES = re.compile(r"\s*(?:=~?|!=|!~)")


def _variable_or_word(match: re.Match[str], text: str, within: str) -> tuple[Kind, str, str]:
    """`__address__="x"` in braces is a label, `__metric__` anywhere else a placeholder."""
    if match[0].startswith("__") and within == "{" and _MATCHES.match(text, match.end()):
        return "word", match[0], ""
    return "variable", match[0], _name(match)


def _name(match: re.Match[str]) -> str:
    if match["braced"] is None:
        return match["plain"] or match["old"] or ""
    named = _NAME.fullmatch(match["braced"])
    return named[1] if named else ""


def _parts(text: str, start: int) -> tuple[tuple[_Piece, ...], int]:
    """A string from its quote on, and where it ends; one that is not closed runs to the end."""
    quote, at = text[start], start + 1
    parts = [_Piece("word", quote)]
    literal = at
    while at < len(text):
        match = _IN_STRING.match(text, at)
        assert match is not None
        if match["variable"]:
            parts += [_Piece("word", text[literal:at]), _Piece("variable", match[0], _name(match))]
            literal = match.end()
        elif match[0] == quote:
            at = match.end()
            break
        at = at + 1 if quote == "`" and match[0].startswith("\\") else match.end()
    return (*parts, _Piece("word", text[literal:at])), at
