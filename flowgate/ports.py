"""Ports: what a room asks of the outside. OrgId first, always; there is no unscoped variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flowgate.ids import GatewayId, OrgId
from flowgate.telemetry import Segment, Window


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential speaks for; `gateway` is None when the credential is not tied to one."""

    org: OrgId
    gateway: GatewayId | None


class Clock(Protocol):
    """The time, aware and UTC."""

    def now(self) -> datetime: ...


class Authenticator(Protocol):
    """Token to identity. `token` is the bearer without the word; None and empty both mean none was sent."""

    def authenticate(self, token: str | None) -> Identity | None:
        """None: refused."""
        ...


class SegmentSource(Protocol):
    """Sealed segments by org and window (a segment is returned when its window overlaps)."""

    def segments(self, org: OrgId, window: Window) -> Sequence[Segment]: ...


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization` header; None when absent, of another scheme, or empty (CONTRACTS: an empty bearer is none)."""
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
