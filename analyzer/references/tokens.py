"""The second opinion on an expression: no grammar, only words and what stands around them.

What the parser made of a text is checked against the names and labels that are seen here; of a text that did not parse this says which
metrics it might read, rather too many than too few.
"""

from __future__ import annotations

import json
import re

from analyzer.references import patterns
from analyzer.references.patterns import ANY_NAME, of_name, too_wide, valid
from analyzer.references.tree import SENTINEL

MAX_NAMES = 500
"""A text of more words than this might read anything."""

_STRING = r"\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z)"
_ESCAPED = r"\\[^\w\s\"'`]"
"""In MetricsQL `foo\\-bar` is one name."""
_WORD = rf"(?:[^\W\d]|:|{_ESCAPED})(?:[\w:.]|{_ESCAPED})*"
_GAP = r"(?:\s|#[^\n]*+)*+"
_LISTS = r"(?i:by|without|on|ignoring|group_left|group_right)"
_WORDS = (
    rf"(?P<string>{_STRING})|(?P<comment>#[^\n]*+)"
    rf"|(?P<braces>\{{(?:{_STRING}|#[^\n]*+|[^{{}}\"'`#])*+\}})"
    r"|(?P<range>\[[^\]\[\"'`{}]*\])"
    rf"|\b{_LISTS}{_GAP}\((?P<list>[^()]*)\)"
    r"|(?P<number>(?:\d|\.\d)(?:[eE][+-]\d|[\w.])*)"
    rf"|(?P<applied>{_WORD})(?={_GAP}(?:\(|(?i:by|without)\b|{SENTINEL}{_GAP}\())"
    rf"|(?P<word>{_WORD})"
)
_SEEN = re.compile(_WORDS, re.DOTALL)
_SEEN_WITH_SIGNS = re.compile(rf"{_WORDS}|(?P<sign>\S)", re.DOTALL)
_MATCHER = re.compile(
    rf"#[^\n]*+|(?P<label>{_WORD}|{_STRING})\s*(?P<op>=~|!~|!=|=)\s*(?P<value>{_STRING})|(?P<quoted>{_STRING})|(?P<loose>{_WORD})|[^\s,]",
    re.DOTALL,
)
_LISTED = re.compile(rf"#[^\n]*+|{_STRING}|{_WORD}", re.DOTALL)
_DEFINED = re.compile(rf"({_WORD})\s*(?:\(([^()]*)\))?\s*=(?![=~])")
_NEVER_NAMES = frozenset(
    [
        "and",
        "or",
        "unless",
        "atan2",
        "default",
        "if",
        "ifnot",
        "bool",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "offset",
        "inf",
        "nan",
        "with",
        "limit",
        "prefix",
        "anchored",
        "smoothed",
        "keep_metric_names",
        "fill",
        "fill_left",
        "fill_right",
    ]
)


def identifiers(text: str) -> frozenset[str]:
    """Names and labels that a text without variables certainly reads."""
    names, labels = _seen(text)
    return frozenset((*names, *labels))


def disagreement(text: str, tree: str) -> str | None:
    """The first word that is a name or a label here but not in the tree, which is given as the JSON of `dumped` without spaces."""
    names, labels = _seen(text)
    for name in names:
        quoted = json.dumps(name)
        if f'["s:",{quoted},' not in tree and f'"__name__","=",{quoted}' not in tree:
            return f"the two readings disagree: {name[:80]!r} is a metric in one of them only"
    label = next((label for label in labels if json.dumps(label) not in tree), None)
    return None if label is None else f"the two readings disagree: {label[:80]!r} is a label in one of them only"


def _seen(text: str) -> tuple[set[str], set[str]]:
    """Names, and labels."""
    names: set[str] = set()
    labels: set[str] = set()
    for match in _SEEN.finditer(text):
        kind, word = match.lastgroup, match[0]
        if kind == "word" and word.lower() not in _NEVER_NAMES:
            names.add(word.replace("\\", ""))
        elif kind == "braces":
            _in_braces(word, names, labels)
        elif kind == "list":
            labels.update(_bare(listed) for listed in _LISTED.findall(match["list"]) if "\\" not in listed and listed[0] != "#")
    defined = _definitions(text) if "with" in text.lower() else frozenset[str]()
    if defined:  # what is given to a template may be a label as well
        names, labels = set(), (names | labels) - defined
    return {n for n in names if SENTINEL not in n}, {n for n in labels if SENTINEL not in n}


def _definitions(text: str) -> frozenset[str]:
    """What `WITH (a = …, f(x, y) = …)` calls names of its own."""
    if not re.search(r"(?i)\bwith\s*\(", text):
        return frozenset()
    return frozenset(word for m in _DEFINED.finditer(text) for word in (m[1], *re.findall(_WORD, m[2] or "")))


def _in_braces(braces: str, names: set[str], labels: set[str]) -> None:
    """What escapes mean is for the parser to say: words with any are left out."""
    for label, op, value, quoted, _ in _MATCHER.findall(braces, 1, len(braces) - 1):
        if quoted:
            names.update([_bare(quoted)] if "\\" not in quoted else [])
        elif label and "\\" not in label:
            labels.add(_bare(label))
            if op == "=" and _bare(label) == "__name__" and "\\" not in value and len(value) > 2:
                names.add(_bare(value))


def _bare(word: str) -> str:
    return word[1:-1] if word[0] in "\"'`" else word


# --- what did not parse -------------------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(
    r"\${1,2}\{(?!\d+\})[^{}]*\}|\${1,2}[A-Za-z_]\w*|\[\[[A-Za-z_]\w*(?::[^\]\[]*)?\]\]|\{\{(?!\{)(?:\"[^\"]*\"|`[^`]*`|(?!\}\}|\{\{)[^\"`])*\}\}"
    r"|%\([\w.]+\)[a-z]|%[sdgf](?![A-Za-z(])|<[A-Za-z_][\w .:-]*>|(?<![\w:])__(?!name__|fgvar__)[A-Za-z]\w*?__(?![\w:])"
)
_GLUE = re.compile(rf"{SENTINEL}|{_ESCAPED}")
_QUOTE = re.compile(r"[\"'`]")
_LISTABLE = rf"\s*(?:(?:{_WORD}|{_STRING})\s*)?"
_LABELS = re.compile(rf"(?:{_LISTABLE},)*+{_LISTABLE}", re.DOTALL)
_CODE = re.compile(r"[{}=,()]")
_VARIABLES_ONLY = re.compile(rf"(?:{SENTINEL}|[.:])+")
_COMPARISONS = frozenset(("<", ">", "=", "~"))
_NUMBERS_FIRST = frozenset(("topk", "bottomk", "quantile", "limitk", "limit_ratio", "histogram_quantile", "quantile_over_time"))
_APPLIED = frozenset(
    [
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "count",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
        "rate",
        "irate",
        "increase",
        "delta",
        "idelta",
        "deriv",
        "abs",
        "absent",
        "absent_over_time",
        "ceil",
        "floor",
        "round",
        "clamp",
        "clamp_min",
        "clamp_max",
        "changes",
        "resets",
        "exp",
        "ln",
        "log2",
        "log10",
        "sqrt",
        "sgn",
        "sort",
        "sort_desc",
        "time",
        "timestamp",
        "vector",
        "scalar",
        "label_replace",
        "label_join",
        "histogram_quantile",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "count_over_time",
        "last_over_time",
        "quantile_over_time",
        "stddev_over_time",
        "present_over_time",
        "predict_linear",
        "holt_winters",
        "minute",
        "hour",
        "month",
        "year",
        "start",
        "end",
    ]
)


def touched(text: str) -> tuple[str, ...]:
    """Anchored patterns of every name that a text might read which did not parse; none: it might read any."""
    marked = _VARIABLE.sub(SENTINEL, text)
    if any(marked.count(quote) % 2 for quote in "\"'`"):
        marked = _QUOTE.sub(" ", marked)  # nobody knows what is in a string and what is not
    # A comment hides nothing: with it, a quote in it may shift what looks like a string.
    found = _might_read(marked) | (_might_read(marked.replace("#", " ")) if "#" in marked else set())
    if not found or len(found) > MAX_NAMES or any((ANY_NAME in p and too_wide(p)) or not valid(p) for p in found):
        return ()
    return tuple(sorted(found))


def _might_read(text: str) -> set[str]:
    """Patterns of names; `.*` among them when any."""
    found: set[str] = set()
    before = applied = ""
    for match in _SEEN_WITH_SIGNS.finditer(text):
        word = match[0].lower()
        if match["comment"]:
            continue
        found |= _of_match(match, before, applied)
        applied = before if word == "(" else applied
        before = word
    return found


def _of_match(match: re.Match[str], before: str, applied: str) -> set[str]:
    """What one word might read after another; `applied` is what stands before the last bracket."""
    kind, word = match.lastgroup, match[0]
    if kind == "braces":
        return _of_braces(word, nameless=not _is_name(before))
    if kind == "applied":
        return set() if word.lower() in _APPLIED | _NEVER_NAMES else _of_word(word, applied=True)
    if kind == "word" and word.lower() not in _NEVER_NAMES:
        return set() if _is_number(word, before, applied) else _of_word(word)
    if kind == "list":
        return set() if _LABELS.fullmatch(match["list"]) else _of_text(match["list"], query=True)
    if kind == "string":
        # A text given to a function that nobody knows may be a query.
        return _of_text(word, query=applied not in _APPLIED and before in ("(", ","))
    return {ANY_NAME} if word == "{" and not _is_name(before) else set()


def _is_number(word: str, before: str, applied: str) -> bool:
    """A variable alone that stands where no metric can."""
    if not _VARIABLES_ONLY.fullmatch(word):
        return False
    return (
        before in _COMPARISONS
        or before in ("offset", "@", "bool")
        or _ends_operand(before)
        or (before == "(" and applied in _NUMBERS_FIRST)
    )


def _ends_operand(before: str) -> bool:
    return _is_name(before) or before[-1:] in (")", "}", "]", '"', "'", "`")


def _is_name(before: str) -> bool:
    return re.fullmatch(_WORD, before) is not None and before not in _NEVER_NAMES


def _of_word(word: str, applied: bool = False) -> set[str]:
    if _VARIABLES_ONLY.fullmatch(word):
        return set() if applied else {ANY_NAME}
    # A matcher of names outside of braces: some bracket is missing.
    if word == "__name__":
        return {ANY_NAME}
    # A variable may stand for brackets, and a backslash be a slip: then their neighbours are names themselves.
    return {of_name(word.replace("\\", ""))} | {of_name(piece) for piece in _GLUE.split(word) if piece}


def _of_braces(braces: str, nameless: bool) -> set[str]:
    found: set[str] = set()
    hidden: set[str] = set()
    for label, op, value, quoted, loose in _MATCHER.findall(braces, 1, len(braces) - 1):
        hidden |= _of_text(value or quoted)
        if quoted:
            found.add(of_name(_bare(quoted)))
        elif loose and not _VARIABLES_ONLY.fullmatch(loose):
            found.add(of_name(loose))
        elif label and _bare(label) == "__name__":
            found |= _of_name_matcher(op, _bare(value))
    return (found or ({ANY_NAME} if nameless else set())) | hidden


def _of_name_matcher(op: str, value: str) -> set[str]:
    if op in ("!=", "!~"):
        return {ANY_NAME}
    if op == "=":
        return {of_name(value)}
    exact, open_ended = patterns.told_apart(value.replace("\\\\", "\\"))
    return {of_name(name) for name in exact} | set(open_ended) or {ANY_NAME}


def _of_text(string: str, query: bool = False) -> set[str]:
    """One that looks like code may be code, of which the quotes around it are what is broken."""
    inside = _QUOTE.sub(" ", string)
    if not query and not _CODE.search(inside):
        return set()
    return set().union(*(_of_word(word, applied=True) for word in re.findall(_WORD, inside)))
