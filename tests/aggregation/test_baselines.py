"""What other ways of taking the label away do to the same scenarios, by the same judge: that they fail is what the harness can see."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.processes import Children
from tests.aggregation.judge import Verdict, aligned, staggered, total
from tests.aggregation.runs import Sides, baselines, own, through
from tests.aggregation.scenarios import scenarios
from tests.house.seeds import count, seed_of

pytestmark = [pytest.mark.e2e, pytest.mark.binary, pytest.mark.timeout(1800)]
NOTHING: Sides = {"nothing": {}}


def told(side: str, verdicts: list[Verdict]) -> float:
    wrong = sum(bool(v.wrong) for v in verdicts)
    print(f"{side}: {wrong} of {len(verdicts)} scenarios wrong ({wrong / len(verdicts):.0%}), {sum(v.exact for v in verdicts)} comparisons")
    return wrong / len(verdicts)


def test_aligned_scenarios_come_out_wrong_of_every_other_way_and_whole_of_none(promtool: Path, collector: Path, tmp_path: Path) -> None:
    seed = seed_of("fresh", "aligned scenarios through the baselines")
    drawn = scenarios(seed, count(30, 60), True)
    with Children(tmp_path) as children:
        out = through(drawn, lambda _: {**baselines(drawn), **NOTHING}, children, tmp_path)
    rates = {side: told(side, aligned([(s, own(stored, s)) for s in drawn], seed)) for side, stored in out.items()}
    assert rates.pop("nothing") == 0
    assert all(rate > 0.3 for rate in rates.values()), rates


def test_staggered_scenarios_come_out_wrong_of_every_other_way_and_whole_of_none(collector: Path, tmp_path: Path) -> None:
    seed = seed_of("fresh", "staggered scenarios through the baselines")
    drawn = [s for s in scenarios(seed, count(30, 60), False) if s.counts]
    with Children(tmp_path) as children:
        out = through(drawn, lambda _: {**baselines(drawn), **NOTHING}, children, tmp_path)
    rates = {side: told(side, [staggered(s, own(stored, s)) for s in drawn]) for side, stored in out.items()}
    assert [wrong for s in drawn for wrong in total(s, own(out["nothing"], s))] == []
    assert rates.pop("nothing") == 0
    assert all(rate > 0.3 for rate in rates.values()), rates
