"""Child processes of a demo or an embedded run: started in order, stopped in reverse, never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowgate.errors import Broken, Unreachable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h: the child gets this signal when its parent dies, so a killed demo leaves nothing running
STOP_SECONDS = 10.0
GONE_SECONDS = 5.0


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One running process whose output goes to a log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 3) -> str:
        """The last lines it wrote, for a sentence that says why it ended."""
        text = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(text[-lines:])

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, and SIGKILL after `seconds`; what it started and left behind in its process group is killed with it."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        _gone(self.process.pid)


def _gone(group: int, seconds: float = GONE_SECONDS) -> None:
    """Returns when no process of the group is left: SIGKILL is only a request, and ports and files are free when it was carried out."""
    deadline = time.monotonic() + seconds
    while any(_members(group)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _members(group: int) -> Iterator[int]:
    """Processes of the group that still run; one that ended and was not yet waited for does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                yield int(stat.parent.name)


@dataclass(slots=True)
class Children:
    """Everything started, in order. A context manager: leaving it stops all, last started first."""

    logs: Path
    started: list[Child] = field(default_factory=list[Child])

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Child:
        """Starts `argv` in a session of its own (a Ctrl-C at the terminal reaches only us, who stop it in order)."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            try:
                process = subprocess.Popen(
                    list(argv),
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
            except OSError as error:
                raise Broken(f"{name} cannot be started: {error.strerror}") from error
        child = Child(name, process, log)
        self.started.append(child)
        return child

    def stop_all(self) -> None:
        for child in reversed(self.started):
            child.stop()
        self.started.clear()

    def stop(self, child: Child) -> None:
        child.stop()
        self.started.remove(child)


def wait_until(what: str, check: Callable[[], bool], seconds: float, child: Child | None = None, every: float = 0.1) -> None:
    """Returns when `check` is true. Raises `Broken` when `child` ends first, `Unreachable` when time is up."""
    deadline = time.monotonic() + seconds
    while not check():
        if child is not None and not child.alive():
            raise Broken(f"{child.name} ended while waiting for {what}: {child.tail()}")
        if time.monotonic() > deadline:
            raise Unreachable(f"{what} did not happen in {seconds:.0f} s" + (f": {child.tail()}" if child else ""))
        time.sleep(every)


def says_ready(child: Child) -> bool:
    """Whether the child has printed the line `ready`."""
    return any(line.strip() == b"ready" for line in child.log.read_bytes().splitlines())


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


# Below the kernel's ephemeral range (32768 up): a port that the kernel hands out could be taken by any connection before it is used.
_FREE_FROM, _FREE_TO = 20_000, 32_000
_cursor = itertools.cycle(range(_FREE_FROM, _FREE_TO))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now and that this process has not been given lately; processes start at different places."""
    if next(_cursor) == _FREE_FROM:
        for _ in range(os.getpid() * 61 % (_FREE_TO - _FREE_FROM)):
            next(_cursor)
    for _ in range(_FREE_TO - _FREE_FROM):
        port = next(_cursor)
        if is_free(port, host):
            return port
    raise Unreachable(f"no free port from {_FREE_FROM} to {_FREE_TO}")


def python(*args: str) -> list[str]:
    """A command line that runs this interpreter."""
    return [sys.executable, *args]
