"""What was really saved, or why that cannot be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from analyzer.pricing import price
from flowgate.money import CannotTell, PriceBook, Realised, Saving, Volume
from flowgate.telemetry import Signal, Window


@dataclass(frozen=True, slots=True)
class Loss:
    """Items that the tap's exporters or the tap itself refused or failed to take in the second window; None: the gateways did not say."""

    items: int | None


def judge(
    sent: Volume,
    left: Volume,
    before: Window,
    after: Window,
    applied: datetime | None,
    loss: Loss,
    book: PriceBook,
) -> Saving:
    """`in` − `out` over `after`, when the two windows can be compared.

    `sent` and `left` are the `in` and `out` volumes of metrics over `after`; `applied` is when the change was in force.
    """
    reason = _obstacle(sent, before, after, applied, loss)
    if reason is not None:
        return CannotTell(reason)
    saved = sent - left
    return Realised(saved, price(saved, Signal.METRICS, book))


def _obstacle(sent: Volume, before: Window, after: Window, applied: datetime | None, loss: Loss) -> str | None:
    if applied is None:
        return "the change was not reported as applied"
    if after.start < applied:
        return "the second window starts before the change was applied"
    if before.seconds != after.seconds:
        return f"the windows differ in length: {before.seconds:.0f} s and {after.seconds:.0f} s"
    if sent.series == 0:
        return "nothing was sent in the second window"
    if loss.items is None:
        return "the gateways' own telemetry of the second window was not seen, so losses on the way to the tap are not known"
    if loss.items:
        return f"{loss.items} items were refused on their way to the tap in the second window"
    return None
