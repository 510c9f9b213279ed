"""Use cases keep one truth per group, whatever happens between a check and its save."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from controlplane import handlers
from controlplane.collector import Collector
from controlplane.handlers import Tools, whole_buckets
from controlplane.ports import Analysis
from controlplane.render.conflicts import conflicts
from controlplane.yaml import load_config
from flowgate.actions import AggregateLabels, DropMetric, Label
from flowgate.errors import Conflict, Invalid, Problem
from flowgate.fleet import ConfigStatus, DeploymentState, GatewayReport, TemplateVersion
from flowgate.ids import DEFAULT_ORG, AnalysisId, DeploymentId, GatewayId, GroupId, TemplateId
from flowgate.telemetry import Window
from tests.fakes import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = (Path(__file__).resolve().parents[2] / "gateway" / "base.yaml").read_text()
G, DEFAULT = GatewayId("g"), GroupId("default")


class Judge(Collector):
    """Accepts everything, and lets something else happen while it is asked."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def version(self) -> str:
        return "a judge of the tests"

    def validate(self, config: bytes) -> list[Problem]:
        type(self).meanwhile()
        return []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    ids = count()
    made = Tools(MemoryStore(), Judge(Path()), tmp_path, tmp_path / "tap-tokens.json", lambda: f"id{next(ids)}", lambda: NOW)
    with made.store.begin() as work:
        work.add_org(DEFAULT_ORG)
        for number, name in enumerate(("idle", "other"), 1):
            work.add_template_version(TemplateVersion(DEFAULT_ORG, TemplateId("t"), number, (DropMetric(name),), NOW, "me", None))
        advised = [{"actions": [{"type": "drop_metric", "metric": name}]} for name in ("idle", "other")]
        result = {"usage_digest": handlers.usage_digest([]), "recommendations": advised, "used": []}
        work.put_analysis(Analysis(DEFAULT_ORG, AnalysisId("advice"), "done", None, NOW, NOW, NOW, result))
        work.commit()
    handlers.ensure_default_group(made, DEFAULT_ORG, BASE)
    handlers.register_gateway(made, DEFAULT_ORG, "g", "default")
    return made


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Once: what happens must not set itself off again."""

    def once() -> None:
        monkeypatch.setattr(Judge, "meanwhile", staticmethod(lambda: None))
        happens()

    monkeypatch.setattr(Judge, "meanwhile", staticmethod(once))


def state(tools: Tools, deployment: DeploymentId) -> tuple[DeploymentState, str]:
    with tools.store.begin() as work:
        found = work.deployment(DEFAULT_ORG, deployment)
    return found.state, found.reason


def test_a_deployment_that_is_overtaken_ends_and_says_by_what(tools: Tools) -> None:
    first = handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    second = handlers.deploy(tools, DEFAULT_ORG, "t", 2, "default")
    ended, reason = state(tools, first.id)
    assert ended is DeploymentState.FAILED
    assert second.bundle_hash.hex() in reason
    assert state(tools, second.id)[0] is DeploymentState.OFFERED


def test_a_new_base_config_ends_an_open_deployment(tools: Tools) -> None:
    first = handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    handlers.put_base_config(tools, DEFAULT_ORG, "default", BASE.replace("collection_interval: 1s", "collection_interval: 2s"))
    assert state(tools, first.id)[0] is DeploymentState.FAILED


def test_the_same_bundle_again_ends_nothing(tools: Tools) -> None:
    first = handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    handlers.put_base_config(tools, DEFAULT_ORG, "default", BASE)
    assert state(tools, first.id)[0] is DeploymentState.OFFERED


def test_a_finished_deployment_is_not_touched_by_the_next(tools: Tools) -> None:
    first = handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    done = GatewayReport(DEFAULT_ORG, G, "00", True, NOW, config_hash=first.bundle_hash, config_status=ConfigStatus.APPLIED, healthy=True)
    handlers.on_report(tools, done)
    handlers.deploy(tools, DEFAULT_ORG, "t", 2, "default")
    assert state(tools, first.id)[0] is DeploymentState.APPLIED


def test_what_was_checked_against_an_old_base_is_not_offered(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = BASE.replace("collection_interval: 1s", "collection_interval: 2s")
    meanwhile(monkeypatch, lambda: handlers.put_base_config(tools, DEFAULT_ORG, "default", changed))
    with pytest.raises(Conflict, match="changed while this was checked"):
        handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default")
    offered = handlers.desired(tools, DEFAULT_ORG, G)
    assert offered is not None
    assert (offered.template, b"2s" in offered.body) == (None, True)
    with tools.store.begin() as work:
        assert list(work.deployments(DEFAULT_ORG)) == []


def test_a_base_that_was_checked_without_the_newest_actions_is_not_kept(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: handlers.deploy(tools, DEFAULT_ORG, "t", 1, "default"))
    with pytest.raises(Conflict):
        handlers.put_base_config(tools, DEFAULT_ORG, "default", BASE.replace("collection_interval: 1s", "collection_interval: 2s"))
    with tools.store.begin() as work:
        group, active = work.group(DEFAULT_ORG, DEFAULT)
    assert (group.base_config, active.template, active.version) == (BASE, "t", 1)


def test_a_start_finds_nobody_connected_and_no_analysis_running(tools: Tools) -> None:
    report = GatewayReport(DEFAULT_ORG, G, "00", True, NOW, healthy=True)
    running = Analysis(DEFAULT_ORG, AnalysisId("a"), "running", None, NOW, NOW + timedelta(minutes=1), NOW)
    done = Analysis(DEFAULT_ORG, AnalysisId("b"), "done", None, NOW, NOW + timedelta(minutes=1), NOW, {"findings": []})
    with tools.store.begin() as work:
        work.put_report(report)
        work.put_analysis(running)
        work.put_analysis(done)
        work.commit()
    handlers.recover(tools)
    with tools.store.begin() as work:
        kept, stopped = work.report(DEFAULT_ORG, G), work.analysis(DEFAULT_ORG, AnalysisId("a"))
        assert work.analysis(DEFAULT_ORG, AnalysisId("b")) == done
    assert kept is not None
    assert (kept.connected, kept.healthy) == (False, True)
    assert stopped.status == "failed"
    assert "stopped" in str(stopped.error)


@pytest.mark.parametrize(
    "window",
    [
        Window(NOW, NOW + timedelta(milliseconds=500)),
        Window(NOW + timedelta(seconds=1), NOW + timedelta(seconds=6)),
        Window(datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_window_without_a_whole_bucket_is_invalid(window: Window) -> None:
    with pytest.raises(Invalid, match="no whole bucket"):
        whole_buckets(window, 5)


def test_labels_of_one_metric_from_several_recommendations_are_one_rule(tools: Tools) -> None:
    listed = [AggregateLabels("m", (Label("point", key),), "sum", 60.0) for key in ("pod", "node")]
    assert len(conflicts(listed)) == 1
    result = handlers.check(tools, BASE, listed)
    rules = load_config(result.bundle.files[0].body.decode())["processors"]["aggregation/flowgate"]["rules"]
    assert rules == [{"metrics": {"names": ["m"]}, "drop_labels": {"point": ["node", "pod"]}, "operator": "sum"}]
