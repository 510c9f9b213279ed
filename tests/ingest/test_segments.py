"""Segments appear whole, survive a kill as promised, and hold exactly the contract's columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flowgate.errors import Broken
from flowgate.ids import DEFAULT_ORG, GatewayId, OrgId
from flowgate.ports import Identity
from flowgate.telemetry import TABLES, Side, Window
from ingest import segments
from ingest.columns import Staged
from ingest.columns import table as rows_as
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.segments import LEAVING_SECONDS, TEMPORARY, FolderSegments, SegmentStore, read_segments
from ingest.tap import Buffer, Settings, Source
from tests.ingest.otlp_bodies import NOW, every_kind, gauge, logs, spans

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)


def staged(store: SegmentStore, *requests: Any, source: Source = SOURCE) -> None:
    decoder, buffer = Decoder(b"k"), Buffer(Settings(bucket_seconds=5))
    for request in requests:
        buffer.add(source, decoder.decode(request, NOW), decoder.series)
    store.stage(Library(decoder, buffer).drain())


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    return SegmentStore.open(tmp_path / "s", 5)


def rows(store: SegmentStore, table: str) -> list[dict[str, object]]:
    files = sorted(store.root.glob(f"*/*/*/*/{table}.parquet"))
    return [r for f in files for r in pq.read_table(f).to_pylist()]


def test_a_segment_holds_the_columns_of_the_contract(store: SegmentStore) -> None:
    staged(store, every_kind(), logs(5, 9), spans("a"))
    (segment,) = store.seal()
    for table, columns in TABLES.items():
        if not segment.rows[table]:
            continue
        schema = pq.read_schema(store.root / segment.path / f"{table}.parquet")
        assert schema.names == list(columns), table
    assert {table: n for table, n in segment.rows.items() if n} == {
        "kv": 1, "series": 5, "points": 5, "log_counts": 2, "logs": 2, "span_counts": 1, "spans": 1, "label_sketches": 5, "value_samples": 5,
    }  # fmt: skip


@pytest.mark.parametrize(("share", "given"), [(0, {"all"}), (10**9, {"1000000KB"}), (10**6, {"1000KB", "all"})])
def test_what_needs_more_memory_than_usual_has_it_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int, given: set[str]
) -> None:
    """DuckDB's own bound is no reason to lose a segment: with 3 MB, 200,000 series cannot be staged or sealed, and are. The tap's share goes first."""
    monkeypatch.setattr(segments, "SOFT_MEMORY", "3MB")
    monkeypatch.setattr(segments, "_most_memory", lambda: "all")
    roomy = SegmentStore.open(tmp_path / "s", 5, most_memory=share)
    asked, had = list[str](), set[str]()
    within, giving = SegmentStore._roomy, SegmentStore._with_memory

    def gave(store: SegmentStore, most: str, work: Any) -> Any:
        had.add(most)
        return giving(store, "8GB" if most == "all" else most, work)

    monkeypatch.setattr(SegmentStore, "_with_memory", gave)

    def watched(store: SegmentStore, db: Any, work: Any) -> Any:
        done = within(store, db, work)
        asked.extend(store._db.execute("SELECT current_setting('memory_limit')").fetchone() or ())
        return done

    monkeypatch.setattr(SegmentStore, "_roomy", watched)
    ids = range(200_000)
    point = dict(zip(TABLES["points"], (0, datetime(2026, 1, 1), 1, *[datetime(2026, 1, 1)] * 2, *[1.0] * 5, 9, 0), strict=True))
    columns = rows_as("points", ((n, *list(point.values())[1:]) for n in ids))
    roomy.stage({SOURCE: Staged({"points": columns}, {})})
    (segment,) = roomy.seal()
    roomy.close()
    assert segment.rows["points"] == len(ids)
    assert "2.8 MiB" in asked, "the bound holds again afterwards"
    assert had == given


def test_a_series_that_was_named_twice_is_one_in_the_segment(store: SegmentStore) -> None:
    staged(store, gauge(1.0))
    staged(store, gauge(2.0))
    store.seal()
    assert len(rows(store, "series")) == 1


def test_rows_staged_at_different_moments_become_one(store: SegmentStore) -> None:
    staged(store, gauge(3.0, 1.0))
    staged(store, gauge(5.0, at=NOW + 2 * 10**9))
    store.seal()
    (point,) = rows(store, "points")
    assert (point["count"], point["first"], point["last"], point["min"], point["max"]) == (3, 3.0, 5.0, 1.0, 5.0)
    assert len(rows(store, "series")) == 1


def test_a_bucket_without_any_value_has_no_extremes(store: SegmentStore) -> None:
    staged(store, gauge(float("nan")))
    store.seal()
    (point,) = rows(store, "points")
    assert (point["count"], point["min"], point["max"]) == (1, None, None)


def test_the_manifest_lists_what_is_sealed_and_the_source_reads_it(store: SegmentStore) -> None:
    staged(store, gauge(1.0))
    (segment,) = store.seal()
    moment = datetime.fromtimestamp(NOW / 1e9, UTC)
    source = FolderSegments(store.root)
    assert source.segments(DEFAULT_ORG, Window(moment, moment + timedelta(seconds=1))) == (segment,)
    assert source.segments(OrgId("other"), Window(moment, moment + timedelta(seconds=1))) == ()
    assert source.segments(DEFAULT_ORG, Window(moment - timedelta(seconds=20), moment - timedelta(seconds=10))) == ()


def test_nothing_staged_seals_nothing(store: SegmentStore) -> None:
    assert store.seal() == ()
    assert read_segments(store.root) == []


def test_each_source_has_segments_of_its_own(store: SegmentStore) -> None:
    staged(store, gauge(1.0))
    staged(store, gauge(1.0), source=SOURCE._replace(side=Side.OUT))
    assert {s.side for s in store.seal()} == {Side.IN, Side.OUT}


def test_what_was_staged_before_a_kill_is_sealed_at_the_next_start(store: SegmentStore) -> None:
    staged(store, gauge(1.0))
    store.close()  # no seal: as a kill leaves it
    again = SegmentStore.open(store.root, 5)
    assert [s.rows["points"] for s in read_segments(again.root)] == [1]
    assert again.seal() == ()


def test_a_kill_between_rename_and_delete_does_not_count_twice(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    staged(store, gauge(1.0))
    monkeypatch.setattr(SegmentStore, "_forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.seal()
    monkeypatch.undo()
    store.close()
    again = SegmentStore.open(store.root, 5)
    assert len(read_segments(again.root)) == 1
    assert len(json.loads((again.root / "manifest.json").read_text())["segments"]) == 1


def test_a_half_written_segment_is_removed_at_the_next_start(store: SegmentStore) -> None:
    half = store.root / f"{TEMPORARY}dead"
    half.mkdir()
    (half / "points.parquet").write_bytes(b"PAR1")
    store.close()
    SegmentStore.open(store.root, 5)
    assert not half.exists()


def test_old_segments_retire(store: SegmentStore) -> None:
    staged(store, gauge(1.0))
    (segment,) = store.seal()
    assert store.retire(segment.window.end) == 0
    assert store.retire(segment.window.end + timedelta(seconds=1), now=1000.0) == 1
    assert json.loads((store.root / "manifest.json").read_text()) == {"segments": []}
    store.compact(1000.0 + LEAVING_SECONDS - 1)
    assert (store.root / segment.path).exists(), "a reader may have opened the list before"
    store.compact(1000.0 + LEAVING_SECONDS)
    assert not (store.root / segment.path).exists()


def test_readers_in_another_process_see_whole_segments_while_they_are_sealed_merged_and_retired(store: SegmentStore) -> None:
    """A reader lists and sums for as long as the tap seals, merges and retires: no sum fails, and none has a part of a segment."""
    import subprocess
    import sys

    code = f"""
import time
from analyzer.reader import open_tap
sums, until = set(), time.monotonic() + 4
while time.monotonic() < until:
    db = open_tap({str(store.root)!r})
    time.sleep(0.02)
    sums.add(db.execute("SELECT coalesce(sum(count), 0), count(*) * 7 FROM points").fetchone())
assert all(points == seven for points, seven in sums), sums
print(len(sums))
"""
    staged(store, gauge(*[1.0] * 7, step=0))
    store.seal()
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    number = 0
    while reader.poll() is None:
        number += 1
        staged(store, gauge(*[1.0] * 7, step=0, labels={"n": str(number)}))
        store.seal()
        store.compact(0.0)
        if number % 20 == 0:
            store.retire(datetime.fromtimestamp(NOW / 1e9, UTC) + timedelta(hours=1))
    out, err = reader.communicate()
    assert reader.returncode == 0, err
    assert int(out) > 3


def test_rejected_items_are_written_into_the_segment(store: SegmentStore) -> None:
    staged(store, gauge(1.0), gauge(1.0, at=NOW - 10**6 * 10**9))
    (segment,) = store.seal()
    assert segment.rejected == {"skewed": 1}


def test_a_folder_below_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Broken, match="cannot be written"):
        SegmentStore.open(tmp_path / "file" / "s", 5)


def test_a_second_tap_on_one_store_is_refused(store: SegmentStore) -> None:
    import subprocess
    import sys

    code = f"from pathlib import Path; from ingest.segments import SegmentStore; SegmentStore.open(Path({str(store.root)!r}), 5)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.returncode != 0
    assert "staging.duckdb cannot be opened" in run.stderr
