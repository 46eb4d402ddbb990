"""Is a command obeyed, or reported as failed, but never both, and does nobody wait for it?"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from made_agent import make_status

from onboard.command import Command
from onboard.control_api import (
    Clear,
    Done,
    Estop,
    GetStatus,
    Offer,
    Rollback,
    Start,
    Stop,
)
from onboard.desk import OBEY_S, Desk, Order
from onboard.estop import EmergencyStop


class Scene:
    """A desk before a loop that obeys when the test says so."""

    def __init__(self) -> None:
        self.commands: deque[Command] = deque()
        self.now_s, self.cuts = 50.0, 0
        self.pressed: list[str] = []
        loop: Any = SimpleNamespace(orders=SimpleNamespace(queue=self.commands))
        ring: Any = None
        estop = EmergencyStop(self._cut, self.commands, lambda _: None)
        self.desk = Desk(loop, ring, "r", estop, lambda: self.pressed, lambda: self.now_s)

    def _cut(self) -> None:
        self.cuts += 1

    def order(self, request: Any) -> Order:
        order = self.desk.handle(request)
        assert isinstance(order, Order)
        return order


@pytest.fixture
def scene() -> Scene:
    return Scene()


EVERY = [Start(), Clear(), Stop(), Estop()]


@pytest.mark.parametrize("request_", EVERY)
def test_the_reply_of_the_loop_is_passed_on_when_it_is_there(scene: Scene, request_: Any) -> None:
    order = scene.order(request_)
    assert order.reply() is None
    command = scene.commands.popleft()
    assert command.take()
    assert order.reply() is None
    command.reply = Done(ok=True, detail="HOMING")
    assert order.reply() == Done(ok=True, detail="HOMING")


@pytest.mark.parametrize("request_", [Start(), Clear()])
def test_what_was_reported_as_failed_is_withdrawn(scene: Scene, request_: Start | Clear) -> None:
    order = scene.order(request_)
    scene.now_s += OBEY_S
    reply = order.reply()
    assert reply is not None
    assert not reply.ok
    assert "did not obey within 1.5 s" in reply.detail
    assert not scene.commands.popleft().take()


@pytest.mark.parametrize("request_", [Stop(), Estop()])
def test_a_stop_stays_valid_however_late(scene: Scene, request_: Stop | Estop) -> None:
    order = scene.order(request_)
    scene.now_s += OBEY_S
    reply = order.reply()
    assert reply is not None
    assert not reply.ok
    assert scene.commands.popleft().take()


def test_a_start_taken_at_the_last_moment_gets_its_reply(scene: Scene) -> None:
    order = scene.order(Start())
    command = scene.commands.popleft()
    command.take()
    scene.now_s += OBEY_S
    assert order.reply() is None
    command.reply = Done(ok=True)
    assert order.reply() == Done(ok=True)


def test_a_start_taken_by_a_loop_that_then_hangs_is_reported_in_the_end(scene: Scene) -> None:
    order = scene.order(Start())
    scene.commands.popleft().take()
    scene.now_s += 2.0 * OBEY_S
    reply = order.reply()
    assert reply is not None
    assert not reply.ok


def test_an_emergency_stop_cuts_before_anybody_obeys(scene: Scene) -> None:
    order = scene.order(Estop(source="the agent"))
    assert scene.cuts > 0
    assert scene.commands[-1].request == Estop(source="the agent")
    scene.now_s += OBEY_S
    reply = order.reply()
    assert reply is not None
    assert "torque-off was sent to every motor" in reply.detail


def test_what_needs_no_loop_is_answered_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, offers = make_status(), list[Offer]()

    def offered(offer: Offer) -> Done:
        offers.append(offer)
        return Done(ok=True, detail="staging")

    scene.desk._control.swap = SimpleNamespace(offer=offered)  # type: ignore[assignment]
    monkeypatch.setattr("onboard.desk.snapshot", lambda *_: found)
    monkeypatch.setattr("onboard.desk.choose", lambda *_: Done(ok=True, detail="going back"))
    assert scene.desk.handle(GetStatus()) is found
    assert scene.desk.handle(Offer(version=3, directory="/b")) == Done(ok=True, detail="staging")
    assert offers == [Offer(version=3, directory="/b")]
    assert scene.desk.handle(Rollback()) == Done(ok=True, detail="going back")
    assert not scene.commands


def test_a_clear_is_refused_while_a_button_is_down(scene: Scene) -> None:
    scene.pressed = ["the red one"]
    reply = scene.desk.handle(Clear())
    assert isinstance(reply, Done)
    assert not reply.ok
    assert "the red one is still pressed" in reply.detail
    assert not scene.commands
    assert scene.order(Start()).reply() is None  # the loop itself refuses it in ESTOP
