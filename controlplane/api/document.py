"""The OpenAPI document without a running server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane.api.build import build
from controlplane.auth import Principal
from controlplane.collector import Collector
from controlplane.handlers import Tools
from controlplane.ports import Analysis, ControlStore, UnitOfWork
from flowgate.errors import Broken
from flowgate.ids import OrgId
from flowgate.sources import SourceId


def document() -> dict[str, Any]:
    """What `/openapi.json` serves."""
    tools = Tools(_Nothing(), Collector(Path()), Path(), Path(), str, lambda: datetime.now(UTC))
    return build(tools, _ignored, _unpushed, _unfetched).openapi()


class _Nothing(ControlStore):
    """The document is made from the routes alone; no store is ever opened."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        raise Broken("the document needs no store")


def _ignored(_: Analysis) -> None: ...


async def _unpushed(_: Principal, __: str) -> None: ...


def _unfetched(_: OrgId, __: SourceId) -> None: ...
