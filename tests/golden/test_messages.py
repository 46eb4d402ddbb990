"""Are the bytes of every message those that robots in the field already speak?

``messages.json`` holds them. A line of it may be added with a new message, never changed: a robot
with last year's software must be understood.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import msgspec
import pytest
from made_messages import LATER, MESSAGES, TO_SERVER

from protocol.messages import ToRobot, ToServer, decode_to_robot, decode_to_server, encode

GOLDEN: dict[str, str] = json.loads(Path(__file__).with_name("messages.json").read_text())


def decoded(name: str, data: bytes) -> ToServer | ToRobot:
    return decode_to_server(data) if name in TO_SERVER else decode_to_robot(data)


def test_every_message_has_golden_bytes() -> None:
    known = {kind.__struct_config__.tag for kind in (*ToServer.__args__, *ToRobot.__args__)}
    assert known == MESSAGES.keys() == GOLDEN.keys() - LATER.keys()
    assert LATER.keys() < GOLDEN.keys()


@pytest.mark.parametrize("name", LATER)
def test_what_came_later_has_golden_bytes_of_its_own(name: str) -> None:
    data = bytes.fromhex(GOLDEN[name])
    assert encode(LATER[name]) == data
    assert decode_to_server(data) == LATER[name]
    assert msgpack.unpackb(data) == msgspec.to_builtins(LATER[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_encoding_gives_the_golden_bytes(name: str) -> None:
    assert encode(MESSAGES[name]).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_golden_bytes_give_the_message(name: str) -> None:
    assert decoded(name, bytes.fromhex(GOLDEN[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_another_library_reads_the_same(name: str) -> None:
    fields = msgspec.structs.asdict(MESSAGES[name])
    fields = {key: value for key, value in fields.items() if value is not msgspec.UNSET}
    if "events" in fields:
        fields["events"] = [msgspec.structs.asdict(event) for event in fields["events"]]
    assert msgpack.unpackb(bytes.fromhex(GOLDEN[name])) == {"kind": name, **fields}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_another_library_writes_is_understood(name: str) -> None:
    fields = msgpack.unpackb(bytes.fromhex(GOLDEN[name]))
    shuffled = dict(sorted(fields.items(), reverse=True))
    assert decoded(name, msgpack.packb(shuffled)) == MESSAGES[name]
