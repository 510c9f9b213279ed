"""The core imports only what an allow-list names: a list of the forbidden is never complete."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "__future__", "abc", "base64", "collections", "contextlib", "dataclasses", "datetime", "decimal", "enum", "functools", "hashlib", "io",
    "itertools", "json", "math", "re", "string", "struct", "types", "typing", "zlib",
}  # fmt: skip
EXTRA = {
    "ingest/otlp.py": {"google", "opentelemetry"},
    "ingest/columns.py": {"pyarrow"},
    "ingest/kernels.py": {"numpy", "numba", "llvmlite"},
    "ingest/wire.py": {"numpy", "pyarrow", "google", "opentelemetry"},
    "opamp": {"google"},
    "analyzer/references": {"binascii", "lark", "promql_parser", "re2", "ryaml", "urllib"},  # urllib.parse
    "analyzer/demand.py": {"re2"},
    "analyzer/reading.py": {"re2"},
    "analyzer/pricebooks.py": {"ryaml"},
    "analyzer/cardinality.py": {"numpy"},
    "analyzer/forecast.py": {"numpy", "scipy", "sklearn"},
    "analyzer/labelling.py": {"numpy"},
    "analyzer/redundancy.py": {"numpy"},
    "analyzer/shapes.py": {"importlib", "numpy", "sklearn"},
    "analyzer/unseen.py": {"numpy", "scipy"},
    "controlplane/render": {"analyzer", "re2", "ruamel"},
    "controlplane/check": {"analyzer", "re2"},
    "controlplane/yaml.py": {"ryaml"},
    "controlplane/fleet.py": {"opamp"},
}
CORE = [
    "flowgate", "ingest/identity.py", "ingest/otlp.py", "ingest/tap.py", "ingest/columns.py", "ingest/compaction.py", "ingest/engine.py", "ingest/kernels.py",
    "ingest/wire.py", "analyzer/references", "analyzer/demand.py", "analyzer/naming.py", "analyzer/reading.py", "analyzer/report.py",
    "analyzer/rules", "analyzer/together.py", "analyzer/usage.py", "analyzer/verdicts.py", "analyzer/advice_report.py", "analyzer/outlook.py",
    "analyzer/cardinality.py", "analyzer/forecast.py", "analyzer/labelling.py", "analyzer/redundancy.py", "analyzer/shapes.py", "analyzer/unseen.py",
    "analyzer/engine.py", "analyzer/pricebooks.py", "analyzer/pricing.py", "analyzer/savings.py", "opamp/wire.py", "opamp/events.py", "opamp/agent.py", "opamp/session.py",
    "controlplane/render", "controlplane/check", "controlplane/rollout.py", "controlplane/fleet.py", "controlplane/yaml.py",
    "controlplane/demo/report.py",
]  # fmt: skip


def files() -> list[Path]:
    return [f for c in CORE for f in ([ROOT / c] if c.endswith(".py") else sorted((ROOT / c).rglob("*.py")))]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_core_module_imports_only_what_is_allowed(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    room = name.split("/")[0]
    allowed = VALUES | {"flowgate", room} | {m for prefix, ms in EXTRA.items() if name.startswith(prefix) for m in ms}
    if room == "opamp":
        allowed.discard("flowgate")
    assert {m.split(".")[0] for m in imported(path)} <= allowed


def test_the_kernel_needs_the_standard_library_alone() -> None:
    for path in sorted((ROOT / "flowgate").glob("*.py")):
        outside = {m.split(".")[0] for m in imported(path)} - set(sys.stdlib_module_names) - {"flowgate"}
        assert outside == set(), path


@pytest.mark.parametrize("room", ["ingest", "analyzer", "opamp"])
def test_each_door_is_signed(room: str) -> None:
    doc = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    assert "ives here" in doc
    assert "ay not:" in doc


def test_duckdb_is_imported_where_it_may_be() -> None:
    rooms = ("flowgate", "ingest", "analyzer", "opamp", "controlplane", "dashboards")
    users = {str(p.relative_to(ROOT)) for r in rooms for p in (ROOT / r).rglob("*.py") if "duckdb" in set(imported(p))}
    assert users <= {"ingest/segments.py", "analyzer/reader.py", "analyzer/profiler.py", "analyzer/__main__.py", "controlplane/cli.py"}
