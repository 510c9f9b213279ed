"""Files, folders and archives become inputs, within bounds; nothing that cannot be opened is forgotten."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analyzer import files
from analyzer.files import Files, cut, decoded, inputs_in, lines_of
from analyzer.references.inventory import Input, read_inputs
from flowgate.errors import NotFound
from tests.analyzer.foreign import queries, unreads

BOARD = json.dumps({"title": "Shop", "panels": []})


def read(path: Path) -> dict[str, str | None]:
    """What is given of each path: its text, or None with trouble."""
    return {i.path: None if i.trouble else i.text for i in inputs_in(path).inputs}


def trouble(found: Files) -> list[tuple[str, str]]:
    return [(i.path, i.trouble) for i in found.inputs if i.trouble]


def put(folder: Path, name: str, content: str | bytes = BOARD) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        inputs_in(tmp_path / "nowhere")


def test_a_file_is_called_by_its_name_and_a_folders_files_by_their_way(tmp_path: Path) -> None:
    put(tmp_path, "b/x.json", "1")
    put(tmp_path, "a.yaml", "2")
    put(tmp_path, "b/c/y.yml", "3")
    assert read(tmp_path / "a.yaml") == {"a.yaml": "2"}
    assert list(read(tmp_path).items()) == [("a.yaml", "2"), ("b/c/y.yml", "3"), ("b/x.json", "1")]


KINDS: list[tuple[str, str, str]] = [
    # name, content, what becomes of it
    *((f"a{suffix}", BOARD, "read") for suffix in (".json", ".yaml", ".yml", ".jsonl", ".ndjson", ".log", ".txt", ".rules", ".JSON")),
    ("board", BOARD, "read"),
    ("boards", "\ufeff  [" + BOARD + "]", "read"),
    ("rules", "groups:\n- name: g\n", "read"),
    ("list", "apiVersion: v1\nkind: List\n", "read"),
    ("querylog", "ts=2026-01-01 msg=x\n", "read"),
    ("LICENSE", "Apache License\n", "skipped"),
    ("run", "#!/bin/sh\n", "skipped"),
    ("README.md", "# {}", "skipped"),
    ("logo.png", "\x89PNG", "skipped"),
    ("main.py", "expr = 1", "skipped"),
    ("a.jsonnet", "{ expr: 'up' }", "trouble"),
    ("a.libsonnet", "{ colour: 'red' }", "skipped"),
    ("a.tf", 'resource "grafana_dashboard" "x" {}', "trouble"),
    ("vpc.tf", 'resource "aws_vpc" "x" {}', "skipped"),
    ("rules.yaml.tpl", "groups:\n{{ range .x }}", "trouble"),
    ("_helpers.tpl", '{{ define "x.name" }}a{{ end }}', "skipped"),
    ("readme.md.j2", "expr: x", "skipped"),
    ("rules.yml.j2", "expr: {{ x }}", "trouble"),
    (".hidden.json", BOARD, "absent"),
    (".git/config.json", BOARD, "absent"),
]


@pytest.mark.parametrize(("name", "content", "becomes"), KINDS, ids=[k[0] for k in KINDS])
def test_a_files_kind_decides(tmp_path: Path, name: str, content: str, becomes: str) -> None:
    put(tmp_path, name, content)
    found = inputs_in(tmp_path)
    got = {
        "read": [i.path for i in found.inputs if not i.trouble],
        "trouble": [i.path for i in found.inputs if i.trouble],
        "skipped": [s.path for s in found.skipped],
        "absent": [] if found.inputs or found.skipped else [name],
    }
    assert got[becomes] == [name]


def test_a_file_that_is_named_itself_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    assert read(put(tmp_path, "board.backup")) == {"board.backup": BOARD}
    assert read(put(tmp_path, ".hidden.json")) == {".hidden.json": BOARD}


ENCODINGS: list[tuple[bytes, str | None]] = [
    ("é".encode(), "é"),
    (b"\xef\xbb\xbf{}", "{}"),
    ("é{}".encode("utf-16"), "é{}"),
    (b"\xff\xfe{\x00}", None),
    ("é".encode("latin-1"), None),
    (b"\x80\x81", None),
]


@pytest.mark.parametrize(("raw", "text"), ENCODINGS)
def test_text_is_utf_8_or_marked_utf_16(tmp_path: Path, raw: bytes, text: str | None) -> None:
    assert decoded(raw) == text
    assert read(put(tmp_path, "a.json", raw)) == {"a.json": text}


# What cannot be opened


def test_links_are_followed_and_never_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "real/a.json")
    (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "real" / "self").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "a.json")
    assert sorted(read(tmp_path)) == ["again/a.json", "link.json", "real/a.json"]


def test_a_mounted_ConfigMap_is_read_through_its_links(tmp_path: Path) -> None:
    put(tmp_path, "..2026_01_01/a.json")
    (tmp_path / "..data").symlink_to("..2026_01_01", target_is_directory=True)
    (tmp_path / "a.json").symlink_to("..data/a.json")
    assert read(tmp_path) == {"a.json": BOARD}


def test_a_link_to_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ring.json").symlink_to(tmp_path / "ring.json")
    assert [p for p, _ in trouble(inputs_in(tmp_path))] == ["gone.json", "ring.json"]


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert [s.reason for s in inputs_in(tmp_path).skipped] == ["no regular file"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_opened_is_said(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open everything: the operating system's refusal is played."""
    put(tmp_path, "shut/a.json" if kind == "folder" else "a.json")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    real = Path.iterdir
    if kind == "file":
        monkeypatch.setattr(Path, "open", refuse)
    else:
        monkeypatch.setattr(Path, "iterdir", lambda self: refuse() if self.name == "shut" else real(self))
    ((path, reason),) = trouble(inputs_in(tmp_path))
    assert path == ("shut" if kind == "folder" else "a.json")
    assert "cannot be" in reason


# Archives

Pack = Callable[[dict[str, bytes]], bytes]


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


ARCHIVES: dict[str, Pack] = {
    "x.zip": zipped,
    "x.tar": tarred,
    "x.tar.gz": lambda m: gzip.compress(tarred(m)),
    "x.tgz": lambda m: gzip.compress(tarred(m)),
    "x.tar.bz2": lambda m: bz2.compress(tarred(m)),
    "x.tar.xz": lambda m: lzma.compress(tarred(m)),
    "x.tar.zst": lambda m: zstandard.compress(tarred(m)),
}


@pytest.mark.parametrize(("name", "pack"), ARCHIVES.items(), ids=ARCHIVES.keys())
def test_the_members_of_an_archive_are_read_like_files(tmp_path: Path, name: str, pack: Pack) -> None:
    members = {
        "b/x.json": BOARD.encode(),
        "a.md": b"# x",
        ".git/y.json": b"{}",
        "__MACOSX/z.json": b"{}",
        "latin.json": b"\xe9",
        "in.zip": b"PK",
    }
    put(tmp_path, f"sub/{name}", pack(members))
    found = inputs_in(tmp_path)
    assert [(i.path, i.trouble) for i in found.inputs] == [
        (f"sub/{name}#b/x.json", None),
        (f"sub/{name}#latin.json", "not text in UTF-8"),
        (f"sub/{name}#in.zip", "an archive inside an archive"),
    ]
    assert [s.path for s in found.skipped] == [f"sub/{name}#a.md"]
    assert read(tmp_path / "sub" / name)[f"{name}#b/x.json"] == BOARD


@pytest.mark.parametrize(("name", "pack"), [("a.json.gz", gzip.compress), ("a.json.zst", zstandard.compress)])
def test_one_packed_file_is_what_its_name_says(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    put(tmp_path, name, pack(BOARD.encode()))
    put(tmp_path, f"b.md.{name.rpartition('.')[2]}", pack(b"# x"))
    assert read(tmp_path) == {name: BOARD}
    assert [s.path for s in inputs_in(tmp_path).skipped] == [f"b.md.{name.rpartition('.')[2]}"]


@pytest.mark.parametrize("name", [*ARCHIVES, "a.json.gz", "a.json.zst"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_a_damaged_archive_is_said(tmp_path: Path, name: str, damage: str) -> None:
    pack = ARCHIVES.get(name) or (lambda m: gzip.compress(m["a.json"]) if name.endswith("gz") else zstandard.compress(m["a.json"]))
    whole = pack({"a.json": os.urandom(4096).hex().encode()})
    content = {"cut": whole[: len(whole) // 2], "garbage": b"no archive at all, but long enough " * 40, "empty": b""}[damage]
    found = inputs_in(put(tmp_path, name, content))
    assert trouble(found), (found, "is not said")


def test_a_member_with_a_password_is_said(tmp_path: Path) -> None:
    raw = bytearray(zipped({"a.json": BOARD.encode()}))
    for at in (raw.find(b"PK\x03\x04") + 6, raw.find(b"PK\x01\x02") + 8):
        raw[at] |= 1  # the flag of encryption, in both headers
    ((path, reason),) = trouble(inputs_in(put(tmp_path, "x.zip", bytes(raw))))
    assert path == "x.zip"
    assert "unpacked" in reason


# Bounds


@pytest.mark.parametrize(("more", "readable"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("kind", ["file", "zip", "gz"])
def test_a_document_may_be_so_large_and_no_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, more: int, readable: bool
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 2_000)
    content = b" " * (2_000 + more)
    if kind == "file":
        put(tmp_path, "a.json", content)
    elif kind == "gz":
        put(tmp_path, "a.json.gz", gzip.compress(content))
    else:
        put(tmp_path, "a.zip", zipped({"a.json": content}))
    (text,) = read(tmp_path).values()
    assert (text is not None) is readable


@pytest.mark.parametrize(("count", "whole"), [(4, True), (5, True), (6, False)])
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_an_archive_may_have_so_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int, whole: bool) -> None:
    monkeypatch.setattr(files, "MAX_MEMBERS", 5)
    put(tmp_path, name, ARCHIVES[name]({f"{n}.json": b"{}" for n in range(count)}))
    found = inputs_in(tmp_path)
    assert (trouble(found) == []) is whole
    assert len([i for i in found.inputs if not i.trouble]) == min(count, 5)


@pytest.mark.parametrize(("size", "whole"), [(999, True), (1000, True), (1001, False)])
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.zst"])
def test_an_archive_may_unpack_to_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int, whole: bool) -> None:
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 1_000)
    put(tmp_path, name, ARCHIVES[name]({"a.json": b" " * 500, "b.bin": b" " * (size - 500)}))
    found = inputs_in(tmp_path)
    assert (trouble(found) == []) is whole


def test_a_bomb_costs_no_more_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of zeros in a megabyte of gzip: read to the bound, and refused."""
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 2**20)
    block = gzip.compress(b"\0" * 2**24)
    put(tmp_path, "a.json.gz", block * 64)
    assert "larger than" in trouble(inputs_in(tmp_path))[0][1]


def test_a_log_larger_than_a_document_is_cut_at_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 400)
    lines = "".join(f'{{"n": {n}}}\n' for n in range(100))
    put(tmp_path, "q.log", lines)
    parts = read(tmp_path)
    assert "".join(str(t) for t in parts.values()) == lines
    assert list(parts) == [f"q.log#{n}" for n in range(len(parts))]
    assert all(str(t).endswith("}\n") for t in parts.values())
    monkeypatch.setattr(files, "MAX_LINES_BYTES", 500)
    assert "larger than" in trouble(inputs_in(tmp_path))[0][1]


# Large logs of executed queries

RAN = '{"params": {"query": "sum(m%d)"}, "ts": "2026-01-01T00:00:%02dZ"}'


def ran(count: int, distinct: int = 5) -> str:
    return "".join(f"{RAN % (n % distinct, n % 60)}\n" for n in range(count))


def counted(found: Files) -> dict[str, int]:
    (one,) = found.inputs
    return {item.text: item.count for item in queries(one.found)}


LARGE = [
    "q.log",
    "q.jsonl",
    "q.json",
    "q.txt",
    "q.log.1",
    "q.log-20260101",
    "q.log.2026-01-01T00:00",
    "q.log.gz",
    "q.log.1.gz",
    "q.log.zst",
]


@pytest.mark.parametrize("name", [*LARGE, "x.zip", "x.tar.gz"])
def test_a_large_log_is_read_line_by_line_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 1_000)
    monkeypatch.setattr(files, "_CHUNK_BYTES", 77)
    content = ran(100).encode()
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(name.rpartition(".")[2], lambda raw: raw)
    put(tmp_path, name, ARCHIVES[name]({"q.log": content}) if name in ARCHIVES else pack(content))
    found = inputs_in(tmp_path)
    assert counted(found) == {f"sum(m{n})": 20 for n in range(5)}
    assert (trouble(found), found.skipped) == ([], ())
    assert read_inputs(found.inputs) == read_inputs([Input(found.inputs[0].path, content.decode())])


def test_what_a_log_holds_behind_its_bound_is_said_to_be_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 1_000)
    size = len(ran(100))
    for limit in (size, size + 1, size - 1, 2_000):
        monkeypatch.setattr(files, "MAX_LOG_BYTES", limit)
        put(tmp_path, "q.log", ran(100))
        (one,) = inputs_in(tmp_path).inputs
        said = [u.reason for u in unreads(one.found) if "behind the first" in u.reason]
        assert said == ([f"what lies behind the first {limit} bytes is not read"] if limit < size else [])
        assert sum(q.count for q in queries(one.found)) >= min(limit, size) // len(ran(1)) - 1


@pytest.mark.parametrize(("length", "hides"), [(500, False), (5_000, True)])
def test_a_line_that_is_too_long_is_said_if_it_is_a_querys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, hides: bool
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 1_000)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1_000)
    long = RAN.replace("m%d", "m" * length) % 0
    put(tmp_path, "q.log", f"{ran(50)}{long}\n{ran(50)}")
    (one,) = inputs_in(tmp_path).inputs
    assert sum(q.count for q in queries(one.found)) == 100 + (not hides)
    assert [u.reason for u in unreads(one.found)] == (["1 broken lines, the first is line 51"] if hides else [])


@pytest.mark.parametrize(
    ("name", "content", "becomes"),
    [
        ("a.json", '{"n": 1}\n' * 200, "larger than"),
        ("a.yaml", "expr: sum(m)\n" * 200, "larger than"),
        ("a.log", "2026-01-01T00:00:00Z hello\n" * 200, "parts"),
        ("a.jsonl", '{"panels": [{"targets": [{"expr": "m"}]}], "query": 1}\n' * 200, "parts"),
    ],
)
def test_large_files_that_are_no_log_of_queries_are_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, becomes: str
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 1_000)
    put(tmp_path, name, content)
    found = inputs_in(tmp_path)
    assert [i.found for i in found.inputs if i.found] == []
    assert (becomes == "parts") is (len(found.inputs) > 1)
    assert becomes == "parts" or becomes in trouble(found)[0][1]


def test_a_large_log_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times a document's size: read with less than three documents' room."""
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 2**19)
    monkeypatch.setattr(files, "MAX_HEAD_BYTES", 2**16)
    line = ran(20, 20).encode()
    put(tmp_path, "q.log", line * (8 * 2**19 // len(line)))
    tracemalloc.start()
    found = inputs_in(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(counted(found)) == 20
    assert peak < 3 * 2**19


@given(st.binary(max_size=60) | st.text("ab\n", max_size=60).map(str.encode), st.integers(0, 60), st.integers(1, 20), st.integers(1, 9))
def test_lines_are_the_same_however_they_are_read(raw: bytes, head: int, longest: int, chunk: int) -> None:
    """The first of them without a mark of its byte order."""
    expected = (raw[:head].removeprefix(codecs.BOM_UTF8) + raw[head:]).split(b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "MAX_LINE_BYTES", longest)
        patch.setattr(files, "_CHUNK_BYTES", chunk)
        found = list(lines_of(raw[:head], io.BytesIO(raw[head:])))
    assert found == [line[:longest].decode(errors="replace") for line in (expected if expected[-1] else expected[:-1])]


@given(st.text(alphabet="ab\n", max_size=80), st.integers(1, 20))
def test_cutting_loses_nothing_and_breaks_no_line(text: str, size: int) -> None:
    parts = list(cut(text, size))
    assert "".join(parts) == text
    assert all(p.endswith("\n") for p in parts[:-1])
    assert all(len(p) <= size or "\n" not in p[:-1] for p in parts)


def test_an_input_says_its_trouble_or_has_none(tmp_path: Path) -> None:
    assert inputs_in(put(tmp_path, "a.json", "")).inputs == (Input("a.json", ""),)
