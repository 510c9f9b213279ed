"""Bytes ↔ agent facts: the OpAMP protocol, and nothing else.

Lives here: our .proto files and generated code, framing, events, the fold of an agent's reports, the sans-IO session, and shells that carry its
bytes. May not: touch a socket or clock in the core, import anything of ours, know templates or money.
"""

from opamp.agent import AgentState, ConfigReport, Health
from opamp.events import (
    ComponentsReported,
    ConfigReported,
    Connected,
    Described,
    Disconnected,
    EffectiveConfigReported,
    Event,
    HealthReported,
    Seen,
    StateLost,
)
from opamp.session import AgentSession, Offer, OfferedFile, Role, ServerSession, Session
from opamp.wire import Malformed

__all__ = [
    "AgentSession",
    "AgentState",
    "ComponentsReported",
    "ConfigReport",
    "ConfigReported",
    "Connected",
    "Described",
    "Disconnected",
    "EffectiveConfigReported",
    "Event",
    "Health",
    "HealthReported",
    "Malformed",
    "Offer",
    "OfferedFile",
    "Role",
    "Seen",
    "ServerSession",
    "Session",
    "StateLost",
]
