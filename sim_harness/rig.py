"""The whole rig in simulated time: physics under the firmware, bytes on top. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.robot_spec import Joint, RobotSpec
from sim_harness.firmware import Firmware
from sim_harness.plant import Plant
from sim_harness.wire_end import Brake, Demand, Reading, Reply, Setpoint

TEMPERATURE_C = 30.0


class Rig:
    """Couples nodes and physics; time starts at zero and only :meth:`advance` moves it."""

    def __init__(self, spec: RobotSpec, body: str, plant: Plant, firmware: Firmware) -> None:
        self._joints = spec.joints
        self._latency_ns = round(1e6 * spec.body(body).bus_latency_ms)
        self._plant = plant
        self._firmware = firmware
        self._step_ns = 1_000_000_000 // spec.plant.physics_hz
        self._asked: Sequence[Demand] = []
        self.time_ns = 0

    def advance(self, until_ns: int) -> None:
        """Run every whole physics step that ends at or before ``until_ns``."""
        while self.time_ns + self._step_ns <= until_ns:
            self._drive(self.time_ns)
            self._plant.advance(1)
            self.time_ns += self._step_ns

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Bytes from the host at ``now_ns``, which must not be before ``time_ns``."""
        self._firmware.sense(self._readings())
        attitude = self._plant.attitude()
        if attitude is not None:
            self._firmware.feel(attitude)
        replies = self._firmware.receive(data, now_ns)
        if replies and self._latency_ns:
            replies[0] = replies[0]._replace(delay_ns=replies[0].delay_ns + self._latency_ns)
        return replies

    def _drive(self, now_ns: int) -> None:
        """Pass on what the nodes ask of their motors when it changes."""
        asked = self._firmware.demands(now_ns)
        if asked == self._asked:
            return
        self._asked = asked
        self._plant.command(
            [
                _at_the_joint(joint, demand)
                for joint, demand in zip(self._joints, asked, strict=True)
                if joint.actuated
            ]
        )

    def _readings(self) -> list[Reading]:
        flowing, supply_v = iter(self._plant.current_a()), self._plant.supply_v
        return [
            Reading(
                counts=counts,
                velocity_rad_s=joint.sign * joint.gear * velocity,
                current_a=joint.sign * next(flowing) if joint.actuated else 0.0,
                voltage_v=supply_v,
                temperature_c=TEMPERATURE_C,
            )
            for joint, counts, velocity in zip(
                self._joints,
                self._plant.encoder_counts(),
                self._plant.velocity_rad_s(),
                strict=True,
            )
        ]


def _at_the_joint(joint: Joint, demand: Demand) -> Demand:
    """A demand in the joint's direction: a current at the shaft, an angle behind the gear."""
    if isinstance(demand, Setpoint):
        goal_rad = joint.sign * demand.goal_rad / joint.gear + joint.offset_rad
        return demand._replace(
            goal_rad=goal_rad, velocity_max_rad_s=demand.velocity_max_rad_s / joint.gear
        )
    return demand if isinstance(demand, Brake) else joint.sign * demand
