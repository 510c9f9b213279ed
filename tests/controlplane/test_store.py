"""What only the SQLite adapter can get wrong; what every store promises is in `tests/contracts`."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

import controlplane
from controlplane.store import SqlStore, _whose, metadata, migrate
from flowgate.errors import Broken, Busy
from flowgate.ids import OrgId
from flowgate.sources import Source, SourceId


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


def test_a_store_of_the_first_schema_keeps_what_it_has_and_takes_sources(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    migrate(sa.create_engine(f"sqlite:///{path}"), "0001")
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO orgs VALUES ('a')")
        old.execute("INSERT INTO documents VALUES ('a', 'p', 'text')")
    old.close()
    store = SqlStore(path)
    with store.begin() as work:
        work.add_source(Source(OrgId("a"), SourceId("s"), "grafana", "http://h", datetime(2026, 1, 1, tzinfo=UTC)), None)
        assert list(work.documents(OrgId("a"))) == [("p", "text")]
        assert [s.id for s in work.sources(OrgId("a"))] == ["s"]
    store.close()


def test_a_price_book_of_an_older_schema_is_revision_one_of_the_default_destination(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    migrate(engine, "0002")
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO orgs VALUES ('a')")
        old.execute("INSERT INTO price_books VALUES ('a', 'name: n')")
    old.close()
    store = SqlStore(path)
    with store.begin() as work:
        (book,) = work.price_books(OrgId("a"))
        assert (book.destination, book.revision, book.text) == ("default", 1, "name: n")
        assert book.created.tzinfo is not None
        work.add_price_book(replace(book, revision=2, text="name: m"))
        work.commit()
    store.close()
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(controlplane.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    with sqlite3.connect(path) as back:
        assert back.execute("SELECT org, text FROM price_books").fetchall() == [("a", "name: m")]
    back.close()
    engine.dispose()


def test_the_schema_of_the_migrations_is_that_of_the_tables(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'control.db'}")
    migrate(engine)
    found = sa.inspect(engine)
    assert {t: {c["name"] for c in found.get_columns(t)} for t in metadata.tables} == {
        t: set(metadata.tables[t].c.keys()) for t in metadata.tables
    }
    engine.dispose()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Also one that was made when others could: tokens of live sources are in it as they are."""
    (tmp_path / "control.db").touch(0o644)
    SqlStore(tmp_path / "control.db").close()
    assert (tmp_path / "control.db").stat().st_mode & 0o777 == 0o600


def test_a_second_start_migrates_nothing_and_keeps_everything(tmp_path: Path) -> None:
    for expected in ([], [OrgId("a")]):
        store = SqlStore(tmp_path / "control.db")
        with store.begin() as work:
            assert list(work.orgs()) == expected
            if not expected:
                work.add_org(OrgId("a"))
                work.commit()
        store.close()
