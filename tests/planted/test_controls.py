"""The suite itself: an analysis that is blind in one eye must be caught, whichever eye that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from analyzer import PromqlWorker
from analyzer.engine import Advice
from flowgate.advice import BlindSpot, Profile, Usage
from flowgate.usage import LabelSet, Use
from tests.planted.judge import Analyse, Score, analysed, judge, usage_of
from tests.planted.sets import Planted, planted

SETS = 250
Seen = list[tuple[Planted, Usage]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Sets of a known seed, read as they are."""
    folder = tmp_path_factory.mktemp("planted")
    with PromqlWorker() as parse:
        return [(made, usage_of(made, folder, parse)) for made in (planted(11, number) for number in range(SETS))]


def scored(seen: Seen, analyse: Analyse = analysed) -> Score:
    score = Score()
    for made, usage in seen:
        judge(score, made, usage, analyse)
    return score


def test_the_analysis_as_it_is_does_nothing_wrong(seen: Seen) -> None:
    score = scored(seen)
    assert score.wrong == [], score.told()
    assert min(map(score.share, score.planted)) >= 0.95, score.told()


# --- what reads is forgotten -----------------------------------------------------------------------------------------------------------


def of_uses(change: Callable[[Use], Use | None]) -> Analyse:
    """An analysis to which each use is another, or none."""

    def analyse(profile: Profile, usage: Usage) -> Advice:
        changed = [(r, tuple(u for use in r.uses if (u := change(use)) is not None)) for r in usage.references]
        return analysed(profile, replace(usage, references=tuple(replace(r, uses=uses) for r, uses in changed if uses)))

    return analyse


def without_kind(kind: str) -> Analyse:
    return lambda profile, usage: analysed(
        profile, replace(usage, references=tuple(r for r in usage.references if r.evidence.kind != kind))
    )


def unneeded(reason: Callable[[str], bool]) -> Callable[[Use], Use]:
    """Labels that are needed for a reason are not."""

    def change(use: Use) -> Use:
        gone = frozenset(label for label, why in use.why.items() if label != "*" and reason(why))
        return replace(use, demand=use.demand - gone, why={label: why for label, why in use.why.items() if label not in gone})

    return change


def merged_freely(reason: Callable[[str], bool]) -> Callable[[Use], Use]:
    """Where every label is needed for a reason, those that are named are, and a sum is right."""

    def change(use: Use) -> Use:
        if not use.demand.all_except or not reason(use.why.get("*", "")):
            return use
        return replace(
            use, demand=LabelSet(use.mentioned), operator="sum", exposed=LabelSet(use.mentioned), dynamic=False, pattern=use.pattern
        )

    return change


BLIND: Mapping[str, Analyse] = {
    "documents that cannot be read are absent": lambda p, u: analysed(p, replace(u, blind_spots=())),
    "labels of `by` are ignored": of_uses(unneeded(lambda why: why.endswith(" by"))),
    "labels of matchers are ignored": of_uses(unneeded(lambda why: why == "matcher")),
    "labels that a variable lists are ignored": of_uses(unneeded(lambda why: why == "read from the result")),
    "labels of joins are ignored": of_uses(unneeded(lambda why: "matches by it" in why)),
    "averages and counts may be merged": of_uses(merged_freely(lambda why: "depends on how many" in why)),
    "what is shown whole may be merged": of_uses(merged_freely(lambda why: "of the result is seen" in why)),
    "what stands between a metric and its sum is ignored": of_uses(merged_freely(lambda why: " under " in why)),
    "groupings that are chosen later are ignored": of_uses(merged_freely(lambda why: "known only when" in why)),
    "`without` needs nothing": of_uses(merged_freely(lambda why: "names what is merged" in why)),
    "ad-hoc filters ask for nothing": of_uses(merged_freely(lambda why: "ad-hoc" in why)),
    "everything is merged by a sum": of_uses(lambda u: replace(u, operator="sum") if u.operator in ("min", "max") else u),
    "everything is merged by a maximum": of_uses(lambda u: replace(u, operator="max") if u.operator in ("sum", "min") else u),
    "patterns of names read nothing": of_uses(lambda u: None if u.pattern else u),
    "one bucket is read": of_uses(lambda u: replace(u, le=frozenset({"0.5"})) if u.name.endswith("_bucket") else u),
    "sums and counts of histograms are not read": of_uses(lambda u: None if u.name.endswith(("_sum", "_count")) else u),
    "`target_info` is a metric like others": of_uses(lambda u: None if u.name == "target_info" else u),
    "labels listed over all metrics are ignored": lambda p, u: analysed(p, replace(u, everywhere={})),
    "nothing is protected": lambda p, u: replace(analysed(p, u), protected={}),
    **{
        f"of {kind}s nothing is read": without_kind(kind)
        for kind in ("dashboard", "variable", "alert", "recording_rule", "slo", "autoscaler", "executed")
    },
}


@pytest.mark.parametrize("blindness", BLIND)
def test_a_blindness_is_caught(blindness: str, seen: Seen) -> None:
    assert scored(seen, BLIND[blindness]).wrong != []


def test_names_that_are_looked_for_as_they_are_sent_alone_are_caught(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.reading.candidates", lambda metric, *_: {metric: None})
    assert scored(seen).wrong != []


def test_labels_that_are_looked_for_as_they_are_sent_alone_are_caught(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.verdicts.label_candidates", lambda label, _resource: frozenset({label}))
    assert scored(seen).wrong != []


# --- too little is said ---------------------------------------------------------------------------------------------------------------


TIMID: Mapping[str, Analyse] = {
    "nothing is recommended": lambda p, u: replace(analysed(p, u), recommendations=()),
    "something always hides": lambda p, u: analysed(p, replace(u, blind_spots=(BlindSpot("hiding", "something"),))),
    "every label is needed": of_uses(lambda u: replace(u, demand=LabelSet(frozenset(), True), dynamic=True, why={"*": "so"})),
}


@pytest.mark.parametrize("timidity", TIMID)
def test_an_analysis_that_dares_nothing_is_caught(timidity: str, seen: Seen) -> None:
    score = scored(seen, TIMID[timidity])
    assert min(map(score.share, score.planted)) < 0.95
