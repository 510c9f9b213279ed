"""Full, or unable to write: the answer says so, says when to come back, and nothing is kept."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from controlplane.processes import free_port
from flowgate.errors import Broken, Busy
from flowgate.ids import DEFAULT_ORG
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.pressure import HURRY_SECONDS, Pressure
from ingest.segments import SegmentStore
from ingest.server import LOWER_PRIORITY, Tap, compactor, grpc_server, http_app, ticker, watcher
from ingest.tap import Buffer, Settings, Source
from ingest.tokens import FileTokens
from tests.ingest.otlp_bodies import gauge

SOURCE = Source(Identity(DEFAULT_ORG, None), Side.IN)


def tap(folder: Path, max_rows: int = 1_000) -> Tap:
    buffer = Buffer(Settings(max_rows=max_rows, retry_after=7.0))
    return Tap(Library(Decoder(b"k"), buffer), SegmentStore.open(folder / "s", 5), FileTokens(None, time.monotonic), timedelta(hours=1))


def body() -> bytes:
    return gauge(1.0, at=time.time_ns()).SerializeToString()


def test_http_answers_429_with_retry_after(tmp_path: Path) -> None:
    full = tap(tmp_path, max_rows=0)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(http_app(full))
        async with httpx.AsyncClient(transport=transport, base_url="http://tap") as client:
            return await client.post("/v1/metrics", content=body(), headers={"content-type": "application/x-protobuf"})

    answer = asyncio.run(post())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert status_pb2.Status.FromString(answer.content).code == 8
    assert full.engine.totals.points == 0
    assert full.engine.totals.refused == 1


def test_grpc_answers_resource_exhausted_with_retry_info(tmp_path: Path) -> None:
    server, port = grpc_server(tap(tmp_path, max_rows=0)), free_port()
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        call = export.future(body(), timeout=10)
        assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(call.trailing_metadata() or ())
    server.stop(None)
    details = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    assert details.details[0].Unpack(retry)
    assert retry.retry_delay.ToSeconds() == 7


def test_a_disk_that_cannot_be_written_makes_the_tap_refuse_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tap(tmp_path)

    def full_disk(*_: object) -> None:
        raise Broken("the disk is full")

    made.take(SOURCE, Signal.METRICS, body(), "protobuf")
    monkeypatch.setattr(SegmentStore, "stage", full_disk)
    made.flush()
    with pytest.raises(Busy, match="the disk is full"):
        made.take(SOURCE, Signal.METRICS, body(), "protobuf")
    assert made.stats()["broken"] == "the disk is full"
    monkeypatch.undo()
    made.flush()
    made.take(SOURCE, Signal.METRICS, body(), "protobuf")


def test_what_could_not_be_staged_is_kept_and_staged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tap(tmp_path)
    made.take(SOURCE, Signal.METRICS, body(), "protobuf")
    monkeypatch.setattr(SegmentStore, "stage", lambda *_: (_ for _ in ()).throw(Broken("full")))
    made.flush()
    monkeypatch.undo()
    made.seal()
    assert made.segments == 1


def test_the_ticker_seals_once_more_when_it_is_stopped(tmp_path: Path) -> None:
    made, stop = tap(tmp_path), threading.Event()
    made.take(SOURCE, Signal.METRICS, body(), "protobuf")
    stop.set()
    ticker(made, 3600, stop)
    assert made.segments == 1


def test_what_seals_does_not_merge_and_what_merges_waits_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, merged, stop = tap(tmp_path), list[float](), threading.Event()

    def compact(_: SegmentStore, now: float) -> tuple[()]:
        merged.append(now)
        stop.set()
        return ()

    monkeypatch.setattr(SegmentStore, "compact", compact)
    full.take(SOURCE, Signal.METRICS, body(), "protobuf")
    full.seal()
    full.pressure.crowded = True
    full.compact()
    assert (full.segments, merged) == (1, [])
    full.pressure.crowded = False
    thread = threading.Thread(target=compactor, args=(full, 0.01, stop))
    thread.start()
    thread.join(30)
    assert len(merged) == 1


def test_what_waits_too_long_to_be_written_is_behind(tmp_path: Path) -> None:
    made = tap(tmp_path)
    made.flush()
    assert not made.is_behind()
    made._written -= HURRY_SECONDS + 0.1
    assert made.is_behind()


def test_memory_is_looked_after_while_something_is_being_written(tmp_path: Path) -> None:
    """A write may take ten seconds, and the tap a gigabyte in that time."""
    made, stop, asked = tap(tmp_path), threading.Event(), threading.Event()

    def resident() -> int:
        asked.set()
        return 1000

    made.pressure = Pressure(time.monotonic, 1000, resident, lambda: None)
    guard = threading.Thread(target=watcher, args=(made, stop))
    with made._store_lock, made.pressure.writing():
        guard.start()
        assert asked.wait(30)
        stop.set()
        guard.join(30)
        assert made.pressure.refusal() == "the tap is at its memory limit"


def test_only_the_writing_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds the lock that requests wait for has their priority: a machine that others keep busy would else have it hold that for seconds."""
    made, nice = tap(tmp_path), dict[str, int]()

    def noting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            nice[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return work(*args)

        return noted

    monkeypatch.setattr(Library, "drain", noting("drain", Library.drain))
    monkeypatch.setattr(SegmentStore, "stage", noting("stage", SegmentStore.stage))
    monkeypatch.setattr(SegmentStore, "seal", noting("seal", SegmentStore.seal))
    made.take(SOURCE, Signal.METRICS, body(), "protobuf")
    stop, own = threading.Event(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    stop.set()
    ticker(made, 3600, stop)
    assert nice == {"drain": own, "stage": own + LOWER_PRIORITY, "seal": own + LOWER_PRIORITY}
    made.pressure.crowded = True  # too much waits to be written: what is refused must not keep it from that
    ticker(made, 3600, stop)
    assert nice == {"drain": own, "stage": own, "seal": own}
    made.pressure.crowded = False
    nice.clear()
    made.flush()  # nobody's thread is left: whoever asks does it
    assert nice["stage"] == own
