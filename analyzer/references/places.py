"""Every mapping of a foreign document with the way to it: for documents whose queries may stand anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from analyzer.references.queries import Json, Unread
from analyzer.references.shapes import listing, mapping, shown

MAX_DEPTH = 100
"""Keys and positions down to a mapping. Dashboards have about 15."""
_TITLES = ("title", "displayName", "display_name", "board_title")


@dataclass(frozen=True, slots=True)
class Place:
    """A mapping, the keys and positions down to it, and the nearest title above or in it."""

    value: Json
    path: tuple[str, ...] = ()
    title: str = ""

    @property
    def where(self) -> str:
        place = "/".join(self.path)
        return f"{place} {self.title!r}".strip() if self.title else place

    def under(self, *keys: str) -> bool:
        return not set(keys).isdisjoint(self.path)


def places(document: Json) -> Iterator[Place | Unread]:
    """The mappings of a document from top to bottom, itself first. A stack, not recursion: JSON may nest deeper than the interpreter."""
    stack: list[tuple[Any, tuple[str, ...], str]] = [(document, (), "")]
    while stack:
        value, path, title = stack.pop()
        if len(path) > MAX_DEPTH and isinstance(value, dict | list):
            yield Unread("/".join(path[:6]), shown(cast("object", value)), f"nested deeper than {MAX_DEPTH}")
        elif isinstance(value, dict):
            holder = mapping(cast("object", value))
            title = _title(holder) or title if path else ""
            yield Place(holder, path, title)
            stack.extend((v, (*path, str(k)), title) for k, v in reversed(holder.items()) if isinstance(v, dict | list))
        elif isinstance(value, list):
            found = [(v, (*path, str(i)), title) for i, v in enumerate(listing(cast("object", value))) if isinstance(v, dict | list)]
            stack.extend(reversed(found))


def _title(holder: Json) -> str:
    return next((t for t in map(holder.get, _TITLES) if isinstance(t, str) and t), "")
