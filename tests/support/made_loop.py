"""The control loop over the whole simulated rig, tick by tick, in simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onboard.bus_choice import bus_for
from onboard.command import Command
from onboard.control import Control
from onboard.control_api import Done, Offer
from onboard.episode import Episode
from onboard.estop_latch import EstopLatch
from onboard.flight_ring import FlightRing
from onboard.hotswap import HotSwap
from onboard.modes import Event
from onboard.noise import Noise
from onboard.pilot import Pilot
from onboard.recorder import Recorder, flight_dtype
from onboard.ring import RingReader, RingWriter
from onboard.schedule import Schedule
from protocol import xl330
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows, dtype_of


class Bench:
    """One control loop, its rig, its ring."""

    def __init__(
        self,
        spec: RobotSpec,
        port: Any,
        folder: Path,
        swap: HotSwap | None = None,
        latch: EstopLatch | None = None,
    ) -> None:
        self.port, self.clock = port, port.clock
        task = spec.task_name(None)
        self.schedule = Schedule(round(1e9 * spec.tick_s), self.clock.now_ns, self.clock.sleep)
        self.ring = RingWriter(folder / "ring", dtype_of(spec), 4096, lambda: 1).open()
        self.reader = RingReader(folder / "ring", dtype_of(spec))
        self.flight = FlightRing(folder / "flight", flight_dtype(spec), 1501, 1).open()
        self.swap = HotSwap(spec, task) if swap is None else swap
        self.control = Control(
            spec=spec,
            bus=bus_for(spec, lambda: port, self.clock.now_s),
            swap=self.swap,
            pilot=Pilot(spec, self.swap, Noise(0)),
            episode=Episode(spec, task, 1),
            recorder=Recorder(spec, self.ring, self.flight),
            schedule=self.schedule,
            clock_ns=self.clock.now_ns,
            latch=latch,
        )

    @property
    def mode(self) -> Mode:
        return self.control.life.mode

    def boot(self) -> None:
        self.control.life.post(Event.BOOTED, "test")
        self.control.self_test()
        self.run(2)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.control.tick(self.schedule.wait())
            if self.mode is Mode.SELFTEST:
                self.control.self_test()

    def until(self, mode: Mode, ticks: int = 400) -> int:
        for tick in range(ticks):
            if self.mode is mode:
                return tick
            self.run(1)
        raise AssertionError(f"{self.mode.name}, not {mode.name}: {self.control.life.reason}")

    def obey(self, request: Any) -> Done:
        command = Command(request)
        self.control.orders.queue.append(command)
        self.run(1)
        assert command.reply is not None
        return command.reply

    def load(self, folder: Path, version: int) -> None:
        assert self.swap.offer(Offer(version=version, directory=str(folder))).ok
        offer = self.swap._offers.get()
        assert offer is not None
        self.swap.stage(offer)
        self.run(1)
        assert self.swap.active_version == version, self.swap.events[-1].reason

    def close(self) -> None:
        self.reader.close()
        self.ring.close()
        self.flight.close()

    def rows(self) -> Rows:
        return self.reader.peek(4096)

    def node(self, node_id: int) -> Any:
        return self.port.rig._firmware._nodes[node_id]

    def motor(self, register: xl330.Register) -> int:
        self.port.catch_up()
        return int(self.node(1).table.get(register))
