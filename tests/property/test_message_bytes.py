"""Can any bytes from a peer do anything but decode or raise WireError?"""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_messages import DIGEST, EPOCH, MESSAGES, TO_ROBOT, TO_SERVER

from protocol.errors import WireError
from protocol.messages import (
    BATCH_MAX_RECORDS,
    CHUNK_BYTES,
    MAX_BYTES,
    VERSION,
    Batch,
    batch_crc32,
    decode_to_robot,
    decode_to_server,
    encode,
)

DECODERS = (decode_to_server, decode_to_robot)


def fields_of(name: str, **changes: object) -> dict[str, object]:
    return {**msgspec.msgpack.decode(encode(MESSAGES[name])), **changes}


def refusal(fields: object) -> str:
    with pytest.raises(WireError) as caught:
        decode_to_server(msgspec.msgpack.encode(fields))
    return str(caught.value)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_survives_the_way(name: str) -> None:
    decode = decode_to_server if name in TO_SERVER else decode_to_robot
    assert decode(encode(MESSAGES[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_no_truncated_message_is_believed(name: str) -> None:
    data = encode(MESSAGES[name])
    for length in range(len(data)):
        for decode in DECODERS:
            with pytest.raises(WireError):
                decode(data[:length])


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_with_something_behind_it_is_refused(name: str) -> None:
    for decode in DECODERS:
        with pytest.raises(WireError):
            decode(encode(MESSAGES[name]) + b"\x00")


def test_no_message_is_taken_from_the_wrong_direction() -> None:
    for message in TO_ROBOT.values():
        with pytest.raises(WireError):
            decode_to_server(encode(message))
    for message in TO_SERVER.values():
        with pytest.raises(WireError):
            decode_to_robot(encode(message))


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_wire_errors(data: bytes) -> None:
    for decode in DECODERS:
        with pytest.raises(WireError):
            decode(data)


@given(
    name=st.sampled_from(sorted(MESSAGES)),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_messages_decode_in_range_or_raise_wire_errors(name, edits) -> None:
    data = bytearray(encode(MESSAGES[name]))
    for position, value in edits:
        data[position % len(data)] = value
    for decode in DECODERS:
        try:
            message = decode(bytes(data))
        except WireError:
            continue
        assert decode(encode(message)) == message


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(name=st.sampled_from(sorted(TO_SERVER)), data=st.data())
def test_fields_of_any_type_raise_nothing_but_wire_errors(name: str, data) -> None:
    field = data.draw(st.sampled_from(sorted(fields_of(name))))
    value = data.draw(JSONISH)
    with contextlib.suppress(WireError):
        decode_to_server(msgspec.msgpack.encode(fields_of(name, **{field: value})))


def test_size_is_judged_before_content() -> None:
    assert "exceeds the cap" in refusal(fields_of("fetch", padding=bytes(MAX_BYTES), v=99))


def test_a_message_of_exactly_the_cap_is_taken() -> None:
    room = (
        MAX_BYTES - len(msgspec.msgpack.encode(fields_of("fetch", padding=bytes(70_000)))) + 70_000
    )
    data = msgspec.msgpack.encode(fields_of("fetch", padding=bytes(room)))
    assert len(data) == MAX_BYTES
    assert decode_to_server(data) == MESSAGES["fetch"]


def test_version_is_judged_before_type() -> None:
    told = refusal({"kind": "invented", "v": VERSION + 1})
    assert f"version {VERSION + 1}" in told
    assert f"speaks {VERSION}" in told


def test_nothing_too_large_to_be_decoded_is_encoded() -> None:
    data = bytes(MAX_BYTES)
    with pytest.raises(WireError, match="exceeds the cap"):
        encode(Batch(epoch=EPOCH, seq=1, first_record=0, count=1, crc32=0, data=data))


EVENT = {"number": 0, "version": 0, "outcome": "rejected"}
NONSENSE = {
    "no version": ("hello", {"v": None}),
    "unknown kind": ("hello", {"kind": "howdy"}),
    "no kind": ("hello", {"kind": None}),
    "epoch of another length": ("hello", {"epoch": EPOCH[:-1]}),
    "epoch with a newline": ("hello", {"epoch": EPOCH + "\n"}),
    "digest in capitals": ("hello", {"robot_digest": DIGEST.upper()}),
    "endless task": ("hello", {"task": "x" * 1025}),
    "negative number": ("batch", {"seq": -1}),
    "number beyond 63 bits": ("batch", {"first_record": 2**63}),
    "empty batch": ("batch", {"count": 0}),
    "batch of too many": ("batch", {"count": BATCH_MAX_RECORDS + 1}),
    "checksum of 33 bits": ("batch", {"crc32": 2**32}),
    "text for data": ("batch", {"data": "text"}),
    "number as a float": ("batch", {"seq": 8.0}),
    "mode beyond a byte": ("report", {"mode": 256}),
    "too many events": ("report", {"events": [EVENT] * 65}),
    "invented outcome": ("report", {"events": [{**EVENT, "outcome": "exploded"}]}),
    "absolute path": ("fetch", {"path": "/etc/passwd"}),
    "path with a zero": ("fetch", {"path": "metadata/\0"}),
    "path with a newline": ("fetch", {"path": "metadata/root.json\n"}),
}  # fmt: skip


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    name, changes = NONSENSE[case]
    kept = {key: value for key, value in fields_of(name, **changes).items() if value is not None}
    assert "not a message" in refusal(kept)


def test_a_chunk_too_large_for_its_kind_is_refused() -> None:
    fields = fields_of("chunk", data=bytes(CHUNK_BYTES + 1))
    with pytest.raises(WireError):
        decode_to_robot(msgspec.msgpack.encode(fields))


def test_a_field_of_the_future_is_ignored() -> None:
    assert (
        decode_to_server(msgspec.msgpack.encode(fields_of("gap", colour="red"))) == MESSAGES["gap"]
    )


def test_a_message_from_before_a_field_existed_is_understood() -> None:
    fields = fields_of("ack")
    del fields["resend"]
    assert not decode_to_robot(msgspec.msgpack.encode(fields)).resend


def test_nesting_beyond_reason_is_refused() -> None:
    data = b"\x82\xa1x" + b"\x91" * 100_000 + b"\x01\xa1v\x01"
    with pytest.raises(WireError):
        decode_to_server(data)


@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_checksum_covers_numbers_and_data(data: bytes, first: int, count: int) -> None:
    crc32 = batch_crc32(first, count, data)
    assert crc32 != batch_crc32(first ^ 1, count, data)
    assert crc32 != batch_crc32(first, count ^ 1, data)
    assert crc32 != batch_crc32(first, count, bytes([data[0] ^ 1]) + data[1:])
