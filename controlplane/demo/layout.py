"""Where the demo keeps things and which ports it takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from controlplane.processes import free_port, is_free
from flowgate.errors import Broken, Refused

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: the demo runs from one, since it needs `gateway/` and `examples/`."""
MARKER = ".flowgate-demo"
NEEDED_BYTES = 512 * 2**20
"""One run writes about 60 MB; the rest is headroom so that no part of it meets a full disk half way."""

# Per machine, from CONTRACTS; a gateway's ports move up by 100 for each gateway.
FIXED = {
    "api": 8000,
    "opamp": 4320,
    "dashboards": 8501,
    "tap_grpc": 4327,
    "tap_http": 4328,
    "node_exporter": 9100,
    "backend_otlp": 4337,
    "backend_metrics": 8889,
}
PER_GATEWAY = {
    "otlp_grpc": 4317,
    "otlp_http": 4318,
    "supervisor_opamp": 4321,
    "metrics": 8888,
    "health": 13133,
    "supervisor_health": 13134,
    "fluent": 24224,
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port in use, by name; `moved` says which were taken: (name, wanted, got)."""

    fixed: dict[str, int]
    gateways: tuple[dict[str, int], ...]
    moved: tuple[tuple[str, int, int], ...]


def choose_ports(gateways: int) -> Ports:
    """The ports of CONTRACTS, each moved to a free one when taken."""
    moved: list[tuple[str, int, int]] = []
    used: set[int] = set()

    def take(name: str, wanted: int) -> int:
        port = wanted
        while port in used or not is_free(port):
            port = free_port()
        used.add(port)
        if port != wanted:
            moved.append((name, wanted, port))
        return port

    fixed = {name: take(name, port) for name, port in FIXED.items()}
    each = tuple({name: take(f"gateway-{k}/{name}", port + 100 * k) for name, port in PER_GATEWAY.items()} for k in range(gateways))
    return Ports(fixed, each, tuple(moved))


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one demo; all lie below `data`."""

    data: Path

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def segments(self) -> Path:
        return self.data / "segments"

    @property
    def tokens(self) -> Path:
        return self.data / "tap-tokens.json"

    @property
    def admin_token(self) -> Path:
        return self.data / "admin-token"

    @property
    def report(self) -> Path:
        return self.data / "demo-report.json"

    def gateway(self, name: str) -> Path:
        return self.data / "gateways" / name


BINARIES = {name: ROOT / "gateway" / "build" / name for name in ("otelcol-flowgate", "opampsupervisor", "node_exporter")}


def require_binaries() -> None:
    """Raises `Broken` naming the first binary that is not built."""
    for name, path in BINARIES.items():
        if not path.is_file():
            raise Broken(f"{name} is not built: run `make gateway`")


def prepare(data: Path) -> Paths:
    """An empty data folder for one run.

    What an earlier demo left there is removed; a folder that is not a demo's is refused, untouched. Raises `Broken` when the folder
    cannot be written or its disk has less than `NEEDED_BYTES` free.
    """
    if data.exists() and any(data.iterdir()) and not (data / MARKER).exists():
        raise Refused(f"{data} is not empty and was not made by the demo: name another folder with --data")
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / MARKER).write_text(json.dumps({"made_by": "flowgate demo"}))
        _empty(data)
        paths = Paths(data.resolve())
        paths.logs.mkdir()
    except OSError as error:
        raise Broken(f"{data} cannot be written: {error.strerror}") from error
    if shutil.disk_usage(data).free < NEEDED_BYTES:
        raise Broken(f"{data} has less than {NEEDED_BYTES // 2**20} MiB free")
    return paths


def _empty(data: Path) -> None:
    for entry in data.iterdir():
        if entry.name == MARKER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
