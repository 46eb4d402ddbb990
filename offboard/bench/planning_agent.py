"""The learner with a planner as its policy: MPPI in the adapted model, at every step.

Until the model knows the target, and where the course is not ``relabel``, the actor acts.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from offboard.bench.transfer_agent import TransferAgent
from offboard.compiled import compiled
from offboard.evidence import Evidence
from offboard.finetune import Learner
from offboard.model_state import ModelState
from offboard.planner_policy import PlannerArchitecture
from offboard.replay import Batch
from offboard.rollout import Policy


class Planner:
    """A planner's functions; one serves every agent of its task."""

    def __init__(self, architecture: PlannerArchitecture) -> None:
        self.architecture = architecture
        self.act = compiled(architecture.act)


class PlanningAgent:
    """Learns as ``agent`` does; acts with the planner made of what was learned."""

    def __init__(self, agent: TransferAgent, learner: Learner, planner: Planner, seed: int) -> None:
        self._agent = agent
        self._learner = learner
        self._planner = planner
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def evidence(self) -> Evidence:
        """The learner's view of the target."""
        return self._learner.evidence

    @property
    def model_state(self) -> ModelState:
        """The ensemble as adapted so far."""
        return self._learner.model_state

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition; learn at every arrival."""
        self._agent.observe(transition, over)

    def policy(self, explore: bool) -> Policy:
        """The planner, with the actor's exploration if asked for."""
        if not self._learner.trusts_model:
            return self._agent.policy(explore)
        architecture = self._planner.architecture
        learner = self._learner
        flat = architecture.parameters(learner.state, learner.model_state, learner.pessimism)
        named = architecture.space.view(flat)
        A = architecture.space.shapes["search.pushes"][1]

        def choose(obs: NDArray[np.float32]) -> NDArray[np.float32]:
            noise = torch.zeros(1, A)
            if explore:
                noise = torch.randn(1, A, generator=self._generator)
            with torch.no_grad():
                action: NDArray[np.float32] = self._planner.act(
                    named, torch.from_numpy(obs)[None], noise
                )[0].numpy()
            return action

        return choose
