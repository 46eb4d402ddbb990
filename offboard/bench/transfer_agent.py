"""The product's own learner in lock step: what ``wombet-offboard serve`` runs, without a robot.

The learner's newest actor explores. What would be deployed is the best snapshot of those that have
acted for an episode, as on the robot: late training and the dip after a change of task must not
destroy a good policy. A snapshot is worth the less of what was measured and what the adapted model
expects. Where the model has no say (the course is not ``relabel``) the newest is deployed, unless
snapshots are ``kept_anyway``: then what was measured decides alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean

import torch
from torch import Tensor

from offboard.evidence import Evidence
from offboard.finetune import Learner
from offboard.model_state import ModelState
from offboard.networks import act
from offboard.replay import Batch, join
from offboard.rollout import Policy, actor_policy
from offboard.sac import Sac
from offboard.snapshots import Act, imagined_returns
from offboard.switch import Course
from offboard.world_model import WorldModel

ARRIVAL = 25
"""Transitions arrive together, as the robot's batches do (half a second at 50 Hz)."""
STARTS, SNAPSHOTS = 8, 6
LOOK_AHEAD = 250
_NEWEST = (Course.FINETUNE, Course.SCRATCH)


@dataclass(eq=False)
class _Kept:
    """An actor (P,) and the mean rewards per step of the exploring episodes it has acted in."""

    actor: Tensor
    measured: list[float] = field(default_factory=list)


class TransferAgent:
    """Feeds a :class:`Learner` and lets it do all it owes at each arrival."""

    def __init__(
        self, learner: Learner, model: WorldModel, sac: Sac, seed: int, kept_anyway: bool = False
    ) -> None:
        self._learner = learner
        self._model = model
        self._sac = sac
        self._kept_anyway = kept_anyway
        self._generator = torch.Generator().manual_seed(seed)
        self._waiting: list[Batch] = []
        self._starts: list[Tensor] = []
        self._kept = [_Kept(learner.state.actor)]
        self._rewards: list[float] = []

    @property
    def evidence(self) -> Evidence:
        """The learner's view of the target."""
        return self._learner.evidence

    @property
    def model_state(self) -> ModelState:
        """The ensemble as adapted so far."""
        return self._learner.model_state

    def policy(self, explore: bool) -> Policy:
        """The newest actor to explore with, or the one that would be deployed."""
        if explore:
            return actor_policy(self._sac.actor_space, self._kept[-1].actor, self._generator)
        return actor_policy(self._sac.actor_space, self._deployed())

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition; learn at every arrival."""
        self._measure(transition, over)
        self._waiting.append(transition)
        if len(self._waiting) < ARRIVAL and not over:
            return
        self._learner.observe(join(self._waiting))
        self._waiting.clear()
        if self._learner.due_for_adaptation:
            self._learner.adapt()
        self._learner.train(max(0, self._learner.updates_owed))
        if not self._kept_anyway and self._learner.evidence.course in _NEWEST:
            self._kept = [_Kept(self._learner.state.actor)]
        elif over:
            self._keep()

    def _measure(self, transition: Batch, over: bool) -> None:
        if not self._rewards:
            self._starts = [*self._starts, transition.obs[0]][-STARTS:]
        self._rewards.append(float(transition.reward))
        if over:
            self._kept[-1].measured.append(mean(self._rewards))
            self._rewards.clear()

    def _keep(self) -> None:
        """The newest actor explores from now on; the worst of the others is forgotten."""
        self._kept.append(_Kept(self._learner.state.actor))
        if len(self._kept) > SNAPSHOTS:
            *before, _ = self._kept
            del self._kept[_best([-worth for worth in self._worth(before)])]

    def _deployed(self) -> Tensor:
        if not (self._kept_anyway or (self._learner.trusts_model and self._starts)):
            return self._learner.state.actor
        flown = [kept for kept in self._kept if kept.measured] or self._kept
        return flown[_best(self._worth(flown))].actor

    def _worth(self, candidates: Sequence[_Kept]) -> list[float]:
        """Rewards per step: the less of what the model expects of each and what was measured."""
        return [
            min(expected, mean(kept.measured) if kept.measured else math.inf)
            for expected, kept in zip(self._expected(candidates), candidates, strict=True)
        ]

    def _expected(self, candidates: Sequence[_Kept]) -> list[float]:
        """Rewards per step as the model has it; without a model to ask, anything."""
        if not self._learner.trusts_model:
            return [math.inf] * len(candidates)
        totals = imagined_returns(
            self._model, self.model_state, [self._act(kept.actor) for kept in candidates],
            torch.stack(self._starts), LOOK_AHEAD,
        )  # fmt: skip
        return [total / LOOK_AHEAD for total in totals]

    def _act(self, actor: Tensor) -> Act:
        named = self._sac.actor_space.view(actor)
        quiet = torch.zeros(len(self._starts), self._sac.action_size)
        return lambda obs: act(named, obs, quiet)


def _best(worth: Sequence[float]) -> int:
    return max(range(len(worth)), key=worth.__getitem__)
