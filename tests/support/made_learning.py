"""Small worlds to learn in: a linear rig with the Furuta's observation, and a toy line."""

from __future__ import annotations

import numpy as np
import torch
from made_records import SPEC, make_records
from torch import Tensor

from offboard.model_state import ModelConfig
from offboard.networks import Named, actor_space, critic_space
from offboard.replay import Batch
from offboard.sac import SacConfig
from offboard.world_model import Step
from protocol.observation import Layout
from protocol.step_record import End, Rows
from protocol.tasks import judge_for

LAYOUT = Layout(SPEC)
JUDGE = judge_for(SPEC, SPEC.task("swing_up"))
O, A = LAYOUT.size, LAYOUT.action_size
SMALL_MODEL = ModelConfig(members=3, width=32, batch=64, check_every=100)
SMALL_SAC = SacConfig(width=16, batch=32)
TURN_RAD = 0.2


def linear_step(obs: Tensor, applied: Tensor, gain: float = 0.3) -> Tensor:
    """A rig linear in observation (N, O) and action (N, A); the pendulum turns evenly."""
    arm, cos, sin, arm_speed, speed, *_ = obs.unbind(1)
    c, s = torch.cos(torch.tensor(TURN_RAD)), torch.sin(torch.tensor(TURN_RAD))
    push = applied[:, 0]
    following = torch.stack(
        [
            0.9 * arm + 0.1 * arm_speed,
            c * cos - s * sin,
            s * cos + c * sin,
            0.8 * arm_speed + gain * push,
            0.9 * speed + 0.2 * sin - 0.1 * push,
            torch.zeros_like(arm),
            torch.zeros_like(arm),
        ],
        dim=1,
    )
    shifted: Tensor = LAYOUT.shift_history(obs, applied, following)
    return shifted


def linear_transitions(count: int, seed: int, gain: float = 0.3) -> Batch:
    """Random states and actions, and what they lead to."""
    generator = torch.Generator().manual_seed(seed)
    obs = 2.0 * torch.rand(count, O, generator=generator) - 1.0
    angle = 2.0 * torch.pi * torch.rand(count, generator=generator)
    obs[:, LAYOUT.column("cos:pendulum")] = angle.cos()
    obs[:, LAYOUT.column("sin:pendulum")] = angle.sin()
    applied = 2.0 * torch.rand(count, A, generator=generator) - 1.0
    following = linear_step(obs, applied, gain)
    outcome = JUDGE(obs, applied, following)
    return Batch(obs, applied, outcome.reward, following, outcome.terminated)


class Line:
    """A world model in closed form: one coordinate x, and the action is the step taken.

    ``reward_at``, ``doubt_at`` and ``ends_at`` map x (B,) to reward, disagreement and a bool.
    """

    action_size = 1
    device = torch.device("cpu")

    def __init__(self, reward_at, doubt_at=torch.zeros_like, ends_at=None) -> None:
        self._reward_at, self._doubt_at = reward_at, doubt_at
        self._ends_at = ends_at or (lambda x: torch.zeros_like(x, dtype=torch.bool))

    def expect(self, state: object, obs: Tensor, applied: Tensor) -> Step:
        following = obs.clone()
        following[:, 0] += applied[:, 0]
        x = following[:, 0]
        return Step(following, self._reward_at(x), self._ends_at(x).float(), self._doubt_at(x))

    def imagine(self, state: object, obs: Tensor, applied: Tensor, generator: object) -> Step:
        return self.expect(state, obs, applied)


def indifferent_actor(width: int) -> Named:
    """An actor on the line that always wants 0, with the spread of exp(-1.5)."""
    space = actor_space(1, 1, width)
    return space.view(torch.zeros(space.size))


def blind_critics(width: int) -> Named:
    """Two critics on the line to whom everything is worth 0."""
    space = critic_space(1, 1, width, 2)
    return space.view(torch.zeros(space.size))


def right_seeing_critics(width: int) -> Named:
    """Two critics to whom the line is worth about 1 right of zero and 0 left of it."""
    named = blind_critics(width)
    for layer in ("critic.0", "critic.1"):
        named[f"{layer}.gain"].fill_(1.0)
    named["critic.0.weight"][:, 0] = torch.tensor([1.0, -1.0] * (width // 2))
    named["critic.1.weight"][:] = torch.eye(width)
    named["critic.head.weight"][:, ::2] = 2.0 / width
    return named


def episode_rows(
    number: int,
    steps: int = 5,
    *,
    first: int = 0,
    version: int = 1,
    cos: float = 1.0,
    end: End = End.TRUNCATED,
    flags: int = 0,
) -> Rows:
    """The ``steps`` + 1 rows of one episode at rest, the pendulum at ``cos``; numbered from first.

    With ``cos`` = 1 every step is worth 1.
    """
    rows = make_records(first, steps + 1)
    rows["episode"], rows["step"] = number, np.arange(steps + 1)
    rows["policy_version"], rows["flags"] = version, flags
    rows["obs"], rows["applied"] = 0.0, 0.0
    rows["obs"][:, LAYOUT.column("cos:pendulum")] = cos
    rows["end"][-1] = end
    return rows
