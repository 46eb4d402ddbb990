"""The line to a motor bus: one question, its answers, and a packet that may overtake both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from onboard.serial_port import Port
from protocol.errors import BusError, LineLostError

REVIVE_S = 1.0
"""Between two attempts to open a device that is gone."""

FrameT = TypeVar("FrameT")
FrameT_co = TypeVar("FrameT_co", covariant=True)


class Parser(Protocol[FrameT_co]):
    """Makes frames of received bytes."""

    def reset(self) -> None:
        """Forget a partial packet."""

    def feed(self, data: bytes) -> Sequence[FrameT_co]:
        """The packets that ``data`` completes, in order."""
        ...


class Line(Generic[FrameT]):
    """A port that is opened again and again, and asked.

    Args:
        open_port: takes the line.
        clock_s: monotonic time.
        parser: of this bus's packets.
        is_answer: tells an answer from an adapter's echo of our own packet.
        padding: sent after a miss, before the next packet; it ends what a node may still be waiting
            for the rest of.
    """

    def __init__(
        self,
        open_port: Callable[[], Port],
        clock_s: Callable[[], float],
        parser: Parser[FrameT],
        is_answer: Callable[[FrameT], bool] = lambda frame: True,
        padding: bytes = b"",
    ) -> None:
        self._open_port, self._clock_s = open_port, clock_s
        self._parser, self._is_answer, self._padding = parser, is_answer, padding
        self._port: Port | None = None
        self._departure = threading.Lock()
        self._suspect = self._lost = False
        self._tried_s = 0.0

    def open(self) -> None:
        """Take the line anew. Raises BusError if it cannot be had."""
        self.close()
        self._port = self._open_port()
        self._lost = False

    def revive(self) -> None:
        """Take a line that was lost anew, if it is there again; now and then, and never raises.

        To open a device may take longer than a tick: not for a robot that moves.
        """
        now_s = self._clock_s()
        if self._lost and now_s - self._tried_s >= REVIVE_S:
            self._tried_s = now_s
            with suppress(BusError):
                self.open()

    def close(self) -> None:
        """Give the line back."""
        with self._departure:
            port, self._port = self._port, None
        if port is not None:
            port.close()

    def send(self, packet: bytes) -> None:
        """One packet that nobody answers. Raises BusError if the line does not take it."""
        port = self._taken()
        self._pad(port)
        port.write(packet)

    def overtake(self, packet: bytes) -> None:
        """One packet at once, whatever is going on; any thread may. Never raises, never waits.

        After a miss it goes twice, before the padding and behind it: at once for the nodes that
        listen, and again for one that took the first for the rest of something else.
        """
        with self._departure, suppress(BusError):  # the line must not be given back meanwhile
            port, again = self._taken(), self._suspect
            port.write(packet)
            if again:
                self._pad(port)
                port.write(packet)

    def ask(self, packet: bytes, count: int, timeout_s: float) -> list[FrameT]:
        """Send, then collect ``count`` answers. Raises BusError if they do not come in time."""
        frames = self.gather(packet, count, timeout_s)
        if len(frames) < count:
            raise BusError(f"{len(frames)} of {count} answers within {timeout_s * 1e3:.0f} ms")
        return frames

    def gather(self, packet: bytes, count: int, timeout_s: float) -> list[FrameT]:
        """Send, then collect what comes in time, at most ``count`` answers.

        Raises:
            BusError: the line does not take the packet, or hung up.
        """
        try:
            return self._gathered(packet, count, timeout_s)
        except LineLostError:
            self._lost = True
            raise

    def _gathered(self, packet: bytes, count: int, timeout_s: float) -> list[FrameT]:
        port = self._taken()
        port.discard_input()
        self._parser.reset()
        self._pad(port)
        port.write(packet)
        deadline_s = self._clock_s() + timeout_s
        frames: list[FrameT] = []
        remaining_s = timeout_s
        while len(frames) < count and remaining_s > 0.0:
            remaining_s = deadline_s - self._clock_s()
            data = port.read(max(remaining_s, 0.0))  # a last look, should we have been asleep
            for frame in self._parser.feed(data):
                if self._is_answer(frame):
                    frames.append(frame)
        self._suspect = len(frames) < count and bool(self._padding)
        return frames[:count]

    def _pad(self, port: Port) -> None:
        """Not right after the miss: an emergency stop must not have to wait behind it."""
        if self._suspect:
            self._suspect = False
            port.write(self._padding)

    def _taken(self) -> Port:
        if self._port is None:
            raise BusError(
                "the motor bus is gone; is the cable in?"
                if self._lost
                else "the motor bus is not connected"
            )
        return self._port
