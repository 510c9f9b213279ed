"""The command line: exit codes of the contract, one clear sentence for each refusal, JSON where it is asked for."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.analyzer.store import Store

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "gateway" / "base.yaml"


def flowgate(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    import os

    argv = [sys.executable, "-m", "controlplane", *args]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **env})


def refused(run: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    assert run.returncode == code, run.stderr
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_help_lists_the_commands() -> None:
    run = flowgate("--help")
    assert run.returncode == 0
    assert all(name in run.stdout for name in ("demo", "tap", "sql", "check"))


@pytest.mark.parametrize("args", [("nothing",), ("get", "unicorns"), ("sql",), ("demo", "--gateways", "0"), ("--nothing",)])
def test_a_wrong_call_is_exit_2(args: tuple[str, ...]) -> None:
    assert flowgate(*args).returncode == 2


def test_sql_prints_json(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.series("a")
    store.write()
    run = flowgate("sql", "SELECT metric FROM series", "--data", str(tmp_path), "--output", "json")
    assert (run.returncode, json.loads(run.stdout)) == (0, [{"metric": "a"}])
    refused(flowgate("sql", "SELEC", "--data", str(tmp_path)), 3, "syntax error")


def test_no_segments_is_exit_3(tmp_path: Path) -> None:
    refused(flowgate("sql", "SELECT 1", "--data", str(tmp_path)), 3, "no segments")


@pytest.mark.binary
def test_check_says_yes_no_and_where(tmp_path: Path) -> None:
    assert flowgate("check", str(BASE)).returncode == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text(BASE.read_text().replace("send_batch_max_size: 8192", "send_batch_max_size: 1"))
    run = flowgate("check", str(bad), "--output", "json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["problems"][0]["path"].startswith("processors/batch")
    refused(flowgate("check", str(tmp_path / "none.yaml")), 3, "cannot be read")


def test_no_binary_is_exit_5(tmp_path: Path) -> None:
    refused(flowgate("check", str(BASE), FLOWGATE_COLLECTOR=str(tmp_path / "none")), 5, "make gateway")


def test_render_prints_the_configuration(tmp_path: Path) -> None:
    actions = tmp_path / "actions.json"
    actions.write_text('[{"type": "drop_metric", "metric": "idle"}]')
    run = flowgate("render", "--base", str(BASE), "--actions", str(actions))
    assert run.returncode == 0
    assert 'name == \\"idle\\"' in run.stdout
    actions.write_text('[{"type": "drop_metric"}]')
    refused(flowgate("render", "--base", str(BASE), "--actions", str(actions)), 3, "actions/0/metric")
    actions.write_text("[")
    refused(flowgate("render", "--base", str(BASE), "--actions", str(actions)), 3, "JSON")


def test_advice_says_how_to_do_elsewhere_what_the_gateway_cannot(tmp_path: Path) -> None:
    store = Store(tmp_path / "segments")
    for number in range(60):
        store.series("calls", {"user": f"u{number}", "region": f"r{number % 3}"}, kind="sum", monotonic=True, increase=5.0)
    for row in store.rows["points"]:
        row["last_time"] += timedelta(seconds=59)
    rules = {"groups": [{"name": "g", "rules": [{"alert": "Few", "expr": "sum by (region) (rate(calls_total[5m])) < 1"}]}]}
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    run = flowgate("advise", str(store.write()), str(tmp_path / "rules.json"), "--output", "json", "--quiet")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    unable = [f["id"] for f in told["findings"] if f["unable"] and f["action"]["type"] == "aggregate_labels"]
    assert [e["finding"] for e in told["elsewhere"]] == unable != []
    assert {"python", "java", "go"} <= {way["language"] for way in told["elsewhere"][0]["ways"]}


@pytest.mark.parametrize("setting", ["FLOWGATE_API_LISTEN", "FLOWGATE_OPAMP_LISTEN"])
def test_a_taken_port_is_exit_4_and_names_it(tmp_path: Path, setting: str) -> None:
    other = {"FLOWGATE_API_LISTEN": "FLOWGATE_OPAMP_LISTEN", "FLOWGATE_OPAMP_LISTEN": "FLOWGATE_API_LISTEN"}[setting]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(flowgate("api", FLOWGATE_DATA=str(tmp_path), **{setting: f"127.0.0.1:{port}", other: "127.0.0.1:0"}), 4, str(port))


def test_a_folder_that_cannot_be_written_is_exit_5(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(flowgate("api", FLOWGATE_DATA=str(tmp_path / "file" / "data")), 5, "cannot be written")


def test_an_api_that_is_down_is_exit_4_and_no_token_exit_3(tmp_path: Path) -> None:
    refused(flowgate("get", "gateways", FLOWGATE_API="http://127.0.0.1:9", FLOWGATE_TOKEN="t"), 4, "does not answer")
    refused(flowgate("get", "gateways", "--data", str(tmp_path)), 3, "no token")
