"""Where do trajectories begin and end, and what do they become?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import SETUP, episode, made_log

from offboard.data.trajectory import judged, measured_hz, starts, transitions, unbroken
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.step_record import End, Flag


def lengths(rows: np.ndarray) -> list[int]:
    return [part.steps for part in unbroken(rows, 0)]


def test_a_whole_episode_is_one_trajectory_with_its_times():
    rows = episode(2, steps=9, end=End.TERMINATED)
    (part,) = unbroken(rows, 5)
    assert (part.steps, part.episode, part.terminated) == (9, 5, True)
    np.testing.assert_array_equal(part.sense_ns, rows["sense_ns"])
    np.testing.assert_array_equal(part.act_ns, rows["act_ns"][:-1])
    np.testing.assert_array_equal(part.obs, rows["obs"])
    np.testing.assert_array_equal(part.applied, rows["applied"][:-1])


def test_lost_ticks_divide_an_episode():
    rows = episode(0, steps=10)
    assert lengths(np.delete(rows, [4])) == [3, 5]
    assert lengths(np.delete(rows, [4, 6])) == [3, 3]  # the lone row 5 leads nowhere


def test_a_tick_without_a_reading_divides_an_episode():
    rows = episode(0, steps=10)
    rows["flags"][4] = Flag.STALE_SENSOR
    assert lengths(rows) == [3, 5]


def test_what_follows_an_abort_is_left_out():
    rows = episode(0, steps=10, end=End.ABORTED)
    rows["mode"][-1] = Mode.HOLD
    (part,) = unbroken(rows, 0)
    assert (part.steps, part.terminated) == (9, False)


def test_rows_between_episodes_hold_no_trajectory():
    rows = episode(0)
    rows["mode"] = Mode.RECOVER
    assert lengths(rows) == []


def test_transitions_carry_the_reward_of_the_task(tmp_path):
    log = made_log(tmp_path)
    batch = transitions(log, SETUP.judge)
    assert batch.size == log.steps == 60
    torch.testing.assert_close(batch.obs[1], batch.following[0])
    again = judged(replace(log, task=""), SETUP.judge)
    np.testing.assert_array_equal(
        batch.reward, np.concatenate([part.reward for part in again.trajectories])
    )


def test_generation_starts_where_episodes_did_not_where_gaps_were(tmp_path):
    log = made_log(tmp_path)
    first = log.trajectories[0]
    tail = replace(first, obs=first.obs[5:], applied=first.applied[5:])
    cut = replace(log, trajectories=(first, tail, *log.trajectories[1:]))
    assert starts(cut).shape == (3, 7)
    np.testing.assert_array_equal(starts(cut)[0], first.obs[0])


def test_a_log_without_a_step_is_nothing_to_learn_from(tmp_path):
    empty = replace(made_log(tmp_path), trajectories=())
    with pytest.raises(StoreError, match="no two neighbouring"):
        transitions(empty, SETUP.judge)


def test_the_rate_comes_from_measured_times(tmp_path):
    log = made_log(tmp_path)
    assert measured_hz(log.trajectories) == pytest.approx(50.0, rel=0.01)
    slow = [replace(part, sense_ns=2 * part.sense_ns) for part in log.trajectories]
    assert measured_hz(slow) == pytest.approx(25.0, rel=0.01)
    assert np.isnan(measured_hz([]))
