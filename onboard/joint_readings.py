"""Joint states of a robot and how its body lies, in counts as they came and in SI units. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from onboard.bus import Named, named
from protocol import imu_node
from protocol.errors import BusError
from protocol.observation import LEVEL
from protocol.robot_spec import Joint

GRAVITY_AWAY = 0.05
"""By how much the length of what an IMU calls gravity may differ from 1."""


class Units(NamedTuple):
    """What the counts of a kind of node mean."""

    centre_count: int
    rad: float
    rad_s: float
    ampere: float


class JointReadings:
    """The lists of :class:`onboard.bus.Bus`; zero until the first reading."""

    def __init__(self, joints: Sequence[Joint], units: Units) -> None:
        self._joints = joints
        self._directions = [joint.sign / joint.gear for joint in joints]
        self._offsets_rad = [joint.offset_rad for joint in joints]
        self._centre_count, self._rad, self._rad_s, self._ampere = units
        self.position_count = [0] * len(joints)
        self.velocity_count = [0] * len(joints)
        self.current_count = [0] * len(joints)
        self.position_rad = [0.0] * len(joints)
        self.velocity_rad_s = [0.0] * len(joints)
        self.current_a = [0.0] * len(joints)
        self.imu_count = [0] * len(LEVEL)
        self.inertial = [*LEVEL]

    def convert(self, index: int, position: int, velocity: int, current: int) -> None:
        """Take the reading of joint ``index``, in counts, into the lists."""
        direction = self._directions[index]
        self.position_count[index] = position
        self.velocity_count[index] = velocity
        self.current_count[index] = current
        turned_rad = (position - self._centre_count) * self._rad
        self.position_rad[index] = direction * turned_rad + self._offsets_rad[index]
        self.velocity_rad_s[index] = direction * velocity * self._rad_s
        self.current_a[index] = current * self._ampere

    def feel(self, counts: Sequence[int]) -> None:
        """Take the IMU's reading, in counts, into the lists."""
        for index, count in enumerate(counts):
            self.imu_count[index] = count
            unit = imu_node.GRAVITY_PER_COUNT if index < 3 else imu_node.RAD_S_PER_COUNT
            self.inertial[index] = count * unit


def require_gravity(imu: Named, counts: Sequence[int]) -> None:
    """Raises BusError if the reading, in counts, cannot be how a body lies."""
    length = math.hypot(counts[0], counts[1], counts[2]) * imu_node.GRAVITY_PER_COUNT
    if abs(length - 1.0) > GRAVITY_AWAY:
        raise BusError(f"{named(imu)} feels gravity of length {length:.2f}; calibrate it")
