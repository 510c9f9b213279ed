"""gRPC bodies as they were compressed: the tap inflates them itself, within its limits, and tells them from plain ones by their first bytes."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from controlplane.processes import free_port
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.segments import SegmentStore
from ingest.server import MAX_BODY_BYTES, Tap, grpc_server
from ingest.tap import Buffer
from ingest.tokens import FileTokens
from tests.ingest.otlp_bodies import gauge


class Served:
    def __init__(self, folder: Path) -> None:
        store = SegmentStore.open(folder / "s", 5)
        self.tap = Tap(Library(Decoder(b"k"), Buffer()), store, FileTokens(None, time.monotonic), timedelta(hours=1))
        self.server, self.port = grpc_server(self.tap), free_port()
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def send(
        self,
        body: bytes,
        compression: grpc.Compression = grpc.Compression.NoCompression,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> grpc.StatusCode:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
            return export.future(body, compression=compression, metadata=metadata, timeout=60).code()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("grpc"))
    yield made
    made.server.stop(None)


def body() -> bytes:
    return gauge(1.0, at=time.time_ns()).SerializeToString()


COMPRESSIONS = (grpc.Compression.NoCompression, grpc.Compression.Deflate, grpc.Compression.Gzip)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_is_understood(served: Served, compression: grpc.Compression) -> None:
    before = served.tap.engine.totals.points
    assert served.send(body() + b"\xfa\x01\x90\x4e" + bytes(10_000), compression) is grpc.StatusCode.OK
    assert served.tap.engine.totals.points - before == 1


PLAIN: dict[str, tuple[bytes, grpc.StatusCode]] = {
    "an unknown field that begins like zlib": (b"\x78\x9c\x01", grpc.StatusCode.OK),
    "another, then a field cut short": (b"\x78\x9c\x01\x0a\x05", grpc.StatusCode.INVALID_ARGUMENT),
    "gzip cut short": (gzip.compress(b"\x0a\x00")[:-3], grpc.StatusCode.INVALID_ARGUMENT),
    "gzip of what is no request": (gzip.compress(b"\xff\xff"), grpc.StatusCode.INVALID_ARGUMENT),
    "nothing": (b"", grpc.StatusCode.OK),
    "one byte of zlib": (b"\x78", grpc.StatusCode.INVALID_ARGUMENT),
    "a gzip bomb": (gzip.compress(bytes(MAX_BODY_BYTES + 1)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    "a zlib bomb": (zlib.compress(bytes(MAX_BODY_BYTES + 1)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    "a body over the limit": (bytes(MAX_BODY_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_first_bytes_say_what_a_message_is(served: Served, name: str) -> None:
    message, code = PLAIN[name]
    assert served.send(message) is code


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((("x-flowgate-side", "out"),), grpc.StatusCode.OK),
        ((("x-flowgate-side", "up"),), grpc.StatusCode.INVALID_ARGUMENT),
        ((("authorization", "Bearer wrong"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer "),), grpc.StatusCode.OK),
    ],
)
def test_metadata_says_who_sends_which_copy(served: Served, metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode) -> None:
    assert served.send(body(), metadata=metadata) is code
