"""What a method is to the benchmark: made from the world it knows, fed one transition at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.rollout import Policy
from offboard.sac import SacConfig
from offboard.world_model import WorldModel
from protocol.errors import ConfigError


class Agent(Protocol):
    """A learner in the target; it owns its data, its networks and its random stream."""

    def policy(self, explore: bool) -> Policy:
        """The present policy: obs (O,) float32 → action (A,) float32."""
        ...

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one target transition and learn as much as is owed for it.

        Args:
            transition: a batch of one, with the action that was applied.
            over: whether it ended its episode, by termination or by time.
        """
        ...


@dataclass(frozen=True)
class SourceData:
    """What the old task left behind.

    Attributes:
        actor: (P,) best snapshot.
        critic: (P,) of the same snapshot.
        replay: every source transition, in the order it happened.
        returns_to_go: (N,) discounted return from each transition of ``replay`` on
            (:func:`offboard.baselines.episodes.returns_to_go`).
        kept: generated transitions that passed the filter.
    """

    actor: Tensor
    critic: Tensor
    replay: Batch
    returns_to_go: Tensor
    kept: Batch


@dataclass(frozen=True)
class Bench:
    """All that a method may know before its first target transition.

    Attributes:
        O: observation size.
        A: action size.
        discount: per step.
        source: the old task's data, or None where there is none.
        sac: networks and optimiser, the same for every method.
        updates_per_step: gradient steps per target transition after the warm-up.
        warmup_steps: target transitions collected before the first update.
        seed: of networks, minibatches and noise.
        model: the ensemble's functions.
        model_state: the ensemble as fitted to the source, or None.
    """

    O: int
    A: int
    discount: float
    source: SourceData | None
    sac: SacConfig
    updates_per_step: int
    warmup_steps: int
    seed: int
    model: WorldModel
    model_state: ModelState | None

    def known_source(self) -> SourceData:
        """The old task's data. Raises ConfigError where there is none."""
        if self.source is None:
            raise ConfigError("this method learns from a source run and none was given; see source")
        return self.source

    def known_model(self) -> ModelState:
        """The source's ensemble. Raises ConfigError where there is none."""
        if self.model_state is None:
            raise ConfigError("this method needs the source's world model; run the source stage")
        return self.model_state


Factory = Callable[[Bench], Agent]
"""Makes an agent; whatever it learns offline, it learns before it returns."""
