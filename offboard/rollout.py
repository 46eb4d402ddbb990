"""Episodes in a gymnasium environment; the only door to a simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offboard.networks import act
from offboard.parameters import Space
from offboard.replay import Batch
from protocol.errors import ConfigError

Policy = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Env = gymnasium.Env[Any, Any]


ENV_ID = "sim_harness.registration:wombet/Rig-v0"
"""``module:id`` as gymnasium takes it: the simulator is data to us, never an import."""


def make_env(
    robot: Path, task: str, body: str, env_id: str = ENV_ID, randomise: bool = False
) -> Env:
    """The simulated ``body`` of ``robot`` with ``task``.

    With ``randomise`` every episode has a body of its own, drawn around that one.

    Raises:
        ConfigError: the id is unknown, or its environment draws no bodies.
    """
    drawing = {"randomise": True} if randomise else {}
    try:
        return gymnasium.make(
            env_id, robot=str(robot), task=task, body=body, disable_env_checker=True, **drawing
        )
    except TypeError as error:
        if not randomise:
            raise
        raise ConfigError(f"{env_id} draws no bodies ({error}); leave --randomise out") from error
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise ConfigError(f"no environment {env_id!r} ({error}); see --env-id") from error


def actor_policy(space: Space, flat: Tensor, generator: torch.Generator | None = None) -> Policy:
    """The actor ``flat`` (P,) as a policy; explores if a generator is given."""
    named = space.view(flat)
    A = named["actor.head.bias"].shape[0] // 2

    def choose(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        noise = torch.zeros(1, A) if generator is None else torch.randn(1, A, generator=generator)
        seen = torch.from_numpy(obs)[None]
        with torch.no_grad():
            chosen = act(named, seen.to(flat.device), noise.to(flat.device))[0]
        action: NDArray[np.float32] = chosen.cpu().numpy()
        return action

    return choose


def step_env(
    env: Env, obs: NDArray[np.float32], action: NDArray[np.float32]
) -> tuple[Batch, NDArray[np.float32], bool]:
    """One step as a transition of one, the next observation, and whether the episode is over."""
    following, reward, terminated, truncated, info = env.step(action)
    transition = Batch(
        torch.from_numpy(obs)[None],
        torch.from_numpy(info["applied"])[None],
        torch.tensor([reward], dtype=torch.float32),
        torch.from_numpy(following)[None],
        torch.tensor([float(terminated)]),
    )
    return transition, following, terminated or truncated


def episode_return(env: Env, policy: Policy, seed: int) -> float:
    """Undiscounted return of one episode from ``seed``."""
    obs, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(policy(obs))
        total += float(reward)
        over = terminated or truncated
    return total


def mean_return(env: Env, policy: Policy, episodes: int, seed: int) -> float:
    """Mean return over ``episodes`` start states, the same for every policy compared."""
    return float(np.mean([episode_return(env, policy, seed + i) for i in range(episodes)]))
