"""SLOs of each tool give the queries that their controllers evaluate; what cannot be resolved is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.queries import Found
from analyzer.references.slo import READERS
from flowgate.usage import EVERY_LABEL
from tests.analyzer.foreign import DOCUMENTS, broken, lost, one, queries, read, texts, unreads


def read_(document: Any) -> Found | None:
    return read(READERS, document)


def evaluated(document: Any) -> list[str]:
    return [query.evaluated for query in queries(read_(document))]


# Sloth

ERRORS, TOTAL = 'sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))', "sum(rate(http_requests_total[{{ .window }}]))"
EVENTS = {"error_query": ERRORS, "total_query": TOTAL}


def sloth(*slis: Any) -> dict[str, Any]:
    slos = [{"name": f"s{i}", "objective": 99.9, "sli": sli, "alerting": {"name": "A"}} for i, sli in enumerate(slis)]
    return {"version": "prometheus/v1", "service": "shop", "labels": {"owner": "payments"}, "slos": slos}


def sloth_resource(*slis: Any) -> dict[str, Any]:
    spec = {k: v for k, v in sloth(*slis).items() if k != "version"}
    return {
        "apiVersion": "sloth.slok.dev/v1",
        "kind": "PrometheusServiceLevel",
        "metadata": {"name": "shop", "namespace": "ns"},
        "spec": spec,
    }


@pytest.mark.parametrize("document", [sloth({"events": EVENTS}), sloth_resource({"events": {"errorQuery": ERRORS, "totalQuery": TOTAL}})])
def test_a_sloth_spec_has_its_window_filled_in(document: Any) -> None:
    found = read_(document)
    assert found is not None
    assert (found.kind, found.id, found.owner) == ("slo", "shop", "payments")
    assert texts(found) == [ERRORS, TOTAL]
    assert evaluated(document) == ['sum(rate(http_requests_total{code=~"5.."}[5m]))', "sum(rate(http_requests_total[5m]))"]
    assert {(q.role, q.rule, q.root, q.language) for q in queries(found)} == {("slo", "s0", EVERY_LABEL, "promql")}


@pytest.mark.parametrize("window", ["{{.window}}", "{{ .window }}", "{{-  .window -}}", "{{ . window}}", "{{.Window}}"])
def test_a_window_is_filled_in_however_it_is_spaced(window: str) -> None:
    raw = f"1 - avg_over_time(up[{window}])"
    assert one(read_(sloth({"raw": {"error_ratio_query": raw}}))).evaluated == "1 - avg_over_time(up[5m])"


def test_a_query_without_a_window_is_evaluated_as_written() -> None:
    assert one(read_(sloth({"raw": {"error_ratio_query": "a:b"}}))).expression is None


def test_a_plugin_may_read_anything_and_is_named() -> None:
    document = sloth({"plugin": {"id": "sloth-common/http", "options": {"filter": 'job="a"'}}}, {"events": EVENTS})
    (item,) = unreads(read_(document))
    assert item.touches == ()
    assert not item.narrowing
    assert "sloth-common/http" in item.reason
    assert texts(read_(document)) == [ERRORS, TOTAL]


# Pyrra


def pyrra(**indicator: Any) -> dict[str, Any]:
    meta = {"name": "n", "namespace": "ns", "labels": {"pyrra.dev/team": "shop"}}
    return {
        "apiVersion": "pyrra.dev/v1alpha1",
        "kind": "ServiceLevelObjective",
        "metadata": meta,
        "spec": {"target": "99", "window": "2w", "indicator": indicator},
    }


PYRRA = [
    (
        {"ratio": {"errors": {"metric": 'm_total{code=~"5.."}'}, "total": {"metric": "m_total"}, "grouping": ["job", "handler"]}},
        {
            'm_total{code=~"5.."}': {'sum by (job, handler) (rate(m_total{code=~"5.."}[5m]))', 'absent(m_total{code=~"5.."})'},
            "m_total": {"sum by (job, handler) (rate(m_total[5m]))", "absent(m_total)"},
        },
    ),
    (
        {"latency": {"success": {"metric": 'm_bucket{le="1"}'}, "total": {"metric": "m_count{}"}}},
        {
            'm_bucket{le="1"}': {
                'sum (rate(m_bucket{le="1"}[5m]))',
                'absent(m_bucket{le="1"})',
                'histogram_quantile(0.9, sum by (le) (rate(m_bucket{le="1"}[5m])))',
            },
            "m_count{}": {"sum (rate(m_count{}[5m]))", "absent(m_count{})"},
        },
    ),
    (
        {"latencyNative": {"total": {"metric": "m"}, "latency": "1s", "grouping": ["a"]}},
        {"m": {"histogram_fraction(0, 1, sum by (a) (rate(m[5m])))", "histogram_count(sum by (a) (increase(m[5m])))"}},
    ),
    (
        {"bool_gauge": {"metric": '{__name__="up"}', "grouping": ["a.b"]}},
        {
            '{__name__="up"}': {
                'sum by ("a.b") (sum_over_time({__name__="up"}[5m]))',
                'sum by ("a.b") (count_over_time({__name__="up"}[5m]))',
                'absent({__name__="up"})',
            }
        },
    ),
    (
        {"boolGauge": {"metric": " up\n"}},
        {" up\n": {"sum (sum_over_time(up[5m]))", "sum (count_over_time(up[5m]))", "absent(up)"}},
    ),
    (
        {"ratio": {"errors": {"metric": "rate(e[5m])"}, "total": {"metric": "t"}}},
        {"rate(e[5m])": {"rate(e[5m])"}, "t": {"sum (rate(t[5m]))", "absent(t)"}},
    ),
]


@pytest.mark.parametrize(("indicator", "forms"), PYRRA)
def test_each_metric_of_a_pyrra_indicator_gives_what_is_evaluated_of_it(indicator: Any, forms: dict[str, set[str]]) -> None:
    found = read_(pyrra(**indicator))
    said: dict[str, set[str]] = {}
    for query in queries(found):
        said.setdefault(query.text, set()).add(query.evaluated)
    assert said == forms
    assert not unreads(found)
    assert found is not None
    assert (found.id, found.owner) == ("ns/n", "shop")


def test_an_indicator_that_is_null_is_not_there() -> None:
    assert not unreads(read_(pyrra(ratio=None, bool_gauge={"metric": "up"})))


# OpenSLO


def openslo(version: str, kind: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "n"}, "spec": {"service": "shop", **spec}}


def source(kind: str | None, **spec: Any) -> dict[str, Any]:
    return {"metricSource": {"type": kind, "metricSourceRef": "r", "spec": spec} if kind else {"metricSourceRef": "r", "spec": spec}}


RATIO = {"counter": True, "good": source("Prometheus", query="good_metric"), "total": source("Prometheus", query="total_metric")}
OPENSLO = [
    (
        openslo("openslo/v1", "SLO", {"indicator": {"metadata": {"name": "i"}, "spec": {"ratioMetric": RATIO}}}),
        ["good_metric", "total_metric"],
    ),
    (openslo("openslo/v1", "SLI", {"ratioMetric": RATIO}), ["good_metric", "total_metric"]),
    (openslo("openslo/v1", "SLI", {"thresholdMetric": source("prometheus", query="t")}), ["t"]),
    (openslo("openslo/v1", "SLI", {"thresholdMetric": source(None, query="t")}), ["t"]),
    (openslo("openslo/v1", "SLI", {"ratioMetric": {"raw": source("Prometheus", query="r"), "rawType": "success"}}), ["r"]),
    (openslo("openslo/v1", "SLO", {"objectives": [{"indicator": {"spec": {"thresholdMetric": source("Prometheus", query="t")}}}]}), ["t"]),
    (
        openslo(
            "openslo.com/v2alpha",
            "SLO",
            {"sli": {"spec": {"ratioMetric": {"bad": source("Prometheus", query="b"), "total": source("Prometheus", query="t")}}}},
        ),
        ["b", "t"],
    ),
    (
        openslo(
            "openslo/v1alpha",
            "SLO",
            {
                "objectives": [
                    {
                        "ratioMetrics": {
                            "good": {"source": "prometheus", "queryType": "promql", "query": "g"},
                            "total": {"source": "prometheus", "queryType": "promql", "query": "t"},
                        }
                    }
                ]
            },
        ),
        ["g", "t"],
    ),
    (openslo("openslo/v1alpha", "SLO", {"indicator": {"thresholdMetric": {"source": "x", "queryType": "promql", "query": "t"}}}), ["t"]),
    (openslo("openslo/v1", "SLO", {"indicatorRef": "i"}), []),
    (openslo("openslo/v1", "AlertCondition", {"condition": {"kind": "burnrate", "threshold": 2}}), []),
    (openslo("openslo/v1", "DataSource", {"type": "Prometheus", "connectionDetails": {"url": "u"}}), []),
]


@pytest.mark.parametrize(("document", "expected"), OPENSLO)
def test_queries_of_openslo_are_found_wherever_its_versions_keep_them(document: Any, expected: list[str]) -> None:
    found = read_(document)
    assert texts(found) == expected
    assert {q.language for q in queries(found)} <= {"promql"}
    assert not unreads(found)
    assert found is not None
    assert found.owner == "shop"


@pytest.mark.parametrize(
    ("kind", "language"), [("Datadog", "datadog"), ("Amazon Prometheus", "promql"), ("loki", "logql"), ("PromQL", "promql")]
)
def test_a_sources_type_is_its_language(kind: str, language: str) -> None:
    assert one(read_(openslo("openslo/v1", "SLI", {"thresholdMetric": source(kind, query="q")}))).language == language


BROKEN = [
    (openslo("openslo/v1", "SLI", {"thresholdMetric": source("NewRelic", query="SELECT my_count FROM X")}), {"my_count"}),
    (openslo("openslo/v1", "SLI", {"thresholdMetric": source("CloudWatch", namespace="ns", metricName="my_count")}), {"my_count"}),
    (openslo("openslo/v1", "SLI", {"ratioMetric": {"good": {}, "total": source("Prometheus", query="t")}}), None),
    (openslo("openslo/v1", "SLI", {"ratioMetric": {}}), None),
    (openslo("openslo/v1", "SLO", {}), None),
    (openslo("openslo/v1", "SLI", {"thresholdMetric": "my_count"}), {"my_count"}),
    (sloth(), None),
    (sloth({}), None),
    (sloth("my_count"), None),
    (sloth({"events": {"error_query": 'my_count{a="b"}'}}), {"my_count"}),
    (sloth({"events": {"error_qery": "my_count", "total_query": "t"}}), {"my_count"}),
    (pyrra(), None),
    (pyrra(ratio={"errors": {"metric": "e"}}), None),
    (pyrra(ratio={"errors": {"metrics": "my_count"}, "total": {"metric": "t"}}), {"my_count"}),
    (pyrra(quantile={"metric": "my_count"}), {"my_count"}),
    ({"apiVersion": "n9/v1alpha", "kind": "SLO", "spec": {"objectives": [{"target": 0.9}]}}, None),
    (
        {"apiVersion": "n9/v1alpha", "kind": "SLO", "spec": {"objectives": [{"rawMetric": {"query": {"splunk": {"query": "my_count"}}}}]}},
        {"my_count"},
    ),
    (
        {
            "apiVersion": "n9/v1alpha",
            "kind": "SLO",
            "spec": {"objectives": [{"countMetrics": {"good": {}, "total": {"prometheus": {"promql": "t"}}}}]},
        },
        None,
    ),
    ({"name": "s", "objectives": [], "query": {"grafanaQueries": {"grafanaQueries": [{"expr": "my_count"}]}}}, {"my_count"}),
    ({"name": "s", "objectives": [], "query": {"ratio": {"successMetric": {"prometheusMetric": "t"}}}}, {"t"}),
    ({"name": "s", "objectives": [], "query": {"freeform": {"query": None}}}, None),
]


@pytest.mark.parametrize(("document", "names"), BROKEN)
def test_what_cannot_be_resolved_is_said_with_the_names_it_may_hold(document: Any, names: set[str] | None) -> None:
    """None: it may be any name."""
    found = unreads(read_(document))
    assert found
    assert not any(item.narrowing for item in found)
    if names is None:
        assert () in [item.touches for item in found]
    else:
        assert any(names & set(item.touches) for item in found)


# Nobl9 and Grafana

NOBL9 = [
    ({"rawMetric": {"query": {"prometheus": {"promql": "a"}}}}, [("promql", "a")]),
    ({"rawMetric": {"query": {"amazonPrometheus": {"promql": "a"}}}}, [("promql", "a")]),
    ({"rawMetric": {"query": {"datadog": {"query": "avg:a{*}"}}}}, [("datadog", "avg:a{*}")]),
    (
        {"countMetrics": {"incremental": True, "good": {"prometheus": {"promql": "g"}}, "total": {"prometheus": {"promql": "t"}}}},
        [("promql", "g"), ("promql", "t")],
    ),
    (
        {"countMetrics": {"incremental": True, "bad": {"grafanaLoki": {"logql": "b"}}, "total": {"prometheus": {"promql": "t"}}}},
        [("logql", "b"), ("promql", "t")],
    ),
    ({"composite": {"components": {"objectives": []}}}, []),
]


@pytest.mark.parametrize(("objective", "expected"), NOBL9)
def test_an_objective_of_nobl9_names_its_source(objective: Any, expected: list[tuple[str, str]]) -> None:
    document = {"apiVersion": "n9/v1alpha", "kind": "SLO", "metadata": {"name": "n", "project": "p"}, "spec": {"objectives": [objective]}}
    found = read_(document)
    assert [(q.language, q.text) for q in queries(found)] == expected
    assert not unreads(found)
    assert found is not None
    assert (found.id, found.owner) == ("p/n", "p")


RATIO_SLO = {
    "uuid": "u",
    "name": "Shop",
    "query": {
        "type": "ratio",
        "ratio": {"successMetric": {"prometheusMetric": "g{a='b'}"}, "totalMetric": {"prometheusMetric": "t"}, "groupByLabels": ["job"]},
    },
    "objectives": [{"value": 0.99, "window": "30d"}],
    "labels": [{"key": "team", "value": "shop"}],
}
FREE_SLO = {
    "uuid": "v",
    "name": "Free",
    "query": {"type": "freeform", "freeform": {"query": "sum(rate(g[$__rate_interval])) / sum(rate(t[$__rate_interval]))"}},
    "objectives": [],
}


def test_a_ratio_of_grafana_is_summed_by_its_labels() -> None:
    found = read_(RATIO_SLO)
    assert [(q.text, q.evaluated) for q in queries(found)] == [
        ("g{a='b'}", "sum by (job) (rate(g{a='b'}[5m]))"),
        ("t", "sum by (job) (rate(t[5m]))"),
    ]
    assert found is not None
    assert (found.id, found.title, found.owner) == ("u", "Shop", "shop")


def test_the_list_of_grafanas_slos_is_one_document() -> None:
    assert texts(read_({"slos": [RATIO_SLO, FREE_SLO]})) == ["g{a='b'}", "t", FREE_SLO["query"]["freeform"]["query"]]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": "prometheus/v2", "slos": []},
        {"apiVersion": "v1", "kind": "ServiceLevelObjective", "spec": {}},
        {"query": {"query": "x"}, "objectives": []},
        {"name": "projects/1/services/2/serviceLevelObjectives/3", "serviceLevelIndicator": {}},
    ],
)
def test_documents_of_other_kinds_are_left_to_others(document: Any) -> None:
    assert read_(document) is None


def test_windows_of_alerts_hold_no_query() -> None:
    found = read_({"apiVersion": "sloth.slok.dev/v1", "kind": "AlertWindows", "spec": {"sloPeriod": "28d"}})
    assert found is not None
    assert found.items == ()


@given(DOCUMENTS)
def test_no_document_raises(document: Any) -> None:
    for reader in READERS:
        reader(document)
        reader({"apiVersion": "openslo/v1", "spec": document})
        reader({"apiVersion": "n9/v1", "spec": document})
        reader({"apiVersion": "pyrra.dev/v1", "kind": "ServiceLevelObjective", "spec": document})


ORIGINALS = [
    sloth({"events": EVENTS}),
    sloth_resource({"events": {"errorQuery": ERRORS, "totalQuery": TOTAL}}),
    OPENSLO[0][0],
    OPENSLO[7][0],
    RATIO_SLO,
    FREE_SLO,
]
ORIGINALS += [pyrra(**indicator) for indicator, _ in PYRRA]
EXPRESSIONS = [
    ERRORS,
    TOTAL,
    "good_metric",
    "total_metric",
    "g{a='b'}",
    FREE_SLO["query"]["freeform"]["query"],
    *(text for _, forms in PYRRA for text in forms),
]


@given(st.sampled_from(ORIGINALS).flatmap(broken))
def test_a_broken_document_never_loses_an_expression_in_silence(document: Any) -> None:
    assert lost(read_(document), document, EXPRESSIONS) == []
