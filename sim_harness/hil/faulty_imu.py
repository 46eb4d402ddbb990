"""What an IMU believes to feel when something is wrong with it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from protocol.imu_node import GRAVITY_X, TURN_RATE_X
from protocol.register import Register
from sim_harness.hil.faults import Frozen, ImuBlank, ImuGarbage, ImuLag, ImuTilt, NodeFault
from sim_harness.wire_end import Attitude

REMEMBERED = 2000
"""Looks; the longest lag ends there."""
Vector = tuple[float, float, float]


class FaultyImu:
    """Alters what the IMU feels, by the faults that are on; without one it changes nothing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._past: deque[tuple[int, Attitude]] = deque(maxlen=REMEMBERED)
        self._frozen: Attitude | None = None

    def feel(self, attitude: Attitude, now_ns: int, faults: Sequence[NodeFault]) -> Attitude:
        """What it shows at ``now_ns``, where the truth is ``attitude``."""
        frozen = any(isinstance(fault, Frozen) for fault in faults)
        held = self._frozen if frozen and self._frozen else attitude
        self._past.append((now_ns, attitude))
        self._frozen = held
        for fault in faults:
            held = self._altered(held, now_ns, fault)
        return held

    def _altered(self, attitude: Attitude, now_ns: int, fault: NodeFault) -> Attitude:
        if isinstance(fault, ImuTilt):
            return _turned(attitude, fault.offset_rad)
        if isinstance(fault, ImuLag):
            return self._felt_at(now_ns - round(1e9 * fault.delay_s))
        if isinstance(fault, ImuBlank):
            return attitude._replace(gravity=(0.0, 0.0, 0.0), turn_rate_rad_s=(0.0, 0.0, 0.0))
        if isinstance(fault, ImuGarbage):
            return attitude._replace(
                gravity=self._anything(GRAVITY_X), turn_rate_rad_s=self._anything(TURN_RATE_X)
            )
        return attitude

    def _felt_at(self, at_ns: int) -> Attitude:
        """The last that was felt until then; the first there is if that is later."""
        until = (attitude for time_ns, attitude in reversed(self._past) if time_ns <= at_ns)
        return next(until, self._past[0][1])

    def _anything(self, register: Register) -> Vector:
        """Three numbers such as ``register`` can hold."""
        x, y, z = self._rng.integers(register.minimum, register.maximum + 1, 3).tolist()
        return x * register.unit, y * register.unit, z * register.unit


def _turned(attitude: Attitude, angle_rad: float) -> Attitude:
    """As felt by axes that are turned about x."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)

    def seen(vector: Vector) -> Vector:
        x, y, z = vector
        return x, cos * y + sin * z, cos * z - sin * y

    return attitude._replace(
        gravity=seen(attitude.gravity), turn_rate_rad_s=seen(attitude.turn_rate_rad_s)
    )
