"""A metric that is sent more often than any query's range can show.

Told only where every reading of it takes a range that is written out; what is shown point by point, or over a range that follows the zoom,
may need every point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from analyzer.reading import Reading, joined
from analyzer.rules import unused_metric
from analyzer.rules.cases import Found, MetricCase
from analyzer.verdicts import Judged
from flowgate.advice import Evidence, Policy, Reference, Risk, Verdict, raised
from flowgate.money import Volume
from flowgate.telemetry import Signal

RULE = "fine_interval"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_WHOLE = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_RANGE = re.compile(r'\s*(?:\{(?:[^{}"\'`]|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`)*\})?\s*\[([^\[\]]*)\]')


def find(case: MetricCase) -> Iterator[Found]:
    reading = joined([r for _, r in case.members])
    intervals = [m.interval_seconds for m, _ in case.members]
    finest = finest_range(reading)
    if finest is None or None in intervals or unused_metric.is_built_in(case.metric):
        return
    now = min(i for i in intervals if i is not None)
    enough = longest_interval(finest, case.policy)
    if now > 0 and enough >= now * case.policy.fine_interval_factor:
        yield _found(case, reading, now, enough, finest)


def longest_interval(finest: float, policy: Policy) -> float:
    """Whole seconds, so that the shortest range still holds enough points."""
    return float(math.floor(finest / policy.points_of_a_range))


def finest_range(reading: Reading) -> float | None:
    """Seconds of the shortest range that any query of the metric takes; None where one takes none, or one that is not written out."""
    if reading.hiding or not reading.hits or any(use.pattern for use in reading.uses):
        return None
    found = [_finest(reference, [u.name for r, u in reading.hits if r is reference]) for reference in reading.references]
    known = [f for f in found if f is not None]
    return min(known) if len(known) == len(found) else None


def _finest(reference: Reference, names: Sequence[str]) -> float | None:
    text = reference.evidence.expression or ""
    ranges = [_seconds(text, m) for m in _NAME.finditer(text) if m[0] in names]
    known = [r for r in ranges if r is not None]
    return min(known) if known and len(known) == len(ranges) and {m[0] for m in _NAME.finditer(text)} >= set(names) else None


def _seconds(text: str, name: re.Match[str]) -> float | None:
    """Of the range behind a name."""
    following = _RANGE.match(text, name.end())
    if following is None or not _WHOLE.fullmatch(following[1].strip()):
        return None
    return sum(int(n) * _UNITS[unit] for n, unit in _DURATION.findall(following[1])) or None


def _found(case: MetricCase, reading: Reading, now: float, enough: float, finest: float) -> Found:
    said = f"sent every {now:g} s, and the shortest range that a query takes is {finest:g} s: every {enough:g} s holds {case.policy.points_of_a_range} points"
    risk = raised(Risk.LOW) if reading.narrowing else Risk.LOW
    wording = (
        f"{said}; set the interval of the scrape job, or of the SDK's metric reader, if nothing else that it sends is read more finely"
    )
    return Found(
        RULE,
        Signal.METRICS,
        Judged(Verdict.CONDITIONAL, wording, risk),
        (Evidence("traffic", expression=f"{case.metric}: {said}"), *reading.evidence),
        reading.narrowing,
        _fewer(case, 1 - now / enough),
        case.metric,
    )


def _fewer(case: MetricCase, share: float) -> Volume:
    """Points and their bytes; the series stay."""
    whole = sum((m.volume for m, _ in case.members), Volume())
    samples = whole.samples_per_second
    return Volume(0, 0, whole.points_per_second * share, whole.bytes_per_second * share, None if samples is None else samples * share)
