"""OpAMP facts → gateway reports. Nothing is inferred: what was not reported stays None."""

from __future__ import annotations

from datetime import UTC, datetime

from flowgate.fleet import ConfigStatus, GatewayReport
from flowgate.ids import GatewayId, OrgId
from opamp import AgentState, Health

MAX_EFFECTIVE_CONFIG = 512 * 1024


def report_of(org: OrgId, gateway: GatewayId, state: AgentState, connected: bool, now: datetime) -> GatewayReport:
    """Everything an agent has reported, in the fleet's words."""
    identifying = state.identifying or {}
    described = state.identifying is not None or state.non_identifying is not None
    health, config = state.health, state.config
    return GatewayReport(
        org,
        gateway,
        state.instance_uid.hex(),
        connected,
        now,
        agent_version=identifying.get("service.version"),
        description={**(state.non_identifying or {}), **identifying} if described else None,
        capabilities=state.capabilities or None,
        config_hash=config.hash if config and config.hash else None,
        config_status=ConfigStatus(config.state) if config else None,
        config_error=(config.error or None) if config else None,
        healthy=health.healthy if health else None,
        health_status=(health.status or None) if health else None,
        health_error=(health.last_error or None) if health else None,
        started=_started(health),
        effective_config=_effective(state),
        components=_components(state),
    )


def _started(health: Health | None) -> datetime | None:
    """None: not reported, or reported as not running."""
    if health is None or health.start_time_ns == 0:
        return None
    return datetime.fromtimestamp(health.start_time_ns / 1e9, UTC)


def _effective(state: AgentState) -> str | None:
    if state.effective is None:
        return None
    text = "\n---\n".join(body.decode(errors="replace") for _, body in sorted(state.effective.items()))
    return text[:MAX_EFFECTIVE_CONFIG]


def _components(state: AgentState) -> tuple[str, ...] | None:
    if state.components is None:
        return None
    return tuple(sorted(f"{kind}/{name}" for kind, names in state.components.items() for name in names))
