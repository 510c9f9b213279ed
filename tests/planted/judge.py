"""The whole way from files to recommendations, held against what is known of a set."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from analyzer import FREE, PromqlWorker, advise, read_usage
from analyzer.engine import Advice
from analyzer.files import inputs_in
from analyzer.references.expressions import Parse
from flowgate.actions import Action, AggregateLabels, DeleteLabel, DropMetric, DropPoints, DropPrefix, ReduceBuckets, Rename
from flowgate.advice import Needed, Policy, Profile, Usage
from flowgate.telemetry import Kind
from tests.planted.asks import Read
from tests.planted.sets import Planted, planted
from tests.planted.world import BOUNDS, START, Key, Metric, profile

POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Wrong:
    """A recommendation that takes what is read, or a protection that lacks it."""

    planted: str
    what: str
    about: str


@dataclass(slots=True)
class Score:
    """Over many sets. Waste is counted by kind: metrics, labels that merge, labels that follow from others, buckets."""

    wrong: list[Wrong] = field(default_factory=list[Wrong])
    sets: int = 0
    protected: int = 0
    planted: dict[str, int] = field(default_factory=dict[str, int])
    found: dict[str, int] = field(default_factory=dict[str, int])
    missed: list[str] = field(default_factory=list[str])

    def share(self, kind: str) -> float:
        return self.found.get(kind, 0) / max(1, self.planted.get(kind, 0))

    def told(self) -> str:
        shares = ", ".join(f"{kind} {self.found.get(kind, 0)}/{n} ({self.share(kind):.1%})" for kind, n in sorted(self.planted.items()))
        wrong = "".join(f"\n{each}" for each in self.wrong[:10])
        return f"{self.sets} sets, {self.protected} metrics and labels protected, {len(self.wrong)} wrong; waste found: {shares}{wrong}"


Analyse = Callable[[Profile, Usage], Advice]


def analysed(profile_: Profile, usage: Usage) -> Advice:
    """As `flowgate advise` does, with a gateway that can do everything."""
    return advise(profile_, usage, FREE, POLICY, START, unable=lambda _: None)


def usage_of(planted: Planted, folder: Path, parse: Parse) -> Usage:
    """Through files on a disk, as they are given on the command line."""
    where = folder / planted.name.replace(":", "-")
    where.mkdir()
    if planted.packed:
        (where / f"all.{planted.packed}").write_bytes(_packed(planted))
    else:
        for file in planted.files:
            (where / file.name).write_bytes(file.body)
    found = inputs_in(where)
    for file in where.iterdir():
        file.unlink()
    where.rmdir()
    return read_usage(found.inputs, parse)


def _packed(planted: Planted) -> bytes:
    stream = io.BytesIO()
    if planted.packed == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            for file in planted.files:
                archive.writestr(file.name, file.body)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
            for file in planted.files:
                info = tarfile.TarInfo(file.name)
                info.size = len(file.body)
                tar.addfile(info, io.BytesIO(file.body))
    return stream.getvalue()


def judge(score: Score, planted: Planted, usage: Usage, analyse: Analyse = analysed) -> None:
    advice = analyse(profile(planted.world), usage)
    actions = [action for recommendation in advice.recommendations for action in recommendation.actions]
    truths = {metric.name: truth(planted, metric) for metric in reversed(planted.world.sent)}
    score.sets += 1
    score.protected += sum(1 + len(t.apart) for t in truths.values() if t.read)
    score.wrong += [Wrong(planted.name, what, str(action)) for action in actions for what in _wrong(action, truths)]
    score.wrong += [Wrong(planted.name, what, t.metric.name) for t in truths.values() for what in _unprotected(t, advice.protected)]
    for found in truths.values():
        for kind, of, action in found.waste():
            score.planted[kind] = score.planted.get(kind, 0) + 1
            hit = any(action(a) for a in actions)
            score.found[kind] = score.found.get(kind, 0) + hit
            if not hit:
                score.missed.append(f"{planted.name} {kind} {of}")


# --- the truth about one metric ----------------------------------------------------------------------------------------------------------

_ENOUGH_SERIES, _ENOUGH_SHARE = 10, 0.1
"""From where on taking a label away is worth a finding, as the default policy of docs/contracts.md says."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one metric. Labels are as queries say them."""

    metric: Metric
    reads: tuple[Read, ...]
    hidden: bool
    kept: frozenset[str]
    """Labels that somebody names or sees: they may not go in any way."""
    apart: frozenset[str]
    """These and those whose series may not become one."""
    double: bool
    """Another metric has the name: what is read of either is read of both, and how to merge both is left open."""

    @property
    def read(self) -> bool:
        return any(r.certain for r in self.reads)

    @property
    def merges(self) -> frozenset[str]:
        return frozenset(r.merge for r in self.reads if r.certain) - {"any"}

    @property
    def bounds(self) -> frozenset[float] | None:
        """Bucket bounds that are needed; None: all."""
        found = [r.bounds for r in self.reads if r.certain]
        return None if self.hidden or None in found else frozenset(b for each in found for b in each or ())

    def key(self, key: str) -> Key | None:
        return next((k for k in self.metric.keys if k.key == key), None)

    def waste(self) -> Iterator[tuple[str, str, Callable[[Action], bool]]]:
        """What must be recommended: its kind, its name, and which actions do."""
        name = self.metric.name
        if self.hidden:
            return
        if not self.reads:
            yield "metric", name, lambda action: action == DropMetric(name)
        if not self.reads or self.double or not all(r.certain for r in self.reads):
            return
        yield from self._labels(name)
        if self.metric.bounds and self.bounds is not None and self.bounds < frozenset(BOUNDS):
            yield "buckets", name, lambda action: isinstance(action, ReduceBuckets) and action.metric == name

    def _labels(self, name: str) -> Iterator[tuple[str, str, Callable[[Action], bool]]]:
        sure = all(r.exact for r in self.reads)
        for key in (k for k in self.metric.keys if sure and k.said not in self.apart):
            gone = self.metric.series - key.left
            if gone >= max(_ENOUGH_SERIES, _ENOUGH_SHARE * self.metric.series) and self._mergeable():
                yield "label", f"{name} {key.key}", partial(_takes, name, key.key, AggregateLabels)
            elif key.by is not None and self._tells(key.by):
                yield "follower", f"{name} {key.key}", partial(_takes, name, key.key, DeleteLabel)

    def _mergeable(self) -> bool:
        """All queries want one operator, the type allows it, and it is known how often points come. Merged exponential histograms are
        not what they were."""
        counts = self.metric.counter or (self.metric.kind is not Kind.GAUGE and self.metric.kind is not Kind.SUM)
        alike = self.merges <= {"sum"} if counts else len(self.merges) <= 1
        known = self.metric.kind is not Kind.HISTOGRAM or bool(self.metric.bounds)
        exact = self.metric.kind is not Kind.EXPONENTIAL_HISTOGRAM
        return alike and known and exact and self.metric.interval is not None

    def _tells(self, by: str) -> bool:
        """What it follows from must stay, and have more values: else the two may go together by chance."""
        found = self.key(by)
        return found is not None and found.distinct > 4 and found.said in self.apart


def _takes(metric: str, key: str, kind: type[AggregateLabels] | type[DeleteLabel], action: Action) -> bool:
    if not isinstance(action, kind) or action.metric != metric:
        return False
    return key in ([label.key for label in action.labels] if isinstance(action, AggregateLabels) else [action.label.key])


def truth(planted: Planted, metric: Metric) -> Truth:
    reads = planted.of(metric.name)
    certain = [r for r in reads if r.certain]
    resource = frozenset(k.said for k in metric.keys if k.place == "resource") & planted.resource
    kept = (frozenset[str]().union(*(r.keep for r in certain)) | planted.everywhere | resource) & metric.labels
    apart = kept.union(*(r.apart for r in certain)) & metric.labels
    double = sum(m.name == metric.name for m in planted.world.sent) > 1
    return Truth(metric, reads, planted.hidden, kept, apart, double)


# --- what is wrong -----------------------------------------------------------------------------------------------------------------------


def _wrong(action: Action, truths: Mapping[str, Truth]) -> Iterator[str]:
    """Why an action takes what somebody reads."""
    match action:
        case DropPrefix(prefix):
            for name, found in truths.items():
                if name.startswith(prefix):
                    yield from _dropped(found)
        case DropMetric(name) | DropPoints(name) | Rename(name):
            yield from _dropped(truths[name])
        case AggregateLabels():
            yield from _merged(action, truths[action.metric])
        case DeleteLabel():
            yield from _deleted(action, truths[action.metric])
        case ReduceBuckets():
            yield from _reduced(action, truths[action.metric])
        case _:
            yield "nothing of that kind was planted"


def _dropped(found: Truth) -> Iterator[str]:
    if found.read:
        yield "a metric that is read goes"
    if found.hidden:
        yield "a metric goes although a document cannot be read"


def _merged(action: AggregateLabels, found: Truth) -> Iterator[str]:
    said = [key.said if (key := found.key(label.key)) else label.key for label in action.labels]
    for label in said:
        if label in found.apart:
            yield f"series that {label} keeps apart become one"
    if found.hidden:
        yield "series are merged although a document cannot be read"
    counts = found.metric.counter or found.metric.kind not in (Kind.GAUGE, Kind.SUM)
    if found.merges - {"sum" if counts or found.double else action.operator}:
        yield f"merged by {action.operator}, read by {', '.join(sorted(found.merges))}"


def _deleted(action: DeleteLabel, found: Truth) -> Iterator[str]:
    key = found.key(action.label.key)
    if key is None or key.by is None or key.by not in [label.key for label in action.determined_by]:
        yield "a label is deleted that follows from nothing"
    elif key.said in found.kept:
        yield f"the label {key.said} is read"
    if found.hidden:
        yield "a label is deleted although a document cannot be read"


def _reduced(action: ReduceBuckets, found: Truth) -> Iterator[str]:
    needed = found.bounds
    if needed is None or not needed <= frozenset(action.bounds):
        yield "buckets go that are read"


def _unprotected(found: Truth, protected: Mapping[str, Needed]) -> Iterator[str]:
    """What the check of a configuration holds actions against must hold all that is read."""
    needed = protected.get(found.metric.name)
    if needed is None:
        if found.read or found.hidden:
            yield "not protected"
        return
    spelled = {key.said: (key.said, key.key) for key in found.metric.keys}
    lost = sorted(label for label in found.apart if found.read and not any(s in needed.labels for s in spelled[label]))
    if lost:
        yield f"not protected: {', '.join(lost)}"
    bounds = found.bounds
    if found.read and needed.bounds is not None and (bounds is None or not bounds <= needed.bounds):
        yield "not protected: its buckets"


# --- many sets ---------------------------------------------------------------------------------------------------------------------------


_TOGETHER = 500
"""Sets that share a parser, which keeps every expression's tree."""


def judged(seed: int, numbers: Sequence[int], folder: Path, analyse: Analyse = analysed) -> Score:
    score = Score()
    for start in range(0, len(numbers), _TOGETHER):
        with PromqlWorker() as parse:
            for number in numbers[start : start + _TOGETHER]:
                made = planted(seed, number)
                judge(score, made, usage_of(made, folder, parse), analyse)
    return score
