"""Workers behind the same ports are one tap: what they count adds up, one that dies is started again, all drain, readers see one store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.reader import open_tap
from controlplane.processes import Child, Children, free_port, python, says_ready, wait_until
from flowgate.errors import Broken
from flowgate.ids import DEFAULT_ORG, GatewayId
from flowgate.ports import Identity
from flowgate.telemetry import Side, Signal, Window
from ingest.segments import FolderSegments, SegmentStore
from ingest.tap import Source
from ingest.wire import Wire
from ingest.workers import MOST_WORKERS, Team, folder_of, left_over, merged, usual_workers
from tests.ingest.otlp_bodies import NOW, counter, gauge

ROOT = Path(__file__).resolve().parents[2]
PROTOBUF = {"content-type": "application/x-protobuf"}
KEY = b"k" * 32
SOURCE = Source(Identity(DEFAULT_ORG, GatewayId("g")), Side.IN)
SECOND = 10**9


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (16, MOST_WORKERS), (128, MOST_WORKERS)])
def test_one_worker_for_each_two_cores(cores: int, workers: int) -> None:
    assert usual_workers(cores) == workers


# --- what they say together -----------------------------------------------------------------------------------------------------------


def stats(**changed: Any) -> dict[str, Any]:
    return {
        "decoder": "compiled",
        "points": 1,
        "series": 2,
        "series_exact": True,
        "damaged": [],
        "broken": None,
        "unwritten_seconds": 1.0,
    } | changed


def test_counts_add_up_ages_are_the_largest_and_one_trouble_is_everyones() -> None:
    both = merged([stats(points=3, damaged=["a"]), stats(points=4, damaged=["b"], unwritten_seconds=2.5, broken="full")])
    assert (both["points"], both["series"], both["unwritten_seconds"], both["damaged"]) == (7, 4, 2.5, ["a", "b"])
    assert (both["decoder"], both["broken"], both["series_exact"]) == ("compiled", "full", False)
    assert merged([stats(), stats(decoder="library")])["decoder"] == "library"
    assert merged([stats(new=2, at=9.0), stats(new=3)])["new"] == 5, "what this page does not name is merged by its kind"
    assert "at" not in merged([stats(at=9.0)])


def test_a_worker_that_is_not_up_is_named() -> None:
    assert merged([stats(), None])["broken"] == "worker 1 is not up"
    assert merged([stats(broken="full"), None])["broken"] == "full"


def test_a_worker_that_was_silent_for_long_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Team(tmp_path, 2, 0), Team(tmp_path, 2, 1)
    (tmp_path / "worker_1").mkdir()
    assert first.together(stats())["broken"] == "worker 1 is not up"
    second.publish(stats(points=5))
    assert (first.together(stats())["points"], first.together(stats())["broken"]) == (6, None)
    now = time.monotonic()
    monkeypatch.setattr("ingest.workers.time.monotonic", lambda: now + 31)
    assert first.together(stats())["broken"] == "worker 1 is not up"


def test_stores_of_former_workers_are_found(tmp_path: Path) -> None:
    for name in ("worker_1", "worker_2", "worker_10", "worker_x", "default"):
        (tmp_path / name).mkdir()
    assert [f.name for f in left_over(tmp_path, 2)] == ["worker_2", "worker_10"]
    assert folder_of(tmp_path, 0) == tmp_path


# --- what readers see -----------------------------------------------------------------------------------------------------------------


def stores(root: Path, parts: list[list[bytes]]) -> None:
    """One worker's store for each list of bodies; a segment for every body."""
    for number, bodies in enumerate(parts):
        store, engine = SegmentStore.open(folder_of(root, number), 5), Wire(KEY)
        for body in bodies:
            engine.take(SOURCE, Signal.METRICS, body, NOW)
            store.stage(engine.drain())
            engine.sealed()
            store.seal()
        store.close()


def query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    return open_tap(root).execute(sql).fetchall()


def test_a_series_that_two_workers_saw_is_one(tmp_path: Path) -> None:
    stores(tmp_path, [[gauge(1.0, labels={"a": "1"}).SerializeToString()] * 2, [gauge(2.0, labels={"a": "1"}).SerializeToString()] * 3])
    assert query(tmp_path, "SELECT count(*) FROM series") == [(1,)]
    assert query(tmp_path, "SELECT sum(count), count(DISTINCT series_id), min(min), max(max) FROM points") == [(5, 1, 1.0, 2.0)]
    assert query(tmp_path, "SELECT distinct_values, exact FROM label_counts WHERE key = 'a'") == [(1.0, True)]
    window = Window(*(m for m in _around()))
    assert len(FolderSegments(tmp_path).segments(DEFAULT_ORG, window)) == 5
    assert all((tmp_path / s.path / "points.parquet").is_file() for s in FolderSegments(tmp_path).segments(DEFAULT_ORG, window))


def _around():
    from datetime import UTC, datetime, timedelta

    moment = datetime.fromtimestamp(NOW / 1e9, UTC)
    return moment - timedelta(hours=1), moment + timedelta(hours=1)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.one_of(st.integers(0, 50), st.none())), min_size=2, max_size=12))
def test_the_increase_of_a_counter_is_the_same_whoever_saw_its_points(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int | None]]
) -> None:
    """A point each ten seconds, dealt to two workers; None is a restart of the counter."""
    value, bodies = 100, list[tuple[int, bytes]]()
    for at, (who, step) in enumerate(steps):
        value = 3 if step is None else value + step
        bodies.append((who, counter(float(value), at=NOW - 3600 * SECOND + at * 10 * SECOND).SerializeToString()))
    two, one = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    stores(two, [[b for who, b in bodies if who == number] for number in (0, 1)])
    stores(one, [[b for _, b in bodies]])
    sql = "SELECT sum(count), round(sum(increase), 6) FROM points"
    assert query(two, sql) == query(one, sql)


def test_points_that_alternate_within_a_bucket_increase_once(tmp_path: Path) -> None:
    bodies = [counter(float(10 * i), at=NOW // (5 * SECOND) * 5 * SECOND + i * SECOND).SerializeToString() for i in range(4)]
    stores(tmp_path, [[bodies[0], bodies[2]], [bodies[1], bodies[3]]])
    assert query(tmp_path, "SELECT sum(increase) FROM points") == [(30.0,)]


def test_deltas_add_up_as_they_are(tmp_path: Path) -> None:
    bodies = [counter(5.0, at=NOW + i * SECOND, delta=True).SerializeToString() for i in range(4)]
    stores(tmp_path, [bodies[:2], bodies[2:]])
    assert query(tmp_path, "SELECT sum(increase) FROM points") == [(20.0,)]


def test_the_first_store_leaves_the_others_alone(tmp_path: Path) -> None:
    """A start of the first worker takes stock of its own segments, not of those that lie deeper."""
    stores(tmp_path, [[gauge(1.0).SerializeToString()], [gauge(2.0).SerializeToString()]])
    store = SegmentStore.open(tmp_path, 5)
    assert store.damaged == []
    assert query(tmp_path, "SELECT sum(count) FROM points") == [(2,)]


# --- as processes ---------------------------------------------------------------------------------------------------------------------


class Workers:
    """A tap of two workers, without the compiled scanner: what is proved here does not need it."""

    def __init__(self, children: Children, folder: Path, count: int = 2, *args: str) -> None:
        self.folder, self.grpc, self.http = folder, free_port(), free_port()
        self.children, self.count, self.args = children, count, args
        self.child = self.start()

    def start(self, count: int | None = None) -> Child:
        argv = python(
            "-m", "ingest", "--data", str(self.folder), "--grpc", f"127.0.0.1:{self.grpc}", "--http", f"127.0.0.1:{self.http}",
            "--seal-seconds", "1", "--no-compiled", "--workers", str(count or self.count), *self.args,
        )  # fmt: skip
        self.child = self.children.start(f"taps-{free_port()}", argv, None, ROOT)
        wait_until("the taps", lambda: says_ready(self.child), 60, self.child)
        return self.child

    def send(self, number: int) -> bool:
        """On a connection of its own, so that the kernel chooses the worker anew."""
        body = gauge(float(number), labels={"number": str(number)}, at=time.time_ns()).SerializeToString()
        try:
            return httpx.post(f"http://127.0.0.1:{self.http}/v1/metrics", content=body, headers=PROTOBUF, timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def stats(self) -> dict[str, Any]:
        return httpx.get(f"http://127.0.0.1:{self.http}/stats", timeout=60).json()

    def health(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.http}/healthz", timeout=60).status_code

    def pids(self) -> list[int]:
        """Of the workers, by number."""
        found: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                argv = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == self.child.process.pid and b"--worker" in argv:
                found[int(argv[argv.index(b"--worker") + 1])] = int(folder.name)
        return [found[number] for number in sorted(found)]


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    with Children(tmp_path) as made:
        yield made


def numbers(root: Path) -> set[int]:
    return {int(row[0]) for row in query(root, "SELECT value FROM kv WHERE key = 'number'")}


def test_two_workers_count_everything_once_and_drain_together(children: Children, tmp_path: Path) -> None:
    import grpc

    taps = Workers(children, tmp_path / "store")
    assert len(taps.pids()) == 2
    assert all(taps.send(number) for number in range(60))
    for number in range(60, 100):
        with grpc.insecure_channel(f"127.0.0.1:{taps.grpc}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
            call(gauge(1.0, labels={"number": str(number)}, at=time.time_ns()).SerializeToString(), timeout=60)
    wait_until("both to say what they counted", lambda: taps.stats()["points"] == 100, 20, taps.child)
    said = taps.stats()
    assert all(worker["points"] > 0 for worker in said["workers"]), "the kernel spreads connections"
    assert (said["broken"], taps.health()) == (None, 200)
    taps.child.process.send_signal(signal.SIGTERM)
    assert taps.child.process.wait(30) == 0
    assert numbers(taps.folder) == set(range(100))
    assert query(taps.folder, "SELECT sum(count) FROM points") == [(100,)]
    assert len({s.path.split("/")[0] for s in FolderSegments(taps.folder).segments(DEFAULT_ORG, _today())}) == 2


def _today() -> Window:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    return Window(now - timedelta(days=1), now + timedelta(days=1))


def test_a_worker_that_is_killed_is_started_again_and_nothing_written_is_lost(children: Children, tmp_path: Path) -> None:
    """Sent all the while, each until it is acknowledged. What was acknowledged over two seconds before the kill is there."""
    taps = Workers(children, tmp_path / "store")
    acknowledged: dict[int, float] = {}
    stop = threading.Event()

    def sender() -> None:
        number = 0
        while not stop.is_set():
            if taps.send(number):
                acknowledged[number] = time.monotonic()
                number += 1
            else:
                time.sleep(0.1)

    thread = threading.Thread(target=sender)
    thread.start()
    try:
        time.sleep(4)
        victim = taps.pids()[1]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until("the gone worker to be said", lambda: taps.health() == 503, 10, taps.child)
        assert taps.stats()["workers"][1] is None
        wait_until("the worker again", lambda: taps.health() == 200, 60, taps.child)
        assert taps.stats()["workers"][1]["restarts"] == 1
        assert len(taps.pids()) == 2
        assert victim not in taps.pids()
        time.sleep(1)
    finally:
        stop.set()
        thread.join()
    taps.child.process.send_signal(signal.SIGTERM)
    assert taps.child.process.wait(30) == 0
    lost = set(acknowledged) - numbers(taps.folder)
    assert all(killed - 4 <= acknowledged[n] <= killed + 0.5 for n in lost), "lost although acknowledged long before the kill, or after"
    assert len(acknowledged) > 20


def test_workers_end_in_order_when_their_keeper_is_killed(children: Children, tmp_path: Path) -> None:
    taps = Workers(children, tmp_path / "store")
    assert all(taps.send(number) for number in range(20))
    pids = taps.pids()
    taps.child.process.kill()
    taps.child.process.wait()
    wait_until("the workers to end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 30)
    assert numbers(taps.folder) == set(range(20))


def test_a_keeper_that_is_killed_can_be_started_again_at_once(children: Children, tmp_path: Path) -> None:
    """Its workers still hold ports and stores for a moment; the new ones wait for them to drain, and nothing is lost."""
    taps = Workers(children, tmp_path / "store")
    for start in range(3):
        assert all(taps.send(number) for number in range(20 * start, 20 * start + 20))
        before = taps.pids()
        taps.child.process.kill()
        taps.child.process.wait()
        taps.start()
        assert not set(taps.pids()) & set(before)
        assert taps.health() == 200
    wait_until("the last of the former workers to end", lambda: all(_state(Path(f"/proc/{pid}")) == b"Z" for pid in before), 30, taps.child)
    taps.child.process.send_signal(signal.SIGTERM)
    assert taps.child.process.wait(30) == 0
    assert numbers(taps.folder) == set(range(60))


def test_a_worker_whose_keeper_was_gone_before_it_could_ask_ends(tmp_path: Path) -> None:
    """The kernel tells of a death that comes; one that has come it has to see by itself."""
    argv = [sys.executable, "-m", "ingest", "--data", str(tmp_path / "s"), "--workers", "2", "--worker", "1", "--keeper", "1"]
    argv += ["--http", f"127.0.0.1:{free_port()}", "--grpc", f"127.0.0.1:{free_port()}"]
    assert os.getpid() != 1
    assert subprocess.run(argv, cwd=ROOT, timeout=180).returncode == -signal.SIGTERM


def test_a_store_that_another_process_lets_go_of_in_time_is_opened(tmp_path: Path) -> None:
    """And one that it keeps is refused in one sentence."""
    holds = "import sys, time, pathlib; from ingest.segments import SegmentStore; s = SegmentStore.open(pathlib.Path(sys.argv[1]), 5);"
    holder = subprocess.Popen(
        [sys.executable, "-c", holds + "print('held', flush=True); time.sleep(60)", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Broken, match=r"staging.duckdb cannot be opened: .*lock"):
            SegmentStore.open(tmp_path, 5, patience=0.2)
        threading.Timer(0.5, holder.kill).start()
        SegmentStore.open(tmp_path, 5, patience=30).close()
    finally:
        holder.kill()
        holder.wait()


def test_with_fewer_workers_what_the_others_had_staged_is_sealed_and_kept(children: Children, tmp_path: Path) -> None:
    taps = Workers(children, tmp_path / "store", 2, "--seal-seconds", "3600")
    assert all(taps.send(number) for number in range(30))
    time.sleep(2.5)  # staged each second
    for pid in taps.pids():
        os.kill(pid, signal.SIGSTOP)  # so that none is started again or drains
    taps.child.process.kill()
    for pid in taps.pids() or []:
        os.kill(pid, signal.SIGKILL)
    taps.child.process.wait()
    _gone(taps.folder)
    taps.start(1)
    assert numbers(taps.folder) == set(range(30))


def _gone(folder: Path) -> None:
    """Ends whoever still holds a store below the folder: its keeper is dead, so it has no parent to be found by."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in argv and b"--worker" in argv:
            os.kill(int(entry.name), signal.SIGKILL)
            wait_until("its end", lambda entry=entry: not entry.exists() or b"Z" in _state(entry), 10)


def _state(entry: Path) -> bytes:
    try:
        return (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return b"Z"


@pytest.mark.parametrize("flag", ["--http", "--grpc"])
def test_a_taken_port_is_one_sentence_and_exit_4(tmp_path: Path, flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = "--grpc" if flag == "--http" else "--http"
        argv = [
            sys.executable,
            "-m",
            "ingest",
            "--data",
            str(tmp_path / "s"),
            "--workers",
            "2",
            flag,
            f"127.0.0.1:{port}",
            other,
            f"127.0.0.1:{free_port()}",
        ]
        run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert run.returncode == 4
    assert str(port) in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("workers", "code"), [(0, 2), (1, None), (MOST_WORKERS, None), (MOST_WORKERS + 1, 2)])
def test_the_number_of_workers_has_bounds(tmp_path: Path, workers: int, code: int | None) -> None:
    """A wrong one is a usage error; a right one goes on to the folder, which cannot be written here."""
    (tmp_path / "file").touch()
    argv = [sys.executable, "-m", "ingest", "--data", str(tmp_path / "file" / "s"), "--workers", str(workers)]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert run.returncode == (code or 5)
