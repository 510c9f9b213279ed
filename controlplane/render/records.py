"""Processors that carry out actions on logs and traces, in the order they run: drop and sample, then redact, then trim.

Redaction stands before trimming, else a cut could leave half a secret that no pattern knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.render.metrics import attribute, transform
from controlplane.render.ottl import And, Compare, Condition, Listed, Literal, Not, Or, Path, all_of, call, eq, statement, text
from controlplane.render.patterns import PERSONAL_DATA, REPLACEMENT
from controlplane.render.yaml import Config
from flowgate.actions import Action, DropLogs, DropSpans, Label, Redact, SampleLogs, SampleTraces, TrimAttribute
from flowgate.telemetry import Signal

LOGS_FILTER = "filter/flowgate_logs"
LOGS_TRANSFORM = "transform/flowgate_logs"
TRACES_FILTER = "filter/flowgate_traces"
TRACES_SAMPLER = "probabilistic_sampler/flowgate_traces"
TRACES_TRANSFORM = "transform/flowgate_traces"
_SERVICE = Path("resource.attributes", "service.name")
SERVER_ERROR = ("http.response.status_code", "http.status_code")
"""Attributes that hold an HTTP status: by today's conventions and by those before 1.23."""


def log_processors(actions: Sequence[Action]) -> dict[str, Config]:
    made = {LOGS_FILTER: _logs_filter(actions), LOGS_TRANSFORM: _attributes(actions, Signal.LOGS)}
    return {name: config for name, config in made.items() if config is not None}


def trace_processors(actions: Sequence[Action]) -> dict[str, Config]:
    made = {TRACES_FILTER: _spans_filter(actions), TRACES_SAMPLER: _sampler(actions), TRACES_TRANSFORM: _attributes(actions, Signal.TRACES)}
    return {name: config for name, config in made.items() if config is not None}


# --- drop and sample -----------------------------------------------------------------------------------------------------------


def _logs_filter(actions: Sequence[Action]) -> Config | None:
    drops = [a for a in actions if isinstance(a, DropLogs)]
    highest = {service: max(d.max_severity_number for d in drops if d.service == service) for service in {d.service for d in drops}}
    conditions = [severities(service, highest[service]) for service in sorted(highest)]
    conditions += [
        all_of(severities(a.service, a.max_severity_number), left_out(a.keep_percent)) for a in actions if isinstance(a, SampleLogs)
    ]
    return {"error_mode": "ignore", "logs": {"log_record": [text(c) for c in conditions]}} if conditions else None


def severities(service: str, highest: int) -> And:
    """Unset severity is 0, and never meant."""
    number = Path("severity_number")
    return And((eq(_SERVICE, service), Compare(number, ">=", Literal(1)), Compare(number, "<=", Literal(highest))))


def left_out(keep_percent: float) -> Condition:
    """Records that a sample leaves out: the first 16 bits of a hash over when it was and what it says, so that a gateway asked twice, or two
    gateways, answer alike, and a smaller sample lies within a larger one."""
    when = (Path("time_unix_nano"), Path("observed_time_unix_nano"))
    said = call("Concat", Listed((*when, Path("trace_id.string"), Path("span_id.string"), Path("body"))), "\n")
    return Compare(call("Substring", call("Murmur3Hash", said), 0, 4), ">=", Literal(f"{threshold(keep_percent):04x}"))


def threshold(keep_percent: float) -> int:
    """Of 65,536 parts, how many are kept: at least one, and not all."""
    return min(max(round(keep_percent * 655.36), 1), 65_535)


def _spans_filter(actions: Sequence[Action]) -> Config | None:
    conditions = [text(_did_not_fail(a)) for a in actions if isinstance(a, DropSpans)]
    return {"error_mode": "ignore", "traces": {"span": conditions}} if conditions else None


def _did_not_fail(action: DropSpans) -> Condition:
    failed = [Compare(Path("attributes", key), ">=", Literal(500)) for key in SERVER_ERROR]
    return all_of(
        eq(_SERVICE, action.service),
        eq(Path("name"), action.name),
        Compare(Path("status.code"), "!=", Literal(2)),  # STATUS_CODE_ERROR
        Not(Or(tuple(failed))),
    )


def _sampler(actions: Sequence[Action]) -> Config | None:
    """By the 56 random bits of the trace id (W3C level 2), which every gateway reads alike; several samples are the smallest of them.
    `proportional` honours what the sender sampled already; a span that cannot be judged is kept."""
    shares = [a.keep_percent for a in actions if isinstance(a, SampleTraces)]
    return {"mode": "proportional", "sampling_percentage": min(shares), "fail_closed": False} if shares else None


# --- redact and trim -------------------------------------------------------------------------------------------------------------


def _attributes(actions: Sequence[Action], signal: Signal) -> Config | None:
    item = "log" if signal is Signal.LOGS else "span"
    redacted = [a for a in actions if isinstance(a, Redact) and a.signal is signal]
    trimmed = _shortest([a for a in actions if isinstance(a, TrimAttribute) and a.signal is signal])
    contexts: dict[str, list[str]] = {}
    for context, place in (("resource", "resource"), (item, "point")):
        statements = [s for a in redacted if _place(a.label) == place for s in _redact(item, a)]
        statements += [s for label in sorted(trimmed) if label.place == place for s in _trim(context, label, trimmed[label])]
        contexts[context] = statements
    return transform("log_statements" if signal is Signal.LOGS else "trace_statements", contexts)


def _place(label: Label | None) -> str:
    return label.place if label else "point"


def _shortest(actions: Sequence[TrimAttribute]) -> dict[Label, int]:
    return {label: min(a.max_bytes for a in actions if a.label == label) for label in {a.label for a in actions}}


def _redact(item: str, action: Redact) -> list[str]:
    """In text wherever it stands; of a log body that is a map, in the values of its first level."""
    pattern = PERSONAL_DATA[action.shape]
    if action.label:
        return [statement(call("replace_pattern", attribute(item, action.label), pattern, REPLACEMENT))]
    body = Path("log.body")
    return [
        statement(call("replace_pattern", body, pattern, REPLACEMENT), call("IsString", body)),
        statement(call("replace_all_patterns", body, "value", pattern, REPLACEMENT), call("IsMap", body)),
    ]


def _trim(context: str, label: Label, limit: int) -> list[str]:
    """Cut by bytes, then without the part of a character that a cut in its middle leaves: its bytes are no UTF-8, and whoever takes the
    batch would refuse it. Only what is too long is touched, so the cut is made aside, in the cache."""
    path, aside = attribute(context, label), Path(f"{context}.cache", "flowgate")
    long = And((call("IsString", path), Compare(call("Len", path), ">", Literal(limit))))
    return [
        statement(call("set", aside, call("Substring", path, 0, limit)), long),
        statement(call("replace_pattern", aside, r"\x{FFFD}{1,3}$", ""), long),
        statement(call("set", path, aside), long),
    ]
