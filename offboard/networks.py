"""The actor and the critic ensemble as functions of named tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, softplus

from offboard.parameters import Space

Named = dict[str, Tensor]
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


def actor_space(O: int, A: int, width: int) -> Space:
    """Two hidden layers; the head gives mean and raw log-std of each action."""
    return Space(
        {
            "actor.0.weight": (O, width),
            "actor.0.bias": (width,),
            "actor.1.weight": (width, width),
            "actor.1.bias": (width,),
            "actor.head.weight": (width, 2 * A),
            "actor.head.bias": (2 * A,),
        }
    )


def actor(p: Named, obs: Tensor) -> tuple[Tensor, Tensor]:
    """``obs`` (B, O) → mean and log-std, each (B, A), before the squash."""
    x = torch.relu(obs @ p["actor.0.weight"] + p["actor.0.bias"])
    x = torch.relu(x @ p["actor.1.weight"] + p["actor.1.bias"])
    head = x @ p["actor.head.weight"] + p["actor.head.bias"]
    A = head.shape[-1] // 2
    spread = 0.5 * (torch.tanh(head[..., A:]) + 1.0)
    return head[..., :A], LOG_STD_MIN + (LOG_STD_MAX - LOG_STD_MIN) * spread


def act(p: Named, obs: Tensor, noise: Tensor) -> Tensor:
    """Squashed action (B, A) in (-1, 1); ``noise`` (B, A) of unit normals, or zeros to exploit."""
    mean, log_std = actor(p, obs)
    return torch.tanh(mean + log_std.exp() * noise)


def act_with_log_prob(p: Named, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Action (B, A) and its log-density (B,). Source: Haarnoja et al. 2018, appendix C, eq. 21."""
    mean, log_std = actor(p, obs)
    raw = mean + log_std.exp() * noise
    gaussian = -0.5 * noise**2 - log_std - 0.5 * math.log(2.0 * math.pi)
    # log(1 - tanh²) written so that it neither overflows nor cancels
    squash = 2.0 * (math.log(2.0) - raw - softplus(-2.0 * raw))
    return torch.tanh(raw), (gaussian - squash).sum(-1)


def critic_space(O: int, A: int, width: int, E: int) -> Space:
    """E critics with LayerNorm after each hidden layer. Source: RLPD (Ball et al. 2023), § 4.2."""
    return Space(
        {
            "critic.0.weight": (E, O + A, width),
            "critic.0.bias": (E, 1, width),
            "critic.0.gain": (E, 1, width),
            "critic.0.shift": (E, 1, width),
            "critic.1.weight": (E, width, width),
            "critic.1.bias": (E, 1, width),
            "critic.1.gain": (E, 1, width),
            "critic.1.shift": (E, 1, width),
            "critic.head.weight": (E, width, 1),
            "critic.head.bias": (E, 1, 1),
        }
    )


def critic(p: Named, obs: Tensor, action: Tensor) -> Tensor:
    """``obs`` (B, O), ``action`` (B, A) → Q values (E, B)."""
    x = torch.cat([obs, action], dim=-1).expand(p["critic.0.weight"].shape[0], -1, -1)  # (E, B, ·)
    for layer in ("critic.0", "critic.1"):
        x = x @ p[f"{layer}.weight"] + p[f"{layer}.bias"]
        x = layer_norm(x, x.shape[-1:]) * p[f"{layer}.gain"] + p[f"{layer}.shift"]
        x = torch.relu(x)
    return (x @ p["critic.head.weight"] + p["critic.head.bias"])[..., 0]
