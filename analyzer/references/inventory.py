"""All documents of all inputs: found in any wrapping, read with what the others say of library panels and data sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from analyzer.references import autoscaling, datadog, gcp, perses, prometheus_rules, querylog, signoz, slo
from analyzer.references.dashboards import Surroundings, read_dashboard
from analyzer.references.loading import Loaded, asks, load
from analyzer.references.queries import Document, Found, Json, JsonReader, TextReader, Unread
from analyzer.references.things import Around, At, Element, Entry, Loose, Met, Nothing, SourceType, Thing, unreadable
from analyzer.references.walking import loose_query, things_of
from analyzer.references.wrappings import MAX_DOCUMENT_BYTES, is_called

READERS: tuple[JsonReader, ...] = (
    *slo.READERS,
    *signoz.READERS,
    *perses.READERS,
    *gcp.READERS,
    *datadog.READERS,
    *autoscaling.READERS,
    *querylog.READERS,
    *prometheus_rules.READERS,
)
"""In this order: exact marks before loose shapes. Grafana's own come before all, in `wrappings.WRAPPINGS`."""
TEXT_READERS: tuple[TextReader, ...] = querylog.TEXT_READERS
_BRACKET = re.compile(r"[\ufeff\s]*[{\[]")
"""How JSON begins. Lines of words may be YAML by accident: in `a=b c="d: e"` the first colon makes a key."""
_PLAIN = re.compile(
    r"\.(?:md|rst|txt|html?|csv|log|adoc)$|(?:^|/)(?:LICENSE|NOTICE|README|CHANGELOG|Makefile|Dockerfile)[^/]*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Input:
    """One file as text. `trouble`: why the shell could not give its text (too large, not UTF-8, a template). `scope`: what it belongs
    together with: the argument that it was given by, or (`live`) the source that it was fetched from. `found`: it was read line by line."""

    path: str
    text: str
    trouble: str | None = None
    scope: str = ""
    live: bool = False
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is no document, and why: told, since it might surprise."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]


def read_inputs(
    inputs: Sequence[Input], readers: tuple[JsonReader, ...] = READERS, text_readers: tuple[TextReader, ...] = TEXT_READERS
) -> Inventory:
    """Every document of every input, in order. Never raises: what cannot be read becomes a document that says so."""
    files = [(given, list(_things(given, readers, text_readers))) for given in inputs]
    scopes = _scopes(files)
    documents: list[Document] = []
    skipped: list[Skipped] = []
    for given, things in files:
        scope = scopes[given.scope, given.live]
        met = [*_met(things, scope.used)]
        documents += _documents(given, met, scope.around)
        skipped += _skipped(given.path, things, bool(met))
    return Inventory(tuple(documents), tuple(skipped))


def _things(given: Input, readers: tuple[JsonReader, ...], text_readers: tuple[TextReader, ...]) -> Iterator[Thing]:
    trouble = given.trouble or _too_large(given.text)
    if trouble:
        yield unreadable(At(), Unread("document", "", trouble))
        return
    loaded, found = load(given.text), given.found
    if found is None and (loaded.failed or loaded.is_text or len(loaded.values) > 1 or not _BRACKET.match(given.text)):
        found = next((f for reader in text_readers if (f := reader(given.text)) is not None), None)
    if found is not None:
        yield Met(At(), lambda _: found)
    elif _is_plain(given, loaded):
        missing = _stands_for(given)
        yield unreadable(At(), Unread("document", "", missing)) if missing else Nothing(At(), "plain text")
    elif not loaded.values and not loaded.failed:
        yield Nothing(At(), "a template in which nothing looks like a query" if loaded.dull else "empty")
    else:
        yield from things_of(loaded, At(), readers, loaded.failed)


def _is_plain(given: Input, loaded: Loaded) -> bool:
    """Words, and no document: a text that loads as such, or one that does not load and is not called a document."""
    if not loaded.failed:
        return loaded.is_text
    return (
        not loaded.values
        and not is_called(given.path)
        and (loaded.is_text or (_PLAIN.search(given.path) is not None and not asks(given.text)))
    )


_LFS = re.compile(r"version https?://\S+\noid \S+\nsize \d+\s*")
_LINK = re.compile(r"[\w./@+-]+\.(?:json|ya?ml|rules?)\s*")


def _stands_for(given: Input) -> str | None:
    """What is lost where words stand in a document's place: a page that asks for a password, say. A link that was written as a file holds the name of another file, which is read
    where it is given."""
    if is_called(given.path) and _LFS.fullmatch(given.text):
        return "a pointer of Git LFS: the document itself is not here"
    is_json = given.text.lstrip().startswith('"') or not given.path.casefold().endswith(".json")
    return None if is_json or _LINK.fullmatch(given.text) else "called JSON, and no JSON"


def _too_large(text: str) -> str | None:
    large = len(text) * 4 > MAX_DOCUMENT_BYTES and len(text.encode(errors="replace")) > MAX_DOCUMENT_BYTES
    return f"larger than {MAX_DOCUMENT_BYTES} bytes" if large else None


@dataclass(frozen=True, slots=True)
class _Scope:
    """What belongs together knows together; `used` are the library panels that are pointed at."""

    around: Around
    used: frozenset[str]


_Files = Sequence[tuple[Input, Sequence[Thing]]]


def _scopes(files: _Files) -> dict[tuple[str, bool], _Scope]:
    """Each live source is a world of its own: two Grafanas may use one uid for two things. What was given as files may be one system's
    in several arguments: each argument says first what its uids mean, then the others, where they agree."""
    parts: dict[tuple[str, bool], list[Thing]] = {}
    for given, things in files:
        parts.setdefault((given.scope, given.live), []).extend(things)
    entries = frozenset((t.config_map, t.key) for things in parts.values() for t in things if isinstance(t, Entry))
    known = {key: _known(things) for key, things in parts.items()}
    others = _agreed(known.values())
    loose = frozenset[str]().union(*(k.used for (_, live), k in known.items() if not live))
    return {key: _scope(own, others, entries, key[1], own.used if key[1] else loose) for key, own in known.items()}


@dataclass(frozen=True, slots=True)
class _Known:
    """What one scope says; `kinds` of a name are several where it says several things."""

    kinds: Mapping[str, frozenset[str]]
    defaults: frozenset[str]
    panels: Mapping[str, Json]
    named: Mapping[str, Json]
    used: frozenset[str]


def _known(things: Sequence[Thing]) -> _Known:
    elements = [t for t in things if isinstance(t, Element)]
    kinds: dict[str, set[str]] = {}
    for thing in things:
        if isinstance(thing, SourceType):
            kinds.setdefault(thing.name, set()).add(thing.kind)
    return _Known(
        {name: frozenset(of) for name, of in kinds.items()},
        frozenset(t.kind for t in things if isinstance(t, SourceType) and t.default),
        {e.uid: e.model for e in elements if e.uid},
        {e.name: e.model for e in elements if e.name},
        frozenset(stub for t in things if isinstance(t, Met) for stub in t.stubs),
    )


def _agreed(known: Iterable[_Known]) -> _Known:
    """All that is said somewhere and nowhere otherwise."""
    listed = list(known)
    kinds = {name: frozenset[str]().union(*(k.kinds.get(name, frozenset()) for k in listed)) for k in listed for name in k.kinds}
    panels, named = _undisputed([k.panels for k in listed]), _undisputed([k.named for k in listed])
    return _Known(kinds, frozenset(), panels, named, frozenset())


def _undisputed(models: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    disputed: set[str] = set()
    for name, model in (item for one in models for item in one.items()):
        if found.setdefault(name, model) != model:
            disputed.add(name)
    return {name: model for name, model in found.items() if name not in disputed}


def _scope(own: _Known, others: _Known, entries: frozenset[tuple[str, str]], live: bool, used: frozenset[str]) -> _Scope:
    sources, default = _certain(own.kinds), next(iter(own.defaults)) if len(own.defaults) == 1 else ""
    if live:
        return _Scope(Around(Surroundings(own.panels, own.named, sources, {}, default, True), entries), used)
    hearsay = {name: kind for name, kind in _certain(others.kinds).items() if name not in own.kinds}
    panels, named = {**others.panels, **own.panels}, {**others.named, **own.named}
    return _Scope(Around(Surroundings(panels, named, sources, hearsay, default), entries), used)


def _certain(kinds: Mapping[str, frozenset[str]]) -> dict[str, str]:
    return {name: next(iter(of)) for name, of in kinds.items() if len(of) == 1}


def _met(things: Iterable[Thing], used: frozenset[str]) -> Iterator[Met]:
    """The documents of one file: those met, library panels that no dashboard shows, and one for all loose queries."""
    loose = tuple(item for t in things if isinstance(t, Loose) and (item := loose_query(t)))
    for thing in things:
        if isinstance(thing, Met):
            yield thing
        elif isinstance(thing, Element) and not thing.spare and not {thing.uid, thing.name} & used:
            yield _alone(thing)
    if loose:
        yield Met(At(), lambda _: Found("unknown", "", "", loose))


def _alone(element: Element) -> Met:
    def read(around: Around) -> Found:
        found = read_dashboard({"panels": [element.model], "title": element.name}, around.grafana, "grafana_library_panel")
        return replace(found, id=element.uid or element.name)

    return Met(element.at, read)


def _documents(given: Input, met: Sequence[Met], around: Around) -> Iterator[Document]:
    for one, key in zip(met, keys_of(met), strict=True):
        found = one.read(around)
        path = f"{given.path}#{key}" if key else given.path
        yield Document(path, found if found.owner else replace(found, owner=one.at.owner), given.scope if given.live else None)


def keys_of(met: Sequence[Met]) -> list[str]:
    """The shortest ends of the ways down that tell a file's documents apart; none for the only one, unless it has a name of its own."""
    if len(met) == 1:
        return [met[0].at.key if met[0].at.named else ""]
    ways = [m.at.names for m in met]
    keys = [""] * len(ways)
    for length in range(1, max(map(len, ways), default=0) + 1):
        ends = ["/".join(way[-length:]) for way in ways]
        count = Counter(end for end, _ in set(zip(ends, ways, strict=True)))
        keys = [key or (end if count[end] == 1 else "") for key, end in zip(keys, ends, strict=True)]
    return _numbered(keys)


def _numbered(keys: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    made: list[str] = []
    for key in keys:
        seen[key] += 1
        made.append(key if seen[key] == 1 else f"{key}~{seen[key]}")
    return made


def _skipped(path: str, things: Sequence[Thing], met: bool) -> Iterator[Skipped]:
    full = {t.at.keys[: len(t.at.keys) - n] for t in things if isinstance(t, Met | Loose | Element) for n in range(len(t.at.keys) + 1)}
    told = any(isinstance(t, SourceType) for t in things)
    nothing = [t for t in things if isinstance(t, Nothing) and not (t.unless_met and (t.at.keys in full or (told and not t.at.keys)))]
    for thing in nothing:
        key = "/".join(thing.at.names)
        yield Skipped(f"{path}#{key}" if key and (met or len(nothing) > 1) else path, thing.reason)
    if not met and not nothing:
        yield Skipped(path, _reason(things))


def _reason(things: Sequence[Thing]) -> str:
    kinds = {type(t) for t in things}
    return (
        "library panels that dashboards show" if Element in kinds else "data sources" if SourceType in kinds else "nothing in it is a query"
    )
