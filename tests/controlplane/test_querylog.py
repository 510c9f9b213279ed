"""A query log on disk becomes few lines that say the same; rotation, damage and links are met, one at a time."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.querylog import read_log
from controlplane import handlers, querylog
from controlplane.querylog import key_of, read, stable
from flowgate.errors import NotFound, Refused
from tests.analyzer.foreign import queries as asked


def line(query: str, at: int = 0, **more: object) -> str:
    said = {"params": {"query": query, "start": at}, "stats": {"timings": {"evalTotalTime": at / 7}}, "ts": f"2026-01-01T00:00:{at:02}Z"}
    return json.dumps({**said, "httpRequest": {"path": "/api/v1/query", "clientIP": f"10.0.0.{at}"}, **more})


def frontend(query: str, at: int = 0) -> str:
    return f'ts=2026-01-01T00:00:{at:02}Z level=info msg="query stats" user=t path=/prometheus/api/v1/query param_query={json.dumps(query)} length={at}s'


def written(path: Path, lines: Iterable[str], age: int = 0) -> Path:
    text = "".join(f"{text}\n" for text in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def queries(text: str) -> dict[str, int]:
    return {json.loads(row)["params"]["query"]: json.loads(row)["flowgate_count"] for row in text.splitlines()}


def test_each_distinct_query_is_there_with_its_first_and_last_line_and_its_count(tmp_path: Path) -> None:
    written(tmp_path / "q.log", [line("up", 1), line("down", 2), line("up", 3), line("up", 4)])
    (text,) = read(tmp_path, "q.log").texts
    rows = [json.loads(row) for row in text.splitlines()]
    assert [(r["params"]["query"], r["ts"][-3:-1], r["flowgate_count"]) for r in rows] == [
        ("down", "02", 1),
        ("up", "01", 2),
        ("up", "04", 1),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["up", "rate(a[5m])", 'b{c="d e"}', "e # f"]), st.integers(0, 59)), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_analyzer_reads_the_same_of_the_few_lines_as_of_all(ran: list[tuple[str, int]], logfmt: bool) -> None:
    import tempfile

    make = frontend if logfmt else line
    ran = sorted(ran, key=lambda r: r[1])
    with tempfile.TemporaryDirectory() as folder:
        whole = written(Path(folder) / "q.log", [make(q, t) for q, t in ran]).read_text()
        (few,) = read(Path(folder), "q.log").texts
    expected, got = read_log(whole), read_log(few)
    assert expected is not None
    assert got is not None
    assert {q.text: (q.count, q.last_seen) for q in asked(got)} == {q.text: (q.count, q.last_seen) for q in asked(expected)}
    assert got.covers == expected.covers
    assert len(few.splitlines()) <= 2 * len({q for q, _ in ran})


def test_rotations_are_read_with_the_log_and_nothing_else_is(tmp_path: Path) -> None:
    names = ["q.log.2.gz", "q.log.1", "q.log-20260101", "q.log-20260101T10.gz", "q.log"]
    for age, name in enumerate(names):
        written(tmp_path / name, [line(name)], -age)
    for name in ("q.log.bak", "q.logs", "other.log", "q.log.1.swp", "aq.log"):
        written(tmp_path / name, [line(name)])
    (tmp_path / "q.log.3").mkdir()
    (text,) = read(tmp_path, "q.log").texts
    assert list(queries(text)) == names


def test_a_log_that_is_rotated_while_it_is_read_is_read_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path / "q.log", [line("old")])
    opened = querylog._opened

    def rotated(path: Path) -> object:
        if not (tmp_path / "q.log.1").exists():
            file = opened(path)
            log.rename(tmp_path / "q.log.1")
            written(log, [line("new")])
            return file
        return opened(path)

    monkeypatch.setattr(querylog, "_opened", rotated)
    (text,) = read(tmp_path, "q.log").texts
    assert queries(text) == {"old": 1, "new": 1}


def test_half_a_line_at_the_end_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "q.log").write_text(line("up") + "\n" + line("half")[:30])
    (text,) = read(tmp_path, "q.log").texts
    assert list(queries(text)) == ["up"]
    (tmp_path / "q.log").write_text(line("up") + "\n" + line("whole"))
    (text,) = read(tmp_path, "q.log").texts
    assert list(queries(text)) == ["up", "whole"]


@pytest.mark.parametrize(
    "kept",
    [
        '{"params": {"query": "up"',
        "not json at all",
        'level=info msg="query stats" path=/api/v1/read param_matchers_0="up"',
        '2026-01-01T00:00:00Z stderr F {"params": {"query": "up"}}',
        '{"log": "{\\"params\\"", "stream": "stderr"}',
        "[1, 2]",
        "{" * 20_000,
        "é \x00",
    ],
)
def test_a_line_that_is_not_understood_here_is_the_analyzers_to_judge(tmp_path: Path, kept: str) -> None:
    written(tmp_path / "q.log", [line("up"), kept, kept])
    (text,) = read(tmp_path, "q.log").texts
    assert text.splitlines().count(kept) == 1


@pytest.mark.parametrize("damage", [b"\x1f\x8b", b"nothing of gzip", gzip.compress(line("x").encode() * 50)[:-9]])
def test_a_damaged_rotation_is_named_and_the_rest_is_there(tmp_path: Path, damage: bytes) -> None:
    written(tmp_path / "q.log", [line("up")])
    (tmp_path / "q.log.1.gz").write_bytes(damage)
    log = read(tmp_path, "q.log")
    assert "up" in queries("".join(log.texts).splitlines()[-1])
    assert [name for name, _ in log.unread] == ["q.log.1.gz"]


def test_a_line_without_end_is_passed_over_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querylog, "MAX_LINE", 1_000)
    written(tmp_path / "q.log", [line("up"), "x" * 5_000, line("down")])
    log = read(tmp_path, "q.log")
    assert list(queries(log.texts[0])) == ["up", "down"]
    assert "longer than 1000 bytes" in dict(log.unread)["q.log"]


def test_what_was_not_seen_for_longest_goes_first_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querylog, "MAX_KEPT", 2_000)
    written(tmp_path / "q.log", [line(f"q{k}") for k in range(50)])
    log = read(tmp_path, "q.log")
    kept = list(queries(log.texts[0]))
    assert kept == [f"q{k}" for k in range(50)][-len(kept) :]
    assert 1 <= len(kept) < 20
    assert "more distinct queries" in dict(log.unread)["q.log"]


def test_files_older_than_what_fits_are_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = written(tmp_path / "q.log", [line("new")])
    written(tmp_path / "q.log.1", [line("old")], 10)
    monkeypatch.setattr(querylog, "MAX_READ", new.stat().st_size)
    log = read(tmp_path, "q.log")
    assert list(queries(log.texts[0])) == ["new"]
    assert [name for name, _ in log.unread] == ["q.log.1"]


def test_a_long_log_is_several_documents_that_end_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querylog, "MAX_TEXT", 2_000)
    written(tmp_path / "q.log", [line(f"q{k}") for k in range(50)])
    texts = read(tmp_path, "q.log").texts
    assert all(len(t.encode()) <= 2_000 and t.endswith("\n") for t in texts)
    assert [q for t in texts for q in queries(t)] == [f"q{k}" for k in range(50)]


def test_links_that_lead_outside_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (tmp_path / "secret.log").write_text("secret\n")
    (folder / "link.log").symlink_to(tmp_path / "secret.log")
    (folder / "dir").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    written(folder / "q.log", [line("up")])
    (folder / "q.log.1").symlink_to(tmp_path / "secret.log")
    os.mkfifo(folder / "q.log.2")
    for name in ("link.log", "dir/secret.log", "../secret.log", "pipe", ".", "dir"):
        with pytest.raises(Refused):
            read(folder, name)
    for name in ("none", "loop"):
        with pytest.raises(NotFound):
            read(folder, name)
    assert "secret" not in "".join(read(folder, "q.log").texts)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (line("up", 1), line("up", 2), True),
        (line("up"), line("down"), False),
        (line("up"), line("up", ruleGroup={"name": "g"}), False),
        (frontend("up", 1), frontend("up", 2), True),
        (frontend('a{b="c d"}'), frontend('a{b="c e"}'), False),
        ("path=/api/v1/series param_match[]=up t=1", "path=/api/v1/series param_match[]=up t=2", True),
        ("path=/api/v1/series param_match[]=up", "path=/api/v1/labels param_match[]=up", False),
    ],
)
def test_two_lines_are_the_same_query_or_not(one: str, other: str, same: bool) -> None:
    assert (key_of(one) == key_of(other)) is same
    assert key_of(one) is not None


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    key_of(text)
    stable(text)


def test_the_digest_of_what_is_read_changes_with_a_new_query_and_not_with_time(tmp_path: Path) -> None:
    def digest(*lines: str) -> str:
        written(tmp_path / "q.log", lines)
        return handlers.usage_digest([(f"s/query_log/{k}.log", t) for k, t in enumerate(read(tmp_path, "q.log").texts)])

    assert digest(line("up", 1), line("down", 2)) == digest(line("down", 3), line("up", 4), line("up", 5))
    assert digest(line("up")) != digest(line("up"), line("down"))
    assert handlers.usage_digest([("q.log", line("up", 1))]) != handlers.usage_digest([("q.log", line("up", 2))])
