"""Are transitions drawn in proportion to their priority?"""

from __future__ import annotations

import pytest
import torch
from made_bench import A, O, chain

from offboard.baselines.priority_replay import PriorityReplay, stratified


def filled(*counts: int, capacity: int = 6) -> PriorityReplay:
    """Transitions numbered by x; those of the i-th addition have priority i + 1."""
    replay, added = PriorityReplay(O, A, capacity), 0
    for index, count in enumerate(counts):
        replay.add(chain([0.0] * count, start=float(added)), priority=index + 1.0)
        added += count
    return replay


def test_each_slice_of_the_total_gives_one_index() -> None:
    priority = torch.tensor([1.0, 0.0, 3.0])
    assert stratified(priority, torch.full((4,), 0.5)).tolist() == [0, 2, 2, 2]


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2**-24])
def test_the_ends_of_the_range_are_indices_too_and_never_those_without_priority(
    uniform: float,
) -> None:
    priority = torch.tensor([0.0, 2.0, 1.0])
    index = stratified(priority, torch.full((3,), uniform))
    assert set(index.tolist()) <= {1, 2}


def test_draws_are_in_proportion_to_priority() -> None:
    replay = filled(2, 2)  # priorities 1 1 2 2
    index, batch = replay.sample(600, torch.Generator().manual_seed(0))
    assert torch.bincount(index).tolist() == pytest.approx([100, 100, 200, 200], abs=1)
    assert torch.equal(batch.obs[:, 0], index.float())


def test_a_new_priority_counts_from_the_next_draw_on() -> None:
    replay = filled(3)
    replay.reprioritise(torch.tensor([0, 2]), torch.tensor([0.0, 5.0]))
    index, _ = replay.sample(60, torch.Generator().manual_seed(0))
    assert torch.bincount(index, minlength=3).tolist() == pytest.approx([0, 10, 50], abs=1)


def test_the_newest_are_held() -> None:
    replay = filled(4, 4)
    assert len(replay) == 6
    assert replay.priority.tolist() == [2.0, 2.0, 1.0, 1.0, 2.0, 2.0]
    _, batch = replay.sample(200, torch.Generator().manual_seed(0))
    assert set(batch.obs[:, 0].tolist()) == {2.0, 3.0, 4.0, 5.0, 6.0, 7.0}
