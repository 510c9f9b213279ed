"""No body is read further than its limit, announced or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from controlplane.api.limits import BodyLimit
from controlplane.api.problems import install

MOST = 100


@pytest.fixture
def http() -> TestClient:
    app = FastAPI()
    install(app)
    app.add_middleware(BodyLimit, most=MOST, exempt="/opamp/")

    @app.post("/{path:path}")
    async def echo(path: str, request: Request) -> int:
        return len(await request.body())

    return TestClient(app, raise_server_exceptions=False)


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total):
        yield b"x"


@pytest.mark.parametrize(("size", "status"), [(MOST - 1, 200), (MOST, 200), (MOST + 1, 413)])
def test_an_announced_body_is_refused_by_its_length(http: TestClient, size: int, status: int) -> None:
    answer = http.post("/a", content=b"x" * size)
    assert answer.status_code == status
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"] == [{"path": "body", "message": f"at most {MOST} bytes"}]


@pytest.mark.parametrize(("size", "status"), [(MOST, 200), (MOST + 1, 422)])
def test_a_body_without_a_length_is_counted_as_it_comes(http: TestClient, size: int, status: int) -> None:
    answer = http.post("/a", content=chunks(size))
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_paths_with_limits_of_their_own_are_left_alone(http: TestClient) -> None:
    assert http.post("/opamp/v1", content=b"x" * (MOST + 1)).json() == MOST + 1
