"""Runs the loop: start, measure, analyse, accept, deploy, measure again, and say what held."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from controlplane.demo import cost, report, stage
from controlplane.demo.backend import Reader
from controlplane.demo.client import Api, Json
from controlplane.demo.layout import ROOT, Paths, Ports, choose_ports, prepare, require_binaries
from controlplane.processes import Child, Children
from flowgate.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO, Broken, FlowgateError

WINDOW_SECONDS = 65
"""At least 60 scrapes at one a second; whole buckets of 5 s."""
SETTLE_SECONDS = 3.0
"""Between APPLIED, or the shop's first full export, and a window's start: one export and one batch."""
FLUSH_SECONDS = 6.0
"""From a window's end until its points are sealed: batch 1 s, seal 2 s, and the exporter's 2 s time-out."""
BACKEND_LAG_SECONDS = 1.0
"""A point reaches the backend one batch after its own time."""
SEED = 7
WAIVER_HOURS = 1
TEMPLATE = "demo-unused"


class Interrupted(Exception):
    """Ctrl-C or SIGTERM."""


@dataclass(slots=True)
class Stop:
    """Handler of both signals. It remembers: Python drops what a handler raises inside a callback of the interpreter, of logging's locks for one."""

    asked: bool = False

    def __call__(self, *_: object) -> None:
        self.asked = True
        raise Interrupted

    def check(self) -> None:
        """Raises `Interrupted` when a signal came and its exception was dropped."""
        if self.asked:
            raise Interrupted


@dataclass(slots=True)
class Steps:
    """Says what is being done, and how long it took; stops between two steps when that was asked for."""

    console: Console
    stop: Stop = field(default_factory=Stop)
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def step(self, name: str, text: str) -> Generator[None]:
        self.stop.check()
        began = time.monotonic()
        self.console.print(f"· {text} …", end="", highlight=False)
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        self.console.print(f" {self.seconds[name]:.1f} s", highlight=False)

    @contextmanager
    def waiting(self, name: str, text: str, seconds: float) -> Generator[None]:
        """A step of known length, with a bar where there is a terminal."""
        began = time.monotonic()
        columns = (TextColumn("· {task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(text, total=seconds)
            while (gone := time.monotonic() - began) < seconds:
                self.stop.check()
                progress.update(task, completed=gone)
                time.sleep(0.2)
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        self.console.print(f"· {text} {self.seconds[name]:.1f} s", highlight=False)


@dataclass(slots=True)
class Demo:
    """What the running demo knows."""

    ports: Ports
    paths: Paths
    children: Children
    steps: Steps
    api: Api
    backend: Reader
    gateways: dict[str, Child] = field(default_factory=dict[str, Child])
    tokens: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Measured:
    """One window: its ends and what the backend's own counters said of it."""

    start: datetime
    end: datetime
    backend_rate: float

    def body(self) -> Json:
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    def params(self, side: str) -> dict[str, str]:
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "side": side}


def main(once: bool, gateways: int, data: Path) -> int:
    """Runs the demo; returns an exit code of CONTRACTS. With `once`, 0 only if every check held."""
    steps = Steps(Console(stderr=True))
    console = steps.console
    signal.signal(signal.SIGTERM, steps.stop)
    signal.signal(signal.SIGINT, steps.stop)
    try:
        return _run(steps, once, gateways, data)
    except Interrupted:
        console.print("\nstopped")
        return EXIT_INTERRUPTED
    except FlowgateError as error:
        console.print(f"\n{error}", style="red", highlight=False, soft_wrap=True)
        return error.exit_code
    except OSError as error:
        console.print(f"\n{data} cannot be written: {error.strerror}", style="red", highlight=False, soft_wrap=True)
        return Broken.exit_code


def _run(steps: Steps, once: bool, gateways: int, data: Path) -> int:
    began, console = time.monotonic(), steps.console
    require_binaries()
    paths = prepare(data)
    ports = choose_ports(gateways)
    for name, wanted, got in ports.moved:
        console.print(f"port {wanted} ({name}) is taken: using {got}", highlight=False)
    with Children(paths.logs) as children:
        demo = _start(steps, ports, paths, children)
        try:
            result = _loop(demo)
        finally:
            demo.backend.stop()
        result["seconds"] = {**demo.steps.seconds, "total": round(time.monotonic() - began, 1)}
        paths.report.write_text(json.dumps(result, indent=2) + "\n")
        held = _show(console, result, paths)
        if not once:
            _stay(console, demo)
    return EXIT_DONE if held else EXIT_NO


def _start(steps: Steps, ports: Ports, paths: Paths, children: Children) -> Demo:
    with steps.step("backend", "backend (a Collector of its own) and node_exporter"):
        stage.start_backend(children, ports)
        stage.start_node_exporter(children, ports)
    with steps.step("control_plane", "control plane"):
        stage.start_control_plane(children, ports, paths)
        api = Api(f"http://{stage.at(ports.fixed['api'])}", paths.admin_token.read_text().strip())
    with steps.step("tap", "tap"):
        stage.start_tap(children, "tap", paths.segments, ports.fixed["tap_grpc"], ports.fixed["tap_http"], paths.tokens)
    backend = Reader(f"http://{stage.at(ports.fixed['backend_metrics'])}/metrics")
    backend.start()
    demo = Demo(ports, paths, children, steps, api, backend)
    with steps.step("gateways", f"{len(ports.gateways)} gateway(s): Supervisor, Collector, base config over OpAMP"):
        _start_gateways(demo)
    with steps.step("usage", "dashboards, rules and price book to the API"):
        _put_documents(api)
    with steps.step("traffic", "the shop's traffic"):
        stage.start_shop(children, ports, SEED)
    with steps.step("dashboards", "cost page"):
        stage.start_dashboards(children, ports, paths.admin_token.read_text().strip())
    return demo


def _start_gateways(demo: Demo) -> None:
    for k in range(len(demo.ports.gateways)):
        name = f"gateway-{k}"
        demo.tokens[name] = demo.api.post("/api/v1/gateways", {"name": name})["token"]
        demo.gateways[name] = stage.start_gateway(demo.children, demo.ports, demo.paths, k, name, demo.tokens[name])
    for name, child in demo.gateways.items():
        stage.wait_in_sync(demo.api, name, child)


def _put_documents(api: Api) -> None:
    usage = ROOT / "examples" / "usage"
    for path in sorted(p for p in usage.rglob("*") if p.is_file()):
        kind = "application/json" if path.suffix == ".json" else "text/yaml"
        api.put_text(f"/api/v1/usage/{path.relative_to(usage)}", path.read_text(), kind)
    api.put_text("/api/v1/price-book", (ROOT / "examples" / "price-book.yaml").read_text(), "text/yaml")


def _loop(demo: Demo) -> Json:
    before = _measure(demo, "before", "measuring what is sent")
    with demo.steps.step("analyse", "analysing: sent × read"):
        analysis = demo.api.analysis(before.start, before.end, None)
    with demo.steps.step("deploy", "accepting, checking with the gateway's binary, deploying over OpAMP"):
        template, deployment = _deploy(demo, analysis)
    after = _measure(demo, "after", "measuring again")
    with demo.steps.step("saving", "what was really saved"):
        saving = demo.api.post(
            "/api/v1/savings",
            {"deployment": deployment["id"], "before": before.body(), "after": after.body(), "gateway": None},
        )
        flows = (_rates(demo.api, before, "in"), _rates(demo.api, after, "out"))
    with demo.steps.step("tap_cost", "what the tap costs a gateway"):
        first = next(iter(demo.gateways))
        config = demo.api.post(f"/api/v1/templates/{TEMPLATE}/versions/{template['version']}/check", {"group": "default"})
        costs = cost.tap_cost(demo.children, config["config"], demo.paths)
    return _report(demo, first, analysis, template, saving, (before, after), flows, costs)


def _deploy(demo: Demo, analysis: Json) -> tuple[Json, Json]:
    """Accepts every recommendation under a waiver that the demo signs itself, and waits until it is applied everywhere."""
    expires = datetime.now(UTC) + timedelta(hours=WAIVER_HOURS)
    waiver = demo.api.post(
        "/api/v1/waivers",
        {
            "scope": f"template/{TEMPLATE}",
            "reason": "the demo has one minute of tap and no query log",
            "signed_by": "flowgate demo",
            "expires": expires.isoformat(),
        },
    )
    template = demo.api.post(
        "/api/v1/templates",
        {
            "name": TEMPLATE,
            "analysis": analysis["id"],
            "recommendations": [r["id"] for r in analysis["recommendations"]],
            "waiver": waiver["id"],
        },
    )
    body = {"template": TEMPLATE, "version": template["version"], "group": "default"}
    deployment = demo.api.post("/api/v1/deployments", body)
    for name, child in demo.gateways.items():
        stage.wait_in_sync(demo.api, name, child)
    deadline = time.monotonic() + 10
    while deployment["state"] not in ("applied", "failed") and time.monotonic() < deadline:
        time.sleep(0.2)
        deployment = demo.api.get(f"/api/v1/deployments/{deployment['id']}")
    if deployment["state"] != "applied":
        raise Broken(f"the deployment is {deployment['state']}: {deployment['reason']}")
    return template, deployment


def _measure(demo: Demo, name: str, text: str) -> Measured:
    """Waits for one whole window and for its points to be sealed."""
    start = _next_bucket(time.time() + SETTLE_SECONDS)
    end = start + WINDOW_SECONDS
    with demo.steps.waiting(f"window_{name}", text, end + FLUSH_SECONDS - time.time()):
        pass
    rate = demo.backend.rate(start + BACKEND_LAG_SECONDS, end + BACKEND_LAG_SECONDS)
    return Measured(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), rate)


def _next_bucket(moment: float) -> int:
    return -(-int(moment + 1) // stage.BUCKET_SECONDS) * stage.BUCKET_SECONDS


def _rates(api: Api, measured: Measured, side: str) -> dict[str, float]:
    """Points per second by metric on one side of one window."""
    rows = api.get("/api/v1/traffic", measured.params(side))["metrics"]
    return {row["metric"]: float(row["points_per_second"]) for row in rows}


def _report(
    demo: Demo,
    gateway: str,
    analysis: Json,
    template: Json,
    saving: Json,
    windows: tuple[Measured, Measured],
    flows: tuple[dict[str, float], dict[str, float]],
    costs: dict[str, float],
) -> Json:
    """`demo-report.json`, in the shape of docs/schemas/demo-report.json; `seconds` is added last."""
    truth: list[Json] = json.loads((ROOT / "examples" / "planted.json").read_text())
    facts = demo.api.get(f"/api/v1/gateways/{gateway}")
    stats = stage.tap_stats(demo.ports.fixed["tap_http"])
    before, after = windows
    keys = ("series", "prom_series", "points_per_second")
    return {
        "gateway": {
            "collector_version": facts["agent_version"],
            "supervisor_version": stage.supervisor_version(),
            "instance_uid": facts["instance_uid"],
            "config_hash": facts["config_hash"],
            "remote_config_status": facts["remote_config_status"],
            "healthy": facts["healthy"],
        },
        "tap": {
            "metrics": analysis["totals"]["metrics"],
            "series": analysis["totals"]["series"],
            "prom_series": analysis["totals"]["prom_series"],
            **{key: stats[key] for key in ("points", "log_records", "spans", "refused")},
        },
        "planted": report.planted(truth, analysis, template["actions"]),
        "findings": analysis["findings"],
        "template": {key: template[key] for key in ("name", "version", "actions")},
        "predicted": {key: saving["predicted"][key] for key in keys},
        "realised": {key: saving["realised"][key] for key in keys} if saving["realised"] else None,
        "backend": {
            "points_per_second_before": round(before.backend_rate, 2),
            "points_per_second_after": round(after.backend_rate, 2),
            "out_points_per_second": saving["out"]["points_per_second"],
        },
        "protected": report.protected(analysis["used"], *flows),
        "tap_cost": costs,
    }


def _show(console: Console, result: Json, paths: Paths) -> bool:
    table = Table("check", "", "figures", title="What held")
    checks = report.checks(result)
    for check in checks:
        table.add_row(check.name, "ok" if check.ok else "NO", check.says, style=None if check.ok else "red")
    console.print(table)
    without, with_tap = result["tap_cost"]["accept_rate_without"], result["tap_cost"]["accept_rate_with"]
    console.print(f"accept rate without / with tap: {without:,.0f} / {with_tap:,.0f} points/s", highlight=False)
    console.print(f"report: {paths.report}  ({result['seconds']['total']:.0f} s)", highlight=False, soft_wrap=True)
    return all(check.ok for check in checks)


def _stay(console: Console, demo: Demo) -> None:
    """Leaves everything running until Ctrl-C."""
    fixed = demo.ports.fixed
    console.print(f"\n  cost page    http://{stage.at(fixed['dashboards'])}")
    console.print(f"  API docs     http://{stage.at(fixed['api'])}/docs  (token in {demo.paths.admin_token})", soft_wrap=True)
    console.print(f"  backend      http://{stage.at(fixed['backend_metrics'])}/metrics")
    console.print("\nCtrl-C stops everything.")
    sys.stderr.flush()
    while True:
        demo.steps.stop.check()
        time.sleep(0.2)
