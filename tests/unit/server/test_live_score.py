"""Are a live cell's figures those of the right episodes, and refused if the loop did not hold?"""

from __future__ import annotations

from statistics import StatisticsError

import pytest
from made_live import CONTROL, PLANT, SERVED, SESSION, episode

from offboard.bench.live_score import account, finals, learned_steps, reasons_against, zero_shot
from protocol.step_record import End


def test_zero_shot_is_what_came_before_exploring() -> None:
    assert zero_shot(SESSION) == 90.0
    assert zero_shot([episode(1.0), episode(3.0)]) == 2.0
    with pytest.raises(StatisticsError):
        zero_shot(SESSION[1:])


def test_finals_are_what_came_after_the_last_exploring_episode() -> None:
    assert finals(SESSION) == [190.0, 191.0]
    assert finals(SESSION[:4]) == []


def test_without_exploring_nothing_is_final() -> None:
    assert finals(SESSION[:1]) == []


def test_a_final_episode_that_was_cut_short_counts() -> None:
    assert finals([*SESSION, episode(7.0, end=End.ABORTED)]) == [190.0, 191.0, 7.0]


def test_steps_are_those_the_last_bundle_had_seen() -> None:
    events = [
        {"event": "published", "online_steps": 0.0},
        {"event": "published", "online_steps": 1_999.0},
        {"event": "episode", "online": 2_249},
    ]
    assert learned_steps(events) == 1_999
    assert learned_steps([]) == 0


def test_lost_is_what_the_robot_made_and_the_server_does_not_have() -> None:
    found = account(CONTROL, PLANT, SERVED)
    assert (found["produced"], found["committed"], found["lost"]) == (4_000, 3_998, 2)
    assert (found["swaps"], found["missed_ticks"], found["realtime_factor"]) == (8, 1, 0.99)


@pytest.mark.parametrize(
    ("changes", "returns", "reason"),
    [
        ({}, 5, None),
        ({"realtime_factor": 0.979}, 5, "0.979 of real time"),
        ({"learned_steps": 2_001}, 5, "2001 target steps were learned from, not 2000"),
        ({}, 4, "4 of 5 final episodes"),
    ],
)
def test_a_run_that_did_not_hold_is_not_quoted(changes, returns: int, reason: str | None) -> None:
    live = {**account(CONTROL, PLANT, SERVED), "learned_steps": 2_000, **changes}
    told = reasons_against(live, [190.0] * returns, wanted=5, budget=2_000)
    assert len(told) == (reason is not None)
    assert all(reason is not None and reason in each for each in told)
