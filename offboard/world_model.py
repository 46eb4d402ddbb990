"""The world model: a bootstrapped ensemble of Gaussian dynamics networks.

Each member predicts the change of the observation, normalised, with its own variance. Reward and
termination are the task's own functions; the action history is copied, not learned. Sources: PETS
(Chua et al. 2018) § 4 for the probabilistic ensemble and its bounded log-variance; MOPO (Yu et al.
2020) for the disagreement of member means as epistemic uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import silu, softplus

from offboard.compiled import compiled
from offboard.parameters import Adam, Space
from offboard.replay import Batch
from protocol.observation import Layout
from protocol.tasks import Judge


@dataclass(frozen=True)
class ModelConfig:
    """Size and training of the ensemble; LEARNING.md § 4 (5 × H64, batch 256)."""

    members: int = 5
    width: int = 64
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-5
    holdout: float = 0.1
    check_every: int = 250
    patience: int = 4


class ModelState(NamedTuple):
    """Weights (P,), Adam moments and the normaliser: over inputs (O+A,), over changes (D,)."""

    weights: Tensor
    m: Tensor
    v: Tensor
    step: Tensor
    in_mean: Tensor
    in_std: Tensor
    out_std: Tensor
    low: Tensor
    high: Tensor


class Step(NamedTuple):
    """One imagined step: following (B, O), reward, terminated and disagreement, each (B,)."""

    following: Tensor
    reward: Tensor
    terminated: Tensor
    disagreement: Tensor


class WorldModel:
    """The ensemble for one robot and task; the state is the caller's."""

    def __init__(self, layout: Layout, judge: Judge, config: ModelConfig) -> None:
        self.config = config
        self.action_size = layout.action_size
        self._layout = layout
        self._judge = judge
        history = {column for column, _, _ in layout.history}
        self._columns = [i for i in range(layout.size) if i not in history]  # D of them
        self._circles = _circles(layout)
        K, H = config.members, config.width
        inputs, outputs = layout.size + layout.action_size, len(self._columns)
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
            }
        )
        self._adam = Adam(config.lr)
        self._train_step = compiled(self._update)

    def initial(self, data: Batch, seed: int) -> ModelState:
        """Fresh members, normalised and bounded by ``data``."""
        named = self.space.view(self.space.initial(torch.Generator().manual_seed(seed)))
        named["model.max_log_var"] = torch.full_like(named["model.max_log_var"], 0.5)
        named["model.min_log_var"] = torch.full_like(named["model.min_log_var"], -10.0)
        weights = self.space.flatten(named)
        inputs = torch.cat([data.obs, data.applied], -1)
        change = (data.following - data.obs)[:, self._columns]
        seen = torch.cat([data.obs, data.following])
        margin = 0.1 * (seen.amax(0) - seen.amin(0))
        return ModelState(
            weights=weights,
            m=torch.zeros_like(weights),
            v=torch.zeros_like(weights),
            step=torch.zeros(()),
            in_mean=inputs.mean(0),
            in_std=inputs.std(0).clamp_min(1e-3),
            out_std=change.std(0).clamp_min(1e-4),
            low=seen.amin(0) - margin,
            high=seen.amax(0) + margin,
        )

    def widen(self, state: ModelState, data: Batch) -> ModelState:
        """The same model, allowed to predict as far as ``data`` reaches."""
        seen = torch.cat([data.obs, data.following])
        low, high = torch.minimum(state.low, seen.amin(0)), torch.maximum(state.high, seen.amax(0))
        return state._replace(low=low, high=high)

    def predict(self, state: ModelState, obs: Tensor, applied: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised change, mean and log-variance.

        ``obs`` (B, O) or (K, B, O), ``applied`` likewise → two tensors (K, B, D).
        """
        return self._forward(self.space.view(state.weights), state, obs, applied)

    def disagreement(self, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        """Epistemic uncertainty (B,): RMS over changes of the members' standard deviation."""
        mean, _ = self.predict(state, obs, applied)
        return _spread(mean)

    def imagine(
        self, state: ModelState, obs: Tensor, applied: Tensor, generator: torch.Generator
    ) -> Step:
        """One sampled step of a random member (trajectory sampling TS1 of PETS, § 5)."""
        mean, log_var = self.predict(state, obs, applied)  # (K, B, D)
        B = obs.shape[0]
        member = torch.randint(self.config.members, (B,), generator=generator)
        pick = (member, torch.arange(B))
        noise = torch.randn(mean.shape[1:], generator=generator)
        sampled = mean[pick] + (0.5 * log_var[pick]).exp() * noise
        following = self._next(state, obs, applied, sampled)
        return self._judged(obs, applied, following, _spread(mean))

    def expect(self, state: ModelState, obs: Tensor, applied: Tensor) -> Step:
        """One step of the ensemble's mean: no sampling, for planning and relabelling."""
        mean, _ = self.predict(state, obs, applied)
        following = self._next(state, obs, applied, mean.mean(0))
        return self._judged(obs, applied, following, _spread(mean))

    def relabel(self, state: ModelState, data: Batch) -> tuple[Batch, Tensor]:
        """``data`` as the present model would have it happen, and its disagreement (N,)."""
        step = self.expect(state, data.obs, data.applied)
        return data._replace(
            reward=step.reward, following=step.following, terminated=step.terminated
        ), step.disagreement

    def nmse(self, state: ModelState, data: Batch) -> float:
        """Mean squared one-step error over the variance of changes in the source data.

        The denominator is the source's: a quiet stretch of data must not look unpredictable.
        """
        return float(self.squared_error(state, data).mean() / len(self._columns))

    def squared_error(self, state: ModelState, data: Batch) -> Tensor:
        """Squared one-step error of the mean, summed over normalised changes: (N,)."""
        mean, _ = self.predict(state, data.obs, data.applied)
        return ((mean.mean(0) - self._change(state, data)) ** 2).sum(-1)

    def fit(
        self,
        state: ModelState,
        data: Batch,
        steps: int,
        generator: torch.Generator,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> ModelState:
        """Train on ``data``; keep the weights with the least held-out error, stop when it rises."""
        order = torch.randperm(data.size, generator=generator)
        held = max(1, int(self.config.holdout * data.size))
        test, train = data.take(order[:held]), data.take(order[held:])
        best, best_error, waited = state, self.nmse(state, test), 0
        for step in range(1, steps + 1):
            shape = (self.config.members, self.config.batch)  # its own bootstrap for each member
            state = self._train_step(
                state, train.take(torch.randint(train.size, shape, generator=generator))
            )
            on_step(step)
            if step % self.config.check_every == 0 or step == steps:
                error = self.nmse(state, test)
                waited = 0 if error < best_error else waited + 1
                if error < best_error:
                    best, best_error = state, error
                if waited >= self.config.patience:
                    break
        return best

    def _update(self, state: ModelState, batch: Batch) -> ModelState:
        change = self._change(state, batch)
        gradient = grad(self._loss)(state.weights, state, batch, change)
        t = state.step + 1.0
        weights, m, v = self._adam.step(state.weights, gradient, state.m, state.v, t)
        return state._replace(weights=weights, m=m, v=v, step=t)

    def _loss(self, weights: Tensor, state: ModelState, batch: Batch, change: Tensor) -> Tensor:
        """Gaussian negative log-likelihood with learned variance bounds. Source: PETS, eq. 1."""
        named = self.space.view(weights)
        mean, log_var = self._forward(named, state, batch.obs, batch.applied)
        nll = ((mean - change) ** 2 * (-log_var).exp() + log_var).mean((1, 2)).sum()
        bounds = 0.01 * (named["model.max_log_var"] - named["model.min_log_var"]).sum()
        return nll + bounds + self.config.weight_decay * (weights**2).sum()

    def _forward(
        self, p: dict[str, Tensor], state: ModelState, obs: Tensor, applied: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = (torch.cat([obs, applied], -1) - state.in_mean) / state.in_std
        if x.dim() == 2:
            x = x.expand(self.config.members, -1, -1)
        x = silu(x @ p["model.0.weight"] + p["model.0.bias"])  # (K, B, H)
        x = silu(x @ p["model.1.weight"] + p["model.1.bias"])
        mean = x @ p["model.mean.weight"] + p["model.mean.bias"]
        raw = x @ p["model.log_var.weight"] + p["model.log_var.bias"]
        high, low = p["model.max_log_var"], p["model.min_log_var"]
        raw = high - softplus(high - raw)
        return mean, low + softplus(raw - low)

    def _change(self, state: ModelState, data: Batch) -> Tensor:
        return (data.following - data.obs)[..., self._columns] / state.out_std

    def _next(self, state: ModelState, obs: Tensor, applied: Tensor, change: Tensor) -> Tensor:
        """Normalised change (…, B, D) → observation (…, B, O) that could have been measured."""
        lead = change.shape[:-2]
        obs, applied = obs.expand(*lead, *obs.shape), applied.expand(*lead, *applied.shape)
        following = obs.clone()
        following[..., self._columns] += change * state.out_std
        following = following.clamp(state.low, state.high)
        for cos, sin in self._circles:
            radius = torch.hypot(following[..., cos], following[..., sin]).clamp_min(1e-6)
            following[..., cos] /= radius
            following[..., sin] /= radius
        shifted: Tensor = self._layout.shift_history(obs, applied, following)
        return shifted

    def _judged(self, obs: Tensor, applied: Tensor, following: Tensor, spread: Tensor) -> Step:
        outcome = self._judge(obs, applied, following)
        return Step(following, outcome.reward.clamp(0.0, 1.0), outcome.terminated, spread)


def _spread(mean: Tensor) -> Tensor:
    """(K, B, D) member means → (B,)."""
    return mean.var(0, unbiased=False).mean(-1).sqrt()


def _circles(layout: Layout) -> list[tuple[int, int]]:
    """Columns (cos, sin) of one joint: predictions are put back on the unit circle."""
    pairs = []
    for column, label in enumerate(layout.labels):
        kind, _, joint = label.partition(":")
        if kind == "cos" and f"sin:{joint}" in layout.labels:
            pairs.append((column, layout.column(f"sin:{joint}")))
    return pairs
