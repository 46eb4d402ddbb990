"""The world model: a bootstrapped ensemble of Gaussian dynamics networks.

Each member predicts the change of the observation, normalised, with its own variance. Reward and
termination are the task's own functions where it has them, else two more heads of the network; the
action history is copied, not learned. Sources: PETS (Chua et al. 2018) § 4 for the probabilistic
ensemble and its bounded log-variance; MBPO (Janner et al. 2019) for a learned reward; MOPO (Yu et
al. 2020) for the disagreement of member means as epistemic uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import binary_cross_entropy_with_logits, silu, softplus

from offboard.columns import Columns
from offboard.compiled import compiled
from offboard.device import CPU
from offboard.parameters import Adam, Space
from offboard.replay import Batch
from offboard.spread import disagreement, spread_named
from protocol.tasks import Judge


@dataclass(frozen=True)
class ModelConfig:
    """Size and training of the ensemble; LEARNING.md § 4 (5 × H64, batch 256).

    Attributes:
        members: of the ensemble.
        width: of both hidden layers.
        batch: transitions of an update, for each member.
        lr: learning rate.
        weight_decay: of AdamW.
        holdout: share of the data that decides when to stop.
        check_every: updates.
        patience: checks without progress until it stops.
        residual: width of a net beside each member that only adaptation moves; 0 for none.
        uncertainty: which one a step carries (``offboard/spread.py``); weights do not depend on it.
    """

    members: int = 5
    width: int = 64
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-5
    holdout: float = 0.1
    check_every: int = 250
    patience: int = 4
    residual: int = 0
    uncertainty: str = "disagreement"


class ModelState(NamedTuple):
    """Weights (P,), Adam moments and the normaliser.

    Inputs (O+A,); outputs (D,), which are changes of observation and, where it is learned, the
    reward; bounds of the observation (O,) and of the reward (2,).
    """

    weights: Tensor
    m: Tensor
    v: Tensor
    step: Tensor
    in_mean: Tensor
    in_std: Tensor
    out_mean: Tensor
    out_std: Tensor
    low: Tensor
    high: Tensor
    reward_range: Tensor


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
        self._layout = layout
        self._judge = judge
        history = {column for column, _, _ in layout.history}
        self._columns = [i for i in range(layout.size) if i not in history]
        self._changing = torch.tensor(self._columns).to(device)
        self._scatter = torch.eye(layout.size)[self._columns].to(device)  # (·, O)
        self._pairs, self._alone = (part.to(device) for part in _circles(layout))
        K, H = config.members, config.width
        inputs = layout.size + layout.action_size
        outputs = len(self._columns) + (judge is None)  # D: a learned reward is the last
        self.space = Space(
            {
                "model.0.weight": (K, inputs, H),
                "model.0.bias": (K, 1, H),
                "model.1.weight": (K, H, H),
                "model.1.bias": (K, 1, H),
                "model.mean.weight": (K, H, outputs),
                "model.mean.bias": (K, 1, outputs),
                "model.log_var.weight": (K, H, outputs),
                "model.log_var.bias": (K, 1, outputs),
                "model.max_log_var": (outputs,),
                "model.min_log_var": (outputs,),
                **({} if judge else {"model.end.weight": (K, H, 1), "model.end.bias": (K, 1, 1)}),
                **_residual_shapes(K, inputs, config.residual, outputs),
            }
        )
        self._all_but_residual = self.mask(lambda name: "residual" not in name)
        self._spread = spread_named(config.uncertainty)
        self._adam = Adam(config.lr)
        self._train_step = compiled(self._update)

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
        drawn = self.space.initial(torch.Generator().manual_seed(seed))
        named = self.space.view(drawn.to(self.device))
        named["model.max_log_var"] = torch.full_like(named["model.max_log_var"], 0.5)
        named["model.min_log_var"] = torch.full_like(named["model.min_log_var"], -10.0)
        if self.config.residual:
            named["model.residual.1.weight"] = torch.zeros_like(named["model.residual.1.weight"])
        weights = self.space.flatten(named)
        inputs = torch.cat([data.obs, data.applied], -1)
        wanted = self._outcome(data)
        known = torch.arange(wanted.shape[1], device=self.device) < len(self._columns)
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
        mean, log_var, _ = self._forward(self.space.view(state.weights), state, obs, applied)
        return mean, log_var

    def disagreement(self, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        """Epistemic uncertainty (B,): RMS over changes of the members' standard deviation."""
        return disagreement(*self.predict(state, obs, applied))

    def imagine(
        self, state: ModelState, obs: Tensor, applied: Tensor, generator: torch.Generator
    ) -> Step:
        """One sampled step of a random member (trajectory sampling TS1 of PETS, § 5)."""
        named = self.space.view(state.weights)
        mean, log_var, end = self._forward(named, state, obs, applied)  # (K, B, D)
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
        mean, log_var, end = self._forward(p, state, obs, applied)
        doubt = self._spread(mean, log_var)
        return self._step(state, obs, applied, mean.mean(0), end.mean(0), doubt)

    def member_steps(self, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        """The next observation that each member expects: (K, B, O)."""
        mean, _ = self.predict(state, obs, applied)
        K, B = mean.shape[:2]
        change = (mean * state.out_std + state.out_mean)[..., : len(self._columns)].flatten(0, 1)
        return self._next(state, obs.repeat(K, 1), applied.repeat(K, 1), change).view(K, B, -1)

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
        return float(self.squared_error(state, data).mean() / len(self._columns))

    def squared_error(self, state: ModelState, data: Batch) -> Tensor:
        """Squared one-step error of the mean, summed over normalised changes: (N,)."""
        mean, _ = self.predict(state, data.obs, data.applied)
        error = (mean.mean(0) - self._wanted(state, data)) ** 2
        return error[:, : len(self._columns)].sum(-1)

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

    def _update(self, state: ModelState, batch: Batch, mask: Tensor) -> ModelState:
        wanted = self._wanted(state, batch)
        gradient = mask * grad(self._loss)(state.weights, state, batch, wanted)
        t = state.step + 1.0
        weights, m, v = self._adam.step(state.weights, gradient, state.m, state.v, t)
        weights = torch.where(mask > 0.0, weights, state.weights)  # momentum must not move them
        return ModelState(weights, m, v, t, *state[4:])  # PyTorch 2.11 compiles no _replace

    def _loss(self, weights: Tensor, state: ModelState, batch: Batch, wanted: Tensor) -> Tensor:
        """Gaussian negative log-likelihood with learned variance bounds. Source: PETS, eq. 1."""
        named = self.space.view(weights)
        mean, log_var, end = self._forward(named, state, batch.obs, batch.applied)
        nll = ((mean - wanted) ** 2 * (-log_var).exp() + log_var).mean((1, 2)).sum()
        if self._judge is None:
            ended = batch.terminated.expand(end.shape)
            nll = nll + self.config.members * binary_cross_entropy_with_logits(end, ended)
        bounds = 0.01 * (named["model.max_log_var"] - named["model.min_log_var"]).sum()
        return nll + bounds + self.config.weight_decay * (weights**2).sum()

    def _forward(
        self, p: dict[str, Tensor], state: ModelState, obs: Tensor, applied: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance, each (K, B, D), and the logit of an ending (K, B)."""
        x = (torch.cat([obs, applied], -1) - state.in_mean) / state.in_std
        if x.dim() == 2:
            x = x.expand(self.config.members, -1, -1)
        inputs = x
        x = silu(x @ p["model.0.weight"] + p["model.0.bias"])  # (K, B, H)
        x = silu(x @ p["model.1.weight"] + p["model.1.bias"])
        mean = x @ p["model.mean.weight"] + p["model.mean.bias"]
        if self.config.residual:
            extra = silu(inputs @ p["model.residual.0.weight"] + p["model.residual.0.bias"])
            mean = mean + extra @ p["model.residual.1.weight"] + p["model.residual.1.bias"]
        raw = x @ p["model.log_var.weight"] + p["model.log_var.bias"]
        high, low = p["model.max_log_var"], p["model.min_log_var"]
        raw = high - softplus(high - raw)
        end = mean[..., 0] * 0.0
        if self._judge is None:
            end = (x @ p["model.end.weight"] + p["model.end.bias"])[..., 0]
        return mean, low + softplus(raw - low), end

    def _outcome(self, data: Batch) -> Tensor:
        """What is predicted, in its own units: (…, N, D)."""
        change = (data.following - data.obs).index_select(-1, self._changing)
        return change if self._judge else torch.cat([change, data.reward[..., None]], -1)

    def _wanted(self, state: ModelState, data: Batch) -> Tensor:
        return (self._outcome(data) - state.out_mean) / state.out_std

    def _next(self, state: ModelState, obs: Tensor, applied: Tensor, change: Tensor) -> Tensor:
        """Change (B, ·) in observation units → observation (B, O) that could have been measured."""
        following = (obs + change @ self._scatter).clamp(state.low, state.high)
        radius = (following**2 @ self._pairs + self._alone).sqrt().clamp_min(1e-6)
        shifted: Tensor = self._layout.shift_history(obs, applied, following / radius)
        return shifted

    def _step(
        self, state: ModelState, obs: Tensor, applied: Tensor, outcome: Tensor, end: Tensor,
        uncertainty: Tensor,
    ) -> Step:  # fmt: skip
        """From a normalised outcome (B, D) and the logit of an ending (B,) to a step."""
        outcome = outcome * state.out_std + state.out_mean
        following = self._next(state, obs, applied, outcome[:, : len(self._columns)])
        if self._judge is None:
            reward = outcome[:, -1].clamp(state.reward_range[:1], state.reward_range[1:])
            return Step(following, reward, torch.where(end > 0.0, 1.0, 0.0), uncertainty)
        judged = self._judge(obs, applied, following)
        return Step(following, judged.reward.clamp(0.0, 1.0), judged.terminated, uncertainty)


def _residual_shapes(K: int, inputs: int, width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    if width == 0:
        return {}
    return {
        "model.residual.0.weight": (K, inputs, width),
        "model.residual.0.bias": (K, 1, width),
        "model.residual.1.weight": (K, width, outputs),
        "model.residual.1.bias": (K, 1, outputs),
    }


def _circles(layout: Columns) -> tuple[Tensor, Tensor]:
    """Columns (cos, sin) of one joint: predictions are put back on the unit circle.

    Returns:
        (O, O), which sums both squares of a pair into both columns, and (O,), 1 for all others.
    """
    pairs, alone = torch.zeros(layout.size, layout.size), torch.ones(layout.size)
    for column, label in enumerate(layout.labels):
        kind, _, joint = label.partition(":")
        if kind == "cos" and f"sin:{joint}" in layout.labels:
            pair = [column, layout.labels.index(f"sin:{joint}")]
            pairs[pair[0], pair] = pairs[pair[1], pair] = 1.0
            alone[pair] = 0.0
    return pairs, alone
