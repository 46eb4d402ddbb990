"""What the runtime tells about itself in the course of a run, put together from many looks."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from sim_harness.hil.console import Change, Console, Status
from sim_harness.hil.runtime import Spooled
from sim_harness.hil.verdict import Entry, Story


class Total:
    """A counter that starts again from 0 when its ring is replaced."""

    def __init__(self) -> None:
        self._before = self._last = 0

    @property
    def value(self) -> int:
        """All it has counted."""
        return self._before + self._last

    def see(self, count: int) -> None:
        """What it shows now."""
        self._before += self._last if count < self._last else 0
        self._last = count


class Watch:
    """Looks at one runtime; it may be restarted meanwhile.

    Args:
        console: how to ask it.
        clock_s: monotonic time of this machine.
        same_clock: it is the runtime's, too.

    Attributes:
        look_s: how long the last look took.
        control_pid: of the process that answered last.
    """

    def __init__(self, console: Console, clock_s: Callable[[], float], same_clock: bool) -> None:
        self._console, self._clock_s, self._same_clock = console, clock_s, same_clock
        self._changes: dict[tuple[int, int], Change] = {}
        self._produced, self._dropped = Total(), Total()
        self.look_s = 0.0
        self.control_pid = 0

    def look(self) -> Status | None:
        """A status, remembered; None if control does not answer."""
        began_s = self._clock_s()
        status = self._console.status()
        self.look_s = self._clock_s() - began_s
        if status is None:
            return None
        self.control_pid = status.pid
        self._produced.see(status.produced)
        self._dropped.see(status.dropped)
        offset_ns = 0 if self._same_clock else round(self._clock_s() * 1e9) - status.at_ns
        for change in status.changes:
            key = (status.pid, change.number)
            self._changes.setdefault(key, replace(change, at_ns=change.at_ns + offset_ns))
        return status

    def story(
        self, started_ns: int, final_mode: str, refused: bool | None, spooled: Spooled | None
    ) -> Story:
        """All of it, by the time of a rig that was ``started_ns`` after this clock's zero."""
        entries = sorted(
            Entry((change.at_ns - started_ns) * 1e-9, change.new, change.reason)
            for change in self._changes.values()
        )
        if spooled is None:
            return Story(entries, final_mode, refused, self._dropped.value)
        lost = max(0, self._produced.value - spooled.kept)
        unexplained = max(0, lost - spooled.declared)
        return Story(entries, final_mode, refused, lost, unexplained)
