"""Text → the values in it: JSON, JSON lines, JSON with comments, YAML of one or many documents. What does not load is said, with the place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ryaml._ryaml import InvalidYamlError, loads_all

from analyzer.references.queries import Json, Unread
from analyzer.references.shapes import shown, texts_in
from analyzer.references.targets import names_in

MAX_NESTING = 200
"""Deeper values are refused: no document of ours nests deeper than 40, and readers may recurse."""
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%-?\s*\w+")
"""Of Helm, Go, Jinja and most others. What does not load and has this in it was not written to be loaded."""
_FIRST = re.compile(r"[\ufeff\s]*(?:(?:#|//)[^\n]*\n\s*|/\*.*?\*/\s*)*", re.DOTALL)
_LONE_SURROGATE = re.compile(r"\\u[dD](?:[89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB]..\\u....))")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The values of a text, each with its number where there are several; why what is missing did not load; what lowers trust in the rest."""

    values: tuple[Any, ...] = ()
    failed: tuple[Unread, ...] = ()
    doubts: tuple[Unread, ...] = ()
    is_text: bool = False
    """No structure in it: plain words, a log."""
    dull: bool = False
    """A template that does not load, and in which nothing looks like a query."""


def load(text: str) -> Loaded:
    """Everything that a text holds. Never raises."""
    start = text[_after(_FIRST, text, 0) :]
    if not start.strip():
        return Loaded()
    if start[0] in "{[" and start[:2] not in ("{{", "{%"):
        loaded = _json(start)
        return loaded if not (loaded.failed or loaded.dull) else _relaxed(text, start, loaded)
    quoted = _quoted(start) if start[0] == '"' else None
    return load(quoted) if quoted is not None else _yaml(text.lstrip("\ufeff"))


def _quoted(text: str) -> str | None:
    """The document in a JSON string, as `jq .spec.json` and many APIs give it; None where there is none."""
    try:
        value = json.loads(_LONE_SURROGATE.sub(r"\\ufffd", text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"') else None


def _json(text: str) -> Loaded:
    """One value, or several one after another (JSON lines)."""
    twice: list[tuple[str, Any]] = []
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: _object(pairs, twice))
    text = _LONE_SURROGATE.sub(r"\\ufffd", text) if "\\ud" in text or "\\uD" in text else text
    values: list[Any] = []
    end = 0
    try:
        while end < len(text):
            value, end = decoder.raw_decode(text, end)
            values.append(value)
            end = _after(_SPACE, text, end)
    except (ValueError, RecursionError) as error:
        return _failed(text, _said(error), tuple(values), is_json=True)
    if any(_deep(value) for value in values):
        return _failed(text, f"nested deeper than {MAX_NESTING}", is_json=True)
    return Loaded(tuple(values), doubts=tuple(_doubts(twice)))


_SPACE = re.compile(r"[\s,;]*")


def _after(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _object(pairs: list[tuple[str, Any]], twice: list[tuple[str, Any]]) -> Json:
    """As Grafana and browsers do, the last value of a key counts; what it hides is kept aside."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice.extend((k, v) for k, v in pairs if made[k] != v)
    return made


def _doubts(twice: list[tuple[str, Any]]) -> Iterator[Unread]:
    for key, value in twice:
        touches = names_in([t for _, t in texts_in(value)], {})
        if touches:
            yield Unread(f"key {key}", shown(value), f"the key {key} stands twice; only the last one is read", touches)


def _said(error: BaseException) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else (str(error).splitlines() or ["not readable"])[0][:200]


def _failed(text: str, reason: str, values: tuple[Any, ...] = (), is_text: bool = False, is_json: bool = False) -> Loaded:
    """What a text that does not load might read: any name; nothing, when it is a template in YAML that no query's key stands in. (Cut
    JSON looks like a template too, since legends do.)"""
    if not _TEMPLATE.search(text):
        return Loaded(values, (Unread("document", "", f"not readable: {reason}"),), is_text=is_text)
    if not is_json and not asks(text):
        return Loaded(values, dull=True)
    return Loaded(values, (Unread("document", "", f"a template, which is not evaluated: give its rendered output ({reason})"),))


_ASKS = re.compile(
    r"\b(?:expr|quer(?:y|ies)|promql|expression|record|alert|panels|targets|groups|dashboards?|metrics?|metricName|(?:series|metrics)Query)[\"']?\s*[:=]"
    r"|\bkind:\s*\S*(?:Rule|Dashboard|ScaledObject|HorizontalPodAutoscaler|ServiceLevel|SLO)\b|\bFiles\.(?:Get|Glob)"
)


def asks(template: str) -> bool:
    """Whether a template has a key under which queries stand, or takes in other files."""
    return _ASKS.search(template) is not None


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            c for v in level if isinstance(v, dict | list) for c in (v.values() if isinstance(v, dict) else v) if isinstance(c, dict | list)
        ]
        if not level:
            return False
    return True


def _relaxed(text: str, start: str, strict: Loaded) -> Loaded:
    """JSON that only nearly is: with comments and commas before a closing bracket, or YAML in flow style."""
    loaded = _json(_without_comments(start))
    if not (loaded.failed or loaded.dull):
        return loaded
    loaded = _yaml(text)
    better = len(loaded.values) > len(strict.values) or not (loaded.failed or loaded.dull)
    return replace(loaded, doubts=(*loaded.doubts, *_half_quoted(loaded.values))) if better and not loaded.is_text else strict


def _half_quoted(values: tuple[Any, ...]) -> Iterator[Unread]:
    """`{expr": "m"}` loads as YAML, under a key that no reader knows: the one that was meant is not told from it."""
    todo: list[Any] = [*values]
    while todo:
        node = todo.pop()
        pairs = list(node.items()) if isinstance(node, dict) else []
        todo += [v for v in (node if isinstance(node, list) else (v for _, v in pairs)) if isinstance(v, dict | list)]
        for key, value in pairs:
            if isinstance(key, str) and '"' in key:
                touches = names_in([key, *(t for _, t in texts_in(value))], {})
                yield Unread(f"key {key}"[:200], shown(value), f"the key {key[:80]!r} has half a quote: what it says is not known", touches)


_STRING_OR_COMMENT = re.compile(r"(\"(?:\\.|[^\"\\])*\")|//[^\n]*|/\*.*?\*/|(?<=\s)#[^\n]*", re.DOTALL)
_STRING_OR_COMMA = re.compile(r"(\"(?:\\.|[^\"\\])*\")|,(?=\s*[}\]])", re.DOTALL)


def _without_comments(text: str) -> str:
    plain = _STRING_OR_COMMENT.sub(lambda m: m[1] or " ", text)
    return _STRING_OR_COMMA.sub(lambda m: m[1] or "", plain)


_DOCUMENT_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_MERGE_OR_TAG = re.compile(r"<<\s*:|(?:^|[\s\[{,:-])!\w", re.MULTILINE)


def _yaml(text: str) -> Loaded:
    try:
        return _resolved(list(loads_all(text) or ()), text)
    except (InvalidYamlError, ValueError, RecursionError) as error:
        parts = _DOCUMENT_START.split(text)
        return _one_by_one(parts) if len(parts) > 2 else _failed(text, _said(error), is_text=_no_structure(text))


def _one_by_one(parts: list[str]) -> Loaded:
    """One bad document does not take the others with it."""
    loaded = [_yaml(part) for part in parts if part.strip()]
    failed = (u for one in loaded for u in one.failed)
    doubts = (u for one in loaded for u in one.doubts)
    return Loaded(tuple(v for one in loaded for v in one.values), tuple(failed), tuple(doubts), dull=any(one.dull for one in loaded))


_KEY = re.compile(r"^\s*(?:-\s+)?[\w.\"'/-]+\s*:(?:\s|$)|\"\w+\"\s*:", re.MULTILINE)


def _no_structure(text: str) -> bool:
    return _KEY.search(text) is None


def _resolved(values: list[Any], text: str) -> Loaded:
    if values and all(v is None or isinstance(v, str) for v in values):
        return Loaded(is_text=any(values))
    doubts: list[Unread] = []
    if _MERGE_OR_TAG.search(text):
        values = [_plain(v, doubts) for v in values]
    return Loaded(tuple(v for v in values if v is not None), doubts=tuple(doubts))


def _plain(value: Any, doubts: list[Unread]) -> Any:
    """Without YAML's merge keys, which its loader leaves, and without tags, which nobody evaluates."""
    if isinstance(value, list):
        return [_plain(v, doubts) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and isinstance(tag := next(iter(value)), str) and re.match(r"!\w", tag):
        doubts.append(Unread(f"tag {tag}", shown(value[tag]), f"the YAML tag {tag} is not evaluated"))
        return _plain(value[tag], doubts)
    merged: Json = {}
    under = value.get("<<")
    for part in under if isinstance(under, list) else [under]:
        if isinstance(part, dict):
            merged = {**_plain(part, doubts), **merged}
    return {**merged, **{k: _plain(v, doubts) for k, v in value.items() if k != "<<" or not isinstance(v, dict | list)}}
