"""Random expressions with random removable labels: claims that nobody wrote a rule for."""

from __future__ import annotations

import random
from collections.abc import Iterator

from analyzer.demand import uses
from tests.semantics.claims import Claim, promises, tree_of
from tests.semantics.expressions import LABELS, expression
from tests.semantics.worlds import INVENTED


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
        free = [label for label in (*LABELS, "le", INVENTED[0]) if label not in promise.demand and label not in promise.claim.absent]
        removed = frozenset(rng.sample(free, min(len(free), rng.randint(1, 3))))
        if removed - {"le"}:
            yield promise.removing(removed)
