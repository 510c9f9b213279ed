"""The tap's `Authenticator`: a small file that the control plane writes by rename, `{sha256 of token, hex: {"org", "gateway"}}`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowgate.ids import DEFAULT_ORG, GatewayId, OrgId
from flowgate.ports import Identity

REREAD_SECONDS = 2.0
"""CONTRACTS asks for 5 s."""


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(slots=True)
class FileTokens:
    """Looks tokens up in `path`, read again when it changed. `path` None is loopback's default: no token maps to the default org.

    With a path, only what the file names is let in, so nobody is while it is missing. A damaged file changes nothing: what was read before
    stays in force, and `damaged` counts.
    """

    path: Path | None
    monotonic: Callable[[], float]
    damaged: int = 0
    _known: dict[str, Identity] = field(default_factory=dict[str, Identity])
    _stamp: tuple[int, int] | None = None
    _looked: float | None = None

    def authenticate(self, token: str | None) -> Identity | None:
        self._refresh()
        if token is None or not token.strip():
            return Identity(DEFAULT_ORG, None) if self.path is None else None
        return self._known.get(token_hash(token.strip()))

    def _refresh(self) -> None:
        now = self.monotonic()
        if self.path is None or (self._looked is not None and now - self._looked < REREAD_SECONDS):
            return
        self._looked = now
        try:
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._stamp:
                self._known = _identities(json.loads(self.path.read_text()))
                self._stamp = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            self.damaged += 1


def _identities(content: dict[str, Any]) -> dict[str, Identity]:
    return {
        digest: Identity(OrgId(entry["org"]), GatewayId(entry["gateway"]) if entry["gateway"] else None)
        for digest, entry in content.items()
    }
