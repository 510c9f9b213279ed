"""The full counts: `python -m tests.semantics --claims 500 --data-sets 5`; `make release-checks` runs it. Exit 1 when a claim is false.

With `--shard 2/3` the second of three equal parts; `--done FILE` leaves out the parts that a run of the same code wrote there as held.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.semantics.claims import Claim, claims_of
from tests.semantics.corpus import EXAMPLES, ROOT, SAMPLES, expressions_under
from tests.semantics.fuzz import random_claims, random_composed_claims
from tests.semantics.judge import Case, Verdict, judged
from tests.semantics.merging import merges
from tests.semantics.promtool import BINARY

BATCH = 100


def main(words: Sequence[str]) -> int:
    asked = _asked(words)
    if not BINARY.exists():
        print("promtool is not built: run `make promtool`", file=sys.stderr)
        return 5
    done = Path(asked.done) if asked.done else None
    held = set(done.read_text().splitlines()) if done and done.exists() else set[str]()
    false, code = 0, _code()
    for part, exact, cases in _parts(asked):
        name = f"{part}, code {code}"
        if name in held:
            print(f"{name}: held before", flush=True)
            continue
        false += (wrong := _part(name, exact, cases, asked.workers))
        if done and not wrong:
            held.add(name)
            done.write_text("\n".join(sorted(held)) + "\n")
    return 1 if false else 0


def _code() -> str:
    """What was held is held by this code: the analysis and its judge."""
    files = sorted([*(ROOT / "analyzer").rglob("*.py"), *(ROOT / "tests" / "semantics").glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _asked(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.semantics", description=__doc__)
    parser.add_argument("--claims", type=int, default=500, help="claims over the examples and samples")
    parser.add_argument("--data-sets", type=int, default=5, help="data sets for each of them")
    parser.add_argument(
        "--random", type=int, default=3000, help="claims over random expressions, a data set each; a tenth as many through recording rules"
    )
    parser.add_argument("--edges", type=int, default=100, help="claims also tried where inputs begin and end in windows: told, not judged")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard", default="1/1", help="k/n: the k-th of n parts")
    parser.add_argument("--done", help="a file that keeps which parts have held")
    return parser.parse_args(words)


def _parts(asked: argparse.Namespace) -> Iterator[tuple[str, bool, list[Case]]]:
    """Named by what decides them, so that a later run knows them again."""
    written = claims_of(expressions_under(EXAMPLES, SAMPLES))
    chosen = chosen_of(written, asked.claims, asked.seed)
    corpus = [Case(claim, asked.seed + k) for claim in chosen for k in range(asked.data_sets)]
    drawn = [Case(claim, asked.seed) for claim in random_claims(asked.seed, asked.random)]
    counters = [Case(c, asked.seed) for c in chosen_of([c for c in written if "counter" in c.kinds], asked.edges, asked.seed)]
    shard, shards = map(int, asked.shard.split("/"))
    through = [Case(claim, asked.seed) for claim in random_composed_claims(asked.seed, asked.random // 10)]
    for kind, exact, cases in (("claims", True, corpus), ("random", True, drawn), ("recorded", True, through), ("edges", False, counters)):
        ours = cases[shard - 1 :: shards]
        for start in range(0, len(ours), BATCH):
            yield f"{kind} seed {asked.seed} part {shard}/{shards} from {start} of {len(ours)}", exact, ours[start : start + BATCH]


def chosen_of(claims: Sequence[Claim], wanted: int, seed: int) -> list[Claim]:
    return list(claims) if wanted >= len(claims) else random.Random(seed).sample(list(claims), wanted)


def _part(name: str, exact: bool, cases: list[Case], workers: int) -> int:
    began = time.monotonic()
    verdicts = judged(cases, workers, exact)
    print(f"{name}: {told(verdicts)}; {time.monotonic() - began:.0f} s", flush=True)
    if not exact:
        print(f"  not judged: {_apart(verdicts)}", flush=True)
    wrong = false_of(verdicts) if exact else []
    for verdict in wrong:
        print(verdict.told(), flush=True)
    return len(wrong)


def false_of(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The claims that do not hold, shortest expression first."""
    return sorted((v for v in verdicts if not v.holds and not v.tied), key=lambda v: len(v.case.claim.expression))


def told(verdicts: Sequence[Verdict]) -> str:
    shows = [v for v in verdicts if v.world is not None]
    merging = sum(1 for v in shows if v.world is not None and merges(v.world, v.case.claim.metric, v.case.claim.removed))
    differ, ties = len(false_of(verdicts)), sum(1 for v in verdicts if v.tied and not v.holds)
    tried = [v.power for v in verdicts if v.power is not None]
    power = f"{sum(tried)} of {len(tried)} removals of a needed label noticed ({sum(tried) / max(len(tried), 1):.0%})"
    return f"{len(verdicts)} cases, {len(shows)} show something, {merging} merge something, {differ} differ, {ties} tied; {power}"


def _apart(verdicts: Sequence[Verdict]) -> str:
    """How far values are apart where inputs begin, end or are not heard inside a window."""
    shares = sorted(share for v in verdicts for share in v.apart())
    if not shares:
        return "no values"
    far = [s for s in shares if s > 1e-9]
    median, high = (far[len(far) // 2], far[len(far) * 9 // 10]) if far else (0.0, 0.0)
    equal = (len(shares) - len(far)) / len(shares)
    return f"{equal:.0%} of {len(shares)} values equal; the others apart by {median:.1%} (median), {high:.1%} (nine of ten), {shares[-1]:.0%} (most)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
