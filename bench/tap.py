"""`flowgate bench tap`: the tap against a Collector 0.161.0 that writes what it receives to a file, or drops it; one core each, interleaved.

Every contender runs on core 0 and stands still while another is measured; the loader has core 1. All take the same bodies. `make bench-peers`
builds the Collector, `make gateway` what the recorded bodies come from. FLOWGATE_BENCH_SCALE shortens every measurement (0.1: to see that it runs).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import decode
from bench.bodies import scrapes, templates
from bench.contenders import EXPORTERS, LOADER_CORE, PEER, Contender, Loader, loader, peer, tap, tap_at_start, wait
from bench.loader import Order, Seen, read, write
from bench.recorded import COLLECTOR, NODE, record
from bench.report import Bar, median, say, show

SCALE = float(os.environ.get("FLOWGATE_BENCH_SCALE", "1"))
ROUNDS = 3 if SCALE >= 0.5 else 1
TAP_SECONDS, PEER_SECONDS = 2.5, 1.2
"""The tap's hold a write of each second and mostly a sealing of each five; the Collector has no such rhythm."""
MEMORY_BYTES = 2 * 2**30
"""The cap that the tap is given for the overload."""
SERIES = 48_000


@dataclass(frozen=True, slots=True)
class Case:
    """One race: bodies of `points` points over one transport, and by how much the tap should win against which peer. 0: printed, not judged."""

    name: str
    bodies: str
    transport: str
    points: int
    bounds: Mapping[str, float]
    per_cpu: bool = False
    """Requests per CPU-second of the server, not per second."""
    zipped: bool = False
    series: int = 0


def against(*bounds: float) -> Mapping[str, float]:
    return dict(zip(EXPORTERS, bounds, strict=True))


HTTP = {1000: against(18, 11, 8), 8000: against(15, 8, 5.5)}
GRPC = against(10, 5.5, 4)


def steady(kind: str) -> list[Case]:
    """Series that return with every scrape: plain and gzip."""
    cases: list[Case] = []
    for points in (1000, 8000):
        cases.append(Case(f"http_{points}.{kind}", f"{kind}_{points}", "http", points, HTTP[points]))
        cases.append(Case(f"grpc_{points}.{kind}", f"{kind}_{points}", "grpc", points, GRPC))
    for transport, least in (("http", 5.0), ("grpc", 1.6)):
        cases.append(Case(f"{transport}_gzip_per_cpu.{kind}", f"{kind}_1000", transport, 1000, {"nop": least}, per_cpu=True, zipped=True))
    return cases


SMALL = [
    Case("http_20.generated", "generated_20", "http", 20, {"nop": 1.0}),
    Case("grpc_20.generated", "generated_20", "grpc", 20, {"nop": 0}),
]
BESIDE = {"file_json": 0.0, "nop": 0.0}
SHUFFLED = [Case("http_1000.shuffled", "shuffled_1000", "http", 1000, BESIDE)]
CHURNING = [Case("http_1000.churning", "numbered_1000", "http", 1000, BESIDE, series=1 << 32)]
MANY = [Case("http_1000.10m_series", "numbered_1000", "http", 1000, {"nop": 0}, series=10_000_000)]


@dataclass(slots=True)
class Bench:
    """Where it happens, and what was found."""

    folder: Path
    loader: Loader
    bars: list[Bar] = field(default_factory=list[Bar])
    began: float = field(default_factory=time.monotonic)

    def file(self, bodies: str) -> Path:
        return self.folder / f"{bodies}.bin"

    def order(self, case: Case, contender: Contender, seconds: float) -> Order:
        return Order(
            str(self.file(case.bodies)), case.transport, contender.port(case.transport), contender.pid, seconds * SCALE,
            zipped=case.zipped, series=case.series,
        )  # fmt: skip

    def add(self, *bars: Bar) -> None:
        self.bars.extend(bars)

    def say(self, text: str) -> None:
        say(f"[{time.monotonic() - self.began:4.0f} s] {text}")


def make_bodies(bench: Bench) -> None:
    now = time.time_ns()
    for points in (20, 1000, 8000):
        write(bench.file(f"generated_{points}"), scrapes(SERIES // 500, 1, points, now))
    write(bench.file("shuffled_1000"), scrapes(SERIES // 500, 4, 1000, now, "shuffled", apart_ns=0))
    write(bench.file("numbered_1000"), templates(16, 1000))
    write(bench.file("million_8000"), scrapes(2000, 1, 8000, now))
    write(bench.file("million_shuffled_8000"), scrapes(2000, 1, 8000, now, "shuffled"))
    for size, bodies in record(bench.folder, (1000, 8000), SERIES).items():
        write(bench.file(f"recorded_{size}"), bodies)


# --- races -----------------------------------------------------------------------------------------------------------------------------


def races(bench: Bench, cases: Sequence[Case]) -> None:
    """All contenders that the cases name, started once; each case in interleaved rounds."""
    kinds = [kind for kind in EXPORTERS if any(kind in case.bounds for case in cases)]
    with ExitStack() as stack:
        contenders = [stack.enter_context(tap(bench.folder)), *(stack.enter_context(peer(kind, bench.folder)) for kind in kinds)]
        for contender in contenders:
            with contender.awake():
                pass
        for case in cases:
            race(bench, case, [c for c in contenders if c.kind == "tap" or c.kind in case.bounds])


def race(bench: Bench, case: Case, contenders: Sequence[Contender]) -> None:
    found: dict[str, list[float]] = {c.kind: [] for c in contenders}
    shares: list[float] = []
    for number in range(1 if case.series else ROUNDS):
        for contender in contenders:
            order = bench.order(case, contender, TAP_SECONDS if contender.kind == "tap" else PEER_SECONDS)
            with contender.awake():
                seen = bench.loader.load(replace(order, warm=0.3 if number else 1.0))
                if case.series and contender.kind == "tap":
                    seen.seconds += settled(contender)
            found[contender.kind].append(per_cpu(seen) if case.per_cpu else rate(seen))
            shares.append(seen.loader_share)
    unit = "requests a CPU-second" if case.per_cpu else "requests/s"
    told = ", ".join(f"{kind} {min(v):.0f}-{max(v):.0f}" for kind, v in found.items())
    bench.say(f"{case.name}: {told} {unit}; the loader used {max(shares):.0%} of its core at most")
    best = median(found["tap"])
    for kind, least in case.bounds.items():
        ratios = [ours / theirs for ours, theirs in zip(found["tap"], found[kind], strict=True)]
        bench.add(Bar(f"{case.name}.{kind}", best / median(found[kind]), "ratio", at_least=least, low=min(ratios), high=max(ratios)))
    rates = [v * case.points / 1e6 for v in found["tap"]]
    bench.add(
        Bar(f"{case.name}.rate", best * case.points / 1e6, "million points per second", at_least=0.0, low=min(rates), high=max(rates))
    )


def settled(contender: Contender) -> float:
    """Seconds until the tap has written all that it took: where every point is a row, they count as its time."""
    ended = time.monotonic()
    wait(lambda: contender.stats()["unwritten_seconds"] < time.monotonic() - ended)
    return time.monotonic() - ended


def rate(seen: Seen) -> float:
    return seen.requests / seen.seconds


def per_cpu(seen: Seen) -> float:
    return seen.requests / max(seen.cpu_seconds, 1e-9)


# --- over time -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """What the tap said of itself at a moment of a long run."""

    second: float
    pending: int
    unwritten: float


def watched(bench: Bench, what: str, contender: Contender, orders: Sequence[Order]) -> tuple[list[Seen], list[Moment]]:
    """Runs orders at once, a loader each, asks the tap every second and says how far it is."""
    moments: list[Moment] = []
    with ExitStack() as stack:
        loaders = [bench.loader, *(stack.enter_context(loader()) for _ in orders[1:])]
        for one, order in zip(loaders, orders, strict=True):
            one.begin(order)
        began, length = time.monotonic(), max(o.seconds for o in orders)
        while (gone := time.monotonic() - began) < length:
            time.sleep(1)
            said = contender.stats()
            moments.append(Moment(gone, int(said["pending"]), float(said["unwritten_seconds"])))
            if len(moments) % 10 == 0:
                told = f"{said['points'] / 1e6:.0f} M points, {said['pending']} rows waiting, RSS at most {contender.rss():.0f} MiB"
                bench.say(f"{what}: {gone:.0f} of {length:.0f} s, {told}")
        return [one.end() for one in loaders], moments


def points_kept(bench: Bench) -> None:
    """Every point kept for 60 s. What waits at the end counts as time; the backlog of the last third is set against that of the one before."""
    case = Case("points_kept.http_1000", "generated_1000", "http", 1000, {})
    with tap(bench.folder, "--keep-points") as contender:
        (seen,), moments = watched(bench, "every point", contender, [bench.order(case, contender, 60)])
        late = settled(contender)
        memory = contender.rss()
    with peer("file_json", bench.folder) as contender:
        theirs = bench.loader.load(bench.order(case, contender, 5))
    ours = seen.requests / (seen.seconds + late)
    growth = backlog(moments, 2 / 3, 1) / max(backlog(moments, 1 / 3, 2 / 3), 0.1)
    bench.say(f"every point: {ours:.0f} requests/s, {seen.refused} refused, {late:.1f} s to write the rest, backlog x {growth:.2f}")
    bench.add(
        Bar(f"{case.name}.file_json", ours / rate(theirs), "ratio", at_least=5),
        Bar(f"{case.name}.rate", ours / 1000, "million points per second", at_least=0.0),
        Bar(f"{case.name}.backlog_growth", growth, "ratio of seconds not yet written, last third to the one before", at_most=1.25),
        Bar(f"{case.name}.refused", seen.refused, "requests", at_least=0.0),
        Bar(f"{case.name}.rss", memory, "MiB", at_least=0.0),
    )


def backlog(moments: Sequence[Moment], begin: float, end: float) -> float:
    """Mean of the seconds not yet written, over a part of the run."""
    part = moments[int(len(moments) * begin) : max(int(len(moments) * end), int(len(moments) * begin) + 1)]
    return sum(m.unwritten for m in part) / max(len(part), 1)


def overload(bench: Bench) -> None:
    """Three times what it takes of its worst bodies, every point a new series, for 120 s, over both transports at once."""
    http = Case("overload", "numbered_1000", "http", 1000, {}, series=1 << 32)
    with tap(bench.folder, "--memory-bytes", str(MEMORY_BYTES)) as contender:
        full = rate(bench.loader.load(bench.order(http, contender, 10)))
        orders = [at_rate(bench, contender, transport, full * 1.5) for transport in ("http", "grpc")]
        seen, _ = watched(bench, "overload", contender, orders)
        memory = contender.rss()
        recovery = recovered(bench, contender)
    taken, refused = (sum(values) for values in ([s.requests for s in seen], [s.refused for s in seen]))
    bench.say(f"overload: {full:.0f} requests/s alone; {taken} taken and {refused} refused of both; as before after {recovery:.1f} s")
    bench.add(
        Bar("overload.rss.cap", memory, "MiB", at_most=MEMORY_BYTES / 2**20),
        Bar("overload.refused_for_good.client", sum(s.refused_for_good for s in seen), "requests", at_most=0),
        Bar("overload.refused.client", refused, "requests", at_least=0.0),
        Bar("overload.taken.client", taken, "requests", at_least=0.0),
        Bar("overload.p99.client", max(s.p99 for s in seen) * 1000, "ms", at_least=0.0),
        Bar("overload.recovery.client", recovery, "s", at_most=10),
    )


def recovered(bench: Bench, contender: Contender) -> float:
    """Seconds until the tap takes everything for half a second again."""
    began, case = time.monotonic(), Case("after", "generated_1000", "http", 1000, {})
    while time.monotonic() - began < 60:
        order = bench.order(case, contender, 0.5 / SCALE)
        if not bench.loader.load(replace(order, warm=0)).refused:
            break
    return time.monotonic() - began


def at_rate(bench: Bench, contender: Contender, transport: str, requests: float) -> Order:
    return Order(
        str(bench.file("numbered_1000")), transport, contender.port(transport), contender.pid, 120 * SCALE,
        warm=0, connections=16, rate=requests, series=1 << 32,
    )  # fmt: skip


def memory(bench: Bench) -> None:
    """Resident size at 48 thousand series and at a million, and p99 at 80 % of capacity."""
    with tap(bench.folder) as contender:
        for transport in ("http", "grpc"):
            case = Case("latency", "generated_1000", transport, 1000, {})
            full = rate(bench.loader.load(bench.order(case, contender, 6)))
            order = bench.order(case, contender, 8)
            seen = bench.loader.load(Order(order.bodies, transport, order.port, order.pid, order.seconds, warm=0, rate=full * 0.8))
            bench.say(
                f"p99 over {transport}: {seen.p99 * 1000:.1f} ms at 80 % of {full:.0f} requests/s, slowest {seen.slowest * 1000:.0f} ms"
            )
            bench.add(Bar(f"p99_at_80_percent.{transport}.tap", seen.p99 * 1000, "ms", at_most=25))
        bench.add(Bar("rss.50k_series.tap", contender.rss(), "MiB", at_most=512))
    million = Case("rss.1m_series", "million_8000", "http", 8000, {})
    many = Case("rss.10m_series", "numbered_1000", "http", 1000, {}, series=10_000_000)
    for case, bar in ((million, {"at_most": 1536.0}), (many, {"at_least": 0.0})):
        with tap(bench.folder) as contender:
            seen = bench.loader.load(bench.order(case, contender, 15))
            told = f"{rate(seen) * case.points / 1e6:.2f} M points/s, {seen.refused} refused, {contender.stats()['series']} series"
            bench.say(f"{case.name}: RSS {contender.rss():.0f} MiB, {told}")
            bench.add(Bar(f"{case.name}.tap", contender.rss(), "MiB", **bar))


# --- starting --------------------------------------------------------------------------------------------------------------------------


def starts(bench: Bench) -> None:
    """From the start of the process to `ready`, and to the compiled engine, with kernels in numba's cache."""
    warm = [start(bench, {}) for _ in range(ROUNDS)]
    bench.say(f"start: ready in {median([r for r, _ in warm]):.2f} s, compiled {median([c for _, c in warm]):.2f}")
    bench.add(
        Bar("start.warm.ready", median([r for r, _ in warm]), "s", at_most=2),
        Bar("start.warm.compiled", median([c for _, c in warm]), "s", at_least=0.0),
    )


def first_start(bench: Bench) -> None:
    """The first ever, with nothing in numba's cache; bodies are made on the other core meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start, bench, {"NUMBA_CACHE_DIR": str(bench.folder / "numba")})
        make_bodies(bench)
        ready, compiled = started.result()
    bench.say(f"first ever start: ready in {ready:.2f} s, compiled in {compiled:.1f}")
    bench.add(Bar("start.first.ready", ready, "s", at_most=2), Bar("start.first.compiled", compiled, "s", at_least=0.0))


def start(bench: Bench, env: Mapping[str, str]) -> tuple[float, float]:
    began = time.perf_counter()
    with tap_at_start(bench.folder, env=env) as contender:
        ready = time.perf_counter() - began
        wait(lambda: contender.stats()["decoder"] == "compiled", 300)
        return ready, time.perf_counter() - began


PARTS: Mapping[str, Callable[[Bench], None]] = {
    "generated": lambda bench: races(bench, [*steady("generated"), *SMALL]),
    "recorded": lambda bench: races(bench, steady("recorded")),
    "shuffled": lambda bench: races(bench, SHUFFLED),
    "churning": lambda bench: races(bench, CHURNING),
    "many": lambda bench: races(bench, MANY),
    "points_kept": points_kept,
    "memory": memory,
    "overload": overload,
    "starts": starts,
    "decode": lambda bench: bench.add(*decode.bars(*(read(str(bench.file(f"million_{x}8000"))) for x in ("", "shuffled_")))),
}


def wanted() -> Iterator[str]:
    """All parts, or those that FLOWGATE_BENCH_PARTS names."""
    named = os.environ.get("FLOWGATE_BENCH_PARTS")
    return iter(named.split(",") if named else PARTS)


def main() -> None:
    for binary, target in ((PEER, "bench-peers"), (COLLECTOR, "gateway"), (NODE, "gateway")):
        if not binary.exists():
            raise SystemExit(f"{binary.name} is not built: make {target}")
    with tempfile.TemporaryDirectory() as name, loader() as sender:
        bench = Bench(Path(name), sender)
        os.sched_setaffinity(0, {int(LOADER_CORE)})
        bench.say("making and recording bodies, and starting for the first time")
        first_start(bench)
        for part in wanted():
            PARTS[part](bench)
        bench.say("done")
        show(bench.bars)


if __name__ == "__main__":
    main()
