"""One kind of waste a file: each rule is a function of a case that yields what it found, with its reason (`analyzer.rules.cases`)."""

from __future__ import annotations

from analyzer.rules import debug_logs, high_cardinality_label, unused_metric
from analyzer.rules.cases import MetricRule, WindowRule

METRIC_RULES: tuple[MetricRule, ...] = (
    unused_metric.find,
    high_cardinality_label.find,
)
WINDOW_RULES: tuple[WindowRule, ...] = (debug_logs.find,)
