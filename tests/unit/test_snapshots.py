"""Is the policy the robot goes back to the one that was best where it was measured?"""

from __future__ import annotations

import math

import pytest
import torch
from made_learning import Line

from offboard.networks import actor_space
from offboard.snapshots import Snapshot, Snapshots, imagined_return

SPACE = actor_space(1, 1, 4)


def constant_actor(mean: float) -> torch.Tensor:
    """An actor that always wants ``tanh(mean)``."""
    named = SPACE.view(torch.zeros(SPACE.size))
    named["actor.head.bias"][0] = mean
    return SPACE.flatten(named)


def kept(*measured: tuple[float, list[float]]) -> Snapshots:
    """Snapshots from version 1 on, each (imagined, measured returns)."""
    snapshots = Snapshots()
    for version, (imagined, returns) in enumerate(measured, start=1):
        snapshots.add(Snapshot(version, torch.full((2,), float(version)), imagined))
        for total in returns:
            snapshots.measured(version, total)
    return snapshots


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        ([(100.0, [50.0]), (100.0, [60.0]), (100.0, [40.0])], 2),
        ([(100.0, [50.0]), (60.0, [60.0])], 1),
        ([(0.0, [10.0, 30.0]), (0.0, [25.0])], 2),
        ([(0.0, [10.0]), (500.0, [])], 1),
        ([(9.0, []), (1.0, [])], 2),
    ],
    ids=["measured", "half imagined", "mean of episodes", "unmeasured", "none measured"],
)
def test_the_best_is_half_measured_half_imagined_and_must_be_measured(measured, best: int) -> None:
    assert kept(*measured).best().version == best


def test_an_episode_of_an_unknown_policy_counts_for_nobody() -> None:
    snapshots = kept((1.0, [1.0]))
    snapshots.measured(7, 999.0)
    assert snapshots.best().returns == [1.0]


def test_expectations_are_renewed_by_version() -> None:
    snapshots = kept((0.0, [10.0]), (0.0, [10.0]))
    snapshots.reimagine({1: 8.0, 2: 4.0})
    assert (snapshots.best().version, snapshots.best().score) == (1, 9.0)


def test_a_checkpoint_brings_the_actors_back_unmeasured() -> None:
    saved = kept((3.0, [10.0]), (4.0, []))
    restored = Snapshots()
    restored.restore({**saved.tensors(), "counts": torch.zeros(3)})
    assert restored.actors().keys() == {1, 2}
    assert restored.actors()[1].tolist() == [1.0, 1.0]
    assert restored.best().version == 2  # nothing is measured: the newest
    restored.measured(1, 10.0)
    restored.reimagine({1: 3.0, 2: 4.0})
    assert restored.best().score == 6.5


def test_the_imagined_return_is_the_mean_over_starts_until_each_ends() -> None:
    """Worth x per step, one unit of length each, from -1 and from 1; beyond 2 it ends."""
    world = Line(lambda x: x, ends_at=lambda x: x > 2.0)
    step = math.atanh(0.75)
    starts = torch.tensor([[-1.0], [1.0]])
    total = imagined_return(world, None, SPACE, constant_actor(step), starts, steps=3)
    from_left, from_right = (-0.25 + 0.5 + 1.25), (1.75 + 2.5)
    assert total == pytest.approx((from_left + from_right) / 2)
