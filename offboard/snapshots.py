"""Which policy the robot should run: an imagined comparison before, real episodes after.

The adapted model judges a candidate against the incumbent from the target's own start states; what
the robot then measures decides which snapshot is kept as the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from offboard.networks import act
from offboard.parameters import Space
from offboard.world_model import ModelState, WorldModel

_PREFIX = "snapshot."


@torch.no_grad()
def imagined_return(
    model: WorldModel, state: ModelState, space: Space, actor: Tensor, starts: Tensor, steps: int
) -> float:
    """Mean undiscounted return of the deterministic ``actor`` (P,) from ``starts`` (S, O)."""
    named = space.view(actor)
    obs, alive, total = starts, torch.ones(starts.shape[0]), torch.zeros(starts.shape[0])
    quiet = torch.zeros(starts.shape[0], model.action_size)
    for _ in range(steps):
        step = model.expect(state, obs, act(named, obs, quiet))
        total += alive * step.reward
        alive *= 1.0 - step.terminated
        obs = step.following
    return float(total.mean())


@dataclass
class Snapshot:
    """A published actor (P,) and what the robot measured with it."""

    version: int
    actor: Tensor
    imagined: float
    returns: list[float] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Half what was measured, half what the model expects; unmeasured ones do not qualify."""
        if not self.returns:
            return float("-inf")
        return 0.5 * (sum(self.returns) / len(self.returns) + self.imagined)


class Snapshots:
    """Every published actor by version."""

    def __init__(self) -> None:
        self._all: dict[int, Snapshot] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, snapshot: Snapshot) -> None:
        """Remember a published actor."""
        self._all[snapshot.version] = snapshot

    def measured(self, version: int, total: float) -> None:
        """The robot finished an episode mainly with ``version``."""
        if version in self._all:
            self._all[version].returns.append(total)

    @property
    def latest(self) -> Snapshot:
        """The newest one."""
        return self._all[max(self._all)]

    def best(self) -> Snapshot:
        """The measured snapshot with the highest score, or the newest if none was measured."""
        best = max(self._all.values(), key=lambda snapshot: snapshot.score)
        return best if best.returns else self.latest

    def reimagine(self, expect: dict[int, float]) -> None:
        """Replace expectations by those of the present model."""
        for version, imagined in expect.items():
            self._all[version].imagined = imagined

    def actors(self) -> dict[int, Tensor]:
        """Actors by version."""
        return {version: snapshot.actor for version, snapshot in self._all.items()}

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint of the actors; what was measured with them lies in the episode store."""
        return {f"{_PREFIX}{version}": actor for version, actor in self.actors().items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the snapshots of a checkpoint, unmeasured and with no expectation."""
        for name, actor in tensors.items():
            if name.startswith(_PREFIX):
                self.add(Snapshot(int(name.removeprefix(_PREFIX)), actor, math.nan))
