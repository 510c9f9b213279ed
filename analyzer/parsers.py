"""The parser in a process of its own: a crash or a hang costs the one expression that caused it.

Lines of JSON go both ways; the worker answers each expression before it reads the next, so whoever it dies on is known.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from analyzer.references.promql import Answer, NotUnderstood, Selected, parse_one, touched

SECONDS = 1.0
"""An expression that takes longer is not understood; the corpora's slowest takes 3 ms."""
START_SECONDS = 20.0


class PromqlWorker:
    """A `Parse` function backed by a killable process. Use as a context manager. Each distinct expression is parsed once."""

    def __init__(self, seconds: float = SECONDS, command: Sequence[str] | None = None) -> None:
        self._seconds = seconds
        self._command = list(command or [sys.executable, "-c", "from analyzer.parsers import serve; serve()"])
        self._process: subprocess.Popen[bytes] | None = None
        self._known: dict[str, Answer] = {}
        self.kills = 0

    def __enter__(self) -> PromqlWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, expressions: Sequence[str]) -> list[Answer]:
        for text in expressions:
            if text not in self._known:
                self._known[text] = self._ask(text)
        return [self._known[text] for text in expressions]

    def _ask(self, text: str) -> Answer:
        process = self._process or self._start()
        try:
            self._write(process, text)
            line = self._line(process, self._seconds)
        except BrokenPipeError:
            line = None
        if line:
            return _answer(json.loads(line))
        self._end()
        self.kills += 1
        return NotUnderstood("the parser did not survive it", touched(text))

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._process = process
        self._line(process, START_SECONDS)
        return process

    @staticmethod
    def _write(process: subprocess.Popen[bytes], text: str) -> None:
        assert process.stdin is not None
        data = memoryview(json.dumps(text).encode() + b"\n")
        while data:
            data = data[process.stdin.write(data) :]

    @staticmethod
    def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """The next line; None when none came in time or the process ended."""
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], seconds)
            chunk = process.stdout.read(65536) if ready else b""
            if not chunk:
                return None
            line += chunk
        return line

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _answer(value: dict[str, Any]) -> Answer:
    if "reason" in value:
        return NotUnderstood(value["reason"], tuple(value["touches"]))
    labels = {name: frozenset(said) for name, said in value["labels"].items()}
    return Selected(frozenset(value["metrics"]), frozenset(value["patterns"]), labels)


def _json(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, NotUnderstood):
        return {"reason": answer.reason, "touches": list(answer.touches)}
    labels = {name: sorted(said) for name, said in answer.labels.items()}
    return {"metrics": sorted(answer.metrics), "patterns": sorted(answer.patterns), "labels": labels}


def serve() -> None:
    """The worker's loop."""
    print(flush=True)
    for line in sys.stdin:
        print(json.dumps(_json(parse_one(json.loads(line)))), flush=True)
