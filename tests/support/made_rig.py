"""A simulated rig behind a port, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from protocol.errors import BusError
from protocol.robot_spec import RobotSpec
from sim_harness.firmware import firmware_for
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.rig import Rig

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"


class Clock:
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def now_ns(self) -> int:
        return self.ns

    def now_s(self) -> float:
        return self.ns * 1e-9

    def sleep(self, seconds: float) -> None:
        self.ns += max(1, round(seconds * 1e9))


class RigPort:
    """A bus port whose other end is the simulated rig, driven by a :class:`Clock`.

    ``dead`` raises as an unplugged cable does; ``mute`` loses every answer; ``spoil`` alters them.
    """

    def __init__(self, rig: Rig, clock: Clock) -> None:
        self.rig, self.clock = rig, clock
        self.dead = self.mute = False
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.written: list[bytes] = []
        self._inbox = b""

    def write(self, data: bytes) -> None:
        if self.dead:
            raise BusError("no cable")
        self.written.append(data)
        self.catch_up()
        answers = b"".join(reply.data for reply in self.rig.receive(data, self.clock.ns))
        self._inbox += b"" if self.mute else self.spoil(answers)

    def read(self, timeout_s: float) -> bytes:
        if self.dead:
            raise BusError("no cable")
        data, self._inbox = self._inbox, b""
        self.clock.sleep(300e-6 if data else timeout_s)
        return data

    def discard_input(self) -> None:
        self._inbox = b""

    def close(self) -> None:
        self._inbox = b""

    def catch_up(self) -> None:
        self.rig.advance(self.clock.ns)


def make_rig_port(spec: RobotSpec) -> RigPort:
    body = spec.body("nominal")
    plant = Plant(spec, body, compile_model(spec, body, ROBOT.parent), 0)
    clock = Clock()
    port = RigPort(Rig(spec, "nominal", plant, firmware_for(spec)), clock)
    port.catch_up()
    return port
