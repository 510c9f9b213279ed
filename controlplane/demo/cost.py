"""What the tap costs a gateway: the accept rate of a short-lived Collector with and without the two copies."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from controlplane.demo.layout import BINARIES, ROOT, Paths
from controlplane.demo.stage import answers, at, start_tap
from controlplane.processes import Children, free_port, python, wait_until
from flowgate.errors import Broken

SECONDS = 5.0


def without_tap(config: str) -> str:
    """The same configuration with the tap's pipelines, and the fan-out to them, taken out."""
    yaml = YAML(typ="safe", pure=True)
    document = yaml.load(config)
    pipelines = document["service"]["pipelines"]
    for name in [n for n in pipelines if "/tap_" in n]:
        del pipelines[name]
    for pipeline in pipelines.values():
        pipeline["exporters"] = [e for e in pipeline["exporters"] if "tap" not in e]
    document["connectors"] = {}
    return json.dumps(document)


def quiet(config: str) -> str:
    """The configuration with its own sources silenced, so that only the loader's points are counted."""
    yaml = YAML(typ="safe", pure=True)
    document = yaml.load(config)
    pipelines = document["service"]["pipelines"]
    for name in [n for n in pipelines if n.endswith("/tap_self")]:
        del pipelines[name]
    for pipeline in pipelines.values():
        pipeline["receivers"] = [r for r in pipeline["receivers"] if r == "otlp" or r.startswith("forward/")]
        pipeline["exporters"] = ["nop" if e == "otlp/backend" else e for e in pipeline["exporters"]]
    document["exporters"]["nop"] = {}
    return json.dumps(document)


def environment(config: str, values: dict[str, str]) -> dict[str, str]:
    """A value for each `${env:FLOWGATE_…}` named in `config`: from `values`, else a free loopback address."""
    names = set(re.findall(r"\$\{env:(FLOWGATE_[A-Z0-9_]+)\}", config))
    return {name: values.get(name) or at(free_port()) for name in names}


def accept_rate(children: Children, name: str, config: str, folder: Path, tap_grpc: int, seconds: float = SECONDS) -> float:
    """Points per second that a Collector with `config` accepts from a loader that sends as fast as it is answered."""
    path = folder / f"{name}.yaml"
    path.write_text(config)
    http, metrics = free_port(), free_port()
    env = environment(
        config,
        {
            "FLOWGATE_OTLP_HTTP_ENDPOINT": at(http),
            "FLOWGATE_TAP_ENDPOINT": at(tap_grpc),
            "FLOWGATE_TAP_TOKEN": " ",
            "FLOWGATE_METRICS_HOST": "127.0.0.1",
            "FLOWGATE_METRICS_PORT": str(metrics),
        },
    )
    child = children.start(name, [str(BINARIES["otelcol-flowgate"]), "--config", str(path)], env)
    wait_until(f"{name} to listen", lambda: answers(f"http://{at(metrics)}/metrics"), 20, child)
    load = subprocess.run(
        python("-m", "examples.load", "--endpoint", at(http), "--seconds", str(seconds)),
        cwd=ROOT, capture_output=True, text=True, timeout=seconds + 60,
    )  # fmt: skip
    children.stop(child)
    if load.returncode != 0:
        raise Broken(f"the loader failed: {load.stderr.strip()[-300:]}")
    rate: float = json.loads(load.stdout)["points_per_second"]
    return rate


def tap_cost(children: Children, config: str, paths: Paths) -> dict[str, float]:
    """`{"accept_rate_without", "accept_rate_with"}`, points/s, 5 s each, against a tap of its own."""
    folder = paths.data / "tap-cost"
    folder.mkdir()
    grpc, http = free_port(), free_port()
    tap = start_tap(children, "tap-cost", folder / "segments", grpc, http, None)
    silent = quiet(config)
    rates = {
        "accept_rate_without": accept_rate(children, "collector-without-tap", without_tap(silent), folder, grpc),
        "accept_rate_with": accept_rate(children, "collector-with-tap", silent, folder, grpc),
    }
    children.stop(tap)
    return {name: round(rate, 1) for name, rate in rates.items()}
