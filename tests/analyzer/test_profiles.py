"""What a profile says beyond counts: intervals, churn, the window before, owners, dependencies, shapes, attributes, twins, history."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from analyzer import shapes
from analyzer.profiler import LABELS_FROM_SERIES, OWNERS, history, label_tables, profile
from analyzer.reader import open_tap
from bench.advise_data import write_segments
from flowgate.actions import Label
from flowgate.advice import MetricProfile, Owner, Profile, Twin
from flowgate.ids import GatewayId
from flowgate.money import Volume
from flowgate.telemetry import Side, Signal, Window
from tests.analyzer.store import MINUTE, T0, Store
from tests.house.seeds import FIXED_AND_FRESH, count, seed_of

SECOND_MINUTE = Window(MINUTE.end, MINUTE.end + timedelta(seconds=60))
NAIVE = T0.replace(tzinfo=None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def sent(store: Store, seconds: Sequence[float], metric: str = "a", labels: Mapping[str, str] | None = None, **more: Any) -> None:
    """One series with a point at each of these seconds, each in the bucket of 5 s that it falls in."""
    values = more.pop("values", [float(k) for k in range(len(seconds))])
    store.series(metric, labels, at=T0, **more)
    store.rows["points"].pop()
    for at, value in zip(seconds, values, strict=True):
        moment = NAIVE + timedelta(seconds=at)
        store.rows["points"].append(
            {
                "series_id": store._series, "bucket": NAIVE + timedelta(seconds=at - at % 5), "count": 1, "first_time": moment, "last_time": moment,
                "first": value, "last": value, "increase": 0.0, "min": value, "max": value, "bytes": 50, "exemplars": 0,
            }
        )  # fmt: skip


def reaching(store: Store, seconds: int) -> Path:
    """Seals, and says that the segment reaches so far."""
    root = store.write()
    store.segments[-1]["end"] = (T0 + timedelta(seconds=seconds)).isoformat()
    (root / "manifest.json").write_text(json.dumps({"segments": store.segments}))
    return root


def seen(root: Path, window: Window = MINUTE, gateway: str | None = None) -> Profile:
    return profile(open_tap(root), Side.IN, window, GatewayId(gateway) if gateway else None)


def only(found: Profile) -> MetricProfile:
    (metric,) = found.metrics
    return metric


# --- intervals and churn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1, 5, 15, 20])
def test_the_interval_is_the_time_between_points_whatever_the_buckets(store: Store, interval: int) -> None:
    for k in range(3):
        sent(store, [s + k / 10 for s in range(0, 60, interval)], labels={"k": str(k)})
    assert only(seen(store.write())).interval_seconds == pytest.approx(interval)


def test_points_that_share_a_bucket_are_counted_apart(store: Store) -> None:
    """As the tap stores them: 5 points a second apart are one row."""
    store.series("a", points=5)
    store.rows["points"][-1] |= {"count": 5, "last_time": NAIVE + timedelta(seconds=4)}
    assert only(seen(store.write())).interval_seconds == 1.0


def test_one_point_has_no_interval_and_so_no_end(store: Store) -> None:
    sent(store, [3])
    metric = only(seen(store.write()))
    assert (metric.interval_seconds, metric.born, metric.ended, metric.previous) == (None, None, None, None)


def test_what_began_late_was_born_and_what_stopped_early_has_ended(store: Store) -> None:
    sent(store, range(0, 60, 5), labels={"k": "always"})
    sent(store, range(30, 60, 5), labels={"k": "born"})
    sent(store, range(0, 30, 5), labels={"k": "ended"})
    sent(store, range(20, 40, 5), labels={"k": "both"})
    metric = only(seen(store.write()))
    assert (metric.interval_seconds, metric.born, metric.ended) == (5.0, 2, 2)


def test_a_metric_that_starts_late_as_a_whole_is_no_churn_while_what_was_before_is_not_known(store: Store) -> None:
    sent(store, range(0, 60, 5), "there")
    for k in range(3):
        sent(store, range(30, 60, 5), "late", {"k": str(k)})
    assert {m.metric: m.born for m in seen(store.write()).metrics} == {"there": 0, "late": 0}


def test_with_the_window_before_a_series_was_born_if_it_was_not_in_it(store: Store) -> None:
    sent(store, range(0, 120, 5), labels={"k": "always"})
    sent(store, range(60, 120, 5), labels={"k": "born"})
    sent(store, range(0, 60, 5), labels={"k": "gone"})
    found = seen(reaching(store, 120), SECOND_MINUTE)
    metric = only(found)
    assert metric.born == 1
    assert metric.ended == 0
    assert metric.previous == Volume(2, 2, 24 / 60, 1200 / 60, 24 / 60)
    assert metric.volume == metric.previous
    assert "previous" not in {u.what for u in found.untold}


def test_a_metric_that_is_new_had_nothing_before(store: Store) -> None:
    sent(store, range(0, 120, 5), "old")
    sent(store, range(60, 120, 5), "new")
    found = {m.metric: m for m in seen(reaching(store, 120), SECOND_MINUTE).metrics}
    assert found["new"].previous == Volume()
    assert found["new"].born == 1
    assert found["old"].born == 0


def test_a_window_before_that_was_not_seen_whole_is_none(store: Store) -> None:
    sent(store, range(0, 120, 5))
    later = Window(T0 + timedelta(seconds=55), T0 + timedelta(seconds=115))
    found = seen(reaching(store, 120), later)
    assert only(found).previous is None
    assert "previous" in {u.what for u in found.untold}


@pytest.mark.parametrize(("away", "whole"), [((20, 60), False), ((0, 30), False), ((25, 55), False), ((25, 35), True)])
def test_a_tap_that_was_away_in_the_window_before_is_no_rise(store: Store, away: tuple[int, int], whole: bool) -> None:
    """Nothing of anything for over three intervals: then the window before tells nothing."""
    for k in range(3):
        sent(store, [s for s in range(0, 120, 5) if not away[0] <= s < away[1]], labels={"k": str(k)})
    found = seen(reaching(store, 120), SECOND_MINUTE)
    assert (only(found).previous is not None) is whole
    assert ("previous" in {u.what for u in found.untold}) is not whole
    assert only(found).born == 0


# --- owners, bounds, samples -----------------------------------------------------------------------------------------------------


def test_owners_are_services_scopes_and_namespaces(store: Store) -> None:
    for k in range(3):
        sent(
            store,
            [0, 5],
            labels={"k": str(k)},
            resource={"service.name": "cart", "k8s.namespace.name": "shop", "service.namespace": "not this"},
        )
    sent(store, [0], labels={"k": "9"}, resource={"service.name": "ads", "service.namespace": "market"})
    sent(store, [0], labels={"k": "10"})
    metric = only(seen(store.write()))
    assert [(o.service, o.scope, o.namespace, o.volume.series) for o in metric.owners] == [
        ("cart", "", "shop", 3), ("", "", "", 1), ("ads", "", "market", 1),
    ]  # fmt: skip
    assert sum((o.volume for o in metric.owners), Volume()).points_per_second == pytest.approx(metric.volume.points_per_second)
    assert metric.owners[0] == Owner("cart", "", "shop", Volume(3, 3, 0.1, 5.0, 0.1))


def test_only_the_largest_owners_are_named(store: Store) -> None:
    for k in range(OWNERS + 5):
        sent(store, [0], resource={"service.name": f"s{k:03d}"})
    assert [o.service for o in only(seen(store.write())).owners] == [f"s{k:03d}" for k in range(OWNERS)]


def test_a_histograms_buckets_are_counted_where_series_agree_and_never_named(store: Store) -> None:
    for name, sizes in {"agree": (13, 13), "differ": (13, 14), "gauge": (1, 1)}.items():
        for k, size in enumerate(sizes):
            store.series(name, {"k": str(k)}, kind="gauge" if name == "gauge" else "histogram", prom_series=size)
    found = seen(store.write())
    assert {m.metric: m.buckets for m in found.metrics} == {"agree": 10, "differ": None, "gauge": None}
    assert all(m.bounds == () for m in found.metrics)
    assert "bounds" in {u.what for u in found.untold}


def test_samples_are_counted_series_by_series(store: Store) -> None:
    store.series("a", {"k": "1"}, prom_series=10, points=6, kind="histogram")
    store.series("a", {"k": "2"}, prom_series=1, points=60, kind="histogram")
    assert only(seen(store.write())).volume.samples_per_second == 2.0


# --- labels ----------------------------------------------------------------------------------------------------------------------


def pods(store: Store, series: int = LABELS_FROM_SERIES) -> MetricProfile:
    for k in range(series):
        labels = {"status": str(k % 3), "class": "ok" if k % 3 < 2 else "bad", "user": hashlib.md5(str(k).encode()).hexdigest()}
        resource = {"pod": f"p{k % 10}", "node": f"n{k % 2}", "region": "eu"}
        store.series("a", labels, resource=resource, points=6)
    return only(seen(store.write()))


def test_labels_that_follow_from_others_say_from_which_and_how_often_it_was_tested(store: Store) -> None:
    found = {label.label: label for label in pods(store).labels}
    assert found["class"].determined_by == (Label("point", "status"),)
    assert found["node"].determined_by == (Label("resource", "pod"),)
    assert (found["node"].determined_tested, found["class"].determined_tested) == (50, 50)
    assert (found["region"].constant, found["node"].constant) == (True, False)
    assert found["user"].determined_by == ()
    assert (found["user"].series_without, found["user"].series_with) == (30, 50)
    assert found["pod"].determined_by == (Label("point", "user"),)
    assert found["pod"].determined_tested == 0


def test_shapes_are_of_labels_with_enough_values(store: Store) -> None:
    found = {label.label: label for label in pods(store).labels}
    assert (found["user"].shape, found["user"].shape_share) == ("hash", 1.0)
    assert (found["status"].shape, found["status"].shape_share) == (None, 0.0)


def test_without_the_library_no_label_has_a_shape_and_it_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "available", lambda: False)
    assert all(label.shape is None for label in pods(store).labels)
    assert "shape" in {u.what for u in seen(store.root).untold}


@pytest.mark.parametrize(
    ("key", "value"),
    [("k", "v"), ("k" * 200, "v" * 300), ("ключ", "значение"), ("k", ""), ("k", "v" * 20_000), ("k", "x" * 127), ("k", "x" * 126)],
)
def test_bytes_of_a_label_are_those_of_its_protobuf(store: Store, key: str, value: str) -> None:
    """An element of a repeated field: 6 points in a minute of 50 series."""
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {key: value, "n": str(k)}, points=6)
    found = {label.label: label.bytes_per_second for label in only(seen(store.write())).labels}
    one = Resource(attributes=[KeyValue(key=key, value=AnyValue(string_value=value))])
    assert found[key] == pytest.approx(one.ByteSize() * 50 * 6 / 60)


def test_scopes_are_not_merged_when_a_label_goes(store: Store) -> None:
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {"k": str(k % 25)})
        store.rows["series"][-1]["scope"] = f"scope{k // 25}"
    (label,) = only(seen(store.write())).labels
    assert (label.distinct, label.series_without) == (25, 2)


def test_series_that_only_the_tap_tells_apart_stay_apart(store: Store) -> None:
    """Two versions of a scope: the segments do not say what differs, so nothing makes one of them."""
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {"k": str(k // 2)})
    (label,) = only(seen(store.write())).labels
    assert (label.distinct, label.series_without) == (25, 2)


def test_a_key_value_that_no_segment_describes_is_left_out(store: Store) -> None:
    for k in range(LABELS_FROM_SERIES):
        store.series("a", {"k": str(k)})
        store.rows["series"][-1]["point_kv"].append(10**15)
    assert [label.label for label in only(seen(store.write())).labels] == ["k"]


def test_the_series_of_one_metric_answer_for_any_set_of_labels(store: Store) -> None:
    pods(store)
    store.series("b", {"z": "1"})
    db = open_tap(store.write())
    (of,) = label_tables(db, Side.IN, MINUTE, ["a"])
    point, resource = (lambda key: Label("point", key)), (lambda key: Label("resource", key))
    assert (of.metric, of.table.left(), of.points.sum()) == ("a", 50, 300)
    assert of.table.left([point("user")]) == 30
    assert of.table.left([point("user"), resource("pod")]) == 6
    assert of.table.left([point("user"), resource("pod"), resource("node"), point("status")]) == 2
    assert {t.metric for t in label_tables(db, Side.IN, MINUTE, ["a", "b", "c"])} == {"a", "b"}


@pytest.mark.parametrize("case", FIXED_AND_FRESH)
def test_series_as_segments_hold_them_answer_as_brute_force_does(store: Store, case: str) -> None:
    """Labels in any order, some absent, several metrics in one store, values and keys shared between them."""
    dice = random.Random(seed_of(case, "segments"))
    metrics: dict[str, list[dict[Label, str]]] = {}
    for k in range(count(25, 200)):
        for _ in range(dice.randrange(1, 40)):
            keys = dice.sample(["a", "b", "c", "d"], dice.randrange(5))
            labels = {key: str(dice.randrange(4)) for key in keys}
            resource = {key: str(dice.randrange(3)) for key in dice.sample(["a", "r"], dice.randrange(3))}
            store.series(f"m{k}", labels, resource=resource)
            one = {Label("point", key): v for key, v in labels.items()} | {Label("resource", key): v for key, v in resource.items()}
            metrics.setdefault(f"m{k}", []).append(one)
    found = label_tables(open_tap(store.write()), Side.IN, MINUTE, list(metrics))
    assert len(found) == len(metrics)
    for of in found:
        series = metrics[of.metric]
        assert of.table.left() == len(series)
        assert frozenset(of.table.labels) == {label for one in series for label in one}
        for label in of.table.labels:
            assert of.table.carrying(label) == sum(label in one for one in series)
            assert of.table.values(label) == len({one[label] for one in series if label in one})
        copies = Counter(frozenset(one.items()) for one in series)
        gone = frozenset(dice.sample(of.table.labels, dice.randrange(len(of.table.labels) + 1)))
        # Copies of one label set are told apart by nothing here, and so each is one of a kind of its own.
        kinds = {(frozenset((k, v) for k, v in one if k not in gone), n) for one, many in copies.items() for n in range(many)}
        assert of.table.left(gone) == (len(kinds) if gone else len(series))


# --- resources -------------------------------------------------------------------------------------------------------------------


def test_attributes_of_resources_cost_once_an_export(store: Store) -> None:
    for k in range(4):
        resource = {"service.name": "s", "pod": f"pod-{k}", "node": f"node-{k // 2}"}
        sent(store, range(0, 60, 5), "a", resource=resource)
        sent(store, range(0, 60, 10), "b", resource=resource)
    found = {a.key: a for a in seen(store.write()).resource_attributes}
    size = Resource(attributes=[KeyValue(key="pod", value=AnyValue(string_value="pod-0"))]).ByteSize()
    assert found["pod"].bytes_per_second == pytest.approx(4 * 12 * size / 60)
    assert (found["pod"].distinct, found["pod"].resources, found["pod"].series) == (4, 4, 8)
    assert (found["service.name"].constant, found["node"].constant) == (True, False)
    assert (found["node"].determined_by, found["node"].determined_tested) == (("pod",), 0)
    assert (found["service.name"].determined_by, found["service.name"].determined_tested) == (("node",), 4)


# --- logs and spans --------------------------------------------------------------------------------------------------------------


def log(store: Store, service: str, attributes: str, weight: float = 1.0, size: int = 100, at: float = 0.0) -> None:
    store.rows["logs"].append(
        {
            "time": NAIVE + timedelta(seconds=at), "service": service, "severity_number": 9, "severity_text": "INFO", "body": "b",
            "attributes": attributes, "trace_id": "", "span_id": "", "bytes": size, "weight": weight,
        }
    )  # fmt: skip


def span(store: Store, name: str, status: int, attributes: str = "{}", service: str = "s") -> None:
    store.rows["spans"].append(
        {
            "time": NAIVE, "service": service, "name": name, "kind": 2, "trace_id": "", "span_id": "", "parent_span_id": "", "duration_ns": 1,
            "status": status, "attributes": attributes, "bytes": 200, "weight": 1.0,
        }
    )  # fmt: skip
    store.rows["span_counts"].append({"bucket": NAIVE, "service": service, "name": name, "kind": 2, "count": 1, "bytes": 200})


def test_attributes_of_logs_are_estimated_from_weighted_samples(store: Store) -> None:
    log(store, "cart", json.dumps({"stack": "x" * 500, "small": 1}), weight=4, size=600)
    log(store, "cart", json.dumps({"small": 22}), weight=2, size=100)
    log(store, "cart", "not json", weight=1, size=50)
    log(store, "cart", json.dumps({"late": 1}), at=60)
    found = {a.key: a for a in seen(store.write()).attributes}
    assert set(found) == {"stack", "small"}
    stack, small = found["stack"], found["small"]
    assert (stack.signal, stack.service, stack.sampled, stack.longest, stack.mean_bytes) == (Signal.LOGS, "cart", 1, 500, 500.0)
    assert stack.share == pytest.approx(4 / 7)
    assert stack.bytes_per_second == pytest.approx(4 * 505 / 60)
    assert stack.bytes_share == pytest.approx(4 * 505 / (4 * 600 + 2 * 100 + 50))
    assert small.mean_bytes == pytest.approx((4 * 1 + 2 * 2) / 6)


def test_attributes_of_spans_have_a_shape_and_failed_spans_a_share(store: Store) -> None:
    for k in range(20):
        span(store, "GET", 2 if k < 5 else 0, json.dumps({"db.statement": f"SELECT * FROM orders WHERE id = {k}", "odd.'key\"": "v"}))
    span(store, "health", 0)
    found = seen(store.write())
    assert {(a.signal, a.key): a.shape for a in found.attributes} == {
        (Signal.TRACES, "db.statement"): "sql",
        (Signal.TRACES, "odd.'key\""): None,
    }
    assert {s.name: s.failed_share for s in found.spans} == {"GET": 0.25, "health": 0.0}


def test_spans_that_were_not_sampled_have_no_share_that_failed(store: Store) -> None:
    span(store, "GET", 2)
    store.rows["spans"].clear()
    assert [s.failed_share for s in seen(store.write()).spans] == [None]


def test_logs_and_spans_know_the_window_before(store: Store) -> None:
    for minute, sent_then in ((0, 60), (1, 600)):
        at = NAIVE + timedelta(seconds=60 * minute)
        store.rows["log_counts"].append({"bucket": at, "service": "s", "severity_number": 5, "count": sent_then, "bytes": 1})
        store.rows["span_counts"].append({"bucket": at, "service": "s", "name": f"n{minute}", "kind": 2, "count": sent_then, "bytes": 1})
    root = reaching(store, 120)
    assert [(row.records_per_second, row.previous_per_second) for row in seen(root, SECOND_MINUTE).logs] == [(10.0, 1.0)]
    assert [(s.name, s.previous_per_second) for s in seen(root, SECOND_MINUTE).spans] == [("n1", 0.0)]
    assert [row.previous_per_second for row in seen(root).logs] == [None]


# --- twins -----------------------------------------------------------------------------------------------------------------------


def test_twins_meet_on_the_same_label_sets(store: Store) -> None:
    dice = np.random.default_rng(1)
    for k in range(3):
        values = dice.integers(1, 1000, 12).astype(float).tolist()
        for name, unit in (("a", "1"), ("b", "By")):
            sent(store, range(0, 60, 5), name, {"k": str(k)}, resource={"service.name": "s"}, unit=unit, values=values)
        sent(store, range(0, 60, 5), "c", {"k": str(k)}, resource={"service.name": "other"}, values=values)
    assert seen(store.write()).twins == (Twin("b", "equal", ("a",), 36, 3),)


def grid(store: Store, *, off: float = 0.0) -> None:
    """`fine` by k and path, `coarse` by k alone; `off` is added to one value of `coarse`."""
    dice = np.random.default_rng(1)
    for k in range(3):
        parts = [dice.integers(1, 1000, 12).astype(float) for _ in range(4)]
        for path, values in enumerate(parts):
            sent(store, range(0, 60, 5), "fine", {"path": str(path), "k": str(k)}, resource={"service.name": "s"}, values=values.tolist())
        whole = sum(parts[1:], parts[0])
        whole[k] += off
        sent(store, range(0, 60, 5), "coarse", {"k": str(k)}, resource={"service.name": "s"}, values=whole.tolist())


def test_a_metric_that_is_another_summed_over_a_label_is_found(store: Store) -> None:
    grid(store)
    sent(store, range(0, 60, 5), "else", {"k": "1"}, values=[float(k * k + 1) for k in range(12)])
    assert seen(store.write()).twins == (Twin("coarse", "aggregate", ("fine",), 36, 3, (Label("point", "path"),)),)


def test_one_sum_that_is_off_is_no_aggregate(store: Store) -> None:
    grid(store, off=1.0)
    assert seen(store.write()).twins == ()


def test_sums_that_are_the_same_by_chance_of_the_whole_are_looked_at_label_set_by_label_set(store: Store) -> None:
    """The same total in every bucket, spread otherwise over k."""
    values = [float(k + 1) for k in range(12)]
    for k in range(3):
        sent(store, range(0, 60, 5), "coarse", {"k": str(k)}, values=[v * (k + 1) for v in values])
        for path in range(2):
            sent(store, range(0, 60, 5), "fine", {"k": str(k), "path": str(path)}, values=values)
    assert [t.relation for t in seen(store.write()).twins] == []


def test_values_that_are_none_are_not_compared(store: Store) -> None:
    for name in ("a", "b"):
        sent(store, range(0, 60, 5), name, values=[float("nan")] * 12)
    found = seen(store.write())
    assert found.twins == ()
    assert "2 metric(s)" in next(u.reason for u in found.untold if u.what == "twins")


# --- history ---------------------------------------------------------------------------------------------------------------------


def test_history_is_of_whole_days(store: Store) -> None:
    hours = [at for day in range(3) for at in range(86_400 * day, 86_400 * day + (3600 * 24 if day < 2 else 3600 * 20), 3600)]
    sent(store, hours, "a")
    sent(store, hours[:24], "b")
    db = open_tap(reaching(store, 3 * 86_400))
    found = history(db, Side.IN, Window(T0, T0 + timedelta(days=3)))
    first, second = date(2026, 1, 1), date(2026, 1, 2)
    day = Volume(1, 1, 24 / 86_400, 24 * 50 / 86_400, 24 / 86_400)
    assert found == {"a": {first: day, second: day}, "b": {first: day, second: Volume()}}


# --- together --------------------------------------------------------------------------------------------------------------------


def test_what_is_planted_in_many_segments_is_found(tmp_path: Path) -> None:
    planted = write_segments(tmp_path, 20_000, 300)
    found = seen(tmp_path, planted.window)
    assert [m.metric for m in found.metrics] == sorted(planted.metrics)
    assert sum(m.volume.series for m in found.metrics) == planted.series == 20_000
    pairs = {frozenset((t.metric, *t.of)) for t in found.twins if t.relation == "equal"}
    assert pairs == {frozenset(pair) for pair in planted.twins}
    wide = [m for m in found.metrics if m.metric in planted.explosive and m.volume.series >= 400]
    assert wide
    for metric in wide:
        label = metric.labels[0]
        assert (label.label, label.shape, label.series_without) == ("user_id", "uuid", 20)
    assert {m.interval_seconds for m in found.metrics} == {15.0}


def test_two_profiles_at_once_do_not_mix(store: Store) -> None:
    """Both over one connection: each has tables of its own."""
    sent(store, [0, 5], "a")
    sent(store, [0], "b")
    db = open_tap(store.write())
    both = [profile(db, Side.IN, MINUTE), profile(db, Side.OUT, MINUTE), profile(db, Side.IN, MINUTE)]
    assert [len(p.metrics) for p in both] == [2, 0, 2]
    assert both[0] == both[2]


def test_an_empty_store_has_an_empty_profile(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"segments": []}')
    found = seen(tmp_path)
    assert (found.metrics, found.logs, found.spans, found.resource_attributes, found.twins, found.attributes) == ((),) * 6
