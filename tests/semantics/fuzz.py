"""Random expressions with random removable labels: claims that nobody wrote a rule for."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from analyzer.demand import uses
from tests.semantics.claims import Claim, Promise, composed, promises, tree_of
from tests.semantics.expressions import LABELS, expression
from tests.semantics.series import Rule
from tests.semantics.worlds import INVENTED

_NAME = re.compile(r"\b(m|o|flag)\b")


def random_claims(seed: int, wanted: int) -> list[Claim]:
    """Claims of finite demand, each about a random set of labels that may go."""
    found: list[Claim] = []
    for number in range(20 * wanted):
        found.extend(_claims(f"{seed}/{number}"))
        if len(found) >= wanted:
            break
    return found[:wanted]


def _claims(seed: str) -> Iterator[Claim]:
    rng = random.Random(seed)
    text = expression(rng.randrange(2**62))
    tree = tree_of(text)
    for promise in promises(text, uses(tree)) if tree is not None else ():
        yield from _removing(promise, rng)


def _removing(promise: Promise, rng: random.Random) -> Iterator[Claim]:
    free = [label for label in (*LABELS, "le", INVENTED[0]) if label not in promise.demand and label not in promise.claim.absent]
    removed = frozenset(rng.sample(free, min(len(free), rng.randint(1, 3))))
    if removed - {"le"}:
        yield promise.removing(removed)


def random_composed_claims(seed: int, wanted: int) -> list[Claim]:
    """The same through a recording rule: what reads its output decides what its input must keep."""
    found: list[Claim] = []
    for number in range(60 * wanted):
        found.extend(_composed(f"composed {seed}/{number}"))
        if len(found) >= wanted:
            break
    return found[:wanted]


def _composed(seed: str) -> Iterator[Claim]:
    rng = random.Random(seed)
    reader = _NAME.sub("r:recorded", expression(rng.randrange(2**62)))
    written = (("a", "k"),) if rng.random() < 0.2 else ()
    rule = Rule("r:recorded", expression(rng.randrange(2**62), seen=True), written)
    if "r:recorded" in reader and tree_of(rule.expression) is not None:
        for promise in composed(reader, [rule]):
            yield from _removing(promise, rng)
