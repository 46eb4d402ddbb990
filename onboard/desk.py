"""Answers requests to the control process, outside the loop: the socket thread's side of things."""

from __future__ import annotations

import time
from collections.abc import Callable

from onboard.choice import Choice, choose
from onboard.command import Command
from onboard.control import Control
from onboard.control_api import Clear, Done, Estop, GetStatus, Offer, Reply, Request, Stop
from onboard.control_socket import Waiting
from onboard.estop import EmergencyStop
from onboard.ring import RingWriter
from onboard.status import Place, snapshot

OBEY_S = 1.5
"""How long the loop may take to obey: a self-test of a dead bus is the longest it is ever away."""


class Desk:
    """Turns requests into replies, or into something that will be one.

    Attributes:
        place: what status says of robot and machine, once known.
    """

    def __init__(
        self,
        control: Control,
        ring: RingWriter,
        robot: str,
        estop: EmergencyStop,
        pressed: Callable[[], list[str]] = list,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``pressed`` names the emergency stops that are still held down."""
        self._control, self._ring = control, ring
        self._estop, self._pressed, self._clock_s = estop, pressed, clock_s
        self.place = Place(robot)

    def handle(self, request: Request) -> Reply | Waiting:
        """Answer one request; a command is answered when a tick has obeyed it."""
        if isinstance(request, GetStatus):
            return snapshot(self._control, self._ring, self.place, time.monotonic_ns())
        if isinstance(request, Offer):
            return self._control.swap.offer(request)
        if isinstance(request, Choice):
            return choose(self._control.swap, request, self._clock_s)
        if isinstance(request, Estop):
            return Order(self._estop.trigger(request.source), self._clock_s)
        if isinstance(request, Clear) and (held := self._pressed()):
            return Done(ok=False, detail=f"refused: {', '.join(held)} is still pressed, or gone")
        command = Command(request)
        self._control.orders.queue.append(command)
        return Order(command, self._clock_s)


class Order:
    """A command on its way to the loop: obeyed, or reported as failed, but never both."""

    def __init__(self, command: Command, clock_s: Callable[[], float]) -> None:
        self._command, self._clock_s = command, clock_s
        self._due_s = clock_s() + OBEY_S

    def reply(self) -> Done | None:
        """The loop's reply, if there is one yet.

        A start or clear that nobody has obeyed in time is withdrawn; a stop stays valid.
        """
        if self._command.reply is not None:
            return self._command.reply
        late_s = self._clock_s() - self._due_s
        if late_s < 0.0 or (late_s < OBEY_S and self._begun()):
            return None
        detail = f"the control loop did not obey within {OBEY_S} s"
        if isinstance(self._command.request, Estop):
            detail += "; torque-off was sent to every motor, but none has confirmed it"
        return Done(ok=False, detail=detail)

    def _begun(self) -> bool:
        """Whether the loop has taken a command that can be withdrawn, so that its reply is due."""
        return not isinstance(self._command.request, (Stop, Estop)) and not self._command.take()
