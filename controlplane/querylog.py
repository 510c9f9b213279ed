"""Query logs on this machine → few lines of text: of each distinct query its first and its last line, with how often it was seen.

Only regular files below one folder are read, wherever a link leads. The log is followed over its rotations (`x.log`, `x.log.1`,
`x.log-20260101.gz`): files are told apart by inode, so one that is renamed while it is read is read once, and the folder is listed again
after reading, so one that appeared meanwhile is not missed. Two lines keep what a log covers in time. For how many others they stand is
written where their format has room for it: a field `flowgate_count`, in JSON and in logfmt. A line in neither, of which nobody here knows
whether it is of a query, is kept as it is.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from flowgate.errors import NotFound, Refused, Unauthorized

COUNT = "flowgate_count"
MAX_LINE = 2**20
MAX_READ = 4 * 2**30
MAX_KEPT = 64 * 2**20
MAX_TEXT = 4 * 2**20
GZIP = 20
"""Bytes of one line, read in all (newest files first), kept in all, and of one document (the analyzer takes 5 MiB); how much gzip is taken to save."""


@dataclass(frozen=True, slots=True)
class Log:
    """Documents, and the files that were not read to their end, with the reason."""

    texts: tuple[str, ...]
    unread: tuple[tuple[str, str], ...]


def read(folder: Path, name: str) -> Log:
    """Raises `NotFound` when there is no such file, `Refused` when it is none below the folder, `Unauthorized` when it may not be read."""
    root = folder.resolve()
    first = _inside(root, folder / name)
    seen: set[tuple[int, int]] = set()
    kept = _Kept(MAX_READ)
    for _ in range(3):  # a log rotates once a day, not three times while it is read
        new = [p for p in _rotations(root, first) if _identity(p) not in seen]
        if not new:
            break
        for path in new:
            seen.add(_identity(path))
        kept.read_all(kept.affordable(new))
    return Log(tuple(kept.texts()), tuple(sorted(kept.unread.items())))


def _inside(root: Path, path: Path) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise NotFound(f"there is no query log {path.name}") from None
    if not real.is_relative_to(root) or not real.is_file():
        raise Refused(f"{path.name} is no file below the folder of query logs")
    return path


def _rotations(root: Path, first: Path) -> list[Path]:
    """The log and its rotations, oldest first."""
    pattern = re.compile(re.escape(first.name) + r"(?:[.-][0-9][0-9T:._-]*)?(?:\.gz)?")
    found = [p for p in first.parent.iterdir() if pattern.fullmatch(p.name) and p.is_file() and p.resolve().is_relative_to(root)]
    return sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))


def _identity(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return stat.st_dev, stat.st_ino


@dataclass(slots=True)
class _Kept:
    budget: int
    lines: dict[str, tuple[str, str, int]] = field(default_factory=dict[str, tuple[str, str, int]])
    """First line, last line and count of each distinct query, that which was seen last at the end."""
    unread: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0

    def affordable(self, paths: list[Path]) -> list[Path]:
        """The newest files that fit; in their order, oldest first."""
        chosen: list[Path] = []
        for path in reversed(paths):
            self.budget -= path.stat().st_size * (GZIP if path.name.endswith(".gz") else 1) if path.exists() else 0
            if self.budget < 0:
                self.unread[path.name] = f"older than what fits into {MAX_READ} bytes"
            else:
                chosen.append(path)
        return chosen[::-1]

    def read_all(self, paths: list[Path]) -> None:
        for path in paths:
            try:
                with _opened(path) as file:
                    self._read(path.name, file)
            except PermissionError:
                raise Unauthorized(f"{path.name} may not be read by the control plane") from None
            except FileNotFoundError:
                continue  # rotated away: under its new name it is read by its inode
            except (OSError, EOFError, zlib.error) as error:
                self.unread[path.name] = f"damaged: {type(error).__name__}"

    def _read(self, name: str, file: IO[bytes]) -> None:
        for line in _lines(file):
            if len(line) > MAX_LINE:
                self.unread[name] = f"a line is longer than {MAX_LINE} bytes"
                continue
            self._add(line)
            while self.size > MAX_KEPT:
                self._forget(name)

    def _add(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        key = key_of(text)
        if not text or (key is None and not line.endswith(b"\n")):  # half a line: somebody is writing it
            return
        key = key or text
        old = self.lines.pop(key, ("", "", 0))
        self.lines[key] = new = (old[0] or text, text, old[2] + 1)
        self.size += _size(new) - _size(old)

    def _forget(self, name: str) -> None:
        """What was not seen for longest goes first, and that is said."""
        oldest = next(iter(self.lines))
        self.size -= _size(self.lines.pop(oldest))
        self.unread[name] = f"more distinct queries than fit into {MAX_KEPT} bytes"

    def texts(self) -> Iterator[str]:
        part: list[str] = []
        size = 0
        for line in (line for key, kept in self.lines.items() for line in _written(key, *kept)):
            if part and size + len(line.encode()) + 1 > MAX_TEXT:
                yield "".join(part)
                part, size = [], 0
            part.append(line + "\n")
            size += len(line.encode()) + 1
        if part:
            yield "".join(part)


def _size(kept: tuple[str, str, int]) -> int:
    return len(kept[0]) + (len(kept[1]) if kept[2] > 1 else 0)


def _written(key: str, first: str, last: str, count: int) -> Iterator[str]:
    if key == first:  # no query that is known: as it was, for each of its equals
        yield first
    elif count == 1:
        yield counted(first, 1)
    else:
        yield counted(first, count - 1)
        yield counted(last, 1)


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of at most `MAX_LINE` bytes and one more; the rest of a longer one is passed over."""
    while line := file.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)


_FIELD = re.compile(r'(?<!\S)(param_query|param_match\[\]|path|user|org_id)=("(?:\\.|[^"\\])*"|\S*)')


def key_of(line: str) -> str | None:
    """What makes two lines the same query: everything but when, how long and how much. None for a line that names no query."""
    if line.startswith("{"):
        return _json_key(line)
    found = _FIELD.findall(line)
    return json.dumps(sorted(found)) if any(name.startswith("param_") for name, _ in found) else None


def _json_key(line: str) -> str | None:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    said = {k: value.get(k) for k in ("param_query", "param_match[]", "path", "user", "ruleGroup")}
    said["query"] = _at(value, "params", "query")
    said["http"] = _at(value, "httpRequest", "path")
    return json.dumps(said, sort_keys=True) if any(said[k] for k in ("query", "param_query", "param_match[]")) else None


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value


def counted(line: str, count: int) -> str:
    """The line with its count, in its own format."""
    if line.startswith("{"):
        return json.dumps({**json.loads(line), COUNT: count}, ensure_ascii=False)
    return f"{line} {COUNT}={count}"


def names(text: str) -> list[str]:
    """The names that VictoriaMetrics' statistics say were queried; none of any other text."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    records = _at(value, "records")
    found = cast("list[Any]", records) if isinstance(records, list) else []
    return sorted(str(_at(r, "metricName")) for r in found if _at(r, "queryRequestsCount"))


def stable(text: str) -> list[str]:
    """The distinct queries of a document, whenever and however often they ran."""
    return sorted({key_of(line) or line for line in text.splitlines()})
