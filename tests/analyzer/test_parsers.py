"""The parser's process: it may crash, hang, lie or be killed, and the batch is answered."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.parsers import MAX_FAILURES, TOGETHER, UNDER_WAY, PromqlWorker
from analyzer.references.expressions import Parsed, read_trees
from analyzer.references.syntax import parse_text
from analyzer.references.tree import Node, Selector
from flowgate.usage import NotUnderstood
from tests.analyzer.trees import nodes, rendered

SERVE = "import os, sys, time, json\nfrom analyzer.parsers import serve\nfrom analyzer.references.syntax import answered\n"


def command(code: str) -> list[str]:
    return [sys.executable, "-c", SERVE + code]


def many(n: int) -> list[str]:
    return [f'sum by (l{i}) (rate(m{i}{{a="b{i}"}}[5m]))' for i in range(n)]


def understood(answers: Sequence[Node | NotUnderstood]) -> list[bool]:
    return [not isinstance(a, NotUnderstood) for a in answers]


def test_the_worker_answers_as_the_parser_does() -> None:
    texts = ["up", "m +", "{'a.b'}", "rate(m)", "", "m\n+\tn", "é", 'm{a="é\\t"}', *many(3 * TOGETHER)]
    with PromqlWorker() as worker:
        assert worker(texts) == [parse_text(t) for t in texts]
        assert worker.kills == 0


def test_each_distinct_expression_is_parsed_once() -> None:
    code = "seen = set()\nserve(lambda t: os._exit(1) if t in seen else (seen.add(t), answered(t))[1])"
    with PromqlWorker(command=command(code)) as worker:
        assert worker(["up", "up", "down"]) == worker(["down", "up", "up"])[::-1][:2] + worker(["down"])
        assert worker.kills == 0


def test_nothing_asked_starts_nothing() -> None:
    with PromqlWorker(command=["/does/not/exist"]) as worker:
        assert worker([]) == []
        assert worker.pid is None


def test_a_crash_costs_the_expression_that_caused_it() -> None:
    code = "serve(lambda t: os.abort() if 'crash' in t else answered(t))"
    texts = many(3 * TOGETHER)
    texts[70] = "crash"
    texts[150] = "crash + 1"
    with PromqlWorker(command=command(code)) as worker:
        answers = worker(texts)
        assert [i for i, good in enumerate(understood(answers)) if not good] == [70, 150]
        assert answers[70] == NotUnderstood("the parser did not survive it", ())
        assert understood(worker(["up"])) == [True]


def test_the_parser_without_a_guard_crashes_and_is_survived() -> None:
    """20,000 brackets are a segmentation fault of promql-parser."""
    code = (
        "import promql_parser\nfrom analyzer.references.tree import dumped\n"
        "serve(lambda t: json.dumps(dumped(promql_parser.parse(t)), separators=(',', ':')))"
    )
    with PromqlWorker(seconds=5, command=command(code)) as worker:
        answers = worker(["up", "(" * 20_000 + "m" + ")" * 20_000, "down"])
        assert understood(answers) == [True, False, True]
        assert worker.kills > 0


def test_many_crashes_in_a_row_cost_no_other_expression() -> None:
    code = "serve(lambda t: os.abort() if 'crash' in t else answered(t))"
    texts = [*many(3), *(f"crash{i}" for i in range(5)), "up"]
    with PromqlWorker(command=command(code)) as worker:
        assert understood(worker(texts)) == [True] * 3 + [False] * 5 + [True]


def test_a_hang_costs_its_time_limit_and_no_other_expression() -> None:
    code = "serve(lambda t: time.sleep(60) if 'hang' in t else answered(t))"
    texts = [*many(10), "hang", *many(100)[10:]]
    start = time.monotonic()
    with PromqlWorker(seconds=0.5, command=command(code)) as worker:
        answers = worker(texts)
    assert [i for i, good in enumerate(understood(answers)) if not good] == [10]
    assert answers[10] == NotUnderstood("took longer than 0.5 s to parse", ())
    assert time.monotonic() - start < 30


def test_a_worker_killed_in_mid_batch_loses_nothing() -> None:
    code = "serve(lambda t: (time.sleep(0.002), answered(t))[1])"
    texts = many(1000)
    done = threading.Event()

    with PromqlWorker(command=command(code)) as worker:

        def kill() -> None:
            for _ in range(3):
                time.sleep(0.5)
                if not done.is_set() and worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        answers = worker(texts)
        done.set()
        killer.join()
        assert worker.kills > 0
    assert all(understood(answers))
    assert answers[999] == parse_text(texts[999])


@pytest.mark.parametrize(
    "code",
    [
        "print('garbage', flush=True)\nfor line in sys.stdin: print('garbage', flush=True)",
        "print('\"ready\"', flush=True)\nfor line in sys.stdin: print('garbage', flush=True)",
        "print('\"ready\"', flush=True)\nfor line in sys.stdin: print('[1,2]', flush=True)",
        'print(\'"ready"\', flush=True)\nfor line in sys.stdin: print(\'"a"\\t"b"\\t"c"\', flush=True)',
        "print('\"ready\"', flush=True)\nfor line in sys.stdin: os.write(1, b'\\xff\\n')",
        "print('\"ready\"', flush=True)\nfor line in sys.stdin: print('[' * 100000, flush=True)",
        "print('\"ready\"', flush=True)",
        "",
    ],
    ids=["no greeting", "garbage", "numbers", "too many", "no text", "too deep", "ends after the greeting", "ends"],
)
def test_a_command_that_is_no_parser_is_given_up(code: str) -> None:
    with PromqlWorker(command=[sys.executable, "-S", "-c", "import os, sys\n" + code]) as worker:
        answers = worker(["up", "down"])
        assert understood(answers) == [False, False]
        assert worker.kills <= MAX_FAILURES


def test_a_command_that_cannot_be_run_is_given_up() -> None:
    with PromqlWorker(command=["/does/not/exist"]) as worker:
        assert worker(["up", *many(200)])[0] == NotUnderstood("the parser does not run", ())


def test_what_was_given_up_is_asked_again_later(tmp_path: Path) -> None:
    there = tmp_path / "there"
    code = f"os.path.exists({str(there)!r}) and serve()"
    with PromqlWorker(command=command(code)) as worker:
        assert understood(worker(["up"])) == [False]
        there.touch()
        assert understood(worker(["up"])) == [True]


def test_the_workers_memory_is_bounded() -> None:
    code = "serve(lambda t: len(bytearray(8 << 30)) and answered(t) if 'big' in t else answered(t))"
    with PromqlWorker(command=command(code)) as worker:
        assert understood(worker(["up", "big", "down"])) == [True, False, True]


def test_both_pipes_full_are_no_deadlock() -> None:
    """Lines longer than a pipe in both directions, several under way."""
    long = [f'm{{a="{i}{"x" * 20_000}"}}' for i in range(UNDER_WAY * TOGETHER * 2)]
    start = time.monotonic()
    with PromqlWorker(seconds=20) as worker:
        assert all(understood(worker(long)))
        assert worker.kills == 0
    assert time.monotonic() - start < 60


def test_the_process_ends_with_its_context() -> None:
    with PromqlWorker() as worker:
        worker(["up"])
        pid = worker.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_worker_is_a_parse_function() -> None:
    with PromqlWorker() as worker:
        (good, bad) = read_trees([("${p}_total", {}), ("sum(", {})], worker)
    assert good == Parsed((Selector("__fgvar___total", ()),))
    assert isinstance(bad, NotUnderstood)


@settings(max_examples=10)
@given(st.lists(nodes.map(rendered) | st.text(max_size=20), max_size=200))
def test_any_batch_is_answered_in_order(texts: list[str]) -> None:
    with PromqlWorker() as worker:
        answers = worker(texts)
    assert [repr(a) for a in answers] == [repr(parse_text(t)) for t in texts]
