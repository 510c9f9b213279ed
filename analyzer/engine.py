"""All rules → findings → recommendations, in an order that depends on nothing but their values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from analyzer.pricing import Bill, Totals, bill, marginal_from
from analyzer.reading import Readers, Reading, joined, narrowing_spots
from analyzer.rules import METRIC_RULES, WINDOW_RULES, unread_buckets, unused_metric
from analyzer.rules.cases import Found, MetricCase, WindowCase
from flowgate.actions import Action
from flowgate.advice import BlindSpot, Evidence, Finding, MetricProfile, Needed, Policy, Profile, Recommendation, Untold, Usage
from flowgate.ids import FindingId, RecommendationId
from flowgate.money import Cost, Estimated, PriceBook, Volume
from flowgate.telemetry import Signal
from flowgate.usage import LabelSet

Unable = Callable[[Action], str | None]
"""Why the gateway cannot carry an action out; None: it can."""


@dataclass(frozen=True, slots=True)
class Read:
    """One metric that something reads: never to be dropped."""

    metric: str
    prom_names: tuple[str, ...]
    read_by: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What one analysis says. `totals` are everything that is sent, `bill` what it costs: each finding is priced against it."""

    findings: tuple[Finding, ...]
    recommendations: tuple[Recommendation, ...]
    used: tuple[Read, ...]
    protected: Mapping[str, Needed]
    """What is read, or may be, of each OTLP metric by its name: no action may take it."""
    blind_spots: tuple[BlindSpot, ...]
    untold: tuple[Untold, ...]
    totals: Totals
    book: PriceBook
    bill: Bill
    cost: Cost
    """Of all metrics: what is saved when none is sent."""
    metrics: int

    @property
    def volume(self) -> Volume:
        """Of all metrics."""
        return self.totals.metrics

    @property
    def notes(self) -> tuple[str, ...]:
        """Why costs are estimates, where they are."""
        return self.bill.notes


def no_aggregation(action: Action) -> str | None:
    """What every gateway's build lacks so far."""
    return "the gateway has no component that adds up series yet" if action.type == "aggregate_labels" else None


def advise(
    profile: Profile,
    usage: Usage,
    book: PriceBook,
    policy: Policy,
    now: datetime,
    hours: Sequence[Volume] = (),
    unable: Unable = no_aggregation,
) -> Advice:
    """Judges everything of a profile. `now` only dates the advice's expiry. `hours` are the history of metrics that some books bill by
    (`analyzer.totals`)."""
    readers = Readers.over(usage, narrowing_spots(profile.window.seconds, policy, usage))
    readings = [(metric, readers.of(metric)) for metric in profile.metrics]
    totals = totals_of(profile, hours)
    saved = marginal_from(totals, book)
    cases = [MetricCase(members, profile, policy) for members in _by_name(readings)]
    found = _found(cases, WindowCase(profile, usage, readers, policy))
    findings = tuple(sorted((_finding(f, saved(without(totals, f.signal, f.gone)), unable) for f in found), key=_worth))
    return Advice(
        findings,
        tuple(_recommendation(f, f.action, policy, now) for f in findings if f.action is not None and f.unable is None),
        _used(readings),
        {case.metric: needed for case in cases if (needed := _needed(case)) is not None},
        (*usage.blind_spots, *readers.narrowing),
        profile.untold,
        totals,
        book,
        bill(totals, book),
        saved(without(totals, Signal.METRICS, totals.metrics)),
        len(profile.metrics),
    )


# --- findings ----------------------------------------------------------------------------------------------------------------------


def _found(cases: Iterable[MetricCase], window: WindowCase) -> Iterator[Found]:
    for case in cases:
        for rule in METRIC_RULES:
            yield from rule(case)
    for rule in WINDOW_RULES:
        yield from rule(window)


def _by_name(readings: Sequence[tuple[MetricProfile, Reading]]) -> Iterable[tuple[tuple[MetricProfile, Reading], ...]]:
    """Metrics of one name together: an action is by name, so one kind or unit that is read protects all."""
    grouped: dict[str, list[tuple[MetricProfile, Reading]]] = {}
    for metric, reading in readings:
        grouped.setdefault(metric.metric, []).append((metric, reading))
    return map(tuple, grouped.values())


def _finding(found: Found, cost: Cost, unable: Unable) -> Finding:
    cannot = unable(found.action) if found.action else None
    return Finding(
        _id(found),
        found.rule,
        found.signal,
        found.metric,
        found.label.key if found.label else None,
        found.judged.verdict,
        found.judged.wording + _instead(found.action, cannot),
        found.judged.risk,
        found.evidence,
        found.blind_spots,
        found.gone,
        cost,
        found.action,
        found.service,
        found.detail,
        cannot,
    )


def _instead(action: Action | None, cannot: str | None) -> str:
    """Where it is put right, if not at the gateway."""
    if action is None or cannot is None:
        return ""
    places = (
        "; take it away in the SDK's view, by the backend's stream aggregation, or where it is set"
        if action.type == "aggregate_labels"
        else ""
    )
    return f"; not at the gateway: {cannot}{places}"


def _id(found: Found) -> FindingId:
    """The same for the same thing in every analysis."""
    label = (found.label.place, found.label.key) if found.label else ()
    parts = (found.rule, found.signal, found.metric or "", found.service or "", found.detail, *label)
    digest = hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
    return FindingId(f"f-{digest[:16]}")


def _worth(finding: Finding) -> tuple[object, ...]:
    """Dearest first; ties by volume, then by id."""
    return (-finding.cost.amount, -finding.volume.bytes_per_second, finding.id)


# --- what it is worth --------------------------------------------------------------------------------------------------------------


def totals_of(profile: Profile, hours: Sequence[Volume] = ()) -> Totals:
    """Everything that a profile says is sent."""
    return Totals(
        sum((m.volume for m in profile.metrics), Volume()),
        Volume(0, 0, sum(r.records_per_second for r in profile.logs), sum(r.bytes_per_second for r in profile.logs)),
        Volume(0, 0, sum(s.spans_per_second for s in profile.spans), sum(s.bytes_per_second for s in profile.spans)),
        tuple(hours),
    )


def without(totals: Totals, signal: Signal, gone: Volume) -> Totals:
    """What is left; nothing below zero, whatever two measurements of one thing say."""
    left = {each: totals.of(each) for each in Signal}
    left[signal] = _floored(left[signal] - gone)
    return Totals(left[Signal.METRICS], left[Signal.LOGS], left[Signal.TRACES])


def _floored(volume: Volume) -> Volume:
    samples = volume.samples_per_second
    return Volume(
        max(0, volume.series),
        max(0, volume.prom_series),
        max(0.0, volume.points_per_second),
        max(0.0, volume.bytes_per_second),
        None if samples is None else max(0.0, samples),
    )


def _recommendation(finding: Finding, action: Action, policy: Policy, now: datetime) -> Recommendation:
    rate = finding.volume.points_per_second
    return Recommendation(
        RecommendationId(finding.id.replace("f-", "r-", 1)),
        (finding.id,),
        (action,),
        Estimated(finding.volume, finding.cost),
        (rate, rate),
        finding.risk,
        True,
        now + policy.lease,
    )


def _needed(case: MetricCase) -> Needed | None:
    """What must stay of all metrics of a name; None: nothing is known to read it, and nothing to hide a reader."""
    reading = joined([r for _, r in case.members])
    if reading.hiding or unused_metric.is_built_in(case.metric):
        return Needed()
    if not reading.hits:
        return None
    buckets = unread_buckets.needed_bounds(reading)
    labels = reduce(LabelSet.__or__, (use.demand for use in reading.uses), LabelSet(frozenset(reading.everywhere)))
    return Needed(labels, None if buckets.every else buckets.bounds)


def _used(readings: Sequence[tuple[MetricProfile, Reading]]) -> tuple[Read, ...]:
    used = [Read(m.metric, r.prom_names, r.evidence) for m, r in readings if r.hits]
    return tuple(sorted(used, key=lambda u: u.metric))
