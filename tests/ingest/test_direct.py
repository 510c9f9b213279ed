"""Exports that a connection answers by itself: the same answers as by the application, however the bytes are cut, and no place is lost."""

from __future__ import annotations

import asyncio
import gzip
import random
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
import uvloop

from controlplane.processes import free_port, wait_until
from ingest.direct import MAX_RESERVED_BYTES, SPARE_BYTES, SPARES, WINDOW_BYTES, Direct, connections
from ingest.engine import Library
from ingest.otlp import Decoder
from ingest.segments import SegmentStore
from ingest.server import MAX_BODY_BYTES, Tap, http_app
from ingest.tap import Buffer, Settings
from ingest.tokens import FileTokens
from tests.ingest.otlp_bodies import gauge

OK = "HTTP/1.1 200 OK"


class Served:
    """A tap behind uvicorn in a thread of this process, so that its places can be counted."""

    def __init__(self, folder: Path, max_rows: int = 10**9) -> None:
        buffer = Buffer(Settings(max_rows=max_rows, retry_after=3.0))
        self.tap = Tap(
            Library(Decoder(b"k"), buffer), SegmentStore.open(folder / "s", 5), FileTokens(None, time.monotonic), timedelta(hours=1)
        )
        self.port = free_port()
        http = cast("type[asyncio.Protocol]", connections(self.tap))
        config = uvicorn.Config(http_app(self.tap), port=self.port, log_config=None, access_log=False, ws="none", http=http)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: uvloop.run(self.server.serve()))
        self.thread.start()
        wait_until("the server", lambda: self.server.started, 60)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def points(self) -> int:
        return self.tap.engine.totals.points


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("direct"))
    yield made
    made.stop()


def body(size: int = 0) -> bytes:
    """One point; padded by a field that nobody knows."""
    made = gauge(1.0, at=time.time_ns()).SerializeToString()
    if size <= len(made):
        return made
    room = size - len(made) - 6  # tag and a length of four bytes, which need not be the shortest
    return made + b"\xfa\x01" + bytes([room & 127 | 128, room >> 7 & 127 | 128, room >> 14 & 127 | 128, room >> 21]) + bytes(room)


def post(content: bytes, path: str = "/v1/metrics", version: str = "1.1", **headers: str) -> bytes:
    named = {
        "content-type": "application/x-protobuf",
        "content-length": str(len(content)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    head = f"POST {path} HTTP/{version}\r\nHost: tap\r\n" + "".join(f"{k}: {v}\r\n" for k, v in named.items() if v)
    return head.encode() + b"\r\n" + content


def answers(connection: socket.socket, count: int) -> list[str]:
    """Status lines of so many answers with a length."""
    file, found = connection.makefile("rb"), list[str]()
    for _ in range(count):
        found.append(file.readline().decode().strip())
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        file.read(length)
    return found


SIZES = (0, WINDOW_BYTES - 200, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1, 3 * WINDOW_BYTES, 1_000_000, 5_000_000)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_of_any_size_is_taken(served: Served, size: int) -> None:
    before = served.points()
    with served.connect() as connection:
        for _ in range(2):
            connection.sendall(post(body(size)))
            assert answers(connection, 1) == [OK]
    assert served.points() - before == 2


@pytest.mark.parametrize("seed", range(8))
def test_however_the_bytes_are_cut_the_answers_are_the_same(served: Served, seed: int) -> None:
    dice = random.Random(seed)
    sent = (
        b"".join(post(body(dice.choice((0, 500, WINDOW_BYTES + dice.randrange(9), 60_000)))) for _ in range(3))
        + b"GET /healthz HTTP/1.1\r\n\r\n"
    )
    before = served.points()
    with served.connect() as connection:
        at = 0
        while at < len(sent):
            step = dice.choice((1, 7, 100, 5_000, 40_000)) if at % 3 else dice.randrange(1, 2_000)
            connection.sendall(sent[at : at + step])
            at += step
            if dice.random() < 0.05:
                time.sleep(0.002)
        assert answers(connection, 4) == [OK] * 4
    assert served.points() - before == 3


def test_exports_wait_behind_an_answer_of_the_application(served: Served) -> None:
    """Pipelined: a GET, an export, a GET, an export, all in one write; the answers come in that order."""
    get = b"GET /nowhere HTTP/1.1\r\n\r\n"
    before = served.points()
    with served.connect() as connection:
        connection.sendall(get + post(body()) + get + post(body()))
        assert answers(connection, 4) == ["HTTP/1.1 404 Not Found", OK, "HTTP/1.1 404 Not Found", OK]
    assert served.points() - before == 2


CASES: dict[str, tuple[bytes, str]] = {
    "gzip": (post(gzip.compress(body()), content_encoding="gzip"), OK),
    "damaged gzip": (post(gzip.compress(body())[:-9], content_encoding="gzip"), "HTTP/1.1 400 Bad Request"),
    "a bomb": (post(gzip.compress(bytes(MAX_BODY_BYTES + 1)), content_encoding="gzip"), "HTTP/1.1 413 Content Too Large"),
    "an unknown encoding": (post(body(), content_encoding="br"), "HTTP/1.1 415 Unsupported Media Type"),
    "an unknown type": (post(body(), content_type="text/plain"), "HTTP/1.1 415 Unsupported Media Type"),
    "a type with a parameter": (post(body(), content_type="application/x-protobuf; v=1"), OK),
    "JSON": (post(b"{}", content_type="application/json"), OK),
    "not protobuf": (post(b"\xff\xff\xff"), "HTTP/1.1 400 Bad Request"),
    "an unknown side": (post(body(), x_flowgate_side="up"), "HTTP/1.1 400 Bad Request"),
    "a known side": (post(body(), x_flowgate_side="out"), OK),
    "a wrong token": (post(body(), authorization="Bearer x"), "HTTP/1.1 401 Unauthorized"),
    "another signal": (post(b"", path="/v1/traces"), OK),
    "no such path": (post(b"", path="/v1/profiles"), "HTTP/1.1 404 Not Found"),
    "chunked": (post(b"1\r\n\x0a\r\n1\r\n\0\r\n0\r\n\r\n", content_length="", transfer_encoding="chunked"), OK),
    "too large": (post(bytes(MAX_BODY_BYTES + 1)), "HTTP/1.1 413"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_request_has_its_answer_and_the_connection_serves_on(served: Served, name: str) -> None:
    request, status = CASES[name]
    with served.connect() as connection:
        for _ in range(2):
            connection.sendall(request)
            (answer,) = answers(connection, 1)
            assert answer.startswith(status)


@pytest.mark.parametrize(("version", "header"), [("1.1", "close"), ("1.0", "")])
def test_a_connection_that_shall_end_ends_after_the_answer(served: Served, version: str, header: str) -> None:
    with served.connect() as connection:
        connection.sendall(post(body(40_000), version=version, connection=header))
        answer = b""
        while part := connection.recv(4096):
            answer += part
    assert answer.startswith(OK.encode())
    assert b"connection: close" in answer


def test_who_expects_100_continue_is_told(served: Served) -> None:
    content = body()
    request = post(content, expect="100-continue")
    with served.connect() as connection:
        connection.sendall(request[: -len(content)])
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(content)
        assert answers(connection, 1) == [OK]


def test_a_full_tap_says_when_to_come_back(tmp_path: Path) -> None:
    full = Served(tmp_path, max_rows=0)
    try:
        with full.connect() as connection:
            connection.sendall(post(body()))
            answer = connection.recv(4096).decode("latin-1")
    finally:
        full.stop()
    assert answer.startswith("HTTP/1.1 429 Too Many Requests\r\n")
    assert "\r\nretry-after: 3\r\n" in answer


def test_bodies_that_break_off_give_their_places_back_and_few_places_are_kept(served: Served) -> None:
    for size in (100, 100_000, 6_000_000):
        for _ in range(SPARES + 2):
            with served.connect() as connection:
                connection.sendall(post(body(size))[: -50 - size // 2])
    wait_until("the ends of connections", lambda: Direct.reserved == 0, 10)
    assert len(Direct.spares) <= SPARES
    assert all(len(spare) <= SPARE_BYTES for spare in Direct.spares)


def test_more_announced_bodies_than_there_is_room_for_are_taken_by_the_application(served: Served) -> None:
    """Who announces much and sends nothing takes no place from the others."""
    before = served.points()
    idle = [served.connect() for _ in range(MAX_RESERVED_BYTES // MAX_BODY_BYTES)]
    try:
        for connection in idle:
            connection.sendall(post(bytes(MAX_BODY_BYTES))[:1_000])
        wait_until("their heads", lambda: Direct.reserved == MAX_RESERVED_BYTES, 10)
        with served.connect() as connection:
            connection.sendall(post(body(100_000)))
            assert answers(connection, 1) == [OK]
    finally:
        for connection in idle:
            connection.close()
    assert served.points() - before == 1


def test_a_stop_answers_the_body_that_is_under_way(tmp_path: Path) -> None:
    stopping = Served(tmp_path)
    request = post(body(200_000))
    with stopping.connect() as connection:
        connection.sendall(request[:100_000])
        wait_until("the head", lambda: Direct.reserved > 0, 10)
        stopping.server.should_exit = True
        time.sleep(0.3)
        connection.sendall(request[100_000:])
        assert answers(connection, 1) == [OK]
    stopping.stop()


def test_the_server_counts_what_it_answers(served: Served) -> None:
    state: Any = served.server.server_state
    before = state.total_requests
    with served.connect() as connection:
        connection.sendall(post(body()))
        answers(connection, 1)
    assert state.total_requests == before + 1
