"""Foreign JSON as it comes: narrowed without raising, shown in few words, and searched for whatever might be a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from analyzer.references.queries import Item, Json, Unread

MAX_TEXT = 2_000
"""CONTRACTS: `not_understood.text` is at most this long."""
_DEPTH_SHOWN = 4
_WIDTH_SHOWN = 12


def mapping(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def mappings(value: Any) -> list[Json]:
    """The mappings of a list; what else is in it is left out."""
    return [mapping(v) for v in listing(value) if isinstance(v, dict)]


def scalar(value: Any) -> str | None:
    """A text, or a number as text: YAML reads `expr: 1` as a number. Nothing for an empty text and for all else."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int of more than 4,300 digits refuses to be printed.
    return None if isinstance(value, int) and value.bit_length() > 10_000 else str(value)


def first(holder: Json, *keys: str) -> Any:
    """The value of the first of `keys` that is there and not null: `error_query` in files is `errorQuery` in resources."""
    return next((holder[k] for k in keys if holder.get(k) is not None), None)


def at(value: Any, *path: str) -> Any:
    """The value under a path of keys; None where it ends early."""
    for key in path:
        value = mapping(value).get(key)
    return value


def shown(value: Any) -> str:
    """A value in few words, however deep it is."""
    return _shown(value, _DEPTH_SHOWN)[:MAX_TEXT]


def _shown(value: Any, depth: int) -> str:
    if isinstance(value, dict | list) and depth == 0:
        return "…"
    if isinstance(value, dict):
        pairs = list(mapping(cast("object", value)).items())[:_WIDTH_SHOWN]
        return "{" + ", ".join(f"{_shown(k, 0)}: {_shown(v, depth - 1)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(v, depth - 1) for v in listing(cast("object", value))[:_WIDTH_SHOWN]) + "]"
    return value[:MAX_TEXT] if isinstance(value, str) else scalar(value) or type(value).__name__


def texts_in(value: Any, skip: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Every text under a value with the key that it stands under, in order; what stands under a key of `skip` is left out.

    A stack, not recursion: YAML may nest deeper than the interpreter.
    """
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, node = stack.pop()
        if isinstance(node, dict):
            stack.extend((str(k), v) for k, v in reversed(mapping(cast("object", node)).items()) if k not in skip)
        elif isinstance(node, list):
            stack.extend((key, v) for v in reversed(listing(cast("object", node))))
        elif isinstance(node, str):
            yield key, node


_VARIABLE = r"\$\{[^{}]*\}|\$\w+|\[\[\w+\]\]|\{\{[^{}]*\}\}"
_ANY_PART = rf"(?:{_VARIABLE}|\*|\{{[^{{}}=~\"',]*,[^{{}}=~\"']*\}})"
_NAME = re.compile(r"[A-Za-z_:][\w:.]*")
_GLUED = re.compile(rf"(?:{_ANY_PART}|[A-Za-z_:])(?:{_ANY_PART}|[\w:.\-/])*")
_PIECES = re.compile(rf"({_ANY_PART})")
_ALONE = re.compile(rf"(?<![\w:.])(?:{_VARIABLE})(?![\w:.])")
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*+\\?(\"|\Z)|'(?:\\.|[^'\\])*+\\?('|\Z)|(`)[^`]*+`", re.DOTALL)


def might_name(text: str) -> tuple[str, ...]:
    """Anchored patterns of every name that a text in an unknown language might hold; none: any name.

    A variable, a template or a wildcard inside a name matches anything; a variable that stands alone outside quotes may be the whole
    name, so it may be any. Names with `-` or `/` in them are there whole and in parts, since both may be signs of arithmetic.
    """
    # What an unclosed quote opens may be no string.
    if _ALONE.search(_QUOTED.sub(lambda m: '""' if m.lastindex and m[m.lastindex] else m[0], text)):
        return ()
    plain = (re.escape(m.group().rstrip(".:")) for m in _NAME.finditer(text))
    glued = (_pattern(m.group().rstrip(".:-/")) for m in _GLUED.finditer(text))
    return tuple(dict.fromkeys(p for p in (*plain, *glued) if re.search(r"\w", p)))


def _pattern(token: str) -> str:
    return "".join(".*" if i % 2 else re.escape(part) for i, part in enumerate(_PIECES.split(token)))


def unread(where: str, value: Any, reason: str, skip: Collection[str] = ()) -> Unread:
    """Part of a document that cannot be read: it might read every name in it, or any where no name is in it."""
    return Unread(where, shown(value), reason, might_name("\n".join(text for _, text in texts_in(value, skip))))


QUERY_KEYS = frozenset({"expr", "query", "promql", "metricsQuery", "error_query", "total_query", "error_ratio_query", "seriesQuery"})
"""Where documents of all kinds keep a query: one that a reader did not come across is in a place that it does not know."""


def overlooked(document: Any, items: Collection[Item], skip: Collection[str] = (), known: Collection[str] = ()) -> Iterator[Unread]:
    """The texts under a query's usual keys that are neither in `items` nor `known`: a part that moved, or a shape not known, is said."""
    seen = {*known, *(item.text for item in items)}
    for key, text in texts_in(document, skip):
        if key in QUERY_KEYS and text.strip() and text not in seen and text[:MAX_TEXT] not in seen:
            yield Unread(key, text[:MAX_TEXT], "a query in a place that is not known", might_name(text))


def with_overlooked(document: Any, items: list[Item], skip: Collection[str] = (), known: Collection[str] = ()) -> tuple[Item, ...]:
    return (*items, *overlooked(document, items, skip, known))


def owner_of(*labels: Mapping[str, Any]) -> str | None:
    """The team that labels name, if all that name one name the same."""
    said = {scalar(found[key]) for found in labels for key in ("team", "owner", "squad") if key in found} - {None}
    return next(iter(said)) if len(said) == 1 else None


def metadata(document: Json) -> tuple[str, str | None, Json]:
    """Of a Kubernetes-like resource: its name with namespace, its namespace (a project, in Perses and Nobl9), its labels."""
    meta = mapping(document.get("metadata"))
    name, namespace = scalar(meta.get("name")) or "", scalar(first(meta, "namespace", "project"))
    return (f"{namespace}/{name}" if namespace and name else name), namespace, mapping(meta.get("labels"))


def is_reference(document: Json) -> bool:
    """Whether a resource is only mentioned: a kind and a name without a `spec`, as in an owner, a target or a list of what to delete."""
    return "spec" not in document and not any(True for _ in overlooked(document, ()))


def is_of(document: Json, group: str, *kinds: str) -> bool:
    """Whether a resource is of an API group (`n9` of `n9/v1alpha`, `keda.sh` of `keda.sh/v1`) and one of the kinds; none: any kind."""
    version, kind = document.get("apiVersion"), document.get("kind")
    said = isinstance(version, str) and version.split("/")[0] == group and (not kinds or kind in kinds)
    return said and not is_reference(document)
