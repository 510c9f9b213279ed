"""A label that no query needs, and that keeps series apart which could be one, or says what others say already."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.rules.high_cardinality_label import is_high
from analyzer.rules.labels import LabelCase, aggregation, deletion, follows, found, label_cases
from flowgate.advice import Policy, Verdict
from flowgate.money import Volume

RULE = "unused_label"
_KEPT = (Verdict.NEEDED, Verdict.UNKNOWN)


def find(case: MetricCase) -> Iterator[Found]:
    """Nothing of a metric that may go as a whole. Labels of many values are another rule's."""
    if unused_metric.judged(case).verdict is Verdict.UNREFERENCED:
        return
    for label in label_cases(case):
        if label.judged.verdict not in _KEPT and not is_high(label, case.policy):
            yield from _merged(label, case.policy) if label.merges else _deleted(label, case.policy)


def _merged(label: LabelCase, policy: Policy) -> Iterator[Found]:
    gone = label.gone
    series = sum(metric.volume.series for metric, _ in label.carriers)
    if gone.series >= max(policy.unused_label_series, series * policy.unused_label_share):
        yield found(RULE, label, gone, label.judged, aggregation(label))


def _deleted(label: LabelCase, policy: Policy) -> Iterator[Found]:
    """Only its bytes go."""
    gone = sum(profile.bytes_per_second or 0.0 for _, profile in label.carriers)
    whole = sum(metric.volume.bytes_per_second for metric, _ in label.carriers)
    action = deletion(label)
    if action is not None and gone > 0 and gone >= whole * policy.determined_label_share:
        yield found(RULE, label, Volume(bytes_per_second=gone), follows(label, action), action)
