"""`python -m ingest`: settings → store → buffer → receivers. Prints `ready` when both listen; SIGTERM seals and ends with 0."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast

import grpc
import uvicorn
import uvloop

from flowgate.errors import EXIT_DONE, Broken, FlowgateError, Unreachable
from ingest.calls import Calls
from ingest.direct import connections
from ingest.engine import Library
from ingest.otlp import Decoder, Limits
from ingest.patience import patiently
from ingest.pressure import ROW_BYTES, Pressure, fitting
from ingest.redaction import FileRules
from ingest.segments import SegmentStore
from ingest.server import IDLE_SECONDS, Guarded, Tap, compactor, grpc_server, http_app, new_calls, ticker, watcher
from ingest.tap import MAX_ROWS, Buffer, Settings
from ingest.tokens import FileTokens
from ingest.workers import MOST_WORKERS, Keeper, Team, die_with_parent, folder_of, left_over, usual_workers

PORT_SECONDS, LOCK_SECONDS = 3.0, 10.0
"""What a tap that was killed leaves to its workers is free again within: they let go of the ports at once, of the store once they have drained."""
STORE_SHARE = 4
"""Of the memory, what the store may have for what does not fit into its usual bound."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h


@dataclass(frozen=True, slots=True)
class TapSettings:
    """What the tap is started with. `tokens` None: loopback's default, no token maps to the default org."""

    data: Path
    grpc: str = "127.0.0.1:4327"
    http: str = "127.0.0.1:4328"
    bucket_seconds: int = 5
    seal_seconds: float = 5.0
    tokens: Path | None = None
    redaction: Path | None = None
    retention_hours: float = 24.0
    retention_bytes: int = 20 * 2**30
    max_series: int = 2_000_000
    memory_bytes: int = 4 * 2**30
    keep_points: bool = False
    compiled: bool = True
    workers: int = 1
    worker: int | None = None
    """Which of them this process is; None: the only one, or the one that keeps the others."""
    restarts: int = 0
    keeper: int = 0
    """Of a worker: the process that keeps it."""


def hash_key(root: Path) -> bytes:
    """The store's own hash key, made at its first start: series ids of different stores cannot be guessed or forged."""
    path = root / "hash.key"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            made = root / f".hash.key-{os.getpid()}"
            made.touch(0o600)
            made.write_bytes(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):  # another process was first: its key counts
                path.hardlink_to(made)
            made.unlink()
        return path.read_bytes()
    except OSError as error:
        raise Broken(f"{root} cannot be written: {error.strerror}") from error


def keep_memory() -> None:
    """Tells glibc to reuse what bodies and drains free instead of giving it back: fresh pages cost more than the scan of what they hold."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 128 * 2**20)
        libc.mallopt(M_ARENA_MAX, 2)  # each holds what it frees, and two dozen threads would have one each


def run(settings: TapSettings) -> int:
    """Serves until SIGTERM or SIGINT. Raises `Unreachable` for a taken port and `Broken` for a folder that cannot be written."""
    keep_memory()
    key, team = hash_key(settings.data), _team(settings)
    sock = _listen(settings.http, "OTLP/HTTP", shared=team is not None)
    memory = settings.memory_bytes // settings.workers
    opened = partial(SegmentStore.open, bucket_seconds=settings.bucket_seconds, patience=LOCK_SECONDS, most_memory=memory // STORE_SHARE)
    store = opened(folder_of(settings.data, settings.worker or 0))
    others = [] if settings.worker else [opened(f) for f in left_over(settings.data, settings.workers)]
    limits = Limits(past_seconds=round(settings.retention_hours * 3600))
    bounds = Settings(bucket_seconds=settings.bucket_seconds, max_rows=fitting(MAX_ROWS, memory, ROW_BYTES))
    tap = Tap(
        Library(Decoder(key, limits), Buffer(bounds)),
        store,
        FileTokens(settings.tokens, time.monotonic),
        timedelta(hours=settings.retention_hours),
        settings.retention_bytes // (settings.workers + len(others)),
        FileRules(settings.redaction, time.monotonic),
        pressure=Pressure(time.monotonic, memory),
        team=team,
        left_over=others,
    )
    calls = new_calls()
    receiver = grpc_server(tap, shared=team is not None, calls=calls)
    _bind(receiver, settings.grpc, shared=team is not None)
    receiver.start()
    stop = threading.Event()
    clock = threading.Thread(target=ticker, args=(tap, settings.seal_seconds, stop), name="seal")
    merger = threading.Thread(target=compactor, args=(tap, settings.seal_seconds, stop), name="merge")
    guard = threading.Thread(target=watcher, args=(tap, stop), name="memory")
    for thread in (clock, merger, guard):
        thread.start()
    tap.publish()  # before it takes its first connection, so that no other worker misses it then
    if settings.compiled:
        threading.Thread(target=accelerate, args=(tap, key, limits, bounds, settings), name="compile", daemon=True).start()
    try:
        uvloop.run(_serve(tap, sock, calls))
    finally:
        receiver.stop(2.0).wait()
        stop.set()
        for one in (store, *others):
            one.end()
        for thread in (clock, merger, guard):
            thread.join()
        for one in (store, *others):
            one.close()
    return EXIT_DONE


def accelerate(tap: Tap, key: bytes, limits: Limits, bounds: Settings, settings: TapSettings) -> None:
    """Puts the compiled engine behind the receivers once it is ready. Where it cannot be had, the library stays, and `/stats` says so.

    What numba has not compiled on this machine yet, another process compiles: it takes a core for 60 to 80 seconds.
    """
    try:
        with (settings.data / "compile.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # workers compile one after the other: the second only loads
            subprocess.run([sys.executable, "-m", "ingest.warm"], check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        from ingest.warm import warm
        from ingest.wire import Wire

        warm(Wire(key, limits, bounds))
        most = fitting(settings.max_series, settings.memory_bytes) // settings.workers
        tap.swap(Wire(key, limits, bounds, most, settings.keep_points))
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        print(f"the compiled scanner cannot be had, the library stays: {error}", file=sys.stderr, flush=True)


async def _serve(tap: Tap, sock: socket.socket, calls: Calls) -> None:
    config = uvicorn.Config(
        http_app(tap),
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ws="none",
        http=cast("type[asyncio.Protocol]", connections(tap)),
        timeout_keep_alive=IDLE_SECONDS,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(server.serve([sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    sweeper = asyncio.create_task(_sweep(calls))
    print("ready", flush=True)
    await task
    sweeper.cancel()


async def _sweep(calls: Calls) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    while True:
        await asyncio.sleep(1.0)
        now = loop.time()
        Guarded.forgive(now - before - 1.0)
        before = now
        calls.sweep()
        Guarded.sweep(now)


def _team(settings: TapSettings) -> Team | None:
    """This worker's place among the others; None for a tap alone."""
    if settings.worker is None:
        return None
    die_with_parent(settings.keeper)
    return Team(settings.data, settings.workers, settings.worker, settings.restarts)


def keep(settings: TapSettings, argv: Sequence[str]) -> int:
    """Keeps the workers up until SIGTERM or SIGINT. What can be found wrong before they start is said once, here."""
    hash_key(settings.data)
    for address, what in ((settings.http, "OTLP/HTTP"), (settings.grpc, "OTLP/gRPC")):
        _listen(address, what).close()
    said = partial(print, flush=True)
    return Keeper(argv, settings.workers, settings.data, said, partial(said, file=sys.stderr)).run()


def _listen(address: str, what: str, *, shared: bool = False) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        patiently(lambda: sock.bind((host, int(port))), OSError, _is_taken, PORT_SECONDS)
    except OSError as error:
        sock.close()
        raise Unreachable(f"port {port} (tap, {what}) cannot be had: {error.strerror}") from error
    if not shared:  # a worker's connections wait for it once it serves, and go to the others until then
        sock.listen(1024)
    return sock


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _bind(server: grpc.Server, address: str, *, shared: bool) -> None:
    if not shared:
        _listen(address, "OTLP/gRPC").close()  # asked first, since gRPC writes lines of its own when a port is taken
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise Unreachable(f"port {address.rpartition(':')[2]} (tap, OTLP/gRPC) is taken") from error
    if bound == 0:
        raise Unreachable(f"port {address.rpartition(':')[2]} (tap, OTLP/gRPC) is taken")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flowgate tap", description="The tap: OTLP in, segments out.")
    defaults = TapSettings(Path())
    parser.add_argument("--data", type=Path, required=True, help="folder of the segment store")
    parser.add_argument("--grpc", default=defaults.grpc, help="OTLP/gRPC address")
    parser.add_argument("--http", default=defaults.http, help="OTLP/HTTP address")
    parser.add_argument("--bucket-seconds", type=int, default=defaults.bucket_seconds, help="length of an aggregate's bucket")
    parser.add_argument("--seal-seconds", type=float, default=defaults.seal_seconds, help="seal segments this often")
    parser.add_argument("--tokens", type=Path, default=None, help="token file that the control plane writes")
    parser.add_argument("--redaction", type=Path, default=None, help="file of redaction rules by org (docs/tap.md)")
    parser.add_argument("--retention-hours", type=float, default=defaults.retention_hours, help="keep segments this long")
    parser.add_argument(
        "--retention-bytes", type=int, default=defaults.retention_bytes, help="keep at most this much on disk; the oldest segments go first"
    )
    parser.add_argument(
        "--max-series", type=int, default=defaults.max_series, help="series kept in memory; more are sampled there, not on disk"
    )
    parser.add_argument(
        "--memory-bytes",
        type=int,
        default=defaults.memory_bytes,
        help="resident memory, of all workers; near it the tap keeps fewer series and refuses",
    )
    parser.add_argument("--keep-points", action="store_true", help="write every point too (raw_points)")
    parser.add_argument("--no-compiled", dest="compiled", action="store_false", help="stay with the protobuf library")
    parser.add_argument(
        "--workers",
        type=int,
        default=usual_workers(len(os.sched_getaffinity(0))),
        help="processes behind the same ports; usually one for two cores",
    )
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--restarts", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--keeper", type=int, default=0, help=argparse.SUPPRESS)
    given = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(given)
    if not 1 <= args.workers <= MOST_WORKERS:
        parser.error(f"--workers is 1 to {MOST_WORKERS}")
    settings = TapSettings(**vars(args))
    try:
        return keep(settings, given) if settings.workers > 1 and settings.worker is None else run(settings)
    except FlowgateError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
