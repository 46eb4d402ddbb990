"""The product's own learner in lock step: what ``wombet-offboard serve`` runs, without a robot."""

from __future__ import annotations

import torch

from offboard.finetune import Evidence, Learner
from offboard.replay import Batch, join
from offboard.rollout import Policy, actor_policy
from offboard.sac import Sac
from offboard.world_model import ModelState

ARRIVAL = 25
"""Transitions arrive together, as the robot's batches do (half a second at 50 Hz)."""


class TransferAgent:
    """Feeds a :class:`Learner` and lets it do all it owes at each arrival."""

    def __init__(self, learner: Learner, sac: Sac, seed: int) -> None:
        self._learner = learner
        self._space = sac.actor_space
        self._generator = torch.Generator().manual_seed(seed)
        self._waiting: list[Batch] = []

    @property
    def evidence(self) -> Evidence:
        """The learner's view of the target."""
        return self._learner.evidence

    @property
    def model_state(self) -> ModelState:
        """The ensemble as adapted so far."""
        return self._learner.model_state

    def policy(self, explore: bool) -> Policy:
        """The present actor."""
        return actor_policy(
            self._space, self._learner.state.actor, self._generator if explore else None
        )

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition; learn at every arrival."""
        self._waiting.append(transition)
        if len(self._waiting) < ARRIVAL and not over:
            return
        self._learner.observe(join(self._waiting))
        self._waiting.clear()
        if self._learner.due_for_adaptation:
            self._learner.adapt()
        self._learner.train(max(0, self._learner.updates_owed))
