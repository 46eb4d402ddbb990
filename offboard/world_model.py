"""The world model: a bootstrapped ensemble of Gaussian dynamics networks.

Each member predicts the change of the observation, normalised, with its own variance. Reward and
termination are the task's own functions where it has them, else two more heads of the network; the
action history is copied, not learned. Sources: PETS (Chua et al. 2018) for the
ensemble, § 4, and how it is sampled, § 5; MBPO (Janner et al. 2019) for a learned reward; MOPO (Yu
et al. 2020) for the disagreement of member means as epistemic uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.columns import Columns
from offboard.compiled import compiled
from offboard.device import CPU
from offboard.gaussian_ensemble import GaussianEnsemble
from offboard.model_state import ModelConfig, ModelState
from offboard.outcome import Outcome
from offboard.replay import Batch
from offboard.spread import disagreement, spread_named
from protocol.tasks import Judge


class Step(NamedTuple):
    """One imagined step: following (B, O), reward, terminated and uncertainty, each (B,)."""

    following: Tensor
    reward: Tensor
    terminated: Tensor
    uncertainty: Tensor


class WorldModel:
    """The ensemble for one observation and task; the state is the caller's.

    Args:
        layout: of the observation.
        judge: the task's reward and termination, in [0, 1]; None if both must be learned.
        config: size and training.
        device: of states, and of all data.

    Raises:
        ConfigError: there is no uncertainty of that name.
    """

    def __init__(
        self,
        layout: Columns,
        judge: Judge | None,
        config: ModelConfig,
        device: torch.device = CPU,
    ) -> None:
        self.config = config
        self.device = device
        self.action_size = layout.action_size
        self._judge = judge
        self._outcome = Outcome(layout, judge is None, device)
        self._ensemble = GaussianEnsemble(config, self._outcome, layout.size + layout.action_size)
        self.space = self._ensemble.space
        self._all_but_residual = self.mask(lambda name: "residual" not in name)
        self._spread = spread_named(config.uncertainty)
        self._train_step = compiled(self._ensemble.update)

    def mask(self, moves: Callable[[str], bool]) -> Tensor:
        """(P,) of 1 for parameters whose name ``moves`` accepts, else 0."""
        return self.space.flatten(
            {
                name: torch.full(shape, float(moves(name)), device=self.device)
                for name, shape in self.space.shapes.items()
            }
        )

    def initial(self, data: Batch, seed: int) -> ModelState:
        """Fresh members, normalised and bounded by ``data``."""
        weights = self._ensemble.initial(seed, self.device)
        inputs = torch.cat([data.obs, data.applied], -1)
        wanted = self._outcome.of(data)
        known = torch.arange(wanted.shape[1], device=self.device) < self._outcome.changes
        seen = torch.cat([data.obs, data.following])
        margin = 0.1 * (seen.amax(0) - seen.amin(0))
        return ModelState(
            weights=weights,
            m=torch.zeros_like(weights),
            v=torch.zeros_like(weights),
            step=torch.zeros((), device=self.device),
            in_mean=inputs.mean(0),
            in_std=inputs.std(0).clamp_min(1e-3),
            out_mean=torch.where(known, 0.0, wanted.mean(0)),
            out_std=wanted.std(0).clamp_min(1e-4),
            low=seen.amin(0) - margin,
            high=seen.amax(0) + margin,
            reward_range=torch.stack([data.reward.amin(), data.reward.amax()]),
        )

    def widen(self, state: ModelState, data: Batch) -> ModelState:
        """The same model, allowed to predict as far as ``data`` reaches."""
        seen = torch.cat([data.obs, data.following])
        low, high = torch.minimum(state.low, seen.amin(0)), torch.maximum(state.high, seen.amax(0))
        least, most = state.reward_range.unbind()
        reach = torch.stack(
            [torch.minimum(least, data.reward.amin()), torch.maximum(most, data.reward.amax())]
        )
        return state._replace(low=low, high=high, reward_range=reach)

    def predict(self, state: ModelState, obs: Tensor, applied: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised outcome (changes, and the reward if it is learned), mean and log-variance.

        ``obs`` (B, O) or (K, B, O), ``applied`` likewise → two tensors (K, B, D).
        """
        named = self.space.view(state.weights)
        mean, log_var, _ = self._ensemble.forward(named, state, obs, applied)
        return mean, log_var

    def disagreement(self, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        """Epistemic uncertainty (B,): RMS over changes of the members' standard deviation."""
        return disagreement(*self.predict(state, obs, applied))

    def imagine(
        self, state: ModelState, obs: Tensor, applied: Tensor, generator: torch.Generator
    ) -> Step:
        """One sampled step of a random member (trajectory sampling TS1 of PETS, § 5)."""
        named = self.space.view(state.weights)
        mean, log_var, end = self._ensemble.forward(named, state, obs, applied)  # (K, B, D)
        B = obs.shape[0]
        member = torch.randint(self.config.members, (B,), generator=generator).to(self.device)
        pick = (member, torch.arange(B, device=self.device))
        noise = torch.randn(mean.shape[1:], generator=generator).to(self.device)
        sampled = mean[pick] + (0.5 * log_var[pick]).exp() * noise
        doubt = self._spread(mean, log_var)
        return self._step(state, obs, applied, sampled, end.mean(0), doubt)

    def expect(self, state: ModelState, obs: Tensor, applied: Tensor) -> Step:
        """One step of the ensemble's mean: no sampling, for planning and relabelling."""
        return self.expect_with(self.space.view(state.weights), state, obs, applied)

    def expect_with(
        self, p: dict[str, Tensor], state: ModelState, obs: Tensor, applied: Tensor
    ) -> Step:
        """:meth:`expect` with the weights by name; of ``state`` it reads the normaliser only."""
        mean, log_var, end = self._ensemble.forward(p, state, obs, applied)
        doubt = self._spread(mean, log_var)
        return self._step(state, obs, applied, mean.mean(0), end.mean(0), doubt)

    def member_steps(self, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        """The next observation that each member expects: (K, B, O)."""
        mean, _ = self.predict(state, obs, applied)
        K, B = mean.shape[:2]
        change = (mean * state.out_std + state.out_mean)[..., : self._outcome.changes].flatten(0, 1)
        obs, applied = obs.repeat(K, 1), applied.repeat(K, 1)
        return self._outcome.following(state, obs, applied, change).view(K, B, -1)

    def relabel(self, state: ModelState, data: Batch) -> tuple[Batch, Tensor]:
        """``data`` as the present model would have it happen, and its uncertainty (N,)."""
        step = self.expect(state, data.obs, data.applied)
        return data._replace(
            reward=step.reward, following=step.following, terminated=step.terminated
        ), step.uncertainty

    def nmse(self, state: ModelState, data: Batch) -> float:
        """Mean squared one-step error over the variance of changes in the source data.

        The denominator is the source's: a quiet stretch of data must not look unpredictable.
        """
        return float(self.squared_error(state, data).mean() / self._outcome.changes)

    def squared_error(self, state: ModelState, data: Batch) -> Tensor:
        """Squared one-step error of the mean, summed over normalised changes: (N,)."""
        mean, _ = self.predict(state, data.obs, data.applied)
        error = (mean.mean(0) - self._outcome.normalised(state, data)) ** 2
        return error[:, : self._outcome.changes].sum(-1)

    def reward_nmse(self, state: ModelState, data: Batch) -> float:
        """Mean squared error of the reward of :meth:`expect` over the reward's source variance.

        The source's range stands for its spread where the task's own function is used.
        """
        error = (self.expect(state, data.obs, data.applied).reward - data.reward) ** 2
        least, most = state.reward_range.unbind()
        spread = state.out_std[-1] if self._judge is None else 0.25 * (most - least)
        return float(error.mean() / spread.clamp_min(1e-4) ** 2)

    def fit(
        self,
        state: ModelState,
        data: Batch,
        steps: int,
        generator: torch.Generator,
        on_step: Callable[[int], None] = lambda _: None,
        trained: Tensor | None = None,
    ) -> ModelState:
        """Train on ``data``; keep the weights with the least held-out error, stop when it rises.

        ``trained`` (P,) is 1 for weights that may move and 0 for those that stay; all but those of
        a residual if it is not given.
        """
        mask = self._all_but_residual if trained is None else trained
        order = torch.randperm(data.size, generator=generator).to(self.device)
        held = max(1, int(self.config.holdout * data.size))
        test, train = data.take(order[:held]), data.take(order[held:])
        best, best_error, waited = state, self.nmse(state, test), 0
        for step in range(1, steps + 1):
            shape = (self.config.members, self.config.batch)  # its own bootstrap for each member
            index = torch.randint(train.size, shape, generator=generator).to(self.device)
            state = self._train_step(state, train.take(index), mask)
            on_step(step)
            if step % self.config.check_every == 0 or step == steps:
                error = self.nmse(state, test)
                waited = 0 if error < best_error else waited + 1
                if error < best_error:
                    best, best_error = state, error
                if waited >= self.config.patience:
                    break
        return best

    def _step(
        self, state: ModelState, obs: Tensor, applied: Tensor, outcome: Tensor, end: Tensor,
        uncertainty: Tensor,
    ) -> Step:  # fmt: skip
        """From a normalised outcome (B, D) and the logit of an ending (B,) to a step."""
        outcome = outcome * state.out_std + state.out_mean
        change = outcome[:, : self._outcome.changes]
        following = self._outcome.following(state, obs, applied, change)
        if self._judge is None:
            reward = outcome[:, -1].clamp(state.reward_range[:1], state.reward_range[1:])
            return Step(following, reward, torch.where(end > 0.0, 1.0, 0.0), uncertainty)
        judged = self._judge(obs, applied, following)
        return Step(following, judged.reward.clamp(0.0, 1.0), judged.terminated, uncertainty)
