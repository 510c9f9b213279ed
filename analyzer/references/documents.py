"""Text of any document → what it reads. A document that cannot be read might read anything: that is said, never skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ryaml import loads_all as yaml_loads_all  # pyright: ignore[reportPrivateImportUsage] - its stubs forget to re-export

from analyzer.references.grafana import Expression, Item, Unread, dashboard_of, read_dashboard
from analyzer.references.promql import Answer, NotUnderstood, Parse, read_expressions
from analyzer.references.rules import groups_of, read_groups
from flowgate.advice import BlindSpot, Evidence, Reference, Usage, UsageDocument
from flowgate.usage import Use

MAX_DOCUMENT_BYTES = 5 * 2**20
MAX_TEXT = 2_000
"""CONTRACTS: `not_understood.text` is at most this long."""


def read_documents(documents: Sequence[tuple[str, str]], parse: Parse) -> Usage:
    """What all documents (path, text) read together. Every expression of every document goes to `parse` in one batch."""
    found = [(path, item) for path, text in documents for item in read_document(text)]
    expressions = [(path, item) for path, item in found if isinstance(item, Expression)]
    answers = read_expressions([(e.text, e.options) for _, e in expressions], parse)
    spots = [_unread(path, item) for path, item in found if isinstance(item, Unread)]
    references: list[Reference] = []
    for (path, item), answer in zip(expressions, answers, strict=True):
        if isinstance(answer, NotUnderstood):
            spots.append(BlindSpot("hiding", answer.reason, path, item.where, item.text[:MAX_TEXT], answer.touches))
        else:
            references.append(_reference(path, item, answer))
    named = tuple(UsageDocument(p, p, "document", p) for p, _ in documents)
    return Usage(tuple(references), tuple(spots), named, len(expressions), len(references))


def read_document(text: str) -> Iterator[Item]:
    """The items of one document, or one `Unread` that says why it cannot be read."""
    if len(text.encode(errors="replace")) > MAX_DOCUMENT_BYTES:
        yield Unread("document", "", f"larger than {MAX_DOCUMENT_BYTES} bytes")
        return
    try:
        loaded = list(_load(text))
    except (ValueError, RecursionError) as error:
        yield Unread("document", "", f"not readable: {str(error).splitlines()[0][:200]}")
        return
    if not any(part is not None for part in loaded):
        yield Unread("document", "", "empty")
    for part in loaded:
        if part is not None:
            yield from _part(part)


def _load(text: str) -> Iterable[Any]:
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in "{[" and stripped[:2] != "{{":
        return [json.loads(stripped)]
    return yaml_loads_all(text)


def _part(part: Any) -> Iterator[Item]:
    board, groups = dashboard_of(part), groups_of(part)
    if groups is not None:
        yield from read_groups(groups)
    elif board is not None:
        yield from read_dashboard(board)
    else:
        yield Unread("document", str(part)[:200], "neither a Grafana dashboard nor Prometheus rules")


def _reference(path: str, item: Expression, answer: Answer) -> Reference:
    assert not isinstance(answer, NotUnderstood)
    panel = item.where if item.rule is None else None
    labels = {name: said | item.extra_labels for name, said in answer.labels.items()}
    none = frozenset[str]()
    exact = tuple(Use(name, False, labels.get(name, none)) for name in sorted(answer.metrics))
    patterns = tuple(Use(name, True, labels.get(name, none)) for name in sorted(answer.patterns))
    return Reference(Evidence(item.kind, path, panel, item.text[:MAX_TEXT], item.rule), exact + patterns)


def _unread(path: str, item: Unread) -> BlindSpot:
    return BlindSpot("hiding", item.reason, path, item.where, item.text[:MAX_TEXT], item.touches)
