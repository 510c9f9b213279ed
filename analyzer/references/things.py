"""What is met on the way through loaded values: documents, and what they need from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from analyzer.references.dashboards import ALONE, Surroundings
from analyzer.references.queries import Found, Item, Json


@dataclass(frozen=True, slots=True)
class At:
    """The way down to a value: `keys` of mappings and numbers in lists; `names`, the same as a person would say it (a resource's name
    instead of its number); whether the last of them was given to be a file's name (`named`); and the owner."""

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    named: bool = False
    owner: str | None = None
    texts: int = 0

    @property
    def depth(self) -> int:
        return len(self.keys)

    @property
    def key(self) -> str:
        return self.names[-1] if self.names else ""

    def down(self, key: str, named: bool = False) -> At:
        return At((*self.keys, key), (*self.names, key), named, self.owner, self.texts)

    def renamed(self, name: str) -> At:
        names = self.names[:-1] if self.names and self.names[-1].isdigit() else self.names
        return At(self.keys, (*names, name), False, self.owner, self.texts)

    def owned(self, owner: str | None) -> At:
        return replace(self, owner=owner) if owner else self


@dataclass(frozen=True, slots=True)
class Around:
    """What all inputs together say."""

    grafana: Surroundings = ALONE
    config_maps: frozenset[tuple[str, str]] = frozenset()
    """Name and key of every ConfigMap's entry that is among the documents."""


@dataclass(frozen=True, slots=True)
class Met:
    """A document, to be read when everything around it is known. `stubs`: uids and names of library panels that it points at."""

    at: At
    read: Callable[[Around], Found]
    stubs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Element:
    """A library panel: of no use alone, read where dashboards point at it."""

    at: At
    uid: str
    name: str
    model: Json
    spare: bool = False
    """It came with an export, whose own dashboard it serves: nobody reads it alone."""


@dataclass(frozen=True, slots=True)
class SourceType:
    """A data source's plugin type, by its uid or name; whether it is the default one."""

    name: str
    kind: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a ConfigMap that is among the documents."""

    config_map: str
    key: str


@dataclass(frozen=True, slots=True)
class Loose:
    """A text under a query's usual key, in a place that no reader knows."""

    at: At
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """A value in which no query was found, in words."""

    at: At
    reason: str
    unless_met: bool = False
    """Said before what is inside is known: it holds when no document turns up under its way."""


@dataclass(frozen=True, slots=True)
class Inner:
    """A value inside a wrapping, to be walked on."""

    at: At
    value: Any


@dataclass(frozen=True, slots=True)
class Text:
    """A text inside a wrapping that may hold documents. `must`: it was meant to be one, so that it must load."""

    at: At
    text: str
    must: bool = False
    library: str | None = None
    """It is a library panel of this uid."""


Thing = Met | Element | SourceType | Entry | Loose | Nothing
Wrapped = Thing | Inner | Text


def unreadable(at: At, *items: Item) -> Met:
    return Met(at, lambda _: Found("unreadable", at.key, at.key, items, at.owner))
