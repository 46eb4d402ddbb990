"""The thread that can stop the robot without the loop: buttons, and a loop that has hung.

A button that cannot be read any more stops the robot as a press does, and is looked for again until
it is back. A loop that does not tick is stopped and given up: its process has to end.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence

from onboard.estop import EmergencyStop
from onboard.estop_source import EstopSource, Signal
from onboard.heartbeat import Heartbeat
from protocol.errors import ConfigError

POLL_S = 0.25
"""Between two looks at the loop; a button wakes the thread at once."""
HUNG_S = 5.0
"""Longer than the self-test of a dead bus of many motors. The motors' own watchdogs have stopped
them long ago: this is about whether anybody can ever use the robot again."""


class Guard:
    """Watches ``sources``, and the loop by its tick count.

    Args:
        sources: what a person may hit.
        estop: what to do then.
        ticks: of the loop, since the process started.
        give_up: ends the process; gets the reason.
        clock_s: monotonic time.
    """

    def __init__(
        self,
        sources: Sequence[EstopSource],
        estop: EmergencyStop,
        ticks: Callable[[], int],
        give_up: Callable[[str], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources, self._estop = sources, estop
        self._ticks, self._give_up, self._clock_s = ticks, give_up, clock_s
        self._heartbeat = Heartbeat(HUNG_S, 2.0 * POLL_S)
        self._lost: list[EstopSource] = []
        self._selector = selectors.PollSelector()  # any descriptor will do, /dev/null too
        self._closing = False

    @property
    def pressed(self) -> list[str]:
        """Names of the sources that forbid a CLEAR: held down, or gone."""
        return [source.name for source in self._sources if source.held or source in self._lost]

    def open(self) -> Guard:
        """Take every source. Raises ConfigError if one cannot be had."""
        try:
            for source in self._sources:
                self._take(source)
        except ConfigError:
            self.release()
            raise
        return self

    def run(self) -> None:
        """Watch until :meth:`close`."""
        for name in self.pressed:
            self._estop.trigger(f"{name}, held down at the start")
        while not self._closing:
            self.turn(POLL_S)

    def turn(self, timeout_s: float) -> None:
        """Wait for a source at most ``timeout_s``, then look at the loop."""
        for key, _ in self._selector.select(timeout_s):
            self._hear(key.data)
        for source in [*self._lost]:
            self._look_for(source)
        if self._heartbeat.stopped(self._clock_s(), self._ticks()):
            reason = f"the control loop has not ticked for {HUNG_S:.0f} s"
            self._estop.trigger(reason)
            self.release()
            self._give_up(reason)

    def close(self) -> None:
        """Let :meth:`run` return."""
        self._closing = True

    def release(self) -> None:
        """Give every source back; nobody may be in :meth:`run` any more."""
        for key in [*(self._selector.get_map() or {}).values()]:
            key.data.close()
        self._selector.close()

    def __enter__(self) -> Guard:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self, source: EstopSource) -> None:
        source.open()
        self._selector.register(source.fileno(), selectors.EVENT_READ, source)

    def _hear(self, source: EstopSource) -> None:
        signal = source.take()
        if signal is Signal.LOST:
            self._lose(source)
            self._estop.trigger(f"{source.name}, which is gone")
        elif signal is Signal.PRESSED:
            self._estop.trigger(source.name)

    def _lose(self, source: EstopSource) -> None:
        self._lost.append(source)
        self._selector.unregister(source.fileno())
        source.close()

    def _look_for(self, source: EstopSource) -> None:
        try:
            self._take(source)
        except ConfigError:
            return
        self._lost.remove(source)
