"""Answers requests to the control process, outside the loop: the socket thread's side of things."""

from __future__ import annotations

import time

from onboard.command import Command
from onboard.control import Control
from onboard.control_api import Done, Estop, GetStatus, Offer, Reply, Request, Stop
from onboard.ring import RingWriter
from onboard.status import snapshot

OBEY_S = 1.5
"""How long the loop may take to obey: a self-test of a dead bus is the longest it is ever away."""
_POLL_S = 0.002


class Desk:
    """Turns requests into replies.

    Attributes:
        scheduling: "fifo" or "soft", once known.
    """

    def __init__(self, control: Control, ring: RingWriter, robot: str) -> None:
        self._control, self._ring, self._robot = control, ring, robot
        self.scheduling = "soft"

    def handle(self, request: Request) -> Reply:
        """Answer one request; commands wait for the tick that obeys them."""
        if isinstance(request, GetStatus):
            return snapshot(self._control, self._ring, self._robot, self.scheduling)
        if isinstance(request, Offer):
            return self._control.swap.offer(request)
        command = Command(request)
        self._control.commands.append(command)
        return _obeyed(command)


def _obeyed(command: Command) -> Done:
    """The loop's reply. A start or clear nobody obeyed in time is withdrawn; a stop stays valid."""
    reply = _reply_to(command)
    if reply is None and not isinstance(command.request, (Stop, Estop)) and not command.take():
        reply = _reply_to(command)  # the loop has taken it just now
    return reply or Done(ok=False, detail=f"the control loop did not obey within {OBEY_S} s")


def _reply_to(command: Command) -> Done | None:
    """Polls, because a tick must not take a lock to wake anybody."""
    end_s = time.monotonic() + OBEY_S
    while command.reply is None and time.monotonic() < end_s:
        time.sleep(_POLL_S)
    return command.reply
