"""A deploy from end to end, but for the units: they are stand-ins that say what they are told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_fleet import HERE, fleet_text, made_fleet, made_release
from msgspec import structs

from offboard.file_lock import refusing_lock
from offboard.fleet.ansible_reach import Terms
from offboard.fleet.answer import Answer
from offboard.fleet.deploy import Deployment
from offboard.fleet.fleet_file import Fleet, parse_fleet
from offboard.fleet.fleet_log import FleetLog
from offboard.fleet.modules import TARGETS
from offboard.fleet.publication import Publication
from offboard.fleet.release_store import ReleaseStore
from offboard.fleet.rollout import Stage, Standing
from offboard.keys import OFFLINE_DIRECTORY, enrol_robot, init_server, revoke_robot
from offboard.stages.deploy import status_text
from protocol.errors import ConfigError, StoreError

FIRST = "0" * 16


class Units:
    """Says what units say; remembers who was asked for what, and what lay in the slice."""

    def __init__(self) -> None:
        self.says: dict[str, Answer] = {}
        self.asked: list[dict[str, str]] = []
        self.slices: list[set[str]] = []
        self.places: list[Path] = []

    def install(self, units, releases, slice_, terms):
        assert units.keys() == releases.keys()
        self.asked.append(dict(releases))
        self.places.append(slice_)
        self.slices.append({path.name.partition(".")[2] for path in slice_.rglob("*.zst")})
        default = Answer("installed", "", FIRST)
        return {name: self.says.get(name, default) for name in units}


class Bench:
    """A canary, two stable units and one that pulls."""

    def __init__(self, place: Path) -> None:
        self.keys = place / "keys"
        init_server(self.keys)
        self.units, self.lines = Units(), []
        fleet = self.fleet()
        for name in fleet.units:
            enrol_robot(self.keys, name, place / name)
        out = place / "out"
        self.log = FleetLog(out / "fleet.sqlite", "mira", lambda: 1e9)
        self.store = ReleaseStore(out / "releases")
        self.deployment = Deployment(
            fleet=fleet,
            keys=self.keys,
            out=out,
            store=self.store,
            publication=Publication(self.keys, out / "repository", [self.keys / OFFLINE_DIRECTORY]),
            log=self.log,
            reach=self.units,
            terms=Terms(),
            share=1.0,
            say=self.lines.append,
            now_s=lambda: 1e9,
        )

    def fleet(self) -> Fleet:
        unit = "\n".join(fleet_text().split("[units.bench]\n")[1].splitlines())
        text = "\n".join(fleet_text().splitlines()[:3])
        for name in ("canary", "left", "right", "far"):
            address = "pulls" if name == "far" else f"field@{name}"
            table = unit.replace("field@10.0.0.18", address).replace("BENCH-1", f"BENCH-{name}")
            channel = "canary" if name == "canary" else "stable"
            text += f"\n[units.{name}]\n" + table.replace('"stable"', f'"{channel}"')
        return parse_fleet(text, "fleet.toml")

    def release(self, main: str = "# one") -> str:
        made = made_release(HERE, main)
        self.store.keep(made, HERE)
        return made.id

    def deploy(self, main: str = "# one"):
        return self.deployment.deploy({HERE: self.release(main)})

    def events(self) -> list[tuple[str, str]]:
        return [(event.unit, event.what) for event in self.log.events(99)]

    def assigned(self) -> dict[str, str]:
        held = self.deployment.publication.assignments().units
        return {name: line.release for name, line in held.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    return Bench(tmp_path)


def test_the_canary_first_then_everybody_who_can_be_reached(bench: Bench) -> None:
    rollout = bench.deploy()
    release = bench.release()
    assert bench.units.asked == [{"canary": release}, {"left": release, "right": release}]
    assert bench.units.slices == [{f"{release}.tar.zst"}] * 2
    assert rollout.stage is Stage.DONE
    assert rollout.named(Standing.ASSIGNED) == ["far"]
    assert bench.assigned() == dict.fromkeys(bench.deployment.fleet.units, release)


def test_who_got_what_when_is_written_down(bench: Bench) -> None:
    bench.deploy()
    assert bench.events() == [
        ("", "began"),
        ("canary", "assigned"),
        ("canary", "installed"),
        *((name, "assigned") for name in ("far", "left", "right")),
        *((name, what) for name, what in zip(("far", "left", "right"), ("away",), strict=False)),
        ("left", "installed"),
        ("right", "installed"),
    ]
    event = bench.log.events(1)[0]
    assert (event.at_s, event.operator, event.rollout) == (1e9, "mira", 1)
    assert event.release == bench.release()
    assert [it.what for it in bench.log.events(99, "canary")] == ["assigned", "installed"]


def test_a_release_that_fails_on_the_canary_stops_there(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("rolled_back", "it crashed", FIRST)
    rollout = bench.deploy()
    assert rollout.stage is Stage.HALTED
    assert "canary rolled back: it crashed" in rollout.reason
    assert bench.assigned().keys() == {"canary"}
    assert len(bench.units.asked) == 1
    with pytest.raises(ConfigError, match="it crashed"):
        bench.deploy()


def test_another_release_may_follow_one_that_was_halted(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("rolled_back", "it crashed", FIRST)
    bench.deploy()
    bench.units.says.clear()
    assert bench.deploy("# two").stage is Stage.DONE
    assert set(bench.assigned().values()) == {bench.release("# two")}


def test_a_person_may_go_on_all_the_same(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("refused", "disk full", FIRST)
    bench.deploy()
    assert bench.deployment.promote().stage is Stage.DONE
    assert bench.units.asked[-1].keys() == {"left", "right"}
    with pytest.raises(ConfigError, match="is done"):
        bench.deployment.promote()


def test_who_took_a_release_back_is_not_told_to_try_it_again(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("rolled_back", "it crashed", FIRST)
    bench.deploy()
    line = bench.deployment.publication.assignments().units["canary"]
    bench.deployment.promote()
    now = bench.deployment.publication.assignments()
    assert now.units["canary"] == line, "a unit tries again what was written anew"
    assert now.units["left"].since > line.since


def test_a_canary_that_cannot_be_reached_holds_the_rest_until_it_can(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("away", "no route")
    assert bench.deploy().stage is Stage.CANARY
    bench.units.says.clear()
    assert bench.deploy().stage is Stage.DONE
    assert bench.log.latest().number == 1, "it is the same rollout"


def test_asked_again_only_those_are_visited_who_are_not_there_yet(bench: Bench) -> None:
    bench.units.says["right"] = Answer("unsafe", "the motors are powered", FIRST)
    bench.deploy()
    bench.units.asked.clear()
    bench.units.says.clear()
    assert bench.deploy().named(Standing.HEALTHY) == ["canary", "left", "right"]
    assert [asked.keys() for asked in bench.units.asked] == [{"right"}]


def test_a_deploy_that_was_killed_is_taken_up(bench: Bench) -> None:
    class Killed(Units):
        def install(self, *arguments):
            raise KeyboardInterrupt

    killed = replace(bench.deployment, reach=Killed())
    with pytest.raises(KeyboardInterrupt):
        killed.deploy({HERE: bench.release()})
    assert bench.deploy().stage is Stage.DONE
    assert bench.units.asked[0].keys() == {"canary"}


def test_who_waits_for_a_unit_in_doubt_is_told_so(bench: Bench) -> None:
    deployment = replace(bench.deployment, share=0.3)
    bench.units.says["left"] = Answer("unproven", "its bus is dead", FIRST)
    rollout = deployment.deploy({HERE: bench.release()})
    assert rollout.stage is Stage.STABLE
    assert rollout.named(Standing.QUEUED) == ["right"]
    assert "left is unproven: its bus is dead" in bench.lines[-1]
    assert "fleet promote" in bench.lines[-1]
    bench.units.says.clear()
    assert deployment.deploy({HERE: bench.release()}).stage is Stage.DONE
    assert [list(asked) for asked in bench.units.asked[-2:]] == [["left"], ["right"]]


def test_a_new_release_takes_the_place_of_one_under_way(bench: Bench) -> None:
    bench.units.says["canary"] = Answer("unproven", "no verdict", FIRST)
    bench.deploy()
    bench.units.says.clear()
    bench.deploy("# two")
    new, old = bench.log.recent(2)
    assert (new.number, new.stage) == (2, Stage.DONE)
    assert (old.stage, old.reason) == (Stage.HALTED, "rollout 2 takes its place")


def test_the_way_back_is_a_new_assignment_of_what_ran_before(bench: Bench) -> None:
    bench.deploy("# one")
    one = Answer("installed", "", bench.release("# one"))
    bench.units.says = dict.fromkeys(("canary", "left", "right"), one)
    bench.deploy("# two")
    before = bench.deployment.publication.assignments().counter
    rollout = bench.deployment.roll_back("smoke")
    assert rollout.number == 3
    assert bench.assigned()["far"] == bench.release("# one"), "it was never heard; the list knows"
    assert bench.deployment.publication.assignments().counter > before


def test_there_is_no_way_back_to_a_release_that_is_not_at_hand(bench: Bench) -> None:
    bench.deploy()
    with pytest.raises(ConfigError, match="not at hand"):
        bench.deployment.roll_back("smoke")


def test_two_deploys_at_once_the_second_is_refused(bench: Bench) -> None:
    lock = bench.deployment.out / ".deploy.lock"
    with refusing_lock(lock, "ours"), pytest.raises(ConfigError, match="another deploy runs"):
        bench.deploy()
    with refusing_lock(lock, "ours"), pytest.raises(ConfigError, match="another deploy runs"):
        bench.deployment.check_alone()
    assert bench.units.asked == []
    bench.deployment.check_alone()
    assert bench.deploy().stage is Stage.DONE


def test_a_unit_that_knows_lists_signed_meanwhile_is_brought_those(bench: Bench) -> None:
    class Ahead(Units):
        def install(self, units, releases, slice_, terms):
            self.says = {}
            if not self.asked:
                bench.deployment.publication.publish({}, {}, {*bench.deployment.fleet.units})
                self.says = {"canary": Answer("refused", "older than one seen before, 3 after 4")}
            return super().install(units, releases, slice_, terms)

    ahead = Ahead()
    rollout = replace(bench.deployment, reach=ahead).deploy({HERE: bench.release()})
    assert [[*asked] for asked in ahead.asked] == [["canary"], ["canary"], ["left", "right"]]
    assert rollout.members["canary"].verdict == "installed"


def test_a_unit_that_refuses_the_newest_lists_is_asked_once(bench: Bench) -> None:
    bench.units.says = {"canary": Answer("refused", "no room")}
    rollout = bench.deploy()
    assert len(bench.units.asked) == 1
    assert (rollout.stage, rollout.members["canary"].reason) == (Stage.HALTED, "no room")


def test_a_halt_beside_it_stops_a_deploy_after_the_batch(bench: Bench) -> None:
    class Halting(Units):
        def install(self, units, releases, slice_, terms):
            bench.deployment.halt("smoke in the hall")
            return super().install(units, releases, slice_, terms)

    rollout = replace(bench.deployment, reach=Halting()).deploy({HERE: bench.release()})
    assert (rollout.stage, rollout.reason) == (Stage.HALTED, "smoke in the hall")
    assert rollout.members["canary"].standing is Standing.HEALTHY
    assert bench.assigned().keys() == {"canary"}


def test_a_halt_while_a_batch_is_published_is_not_lost(bench: Bench) -> None:
    class Halting(Publication):
        def publish(self, *arguments):
            bench.deployment.halt("smoke in the hall")
            return super().publish(*arguments)

    keys, out = bench.keys, bench.deployment.out
    publication = Halting(keys, out / "repository", [keys / OFFLINE_DIRECTORY])
    rollout = replace(bench.deployment, publication=publication).deploy({HERE: bench.release()})
    assert (rollout.stage, rollout.reason) == (Stage.HALTED, "smoke in the hall")
    assert bench.assigned().keys() == {"canary"}
    assert bench.log.latest() == rollout


def test_a_halt_before_a_batch_is_published_leaves_its_units_alone(bench: Bench) -> None:
    def say(line: str) -> None:
        if line.endswith("canary: installed"):
            bench.deployment.halt("smoke in the hall")

    rollout = replace(bench.deployment, say=say).deploy({HERE: bench.release()})
    assert rollout.stage is Stage.HALTED
    assert rollout.named(Standing.QUEUED) == ["far", "left", "right"]
    assert bench.assigned().keys() == {"canary"}


def test_a_halt_between_two_steps_takes_nothing_of_what_was_heard(bench: Bench) -> None:
    rollout = bench.deploy()
    under_way = structs.replace(rollout, stage=Stage.STABLE)
    bench.log.keep(under_way)
    bench.deployment.halt("smoke")
    kept = bench.log.keep(under_way)
    assert (kept.stage, kept.reason, kept.members) == (Stage.HALTED, "smoke", rollout.members)
    assert bench.log.keep(under_way, resumes=True).stage is Stage.STABLE


def test_units_are_noted_before_they_can_see_their_line(bench: Bench) -> None:
    class Killed(Publication):
        def publish(self, *arguments):
            super().publish(*arguments)
            raise KeyboardInterrupt

    bench.deploy("# one")
    keys, out = bench.keys, bench.deployment.out
    publication = Killed(keys, out / "repository", [keys / OFFLINE_DIRECTORY])
    with pytest.raises(KeyboardInterrupt):
        replace(bench.deployment, publication=publication).deploy({HERE: bench.release("# two")})
    assert bench.assigned()["canary"] == bench.release("# two")
    bench.deployment.roll_back("smoke")
    assert bench.assigned()["canary"] == bench.release("# one")


def test_who_was_noted_and_never_got_a_line_gets_one_by_going_on(bench: Bench) -> None:
    class Killed(Publication):
        def publish(self, *arguments):
            raise KeyboardInterrupt

    publication = Killed(bench.keys, bench.deployment.out / "repository", [])
    with pytest.raises(KeyboardInterrupt):
        replace(bench.deployment, publication=publication).deploy({HERE: bench.release()})
    assert bench.deployment.promote().stage is Stage.DONE
    assert bench.assigned().keys() == bench.deployment.fleet.units.keys()


def gone_back_half_way(bench: Bench) -> tuple[str, str]:
    """Two releases, of which the canary refused to leave the second."""
    one, two = bench.release("# one"), bench.release("# two")
    bench.deploy("# one")
    bench.units.says = dict.fromkeys(("canary", "left", "right"), Answer("installed", "", one))
    bench.deploy("# two")
    bench.units.says["canary"] = Answer("refused", "disk full", two)
    assert bench.deployment.roll_back("smoke").stage is Stage.HALTED
    return one, two


def test_a_second_way_back_goes_on_with_the_first(bench: Bench) -> None:
    one, two = gone_back_half_way(bench)
    assert bench.assigned()["left"] == two
    rollout = bench.deployment.roll_back("still smoke")
    assert (rollout.number, rollout.reverses, rollout.stage) == (3, 2, Stage.DONE)
    assert set(bench.assigned().values()) == {one}


def test_everybody_who_has_gone_back_stays_there(bench: Bench) -> None:
    gone_back_half_way(bench)
    fleet = bench.deployment.fleet
    near = {name: unit for name, unit in fleet.units.items() if name != "far"}
    bench.deployment.roll_back("still smoke")
    held = bench.log.latest()
    answered = {name: held.members[name] for name in near}
    bench.log.keep(structs.replace(held, members=answered))
    with pytest.raises(ConfigError, match="back from rollout 2 already"):
        bench.deployment.roll_back("again")


def test_who_left_the_fleet_does_not_hold_up_the_way_back(bench: Bench) -> None:
    bench.deploy("# one")
    bench.units.says = {"left": Answer("installed", "", bench.release("# one"))}
    bench.deploy("# two")
    fleet = bench.deployment.fleet
    units = {name: unit for name, unit in fleet.units.items() if name != "left"}
    smaller = replace(bench.deployment, fleet=structs.replace(fleet, units=units))
    rollout = smaller.roll_back("smoke")
    assert "not in the fleet" in rollout.members["left"].reason
    assert bench.assigned().keys() == units.keys()


def test_who_ran_what_is_not_at_hand_is_named_and_left_out(bench: Bench) -> None:
    bench.deploy("# one")
    one = bench.release("# one")
    bench.units.says = {"left": Answer("installed", "", one), "right": Answer("installed", "", one)}
    bench.deploy("# two")
    held = bench.log.latest()
    members = {**held.members, "canary": structs.replace(held.members["canary"], before=FIRST)}
    bench.log.keep(structs.replace(held, members=members))
    rollout = bench.deployment.roll_back("smoke")
    assert sorted(rollout.members) == ["far", "left", "right"]
    assert any("canary is left out" in line and FIRST in line for line in bench.lines)


def test_a_unit_names_nothing_that_could_not_be_assigned(bench: Bench) -> None:
    bench.deploy("# one")
    bench.units.says["canary"] = Answer("installed", "", "../../etc/passwd")
    bench.deploy("# two")
    bench.deployment.roll_back("smoke")
    assert bench.assigned()["canary"] == bench.release("# one")
    assert bench.log.latest() is not None


def test_a_state_that_could_not_be_read_again_is_not_kept(bench: Bench) -> None:
    rollout = bench.deploy()
    order = structs.replace(rollout.members["left"].order, release="nonsense")
    member = structs.replace(rollout.members["left"], order=order)
    with pytest.raises(StoreError, match="damaged"):
        bench.log.keep(structs.replace(rollout, members={"left": member}))
    assert bench.log.latest() == rollout


def test_every_batch_has_a_slice_of_its_own(bench: Bench) -> None:
    bench.deploy()
    assert len(set(bench.units.places)) == 2


def test_whom_the_server_does_not_let_in_is_left_out(bench: Bench) -> None:
    revoke_robot(bench.keys, "left")
    bench.deploy()
    assert "left" not in bench.assigned()
    assert any("left is left out" in line for line in bench.lines)


def test_a_fleet_nobody_of_which_is_enrolled_is_not_deployed_to(bench: Bench) -> None:
    strangers = replace(bench.deployment, fleet=made_fleet())
    with pytest.raises(ConfigError, match="no unit of the fleet is enrolled"):
        strangers.deploy({TARGETS["jetpack6"]: FIRST, HERE: FIRST})


def test_events_cannot_be_taken_back(bench: Bench) -> None:
    bench.deploy()
    database = sqlite3.connect(bench.deployment.out / "fleet.sqlite")
    for statement in ("DELETE FROM events", "UPDATE events SET reason = 'never'"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            database.execute(statement)
    database.close()


def test_the_status_names_every_unit_and_what_it_said(bench: Bench) -> None:
    assert status_text(None, []) == ["nothing was ever deployed to this fleet from here"]
    bench.units.says["canary"] = Answer("rolled_back", "it crashed", FIRST)
    text = "\n".join(status_text(bench.deploy(), bench.log.events()))
    assert "rollout 1: halted, canary rolled back: it crashed" in text
    assert "far" in text
    assert "mira" in text


@pytest.mark.parametrize("verb", ["promote", "halt", "roll_back"])
def test_before_the_first_deploy_there_is_nothing_to_steer(bench: Bench, verb: str) -> None:
    with pytest.raises(ConfigError, match="nothing was ever deployed"):
        getattr(bench.deployment, verb)(*([] if verb == "promote" else ["why"]))
