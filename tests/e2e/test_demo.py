"""The demo is the main job: on the real Supervisor and Collector it closes the loop and judges itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from controlplane.demo.report import checks
from controlplane.processes import Children, python, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.binary]
ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schemas"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    data = tmp_path_factory.mktemp("demo") / "flowgate-data"
    argv = python("-m", "controlplane", "demo", "--once", "--data", str(data))
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=290, check=False)
    print(run.stderr)
    return run, data


@pytest.fixture(scope="module")
def report(demo: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    return json.loads((demo[1] / "demo-report.json").read_text())


def test_every_check_held(demo: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]) -> None:
    assert [f"{c.name}: {c.says}" for c in checks(report) if not c.ok] == []
    assert demo[0].returncode == 0


def test_the_report_has_the_shape_of_its_schema(report: dict[str, Any]) -> None:
    registry = Registry().with_resources((s.name, Resource.from_contents(json.loads(s.read_text()))) for s in SCHEMAS.glob("*.json"))  # type: ignore[arg-type]
    Draft202012Validator(json.loads((SCHEMAS / "demo-report.json").read_text()), registry=registry).validate(report)


def test_real_versions_are_reported_by_real_programs(report: dict[str, Any]) -> None:
    assert report["gateway"]["collector_version"] == "0.149.0"
    assert report["gateway"]["supervisor_version"] == "0.149.0"
    assert len(report["gateway"]["instance_uid"]) == 32


def test_everything_the_demo_wrote_is_below_its_folder(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    assert not (ROOT / "flowgate-data").exists() or demo[1] != ROOT / "flowgate-data"
    assert {"control.db", "segments", "demo-report.json", "logs"} <= {p.name for p in demo[1].iterdir()}


def test_nothing_is_left_running(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    assert processes_of(demo[1]) == []


def test_the_segments_can_be_read_with_sql(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    argv = python(
        "-m",
        "controlplane",
        "sql",
        "SELECT side, count(*) AS n FROM points GROUP BY side ORDER BY side",
        "--data",
        str(demo[1]),
        "-o",
        "json",
    )
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert [row["side"] for row in json.loads(run.stdout)] == ["in", "out", "self"]


def test_the_advice_can_be_had_with_no_server_running(demo: tuple[subprocess.CompletedProcess[str], Path], report: dict[str, Any]) -> None:
    argv = python("-m", "analyzer", str(demo[1]), str(ROOT / "examples" / "usage"), "--output", "json")
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    dropped = {a["metric"] for a in report["template"]["actions"] if a["type"] == "drop_metric"}
    said = {a["metric"] for r in json.loads(run.stdout)["recommendations"] for a in r["actions"] if a["type"] == "drop_metric"}
    assert dropped <= said


def processes_of(data: Path) -> list[str]:
    """Command lines of live processes that name the folder, or were started with it."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(data) in line or f"FLOWGATE_DATA={data}" in environment:
            found.append(line)
    return found


def test_ctrl_c_is_clean(tmp_path: Path) -> None:
    data = tmp_path / "flowgate-data"
    with Children(tmp_path) as children:
        child = children.start("demo", python("-m", "controlplane", "demo", "--data", str(data)), None, ROOT)
        wait_until("the gateway", lambda: (data / "gateways" / "gateway-0").exists(), 40, child)
        os.kill(child.process.pid, signal.SIGINT)
        assert child.process.wait(40) == 130
        assert "Traceback" not in child.log.read_text()
    assert processes_of(data) == []


def run_demo(data: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = python("-m", "controlplane", "demo", "--once", "--data", str(data), *args)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_folder_of_somebody_else_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    run = run_demo(tmp_path)
    assert run.returncode == 3
    assert "not made by the demo" in run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unprivileged_user_without_a_writable_folder_gets_one_sentence(tmp_path: Path) -> None:
    """As root the check would pass by privilege, so the process gives it up first."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom controlplane.demo import main\nimport controlplane.demo.run\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        f"sys.exit(main(True, 1, Path({str(locked / 'data')!r})))\n"
    )
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/") and os.getuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 5, run.stderr
    assert "cannot be written" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_taken_port_moves_to_a_free_one_and_is_printed(tmp_path: Path) -> None:
    data = tmp_path / "flowgate-data"
    with socket.socket() as taken, Children(tmp_path) as children:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else holds it: as good for this test
            taken.bind(("127.0.0.1", 4337))
        taken.listen()
        child = children.start("demo", python("-m", "controlplane", "demo", "--data", str(data)), None, ROOT)
        wait_until("a line about the port", lambda: "port 4337 (backend_otlp) is taken: using" in child.log.read_text(), 30, child)
        os.kill(child.process.pid, signal.SIGINT)
        assert child.process.wait(40) == 130
