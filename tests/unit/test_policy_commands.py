"""Listing, going back, pinning: what may the operator choose, and what does it lead to?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_agent import make_status
from made_rig import ROBOT
from made_swap import SwapRobot

from onboard.choice import WRITTEN_S, Choice, choose
from onboard.control_api import (
    BUSY,
    HELD_BACK,
    SOCKET_FILE,
    Done,
    GetStatus,
    Offer,
    Pin,
    Reply,
    Request,
    Rollback,
    Status,
    Unpin,
)
from onboard.control_socket import ControlServer, Waiting
from onboard.hotswap import HotSwap
from onboard.ledger import EMPTY, Kept, Ledger
from onboard.policy_command import policy
from onboard.policy_text import Policies, description, listing, standing
from onboard.probation import Verdict
from onboard.version_floor import FLOOR_FILE, Floor, write_floor
from protocol.bundle import decode_manifest
from protocol.errors import BundleError, ConfigError, StoreError, WireError
from protocol.messages import PolicyEvent
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]


class Robot(SwapRobot):
    """With an operator who writes the bundles as they are needed."""

    def __init__(self, spec: RobotSpec, state: Path, make: Make) -> None:
        super().__init__(spec, state)
        self._make = make

    def offer(self, version: int) -> Done:
        return self.offered(version, self._make(version))

    def commit(self, *versions: int) -> None:
        for version in versions:
            self.commits(version, self._make(version))

    def chooses(self, choice: Choice) -> Done:
        reply = choose(self.swap, choice, lambda: 0.0)
        self.step()
        answer = reply if isinstance(reply, Done) else reply.reply()
        assert isinstance(answer, Done)
        return answer

    def pins(self, version: int) -> Done:
        return self.chooses(Pin(version=version, directory=str(self._make(version))))

    def answers(self, request: Request) -> Reply | Waiting:
        """As the desk does."""
        if isinstance(request, GetStatus):
            return self.status()
        assert isinstance(request, Choice)
        return choose(self.swap, request, lambda: 0.0)

    def status(self) -> Status:
        return make_status(active_version=self.active, events=list(self.swap.events))

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        return [(event.version, event.outcome) for event in self.swap.events]


@pytest.fixture
def robot(furuta: RobotSpec, tmp_path: Path, make_bundle: Make) -> Robot:
    return Robot(furuta, tmp_path / "state", make_bundle)


def test_going_back_returns_to_the_committed_policy_in_memory(robot: Robot) -> None:
    robot.commit(3, 5)
    assert robot.chooses(Rollback()) == Done(ok=True, detail="returning")
    assert robot.active == 3
    assert robot.outcomes[-1] == (5, "rolled_back")
    assert robot.swap.events[-1].reason == "by the operator"
    assert robot.swap.ledger.record.versions == [3]


def test_going_back_drops_a_policy_on_probation(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.offer(7)
    robot.chooses(Rollback())
    assert robot.active == 5
    assert robot.swap.ledger.record.versions == [3, 5]


def test_going_back_again_loads_what_was_committed_before_that(robot: Robot) -> None:
    """Only one policy is ready in memory; the one before lies on the disk."""
    robot.commit(2, 3, 5)
    robot.chooses(Rollback())
    assert robot.chooses(Rollback()) == Done(ok=True, detail="staging")
    assert robot.active == 2
    assert robot.outcomes[-3:] == [(3, "rolled_back"), (2, "activated"), (2, "committed")]
    assert robot.swap.events[-1].reason == "committed before"
    assert not robot.swap.roll_back("NaN")  # nobody returns to the one that was left


def test_there_is_an_end_to_going_back(robot: Robot) -> None:
    done = robot.chooses(Rollback())
    assert (done.ok, done.detail) == (False, "no earlier committed policy is held")
    robot.commit(3)
    assert not robot.chooses(Rollback()).ok
    assert robot.active == 3


def test_operator_and_loop_that_go_back_at_once_go_back_once(robot: Robot) -> None:
    robot.commit(3, 5)
    choose(robot.swap, Rollback(), lambda: 0.0)
    robot.swap.roll_back("NaN")
    robot.step()
    assert robot.active == 3
    assert robot.offer(6).ok


def test_nobody_left_to_drop_is_no_error(robot: Robot) -> None:
    robot.commit(3)
    assert not robot.swap.roll_back("NaN")
    assert not robot.swap.roll_back("NaN")
    robot.swap.episode_completed(Verdict(score=1.0, steps=1))
    assert robot.outcomes.count((3, "rolled_back")) == 1


def test_a_damaged_bundle_gives_way_to_the_one_committed_before(
    robot: Robot, tmp_path: Path
) -> None:
    robot.commit(3, 5)
    (tmp_path / "bundle-5" / "weights.safetensors").write_bytes(b"half")
    robot.restart()
    assert robot.outcomes == [(5, "rejected"), (3, "activated"), (3, "committed")]


def test_going_back_works_after_a_restart(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.restart()
    assert robot.active == 5
    robot.chooses(Rollback())
    assert robot.active == 3
    robot.restart()
    assert robot.active == 3


def test_policies_that_proved_bad_are_not_gone_back_to(robot: Robot) -> None:
    robot.commit(3)
    robot.offer(5)
    robot.swap.roll_back("NaN")
    robot.swap.roll_back("NaN")
    assert robot.active == 0
    robot.step()
    assert not robot.chooses(Rollback()).ok


def test_a_bundle_that_vanished_cannot_be_gone_back_to(robot: Robot, tmp_path: Path) -> None:
    robot.commit(2, 3, 5)
    robot.chooses(Rollback())
    (tmp_path / "bundle-2" / "weights.safetensors").unlink()
    robot.chooses(Rollback())
    assert robot.active == 3
    assert robot.outcomes[-1] == (2, "rejected")
    assert (3, "rolled_back") not in robot.outcomes


def test_what_the_operator_left_stays_below_the_floor(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.chooses(Rollback())
    assert robot.offer(5) == Done(ok=False, detail="policy 5 was rolled back here; pin forces")
    assert robot.outcomes[-1] == (5, "rolled_back")
    robot.offer(4)
    assert "not newer than version 5" in robot.swap.events[-1].reason
    robot.commit(6)


def test_a_pin_returns_to_a_committed_policy_and_holds_others_back(robot: Robot) -> None:
    robot.commit(3, 5)
    assert robot.pins(3).ok
    assert robot.active == 3
    assert robot.swap.ledger.record.pinned == 3
    done = robot.offer(9)
    assert not done.ok
    assert done.detail == f"{HELD_BACK}: this robot is pinned to policy 3"
    assert robot.active == 3
    assert (5, "rolled_back") not in robot.outcomes  # left, not condemned


def test_a_pin_survives_a_restart(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.pins(3)
    robot.restart()
    assert robot.active == 3
    assert not robot.offer(9).ok


def test_unpinned_the_newest_may_come_again(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.pins(3)
    assert robot.chooses(Unpin()) == Done(ok=True, detail="not pinned")
    assert robot.offer(5).ok
    assert robot.active == 5
    assert robot.swap.events[-1].reason == "committed before"
    assert robot.swap.roll_back("NaN")
    assert robot.active == 3


def test_the_active_policy_can_be_pinned(robot: Robot) -> None:
    robot.commit(3)
    assert robot.pins(3) == Done(ok=True, detail="already active")
    assert not robot.offer(4).ok


def test_a_pin_moves_on(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.pins(3)
    assert robot.pins(5).ok
    assert (robot.active, robot.swap.ledger.record.pinned) == (5, 5)


def test_a_pinned_newcomer_is_on_probation_as_any_other(robot: Robot) -> None:
    robot.commit(3)
    assert robot.pins(7).ok
    assert robot.active == 7
    assert robot.swap.fail_probation("late")
    assert robot.active == 3
    assert not robot.offer(8).ok  # the operator's pin stands
    robot.restart()
    assert robot.active == 3


@pytest.mark.parametrize("version", [4, 6])
def test_what_the_floor_forbids_and_was_never_committed_cannot_be_pinned(
    robot: Robot, version: int
) -> None:
    robot.commit(3, 5)
    robot.offer(6)
    robot.swap.roll_back("NaN")
    robot.step()
    done = robot.pins(version)
    assert not done.ok
    assert "never committed here and is not newer than version 6; pin one of [3, 5]" in done.detail
    assert robot.swap.ledger.record.pinned == 0


def test_a_pinned_robot_does_not_go_back(robot: Robot) -> None:
    robot.commit(3, 5)
    robot.pins(5)
    done = robot.chooses(Rollback())
    assert (done.ok, done.detail) == (False, "this robot is pinned to policy 5; unpin it first")
    assert robot.active == 5


def test_a_choice_waits_for_the_candidate_in_staging(robot: Robot, make_bundle: Make) -> None:
    robot.commit(3, 5)
    robot.swap.offer(Offer(version=6, directory=str(make_bundle(6))))
    for choice in (Rollback(), Pin(version=3, directory=str(make_bundle(3)))):
        reply = choose(robot.swap, choice, lambda: 0.0)
        assert isinstance(reply, Done)
        assert reply.detail.startswith(BUSY)
    robot.step()
    assert (robot.active, robot.swap.ledger.record.pinned) == (6, 0)


def test_an_offer_waits_for_the_operator(robot: Robot, make_bundle: Make) -> None:
    robot.commit(3, 5)
    choose(robot.swap, Rollback(), lambda: 0.0)
    done = robot.swap.offer(Offer(version=6, directory=str(make_bundle(6))))
    assert done.detail == f"{BUSY}: a candidate is in returning"


def test_a_pin_is_acknowledged_when_it_is_written(furuta: RobotSpec) -> None:
    swap, now_s = HotSwap(furuta, "swing_up"), [0.0]
    waiting = choose(swap, Unpin(), lambda: now_s[0])
    swap.ledger.record = swap.ledger.record.pinning(3)
    assert not isinstance(waiting, Done)
    assert waiting.reply() is None
    now_s[0] = WRITTEN_S
    late = waiting.reply()
    assert isinstance(late, Done)
    assert not late.ok
    swap.ledger.settle()
    assert waiting.reply() == Done(ok=True, detail="not pinned")


def test_a_pin_that_a_restart_would_forget_says_so(furuta: RobotSpec) -> None:
    def full(text: str) -> None:
        raise StoreError("disk full")

    swap = HotSwap(furuta, "swing_up", ledger=Ledger(write=full))
    waiting = choose(swap, Unpin(), lambda: 0.0)
    swap.ledger.settle()
    assert not isinstance(waiting, Done)
    answer = waiting.reply()
    assert isinstance(answer, Done)
    assert (answer.ok, answer.detail) == (False, "in force, but lost at a restart: disk full")


# The command line.


@contextmanager
def running(robot: Robot, runtime: Path) -> Iterator[None]:
    """Control's socket, and a loop that goes through its turns."""
    server, ending = ControlServer(runtime / SOCKET_FILE, robot.answers).open(), threading.Event()

    def turn() -> None:
        while not ending.wait(0.002):
            robot.step()

    threads = [threading.Thread(target=server.serve), threading.Thread(target=turn)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        server.close()
        for thread in threads:
            thread.join()


@pytest.fixture
def state(tmp_path: Path, make_bundle: Make) -> Path:
    """Bundles 2, 3, 5 and 9 are held; nothing older than 9 is accepted any more."""
    state = tmp_path / "state"
    (state / "bundles").mkdir(parents=True)
    for version in (2, 3, 5, 9):
        make_bundle(version).rename(state / "bundles" / str(version))
    write_floor(state / FLOOR_FILE, Floor(bundle=9))
    return state


def told(verb: str, version: int | None, state: Path, runtime: Path) -> int:
    return policy(verb, version, robot=ROBOT, state=state, runtime=runtime)  # type: ignore[arg-type]


def test_the_operator_pins_goes_back_and_unpins(
    robot: Robot, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot.commit(2, 3, 5)
    with running(robot, tmp_path):
        for verb, version, answer in (
            ("pin", 3, "policy 3 drives"),
            ("pin", 3, "already active"),
            ("unpin", None, "not pinned"),
            ("rollback", None, "policy 2 drives"),
        ):
            assert told(verb, version, state, tmp_path) == 0
            assert capsys.readouterr().out.strip() == answer
        assert told("rollback", None, state, tmp_path) == 1
        assert "no earlier committed policy" in capsys.readouterr().err


def test_a_pinned_bundle_that_does_not_load_is_told_with_its_reason(
    robot: Robot, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot.commit(2)
    (state / "bundles" / "9" / "graph.onnx").write_bytes(b"")
    with running(robot, tmp_path):
        assert told("pin", 9, state, tmp_path) == 1
    assert "policy 9 rejected: bundle 9: graph.onnx is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "text"),
    [(4, "not newer than 9: it is not accepted again"), (10, r"not held here;")],
)
def test_what_is_not_held_cannot_be_pinned(version: int, text: str, state: Path) -> None:
    with pytest.raises(BundleError, match=text):
        told("pin", version, state, state)


@pytest.mark.parametrize(
    ("verb", "version"), [("pin", None), ("show", None), ("list", 3), ("rollback", 3), ("unpin", 3)]
)
def test_a_version_is_named_where_it_means_something(
    verb: str, version: int | None, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"policy {verb}"):
        told(verb, version, tmp_path, tmp_path)


def test_without_control_the_disk_still_tells(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told("list", None, state, tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[:4]] == ["9", "5", "3", "2"]
    assert lines[4:] == ["not newer than 9: accepted only if held", "control is not running"]
    assert told("show", 5, state, tmp_path) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["version"], shown["run"], shown["standing"]) == ("5", "test", "not tried")
    with pytest.raises(BundleError, match="policy 4 is not held here"):
        told("show", 4, state, tmp_path)
    with pytest.raises(WireError, match="control is not running"):
        told("unpin", None, state, tmp_path)


def event(version: int, outcome: str, reason: str = "") -> PolicyEvent:
    return PolicyEvent(number=1, version=version, outcome=outcome, reason=reason)


def test_every_version_is_listed_with_what_it_is_to_the_robot() -> None:
    record = EMPTY
    for version in (3, 5):
        record = record.committing(Kept(version, ""))
    events = [event(7, "activated"), event(7, "rolled_back", "NaN"), event(8, "rejected", "slow")]
    status = make_status(active_version=3, events=events)
    policies = Policies([3, 5, 7, 8, 9], record.pinning(3), 9, status)
    assert listing(policies).splitlines() == [
        "       9  held back: this robot is pinned to policy 3",
        "       8  rejected: slow",
        "       7  rolled back: NaN",
        "       5  committed",
        "       3  drives, pinned, committed",
        "not newer than 9: accepted only if held",
    ]
    assert standing(policies._replace(record=EMPTY), 9) == ""


def test_nothing_held_is_said(furuta: RobotSpec) -> None:
    assert listing(Policies([], EMPTY, 0, make_status())) == "no policy is held"


def test_a_description_has_the_evaluation(make_bundle: Make) -> None:
    folder = make_bundle(4, evaluation={"return_mean": 90.5}, parent_version=3)
    manifest = decode_manifest((folder / "manifest.json").read_bytes())
    text = description(Policies([4], EMPTY, 0, None), manifest)
    assert "evaluation return_mean  90.5" in text
    assert "parent                  3" in text
