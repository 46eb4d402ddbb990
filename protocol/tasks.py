"""Tasks: reward and termination as pure functions of observations, on the array API.

The same code judges numpy arrays on the robot and in ingest, and torch tensors in the planner. A
reward is bounded in [0, 1] per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from protocol.errors import ConfigError
from protocol.factors import factors
from protocol.observation import Layout
from protocol.outcome import Judge, Outcome
from protocol.reach import reach
from protocol.robot_spec import RobotSpec, Task
from protocol.walk import walk_of

__all__ = ["Judge", "Outcome", "judge_for", "swing_up", "upright_share"]

CABLE_FREE_RAD = 1.7
CABLE_TIGHT_RAD = 2.2
CABLE_END_RAD = 2.5
UPRIGHT_RAD = 0.35


def swing_up(layout: Layout) -> Judge:
    """Swing the pendulum up and hold it still near the arm's centre.

    ``r = (1+cos θ)/2 · (1-0.3 min(1,|φ|/2)²) · (1-0.15 min(1,Δa²)) · cable
    · (0.6+0.4 e^(-(1-cos θ)/0.06-(θ'/5)²))``

    Source: LEARNING.md § 5.2, the recommended reward ("kind 3").
    """
    arm_rad, cos_theta = layout.reader("position:arm"), layout.reader("cos:pendulum")
    speed_rad_s, last_action = layout.reader("velocity:pendulum"), layout.reader("applied:arm:1")

    def judge(obs: Any, applied: Any, following: Any) -> Outcome:
        xp = array_namespace(following)
        arm = xp.abs(arm_rad(following))
        cos = xp.clip(cos_theta(following), -1.0, 1.0)
        speed = speed_rad_s(following)
        change = applied[..., 0] - last_action(obs)
        height = (1.0 + cos) / 2.0
        centred = 1.0 - 0.3 * xp.clip(arm / 2.0, 0.0, 1.0) ** 2
        smooth = 1.0 - 0.15 * xp.clip(change**2, 0.0, 1.0)
        cable = xp.clip((CABLE_TIGHT_RAD - arm) / (CABLE_TIGHT_RAD - CABLE_FREE_RAD), 0.0, 1.0)
        still = 0.6 + 0.4 * xp.exp(-(1.0 - cos) / 0.06 - (speed / 5.0) ** 2)
        ended = xp.where(arm > CABLE_END_RAD, xp.ones_like(arm), xp.zeros_like(arm))
        return Outcome(height * centred * smooth * cable * still, ended)

    return judge


_REWARDS: dict[str, Callable[[RobotSpec, Task], Judge]] = {
    "swing_up": lambda spec, task: swing_up(Layout(spec)),
    "reach": reach,
    "factors": factors,
    "walk": walk_of,
}


def judge_for(spec: RobotSpec, task: Task) -> Judge:
    """The judge of ``task`` for this robot.

    It maps ``obs`` (..., O), ``applied`` (..., A) in [-1, 1] and ``following`` (..., O) to an
    :class:`Outcome`.

    Raises:
        ConfigError: the reward does not exist, or robot, task or observation lack what it reads.
    """
    if task.reward not in _REWARDS:
        raise ConfigError(f"no reward {task.reward!r}; rewards are {sorted(_REWARDS)}")
    return _REWARDS[task.reward](spec, task)


def upright_share(cos_pendulum: Any) -> float:
    """Share of steps with the pendulum within ±0.35 rad of upright; ``cos_pendulum`` is (T,)."""
    return float((cos_pendulum > math.cos(UPRIGHT_RAD)).mean())
