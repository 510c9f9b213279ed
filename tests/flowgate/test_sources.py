"""What a live source hides: everything, unless its last fetch was whole, complete and no more than 24 hours ago."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.errors import Invalid
from flowgate.ids import OrgId
from flowgate.sources import (
    KINDS,
    MAX_NAMED,
    STALE,
    FailedDocument,
    Fetch,
    History,
    Source,
    SourceId,
    SourceKind,
    age_text,
    checked,
    due,
    executing_sources,
    jitter,
    source_spots,
    state_of,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
A, S = OrgId("a"), SourceId("s")
SECOND = timedelta(seconds=1)


def source(kind: SourceKind = "grafana", url: str | None = None, **fields: object) -> Source:
    made = Source(A, S, kind, url or ("query.log" if kind == "query_log" else "https://h"), NOW)
    return replace(made, **fields)


def fetched(age: timedelta, ok: bool = True, failed: int = 0) -> Fetch:
    missing = tuple(FailedDocument(f"d{k}", "status 500") for k in range(failed))
    made = Fetch(A, S, NOW - age, NOW - age + SECOND, ok, 3, missing)
    return made if ok else replace(made, error="the token may not read this", fault="theirs")


def once(fetch: Fetch) -> History:
    return History(fetch, fetch if fetch.ok else None)


FRESH = once(fetched(timedelta(hours=1)))
CASES = [
    (True, FRESH, "good", None),
    (True, History(), "never", "was not fetched yet; no fetch ever was good"),
    (True, once(fetched(STALE - SECOND)), "good", None),
    (True, once(fetched(STALE)), "good", None),
    (True, once(fetched(STALE + SECOND)), "stale", "is stale; the last good fetch was 24 h ago"),
    (True, once(fetched(timedelta(days=3))), "stale", "the last good fetch was 3 d ago"),
    (True, once(fetched(SECOND, ok=False)), "failed", "could not be fetched whole; no fetch ever was good: the token may not read this"),
    (True, History(fetched(SECOND, ok=False), fetched(timedelta(hours=2))), "failed", "the last good fetch was 2 h ago: the token may not"),
    (True, once(fetched(SECOND, failed=1)), "partial", "not fetched from s: status 500"),
    (False, FRESH, "disabled", "is switched off; the last good fetch was 1 h ago"),
    (False, History(), "disabled", "is switched off; no fetch ever was good"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("enabled", "history", "state", "words"), CASES)
def test_all_but_a_good_source_hides_any_name(kind: SourceKind, enabled: bool, history: History, state: str, words: str | None) -> None:
    one = source(kind, enabled=enabled)
    spots = source_spots([one], {S: history}, NOW)
    assert state_of(one, history, NOW) == state
    assert bool(spots) == (words is not None)
    for spot in spots:
        assert (spot.kind, spot.touches) == ("hiding", ())
        assert "s" in str(spot.document)
        assert words is not None
        assert words in spot.reason


def test_a_source_without_history_hides() -> None:
    assert len(source_spots([source()], {}, NOW)) == 1


def test_each_missing_document_is_named_up_to_a_number() -> None:
    spots = source_spots([source()], {S: once(fetched(SECOND, failed=MAX_NAMED + 7))}, NOW)
    assert [s.document for s in spots] == [*(f"s/d{k}" for k in range(MAX_NAMED)), "s"]
    assert spots[-1].reason.startswith("7 more")


def test_a_note_lowers_trust_and_hides_nothing() -> None:
    (spot,) = source_spots([source()], {S: once(replace(fetched(SECOND), notes=("sees little",)))}, NOW)
    assert (spot.kind, spot.document, spot.reason) == ("narrowing", "s", "s: sees little")


@given(st.booleans(), st.one_of(st.none(), st.integers(0, 10**6)), st.booleans(), st.integers(0, 3), st.integers(0, 10**6))
def test_waiting_never_makes_a_source_see_more(enabled: bool, age: int | None, ok: bool, failed: int, later: int) -> None:
    history = History() if age is None else once(fetched(timedelta(seconds=age), ok, failed))
    one = source(enabled=enabled)
    if source_spots([one], {S: history}, NOW):
        assert source_spots([one], {S: history}, NOW + timedelta(seconds=later))


@pytest.mark.parametrize(
    ("history", "enabled", "expected"),
    [
        (History(), True, True),
        (History(), False, False),
        (once(fetched(timedelta(seconds=3599))), True, False),
        (once(fetched(timedelta(seconds=3961))), True, True),
        (once(fetched(timedelta(seconds=3961))), False, False),
        (once(fetched(timedelta(seconds=299), ok=False)), True, False),
        (once(fetched(timedelta(seconds=661), ok=False)), True, True),
        (once(fetched(timedelta(seconds=-3600))), True, True),
    ],
)
def test_a_source_is_due_after_its_interval_or_sooner_when_it_failed(history: History, enabled: bool, expected: bool) -> None:
    assert due(source(enabled=enabled), history, NOW) is expected


@given(st.text(max_size=20), st.integers(60, 43_200))
def test_jitter_is_the_same_every_time_and_at_most_a_tenth(name: str, interval: int) -> None:
    one = source(id=SourceId(name), interval_seconds=interval)
    assert jitter(one) == jitter(one)
    assert timedelta(0) <= jitter(one) < timedelta(seconds=interval / 10 + 1)


def test_jitter_tells_sources_apart() -> None:
    assert len({jitter(source(id=SourceId(f"s{k}"))) for k in range(50)}) == 50


GOOD: list[tuple[SourceKind, str]] = [
    ("grafana", "http://localhost:3000"), ("grafana", "https://g.example/grafana/"), ("mimir", "http://[::1]:9009"), ("prometheus", "HTTPS://h/p"),
    ("query_log", "query.log"), ("query_log", "prom-1/query.log"),
]  # fmt: skip
BAD: list[tuple[SourceKind, str]] = [
    ("grafana", "ftp://h"), ("grafana", "file:///etc/passwd"), ("grafana", "http://"), ("grafana", "//h"), ("grafana", "h:3000"), ("grafana", ""),
    ("grafana", "http://u:p@h"), ("grafana", "http://u@h"), ("grafana", "http://h?token=x"), ("grafana", "http://h#x"), ("grafana", "http://h/\n"),
    ("grafana", "http://h\\@evil"), ("grafana", "http://a b"), ("grafana", "http://" + "h" * 2000), ("grafana", "gopher://h"),
    ("query_log", "/etc/passwd"), ("query_log", "../x"), ("query_log", "a/../../x"), ("query_log", "a//b"), ("query_log", "."), ("query_log", ""),
    ("query_log", "a\x00b"), ("query_log", ".hidden"), ("query_log", "http://h"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "url"), GOOD)
def test_an_address_that_may_be_asked(kind: SourceKind, url: str) -> None:
    assert checked(source(kind, url)).url == url


@pytest.mark.parametrize(("kind", "url"), BAD)
def test_an_address_that_may_not_be_asked_is_refused_without_repeating_it(kind: SourceKind, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked(replace(source(kind), url=url))
    assert [p.path for p in refused.value.problems] == ["url"]
    assert len(url) < 8 or url not in refused.value.problems[0].message


@pytest.mark.parametrize(
    ("fields", "token", "path"),
    [
        ({"tenant": "a\r\nx: y"}, None, "tenant"),
        ({"tenant": " a"}, None, "tenant"),
        ({"user": "a:b"}, None, "user"),
        ({"user": "é"}, None, "user"),
        ({}, "se\ncret", "token"),
        ({}, "", "token"),
        ({"prefix": "prometheus"}, None, "prefix"),
        ({"prefix": "/a/../b"}, None, "prefix"),
        ({"prefix": "/a?x"}, None, "prefix"),
        ({"interval_seconds": 59}, None, "interval_seconds"),
        ({"interval_seconds": 43_201}, None, "interval_seconds"),
    ],
)
def test_a_field_that_could_become_another_header_or_path_is_refused(fields: dict[str, Any], token: str | None, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked(source(**fields), token)
    assert [p.path for p in refused.value.problems] == [path]
    assert token is None or len(token) < 2 or token not in str(refused.value.problems)


def test_the_longest_interval_leaves_room_for_one_missed_fetch() -> None:
    longest = checked(source(interval_seconds=43_200))
    assert 2 * (timedelta(seconds=longest.interval_seconds)) <= STALE


@pytest.mark.parametrize(
    ("kind", "history", "expected"),
    [
        ("query_log", FRESH, True),
        ("query_log", once(fetched(SECOND, failed=1)), True),
        ("query_log", once(fetched(STALE + SECOND)), False),
        ("query_log", History(), False),
        ("grafana", FRESH, False),
    ],
)
def test_executed_queries_are_read_where_a_query_log_is_seen(kind: SourceKind, history: History, expected: bool) -> None:
    assert executing_sources([source(kind)], {S: history}, NOW) == ((S,) if expected else ())


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (172_799, "47 h"), (172_800, "2 d")]
)
def test_an_age_is_told_in_the_largest_unit_that_it_fills(seconds: int, text: str) -> None:
    assert age_text(timedelta(seconds=seconds)) == text
