"""What is timed: our update, fit and plan, stable-baselines3's update, and bare matrix products.

Both learners draw batches from their own replay of the same made transitions: no environment, no
evaluation, gradient steps only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from offboard.columns import Unnamed
from offboard.model_state import ModelConfig
from offboard.planner import PlanConfig, Planner
from offboard.replay import Batch, Replay
from offboard.sac import Sac, SacConfig, SacLoss, SacState
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

TRANSITIONS = 5_000
BURST = 25
DISCOUNT = 0.99


class Work(NamedTuple):
    """``run`` does ``units`` units of work."""

    run: Callable[[], None]
    units: int


def learner(O: int, A: int, width: int, batch: int) -> Sac:
    """Ours: LayerNorm critics, two of them, automatic temperature."""
    return Sac(O, A, DISCOUNT, SacConfig(width=width, batch=batch, target_entropy=-float(A)))


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


def updates(sac: Sac, dtype: torch.dtype, seed: int = 0) -> Iterator[tuple[SacState, SacLoss]]:
    """Endless updates of ours from ``seed``; matrix products in ``dtype``."""
    generator = torch.Generator().manual_seed(seed)
    O, A = _sizes(sac)
    replay = Replay(O, A, TRANSITIONS)
    replay.add(made_transitions(O, A, TRANSITIONS))
    state = sac.initial(seed)
    while True:
        batch, noise = replay.sample(sac.config.batch, generator), sac.noise(generator)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            state, loss = sac.update(state, batch, noise)
        yield state, loss


def our_updates(sac: Sac, dtype: torch.dtype = torch.float32) -> Work:
    """Updates of ours."""
    stream = updates(sac, dtype)

    def run() -> None:
        for _ in range(BURST):
            next(stream)

    return Work(run, BURST)


def peer_updates(sac: Sac) -> Work:
    """Updates of stable-baselines3's SAC with the network, batch and step sizes of ``sac``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from stable_baselines3 import SAC  # noqa: PLC0415
        from stable_baselines3.common.logger import Logger  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("stable-baselines3 is missing; see requirements/bench.txt") from error
    (O, A), ours = _sizes(sac), sac.config
    model = SAC(
        "MlpPolicy", _Spaces(O, A), learning_rate=ours.lr, buffer_size=TRANSITIONS,
        batch_size=ours.batch, tau=ours.tau, gamma=DISCOUNT, ent_coef=f"auto_{ours.alpha_start}",
        policy_kwargs={"net_arch": [ours.width] * 2, "n_critics": ours.critics},
        seed=0, device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    _fill(model.replay_buffer, made_transitions(O, A, TRANSITIONS))
    return Work(lambda: model.train(BURST, ours.batch), BURST)


def fit_steps(O: int, A: int, config: ModelConfig, stance: str = "default") -> Work:
    """Steps of the ensemble's fit, held-out checks included.

    Args:
        O: observation size.
        A: action size.
        config: of the ensemble.
        stance: of ``torch.compiler``: "default", or "force_eager" to run the same code uncompiled.
    """
    model, data = WorldModel(Unnamed(O, A), None, config), made_transitions(O, A, TRANSITIONS)
    state, generator = model.initial(data, seed=0), torch.Generator().manual_seed(0)

    def run() -> None:
        with torch.compiler.set_stance(stance):
            model.fit(state, data, BURST, generator)

    return Work(run, BURST)


def plans(sac: Sac, config: PlanConfig, model_config: ModelConfig, starts: int) -> Work:
    """Plans from ``starts`` start states at once, with the networks of ``sac``."""
    O, A = _sizes(sac)
    data, model = made_transitions(O, A, TRANSITIONS), WorldModel(Unnamed(O, A), None, model_config)
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
    mean = torch.zeros(starts, config.horizon, A)

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

    def __init__(self, O: int, A: int) -> None:
        self.observation_space = Box(-np.inf, np.inf, (O,), np.float32)
        self.action_space = Box(-1.0, 1.0, (A,), np.float32)


def _sizes(sac: Sac) -> tuple[int, int]:
    """Observation and action of a learner."""
    return sac.actor_space.shapes["actor.0.weight"][0], sac.action_size


def _fill(buffer: Any, data: Batch) -> None:
    """Add transitions one by one, which is the peer's only way."""
    columns = (data.obs, data.following, data.applied, data.reward, data.terminated)
    for obs, following, action, reward, done in zip(*map(_rows, columns), strict=True):
        buffer.add(obs, following, action, reward, done, [{}])


def _rows(column: Tensor) -> Iterator[np.ndarray[Any, Any]]:
    return iter(column.numpy()[:, None])
