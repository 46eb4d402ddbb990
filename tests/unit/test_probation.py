"""Is a policy dropped only when it is far worse, and never for ordinary learning?"""

from __future__ import annotations

import itertools

import pytest

from onboard.probation import (
    INTERVENTION_RATE_EXCESS,
    KNOWN_EPISODES,
    LATE_TICKS_PER_EPISODE,
    NOTHING,
    RETURN_SHARE,
    Verdict,
    complaint,
)

SHARES = (0.0, 0.1, RETURN_SHARE - 0.01, RETURN_SHARE + 0.01, 1.0, 2.0)
RATES = (0.0, INTERVENTION_RATE_EXCESS - 0.01, INTERVENTION_RATE_EXCESS + 0.01, 1.0)
LATE = (0, int(LATE_TICKS_PER_EPISODE), int(LATE_TICKS_PER_EPISODE) + 1, 250)
KNOWN = range(KNOWN_EPISODES + 2)
STEPS = 250


def total(episode: Verdict, episodes: int) -> Verdict:
    made = NOTHING
    for _ in range(episodes):
        made = made.plus(episode)
    return made


@pytest.mark.parametrize("usual_return", [0.0, 100.0])
@pytest.mark.parametrize("usual_late", [0, 1])
def test_every_combination_is_judged_by_the_worst_of_three(
    usual_return: float, usual_late: int
) -> None:
    for share, rate, late, known in itertools.product(SHARES, RATES, LATE, KNOWN):
        committed = total(Verdict(usual_return, STEPS, late_ticks=usual_late), known)
        candidate = total(Verdict(share * usual_return, STEPS, round(rate * STEPS), late), 2)
        told = complaint(candidate, committed)
        if known < KNOWN_EPISODES:
            assert told == ""
        elif usual_return > 0.0 and share < RETURN_SHARE:
            assert "mean return" in told
        elif rate > INTERVENTION_RATE_EXCESS:
            assert "commands were limited" in told
        elif late > LATE_TICKS_PER_EPISODE and usual_late == 0:
            assert "late ticks per episode" in told
        else:
            assert told == ""


def test_interventions_count_against_those_of_the_committed_policy() -> None:
    committed = Verdict(100.0, 100, interventions=50, episodes=2)
    assert complaint(Verdict(100.0, 100, interventions=69), committed) == ""
    assert "71%" in complaint(Verdict(100.0, 100, interventions=71), committed)


def test_ordinary_learning_is_left_alone() -> None:
    """Returns of a learner that explores, two episodes for each policy, each judged by the last."""
    returns = [(60.0, 90.0), (90.0, 50.0), (50.0, 52.0), (90.0, 190.0), (20.0, 140.0)]
    policies = [total(Verdict(sum(pair) / 2, STEPS), 2) for pair in returns]
    for committed, candidate in itertools.pairwise(policies):
        assert complaint(candidate, committed) == ""


def test_a_policy_that_ends_its_episodes_early_pays_for_it() -> None:
    """Its mean reward per step is as good; its return is not."""
    committed = Verdict(score=200.0, steps=500, episodes=2)
    assert complaint(Verdict(score=60.0, steps=150, episodes=2), committed) == (
        "mean return 30.0 over 2 episodes, below 0.4 of the committed 100.0"
    )
