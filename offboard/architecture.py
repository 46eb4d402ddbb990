"""What a policy computes, as a pure function of named tensors: what one graph is exported from.

An architecture says which tensors a policy consists of, takes them out of a learner, and acts with
them. The graph of a bundle is the architecture; its weight file is one vector of parameters.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.networks import Named, act
from offboard.parameters import Space
from offboard.sac import SacState


class Architecture(Protocol):
    """A kind of policy. ``space`` names everything an update may change, normalisers included."""

    @property
    def space(self) -> Space:
        """Names and shapes of the graph's weight inputs."""

    def parameters(self, sac: SacState, model: ModelState, pessimism: float) -> Tensor:
        """The policy (P,) that a learner in this state would publish.

        ``pessimism`` multiplies the penalty of one that looks ahead.
        """

    def act(self, p: Named, obs: Tensor, noise: Tensor) -> Tensor:
        """``obs`` (S, O), exploration ``noise`` (S, A) of unit normals or zeros → (S, A)."""


class ActorArchitecture:
    """The actor behind a normaliser, which is the identity: the layout's scales do its work."""

    def __init__(self, actor: Space) -> None:
        O = actor.shapes["actor.0.weight"][0]
        self.space = Space({**actor.shapes, "obs_mean": (1, O), "obs_std": (1, O)})
        self._O = O

    def parameters(self, sac: SacState, model: ModelState, pessimism: float = 1.0) -> Tensor:
        """The actor (P,) alone; it does not look ahead."""
        return torch.cat([sac.actor, sac.actor.new_zeros(self._O), sac.actor.new_ones(self._O)])

    def act(self, p: Named, obs: Tensor, noise: Tensor) -> Tensor:
        """(S, O), (S, A) → (S, A)."""
        return act(p, (obs - p["obs_mean"]) / p["obs_std"], noise)
