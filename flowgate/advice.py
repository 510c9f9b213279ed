"""Advice: profiles of what is sent, references of what is read, and what follows from the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from flowgate.actions import Action, Label, Place
from flowgate.ids import FindingId, OrgId, RecommendationId, WaiverId
from flowgate.money import Cost, Estimated, Volume
from flowgate.telemetry import Kind, Signal, Temporality, Window
from flowgate.usage import EVERY_LABEL, LabelSet, Use

# --- what is sent ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelProfile:
    """One attribute key of one metric: how many values it takes, and how many series are left without it."""

    label: str
    place: Place
    distinct: int
    series_without: int
    """Distinct series left when the label is removed from each."""
    examples: tuple[str, ...] = ()
    series_with: int | None = None
    """Series that carry it; None when they were not counted."""
    shape: str | None = None
    """What most of its values look like (`analyzer.shapes.Shape`); None when none was looked at, or no shape has most."""
    shape_share: float = 0.0
    """Share of the values looked at that have `shape`."""
    determined_by: tuple[Label, ...] = ()
    """Labels that stay and determine its value on every series seen, none of them needless; empty when all others together do not."""
    determined_tested: int = 0
    """Series that share the values of `determined_by` with another one: 0 says that nothing seen could have contradicted it."""
    constant: bool = False
    """Every series carries it, with the same value."""
    bytes_per_second: float | None = None
    """What its keys and values take in points, as OTLP. Of a resource attribute None: points share it (`ResourceAttribute`)."""

    @property
    def key(self) -> Label:
        return Label(self.place, self.label)


@dataclass(frozen=True, slots=True)
class Owner:
    """Part of a metric, by who sends it. `namespace`: `k8s.namespace.name`, else `service.namespace`. Empty text: not said."""

    service: str
    scope: str
    namespace: str
    volume: Volume


@dataclass(frozen=True, slots=True)
class MetricProfile:
    """One OTLP metric (name, unit, kind) as seen on one side over one window."""

    metric: str
    unit: str
    kind: Kind
    temporality: Temporality
    monotonic: bool
    volume: Volume
    services: tuple[str, ...] = ()
    labels: tuple[LabelProfile, ...] = ()
    interval_seconds: float | None = None
    """Median time between two points of a series: the scrape or export interval. None when no series looked at had two."""
    born: int | None = None
    """Series that began inside the window: not in the window before, or, where that was not seen, well after the metric's first ones; None when
    the interval is not known either."""
    ended: int | None = None
    """Series that sent nothing in the last three intervals of the window; None when the interval is not known."""
    previous: Volume | None = None
    """The window of the same length before; None when segments do not reach over the whole of it."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of an explicit histogram, where all series agree and they are known."""
    buckets: int | None = None
    """How many bounds an explicit histogram has, where all series agree."""
    owners: tuple[Owner, ...] = ()
    """The largest, by series."""


@dataclass(frozen=True, slots=True)
class LogProfile:
    """Log records of one service at one OTLP severity number (0 is unset)."""

    service: str
    severity_number: int
    records_per_second: float
    bytes_per_second: float
    previous_per_second: float | None = None
    """Records in the window of the same length before; None when segments do not reach over the whole of it."""


@dataclass(frozen=True, slots=True)
class SpanProfile:
    """Spans of one service and name."""

    service: str
    name: str
    spans_per_second: float
    bytes_per_second: float
    previous_per_second: float | None = None
    """Spans in the window of the same length before; None when segments do not reach over the whole of it."""
    failed_share: float | None = None
    """Share with status Error among sampled spans; None when none was sampled."""


@dataclass(frozen=True, slots=True)
class ResourceAttribute:
    """An attribute of resources over all metrics: what it costs, and whether it tells anything that others do not."""

    key: str
    distinct: int
    resources: int
    """Distinct resources that carry it."""
    series: int
    bytes_per_second: float
    """Sent once a resource and export: the least that OTLP can do; a backend that copies it to every series pays for each."""
    constant: bool = False
    """Every resource carries it, with the same value."""
    determined_by: tuple[str, ...] = ()
    """Other resource attributes that determine it on every resource seen, none of them needless."""
    determined_tested: int = 0
    """Resources that share the values of `determined_by` with another one."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A metric whose values follow from others, on everything compared.

    `equal`: one other has the same values on the same label sets. `sum`: several others add up to it on the same label sets.
    `aggregate`: it is one other, summed over `over`. The values of a histogram or summary here are its observation counts.
    """

    metric: str
    relation: Literal["equal", "sum", "aggregate"]
    of: tuple[str, ...]
    values: int
    """Values compared, all of which fit."""
    label_sets: int
    over: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributeProfile:
    """One attribute of a service's log records or spans, estimated from sampled ones. Sizes are of its value, in bytes of JSON text."""

    signal: Literal[Signal.LOGS, Signal.TRACES]
    service: str
    key: str
    share: float
    """Of the service's records or spans that carry it."""
    bytes_per_second: float
    """Of key and value."""
    mean_bytes: float
    longest: int
    sampled: int
    shape: str | None = None
    """What most of its values look like; None when no shape has most."""
    bytes_share: float = 0.0
    """Of all bytes of the service's sampled records or spans."""


@dataclass(frozen=True, slots=True)
class Untold:
    """A figure that segments cannot give, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything one window says about what is sent: the narrow waist between big data and judgement."""

    window: Window
    metrics: tuple[MetricProfile, ...]
    logs: tuple[LogProfile, ...]
    spans: tuple[SpanProfile, ...]
    resource_attributes: tuple[ResourceAttribute, ...] = ()
    """The costliest first."""
    twins: tuple[Twin, ...] = ()
    attributes: tuple[AttributeProfile, ...] = ()
    """Of log records and spans, the costliest first."""
    untold: tuple[Untold, ...] = ()


# --- what is read ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where something is read (or why something is waste): a document, the place in it, the expression."""

    kind: str
    """`dashboard`, `alert`, `recording_rule`, `variable`, `annotation`, `traffic`, …"""
    document: str | None = None
    panel: str | None = None
    expression: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """One query that reads something: where it stands, and what it needs of each metric.

    `recorded` is the metric that a recording rule writes; it is `live` when something that is not itself such a rule reads that, at
    however many removes. `owner` is a folder, namespace or team that the document names. `count` and `last_seen` are of executed queries.
    """

    evidence: Evidence
    uses: tuple[Use, ...]
    recorded: str | None = None
    live: bool = True
    owner: str | None = None
    count: int = 1
    last_seen: datetime | None = None

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(u.name for u in self.uses if u.signal is Signal.METRICS and not u.pattern)

    @property
    def patterns(self) -> frozenset[str]:
        return frozenset(u.name for u in self.uses if u.signal is Signal.METRICS and u.pattern)


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """Something not seen. `hiding` may hide a reader; `narrowing` lowers trust. `touches` are anchored RE2 patterns of the
    Prometheus names it could match; empty means any name."""

    kind: Literal["hiding", "narrowing"]
    reason: str
    document: str | None = None
    where: str | None = None
    text: str | None = None
    touches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageDocument:
    """One dashboard, rule file, …: `path` is relative to the argument that was given (`path#key` inside lists and archives)."""

    path: str
    id: str
    kind: str
    title: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """What is known of executed queries from one live source, or (`source` None) from all files and uploads together."""

    source: str | None
    queries: int
    """Distinct ones that ask for metrics."""
    seconds: float | None
    """For how long they were watched; None: nothing says so."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What all documents together read, and what could not be read.

    `recorded` says of each metric that a rule writes whether it is live. `everywhere` are labels that are listed over all metrics
    (`label_values(L)`). `skipped` are paths that hold nothing that reads telemetry, with the reason.
    """

    references: tuple[Reference, ...]
    blind_spots: tuple[BlindSpot, ...]
    documents: tuple[UsageDocument, ...]
    expressions: int = 0
    understood: int = 0
    recorded: Mapping[str, bool] = field(default_factory=dict[str, bool])
    everywhere: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    skipped: tuple[tuple[str, str], ...] = ()
    executed: tuple[Executed, ...] = ()
    """Of each source of executed queries that is connected or given, also of one that holds none."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What of a metric is read, or may be: as it stands, everything."""

    labels: LabelSet = EVERY_LABEL
    """Label names as queries say them."""
    bounds: frozenset[float] | None = None
    """Bucket bounds that are read; None: all of them."""

    def __or__(self, other: Needed) -> Needed:
        bounds = None if self.bounds is None or other.bounds is None else self.bounds | other.bounds
        return Needed(self.labels | other.labels, bounds)


# --- judgement ---------------------------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """Letter and word, as CONTRACTS defines them."""

    UNREFERENCED = "A"
    SAFE = "B"
    VISIBLE = "C"
    CONDITIONAL = "D"
    NEEDED = "E"
    UNKNOWN = "U"


class Risk(StrEnum):
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


RISK_ORDER: tuple[Risk, ...] = (Risk.NONE, Risk.LOW, Risk.MEDIUM, Risk.HIGH)


def raised(risk: Risk) -> Risk:
    """One step up; `high` stays."""
    return RISK_ORDER[min(RISK_ORDER.index(risk) + 1, len(RISK_ORDER) - 1)]


@dataclass(frozen=True, slots=True)
class Waiver:
    """A person's signed permission to act on less evidence than the policy asks for."""

    id: WaiverId
    org: OrgId
    scope: str
    reason: str
    signed_by: str
    expires: datetime

    def allows(self, org: OrgId, scope: str, now: datetime) -> bool:
        return self.org == org and self.scope in (scope, "*") and now < self.expires


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts as waste and how much evidence applying it takes. The defaults are those of CONTRACTS."""

    days_of_queries: int = 30
    days_of_tap: int = 7
    high_cardinality_distinct: int = 100
    """A label with at least this many values in one window is looked at (advice only)."""
    high_cardinality_share: float = 0.5
    """... when removing it would leave at most this share of the metric's series."""
    unused_label_series: int = 10
    """A label that no query needs is worth a finding when its removal takes away at least this many series"""
    unused_label_share: float = 0.1
    """... and at least this share of the metric's."""
    determined_label_share: float = 0.01
    """A label that says what others say already, when it takes at least this share of the metric's bytes."""
    determined_tested_share: float = 0.5
    """... and at least this share of the series could have shown that it does not follow from them"""
    one_to_one_values: int = 5
    """... and has fewer values than what it follows from, or at least so many: few of two enumerations go together by chance"""
    determined_window: timedelta = timedelta(days=1)
    """... over at least so long: values that are rare, such as errors, are not seen in less."""
    churn_series: int = 100
    """Series that ended while as many began, for a metric to be called churning"""
    churn_share: float = 0.5
    """... and the share of all its series in the window."""
    spike_factor: float = 3.0
    """A metric spikes when it has at least so many times the series, or the points, of the window before"""
    spike_series: int = 100
    """... and at least so many series more"""
    spike_points_per_second: float = 100.0
    """... or so many points."""
    points_of_a_range: int = 4
    """Points that the shortest range of a query must hold: what Grafana's `$__rate_interval` makes sure of."""
    fine_interval_factor: float = 2.0
    """An interval is too fine when one this many times as long would do."""
    debug_severity_max: int = 8
    """OTLP severity numbers 1-8 are TRACE and DEBUG; 0 (unset) is never called debug."""
    debug_records_per_second: float = 0.1
    lease: timedelta = timedelta(days=90)
    minimum_window: timedelta = timedelta(seconds=60)


_LOST = "sent again from the next configuration on; what was dropped meanwhile is lost"
_MERGED = "the series come back with the next configuration; what was merged meanwhile stays merged"
_CHANGED = "as it was from the next configuration on; what was changed meanwhile stays changed"
UNDO: Mapping[str, str] = {
    **dict.fromkeys(
        ("drop_metric", "drop_prefix", "drop_points", "drop_logs", "sample_logs", "drop_spans", "sample_traces", "set_interval"), _LOST
    ),
    **dict.fromkeys(("aggregate_labels", "reduce_buckets"), _MERGED),
    **dict.fromkeys(("delete_label", "rename", "trim_attribute", "redact", "route"), _CHANGED),
}
"""By type of action: every one is reversible, none gives back what passed while it was in force."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, with its verdict, its evidence and what it costs. Shape `finding` of CONTRACTS."""

    id: FindingId
    rule: str
    signal: Signal
    metric: str | None
    label: str | None
    verdict: Verdict
    wording: str
    risk: Risk
    evidence: tuple[Evidence, ...]
    blind_spots: tuple[BlindSpot, ...]
    volume: Volume
    cost: Cost
    action: Action | None = None
    """What would remove it; None when it is advice only."""
    service: str | None = None
    detail: str = ""
    """Tells apart two findings of one rule about the same thing."""
    unable: str | None = None
    """Why the gateway cannot carry `action` out as it is built; None where it can."""

    @property
    def undo(self) -> str | None:
        """What taking the action back gives back."""
        return UNDO[self.action.type] if self.action else None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Actions worth taking together, what they remove, and until when the advice holds."""

    id: RecommendationId
    findings: tuple[FindingId, ...]
    actions: tuple[Action, ...]
    removes: Estimated
    interval: tuple[float, float]
    """95 % interval of points_per_second removed; equal ends when the count is exact."""
    risk: Risk
    reversible: bool
    expires: datetime
