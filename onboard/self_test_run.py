"""Composition of ``wombet-onboard selftest``: the checks on a real line, in real time.

While motors move, a signal is noted instead of obeyed at once, and a thread watches the emergency
stops: whatever ends the test, every motor is asked to confirm that its torque is off.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

from onboard.armed_test import TORQUE_OFF, ArmedTest
from onboard.bus import Bus
from onboard.bus_choice import bus_for
from onboard.control_api import LATCH_FILE
from onboard.estop import EmergencyStop
from onboard.estop_latch import EstopLatch, map_latch
from onboard.estop_source import EstopSource
from onboard.finding import Finding, Verdict
from onboard.guard import Guard
from onboard.safety import Safety
from onboard.schedule import Schedule
from onboard.self_test import self_test
from onboard.serial_port import SerialPort, latency_warning
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SIGNAL_STATUS = 128
"""A signal ends a command with this and its number, as shells report it."""
STAND_CLEAR = "every motor moves now; Ctrl-C or `wombet-onboard estop` ends it"


def run_self_test(
    spec: RobotSpec, port: Path, runtime: Path, arm: bool, estops: Sequence[EstopSource] = ()
) -> int:
    """Print every finding.

    Args:
        spec: the robot.
        port: serial device of the motor bus; control must not be running.
        runtime: directory on tmpfs in which a latched emergency stop is remembered.
        arm: move every motor a little, if all else is well.
        estops: what a person may hit while motors move, besides `wombet-onboard estop`.

    Returns:
        Exit status 0, or that of a signal which ended the motion: torque off is confirmed then.

    Raises:
        BusError: the robot must not run.
        ConfigError: an emergency stop cannot be had; nothing has moved.
    """
    signals = Signals()
    bus = bus_for(spec, lambda: SerialPort(port, spec.bus.baud).open(), time.monotonic)
    with closing(bus), closing(map_latch(runtime / LATCH_FILE)) as memory:
        findings = self_test(spec, bus, time.monotonic_ns, latency_warning(port))
        _print(findings)
        if arm and not _failed(findings):
            moved = _move(spec, bus, EstopLatch(memory), estops, signals)
            _print(moved)
            findings += moved
    failed = [finding.what for finding in _failed(findings)]
    if signals.number and TORQUE_OFF not in failed:
        return SIGNAL_STATUS + signals.number
    if failed:
        raise BusError(f"the self-test failed: {', '.join(failed)}")
    return 0


class Signals:
    """Notes what would end the process, while it is entered; what was ignored stays ignored.

    An exception out of a handler might come in the midst of taking the torque.

    Attributes:
        number: of the first signal noted, or 0.
    """

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> Signals:
        heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self.number = self.number or number


def _move(
    spec: RobotSpec, bus: Bus, latch: EstopLatch, estops: Sequence[EstopSource], signals: Signals
) -> list[Finding]:
    """The armed part, until it is done or something ends it."""
    safety = Safety(spec, bus, latch)
    schedule = Schedule(round(1e9 * spec.tick_s), time.monotonic_ns, time.sleep)
    with signals, _guarded(estops, safety) as watched:

        def ended() -> str | None:
            if signals.number:
                return f"ended by {signal.Signals(signals.number).name}"
            if not watched():
                return "nobody watches the emergency stops any more"
            return "an emergency stop is latched" if latch.is_set else None

        with suppress(OSError):
            print(STAND_CLEAR, file=sys.stderr, flush=True)
        return ArmedTest(spec, bus, safety, schedule, time.sleep, ended).run()


@contextmanager
def _guarded(estops: Sequence[EstopSource], safety: Safety) -> Iterator[Callable[[], bool]]:
    """A thread that cuts the torque when a source is hit; yields whether it is still there.

    It does not watch the loop: ticks that stay 0 never count as a loop that has hung.
    """
    stop = EmergencyStop(safety.cut, deque())
    with Guard(estops, stop, ticks=lambda: 0, give_up=lambda _: None) as guard:
        thread = Thread(target=guard.run, name="guard")
        thread.start()
        try:
            yield thread.is_alive
        finally:
            guard.close()
            thread.join()


def _print(findings: list[Finding]) -> None:
    """Also for a terminal that has hung up: the exit status tells, too."""
    with suppress(OSError):
        for finding in findings:
            print(finding, flush=True)


def _failed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.FAILED]
