"""OTLP name, unit and type → the Prometheus names it may appear under. Forward only: names are never inverted.

The rules are those of Prometheus' OTLP translation (four strategies), as read in notes on otlptranslator: unit and type suffixes, escaping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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


def candidates(metric: str, unit: str, kind: Kind, monotonic: bool) -> dict[str, Part]:
    """Every Prometheus name that a query may use for this OTLP metric, over all strategies, with the part it reads."""
    names: dict[str, Part] = {}
    for base in _bases(metric, unit, kind, monotonic):
        names.setdefault(base, None)
        if kind in (Kind.HISTOGRAM, Kind.EXPONENTIAL_HISTOGRAM):
            names |= {f"{base}_bucket": "bucket", f"{base}_sum": "sum", f"{base}_count": "count"}
        elif kind is Kind.SUMMARY:
            names |= {f"{base}_sum": "sum", f"{base}_count": "count"}
    return names


def _bases(metric: str, unit: str, kind: Kind, monotonic: bool) -> Iterator[str]:
    main, per = _unit_parts(unit)
    total = kind is Kind.SUM and monotonic
    ratio = kind is Kind.GAUGE and unit == "1"
    yield metric
    yield _escaped(metric)
    yield _with_suffixes(metric, main, per, total, ratio)
    yield _verbatim_with_suffixes(metric, main, per, total, ratio)
    # Collectors and Mimir can switch the suffixes off one by one; a scraped counter already ends in _total.
    yield _with_suffixes(metric, "", "", total, False)
    yield _with_suffixes(metric, main, per, False, ratio)


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
    if re.fullmatch(r"__.*__", attribute):
        return attribute
    name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", attribute))
    return f"key_{name}" if name[:1].isdigit() else name
