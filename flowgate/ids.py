"""Identifiers and how to parse them. Minting one is a shell's job."""

from __future__ import annotations

import re
from typing import NewType

from flowgate.errors import Invalid, Problem

OrgId = NewType("OrgId", str)
GatewayId = NewType("GatewayId", str)
GroupId = NewType("GroupId", str)
TemplateId = NewType("TemplateId", str)
DeploymentId = NewType("DeploymentId", str)
AnalysisId = NewType("AnalysisId", str)
WaiverId = NewType("WaiverId", str)
FindingId = NewType("FindingId", str)
RecommendationId = NewType("RecommendationId", str)

DEFAULT_ORG = OrgId("default")

# A slug is a path segment, a DNS label and a file name at once, hence the RFC 1123 alphabet and its 63 characters.
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def slug(text: str, what: str) -> str:
    """`text` itself when it is 1-63 of [a-z0-9-], not starting or ending with `-`; else `Invalid` naming `what`."""
    if _SLUG.fullmatch(text):
        return text
    raise Invalid(f"{what} is not a name", (Problem(what, "1 to 63 of a-z, 0-9 and -, not starting or ending with -"),))


def org_id(text: str) -> OrgId:
    """Raises `Invalid` for anything but a slug."""
    return OrgId(slug(text, "org"))


def gateway_id(text: str) -> GatewayId:
    """Raises `Invalid` for anything but a slug."""
    return GatewayId(slug(text, "gateway"))
