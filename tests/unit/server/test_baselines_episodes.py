"""Are episodes found again in a replay, and their returns those one gets by hand?"""

from __future__ import annotations

import pytest
import torch
from made_bench import chain

from offboard.baselines.episodes import last_steps, returns_to_go, reward_scale
from offboard.replay import join

FALL = chain([1.0, 2.0, 3.0], terminated=True)
TIMEOUT = chain([4.0, 5.0], start=10.0)
CUT = chain([6.0], start=20.0)
REPLAY = join((FALL, TIMEOUT, CUT))


def test_an_episode_ends_where_it_terminates_or_the_next_state_is_not_the_following_one() -> None:
    assert last_steps(REPLAY).tolist() == [False, False, True, False, True, True]


def test_an_episode_that_happens_to_start_where_the_last_terminated_is_another() -> None:
    again = join((FALL, chain([1.0], start=3.0)))
    assert last_steps(again).tolist() == [False, False, True, True]


def test_nothing_is_returned_after_a_termination() -> None:
    assert returns_to_go(FALL, 0.5).tolist() == [1.0 + 0.5 * (2.0 + 0.5 * 3.0), 3.5, 3.0]


def test_the_last_reward_of_an_episode_out_of_time_counts_for_ever() -> None:
    assert returns_to_go(TIMEOUT, 0.5).tolist() == [4.0 + 0.5 * 10.0, 5.0 / 0.5]


def test_returns_do_not_leak_into_the_episode_before() -> None:
    values = returns_to_go(REPLAY, 0.5)
    parts = [returns_to_go(part, 0.5) for part in (FALL, TIMEOUT, CUT)]
    torch.testing.assert_close(values, torch.cat(parts))


def test_the_best_and_the_worst_whole_episode_come_to_differ_by_one_per_step() -> None:
    poor = chain([0.5, 0.5, 0.5], start=30.0, terminated=True)
    assert reward_scale(join((FALL, poor, CUT))) == pytest.approx(3.0 / (6.0 - 1.5))


def test_episodes_of_equal_worth_are_left_alone() -> None:
    assert reward_scale(FALL) == 1.0
