"""Is the policy the robot goes back to the one that was best where it was measured?"""

from __future__ import annotations

import math

import pytest
import torch
from made_learning import Line

from offboard.snapshots import Snapshot, Snapshots, imagined_return


def kept(*measured: list[float]) -> Snapshots:
    """Snapshots from version 1 on with their measured returns."""
    snapshots = Snapshots()
    for version, returns in enumerate(measured, start=1):
        snapshots.add(Snapshot(version, torch.full((2,), float(version))))
        for total in returns:
            snapshots.measured(version, total)
    return snapshots


def hopeful(actor: torch.Tensor) -> float:
    """Expects the world of everybody."""
    return 1e9


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        ([[50.0], [60.0], [40.0]], 2),
        ([[90.0] * 9, [100.0], [10.0]], 1),
        ([[90.0] * 9, [130.0], [85.0]], 2),
        ([[10.0], []], 1),
        ([[], []], 2),
    ],
    ids=["higher", "often beats lucky", "much higher", "unmeasured", "none measured"],
)
def test_the_best_is_what_was_measured_often_enough(measured, best: int) -> None:
    assert kept(*measured).best(hopeful).version == best


def test_a_policy_the_model_expects_to_fail_is_not_the_best() -> None:
    def imagine(actor: torch.Tensor) -> float:
        return {1.0: 150.0, 2.0: 20.0}[float(actor[0])]

    assert kept([100.0] * 5, [140.0] * 5).best(imagine).version == 1
    assert kept([10.0] * 5, [140.0] * 5).best(imagine).version == 2


def test_only_a_policy_that_could_still_win_is_imagined() -> None:
    asked: list[float] = []

    def imagine(policy: torch.Tensor) -> float:
        asked.append(float(policy[0]))
        return {1.0: 95.0, 2.0: 60.0, 3.0: 99.0}[asked[-1]]

    assert kept([100.0] * 4, [120.0] * 4, [80.0] * 4).best(imagine).version == 1
    assert asked == [2.0, 1.0]


@pytest.mark.parametrize("expected", [math.nan, -math.inf, math.inf])
def test_an_expectation_that_is_not_finite_has_no_say(expected: float) -> None:
    def imagine(actor: torch.Tensor) -> float:
        return {1.0: 1e9, 2.0: expected}[float(actor[0])]

    assert kept([100.0] * 5, [140.0] * 5).best(imagine).version == 2


def test_the_lower_bound_is_the_mean_less_the_standard_error() -> None:
    snapshot = Snapshot(1, torch.zeros(2), [10.0, 20.0, 30.0, 40.0])
    assert snapshot.lower_bound(spread=8.0) == 25.0 - 4.0


def test_an_episode_of_an_unknown_policy_counts_for_nobody() -> None:
    snapshots = kept([1.0])
    snapshots.measured(7, 999.0)
    assert snapshots.best(hopeful).returns == [1.0]


def test_a_checkpoint_brings_the_policies_back_unmeasured() -> None:
    saved = kept([10.0], [])
    restored = Snapshots()
    restored.restore({**saved.tensors(), "counts": torch.zeros(3)})
    assert restored.policies().keys() == {1, 2}
    assert restored.policies()[1].tolist() == [1.0, 1.0]
    assert restored.best(hopeful).version == 2  # nothing is measured: the newest
    restored.measured(1, 10.0)
    assert restored.best(hopeful).version == 1


def test_the_imagined_return_is_the_mean_over_starts_until_each_ends() -> None:
    """Worth x per step, one unit of length each, from -1 and from 1; beyond 2 it ends."""
    world = Line(lambda x: x, ends_at=lambda x: x > 2.0)
    starts = torch.tensor([[-1.0], [1.0]])
    total = imagined_return(world, None, lambda obs: torch.full_like(obs, 0.75), starts, steps=3)
    from_left, from_right = (-0.25 + 0.5 + 1.25), (1.75 + 2.5)
    assert total == pytest.approx((from_left + from_right) / 2)
