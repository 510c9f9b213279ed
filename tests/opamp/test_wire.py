"""Framing (T3-T6) and the garbage contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opamp.agent import AgentState, events_of
from opamp.hub import uuid7
from opamp.proto.opamp.v1.opamp_pb2 import AgentToServer, ComponentHealth
from opamp.session import ServerSession
from opamp.wire import MAX_MESSAGE_BYTES, Malformed, frame, parse_report, unframe

# Captured from a real Supervisor 0.139: header 0, UUIDv7 uid, sequence_num 18, capabilities 0x7DE7.
GOLDEN = bytes.fromhex("000a10019a86892e6d7d2089ffe01046135f26101220e7fb01")


def test_the_golden_vector_reads_as_it_was_sent() -> None:
    report = parse_report(unframe(GOLDEN))
    assert (report.instance_uid.hex(), report.sequence_num, report.capabilities) == ("019a86892e6d7d2089ffe01046135f26", 18, 0x7DE7)


@pytest.mark.parametrize("header", [b"\x00", b"\x80\x00", b"\x80\x80\x00"])
def test_an_overlong_zero_is_zero(header: bytes) -> None:
    assert unframe(header + b"payload") == b"payload"


@pytest.mark.parametrize("message", [b"", b"\x01x", b"\x80", b"\x80\x01x", b"\xff" * 11, GOLDEN[1:]])
def test_a_header_that_is_not_zero_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        unframe(message)


def test_payload_zeros_are_not_header() -> None:
    assert unframe(b"\x00\x00\x00") == b"\x00\x00"


@given(st.binary(max_size=64))
def test_framing_survives_the_round_trip(payload: bytes) -> None:
    assert unframe(frame(payload)) == payload


@pytest.mark.parametrize(
    ("uid", "words"), [(b"", "required"), (b"x" * 15, "16 bytes"), (b"x" * 17, "16 bytes"), (bytes(16), "not all zero")]
)
def test_a_uid_is_sixteen_bytes_and_not_all_zero(uid: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        parse_report(AgentToServer(instance_uid=uid).SerializeToString())


@pytest.mark.parametrize(("size", "ok"), [(-1, True), (0, True), (1, False)])
def test_messages_up_to_the_limit_are_read(size: int, ok: bool) -> None:
    report = AgentToServer(instance_uid=b"u" * 16)
    bare = len(report.SerializeToString())
    report.custom_message.data = b"x" * (MAX_MESSAGE_BYTES + size - bare - 10)
    payload = report.SerializeToString()
    report.custom_message.data += b"x" * (MAX_MESSAGE_BYTES + size - len(payload))
    payload = report.SerializeToString()
    assert len(payload) == MAX_MESSAGE_BYTES + size
    if ok:
        parse_report(payload)
    else:
        with pytest.raises(Malformed):
            parse_report(payload)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("depth", [40, 90, 150, 1000])
def test_a_health_tree_that_is_too_deep_is_malformed(depth: int) -> None:
    """Written byte by byte: protobuf itself refuses to build what it refuses to read."""
    node = ComponentHealth(healthy=True).SerializeToString()
    for _ in range(depth):
        entry = b"\x0a\x01x\x12" + varint(len(node)) + node
        node = b"\x32" + varint(len(entry)) + entry
    payload = AgentToServer(instance_uid=b"u" * 16).SerializeToString() + b"\x2a" + varint(len(node)) + node
    with pytest.raises(Malformed):
        events_of(parse_report(payload))


@given(st.binary(max_size=300))
def test_garbage_is_malformed_or_events_and_nothing_else(payload: bytes) -> None:
    session = ServerSession(AgentState(b"u" * 16), uuid7)
    before = session.state
    try:
        session.receive(b"\x0a\x10" + b"u" * 16 + payload, 0.0)
    except Malformed:
        assert session.state == before


def test_minted_uids_are_version_7_and_sort_by_time() -> None:
    uids = [uuid7() for _ in range(50)]
    assert all(len(u) == 16 and u[6] >> 4 == 7 and u[8] >> 6 == 2 for u in uids)
    assert len(set(uids)) == 50
    assert [u[:6] for u in uids] == sorted(u[:6] for u in uids)
