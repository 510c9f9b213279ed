"""A label that no query needs, and that keeps series apart which could be one, or says what others say already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.rules.high_cardinality_label import is_high
from analyzer.rules.labels import LabelCase, aggregation, deletion, follows, found, label_cases, together
from flowgate.actions import DeleteLabel
from flowgate.advice import Policy, Verdict, raised
from flowgate.money import Volume
from flowgate.usage import Condition

RULE = "unused_label"
_KEPT = (Verdict.NEEDED, Verdict.UNKNOWN)


def find(case: MetricCase) -> Iterator[Found]:
    """Nothing of a metric that may go as a whole. Labels of many values are another rule's."""
    if unused_metric.judged(case).verdict is Verdict.UNREFERENCED:
        return
    labels = [c for c in label_cases(case) if c.judged.verdict not in _KEPT]
    merged = [f for c in labels if c.merges and not is_high(c, case.policy) for f in _merged(c, case.policy)]
    yield from merged
    aggregated = [c.label for c in labels if is_high(c, case.policy) and aggregation(c) is not None]
    aggregated += [f.label for f in merged if f.label is not None and f.action is not None]
    deletions = [(c, action) for c in labels if (action := deletion(c, case.policy)) is not None]
    for label, action in together(deletions, aggregated):
        yield from _deleted(label, action, case)


def _merged(label: LabelCase, policy: Policy) -> Iterator[Found]:
    gone = label.gone
    series = sum(metric.volume.series for metric, _ in label.carriers)
    if gone.series >= max(policy.unused_label_series, series * policy.unused_label_share):
        yield found(RULE, label, gone, label.judged, aggregation(label))


def _deleted(label: LabelCase, action: DeleteLabel, case: MetricCase) -> Iterator[Found]:
    """Only its bytes go. A rare value has not been seen in a short window: then it is said, and nothing is done."""
    gone = sum(profile.bytes_per_second or 0.0 for _, profile in label.carriers)
    whole = sum(metric.volume.bytes_per_second for metric, _ in label.carriers)
    if gone <= 0 or gone < whole * case.policy.determined_label_share:
        return
    judged, least = follows(label, action), case.policy.determined_window.total_seconds()
    if case.profile.window.seconds >= least:
        yield found(RULE, label, Volume(bytes_per_second=gone), judged, action)
        return
    said = f"{judged.wording}; in {case.profile.window.seconds:.0f} s, and {least:.0f} s are asked for before it is taken as always so"
    condition = Condition("functional", frozenset({label.label.key}), said)
    unsure = replace(judged, verdict=Verdict.CONDITIONAL, wording=said, risk=raised(judged.risk), conditions=(condition,))
    yield found(RULE, label, Volume(bytes_per_second=gone), unsure, None)
