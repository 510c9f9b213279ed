"""Where documents hide: lists, ConfigMaps, custom resources, API envelopes, values of charts, texts inside texts.

`walk` takes any loaded value apart. What it meets is told in small values; the inventory puts them together, since a library panel or a
data source may be told by another file than the one that names it.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from analyzer.references.dashboards import ALONE, Surroundings, is_dashboard, is_panel, read_dashboard
from analyzer.references.loading import Loaded, load
from analyzer.references.queries import Found, Item, Json, JsonReader, Query, Unread
from analyzer.references.shapes import at as path_in
from analyzer.references.shapes import listing, mapping, metadata, owner_of, scalar
from analyzer.references.targets import names_in

MAX_DOCUMENT_BYTES = 32 * 2**20
"""Of one document, as text: Grafana itself refuses far smaller ones."""
MAX_DEPTH = 60
"""Of wrappings and keys down to a document."""
MAX_TEXTS = 5
"""Of texts inside texts: a list of ConfigMaps of a resource that holds a dashboard as text has three."""


@dataclass(frozen=True, slots=True)
class At:
    """The way down to a value: keys, those that a person would call it by (`named`: how many of the last ones are so), and the owner."""

    keys: tuple[str, ...] = ()
    named: bool = False
    owner: str | None = None
    depth: int = 0
    texts: int = 0

    def down(self, key: str, named: bool = False) -> At:
        return replace(self, keys=(*self.keys, key), named=named, depth=self.depth + 1)

    def renamed(self, key: str) -> At:
        """The last key said better: a resource's name instead of its number in a list."""
        keys = self.keys[:-1] if self.keys and self.keys[-1].isdigit() else self.keys
        return replace(self, keys=(*keys, key), named=False)

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


@dataclass(frozen=True, slots=True)
class SourceType:
    """A data source's plugin type, by its uid or name."""

    name: str
    kind: str


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


Thing = Met | Element | SourceType | Entry | Loose | Nothing
Readers = tuple[JsonReader, ...]


def unreadable(at: At, *items: Item) -> Met:
    key = at.keys[-1] if at.keys else ""
    return Met(at, lambda _: Found("unreadable", key, key, items, at.owner))


def walk(value: Any, at: At, readers: Readers) -> Iterator[Thing]:
    """Every thing in a loaded value. Nothing is met twice: what a reader takes, it takes whole."""
    if at.depth > MAX_DEPTH:
        yield unreadable(at, Unread("document", "", f"nested deeper than {MAX_DEPTH} wrappings"))
    elif isinstance(value, dict):
        yield from _mapping(mapping(value), at, readers)
    elif isinstance(value, list):
        yield from _list(listing(value), at, readers)


def _list(values: list[Any], at: At, readers: Readers) -> Iterator[Thing]:
    for number, value in enumerate(values):
        yield from walk(value, at.down(str(number)), readers)


def _mapping(value: Json, at: At, readers: Readers) -> Iterator[Thing]:
    at = _of_resource(value, at)
    for wrapping in _WRAPPINGS:
        things = wrapping(value, at, readers)
        if things is not None:
            yield from things
            return
    for reader in readers:
        found = reader(value)
        if found is not None:
            yield Met(at, _constant(found))
            return
    yield from _inside(value, at, readers)


def _constant(found: Found) -> Callable[[Around], Found]:
    return lambda _: found


def _of_resource(value: Json, at: At) -> At:
    """A Kubernetes resource is called by its name, and belongs to its folder, team or namespace."""
    if not isinstance(value.get("kind"), str) or not isinstance(value.get("metadata"), dict):
        return at
    name, namespace, labels = metadata(value)
    notes = mapping(path_in(value, "metadata", "annotations"))
    folder = next((scalar(notes[k]) for k in notes if k in _FOLDER_NOTES), None)
    at = at.renamed(name) if name else at
    return at.owned(folder or owner_of(labels, notes) or namespace)


_FOLDER_NOTES = frozenset({"grafana_folder", "grafana.app/folder", "grafana-folder", "folder", "k8s-sidecar-target-directory"})


# ---- wrappings -----------------------------------------------------------------------------------------------------------------------

Wrapping = Callable[[Json, At, Readers], Iterator[Thing] | None]


def _envelope(value: Json, at: At, readers: Readers) -> Iterator[Thing] | None:
    """Grafana's API: `{meta, dashboard}` when read, `{dashboard, folderUid, inputs}` when written."""
    inner = mapping(value.get("dashboard"))
    if not inner or is_dashboard(value) or not (is_dashboard(inner) or "elements" in inner or "spec" in inner):
        return None
    folder = scalar(path_in(value, "meta", "folderTitle")) or scalar(value.get("folderTitle"))
    inputs = value.get("inputs")
    return walk({**inner, "__inputs": inputs} if isinstance(inputs, list) and "__inputs" not in inner else inner, at.owned(folder), readers)


def _dashboard(value: Json, at: At, readers: Readers) -> Iterator[Thing] | None:
    if is_dashboard(value):
        return iter([Met(at, lambda around: read_dashboard(value, around.grafana), _stubs(value))])
    if is_panel(value):
        return iter([Met(at, lambda around: read_dashboard(value, around.grafana, "grafana_panel"), _stubs(value))])
    return None


def _stubs(value: Any) -> frozenset[str]:
    found: set[str] = set()
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            stub = mapping(node.get("libraryPanel"))
            found.update(t for key in ("uid", "name") if (t := scalar(stub.get(key))))
            stack.extend(v for v in node.values() if isinstance(v, dict | list))
    return frozenset(found)


def _element(value: Json, at: At, readers: Readers) -> Iterator[Thing] | None:
    """A library element as the API and exports give it."""
    model = value.get("model")
    uid, name = scalar(value.get("uid")), scalar(value.get("name"))
    if not isinstance(model, dict) or not (uid or name) or "refId" in value or "datasourceUid" in value:
        return None
    owner = scalar(path_in(value, "meta", "folderName"))
    return (
        iter([Element(at.owned(owner), uid or "", name or "", mapping(model))]) if is_dashboard({"panels": [model], "title": ""}) else None
    )


def _source(value: Json, at: At, readers: Readers) -> Iterator[Thing] | None:
    """A data source, as provisioned or as the API lists it."""
    kind, name = scalar(value.get("type")), scalar(value.get("name"))
    if (
        not kind
        or not name
        or not ({"access", "typeLogoUrl"} & value.keys() or at.keys[-2:-1] == ("datasources",) or at.keys[-1:] == ("datasource",))
    ):
        return None
    return (SourceType(n, kind) for n in (name, scalar(value.get("uid"))) if n)


def _config_map(value: Json, at: At, readers: Readers) -> Iterator[Thing] | None:
    if value.get("kind") not in ("ConfigMap", "Secret"):
        return None
    secret = value["kind"] == "Secret"
    plain = {} if secret else mapping(value.get("data"))
    encoded = {**mapping(value.get("binaryData")), **(mapping(value.get("data")) if secret else {})}
    return _entries(value, {**plain, **mapping(value.get("stringData"))}, encoded, at, readers)


def _entries(value: Json, plain: Json, encoded: Json, at: At, readers: Readers) -> Iterator[Thing]:
    name = scalar(path_in(value, "metadata", "name")) or ""
    met = False
    for key, text in [*plain.items(), *((k, _decoded(v)) for k, v in encoded.items())]:
        yield Entry(name, str(key))
        for thing in _embedded(text, at.down(str(key), named=True), readers):
            met = True
            yield thing
    if not met:
        yield Nothing(at, f"a {value['kind']} without dashboards or rules")


def _decoded(value: Any) -> Any:
    """Base64, and gzip inside it; None when it is neither."""
    try:
        raw = base64.b64decode(value, validate=False) if isinstance(value, str) else b""
        return (inflated(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (binascii.Error, ValueError, zlib.error):
        return None


def inflated(raw: bytes, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """gzip, up to a limit: a few bytes may hold gigabytes."""
    decoder = zlib.decompressobj(wbits=31)
    text = decoder.decompress(raw, limit + 1)
    if len(text) > limit:
        raise ValueError(f"larger than {limit} bytes when decompressed")
    if not decoder.eof:
        raise ValueError("gzip that ends early")
    return text


_WRAPPINGS: tuple[Wrapping, ...] = (_config_map, _envelope, _dashboard, _element, _source)


# ---- what no reader knows --------------------------------------------------------------------------------------------------------------

QUERY_KEYS = frozenset(
    {"expr", "query", "promql", "expression", "metricquery", "metricsquery", "seriesquery", "queries", "promqlquery", "metric_query"}
)
"""In small letters."""
_SUFFIX = re.compile(r"\.(?:json|ya?ml|rules?)(?:\.(?:gz|tmpl|txt))?$", re.IGNORECASE)
_TELLING = re.compile(r"^[\s-]*[\"']?(?:expr|query|groups|panels|targets|rules|record|alert|slos|widgets)[\"']?\s*:", re.MULTILINE)
_OFTEN = 12
"""Shorter texts hold no document."""


def _inside(value: Json, at: At, readers: Readers) -> Iterator[Thing]:
    met = False
    for key, inner in value.items():
        for thing in _member(str(key), inner, at, readers):
            met = True
            yield thing
    if not met and (at.depth == 0 or (isinstance(value.get("kind"), str) and isinstance(value.get("metadata"), dict))):
        kind = scalar(value.get("kind"))
        yield Nothing(at, f"{kind}: nothing in it is a query" if kind else _SEARCH if _is_search(value) else "nothing in it is a query")


_SEARCH = "a search result, which names a dashboard and holds none"


def _is_search(value: Json) -> bool:
    return str(value.get("type")).startswith("dash-") and "uid" in value


def _member(key: str, inner: Any, at: At, readers: Readers) -> Iterator[Thing]:
    if key.casefold() in QUERY_KEYS or (key == "filter" and "metric.type" in str(inner)):
        texts = [t for t in (inner if isinstance(inner, list) else [inner]) if isinstance(t, str) and t.strip()]
        yield from (Loose(at, key, t) for t in texts)
        if texts:
            return
    if isinstance(inner, str):
        yield from _embedded(inner, at.down(key, named=_SUFFIX.search(key) is not None), readers)
    elif isinstance(inner, dict | list):
        yield from _elsewhere(mapping(inner), key, at) if _is_elsewhere(inner, at) else walk(inner, at.down(key), readers)


def _is_elsewhere(value: Any, at: At) -> bool:
    """Grafana's Helm chart fetches dashboards by number or address: `dashboards: {folder: {name: {gnetId: 1860}}}`."""
    held = mapping(value)
    return (
        "dashboards" in at.keys
        and (bool(scalar(held.get("gnetId"))) or isinstance(held.get("url"), str))
        and not is_dashboard(held)
        and "json" not in held
    )


def _elsewhere(value: Json, key: str, at: At) -> Iterator[Thing]:
    number = scalar(value.get("gnetId"))
    name = f"dashboard {number} of grafana.com" if number else f"dashboard at {scalar(value.get('url'))}"
    gone = Unread(key, name, f"the {name} is not among the documents")
    yield Met(at.down(key), lambda _: Found("grafana_dashboard", key, key, (gone,), at.owner))


def _embedded(text: Any, at: At, readers: Readers) -> Iterator[Thing]:
    """The documents in a text that stands in a value. One that its key calls JSON or YAML must load; others are tried."""
    called = bool(at.keys and _SUFFIX.search(at.keys[-1]))
    if not isinstance(text, str) or len(text) < _OFTEN or not (called or text.lstrip()[:1] in "{[" or _TELLING.search(text)):
        return
    loaded = load(text) if at.texts < MAX_TEXTS else Loaded((), (Unread("document", "", f"more than {MAX_TEXTS} texts inside texts"),))
    yield from things_of(loaded, replace(at, texts=at.texts + 1), readers, called or bool(_TELLING.search(text)))


def things_of(loaded: Loaded, at: At, readers: Readers, must_load: bool) -> Iterator[Thing]:
    """What a loaded text holds. Failures count where the text was meant to be a document; doubts where it is one."""
    several = len(loaded.values) + len(loaded.failed) > 1
    met = False
    for number, value in enumerate(loaded.values):
        for thing in walk(value, at.down(str(number)) if several else at, readers):
            met = met or isinstance(thing, Met)
            yield thing
    doubtful = (*(loaded.failed if must_load else ()), *(loaded.doubts if met else ()))
    for number, item in enumerate(doubtful, len(loaded.values)):
        yield unreadable(at.down(str(number)) if several else at, item)


_PROMQL = re.compile(r"[A-Za-z_:][\w:]*\s*[({\[]")


def loose_query(loose: Loose) -> Item | None:
    """A text that looks like PromQL is tried as such; of any other the names in it are protected."""
    where = "/".join((*loose.at.keys, loose.key))
    if loose.key == "filter":
        return Query("gcp_filter", "panel", where, loose.text)
    if _PROMQL.search(loose.text):
        return Query("promql", "panel", where, loose.text)
    touches = names_in([loose.text], {})
    return Unread(where, loose.text[:2_000], "a query in a document of unknown kind", touches) if touches else None
