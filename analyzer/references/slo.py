"""Service level objectives: Sloth, Pyrra, OpenSLO, Nobl9 and Grafana SLO.

Their controllers make rules and alerts of them, which are roots: an SLO's query is one as well, with every label of its output.

What Pyrra evaluates (`slo/rules.go` of pyrra-dev/pyrra): burn rates `sum by (grouping) (rate(metric[w]))` of a ratio and a latency,
the same with `increase` over the window, which groups by matched labels too (a selector's matchers are needed anyway), `absent(metric)`,
of a native latency `histogram_fraction(0, l, sum by (grouping) (rate(metric[w])))`, of a boolean gauge the `sum_over_time` and
`count_over_time`. Its page also draws `histogram_quantile(q, sum by (le) (rate(success[w])))` over all buckets of a latency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from analyzer.references.queries import Found, Item, Json, JsonReader, Language, Query, Unread
from analyzer.references.shapes import (
    MAX_TEXT,
    at,
    first,
    is_of,
    listing,
    mapping,
    mappings,
    metadata,
    owner_of,
    scalar,
    shown,
    unread,
    with_overlooked,
)

KIND = "slo"
_WINDOW = re.compile(r"\{\{-?\s*\.\s*window\s*-?\}\}", re.IGNORECASE)
_NOT_QUERIES = frozenset({"labels", "annotations", "description", "metadata", "alerting", "status"})


def _query(where: str, rule: str | None, text: str, language: Language = "promql") -> Query:
    filled = _WINDOW.sub("5m", text)
    return Query(language, "slo", where, text, rule, filled if filled != text else None)


def _named(document: Json) -> str:
    return scalar(at(document, "metadata", "name")) or scalar(first(document, "name", "service")) or ""


def _written(where: str, rule: str | None, holder: Json, *keys: str) -> Item:
    """The query under one of `keys`, or that there is none: an indicator without its query might have any."""
    text = scalar(first(holder, *keys))
    return unread(where, holder, f"no {keys[0]}") if text is None else _query(where, rule, text)


# Sloth


def read_sloth(document: Json) -> Found | None:
    """A Sloth spec, as a file (`version: prometheus/v1`) or a resource (`sloth.slok.dev`)."""
    resource = is_of(document, "sloth.slok.dev")
    if not resource and not (document.get("version") == "prometheus/v1" and ("slos" in document or "service" in document)):
        return None
    spec = mapping(document.get("spec")) if resource else document
    slos = listing(spec.get("slos"))
    items = [item for index, slo in enumerate(slos) for item in _sloth_slo(index, slo)]
    if not slos and document.get("kind") != "AlertWindows":
        items.append(Unread("slos", shown(document), "a Sloth spec without SLOs"))
    service = scalar(spec.get("service")) or _named(document)
    owner = owner_of(mapping(spec.get("labels")), *(mapping(s.get("labels")) for s in mappings(slos)))
    return Found(KIND, service, service, with_overlooked(document, items, _NOT_QUERIES), owner or metadata(document)[1])


def _sloth_slo(index: int, slo: Any) -> Iterator[Item]:
    found = mapping(slo)
    name, sli = scalar(found.get("name")), mapping(found.get("sli"))
    where = name or f"slo {index + 1}"
    if isinstance(sli.get("events"), dict):
        yield _written(where, name, sli["events"], "error_query", "errorQuery")
        yield _written(where, name, sli["events"], "total_query", "totalQuery")
    if isinstance(sli.get("raw"), dict):
        yield _written(where, name, sli["raw"], "error_ratio_query", "errorRatioQuery")
    if not {"events", "raw"} & {k for k, v in sli.items() if isinstance(v, dict)}:
        yield _sloth_plugin(where, sli)


def _sloth_plugin(where: str, sli: Json) -> Item:
    """A plugin is code that makes up queries: any name."""
    plugin = scalar(at(sli, "plugin", "id"))
    if plugin is None:
        return unread(where, sli, "an SLI without events, raw or plugin")
    return Unread(where, shown(sli), f"the queries of plugin {plugin} are not known")


# Pyrra

_RATE = "sum{by} (rate({metric}[5m]))"
_ABSENT = "absent({metric})"
_SELECTOR = re.compile(r"\s*(?:[A-Za-z_:][\w:]*\s*(?:\{.*\})?|\{.*\})\s*", re.DOTALL)

_PYRRA: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("ratio", "errors"): (_RATE, _ABSENT),
    ("ratio", "total"): (_RATE, _ABSENT),
    ("latency", "success"): (_RATE, _ABSENT, "histogram_quantile(0.9, sum by (le) (rate({metric}[5m])))"),
    ("latency", "total"): (_RATE, _ABSENT),
    ("latencyNative", "total"): (
        "histogram_fraction(0, 1, sum{by} (rate({metric}[5m])))",
        "histogram_count(sum{by} (increase({metric}[5m])))",
    ),
    ("bool_gauge", ""): ("sum{by} (sum_over_time({metric}[5m]))", "sum{by} (count_over_time({metric}[5m]))", _ABSENT),
}
"""What is evaluated of each part of each indicator."""
_PYRRA_ALIASES: Mapping[str, str] = {"latency_native": "latencyNative", "boolGauge": "bool_gauge"}


def read_pyrra(document: Json) -> Found | None:
    if not is_of(document, "pyrra.dev", "ServiceLevelObjective"):
        return None
    identity, namespace, labels = metadata(document)
    indicator = {str(k): v for k, v in mapping(at(document, "spec", "indicator")).items() if v is not None}
    items = [item for kind, value in indicator.items() for item in _pyrra_indicator(kind, mapping(value))]
    if not indicator:
        items.append(Unread("indicator", shown(document.get("spec")), "an SLO without an indicator"))
    plain = {str(k).rpartition("/")[2]: v for k, v in labels.items()}  # `pyrra.dev/team` is given on to the rules as `team`
    return Found(KIND, identity, identity, with_overlooked(document, items, _NOT_QUERIES), owner_of(plain) or namespace)


def _pyrra_indicator(kind: str, value: Json) -> Iterator[Item]:
    name = _PYRRA_ALIASES.get(kind, kind)
    grouping = [g for g in map(scalar, listing(value.get("grouping"))) if g]
    parts = [(part, forms) for (indicator, part), forms in _PYRRA.items() if indicator == name]
    for part, forms in parts:
        holder = mapping(value.get(part)) if part else value
        yield from _pyrra_metric(f"{kind}.{part}".rstrip("."), holder, grouping, forms)
    if not parts:
        yield unread(kind, value, "an indicator that is not known")


def _pyrra_metric(where: str, holder: Json, grouping: list[str], forms: tuple[str, ...]) -> Iterator[Item]:
    text = scalar(holder.get("metric"))
    if text is None:
        yield unread(where, holder, "an indicator without a metric")
    elif not _SELECTOR.fullmatch(text):
        yield Query("promql", "slo", where, text)
    else:
        by = f" by ({', '.join(map(_label, grouping))})" if grouping else ""
        for form in forms:
            yield Query("promql", "slo", where, text, expression=form.replace("{by}", by).replace("{metric}", text.strip()))


def _label(name: str) -> str:
    """A label as PromQL writes it: since Prometheus 3 any text may be one, in quotes."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


# OpenSLO and Nobl9

_LANGUAGES: Mapping[str, Language] = {
    "prometheus": "promql",
    "promql": "promql",
    "amazonprometheus": "promql",
    "azureprometheus": "promql",
    "googleprometheus": "promql",
    "gcmprometheus": "promql",
    "coralogix": "promql",
    "thanos": "promql",
    "cortex": "promql",
    "mimir": "promql",
    "grafanamimir": "promql",
    "victoriametrics": "promql",
    "datadog": "datadog",
    "grafanaloki": "logql",
    "loki": "logql",
    "logql": "logql",
}
"""What OpenSLO's `metricSource.type` (free text), its older `queryType`, and Nobl9's source keys are written in."""
_QUERY_KEYS = ("query", "promql", "logql", "queryString", "prometheusQuery")


def _language_of(kind: str) -> Language | None:
    return _LANGUAGES.get(re.sub(r"[^a-z]", "", kind.lower()))


def _sourced(where: str, rule: str | None, kind: str | None, spec: Json) -> Item:
    """A query of a source. One that does not say its source is read as PromQL, which the parser will confirm or not."""
    text, language = scalar(first(spec, *_QUERY_KEYS)), _language_of(kind) if kind else "promql"
    if text is not None and language is not None:
        return _query(where, rule, text, language)
    reason = f"a query of {kind}, which is not read" if language is None else "a metric without a query"
    missed = unread(where, spec, reason)
    return replace(missed, text=text[:MAX_TEXT]) if text else missed


def read_openslo(document: Json) -> Found | None:
    """Any kind of OpenSLO. Only SLOs and SLIs have queries; alert policies and conditions speak of burn rates."""
    if not (is_of(document, "openslo") or is_of(document, "openslo.com")):
        return None
    identity, _, labels = metadata(document)
    spec = mapping(document.get("spec"))
    items = [
        item
        for where, holder in _openslo_metrics(spec)
        for item in _openslo_metric(where, scalar(at(document, "metadata", "name")), holder)
    ]
    if not items and document.get("kind") in ("SLO", "SLI") and not _refers(spec):
        items.append(Unread("spec", shown(spec), f"an {document.get('kind')} without a metric"))
    owner = owner_of(labels) or scalar(spec.get("service"))
    return Found(KIND, identity, identity, with_overlooked(document, items, _NOT_QUERIES), owner)


def _refers(spec: Json) -> bool:
    """An SLO may name an SLI, which is a document of its own."""
    holders = (spec, *mappings(spec.get("objectives")))
    return any(scalar(first(h, "indicatorRef", "sliRef")) for h in holders)


_RATIO = frozenset({"good", "bad", "total", "raw"})


def _openslo_metrics(spec: Json) -> Iterator[tuple[str, Any]]:
    """Every metric of an SLI or SLO, wherever its version keeps it: `indicator.spec`, `sli.spec`, `objectives[]` or the spec itself."""
    inlined = [mapping(first(h, "indicator", "sli")) for h in (spec, *mappings(spec.get("objectives")))]
    holders = [spec, *mappings(spec.get("objectives")), *inlined, *(mapping(i.get("spec")) for i in inlined)]
    for holder in holders:
        if holder.get("thresholdMetric") is not None:
            yield "thresholdMetric", holder["thresholdMetric"]
        for key in ("ratioMetric", "ratioMetrics"):
            ratio = mapping(holder.get(key))
            yield from ((f"{key}.{part}", v) for part, v in ratio.items() if part in _RATIO)
            if key in holder and not _RATIO & ratio.keys():
                yield key, ratio


def _openslo_metric(where: str, rule: str | None, metric: Any) -> Iterator[Item]:
    holder, source = mapping(metric), mapping(mapping(metric).get("metricSource"))
    if source:
        spec = mapping(source.get("spec")) or {k: v for k, v in source.items() if k != "type"}
        yield _sourced(where, rule, scalar(source.get("type")), spec)
    elif holder and "metricSource" not in holder:
        yield _sourced(where, rule, scalar(first(holder, "queryType", "source")), holder)
    else:
        yield unread(where, metric, "a metric without a query")


def read_nobl9(document: Json) -> Found | None:
    """An SLO of Nobl9: each objective has queries by source, as counts or raw; a composite names other SLOs."""
    if not is_of(document, "n9"):
        return None
    identity, project, labels = metadata(document)
    spec = mapping(document.get("spec"))
    holders = [
        (spec, "indicator"),
        *((o, scalar(o.get("displayName")) or f"objective {i + 1}") for i, o in enumerate(mappings(spec.get("objectives")))),
    ]
    items = [item for holder, where in holders for item in _nobl9_objective(where, holder)]
    if not items and document.get("kind") == "SLO" and not any("composite" in o for o, _ in holders):
        items.append(Unread("spec", shown(spec), "an SLO without a query"))
    return Found(KIND, identity, identity, with_overlooked(document, items, _NOT_QUERIES), owner_of(labels) or project)


_COUNTS = ("good", "bad", "total", "goodTotal")


def _nobl9_objective(where: str, objective: Json) -> Iterator[Item]:
    raws = (at(objective, "rawMetric", "query"), at(objective, "indicator", "rawMetric"), at(objective, "rawMetric"))
    raw = next((r for r in raws if isinstance(r, dict)), None)
    counts = mapping(objective.get("countMetrics"))
    sources = [("rawMetric", raw), *((f"countMetrics.{c}", counts[c]) for c in _COUNTS if c in counts)]
    for place, source in sources:
        if source is not None:
            yield from _nobl9_sources(f"{where}/{place}", source)
    if "countMetrics" in objective and not set(_COUNTS) & counts.keys():
        yield unread(f"{where}/countMetrics", counts, "counts without good, bad or total")


def _nobl9_sources(where: str, source: Any) -> Iterator[Item]:
    found = {str(k): v for k, v in mapping(source).items()}
    for kind, spec in found.items():
        yield (
            _sourced(where, None, kind, mapping(spec))
            if isinstance(spec, dict)
            else unread(where, {kind: spec}, "a source without a query")
        )
    if not found:
        yield unread(where, source, "a metric without a source")


# Grafana SLO


def read_grafana_slo(document: Json) -> Found | None:
    """An SLO of Grafana's SLO app, as its API and exports write it, or the list of them."""
    slos = [s for s in (document, *mappings(document.get("slos"))) if _is_grafanas(s)]
    if not slos:
        return None
    items = [item for slo in slos for item in _grafana_slo(slo)]
    identity = scalar(slos[0].get("uuid")) or "" if len(slos) == 1 else ""
    title = scalar(slos[0].get("name")) or identity if len(slos) == 1 else "Grafana SLOs"
    labels = [{str(p.get("key")): p.get("value")} for s in slos for p in mappings(s.get("labels"))]
    return Found(KIND, identity, title, with_overlooked(slos, items, _NOT_QUERIES), owner_of(*labels))


def _is_grafanas(document: Json) -> bool:
    query = mapping(document.get("query"))
    return "objectives" in document and bool(
        {"ratio", "freeform", "threshold", "failureRatio", "failureThreshold", "grafanaQueries"} & query.keys()
    )


def _grafana_slo(slo: Json) -> Iterator[Item]:
    query, name = mapping(slo["query"]), scalar(slo.get("name"))
    where = name or "SLO"
    known = 0
    if isinstance(ratio := query.get("ratio"), dict):
        yield from _grafana_ratio(where, name, mapping(ratio))
        known += 1
    if isinstance(freeform := query.get("freeform"), dict):
        yield _grafana_freeform(where, name, mapping(freeform))
        known += 1
    if not known:
        yield unread(where, query, f"a query of type {shown(query.get('type'))}, which is not read")


def _grafana_freeform(where: str, name: str | None, freeform: Json) -> Item:
    text = scalar(freeform.get("query"))
    if text is None:
        return unread(where, freeform, "a freeform SLO without a query")
    return Query("promql", "slo", where, text, name)


def _grafana_ratio(where: str, name: str | None, ratio: Json) -> Iterator[Item]:
    """A counter written as a selector: Grafana takes its rate, summed by the labels that are given."""
    labels = [g for g in map(scalar, listing(ratio.get("groupByLabels"))) if g]
    by = f" by ({', '.join(map(_label, labels))})" if labels else ""
    for part in ("successMetric", "totalMetric"):
        text = scalar(at(ratio, part, "prometheusMetric")) or scalar(at(ratio, part))
        if text is None:
            yield unread(where, ratio, f"a ratio without {part}")
        else:
            bare = _SELECTOR.fullmatch(text) is not None
            yield Query("promql", "slo", where, text, name, f"sum{by} (rate({text.strip()}[5m]))" if bare else None)


READERS: tuple[JsonReader, ...] = (read_sloth, read_pyrra, read_openslo, read_nobl9, read_grafana_slo)
