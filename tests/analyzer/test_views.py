"""What the views over segments say: when a series was seen, what is new, how many values a label has, and how sure an estimate is."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from analyzer.reader import open_tap
from tests.analyzer.store import T0, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_series_is_new_in_the_hour_it_was_first_seen_in_whatever_the_segments_are(store: Store) -> None:
    store.series("a", {"x": "1"})
    store.write()
    store._series = 0
    store.series("a", {"x": "1"}, at=T0 + timedelta(hours=1))
    store.series("a", {"x": "2"}, at=T0 + timedelta(hours=1))
    db = open_tap(store.write())
    start = T0.replace(tzinfo=None)
    assert db.execute("SELECT hour, series FROM new_series ORDER BY hour").fetchall() == [(start, 1), (start + timedelta(hours=1), 1)]
    seen = db.execute("SELECT first_seen < last_seen, points FROM series_seen ORDER BY series_id").fetchall()
    assert [points for _, points in seen] == [120, 60]


def test_copies_of_both_sides_do_not_mix(store: Store) -> None:
    store.series("a", {"x": "1"})
    store.write("in")
    store._series = 0
    store.series("a", {"x": "1"}, points=10)
    db = open_tap(store.write("out"))
    assert db.execute("SELECT side, points FROM series_seen ORDER BY side").fetchall() == [("in", 60), ("out", 10)]
    assert db.execute("SELECT side, series FROM new_series ORDER BY side").fetchall() == [("in", 1), ("out", 1)]


def test_values_of_a_label_are_counted_exactly(store: Store) -> None:
    for i in range(30):
        store.series("a", {"pod": f"p{i}", "zone": f"z{i % 3}"}, resource={"service.name": "s"})
    store.series("b", {"pod": "p1"})
    found = open_tap(store.write()).execute("SELECT metric, place, key, distinct_values, series FROM label_values ORDER BY ALL").fetchall()
    assert found == [
        ("a", "point", "pod", 30, 30),
        ("a", "point", "zone", 3, 30),
        ("a", "resource", "service.name", 1, 30),
        ("b", "point", "pod", 1, 1),
    ]


def test_an_estimate_from_a_sample_says_how_sure_it_is(store: Store) -> None:
    common = {
        "time": T0.replace(tzinfo=None),
        "service": "s",
        "severity_number": 9,
        "severity_text": "",
        "attributes": "{}",
        "trace_id": "",
        "span_id": "",
    }
    store.rows["logs"] += [{**common, "body": "sampled", "bytes": 100, "weight": w} for w in (4.0, 4.0, 1.0)]
    store.rows["logs"].append({**common, "body": "whole", "bytes": 10, "weight": 1.0})
    store.series("a")
    found = (
        open_tap(store.write()).execute("SELECT body, records, records_error, bytes, bytes_error FROM log_bodies ORDER BY body").fetchall()
    )
    assert found[0] == ("sampled", 9.0, pytest.approx(math.sqrt(24)), 900.0, pytest.approx(100 * math.sqrt(24)))
    assert found[1] == ("whole", 1.0, 0.0, 10.0, 0.0)
