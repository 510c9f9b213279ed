"""The demo judges itself: each promise can fail, and says so."""

import copy
from typing import Any

import pytest

from controlplane.demo.report import checks, planted, protected, within

Json = dict[str, Any]

ANALYSIS: Json = {
    "findings": [{"rule": "high_cardinality_label", "metric": "shop.logins", "label": "user_id"}],
    "used": [{"metric": "shop.orders", "read_by": [{"document": "rules/shop.yaml"}]}],
}
ACTIONS: list[Json] = [
    {"type": "drop_metric", "metric": "shop.idle"},
    {"type": "drop_logs", "service": "cart", "max_severity_number": 8},
]


def item(**fields: object) -> Json:
    return {
        "name": "n",
        "kind": "waste",
        "signal": "metrics",
        "rule": "unused_metric",
        "metric": None,
        "label": None,
        "service": None,
        **fields,
    }


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (item(metric="shop.idle", expected="dropped"), "dropped"),
        (item(metric="shop.other", expected="dropped"), "missed"),
        (item(signal="logs", service="cart", expected="dropped"), "dropped"),
        (item(signal="logs", service="frontend", expected="dropped"), "missed"),
        (item(rule="high_cardinality_label", metric="shop.logins", label="user_id", expected="advised"), "advised"),
        (item(rule="high_cardinality_label", metric="shop.logins", label="pod", expected="advised"), "missed"),
        (item(kind="trap", metric="shop.orders", expected="kept"), "kept"),
        (item(kind="trap", metric="shop.unread", expected="kept"), "not known to be read"),
        (item(kind="trap", metric="shop.idle", expected="kept"), "dropped"),
    ],
)
def test_what_was_found_is_read_off_the_run(truth: Json, found: str) -> None:
    (row,) = planted([truth], ANALYSIS, ACTIONS)
    assert row["found"] == found
    assert row["ok"] == (found == truth["expected"])


def test_a_protected_metric_that_stopped_is_named() -> None:
    rows = protected(ANALYSIS["used"], {"shop.orders": 2.0}, {})
    assert rows == [{"metric": "shop.orders", "read_by": ["rules/shop.yaml"], "flowing": False}]


def test_a_metric_that_never_was_sent_is_not_protected_by_this_run() -> None:
    assert protected(ANALYSIS["used"], {}, {}) == []


@pytest.mark.parametrize(("value", "ok"), [(95.0, True), (105.0, True), (94.9, False), (105.1, False)])
def test_within_is_a_share_of_what_was_wanted(value: float, ok: bool) -> None:
    assert within(value, 100.0, 0.05) is ok


GOOD: Json = {
    "gateway": {"remote_config_status": "applied", "healthy": True},
    "planted": [{"name": str(k), "ok": True} for k in range(20)],
    "predicted": {"series": 100, "prom_series": 200, "points_per_second": 100.0},
    "realised": {"series": 100, "prom_series": 200, "points_per_second": 99.0},
    "backend": {"out_points_per_second": 1000.0, "points_per_second_after": 1010.0},
    "protected": [{"metric": "a", "flowing": True}],
}


def test_a_run_in_which_everything_held_passes() -> None:
    assert all(check.ok for check in checks(GOOD))


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        (("gateway", "remote_config_status"), "failed", "config applied"),
        (("gateway", "healthy"), None, "gateway healthy"),
        (("planted",), GOOD["planted"][:19], "planted"),
        (("planted", 0, "ok"), False, "planted"),
        (("realised", "series"), 94, "realised series"),
        (("realised",), None, "realised"),
        (("predicted", "prom_series"), 0, "realised prom_series"),
        (("backend", "points_per_second_after"), 1021.0, "backend counts what left"),
        (("protected", 0, "flowing"), False, "protected metrics flow"),
        (("protected",), [], "protected metrics flow"),
    ],
)
def test_one_promise_broken_is_one_check_failed(path: tuple[Any, ...], value: object, name: str) -> None:
    run: Any = copy.deepcopy(GOOD)
    at = run
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert [check.name for check in checks(run) if not check.ok] == [name]
