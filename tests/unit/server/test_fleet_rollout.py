"""The rollout's state machine: every stage with everything that can happen in it."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offboard.fleet.assignments import Assignment
from offboard.fleet.rollout import (
    Member,
    Rollout,
    Stage,
    Standing,
    Verdict,
    again,
    assigned,
    begin,
    doubts,
    due,
    halt,
    heard,
    promote,
    reversal,
)
from protocol.errors import ConfigError

OLD, NEW = "0" * 16, "1" * 16
ORDER = Assignment(release=NEW, target="cp311-x86_64")
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def fleet(canaries: int = 1, stable: int = 4) -> Rollout:
    names = {f"c{n}": True for n in range(canaries)} | {f"s{n}": False for n in range(stable)}
    members = {name: Member(order=ORDER, canary=it, before=OLD) for name, it in names.items()}
    return begin(7, members)


def told(rollout: Rollout, *names: str, verdict: Verdict = "installed") -> Rollout:
    rollout = assigned(rollout, names)
    return heard(rollout, [(name, verdict, OLD, "so") for name in names])


def test_canaries_come_first_and_all_at_once() -> None:
    assert due(fleet(canaries=2), 0.25) == ["c0", "c1"]


def test_the_rest_follows_in_batches_when_a_canary_is_well() -> None:
    rollout = told(fleet(), "c0")
    seen = []
    while names := due(rollout, 0.5):
        seen.append(names)
        rollout = told(rollout, *names)
    assert seen == [["s0", "s1"], ["s2", "s3"]]
    assert rollout.stage is Stage.DONE


def test_without_canaries_one_unit_goes_first() -> None:
    rollout = fleet(canaries=0)
    assert rollout.stage is Stage.STABLE
    assert due(rollout, 1.0) == ["s0"]
    assert due(told(rollout, "s0"), 1.0) == ["s1", "s2", "s3"]


def test_without_canaries_those_who_say_nothing_of_it_release_nobody_but_the_next() -> None:
    rollout = told(fleet(canaries=0), "s0", verdict="away")
    assert due(rollout, 1.0) == ["s1"]
    rollout = told(rollout, "s1", verdict="unsafe")
    assert due(rollout, 1.0) == ["s2"]
    assert due(told(rollout, "s2"), 1.0) == ["s3"]


@pytest.mark.parametrize("verdict", ["unproven", "busy"])
def test_one_in_doubt_holds_those_who_come_after_it(verdict: Verdict) -> None:
    rollout = told(told(fleet(), "c0"), "s2", verdict=verdict)
    assert rollout.stage is Stage.STABLE
    assert due(rollout, 1.0) == []
    assert doubts(rollout) == [f"s2 is {verdict}: so"]
    asked_again = again(rollout)
    assert due(asked_again, 0.25) == ["s2"], "the one in doubt comes before those not asked yet"
    assert due(told(asked_again, "s2"), 1.0) == ["s0", "s1", "s3"]
    assert due(promote(rollout), 1.0) == ["s0", "s1", "s3"], "a person may know better"


def test_nothing_holds_the_way_back() -> None:
    back = reversal(told(told(fleet(), "c0"), "s0", "s1"), 8)
    assert due(told(back, "c0", verdict="unproven"), 1.0) == ["s0", "s1"]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_what_a_lone_canary_says_decides(verdict: Verdict) -> None:
    rollout = told(fleet(), "c0", verdict=verdict)
    expected = {
        "installed": Stage.STABLE,
        "already": Stage.STABLE,
        "rolled_back": Stage.HALTED,
        "refused": Stage.HALTED,
    }
    assert rollout.stage is expected.get(verdict, Stage.CANARY)
    assert bool(due(rollout, 1.0)) == (rollout.stage is Stage.STABLE)


@pytest.mark.parametrize(
    ("other", "goes_on"),
    [("away", True), ("unsafe", True), ("unproven", False), ("busy", False), ("refused", False)],
)
def test_a_canary_in_doubt_holds_the_rest_one_that_has_not_begun_does_not(other, goes_on) -> None:
    rollout = assigned(fleet(canaries=2), ["c0", "c1"])
    answers = [("c0", "installed", OLD, ""), ("c1", other, OLD, "so")]
    assert (heard(rollout, answers).stage is Stage.STABLE) == goes_on


@pytest.mark.parametrize("verdict", ["rolled_back", "refused"])
def test_one_failure_among_the_rest_stops_everything(verdict: Verdict) -> None:
    rollout = told(told(fleet(), "c0"), "s0", verdict=verdict)
    assert rollout.stage is Stage.HALTED
    assert "s0" in rollout.reason
    assert "so" in rollout.reason
    assert due(rollout, 1.0) == []
    assert rollout.named(Standing.QUEUED) == ["s1", "s2", "s3"], "nobody else was assigned"


def test_a_failure_after_the_end_is_kept_but_changes_nothing() -> None:
    rollout = told(told(fleet(stable=1), "c0"), "s0", verdict="away")
    assert rollout.stage is Stage.DONE
    late = heard(rollout, [("s0", "rolled_back", OLD, "crashed")])
    assert late.stage is Stage.DONE
    assert late.members["s0"].standing is Standing.FAILED


def stages() -> dict[Stage, Rollout]:
    """A rollout in each stage."""
    return {
        Stage.CANARY: assigned(fleet(), ["c0"]),
        Stage.STABLE: told(fleet(), "c0"),
        Stage.HALTED: halt(fleet(), "smoke"),
        Stage.DONE: told(told(fleet(stable=1), "c0"), "s0"),
    }


@pytest.mark.parametrize("stage", Stage)
def test_a_person_may_go_on_from_anywhere_but_the_end(stage: Stage) -> None:
    rollout = stages()[stage]
    if stage is Stage.DONE:
        with pytest.raises(ConfigError, match="rollout 7 is done"):
            promote(rollout)
    else:
        assert promote(rollout).stage is Stage.STABLE
        assert promote(rollout).reason == ""


@pytest.mark.parametrize("stage", Stage)
def test_a_person_may_halt_what_is_under_way(stage: Stage) -> None:
    rollout = stages()[stage]
    if stage in (Stage.DONE, Stage.HALTED):
        with pytest.raises(ConfigError, match="nothing to halt"):
            halt(rollout, "smoke")
    else:
        assert halt(rollout, "smoke").stage is Stage.HALTED
        assert due(halt(rollout, "smoke"), 1.0) == []


@pytest.mark.parametrize(("stage", "verdict"), [*itertools.product(Stage, VERDICTS)])
def test_every_answer_in_every_stage_has_a_meaning(stage: Stage, verdict: Verdict) -> None:
    rollout = stages()[stage]
    name = "c0"
    after = heard(rollout, [(name, verdict, OLD, "so")])
    well, bad = ("installed", "already"), ("rolled_back", "refused")
    standing = Standing.HEALTHY if verdict in well else Standing.ASSIGNED
    assert after.members[name].standing is (Standing.FAILED if verdict in bad else standing)
    if stage in (Stage.HALTED, Stage.DONE):
        assert after.stage is stage
    elif verdict in bad:
        assert after.stage is Stage.HALTED


def test_who_was_away_is_asked_again_and_nobody_else() -> None:
    rollout = told(told(fleet(stable=2), "c0"), "s0", verdict="away")
    rollout = told(rollout, "s1")
    assert rollout.stage is Stage.DONE
    assert due(again(rollout), 1.0) == ["s0"]
    assert again(told(fleet(stable=0), "c0")).stage is Stage.DONE


def test_a_halted_rollout_asks_nobody_again() -> None:
    assert due(again(stages()[Stage.HALTED]), 1.0) == []


def test_the_way_back_leads_everybody_who_was_assigned_to_what_they_ran() -> None:
    rollout = told(told(fleet(), "c0"), "s0", "s1", verdict="away")
    back = reversal(rollout, 8)
    assert sorted(back.members) == ["c0", "s0", "s1"]
    assert {it.order.release for it in back.members.values()} == {OLD}
    assert {it.before for it in back.members.values()} == {NEW}


def test_a_way_back_is_not_reversed() -> None:
    back = reversal(told(fleet(), "c0"), 8)
    assert back.reverses == 7
    with pytest.raises(ConfigError, match="way back from 7"):
        reversal(assigned(back, ["c0"]), 9)


@pytest.mark.parametrize("before", ["../../etc/passwd", "0" * 15, "0" * 16 + "\n", "Z" * 16])
def test_what_is_no_release_is_nothing_to_go_back_to(before: str) -> None:
    rollout = assigned(fleet(), ["c0"])
    assert heard(rollout, [("c0", "installed", before, "")]).members["c0"].before == OLD


def test_there_is_no_way_back_to_what_nobody_knows() -> None:
    members = {"c0": Member(order=ORDER, canary=True)}
    with pytest.raises(ConfigError, match="nobody in rollout 1"):
        reversal(assigned(begin(1, members), ["c0"]), 2)


@given(st.data())
def test_whatever_units_say_nobody_is_assigned_twice_or_after_a_failure(data) -> None:
    canaries, stable = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 6))
    rollout, asked, failed, doubted = fleet(canaries, stable), [], False, False
    while names := due(rollout, data.draw(st.sampled_from([0.1, 0.5, 1.0]))):
        assert not failed
        assert not doubted
        asked += names
        rollout = assigned(rollout, names)
        verdicts = [data.draw(st.sampled_from(VERDICTS)) for _ in names]
        failed = any(verdict in ("rolled_back", "refused") for verdict in verdicts)
        doubted = any(verdict in ("unproven", "busy") for verdict in verdicts)
        rollout = heard(
            rollout, [(name, it, OLD, "") for name, it in zip(names, verdicts, strict=True)]
        )
    assert len(asked) == len(set(asked))
    assert rollout.stage is not Stage.STABLE or doubted
    assert (rollout.stage is Stage.HALTED) == failed
