"""`flowgate bench usage`: how fast documents become what they read. Expressions are made, all distinct, in the shapes that dashboards have."""

from __future__ import annotations

import itertools
import json
import resource
import time
from collections.abc import Iterator
from typing import Any

from analyzer import demand
from analyzer.parsers import PromqlWorker
from analyzer.references.expressions import Parsed, read_trees
from analyzer.references.inventory import Input
from analyzer.usage import read_usage
from bench.report import Bar, median, say, show

ROUNDS = 5
EXPRESSIONS = 9_000
DOCUMENTS = 700
PER_DOCUMENT = 13
LARGE_BYTES = 5_000_000

_SHAPES = (
    'sum by (namespace, pod) (rate({m}_total{{cluster="$cluster", namespace=~"$namespace"}}[$__rate_interval]))',
    'histogram_quantile(0.99, sum by (le, handler) (rate({m}_seconds_bucket{{job="{j}", code!~"5.."}}[5m])))',
    '1 - sum({m}_free_bytes{{instance="$instance"}}) / sum({m}_size_bytes{{instance="$instance"}})',
    '100 * sum by (job) (rate({m}_errors_total{{job=~".+"}}[5m])) / sum by (job) (rate({m}_requests_total[5m])) > 5',
    'topk($k, max by (instance) (max_over_time({m}_queue_length{{job="{j}"}}[$__range])))',
    '{m}_temperature{{chip=~".*"}} * on (chip) group_left (chip_name) {m}_chip_names',
    'label_replace(rate({m}_bytes_total{{device!~"lo|veth.+"}}[5m]), "nic", "$1", "device", "(.*)")',
    'max by (cluster) ({m}_info{{cluster="$cluster"}}) unless on (cluster) absent({m}_up{{job="{j}"}} == 1)',
    'avg_over_time({m}_usage_ratio{{namespace="$namespace"}}[1h:5m]) and on (namespace) kube_namespace_labels{{label_team="{j}"}}',
)


def expressions() -> Iterator[str]:
    for k in itertools.count():
        yield _SHAPES[k % len(_SHAPES)].format(m=f"app{k}_component", j=f"job-{k % 97}")


def board(number: int, listed: list[str], padding: str = "") -> str:
    panels = [
        {"id": k, "title": f"panel {k}", "type": "timeseries", "description": padding, "datasource": {"type": "prometheus", "uid": "p"},
         "targets": [{"refId": "A", "expr": expression, "legendFormat": "{{pod}}"}]}
        for k, expression in enumerate(listed)
    ]  # fmt: skip
    variables = [
        {"type": "query", "name": "cluster", "datasource": {"type": "prometheus"}, "query": f"label_values(app{number}_up, cluster)"}
    ]
    made: dict[str, Any] = {
        "uid": f"b{number}",
        "title": f"board {number}",
        "schemaVersion": 39,
        "panels": panels,
        "templating": {"list": variables},
    }
    return json.dumps(made)


def used() -> float:
    """CPU seconds of this process and the worker, once that has ended."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def per_core() -> float:
    """Distinct expressions a CPU-second, from text to what each label is needed for; the worker's start is not counted."""
    listed = list(itertools.islice(expressions(), EXPRESSIONS))
    idle = used()
    with PromqlWorker() as parse:
        read_trees([("up", {})], parse)
    idle = used() - idle
    start = used()
    with PromqlWorker() as parse:
        found = read_trees([(text, {}) for text in listed], parse)
    uses = [demand.uses(tree) for answer in found if isinstance(answer, Parsed) for tree in answer.trees]
    assert len(uses) == EXPRESSIONS
    return EXPRESSIONS / (used() - start - idle)


def documents() -> float:
    made = expressions()
    inputs = [Input(f"b{k}.json", board(k, list(itertools.islice(made, PER_DOCUMENT)))) for k in range(DOCUMENTS)]
    return _read(inputs, DOCUMENTS * (PER_DOCUMENT + 1))


def large() -> float:
    padded = board(0, list(itertools.islice(expressions(), 100)), "x" * (LARGE_BYTES // 100 - 300))
    return _read([Input("large.json", padded)], 101)


def _read(inputs: list[Input], expected: int) -> float:
    start = time.perf_counter()
    with PromqlWorker() as parse:
        usage = read_usage(inputs, parse)
    assert usage.expressions == usage.understood == expected
    return time.perf_counter() - start


def main() -> None:
    rates, seconds, largest = [], [], []
    for k in range(ROUNDS):
        rates.append(per_core())
        seconds.append(documents())
        largest.append(large())
        say(f"usage round {k + 1} of {ROUNDS}: {rates[-1]:.0f} expressions/s a core, {seconds[-1]:.1f} s, {largest[-1]:.2f} s")
    show(
        [
            Bar(
                "usage.expressions.core",
                median(rates),
                "distinct expressions per CPU-second",
                at_least=3_000,
                low=min(rates),
                high=max(rates),
            ),
            Bar(
                "usage.documents.seconds",
                median(seconds),
                f"seconds for {DOCUMENTS} documents",
                at_most=20,
                low=min(seconds),
                high=max(seconds),
            ),
            Bar("usage.large.seconds", median(largest), "seconds for 5 MB", at_most=2, low=min(largest), high=max(largest)),
        ]
    )


if __name__ == "__main__":
    main()
