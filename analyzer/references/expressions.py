"""PromQL as documents hold it, with variables, to trees; and which metrics a selector of a tree reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from analyzer.references import patterns
from analyzer.references.patterns import too_wide
from analyzer.references.substitution import NOT_HELD, spellings
from analyzer.references.tokens import touched
from analyzer.references.tree import SENTINEL, Matcher, Node, Selector, children
from flowgate.usage import NotUnderstood

__all__ = ["Parse", "Parsed", "names_of", "read_trees", "too_wide"]

Parse = Callable[[Sequence[str]], Sequence[Node | NotUnderstood]]
"""Parses finished expressions (no variables): an answer for every one, whatever happens."""
Variables = Mapping[str, tuple[str, ...]]
_NAME = "__name__"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One tree for each choice of the variables' values; all of them are read."""

    trees: tuple[Node, ...]


def read_trees(queries: Sequence[tuple[str, Variables]], parse: Parse, patterns: Sequence[Variables] = ()) -> list[Parsed | NotUnderstood]:
    """An answer for each query; `patterns` say of each, where they are given, which names its variables may hold. Every distinct text goes to the parser once; the first spellings of all queries in one batch, then the
    second spellings of those that did not parse, and so on."""
    held = patterns or [NOT_HELD] * len(queries)
    choices = [spellings(text, variables, names) for (text, variables), names in zip(queries, held, strict=True)]
    answers: dict[str, Node | NotUnderstood] = {}
    for asked in iter(lambda: _next_round(choices, answers), []):
        answers.update(zip(asked, parse(asked), strict=True))
    return [_joined(text, each, answers) for (text, _), each in zip(queries, choices, strict=True)]


def _next_round(choices: Sequence[list[list[str]]], answers: Mapping[str, Node | NotUnderstood]) -> list[str]:
    """Of every choice that no tree was found for the first spelling that was not tried."""
    return list(dict.fromkeys(text for choice in choices for tries in choice for text in _untried(tries, answers)))


def _untried(tries: Sequence[str], answers: Mapping[str, Node | NotUnderstood]) -> Iterator[str]:
    for text in tries:
        if text not in answers:
            yield text
            return
        if not isinstance(answers[text], NotUnderstood):
            return


def _joined(text: str, choices: list[list[str]], answers: Mapping[str, Node | NotUnderstood]) -> Parsed | NotUnderstood:
    """The first tree of every choice; one choice without any makes the whole not understood."""
    trees: dict[str, Node] = {}
    for tries in choices:
        spelled, answer = _first(tries, answers)
        if isinstance(answer, NotUnderstood):
            return NotUnderstood(answer.reason, touched(text))
        bad = _not_re2(answer) if _NAME in spelled else None
        if bad is not None:
            return NotUnderstood(f"the name pattern {bad[:80]!r} is not RE2", touched(text))
        trees[spelled] = answer
    return Parsed(tuple(trees.values()))


def _first(tries: Sequence[str], answers: Mapping[str, Node | NotUnderstood]) -> tuple[str, Node | NotUnderstood]:
    tried = [(text, answers[text]) for text in tries if text in answers]
    return next((pair for pair in tried if not isinstance(pair[1], NotUnderstood)), tried[0])


def _not_re2(node: Node) -> str | None:
    """A pattern of names in the tree that cannot be matched."""
    if isinstance(node, Selector):
        return next((p for p in sorted(names_of(node)[1]) if not patterns.valid(p)), None)
    return next((bad for child in children(node) if (bad := _not_re2(child)) is not None), None)


# --- names --------------------------------------------------------------------------------------------------------------------------


def names_of(selector: Selector) -> tuple[frozenset[str], frozenset[str]]:
    """The exact names and the anchored patterns that a selector reads; `.*` when it may read every metric."""
    exact: set[str] = set()
    open_ended: set[str] = set()
    for group in selector.alternatives or ((),):
        names, found = _names(selector.name, [m for m in group if m.label == _NAME])
        exact |= names
        open_ended |= found
    return frozenset(exact), frozenset(open_ended)


def _names(name: str | None, matchers: Sequence[Matcher]) -> tuple[frozenset[str], frozenset[str]]:
    """Several positive matchers are joined: more than the selector reads, never less."""
    said = [] if name is None else [_exact(name)]
    said += [_exact(m.value) if m.op == "=" else patterns.told_apart(m.value) for m in matchers if m.op in ("=", "=~")]
    if not any(names or found for names, found in said):
        return frozenset(), frozenset({patterns.ANY_NAME})
    return frozenset().union(*(n for n, _ in said)), frozenset().union(*(f for _, f in said))


def _exact(value: str) -> tuple[frozenset[str], frozenset[str]]:
    if SENTINEL in value:
        return frozenset(), frozenset({patterns.of_name(value)})
    return frozenset({value} - {""}), frozenset()
