"""Documents as the world has them: any JSON, and good documents with one thing broken; and what no reader may do with either."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from analyzer.references.queries import Found, JsonReader, Query, Unread
from analyzer.references.shapes import texts_in

WORDS = st.sampled_from(
    [
        "groups",
        "rules",
        "expr",
        "record",
        "alert",
        "labels",
        "annotations",
        "spec",
        "kind",
        "apiVersion",
        "metadata",
        "name",
        "query",
        "data",
        "panels",
        "variables",
        "plugin",
        "slos",
        "sli",
        "indicator",
        "metric",
        "triggers",
        "metrics",
        "template",
        "type",
        "route",
        "receivers",
        "objectives",
        "ratioMetric",
        "thresholdMetric",
        "ratio",
        "scrape_configs",
        "params",
        "seriesQuery",
        "metricsQuery",
        "provider",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORDS | st.integers(), inner, max_size=5),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(WORDS, VALUES, max_size=6)


def read(readers: Sequence[JsonReader], document: Any) -> Found | None:
    """The first reader's answer, as whoever calls the readers takes it."""
    return next((found for reader in readers if (found := reader(document)) is not None), None)


def queries(found: Found | None) -> list[Query]:
    assert found is not None
    return [item for item in found.items if isinstance(item, Query)]


def unreads(found: Found | None) -> list[Unread]:
    assert found is not None
    return [item for item in found.items if isinstance(item, Unread)]


def texts(found: Found | None) -> list[str]:
    return [query.text for query in queries(found)]


def one(found: Found | None) -> Query:
    (query,) = queries(found)
    assert not unreads(found)
    return query


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a value."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        node = stack.pop()
        pairs: Iterable[tuple[Any, Any]] = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in list(pairs):
            found.append((node, key))
            stack.append(child)
    return found


@st.composite
def broken(draw: st.DrawFn, document: Any) -> Any:
    """A good document with one thing replaced, removed, renamed or wrapped."""
    changed = copy.deepcopy(document)
    holder, key = draw(st.sampled_from(_places(changed)))
    match draw(st.sampled_from(["replace", "remove", "rename", "wrap"])):
        case "replace":
            holder[key] = draw(VALUES)
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[draw(st.text(max_size=4) | WORDS)] = holder.pop(key)
        case _:
            holder[key] = [holder[key]]
    return changed


def lost(found: Found | None, changed: Any, expressions: Iterable[str]) -> list[str]:
    """Expressions that are still in a changed document, and of which its reader says nothing at all."""
    if found is None or unreads(found):
        return []
    left = {text for _, text in texts_in(changed)}
    return [e for e in expressions if e in left and e not in texts(found)]
