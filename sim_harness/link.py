"""The serial line, behind which a rig lives in real time.

The host opens its end as it would open ``/dev/ttyUSB0``. Answers leave after the time that the
bytes of both directions spend on the wire plus the node's return delay.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from protocol.errors import ConfigError
from sim_harness.terminal import Terminal
from sim_harness.wire_end import Reply

IDLE_NS = 5_000_000
CATCH_UP_NS = 50_000_000
BITS_PER_BYTE = 10
READ_BYTES = 4096


class Machine(Protocol):
    """What lives behind the line, in a time of its own that starts at zero."""

    @property
    def time_ns(self) -> int:
        """Now."""
        ...

    def advance(self, until_ns: int) -> None:
        """Let time pass."""

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Bytes from the host; answers in the order they go on the wire."""
        ...


class Statistics(NamedTuple):
    """How well the simulated time kept up with the real one."""

    elapsed_s: float
    simulated_s: float
    lost_ms: float
    worst_lag_ms: float

    @property
    def realtime_factor(self) -> float:
        """Simulated over elapsed time; below 0.98 a run proves nothing."""
        return self.simulated_s / self.elapsed_s if self.elapsed_s > 0.0 else 1.0


class Link:
    """Serves one rig on one line until :meth:`stop`.

    Args:
        rig: what lives behind the line.
        baud: speed of the simulated wire.
        terminal: this end of it.
        clock_ns: monotonic time.
        orders: called at the end of every turn; may :meth:`close` and :meth:`open`.

    Attributes:
        started_ns: when :meth:`serve` began, by ``clock_ns``.
    """

    def __init__(
        self,
        rig: Machine,
        baud: int,
        terminal: Terminal,
        clock_ns: Callable[[], int],
        orders: Callable[[], None] = lambda: None,
    ) -> None:
        self._rig, self._orders = rig, orders
        self._byte_ns = BITS_PER_BYTE * 1_000_000_000 / baud
        self._terminal = terminal
        self._clock_ns = clock_ns
        self._line = -1
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._bus_free_ns = 0
        self._lost_ns = 0
        self._worst_lag_ns = 0
        self.started_ns = 0
        self._running = True

    def open(self) -> str:
        """Take the line, as when the adapter is plugged in; what the host calls it.

        Raises:
            ConfigError: the line cannot be had.
        """
        self._line, name = self._terminal.open()
        return name

    def serve(self) -> None:
        """Run the rig in real time until :meth:`stop` is called.

        Raises:
            ConfigError: the line has gone, as a real adapter that somebody pulls.
        """
        self.started_ns = self._clock_ns()
        while self._running:
            deadline = self._rig_now_ns() + IDLE_NS
            if self._outbox:
                deadline = min(deadline, self._outbox[0][0])
            self._wait(deadline)
            self._turn(deadline)

    def stop(self) -> None:
        """Make :meth:`serve` return soon; may be called from a signal handler."""
        self._running = False

    def close(self) -> None:
        """Give the line back, as when the adapter is unplugged; the machine's time goes on."""
        self._outbox.clear()
        self._terminal.close()
        self._line = -1

    def statistics(self) -> Statistics:
        """Numbers since :meth:`serve` began."""
        return Statistics(
            elapsed_s=(self._clock_ns() - self.started_ns) * 1e-9,
            simulated_s=self._rig.time_ns * 1e-9,
            lost_ms=self._lost_ns * 1e-6,
            worst_lag_ms=self._worst_lag_ns * 1e-6,
        )

    def _rig_now_ns(self) -> int:
        """The rig's time that corresponds to now; real time that was given up is left out."""
        return self._clock_ns() - self.started_ns - self._lost_ns

    def _wait(self, deadline_ns: int) -> None:
        timeout_ns = max(0, deadline_ns - self._rig_now_ns())
        plugged = [self._line] if self._line >= 0 else []
        select.select(plugged, [], [], timeout_ns * 1e-9)

    def _turn(self, deadline_ns: int) -> None:
        """Catch up with the clock, hear the host, answer.

        Bytes found after an overslept deadline are taken to have come at the deadline: this process
        would have been awake by then.
        """
        now = self._rig_now_ns()
        self._worst_lag_ns = max(self._worst_lag_ns, now - deadline_ns)
        if now - self._rig.time_ns > CATCH_UP_NS:
            lost = now - self._rig.time_ns - CATCH_UP_NS
            self._lost_ns += lost
            now -= lost
        arrival = max(self._rig.time_ns, min(now, deadline_ns))
        data = self._read()
        self._rig.advance(arrival)
        if data:
            self._answer(data, arrival)
        self._rig.advance(now)
        self._send(now)
        self._orders()

    def _answer(self, data: bytes, arrival_ns: int) -> None:
        """Queue the answers for the time their last byte has crossed the wire."""
        at = max(arrival_ns + self._wire_ns(data), self._bus_free_ns)
        for reply in self._rig.receive(data, arrival_ns):
            at += reply.delay_ns + self._wire_ns(reply.data)
            self._outbox.append((at, reply.data))
        self._bus_free_ns = at

    def _wire_ns(self, data: bytes) -> int:
        return round(len(data) * self._byte_ns)

    def _read(self) -> bytes:
        if self._line < 0:
            return b""
        try:
            data = os.read(self._line, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _gone(str(error)) from error
        if not data:
            raise _gone("it hung up")
        return data

    def _send(self, now_ns: int) -> None:
        while self._outbox and self._outbox[0][0] <= now_ns:
            _, data = self._outbox.popleft()
            try:
                os.write(self._line, data)
            except BlockingIOError:
                self._outbox.clear()  # nobody reads: as on a wire, bytes are gone
            except OSError as error:
                raise _gone(str(error)) from error


def _gone(why: str) -> ConfigError:
    return ConfigError(f"the serial line has gone ({why}); plug the adapter in and start again")
