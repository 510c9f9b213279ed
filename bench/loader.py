"""`python -m bench.loader`: drives one OTLP receiver with the bodies of a file, as fast as it answers or at a rate; prints what it saw as JSON.

HTTP goes over plain sockets with requests made beforehand, gRPC over grpcio: the loader must not be what is measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

SERVICE = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
Send = Callable[[int], bool]
"""Sends one body; False when the server asked to come back later."""


def write(path: Path, bodies: Sequence[bytes]) -> None:
    """Length-prefixed, 8 bytes little-endian."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(len(body).to_bytes(8, "little") + body)


def read(path: Path) -> list[bytes]:
    data, at, bodies = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        bodies.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return bodies


def over_http(port: int, bodies: Sequence[bytes], zipped: bool) -> Callable[[], Send]:
    encoding = "Content-Encoding: gzip\r\n" if zipped else ""
    head = f"POST /v1/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n{encoding}Content-Length: "
    sent = [gzip.compress(b, 6) if zipped else b for b in bodies]
    requests = [f"{head}{len(b)}\r\n\r\n".encode() + b for b in sent]

    def connect() -> Send:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send(number: int) -> bool:
            connection.sendall(requests[number % len(requests)])
            answer = connection.recv(65536)
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429", b"HTTP/1.1 503")):
                raise SystemExit(answer[:200].decode(errors="replace"))
            return answer.startswith(b"HTTP/1.1 200")

        return send

    return connect


def over_grpc(port: int, bodies: Sequence[bytes], zipped: bool) -> Callable[[], Send]:
    compression = grpc.Compression.Gzip if zipped else grpc.Compression.NoCompression

    def connect() -> Send:
        options = [("grpc.max_send_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
        call = grpc.insecure_channel(f"127.0.0.1:{port}", options=options).unary_unary(SERVICE)

        def send(number: int) -> bool:
            try:
                call(bodies[number % len(bodies)], compression=compression, wait_for_ready=True, timeout=30)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                return False
            return True

        return send

    return connect


def drive(connect: Callable[[], Send], seconds: float, connections: int, rate: float) -> list[float]:
    """Latencies in seconds, of every request sent in `seconds` over so many connections; `rate` in requests a second, 0 for as fast as can be."""
    seen: list[list[float]] = [[] for _ in range(connections)]
    begin = time.perf_counter()

    def one(number: int) -> None:
        send, sent, mine = connect(), number, seen[number]
        while (now := time.perf_counter()) - begin < seconds:
            due = begin + sent / rate if rate else now
            if due > now:
                time.sleep(min(due - now, 0.05))
                continue
            if not send(sent):
                time.sleep(0.05)
                continue
            mine.append(time.perf_counter() - max(due, begin))
            sent += connections

    threads = [threading.Thread(target=one, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [latency for mine in seen for latency in mine]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--transport", choices=("http", "grpc"), required=True)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--core", type=int, default=1)
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    bodies = read(args.bodies)
    connect = (over_http if args.transport == "http" else over_grpc)(args.port, bodies, args.gzip)
    if args.warm:
        drive(connect, args.warm, args.connections, 0)
    cpu, began = cpu_seconds(args.pid) if args.pid else 0.0, time.perf_counter()
    latencies = sorted(drive(connect, args.seconds, args.connections, args.rate))
    wall = time.perf_counter() - began
    used = cpu_seconds(args.pid) - cpu if args.pid else 0.0
    p99 = latencies[int(len(latencies) * 0.99)] if latencies else 0.0
    print(
        json.dumps(
            {"requests": len(latencies), "seconds": wall, "cpu_seconds": used, "p99": p99, "bytes": sum(map(len, bodies)) / len(bodies)}
        )
    )
    os._exit(0)


if __name__ == "__main__":
    main()
