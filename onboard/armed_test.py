"""The part of the self-test that moves: each motor a little, and each motor's own watchdog.

A ramp of effort, through the envelope, ends as soon as the joint has moved by a few degrees, either
way. If it moved against the command, motor and encoder disagree, and every controller would drive
it into its stop. Which way the robot file means by positive only a person who watches can tell; the
report says where to look.

Before each command it asks whether it has to end: an emergency stop, or a signal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from onboard.bus import TRIPPED, Bus, Fact
from onboard.finding import Finding, Verdict, judged
from onboard.safety import Safety
from onboard.schedule import Schedule
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

MOVED_RAD = 0.05
RAMP_1_S = 0.25
"""Effort per second, as a share of the full one."""
CEILING = 0.4
"""Largest share of the full effort. A joint that needs more to move is not free."""
COME_TO_REST_S = 0.3
SILENCES = 1.5
"""Watchdog periods without a word after which every motor must have stopped itself."""
TORQUE_OFF = "torque off"
"""What the last finding is about."""


class Nudge(NamedTuple):
    """What one joint did: effort as a share of the full one, with its sign; SI otherwise."""

    effort: float
    moved_rad: float
    velocity_rad_s: float


class ArmedTest:
    """Nudges every motor of one robot, then falls silent.

    Args:
        spec: the robot.
        bus: connected, torque off.
        safety: over the same bus.
        schedule: paces the commands, at the control rate.
        sleep: takes seconds.
        ended: why this has to end, once it has to; asked before each command.
    """

    def __init__(
        self,
        spec: RobotSpec,
        bus: Bus,
        safety: Safety,
        schedule: Schedule,
        sleep: Callable[[float], None],
        ended: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._spec, self._bus, self._safety = spec, bus, safety
        self._schedule, self._sleep, self._ended = schedule, sleep, ended

    def run(self) -> list[Finding]:
        """Every finding; torque is off afterwards, however this ends."""
        findings = []
        steps = [partial(self._sign, motor) for motor in range(len(self._spec.actuated))]
        try:
            for step in [*steps, partial(self._watchdog)]:
                findings.append(step())
                if reason := self._ended():
                    findings.append(Finding(Verdict.FAILED, "ended early", reason))
                    break
        finally:
            failures = self._safety.power_off()
        return [*findings, judged(TORQUE_OFF, "; ".join(failures), "confirmed by every motor")]

    def _sign(self, motor: int) -> Finding:
        name = self._spec.actuated[motor].name
        try:
            self._safety.power_on()
            self._schedule.rebase()
            nudge = self._nudge(motor, self._direction(motor))
            self._rest()
        except BusError as error:
            return Finding(Verdict.FAILED, f"{name} motion", str(error))
        return judge_nudge(name, nudge)

    def _direction(self, motor: int) -> float:
        """Towards the farther stop."""
        self._bus.read()
        joint = self._spec.actuated[motor]
        at_rad = self._bus.position_rad[self._spec.joint_index(joint.name)]
        return 1.0 if 2.0 * at_rad < joint.position_min_rad + joint.position_max_rad else -1.0

    def _nudge(self, motor: int, direction: float) -> Nudge:
        """Raise the effort until the joint has moved or the ceiling is reached."""
        index = self._spec.joint_index(self._spec.actuated[motor].name)
        started_rad, moved_rad, share = self._bus.position_rad[index], 0.0, 0.0
        while abs(moved_rad) < MOVED_RAD and share < CEILING:
            share += RAMP_1_S * self._spec.tick_s
            action = self._safety.still.tolist()
            action[motor] += direction * share
            self._command(action)
            moved_rad = self._bus.position_rad[index] - started_rad
        return Nudge(direction * share, moved_rad, self._bus.velocity_rad_s[index])

    def _rest(self) -> None:
        """No more motion is asked for until the joint stands."""
        for _ in range(round(COME_TO_REST_S * self._spec.control_hz)):
            self._command(self._safety.still.tolist())

    def _command(self, action: list[float]) -> None:
        self._schedule.wait()
        if reason := self._ended():
            raise BusError(reason)
        self._bus.read()
        self._safety.command(action, self._bus.position_rad, self._bus.velocity_rad_s)

    def _watchdog(self) -> Finding:
        """Torque on without motion, then not a word: every motor must have noticed."""
        what = f"{Fact.WATCHDOG.value}, tripped on purpose"
        if not self._bus.watchdog_s:
            return Finding(Verdict.WARNING, what, "these motors have none to trip")
        silence_s = SILENCES * self._spec.bus.watchdog_s
        try:
            self._safety.power_on()
            self._sleep(silence_s)
            checks = self._bus.check_all(Fact.WATCHDOG)
        except BusError as error:
            return Finding(Verdict.FAILED, what, str(error))
        deaf = [c.node.name for c in checks if c.value != TRIPPED]
        problem = f"{', '.join(deaf)} did not stop after {silence_s * 1e3:.0f} ms of silence"
        return judged(what, problem if deaf else None, "every motor stopped itself")


def judge_nudge(name: str, nudge: Nudge) -> Finding:
    """Whether a joint went where it was sent, by its position and by its velocity. Pure."""
    what, sent = f"{name} motion", f"{nudge.effort:+.2f} of the full effort"
    if abs(nudge.moved_rad) < MOVED_RAD:
        return Finding(Verdict.FAILED, what, f"none at {sent}; is it free, and does it have power?")
    if nudge.moved_rad * nudge.effort < 0.0:
        detail = f"{nudge.moved_rad:+.3f} rad at {sent}: motor and encoder disagree; do not run it"
        return Finding(Verdict.FAILED, what, detail)
    if nudge.velocity_rad_s * nudge.effort < 0.0:
        detail = f"{nudge.moved_rad:+.3f} rad at {nudge.velocity_rad_s:+.2f} rad/s: signs disagree"
        return Finding(Verdict.FAILED, what, detail)
    detail = f"{nudge.moved_rad:+.3f} rad at {sent}; is that the side the robot file calls so?"
    return Finding(Verdict.OK, what, detail)
