"""Online fine-tuning in the target task: adapt the model, relabel what is old, learn from both.

One object for the live server and for lock-step experiments; it knows nothing of robots or sockets.
Recipe: LEARNING.md § 5.3 ("relabel"), which reached 90 % of the expert in 2,000-2,500 target steps,
behind the switch of ``offboard/switch.py``: once there is evidence the prior may be let go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.adaptation import adapt_further, resumed, unadapted
from offboard.device import moved
from offboard.evidence import Evidence
from offboard.mismatch import Mismatch, measure
from offboard.model_state import ModelState
from offboard.prior import Prior
from offboard.replay import Batch, Replay, join
from offboard.run_dir import pack, unpack
from offboard.sac import Sac, SacLoss, SacState
from offboard.sampling import SamplingConfig, draw, effective_size, offline_fraction
from offboard.switch import Course, SwitchConfig, decide
from offboard.target_error import TargetError
from offboard.world_model import WorldModel


@dataclass(frozen=True)
class FinetuneConfig:
    """Budgets per target transition.

    Attributes:
        updates_per_step: of actor and critics, for each target transition.
        warmup_steps: target transitions before the first update.
        adapt_every: target transitions between adaptations of the model.
        adapt_steps: updates of the model at each.
        capacity: target transitions that are kept.
        ways: of adapting; they compete by held-out error (``offboard/adaptation.py``).
        course: what to do with prior data; by default the switch decides at the first adaptation.
    """

    updates_per_step: int = 4
    warmup_steps: int = 250
    adapt_every: int = 250
    adapt_steps: int = 300
    capacity: int = 200_000
    ways: tuple[str, ...] = ("whole",)
    course: Course | None = None
    sampling: SamplingConfig = SamplingConfig()  # noqa: RUF009
    switch: SwitchConfig = SwitchConfig()  # noqa: RUF009


class _Progress(NamedTuple):
    """What a checkpoint says beside networks and models: scalars; NaN, or -1, is None."""

    updates: Tensor
    adapted_at: Tensor
    nmse: Tensor
    source_error: Tensor
    course: Tensor


class Learner:
    """Owns the target replay, the adapted ensemble and the SAC state.

    Args:
        sac: the algorithm.
        model: the ensemble's functions.
        sac_state: warm start, usually the source's best snapshot.
        model_state: the source ensemble.
        prior: prior transitions (source replay and kept generated ones), relabelled as the model
            learns the target.
        config: budgets.
        seed: of minibatches, noise and fresh networks.
        random_reward: mean reward per step of random actions in the source; -inf never gives the
            source policy up.
        from_scratch: the algorithm if it does; fresh networks bear larger steps than warm ones.
    """

    def __init__(
        self,
        sac: Sac,
        model: WorldModel,
        sac_state: SacState,
        model_state: ModelState,
        prior: Batch,
        config: FinetuneConfig,
        seed: int,
        random_reward: float = -math.inf,
        from_scratch: Sac | None = None,
    ) -> None:
        self.state = sac_state
        self.online = Replay(
            prior.obs.shape[1], prior.applied.shape[1], config.capacity, sac.device
        )
        self._sac = sac
        self._from_scratch = from_scratch or sac
        self._model = model
        self._source_state = model_state
        self._adaptation = unadapted(model, model_state, config.ways)
        self._random_reward = random_reward
        self._seed = seed
        self._mismatch: Mismatch | None = None
        self._course = config.course
        self._prior = Prior(prior)
        self._source_error = math.inf
        self._config = config
        self._generator = torch.Generator().manual_seed(seed)  # of SAC alone: what the model does
        self._model_generator = torch.Generator().manual_seed(
            seed
        )  # leaves plain updates as they are
        self._error = TargetError()
        self._loss: SacLoss | None = None
        self._updates = 0
        self._adapted_at = 0

    @property
    def evidence(self) -> Evidence:
        """The learner's present view of the target."""
        return Evidence(
            self.online.added,
            self._error.measured,
            self._fraction(),
            effective_size(self._beliefs()),
            self._updates,
            self.pessimism,
            self._mismatch,
            self._course,
            self._adaptation.way if self._adapted_at else None,
        )

    @property
    def losses(self) -> dict[str, float]:
        """Of the last update, as a log names them; nothing before there was one."""
        return {} if self._loss is None else self._loss.row()

    @property
    def model_state(self) -> ModelState:
        """The ensemble as adapted so far, in the way that is believed."""
        return self._adaptation.state

    @property
    def pessimism(self) -> float:
        """Factor of the penalty for uncertainty; 1 until the model was judged in the target."""
        return self._error.pessimism

    @property
    def trusts_model(self) -> bool:
        """Whether the model was adapted to the target and found fit to learn from."""
        return self._adapted_at > 0 and self._course is Course.RELABEL

    def observe(self, transitions: Batch) -> None:
        """Take new target transitions; the model is judged on them before it may learn them.

        After a restart the first ``_adapted_at`` come a second time and judge nothing.
        """
        if transitions.size == 0:
            return
        transitions = moved(transitions, self._sac.device)
        if transitions.size >= 2 and 0 < self._adapted_at <= self.online.added:
            self._error = self._error.followed(self._model, self.model_state, transitions)
        self.online.add(transitions)

    def warm_up(self) -> None:
        """Compile by updating once on prior data and forgetting the outcome: state is untouched."""
        prior = self._prior.recorded
        index = torch.arange(self._sac.config.batch, device=self._sac.device) % prior.size
        self._sac.update(self.state, prior.take(index), self._sac.noise(torch.Generator()))
        self._model.fit(self.model_state, prior, 1, torch.Generator())

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint of what was learned; the experience itself lies in the episode store."""
        nmse, stated = self._error
        progress = _Progress(
            updates=torch.tensor(self._updates),
            adapted_at=torch.tensor(self._adapted_at),
            nmse=torch.tensor(math.nan if nmse is None else nmse, dtype=torch.float64),
            source_error=torch.tensor(self._source_error, dtype=torch.float64),
            course=torch.tensor(-1 if self._course is None else list(Course).index(self._course)),
        )
        return {
            **pack("sac", self.state),
            **pack("progress", progress),
            "stated": torch.tensor(math.nan if stated is None else stated),
            **self._adaptation.tensors(),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a checkpoint. Raises StoreError naming what it lacks."""
        self.state = moved(unpack("sac", SacState, tensors), self._sac.device)
        progress = unpack("progress", _Progress, tensors)
        self._adaptation = resumed(self._model, tensors)
        self._updates, self._adapted_at = int(progress.updates), int(progress.adapted_at)
        stated = tensors.get("stated", torch.tensor(math.nan))  # an older checkpoint has none
        self._error = TargetError(_known(progress.nmse), _known(stated))
        self._source_error = float(progress.source_error)
        self._course = None if progress.course < 0 else list(Course)[int(progress.course)]
        if self._course is Course.SCRATCH:
            self._sac = self._from_scratch
        if self._adapted_at:
            self._prior.relabel(self._model, self.model_state)

    @property
    def due_for_adaptation(self) -> bool:
        """Whether enough target data arrived since the ensemble was last adapted.

        A learner told to go without the prior, or to take it as it is, needs no model.
        """
        if self._config.course in (Course.FINETUNE, Course.SCRATCH, Course.RAW):
            return False
        return self.online.added - self._adapted_at >= self._config.adapt_every

    def adapt(self) -> None:
        """Fine-tune the ensemble on target data, then relabel the prior with it."""
        target = self.online.all()
        self._adaptation = adapt_further(
            self._model,
            self._adaptation,
            target,
            newest=self.online.added - self._adapted_at,
            steps=self._config.adapt_steps,
            generator=self._model_generator,
        )
        self._adapted_at = self.online.added
        self._source_error = float(self._model.squared_error(self._source_state, target).mean())
        if self._mismatch is None:
            self._take_course(target)
        self._prior.relabel(self._model, self.model_state)

    def _take_course(self, target: Batch) -> None:
        """Measure source against target and decide, once: support grows by itself with data.

        The source model never saw the target, so all of it is held-out data for it. What is not a
        number speaks for nothing old, and is measured again.
        """
        measured = measure(
            self._model,
            self._source_state,
            self.model_state,
            self._prior.recorded,
            target,
            self._model_generator,
        )
        self._mismatch = measured if measured.finite else None
        if self._course is not None:
            return
        reward = float(target.reward.mean())
        self._course = decide(measured, reward, self._random_reward, self._config.switch)
        if self._course is Course.SCRATCH:
            self._sac = self._from_scratch
            self.state = self._sac.initial(self._seed)

    @property
    def updates_owed(self) -> int:
        """Updates earned by the target transitions seen so far and not yet made."""
        past_warmup = max(0, self.online.added - self._config.warmup_steps)
        return past_warmup * self._config.updates_per_step - self._updates

    def train(self, updates: int) -> None:
        """Make ``updates`` SAC steps on mixed minibatches."""
        size = self._sac.config.batch
        offline = round(size * self._fraction())
        cumulative = self._beliefs().double().cumsum(0)
        for _ in range(updates):
            batch = self._mixed(offline, size - offline, cumulative)
            self.state, self._loss = self._sac.update(
                self.state, batch, self._sac.noise(self._generator)
            )
        self._updates += updates

    def _beliefs(self) -> Tensor:
        return self._prior.beliefs(self._error.measured, self._source_error)

    def _mixed(self, offline: int, online: int, cumulative: Tensor) -> Batch:
        fresh = self.online.sample(online, self._generator)
        if offline == 0:
            return fresh
        index = draw(cumulative, offline, self._generator)
        return join((self._prior.relabelled.take(index), fresh))

    def _fraction(self) -> float:
        if self._course is Course.RAW:
            return self._config.sampling.start
        if self._error.measured is None or self._course is not Course.RELABEL:
            return 0.0  # no trust without evidence
        return offline_fraction(self.online.added, self._error.measured, self._config.sampling)


def _known(checkpointed: Tensor) -> float | None:
    return None if checkpointed.isnan() else float(checkpointed)
