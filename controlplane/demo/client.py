"""The demo's client of the public API: it does nothing a user could not do with the same calls."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from flowgate.errors import Broken, Refused, Unreachable

Json = dict[str, Any]


class Api:
    """One authenticated connection. A problem answer becomes `Refused` with the problem's own words."""

    def __init__(self, base: str, token: str) -> None:
        self._http = httpx.Client(base_url=base, headers={"authorization": f"Bearer {token}"}, timeout=60.0)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        return self._json(self._call("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        return self._json(self._call("POST", path, json=dict(body)))

    def put_text(self, path: str, text: str, content_type: str) -> None:
        self._call("PUT", path, content=text.encode(), headers={"content-type": content_type})

    def analysis(self, start: datetime, end: datetime, gateway: str | None, seconds: float = 90.0) -> Json:
        """Starts an analysis and waits for its end."""
        body: Json = {"start": start.isoformat(), "end": end.isoformat(), "gateway": gateway}
        made = self.post("/api/v1/analyses", body)
        deadline = time.monotonic() + seconds
        while made["status"] == "running":
            if time.monotonic() > deadline:
                raise Unreachable(f"the analysis did not end in {seconds:.0f} s")
            time.sleep(0.25)
            made = self.get(f"/api/v1/analyses/{made['id']}")
        if made["status"] != "done":
            raise Broken(f"the analysis failed: {made.get('error')}")
        return made

    def _call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            raise Unreachable(f"the API does not answer: {error}") from error
        if answer.is_error:
            raise Refused(f"{method} {path}: {_problem(answer)}")
        return answer

    @staticmethod
    def _json(answer: httpx.Response) -> Json:
        value: Json = answer.json()
        return value


def _problem(answer: httpx.Response) -> str:
    try:
        problem: Json = answer.json()
    except ValueError:
        return f"{answer.status_code}"
    places = "; ".join(f"{e.get('path')}: {e.get('message')}" for e in problem.get("errors") or [])
    return f"{answer.status_code} {problem.get('detail') or problem.get('title')}" + (f" ({places})" if places else "")
