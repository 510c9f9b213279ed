"""The fleet: gateways, templates with immutable versions, config bundles, deployments, and what gateways report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flowgate.actions import Action
from flowgate.ids import DeploymentId, GatewayId, GroupId, OrgId, TemplateId, WaiverId


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file of a bundle, as OpAMP carries it."""

    name: str
    content_type: str
    body: bytes


def config_hash(files: tuple[ConfigFile, ...]) -> bytes:
    """SHA-256 over, for each file sorted by name, length-prefixed (8-byte big-endian) name, content type and body."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.name):
        for part in (file.name.encode(), file.content_type.encode(), file.body):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class ConfigBundle:
    """Checked configuration bytes and their hash: the fleet's only truth. Never empty: an empty map stops a Collector in silence."""

    files: tuple[ConfigFile, ...]

    def __post_init__(self) -> None:
        if not self.files or not all(f.body.strip() for f in self.files):
            raise ValueError("a bundle is never empty: it would stop telemetry")
        if len({f.name for f in self.files}) != len(self.files):
            raise ValueError("file names in a bundle are unique")

    @property
    def hash(self) -> bytes:
        return config_hash(self.files)


@dataclass(frozen=True, slots=True)
class Org:
    id: OrgId
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """Gateways that run the same bundle; differences between them come from their environment alone."""

    org: OrgId
    id: GroupId
    base_config: str


@dataclass(frozen=True, slots=True)
class Gateway:
    org: OrgId
    id: GatewayId
    group: GroupId


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """Immutable: a change is a new version."""

    org: OrgId
    template: TemplateId
    version: int
    actions: tuple[Action, ...]
    created: datetime
    created_by: str
    waiver: WaiverId | None


@dataclass(frozen=True, slots=True)
class Template:
    org: OrgId
    id: TemplateId
    versions: tuple[int, ...]


class ConfigStatus(StrEnum):
    """OpAMP's RemoteConfigStatuses, plus `unset` for never reported."""

    UNSET = "unset"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What a gateway reported, and nothing else: a field that was not reported is None."""

    org: OrgId
    gateway: GatewayId
    instance_uid: str
    connected: bool
    last_seen: datetime
    agent_version: str | None = None
    description: Mapping[str, str] | None = None
    capabilities: int | None = None
    config_hash: bytes | None = None
    config_status: ConfigStatus | None = None
    config_error: str | None = None
    healthy: bool | None = None
    health_status: str | None = None
    health_error: str | None = None
    started: datetime | None = None
    effective_config: str | None = None
    components: tuple[str, ...] | None = None


class DeploymentState(StrEnum):
    OFFERED = "offered"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One template version offered to a group: success is this bundle's hash reported applied and healthy, by each gateway."""

    org: OrgId
    id: DeploymentId
    group: GroupId
    template: TemplateId
    version: int
    bundle_hash: bytes
    state: DeploymentState
    reason: str
    created: datetime
    finished: datetime | None
