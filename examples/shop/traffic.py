"""What happens in the shop: values, log lines and journeys, all drawn from seeded chance."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from examples.shop.catalogue import Metric

Severity = Literal["DEBUG", "INFO", "WARN", "ERROR"]

TOUCHED = 60
"""Attribute sets that one beat of a big counter changes; all of them are exported either way."""
JOURNEYS_PER_BEAT = 3
DEBUG_LINES_PER_BEAT = {"cart": 30, "payment": 24}
"""The only services that log at DEBUG."""


@dataclass(frozen=True, slots=True)
class Line:
    """One log record; `attributes` carry what the message leaves out."""

    severity: Severity
    body: str
    attributes: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Step:
    """One span of a checkout: offset and length in seconds from the start of the journey, `parent` an index or -1."""

    service: str
    name: str
    kind: Literal["server", "client", "internal"]
    parent: int
    offset: float
    length: float
    failed: bool = False


def touched(metric: Metric, count: int, chance: random.Random) -> Iterator[int]:
    """Indices of the series that change in one beat: all of a small metric, a few dozen of an exploded one."""
    if count <= TOUCHED or metric.kind == "gauge":
        yield from range(count)
    else:
        yield from chance.sample(range(count), TOUCHED)


def value_of(metric: Metric, chance: random.Random) -> float:
    """The next value to record: an increase of a counter, a change of an up-down counter, else a measurement."""
    if metric.kind == "counter":
        return chance.expovariate(1 / max(metric.middle, 1e-9)) if metric.unit == "By" else arrivals(metric.middle, chance)
    if metric.kind == "updown":
        return chance.choice((-1, 0, 0, 1))
    if metric.kind == "gauge":
        return metric.middle * (1 + chance.uniform(-0.1, 0.1))
    return metric.middle * chance.lognormvariate(0, 0.5)


def arrivals(rate: float, chance: random.Random) -> int:
    """How many things happened in a second in which `rate` of them are expected."""
    whole = int(rate)
    return whole + (1 if chance.random() < rate - whole else 0)


def journey(chance: random.Random) -> tuple[Step, ...]:
    """One checkout request across the six services; one in thirty fails at the payment provider."""
    slow = chance.lognormvariate(0, 0.35)
    failed = chance.random() < 1 / 30

    def step(service: str, name: str, kind: Literal["server", "client", "internal"], parent: int, offset: float, length: float, *, bad: bool = False) -> Step:  # fmt: skip
        return Step(service, name, kind, parent, offset * slow, length * slow, bad)

    return (
        step("frontend", "POST /basket/buy", "server", -1, 0.0, 0.42, bad=failed),
        step("frontend", "cart.Get", "client", 0, 0.01, 0.05),
        step("cart", "GET /cart", "server", 1, 0.015, 0.04),
        step("frontend", "checkout.Place", "client", 0, 0.07, 0.33, bad=failed),
        step("checkout", "POST /checkout/pay", "server", 3, 0.075, 0.32, bad=failed),
        step("checkout", "validate", "internal", 4, 0.08, 0.02),
        step("inventory", "Reserve", "server", 4, 0.11, 0.05),
        step("payment", "Charge", "server", 4, 0.17, 0.12, bad=failed),
        step("payment", "provider.authorize", "client", 7, 0.18, 0.1, bad=failed),
        step("shipping", "Quote", "server", 4, 0.3, 0.06),
    )


def lines(service: str, chance: random.Random) -> Iterator[Line]:
    """What one service logs in one beat, apart from its journeys."""
    for _ in range(DEBUG_LINES_PER_BEAT.get(service, 0)):
        yield debug_line(service, chance)
    for _ in range(arrivals(1.5, chance)):
        yield Line("INFO", "request served", {"status": 200, "bytes": chance.randrange(200, 90_000)})
    if chance.random() < 0.15:
        yield Line("WARN", "retrying a slow dependency", {"attempt": chance.randrange(1, 4)})
    if chance.random() < 0.03:
        yield Line("ERROR", "dependency did not answer", {"timeout_ms": 2_000})


def debug_line(service: str, chance: random.Random) -> Line:
    key = f"{chance.getrandbits(48):012x}"
    if service == "cart":
        return Line("DEBUG", f"cache lookup key=cart:{key} hit={chance.random() < 0.8}", {"cache.shard": chance.randrange(16)})
    return Line(
        "DEBUG",
        f"provider frame {key} state={chance.choice(('open', 'sent', 'acked'))}",
        {"frame.bytes": chance.randrange(60, 900)},
    )


def legacy_records(chance: random.Random, count: int = 10) -> Iterator[dict[str, str]]:
    """Log lines of the ledger, a program from before OTLP, as Fluent Forward records."""
    for _ in range(count):
        level = chance.choices(("info", "warn", "error"), (90, 9, 1))[0]
        entry = chance.randrange(10**6)
        yield {"log": f"{level.upper()} ledger: entry {entry:06d} booked", "level": level, "program": "ledger"}
