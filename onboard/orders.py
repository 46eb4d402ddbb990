"""What operators want of the loop: start, stop, emergency stop, clear."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from onboard.command import Command, OperatorRequest
from onboard.control_api import Clear, Done, Estop, Start
from onboard.hotswap import HotSwap
from onboard.lifecycle import LATCHED, Lifecycle
from onboard.modes import Event
from onboard.safety import Safety
from protocol.modes import MOVING, Mode


class Orders:
    """Obeyed between two ticks.

    Attributes:
        queue: commands for the next tick; any thread may append.
    """

    def __init__(
        self, life: Lifecycle, safety: Safety, swap: HotSwap, clock_ns: Callable[[], int]
    ) -> None:
        self._life, self._safety, self._swap, self._clock_ns = life, safety, swap, clock_ns
        self.queue: deque[Command] = deque()

    def obey(self) -> None:
        """Everything that is waiting, in order."""
        while self.queue:
            command = self.queue.popleft()
            if command.take():
                command.reply = self._answer(command)

    def _answer(self, command: Command) -> Done:
        if command.late(self._clock_ns()):
            return Done(ok=False, detail="refused: it reached the control loop too late")
        return self._obey(command.request)

    def _obey(self, request: OperatorRequest) -> Done:
        life = self._life
        if isinstance(request, Start):
            return self._start()
        if isinstance(request, Clear):
            return self._clear()
        if isinstance(request, Estop):
            self._safety.cut()  # again: a CLEAR may have come between the cut and this
            life.post(Event.ESTOP, f"ESTOP by {request.source}")
        else:
            life.post(Event.STOP, "STOP by the operator")
        return Done(ok=True, detail=life.mode.name)

    def _clear(self) -> Done:
        if self._life.mode not in LATCHED:
            return Done(ok=False, detail=f"nothing to clear in {self._life.mode.name}")
        self._safety.release()
        self._life.post(Event.CLEAR, "cleared by the operator")
        return Done(ok=True, detail="a self-test follows")

    def _start(self) -> Done:
        life = self._life
        if life.mode is not Mode.IDLE:
            return Done(ok=False, detail=f"cannot start in {life.mode.name}: {life.reason}")
        if self._swap.active is None:
            return Done(ok=False, detail="cannot start: no policy is active yet")
        life.start()
        moving = life.mode in MOVING
        return Done(ok=moving, detail=life.mode.name if moving else life.reason)
