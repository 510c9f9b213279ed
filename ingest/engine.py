"""What stands behind the receivers: bodies in, tables out. Two of them: `ingest.wire.Wire`, compiled, and `Library`, its reference and stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from flowgate.telemetry import Signal
from ingest.columns import Staged, staged
from ingest.otlp import Body, Decoder, parse
from ingest.tap import Buffer, Kept, Source, Totals


class Engine(Protocol):
    """Not safe for two threads at once."""

    @property
    def totals(self) -> Totals: ...

    def take(self, source: Source, signal: Signal, body: Body, now_ns: int) -> Kept:
        """Takes one OTLP/protobuf body whole; or raises `Malformed` or `Busy`, and then nothing of it is counted."""
        ...

    def drain(self) -> Mapping[Source, Staged]:
        """Everything counted since the last drain."""
        ...

    def sealed(self) -> None:
        """What is drained from now on belongs to a new segment."""
        ...

    def shrink(self) -> None:
        """Memory is short: keeps half as many series between drains."""
        ...

    def stats(self) -> dict[str, object]:
        """Counts since the start, for people."""
        ...


@dataclass(slots=True)
class Library:
    """The protobuf library: some thirty times slower, ready at once."""

    decoder: Decoder
    buffer: Buffer

    @property
    def totals(self) -> Totals:
        return self.buffer.totals

    def take(self, source: Source, signal: Signal, body: Body, now_ns: int) -> Kept:
        batch = self.decoder.decode(parse(signal, body, "protobuf"), now_ns)
        return self.buffer.add(source, batch, self.decoder.series)

    def drain(self) -> Mapping[Source, Staged]:
        drained = self.buffer.drain()
        return {source: staged(rows, self.decoder.series, self.decoder.kv) for source, rows in drained.items()}

    def sealed(self) -> None:
        """Every drain names its series anew: only the reservoirs begin again."""
        self.buffer.sealed()

    def shrink(self) -> None:
        """Its series are the decoder's: nothing to do."""

    def stats(self) -> dict[str, object]:
        return {"decoder": "library", "series": len(self.decoder.series), "pending": self.buffer.rows()}
