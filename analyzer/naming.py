"""OTLP name, unit and type → the names that queries may use for it. Forward only: names are never inverted.

The rules are those of Prometheus' OTLP translation (`otlp.translation_strategy`, four strategies), of the Collector's Prometheus exporters
and of Mimir (suffixes can be switched off), of Google Cloud (`workload.googleapis.com/…`) and of Datadog (the OTLP name, histograms in parts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from flowgate.telemetry import Kind

_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tebibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz",
    "1": "", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

Part = str | None
"""None for the metric itself; `bucket`, `sum`, `count` for the parts of a histogram or summary."""


class Strategy(StrEnum):
    """How a backend makes Prometheus names of OTLP names; the values are those of Prometheus' configuration."""

    ESCAPED_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    ESCAPED = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    UTF8 = "NoTranslation"


EVERY_STRATEGY = frozenset(Strategy)


def candidates(
    metric: str,
    unit: str,
    kind: Kind,
    monotonic: bool,
    strategies: Iterable[Strategy] = EVERY_STRATEGY,
    namespace: str = "",
) -> dict[str, Part]:
    """Every name that a query may use for this OTLP metric, with the part of it that it reads.

    The metric's own name is always among them (Datadog, and whoever passes names on). `namespace` is what an exporter puts before each name.
    """
    bases = list(dict.fromkeys(_bases(metric, unit, kind, monotonic, frozenset(strategies))))
    bases += [f"{namespace}_{base}" for base in bases] if namespace else []
    names: dict[str, Part] = {}
    found = (
        *(pair for base in bases for pair in _parts(base, kind)),
        *(pair for each in _in_datadog(metric) for pair in _datadog_parts(each, kind)),
        *(pair for each in _in_google_cloud(metric) for pair in _stored(each, kind)),
        *(pair for base in bases for pair in _in_managed_prometheus(base, kind, monotonic)),
    )
    for name, part in found:
        names.setdefault(name, part)
    return names


def _parts(base: str, kind: Kind) -> Iterator[tuple[str, Part]]:
    """`_created` may stand beside any counter or histogram, and says nothing of its parts."""
    yield from _stored(base, kind)
    yield f"{base}_created", None


def _stored(base: str, kind: Kind) -> Iterator[tuple[str, Part]]:
    yield base, None
    if kind in (Kind.HISTOGRAM, Kind.EXPONENTIAL_HISTOGRAM):
        yield f"{base}_bucket", "bucket"
    if kind in (Kind.HISTOGRAM, Kind.EXPONENTIAL_HISTOGRAM, Kind.SUMMARY):
        yield from ((f"{base}_{part}", part) for part in ("sum", "count"))


def _datadog_parts(name: str, kind: Kind) -> Iterator[tuple[str, Part]]:
    """Histograms in parts, as distributions or as counts by bucket; summaries with their quantiles."""
    yield name, None
    if kind in (Kind.HISTOGRAM, Kind.EXPONENTIAL_HISTOGRAM):
        yield from ((f"{name}.{part}", part) for part in ("bucket", "sum", "count"))
        yield from ((f"{name}.{part}", None) for part in ("min", "max", "avg"))
    elif kind is Kind.SUMMARY:
        yield from ((f"{name}.{part}", part) for part in ("sum", "count"))
        yield f"{name}.quantile", None


def _bases(metric: str, unit: str, kind: Kind, monotonic: bool, strategies: frozenset[Strategy]) -> Iterator[str]:
    main, per = _unit_parts(unit)
    total = kind is Kind.SUM and monotonic
    ratio = kind is Kind.GAUGE and unit == "1"
    yield metric
    if Strategy.ESCAPED in strategies:
        yield _escaped(metric)
    if Strategy.UTF8_WITH_SUFFIXES in strategies:
        yield _verbatim_with_suffixes(metric, main, per, total, ratio)
    if Strategy.ESCAPED_WITH_SUFFIXES in strategies:
        yield _with_suffixes(metric, main, per, total, ratio)
        # Collectors and Mimir can switch the suffixes off one by one; a scraped counter already ends in _total.
        yield _with_suffixes(metric, "", "", total, False)
        yield _with_suffixes(metric, main, per, False, ratio)
        yield _with_suffixes(metric, "", "", False, False)


def _in_datadog(metric: str) -> Iterator[str]:
    """Dots stay, other signs become underscores; hosts' metrics get a prefix, since Datadog's agent has some of these names. What Datadog
    computes besides (`system.mem.total`) needs more of the metric than its name, and is told by the reader of its queries."""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", metric)
    yield name
    if name.startswith(("system.", "process.", "kafka.")):
        yield f"otel.{name}"
    if name.startswith(("datadog_trace_agent", "datadog_otlp")):
        yield f"otelcol_{name}"


_GOOGLE_PREFIXES = (
    "workload.googleapis.com/",
    "custom.googleapis.com/",
    "custom.googleapis.com/opencensus/",
    "external.googleapis.com/",
    "external.googleapis.com/prometheus/",
)
"""What exporters put before the name of a metric (cloud.google.com/monitoring/api/v3/naming-conventions)."""
_MANAGED = "prometheus.googleapis.com/"
_MANAGED_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.GAUGE: ("gauge", "unknown", "unknown:counter"),
    Kind.HISTOGRAM: ("histogram",),
    Kind.EXPONENTIAL_HISTOGRAM: ("histogram",),
    Kind.SUMMARY: ("summary",),
}
"""What Managed Service for Prometheus, and the Telemetry API, put behind the name."""


def _in_google_cloud(metric: str) -> Iterator[str]:
    for prefix in _GOOGLE_PREFIXES:
        yield from _as_google_asks(prefix + metric)


def _as_google_asks(name: str) -> Iterator[str]:
    """As Cloud Monitoring names it, and for PromQL with the first slash as a colon and the rest escaped."""
    domain, _, rest = name.partition("/")
    yield name
    yield f"{domain.replace('.', '_')}:{re.sub(r'[^A-Za-z0-9_:]', '_', rest)}"


def _in_managed_prometheus(base: str, kind: Kind, monotonic: bool) -> Iterator[tuple[str, Part]]:
    types = _MANAGED_TYPES.get(kind) or (("counter",) if monotonic else ("gauge",))
    for name in (n for end in ("", *types) for n in _as_google_asks(f"{_MANAGED}{base}/{end}".rstrip("/"))):
        yield from _stored(name, kind)
    if kind is Kind.SUMMARY:
        yield from ((n, "sum") for n in _as_google_asks(f"{_MANAGED}{base}_sum/summary:counter"))
        yield from ((n, "count") for n in _as_google_asks(f"{_MANAGED}{base}_count/summary"))


def _unit_parts(unit: str) -> tuple[str, str]:
    main, _, per = unit.partition("/")
    return _unit(main, _UNITS), f"per_{_unit(per, _PER)}" if _unit(per, _PER) else ""


def _unit(text: str, words: dict[str, str]) -> str:
    text = text.strip()
    if not text or "{" in text or "}" in text:
        return ""
    return words.get(text, re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_"))


def _escaped(metric: str) -> str:
    """UnderscoreEscapingWithoutSuffixes: runs of underscores are kept."""
    return _no_leading_digit(re.sub(r"[^A-Za-z0-9:_]", "_", metric))


def _with_suffixes(metric: str, main: str, per: str, total: bool, ratio: bool) -> str:
    """UnderscoreEscapingWithSuffixes: tokens, then unit and per unless already there, then total or ratio last."""
    tokens = [t for t in re.split(r"[^A-Za-z0-9:]+", metric) if t]
    for suffix in (main, per):
        missing = [t for t in suffix.split("_") if t and t not in tokens]
        if missing and suffix:
            tokens.extend(suffix.split("_") if suffix == per else missing)
    if total:
        tokens = [t for t in tokens if t != "total"] + ["total"]
    if ratio:
        tokens = [t for t in tokens if t != "ratio"] + ["ratio"]
    return _no_leading_digit("_".join(tokens))


def _verbatim_with_suffixes(metric: str, main: str, per: str, total: bool, ratio: bool) -> str:
    """NoUTF8EscapingWithSuffixes: the name as it is, suffixes behind it."""
    name = re.sub(r"[._]total$", "", metric) if total else re.sub(r"[._]ratio$", "", metric) if ratio else metric
    for suffix in (main, per):
        if suffix and not name.endswith(suffix):
            name = f"{name}_{suffix}"
    return name + ("_total" if total else "") + ("_ratio" if ratio else "")


def _no_leading_digit(name: str) -> str:
    return f"_{name}" if name[:1].isdigit() else name


def label_name(attribute: str) -> str:
    """The Prometheus label of an OTLP attribute: every other character becomes an underscore, runs collapse, a leading digit gets `key_`."""
    return _label(attribute, collapse=True)


def _label(attribute: str, collapse: bool) -> str:
    if re.fullmatch(r"__.*__", attribute):
        return attribute
    escaped = re.sub(r"[^A-Za-z0-9]", "_", attribute)
    name = re.sub(r"_+", "_", escaped) if collapse else escaped
    return f"key_{name}" if name[:1].isdigit() else name


_JOB = frozenset(["service.name", "service.namespace"])
_IDENTIFYING: dict[str, str] = {**dict.fromkeys(_JOB, "job"), "service.instance.id": "instance"}
"""Prometheus makes `job` of `service.namespace/service.name` and `instance` of `service.instance.id`."""


def label_candidates(attribute: str, resource: bool) -> frozenset[str]:
    """Every label that an attribute may appear under: verbatim, escaped with and without collapsed runs, the older `key_` before a leading
    underscore, in small letters as Datadog writes tags; a resource attribute (which may be promoted) also as the `job` or `instance` it is
    part of."""
    names = {attribute, _label(attribute, True), _label(attribute, False), re.sub(r"[^\w:./\-]", "_", attribute.lower())}
    names |= {f"key{n}" for n in names if n.startswith("_") and not n.startswith("__")}
    if resource and attribute in _IDENTIFYING:
        names.add(_IDENTIFYING[attribute])
    return frozenset(names)


def is_resource_info(name: str) -> bool:
    """Whether a name is the series that carries resource attributes (`target_info`), under any strategy."""
    return name in ("target_info", "target.info", "target")
