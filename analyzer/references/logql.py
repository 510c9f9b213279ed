"""LogQL: which attributes of logs a query reads.

A label of Loki is a stream label, structured metadata, or made of the line by a parser; a name that a parser makes is still the
attribute's where a record has one (`level` after `| json`), so every label that is named is read. Loki writes `service_name` for
`service.name`.

Records do not merge when an attribute is removed, but streams do. So a rate under `sum` needs only what the sum names, while a `max` of
rates sees how records are cut into streams (grafana.com/docs/loki, "Metric queries").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lark import Lark, Token, Transformer

from analyzer.references.grammars import VARIABLE, Misread, grammar, parsed, union, unquoted, variables_in
from analyzer.references.queries import Query
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, NO_LABEL, LabelSet, NotUnderstood, Operator, Use

NO_METRIC = r"[^\s\S]"
"""A pattern that matches no name: a query of logs or traces reads no metric, also when it is not understood. (RE2 has no lookahead.)"""

_ADDS_UP = ("rate", "count_over_time", "bytes_rate", "bytes_over_time", "sum_over_time")
_MERGES: Mapping[str, Operator] = {**dict.fromkeys(_ADDS_UP, "sum"), "max_over_time": "max", "min_over_time": "min"}
"""By function over time: what makes of the values of two streams the value that the two would have as one."""
_OVER_TIME = frozenset(
    [
        *_ADDS_UP,
        *("rate_counter", "avg_over_time", "min_over_time", "max_over_time", "stdvar_over_time", "stddev_over_time"),
        *("quantile_over_time", "first_over_time", "last_over_time", "absent_over_time"),
    ]
)
_UNCHANGING = frozenset(["sort", "sort_desc"])


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels that a part of a pipeline names; `needed` are those that decide something, `dropped` are gone after it. `whole` says
    what reads labels that it does not name."""

    named: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    whole: str | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    """A selector with its pipeline. `merge` is what may put its streams together; `settled` what it needs once something above told
    which labels count."""

    labels: _Labels
    merge: Operator = "none"
    settled: LabelSet | None = None
    operator: Operator = "none"
    reason: str = "records are shown whole"


_Streams = tuple[_Stream, ...]


@dataclass(frozen=True, slots=True)
class _Grouping:
    labels: LabelSet


@dataclass(frozen=True, slots=True)
class _Matching:
    """An operator's `on`, `ignoring`, `group_left`; there for every operator, so it also says that one stood here."""

    named: frozenset[str]


# --- the grammar -----------------------------------------------------------------------------------------------------------------------

_LABEL = rf"(?:[^\W\d]|{VARIABLE})(?:[\w.:]|{VARIABLE})*"
_WORDS = ("bool", "offset", "json", "logfmt", "xml", "unpack", "regexp", "pattern", "line_format", "label_format", "unwrap", "drop", "keep")
_KEYWORDS = "\n".join(rf"{word.upper()}.3: /{word}\b/" for word in (*_WORDS, "decolorize"))

_GRAMMAR = rf"""
start: expr
expr: log | _binary
_binary: _unit (_op matching _unit)*
_unit: SIGN* (call | bracket | NUMBER | STRING | LABEL)
_op: NEQ | EQ2 | COMPARE | SIGN | ARITHMETIC | AND | OR | UNLESS
matching: BOOL? ((ON | IGNORING) "(" _labels? ")")? (GROUP_SIDE ("(" _labels? ")")?)?
_labels: (LABEL | ",")+
call: LABEL grouping? "(" (expr ("," expr)*)? ")" grouping?
grouping: (BY | WITHOUT) "(" _labels? ")"
bracket: "(" expr ")" (RANGE | _offset | "|" _stage)*

log: selector (line_filter | "|" _stage | RANGE | _offset | stages)*
_offset: OFFSET SIGN? (NUMBER | LABEL)
selector: "{{" (matcher | variable | ",")* "}}"
matcher: LABEL (EQ | NEQ | RE | NRE) (STRING | LABEL)
variable: LABEL
stages: VARIABLES

line_filter: (LINE | NEQ | NRE) _line (OR _line)*
_line: STRING | LABEL | IP "(" STRING ")"
_stage: parser | template | filter | label_format | unwrap | drop | keep | DECOLORIZE
parser: (JSON | LOGFMT | XML | UNPACK) FLAG* (_extraction ("," _extraction)*)? | (REGEXP | PATTERN) (STRING | LABEL)
_extraction: LABEL (EQ (STRING | LABEL))?
template: LINE_FORMAT (STRING | LABEL)
label_format: LABEL_FORMAT renamed ("," renamed)*
renamed: LABEL EQ (STRING | LABEL)
unwrap: UNWRAP LABEL ("(" LABEL ")")?
drop: DROP _picked ("," _picked)*
keep: KEEP _picked ("," _picked)*
_picked: matcher | LABEL
filter: _comparison ((AND | OR | ",")? _comparison)*
_comparison: "(" filter ")" | compared | variable
compared: LABEL (EQ | EQ2 | NEQ | RE | NRE | COMPARE) (STRING | LABEL | SIGN? NUMBER | IP "(" STRING ")")

STRING.9: /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`/
RANGE.8: /\[(?:[^\[\]]|\[\[\w+\]\])*\]/
NUMBER.7: /\d(?:[eE][+-]\d|[\w.])*|\.\d+/
LABEL: /{_LABEL}/
VARIABLES: /(?:{VARIABLE})+/
FLAG: /--\w[\w-]*/
LINE.6: /\|=|\|~|\|>|!>/
RE.6: "=~"
NRE.6: "!~"
NEQ.6: "!="
EQ2.6: "=="
EQ.5: "="
COMPARE.5: />=|<=|>|</
SIGN: /[+-]/
ARITHMETIC: /[*\/%^]/
UNLESS.3: /unless\b/i
AND.3: /and\b/i
OR.3: /or\b/i
ON.3: /on(?=\s*\()/i
IGNORING.3: /ignoring(?=\s*\()/i
GROUP_SIDE.3: /group_(?:left|right)\b/i
BY.3: /by(?=\s*\()/i
WITHOUT.3: /without(?=\s*\()/i
IP.3: /ip(?=\s*\()/
{_KEYWORDS}
COMMENT: /#[^\n]*/
%ignore COMMENT
%ignore /\s+/
"""


class _Actions(Transformer[Any, Any]):
    """Folds a query to its streams: children are streams, labels of stages, and tokens."""

    def start(self, children: list[Any]) -> _Streams:
        return _streams(children)

    def expr(self, children: list[Any]) -> _Streams | Token:
        if len(children) == 1 and isinstance(children[0], Token):
            return children[0]
        named = union(c.named for c in children if isinstance(c, _Matching))
        streams = tuple(_naming(s, named) for s in _streams(children))
        operated = any(isinstance(c, _Matching) for c in children)
        return (
            streams if not operated or _scaled(children) else tuple(_settle(s, EVERY_LABEL, "compared stream by stream") for s in streams)
        )

    def matching(self, children: list[Any]) -> _Matching:
        return _Matching(_names(children))

    def call(self, children: list[Any]) -> _Streams:
        grouping = next((c.labels for c in children if isinstance(c, _Grouping)), None)
        named = frozenset[str]() if grouping is None else grouping.names
        return _called(str(children[0]), grouping, tuple(_naming(s, named) for s in _streams(children)), children)

    def grouping(self, children: list[Any]) -> _Grouping:
        return _Grouping(LabelSet(_names(children), children[0].type == "WITHOUT"))

    def bracket(self, children: list[Any]) -> _Streams:
        return _piped(children)

    def log(self, children: list[Any]) -> _Streams:
        return _piped([(_Stream(children[0]),), *children[1:]])

    def selector(self, children: list[Any]) -> _Labels:
        return _together(children)

    def filter(self, children: list[Any]) -> _Labels:
        return _together(children)

    def label_format(self, children: list[Any]) -> _Labels:
        return _together(children)

    def matcher(self, children: list[Any]) -> _Labels:
        return _read(children[0])

    def variable(self, children: list[Any]) -> _Labels:
        return _read(children[0])

    def stages(self, children: list[Any]) -> _Labels:
        return _read(children[0])

    def compared(self, children: list[Any]) -> _Labels:
        return _read(children[0])

    def line_filter(self, _children: list[Any]) -> _Labels:
        return _Labels()

    def parser(self, _children: list[Any]) -> _Labels:
        return _Labels()

    def template(self, children: list[Any]) -> _Labels:
        return _printed(children[1])

    def renamed(self, children: list[Any]) -> _Labels:
        return _printed(children[2]) if children[2].type == "STRING" else _read(children[2])

    def unwrap(self, children: list[Any]) -> _Labels:
        return _read(children[-1])

    def drop(self, children: list[Any]) -> _Labels:
        # A label that is dropped whole decides nothing: it is as if it were not there. One that is dropped by its value does.
        whole = _names(children)
        return _together([*children, _Labels(whole, dropped=frozenset(name for name in whole if not variables_in(name)))])

    def keep(self, children: list[Any]) -> _Labels:
        return _together([*children, *map(_read, _names(children))])


def _read(label: str) -> _Labels:
    names = frozenset([str(label)])
    return _Labels(names, names)


def _together(children: Iterable[Any]) -> _Labels:
    parts = [c for c in children if isinstance(c, _Labels)]
    whole = next((p.whole for p in parts if p.whole), None)
    return _Labels(union(p.named for p in parts), union(p.needed for p in parts), union(p.dropped for p in parts), whole)


def _names(children: Iterable[Any]) -> frozenset[str]:
    return frozenset(str(c) for c in children if isinstance(c, Token) and c.type == "LABEL")


_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TEXT = re.compile(r"\"(?:\\.|[^\"\\])*+\\?(\"|\Z)|`[^`]*+(`|\Z)", re.DOTALL)
_ALL_FIELDS = re.compile(r"(?:^|(?<=[\s(]))\.(?:$|(?=[\s)|]))")
_FIELD = re.compile(r"(?<![\w.)])\.([A-Za-z_]\w*)")


def _printed(template: str) -> _Labels:
    """The labels that a Go template prints or compares."""
    parts = [_TEXT.sub(lambda m: '""' if m[1] or m[2] else m[0], part) for part in _TEMPLATE.findall(unquoted(str(template)))]
    names = frozenset(field for part in parts for field in _FIELD.findall(part))
    return _Labels(names, names, whole="a template looks at all labels" if any(map(_ALL_FIELDS.search, parts)) else None)


def _streams(children: Iterable[Any]) -> _Streams:
    return tuple(s for c in children if isinstance(c, tuple) for s in c)


def _piped(children: list[Any]) -> _Streams:
    """Streams with the stages that follow them."""
    stages = _together(children)
    return tuple(replace(s, labels=_together([s.labels, stages])) for s in _streams(children))


def _naming(stream: _Stream, names: frozenset[str]) -> _Stream:
    return replace(stream, labels=_together([stream.labels, _Labels(names)])) if names else stream


def _settle(stream: _Stream, labels: LabelSet, reason: str, operator: Operator = "none") -> _Stream:
    """What is settled below stays so: what is above sees groups, no streams."""
    return stream if stream.settled is not None else replace(stream, settled=labels, reason=reason, operator=operator)


def _scaled(children: list[Any]) -> bool:
    """Whether an expression only multiplies one side by numbers, or divides it: the one arithmetic that adds up."""
    first, *others = children
    operators = {str(c) for c in others if isinstance(c, Token) and c.type != "NUMBER"}
    return isinstance(first, tuple) and operators <= {"*", "/"} and not any(isinstance(c, tuple) for c in others)


def _called(name: str, grouping: LabelSet | None, streams: _Streams, children: list[Any]) -> _Streams:
    if name in _UNCHANGING:
        return streams
    if name == "label_values":
        return _values(streams, children)
    if name == "label_replace":
        source = frozenset(unquoted(str(c)) for c in children[-2:-1])
        streams = tuple(replace(s, labels=_together([s.labels, _Labels(source, source)])) for s in streams)
    return tuple(_over_time(s, name, grouping) if name in _OVER_TIME else _aggregated(s, name, grouping or NO_LABEL) for s in streams)


def _over_time(stream: _Stream, name: str, grouping: LabelSet | None) -> _Stream:
    if name == "absent_over_time":
        return _settle(stream, NO_LABEL, "absent")
    if grouping is not None:
        return _settle(stream, grouping, f"{name} by")
    return replace(stream, merge=_MERGES.get(name, "none"), reason="every label is shown")


def _aggregated(stream: _Stream, name: str, grouping: LabelSet) -> _Stream:
    if name == stream.merge:
        return _settle(stream, grouping, f"{name} by", stream.merge)
    return _settle(stream, EVERY_LABEL, f"{name} sees how records are cut into streams")


def _values(streams: _Streams, children: list[Any]) -> _Streams:
    """`label_values({…}, L)` of Grafana: the values of L, of all logs where no selector is written."""
    asked = _names(children[-1:])
    whole = streams or (_Stream(_Labels()),)
    return tuple(_settle(_naming(s, asked), LabelSet(asked), "values are listed") for s in whole)


@functools.cache
def _language() -> Lark:
    return grammar(_GRAMMAR, _Actions())


# --- queries ---------------------------------------------------------------------------------------------------------------------------


def read_logql(query: Query) -> tuple[Use, ...] | NotUnderstood:
    """One use of logs for every stream selector: the attributes it reads, and whether others are seen."""
    found = parsed(_language(), query.evaluated)
    if isinstance(found, Misread):
        return NotUnderstood(f"not LogQL: {found.reason}", (NO_METRIC,))
    if not found and variables_in(query.evaluated):
        return NotUnderstood("a variable stands for the stream selector", (NO_METRIC,))
    return tuple(_use(stream, query) for stream in found)


def _use(stream: _Stream, query: Query) -> Use:
    named, unknown = _resolved(stream.labels.named, query.variables)
    needed, _ = _resolved(stream.labels.needed, query.variables)
    mentioned = named | query.mentioned
    reason = f"which label {unknown} is, is known only when the query runs" if unknown else stream.labels.whole
    if reason:
        return Use("", False, mentioned, EVERY_LABEL, why={"*": reason}, signal=Signal.LOGS)
    demand = _shown(stream, query) | LabelSet(needed)
    why = {**dict.fromkeys(demand.names, stream.reason), **dict.fromkeys(needed, "read by the pipeline")}
    return Use("", False, mentioned, demand, stream.operator, why={"*": stream.reason} if demand.all_except else why, signal=Signal.LOGS)


def _shown(stream: _Stream, query: Query) -> LabelSet:
    """What is seen of a stream's labels besides those that its own pipeline reads."""
    if stream.settled is None:
        return query.root - stream.labels.dropped
    names, _ = _resolved(stream.settled.names, query.variables)
    return LabelSet(names, stream.settled.all_except)


def _resolved(labels: Iterable[str], variables: Mapping[str, tuple[str, ...]]) -> tuple[frozenset[str], str | None]:
    """Labels with variables replaced by the values that they may take, and a variable of which these are not known."""
    plain: set[str] = set()
    unknown: str | None = None
    for label in labels:
        names = variables_in(label)
        values = variables.get(names[0], ()) if names and re.fullmatch(VARIABLE, label) else ()
        plain |= set(values) if names else {label}
        unknown = unknown or (label if names and not values else None)
    return frozenset(plain), unknown
