"""What only the SQLite adapter can get wrong; what every store promises is in `tests/contracts`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from controlplane.store import SqlStore, _whose
from flowgate.errors import Broken, Busy
from flowgate.ids import OrgId


@pytest.mark.parametrize(("said", "kind"), [("database is locked", Busy), ("database or disk is full", Broken), ("disk I/O error", Broken)])
def test_a_lock_passes_and_a_full_disk_does_not(said: str, kind: type[Exception]) -> None:
    assert type(_whose(OperationalError("BEGIN", {}, sqlite3.OperationalError(said)))) is kind


def test_a_store_that_fails_while_it_works_says_so_in_our_words(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "control.db")
    with sqlite3.connect(tmp_path / "control.db") as other:
        other.execute("DROP TABLE documents")
    other.close()
    with pytest.raises(Broken, match="no such table"), store.begin() as work:
        work.documents(OrgId("a"))
    store.close()


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    (tmp_path / "control.db").mkdir()
    with pytest.raises(Broken, match="cannot be opened"):
        SqlStore(tmp_path / "control.db")


def test_a_second_start_migrates_nothing_and_keeps_everything(tmp_path: Path) -> None:
    for expected in ([], [OrgId("a")]):
        store = SqlStore(tmp_path / "control.db")
        with store.begin() as work:
            assert list(work.orgs()) == expected
            if not expected:
                work.add_org(OrgId("a"))
                work.commit()
        store.close()
