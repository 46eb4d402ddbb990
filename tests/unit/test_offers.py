"""Which bundle control is offered, through restarts and refusals."""

from __future__ import annotations

import pytest

from onboard.offers import Offers
from protocol.messages import PolicyEvent


def event(version: int, outcome: str) -> PolicyEvent:
    return PolicyEvent(number=1, version=version, outcome=outcome)


@pytest.mark.parametrize(
    ("held", "active", "best"),
    [([], 0, None), ([1, 2, 3], 0, 3), ([1, 2, 3], 2, 3), ([1, 2, 3], 3, None), ([1], 5, None)],
)
def test_the_newest_above_the_active_one(held, active, best):
    assert Offers().best(held, active) == best


def test_one_at_a_time():
    offers = Offers()
    offers.taken(3)
    assert offers.best([1, 2, 3, 4], active=2) is None
    offers.heard(100, [event(3, "activated")])
    assert offers.best([1, 2, 3, 4], active=3) == 4


def test_what_was_rejected_gives_way_to_the_next_best():
    offers = Offers()
    offers.taken(3)
    offers.heard(100, [event(3, "rejected")])
    assert offers.best([1, 2, 3], active=1) == 2


def test_what_was_rejected_may_be_tried_again_by_a_new_control():
    offers = Offers()
    offers.taken(3)
    offers.heard(100, [event(3, "rejected")])
    offers.heard(5, [])
    assert offers.best([3], active=0) == 3


def test_what_was_rolled_back_is_never_offered_again():
    offers = Offers()
    offers.heard(100, [event(3, "activated"), event(3, "rolled_back")])
    offers.forget()
    assert offers.best([2, 3], active=0) == 2
    assert Offers(offers.rolled_back).best([2, 3], active=0) == 2


def test_a_restarted_control_is_offered_what_it_had():
    offers = Offers()
    offers.heard(900, [event(3, "activated"), event(3, "committed")])
    assert offers.best([3], active=3) is None
    offers.heard(10, [])
    assert offers.best([3], active=0) == 3


def test_a_pinned_robot_is_offered_its_version_or_none():
    offers = Offers()
    assert offers.best([3, 5, 9], active=5, pinned=3) == 3
    assert offers.best([3, 5, 9], active=3, pinned=3) is None
    assert offers.best([5, 9], active=5, pinned=3) is None


def test_a_pinned_version_that_proved_bad_is_not_offered():
    assert Offers([3]).best([3, 5], active=5, pinned=3) is None


def test_what_a_pin_holds_back_is_told_and_offered_once_it_is_lifted():
    offers = Offers()
    offers.heard(100, [event(3, "activated"), event(3, "committed")])
    offers.heard(200, [event(5, "activated"), event(5, "committed"), event(3, "activated")])
    text = "policy 5 is held back: this robot is pinned to policy 3"
    assert offers.held_back([3, 5], pinned=3) == text
    assert offers.held_back([3], pinned=3) == ""
    assert offers.held_back([3, 5], pinned=0) == ""
    assert offers.best([3, 5], active=3) == 5


def test_what_proved_bad_is_not_called_held_back():
    assert Offers([9]).held_back([3, 9], pinned=3) == ""


def test_what_took_over_and_was_taken_over_is_not_offered_again():
    """6 never failed, but control has moved on: its floor is 7."""
    offers = Offers()
    offers.heard(100, [event(6, "activated"), event(7, "activated"), event(7, "rolled_back")])
    assert offers.best([5, 6, 7], active=5) is None
