"""Documents → what they read together: queries of every language, recording rules followed to who reads them, blind spots kept.

`Usage` is the graph: documents → references → uses of metrics and labels. A rule's output is a metric too; a rule is live when a root
(a panel, an alert, an executed query, …) reads its output, at however many removes, or when something not understood might.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer import demand
from analyzer.reading import Pattern
from analyzer.references import querylog
from analyzer.references.datadog import read_datadog
from analyzer.references.expressions import Parse, Parsed, read_trees, too_wide
from analyzer.references.gcp import read_gcp_filter
from analyzer.references.inventory import Input, Inventory, read_inputs
from analyzer.references.logql import read_logql
from analyzer.references.queries import Answer, Document, Found, Language, Query, ReadQuery, Unread
from analyzer.references.tokens import touched
from analyzer.references.traceql import read_traceql
from analyzer.references.tree import Node
from flowgate.advice import BlindSpot, Evidence, Executed, Reference, Usage, UsageDocument
from flowgate.telemetry import Signal
from flowgate.usage import EVERY_LABEL, Condition, LabelSet, NotUnderstood, Operator, Use

MAX_TEXT = 2_000
"""CONTRACTS: `not_understood.text` is at most this long."""
MAX_CONSUMERS = 32
"""Different needs of one recorded metric that are followed; beyond them every label is needed."""


def read_usage(inputs: Sequence[Input], parse: Parse) -> Usage:
    """What the inputs read together. `parse` gets every distinct PromQL expression of all of them in one batch."""
    return usage_of(read_inputs(inputs), parse)


def usage_of(inventory: Inventory, parse: Parse) -> Usage:
    documents = tuple(UsageDocument(d.path, d.found.id, d.found.kind, d.found.title, d.found.owner) for d in inventory.documents)
    asked = [(d, item) for d in inventory.documents for item in d.found.items if isinstance(item, Query)]
    unread = [_unread(d.path, item) for d in inventory.documents for item in d.found.items if isinstance(item, Unread)]
    answers = _answers([q for _, q in asked], parse)
    every = [_ask(document, query, answer) for (document, query), answer in zip(asked, answers, strict=True)]
    asks, unknown = _without_known_rules(every)
    spots = (*unread, *(spot for ask in asks for spot in ask.spots), *unknown)
    rules = _Rules(asks, spots)
    references = tuple(rules.reference(ask) for ask in asks if ask.uses)
    understood = sum(1 for ask in asks if ask.understood)
    everywhere = {label: _evidence(a.path, a.query) for a in reversed(asks) for label in _listed_everywhere(a.query)}
    skipped = tuple((s.path, s.reason) for s in inventory.skipped)
    executed = tuple(_executed(inventory.documents))
    return Usage(references, tuple(dict.fromkeys(spots)), documents, len(asks), understood, rules.recorded(), everywhere, skipped, executed)


# --- one query -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ask:
    """A query with its answer. `trees` are there for PromQL alone: a rule's are walked again for whoever reads its output."""

    path: str
    owner: str | None
    query: Query
    uses: tuple[Use, ...]
    spots: tuple[BlindSpot, ...]
    trees: tuple[Node, ...] = ()
    understood: bool = True


def _answers(queries: Sequence[Query], parse: Parse) -> list[Answer | Parsed]:
    promql = [q for q in queries if q.language == "promql"]
    trees = iter(read_trees([(q.evaluated, q.variables) for q in promql], parse, [q.patterns for q in promql]))
    return [next(trees) if q.language == "promql" else _OTHERS[q.language](q) for q in queries]


def _names(query: Query) -> Answer:
    """A pattern over names. Over all names with one label asked for, it reads no metric: see `_listed_everywhere`."""
    if _listed_everywhere(query):
        return ()
    return (Use(query.evaluated, True, query.mentioned, query.root, query.operator),)


def _listed_everywhere(query: Query) -> frozenset[str]:
    """The labels of `label_values(L)`: listed over all metrics. Where L is the name itself, all metrics are what is listed."""
    everything = query.language == "names" and query.evaluated == ".*" and not query.root.all_except
    return query.root.names if everything and "__name__" not in query.root.names else frozenset()


_OTHERS: Mapping[Language, ReadQuery] = {
    "names": _names,
    "datadog": read_datadog,
    "gcp_filter": read_gcp_filter,
    "logql": read_logql,
    "traceql": read_traceql,
}


def _ask(document: Document, query: Query, answer: Answer | Parsed) -> _Ask:
    path, owner = document.path, document.found.owner
    if isinstance(answer, NotUnderstood):
        return _Ask(path, owner, query, (), (_spot(path, query, answer.reason, _touches(query, answer)),), (), False)
    trees = answer.trees if isinstance(answer, Parsed) else ()
    found = _promql_uses(query, trees) if isinstance(answer, Parsed) else tuple(answer)
    wide = tuple(u for u in found if u.pattern and too_wide(u.name))
    spots = tuple(_spot(path, query, f"the name pattern {u.name!r} is too wide to say which metrics are read", (u.name,)) for u in wide)
    kept = tuple(_explored(u) if query.explorable else u for u in found if u not in wide)
    return _Ask(path, owner, query, kept, spots, trees)


def _touches(query: Query, answer: NotUnderstood) -> tuple[str, ...]:
    """Rules do not say their language: what was taken for LogQL and is none may be damaged PromQL."""
    guessed = query.language == "logql" and query.role in ("alert", "recording_rule")
    return touched(query.evaluated) if guessed else answer.touches


def _promql_uses(query: Query, trees: Iterable[Node]) -> tuple[Use, ...]:
    written = query.records.labels if query.records else frozenset[str]()
    root = LabelSet(written, True) if query.records else query.root
    found = (u for tree in trees for u in demand.uses(tree, root, query.operator, written, query.mentioned))
    return tuple(dict.fromkeys(found))


def _explored(use: Use) -> Use:
    return replace(use, demand=EVERY_LABEL, operator="none", dynamic=True, why={"*": "ad-hoc filters may ask for any label"})


def _spot(path: str, query: Query, reason: str, touches: tuple[str, ...]) -> BlindSpot:
    return BlindSpot("hiding", reason, path, query.where, query.text[:MAX_TEXT], touches)


def _unread(path: str, item: Unread) -> BlindSpot:
    kind = "narrowing" if item.narrowing else "hiding"
    return BlindSpot(kind, item.reason, path, item.where, item.text[:MAX_TEXT], item.touches)


_KINDS = {"panel": "dashboard"}


def _evidence(path: str, query: Query) -> Evidence:
    kind = _KINDS.get(query.role, query.role)
    panel = query.where if query.rule is None else None
    return Evidence(kind, path, panel, query.text[:MAX_TEXT], query.rule)


# --- what was run ------------------------------------------------------------------------------------------------------------------------


def _executed(documents: Sequence[Document]) -> Iterator[Executed]:
    """Each live source of executed queries alone, since each is of a system of its own; what was given as files together."""
    founds: dict[str | None, list[Found]] = {}
    for document in documents:
        if document.found.kind == querylog.KIND:
            founds.setdefault(document.live, []).append(document.found)
    for live, found in founds.items():
        time = querylog.watched(found)
        ran = sum(1 for one in found for item in one.items if isinstance(item, Query) and _is_run(item))
        yield Executed(live, ran, None if time is None else time.total_seconds())


def _is_run(query: Query) -> bool:
    return query.role in ("executed", "explored") and query.language in ("promql", "names")


def _without_known_rules(asks: Sequence[_Ask]) -> tuple[list[_Ask], list[BlindSpot]]:
    """Without the queries that rules ran whose rules are among the documents: these say more. A log names the group or the rule; one of
    the same name that reads something else is another one."""
    known: dict[str, set[tuple[str, bool]]] = {}
    for ask in asks:
        if ask.query.role in _OF_RULES:
            for name in (ask.query.where.rpartition("/")[2], ask.query.rule or ""):
                known.setdefault(name, set()).update((u.name, u.pattern) for u in ask.uses)
    kept: list[_Ask] = []
    unknown: dict[str, dict[str, None]] = {}
    for ask in asks:
        if ask.query.role != "evaluated":
            kept.append(ask)
        elif not ask.understood or not {(u.name, u.pattern) for u in ask.uses} <= known.get(ask.query.rule or "", set()):
            kept.append(ask)
            unknown.setdefault(ask.path, {})[ask.query.rule or ""] = None
    return kept, [_unknown_rules(path, list(names)) for path, names in unknown.items()]


_OF_RULES = frozenset({"alert", "recording_rule", "annotation", "slo"})


def _unknown_rules(path: str, names: Sequence[str]) -> BlindSpot:
    said = f"rules ran that are not among the documents: what they write is not known ({len(names)})"
    return BlindSpot("narrowing", said, path, "rules", ", ".join(names[:20])[:MAX_TEXT])


# --- recording rules ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Consumer:
    """What somebody needs of a recorded metric."""

    labels: LabelSet
    operator: Operator
    overwritten: frozenset[str]
    conditions: tuple[Condition, ...]


_ANYBODY = _Consumer(EVERY_LABEL, "none", frozenset(), ())


@dataclass(slots=True)
class _Rules:
    """Recording rules, who reads them, and what their inputs must keep for that."""

    asks: Sequence[_Ask]
    spots: Sequence[BlindSpot]
    by_name: dict[str, list[_Ask]] = field(default_factory=dict[str, list[_Ask]])
    live: set[str] = field(default_factory=set[str])
    consumers: dict[str, dict[_Consumer, None]] = field(default_factory=dict[str, dict[_Consumer, None]])
    composed: dict[int, tuple[Use, ...]] = field(default_factory=dict[int, tuple[Use, ...]])

    def __post_init__(self) -> None:
        for ask in self.asks:
            if ask.query.records is not None:
                self.by_name.setdefault(ask.query.records.name, []).append(ask)
        if self.by_name:
            self._find_live()
            self._follow()

    def recorded(self) -> Mapping[str, bool]:
        return {name: name in self.live for name in self.by_name}

    def reference(self, ask: _Ask) -> Reference:
        query, records = ask.query, ask.query.records
        live = records is None or records.name in self.live
        uses = self.composed.get(id(ask), ask.uses)
        return Reference(_evidence(ask.path, query), uses, records.name if records else None, live, ask.owner, query.count, query.last_seen)

    def _find_live(self) -> None:
        roots = [ask for ask in self.asks if ask.query.records is None]
        todo = [name for ask in roots for use in ask.uses for name in self._read_by(use)]
        todo += [name for spot in self.spots if spot.kind == "hiding" for name in self._touched(spot)]
        while todo:
            name = todo.pop()
            if name not in self.live:
                self.live.add(name)
                todo += [n for ask in self.by_name[name] for use in ask.uses for n in self._read_by(use)]

    def _read_by(self, use: Use) -> Iterator[str]:
        if use.signal is not Signal.METRICS:
            return
        if not use.pattern:
            if use.name in self.by_name:
                yield use.name
        else:
            pattern = Pattern(use.name)
            yield from (name for name in self.by_name if pattern.fullmatch(name))

    def _touched(self, spot: BlindSpot) -> Iterator[str]:
        patterns = [Pattern(t) for t in spot.touches]
        yield from (name for name in self.by_name if not patterns or any(p.fullmatch(name) for p in patterns))

    def _follow(self) -> None:
        """A worklist: each new need of a recorded metric becomes needs of what its rules read, until nothing is new.

        What a rule's output needs when all of it is kept is taken where that is finite; only where it is not do the readers of the
        output decide, since then the recorded series changes shape.
        """
        todo: list[tuple[str, _Consumer]] = []
        for ask in self.asks:
            if ask.query.records is None or ask.query.records.name not in self.live or not self._follows(ask):
                todo.extend(self._needs(ask.uses))
        todo += [(name, _ANYBODY) for spot in self.spots if spot.kind == "hiding" for name in self._touched(spot)]
        while todo:
            name, consumer = todo.pop()
            known = self.consumers.setdefault(name, {})
            if consumer in known or _ANYBODY in known:
                continue
            known[consumer if len(known) < MAX_CONSUMERS else _ANYBODY] = None
            todo.extend(n for ask in self.by_name[name] if self._follows(ask) for n in self._needs(self._composed(ask, consumer)))
        for name in self.live:
            for ask in self.by_name[name]:
                if self._follows(ask):
                    self.composed[id(ask)] = self._joined(ask, self.consumers.get(name, {}))

    @staticmethod
    def _follows(ask: _Ask) -> bool:
        return bool(ask.trees) and not ask.query.explorable and any(u.demand.all_except for u in ask.uses if not u.pattern)

    def _needs(self, uses: Iterable[Use]) -> Iterator[tuple[str, _Consumer]]:
        for use in uses:
            for name in self._read_by(use):
                exact = _Consumer(use.demand, use.operator, use.overwritten, use.conditions)
                yield name, _ANYBODY if use.pattern else exact

    def _composed(self, ask: _Ask, consumer: _Consumer) -> tuple[Use, ...]:
        records = ask.query.records
        assert records is not None
        written = consumer.overwritten | records.labels
        conditions = (*_raw(consumer.conditions), _recorded(records.name))
        root = consumer.labels - records.labels
        counts = any(c.kind == "counter" for c in consumer.conditions)
        return tuple(u for tree in ask.trees for u in demand.uses(tree, root, consumer.operator, written, frozenset(), conditions, counts))

    def _joined(self, ask: _Ask, consumers: Mapping[_Consumer, None]) -> tuple[Use, ...]:
        """The rule's own uses where they are finite or somebody needs all; else those of each reader of its output."""
        infinite = {u.name for u in ask.uses if u.demand.all_except and not u.pattern}
        if not consumers or _ANYBODY in consumers:
            return ask.uses
        composed = [u for c in consumers for u in self._composed(ask, c) if u.name in infinite and not u.pattern]
        helped = infinite - {u.name for u in composed if u.demand.all_except and not u.overwritten}
        kept = [u for u in ask.uses if u.name not in helped or u.pattern]
        said = {u.name: u.mentioned for u in ask.uses}
        return tuple(dict.fromkeys([*kept, *(replace(u, mentioned=u.mentioned | said[u.name]) for u in composed if u.name in helped)]))


def _recorded(name: str) -> Condition:
    return Condition("recorded", frozenset(), f"holds for everything that was seen to read {name}, which itself loses the label")


def _raw(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """A rule's output is sampled each time the rule runs: a counter in it falls when one of its inputs restarts."""
    for condition in conditions:
        counter = condition.kind == "counter"
        yield Condition("no_reset", frozenset(), "increases of a recorded counter: exact while no input restarts") if counter else condition
