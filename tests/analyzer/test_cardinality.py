"""Series left without any set of labels: equal to brute force, whatever the metric."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest

from analyzer import cardinality
from analyzer.cardinality import LabelTable, dense, dependencies, distinct, packed, table_of
from flowgate.actions import Label
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

Series = Mapping[Label, str]


def label(key: str, place: str = "point") -> Label:
    return Label("resource" if place == "resource" else "point", key)


A, B, C, R = label("a"), label("b"), label("c"), label("a", "resource")


def brute(series: Sequence[Series], scopes: Sequence[str], without: Iterable[Label]) -> int:
    gone = frozenset(without)
    return len({(scope, frozenset((k, v) for k, v in one.items() if k not in gone)) for one, scope in zip(series, scopes, strict=True)})


def some_metric(dice: random.Random) -> tuple[list[Series], list[str]]:
    """Distinct series: labels of few or many values, some absent, some that follow from another, on the resource or the point."""
    labels = [label(f"l{k}", dice.choice(("point", "resource"))) for k in range(dice.randrange(1, 9))]
    sizes = [dice.choice((1, 2, 3, 10, 1000)) for _ in labels]
    absent = [dice.choice((0.0, 0.0, 0.3)) for _ in labels]
    met: dict[tuple[str, frozenset[tuple[Label, str]]], Series] = {}
    for _ in range(dice.randrange(1, 200)):
        one: dict[Label, str] = {}
        for k, (name, size, missing) in enumerate(zip(labels, sizes, absent, strict=True)):
            value = dice.randrange(size)
            if k and k % 3 == 0 and labels[k - 1] in one:
                value = int(one[labels[k - 1]]) % size
            if dice.random() >= missing:
                one[name] = str(value)
        scope = dice.choice(("", "s"))
        met[scope, frozenset(one.items())] = one
    return [dict(one) for _, one in met], [scope for scope, _ in met]


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_series_left_equal_brute_force_on_random_metrics(case: str) -> None:
    """Every subset of up to three labels, and some larger ones."""
    dice = random.Random(seed_of(case, "cardinality"))
    for _ in range(count(1000, 20_000)):
        series, scopes = some_metric(dice)
        made = table_of(series, scopes)
        asked = [s for n in range(4) for s in combinations(made.labels, n)]
        asked += [tuple(dice.sample(made.labels, dice.randrange(len(made.labels) + 1))) for _ in range(5)]
        for without in asked if len(asked) < 30 else dice.sample(asked, 30):
            assert made.left(without) == brute(series, scopes, without), (series, scopes, without)


def test_the_same_key_on_the_resource_and_the_point_are_two_labels() -> None:
    made = table_of([{A: "1", R: "1"}, {A: "1", R: "2"}, {A: "2", R: "2"}])
    assert (made.left([A]), made.left([R]), made.left([A, R]), made.left()) == (2, 2, 1, 3)


def test_to_lack_a_label_is_not_to_have_it_empty() -> None:
    made = table_of([{A: "", B: "x"}, {B: "x"}])
    assert (made.left(), made.left([A]), made.values(A), made.carrying(A)) == (2, 1, 1, 1)


def test_a_label_that_no_series_has_changes_nothing() -> None:
    assert table_of([{A: "1"}, {A: "2"}]).left([label("z")]) == 2


def test_a_metric_without_series_or_without_labels() -> None:
    assert table_of([]).left([A]) == 0
    assert table_of([{}]).left([A]) == 1


@pytest.mark.parametrize("labels", [6, 40])
def test_labels_too_wide_for_one_word_are_counted_as_exactly(labels: int) -> None:
    """40 labels of 2^31 values each: 1,240 bits."""
    dice = np.random.default_rng(7)
    codes = dice.integers(1, 4, (labels, 3000), dtype=np.uint32)
    names = tuple(label(f"l{k}") for k in range(labels))
    narrow = LabelTable(names, codes, (4,) * labels)
    wide = LabelTable(names, codes, (2**31,) * labels)
    for gone in (names[:1], names[: labels // 2], names[2:], names):
        assert wide.left(gone) == len({tuple(c) for c in codes[[i for i, n in enumerate(names) if n not in gone]].T.tolist()} or {()})
        assert labels > 6 or wide.left(gone) == narrow.left(gone)


def test_hashes_that_collide_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first salt every row hashes to the same number: it is noticed, and the next salt is taken."""
    honest, calls = cardinality._mixed, []

    def collides(x: cardinality.Keys) -> cardinality.Keys:
        calls.append(1)
        return np.zeros_like(x) if len(calls) <= 2 else honest(x)

    monkeypatch.setattr(cardinality, "_mixed", collides)
    columns = [(np.arange(5, dtype=np.uint32), 2**40), (np.arange(5, dtype=np.uint32), 2**40)]
    assert distinct(packed(columns, 5)) == 5
    assert len(calls) == 4


@pytest.mark.parametrize("size", [10, 1000])
def test_numbering_anew_leaves_no_gaps_and_keeps_the_order(size: int) -> None:
    codes = np.array([9, 0, 3, 9, 3], np.uint32)
    assert dense(codes, size)[0].tolist() == [2, 0, 1, 2, 1]
    assert dense(codes, size)[1] == 3
    assert dense(np.array([4], np.uint32), size)[0].tolist() == [1]


# --- dependencies --------------------------------------------------------------------------------------------------------------


def holds(series: Sequence[Series], by: Iterable[Label], on: Label) -> bool:
    known: dict[tuple[str | None, ...], set[str | None]] = defaultdict(set)
    for one in series:
        known[tuple(one.get(b) for b in by)].add(one.get(on))
    return all(len(values) == 1 for values in known.values())


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_what_determines_a_label_does_so_and_nothing_of_it_can_be_spared(case: str) -> None:
    """On random metrics; and what is not said to follow does not follow from all others either."""
    dice = random.Random(seed_of(case, "dependencies"))
    for _ in range(count(300, 5000)):
        series, _ = some_metric(dice)
        made = table_of(series)
        found = dependencies(made)
        for on in made.labels:
            others = [other for other in made.labels if other != on]
            if on not in found:
                assert not others or not holds(series, others, on), (series, on)
                continue
            by = found[on].by
            assert on not in by
            assert holds(series, by, on), (series, on, by)
            assert len(by) == 1 or not any(holds(series, [b for b in by if b != spared], on) for spared in by), (series, on, by)


@pytest.mark.parametrize("rows", [100, 3 * cardinality.PROBED])
def test_a_pod_determines_its_node_and_a_constant_follows_from_anything(rows: int) -> None:
    pod, node, region = label("pod"), label("node"), label("region")
    series = [{pod: f"p{k % 50}", node: f"n{k % 5}", region: "eu", A: str(k)} for k in range(rows)]
    found = dependencies(table_of(series))
    assert found[node].by == (pod,)
    assert found[node].tested == rows
    assert found[region].by == (node,)
    assert pod in found, "each series has a value of its own for `a`, which so determines everything"
    assert found[pod].by == (A,)
    assert found[pod].tested == 0, "and nothing tested it"
    assert A not in found


def test_two_labels_that_determine_a_third_only_together() -> None:
    series = [{A: str(x), B: str(y), C: str((x + y) % 3)} for x in range(3) for y in range(3)]
    assert {on: d.by for on, d in dependencies(table_of(series)).items()} == {A: (B, C), B: (A, C), C: (A, B)}
    assert all(d.tested == 0 for d in dependencies(table_of(series)).values())


def test_one_exception_among_many_is_enough() -> None:
    pod, node = label("pod"), label("node")
    series = [{pod: f"p{k % 50}", node: f"n{k % 5}", A: str(k)} for k in range(3 * cardinality.PROBED)]
    series[-1] = {**series[-1], node: "elsewhere"}
    assert dependencies(table_of(series))[node].by == (A,)
