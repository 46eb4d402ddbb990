"""Does a stop at the server reach the robot's control, as often as it is told, and nothing else?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from made_link import Link, Robot, Server
from made_records import SPEC

from offboard.door import Arrival
from offboard.reception import Reception
from onboard.control_api import Done, Estop, Request
from onboard.event_log import EventLog
from onboard.liaison import Liaison
from onboard.spool import Spool, open_spool
from protocol.errors import WireError
from protocol.messages import Ack, Halt, Hello, decode_to_robot, encode


class Stops:
    """Who shall stop, as a test decides."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def reason_for(self, robot: str) -> str:
        return self.reasons.get(robot, "")


class Scene:
    """A robot's uplink and a server with a list of stops."""

    def __init__(self, folder: Path) -> None:
        self.link, self.stops = Link(), Stops()
        self.server = Server(folder / "episodes.sqlite")
        self.server.reception = Reception(self.server.store, SPEC, folder, self.stops.reason_for)
        self.robot = Robot(folder / "spool.sqlite", self.link)

    def turn(self, now_s: float) -> str:
        """One exchange; why the robot shall stop."""
        self.robot.uplink.step(now_s)
        self.server.handle(self.link, 99)
        self.robot.uplink.step(now_s)
        return self.robot.uplink.take_halt()

    def close(self) -> None:
        self.robot.stop()
        self.server.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_a_stop_is_told_with_every_answer_to_the_robot_it_is_for(scene: Scene) -> None:
    hello = Hello(epoch="a" * 32, robot_digest=SPEC.digest(), task="", first_held=1)
    scene.stops.reasons["r"] = "smoke"
    for robot, expected in (("r", [Ack, Halt]), ("other", [Ack]), ("r", [Ack, Halt])):
        outcome = scene.server.reception.take([Arrival(b"", robot, encode(hello))])
        assert [type(reply.message) for reply in outcome.replies] == expected


def test_it_arrives_once_for_each_time_it_is_told(scene: Scene) -> None:
    assert scene.turn(0.0) == ""
    scene.stops.reasons["r"] = "smoke"
    scene.link.to_robot.append(encode(Halt(reason="smoke")))
    assert scene.turn(1.0) == "smoke"
    assert scene.robot.uplink.take_halt() == ""


def test_a_stop_without_a_reason_still_is_one(scene: Scene) -> None:
    scene.link.to_robot.append(encode(Halt(reason="")))
    assert scene.turn(0.0) == "no reason given"


class Control:
    """Obeys, or is away; asked for its status it is always away."""

    def __init__(self) -> None:
        self.away = False
        self.obeyed: list[Request] = []

    def command(self, request: Request) -> Done:
        if self.away:
            raise WireError("control is not running")
        self.obeyed.append(request)
        return Done(ok=True, detail="ESTOP")

    def status(self) -> Any:
        raise WireError("control is not running")


class Uplink:
    """Has heard ``halt``."""

    policy_version = 0
    halt = ""

    def take_halt(self) -> str:
        reason, self.halt = self.halt, ""
        return reason


class Courier:
    trouble = ""

    def step(self, *_: Any) -> None:
        return None


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(open_spool(tmp_path / "spool.sqlite")) as spool:
        yield spool


def test_the_agent_passes_it_on_as_an_emergency_stop(spool: Spool, tmp_path: Path) -> None:
    control, uplink, said = Control(), Uplink(), io.StringIO()
    log = EventLog(said, lambda: 0.0)
    parts: list[Any] = [control, None, Courier(), uplink]
    liaison = Liaison(*parts, spool, log, tmp_path / "floor")
    liaison.step(0.0)
    assert control.obeyed == []
    for now_s in (0.1, 0.2):  # not only when the agent reports, and as often as it is told
        uplink.halt = "smoke"
        liaison.step(now_s)
    assert control.obeyed == [Estop(source="the server: smoke")] * 2
    assert said.getvalue().count("halted") == 1
    control.away = True
    uplink.halt = "smoke"
    liaison.step(0.3)
    assert "not obeyed: control is not running" in said.getvalue()


def test_a_reason_of_any_length_fits_into_the_command(spool: Spool, tmp_path: Path) -> None:
    control, uplink = Control(), Uplink()
    uplink.halt = cast(Halt, decode_to_robot(encode(Halt(reason="x" * 1024)))).reason
    parts: list[Any] = [control, None, Courier(), uplink]
    Liaison(*parts, spool, EventLog(io.StringIO(), lambda: 0.0), tmp_path / "floor").step(0.0)
    (request,) = control.obeyed
    assert isinstance(request, Estop)
    assert len(request.source) == 1024
