"""What a rule is given and what it gives back. A rule is `find(case) -> Iterator[Found]`: values in, values with their reason out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analyzer.reading import Readers, Reading
from analyzer.verdicts import Judged
from flowgate.actions import Action, Label
from flowgate.advice import BlindSpot, Evidence, MetricProfile, Policy, Profile, Usage
from flowgate.money import Volume
from flowgate.telemetry import Signal


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of waste, or of what cannot be told to be waste.

    `gone` is what would no longer be sent. `action` is what takes it away; None where it is advice only: what must stay, what cannot be
    told, and what is put right elsewhere.
    """

    rule: str
    signal: Signal
    judged: Judged
    evidence: tuple[Evidence, ...]
    blind_spots: tuple[BlindSpot, ...]
    gone: Volume
    metric: str | None = None
    label: Label | None = None
    service: str | None = None
    detail: str = ""
    """Tells apart two findings of one rule about the same thing (a span's name, a unit): part of the finding's id."""
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class MetricCase:
    """All metrics of one OTLP name (whatever their unit and kind), each with its readers: an action is by name, and one that is read
    protects all."""

    members: tuple[tuple[MetricProfile, Reading], ...]
    profile: Profile
    policy: Policy

    @property
    def metric(self) -> str:
        return self.members[0][0].metric


@dataclass(frozen=True, slots=True)
class WindowCase:
    """A whole window: for what is not about one metric."""

    profile: Profile
    usage: Usage
    readers: Readers
    policy: Policy


MetricRule = Callable[[MetricCase], Iterator[Found]]
WindowRule = Callable[[WindowCase], Iterator[Found]]
