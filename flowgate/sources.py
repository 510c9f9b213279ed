"""Live sources of usage documents: what is connected, how the last fetch went, and what we are blind to because of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NewType, get_args

from flowgate.advice import BlindSpot
from flowgate.errors import Invalid, Problem
from flowgate.ids import OrgId

SourceId = NewType("SourceId", str)
SourceKind = Literal["grafana", "prometheus", "mimir", "victoriametrics", "query_log"]
"""`prometheus`: also Thanos and vmalert, which serve the same rules API. `mimir`: also Cortex. `victoriametrics`: how often each metric was
queried. `query_log`: a file on the control plane's machine."""
EXECUTED: frozenset[SourceKind] = frozenset({"victoriametrics", "query_log"})
"""Kinds that say what was run, and not only what is written."""
KINDS: tuple[SourceKind, ...] = get_args(SourceKind)
Fault = Literal["theirs", "later", "ours"]
"""Whose a failure is. `theirs`: it needs a person (token, address, permission). `later`: trying again may help. `ours`: this machine."""

STALE = timedelta(hours=24)
"""CONTRACTS: a source that failed or is over 24 h old hides."""
MIN_INTERVAL, MAX_INTERVAL = 60, 12 * 3600
"""At most half of `STALE`: one fetch may be missed before the source counts as stale."""
RETRY = timedelta(minutes=5)
"""A source that failed is tried again after this long, or after its interval where that is shorter."""
MAX_NAMED = 20
"""Documents of one source that are named one by one; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Source:
    """One connection of an org. Its token is a secret and lives apart, in the store alone.

    `url` is the base address; of a `query_log`, a path below the folder that the control plane's settings allow. `tenant` goes into
    `X-Scope-OrgID`, of a Grafana into `X-Grafana-Org-Id`. `prefix` stands before a Mimir's rules APIs (None: `/prometheus`). `user` makes
    the token a password of basic authentication; without it, it is a bearer token.
    """

    org: OrgId
    id: SourceId
    kind: SourceKind
    url: str
    created: datetime
    enabled: bool = True
    interval_seconds: int = 3600
    tenant: str | None = None
    prefix: str | None = None
    user: str | None = None

    @property
    def address(self) -> tuple[str | None, ...]:
        """What decides what a fetch reads: when it changes, earlier fetches say nothing about the source any more."""
        return self.kind, self.url, self.tenant, self.prefix, self.user


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """One document that is known to exist and could not be fetched."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """One attempt. `ok`: every list was fetched whole, so that what exists is known; single documents may still be in `failed`."""

    org: OrgId
    source: SourceId
    started: datetime
    finished: datetime
    ok: bool
    documents: int = 0
    failed: tuple[FailedDocument, ...] = ()
    error: str | None = None
    fault: Fault | None = None
    notes: tuple[str, ...] = ()
    """What lowers trust and hides nothing that is known of, such as a token that may not see everything."""


@dataclass(frozen=True, slots=True)
class History:
    """The last attempt of a source, and the last one that was `ok`; None where there was none since its address changed."""

    last: Fetch | None = None
    good: Fetch | None = None


NEVER = History()
Document = tuple[str, str]
"""Path and text."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one attempt brought: documents as text, for the analyzer to parse."""

    documents: tuple[Document, ...] = ()
    failed: tuple[FailedDocument, ...] = ()
    error: str | None = None
    fault: Fault | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.error is None


# --- what a source may be ----------------------------------------------------------------------------------------------------------------

_URL = re.compile(r"https?://[^/?#@\\\s\x00-\x1f\x7f]+(?:/[^?#\\\s\x00-\x1f\x7f]*)?", re.IGNORECASE)
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
MAX_TEXT = 2_000


def checked(source: Source, token: str | None = None) -> Source:
    """The source itself, or `Invalid` with every place that is wrong. Messages never repeat a value: it might be a secret."""
    problems = tuple(_problems(source, token))
    if problems:
        raise Invalid("the source is not valid", problems)
    return source


def _problems(source: Source, token: str | None) -> Iterator[Problem]:
    pattern, said = _SHAPES["path" if source.kind == "query_log" else "url"]
    values: tuple[tuple[str, str | None, re.Pattern[str], str], ...] = (
        ("url", source.url, pattern, said),
        ("tenant", source.tenant, *_SHAPES["header"]),
        ("user", source.user, *_SHAPES["header"]),
        ("token", token, *_SHAPES["header"]),
        ("prefix", source.prefix, *_SHAPES["prefix"]),
    )
    for name, value, shape, words in values:
        if value is not None and not (len(value) <= MAX_TEXT and shape.fullmatch(value)):
            yield Problem(name, words)
    if not MIN_INTERVAL <= source.interval_seconds <= MAX_INTERVAL:
        yield Problem("interval_seconds", f"{MIN_INTERVAL} to {MAX_INTERVAL}")
    if source.user is not None and ":" in source.user:
        yield Problem("user", "no colon: basic authentication (RFC 7617, 2) has no room for one")


_SHAPES = {
    "url": (_URL, "http:// or https://, a host, perhaps a path; no user, query or fragment"),
    "path": (_FILE, "a relative path: letters, digits, `.`, `_`, `-` and `/`, no part of which starts with a dot"),
    "header": (_HEADER, "printable ASCII, no space at the ends"),
    "prefix": (_PREFIX, "a path such as /prometheus, or empty"),
}


# --- when to fetch -----------------------------------------------------------------------------------------------------------------------


def jitter(source: Source) -> timedelta:
    """Up to a tenth of the interval, the same in every process: sources of one interval do not all fetch at once."""
    digest = hashlib.sha256(f"{source.org}\0{source.id}".encode()).digest()
    return timedelta(seconds=source.interval_seconds * int.from_bytes(digest[:6], "big") / 2**48 / 10)


def due(source: Source, history: History, now: datetime) -> bool:
    """Never fetched: at once. A clock that was set back makes everything due, rather than nothing for as long as it was set back."""
    last = history.last
    if not source.enabled or last is None or last.started > now:
        return source.enabled
    interval = timedelta(seconds=source.interval_seconds)
    wait = interval if last.ok else min(interval, RETRY)
    return last.started + wait + jitter(source) <= now


# --- what is not seen ----------------------------------------------------------------------------------------------------------------------

State = Literal["good", "partial", "stale", "failed", "never", "disabled"]


def state_of(source: Source, history: History, now: datetime) -> State:
    """`good` alone hides nothing. A source that is switched off hides until it is deleted: it would still have something to say."""
    last = history.last
    if not source.enabled:
        return "disabled"
    if last is None:
        return "never"
    if not last.ok:
        return "failed"
    if now - last.started > STALE:
        return "stale"
    return "partial" if last.failed else "good"


def source_spots(sources: Iterable[Source], histories: Mapping[SourceId, History], now: datetime) -> tuple[BlindSpot, ...]:
    """Every reason why a live source may hide a reader (of any name, as nobody knows what it would have said) or lowers trust."""
    return tuple(spot for s in sources for spot in _spots(s, histories.get(s.id, NEVER), now))


def _spots(source: Source, history: History, now: datetime) -> Iterator[BlindSpot]:
    state = state_of(source, history, now)
    said = _SAID.get(state)
    if said is not None:
        error = history.last.error if history.last and state == "failed" else None
        text = f"the {source.kind} source {source.id} {said}; {_age(history, now)}" + (f": {error}" if error else "")
        yield BlindSpot("hiding", text, document=source.id)
    if history.last is not None:
        yield from _missing(source, history.last.failed)
        yield from (BlindSpot("narrowing", f"{source.id}: {note}", document=source.id) for note in history.last.notes)


_SAID: Mapping[State, str] = {
    "disabled": "is switched off",
    "never": "was not fetched yet",
    "failed": "could not be fetched whole",
    "stale": "is stale",
}


def _missing(source: Source, failed: Sequence[FailedDocument]) -> Iterator[BlindSpot]:
    for one in failed[:MAX_NAMED]:
        yield BlindSpot("hiding", f"not fetched from {source.id}: {one.reason}", document=f"{source.id}/{one.path}")
    if len(failed) > MAX_NAMED:
        yield BlindSpot("hiding", f"{len(failed) - MAX_NAMED} more documents not fetched from {source.id}", document=source.id)


def _age(history: History, now: datetime) -> str:
    if history.good is None:
        return "no fetch ever was good"
    return f"the last good fetch was {age_text(now - history.good.started)} ago"


def age_text(age: timedelta) -> str:
    """In the largest unit that it fills, rounded down: `25 h`, `3 min`."""
    seconds = max(int(age.total_seconds()), 0)
    for unit, size in (("d", 86_400 * 2), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // (86_400 if unit == 'd' else size)} {unit}"
    return f"{seconds} s"


def executing_sources(sources: Iterable[Source], histories: Mapping[SourceId, History], now: datetime) -> tuple[SourceId, ...]:
    """Sources of executed queries that are connected and seen: without one, every verdict's risk is a step higher."""
    seen = (s.id for s in sources if s.kind in EXECUTED and state_of(s, histories.get(s.id, NEVER), now) in ("good", "partial"))
    return tuple(seen)
