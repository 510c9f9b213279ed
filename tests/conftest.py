"""Shared by every test: what may be skipped, what may be reached, and the seed of chance."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pluggy
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "gateway" / "build"
IN_CI = bool(os.environ.get("FLOWGATE_CI"))

settings.register_profile("flowgate", deadline=None, derandomize=IN_CI, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flowgate")

# Rooms whose tests need no socket at all; `binary` and `e2e` tests are exempt.
CORE = {"flowgate", "house"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    folder = Path(str(item.path)).parent.name
    if folder in CORE and "e2e" not in item.keywords:
        import pytest_socket

        pytest_socket.disable_socket(allow_unix_socket=True)
    if "binary" in item.keywords and not (BUILD / "otelcol-flowgate").exists():
        pytest.skip("the gateway's binaries are not built: run `make gateway`")


def pytest_runtest_teardown(item: pytest.Item) -> None:
    import pytest_socket

    pytest_socket.enable_socket()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """In CI nothing may be missing: a skip is red. The shared samples are no part of the project and may be absent."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and "../shared" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be missing: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pluggy.Result[pytest.CollectReport], None]:
    """A whole file that skips itself (`importorskip`, `allow_module_level`) is red in CI too: none of its tests would be."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and "../shared" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be missing: {report.longrepr}"


@pytest.fixture(scope="session")
def collector() -> Path:
    """The gateway's own binary."""
    return BUILD / "otelcol-flowgate"
