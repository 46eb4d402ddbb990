"""A robot one release behind and its server, or the other way round: do they understand each other?

What may change from one release to the next is a new field, which needs a default. So the older
side sees fields it has never heard of, and the newer one misses some.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgpack
import msgspec
import pytest
from made_messages import LATER, MESSAGES, SAID, TO_SERVER

import protocol.messages as protocol_messages
from offboard.fleet.answer import Told, UnitStatus
from offboard.fleet.assignments import Assignment, Assignments, assign, encode_assignments
from onboard.releases.assignment import decode_assignments
from onboard.releases.report import EXIT_STATUS, Report
from protocol.errors import WireError
from protocol.messages import ToRobot, ToServer, decode_to_robot, decode_to_server, encode

TOMORROW = {"of_tomorrow": [1, {"x": b"y"}], "v2": None}
RELEASE = "0" * 16


def decoded(name: str, data: bytes) -> ToServer | ToRobot:
    return decode_to_server(data) if name in TO_SERVER else decode_to_robot(data)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_older_side_reads_over_fields_it_does_not_know(name: str) -> None:
    fields = msgpack.unpackb(encode(MESSAGES[name]))
    assert decoded(name, msgpack.packb({**fields, **TOMORROW})) == MESSAGES[name]


def test_an_older_server_reads_over_what_a_unit_says_of_its_releases() -> None:
    fields = msgpack.unpackb(encode(LATER["report of a unit"]))
    told = fields.pop("release")
    assert decode_to_server(msgpack.packb(fields)) == MESSAGES["report"]
    newer = decode_to_server(msgpack.packb({**fields, "release": {**told, **TOMORROW}}))
    assert newer == LATER["report of a unit"]
    least = {key: told[key] for key in ("running", "tried", "verdict")}
    older = decode_to_server(msgpack.packb({**fields, "release": least}))
    assert isinstance(older, protocol_messages.Report)
    assert older.release == msgspec.structs.replace(SAID, reason="", at_s=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"running": "../../etc"},
        {"running": ""},
        {"tried": "a" * 65},
        {"tried": None},
        {"verdict": "proven\x1b[2J"},
        {"verdict": "a" * 33},
        {"reason": "x" * 401},
        {"at_s": -1},
        {"at_s": 2**32},
        {"at_s": 1.5},
    ],
    ids=repr,
)
def test_a_release_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    fields = msgpack.unpackb(encode(LATER["report of a unit"]))
    with pytest.raises(WireError):
        decode_to_server(msgpack.packb({**fields, "release": {**fields["release"], **wrong}}))


@pytest.mark.parametrize("name", MESSAGES)
def test_the_newer_side_does_without_fields_that_have_defaults(name: str) -> None:
    message = MESSAGES[name]
    optional = {it.name: it.default for it in msgspec.structs.fields(message) if not it.required}
    fields = msgpack.unpackb(encode(message))
    kept = {key: value for key, value in fields.items() if key not in optional or key == "v"}
    found = decoded(name, msgpack.packb(kept))
    for key, value in fields.items():
        if key in kept and key != "kind":
            assert getattr(found, key) == getattr(message, key), (key, value)


def test_another_major_version_says_which_side_is_to_be_updated() -> None:
    fields = msgpack.unpackb(encode(MESSAGES["ack"]))
    with pytest.raises(WireError, match="update the older side"):
        decode_to_robot(msgpack.packb({**fields, "v": 2}))


def test_a_unit_reads_the_assignments_of_a_newer_server() -> None:
    order = Assignment(release=RELEASE, target="cp311-x86_64")
    written = json.loads(encode_assignments(assign(Assignments(), {"duck": order})))
    written["of_tomorrow"] = {"wave": 3}
    written["units"]["duck"]["not_before"] = "2030-01-01"
    found = decode_assignments(json.dumps(written).encode())
    assert found.units["duck"].release == RELEASE
    assert found.counter == 1


@dataclass
class Case:
    kind: type[Told | UnitStatus]
    fields: dict[str, object]


@pytest.mark.parametrize("verdict", EXIT_STATUS)
def test_a_server_understands_every_verdict_of_a_unit(verdict) -> None:
    said = Report("duck", RELEASE, RELEASE, verdict, "so").json()
    assert msgspec.json.decode(said, type=Told).verdict == verdict


@pytest.mark.parametrize(
    "case",
    [
        Case(Told, {"verdict": "installed"}),
        Case(UnitStatus, {"current": RELEASE, "healthy": True}),
    ],
)
def test_a_server_reads_what_newer_and_older_units_say(case: Case) -> None:
    newer = {**case.fields, "of_tomorrow": [1]}
    older = msgspec.json.decode(json.dumps(case.fields), type=case.kind)
    assert msgspec.json.decode(json.dumps(newer), type=case.kind) == older
