"""What a running rig shows of itself: one row of memory that others may read, at any time.

The rig's process writes it and waits for nobody; a reader that looked in the middle of a write
looks again.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ConfigError
from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec
from sim_harness.firmware import Firmware
from sim_harness.plant import Plant
from sim_harness.wire_end import asks

SUFFIX = ".glance"
"""Of the file beside the serial port's link."""
EVERY_NS = 20_000_000
LOOKS = 100
_MAGIC = b"WOMBETG1"
_FAULT_BYTES = 512

Array = NDArray[np.float64]


class Glance(NamedTuple):
    """One moment of a rig with A motors.

    Attributes:
        time_s: simulated.
        qpos: (nq,) MuJoCo's coordinates.
        torque_nm: (A,) at the joints.
        asked: (A,) whether the node asks its motor for anything, which is all that a bus shows.
        supply_v: at the motors.
        faults: what is wrong now, by kind; empty where nothing is.
    """

    time_s: float
    qpos: Array
    torque_nm: Array
    asked: NDArray[np.bool_]
    supply_v: float
    faults: str


def glance_path(link: Path) -> Path:
    """Where the rig behind this serial port shows itself."""
    return link.with_name(link.name + SUFFIX)


def _layout(coordinates: int, motors: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("magic", f"S{len(_MAGIC)}"),
            ("sequence", "<u8"),
            ("time_s", "<f8"),
            ("supply_v", "<f8"),
            ("qpos", "<f8", (coordinates,)),
            ("torque_nm", "<f8", (motors,)),
            ("asked", "u1", (motors,)),
            ("faults", f"S{_FAULT_BYTES}"),
        ]
    )


class GlanceWriter:
    """Shows one rig.

    Args:
        path: of the file; :meth:`open` makes it, :meth:`close` takes it away.
        spec: the robot; ``body`` is which one of its bodies.
        plant: the physics; ``firmware`` are the nodes.
    """

    def __init__(
        self, path: Path, spec: RobotSpec, body: Body, plant: Plant, firmware: Firmware
    ) -> None:
        self._path, self._plant, self._firmware = path, plant, firmware
        constant = body.motor_torque_constant_nm_a
        self._gain_nm_a = np.array([constant * joint.gear for joint in spec.actuated])
        self._motors = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._row: NDArray[np.void] | None = None
        self._due_ns = 0

    def open(self) -> None:
        """Make the file. Raises ConfigError if it cannot be had."""
        layout = _layout(len(self._plant.qpos), len(self._motors))
        try:
            self._path.write_bytes(bytes(layout.itemsize))
            with self._path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), layout.itemsize)
        except OSError as error:
            raise ConfigError(f"{self._path}: the rig cannot show itself ({error})") from error
        self._row = np.frombuffer(memory, layout, 1)
        self._row["magic"] = _MAGIC

    def show(self, now_ns: int, faults: str = "") -> None:
        """The present moment, if the last one is old enough."""
        if self._row is None or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + EVERY_NS
        row, demands = self._row, self._firmware.demands(now_ns)
        row["sequence"] += 1  # odd: being written
        row["time_s"], row["supply_v"] = now_ns * 1e-9, self._plant.supply_v
        row["qpos"][0] = self._plant.qpos
        row["torque_nm"][0] = self._gain_nm_a * self._plant.current_a()
        row["asked"][0] = [asks(demands[index]) for index in self._motors]
        row["faults"] = faults.encode()[:_FAULT_BYTES]
        row["sequence"] += 1

    def close(self) -> None:
        """Take the file away; readers keep what they saw last."""
        self._row = None
        self._path.unlink(missing_ok=True)


class GlanceReader:
    """Looks at one rig from another process.

    Args:
        path: of the file; ``coordinates`` and ``motors`` are how many its rig has.
    """

    def __init__(self, path: Path, coordinates: int, motors: int) -> None:
        self._path, self._layout = path, _layout(coordinates, motors)

    def open(self) -> GlanceReader:
        """Find the rig. Raises ConfigError if there is none, or it is another robot's."""
        try:
            with self._path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self._path}: no rig shows itself there ({error}); is the plant running, and is "
                "this the link it was given?"
            ) from error
        if len(memory) != self._layout.itemsize:
            raise ConfigError(f"{self._path}: that rig is another robot; give its robot file")
        self._row = np.frombuffer(memory, self._layout, 1)
        return self

    @property
    def ended(self) -> bool:
        """Whether the rig has taken its file away."""
        return not self._path.exists()

    def look(self) -> Glance | None:
        """The last moment shown; None before the first one."""
        for _ in range(LOOKS):
            seen = self._row.copy()[0]
            whole = seen["sequence"] == self._row["sequence"][0] and seen["sequence"] % 2 == 0
            if whole and seen["sequence"]:
                return Glance(
                    time_s=float(seen["time_s"]),
                    qpos=seen["qpos"].copy(),
                    torque_nm=seen["torque_nm"].copy(),
                    asked=seen["asked"].astype(bool),
                    supply_v=float(seen["supply_v"]),
                    faults=seen["faults"].decode(errors="replace"),
                )
        return None
