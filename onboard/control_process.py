"""Composition of the control process: the loop, and threads for socket, stager and journal."""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
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
from onboard.journal import Journal
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

    If the thread of the socket fails, this ends too, with its error: a robot that cannot be
    stopped must not drive.

    Args:
        spec: the robot.
        task: name of the task to run.
        port: serial device of the motor bus.
        state: durable directory.
        runtime: directory on tmpfs for ring and socket.

    Returns:
        Exit status 0.

    Raises:
        BusError: at the end, a motor did not confirm that its torque is off.
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
        _run(control, ring, spec, port, runtime / SOCKET_FILE)
    return 0


def _run(control: Control, ring: RingWriter, spec: RobotSpec, port: Path, path: Path) -> None:
    """The loop in this thread, what must not disturb it in others, until the loop ends."""
    desk = Desk(control, ring, spec.name)
    server = ControlServer(path, desk.handle).open()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: control.end())
    prepare = partial(assist, spec.timing)
    # Without a standard error its number may belong to another file by now, even the motor bus.
    stderr = -1 if sys.stderr is None else sys.stderr.fileno()
    journal = Journal(control.journal, stderr, "control")
    with (
        closing(journal.open(prepare)),
        ThreadPoolExecutor(2, "control", prepare) as assistants,
    ):
        serving = assistants.submit(server.serve)
        serving.add_done_callback(lambda _: control.end())
        staging = assistants.submit(control.swap.stage_forever)
        staging.add_done_callback(partial(_obituary, control))
        try:
            _place(control, desk, spec, port)
            control.run()
        finally:
            server.close()
            control.swap.close()
    serving.result()


def _obituary(control: Control, staging: Future[None]) -> None:
    """Without a stager the robot goes on with the policy it has."""
    if (error := staging.exception()) is not None:
        control.journal.append(f"no policy can be staged any more: {error!r}")


def _place(control: Control, desk: Desk, spec: RobotSpec, port: Path) -> None:
    """Become as real-time as allowed, and say how much that is."""
    placement = place(spec.timing)
    desk.scheduling = placement.scheduling
    real_time = {"fifo": "real time (SCHED_FIFO)", "soft": "SOFT REAL TIME"}
    control.journal.append(f"{spec.name}: {real_time[placement.scheduling]}, {spec.control_hz} Hz")
    warning = latency_warning(port)
    for note in (*placement.notes, *([warning] if warning else [])):
        control.journal.append(f"warning: {note}")
