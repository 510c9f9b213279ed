"""Several taps behind the same two ports: who they are, what they say together, and the process that keeps them up.

Each worker is a tap with a store of its own, below `worker_<n>` but for the first, whose store is the data folder; the kernel spreads connections
over them (SO_REUSEPORT). All use the folder's `hash.key`, so a series has one id whichever worker saw it, and readers merge by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flowgate.errors import EXIT_BROKEN, EXIT_DONE
from ingest.segments import WORKER

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
SILENT_SECONDS = 30.0
"""A worker says what it counted each second, later at full load; one that has not for so long counts as gone."""
POLL_SECONDS = 0.05
FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS = 0.1, 5.0, 60.0
"""Before a worker is started again: doubled each time until it has run a while."""
STOP_SECONDS = 30.0
MOST_WORKERS = 8

Stats = Mapping[str, Any]
_OWN = frozenset({"at", "restarts"})


def usual_workers(cores: int) -> int:
    """One for each two cores: the other receives, sends and writes for the kernel, the gateways and the rest of the machine."""
    return max(1, min(cores // 2, MOST_WORKERS))


def merged(parts: Sequence[Stats | None]) -> dict[str, object]:
    """What workers counted, as one; None stands for one that is not up.

    A series that two workers saw counts twice here, so that figure is a bound; in the segments it is one.
    """
    up = [part for part in parts if part is not None]
    gone = [f"worker {number} is not up" for number, part in enumerate(parts) if part is None]
    names = dict.fromkeys(name for part in up for name in part if name not in _OWN)
    both = {name: _as_one([part[name] for part in up if name in part]) for name in names}
    return {
        **both,
        "decoder": "compiled" if up and all(part.get("decoder") == "compiled" for part in up) else "library",
        "series_exact": False,
        "broken": both.get("broken") or (gone[0] if gone else None),
        "workers": [None if part is None else {"points": part.get("points", 0), "restarts": part.get("restarts", 0)} for part in parts],
    }


def _as_one(values: Sequence[Any]) -> Any:
    """Counts add up, of ages and sizes the largest counts, lists follow one another, and of texts the first that says something."""
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return sum(values)
    if kinds <= {int, float}:
        return max(values)
    if kinds == {list}:
        return [item for value in values for item in value]
    return next((value for value in values if value), values[0])


def folder_of(root: Path, number: int) -> Path:
    """Where the store of a worker is."""
    return root / f"{WORKER}{number}" if number else root


def left_over(root: Path, count: int) -> tuple[Path, ...]:
    """Stores of workers that there are no more: of an earlier start with more than `count`."""
    numbers = (f.name.removeprefix(WORKER) for f in root.glob(f"{WORKER}*") if f.is_dir())
    return tuple(folder_of(root, n) for n in sorted(int(n) for n in numbers if n.isdigit()) if n >= count)


@dataclass(frozen=True, slots=True)
class Team:
    """One worker's place among the others; they tell one another what they counted through files beside their stores."""

    root: Path
    count: int
    number: int
    restarts: int = 0

    def publish(self, stats: Stats) -> None:
        """Best effort: a disk that is full is said by `broken`, and by silence here."""
        path = self._file(self.number)
        temporary = path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({**stats, "restarts": self.restarts, "at": time.monotonic()}))
            temporary.replace(path)

    def together(self, own: Stats) -> dict[str, object]:
        """Everyone's, the others' as of their last second."""
        now = time.monotonic()
        mine = {**own, "restarts": self.restarts}
        return merged([mine if number == self.number else self._said(number, now) for number in range(self.count)])

    def _said(self, number: int, now: float) -> Stats | None:
        try:
            stats = cast("dict[str, Any]", json.loads(self._file(number).read_text()))
            return stats if now - float(stats["at"]) < SILENT_SECONDS else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, number: int) -> Path:
        return stats_file(self.root, number)


def stats_file(root: Path, number: int) -> Path:
    return folder_of(root, number) / "stats.json"


def die_with_parent(keeper: int) -> None:
    """A worker ends in order when the process that keeps it is gone, however that ended; at once when it was gone before this call."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != keeper:
        os.kill(os.getpid(), signal.SIGTERM)


# --- the process that keeps them up ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Kept:
    """One worker as its keeper sees it."""

    number: int
    process: subprocess.Popen[str]
    started: float
    restarts: int = 0
    pause: float = FIRST_PAUSE
    due: float | None = None
    """When it is started again; None while it runs."""
    ready: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Keeper:
    """Starts the workers, says `ready` when all are, starts again what ends, and ends all in order."""

    argv: Sequence[str]
    count: int
    root: Path
    say: Callable[[str], None]
    warn: Callable[[str], None]
    stopping: bool = False
    workers: list[Kept] = field(default_factory=list["Kept"])

    def run(self) -> int:
        """Until SIGTERM or SIGINT. What ends a worker before it was ever ready ends all."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        try:
            self.workers = [self._started(number, 0) for number in range(self.count)]
            failed = self._all_ready()
            if failed is None:
                self.say("ready")
                while not self.stopping:
                    time.sleep(POLL_SECONDS)
                    self._look(time.monotonic())
        finally:
            codes = self._ended()
        return failed if failed is not None else next((code for code in codes if code), EXIT_DONE)

    def _started(self, number: int, restarts: int) -> Kept:
        stats_file(self.root, number).unlink(missing_ok=True)
        argv = [
            sys.executable,
            "-m",
            "ingest",
            *self.argv,
            "--workers",
            str(self.count),
            "--worker",
            str(number),
            "--restarts",
            str(restarts),
            "--keeper",
            str(os.getpid()),
        ]
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
        kept = Kept(number, process, time.monotonic(), restarts)
        threading.Thread(target=_listen, args=(kept, self.say), name=f"worker-{number}", daemon=True).start()
        return kept

    def _all_ready(self) -> int | None:
        """None when all are; the exit code of the first that ended instead, or 0 when asked to stop."""
        while not all(kept.ready.is_set() for kept in self.workers):
            for kept in self.workers:
                code = kept.process.poll()
                if code is not None:
                    return code if code > 0 else EXIT_BROKEN
            if self.stopping:
                return EXIT_DONE
            time.sleep(POLL_SECONDS)
        return None

    def _look(self, now: float) -> None:
        for at, kept in enumerate(self.workers):
            if kept.due is not None:
                if now >= kept.due:
                    self.workers[at] = self._started(kept.number, kept.restarts + 1)
                    self.workers[at].pause = kept.pause
            elif kept.process.poll() is not None:
                self._fallen(kept, now)

    def _fallen(self, kept: Kept, now: float) -> None:
        stats_file(self.root, kept.number).unlink(missing_ok=True)
        steady = now - kept.started >= STEADY_SECONDS
        kept.due = now + (FIRST_PAUSE if steady else kept.pause)
        kept.pause = FIRST_PAUSE if steady else min(kept.pause * 2, LONGEST_PAUSE)
        self.warn(f"worker {kept.number} ended with {kept.process.returncode} and is started again")

    def _ended(self) -> list[int]:
        """All drain at once."""
        running = [kept.process for kept in self.workers if kept.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return [process.returncode for process in running]


def _listen(kept: Kept, say: Callable[[str], None]) -> None:
    for line in kept.process.stdout or ():
        if line.strip() == "ready":
            kept.ready.set()
        else:
            say(line.rstrip())
