"""Which policy the robot should run: an imagined comparison before, real episodes after.

The adapted model judges a candidate from the target's own start states, against what the robot
measured of the incumbent. The best snapshot must convince both judges: a model trained on what a
policy visits flatters it, and a few lucky episodes do too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, pstdev

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.world_model import WorldModel

_PREFIX = "snapshot."

Act = Callable[[Tensor], Tensor]
"""A deterministic policy: (S, O) → (S, A)."""


def imagined_return(
    model: WorldModel, state: ModelState, act: Act, starts: Tensor, steps: int
) -> float:
    """Mean undiscounted return of ``act`` from ``starts`` (S, O)."""
    return imagined_returns(model, state, [act], starts, steps)[0]


@torch.no_grad()
def imagined_returns(
    model: WorldModel, state: ModelState, acts: Sequence[Act], starts: Tensor, steps: int
) -> list[float]:
    """:func:`imagined_return` of each, in one pass through the model."""
    S, rows = starts.shape[0], len(acts) * starts.shape[0]
    obs, alive, total = starts.repeat(len(acts), 1), starts.new_ones(rows), starts.new_zeros(rows)
    for _ in range(steps):
        action = torch.cat(
            [act(part) for act, part in zip(acts, obs.view(len(acts), S, -1), strict=True)]
        )
        step = model.expect(state, obs, action)
        total += alive * step.reward
        alive *= 1.0 - step.terminated
        obs = step.following
    means: list[float] = total.view(len(acts), S).mean(1).cpu().tolist()
    return means


@dataclass
class Snapshot:
    """A published policy (P,) and what the robot measured with it."""

    version: int
    policy: Tensor
    returns: list[float] = field(default_factory=list)

    def lower_bound(self, spread: float) -> float:
        """Mean measured return less its standard error, for episodes that scatter by ``spread``.

        Raises StatisticsError if nothing was measured.
        """
        return mean(self.returns) - spread / math.sqrt(len(self.returns))


class Snapshots:
    """Every published policy by version."""

    def __init__(self) -> None:
        self._all: dict[int, Snapshot] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, version: int) -> bool:
        return version in self._all

    def __getitem__(self, version: int) -> Snapshot:
        return self._all[version]

    def add(self, snapshot: Snapshot) -> None:
        """Remember a published policy."""
        self._all[snapshot.version] = snapshot

    def measured(self, version: int, total: float) -> None:
        """The robot finished an episode with ``version`` alone."""
        if version in self._all:
            self._all[version].returns.append(total)

    @property
    def latest(self) -> Snapshot:
        """The newest one."""
        return self._all[max(self._all)]

    def best(self, imagine: Callable[[Tensor], float]) -> Snapshot:
        """The measured snapshot whose worse verdict is best, or the newest if none was measured.

        The verdicts are the lower bound of what was measured and what ``imagine`` expects of the
        policy; an expectation that is not finite has no say. Imagining takes long, so it is asked
        only of snapshots whose bound alone could still win.
        """
        measured = [snapshot for snapshot in self._all.values() if snapshot.returns]
        if not measured:
            return self.latest
        spread = pstdev(total for snapshot in measured for total in snapshot.returns)
        best, verdict = measured[0], -math.inf
        for snapshot in sorted(measured, key=lambda s: s.lower_bound(spread), reverse=True):
            bound = snapshot.lower_bound(spread)
            if bound <= verdict:
                break
            expected = imagine(snapshot.policy)
            worse = min(bound, expected) if math.isfinite(expected) else bound
            if worse > verdict:
                best, verdict = snapshot, worse
        return best

    def policies(self) -> dict[int, Tensor]:
        """Policies by version."""
        return {version: snapshot.policy for version, snapshot in self._all.items()}

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint of the policies; what was measured with them lies in the episode store."""
        return {f"{_PREFIX}{version}": policy for version, policy in self.policies().items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the snapshots of a checkpoint, unmeasured."""
        for name, policy in tensors.items():
            if name.startswith(_PREFIX):
                self.add(Snapshot(int(name.removeprefix(_PREFIX)), policy))
