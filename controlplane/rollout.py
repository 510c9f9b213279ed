"""The deployment's table: (state, event) → state. Success is *this* bundle's hash reported applied, by gateways that are healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from flowgate.fleet import ConfigStatus, Deployment, DeploymentState, GatewayReport


class Event(Enum):
    """What the reports of a group say about one bundle."""

    NONE_YET = "no gateway has reported this bundle"
    SOME_APPLYING = "not every gateway has applied it and is healthy"
    ALL_APPLIED = "every gateway has applied it and is healthy"
    ONE_FAILED = "a gateway refused it"
    SUPERSEDED = "the group was given another bundle before every gateway had applied this one"


class IllegalMove(ValueError):
    """An event that cannot happen in a state."""


_OFFERED, _APPLYING, _APPLIED, _FAILED = (
    DeploymentState.OFFERED,
    DeploymentState.APPLYING,
    DeploymentState.APPLIED,
    DeploymentState.FAILED,
)
MOVES: Mapping[tuple[DeploymentState, Event], DeploymentState] = {
    (_OFFERED, Event.NONE_YET): _OFFERED,
    (_OFFERED, Event.SOME_APPLYING): _APPLYING,
    (_OFFERED, Event.ALL_APPLIED): _APPLIED,
    (_OFFERED, Event.ONE_FAILED): _FAILED,
    (_OFFERED, Event.SUPERSEDED): _FAILED,
    (_APPLYING, Event.NONE_YET): _APPLYING,
    (_APPLYING, Event.SOME_APPLYING): _APPLYING,
    (_APPLYING, Event.ALL_APPLIED): _APPLIED,
    (_APPLYING, Event.ONE_FAILED): _FAILED,
    (_APPLYING, Event.SUPERSEDED): _FAILED,
}
FINAL = frozenset({_APPLIED, _FAILED})


@dataclass(frozen=True, slots=True)
class Reading:
    """An event with its reason."""

    event: Event
    reason: str


def read(bundle_hash: bytes, gateways: Sequence[str], reports: Mapping[str, GatewayReport]) -> Reading:
    """What the reports say about a bundle that all `gateways` should run."""
    ours = {g: r for g in gateways if (r := reports.get(g)) is not None and r.config_hash == bundle_hash}
    failed = next((g for g, r in ours.items() if r.config_status is ConfigStatus.FAILED), None)
    if failed is not None:
        return Reading(Event.ONE_FAILED, f"{failed}: {ours[failed].config_error or 'no reason given'}")
    if not ours:
        return Reading(Event.NONE_YET, Event.NONE_YET.value)
    done = [g for g, r in ours.items() if r.config_status is ConfigStatus.APPLIED and r.healthy is True]
    if len(done) == len(gateways):
        return Reading(Event.ALL_APPLIED, Event.ALL_APPLIED.value)
    return Reading(Event.SOME_APPLYING, f"{len(done)} of {len(gateways)} gateways applied it and are healthy")


def superseded(by: bytes) -> Reading:
    """What an open deployment reads when its group is given the bundle with hash `by`."""
    return Reading(Event.SUPERSEDED, f"{Event.SUPERSEDED.value}: {by.hex()}")


def step(deployment: Deployment, reading: Reading, now: datetime) -> Deployment:
    """The deployment after the reading. A finished one does not move: `IllegalMove`."""
    try:
        state = MOVES[deployment.state, reading.event]
    except KeyError:
        raise IllegalMove(f"{reading.event.name} cannot happen while {deployment.state.value}") from None
    finished = now if state in FINAL else None
    return replace(deployment, state=state, reason=reading.reason, finished=finished)
