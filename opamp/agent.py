"""An agent's state as a fold over its reports: one small syncer per sub-message, one loop.

Status compression lives here: a sub-message left out of a report leaves what is known untouched; one that is set replaces it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from opamp.events import (
    ComponentsReported,
    ConfigReported,
    ConfigState,
    Described,
    Disconnected,
    EffectiveConfigReported,
    Event,
    Health,
    HealthReported,
    Seen,
)
from opamp.proto.opamp.v1.anyvalue_pb2 import AnyValue, KeyValue
from opamp.proto.opamp.v1.opamp_pb2 import AgentToServer, ComponentHealth
from opamp.wire import Malformed

MAX_HEALTH_DEPTH = 32
MAX_HEALTH_NODES = 5_000
MAX_COMPONENTS = 5_000
_CONFIG_STATES: tuple[ConfigState, ...] = ("unset", "applied", "applying", "failed")


@dataclass(frozen=True, slots=True)
class ConfigReport:
    hash: bytes
    state: ConfigState
    error: str


@dataclass(frozen=True, slots=True)
class AgentState:
    """Everything one agent has reported; None: never reported."""

    instance_uid: bytes
    sequence_num: int | None = None
    capabilities: int = 0
    identifying: Mapping[str, str] | None = None
    non_identifying: Mapping[str, str] | None = None
    health: Health | None = None
    config: ConfigReport | None = None
    effective: Mapping[str, bytes] | None = None
    components_hash: bytes | None = None
    components: Mapping[str, tuple[str, ...]] | None = None


def events_of(report: AgentToServer) -> tuple[Event, ...]:
    """What a report says. Raises `Malformed` when a tree in it is beyond the limits."""
    found: list[Event] = [Seen(report.sequence_num, report.capabilities or None)]
    found.extend(event for sync in _SYNCERS if (event := sync(report)) is not None)
    return tuple(found)


def fold(state: AgentState, events: Iterable[Event]) -> AgentState:
    """The state after the events."""
    for event in events:
        state = _apply(state, event)
    return state


def _apply(state: AgentState, event: Event) -> AgentState:
    match event:
        case Seen(number, capabilities):
            return replace(state, sequence_num=number, capabilities=capabilities or state.capabilities)
        case Described(identifying, non_identifying):
            return replace(state, identifying=identifying, non_identifying=non_identifying)
        case HealthReported(health):
            return replace(state, health=health)
        case ConfigReported(digest, status, error):
            return replace(state, config=ConfigReport(digest, status, error))
        case EffectiveConfigReported(files):
            return replace(state, effective=files)
        case ComponentsReported(digest, components):
            kept = state.components if components is None and digest == state.components_hash else components
            return replace(state, components_hash=digest, components=kept)
        case _:
            return state


# --- one syncer per sub-message ---------------------------------------------------------------------------------------------------


def _description(report: AgentToServer) -> Event | None:
    if not report.HasField("agent_description"):
        return None
    said = report.agent_description
    return Described(_attributes(said.identifying_attributes), _attributes(said.non_identifying_attributes))


def _health(report: AgentToServer) -> Event | None:
    if not report.HasField("health"):
        return None
    return HealthReported(_health_node(report.health, 0, [MAX_HEALTH_NODES]))


def _health_node(node: ComponentHealth, depth: int, left: list[int]) -> Health:
    left[0] -= 1
    if depth >= MAX_HEALTH_DEPTH or left[0] < 0:
        raise Malformed(f"a health tree has at most {MAX_HEALTH_DEPTH} levels and {MAX_HEALTH_NODES} nodes")
    below = {name: _health_node(child, depth + 1, left) for name, child in node.component_health_map.items()}
    return Health(node.healthy, node.status, node.last_error, node.start_time_unix_nano, below)


def _config(report: AgentToServer) -> Event | None:
    if not report.HasField("remote_config_status"):
        return None
    said = report.remote_config_status
    known = 0 <= said.status < len(_CONFIG_STATES)
    state = _CONFIG_STATES[said.status] if known else "unset"
    return ConfigReported(said.last_remote_config_hash, state, said.error_message)


def _effective(report: AgentToServer) -> Event | None:
    if not report.HasField("effective_config"):
        return None
    files = report.effective_config.config_map.config_map
    return EffectiveConfigReported({name: file.body for name, file in files.items()})


def _components(report: AgentToServer) -> Event | None:
    if not report.HasField("available_components"):
        return None
    said = report.available_components
    if not said.components:
        return ComponentsReported(said.hash, None)
    groups = {kind: tuple(sorted(detail.sub_component_map)) for kind, detail in said.components.items()}
    if sum(len(names) for names in groups.values()) > MAX_COMPONENTS:
        raise Malformed(f"at most {MAX_COMPONENTS} components")
    return ComponentsReported(said.hash, groups)


def _goodbye(report: AgentToServer) -> Event | None:
    return Disconnected() if report.HasField("agent_disconnect") else None


_SYNCERS: tuple[Callable[[AgentToServer], Event | None], ...] = (
    _description,
    _health,
    _config,
    _effective,
    _components,
    _goodbye,
)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return repr(value.double_value)
        case "bytes_value":
            return value.bytes_value.hex()
        case "array_value":
            return ", ".join(_text(v) for v in value.array_value.values)
        case "kvlist_value":
            return ", ".join(f"{v.key}={_text(v.value)}" for v in value.kvlist_value.values)
        case _:
            return ""


__all__ = ["AgentState", "ConfigReport", "Health", "events_of", "fold"]
