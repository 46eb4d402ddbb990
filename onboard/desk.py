"""Answers requests to the control process, outside the loop: the socket thread's side of things."""

from __future__ import annotations

import time
from collections.abc import Callable

from onboard.control import Command, Control
from onboard.control_api import Done, GetStatus, Offer, Reply, Request
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

    def __init__(
        self, control: Control, ring: RingWriter, robot: str, log: Callable[[str], None]
    ) -> None:
        self._control, self._ring, self._robot, self._log = control, ring, robot, log
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

    def write_journal(self) -> None:
        """Log what the loop noted since last time."""
        journal = self._control.journal
        while journal:
            self._log(journal.popleft())


def _obeyed(command: Command) -> Done:
    """Polls, because a tick must not take a lock to wake anybody."""
    end_s = time.monotonic() + OBEY_S
    while command.reply is None:
        if time.monotonic() > end_s:
            return Done(ok=False, detail=f"the control loop did not obey within {OBEY_S} s")
        time.sleep(_POLL_S)
    return command.reply
