"""`python -m analyzer`: the product's heart with no server running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyzer.__main__ import main
from tests.analyzer.store import Store
from tests.house.test_docs import schema

RULES = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: used_metric}\n"


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    store = Store(tmp_path / "segments")
    store.series("used_metric")
    store.series("idle_metric")
    return store.write()


def test_advice_is_printed_as_json(segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    assert main([str(segments), str(tmp_path / "rules.yaml"), "--output", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [f["metric"] for f in said["findings"]] == ["idle_metric"]
    assert said["recommendations"][0]["actions"] == [{"type": "drop_metric", "metric": "idle_metric"}]


def test_advice_is_printed_as_a_table(
    segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "rules.yaml").write_text(RULES)
    assert main([str(segments), str(tmp_path / "rules.yaml")]) == 0
    assert "unused_metric" in capsys.readouterr().out


def test_a_broken_document_beside_a_good_one_is_a_blind_spot(segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "usage"
    folder.mkdir()
    (folder / "good.yaml").write_text(RULES)
    (folder / "bad.json").write_text("{")
    assert main([str(segments), str(folder), "--output", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [b["document"] for b in said["blind_spots"] if b["kind"] == "hiding"] == ["bad.json"]
    assert said["recommendations"] == []


def test_the_only_document_broken_is_exit_3(segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{")
    assert main([str(segments), str(tmp_path / "bad.json")]) == 3
    assert "bad.json" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["segments", "usage"])
def test_what_does_not_exist_is_one_sentence_and_exit_3(
    segments: Path, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    usage = tmp_path / ("nothing" if missing == "usage" else "rules.yaml")
    assert main([str(tmp_path / "none" if missing == "segments" else segments), str(usage)]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_segments_and_usage_can_be_named_and_what_is_done_is_said_on_stderr(
    segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "more.yaml").write_text(RULES.replace("used_metric", "idle_metric"))
    asked = ["--segments", str(segments), "--usage", str(tmp_path / "rules.yaml"), str(tmp_path / "more.yaml"), "--output", "json"]
    assert main(asked) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["findings"] == []
    assert [line.partition(":")[0].partition(",")[0] for line in err.splitlines()] == [
        "what is read", "what is sent", "what need not be sent", "what is ahead",
    ]  # fmt: skip
    assert main([*asked, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_printed_has_its_shape(segments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "book.yaml").write_text("name: n\nversion: 1\ncurrency: EUR\nmetrics: {per: series, amount: '0.5'}\n")
    assert main([str(segments), str(tmp_path / "rules.yaml"), "--price-book", str(tmp_path / "book.yaml"), "--output", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    schema("advice").validate(said)
    assert said["bill"]["invoiced"] == "1.00"
    assert said["findings"][0]["cost"] == {"amount": "0.5000", "currency": "EUR", "per": "30d"}
    assert said["protected"] == {"used_metric": {"labels": {"all_except": []}, "bounds": None}}


@pytest.mark.parametrize("given", [[], ["--segments", "x"], ["x"], ["--usage", "x"]])
def test_without_segments_or_usage_the_answer_is_how_to_ask(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2
    assert "--segments DIR and --usage PATH" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "code"), [(None, 3), ("name: n\nversion: x\ncurrency: USD\n", 3)])
def test_a_price_book_that_is_missing_or_bad_is_refused(
    segments: Path, tmp_path: Path, text: str | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    if text is not None:
        (tmp_path / "book.yaml").write_text(text)
    assert main([str(segments), str(tmp_path / "rules.yaml"), "--price-book", str(tmp_path / "book.yaml")]) == code
    assert capsys.readouterr().err
