"""The judge: Prometheus' own rule tester."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.semantics.promtool import BINARY


@pytest.fixture(scope="session")
def promtool() -> Path:
    if not BINARY.exists():
        pytest.skip("promtool is not built: run `make promtool`")
    return BINARY
