"""Small segments become one that says the same; what is full loses its oldest; what is damaged is set aside and named."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.reader import open_tap
from flowgate.errors import Broken
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.telemetry import Segment, Side, Window
from ingest.compaction import MAX_BYTES, MAX_SPAN, RUN, SMALLEST, Stored, due, over, tier
from ingest.segments import DAMAGED, LEAVING_SECONDS, SegmentStore
from tests.ingest.otlp_bodies import NOW, gauge, logs
from tests.ingest.test_segments import staged

START = datetime(2026, 11, 24, tzinfo=UTC)
SECOND = 10**9


def stored(number: int, size: int = 1000, seconds: int = 5, side: Side = Side.IN) -> Stored:
    """The number-th of segments that follow one another."""
    window = Window(START + timedelta(seconds=5 * number), START + timedelta(seconds=5 * number + seconds))
    return Stored(Segment(f"{number:04}", DEFAULT_ORG, GatewayId("g"), side, window, f"p{number}", 5, {}, {}), size)


@pytest.mark.parametrize(("count", "runs"), [(RUN - 1, 0), (RUN, 1), (RUN + 1, 1), (2 * RUN, 2)])
def test_a_run_is_due_when_it_is_long_enough(count: int, runs: int) -> None:
    assert [len(r) for r in due(stored(i) for i in range(count))] == [RUN] * runs


def test_no_run_reaches_over_a_time_without_data() -> None:
    numbers = [*range(RUN - 1), *range(RUN, 2 * RUN - 1)]
    assert due(stored(i) for i in numbers) == ()


def test_only_what_is_alike_is_merged() -> None:
    half = RUN // 2
    assert due([*(stored(i) for i in range(half)), *(stored(half + i, size=10 * SMALLEST) for i in range(half))]) == ()
    assert due([*(stored(i) for i in range(half)), *(stored(half + i, side=Side.OUT) for i in range(half))]) == ()


def test_a_run_stays_within_an_hour_and_within_its_bytes() -> None:
    span = int(MAX_SPAN.total_seconds())
    assert due(stored(i, seconds=span - 5 * (RUN - 1) if i == RUN - 1 else 5) for i in range(RUN)) != ()
    assert due(stored(i, seconds=span - 5 * (RUN - 1) + 1 if i == RUN - 1 else 5) for i in range(RUN)) == ()
    assert due(stored(i, size=MAX_BYTES // RUN) for i in range(RUN)) != ()
    assert due(stored(i, size=MAX_BYTES // RUN + 1) for i in range(RUN)) == ()


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (SMALLEST - 1, 0), (SMALLEST, 1), (8 * SMALLEST - 1, 1), (8 * SMALLEST, 2)])
def test_tiers_are_factors_of_eight(size: int, expected: int) -> None:
    assert tier(size) == expected


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(0, 12_000))
def test_the_oldest_go_until_the_rest_fits_and_no_more(sizes: list[int], most: int) -> None:
    every = [stored(i, size=size) for i, size in enumerate(sizes)]
    going = over(every, most)
    assert list(going) == every[: len(going)]
    left = [s.bytes for s in every[len(going) :]]
    assert sum(left) <= most
    assert not going or sum(left) + going[-1].bytes > most


# --- the store ---


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    made = SegmentStore.open(tmp_path / "s", 5)
    for i in range(RUN):
        at = NOW + 5 * i * SECOND
        staged(
            made, gauge(float(i), at=at), gauge(float(-i), at=at + SECOND), gauge(1.0, at=NOW - 10**6 * SECOND), *([] if i else [logs(5)])
        )
        made.seal()
    return made


def said(store: SegmentStore) -> dict[str, object]:
    """What a reader finds, whatever the segments are."""
    db = open_tap(store.root)
    tables = ("kv", "series", "points", "log_counts", "logs")
    found: dict[str, object] = {t: sorted(map(repr, db.execute(f"SELECT DISTINCT * FROM {t}").fetchall())) for t in tables}
    listed = json.loads((store.root / "manifest.json").read_text())["segments"]
    return found | {"skewed": sum(s["rejected"].get("skewed", 0) for s in listed), "rows": sum(s["rows"]["points"] for s in listed)}


def test_a_merged_segment_says_what_its_parts_said(store: SegmentStore) -> None:
    before = said(store)
    (merged,) = store.compact(0.0)
    assert said(store) == before
    assert merged.window.seconds == 5 * RUN
    assert store.compact(0.0) == ()


def test_files_of_merged_segments_stay_for_readers_and_go_later(store: SegmentStore) -> None:
    files = list(store.root.glob("*/*/*/*/points.parquet"))
    assert len(files) == RUN
    store.compact(100.0)
    store.compact(100.0 + LEAVING_SECONDS - 0.1)
    assert all(f.exists() for f in files)
    store.compact(100.0 + LEAVING_SECONDS)
    assert not any(f.exists() for f in files)


def test_a_kill_after_merging_counts_nothing_twice(store: SegmentStore) -> None:
    before = said(store)
    store.compact(0.0)
    store.close()
    again = SegmentStore.open(store.root, 5)
    assert said(again) == before
    assert len(list(again.root.glob("*/*/*/*/points.parquet"))) == 1


def test_a_kill_before_the_merged_segment_is_listed_counts_nothing_twice(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = said(store)
    monkeypatch.setattr(SegmentStore, "_keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.compact(0.0)
    monkeypatch.undo()
    store.close()
    assert said(SegmentStore.open(store.root, 5)) == before


def damage(file: Path, how: str) -> None:
    match how:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[:-20])
        case "empty":
            file.write_bytes(b"")
        case _:
            table = pq.read_table(file)
            pq.write_table(table.slice(1), file)


@pytest.mark.parametrize("how", ["gone", "cut", "empty", "fewer rows"])
def test_a_damaged_segment_is_set_aside_counted_and_named_and_the_others_are_read(store: SegmentStore, how: str) -> None:
    store.close()
    victim = min(store.root.glob("*/*/*/*/points.parquet"))
    damage(victim, how)
    again = SegmentStore.open(store.root, 5)
    name = str(victim.parent.relative_to(store.root))
    assert again.damaged == [name]
    assert [f.name for f in (store.root / DAMAGED).iterdir()] == [name.replace("/", "_")]
    assert len(json.loads((store.root / "manifest.json").read_text())["segments"]) == RUN - 1
    assert open_tap(store.root).execute("SELECT count(*) FROM points").fetchone() == (RUN - 1,)


def test_a_segment_without_its_description_is_set_aside(store: SegmentStore) -> None:
    store.close()
    victim = min(store.root.glob("*/*/*/*/segment.json"))
    victim.write_text('{"id": "x"')
    assert len(SegmentStore.open(store.root, 5).damaged) == 1


def test_damage_inside_a_file_is_found_when_it_is_merged_and_the_rest_is_kept(store: SegmentStore) -> None:
    victim = min(store.root.glob("*/*/*/*/points.parquet"))
    data = bytearray(victim.read_bytes())
    data[4:60] = b"\xff" * 56
    victim.write_bytes(data)
    assert store.compact(0.0) == ()
    assert len(store.damaged) == 1
    assert len(json.loads((store.root / "manifest.json").read_text())["segments"]) == RUN - 1
    assert not list(store.root.glob(".tmp-*"))


def test_retention_by_size_removes_the_oldest(store: SegmentStore) -> None:
    total = store.bytes()
    assert store.retire(datetime(2000, 1, 1, tzinfo=UTC), total) == 0
    assert store.retire(datetime(2000, 1, 1, tzinfo=UTC), total - 1) == 1
    listed = json.loads((store.root / "manifest.json").read_text())["segments"]
    assert min(s["start"] for s in listed) == datetime.fromtimestamp(NOW // SECOND + 5, UTC).isoformat()


def test_a_damaged_merged_segment_leaves_its_parts(store: SegmentStore) -> None:
    before = said(store)
    (merged,) = store.compact(0.0)
    (store.root / merged.path / "points.parquet").write_bytes(b"")
    store.close()
    again = SegmentStore.open(store.root, 5)
    assert again.damaged == [merged.path]
    assert said(again) == before


def test_a_list_that_cannot_be_written_is_said_and_no_listed_file_goes(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = said(store)
    monkeypatch.setattr("ingest.segments._replace", full)
    with pytest.raises(Broken, match="No space left"):
        store.compact(0.0)
    with pytest.raises(Broken, match="No space left"):
        store.compact(2 * LEAVING_SECONDS)
    assert said(store) == before, "the old list still holds"
    monkeypatch.undo()
    store.compact(2 * LEAVING_SECONDS)
    assert said(store) == before


def test_a_run_that_cannot_be_written_waits_and_says_why(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = said(store)
    monkeypatch.setattr(SegmentStore, "_merge", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert store.compact(0.0) == ()
    assert "No space left" in str(store.unmerged)
    assert (store.damaged, said(store)) == ([], before)
    monkeypatch.undo()
    assert len(store.compact(0.0)) == 1
    assert store.unmerged is None


def test_a_run_that_does_not_fit_into_memory_is_left_as_it_is(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = said(store)
    tries: list[int] = []

    def too_large(*_: object) -> None:
        tries.append(1)
        raise duckdb.OutOfMemoryException("could not allocate")

    monkeypatch.setattr(SegmentStore, "_merge", too_large)
    for _ in range(3):
        assert store.compact(0.0) == ()
    assert (len(tries), store.damaged, said(store)) == (1, [], before)
    assert "could not allocate" in str(store.unmerged)


def test_what_had_to_make_room_meanwhile_does_not_come_back(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread seals and retires while one merges."""
    merge = SegmentStore._merge

    def slow(merging: SegmentStore, *rest: Any) -> Any:
        made = merge(merging, *rest)
        assert merging.retire(datetime(1970, 1, 1, tzinfo=UTC), most_bytes=0) == RUN
        return made

    monkeypatch.setattr(SegmentStore, "_merge", slow)
    assert store.compact(0.0) == ()
    assert json.loads((store.root / "manifest.json").read_text())["segments"] == []
    assert list(store.root.glob("*/*/*/*")) == []


def test_a_stop_gives_up_what_is_being_merged(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = said(store)

    def interrupted(merging: SegmentStore, *_: object) -> None:
        merging.end()
        raise duckdb.InterruptException("interrupted")

    monkeypatch.setattr(SegmentStore, "_merge", interrupted)
    assert store.compact(0.0) == ()
    assert (store.unmerged, store.damaged, said(store)) == (None, [], before)


def test_others_stage_and_seal_while_one_merges(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever merges holds nothing that staging, sealing or retiring waits for."""
    begun, may_end, merge = threading.Event(), threading.Event(), SegmentStore._merge

    def slow(merging: SegmentStore, *rest: Any) -> Any:
        begun.set()
        assert may_end.wait(60)
        return merge(merging, *rest)

    monkeypatch.setattr(SegmentStore, "_merge", slow)
    with ThreadPoolExecutor(1) as pool:
        merging = pool.submit(store.compact, 0.0)
        assert begun.wait(60)
        staged(store, gauge(7.0, at=NOW + 5 * RUN * SECOND))
        (sealed,) = store.seal()
        assert store.retire(datetime(1970, 1, 1, tzinfo=UTC)) == 0
        before = said(store)
        may_end.set()
        assert len(merging.result()) == 1
    assert said(store) == before
    assert {s["id"] for s in json.loads((store.root / "manifest.json").read_text())["segments"]} > {sealed.id}


def test_what_had_to_make_room_before_its_merge_is_no_failure(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    merge, tried = SegmentStore._merge, list[int]()

    def gone(merging: SegmentStore, *rest: Any) -> Any:
        tried.append(1)
        merging.retire(datetime(1970, 1, 1, tzinfo=UTC), most_bytes=0)
        return merge(merging, *rest)

    monkeypatch.setattr(SegmentStore, "_merge", gone)
    assert store.compact(0.0) == ()
    assert (tried, store.unmerged, store.damaged) == ([1], None, [])
