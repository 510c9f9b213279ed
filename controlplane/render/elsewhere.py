"""Where else a label can be taken away rightly, when the gateway's build cannot: at the SDK, in the backend's stream aggregation, at the source.

Taking an attribute off the points of a metric, without adding up the series it kept apart, is never offered: a backend keeps either of two
points that then have one identity. Each snippet is whole and valid where it says it goes; those that a name does not allow are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import re2

from analyzer.naming import Strategy, candidates, label_name
from controlplane.render.yaml import dumped, finished
from flowgate.actions import AggregateLabels, DeleteLabel, Label
from flowgate.advice import MetricProfile
from flowgate.telemetry import Kind

Language = Literal["python", "java", "go", "yaml", "json"]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One way to do it."""

    where: str
    """Where it goes, as a heading."""
    language: Language
    text: str
    note: str
    """What it does and what to watch."""


@dataclass(frozen=True, slots=True)
class Snippets:
    """All ways for one action; `reasons` say why a way is missing."""

    ways: tuple[Snippet, ...]
    reasons: tuple[str, ...] = ()


def advice_elsewhere(action: AggregateLabels | DeleteLabel, metric: MetricProfile) -> Snippets:
    """How to take these labels off this metric outside the gateway."""
    labels = action.labels if isinstance(action, AggregateLabels) else (action.label,)
    operator = action.operator if isinstance(action, AggregateLabels) else "sum"
    interval = action.interval_seconds if isinstance(action, AggregateLabels) else 60.0
    ways: list[Snippet] = []
    reasons: list[str] = []
    for made in (_sdk(metric, labels), _backend(metric, labels, operator, interval), _source(metric, labels)):
        for one in made:
            if isinstance(one, Snippet):
                ways.append(one)
            else:
                reasons.append(one)
    return Snippets(tuple(ways), tuple(reasons))


Way = Iterator[Snippet | str]

# --- at the SDK ------------------------------------------------------------------------------------------------------------------------

_INSTRUMENT = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
"""Names that the metrics API allows (opentelemetry-specification, metrics/api.md); others come from elsewhere, and `*` would be a wildcard."""
_EXACT = "The SDK adds up before it exports, so the numbers stay right. Takes effect with the next release of the service."


def _sdk(metric: MetricProfile, labels: Sequence[Label]) -> Way:
    keys = sorted(label.key for label in labels if label.place == "point")
    if len(keys) < len(labels):
        yield "An SDK's views see the attributes of points only: a resource attribute is taken away where the resource is made."
    if not keys:
        return
    if not _INSTRUMENT.fullmatch(metric.metric):
        yield "No SDK makes an instrument of this name, so there is no view for it."
        return
    kept = sorted(p.label for p in metric.labels if p.place == "point" and p.label not in keys)
    yield Snippet(
        "OpenTelemetry SDK for Python: a view", "python", _python(metric.metric, kept), f"{_EXACT} Lists the attributes that stay."
    )
    yield Snippet("OpenTelemetry SDK for Java: a view", "java", _java(metric.metric, keys), _EXACT)
    yield Snippet("OpenTelemetry SDK for Go: a view", "go", _go(metric.metric, keys), _EXACT)
    yield Snippet("OpenTelemetry SDK: declarative configuration", "yaml", _declarative(metric.metric, keys), _EXACT)


def _python(name: str, kept: Sequence[str]) -> str:
    """Python's view keeps what it is told; it has no way to say what goes."""
    keys = f"{{{', '.join(map(_quoted, kept))}}}" if kept else "set()"
    return (
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.view import View\n\n"
        f"view = View(instrument_name={_quoted(name)}, attribute_keys={keys})\n"
        "provider = MeterProvider(views=[view])\n"
    )


def _java(name: str, gone: Sequence[str]) -> str:
    keys = ", ".join(map(_quoted, gone))
    return (
        "import io.opentelemetry.sdk.metrics.InstrumentSelector;\n"
        "import io.opentelemetry.sdk.metrics.SdkMeterProvider;\n"
        "import io.opentelemetry.sdk.metrics.View;\n"
        "import java.util.Set;\n\n"
        "class Metrics {\n"
        f"  static final Set<String> GONE = Set.of({keys});\n\n"
        "  static SdkMeterProvider provider() {\n"
        "    return SdkMeterProvider.builder()\n"
        "        .registerView(\n"
        f"            InstrumentSelector.builder().setName({_quoted(name)}).build(),\n"
        "            View.builder().setAttributeFilter(key -> !GONE.contains(key)).build())\n"
        "        .build();\n"
        "  }\n"
        "}\n"
    )


def _go(name: str, gone: Sequence[str]) -> str:
    keys = ", ".join(map(_quoted, gone))
    return (
        "package telemetry\n\n"
        "import (\n"
        '\t"go.opentelemetry.io/otel/attribute"\n'
        '\t"go.opentelemetry.io/otel/sdk/metric"\n'
        ")\n\n"
        "var view = metric.NewView(\n"
        f"\tmetric.Instrument{{Name: {_quoted(name)}}},\n"
        f"\tmetric.Stream{{AttributeFilter: attribute.NewDenyKeysFilter({keys})}},\n"
        ")\n\n"
        "var provider = metric.NewMeterProvider(metric.WithView(view))\n"
    )


def _declarative(name: str, gone: Sequence[str]) -> str:
    """opentelemetry-configuration, file format 1.0. Its strings expand `${…}` too, and `$$` is a dollar."""
    view = {"selector": {"instrument_name": name}, "stream": {"attribute_keys": {"excluded": list(gone)}}}
    return dumped(finished({"file_format": "1.0", "meter_provider": {"views": [view]}})).decode()


def _quoted(text: str) -> str:
    """A string literal of Python, Java and Go alike: ASCII, with escapes that all three read. Two halves of a pair are not one of Go's, so a
    character beyond 16 bits stands as it is."""
    return "".join(c if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in text).join('""')


# --- in the backend --------------------------------------------------------------------------------------------------------------------


def prometheus_names(metric: MetricProfile) -> tuple[str, ...]:
    """What a Prometheus-shaped backend stores the metric as, its suffixes on: itself, or the parts of a histogram or summary."""
    named = (metric.metric, metric.unit, metric.kind, metric.monotonic)
    plain = candidates(*named, ())
    suffixed = [n for n in candidates(*named, (Strategy.ESCAPED_WITH_SUFFIXES,)) if n not in plain]
    done = (
        re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", metric.metric)
        and not metric.unit
        and (_gauge_like(metric) or metric.metric.endswith("_total"))
    )
    base = metric.metric if done or not suffixed else suffixed[0]
    parts = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.EXPONENTIAL_HISTOGRAM: ("",), Kind.SUMMARY: ("_sum", "_count")}
    return tuple(base + part for part in parts.get(metric.kind, ("",)))


def _gauge_like(metric: MetricProfile) -> bool:
    return metric.kind is not Kind.SUM or not metric.monotonic


def _backend(metric: MetricProfile, labels: Sequence[Label], operator: str, interval: float) -> Way:
    names = [n for n in prometheus_names(metric) if re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", n)]
    if not names:
        yield "A Prometheus-shaped backend has no plain name for this metric."
        return
    if metric.kind is Kind.EXPONENTIAL_HISTOGRAM:
        yield "Stream aggregation of backends does not add up exponential histograms."
        return
    gone = sorted({label_name(label.key) for label in labels})
    counter = not _gauge_like(metric) or metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY)
    yield Snippet("Grafana Cloud: an Adaptive Metrics rule", "json", _grafana(names, gone, operator, counter), _GRAFANA)
    yield Snippet(
        "VictoriaMetrics: stream aggregation (-streamAggr.config)", "yaml", _victoria(names, gone, operator, counter, interval), _VICTORIA
    )


_GRAFANA = "The removed labels are gone for queries too; a counter can be read by rate and increase only."
_VICTORIA = "Run with -streamAggr.dropInput, so that the raw series are not stored beside. One instance must see all series of a group."


def _grafana(names: Sequence[str], gone: Sequence[str], operator: str, counter: bool) -> str:
    aggregation = "sum:counter" if counter else {"group": "max"}.get(operator, operator)
    rules = [{"metric": n, "match_type": "exact", "drop_labels": list(gone), "aggregations": [aggregation]} for n in names]
    return json.dumps(rules, indent=2) + "\n"


def _victoria(names: Sequence[str], gone: Sequence[str], operator: str, counter: bool, interval: float) -> str:
    output = "total" if counter else {"group": "max", "sum": "sum_samples"}.get(operator, operator)
    rules: list[dict[str, Any]] = [
        {
            "match": f'{{__name__="{n}"}}',
            "interval": f"{interval:g}s",
            "without": list(gone),
            "outputs": [output],
            "keep_metric_names": True,
        }
        for n in names
    ]
    if output == "sum_samples":
        for rule in rules:
            rule["dedup_interval"] = f"{interval:g}s"  # the last value of each series is added up, once
    return dumped(rules).decode()


# --- at the source ---------------------------------------------------------------------------------------------------------------------


def _source(metric: MetricProfile, labels: Sequence[Label]) -> Way:
    """Relabelling deletes and adds nothing up, so it is right only where no two series become one."""
    if not all(_merges_nothing(metric, label) for label in labels):
        yield "Relabelling at the scrape would make several series one without adding them up, so it is not offered."
        return
    names = [n for n in prometheus_names(metric) if re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", n)]
    if names:
        pattern = "|".join(re2.escape(n) for n in names)
        rules = [
            {"source_labels": ["__name__"], "regex": pattern, "target_label": label_name(label.key), "replacement": ""} for label in labels
        ]
        text = dumped({"metric_relabel_configs": rules}).decode()
        yield Snippet("Prometheus: metric_relabel_configs of the job", "yaml", text, "Right as long as the labels that stay tell this one.")


def _merges_nothing(metric: MetricProfile, label: Label) -> bool:
    return any(p.key == label and (p.constant or p.determined_by) for p in metric.labels)
