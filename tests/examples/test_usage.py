"""The planted truth agrees with the dashboards and rules, read here without any of the analyzer's code."""

import itertools
import json
import re
from decimal import Decimal
from pathlib import Path

import promql_parser
import pytest
import ryaml

from examples.shop.catalogue import catalogue

EXAMPLES = Path(__file__).parents[2] / "examples"
USAGE = EXAMPLES / "usage"
DOCUMENTS = sorted(path for pattern in ("dashboards/*.json", "rules/*.yaml") for path in USAGE.glob(pattern))
PLANTED = json.loads((EXAMPLES / "planted.json").read_text())
METRICS = {metric.name: metric for metric in catalogue(7)}
UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "Cel": "celsius", "g": "grams", "kg": "kg"}


def entries(kind, rule="unused_metric"):
    return [entry for entry in PLANTED if entry["kind"] == kind and entry["rule"] == rule]


def prom_names(metric):
    """Names by Prometheus' default translation, as far as the catalogue's units need it."""
    name = metric.name.replace(".", "_")
    name += f"_{UNITS[metric.unit]}" if metric.unit in UNITS else ""
    name += "_ratio" if metric.unit == "1" and metric.kind == "gauge" else ""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
    return {name + suffix for suffix in suffixes.get(metric.kind, ("",))}


def every_expression(path):
    if path.suffix == ".yaml":
        return [rule["expr"] for group in ryaml.loads(path.read_text())["groups"] for rule in group["rules"]]
    board = json.loads(path.read_text())
    variables = board["templating"]["list"]
    asked = [re.fullmatch(r"label_values\((.+), *\w+\)", one["definition"])[1] for one in variables if one["type"] == "query"]
    options = {one["name"]: one["query"].split(",") for one in variables if one["type"] == "custom"}
    shown = [target["expr"] for panel in panels(board["panels"]) for target in panel.get("targets", ())]
    noted = [one["expr"] for one in board["annotations"]["list"] if "expr" in one]
    return [substituted for one in asked + shown + noted for substituted in substitute(one, options)]


def panels(several):
    for panel in several:
        yield panel
        yield from panels(panel.get("panels", ()))


def substitute(expression, options):
    used = [name for name in options if f"${{{name}}}" in expression]
    for values in itertools.product(*(options[name] for name in used)):
        made = expression.replace("$__rate_interval", "5m")
        for name, value in zip(used, values, strict=True):
            made = made.replace(f"${{{name}}}", value)
        yield made


def selectors(expression):
    found = []
    promql_parser.walk(
        promql_parser.parse(expression),
        lambda node: found.append(node) if isinstance(node, promql_parser.VectorSelector) else None,
    )
    return found


def read_names(path):
    """Exact names and anchored patterns that one document asks for."""
    exact, patterns = set(), set()
    for selector in itertools.chain.from_iterable(map(selectors, every_expression(path))):
        if selector.name:
            exact.add(selector.name)
        patterns |= {matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"}
    return exact, patterns


def readers(metric):
    names = prom_names(metric)
    hits = []
    for path in DOCUMENTS:
        exact, patterns = read_names(path)
        if exact & names or any(re.fullmatch(pattern, name) for pattern in patterns for name in names):
            hits.append(str(path.relative_to(USAGE)))
    return hits


def labels_named(expression):
    return {matcher.name for selector in selectors(expression) for matcher in selector.matchers.matchers}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_expression_is_valid_promql(path):
    assert [bool(promql_parser.parse(expression)) for expression in every_expression(path)]


@pytest.mark.parametrize("entry", entries("waste"), ids=lambda entry: entry["name"])
def test_no_document_reads_planted_waste(entry):
    metric = METRICS[entry["metric"]]
    assert readers(metric) == []
    base = min(prom_names(metric), key=len).removesuffix("_total").removesuffix("_sum")
    assert not [path.name for path in DOCUMENTS if base in path.read_text() or metric.name in path.read_text()]


@pytest.mark.parametrize("entry", entries("trap"), ids=lambda entry: entry["name"])
def test_exactly_one_document_reads_a_trap(entry):
    assert readers(METRICS[entry["metric"]]) == [entry["read_by"]]


@pytest.mark.parametrize("entry", entries("waste", "high_cardinality_label"), ids=lambda entry: entry["name"])
def test_an_exploded_metric_is_read_but_its_label_is_named_nowhere(entry):
    metric = METRICS[entry["metric"]]
    assert entry["read_by"] in readers(metric)
    assert len(metric.labels[entry["label"]]) >= 500
    for path in DOCUMENTS:
        assert not re.search(rf"\b{entry['label']}\b", path.read_text())
        assert all(entry["label"] not in labels_named(expression) for expression in every_expression(path))


@pytest.mark.parametrize(
    ("metric", "parts"),
    [
        ("shop.shipping.dispatch.duration", {"_count"}),
        ("shop.payment.amount", {"_sum"}),
        ("shop.checkout.duration", {"_bucket"}),
    ],
)
def test_only_the_promised_part_of_a_histogram_is_read(metric, parts):
    names = prom_names(METRICS[metric])
    read = set().union(*(read_names(path)[0] for path in DOCUMENTS)) & names
    assert {name[name.rindex("_") :] for name in read} == parts


def test_the_recorded_trap_is_read_by_an_alert_through_its_recorded_name():
    recorded = next(
        rule["record"]
        for group in ryaml.loads((USAGE / "rules/shop-recording.yaml").read_text())["groups"]
        for rule in group["rules"]
        if "shop_checkout_abandonments_total" in rule["expr"]
    )
    assert recorded in read_names(USAGE / "rules/shop-alerts.yaml")[0]


def test_the_patterns_are_anchored_to_enough_letters_to_count_as_a_reference():
    patterns = set().union(*(read_names(path)[1] for path in DOCUMENTS))
    assert patterns == {"shop_payment_provider_.+"}


def test_planted_entries_are_many_distinct_and_whole():
    assert len({entry["name"] for entry in PLANTED}) == len(PLANTED) >= 24
    assert len(entries("waste")) >= 14
    assert len(entries("trap")) >= 8
    assert len(entries("waste", "debug_logs")) == len(entries("waste", "high_cardinality_label")) == 2
    fields = {"name", "kind", "signal", "rule", "metric", "label", "service", "expected", "why", "read_by"}
    assert all(set(entry) == fields for entry in PLANTED)
    assert all(METRICS[entry["metric"]].service == entry["service"] for entry in PLANTED if entry["metric"])


def test_every_shop_metric_is_planted_or_read():
    planted = {entry["metric"] for entry in PLANTED}
    assert [name for name, metric in METRICS.items() if name not in planted and not readers(metric)] == []


def test_the_node_documents_read_a_realistic_part_of_node_exporter_and_host_metrics():
    names = read_names(USAGE / "dashboards/node.json")[0] | read_names(USAGE / "rules/node.yaml")[0]
    assert sum(name.startswith("node_") for name in names) >= 40
    assert "system_cpu_time_seconds_total" in names


def test_the_price_book_holds_exact_amounts():
    book = ryaml.loads((EXAMPLES / "price-book.yaml").read_text())
    assert book["metrics"] == {"per": "prom_series", "amount": "0.0080"}
    assert all(isinstance(book[signal]["amount"], str) and Decimal(book[signal]["amount"]) > 0 for signal in ("metrics", "logs", "traces"))
