"""What actions remove, item by item: the same decisions as the configuration that is rendered, taken here on plain values.

The tests hold both against the real binary. Actions that change items or merge points (`rename`, `aggregate_labels`, …) remove none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import frexp

from controlplane.render.gojson import like_string
from controlplane.render.metrics import shown_double
from controlplane.render.records import SERVER_ERROR, threshold
from flowgate.actions import Action, DropLogs, DropMetric, DropPoints, DropPrefix, DropSpans, Match, SampleLogs, SampleTraces

Attributes = Mapping[str, object]
"""Values are text, bool, int, float, bytes, None, lists or maps of those."""


@dataclass(frozen=True, slots=True)
class Point:
    metric: str
    resource: Attributes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Record:
    resource: Attributes
    severity_number: int
    body: object
    time_ns: int
    observed_ns: int = 0
    trace_id: bytes = bytes(16)
    span_id: bytes = bytes(8)


@dataclass(frozen=True, slots=True)
class Span:
    resource: Attributes
    name: str
    attributes: Attributes
    status_code: int
    trace_id: bytes
    trace_state: str = ""


Item = Point | Record | Span


def removes(action: Action, item: Item) -> bool:
    """Whether this action takes this item away."""
    match item:
        case Point():
            return _removes_point(action, item)
        case Record():
            return _removes_record(action, item)
        case Span():
            return _removes_span(action, item)


def removed(actions: Sequence[Action], item: Item) -> bool:
    """Whether all of them together do: an item is gone when one of them takes it."""
    return any(removes(action, item) for action in actions)


def _removes_point(action: Action, point: Point) -> bool:
    match action:
        case DropMetric(metric):
            return point.metric == metric
        case DropPrefix(prefix):
            return point.metric.startswith(prefix)
        case DropPoints(metric, where):
            return point.metric == metric and all(_fits(match, point) for match in where)
        case _:
            return False


def _fits(match: Match, point: Point) -> bool:
    value = (point.resource if match.label.place == "resource" else point.attributes).get(match.label.key)
    text = like_string(value)
    if text is None:
        return False
    return text in match.values or (isinstance(value, float) and text in {shown_double(v) for v in match.values})


def _removes_record(action: Action, record: Record) -> bool:
    match action:
        case DropLogs(service, highest):
            return _low(record, service, highest)
        case SampleLogs(service, highest, keep_percent):
            return _low(record, service, highest) and not _kept(record, keep_percent)
        case _:
            return False


def _low(record: Record, service: str, highest: int) -> bool:
    return record.resource.get("service.name") == service and 1 <= record.severity_number <= highest


def _kept(record: Record, keep_percent: float) -> bool:
    said = like_string(record.body)
    if record.body is not None and said is None:
        return True  # the condition fails, and an error keeps the record
    parts = (str(record.time_ns), str(record.observed_ns), record.trace_id.hex(), record.span_id.hex(), "<nil>" if said is None else said)
    return int.from_bytes(murmur3("\n".join(parts).encode()).to_bytes(4, "little")[:2], "big") < threshold(keep_percent)


def _removes_span(action: Action, span: Span) -> bool:
    match action:
        case DropSpans(service, name):
            return span.resource.get("service.name") == service and span.name == name and not _failed(span)
        case SampleTraces(keep_percent):
            return _sampled_away(span, keep_percent)
        case _:
            return False


def _failed(span: Span) -> bool:
    codes = (span.attributes.get(key) for key in SERVER_ERROR)
    return span.status_code == 2 or any(isinstance(c, int | float) and not isinstance(c, bool) and c >= 500 for c in codes)


# --- hashing and sampling as the Collector does --------------------------------------------------------------------------------------


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 (Austin Appleby, public domain), seed 0."""
    mask, value = 0xFFFFFFFF, 0
    whole = len(data) & ~3
    for (block,) in struct.iter_unpack("<I", data[:whole]):
        value ^= _mixed(block)
        value = ((value << 13 | value >> 19) * 5 + 0xE6546B64) & mask
    value ^= _mixed(int.from_bytes(data[whole:], "little"))
    value ^= len(data)
    value = ((value ^ value >> 16) * 0x85EBCA6B) & mask
    value = ((value ^ value >> 13) * 0xC2B2AE35) & mask
    return value ^ value >> 16


def _mixed(block: int) -> int:
    block = (block * 0xCC9E2D51) & 0xFFFFFFFF
    return ((block << 15 | block >> 17) * 0x1B873593) & 0xFFFFFFFF


_PARTS = 1 << 56
_LEAST = 2.0**-56


def _sampled_away(span: Span, keep_percent: float) -> bool:
    """OpenTelemetry's consistent probability sampling (OTEP 235) as the processor's mode `proportional` does it: what it cannot read it keeps."""
    forced = _priority(span.attributes.get("sampling.priority"))
    if forced is not None:
        return not forced
    members = [m.strip().partition("=") for m in span.trace_state.split(",") if m.strip()]
    if not all(mark for _, mark, _ in members):
        return False
    ot = next((value for key, _, value in members if key == "ot"), "")
    states = {key: value for key, _, value in (part.partition(":") for part in ot.split(";"))}
    random = int(states["rv"], 16) if "rv" in states else int.from_bytes(span.trace_id[9:], "big")
    if "rv" not in states and not any(span.trace_id):
        return False
    before = int(states["th"].ljust(14, "0"), 16) if "th" in states else 0
    if before > random:
        return False
    return random < rejection_threshold(keep_percent, (_PARTS - before) / _PARTS)


def rejection_threshold(keep_percent: float, incoming: float = 1.0) -> int:
    """Of 2^56 parts, how many are left out; rounded to four significant hex digits as the processor does."""
    (percent,) = struct.unpack("<f", struct.pack("<f", keep_percent))
    fraction = incoming * max(percent / 100, _LEAST)
    if fraction < _LEAST:
        return _PARTS
    digits = min(14, max(4 + -frexp(fraction)[1] // 4, 4 + -frexp(1 - fraction)[1] // 4))
    exact = _PARTS - int(fraction * _PARTS + 0.5)
    shift = 4 * (14 - digits)
    return (exact + (1 << shift >> 1)) >> shift << shift


def _priority(value: object) -> bool | None:
    """`sampling.priority` of OpenTracing: 0 asks to leave the span out, more to keep it."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        return None
    return None if number is None or number < 0 or number != number else number > 0
