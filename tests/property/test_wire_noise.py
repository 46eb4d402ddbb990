"""Nothing a peer sends makes either side raise anything but a refusal, or harms what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_link import Link, Robot, Server
from made_records import SPEC, make_records

from offboard.door import Arrival
from onboard.control_api import decode_reply, decode_request
from onboard.spool_entry import Tail, entries_of
from protocol.bundle import decode_manifest
from protocol.errors import BundleError, WireError
from protocol.messages import (
    MAX_BYTES,
    Ack,
    Chunk,
    Fetch,
    Gap,
    Hello,
    Refused,
    Report,
    decode_to_robot,
    decode_to_server,
    encode,
)

EPOCH = "a" * 32
HELLO = Hello(epoch=EPOCH, robot_digest=SPEC.digest(), task="swing_up", first_held=1)
TO_SERVER = [
    HELLO,
    entries_of(make_records(0, 5), Tail())[0].message(EPOCH, 1),
    Gap(epoch=EPOCH, seq=2, first_record=0, count=0, reason="lost"),
    Report(
        epoch=EPOCH,
        mode=4,
        active_version=1,
        ticks=9,
        missed_ticks=0,
        produced=9,
        spooled=9,
        dropped=0,
    ),
    Fetch(path="metadata/timestamp.json", offset=0),
]
TO_ROBOT = [
    Ack(epoch=EPOCH, last=3, policy_version=1),
    Chunk(path="metadata/1.root.json", offset=0, total=3, found=True, data=b"abc"),
    Refused(reason="no", epoch=EPOCH, seq=1),
]


@st.composite
def noise(draw: st.DrawFn, originals: list[msgspec.Struct]) -> bytes:
    """Random bytes, or a true message with bytes changed, cut or added."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    data = bytearray(encode(draw(st.sampled_from(originals))))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=4))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "episodes.sqlite")
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("decode", "family"),
    [
        (decode_to_server, WireError),
        (decode_to_robot, WireError),
        (decode_request, WireError),
        (decode_reply, WireError),
        (decode_manifest, BundleError),
    ],
)
@settings(max_examples=300, deadline=None)
@given(data=noise(TO_SERVER + TO_ROBOT))
def test_decoders_return_or_raise_their_one_error(decode, family, data):
    with suppress(family):
        decode(data)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages=st.lists(noise(TO_SERVER), max_size=6))
def test_the_server_answers_noise_and_keeps_only_what_is_true(server, messages):
    server.reception.take([Arrival(b"route", "r", encode(HELLO))])
    outcome = server.reception.take([Arrival(b"route", "r", data) for data in messages])
    assert all(decode_to_robot(encode(reply.message)) for reply in outcome.replies)
    for rows in server.store.rows("r"):
        assert rows.tobytes() in make_records(0, 5).tobytes()


@settings(max_examples=40, deadline=None)
@given(messages=st.lists(noise(TO_ROBOT), max_size=6))
def test_the_robot_keeps_its_records_whatever_the_server_says(messages, tmp_path_factory):
    link = Link()
    robot = Robot(tmp_path_factory.mktemp("robot") / "spool.sqlite", link)
    robot.ring = make_records(0, 5)
    robot.collect()
    link.to_robot.extend(messages)
    robot.uplink.step(0.0)
    assert robot.spool.newest == 1
    robot.stop()


REFUSED = {
    "empty": b"",
    "truncated": encode(HELLO)[:-9],
    "oversized": bytes(MAX_BYTES + 1),
    "another version": encode(msgspec.structs.replace(HELLO, v=2)),
    "unknown kind": msgspec.msgpack.encode({"v": 1, "kind": "pickle"}),
    "deeply nested": b"\x91" * 100_000,
    "huge length": b"\xdd\xff\xff\xff\xff",
    "negative number": msgspec.msgpack.encode({"v": 1, "kind": "fetch", "path": "a", "offset": -1}),
    "path with a space": msgspec.msgpack.encode(
        {"v": 1, "kind": "fetch", "path": "a b", "offset": 0}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_message_is_refused_counted_and_forgotten(server, name):
    outcome = server.reception.take([Arrival(b"route", "r", REFUSED[name])])
    (reply,) = outcome.replies
    assert isinstance(reply.message, Refused)
    assert dict(server.reception.refusals) == {"not a message": 1}
    assert server.store.robots() == []
