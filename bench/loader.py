"""`python -m bench.loader`: drives OTLP receivers with the bodies of files, as fast as they answer or at a rate.

One order a line on stdin, one answer a line on stdout, both JSON (`Order`, `Seen`). HTTP goes over plain sockets with requests made
beforehand, gRPC over grpcio: the loader must not be what is measured, so it says how much of its own core it used.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, cast

import grpc

from bench.bodies import Numbered

SERVICE = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PAUSE_SECONDS = 0.05
"""After a refusal."""

Answer = Literal["taken", "refused", "refused for good"]
Send = Callable[[bytes], Answer]
Body = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Order:
    """What to send where, and for how long. `series`: points are numbered anew in each request, over so many series, at the present time."""

    bodies: str
    transport: str
    port: int
    pid: int
    seconds: float = 2.0
    warm: float = 0.3
    zipped: bool = False
    connections: int = 4
    rate: float = 0.0
    """Requests a second; 0 for as fast as can be."""
    series: int = 0


@dataclass(slots=True)
class Seen:
    """What came of an order. `refused_for_good`: refusals that do not say when to come back."""

    requests: int = 0
    refused: int = 0
    refused_for_good: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the server."""
    loader_share: float = 0.0
    """Of the loader's core that it used."""
    p99: float = 0.0
    slowest: float = 0.0


@dataclass(slots=True)
class Tally:
    """One connection's."""

    latencies: list[float] = field(default_factory=list[float])
    refused: int = 0
    refused_for_good: int = 0


def write(path: Path, bodies: Sequence[bytes]) -> None:
    """Length-prefixed, 8 bytes little-endian."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(len(body).to_bytes(8, "little") + body)


@cache
def read(path: str) -> tuple[bytes, ...]:
    data, at, bodies = Path(path).read_bytes(), 0, list[bytes]()
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        bodies.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return tuple(bodies)


@cache
def zipped(path: str) -> tuple[bytes, ...]:
    return tuple(gzip.compress(body, 6) for body in read(path))


@cache
def requests(path: str, squeezed: bool) -> tuple[bytes, ...]:
    """Whole HTTP requests."""
    return tuple(_head(len(b), squeezed) + b for b in (zipped(path) if squeezed else read(path)))


def _head(size: int, squeezed: bool) -> bytes:
    encoding = "Content-Encoding: gzip\r\n" if squeezed else ""
    head = f"POST /v1/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n{encoding}Content-Length: "
    return f"{head}{size}\r\n\r\n".encode()


def source(order: Order) -> Body:
    """What the n-th sending of an order sends."""
    http = order.transport == "http"
    if not order.series:
        made = requests(order.bodies, order.zipped) if http else read(order.bodies)
        return lambda number: made[number % len(made)]
    templates = [Numbered.of(body) for body in read(order.bodies)]
    points = templates[0].points

    def numbered(number: int) -> bytes:
        body = templates[number % len(templates)].body(number * points, order.series, time.time_ns())
        return _head(len(body), False) + body if http else body

    return numbered


def over_http(port: int) -> Send:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(request: bytes) -> Answer:
        connection.sendall(request)
        answer = connection.recv(65536)
        if answer.startswith(b"HTTP/1.1 200"):
            return "taken"
        if answer.startswith((b"HTTP/1.1 429", b"HTTP/1.1 503")):
            return "refused" if b"retry-after:" in answer.lower() else "refused for good"
        raise SystemExit(answer[:200].decode(errors="replace"))

    return send


def over_grpc(port: int, squeezed: bool) -> Send:
    options = [("grpc.max_send_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
    call = grpc.insecure_channel(f"127.0.0.1:{port}", options=options).unary_unary(SERVICE)
    compression = grpc.Compression.Gzip if squeezed else grpc.Compression.NoCompression

    def send(body: bytes) -> Answer:
        try:
            call(body, compression=compression, wait_for_ready=True, timeout=60)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            told = dict(cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ()))
            return "refused" if "grpc-status-details-bin" in told else "refused for good"
        return "taken"

    return send


def drive(order: Order, seconds: float, rate: float) -> list[Tally]:
    """One tally a connection. At a rate, latency counts from when a request was due."""
    seen = [Tally() for _ in range(order.connections)]
    body, begin = source(order), time.perf_counter()

    def one(number: int) -> None:
        send = over_http(order.port) if order.transport == "http" else over_grpc(order.port, order.zipped)
        sent, mine = number, seen[number]
        while (now := time.perf_counter()) - begin < seconds:
            due = begin + sent / rate if rate else now
            if due > now:
                time.sleep(min(due - now, PAUSE_SECONDS))
                continue
            match send(body(sent)):
                case "taken":
                    mine.latencies.append(time.perf_counter() - max(due, begin))
                    sent += order.connections
                case "refused":
                    mine.refused += 1
                    time.sleep(PAUSE_SECONDS)
                case _:
                    mine.refused_for_good += 1
                    time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(order.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def run(order: Order) -> Seen:
    if order.warm:
        drive(order, order.warm, 0)
    cpu, began, own = cpu_seconds(order.pid), time.perf_counter(), time.process_time()
    tallies = drive(order, order.seconds, order.rate)
    wall = time.perf_counter() - began
    latencies = sorted(x for t in tallies for x in t.latencies)
    return Seen(
        requests=len(latencies),
        refused=sum(t.refused for t in tallies),
        refused_for_good=sum(t.refused_for_good for t in tallies),
        seconds=wall,
        cpu_seconds=cpu_seconds(order.pid) - cpu,
        loader_share=(time.process_time() - own) / wall,
        p99=latencies[int(len(latencies) * 0.99)] if latencies else 0.0,
        slowest=latencies[-1] if latencies else 0.0,
    )


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asdict(run(Order(**json.loads(line))))), flush=True)
    os._exit(0)  # gRPC's threads would keep it


if __name__ == "__main__":
    main()
