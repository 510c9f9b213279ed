"""Segments to profiles: counts are exact, per side, window, gateway and org."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from analyzer.profiler import LABELS_FROM_SERIES, bucket_seconds, profile, tap_losses, volume
from analyzer.reader import open_tap
from flowgate.actions import DropLogs, DropMetric
from flowgate.errors import Broken, NotFound
from flowgate.ids import GatewayId, OrgId
from flowgate.telemetry import TABLES, Side, Window
from tests.analyzer.store import MINUTE, T0, Store, names


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_volumes_are_exact(store: Store) -> None:
    store.series("a", {"x": "1"}, prom_series=6)
    store.series("a", {"x": "2"}, prom_series=6, points=30)
    store.series("b")
    seen = profile(open_tap(store.write()), Side.IN, MINUTE)
    assert names(seen.metrics) == ["a", "b"]
    assert (seen.metrics[0].volume.series, seen.metrics[0].volume.prom_series) == (2, 12)
    assert seen.metrics[0].volume.points_per_second == 1.5
    assert seen.metrics[0].volume.bytes_per_second == 75.0


def test_sides_gateways_orgs_and_windows_do_not_mix(store: Store) -> None:
    store.series("in")
    store.write("in", "g")
    store.series("out")
    store.write("out", "g")
    store.series("other")
    store.write("in", "h")
    store.series("foreign")
    root = store.write("in", "g", "else")
    db = open_tap(root)
    assert names(profile(db, Side.IN, MINUTE).metrics) == ["in", "other"]
    assert names(profile(db, Side.IN, MINUTE, GatewayId("g")).metrics) == ["in"]
    assert names(profile(db, Side.OUT, MINUTE).metrics) == ["out"]
    assert names(profile(open_tap(root, OrgId("else")), Side.IN, MINUTE).metrics) == ["foreign"]
    later = Window(MINUTE.end, MINUTE.end + timedelta(seconds=60))
    assert profile(db, Side.IN, later).metrics == ()


def test_a_series_in_two_segments_is_one_series(store: Store) -> None:
    store.series("a", {"x": "1"})
    store.write()
    store._series = 0
    store.series("a", {"x": "1"}, at=T0 + timedelta(seconds=5))
    seen = profile(open_tap(store.write()), Side.IN, MINUTE)
    assert seen.metrics[0].volume.series == 1
    assert seen.metrics[0].volume.points_per_second == 2.0


def test_an_explosive_label_leaves_few_series_behind(store: Store) -> None:
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {"user_id": str(k), "region": str(k % 3)}, resource={"service.name": "svc"})
    (metric,) = profile(open_tap(store.write()), Side.IN, MINUTE).metrics
    found = {(label.label, label.place): (label.distinct, label.series_without) for label in metric.labels}
    assert found == {("user_id", "point"): (50, 3), ("region", "point"): (3, 50), ("service.name", "resource"): (1, 50)}
    assert metric.services == ("svc",)


def test_series_without_the_label_stay(store: Store) -> None:
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {"user_id": str(k)})
    store.series("a", {"other": "x"})
    (metric,) = profile(open_tap(store.write()), Side.IN, MINUTE).metrics
    assert {label.label: label.series_without for label in metric.labels}["user_id"] == 2


def test_what_actions_remove_is_counted_by_name(store: Store) -> None:
    store.series("a", {"x": "1"})
    store.series("b", prom_series=4)
    db = open_tap(store.write())
    assert volume(db, Side.IN, MINUTE).series == 2
    assert volume(db, Side.IN, MINUTE, [DropMetric("b"), DropLogs("svc", 8)]).prom_series == 4
    assert volume(db, Side.IN, MINUTE, [DropLogs("svc", 8)]).series == 0
    assert volume(db, Side.IN, MINUTE, []).series == 0


def test_logs_are_counted_by_service_and_severity(store: Store) -> None:
    store.logs("cart", 5, 600)
    store.logs("cart", 9, 60)
    seen = profile(open_tap(store.write()), Side.IN, MINUTE)
    assert [(row.service, row.severity_number, row.records_per_second) for row in seen.logs] == [("cart", 5, 10.0), ("cart", 9, 1.0)]


def test_losses_are_the_gateways_own_words(store: Store) -> None:
    store.series("a")
    root = store.write()
    assert tap_losses(open_tap(root), MINUTE) is None
    store.series("otelcol_process_uptime")
    store.write("self")
    assert tap_losses(open_tap(root), MINUTE) == 0
    store.series("otelcol_exporter_send_failed_metric_points_total", {"exporter": "otlp/tap_in"}, increase=7.0)
    store.series("otelcol_exporter_enqueue_failed_log_records_total", {"exporter": "otlp/tap_out"}, increase=2.0)
    store.series("otelcol_exporter_send_failed_metric_points_total", {"exporter": "otlp/backend"}, increase=100.0)
    store.write("self")
    assert tap_losses(open_tap(root), MINUTE) == 9


def test_no_segments_are_empty_views_with_the_right_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"segments": []}')
    db = open_tap(tmp_path)
    for table in ("points", "logs", "log_counts", "spans", "span_counts"):
        columns = [c[0] for c in db.execute(f"SELECT * FROM {table}").description or []]
        assert columns == [*TABLES[table], "gateway", "side"]
    assert db.execute("SELECT count(*) FROM series_kv").fetchone() == (0,)
    assert bucket_seconds(db) == 1


def test_a_data_folder_is_as_good_as_its_segments(store: Store, tmp_path: Path) -> None:
    inner = Store(tmp_path / "segments")
    inner.series("a")
    inner.write()
    assert names(profile(open_tap(tmp_path), Side.IN, MINUTE).metrics) == ["a"]


def test_no_store_and_a_damaged_manifest_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no segments"):
        open_tap(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(Broken, match="damaged"):
        open_tap(tmp_path)


def test_hostile_names_are_data(store: Store) -> None:
    hostile = "a'; DROP TABLE points; --"
    store.series(hostile, {"k": "'"})
    db = open_tap(store.write())
    assert names(profile(db, Side.IN, MINUTE).metrics) == [hostile]
    assert volume(db, Side.IN, MINUTE, [DropMetric(hostile)]).series == 1
