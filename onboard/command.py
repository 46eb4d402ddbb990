"""An operator's request on its way from the socket thread to the loop, without a lock."""

from __future__ import annotations

from onboard.control_api import Clear, Done, Estop, Start, Stop

OperatorRequest = Start | Stop | Estop | Clear


class Command:
    """Either the loop obeys it or the operator is told that it failed: never both.

    Attributes:
        request: what is asked for.
        reply: set by the tick that has obeyed.
    """

    def __init__(self, request: OperatorRequest) -> None:
        self.request = request
        self.reply: Done | None = None
        self._turn = [self]

    def take(self) -> bool:
        """Decide over this command; True for the first caller only, whichever thread it is in."""
        try:
            self._turn.pop()  # atomic
        except IndexError:
            return False
        return True

    @property
    def taken(self) -> bool:
        """Whether somebody has decided over it."""
        return not self._turn

    def late(self, now_ns: int) -> bool:
        """Whether it must not set anything in motion any more. Stopping is never too late."""
        if isinstance(self.request, (Stop, Estop)) or self.request.deadline_ns is None:
            return False
        return now_ns > self.request.deadline_ns
