"""Errors → `application/problem+json` (RFC 9457), with the places that are wrong in `errors`."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from controlplane.auth import Forbidden
from flowgate.errors import Busy, Conflict, FlowgateError, Invalid, NotFound, Problem, Refused, Unauthorized

log = logging.getLogger("controlplane.api")
MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 404: "Not found", 405: "Method not allowed", 409: "Conflict",
    413: "Too large", 415: "Unsupported media type", 422: "Invalid", 429: "Busy", 500: "Broken", 503: "Unavailable",
}  # fmt: skip


def problem(status: int, detail: str, errors: tuple[Problem, ...] = (), headers: dict[str, str] | None = None) -> JSONResponse:
    body = {
        "type": f"urn:flowgate:problem:{status}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "errors": [{"path": e.path, "message": e.message} for e in errors],
    }
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers=headers)


def status_of(error: FlowgateError) -> int:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 500


_STATUS: tuple[tuple[type[FlowgateError], int], ...] = (
    (Forbidden, 403),
    (Unauthorized, 401),
    (NotFound, 404),
    (Conflict, 409),
    (Invalid, 422),
    (Refused, 400),
    (Busy, 503),
)


def install(app: FastAPI) -> None:
    """Every error of the API leaves it as a problem."""

    @app.exception_handler(FlowgateError)
    async def ours(_: Request, error: FlowgateError) -> JSONResponse:
        status = status_of(error)
        headers = {"www-authenticate": "Bearer"} if status == 401 else None
        return problem(status, str(error), error.problems if isinstance(error, Invalid) else (), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = tuple(Problem("/".join(map(str, e["loc"])), str(e["msg"])) for e in error.errors())
        return problem(422, "the request is not valid", found)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), (), dict(error.headers) if error.headers else None)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s broke", request.method, request.url.path, exc_info=error)
        return problem(500, "something broke here; the log says what")

    assert all((ours, invalid, http, broken))
