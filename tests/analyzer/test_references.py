"""What is read: every way to read a metric is found, and what is not understood protects what it might mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analyzer.parsers import PromqlWorker
from analyzer.references.documents import MAX_DOCUMENT_BYTES, read_documents
from analyzer.references.promql import Answer, NotUnderstood, Selected, parse_one, read_expressions
from flowgate.advice import Usage

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "usage"


def parse(expressions: Sequence[str]) -> list[Answer]:
    return [parse_one(e) for e in expressions]


def read(text: str, **options: tuple[str, ...]) -> Answer:
    return read_expressions([(text, options)], parse)[0]


def selected(text: str, **options: tuple[str, ...]) -> Selected:
    answer = read(text, **options)
    assert isinstance(answer, Selected), answer
    return answer


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up", {"up"}),
        ("sum by (a) (rate(x_total[5m])) / on (a) group_left (b) y", {"x_total", "y"}),
        ("absent(gone{job='a'})", {"gone"}),
        ("histogram_quantile(0.9, sum by (le) (rate(h_bucket[5m])))", {"h_bucket"}),
        ("max_over_time(x[5m:1m])", {"x"}),
        ("-x offset 5m > bool 2 unless y @ end()", {"x", "y"}),
        ('{__name__="exact"}', {"exact"}),
        ('{__name__=~"one|two"}', {"one", "two"}),
        ('{__name__=~"(?:one|two)"}', {"one", "two"}),
        ('{"my.metric"}', {"my.metric"}),
        ("rate(x[$__rate_interval])", {"x"}),
        ("rate(x[${__rate_interval}])", {"x"}),
        ("rate(x[[[interval]]])", {"x"}),
        ("increase(x[$__range:$__interval])", {"x"}),
        ("x offset $shift", {"x"}),
        ("x * $__interval_ms / $__range_s", {"x"}),
        ('x{a="$a", b=~"${b:regex}"}', {"x"}),
        ("x{$filters}", {"x"}),
        ('x{a="1",$filters}', {"x"}),
        ("sum by ($group) (x)", {"x"}),
        ("topk($k, x)", {"x"}),
        ("quantile($q, x)", {"x"}),
        ("label_replace(x, 'a', '$1', 'b', '(.*)')", {"x"}),
    ],
)
def test_exact_names_are_found(expression: str, metrics: set[str]) -> None:
    answer = read(expression)
    if isinstance(answer, NotUnderstood):
        pytest.fail(f"{expression}: {answer}")
    assert metrics <= answer.metrics


@pytest.mark.parametrize(
    ("expression", "pattern"),
    [
        ("rate(${prefix}_requests_total[5m])", ".*_requests_total"),
        ("shop_${part}_total", "shop_.*_total"),
        ("shop_[[part]]_total{}", "shop_.*_total"),
        ('{__name__=~"shop_.*"}', "shop_.*"),
        ('{__name__=~"shop_${part}_.*"}', "shop_.*_.*"),
        ('{__name__="shop_$part"}', "shop_.*"),
    ],
)
def test_pieces_of_names_become_patterns(expression: str, pattern: str) -> None:
    assert selected(expression).patterns == {pattern}


def test_options_of_a_variable_are_all_read() -> None:
    assert selected("rate(${m}_total[5m])", m=("orders", "carts")).metrics == {"orders_total", "carts_total"}
    assert selected("sum($m)", m=("orders", "carts")).metrics == {"orders", "carts"}


@pytest.mark.parametrize(
    "expression", ["$metric", "sum($metric)", '{job="a"}', '{__name__=~".+"}', '{__name__!="x"}', '{__name__=~"a.*"}', "${m}{a='b'}"]
)
def test_a_name_that_could_be_any_is_not_a_reference_but_a_blind_spot(expression: str) -> None:
    answer = read(expression)
    assert isinstance(answer, NotUnderstood)


@pytest.mark.parametrize(
    "expression", ["rate(some_metric[5m]", "some_metric ++ ", "some_metric{a=}", "foo(some_metric)", "(" * 300 + "some_metric" + ")" * 300]
)
def test_what_does_not_parse_touches_the_names_in_it(expression: str) -> None:
    answer = read(expression)
    assert isinstance(answer, NotUnderstood)
    assert answer.touches == () or any("some_metric" in t for t in answer.touches)


def test_labels_are_those_mentioned_with_the_metric() -> None:
    labels = selected('sum by (route) (rate(x{code="5"}[5m])) / on (route) y').labels
    assert labels["x"] == {"route", "code"}
    assert labels["y"] == {"route"}


names = st.sampled_from(["http_requests_total", "node_cpu_seconds_total", "shop_orders_total", "up_time_seconds"])


@given(names, names, st.data())
def test_a_mutated_expression_never_loses_a_name_in_silence(left: str, right: str, data: st.DataObject) -> None:
    """Delete or insert anything: names still standing whole are read, or the expression is reported as not understood."""
    text = f'sum by (job) (rate({left}{{code=~"5.."}}[5m])) / on (job) group_left max({right}) > 0.5'
    at = data.draw(st.integers(0, len(text)))
    mutated = text[:at] + data.draw(st.text("(){}[]\"'$,=~ab1 ", max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    assume(left in mutated and right in mutated)
    answer = read(mutated)
    if isinstance(answer, Selected):
        quoted = [n for n in (left, right) if n not in answer.metrics and not any(n in p for p in (*answer.patterns, *answer.metrics))]
        assert not quoted or any(c in mutated for c in "\"'"), mutated


def dashboard(**panel: Any) -> str:
    return json.dumps({"panels": [{"title": "p", **panel}], "schemaVersion": 39})


def usage(*documents: str) -> Usage:
    return read_documents([(f"d{k}", d) for k, d in enumerate(documents)], parse)


def metrics(found: Usage) -> set[str]:
    return {m for r in found.references for m in r.metrics}


TARGET = {"targets": [{"expr": "wanted", "datasource": {"type": "prometheus"}}]}


@pytest.mark.parametrize(
    "text",
    [
        dashboard(**TARGET),
        json.dumps({"dashboard": json.loads(dashboard(**TARGET)), "meta": {}}),
        json.dumps({"panels": [{"type": "row", "collapsed": True, "panels": [{"panels": [TARGET]}]}]}),
        json.dumps({"rows": [{"panels": [TARGET]}]}),
        json.dumps({"panels": [], "templating": {"list": [{"name": "v", "type": "query", "query": "label_values(wanted, pod)"}]}}),
        json.dumps(
            {"panels": [], "templating": {"list": [{"name": "v", "type": "query", "query": {"query": "query_result(max(wanted))"}}]}}
        ),
        json.dumps({"panels": [], "templating": {"list": [{"name": "v", "type": "query", "definition": "wanted"}]}}),
        json.dumps({"panels": [], "annotations": {"list": [{"name": "a", "expr": "wanted > 1"}]}}),
        json.dumps(
            {
                "panels": [{"targets": [{"expr": "wanted"}], "datasource": "$ds"}],
                "templating": {"list": [{"name": "ds", "type": "datasource", "query": "prometheus"}]},
            }
        ),
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: wanted > 1}\n",
        "groups:\n- name: g\n  rules:\n  - {record: r, expr: sum(wanted)}\n",
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n  groups:\n  - name: g\n    rules:\n    - {alert: A, expr: wanted}\n",
        "---\n---\ngroups:\n- name: g\n  rules:\n  - {alert: A, expr: absent(wanted)}\n",
    ],
)
def test_every_place_in_a_document_is_read(text: str) -> None:
    assert "wanted" in metrics(usage(text))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"panels": [',
        "a: b: c",
        "groups: 7",
        "",
        "just text",
        "[]",
        "kind: ConfigMap\ndata: {}",
        "groups:\n- name: g\n",
        "groups:\n- name: g\n  rules:\n  - {alert: A}\n",
        "a: 1\na: 2\n",
        dashboard(libraryPanel={"uid": "x", "name": "n"}),
        "x" * (MAX_DOCUMENT_BYTES + 1),
        "[" * 100_000,
    ],
)
def test_a_document_that_cannot_be_read_hides_any_name(text: str) -> None:
    found = usage(text)
    assert any(s.kind == "hiding" and not s.touches for s in found.blind_spots)


def test_a_broken_document_does_not_take_its_neighbours_along() -> None:
    found = usage("{", dashboard(**TARGET))
    assert metrics(found) == {"wanted"}
    assert [s.document for s in found.blind_spots] == ["d0"]


@pytest.mark.parametrize("kind", ["loki", "tempo", "elasticsearch"])
def test_other_languages_are_not_taken_for_promql(kind: str) -> None:
    assert usage(dashboard(targets=[{"expr": '{app="x"}', "datasource": {"type": kind}}])).expressions == 0


def test_evidence_names_document_panel_expression_and_rule() -> None:
    (reference,) = usage(dashboard(**TARGET)).references
    assert (reference.evidence.kind, reference.evidence.panel, reference.evidence.expression) == ("dashboard", "p", "wanted")
    (reference,) = usage("groups:\n- name: g\n  rules:\n  - {alert: A, expr: wanted}\n").references
    assert (reference.evidence.kind, reference.evidence.rule) == ("alert", "A")


def test_the_worker_answers_as_the_parser_does() -> None:
    expressions = ["sum(x)", "x{", '{__name__=~"shop_.*"}', "sum(x)"]
    with PromqlWorker() as worker:
        assert worker(expressions) == parse(expressions)
        assert worker.kills == 0


def test_a_worker_that_dies_costs_one_expression() -> None:
    code = (
        "import sys, json\nprint(flush=True)\nfrom analyzer.parsers import _json\nfrom analyzer.references.promql import parse_one\n"
        "for line in sys.stdin:\n    text = json.loads(line)\n    if 'crash' in text: sys.exit(9)\n"
        "    if 'hang' in text:\n        while True: pass\n    print(json.dumps(_json(parse_one(text))), flush=True)\n"
    )
    import sys

    with PromqlWorker(seconds=0.5, command=[sys.executable, "-c", code]) as worker:
        answers = worker(["sum(a_metric)", "crash_metric", "hang_metric", "sum(b_metric)"])
    assert worker.kills == 2
    assert [isinstance(a, Selected) for a in answers] == [True, False, False, True]
    assert isinstance(answers[1], NotUnderstood)
    assert answers[1].touches == ("crash_metric",)


@pytest.mark.skipif(not SAMPLES.exists(), reason="../shared/samples is not here")
def test_public_samples_are_understood() -> None:
    files = [f for f in SAMPLES.rglob("*") if f.suffix in (".json", ".yaml") and "expected" not in f.name]
    documents = [(str(f), f.read_text()) for f in files]
    with PromqlWorker() as worker:
        found = read_documents(documents, worker)
    assert found.expressions > 800
    assert found.understood >= 0.995 * found.expressions
