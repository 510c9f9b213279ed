"""What the demand analysis promises, as plain values: these labels of this metric may go, and nothing that the expression shows changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analyzer.demand import uses
from analyzer.references.inventory import Input
from analyzer.references.syntax import parse_text
from analyzer.references.tree import Node
from analyzer.usage import read_usage
from flowgate.usage import NO_LABEL, LabelSet, NotUnderstood, Operator, Use
from tests.semantics.readings import shortened
from tests.semantics.series import Rule
from tests.semantics.worlds import INVENTED, Subject


@dataclass(frozen=True, slots=True)
class Claim:
    """`absent` are labels that the metric must not have; `kinds` the kinds of the conditions; `needed` what may not be removed."""

    expression: str
    metric: str
    removed: frozenset[str]
    operator: Operator
    absent: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()

    @property
    def counter(self) -> bool:
        """Whether a gateway would merge the metric by its increases: it is read so, or looks like a counter that is added up."""
        return bool({"counter", "no_reset"} & self.kinds)

    @property
    def subject(self) -> Subject:
        return Subject(self.metric, self.removed, self.absent, self.kinds)

    def __str__(self) -> str:
        told = "".join(f" with {r.record} = {r.expression}" for r in self.rules)
        limits = f", if {'/'.join(sorted(self.kinds))}" if self.kinds else ""
        lacking = f", without {'/'.join(sorted(self.absent))}" if self.absent else ""
        return f"{self.metric} without {'/'.join(sorted(self.removed))} by {self.operator}{limits}{lacking} in {self.expression}{told}"


def tree_of(expression: str) -> Node | None:
    tree = parse_text(expression)
    return None if isinstance(tree, NotUnderstood) else tree


def claims_of(expressions: Iterable[str]) -> list[Claim]:
    """Every metric of finite demand with each mentioned label that it does not need and the invented ones, a label at a time."""
    found: list[Claim] = []
    for expression in dict.fromkeys(shortened(e) for e in expressions):
        tree = tree_of(expression)
        if tree is not None:
            found.extend(claim for promise in promises(expression, uses(tree)) for claim in singles(promise))
    return found


def composed_claims_of(expressions: Iterable[str], rules: Sequence[Rule]) -> list[Claim]:
    """The same of the metrics behind recorded ones."""
    short = [replace(rule, expression=shortened(rule.expression)) for rule in rules if tree_of(rule.expression) is not None]
    return [c for e in dict.fromkeys(map(shortened, expressions)) for promise in composed(e, short) for c in singles(promise)]


def composed(expression: str, rules: Sequence[Rule]) -> list[Promise]:
    """What may be done with the metrics behind the recorded ones that an expression reads, as the usage engine composes them."""
    ours = _chain(expression, rules)
    if not ours:
        return []
    recording = [{"record": r.record, "expr": r.expression, "labels": dict(r.labels)} for r in ours]
    document = {"groups": [{"name": "composed", "rules": [*recording, {"alert": "Reader", "expr": expression}]}]}
    usage = read_usage([Input("rules.json", json.dumps(document))], lambda texts: [parse_text(text) for text in texts])
    records = {rule.record for rule in ours}
    found = [use for reference in usage.references for use in reference.uses if use.name not in records]
    behind = {use.name for reference in usage.references if reference.recorded for use in reference.uses}
    return [promise for promise in promises(expression, found, ours) if promise.claim.metric in behind]


def _chain(expression: str, rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules that write what the expression reads, and those that write what these read, inputs first."""
    tree = tree_of(expression)
    names = {use.name for use in uses(tree)} if tree is not None else set[str]()
    direct = [rule for rule in rules if rule.record in names]
    deeper = [below for rule in direct for below in _chain(rule.expression, [r for r in rules if r.record != rule.record])]
    return tuple(dict.fromkeys([*deeper, *direct]))


@dataclass(frozen=True, slots=True)
class Promise:
    """What may be done with one metric of one expression, whatever labels are chosen."""

    claim: Claim
    demand: LabelSet
    mentioned: frozenset[str]
    overwritten: frozenset[str]

    def removing(self, labels: frozenset[str]) -> Claim:
        return replace(self.claim, removed=labels, absent=(self.claim.absent | self.overwritten) - labels)


def promises(expression: str, found: Sequence[Use], rules: tuple[Rule, ...] = ()) -> list[Promise]:
    """One a metric, where all its uses agree on a finite demand and an operator."""
    names = dict.fromkeys(use.name for use in found if not use.pattern)
    ours = ([use for use in found if use.name == name] for name in names)
    return [promise for uses_ in ours if (promise := _promise(expression, uses_, rules)) is not None]


_ORDER: tuple[Operator, ...] = ("sum", "min", "max", "group", "exists", "unique")
"""Where series merely exist or are alone for their key, another use may choose the operator."""


def _promise(expression: str, ours: Sequence[Use], rules: tuple[Rule, ...]) -> Promise | None:
    demand = NO_LABEL
    operators: set[Operator] = {use.operator for use in ours}
    for use in ours:
        demand = demand | use.demand
    merging: list[Operator] = [o for o in _ORDER if o in operators]
    if demand.all_except or "none" in operators or len(set(merging) - {"exists", "unique"}) > 1:
        return None
    conditions = [c for use in ours for c in use.conditions]
    must_be_absent = frozenset(label for c in conditions if c.kind == "must_be_absent" for label in c.labels)
    overwritten = frozenset(label for use in ours for label in use.overwritten)
    overwritten |= frozenset(label for c in conditions if c.kind == "absent_or_removed" for label in c.labels)
    mentioned = frozenset(label for use in ours for label in use.mentioned)
    kinds = frozenset(c.kind for c in conditions)
    claim = Claim(expression, ours[0].name, frozenset(), merging[0], must_be_absent, kinds, demand.names, rules)
    return Promise(claim, demand, mentioned, overwritten)


def singles(promise: Promise) -> list[Claim]:
    labels = sorted((promise.mentioned | promise.overwritten) - promise.demand.names - promise.claim.absent)
    return [promise.removing(frozenset({label})) for label in [*labels, *INVENTED]]
