"""A small world known to every baseline: a line along which the best action is +½ everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from offboard.baselines.episodes import returns_to_go
from offboard.bench.agent import Agent, Bench, SourceData
from offboard.networks import act
from offboard.parameters import Space
from offboard.replay import Batch, empty
from offboard.sac import Sac, SacConfig

O, A, DISCOUNT = 2, 1, 0.9
BEST = 0.5
SMALL = SacConfig(width=16, batch=32, lr=5e-3, target_entropy=-3.0)


def bandit(count: int, seed: int, best: float = BEST) -> Batch:
    """Episodes of one step; an action is worth 1 less its squared distance from ``best``."""
    g = torch.Generator().manual_seed(seed)
    obs = torch.randn(count, O, generator=g)
    applied = 2.0 * torch.rand(count, A, generator=g) - 1.0
    reward = 1.0 - (applied[:, 0] - best) ** 2
    return Batch(obs, applied, reward, torch.randn(count, O, generator=g), torch.ones(count))


def chain(rewards: list[float], start: float = 0.0, terminated: bool = False) -> Batch:
    """One episode from x = ``start`` on, x growing by 1 each step."""
    N = len(rewards)
    x = start + torch.arange(N + 1.0)[:, None].expand(-1, O)
    ended = torch.zeros(N)
    ended[-1] = float(terminated)
    return Batch(x[:-1], torch.zeros(N, A), torch.tensor(rewards), x[1:], ended)


def one_by_one(data: Batch) -> list[Batch]:
    return [data.take(torch.tensor([i])) for i in range(data.size)]


def make_bench(replay: Batch, **changes: Any) -> Bench:
    """What a method knows: ``replay`` and the networks of a source learned nowhere."""
    sac = Sac(O, A, DISCOUNT, SMALL).initial(seed=7)
    bench = Bench(
        O=O,
        A=A,
        discount=DISCOUNT,
        source=SourceData(
            sac.actor, sac.critic, replay, returns_to_go(replay, DISCOUNT), empty(O, A)
        ),
        sac=SMALL,
        updates_per_step=2,
        warmup_steps=3,
        seed=0,
        model=cast(Any, None),
        model_state=None,
    )
    return replace(bench, **changes)


def greedy(space: Space, flat: Tensor) -> Tensor:
    """Actions (64, A) that an actor takes in states of the bandit."""
    return act(space.view(flat), bandit(64, seed=999).obs, torch.zeros(64, A))


def experience(agent: Agent, data: Batch, episode: int = 1) -> None:
    """Let ``agent`` observe ``data``, an episode ending every ``episode`` steps."""
    for step, transition in enumerate(one_by_one(data), start=1):
        agent.observe(transition, over=step % episode == 0)
