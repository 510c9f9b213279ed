"""The fuzzing finds what it is for: kernels with a check taken out crash or disagree under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingest import kernels

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
PLANTED = {
    "a length is not held to the end of its message": ("        if p == Z or n > e - p:\n", "        if p == Z:\n"),
    "attributes under another context are taken for known": (
        "    h = _mum(_mum(a ^ c, b ^ n ^ s2) ^ context, d ^ s0)\n",
        "    h = _mum(_mum(a ^ c, b ^ n ^ s2), d ^ s0)\n",
    ),
}
SCRIPT = """
import importlib.util, random, sys
spec = importlib.util.spec_from_file_location("planted", sys.argv[1])
planted = importlib.util.module_from_spec(spec)
sys.modules["planted"] = planted
spec.loader.exec_module(planted)
import ingest.wire
ingest.wire.k = planted
from ingest.otlp import Limits
from tests.ingest.mutate import mutant
from tests.ingest.oracle import Pair
dice = random.Random(1)
for _ in range(int(sys.argv[2])):
    pair = Pair(limits=Limits(attributes=6, name_length=24, value_length=40, buckets=6, resource_value_length=60))
    for _ in range(250):
        pair.feed(*mutant(dice))
    pair.compare()
"""


@pytest.mark.parametrize("bug", ["none", *PLANTED])
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    source = Path(kernels.__file__).read_text()
    if bug != "none":
        old, new = PLANTED[bug]
        assert source.count(old) == 1
        source = source.replace(old, new)
    (tmp_path / "planted.py").write_text(source)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "planted.py"), "40"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode == 0) is (bug == "none"), done.stderr[-2000:]
