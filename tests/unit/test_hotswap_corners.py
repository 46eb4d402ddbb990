"""Does a swap keep its small promises, also where no ordinary course of events leads?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_swap import SwapRobot

from onboard.control_api import HELD_BACK, STAGING, Done, Offer
from onboard.hotswap import KEPT_EVENTS, HotSwap, Phase
from onboard.ledger import Kept, Ledger, Record
from onboard.policy import Slot
from onboard.probation import PROBATION_EPISODES, Verdict
from onboard.swap_steps import Step
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]


@pytest.fixture
def swap(furuta: RobotSpec) -> HotSwap:
    """Nothing was ever offered to it."""
    return HotSwap(furuta, "swing_up")


def test_without_a_policy_there_is_none_to_roll_back(swap: HotSwap) -> None:
    assert not swap.roll_back("trouble")
    assert [*swap.events] == []


def test_a_probation_without_a_policy_commits_nobody(swap: HotSwap) -> None:
    swap._on_probation = True
    for _ in range(PROBATION_EPISODES):
        swap.episode_completed(Verdict(score=1.0, steps=250))
    assert [*swap.events] == []
    swap.ledger.settle()
    assert swap.ledger.record.committed == ()


def test_a_pending_phase_without_a_candidate_flips_nothing(swap: HotSwap) -> None:
    swap._phase = Phase.PENDING
    assert not swap.flip()
    assert swap.active is None


def test_a_start_passes_over_what_does_not_load(
    furuta: RobotSpec, make_bundle: Make, tmp_path: Path
) -> None:
    ledger = Ledger(Record((Kept(4, str(make_bundle(4))), Kept(5, str(tmp_path / "lost")))))
    swap = HotSwap(furuta, "swing_up", ledger=ledger)
    swap.restore()
    assert swap.flip()
    assert swap.active_version == 4
    assert [event.outcome for event in swap.events][:1] == ["rejected"]


def test_a_start_with_nothing_that_loads_drives_nothing(furuta: RobotSpec, tmp_path: Path) -> None:
    ledger = Ledger(Record((Kept(5, str(tmp_path / "lost")),)))
    swap = HotSwap(furuta, "swing_up", ledger=ledger)
    swap.restore()
    assert not swap.flip()
    assert swap.active is None


@pytest.fixture
def robot(furuta: RobotSpec, tmp_path: Path) -> SwapRobot:
    return SwapRobot(furuta, tmp_path / "state")


def test_every_step_of_a_first_policy_is_told_in_order(
    furuta: RobotSpec, tmp_path: Path, make_bundle: Make
) -> None:
    steps: list[Step] = []
    SwapRobot(furuta, tmp_path / "state", steps.append).offered(1, make_bundle(1))
    assert steps == [*Step]


def test_before_any_policy_there_is_no_probation_to_fail(swap: HotSwap) -> None:
    assert not swap.fail_probation("late")


def test_only_the_last_events_are_kept(swap: HotSwap) -> None:
    assert swap.events.maxlen == KEPT_EVENTS


def test_an_activation_has_no_reason_and_a_long_one_is_cut(
    robot: SwapRobot, make_bundle: Make
) -> None:
    robot.commits(1, make_bundle(1))
    assert robot.swap.events[0].reason == ""
    robot.swap.roll_back("x" * 2000)
    assert robot.swap.events[-1].reason == "x" * 1024


def test_what_is_asked_for_and_what_is_refused_is_answered_plainly(
    robot: SwapRobot, make_bundle: Make
) -> None:
    robot.commits(3, make_bundle(3))
    swap = robot.swap
    assert swap.offer(Offer(version=3, directory="/b")) == Done(ok=True, detail="already active")
    never = swap.pin(Offer(version=2, directory="/b"))
    assert never.ok is False
    assert swap.pin(Offer(version=3, directory="/b")).ok is True
    robot.step()
    held_back = swap.offer(Offer(version=4, directory="/b"))
    assert held_back.ok is False
    assert held_back.detail.startswith(HELD_BACK)


def test_going_back_in_memory_is_a_flip_like_any_other(robot: SwapRobot, make_bundle: Make) -> None:
    for version in (1, 2):
        robot.commits(version, make_bundle(version))
    assert robot.swap.go_back().ok
    assert robot.swap.flip()
    assert robot.active == 1


def test_where_the_loop_was_first_nothing_flips(robot: SwapRobot, make_bundle: Make) -> None:
    """It rolled the driver back itself, after the operator had asked and before the next tick."""
    for version in (1, 2):
        robot.commits(version, make_bundle(version))
    assert robot.swap.go_back().ok
    robot.swap.roll_back("bad")
    before = robot.swap.active
    assert robot.swap.flip() is False, "no record may say that a policy was swapped"
    assert robot.swap.active is before
    assert robot.offered(3, make_bundle(3)).ok, "the next one may come"


def test_going_back_by_the_ledger_blames_the_operator(robot: SwapRobot, make_bundle: Make) -> None:
    for version in (1, 2):
        robot.commits(version, make_bundle(version))
    robot.restart()
    assert robot.active == 2
    assert robot.swap.go_back() == Done(ok=True, detail=STAGING)
    robot.step()
    dropped = [event for event in robot.swap.events if event.outcome == "rolled_back"]
    assert [(event.version, event.reason) for event in dropped] == [(2, "by the operator")]


def test_there_is_nothing_before_the_first_version(robot: SwapRobot, make_bundle: Make) -> None:
    robot.commits(1, make_bundle(1))
    assert not robot.swap.go_back().ok


def test_with_nothing_active_the_last_committed_one_comes_back(
    furuta: RobotSpec, make_bundle: Make
) -> None:
    ledger = Ledger(Record((Kept(4, str(make_bundle(4))),)))
    swap = HotSwap(furuta, "swing_up", ledger=ledger)
    assert swap.go_back() == Done(ok=True, detail=STAGING)


def test_a_start_with_an_empty_ledger_takes_version_one(
    robot: SwapRobot, make_bundle: Make
) -> None:
    robot.offered(1, make_bundle(1))
    assert robot.active == 1


def test_a_committed_version_one_is_restored(robot: SwapRobot, make_bundle: Make) -> None:
    robot.commits(1, make_bundle(1))
    robot.restart()
    assert robot.active == 1


def test_a_start_goes_by_the_pin_and_not_by_what_was_committed_last(
    furuta: RobotSpec, make_bundle: Make
) -> None:
    kept = tuple(Kept(version, str(make_bundle(version))) for version in (4, 5))
    swap = HotSwap(furuta, "swing_up", ledger=Ledger(Record(kept, pinned=4)))
    swap.restore()
    assert swap.flip()
    assert swap.active_version == 4


def test_a_policy_that_comes_again_has_not_itself_to_return_to(
    robot: SwapRobot, make_bundle: Make
) -> None:
    robot.commits(5, make_bundle(5))
    robot.offered(6, make_bundle(6))
    robot.offered(5, make_bundle(5))
    assert robot.active == 5
    assert robot.swap.previous is None


def test_who_is_displaced_is_closed_and_who_is_kept_is_not(
    robot: SwapRobot, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(Slot, "close", lambda slot: closed.append(slot.version))
    robot.commits(5, make_bundle(5))
    robot.offered(6, make_bundle(6))
    robot.offered(7, make_bundle(7))
    assert closed == []  # not in a tick
    robot.offered(8, make_bundle(8))
    assert closed == [6]
    previous = robot.swap.previous
    assert previous is not None
    assert previous.version == 5
