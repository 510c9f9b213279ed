"""Fluent Forward in as much as a legacy program needs: a small MessagePack encoder and forward mode over TCP."""

import socket
import struct
from collections.abc import Iterable

Packable = str | int | bytes | list["Packable"] | dict[str, "Packable"]
TIMEOUT = 2.0


def pack(value: Packable) -> bytes:
    """MessagePack of text, non-negative integers below 2^64, raw bytes already packed, lists and maps."""
    if isinstance(value, str):
        body = value.encode()
        return _head(len(body), (0xA0, 32), 0xD9, 0xDA, 0xDB) + body
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, list):
        return _head(len(value), (0x90, 16), None, 0xDC, 0xDD) + b"".join(map(pack, value))
    return _head(len(value), (0x80, 16), None, 0xDE, 0xDF) + b"".join(pack(key) + pack(item) for key, item in value.items())


def _head(length: int, fix: tuple[int, int], eight: int | None, sixteen: int, thirty_two: int) -> bytes:
    """The type byte and length of a MessagePack value, in the shortest form."""
    if length < fix[1]:
        return bytes([fix[0] | length])
    if eight is not None and length < 2**8:
        return bytes([eight, length])
    if length < 2**16:
        return struct.pack(">BH", sixteen, length)
    return struct.pack(">BI", thirty_two, length)


def event_time(nanoseconds: int) -> bytes:
    """Fluentd's EventTime: MessagePack extension type 0 with seconds and nanoseconds, 32 bits each."""
    return struct.pack(">BBII", 0xD7, 0, *divmod(nanoseconds, 1_000_000_000))


def forward(tag: str, nanoseconds: int, records: Iterable[dict[str, str]]) -> bytes:
    """One forward-mode message: `[tag, [[time, record], …]]`."""
    return pack([tag, [[event_time(nanoseconds), dict(record)] for record in records]])


class ForwardClient:
    """Sends to one Fluent Forward listener and connects again after a failure; what it could not send is lost."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to = (host, int(port))
        self._socket: socket.socket | None = None
        self.failed = 0

    def send(self, message: bytes) -> None:
        try:
            self._socket = self._socket or socket.create_connection(self._to, TIMEOUT)
            self._socket.sendall(message)
        except OSError:
            self.failed += 1
            self.close()

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
