"""What the values of a label look like: a classifier fitted on generated values when it is first needed, and kept in memory.

The same values are generated every time (a fixed seed), so the same text has the same shape in every process. Nothing is stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from string import Template
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SEED = 20260101
EACH = 450
"""Values generated for each shape."""
LONGEST = 400
"""Characters of a value that are looked at."""


class Shape(StrEnum):
    """What a value looks like."""

    UUID = "uuid"
    IP = "ip"
    PATH_WITH_IDS = "path_with_ids"
    PATH = "path"
    """A path of words and placeholders: a route."""
    URL = "url"
    TIMESTAMP = "timestamp"
    SQL = "sql"
    EMAIL = "email"
    HASH = "hash"
    GENERATED_NAME = "generated_name"
    """A name with letters and digits at its end that were drawn: pods, containers, instances."""
    NUMBER = "number"
    WORD = "word"
    """A word or a few joined, as enumerations have them."""
    OTHER = "other"


UNBOUNDED = frozenset(
    {Shape.UUID, Shape.IP, Shape.PATH_WITH_IDS, Shape.URL, Shape.TIMESTAMP, Shape.SQL, Shape.EMAIL, Shape.HASH, Shape.GENERATED_NAME},
)
"""Shapes of what never ends: there is always one more."""


def classify(texts: Sequence[str]) -> list[str]:
    """The shape of each text."""
    if not texts:
        return []
    model, names = _model()
    return [names[i] for i in model.predict(_features(texts)).tolist()]


def available() -> bool:
    """Whether what it takes is installed."""
    return find_spec("sklearn") is not None


@cache
def _model() -> tuple[Any, list[str]]:
    """Fitted in about a second."""
    from sklearn.ensemble import ExtraTreesClassifier  # heavy: only who asks for a shape pays for it

    texts, labels = generated(SEED, EACH)
    names = [shape.value for shape in Shape]
    model = ExtraTreesClassifier(n_estimators=40, random_state=0)
    model.fit(_features(texts), [names.index(label) for label in labels])
    return model, names


# --- what is looked at ---------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[^\s/.:,;?&=@_\-(){}\[\]<>|+\"'`]+")
_HEX = re.compile(r"[0-9a-fA-F]+")
_HEX_RUN = re.compile(r"[0-9a-fA-F]{4,}")
_DIGITS = re.compile(r"\d+")
_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ](?:\d{1,2}|[A-Za-z]{3})[-/. ]\d{2,4}|[A-Z][a-z]{2} +\d{1,2}")
_SQL_WORD = re.compile(
    r"\b(?:select|from|where|insert|into|values|update|set|delete|join|group by|order by|limit|create|table|alter|begin|commit|and|in|returning)\b",
    re.I,
)
_SQL_START = re.compile(r"\s*(?:select|insert into|update|delete from|create|alter|drop|with|begin|call|merge|truncate)\s", re.I)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][-+]?\d+)?(?: ?(?:%|ms|[kKMG]i?B|s|us|ns|B))?")
_PUNCTUATION = "-_./:@ ?=&%,(){}*'\"+#<>;"
_VOWELS = frozenset("aeiouyAEIOUY")


def _features(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([_looked(text[:LONGEST]) for text in texts], np.float64)


def _looked(text: str) -> list[float]:
    n = max(len(text), 1)
    tokens = _TOKEN.findall(text)
    return [
        math.log1p(len(text)),
        *(min(text.count(c), 8) / 8 for c in _PUNCTUATION),
        *_letters(text, n),
        *_runs(text, n),
        *_token_kinds(tokens),
        *_landmarks(text, n),
    ]


def _letters(text: str, n: int) -> tuple[float, ...]:
    letters = sum(c.isalpha() for c in text)
    return (
        sum(c.isdigit() for c in text) / n,
        letters / n,
        sum(c.isupper() for c in text) / n,
        sum(c in _VOWELS for c in text) / max(letters, 1),
        sum(ord(c) > 127 for c in text) / n,
        len(set(text)) / n,
    )


def _runs(text: str, n: int) -> tuple[float, ...]:
    digits = [len(r) for r in _DIGITS.findall(text)]
    mixed = [r for r in _HEX_RUN.findall(text) if any(c.isdigit() for c in r)]
    return (
        min(max(digits, default=0), 40),
        len(digits),
        min(max(map(len, mixed), default=0), 128),
        sum(map(len, mixed)) / n,
        len(mixed),
    )


def _token_kinds(tokens: Sequence[str]) -> tuple[float, ...]:
    k = max(len(tokens), 1)
    numbers = sum(t.isdigit() for t in tokens)
    ids = sum(is_id(t) for t in tokens)
    return (
        len(tokens),
        numbers / k,
        ids,
        ids / k,
        sum(_HEX.fullmatch(t) is not None for t in tokens) / k,
        sum(t.isalpha() for t in tokens) / k,
        max((len(t) for t in tokens), default=0),
        sum(map(len, tokens)) / k,
    )


def is_id(token: str) -> bool:
    """A number of some digits, or letters and digits mixed as no word has them."""
    digits = sum(c.isdigit() for c in token)
    if digits == len(token):
        return digits > 1
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(token))
    return digits > 0 and (len(token) >= 8 or changes >= 3)


def _landmarks(text: str, n: int) -> tuple[float, ...]:
    return (
        text.startswith("/"),
        "://" in text[:12],
        text.lower().startswith(("http", "www.")),
        bool(_QUAD.match(text)),
        text.count(":") >= 2 and _HEX.fullmatch(text.replace(":", "").replace(".", "").split("%")[0].split("/")[0]) is not None,
        bool(_CLOCK.search(text)),
        bool(_DATE.search(text)),
        text[:10].isdigit() and len(text) in (10, 13, 16, 19) and text[0] in "12" and text.isdigit(),
        bool(_NUMBER.fullmatch(text)),
        min(len(_SQL_WORD.findall(text)), 6),
        _SQL_START.match(text) is not None,
        _is_hex(text) and n >= 8,
        text.count("-") == 4 and n == 36,
        _is_hex(text.replace("-", "")) and len(text.replace("-", "")) == 32,
    )


def _is_hex(text: str) -> bool:
    return _HEX.fullmatch(text) is not None


# --- what is generated ---------------------------------------------------------------------------------------------------------------

_NOUNS = (
    "account", "batch", "billing", "cache", "cart", "catalog", "checkout", "client", "cluster", "consumer", "customer", "device", "disk", "event",
    "export", "file", "gateway", "group", "image", "inventory", "invoice", "item", "job", "ledger", "message", "metric", "network", "node", "order",
    "partition", "payment", "pool", "product", "profile", "queue", "report", "request", "review", "search", "session", "shipping", "stock", "stream",
    "task", "tenant", "token", "topic", "user", "volume", "worker",
)  # fmt: skip
_ADJECTIVES = (
    "active", "cold", "default", "eager", "external", "failed", "fast", "hot", "idle", "internal", "large", "last", "local", "main", "new", "old",
    "pending", "primary", "private", "public", "ready", "remote", "secondary", "shared", "small", "stale", "static", "success", "warm", "GET", "POST",
)  # fmt: skip
_HEX_DIGITS = "0123456789abcdef"
_ALL = "abcdefghijklmnopqrstuvwxyz0123456789"
Maker = Callable[[Generator], str]


def generated(seed: int, each: int) -> tuple[list[str], list[Shape]]:
    """So many values of each shape, the same for the same seed."""
    rng = np.random.default_rng(seed)
    made = [(_MAKERS[shape](rng), shape) for shape in Shape for _ in range(each)]
    return [text for text, _ in made], [shape for _, shape in made]


def _pick(rng: Generator, *of: str) -> str:
    return of[int(rng.integers(len(of)))]


def _text(rng: Generator, alphabet: str, low: int, high: int | None = None) -> str:
    length = low if high is None else int(rng.integers(low, high + 1))
    return "".join(alphabet[i] for i in rng.integers(0, len(alphabet), length))


def _number_text(rng: Generator, digits: int) -> str:
    return str(int(rng.integers(0, 10 ** int(rng.integers(1, digits + 1)))))


def _noun(rng: Generator) -> str:
    return _pick(rng, *_NOUNS) + _pick(rng, "", "", "", "s")


def _cased(rng: Generator, text: str) -> str:
    return _pick(rng, text, text, text, text.upper(), text.capitalize())


def _uuid(rng: Generator) -> str:
    h = _text(rng, _HEX_DIGITS, 32)
    dashed = f"{h[:8]}-{h[8:12]}-{_pick(rng, '1', '4', '7')}{h[13:16]}-{_pick(rng, '8', '9', 'a', 'b')}{h[17:20]}-{h[20:]}"
    return _pick(rng, dashed, dashed, dashed, dashed.upper(), f"{{{dashed}}}", f"urn:uuid:{dashed}")


def _ip(rng: Generator) -> str:
    four = ".".join(str(i) for i in rng.integers(0, 256, 4))
    port = int(rng.integers(1024, 65536))
    full = ":".join(_text(rng, _HEX_DIGITS, 1, 4) for _ in range(8))
    short = ":".join(_text(rng, _HEX_DIGITS, 1, 4) for _ in range(3)) + "::" + _text(rng, _HEX_DIGITS, 1, 4)
    return _pick(
        rng,
        four,
        four,
        four,
        f"{four}:{port}",
        f"{four}/{rng.integers(8, 33)}",
        full,
        short,
        f"::ffff:{four}",
        f"[{short}]:{port}",
        f"fe80::{_text(rng, _HEX_DIGITS, 4)}%eth0",
    )


def _id(rng: Generator) -> str:
    plain = _uuid(rng).strip("{}").removeprefix("urn:uuid:")
    return _pick(
        rng,
        str(rng.integers(10, 10**9)),
        str(rng.integers(10, 10**4)),
        plain,
        _text(rng, _HEX_DIGITS, 8, 32),
        f"{_noun(rng)}-{rng.integers(100, 10**6)}",
        _mixed_id(rng),
    )


def _mixed_id(rng: Generator) -> str:
    """Letters with digits among them, as short ids have them."""
    text = _text(rng, _ALL, 6, 16)
    at = int(rng.integers(1, len(text)))
    return f"{text[:at]}{rng.integers(10, 99)}{text[at:]}"


def _route(rng: Generator) -> list[str]:
    version = _pick(rng, "", "", "v1", "v2", "v1beta1", "api")
    words = [
        _pick(rng, _noun(rng), _noun(rng), f"{_noun(rng)}-{_noun(rng)}", f"{_pick(rng, *_ADJECTIVES).lower()}_{_noun(rng)}")
        for _ in range(int(rng.integers(1, 5)))
    ]
    return [p for p in (version, *words) if p]


def _path_with_ids(rng: Generator) -> str:
    parts = _route(rng)
    for _ in range(int(rng.integers(1, 3))):
        parts.insert(int(rng.integers(1, len(parts) + 1)), _id(rng))
    tail = _pick(rng, "", "", "", "/", ".json", f"?{_noun(rng)}={_id(rng)}")
    return _pick(rng, "/", "/", "/", f"{_pick(rng, 'GET', 'POST', 'PUT')} /") + "/".join(parts) + tail


def _path(rng: Generator) -> str:
    parts = _route(rng)
    if rng.random() < 0.5:
        holder = _pick(rng, "{id}", ":id", f"{{{_noun(rng)}_id}}", "<id>", f":{_noun(rng)}Id", "*", f"{{{_noun(rng)}}}")
        parts.insert(int(rng.integers(1, len(parts) + 1)), holder)
    return (
        _pick(rng, "/", "/", "/", "/", f"{_pick(rng, 'GET', 'POST')} /", "/var/")
        + "/".join(parts)
        + _pick(rng, "", "", "", "/", ".html", ".log", ".sock")
    )


def _domain(rng: Generator) -> str:
    return f"{_pick(rng, '', '', 'www.', 'api.', _noun(rng) + '.')}{_noun(rng)}{_pick(rng, '', '-' + _noun(rng))}.{_pick(rng, 'com', 'org', 'net', 'io', 'example', 'internal', 'co.uk', 'svc.cluster.local')}"


def _url(rng: Generator) -> str:
    scheme = _pick(rng, "http", "https", "https", "https", "grpc", "postgresql", "s3", "ws", "redis")
    port = _pick(rng, "", "", f":{rng.integers(80, 9999)}")
    host = _pick(rng, _domain(rng), _domain(rng), _domain(rng), ".".join(str(i) for i in rng.integers(0, 256, 4)))
    path = _pick(rng, "", "/", _path(rng).split(" ")[-1], "/" + _path_with_ids(rng).split(" ")[-1].lstrip("/"))
    return f"{scheme}://{host}{port}{path}{_pick(rng, '', '', f'?{_noun(rng)}={_id(rng)}&page={rng.integers(1, 99)}')}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _timestamp(rng: Generator) -> str:
    y, mo, d = int(rng.integers(1995, 2040)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    h, mi, s = int(rng.integers(0, 24)), int(rng.integers(0, 60)), int(rng.integers(0, 60))
    zone = _pick(rng, "", "Z", "+00:00", "+02:00", "-0700", " UTC")
    fraction = _pick(rng, "", "", f".{rng.integers(0, 1000):03d}", f".{rng.integers(0, 10**6):06d}", f",{rng.integers(0, 1000):03d}")
    month, day = _MONTHS[mo - 1], _DAYS[int(rng.integers(7))]
    epoch = int(rng.integers(1_000_000_000, 2_100_000_000))
    iso = f"{y}-{mo:02d}-{d:02d}{_pick(rng, 'T', 'T', ' ')}{h:02d}:{mi:02d}:{s:02d}{fraction}{zone}"
    return _pick(
        rng, iso, iso, iso, f"{y}-{mo:02d}-{d:02d}", f"{y}{mo:02d}{d:02d}T{h:02d}{mi:02d}{s:02d}Z", f"{y}/{mo:02d}/{d:02d} {h:02d}:{mi:02d}:{s:02d}",
        f"{d:02d}/{month}/{y}:{h:02d}:{mi:02d}:{s:02d} +0000", f"{day}, {d:02d} {month} {y} {h:02d}:{mi:02d}:{s:02d} GMT", f"{month} {d:2d} {h:02d}:{mi:02d}:{s:02d}",
        str(epoch), f"{epoch}{rng.integers(0, 1000):03d}", f"{epoch}{rng.integers(0, 10**9):09d}", f"{d:02d}.{mo:02d}.{y}", f"{h:02d}:{mi:02d}:{s:02d}{fraction}",
    )  # fmt: skip


_SQL_TEMPLATES = tuple(
    Template(text)
    for text in (
        "SELECT * FROM $t WHERE $c = $w$more",
        "SELECT $c, $n FROM $t t JOIN $n u ON t.$c = u.$c$more",
        "SELECT count(*) FROM $t$more",
        'SELECT "$t"."$c" FROM "$t" GROUP BY $c',
        "SELECT $w",
        "SELECT $n FROM $t",
        "INSERT INTO $t ($c, $n) VALUES ($w, $w)",
        "INSERT INTO $t VALUES ($w)",
        "UPDATE $t SET $n = $w WHERE $c IN ($w, $w)$more",
        "UPDATE $t SET $n = $w",
        "DELETE FROM $t WHERE $c = $w",
        "CREATE TABLE $t ($c bigint PRIMARY KEY)",
        "ALTER TABLE $t ADD COLUMN $n text",
        "DROP TABLE $t",
        "WITH x AS (SELECT $c FROM $t) SELECT * FROM x$more",
        "BEGIN; UPDATE $t SET $c = $w; COMMIT",
        "CALL $n($w)",
    )
)


def _sql(rng: Generator) -> str:
    value = _pick(rng, "?", "$1", f"'{_id(rng)}'", _number_text(rng, 6), "%s", ":id")
    names = {"t": _noun(rng), "c": f"{_noun(rng)}_id", "n": _noun(rng), "w": value}
    more = _pick(rng, "", f" ORDER BY {names['c']}", " LIMIT 10", f" AND {_noun(rng)} = {value}", ";", " FOR UPDATE")
    made = _SQL_TEMPLATES[int(rng.integers(len(_SQL_TEMPLATES)))].substitute(names, more=more)
    return _pick(rng, made, made, made.lower(), made.replace(" FROM", "\nFROM").replace(" WHERE", "\n  WHERE"))


def _email(rng: Generator) -> str:
    user = _pick(
        rng,
        _noun(rng),
        f"{_noun(rng)}.{_noun(rng)}",
        f"{_noun(rng)}{rng.integers(1, 9999)}",
        f"{_noun(rng)[0]}.{_noun(rng)}+{_noun(rng)}",
        f"{_noun(rng)}_{_noun(rng)}",
        _text(rng, _ALL, 5, 14),
    )
    made = f"{user}@{_pick(rng, 'mail.', 'gmail.', '')}{_domain(rng).removeprefix('www.')}"
    return _pick(rng, made, made, made, made, f"<{made}>", f"mailto:{made}", made.upper())


def _hash(rng: Generator) -> str:
    length = int(rng.choice([7, 8, 12, 16, 16, 24, 32, 32, 40, 40, 64, 64, 128]))
    text = _text(rng, _HEX_DIGITS, length)
    text = f"{text[:2]}{rng.integers(0, 10)}{_pick(rng, 'a', 'c', 'f')}{text[4:]}"
    return _pick(
        rng,
        text,
        text,
        text,
        text,
        text.upper(),
        f"sha256:{_text(rng, _HEX_DIGITS, 64)}",
        f"0x{text}",
        f"md5:{_text(rng, _HEX_DIGITS, 32)}",
    )


def _number(rng: Generator) -> str:
    whole = _number_text(rng, 9)
    part = f"{rng.random() * 10 ** int(rng.integers(0, 6)):.{int(rng.integers(1, 7))}f}"
    return _pick(
        rng,
        whole,
        whole,
        whole,
        f"-{whole}",
        part,
        f"-{part}",
        f"{rng.random():.3e}",
        f"{whole}{_pick(rng, 'ms', '%', 'MB', 's', ' KiB')}",
        f"{rng.integers(1, 999)},{rng.integers(100, 999)}",
        "0",
    )


def _word(rng: Generator) -> str:
    noun, other = _noun(rng), _pick(rng, *_ADJECTIVES)
    camel = f"{other.lower()}{noun.capitalize()}"
    return _pick(
        rng, _cased(rng, noun), _cased(rng, other), f"{other.lower()}-{noun}", f"{other}_{noun}".upper(), camel, camel[0].upper() + camel[1:], f"{noun}.{_noun(rng)}",
        f"{other.lower()} {noun}", f"{noun}{rng.integers(1, 10)}", f"{noun}-{rng.integers(1, 10)}", _pick(rng, "true", "false", "none", "2xx", "5xx", "eu-west-1", "us-east-1a", "x86_64", "utf8", "v1"),
        f"{noun}_{_noun(rng)}_{_noun(rng)}", f"com.{noun}.{_noun(rng)}.{camel[0].upper() + camel[1:]}", f"{noun}:{_noun(rng)}",
    )  # fmt: skip


def _other(rng: Generator) -> str:
    words = [_noun(rng) for _ in range(int(rng.integers(5, 14)))]
    sentence = " ".join(words).capitalize()
    return _pick(
        rng, f"{sentence}{_pick(rng, '.', '!', '')}", f"{words[0]} failed: {' '.join(words[1:5])} after {rng.integers(1, 99)} tries",
        f"{words[0]}-{rng.integers(1, 99)}.{_domain(rng)}", _domain(rng), f"arn:aws:{words[0]}:eu-west-1:{rng.integers(10**11, 10**12)}:{words[1]}/{words[2]}", f'{{"{words[0]}": {rng.integers(1, 99)}, "{words[1]}": "{words[2]}"}}', f"[{words[0]}, {words[1]}, {words[2]}]",
        f"Mozilla/5.0 (X11; Linux x86_64; rv:{rng.integers(60, 140)}.0) Gecko/20100101 Firefox/{rng.integers(60, 140)}.0", f"{words[0]}/{rng.integers(1, 9)}.{rng.integers(0, 20)}.{rng.integers(0, 9)} ({words[1]}; {words[2]})",
        f"{rng.integers(0, 9)}.{rng.integers(0, 30)}.{rng.integers(0, 30)}{_pick(rng, '', '-rc1', '-SNAPSHOT', '+build')}", f"eyJ{_text(rng, _ALL + _ALL.upper(), 20, 60)}.{_text(rng, _ALL + _ALL.upper(), 30)}",
        _text(rng, _ALL + _ALL.upper() + "+/", 22, 44) + _pick(rng, "", "=", "=="), f"{words[0]}={words[1]};{words[2]}={rng.integers(1, 999)}", "", f"java.lang.{words[0].capitalize()}Exception: {' '.join(words[1:6])}",
        f"{_pick(rng, 'Žluťoučký', 'größe', 'données', '東京', 'привет')} {words[0]}",
    )  # fmt: skip


def _generated_name(rng: Generator) -> str:
    stem = _pick(rng, _noun(rng), f"{_noun(rng)}-{_noun(rng)}", f"{_pick(rng, *_ADJECTIVES).lower()}-{_noun(rng)}")
    suffix, five = _text(rng, "bcdfghjklmnpqrstvwxz2456789", 8, 10), _text(rng, "bcdfghjklmnpqrstvwxz2456789", 5)
    return _pick(
        rng, f"{stem}-{suffix}-{five}", f"{stem}-{suffix}-{five}", f"{stem}-{_text(rng, _HEX_DIGITS, 8, 10)}-{five}", f"{stem}-{rng.integers(1, 1000):03d}-{_text(rng, _HEX_DIGITS, 8, 10)}",
        f"{stem}-{five}", f"{stem}_{_text(rng, _HEX_DIGITS, 12)}", f"{stem}-{_text(rng, _HEX_DIGITS, 8, 12)}", f"i-0{_text(rng, _HEX_DIGITS, 16)}", f"ip-{'-'.join(str(i) for i in rng.integers(0, 256, 4))}",
        f"{stem}-{rng.integers(10**7, 10**8)}-{five}", f"{stem}.{_text(rng, _HEX_DIGITS, 8, 16)}",
    )  # fmt: skip


_MAKERS: Mapping[Shape, Maker] = {
    Shape.UUID: _uuid,
    Shape.IP: _ip,
    Shape.PATH_WITH_IDS: _path_with_ids,
    Shape.PATH: _path,
    Shape.URL: _url,
    Shape.TIMESTAMP: _timestamp,
    Shape.SQL: _sql,
    Shape.EMAIL: _email,
    Shape.HASH: _hash,
    Shape.GENERATED_NAME: _generated_name,
    Shape.NUMBER: _number,
    Shape.WORD: _word,
    Shape.OTHER: _other,
}
