"""Episodes found again in a replay, and what they were worth. Pure."""

from __future__ import annotations

import torch
from torch import Tensor

from offboard.replay import Batch


def last_steps(replay: Batch) -> Tensor:
    """Which transitions end an episode: (N,) bool, for a replay in the order it happened.

    A transition ends one if it terminated, if the next starts somewhere else, or if it is the last.
    """
    joined = (replay.following[:-1] == replay.obs[1:]).all(-1)
    return torch.cat([~joined, torch.ones(1, dtype=torch.bool)]) | (replay.terminated > 0.0)


def returns_to_go(replay: Batch, discount: float) -> Tensor:
    """Discounted return from each transition to the end of its episode: (N,).

    An episode that ran out of time would have gone on; its last reward counts for ever, as in
    Cal-QL's code for tasks without an end (LEARNING.md § 2).
    """
    rows = zip(
        replay.reward.tolist(),
        replay.terminated.tolist(),
        last_steps(replay).tolist(),
        strict=True,
    )
    values, tail = [], 0.0
    for reward, terminated, last in reversed(list(rows)):
        if last:
            tail = 0.0 if terminated else reward / (1.0 - discount)
        tail = reward + discount * tail
        values.append(tail)
    return torch.tensor(values[::-1])


def reward_scale(replay: Batch) -> float:
    """What makes the best and the worst episode differ by 1 per step; 1 if they do not differ.

    Source: IQL's code for locomotion, 1000 / (best - worst return) for episodes of 1000 steps.
    """
    ends = last_steps(replay).nonzero()[:, 0]
    totals = torch.cat([torch.zeros(1), replay.reward.cumsum(0)[ends]]).diff()
    lengths = torch.cat([torch.tensor([-1]), ends]).diff()
    if len(ends) > 1 and not replay.terminated[-1]:
        totals = totals[:-1]  # the replay stopped in the middle of it
    spread = float(totals.max() - totals.min())
    return float(lengths.max()) / spread if spread > 0.0 else 1.0
