"""Damaged documents and expressions: what was read before is read still, or it is said that it may be."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from analyzer import demand
from analyzer.parsers import PromqlWorker
from analyzer.reading import Pattern
from analyzer.references.expressions import Parsed, read_trees
from analyzer.references.inventory import Input
from analyzer.usage import read_usage
from flowgate.advice import Usage
from flowgate.usage import NotUnderstood
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT.parent / "shared" / "samples" / "usage"
FOLDERS = [ROOT / "examples" / "usage", *([SAMPLES] if SAMPLES.exists() else [])]
DOCUMENTS = [f for folder in FOLDERS for f in sorted(folder.rglob("*")) if f.suffix in (".json", ".yaml") and "expected" not in f.name]
SMALL = [f for f in DOCUMENTS if f.stat().st_size < 60_000]


def names(usage: Usage) -> set[str]:
    return {name for r in usage.references for name in r.metrics}


def protected(usage: Usage, name: str) -> bool:
    """Read by name, by a pattern, or touched by something that was not understood."""
    patterns = [p for r in usage.references for p in r.patterns]
    touches = [t for s in usage.blind_spots if s.kind == "hiding" for t in (s.touches or (".*",))]
    return name in names(usage) or any(Pattern(p).fullmatch(name) for p in {*patterns, *touches})


def delete(text: str, at: int, dice: random.Random) -> str:
    return text[:at] + text[at + dice.choice((1, 1, 2, 7)) :]


def double(text: str, at: int, dice: random.Random) -> str:
    return text[:at] + text[at : at + dice.choice((1, 1, 3, 40))] * 2 + text[at:]


INSERTED = [*"(){}[]\"'`\\,:$=~!|*+-/^%@ \n\tx0", "$v", "${v}", "[[v]]", "{{v}}", "\u00e9", "\0"]
"""Not `#`: what stands in a comment is read by nobody."""


def insert(text: str, at: int, dice: random.Random) -> str:
    return text[:at] + dice.choice(INSERTED) + text[at:]


def swap(text: str, at: int, dice: random.Random) -> str:
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def cut(text: str, at: int, dice: random.Random) -> str:
    return text[:at]


MUTATIONS: Sequence[Callable[[str, int, random.Random], str]] = (delete, double, insert, swap, cut)


def still_there(name: str, before: str, after: str) -> bool:
    """Whether no place where the name stands was touched."""
    word = re.compile(rf"(?<![\w:.]){re.escape(name)}(?![\w:.])")
    return len(word.findall(after)) >= len(word.findall(before)) > 0


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_a_damaged_document_loses_no_name_in_silence(case: str) -> None:
    seed = seed_of(case, "documents")
    dice = random.Random(seed)
    with PromqlWorker() as parse:
        whole = {f: names(read_usage([Input(f.name, f.read_text())], parse)) for f in SMALL}
        for _ in range(count(200, 3_000)):
            file = dice.choice(SMALL)
            before = file.read_text()
            after = dice.choice(MUTATIONS)(before, dice.randrange(len(before)), dice)
            usage = read_usage([Input(file.name, after)], parse)
            lost = [n for n in whole[file] if still_there(n, before, after) and not protected(usage, n)]
            assert not lost, (seed, file.name, lost, _difference(before, after))


def _difference(before: str, after: str) -> tuple[str, str]:
    at = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return before[max(0, at - 60) : at + 60], after[max(0, at - 60) : at + 60]


def expressions() -> list[str]:
    with PromqlWorker() as parse:
        usages = [read_usage([Input(f.name, f.read_text())], parse) for f in DOCUMENTS]
    said = {r.evidence.expression or "" for u in usages for r in u.references if r.evidence.kind != "variable"}
    return sorted(e for e in said if 0 < len(e) < 1_990)


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_a_damaged_expression_loses_no_name_in_silence(case: str) -> None:
    dice = random.Random(seed_of(case, "expressions"))
    texts = expressions()
    befores = [dice.choice(texts) for _ in range(count(3_000, 17_000))]
    afters = [dice.choice(MUTATIONS)(b, dice.randrange(len(b)), dice) for b in befores]
    start = time.process_time()
    with PromqlWorker() as parse:
        found = [_protects(answer) for answer in read_trees([(t, {}) for t in [*befores, *afters]], parse)]
    assert time.process_time() - start < len(found) * 0.01  # no text takes long: the mean is far below a hundredth of a second
    for before, after, (was, _), (names_after, touches) in zip(befores, afters, found, found[len(befores) :], strict=False):
        kept = [Pattern(t) for t in touches]
        lost = [n for n in was - names_after if still_there(n, before, after) and not any(p.fullmatch(n) for p in kept)]
        assert not lost, (lost, before, after)


def _protects(answer: Parsed | NotUnderstood) -> tuple[set[str], tuple[str, ...]]:
    """Names that are read, and patterns of what is or may be."""
    if isinstance(answer, NotUnderstood):
        return set(), answer.touches or (".*",)
    found = [u for tree in answer.trees for u in demand.uses(tree)]
    return {u.name for u in found if not u.pattern}, tuple(u.name for u in found if u.pattern)
