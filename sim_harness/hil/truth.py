"""What really happened: a tape lived through again in simulated time, and looked at on the way."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec
from sim_harness.hil.stage import Stage
from sim_harness.hil.tape import Heard, Tape, Turned
from sim_harness.wire_end import Brake, Demand, Setpoint, asks

SAMPLE_NS = 2_000_000

Array = NDArray[np.float64]


class Truth(NamedTuple):
    """N samples of J joints, A of them actuated.

    Attributes:
        time_s: (N,) since the rig was made.
        position_rad: (N, J) as the encoders see it.
        velocity_rad_s: (N, J) as it is.
        command: (N, A) what the motors are asked: A, or rad from the encoder's centre.
        torque_nm: (N, A) at the joints.
        asking: (N,) whether any motor is asked for anything.
        turns: faults and marks.
        poses: (nq,) MuJoCo's coordinates at each of them, in the same order.
        mismatches: answers that came out differently from those in the tape.
    """

    time_s: Array
    position_rad: Array
    velocity_rad_s: Array
    command: Array
    torque_nm: Array
    asking: NDArray[np.bool_]
    turns: list[Turned]
    poses: list[Array]
    mismatches: int

    def mark_s(self, name: str) -> float | None:
        """When a named moment was; None if it never came."""
        return next((turn.at_ns * 1e-9 for turn in self.turns if turn.mark == name), None)


class _Watcher:
    """Samples a stage."""

    def __init__(self, stage: Stage, spec: RobotSpec, body: str) -> None:
        self._stage = stage
        constant = spec.body(body).motor_torque_constant_nm_a
        self._gain_nm_a = np.array([constant * joint.gear for joint in spec.actuated])
        self._actuated = [index for index, joint in enumerate(spec.joints) if joint.actuated]
        self._due_ns = 0
        self.rows: list[tuple[float, list[float], list[float], list[float], Array, bool]] = []

    def advance(self, until_ns: int) -> None:
        """Bring the stage there, sampling on the way."""
        while self._due_ns <= until_ns:
            self._stage.advance(self._due_ns)
            self._sample()
            self._due_ns += SAMPLE_NS
        self._stage.advance(until_ns)

    def _sample(self) -> None:
        plant, now_ns = self._stage.plant, self._stage.time_ns
        demands = self._stage.firmware.demands(now_ns)
        asked = [demands[index] for index in self._actuated]
        torque = self._gain_nm_a * np.array(plant.current_a())
        command = [_command(each) for each in asked]
        asking = any(asks(each) for each in asked)
        place, speed = plant.position_rad(), plant.velocity_rad_s()
        self.rows.append((now_ns * 1e-9, place, speed, command, torque, asking))


def relive(tape: Tape, spec: RobotSpec, directory: Path) -> Truth:
    """Run a tape in lock-step. ``directory`` is where the MJCF lies.

    Raises:
        ConfigError: the tape is another robot's.
    """
    if tape.digest != spec.digest():
        raise ConfigError(f"the tape was made with another {tape.robot}: give it that robot file")
    stage = Stage(spec, directory, tape.body, tape.seed)
    watcher = _Watcher(stage, spec, tape.body)
    mismatches, poses = 0, []
    for event in tape.events:
        watcher.advance(event.at_ns)
        if isinstance(event, Heard):
            stage.receive(event.data, event.at_ns)
            mismatches += stage.events[-1] != event
        else:
            stage.turn(event.begins, event.fault, event.mark)
            poses.append(stage.plant.qpos)
    watcher.advance(tape.end_ns)
    time_s, position, velocity, command, torque, asking = zip(*watcher.rows, strict=True)
    turns = [event for event in tape.events if isinstance(event, Turned)]
    return Truth(
        np.array(time_s),
        np.array(position),
        np.array(velocity),
        np.array(command),
        np.array(torque),
        np.array(asking),
        turns,
        poses,
        mismatches,
    )


def _command(demand: Demand) -> float:
    """What the host wanted of the motor; a brake is the node's own doing."""
    if isinstance(demand, Brake):
        return 0.0
    return demand.goal_rad if isinstance(demand, Setpoint) else demand
