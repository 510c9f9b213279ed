"""`flowgate render` and `flowgate check` from files: answers on stdout, exit codes of the contract, places in every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.configs import check_main, protected_in, render_main
from controlplane.render import render
from flowgate.action_shapes import action_json
from flowgate.actions import Action, AggregateLabels, DropMetric, Label, Rename
from flowgate.errors import EXIT_DONE, EXIT_NO, Invalid, NotFound

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "gateway" / "base.yaml"


@pytest.fixture(autouse=True)
def binary(monkeypatch: pytest.MonkeyPatch, collector: Path) -> None:
    monkeypatch.setenv("FLOWGATE_COLLECTOR", str(collector))


def wrote(path: Path, value: Any) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def actions(path: Path, *listed: Action) -> str:
    return wrote(path / "actions.json", [action_json(a) for a in listed])


def checked(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = check_main([*argv, "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_render_prints_yaml_or_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--base", str(BASE), "--actions", actions(tmp_path, DropMetric("${env:X}"))]
    bundle = render(BASE.read_text(), [DropMetric("${env:X}")])
    assert render_main(argv) == EXIT_DONE
    assert capsys.readouterr().out.encode() == bundle.files[0].body
    assert render_main([*argv, "--output", "json"]) == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert found["hash"] == bundle.hash.hex()
    assert [f["body"].encode() for f in found["files"]] == [bundle.files[0].body]


@pytest.mark.parametrize("text", ["{", "{}", "[7]", '[{"type": "drop_metric"}]', '[{"type": "x"}]', "[" * 100_000])
def test_actions_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid):
        render_main(["--base", str(BASE), "--actions", wrote(tmp_path / "a", text)])


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match=r"none\.yaml"):
        check_main(["none.yaml"])


@pytest.mark.binary
def test_check_says_who_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, str(BASE)) == (EXIT_DONE, {"valid": True, "validated_by": "flowgate-collector version 0.149.0", "problems": []})
    assert check_main([str(BASE)]) == EXIT_DONE
    assert "accepted by flowgate-collector" in capsys.readouterr().out


@pytest.mark.binary
def test_check_tries_actions_on_the_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(capsys, str(BASE), "--actions", actions(tmp_path, DropMetric("idle")))
    assert (code, found["valid"]) == (EXIT_DONE, True)


@pytest.mark.parametrize(
    ("listed", "protected", "path"),
    [
        ((DropMetric("idle"), DropMetric("used")), ["used"], "actions/1"),
        ((Rename("idle", "used"),), ["used"], "actions/0"),
        ((Rename("idle", "a"), Rename("other", "a")), [], "actions/0/to"),
        ((AggregateLabels("used", (Label("point", "a"),), "sum", 60.0),), {}, "actions/0"),
        ((), [], "actions"),
        ((DropMetric("x" * 600),), [], "actions/0/metric"),
    ],
)
def test_check_refuses_actions_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: tuple[Action, ...], protected: Any, path: str
) -> None:
    argv = [str(BASE), "--actions", actions(tmp_path, *listed), "--protected", wrote(tmp_path / "protected.json", protected)]
    code, found = checked(capsys, *argv)
    assert (code, found["valid"], found["validated_by"]) == (EXIT_NO, False, None)
    assert path in [p["path"] for p in found["problems"]]
    assert check_main(argv) == EXIT_NO
    assert path in capsys.readouterr().out


def test_check_judges_for_another_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose binary is not here, so none is asked."""
    old = str(ROOT / "gateway" / "manifest-0.130.yaml")
    assert checked(capsys, str(BASE), "--catalogue", old) == (EXIT_DONE, {"valid": True, "validated_by": None, "problems": []})
    config = BASE.read_text().replace("  otlp/backend:\n", "  otlp_http/x:\n    endpoint: http://a\n  otlp/backend:\n", 1)
    code, found = checked(capsys, wrote(tmp_path / "c.yaml", config), "--catalogue", old)
    assert (code, [p["path"] for p in found["problems"]]) == (EXIT_NO, ["exporters/otlp_http/x"])
    with pytest.raises(Invalid, match="manifest"):
        check_main([str(BASE), "--catalogue", str(BASE)])


def test_what_is_needed_is_read_field_by_field() -> None:
    found = protected_in('{"a": {}, "b": {"labels": {"only": ["x"]}, "bounds": [1, 2.5]}, "c": {"labels": {"all_except": []}}}')
    assert isinstance(found, dict)
    assert (found["a"].bounds, "any" in found["a"].labels) == (None, True)
    assert (found["b"].bounds, "any" in found["b"].labels, "x" in found["b"].labels) == (frozenset({1.0, 2.5}), False, True)
    assert "any" in found["c"].labels


@pytest.mark.parametrize(
    "text",
    [
        "{", "7", "[7]", '{"a": 7}', '{"a": {"x": 1}}', '{"a": {"bounds": 1}}', '{"a": {"bounds": ["1"]}}', '{"a": {"bounds": [true]}}',
        '{"a": {"labels": []}}', '{"a": {"labels": {"only": [7]}}}', '{"a": {"labels": {"only": [], "all_except": []}}}', '{"a": {"labels": {"some": []}}}',
    ],
)  # fmt: skip
def test_what_does_not_say_what_is_needed_is_refused(text: str) -> None:
    """Never read as "nothing is needed"."""
    with pytest.raises(Invalid):
        protected_in(text)
