"""Money: exact decimals with a currency. What is estimated and what was realised are different types and cannot be added."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

PriceUnit = Literal["series", "prom_series", "samples", "gigabyte"]
PERIOD = "30d"
SECONDS_PER_PERIOD = 30 * 24 * 3600
BYTES_PER_GIGABYTE = 10**9
_CENT_FRACTION = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount per 30 days."""

    amount: Decimal
    currency: str

    def __add__(self, other: Cost) -> Cost:
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Cost(self.amount + other.amount, self.currency)

    def rounded(self) -> Cost:
        """To four places, half to even: what is shown. Sums are made before rounding."""
        return Cost(self.amount.quantize(_CENT_FRACTION, ROUND_HALF_EVEN), self.currency)


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` per 30 days for one `per`: a series or prom_series that is active, a sample or a gigabyte (10^9 bytes) sent."""

    amount: Decimal
    per: PriceUnit


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What a destination charges; a signal without a price costs nothing that we know of."""

    name: str
    version: int
    currency: str
    metrics: Price | None
    logs: Price | None
    traces: Price | None


@dataclass(frozen=True, slots=True)
class Volume:
    """How much of something is sent, over one window. Counts are of the window, rates are per second."""

    series: int = 0
    prom_series: int = 0
    points_per_second: float = 0.0
    bytes_per_second: float = 0.0

    def __add__(self, other: Volume) -> Volume:
        return Volume(
            self.series + other.series,
            self.prom_series + other.prom_series,
            self.points_per_second + other.points_per_second,
            self.bytes_per_second + other.bytes_per_second,
        )

    def __sub__(self, other: Volume) -> Volume:
        return Volume(
            self.series - other.series,
            self.prom_series - other.prom_series,
            self.points_per_second - other.points_per_second,
            self.bytes_per_second - other.bytes_per_second,
        )


@dataclass(frozen=True, slots=True)
class Estimated:
    """What a set of actions removes from the `in` copy of a window before the change."""

    volume: Volume
    cost: Cost


@dataclass(frozen=True, slots=True)
class Realised:
    """`in` - `out` over a window of equal length that starts after APPLIED."""

    volume: Volume
    cost: Cost


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The honest answer when a saving cannot be measured."""

    reason: str


Saving = Realised | CannotTell
