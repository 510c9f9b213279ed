"""Framing and parsing: WebSocket messages carry a varint header of zero before the protobuf, HTTP bodies are bare protobuf.

The garbage contract: any bytes either parse or raise `Malformed`, never anything else.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from opamp.proto.opamp.v1.opamp_pb2 import AgentToServer, ServerToAgent

MAX_MESSAGE_BYTES = 4 * 2**20
"""The specification's default is 64 MiB and allows a lower limit; a Supervisor's largest message (effective config) is some 100 kB."""
HEADER = b"\x00"
UID_BYTES = 16
_MAX_VARINT_BYTES = 10


class Malformed(ValueError):
    """Theirs: not an OpAMP message. Answered with BAD_REQUEST."""


def unframe(message: bytes) -> bytes:
    """The protobuf bytes of a WebSocket message. The header is a real varint: an overlong zero such as `80 00` is zero too."""
    value = shift = 0
    for index, byte in enumerate(message[:_MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value:
                raise Malformed(f"the header is {value}, not 0")
            return message[index + 1 :]
        shift += 7
    raise Malformed("the message has no header")


def frame(payload: bytes) -> bytes:
    """A WebSocket message: the header is always sent."""
    return HEADER + payload


def parse_report(payload: bytes) -> AgentToServer:
    """An AgentToServer with a usable instance_uid: 16 bytes, not all zero."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise Malformed(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    try:
        report = AgentToServer.FromString(payload)
    except DecodeError as error:
        raise Malformed(f"not an AgentToServer: {error}") from None
    if not report.instance_uid:
        raise Malformed("instance_uid required")
    if len(report.instance_uid) != UID_BYTES or not any(report.instance_uid):
        raise Malformed("instance_uid is 16 bytes and not all zero")
    return report


def parse_reply(payload: bytes) -> ServerToAgent:
    """A ServerToAgent, for the agent's side."""
    try:
        return ServerToAgent.FromString(payload)
    except DecodeError as error:
        raise Malformed(f"not a ServerToAgent: {error}") from None
