"""Children are waited for, explained when they end, and never left behind."""

import os
from pathlib import Path

import pytest

from controlplane.processes import Children, python, says_ready, wait_until
from flowgate.errors import Broken, Unreachable


def test_a_child_that_says_ready_is_ready(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("c", python("-c", "print('ready', flush=True); import time; time.sleep(60)"))
        wait_until("ready", lambda: says_ready(child), 20, child)
        assert child.alive()
    assert not child.alive()


def test_a_child_that_ends_early_is_explained_by_its_last_words(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("c", python("-c", "raise SystemExit('the folder is full')"))
        with pytest.raises(Broken, match="the folder is full"):
            wait_until("ready", lambda: says_ready(child), 20, child)


def test_what_never_happens_is_unreachable_not_for_ever(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="moonrise did not happen"):
        wait_until("moonrise", lambda: False, 0.2, every=0.01)


def test_a_program_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with Children(tmp_path) as children, pytest.raises(Broken, match="cannot be started"):
        children.start("c", [str(tmp_path / "nothing")])


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    with Children(tmp_path) as children:
        child = children.start("c", python("-c", code))
        wait_until("ready", lambda: says_ready(child), 20, child)
        child.stop(seconds=0.3)
    assert child.process.returncode == -9


def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import os,signal,sys; from pathlib import Path; from controlplane.processes import Children, python\n"
        f"c = Children(Path({str(tmp_path)!r})).start('grandchild', python('-c', 'import time; time.sleep(60)'))\n"
        "print(c.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with Children(tmp_path) as children:
        parent = children.start("parent", python("-c", code), None, Path(__file__).resolve().parents[2])
        wait_until("the parent's end", lambda: not parent.alive(), 20)
    pid = int(parent.log.read_text())
    wait_until("the grandchild's end", lambda: not _running(pid), 20)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z" and os.kill(pid, 0) is None
    except (OSError, IndexError):
        return False
