"""What a report says, as frozen values without protobuf. An event is a fact that was reported; nothing is inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ConfigState = Literal["unset", "applied", "applying", "failed"]


@dataclass(frozen=True, slots=True)
class Health:
    """A node of the health tree. `start_time_ns` 0: not running."""

    healthy: bool
    status: str
    last_error: str
    start_time_ns: int
    components: Mapping[str, Health] = field(default_factory=dict[str, "Health"])


@dataclass(frozen=True, slots=True)
class Seen:
    """Any message: the agent lives. `capabilities` None when the message left them out."""

    sequence_num: int
    capabilities: int | None


@dataclass(frozen=True, slots=True)
class Connected:
    """The first report on a new connection."""


@dataclass(frozen=True, slots=True)
class Described:
    identifying: Mapping[str, str]
    non_identifying: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HealthReported:
    health: Health


@dataclass(frozen=True, slots=True)
class ConfigReported:
    """What became of the remote configuration with `hash` (empty: none was ever received)."""

    hash: bytes
    state: ConfigState
    error: str


@dataclass(frozen=True, slots=True)
class EffectiveConfigReported:
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ComponentsReported:
    """`components` None: only the hash was sent."""

    hash: bytes
    components: Mapping[str, tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class StateLost:
    """Messages are missing, or the agent is new to us: its full state was asked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The agent said goodbye."""


Event = (
    Seen | Connected | Described | HealthReported | ConfigReported | EffectiveConfigReported | ComponentsReported | StateLost | Disconnected
)
