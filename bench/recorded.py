"""Requests of a real Collector (the gateway's own binary) that scrapes a real node_exporter, recorded as they arrive; nothing of it is committed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.report import say
from controlplane.processes import Children, free_port

BINARIES = Path(__file__).resolve().parents[1] / "gateway" / "build"
COLLECTOR, NODE = BINARIES / "otelcol-flowgate", BINARIES / "node_exporter"
TARGETS = 96
"""Scrapes of one node_exporter at as many addresses: over 48,000 series, so that so many points are one scrape of each."""
SCRAPE_SECONDS = 5


def record(folder: Path, sizes: tuple[int, ...], points: int) -> Mapping[int, list[bytes]]:
    """At least `points` points in requests of each of the sizes, of steady series in the order in which they came."""
    found: dict[int, list[bytes]] = {size: [] for size in sizes}
    with Children(folder) as children, _sink(found) as port:
        node = free_port()
        children.start("node", [str(NODE), *(f"--web.listen-address={address}" for address in _addresses(node))])
        config = folder / "record.json"
        config.write_text(json.dumps(_config(node, free_port(), port, sizes)))
        children.start("collector", [str(COLLECTOR), "--config", str(config)])
        deadline = time.monotonic() + 60
        while any(len(found[size]) * size < points for size in sizes):
            if time.monotonic() > deadline:
                raise SystemExit("the Collector sent too little within a minute")
            time.sleep(0.2)
    say(f"recorded: {', '.join(f'{len(found[s])} requests of {s} points' for s in sizes)}")
    return {size: found[size][: -(-points // size)] for size in sizes}


def _addresses(port: int) -> list[str]:
    """All of 127.0.0.0/8 is this machine: each is a target of its own, and so a resource."""
    return [f"127.0.0.{n}:{port}" for n in range(1, TARGETS + 1)]


def _config(node: int, health: int, sink: int, sizes: tuple[int, ...]) -> Any:
    job = {"job_name": "node", "scrape_interval": f"{SCRAPE_SECONDS}s", "static_configs": [{"targets": _addresses(node)}]}
    return {
        "receivers": {"prometheus": {"config": {"scrape_configs": [job]}}},
        "processors": {f"batch/{s}": {"send_batch_size": s, "send_batch_max_size": s, "timeout": "10s"} for s in sizes},
        "exporters": {f"otlphttp/{s}": {"endpoint": f"http://127.0.0.1:{sink}/{s}", "compression": "none"} for s in sizes},
        "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {f"metrics/{s}": {"receivers": ["prometheus"], "processors": [f"batch/{s}"], "exporters": [f"otlphttp/{s}"]} for s in sizes},
        },
    }  # fmt: skip


@contextmanager
def _sink(found: Mapping[int, list[bytes]]) -> Generator[int]:
    """Keeps what is posted to /SIZE/v1/metrics."""

    def post(handler: BaseHTTPRequestHandler) -> None:
        found[int(handler.path.split("/")[1])].append(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def quiet(*_: object) -> None:
        """No line for each request."""

    kind = type("Sink", (BaseHTTPRequestHandler,), {"do_POST": post, "log_message": quiet})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
