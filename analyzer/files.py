"""Paths → inputs: files, folders and archives, within bounds. What cannot be opened is an input that says so, never a file forgotten."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Protocol, cast

import zstandard

from analyzer.references.inventory import Input, Skipped
from analyzer.references.loading import asks
from analyzer.references.queries import Unread
from analyzer.references.querylog import is_log, read_lines
from analyzer.references.wrappings import MAX_DOCUMENT_BYTES
from flowgate.errors import NotFound

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_MEMBERS = 10_000
"""Of one archive, folders included."""
MAX_ARCHIVE_BYTES = 512 * 2**20
"""Of one archive's members together, unpacked."""
MAX_LOG_BYTES = 4 * 2**30
"""Of one log of executed queries, which is read line by line: only its distinct queries are kept."""
MAX_LINES_BYTES = 512 * 2**20
"""Of other files of lines: they are cut at line ends into parts of a document's size."""
MAX_LINE_BYTES = 2**20
"""Of one line of a log: a longer one is cut, which is seen where it is a query's."""
_CHUNK_BYTES = 2**18

_STRUCTURED = frozenset({".json", ".jsonc", ".json5", ".yaml", ".yml", ".rules", ".jsonl", ".ndjson", ".log", ".txt"})
_LOGS = frozenset({".jsonl", ".ndjson", ".log"})
_PROGRAMS = frozenset({".jsonnet", ".libsonnet", ".tf", ".hcl", ".cue", ".dhall"})
"""They make documents when they run."""
_TEMPLATES = frozenset({".tpl", ".tmpl", ".gotmpl", ".j2", ".jinja", ".jinja2", ".erb", ".mustache"})
_ASKS = re.compile(r"expr|quer|promql|prometheus|record|alert|target|metric|grafana|slo\b|sli\b", re.IGNORECASE)
"""A program in which none of these words stands makes no query."""
_BEGINS = re.compile(rb"\s*(?:[{\[]|---\s|%YAML|(?:apiVersion|kind|groups|version|namespace|spec|title)\s*:|(?:ts|level|time|t|caller)=)")
"""How a file without a suffix begins when it is JSON, YAML or a log."""
_ROTATED = re.compile(r"[.-]\d[\dT:._-]*$")
"""What rotation puts behind a log's name: `.1`, `-20260101`, `.2026-01-01T00:00`."""
_ARCHIVES = re.compile(r"\.(?:zip|tar|tgz|tar\.(?:gz|bz2|xz|zst)|tzst|tbz2|txz)$", re.IGNORECASE)
_PACKED = re.compile(r"\.(?:gz|zst)$", re.IGNORECASE)
_UNPACKABLE = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)
"""What the standard library's archive readers raise for damaged, encrypted or strange archives."""


@dataclass(frozen=True, slots=True)
class Files:
    inputs: tuple[Input, ...]
    skipped: tuple[Skipped, ...]


def inputs_in(path: Path) -> Files:
    """Everything at a path that may hold queries. Paths are relative to it: a file's name, a way inside a folder, `archive.zip#member`.

    A file that is named itself is read whatever it is called. NotFound for a path that is not there.
    """
    if not path.exists():
        raise NotFound(f"{path} does not exist")
    if path.is_dir():
        found = [one for file in _walked(path, frozenset()) for one in _of_file(file, file.relative_to(path).as_posix(), asked=False)]
    else:
        found = list(_of_file(path, path.name, asked=True))
    return Files(tuple(f for f in found if isinstance(f, Input)), tuple(f for f in found if isinstance(f, Skipped)))


def _walked(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Files under a folder, sorted, through links to folders but never into one that is being walked; hidden ones are left out."""
    try:
        here = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    above = above | {(here.st_dev, here.st_ino)}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield entry
        elif not _among(entry, above):
            yield from _walked(entry, above)


def _among(folder: Path, above: frozenset[tuple[int, int]]) -> bool:
    status = folder.stat()
    return (status.st_dev, status.st_ino) in above


def _of_file(file: Path, path: str, asked: bool) -> Iterator[Input | Skipped]:
    try:
        mode = file.stat().st_mode
        if stat.S_ISREG(mode):
            with file.open("rb") as stream:
                yield from _of_stream(stream, path, asked)
        elif stat.S_ISDIR(mode):
            yield Input(path, "", "a folder that cannot be listed")
        else:
            yield Skipped(path, "no regular file")
    except OSError as error:
        yield Input(path, "", f"cannot be opened: {error.strerror or error}")


def _of_stream(stream: IO[bytes], path: str, asked: bool) -> Iterator[Input | Skipped]:
    if _ARCHIVES.search(path):
        yield from _archived(stream, path)
    elif _PACKED.search(path):
        yield from _unpacked(stream, path, asked)
    else:
        yield from _of_content(path, stream, asked)


def _of_content(path: str, stream: IO[bytes], asked: bool) -> Iterator[Input | Skipped]:
    """A file's inputs by its suffix; one without a suffix by how it begins."""
    suffix = _suffix(path)
    start = stream.read(512)
    if suffix in _TEMPLATES | _PROGRAMS:
        yield from _unevaluated(path, suffix, start + stream.read(MAX_DOCUMENT_BYTES))
    elif suffix in _STRUCTURED or asked or (suffix == "" and _BEGINS.match(start.removeprefix(codecs.BOM_UTF8))):
        yield from _structured(path, start, stream, suffix)
    else:
        yield Skipped(path, "a file of a kind that holds no queries that are read")


def _suffix(path: str) -> str:
    suffix, unrotated = (PurePosixPath(p).suffix.casefold() for p in (path, _ROTATED.sub("", path)))
    return unrotated if unrotated in _LOGS else suffix


def _unevaluated(path: str, suffix: str, raw: bytes) -> Iterator[Input | Skipped]:
    """A program or template may make queries that nobody sees until it is evaluated."""
    text = raw.decode(errors="replace")
    inner = PurePosixPath(path).with_suffix("").suffix.casefold()
    if suffix in _PROGRAMS and _ASKS.search(text):
        yield Input(path, "", "a program, which is not evaluated: give its output")
    elif suffix in _TEMPLATES and inner in _STRUCTURED | {""} and asks(text):
        yield Input(path, "", "a template, which is not evaluated: give its rendered output")
    else:
        yield Skipped(path, "a template or program in which nothing looks like a query")


def _structured(path: str, start: bytes, stream: IO[bytes], suffix: str) -> Iterator[Input | Skipped]:
    raw = start + stream.read(max(0, MAX_DOCUMENT_BYTES + 1 - len(start)))
    if len(raw) <= MAX_DOCUMENT_BYTES:
        yield _document(path, raw)
    elif is_log(raw[:MAX_HEAD_BYTES].decode(errors="replace")):
        yield _log(path, raw, stream)
    elif suffix in _LOGS:
        yield from _parts(path, raw + stream.read(max(0, MAX_LINES_BYTES + 1 - len(raw))))
    else:
        yield Input(path, "", f"larger than {MAX_DOCUMENT_BYTES} bytes")


MAX_HEAD_BYTES = 4 * 2**20
"""In the first so many bytes of a log of executed queries, one is."""


def _document(path: str, raw: bytes) -> Input:
    text = decoded(raw)
    return Input(path, "", "not text in UTF-8") if text is None else Input(path, text)


def _parts(path: str, raw: bytes) -> Iterator[Input]:
    text = decoded(raw) if len(raw) <= MAX_LINES_BYTES else ""
    if len(raw) > MAX_LINES_BYTES:
        yield Input(path, "", f"larger than {MAX_LINES_BYTES} bytes")
    elif text is None:
        yield Input(path, "", "not text in UTF-8")
    else:
        yield from (Input(f"{path}#{number}", part) for number, part in enumerate(cut(text, MAX_DOCUMENT_BYTES // 4)))


# Large logs


def _log(path: str, start: bytes, stream: IO[bytes]) -> Input | Skipped:
    """Of a log only its distinct queries are kept, so it may be larger than memory."""
    bounded = _Bounded(stream, MAX_LOG_BYTES - len(start))
    found = read_lines(lines_of(start, bounded))
    cut_off = Unread("log", "", f"what lies behind the first {MAX_LOG_BYTES} bytes is not read")
    if found is None:
        return Input(path, "", cut_off.reason) if bounded.more else Skipped(path, "a log in which no line is of a query")
    return Input(path, "", found=replace(found, items=(*found.items, cut_off)) if bounded.more else found)


class _Bounded:
    """The first so many bytes of a stream, and whether there are `more`."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left = stream, limit
        self.more = False

    def read(self, size: int) -> bytes:
        found = self._stream.read(size)
        self.more = self.more or len(found) > self._left
        found = found[: max(0, self._left)]
        self._left -= len(found)
        return found


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def lines_of(start: bytes, stream: Readable) -> Iterator[str]:
    """Lines of bytes that began with `start`, each cut at `MAX_LINE_BYTES`, of which no two are in memory with the rest."""
    rest, skipping = start.removeprefix(codecs.BOM_UTF8), False
    while True:
        at = 0
        while (end := rest.find(b"\n", at)) >= 0:
            if not skipping:
                yield rest[at : min(end, at + MAX_LINE_BYTES)].decode(errors="replace")
            at, skipping = end + 1, False
        rest = b"" if skipping else rest[at:]
        if len(rest) > MAX_LINE_BYTES:
            yield rest[:MAX_LINE_BYTES].decode(errors="replace")
            rest, skipping = b"", True
        chunk = stream.read(_CHUNK_BYTES)
        if not chunk:
            break
        rest += chunk
    if rest:
        yield rest.decode(errors="replace")


def decoded(raw: bytes) -> str | None:
    """Text in UTF-8, or in UTF-16 with a byte order mark, as editors on Windows write it."""
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def cut(text: str, size: int) -> Iterator[str]:
    """Parts of at most `size` characters that end with a line; a longer line is a part of its own."""
    start = 0
    while start < len(text):
        end = len(text) if len(text) - start <= size else text.rfind("\n", start, start + size) + 1
        if end <= start:
            end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


# Archives


def _unpacked(stream: IO[bytes], path: str, asked: bool) -> Iterator[Input | Skipped]:
    """One compressed file: it is what its name says without the last suffix."""
    inner = _PACKED.sub("", path)
    try:
        with _opened(stream, path) as plain:
            found = list(_of_content(inner, plain, asked))
    except _UNPACKABLE as error:
        found = [Input(path, "", f"cannot be unpacked: {error}")]
    for one in found:
        yield replace(one, path=_renamed(one.path, inner, path)) if isinstance(one, Input) else Skipped(path, one.reason)


def _renamed(path: str, inner: str, outer: str) -> str:
    return outer + path.removeprefix(inner)


def _opened(stream: IO[bytes], path: str) -> IO[bytes]:
    if not stream.read(1):
        raise EOFError("it is empty")
    stream.seek(0)
    plain = io.BufferedReader(_Zstd(stream)) if path.casefold().endswith("zst") else gzip.GzipFile(fileobj=stream)
    return cast("IO[bytes]", plain)


class _Zstd(io.RawIOBase):
    """Frames of zstd one after another. The library's own reader takes a frame that ends early for a whole one."""

    _CHUNK = 512
    """A block of 4 bytes may stand for 128 KiB, so that little is taken at a time."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._plain = b""
        self._rest = b""
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._plain and self._advance():
            pass
        view = memoryview(buffer).cast("B")
        taken = self._plain[: len(view)]
        view[: len(taken)] = taken
        self._plain = self._plain[len(taken) :]
        return len(taken)

    def _advance(self) -> bool:
        packed = self._rest or self._packed.read(self._CHUNK)
        if not packed:
            if self._inside:
                raise EOFError("zstd that ends early")
            return False
        self._plain = self._frame.decompress(packed)
        self._inside = not self._frame.eof
        self._rest = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        return True


def _archived(stream: IO[bytes], path: str) -> Iterator[Input | Skipped]:
    """The members of an archive, in its order, until a bound is passed: what lies beyond is said to be unread."""
    try:
        yield from _members(_zipped(stream) if path.casefold().endswith(".zip") else _tarred(stream, path), path)
    except _UNPACKABLE as error:
        yield Input(path, "", f"cannot be unpacked: {str(error) or type(error).__name__}")


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    stream: IO[bytes]


def _members(members: Iterable[_Member | None], path: str) -> Iterator[Input | Skipped]:
    total = 0
    for count, member in enumerate(members):
        if count >= MAX_MEMBERS:
            yield Input(path, "", f"an archive of more than {MAX_MEMBERS} members")
            return
        total += member.size if member else 0
        if total > MAX_ARCHIVE_BYTES:
            yield Input(path, "", f"an archive of more than {MAX_ARCHIVE_BYTES} bytes unpacked")
            return
        if member and not _hidden(member.name):
            yield from _of_member(member, f"{path}#{member.name}")


def _of_member(member: _Member, path: str) -> Iterator[Input | Skipped]:
    if _ARCHIVES.search(member.name) or _PACKED.search(member.name):
        yield Input(path, "", "an archive inside an archive")
    else:
        yield from _of_content(path, member.stream, asked=False)


def _hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _zipped(stream: IO[bytes]) -> Iterator[_Member | None]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.is_dir():
                yield None
            else:
                with archive.open(info) as inner:
                    yield _Member(info.filename, info.file_size, inner)


def _tarred(stream: IO[bytes], path: str) -> Iterator[_Member | None]:
    plain = _opened(stream, path) if path.casefold().endswith("zst") else stream
    with tarfile.open(fileobj=plain, mode="r|" if plain is not stream else "r|*") as archive:
        for info in archive:
            inner = archive.extractfile(info) if info.isfile() else None
            yield _Member(info.name, info.size, inner) if inner else None
