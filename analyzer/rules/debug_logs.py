"""Debug log records that a service sends all the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from analyzer.references.logql import NO_METRIC
from analyzer.rules.cases import Found, WindowCase
from analyzer.verdicts import Judged
from flowgate.actions import DropLogs
from flowgate.advice import BlindSpot, Evidence, LogProfile, Policy, Risk, Verdict, raised
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "debug_logs"
NO_LOG_QUERIES = BlindSpot("narrowing", "no source of log queries is connected")


def find(case: WindowCase) -> Iterator[Found]:
    spots = blind_spots(case.usage.blind_spots)
    letter, wording, risk = verdict(spots)
    for found in debug_logs(case.profile.logs, case.policy):
        yield Found(
            RULE,
            Signal.LOGS,
            Judged(letter, wording, risk),
            evidence(found, case.policy),
            spots,
            found.volume,
            service=found.service,
            action=action(found, case.policy, letter),
        )


@dataclass(frozen=True, slots=True)
class DebugLogs:
    """A service's records at or below the debug severity, together."""

    service: str
    records_per_second: float
    bytes_per_second: float

    @property
    def volume(self) -> Volume:
        return Volume(0, 0, self.records_per_second, self.bytes_per_second)


def debug_logs(logs: Iterable[LogProfile], policy: Policy) -> tuple[DebugLogs, ...]:
    """Services that send more than the policy's rate. Records without a severity, or without a service, are never debug."""
    rates: dict[str, tuple[float, float]] = {}
    for log in logs:
        if log.service and 1 <= log.severity_number <= policy.debug_severity_max:
            records, size = rates.get(log.service, (0.0, 0.0))
            rates[log.service] = (records + log.records_per_second, size + log.bytes_per_second)
    return tuple(DebugLogs(s, *rate) for s, rate in sorted(rates.items()) if rate[0] >= policy.debug_records_per_second)


def blind_spots(spots: Iterable[BlindSpot]) -> tuple[BlindSpot, ...]:
    """Of all blind spots those that matter to logs: what hides readers of any name or of what has no name, and what lowers trust."""
    matter = (s for s in spots if s.kind == "narrowing" or not s.touches or NO_METRIC in s.touches)
    return tuple(sorted((*dict.fromkeys(matter), NO_LOG_QUERIES), key=lambda s: s.kind))


def verdict(spots: Iterable[BlindSpot]) -> tuple[Verdict, str, Risk]:
    """Executed log queries are not read, so the word is about supplied artefacts and the risk one step up. What hides a reader of logs
    makes it unknown."""
    unseen = next((spot for spot in blind_spots(spots) if spot.kind == "hiding"), None)
    if unseen is not None:
        return Verdict.UNKNOWN, f"cannot tell: {unseen.reason}", Risk.HIGH
    return Verdict.UNREFERENCED, "debug records; not referenced by supplied artefacts", raised(Risk.LOW)


def action(found: DebugLogs, policy: Policy, letter: Verdict) -> DropLogs | None:
    if letter is not Verdict.UNREFERENCED:
        return None
    return DropLogs(found.service, policy.debug_severity_max)


def evidence(found: DebugLogs, policy: Policy) -> tuple[Evidence, ...]:
    said = f"service.name={found.service!r}, severity number 1..{policy.debug_severity_max}: {found.records_per_second:.1f} records/s"
    return (Evidence("traffic", expression=said),)
