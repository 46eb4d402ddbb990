"""Which snapshot would be deployed, with a learner that does nothing but change its actor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from offboard.bench.transfer_agent import TransferAgent
from offboard.replay import Batch
from offboard.sac import Sac, SacConfig
from offboard.switch import Course

SAC = Sac(1, 1, 0.9, SacConfig(width=4, batch=4))
EPISODE = 30


class Drifting:
    """A learner on a course without the model; its actor's last bias is the number of arrivals."""

    trusts_model = False
    due_for_adaptation = False
    updates_owed = 0
    evidence = SimpleNamespace(course=Course.FINETUNE)

    def __init__(self) -> None:
        self.arrivals = 0

    @property
    def state(self) -> Any:
        return SimpleNamespace(actor=torch.full((SAC.actor_space.size,), 0.1 * self.arrivals))

    def observe(self, transitions: Batch) -> None:
        self.arrivals += 1

    def train(self, updates: int) -> None: ...


def episode(reward: float) -> list[Batch]:
    column, one = torch.full((1, 1), 0.5), torch.zeros(1)
    return [Batch(column, column, torch.tensor([reward]), column, one) for _ in range(EPISODE)]


def flown(agent: TransferAgent, rewards: list[float]) -> None:
    for reward in rewards:
        steps = episode(reward)
        for index, step in enumerate(steps, 1):
            agent.observe(step, index == len(steps))


@pytest.mark.parametrize(("kept_anyway", "deploys_arrivals"), [(False, 6), (True, 2)])
def test_fine_tuning_deploys_the_newest_or_the_best_measured_of_its_snapshots(
    kept_anyway: bool, deploys_arrivals: int
) -> None:
    """The second episode was the best: the actor of two arrivals had flown it."""
    learner = Drifting()
    agent = TransferAgent(learner, None, SAC, 0, kept_anyway)  # type: ignore[arg-type]
    flown(agent, [0.2, 0.9, 0.4])
    wanted = Drifting()
    wanted.arrivals = deploys_arrivals
    newest = TransferAgent(wanted, None, SAC, 0)  # type: ignore[arg-type]
    obs = np.array([0.3], np.float32)
    assert agent.policy(explore=False)(obs) == pytest.approx(newest.policy(explore=False)(obs))
