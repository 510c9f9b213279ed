"""The parser in a process of its own: a crash or a hang costs the one expression that caused it.

Lines of JSON go both ways, several expressions in each and a few lines under way, so that neither side waits. The worker answers line by line:
when it dies or hangs, the first line without an answer is to blame, and its expressions are asked again one by one.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from analyzer.references.syntax import answered, node_of
from analyzer.references.tree import Node
from flowgate.usage import NotUnderstood

SECONDS = 1.0
"""An expression that takes longer is not understood; the corpora's slowest takes 3 ms."""
START_SECONDS = 20.0
MEMORY = 1 << 30
"""Bytes of address space of the worker. The interpreter takes 0.1 GiB of it; no tree within the guard's limits takes 0.2."""
TOGETHER = 64
UNDER_WAY = 3
TRIES = 2
"""A worker that dies may have been killed by somebody else: an expression is asked twice. One that hangs is not."""
MAX_FAILURES = 200
MAX_STARTS = 8
"""As many failures without one answer between them, or starts without a greeting, and there is no parser to be had."""
_GIVEN_UP = NotUnderstood("the parser does not run", ())
_READY = b'"ready"\n'


@dataclass(slots=True)
class _Line:
    texts: Sequence[str]
    deaths: int = 0

    def written(self) -> bytes:
        return json.dumps(self.texts).encode() + b"\n"


class PromqlWorker:
    """A `Parse` function backed by a killable process. Use as a context manager. Each distinct expression is parsed once."""

    def __init__(self, seconds: float = SECONDS, command: Sequence[str] | None = None) -> None:
        self._seconds = seconds
        self._command = list(command or [sys.executable, "-c", "from analyzer.parsers import serve; serve()"])
        self._process: _Process | None = None
        self._known: dict[str, Node | NotUnderstood] = {}
        self.kills = 0

    def __enter__(self) -> PromqlWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def __call__(self, expressions: Sequence[str]) -> list[Node | NotUnderstood]:
        waiting = deque(_lines([t for t in dict.fromkeys(expressions) if t not in self._known]))
        asked: deque[_Line] = deque()
        failures = starts = 0  # one after the other
        while (waiting or asked) and failures < MAX_FAILURES and starts < MAX_STARTS:
            answer = self._next_answer(asked, waiting)
            starts = starts + 1 if answer is _NOT_STARTED else 0
            if isinstance(answer, bytes) and self._learnt(asked[0], answer):
                asked.popleft()
                failures = 0
            else:
                self._fail(asked, waiting, answer is _HUNG)
                failures += 1
        return [self._known.get(text, _GIVEN_UP) for text in expressions]

    def _next_answer(self, asked: deque[_Line], waiting: deque[_Line]) -> bytes | _Silence:
        process = self._process or self._start()
        if process is None:
            return _NOT_STARTED
        while waiting and len(asked) < UNDER_WAY:
            asked.append(waiting.popleft())
            process.send(asked[-1].written())
        return process.line(self._seconds)

    def _learnt(self, line: _Line, answer: bytes) -> bool:
        """Whether the answer was one."""
        try:
            nodes = [node_of(text, each) for text, each in zip(line.texts, answer.decode().split("\t"), strict=True)]
        except (ValueError, RecursionError):
            return False
        self._known.update(zip(line.texts, nodes, strict=True))
        return True

    def _fail(self, asked: deque[_Line], waiting: deque[_Line], hung: bool) -> None:
        """The first line that was asked is to blame; what was asked after it is asked again."""
        self._end()
        self.kills += 1
        if not asked:
            return
        blamed, *others = asked
        asked.clear()
        waiting.extendleft(reversed(others))
        blamed.deaths += not hung
        if len(blamed.texts) > 1:
            waiting.extendleft(_Line([t]) for t in reversed(blamed.texts))
        elif hung or blamed.deaths >= TRIES:
            why = f"took longer than {self._seconds:g} s to parse" if hung else "the parser did not survive it"
            self._known[blamed.texts[0]] = NotUnderstood(why, ())
        else:
            waiting.appendleft(blamed)

    def _start(self) -> _Process | None:
        try:
            process = _Process(self._command)
        except OSError:
            return None
        self._process = process
        if process.line(START_SECONDS) != _READY:
            self._end()
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


def _lines(texts: Sequence[str]) -> Iterator[_Line]:
    return (_Line(texts[i : i + TOGETHER]) for i in range(0, len(texts), TOGETHER))


@dataclass(frozen=True, slots=True)
class _Silence:
    """Why there is no line."""

    reason: str


_DIED, _HUNG, _NOT_STARTED = _Silence("died"), _Silence("hung"), _Silence("not started")


class _Process:
    """Bytes to the worker and lines from it, neither waiting for the other: a full pipe on each side would be a deadlock."""

    def __init__(self, command: Sequence[str]) -> None:
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._in, self._out = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._in, False)
        self._unsent = bytearray()
        self._read = bytearray()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def send(self, data: bytes) -> None:
        self._unsent += data
        self._push()

    def line(self, seconds: float) -> bytes | _Silence:
        """The next line, or why none came in time."""
        until = time.monotonic() + seconds
        seen = 0
        while (end := self._read.find(b"\n", seen)) < 0:
            seen = len(self._read)
            writers = [self._in] if self._unsent else []
            ready, room, _ = select.select([self._out], writers, [], max(0.0, until - time.monotonic()))
            if not ready and not room:
                return _HUNG
            if room:
                self._push()
            if ready and not self._pull():
                return _DIED
        line = bytes(self._read[: end + 1])
        del self._read[: end + 1]
        return line

    def _push(self) -> None:
        try:
            sent = os.write(self._in, self._unsent[:65536]) if self._unsent else 0
        except BlockingIOError:
            return
        except BrokenPipeError:
            sent = len(self._unsent)  # it died: reading will tell
        del self._unsent[:sent]

    def _pull(self) -> bool:
        chunk = os.read(self._out, 1 << 20)
        self._read += chunk
        return bool(chunk)

    def end(self) -> None:
        self._popen.kill()
        self._popen.communicate()


def serve(answer: Callable[[str], str] = answered) -> None:
    """The worker's loop."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write("\t".join(map(answer, json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()
