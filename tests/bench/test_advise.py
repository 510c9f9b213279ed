"""The benchmark of an analysis, small: it measures what it says it does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from analyzer import PromqlWorker, read_usage
from analyzer.files import inputs_in
from bench.advise import PER_DOCUMENT, dropped, expressions, main, read_metrics, write_documents
from bench.advise_data import is_gauge

NAMES = [f"svc_{k:03d}.requests.{k:05d}" for k in range(120)]


def test_every_figure_is_printed_with_its_bar(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--series", "2000", "--metrics", "120", "--documents", "12", "--rounds", "1", "--largest"])
    bars = {bar["name"]: bar for bar in json.loads(capsys.readouterr().out)["bars"]}
    assert set(bars) == {
        "advise.analysis.seconds",
        "advise.analysis.memory",
        "advise.waste.found",
        "advise.read.dropped",
        "advise.left.2000",
        "advise.left.20000",
    }
    assert (bars["advise.analysis.seconds"]["at_most"], bars["advise.analysis.memory"]["at_most"]) == (60, 4)
    assert 0.05 < bars["advise.analysis.memory"]["value"] < 4
    assert bars["advise.waste.found"]["value"] == 1.0
    assert bars["advise.read.dropped"]["value"] == 0


def test_documents_are_understood_and_read_two_of_three_metrics(tmp_path: Path) -> None:
    write_documents(tmp_path, NAMES, 10)
    with PromqlWorker() as parse:
        usage = read_usage(inputs_in(tmp_path).inputs, parse)
    assert (len(usage.documents), usage.expressions) == (10, 10 * (PER_DOCUMENT + 1))
    assert usage.understood == usage.expressions
    read = {name for r in usage.references for name in r.metrics if name.startswith("svc_")}
    said = {m.replace(".", "_") + ("_ratio" if is_gauge(k) else "_total") for k, m in enumerate(NAMES) if k % 3 < 2}
    assert read == said
    assert len(read_metrics(NAMES, 10)) == len(said)


def test_expressions_are_all_distinct() -> None:
    made = list(itertools.islice(expressions(NAMES), 1_000))
    assert len(set(made)) == 1_000


def test_what_is_dropped_is_told_from_other_advice() -> None:
    actions = [{"type": "drop_metric", "metric": "a"}, {"type": "aggregate_labels", "metric": "b"}]
    assert dropped({"recommendations": [{"actions": actions}]}) == {"a"}
