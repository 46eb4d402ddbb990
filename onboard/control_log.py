"""Control's changes of state as events of the agent's log: control itself writes to no disk."""

from __future__ import annotations

from onboard.control_api import Status
from onboard.event_log import EventLog


class ControlLog:
    """Notes every change of mode and every outcome of a policy once, in order.

    Status carries the last few of each, numbered, so one that was missed shows as a gap.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._pid = self._change = self._event = 0

    def heard(self, status: Status) -> None:
        """Note what is new in ``status``."""
        if status.pid != self._pid:  # another life of control: it counts from 1 again
            self._pid, self._change, self._event = status.pid, 0, 0
            self._log.note("control_started", pid=status.pid, scheduling=status.scheduling)
        for change in status.changes:
            if change.number > self._change:
                self._change = change.number
                self._log.note(
                    "mode",
                    number=change.number,
                    monotonic_s=change.at_ns * 1e-9,
                    old=change.old,
                    new=change.new,
                    reason=change.reason,
                )
        for event in status.events:
            if event.number > self._event:
                self._event = event.number
                self._log.note(
                    "policy",
                    number=event.number,
                    version=event.version,
                    outcome=event.outcome,
                    reason=event.reason,
                )
