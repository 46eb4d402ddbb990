"""The stops of a bus's motors as they count, and goals that hold joints where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onboard.bus import named
from protocol.errors import BusError
from protocol.robot_spec import Joint, PositionAction, RobotSpec


class Stops:
    """Of every actuated joint.

    Args:
        spec: the robot.
        action: its action mode.
        count: register value of an angle in rad, in the motor's direction.
    """

    def __init__(
        self, spec: RobotSpec, action: PositionAction, count: Callable[[float], int]
    ) -> None:
        self._motors = spec.actuated
        self._counts = [_stop_counts(joint, count) for joint in self._motors]
        travel_rad = spec.safety.effort_max_nm / action.stiffness_nm_rad
        self._travel = [count(travel_rad * joint.gear) - count(0.0) for joint in self._motors]

    def of(self, joint: Joint) -> tuple[int, int]:
        """Lower and upper stop of one motor."""
        return self._counts[self._motors.index(joint)]

    def goals(self, measured: Sequence[int]) -> list[int]:
        """Where each motor is, or its stop for one that lies beyond: a servo takes no other goal.

        Raises:
            BusError: a joint lies so far beyond that its servo would pull with all it may.
        """
        goals = []
        for joint, at, (low, high), travel in zip(
            self._motors, measured, self._counts, self._travel, strict=True
        ):
            goals.append(min(max(at, low), high))
            if abs(goals[-1] - at) > travel:
                raise BusError(f"{named(joint)} lies far beyond its stop; move it back by hand")
        return goals


def _stop_counts(joint: Joint, count: Callable[[float], int]) -> tuple[int, int]:
    stops_rad = (joint.position_min_rad, joint.position_max_rad)
    turned = [joint.sign * joint.gear * (stop - joint.offset_rad) for stop in stops_rad]
    return count(min(turned)), count(max(turned))
