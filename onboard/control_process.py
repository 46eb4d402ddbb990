"""Composition of the control process: one loop, one socket thread, one stager thread."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from onboard.bus import Bus
from onboard.control import Control
from onboard.control_api import RING_FILE, SOCKET_FILE
from onboard.control_socket import ControlServer
from onboard.desk import Desk
from onboard.durable import advance
from onboard.episode import Episode
from onboard.hotswap import HotSwap
from onboard.pilot import Pilot
from onboard.realtime import assist, place
from onboard.recorder import Recorder
from onboard.ring import RingWriter
from onboard.schedule import Schedule
from onboard.serial_port import SerialPort, latency_warning
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

RING_ROWS = 1 << 15
"""Eleven minutes at 50 Hz without an agent."""
EPISODES_PER_START = 100_000
"""Episode numbers set aside for one life of the process, so that none is used twice."""


def run_control(spec: RobotSpec, task: str, port: Path, state: Path, runtime: Path) -> int:
    """Run until SIGTERM or SIGINT; the robot stays in IDLE until told to start.

    Args:
        spec: the robot.
        task: name of the task to run.
        port: serial device of the motor bus.
        state: durable directory.
        runtime: directory on tmpfs for ring and socket.

    Returns:
        Exit status 0.

    Raises:
        ConfigError: the socket cannot be served.
        StoreError: ring or counters cannot be written.
    """
    start = advance(state / "control_starts")
    bus = Bus(spec, lambda: SerialPort(port, spec.bus.baud).open(), time.monotonic)
    swap = HotSwap(spec, task)
    ring = RingWriter(
        runtime / RING_FILE, dtype_of(spec), RING_ROWS, lambda: advance(state / "ring_generation")
    )
    with ring:
        control = Control(
            spec=spec,
            bus=bus,
            swap=swap,
            pilot=Pilot(spec, swap, np.random.default_rng(start)),
            episode=Episode(spec, task, first_number=(start - 1) * EPISODES_PER_START + 1),
            recorder=Recorder(ring),
            schedule=Schedule(round(1e9 * spec.tick_s), time.monotonic_ns, time.sleep),
            clock_ns=time.monotonic_ns,
        )
        desk = Desk(control, ring, spec.name, _log)
        server = ControlServer(runtime / SOCKET_FILE, desk.handle, desk.write_journal).open()
        threads = [
            _assistant("socket", server.serve, spec),
            _assistant("stager", swap.stage_forever, spec),
        ]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: control.end())
        try:
            _report(desk, spec, port)
            control.run()
        finally:
            server.close()
            swap.close()
            for thread in threads:
                thread.join()
            desk.write_journal()
    return 0


def _assistant(name: str, work: Callable[[], None], spec: RobotSpec) -> threading.Thread:
    """A started thread that cannot make the loop wait for ordinary processes."""

    def run() -> None:
        assist(spec.timing)
        work()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread


def _report(desk: Desk, spec: RobotSpec, port: Path) -> None:
    """Become as real-time as allowed, and say how much that is."""
    placement = place(spec.timing)
    desk.scheduling = placement.scheduling
    real_time = {"fifo": "real time (SCHED_FIFO)", "soft": "SOFT REAL TIME"}
    _log(f"{spec.name}: {real_time[placement.scheduling]}, {spec.control_hz} Hz")
    warning = latency_warning(port)
    for note in (*placement.notes, *([warning] if warning else [])):
        _log(f"warning: {note}")


def _log(line: str) -> None:
    print(f"control: {line}", file=sys.stderr, flush=True)
