"""Is a command obeyed, or reported as failed, but never both?"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from onboard import desk as desk_module
from onboard.command import Command
from onboard.control_api import Clear, Done, Estop, Start, Stop
from onboard.desk import Desk


@pytest.fixture
def commands() -> deque[Command]:
    return deque()


@pytest.fixture
def desk(commands: deque[Command], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(desk_module, "OBEY_S", 0.02)
    loop: Any = SimpleNamespace(commands=commands)
    ring: Any = None
    return Desk(loop, ring, "r")


@pytest.mark.parametrize("request_", [Start(), Clear()])
def test_what_was_reported_as_failed_is_withdrawn(
    desk: Desk, commands: deque[Command], request_: Start | Clear
) -> None:
    reply = desk.handle(request_)
    assert isinstance(reply, Done)
    assert not reply.ok
    assert not commands.popleft().take()


@pytest.mark.parametrize("request_", [Stop(), Estop()])
def test_a_stop_stays_valid_however_late(
    desk: Desk, commands: deque[Command], request_: Stop | Estop
) -> None:
    reply = desk.handle(request_)
    assert isinstance(reply, Done)
    assert not reply.ok
    assert commands.popleft().take()


def test_the_reply_of_the_loop_is_passed_on(desk: Desk, commands: deque[Command]) -> None:
    class Loop(deque[Command]):
        def append(self, command: Command) -> None:
            assert command.take()
            command.reply = Done(ok=True, detail="HOMING")

    obeying: Any = SimpleNamespace(commands=Loop())
    desk._control = obeying
    assert desk.handle(Start()) == Done(ok=True, detail="HOMING")
