"""A metric or a label, and all that reads it → a letter with its reason. What cannot be told is told so; it is never unused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from analyzer.naming import label_candidates
from analyzer.reading import Reading
from analyzer.together import MetricUsage, together
from flowgate.advice import LabelProfile, MetricProfile, Risk, Verdict, raised
from flowgate.telemetry import Kind
from flowgate.usage import Condition, Operator


@dataclass(frozen=True, slots=True)
class Judged:
    """A letter, in words, and what it leans on. `operator` is how series may be merged when the label goes; None: nothing is known to be right."""

    verdict: Verdict
    wording: str
    risk: Risk
    conditions: tuple[Condition, ...] = ()
    operator: Operator | None = None


def _judged(
    verdict: Verdict, wording: str, reading: Reading, conditions: tuple[Condition, ...] = (), operator: Operator | None = None
) -> Judged:
    risk = _RISK[verdict]
    return Judged(verdict, wording, raised(risk) if reading.narrowing else risk, conditions, operator)


_RISK = {
    Verdict.UNREFERENCED: Risk.NONE,
    Verdict.SAFE: Risk.NONE,
    Verdict.CONDITIONAL: Risk.LOW,
    Verdict.VISIBLE: Risk.MEDIUM,
    Verdict.NEEDED: Risk.HIGH,
    Verdict.UNKNOWN: Risk.HIGH,
}


_SEVERITY = (Verdict.UNREFERENCED, Verdict.SAFE, Verdict.CONDITIONAL, Verdict.VISIBLE, Verdict.UNKNOWN, Verdict.NEEDED)


def worst(found: Iterable[Judged]) -> Judged:
    """Of several judgements about what stands and falls together, the one that protects most; of equals the first."""
    return max(found, key=lambda judged: _SEVERITY.index(judged.verdict))


# --- a whole metric ------------------------------------------------------------------------------------------------------------------------


def metric_verdict(reading: Reading) -> Judged:
    """For dropping the metric."""
    live = [r for r in reading.references if r.live]
    if live:
        return _judged(Verdict.NEEDED, f"read by {len(live)} expression(s)", reading)
    if reading.hiding:
        return _judged(Verdict.UNKNOWN, f"cannot tell: {reading.hiding[0].reason}", reading)
    if reading.references:
        written = ", ".join(sorted({r.recorded for r in reading.references if r.recorded}))
        said = f"read only by recording rules whose output nothing supplied reads: {written}"
        return _judged(Verdict.CONDITIONAL, said, reading, (Condition("recorded", frozenset(), f"nobody reads {written}"),))
    said = "not referenced by supplied artefacts" if reading.narrowing else "not referenced"
    return _judged(Verdict.UNREFERENCED, said, reading)


# --- a label of a metric ---------------------------------------------------------------------------------------------------------------------


def label_verdict(label: LabelProfile, metric: MetricProfile, reading: Reading) -> Judged:
    """For taking the label away and merging the series that it kept apart."""
    names = label_candidates(label.label, label.place == "resource")
    needed = _named(names, label, reading)
    if needed is not None:
        return _judged(Verdict.NEEDED, needed, reading)
    if reading.hiding:
        return _judged(Verdict.UNKNOWN, f"cannot tell: {reading.hiding[0].reason}", reading)
    if not reading.uses:
        said = "nothing supplied reads the metric" if reading.narrowing else "nothing reads the metric"
        return _judged(Verdict.UNREFERENCED, said, reading)
    return _merged(names, label, metric, reading)


def _named(names: frozenset[str], label: LabelProfile, reading: Reading) -> str | None:
    """Why the label is kept, when something asks for it by name."""
    for reference, use in reading.hits:
        for name in sorted(names):
            if name in use.demand and name in use.why:
                return f"needed: {use.why[name]} in {reference.evidence.document}"
        if use.dynamic:
            return f"needed: {use.why['*']} in {reference.evidence.document}"
    if label.place == "resource":
        for reference, use in reading.resource_hits:
            if any(name in use.demand for name in names):
                return f"needed: read with the resource's attributes ({use.name}) in {reference.evidence.document}"
    listed = sorted(names & frozenset(reading.everywhere))
    if listed:
        return f"needed: {listed[0]} is asked of all metrics in {reading.everywhere[listed[0]].document}"
    return None


def _merged(names: frozenset[str], label: LabelProfile, metric: MetricProfile, reading: Reading) -> Judged:
    """The label is named nowhere: what happens to the queries when series that differ only in it become one."""
    wanting = [(r, u) for r, u in reading.hits if any(n in u.demand for n in names)]
    shown = [(r, u) for r, u in wanting if any(n in u.exposed for n in names)]
    if shown:
        said = f"no supplied artefact names the label; {len(shown)} expression(s) show whole series and would change"
        return _judged(Verdict.VISIBLE, said, reading)
    if wanting:
        return _functional(label, metric, wanting[0][1].why.get("*", "every label is needed"), reading)
    return _finite(names, metric, together(reading.uses), reading)


def _functional(label: LabelProfile, metric: MetricProfile, reason: str, reading: Reading) -> Judged:
    """Only values hang on it: where the label follows from those that stay, no series are merged and nothing changes."""
    if label.series_without != metric.volume.series:
        return _judged(Verdict.NEEDED, f"needed: {reason}", reading)
    said = f"{label.label} followed from the labels that stay, in all that was seen: taken away it merges nothing"
    condition = Condition("functional", frozenset({label.label}), said)
    return _judged(Verdict.CONDITIONAL, said, reading, (condition,), "max")


def _finite(names: frozenset[str], metric: MetricProfile, usage: MetricUsage, reading: Reading) -> Judged:
    present = frozenset(n for p in metric.labels for n in label_candidates(p.label, p.place == "resource"))
    clash = sorted(present & _labels_of(usage.conditions, "must_be_absent"))
    if clash:
        return _judged(Verdict.NEEDED, f"needed: a query sets {clash[0]} anew, and the metric has that label itself", reading)
    left = tuple(_open((*usage.conditions, *_added_up_raw(reading)), names, metric))
    obstacle = _not_merged(metric, usage.operator, reading)
    if obstacle is not None:
        return _judged(Verdict.CONDITIONAL, f"no query needs the label, but {obstacle}", reading, left)
    if usage.operator is None:
        said = "no query needs the label, but they do not agree on how to merge its series"
        return _judged(Verdict.CONDITIONAL, said, reading, left)
    if left:
        return _judged(Verdict.CONDITIONAL, f"no query needs the label, if: {left[0].reason}", reading, left, usage.operator)
    said = f"no supplied query needs the label; series merged by {usage.operator} give the same results"
    return _judged(Verdict.SAFE, said, reading, (), usage.operator)


def _not_merged(metric: MetricProfile, operator: Operator | None, reading: Reading) -> str | None:
    """Why series of this type cannot be merged so that what is read stays the same (notes of each type: docs/usage.md)."""
    summed = frozenset({"sum", "count"}) >= reading.parts
    if _counts(metric) and operator in ("min", "max"):
        return (
            f"its queries want the {operator} of a counter: merged ones have a value of their own, and only their increases mean something"
        )
    if metric.kind is Kind.SUMMARY and not summed:
        return "quantiles of a summary cannot be merged"
    if metric.kind is Kind.EXPONENTIAL_HISTOGRAM and not summed:
        return "merged exponential histograms have the coarsest scale among them: quantiles move within the width of a bucket"
    if metric.kind is Kind.HISTOGRAM and metric.buckets is None and not metric.bounds:
        return "it is not known that its series have the same buckets, and others cannot be merged"
    return None


def _counts(metric: MetricProfile) -> bool:
    return metric.monotonic or metric.kind not in (Kind.GAUGE, Kind.SUM)


def _added_up_raw(reading: Reading) -> Iterator[Condition]:
    """Where no increases are taken and the name does not say that it may be a counter: whether it is one, its type says."""
    if any(u.operator == "sum" and not any(c.kind in ("counter", "no_reset") for c in u.conditions) for u in reading.uses):
        yield Condition("no_reset", frozenset(), "a counter that is added up raw: a merged counter does not fall when an input resets")


def _labels_of(conditions: Iterable[Condition], kind: str) -> frozenset[str]:
    return frozenset(label for c in conditions if c.kind == kind for label in c.labels)


def _open(conditions: Iterable[Condition], removed: frozenset[str], metric: MetricProfile) -> Iterator[Condition]:
    """Conditions that neither the metric's type nor what is removed settles. What was absent in a sample is a condition still."""
    counter = _counts(metric)
    for condition in conditions:
        settled = {
            "counter": counter,
            "no_reset": not counter or metric.temporality == "delta",
            "absent_or_removed": condition.labels <= removed,
        }
        if not settled.get(condition.kind, False):
            yield condition
