"""Floating-point operations in the networks' matrix products, counted by hand.

A dense layer of n inputs and m outputs costs 2nm per row forward, as much again for the gradient
of its weights and as much again for that of its inputs. Everything else is left out, so that a
fraction of the machine's matrix rate says how much of the time is spent multiplying.
"""

from __future__ import annotations

import math

from offboard.parameters import Space
from offboard.planner import PlanConfig


def forward(space: Space) -> int:
    """One row through every layer of ``space``, all members of an ensemble."""
    return sum(2 * size for size in _weights(space))


def update(actor: Space, critic: Space, batch: int) -> int:
    """One SAC update: target, critic and actor step."""
    a, c = forward(actor), forward(critic)
    target = a + c
    critic_step = 3 * c - _first(critic)  # nobody wants the gradient of the data
    actor_step = 3 * a - _first(actor) + 2 * c  # through the critics, whose weights stay
    return batch * (target + critic_step + actor_step)


def fit(model: Space, batch: int) -> int:
    """One step of the ensemble's fit."""
    return batch * (3 * forward(model) - _first(model))


def plan(model: Space, actor: Space, critic: Space, config: PlanConfig) -> int:
    """One plan: policy candidates rolled out, then all candidates valued."""
    follow = config.policy_candidates * config.horizon * (forward(actor) + forward(model))
    tail = forward(actor) + forward(critic)
    N = config.policy_candidates + config.random_candidates
    return follow + N * (config.horizon * forward(model) + tail)


def imagined_steps(config: PlanConfig) -> int:
    """Steps that one plan takes in the model, an ensemble's answer counted once."""
    N = config.policy_candidates + config.random_candidates
    return config.horizon * (config.policy_candidates + N)


def _first(space: Space) -> int:
    """The input layer, whose inputs are data."""
    return 2 * _weights(space)[0]


def _weights(space: Space) -> list[int]:
    """Scalars of each weight matrix, input layer first."""
    return [math.prod(shape) for name, shape in space.shapes.items() if name.endswith("weight")]
