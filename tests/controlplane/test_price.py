"""`flowgate price`: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from controlplane import cli, price
from controlplane.price import main, totals_from_json
from flowgate.errors import EXIT_DONE, EXIT_NO, Invalid, NotFound
from flowgate.money import Volume

ROOT = Path(__file__).resolve().parents[2]
BILL = Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "bill.json").read_text()))
BOOK = Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "price-book.json").read_text()))
GRAFANA = "grafana-cloud-pro"
SENT: dict[str, Any] = {
    "metrics": {"series": 5000, "prom_series": 20000, "points_per_second": 80.0, "samples_per_second": 300.0},
    "logs": {"points_per_second": 10, "bytes_per_second": 100000.0},
}


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    path = tmp_path / "totals.json"
    path.write_text(json.dumps(SENT))
    return path


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, Any]:
    code = main([*argv, "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_bill_has_the_shape_of_the_schema_and_adds_up(capsys: pytest.CaptureFixture[str], sent: Path) -> None:
    code, found = answer(capsys, "bill", "--price-book", GRAFANA, "--totals", str(sent))
    assert code == EXIT_DONE
    BILL.validate(found)
    # (20,000 - 10,000) x 6.50 / 1,000 = 65.00; 259.2 GB x 0.05 = 12.96; 209.2 x 0.40 = 83.68; + 19.00
    assert found["invoiced"] == "180.64"
    assert {line["name"]: line["amount"] for line in found["lines"]}["active series"] == "65.0000"
    assert found["estimates"] == ["active series: estimate: no hourly history; the window's count stands for the 95th percentile"]
    assert "check your contract" in found["note"].lower()


def test_a_bill_is_a_table_too(capsys: pytest.CaptureFixture[str], sent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["bill", "--price-book", str(price.BOOKS / f"{GRAFANA}.yaml"), "--totals", str(sent)]) == EXIT_DONE
    printed = capsys.readouterr().out
    assert "180.64 USD" in printed
    assert "check your contract" in printed.lower()


@pytest.mark.parametrize("name", sorted(p.stem for p in price.BOOKS.glob("*.yaml")))
def test_every_shipped_book_checks_and_bills(
    capsys: pytest.CaptureFixture[str], sent: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    code, found = answer(capsys, "check", name)
    assert (code, found["valid"], found["problems"]) == (EXIT_DONE, True, [])
    BOOK.validate(found["book"])
    assert main(["check", name]) == EXIT_DONE
    assert name != GRAFANA or "6.50 per 1,000" in capsys.readouterr().out
    capsys.readouterr()
    BILL.validate(answer(capsys, "bill", "--price-book", name, "--totals", str(sent))[1])


def test_a_name_in_a_book_is_no_markup(capsys: pytest.CaptureFixture[str], tmp_path: Path, sent: Path) -> None:
    hostile = {
        "format": 2, "name": "n", "version": 1, "vendor": "v", "currency": "USD", "as_of": "2026-11-25", "note": "[/red]",
        "source": {"title": "[/t]", "read": "2026-11-25"},
        "lines": [{"name": "[/x]", "signals": ["logs"], "unit": "events", "amount": "1"}],
    }  # fmt: skip
    path = tmp_path / "b.yaml"
    path.write_text(json.dumps(hostile))
    for argv in (["check", str(path)], ["bill", "--price-book", str(path), "--totals", str(sent)]):
        assert main(argv) == EXIT_DONE
        printed = capsys.readouterr().out
        assert "[/x]" in printed
        assert "[/red]" in printed


def test_a_book_that_is_none_ends_with_one_and_its_places(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text("name: n\nversion: 1\ncurrency: dollars\nmetrics: {per: series, amount: 1}")
    code, found = answer(capsys, "check", str(path))
    assert (code, found["valid"]) == (EXIT_NO, False)
    assert [p["path"] for p in found["problems"]] == ["currency", "metrics/amount"]
    assert main(["check", str(path)]) == EXIT_NO
    assert "metrics/amount" in capsys.readouterr().out


def test_the_shipped_books_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answer(capsys, "list")
    assert code == EXIT_DONE
    assert len(found) >= 8
    assert {book["name"] for book in found} == {p.stem for p in price.BOOKS.glob("*.yaml")}
    assert main(["list"]) == EXIT_DONE
    assert "check your contract" in capsys.readouterr().out


def test_without_shipped_books_the_list_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(price, "BOOKS", tmp_path / "none")
    with pytest.raises(NotFound):
        main(["list"])


@pytest.mark.parametrize("named", ["no-such-book", "../price-book", "/nowhere/b.yaml"])
def test_a_book_that_is_not_there_is_not_found(named: str) -> None:
    with pytest.raises(NotFound):
        main(["check", named])


@pytest.mark.parametrize("argv", [[], ["bill", "--price-book", "x"], ["bill", "--price-book", "x", "--totals", "a", "--segments", "b"]])
def test_wrong_usage_ends_with_two(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2


def test_totals_are_read_with_their_history() -> None:
    found = totals_from_json(json.dumps(SENT | {"hours": [{"series": 1}, {"series": 2, "prom_series": 3}]}))
    assert found.metrics == Volume(5000, 20000, 80.0, 0.0, 300.0)
    assert found.hours == (Volume(1), Volume(2, 3))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{", [""]),
        ("[]", [""]),
        ('{"spans": {}}', ["spans"]),
        ('{"hours": {}}', ["hours"]),
        ('{"hours": [1]}', ["hours/0"]),
        ('{"logs": 5, "traces": null}', ["logs", "traces"]),
        ('{"metrics": {"series": 1.5, "points": 1, "points_per_second": -1, "bytes_per_second": NaN}}',
         ["metrics/series", "metrics/points", "metrics/points_per_second", "metrics/bytes_per_second"]),
        ('{"metrics": {"series": true, "samples_per_second": null}}', ["metrics/series", "metrics/samples_per_second"]),
    ],
)  # fmt: skip
def test_bad_totals_name_their_places(text: str, paths: list[str]) -> None:
    with pytest.raises(Invalid) as refusal:
        totals_from_json(text)
    assert [p.path for p in refusal.value.problems] == paths


def test_segments_are_billed_for_what_went_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tests.analyzer.store import Store

    store = Store(tmp_path)
    store.series("m", points=60)
    store.series("n", points=60)
    store.write("in")
    store.series("m", points=60)
    store.write("out")
    book = tmp_path / "b.yaml"
    book.write_text("{name: n, version: 1, currency: USD, metrics: {per: series, amount: '2.50'}}")
    segments = ["--segments", str(tmp_path), "--price-book", str(book)]
    assert answer(capsys, "bill", *segments)[1]["invoiced"] == "2.50"
    assert answer(capsys, "bill", *segments, "--side", "in")[1]["invoiced"] == "5.00"


def test_the_command_is_wired() -> None:
    assert "price" in {command.name or getattr(command.callback, "__name__", "") for command in cli.app.registered_commands}
    done = subprocess.run(
        [sys.executable, "-c", "from controlplane.cli import main; main()", "price", "list", "--output", "json"],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == EXIT_DONE, done.stderr
    assert len(json.loads(done.stdout)) >= 8
