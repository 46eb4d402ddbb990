"""What is timed: our update, fit and plan, stable-baselines3's update, and bare matrix products.

Both learners draw batches from their own replay of the same made transitions: no environment, no
evaluation, gradient steps only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from offboard.columns import Unnamed
from offboard.planner import PlanConfig, Planner
from offboard.replay import Batch, Replay
from offboard.sac import Sac, SacConfig, SacLoss, SacState
from offboard.world_model import ModelConfig, WorldModel
from protocol.errors import ConfigError

TRANSITIONS = 5_000
BURST = 25
DISCOUNT = 0.99


class Work(NamedTuple):
    """``run`` does ``units`` units of work."""

    run: Callable[[], None]
    units: int


@dataclass(frozen=True)
class Size:
    """Observation, action, hidden width and batch of a learner."""

    O: int
    A: int
    width: int
    batch: int

    def learner(self) -> Sac:
        """Ours: LayerNorm critics, two of them, automatic temperature."""
        entropy = -float(self.A)
        config = SacConfig(width=self.width, batch=self.batch, target_entropy=entropy)
        return Sac(self.O, self.A, DISCOUNT, config)


FURUTA = Size(O=7, A=1, width=64, batch=128)
CHEETAH = Size(O=17, A=6, width=256, batch=256)


def made_transitions(O: int, A: int, count: int, seed: int = 0) -> Batch:
    """A stable linear world under random actions, worth 1 at its origin."""
    generator = torch.Generator().manual_seed(seed)
    push = torch.randn(A, O, generator=generator)
    obs = torch.randn(count, O, generator=generator)
    applied = 2.0 * torch.rand(count, A, generator=generator) - 1.0
    noise = 0.05 * torch.randn(count, O, generator=generator)
    following = 0.9 * obs + 0.1 * applied @ push + noise
    reward = torch.exp(-(following**2).mean(-1))
    return Batch(obs, applied, reward, following, torch.zeros(count))


def updates(
    sac: Sac, size: Size, dtype: torch.dtype, seed: int = 0
) -> Iterator[tuple[SacState, SacLoss]]:
    """Endless updates of ours from ``seed``; matrix products in ``dtype``."""
    generator = torch.Generator().manual_seed(seed)
    replay = Replay(size.O, size.A, TRANSITIONS)
    replay.add(made_transitions(size.O, size.A, TRANSITIONS))
    state = sac.initial(seed)
    while True:
        batch, noise = replay.sample(size.batch, generator), sac.noise(generator)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            state, loss = sac.update(state, batch, noise)
        yield state, loss


def our_updates(size: Size, dtype: torch.dtype = torch.float32) -> Work:
    """Updates of ours."""
    stream = updates(size.learner(), size, dtype)

    def run() -> None:
        for _ in range(BURST):
            next(stream)

    return Work(run, BURST)


def peer_updates(size: Size) -> Work:
    """Updates of stable-baselines3's SAC with the same network, batch and step sizes.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from stable_baselines3 import SAC  # noqa: PLC0415
        from stable_baselines3.common.logger import Logger  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("stable-baselines3 is missing; see requirements/bench.txt") from error
    ours = size.learner().config
    model = SAC(
        "MlpPolicy", _Spaces(size), learning_rate=ours.lr, buffer_size=TRANSITIONS,
        batch_size=size.batch, tau=ours.tau, gamma=DISCOUNT, ent_coef="auto_0.1",
        policy_kwargs={"net_arch": [size.width] * 2, "n_critics": ours.critics},
        seed=0, device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    _fill(model.replay_buffer, made_transitions(size.O, size.A, TRANSITIONS))
    return Work(lambda: model.train(BURST, size.batch), BURST)


def fit_steps(size: Size, config: ModelConfig, stance: str = "default") -> Work:
    """Steps of the ensemble's fit, held-out checks included.

    Args:
        size: of observation and action.
        config: of the ensemble.
        stance: of ``torch.compiler``: "default", or "force_eager" to run the same code uncompiled.
    """
    model = WorldModel(Unnamed(size.O, size.A), None, config)
    data = made_transitions(size.O, size.A, TRANSITIONS)
    state, generator = model.initial(data, seed=0), torch.Generator().manual_seed(0)

    def run() -> None:
        with torch.compiler.set_stance(stance):
            model.fit(state, data, BURST, generator)

    return Work(run, BURST)


def plans(size: Size, config: PlanConfig, model_config: ModelConfig, starts: int) -> Work:
    """Plans from ``starts`` start states at once."""
    data = made_transitions(size.O, size.A, TRANSITIONS)
    model, sac = WorldModel(Unnamed(size.O, size.A), None, model_config), size.learner()
    networks = sac.initial(seed=0)
    planner = Planner(
        model,
        model.initial(data, seed=0),
        sac.actor_space.view(networks.actor),
        sac.critic_space.view(networks.critic),
        config,
        DISCOUNT,
        torch.Generator().manual_seed(0),
    )
    mean = torch.zeros(starts, config.horizon, size.A)

    def run() -> None:
        with torch.no_grad():
            planner.plan(data.obs[:starts], mean)

    return Work(run, starts)


def matrix_products(n: int, dtype: torch.dtype) -> Work:
    """Products of two n × n matrices; a unit is one floating-point operation."""
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    product = torch.empty(n, n, dtype=dtype)

    def run() -> None:
        torch.mm(a, b, out=product)

    return Work(run, 2 * n**3)


class _Spaces(gymnasium.Env[Any, Any]):
    """A world of a size in which nothing happens: the peer asks for one before it will learn."""

    def __init__(self, size: Size) -> None:
        self.observation_space = Box(-np.inf, np.inf, (size.O,), np.float32)
        self.action_space = Box(-1.0, 1.0, (size.A,), np.float32)


def _fill(buffer: Any, data: Batch) -> None:
    """Add transitions one by one, which is the peer's only way."""
    columns = (data.obs, data.following, data.applied, data.reward, data.terminated)
    for obs, following, action, reward, done in zip(*map(_rows, columns), strict=True):
        buffer.add(obs, following, action, reward, done, [{}])


def _rows(column: Tensor) -> Iterator[np.ndarray[Any, Any]]:
    return iter(column.numpy()[:, None])
