"""What must not be stored: each org's rules, applied to every value before the store sees it.

A rule is an RE2 pattern and what stands in its place. Values are log bodies, attribute values, span names and service names; names of metrics,
attributes and scopes are none. A series keeps its id, a keyed hash of what was sent, so counts stay exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import re2

from flowgate.errors import Broken
from flowgate.ids import OrgId
from ingest.columns import Staged

REREAD_SECONDS = 2.0
EVERY_ORG = "*"
_TEXT: Mapping[str, tuple[str, ...]] = {
    "kv": ("value",),
    "series": ("service",),
    "log_counts": ("service",),
    "logs": ("service", "body"),
    "span_counts": ("service", "name"),
    "spans": ("service", "name"),
}
_JSON: Mapping[str, tuple[str, ...]] = {"logs": ("attributes",), "spans": ("attributes",)}


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` is RE2; `replacement` stands for each match as it is, without references to groups."""

    name: str
    pattern: str
    replacement: str


Rules = tuple[Rule, ...]


def parse_rules(text: str) -> Mapping[OrgId, Rules]:
    """`{org or "*": [{"name", "pattern", "replacement"}]}`. Raises ValueError naming the org and the rule that is wrong."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("the file is an object of orgs")
    return {OrgId(str(org)): tuple(_rule(str(org), entry) for entry in entries) for org, entries in _items(content)}


def _items(content: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    for org, entries in content.items():
        if not isinstance(entries, list):
            raise ValueError(f"{org}: not a list of rules")
    return list(content.items())


def _rule(org: str, entry: Any) -> Rule:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    name, pattern, replacement = (fields.get(k) for k in ("name", "pattern", "replacement"))
    if not (isinstance(name, str) and isinstance(pattern, str) and isinstance(replacement, str)):
        raise ValueError(f"{org}: a rule has a name, a pattern and a replacement")
    rule = Rule(name, pattern, replacement)
    try:
        matches_nothing = re2.compile(rule.pattern).search("") is None
    except re2.error as error:
        raise ValueError(f"{org}: {rule.name}: {error}") from None
    if not matches_nothing:
        raise ValueError(f"{org}: {rule.name}: the pattern matches the empty text")
    return rule


@dataclass(slots=True)
class FileRules:
    """Rules by org from `path`, read again when it changed; without a path, none.

    A file that is missing or wrong at the start raises `Broken`; one that becomes so later changes nothing, and `damaged` counts.
    """

    path: Path | None
    monotonic: Callable[[], float]
    damaged: int = 0
    _known: Mapping[OrgId, Rules] = field(default_factory=dict[OrgId, Rules])
    _stamp: tuple[int, int] | None = None
    _looked: float = 0.0

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            self._read(self.path)
        except (OSError, ValueError) as error:
            raise Broken(f"{self.path} holds no redaction rules: {error}") from None

    def rules(self, org: OrgId) -> Rules:
        """What everyone's values and this org's must not hold."""
        self._refresh()
        return self._known.get(OrgId(EVERY_ORG), ()) + self._known.get(org, ())

    def _refresh(self) -> None:
        now = self.monotonic()
        if self.path is None or now - self._looked < REREAD_SECONDS:
            return
        self._looked = now
        try:
            self._read(self.path)
        except (OSError, ValueError):
            self.damaged += 1

    def _read(self, path: Path) -> None:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._known = parse_rules(path.read_text())
            self._stamp = stamp


def redacted(rows: Staged, rules: Rules) -> Staged:
    """The same rows without what the rules match."""
    if not rules:
        return rows
    clean = _cleaner(rules)
    return Staged({name: _table(name, table, clean) for name, table in rows.tables.items()}, rows.rejected)


def _cleaner(rules: Rules) -> Callable[[str], str]:
    compiled = [(re2.compile(r.pattern), r.replacement) for r in rules]

    def clean(text: str) -> str:
        for pattern, replacement in compiled:
            text = pattern.sub(lambda _, by=replacement: by, text)
        return text

    return clean


def _table(name: str, table: Any, clean: Callable[[str], str]) -> Any:
    for column in _TEXT.get(name, ()):
        table = _mapped(table, column, lambda text: clean(_inside(text, clean)))
    for column in _JSON.get(name, ()):
        table = _mapped(table, column, lambda text: _inside(text, clean))
    return table


def _inside(text: str, clean: Callable[[str], str]) -> str:
    """A list or map is written as JSON, whose escapes would hide what a rule looks for. What no rule matches stays as it was written."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        value = json.loads(text)
        cleaned = _leaves(value, clean)
        return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)
    except (ValueError, RecursionError):  # a text that only begins like JSON
        return text


def _mapped(table: Any, column: str, change: Callable[[str], str]) -> Any:
    """Each distinct value is looked at once."""
    index = table.schema.get_field_index(column)
    coded = table.column(column).cast(pa.string()).combine_chunks().dictionary_encode()
    words = pa.array([change(word) for word in coded.dictionary.to_pylist()], pa.string())
    return table.set_column(index, column, pa.DictionaryArray.from_arrays(coded.indices, words).cast(pa.string()))


def _leaves(value: Any, clean: Callable[[str], str]) -> Any:
    """Texts and numbers, wherever they are; a number that a rule changes becomes a text."""
    if isinstance(value, dict):
        return {key: _leaves(inner, clean) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_leaves(inner, clean) for inner in cast("list[Any]", value)]
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool) or value is None:
        return value
    text = json.dumps(value)
    return value if clean(text) == text else clean(text)
