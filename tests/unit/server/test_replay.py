"""Does the replay hold the newest transitions, whole, and nothing else?"""

from __future__ import annotations

import pytest
import torch

from offboard.replay import Batch, Replay, empty, join


def numbered(first: int, count: int) -> Batch:
    """Transitions in which every column carries the transition's number."""
    n = torch.arange(first, first + count, dtype=torch.float32)
    return Batch(n[:, None].repeat(1, 2), n[:, None], n, n[:, None].repeat(1, 2), n)


def filled(*counts: int, capacity: int = 5) -> Replay:
    replay, added = Replay(O=2, A=1, capacity=capacity), 0
    for count in counts:
        replay.add(numbered(added, count))
        added += count
    return replay


@pytest.mark.parametrize(
    ("counts", "held"),
    [
        ((), []),
        ((3,), [0, 1, 2]),
        ((5,), [0, 1, 2, 3, 4]),
        ((3, 3), [1, 2, 3, 4, 5]),
        ((4, 4, 4), [7, 8, 9, 10, 11]),
        ((13,), [8, 9, 10, 11, 12]),
        ((2, 11), [8, 9, 10, 11, 12]),
    ],
)
def test_the_newest_are_held_oldest_first(counts: tuple[int, ...], held: list[int]) -> None:
    replay = filled(*counts)
    assert replay.all().reward.tolist() == held
    assert len(replay) == len(held)
    assert replay.added == sum(counts)


def test_columns_stay_together() -> None:
    for column in filled(3, 4).all():
        assert column.reshape(5, -1)[:, 0].tolist() == [2, 3, 4, 5, 6]


def test_samples_are_drawn_from_all_that_is_held_and_only_that() -> None:
    replay = filled(3, 4)
    drawn = replay.sample(200, torch.Generator().manual_seed(0))
    assert set(drawn.reward.tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(drawn.obs[:, 0], drawn.reward)


def test_what_is_sampled_is_a_copy() -> None:
    replay = filled(5)
    replay.sample(5, torch.Generator()).reward.zero_()
    replay.all().reward.zero_()
    assert replay.all().reward.tolist() == [0, 1, 2, 3, 4]


def test_an_empty_replay_cannot_be_sampled() -> None:
    with pytest.raises(RuntimeError):
        filled().sample(1, torch.Generator())


def test_batches_are_joined_in_order() -> None:
    joined = join([numbered(4, 2), empty(2, 1), numbered(0, 1)])
    assert joined.reward.tolist() == [4, 5, 0]
    assert joined.size == 3


def test_taking_picks_the_same_rows_of_every_column() -> None:
    taken = numbered(0, 5).take(torch.tensor([3, 1]))
    assert taken.obs[:, 1].tolist() == taken.terminated.tolist() == [3, 1]
