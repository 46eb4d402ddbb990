"""K Gaussian dynamics networks as functions of named tensors, and a step of their training.

Source: PETS (Chua et al. 2018) § 4 for the probabilistic ensemble and its bounded log-variance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import binary_cross_entropy_with_logits, silu, softplus

from offboard.model_state import ModelConfig, ModelState
from offboard.outcome import Outcome
from offboard.parameters import Adam, Space
from offboard.replay import Batch


class GaussianEnsemble:
    """From observation and action, ``inputs`` columns, to an outcome's mean and log-variance.

    Attributes:
        space: names and shapes of the weights.
    """

    def __init__(self, config: ModelConfig, outcome: Outcome, inputs: int) -> None:
        self._config = config
        self._outcome = outcome
        K, H, D = config.members, config.width, outcome.size
        self.space = Space(
            {
                "model.0.weight": (K, inputs, H),
                "model.0.bias": (K, 1, H),
                "model.1.weight": (K, H, H),
                "model.1.bias": (K, 1, H),
                "model.mean.weight": (K, H, D),
                "model.mean.bias": (K, 1, D),
                "model.log_var.weight": (K, H, D),
                "model.log_var.bias": (K, 1, D),
                "model.max_log_var": (D,),
                "model.min_log_var": (D,),
                **(_end_shapes(K, H) if outcome.learned else {}),
                **_residual_shapes(K, inputs, config.residual, D),
            }
        )
        self._adam = Adam(config.lr)

    def initial(self, seed: int, device: torch.device) -> Tensor:
        """Fresh weights (P,) on ``device``."""
        drawn = self.space.initial(torch.Generator().manual_seed(seed))
        named = self.space.view(drawn.to(device))
        named["model.max_log_var"] = torch.full_like(named["model.max_log_var"], 0.5)
        named["model.min_log_var"] = torch.full_like(named["model.min_log_var"], -10.0)
        if self._config.residual:
            named["model.residual.1.weight"] = torch.zeros_like(named["model.residual.1.weight"])
        return self.space.flatten(named)

    def forward(
        self, p: dict[str, Tensor], state: ModelState, obs: Tensor, applied: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance, each (K, B, D), and the logit of an ending (K, B)."""
        x = (torch.cat([obs, applied], -1) - state.in_mean) / state.in_std
        if x.dim() == 2:
            x = x.expand(self._config.members, -1, -1)
        inputs = x
        x = silu(x @ p["model.0.weight"] + p["model.0.bias"])  # (K, B, H)
        x = silu(x @ p["model.1.weight"] + p["model.1.bias"])
        mean = x @ p["model.mean.weight"] + p["model.mean.bias"]
        if self._config.residual:
            extra = silu(inputs @ p["model.residual.0.weight"] + p["model.residual.0.bias"])
            mean = mean + extra @ p["model.residual.1.weight"] + p["model.residual.1.bias"]
        raw = x @ p["model.log_var.weight"] + p["model.log_var.bias"]
        high, low = p["model.max_log_var"], p["model.min_log_var"]
        raw = high - softplus(high - raw)
        end = mean[..., 0] * 0.0
        if self._outcome.learned:
            end = (x @ p["model.end.weight"] + p["model.end.bias"])[..., 0]
        return mean, low + softplus(raw - low), end

    def update(self, state: ModelState, batch: Batch, mask: Tensor) -> ModelState:
        """One step of training on ``batch`` (K, B, …), which moves what ``mask`` (P,) says."""
        wanted = self._outcome.normalised(state, batch)
        gradient = mask * grad(self._loss)(state.weights, state, batch, wanted)
        t = state.step + 1.0
        weights, m, v = self._adam.step(state.weights, gradient, state.m, state.v, t)
        weights = torch.where(mask > 0.0, weights, state.weights)  # momentum must not move them
        return ModelState(weights, m, v, t, *state[4:])  # PyTorch 2.11 compiles no _replace

    def _loss(self, weights: Tensor, state: ModelState, batch: Batch, wanted: Tensor) -> Tensor:
        """Gaussian negative log-likelihood with learned variance bounds. Source: PETS, eq. 1."""
        named = self.space.view(weights)
        mean, log_var, end = self.forward(named, state, batch.obs, batch.applied)
        nll = ((mean - wanted) ** 2 * (-log_var).exp() + log_var).mean((1, 2)).sum()
        if self._outcome.learned:
            ended = batch.terminated.expand(end.shape)
            nll = nll + self._config.members * binary_cross_entropy_with_logits(end, ended)
        bounds = 0.01 * (named["model.max_log_var"] - named["model.min_log_var"]).sum()
        return nll + bounds + self._config.weight_decay * (weights**2).sum()


def _end_shapes(K: int, H: int) -> dict[str, tuple[int, ...]]:
    return {"model.end.weight": (K, H, 1), "model.end.bias": (K, 1, 1)}


def _residual_shapes(K: int, inputs: int, width: int, D: int) -> dict[str, tuple[int, ...]]:
    if width == 0:
        return {}
    return {
        "model.residual.0.weight": (K, inputs, width),
        "model.residual.0.bias": (K, 1, width),
        "model.residual.1.weight": (K, width, D),
        "model.residual.1.bias": (K, 1, D),
    }
