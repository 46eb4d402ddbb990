"""Do streamed rows become the transitions and episodes that really happened?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_learning import JUDGE, LAYOUT, episode_rows
from made_records import DTYPE, make_records

from offboard.assembler import EVERY_TICK, Assembler
from protocol.modes import Mode
from protocol.robot_spec import Policy
from protocol.step_record import End, Flag, Rows

COS = LAYOUT.column("cos:pendulum")


def assembled(*parts: Rows, policy: Policy = EVERY_TICK):
    """All transitions and episodes of rows pushed part by part."""
    assembler = Assembler(LAYOUT, JUDGE, policy)
    batches, episodes = zip(*(assembler.push(rows) for rows in parts), strict=True)
    return [batch for batch in batches if batch.size], [e for some in episodes for e in some]


def recovering(first: int, count: int = 4) -> Rows:
    """Rows between two episodes."""
    rows = make_records(first, count)
    rows["mode"] = Mode.RECOVER
    return rows


def test_transitions_carry_what_was_sensed_sent_and_sensed_next() -> None:
    rows = episode_rows(3, steps=2)
    rows["obs"][:, 0] = [0.1, 0.2, 0.3]
    rows["requested"], rows["applied"] = 0.9, [[0.5], [0.25], [0.75]]
    (batch,), _ = assembled(rows)
    torch.testing.assert_close(batch.obs[:, 0], torch.tensor([0.1, 0.2]))
    torch.testing.assert_close(batch.following[:, 0], torch.tensor([0.2, 0.3]))
    assert batch.applied.tolist() == [[0.5], [0.25]]  # not the end row's 0.75, not what was asked


def test_the_reward_is_the_tasks_own() -> None:
    rows = episode_rows(3, steps=20)
    rows["obs"] = np.random.default_rng(0).normal(size=rows["obs"].shape)
    (batch,), (episode,) = assembled(rows)
    outcome = JUDGE(batch.obs, batch.applied, batch.following)
    torch.testing.assert_close(batch.reward, outcome.reward)
    torch.testing.assert_close(batch.terminated, outcome.terminated)
    assert episode.total == pytest.approx(float(outcome.reward.sum()), rel=1e-5)


def test_an_episode_is_counted_when_its_last_row_arrives() -> None:
    rows = episode_rows(3, steps=4)
    _, early = assembled(rows[:-1])
    assert early == []
    _, (episode,) = assembled(rows)
    assert (episode.number, episode.steps, episode.total) == (3, 4, 4.0)
    assert (episode.end, episode.representative, episode.explored) == (End.TRUNCATED, True, False)
    assert (episode.versions, episode.main_version) == ({1: 4}, 1)


def test_a_terminated_episode_is_told_from_a_truncated_one() -> None:
    rows = episode_rows(3, steps=2, end=End.TERMINATED)
    rows["obs"][-1, LAYOUT.column("position:arm")] = 1.3  # 2.6 rad: beyond the cable's end
    (batch,), (episode,) = assembled(rows)
    assert episode.end is End.TERMINATED
    assert batch.terminated.tolist() == [0.0, 1.0]
    (batch,), (episode,) = assembled(episode_rows(3, steps=2))
    assert episode.end is End.TRUNCATED
    assert batch.terminated.tolist() == [0.0, 0.0]


def test_a_gap_costs_its_transitions_and_the_episodes_wholeness() -> None:
    (batch,), (episode,) = assembled(np.delete(episode_rows(3, steps=6), 2))
    assert batch.size == 4
    assert (episode.steps, episode.representative) == (4, False)


def test_an_aborted_episode_is_not_whole() -> None:
    (batch,), (episode,) = assembled(episode_rows(3, steps=6, end=End.ABORTED))
    assert batch.size == 5
    assert (episode.end, episode.representative) == (End.ABORTED, False)


def test_an_episode_none_of_which_arrived_is_not_counted() -> None:
    assert assembled(episode_rows(3)[-1:]) == ([], [])
    assert assembled(recovering(0, count=2), episode_rows(3)[-1:]) == ([], [])


def test_an_episode_whose_end_was_lost_is_not_counted_and_spoils_no_other() -> None:
    first, second = episode_rows(3, steps=4), episode_rows(4, steps=4, first=10)
    _, episodes = assembled(first[:3], second)
    assert [(e.number, e.total, e.representative) for e in episodes] == [(4, 4.0, True)]


LONG = 100


@pytest.mark.parametrize(
    ("rows", "speaks"),
    [
        (episode_rows(3, LONG), True),
        (np.delete(episode_rows(3, LONG), [10, 50]), True),
        (np.delete(episode_rows(3, LONG), [10, 50, 70]), False),
        (episode_rows(3, LONG, end=End.ABORTED), False),
        (episode_rows(3, LONG, end=End.TERMINATED), True),
    ],
    ids=["whole", "4 % lost", "6 % lost", "cut off", "terminated"],
)
def test_an_episode_speaks_about_its_policy_if_hardly_anything_is_missing(
    rows: Rows, speaks: bool
) -> None:
    _, (episode,) = assembled(rows)
    assert episode.representative is speaks


def test_an_episode_of_two_policies_speaks_about_neither() -> None:
    rows = episode_rows(3, LONG)
    rows["policy_version"][LONG - 1 :] = 2
    _, (episode,) = assembled(rows)
    assert not episode.representative


def test_the_main_version_is_the_one_that_acted_longest() -> None:
    rows = episode_rows(3, steps=5)
    rows["policy_version"] = [1, 1, 2, 2, 2, 3]
    _, (episode,) = assembled(rows)
    assert episode.versions == {1: 2, 2: 3}
    assert episode.main_version == 2


def test_one_exploring_tick_makes_an_exploring_episode() -> None:
    rows = episode_rows(3, steps=5)
    rows["flags"][2] = Flag.EXPLORING
    assert assembled(rows)[1][0].explored


def test_resets_between_episodes_are_no_experience() -> None:
    batches, episodes = assembled(
        episode_rows(3, steps=2), recovering(3), episode_rows(4, steps=2, first=7, cos=0.0)
    )
    assert sum(batch.size for batch in batches) == 4
    assert [(e.number, e.steps) for e in episodes] == [(3, 2), (4, 2)]
    assert torch.cat([b.obs[:, COS] for b in batches]).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_nothing_comes_of_nothing() -> None:
    assert assembled(np.zeros(0, dtype=DTYPE)) == ([], [])


# A policy that is slower than the bus.

THIRD = Policy(divisor=3)


def held_rows(steps: int, asked: list[int], **how) -> Rows:
    """Rows of an episode in which the policy was asked in these steps; obs[0], applied count."""
    rows = episode_rows(3, steps, **how)
    rows["flags"][asked] |= np.uint32(Flag.ASKED)
    rows["obs"][:, 0] = 0.01 * np.arange(steps + 1)
    rows["applied"][:, 0] = 0.001 * np.arange(steps + 1)
    return rows


def seen(batch) -> list[tuple[float, float, float]]:
    columns = (batch.obs[:, 0] * 100, batch.applied[:, 0] * 1000, batch.following[:, 0] * 100)
    return [tuple(round(float(value)) for value in row) for row in zip(*columns, strict=True)]


def test_an_answer_is_one_transition_from_question_to_question() -> None:
    (batch,), (episode,) = assembled(held_rows(9, [0, 3, 6]), policy=THIRD)
    assert seen(batch) == [(0, 0, 3), (3, 3, 6), (6, 6, 9)]
    outcome = JUDGE(batch.obs, batch.applied, batch.following)
    torch.testing.assert_close(batch.reward, outcome.reward)
    assert (episode.steps, episode.length, episode.representative) == (9, 9, True)
    assert episode.total == pytest.approx(float(outcome.reward.sum()))


def test_an_answer_that_is_approached_is_applied_where_it_is_reached() -> None:
    led = Policy(divisor=3, between="interpolate")
    (batch,), _ = assembled(held_rows(6, [0, 3]), policy=led)
    assert seen(batch) == [(0, 2, 3), (3, 5, 6)]


def test_an_answer_cut_short_by_another_is_left_out() -> None:
    """A policy that takes over is asked at once."""
    (batch,), (episode,) = assembled(held_rows(8, [0, 3, 5]), policy=THIRD)
    assert seen(batch) == [(0, 0, 3), (5, 5, 8)]
    assert (episode.steps, episode.length) == (6, 6)


def test_the_answer_that_ends_an_episode_counts_if_it_ended_by_itself() -> None:
    fell = held_rows(5, [0, 3], end=End.TERMINATED)
    fell["obs"][-1, LAYOUT.column("position:arm")] = 1.3  # 2.6 rad: beyond the cable's end
    (batch,), (episode,) = assembled(fell, policy=THIRD)
    assert batch.terminated.tolist() == [0.0, 1.0]
    assert (episode.steps, episode.representative) == (5, True)
    (batch,), (episode,) = assembled(held_rows(5, [0, 3]), policy=THIRD)
    assert seen(batch) == [(0, 0, 3)]
    assert (episode.steps, episode.length, episode.representative) == (3, 3, True)


@pytest.mark.parametrize("lost", [3, 4, 5, 6])
def test_a_gap_costs_the_answers_it_touches(lost: int) -> None:
    rows = np.delete(held_rows(9, [0, 3, 6]), lost)
    (batch,), _ = assembled(rows, policy=THIRD)
    whole = {3: [(6, 6, 9)], 4: [(0, 0, 3), (6, 6, 9)], 5: [(0, 0, 3), (6, 6, 9)], 6: [(0, 0, 3)]}
    assert seen(batch) == whole[lost]


def test_ticks_of_no_answer_teach_nothing() -> None:
    """Rows of a robot that was asked at every tick and did not say so."""
    assert assembled(held_rows(9, []), policy=THIRD)[0] == []
