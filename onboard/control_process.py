"""Composition of the control process: the loop, and threads for socket, stager and journal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from onboard.backends.probe import Choice
from onboard.bus_choice import bus_for
from onboard.command import Command
from onboard.control import Control
from onboard.control_api import (
    FLIGHT_FILE,
    FLIGHTS,
    LATCH_FILE,
    RING_FILE,
    SOCKET_FILE,
    Estop,
)
from onboard.control_socket import ControlServer
from onboard.desk import Desk
from onboard.durable import advance, taken, write_number
from onboard.episode import Episode
from onboard.estop import EmergencyStop
from onboard.estop_latch import EstopLatch, map_latch
from onboard.estop_source import EstopSource
from onboard.exit_status import Exit
from onboard.flight_recorder import (
    Cause,
    Dumper,
    FlightRecorder,
    Shelf,
    flight_capacity,
)
from onboard.flight_ring import FlightRing
from onboard.guard import Guard
from onboard.hotswap import HotSwap
from onboard.journal import LAST_WORDS_S, Journal
from onboard.ledger import ledger_path, open_ledger
from onboard.noise import Noise
from onboard.notify import notifier_for
from onboard.pilot import Pilot
from onboard.realtime import EARLY_NS, assist, outrank, place
from onboard.recorder import Recorder, flight_dtype
from onboard.ring import RingWriter
from onboard.schedule import Schedule
from onboard.serial_port import SerialPort, latency_warning
from onboard.status import Place
from protocol.errors import StoreError, WombetError
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

RING_ROWS = 1 << 15
"""Eleven minutes at 50 Hz without an agent."""
RING_END_FILE = "ring_end"
"""Where the ring of a control that ended in good order would have gone on; gone while one runs."""
EPISODES_PER_START = 100_000
"""Episode numbers set aside for one life of the process, so that none is used twice."""


def run_control(
    spec: RobotSpec,
    task: str,
    port: Path,
    state: Path,
    runtime: Path,
    inference: Choice,
    estops: Sequence[EstopSource] = (),
) -> int:
    """Run until SIGTERM or SIGINT; the robot stays in IDLE until told to start.

    If the thread of the socket or of the emergency stops fails, this ends too, with its error: a
    robot that cannot be stopped must not drive.

    Args:
        spec: the robot.
        task: name of the task to run.
        port: serial device of the motor bus.
        state: durable directory.
        runtime: directory on tmpfs for ring, socket and the emergency stop's latch.
        inference: what runs the policies.
        estops: what a person may hit, besides the socket.

    Returns:
        Exit status 0.

    Raises:
        BusError: at the end, a motor did not confirm that its torque is off.
        ConfigError: the socket cannot be served, or an emergency stop cannot be had.
        StoreError: ring or counters cannot be written, or the ledger of policies is damaged.
    """
    start = advance(state / "control_starts")
    bus = bus_for(spec, lambda: SerialPort(port, spec.bus.baud).open(), time.monotonic)
    ledger = open_ledger(ledger_path(state, task))
    swap = HotSwap(spec, task, build=inference.build, ledger=ledger)
    swap.restore()
    ring = RingWriter(
        runtime / RING_FILE,
        dtype_of(spec),
        RING_ROWS,
        lambda: advance(state / "ring_generation"),
        ended=taken(state / RING_END_FILE),
    )
    flight = FlightRing(runtime / FLIGHT_FILE, flight_dtype(spec), flight_capacity(spec), start)
    with (
        closing(ring.open()),
        closing(map_latch(runtime / LATCH_FILE)) as memory,
        closing(notifier_for(os.environ, os.getpid()).open()) as notifier,
    ):
        latch = EstopLatch(memory)
        control = Control(
            spec=spec,
            bus=bus,
            swap=swap,
            pilot=Pilot(spec, swap, Noise(start)),
            episode=Episode(spec, task, first_number=(start - 1) * EPISODES_PER_START + 1),
            recorder=Recorder(spec, ring, flight),
            schedule=Schedule(round(1e9 * spec.tick_s), time.monotonic_ns, time.sleep, EARLY_NS),
            clock_ns=time.monotonic_ns,
            latch=latch,
            kick=notifier.kick,
        )
        control.life.journal.append(inference.remark)
        if latch.is_set:
            control.orders.queue.append(
                Command(Estop(source="an emergency stop before the restart"))
            )
        dumper = Dumper(spec, task, runtime / FLIGHT_FILE, Shelf(state / FLIGHTS))
        flights = FlightRecorder(dumper, control.life.changes, control.life.journal.append)
        flights.salvage()
        with closing(flight.open()):
            _run(control, ring, flights, spec, task, port, runtime / SOCKET_FILE, estops)
            with suppress(StoreError):  # nobody knows then, and says so
                write_number(state / RING_END_FILE, ring.end)
    return 0


def _run(
    control: Control,
    ring: RingWriter,
    flights: FlightRecorder,
    spec: RobotSpec,
    task: str,
    port: Path,
    path: Path,
    estops: Sequence[EstopSource],
) -> None:
    """The loop in this thread, what must not disturb it in others, until the loop ends."""
    estop = EmergencyStop(control.cut, control.orders.queue)
    guard = Guard(estops, estop, lambda: control.counters.ticks, partial(_give_up, control))
    desk = Desk(control, ring, spec.name, estop, lambda: guard.pressed)
    server = ControlServer(path, desk.handle).open()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: control.end())
    prepare = partial(assist, spec.timing)
    # Without a standard error its number may belong to another file by now, even the motor bus.
    stderr = -1 if sys.stderr is None else sys.stderr.fileno()
    journal = Journal(control.life.journal, stderr, "control")
    with (
        guard,
        closing(journal.open(prepare)),
        closing(flights.open(prepare)),
        ThreadPoolExecutor(4, "control", prepare) as assistants,
    ):
        serving = assistants.submit(server.serve)
        guarding = assistants.submit(_guard, guard, spec)
        for vital in (serving, guarding):
            vital.add_done_callback(lambda _: control.end())
        swap = control.swap
        for work, loss in ((swap.stage_forever, "staged"), (swap.ledger.keep_forever, "kept")):
            assistants.submit(work).add_done_callback(partial(_obituary, control, loss))
        try:
            _place(control, desk, spec, task, port)
            control.run()
        except WombetError:
            raise  # expected trouble: the mode table has had its say
        except Exception as error:
            flights.keep(Cause("defect", repr(error)))
            raise
        finally:
            server.close()
            guard.close()
            swap.close()
            swap.ledger.close()
    for vital in (serving, guarding):
        vital.result()


def _guard(guard: Guard, spec: RobotSpec) -> None:
    outrank(spec.timing)
    guard.run()


def _give_up(control: Control, reason: str) -> None:
    """End the process, because its main thread cannot be ended; the supervisor starts it again."""
    control.life.journal.append(f"given up: {reason}")
    time.sleep(LAST_WORDS_S)
    os._exit(Exit.HUNG)


def _obituary(control: Control, loss: str, work: Future[None]) -> None:
    """Without stager or ledger the robot goes on with the policy it has."""
    if (error := work.exception()) is not None:
        control.life.journal.append(f"no policy can be {loss} any more: {error!r}")


def _place(control: Control, desk: Desk, spec: RobotSpec, task: str, port: Path) -> None:
    """Become as real-time as allowed, and say how much that is."""
    placement, warning = place(spec.timing), latency_warning(port)
    notes = [*placement.notes, *([warning] if warning else [])]
    desk.place = Place(spec.name, task, spec.control_hz, placement.scheduling, notes)
    if placement.scheduling == "soft":
        control.admit_soft()
    real_time = {"fifo": "real time (SCHED_FIFO)", "soft": "SOFT REAL TIME"}
    control.life.journal.append(
        f"{spec.name}: {real_time[placement.scheduling]}, {spec.control_hz} Hz"
    )
    for note in notes:
        control.life.journal.append(f"warning: {note}")
