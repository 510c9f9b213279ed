"""A label with many values that multiplies a metric's series. What its values look like says whether there will ever be an end of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.rules.labels import LabelCase, aggregation, found, label_cases, looks
from flowgate.advice import Policy, Verdict

RULE = "high_cardinality_label"


def find(case: MetricCase) -> Iterator[Found]:
    """Also where the label is needed: then it is for whoever reads it to say whether it is worth its price."""
    if unused_metric.judged(case).verdict is Verdict.UNREFERENCED:
        return
    for label in label_cases(case):
        if is_high(label, case.policy):
            judged = replace(label.judged, wording=label.judged.wording + looks(label))
            yield found(RULE, label, label.gone, judged, aggregation(label))


def is_high(case: LabelCase, policy: Policy) -> bool:
    """Many values, and without the label few series would be left."""
    return any(
        label.distinct >= policy.high_cardinality_distinct and label.series_without <= metric.volume.series * policy.high_cardinality_share
        for metric, label in case.carriers
    )
