"""A simulated rig behind a port, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from protocol.errors import LineLostError
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


class Adapter:
    """What an unplugged cable does: whoever had the device open has lost it, until opened anew."""

    def __init__(self) -> None:
        self._out = self._lost = False

    @property
    def dead(self) -> bool:
        """Whether the cable is out."""
        return self._out

    @dead.setter
    def dead(self, out: bool) -> None:
        self._out = out
        self._lost = self._lost or out

    def close(self) -> None:
        """The next one to use it has opened it anew."""
        self._lost = False

    def alive(self) -> None:
        self._lost = self._lost or self._out
        if self._lost:
            raise LineLostError("no cable")


class RigPort(Adapter):
    """A bus port whose other end is the simulated rig, driven by a :class:`Clock`.

    ``mute`` loses every answer; ``spoil`` alters them.
    """

    def __init__(self, rig: Rig, clock: Clock) -> None:
        super().__init__()
        self.rig, self.clock = rig, clock
        self.mute = False
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.written: list[bytes] = []
        self._inbox = b""

    def write(self, data: bytes) -> None:
        self.alive()
        self.written.append(data)
        self.catch_up()
        answers = b"".join(reply.data for reply in self.rig.receive(data, self.clock.ns))
        self._inbox += b"" if self.mute else self.spoil(answers)

    def read(self, timeout_s: float) -> bytes:
        self.alive()
        data, self._inbox = self._inbox, b""
        self.clock.sleep(300e-6 if data else timeout_s)
        return data

    def discard_input(self) -> None:
        self.alive()
        self._inbox = b""

    def close(self) -> None:
        super().close()
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
