"""One kind of waste a file: each rule is a function of a case that yields what it found, with its reason (`analyzer.rules.cases`)."""

from __future__ import annotations

from analyzer.rules import churn, debug_logs, fine_interval, high_cardinality_label, spike, unread_buckets, unused_label, unused_metric
from analyzer.rules.cases import MetricRule, WindowRule

METRIC_RULES: tuple[MetricRule, ...] = (
    unused_metric.find,
    unused_label.find,
    high_cardinality_label.find,
    churn.find,
    spike.find,
    unread_buckets.find,
    fine_interval.find,
)
WINDOW_RULES: tuple[WindowRule, ...] = (debug_logs.find,)
