"""Bytes in, segments out. Lives here: OTLP decoding, the tap's buffer, the segment store, the tap's tokens and servers.

May not: judge what is waste, know what a gateway runs, or import a sibling room. `ingest.segments` alone imports DuckDB.
"""

from ingest.otlp import Batch, Decoder, Limits, Malformed
from ingest.tap import Buffer, Kept

__all__ = ["Batch", "Buffer", "Decoder", "Kept", "Limits", "Malformed"]
