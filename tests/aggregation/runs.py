"""Scenarios in real time through one real Collector, side by side through several pipelines; what each exported."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from controlplane.demo.stage import answers, at
from controlplane.processes import Child, Children, free_port, wait_until
from flowgate.usage import Operator
from tests.aggregation.model import STALENESS, Stored
from tests.aggregation.scenarios import DROPPED, TICKS, Scenario
from tests.aggregation.wire import SOURCE, Clock, Delivery, deliveries, stored

BINARY = Path(__file__).resolve().parents[2] / "gateway" / "build" / "otelcol-flowgate"
INTERVALS = (0.5, 0.9, 2.0, 4.0)
"""Seconds of a tick: the first that this machine keeps up with."""
MOST_LATE = 0.25
"""Ticks: what is sent later than this may come to the next output."""
SETTLE = 3.0
"""Ticks until everything has come out after the last point went in."""
_GONE = [SOURCE, DROPPED]
_DELETION = {
    "resource/deletion": {"attributes": [{"key": k, "action": "delete"} for k in _GONE]},
    "attributes/deletion": {"actions": [{"key": k, "action": "delete"} for k in _GONE]},
}
_BATCH = {"batch/together": {"timeout": "100ms"}}
_KEPT = ["a", "b"]
_GROUPED = {"groupbyattrs": {}}
Sides = Mapping[str, Mapping[str, Any]]
"""The processors of each pipeline, in order."""


def baselines(scenarios: Sequence[Scenario]) -> Sides:
    """Each with what helps it: the sources of a tick come in one batch, their resources are made one first, operators are the right ones."""
    transform = {"metricstransform": {"transforms": [_transform(scenarios, operator) for operator in ("sum", "min", "max")]}}
    return {
        "delete": _DELETION,
        "metricstransform": _BATCH | _DELETION | _GROUPED | transform,
        "groupbyattrs": _BATCH | _DELETION | _GROUPED,
    }


def _transform(scenarios: Sequence[Scenario], operator: Operator) -> dict[str, Any]:
    names = "|".join(s.name for s in scenarios if s.operator == operator)
    return {
        "include": f"^({names or '-'})$",
        "match_type": "regexp",
        "action": "update",
        "operations": [{"action": "aggregate_labels", "label_set": _KEPT, "aggregation_type": operator}],
    }


class Sink:
    """Keeps what is sent to it, by the first part of the path."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        keep = self.bodies

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                keep.setdefault(self.path.split("/")[1], []).append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://{at(self.server.server_port)}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def config(sides: Sides, receiver: str, metrics: int, sink: str) -> str:
    """A pipeline a side behind one receiver. Nothing is queued or sent again, so that what comes out is in order."""
    exporter = {"compression": "none", "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    reader = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": metrics}}}}
    return json.dumps(
        {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": receiver}}}},
            "processors": {f"{name}{'' if '/' in name else '/'}_{side}": body for side, of in sides.items() for name, body in of.items()},
            "exporters": {f"otlphttp/{side}": {**exporter, "endpoint": f"{sink}/{side}"} for side in sides},
            "service": {
                "telemetry": {"metrics": {"readers": [reader]}, "logs": {"level": "warn"}},
                "pipelines": {
                    f"metrics/{side}": {
                        "receivers": ["otlp"],
                        "processors": [f"{name}{'' if '/' in name else '/'}_{side}" for name in of],
                        "exporters": [f"otlphttp/{side}"],
                    }
                    for side, of in sides.items()
                },
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    child: Child
    port: int
    address: str


def start(children: Children, name: str, folder: Path, sides: Sides, sink: Sink, port: int | None = None) -> Gateway:
    port, metrics = port or free_port(), free_port()
    path = folder / f"{name}.json"
    path.write_text(config(sides, at(port), metrics, sink.address))
    child = children.start(name, [str(BINARY), "--config", str(path)], {})
    wait_until("the Collector", lambda: answers(f"http://{at(metrics)}/metrics"), 20, child)
    return Gateway(child, port, f"http://{at(port)}/v1/metrics")


def clock_from_now(interval: float, phase: float = 0.3) -> Clock:
    """A run that begins soon, at a phase of the interval: outputs are made on its whole multiples."""
    tick = round(interval * 1e9)
    soon = time.time_ns() + 1_000_000_000
    return Clock((soon // tick + 1) * tick + round(phase * tick), tick)


def feed(address: str, sent: Sequence[Delivery], clock: Clock, lossy: bool = False) -> float:
    """Sends each delivery at its time; by how many ticks the latest was late. `lossy`: what nobody takes is lost."""
    worst = 0.0
    with httpx.Client(headers={"Content-Type": "application/x-protobuf"}, timeout=10) as client:
        for one in sent:
            time.sleep(max(0.0, (clock.at(one.sent) - time.time_ns()) / 1e9))
            worst = max(worst, clock.ticks(time.time_ns()) - one.sent)
            with suppress(*((httpx.HTTPError,) if lossy else ())):
                client.post(address, content=one.body).raise_for_status()
    return worst


def through(scenarios: Sequence[Scenario], sides: Callable[[float], Sides], children: Children, folder: Path) -> dict[str, Stored]:
    """What came out of each side, given the interval in seconds. A run in which the machine was too busy to send in time is run slower."""
    for seconds in INTERVALS:
        late, out = _once(scenarios, sides(seconds), children, folder, seconds)
        print(f"{len(scenarios)} scenarios of {TICKS} ticks of {seconds} s; the latest delivery was {late * seconds * 1000:.0f} ms late")
        if late <= MOST_LATE:
            return out
    raise RuntimeError("this machine is too busy to send anything in time")


def _once(scenarios: Sequence[Scenario], sides: Sides, children: Children, folder: Path, seconds: float) -> tuple[float, dict[str, Stored]]:
    sink = Sink()
    try:
        gateway = start(children, "collector", folder, sides, sink)
        clock = clock_from_now(seconds)
        late = feed(gateway.address, deliveries(scenarios, clock), clock)
        time.sleep(SETTLE * seconds)
        children.stop(gateway.child)
        return late, {side: stored(sink.bodies.get(side, []), clock) for side in sides}
    finally:
        sink.close()


def own(stored: Stored, scenario: Scenario) -> Stored:
    """A scenario's own series: the sources' attribute, which nobody asked to keep, is no label."""
    ours = (scenario.name, *(f"{scenario.name}_{part}" for part in ("bucket", "sum", "count")))
    return {(n, frozenset(p for p in labels if p[0] != SOURCE)): s for (n, labels), s in stored.items() if n in ours}


def aggregation(scenarios: Sequence[Scenario], seconds: float) -> Sides:
    """The processor, with what the scenarios say of their metrics."""
    rules = [
        {
            "metrics": {"names": [s.name for s in scenarios if s.operator == operator]},
            "drop_labels": {"resource": [SOURCE, DROPPED], "point": [DROPPED]},
            "operator": operator,
        }
        for operator in dict.fromkeys(s.operator for s in scenarios)
    ]
    return {"aggregation": {"aggregation/flowgate": {"interval": f"{seconds}s", "staleness": f"{STALENESS * seconds}s", "rules": rules}}}
