"""The shop as a running thing: one metronome a service, one shopper, one legacy program, and a prompt end."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.trace import SpanContext

from examples.shop import traffic
from examples.shop.catalogue import SERVICES, catalogue, of_service
from examples.shop.fluent import ForwardClient, forward
from examples.shop.plain_service import PlainService
from examples.shop.sdk_service import SdkService, grpc_exporters, http_exporters

INTERVAL = 1.0
"""Seconds between two exports of every series."""
OVER_HTTP = frozenset({"cart", "payment"})
PLAIN = "inventory"
STOP_WITHIN = 1.5
"""Seconds all services together may take to stop; what is not sent then is lost."""

Service = SdkService | PlainService


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the shop sends to, each host:port; without `fluent` the legacy program stays silent."""

    otlp_grpc: str
    otlp_http: str
    fluent: str | None = None


def make_service(name: str, seed: int, targets: Targets) -> Service:
    metrics = of_service(catalogue(seed), name)
    if name == PLAIN:
        return PlainService(name, metrics, seed, targets.otlp_http)
    exporters = http_exporters(targets.otlp_http) if name in OVER_HTTP else grpc_exporters(targets.otlp_grpc)
    return SdkService(name, metrics, seed, exporters)


def exports(service: Service) -> tuple[int, int]:
    """Metric exports of a service so far: taken and failed."""
    counted = service.exporter if isinstance(service, SdkService) else service
    return counted.taken, counted.failed


class Workload:
    """The whole shop in one process: `start` returns once every series was taken by the gateway."""

    def __init__(self, targets: Targets, seed: int) -> None:
        self._services = {name: make_service(name, seed, targets) for name in SERVICES}
        self._fluent = ForwardClient(targets.fluent) if targets.fluent else None
        self._seed = seed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, patience: float = 15.0) -> bool:
        """Export every series once and begin the beats; False if a service was not heard within `patience` seconds."""
        deadline = time.monotonic() + patience
        if not all(self._first_beat(service, deadline) for service in self._services.values()):
            return False
        for place, service in enumerate(self._services.values()):
            self._begin(lambda service=service: self._service_beat(service), phase=place / len(self._services))
        self._begin(self._shopper(), phase=0.05)
        if self._fluent:
            self._begin(self._ledger(self._fluent), phase=0.1)
        return True

    def stop(self) -> tuple[int, int]:
        """Stop beating, send what is buffered, and say how many metric exports were taken and how many failed."""
        self._stop.set()
        deadline = time.monotonic() + STOP_WITHIN
        endings = [threading.Thread(target=service.stop, daemon=True) for service in self._services.values()]
        for thread in endings:
            thread.start()
        for thread in (*self._threads, *endings):
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._fluent:
            self._fluent.close()
        counts = [exports(service) for service in self._services.values()]
        return sum(taken for taken, _ in counts), sum(failed for _, failed in counts)

    def _first_beat(self, service: Service, deadline: float) -> bool:
        while time.monotonic() < deadline and not self._stop.is_set():
            service.beat()
            if exports(service)[0]:
                return True
            self._stop.wait(0.2)
        return False

    def _service_beat(self, service: Service) -> None:
        chance = random.Random(f"{self._seed}/{service.name}/{exports(service)[0]}")
        for line in traffic.lines(service.name, chance):
            service.log(line)
        service.beat()

    def _shopper(self) -> Callable[[], None]:
        chance = random.Random(f"{self._seed}/shopper")

        def shop() -> None:
            for _ in range(traffic.JOURNEYS_PER_BEAT):
                self._journey(traffic.journey(chance))

        return shop

    def _journey(self, steps: tuple[traffic.Step, ...]) -> None:
        start = time.time_ns() - 1_000_000_000
        contexts: list[SpanContext] = []
        for step in steps:
            parent = contexts[step.parent] if step.parent >= 0 else None
            contexts.append(self._services[step.service].span(step, parent, start))
        failed = any(step.failed for step in steps)
        ending = traffic.Line("ERROR", "payment failed", {}) if failed else traffic.Line("INFO", "order placed", {})
        self._services["checkout"].log(ending, contexts[4])

    def _ledger(self, client: ForwardClient) -> Callable[[], None]:
        chance = random.Random(f"{self._seed}/ledger")
        return lambda: client.send(forward("shop.ledger", time.time_ns(), traffic.legacy_records(chance)))

    def _begin(self, act: Callable[[], None], phase: float) -> None:
        thread = threading.Thread(target=self._metronome, args=(act, phase), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _metronome(self, act: Callable[[], None], phase: float) -> None:
        """Act once an interval, on a grid that does not drift; beats missed by a slow gateway are left out."""
        due = time.monotonic() + INTERVAL + phase
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            act()
            due += INTERVAL
            while due < time.monotonic():
                due += INTERVAL
