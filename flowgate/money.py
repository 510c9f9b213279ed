"""Money: exact decimals with a currency. What is estimated and what was realised are different types and cannot be added.

A price book says what a destination charges for 30 days. Amounts and quantities are exact decimals; every part is checked when it is made
(`ValueError`), so that whoever holds a book need not ask again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Literal

from flowgate.telemetry import Signal

PriceUnit = Literal["series", "prom_series", "samples", "gigabyte"]
PERIOD = "30d"
SECONDS_PER_PERIOD = 30 * 24 * 3600
BYTES_PER_GIGABYTE = 10**9
BYTES_PER_GIBIBYTE = 2**30
CHECK_YOUR_CONTRACT = "List prices or examples, read on the dates given: check your contract."
_CENT = Decimal("0.01")
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

    def __sub__(self, other: Cost) -> Cost:
        if other.currency != self.currency:
            raise ValueError(f"cannot take {other.currency} from {self.currency}")
        return Cost(self.amount - other.amount, self.currency)

    def rounded(self) -> Cost:
        """To four places, half to even: what is shown. Sums are made before rounding."""
        return Cost(self.amount.quantize(_CENT_FRACTION, ROUND_HALF_EVEN), self.currency)

    def invoiced(self) -> Cost:
        """To the cent, half up, as an invoice writes it."""
        return Cost(self.amount.quantize(_CENT, ROUND_HALF_UP), self.currency)


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` per 30 days for one `per`: a series or prom_series that is active, a sample or a gigabyte (10^9 bytes) sent."""

    amount: Decimal
    per: PriceUnit


# --- price books ---------------------------------------------------------------------------------------------------------------

LineUnit = Literal["series", "prom_series", "custom_metric", "samples", "gigabyte", "gibibyte", "events"]
"""What a line counts. `series`, `prom_series` and `custom_metric` (one distinct metric name with its labels: a series) are held at a moment;
`samples`, `gigabyte` (10^9 bytes), `gibibyte` (2^30) and `events` (records, spans, points) flow and add up over the period."""
HELD_UNITS: frozenset[LineUnit] = frozenset({"series", "prom_series", "custom_metric"})
METRIC_UNITS: frozenset[LineUnit] = frozenset({*HELD_UNITS, "samples"})
Tiering = Literal["graduated", "volume"]
"""`graduated`: each tier prices what falls into it. `volume`: the tier that the whole quantity falls into prices all of it, so that sending
a little less can cost more."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """The highest of the hours that are left when the highest (100 − rank) % of the period's hours, rounded up, are left out.

    99 of 720 or 744 hours is the ninth highest, of 672 the eighth: Datadog's high-water-mark plan
    (https://docs.datadoghq.com/account_management/billing/apm_tracing_profiler/). 95 of 720 leaves out 36 hours, as Grafana Cloud says.
    """

    rank: Decimal

    def __post_init__(self) -> None:
        if not (self.rank.is_finite() and 0 < self.rank <= 100):
            raise ValueError(f"{self.rank} is not a percentile")


Rounding = Literal["none", "down", "up"]
"""To whole `per` units, before anything is taken off."""
Measured = Literal["total", "average", "high_water"] | Percentile
"""How the period's quantity comes about: the sum of what flowed, or the mean, the highest or a percentile of what was held in each hour."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure was read, and when."""

    title: str
    url: str
    read: date

    def __post_init__(self) -> None:
        if not self.title:
            raise ValueError("a source has a title")


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and with `up_to` units (None: without end), `amount` for each `per` of the line."""

    up_to: Decimal | None
    amount: Decimal

    def __post_init__(self) -> None:
        _amount(self.amount, "amount")
        if self.up_to is not None:
            _positive(self.up_to, "up_to")


@dataclass(frozen=True, slots=True)
class Commit:
    """A quantity that is paid whether it is sent or not, at its own rate; what exceeds it is charged by the line's tiers (the overage)."""

    quantity: Decimal
    amount: Decimal

    def __post_init__(self) -> None:
        _positive(self.quantity, "quantity")
        _amount(self.amount, "amount")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice.

    The quantity is measured, multiplied by `factor` (what the vendor counts for one of ours: a share that is indexed, its bytes for one of
    OTLP) and by `retained_days`, rounded, then freed of `included`, then of the commitment, and what is left is priced by the tiers. All of these
    quantities are in units, not in blocks of `per`.
    """

    name: str
    signals: tuple[Signal, ...]
    unit: LineUnit
    tiers: tuple[Tier, ...]
    per: int = 1
    tiering: Tiering = "graduated"
    measured: Measured = "total"
    included: Decimal = Decimal(0)
    commit: Commit | None = None
    points_per_minute: Decimal | None = None
    """A series counts once for each this many points a minute that it sends on average, and at least once."""
    factor: Decimal = Decimal(1)
    rounding: Rounding = "none"
    retained_days: Decimal | None = None
    """The unit becomes a unit kept for a day, of which a steady stream holds this many days beyond those that are free."""
    verified: bool = False
    """The figure was read at its source by whoever wrote the book."""
    source: Source | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a line has a name")
        if self.per < 1:
            raise ValueError("per is at least 1")
        _amount(self.included, "included")
        _positive(self.factor, "factor")
        for name, value in (("points_per_minute", self.points_per_minute), ("retained_days", self.retained_days)):
            if value is not None:
                _positive(value, name)
        _signals(self.signals, self.unit)
        _measured(self.measured, self.unit)
        _held(self)
        _tiers(self.tiers)


def _amount(value: Decimal, name: str) -> None:
    if not (value.is_finite() and value >= 0):
        raise ValueError(f"{name} is a decimal, not negative")


def _positive(value: Decimal, name: str) -> None:
    if not (value.is_finite() and value > 0):
        raise ValueError(f"{name} is a decimal above 0")


def _signals(signals: tuple[Signal, ...], unit: LineUnit) -> None:
    if not signals or len(set(signals)) != len(signals):
        raise ValueError("signals are named, each once")
    if unit in METRIC_UNITS and signals != (Signal.METRICS,):
        raise ValueError(f"{unit} are of metrics alone")


def _measured(measured: Measured, unit: LineUnit) -> None:
    if (measured == "total") == (unit in HELD_UNITS):
        kind = "an average, a high_water or a percentile" if unit in HELD_UNITS else "a total"
        raise ValueError(f"{unit} are measured as {kind}")


def _held(line: Line) -> None:
    if line.points_per_minute is not None and line.unit not in HELD_UNITS:
        raise ValueError("points_per_minute goes with series")
    if line.retained_days is not None and line.unit in HELD_UNITS:
        raise ValueError("retained_days goes with what flows")


def _tiers(tiers: tuple[Tier, ...]) -> None:
    if not tiers or tiers[-1].up_to is not None:
        raise ValueError("the last tier has no end")
    ends = [t.up_to for t in tiers if t.up_to is not None]
    if len(ends) != len(tiers) - 1 or any(a >= b for a, b in pairwise(ends)):
        raise ValueError("tiers go up, and only the last has no end")


@dataclass(frozen=True, slots=True)
class Fee:
    """What is paid whatever is sent: a platform fee, hosts, users."""

    name: str
    amount: Decimal

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a fee has a name")
        _amount(self.amount, "amount")


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What a destination charges; a signal without a price costs nothing that we know of.

    `metrics`, `logs` and `traces` are the short form: one price a signal. `charges` has them as lines beside the book's own.
    `version` counts the book's own revisions.
    """

    name: str
    version: int
    currency: str
    metrics: Price | None
    logs: Price | None
    traces: Price | None
    lines: tuple[Line, ...] = ()
    fees: tuple[Fee, ...] = ()
    minimum: Decimal = Decimal(0)
    """The least that all lines together are charged for; fees come on top."""
    vendor: str = ""
    as_of: date | None = None
    source: Source | None = None
    """Of every figure that names no other."""
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError("a currency is three capital letters, ISO 4217")
        _amount(self.minimum, "minimum")

    @property
    def charges(self) -> tuple[Line, ...]:
        short = ((Signal.METRICS, self.metrics), (Signal.LOGS, self.logs), (Signal.TRACES, self.traces))
        return (*self.lines, *(_line(signal, price) for signal, price in short if price is not None))


def _line(signal: Signal, price: Price) -> Line:
    held = price.per in HELD_UNITS
    return Line(signal.value, (signal,), price.per, (Tier(None, price.amount),), measured="average" if held else "total")


# --- what is sent ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Volume:
    """How much of something is sent, over one window. Counts are of the window, rates are per second."""

    series: int = 0
    prom_series: int = 0
    points_per_second: float = 0.0
    bytes_per_second: float = 0.0
    samples_per_second: float | None = None
    """Points expanded as for prom_series; None where they were not counted."""

    @property
    def samples(self) -> float:
        """Samples per second: as counted, else as if every series sent as often as the others."""
        if self.samples_per_second is not None:
            return self.samples_per_second
        return self.points_per_second * (self.prom_series / self.series if self.series else 1.0)

    def __add__(self, other: Volume) -> Volume:
        return self._with(other, 1)

    def __sub__(self, other: Volume) -> Volume:
        return self._with(other, -1)

    def _with(self, other: Volume, sign: int) -> Volume:
        counted = self.samples_per_second is not None or other.samples_per_second is not None
        return Volume(
            self.series + sign * other.series,
            self.prom_series + sign * other.prom_series,
            self.points_per_second + sign * other.points_per_second,
            self.bytes_per_second + sign * other.bytes_per_second,
            self.samples + sign * other.samples if counted else None,
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
