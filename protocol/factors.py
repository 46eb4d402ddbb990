"""A reward written in the robot file: a product of bounded factors, one for each observed value.

Data, not code: a robot reads it as it reads every other number, its digest covers it, and there is
nothing to install (ADR 19). Pure functions on the array API, like every task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace
from msgspec import UNSET

from protocol.errors import ConfigError
from protocol.factor_spec import Factor
from protocol.observation import Layout
from protocol.outcome import Judge, Outcome
from protocol.robot_spec import RobotSpec, Task

JERK_COST = 0.15
"""Share of the reward that the largest change of the action costs, as in ``swing_up``."""


def factors(spec: RobotSpec, task: Task) -> Judge:
    """What ``[[tasks.NAME.factors]]`` say, without jerks.

    ``r = Π (floor + (1 - floor) s(|x - target| / width)) · (1 - 0.15 Δa²)``, where s(d) is
    ``e^(-d²)`` for a bell and ``(1 - d)₊`` for a ramp, and Δa² is the mean squared change of the
    action, at most 1. A step that leads beyond a factor's ``ends_beyond`` earns nothing and ends
    the episode.

    Raises:
        ConfigError: there are no factors, or the observation lacks a term that is read.

    Source: our own; a product of bounded terms, as ``swing_up``.
    """
    if task.factors is UNSET or not task.factors:
        raise ConfigError("reward 'factors' needs at least one [[tasks.NAME.factors]] table")
    layout = Layout(spec)
    parts = [_part(layout, factor) for factor in task.factors]
    last = [layout.reader(f"applied:{joint.name}:1") for joint in spec.actuated]

    def judge(obs: Any, applied: Any, following: Any) -> Outcome:
        xp = array_namespace(following)
        changes = [(applied[..., i] - before(obs)) ** 2 for i, before in enumerate(last)]
        reward = 1.0 - JERK_COST * xp.clip(sum(changes) / len(changes), 0.0, 1.0)
        ended = xp.zeros_like(reward)
        for part in parts:
            worth, beyond = part(following)
            reward, ended = reward * worth, xp.maximum(ended, beyond)
        return Outcome(reward * (1.0 - ended), ended)

    return judge


def _part(layout: Layout, factor: Factor) -> Callable[[Any], tuple[Any, Any]]:
    """``following`` (..., O) to the factor's worth and whether it ends the episode, both (...)."""
    read, above = layout.reader(factor.of), 1.0 - factor.floor

    def judge(following: Any) -> tuple[Any, Any]:
        xp = array_namespace(following)
        away = xp.abs(read(following) - factor.target)
        distance = away / factor.width
        bell = factor.shape == "bell"
        near = xp.exp(-(distance**2)) if bell else xp.clip(1.0 - distance, 0.0, 1.0)
        return factor.floor + above * near, _beyond(xp, away, factor)

    return judge


def _beyond(xp: Any, away: Any, factor: Factor) -> Any:
    if factor.ends_beyond is UNSET:
        return xp.zeros_like(away)
    return xp.where(away > factor.ends_beyond, xp.ones_like(away), xp.zeros_like(away))
