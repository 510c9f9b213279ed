"""Evaluates expressions by a real Prometheus: `promtool test rules`, many evaluations a run.

Each evaluation is one test group whose expected sample never comes, so promtool reports what it got. The report is read from its JUnit
file: there each failure stands under the name of its group, in the order of the group's tests.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.semantics.series import Labels, Outcome, Rule, Series, World, text_of

BINARY = Path(__file__).resolve().parents[2] / "gateway" / "build" / "promtool"
GROUPS_A_FILE = 40
_FEATURES = "--enable-feature=promql-experimental-functions"
_NEVER = {"labels": '{judge="never"}', "value": 0}
_GOT = re.compile(r"\n\s+got: (.*)\Z", re.DOTALL)
_ERROR = re.compile(r"time: [^,]*, err: (.*)\Z", re.DOTALL)
_SAMPLE = re.compile(r'\{((?:"(?:[^"\\]|\\.)*"|[^"{}])*)\} ([^,\s]+)(?:, |\Z)')
_PAIR = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_:][\w:]*))="((?:[^"\\]|\\.)*)"')
_LEGACY_NAME = re.compile(r"[A-Za-z_:][\w:]*\Z")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An expression, looked at at each of the world's looks."""

    expression: str
    world: World


Outcomes = tuple[Outcome, ...]
"""One outcome a look."""


def evaluated(evaluations: Sequence[Evaluation], workers: int = 1, binary: Path = BINARY) -> list[Outcomes]:
    """What each evaluation gave, in order. Raises where promtool itself could not be run or read."""
    batches = list(_batches(evaluations))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        answers = pool.map(lambda batch: _run([evaluations[i] for i in batch], binary), batches)
    found = {i: outcomes for batch, answer in zip(batches, answers, strict=True) for i, outcomes in zip(batch, answer, strict=True)}
    return [found[i] for i in range(len(evaluations))]


def _batches(evaluations: Sequence[Evaluation]) -> Iterable[list[int]]:
    """One file can have one interval and one set of rules."""
    kinds: dict[tuple[int, tuple[Rule, ...]], list[int]] = {}
    for i, e in enumerate(evaluations):
        kinds.setdefault((e.world.interval, e.world.rules), []).append(i)
    for indices in kinds.values():
        for start in range(0, len(indices), GROUPS_A_FILE):
            yield indices[start : start + GROUPS_A_FILE]


def _run(evaluations: Sequence[Evaluation], binary: Path) -> list[Outcomes]:
    with tempfile.TemporaryDirectory(prefix="flowgate-semantics-") as folder:
        tests, rules, report = Path(folder) / "tests.json", Path(folder) / "rules.json", Path(folder) / "report.xml"
        world = evaluations[0].world
        rules.write_text(json.dumps(_rule_file(world)))
        tests.write_text(json.dumps(_test_file(evaluations, [rules.name] if world.rules else [])))
        command = [binary, _FEATURES, "test", "rules", str(tests)]
        done = subprocess.run([*command[:3], f"--junit={report}", *command[3:]], capture_output=True, text=True, timeout=600, check=False)
        if not report.exists() or not report.stat().st_size:
            raise RuntimeError(f"promtool left no report: {done.stderr[-2000:]}")
        return _read(report.read_text(), evaluations)


def _rule_file(world: World) -> dict[str, Any]:
    rules = [{"record": r.record, "expr": r.expression, "labels": dict(r.labels)} for r in world.rules]
    return {"groups": [{"name": "recorded", "rules": rules}]}


def _test_file(evaluations: Sequence[Evaluation], rule_files: list[str]) -> dict[str, Any]:
    interval = f"{evaluations[0].world.interval}s"
    return {"rule_files": rule_files, "evaluation_interval": interval, "tests": [_group(i, e) for i, e in enumerate(evaluations)]}


def _group(number: int, evaluation: Evaluation) -> dict[str, Any]:
    world = evaluation.world
    return {
        "name": f"e{number}",
        "interval": f"{world.interval}s",
        "input_series": [{"series": notation(s), "values": " ".join(text_of(v) for v in s.values)} for s in world.series],
        "promql_expr_test": [
            {"expr": evaluation.expression, "eval_time": f"{look * world.interval}s", "exp_samples": [_NEVER]} for look in world.looks
        ],
    }


def notation(series: Series) -> str:
    """A series as promtool's input and PromQL write it, quoted where a name needs it."""
    pairs = [f"{_name(k)}={json.dumps(v)}" for k, v in sorted(series.labels)]
    if _LEGACY_NAME.match(series.name):
        return series.name + "{" + ", ".join(pairs) + "}"
    return "{" + ", ".join([json.dumps(series.name), *pairs]) + "}"


def _name(label: str) -> str:
    return label if _LEGACY_NAME.match(label) else json.dumps(label)


def _read(report: str, evaluations: Sequence[Evaluation]) -> list[Outcomes]:
    root = ElementTree.fromstring(report)
    broken = [e.text or "" for e in root.iter("error") if e.text]
    if broken:
        raise RuntimeError(f"promtool could not read the tests: {broken[0][:2000]}")
    failures = {case.attrib["name"]: [f.text or "" for f in case.iter("failure")] for case in root.iter("testcase")}
    return [_outcomes(failures.get(f"e{i}", []), len(e.world.looks)) for i, e in enumerate(evaluations)]


def _outcomes(failures: Sequence[str], looks: int) -> Outcomes:
    """One failure a look; anything else went wrong before the first look (series refused, a rule that failed)."""
    if len(failures) != looks or any(f.lstrip().startswith("rule:") for f in failures):
        return (" ".join(failures).strip() or "promtool said nothing",) * looks
    return tuple(outcome_of(f) for f in failures)


def outcome_of(failure: str) -> Outcome:
    """The samples or the error in one failure as promtool words it."""
    got = _GOT.search(failure)
    if got is None:
        error = _ERROR.search(failure)
        return error.group(1).strip() if error else failure.strip()
    text = got.group(1).strip()
    return {} if text == "nil" else _samples(text)


def _samples(text: str) -> Outcome:
    found: dict[Labels, float] = {}
    at = 0
    while at < len(text):
        sample = _SAMPLE.match(text, at)
        if sample is None:
            return f"not a list of float samples: {text[at : at + 200]}"
        found[_labels(sample.group(1))] = float(sample.group(2))
        at = sample.end()
    return found


def _labels(text: str) -> Labels:
    return frozenset((quoted or bare, json.loads(f'"{value}"')) for quoted, bare, value in _PAIR.findall(text))
