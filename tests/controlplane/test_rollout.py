"""Success is this bundle's hash, applied and healthy, on every gateway; nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.rollout import FINAL, MOVES, Event, IllegalMove, Reading, read, step
from flowgate.fleet import ConfigStatus, Deployment, DeploymentState, GatewayReport
from flowgate.ids import DEFAULT_ORG, DeploymentId, GatewayId, GroupId, TemplateId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS, OLD = b"n" * 32, b"o" * 32
APPLIED, APPLYING, FAILED = ConfigStatus.APPLIED, ConfigStatus.APPLYING, ConfigStatus.FAILED


def report(digest: bytes | None, status: ConfigStatus | None, healthy: bool | None) -> GatewayReport:
    return GatewayReport(DEFAULT_ORG, GatewayId("g"), "00", True, NOW, config_hash=digest, config_status=status, healthy=healthy)


@pytest.mark.parametrize(
    ("one", "two", "event"),
    [
        ((OURS, APPLIED, True), (OURS, APPLIED, True), Event.ALL_APPLIED),
        ((OURS, APPLIED, True), (OURS, APPLIED, False), Event.SOME_APPLYING),
        ((OURS, APPLIED, True), (OURS, APPLIED, None), Event.SOME_APPLYING),
        ((OURS, APPLIED, True), (OURS, APPLYING, True), Event.SOME_APPLYING),
        ((OURS, APPLIED, True), (OLD, APPLIED, True), Event.SOME_APPLYING),
        ((OLD, APPLIED, True), (OLD, APPLIED, True), Event.NONE_YET),
        ((OLD, FAILED, True), (None, None, None), Event.NONE_YET),
        ((OURS, FAILED, True), (OURS, APPLIED, True), Event.ONE_FAILED),
        ((OLD, APPLIED, True), (OURS, FAILED, None), Event.ONE_FAILED),
    ],
)
def test_reports_are_read_against_this_hash(one: tuple[object, ...], two: tuple[object, ...], event: Event) -> None:
    reports = {"a": report(*one), "b": report(*two)}  # type: ignore[arg-type]
    assert read(OURS, ["a", "b"], reports).event is event


def test_a_gateway_that_never_reported_holds_success_back() -> None:
    assert read(OURS, ["a", "b"], {"a": report(OURS, APPLIED, True)}).event is Event.SOME_APPLYING


@pytest.mark.parametrize("state", list(DeploymentState))
@pytest.mark.parametrize("event", list(Event))
def test_every_state_and_event_is_a_move_or_illegal(state: DeploymentState, event: Event) -> None:
    deployment = Deployment(DEFAULT_ORG, DeploymentId("d"), GroupId("g"), TemplateId("t"), 1, OURS, state, "", NOW, None)
    reading = Reading(event, "why")
    if (state, event) in MOVES:
        moved = step(deployment, reading, NOW + timedelta(seconds=1))
        assert moved.reason == "why"
        assert (moved.finished is not None) == (moved.state in FINAL)
    else:
        with pytest.raises(IllegalMove):
            step(deployment, reading, NOW)


def test_a_finished_deployment_does_not_move() -> None:
    assert not any(state in FINAL for state, _ in MOVES)
