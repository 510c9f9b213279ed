"""What can be done about waste: a closed union that the analyzer writes and the renderer must exhaust.

Every value is checked when it is made, so that whoever holds an action need not ask again. A name in it is somebody else's text: it may hold
anything but nothing, and only the renderer decides how it is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from flowgate.telemetry import Signal

Place = Literal["resource", "point"]
"""Where an attribute stands: on the resource, or on the item itself (the data point, log record or span)."""
Merge = Literal["sum", "min", "max", "group"]
"""What the `aggregation` processor can merge gauges and sums that go up and down by. `group`: 1 for every series left."""
PersonalData = Literal["email", "ip", "uuid", "card", "phone", "jwt"]
"""Shapes of personal data and secrets that `Redact` knows a pattern for."""
SEVERITIES = range(1, 25)
"""OTLP severity numbers; 0 is unset and never meant."""


def _named(**texts: str) -> None:
    for name, text in texts.items():
        if not text:
            raise ValueError(f"{name} is empty")


def _share(percent: float) -> None:
    if not (math.isfinite(percent) and 0 < percent < 100):
        raise ValueError(f"{percent} percent is not between 0 and 100")


def _ascending(bounds: tuple[float, ...]) -> None:
    if not all(math.isfinite(b) for b in bounds) or list(bounds) != sorted(set(bounds)):
        raise ValueError("bounds are finite and ascend")


def _severity(number: int) -> None:
    if number not in SEVERITIES:
        raise ValueError(f"severity number {number} is not 1..24")


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One attribute key of a metric."""

    place: Place
    key: str

    def __post_init__(self) -> None:
        _named(key=self.key)


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """An attribute that has one of these values, as text."""

    label: Label
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError("a match needs values, each once")


# --- metrics -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DropMetric:
    """Drop every point of the OTLP metric with exactly this name."""

    metric: str
    type: Literal["drop_metric"] = "drop_metric"

    def __post_init__(self) -> None:
        _named(metric=self.metric)


@dataclass(frozen=True, slots=True)
class DropPrefix:
    """Drop every metric whose OTLP name starts with this."""

    prefix: str
    type: Literal["drop_prefix"] = "drop_prefix"

    def __post_init__(self) -> None:
        _named(prefix=self.prefix)


@dataclass(frozen=True, slots=True)
class DropPoints:
    """Drop those points of a metric that every one of the matches fits."""

    metric: str
    where: tuple[Match, ...]
    type: Literal["drop_points"] = "drop_points"

    def __post_init__(self) -> None:
        _named(metric=self.metric)
        if not self.where or len({m.label for m in self.where}) != len(self.where):
            raise ValueError("matches are at least one (else the whole metric is dropped), and one a label")


@dataclass(frozen=True, slots=True)
class AggregateLabels:
    """Take labels away and merge the series they kept apart, right for the metric's type (the gateway's own `aggregation` processor).

    `operator` merges gauges and sums that go up and down; counters and histograms are always summed, aware of resets. One output point
    for each series left and `interval_seconds`.
    """

    metric: str
    labels: tuple[Label, ...]
    operator: Merge
    interval_seconds: float
    type: Literal["aggregate_labels"] = "aggregate_labels"

    def __post_init__(self) -> None:
        _named(metric=self.metric)
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError("the labels to take away are at least one, each once")
        if self.operator not in get_args(Merge):
            raise ValueError(f"{self.operator!r} merges nothing")
        if not (math.isfinite(self.interval_seconds) and self.interval_seconds > 0):
            raise ValueError(f"an interval of {self.interval_seconds} s")


@dataclass(frozen=True, slots=True)
class DeleteLabel:
    """Delete a label that was proved to follow from those that stay: no two series become one."""

    metric: str
    label: Label
    determined_by: tuple[Label, ...]
    type: Literal["delete_label"] = "delete_label"

    def __post_init__(self) -> None:
        _named(metric=self.metric)
        if not self.determined_by or self.label in self.determined_by or len(set(self.determined_by)) != len(self.determined_by):
            raise ValueError("a label is deleted only where others that stay determine it")


@dataclass(frozen=True, slots=True)
class ReduceBuckets:
    """Keep only `bounds` of an explicit histogram's upper bounds (none: count and sum alone), by merging buckets with their next.

    `of` are the bounds it has now: the gateway merges bucket by bucket and must know each by its bound. A series whose bounds differ loses
    those of them that are named here, and stays a right histogram.
    """

    metric: str
    bounds: tuple[float, ...]
    of: tuple[float, ...]
    type: Literal["reduce_buckets"] = "reduce_buckets"

    def __post_init__(self) -> None:
        _named(metric=self.metric)
        _ascending(self.bounds)
        _ascending(self.of)
        if not set(self.bounds) < set(self.of):
            raise ValueError("the bounds that stay are some of those that it has, not all")

    @property
    def merged(self) -> tuple[float, ...]:
        """The bounds that go."""
        return tuple(b for b in self.of if b not in self.bounds)


@dataclass(frozen=True, slots=True)
class Rename:
    """Give an OTLP metric another name."""

    metric: str
    to: str
    type: Literal["rename"] = "rename"

    def __post_init__(self) -> None:
        _named(metric=self.metric, to=self.to)
        if self.metric == self.to:
            raise ValueError("the name stays the same")


@dataclass(frozen=True, slots=True)
class SetInterval:
    """Scrape one job of the base's Prometheus receiver every so many seconds."""

    job: str
    seconds: int
    type: Literal["set_interval"] = "set_interval"

    def __post_init__(self) -> None:
        _named(job=self.job)
        if not 1 <= self.seconds <= 3600:
            raise ValueError(f"{self.seconds} s is not 1..3600")


# --- logs ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DropLogs:
    """Drop log records of `service` with severity number 1..`max_severity_number`; unset severity (0) is kept."""

    service: str
    max_severity_number: int
    type: Literal["drop_logs"] = "drop_logs"

    def __post_init__(self) -> None:
        _named(service=self.service)
        _severity(self.max_severity_number)


@dataclass(frozen=True, slots=True)
class SampleLogs:
    """Keep this share of a service's log records with severity number 1..`max_severity_number`; all others stay."""

    service: str
    max_severity_number: int
    keep_percent: float
    type: Literal["sample_logs"] = "sample_logs"

    def __post_init__(self) -> None:
        _named(service=self.service)
        _severity(self.max_severity_number)
        _share(self.keep_percent)


# --- traces ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DropSpans:
    """Drop spans of a service with exactly this name that did not fail (health checks)."""

    service: str
    name: str
    type: Literal["drop_spans"] = "drop_spans"

    def __post_init__(self) -> None:
        _named(service=self.service, name=self.name)


@dataclass(frozen=True, slots=True)
class SampleTraces:
    """Keep this share of whole traces, the same ones at every gateway."""

    keep_percent: float
    type: Literal["sample_traces"] = "sample_traces"

    def __post_init__(self) -> None:
        _share(self.keep_percent)


# --- every signal ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrimAttribute:
    """Cut an attribute's text to at most so many bytes. Not for metrics: there it would make two series one."""

    signal: Literal[Signal.LOGS, Signal.TRACES]
    label: Label
    max_bytes: int
    type: Literal["trim_attribute"] = "trim_attribute"

    def __post_init__(self) -> None:
        if self.signal not in (Signal.LOGS, Signal.TRACES):
            raise ValueError("attributes of metrics are not trimmed")
        if not 1 <= self.max_bytes <= 65_536:
            raise ValueError(f"{self.max_bytes} bytes is not 1..65536")


@dataclass(frozen=True, slots=True)
class Redact:
    """Replace personal data of one shape by `****`: in one attribute, or in the log body where `label` is None."""

    signal: Literal[Signal.LOGS, Signal.TRACES]
    label: Label | None
    shape: PersonalData
    type: Literal["redact"] = "redact"

    def __post_init__(self) -> None:
        if self.signal not in (Signal.LOGS, Signal.TRACES):
            raise ValueError("attributes of metrics are not redacted")
        if self.label is None and self.signal is not Signal.LOGS:
            raise ValueError("only a log record has a body")


@dataclass(frozen=True, slots=True)
class Route:
    """Send one service's telemetry of a signal to another exporter that the base defines."""

    signal: Signal
    service: str
    exporter: str
    type: Literal["route"] = "route"

    def __post_init__(self) -> None:
        _named(service=self.service, exporter=self.exporter)


MetricAction = DropMetric | DropPrefix | DropPoints | AggregateLabels | DeleteLabel | ReduceBuckets | Rename
LogAction = DropLogs | SampleLogs
TraceAction = DropSpans | SampleTraces
AnyAction = TrimAttribute | Redact | Route | SetInterval
Action = MetricAction | LogAction | TraceAction | AnyAction
"""A new type changes the JSON shape (`flowgate.action_shapes`), the schema, the renderer, the check and the preview together."""


def merged(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The same actions with one `AggregateLabels` a metric, operator and interval, which takes away the labels of all of them, in the place of
    the first. Where operator or interval differ they stay apart, and the check refuses them: no single series could be both."""
    labels: dict[Aggregation, dict[Label, None]] = {}
    for action in actions:
        if isinstance(action, AggregateLabels):
            labels.setdefault(_aggregation(action), {}).update(dict.fromkeys(action.labels))
    return tuple(dict.fromkeys(_whole(action, labels) for action in actions))


Aggregation = tuple[str, Merge, float]


def _aggregation(action: AggregateLabels) -> Aggregation:
    return action.metric, action.operator, action.interval_seconds


def _whole(action: Action, labels: Mapping[Aggregation, Iterable[Label]]) -> Action:
    return replace(action, labels=tuple(sorted(labels[_aggregation(action)]))) if isinstance(action, AggregateLabels) else action
