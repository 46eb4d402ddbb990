"""The emergency stop: the way past the control loop.

A policy that hangs keeps the loop from obeying anybody. So whoever hears the stop, the thread of
the socket or the one that watches buttons, cuts the torque itself and leaves to the loop only what
needs answers from the motors: confirming it. ADR 6.

::

    cut ─▶ latch ─▶ queue the command ─▶ cut again, until the loop has taken it
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from onboard.command import Command
from onboard.control_api import Estop

CUT_AGAIN_S = 0.002
"""A cut may collide with a motor's answer and be lost; no transaction of a tick takes longer."""
CUTS = 25
"""50 ms of them: more than the tick of any loop that still runs, and than the motors' watchdogs."""


class EmergencyStop:
    """Stops the robot from any thread.

    Args:
        cut: sends torque-off to every motor and latches; at once, unconfirmed, never raises.
        commands: what the loop takes its requests from.
        sleep: between two cuts; takes seconds.
    """

    def __init__(
        self,
        cut: Callable[[], None],
        commands: deque[Command],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cut, self._commands, self._sleep = cut, commands, sleep

    def trigger(self, source: str) -> Command:
        """Cut the torque now; the command returned tells when the loop has confirmed it.

        Blocks the calling thread until the loop has taken the command, for at most
        ``CUTS`` × ``CUT_AGAIN_S``.
        """
        self._cut()
        command = Command(Estop(source=source))
        self._commands.append(command)
        for _ in range(CUTS - 1):
            self._sleep(CUT_AGAIN_S)
            if command.taken:
                break
            self._cut()
        return command
