"""The gateway's own binary as a judge: it validates a configuration in a subprocess, so that nothing it would refuse is ever offered."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flowgate.errors import Broken, Problem

SECONDS = 20.0
_VARIABLE = re.compile(r"\$\{env:(FLOWGATE_[A-Z0-9_]+)\}")
_PLACE = re.compile(r"((?:receivers|processors|exporters|connectors|extensions|service)(?:::[^:\s]+)*)")


@dataclass(frozen=True, slots=True)
class Collector:
    """`binary` is the build that the gateways run."""

    binary: Path

    def version(self) -> str:
        """Such as `flowgate-collector version 0.149.0`."""
        return self._run(["--version"], {}).stdout.strip()

    def validate(self, config: bytes) -> list[Problem]:
        """What the binary says against a configuration; empty when it accepts it. Raises `Broken` when it cannot be asked."""
        with tempfile.TemporaryDirectory(prefix="flowgate-") as folder:
            path = Path(folder) / "collector.yaml"
            path.write_bytes(config)
            run = self._run(["validate", "--config", str(path)], placeholders(config.decode()))
        return [] if run.returncode == 0 else problems(run.stderr)

    def _run(self, args: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([str(self.binary), *args], env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
        except FileNotFoundError:
            raise Broken(f"{self.binary} is not built: run `make gateway`") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Broken(f"{self.binary} cannot be asked: {error}") from error


def placeholders(config: str) -> dict[str, str]:
    """A value for each variable that a gateway's environment will hold: an address, or a port where the name says so."""
    return {name: "4317" if name.endswith("_PORT") else "127.0.0.1:4317" for name in _VARIABLE.findall(config)}


def problems(stderr: str) -> list[Problem]:
    """The binary's complaint as problems with paths such as `processors/filter/x`."""
    text = "\n".join(line for line in stderr.splitlines() if line.strip() and not re.match(r"^\d{4}-\d\d-\d\dT", line))
    text = text.removeprefix("Error: ").strip() or "refused without a reason"
    place = _PLACE.search(text)
    return [Problem(place[1].replace("::", "/").rstrip(":") if place else "", text[:2_000])]
