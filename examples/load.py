"""A loader: sends OTLP/HTTP metric points, each with a number of its own, as fast as it is answered or at a set rate.

`python -m examples.load --endpoint 127.0.0.1:4318 --seconds 5 [--rate 50000] [--points 1000]` prints one JSON object:
`{"points", "accepted", "seconds", "points_per_second", "first_id", "last_id", "retries"}`. A request answered with 429 or 503 is sent again,
the same bytes, until it is taken: what was accepted is exact.
"""

from __future__ import annotations

import argparse
import http.client
import json
import struct
import sys
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

MARK = 0x4C4F41444D41524B
RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Body:
    """A serialized request whose points' `as_int` fields can be overwritten in place: fixed64 at `offsets`, times at `times`."""

    template: bytes
    offsets: tuple[int, ...]
    times: tuple[int, ...]

    def numbered(self, first_id: int, time_ns: int) -> bytes:
        """The request with its points numbered from `first_id` on, all at `time_ns`."""
        body = bytearray(self.template)
        for k, offset in enumerate(self.offsets):
            struct.pack_into("<q", body, offset, first_id + k)
        for offset in self.times:
            struct.pack_into("<Q", body, offset, time_ns)
        return bytes(body)


def make_body(points: int, series: int = 100) -> Body:
    """One gauge `load.points` with `points` points over `series` series."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    attribute = resource.resource.attributes.add()
    attribute.key, attribute.value.string_value = "service.name", "load"
    metric = resource.scope_metrics.add().metrics.add()
    metric.name = "load.points"
    for k in range(points):
        point = metric.gauge.data_points.add()
        point.as_int, point.time_unix_nano = MARK, MARK + 1
        label = point.attributes.add()
        label.key, label.value.string_value = "k", str(k % series)
    body = request.SerializeToString()
    return Body(body, _places(body, MARK), _places(body, MARK + 1))


def _places(body: bytes, mark: int) -> tuple[int, ...]:
    needle, found, at = struct.pack("<q", mark), [], -1
    while (at := body.find(needle, at + 1)) >= 0:
        found.append(at)
    return tuple(found)


def send(connection: http.client.HTTPConnection, body: bytes) -> int:
    """POSTs until taken; returns how often it had to be sent again. Raises ValueError when refused for good."""
    again = 0
    while True:
        connection.request("POST", "/v1/metrics", body, {"content-type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            return again
        if answer.status not in (429, 503):
            raise ValueError(f"refused with {answer.status}")
        again += 1
        time.sleep(RETRY_SECONDS)


def run(endpoint: str, seconds: float, rate: float | None, points: int, first_id: int = 0) -> dict[str, float]:
    """Sends for `seconds`; `rate` in points per second, None for as fast as answered."""
    body = make_body(points)
    host, _, port = endpoint.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    began, sent, retries = time.monotonic(), 0, 0
    while (gone := time.monotonic() - began) < seconds:
        if rate is not None and sent > gone * rate:
            time.sleep((sent - gone * rate) / rate)
            continue
        retries += send(connection, body.numbered(first_id + sent, time.time_ns()))
        sent += points
    took = time.monotonic() - began
    connection.close()
    return {
        "points": sent,
        "accepted": sent,
        "seconds": round(took, 3),
        "points_per_second": round(sent / took, 1),
        "first_id": first_id,
        "last_id": first_id + sent - 1,
        "retries": retries,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--first-id", type=int, default=0)
    args = parser.parse_args()
    json.dump(run(args.endpoint, args.seconds, args.rate, args.points, args.first_id), sys.stdout)
    print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
