"""Carries a rollout out: makes releases, has them signed, reaches units, writes down what they say.

What happens next is :mod:`offboard.fleet.rollout`'s decision. Everything is kept after every step,
so that a deploy that was killed is taken up by the next one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from offboard.file_lock import refusing_lock
from offboard.fleet.ansible_reach import Reach, Terms
from offboard.fleet.answer import Answer
from offboard.fleet.assignments import Assignment
from offboard.fleet.fleet_file import Fleet, Unit
from offboard.fleet.fleet_log import FleetLog
from offboard.fleet.modules import TARGETS, Target
from offboard.fleet.publication import Publication
from offboard.fleet.release_archive import release_path
from offboard.fleet.release_store import ReleaseStore
from offboard.fleet.rollout import (
    Member,
    Rollout,
    Stage,
    Standing,
    again,
    assigned,
    begin,
    doubts,
    due,
    halt,
    heard,
    promote,
    resumed,
    reversal,
    waiting,
)
from offboard.keys import list_robots
from protocol.errors import ConfigError

KEPT_ROLLOUTS = 5
"""Releases of the last rollouts stay published, so that one can go back to them."""
_PULLS = Answer("away", "pulls")
_GONE = Answer("away", "it is not in the fleet file any more")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """The parts.

    Attributes:
        fleet: who there is.
        keys: the server's, which say who is let in.
        out: keeps lock and slices.
        store: releases that were made here.
        publication: the signed repository.
        log: who got what when.
        reach: makes units install.
        terms: on which terms.
        share: of the stable units that a batch is, in (0, 1].
        say: takes one line for the user.
        now_s: Unix time.
    """

    fleet: Fleet
    keys: Path
    out: Path
    store: ReleaseStore
    publication: Publication
    log: FleetLog
    reach: Reach
    terms: Terms
    share: float
    say: Say
    now_s: Callable[[], float]

    def check_alone(self) -> None:
        """Raises ConfigError if another deploy runs: asked before a release is made in vain."""
        with self._alone():
            pass

    def deploy(self, releases: Mapping[Target, str]) -> Rollout:
        """Bring every unit to the release of its target (ids; in the store).

        Goes on with the last rollout if it is about the same releases.

        Raises:
            ConfigError: another deploy runs, the same release was halted before, nobody is
                enrolled, or keys are missing.
            StoreError: it cannot be written.
        """
        with self._alone():
            last = self.log.latest()
            if last is not None and self._same(last, releases):
                if last.stage is Stage.HALTED:
                    raise ConfigError(
                        f"the same release was halted in rollout {last.number}: {last.reason}; "
                        "mend it, or go on all the same with fleet promote"
                    )
                return self._carry_out(self.log.keep(again(last)))
            number = 1
            if last is not None:
                number = last.number + 1
                self._supersede(last, number)
            rollout = begin(number, self._members(releases))
            return self._carry_out(self.log.keep(rollout, [("", "", "began", "")]))

    def promote(self) -> Rollout:
        """Take the last rollout on to all units, whatever was heard. Raises as above."""
        with self._alone():
            rollout = promote(self._published(self._last()))
            happened = [("", "", "promoted", "")]
            return self._carry_out(self.log.keep(rollout, happened, resumes=True))

    def halt(self, reason: str) -> Rollout:
        """Have nobody else assigned. A deploy that runs stops after the batch it is at.

        Raises:
            ConfigError: there is nothing to halt.
        """
        return self.log.halt(reason) or self._last()

    def roll_back(self, reason: str) -> Rollout:
        """Assign everybody to what they ran before the last rollout. Raises as :meth:`deploy`.

        If the last one is such a way back, goes on with it. Who ran what is not at hand any more
        is left out.
        """
        with self._alone():
            last = self._last()
            if last.reverses:
                rollout = resumed(last)
            else:
                rollout = self._at_hand(reversal(last, last.number + 1))
                self._supersede(last, rollout.number)
            happened = [("", "", "rolled back", reason)]
            return self._carry_out(self.log.keep(rollout, happened, resumes=True))

    def _carry_out(self, rollout: Rollout) -> Rollout:
        while names := due(rollout, self.share):
            told = self.log.keep(assigned(rollout, names))
            if told.stage is Stage.HALTED:
                rollout = self.log.keep(rollout)  # before anybody was told
                break
            self.say(f"rollout {told.number}, {told.stage.value}: {', '.join(names)}")
            self._publish(told, names)
            lines = [(it, told.members[it].order.release, "assigned", "") for it in names]
            told = self.log.keep(told, lines)
            rollout = self._after(told, self._ask(told, names))
        self.say(f"rollout {rollout.number} is {rollout.stage.value} {rollout.reason}".rstrip())
        if rollout.stage is Stage.STABLE:
            self.say(
                f"the others wait: {'; '.join(doubts(rollout))}; deploy again when that is "
                "mended, or go on all the same with fleet promote"
            )
        return rollout

    def _after(self, rollout: Rollout, answers: Mapping[str, Answer]) -> Rollout:
        """What was heard."""
        following = heard(
            rollout, [(name, it.verdict, it.before, it.reason) for name, it in answers.items()]
        )
        lines = []
        for name, answer in answers.items():
            release = rollout.members[name].order.release
            lines.append((name, release, answer.verdict.replace("_", " "), answer.reason))
            self.say(f"  {name}: {answer.verdict.replace('_', ' ')} {answer.reason}".rstrip())
        if following.stage is Stage.HALTED and rollout.stage is not Stage.HALTED:
            lines.append(("", "", "halted", following.reason))
        return self.log.keep(following, lines)

    def _publish(self, rollout: Rollout, names: list[str]) -> None:
        orders = {name: rollout.members[name].order for name in names if name in self.fleet.units}
        archives = {}
        for order in orders.values():
            target = _target(order)
            if not self.publication.has(order.release, target):
                path = release_path(order.release, target)
                archives[path] = self.store.archive(order.release, target)
        self.publication.publish(archives, orders, set(self.fleet.units), self._kept())

    def _ask(self, rollout: Rollout, names: list[str]) -> dict[str, Answer]:
        units = {name: unit for name in names if (unit := self.fleet.units.get(name))}
        reachable = {name: unit for name, unit in units.items() if not unit.pulls}
        answers = {name: _PULLS if name in units else _GONE for name in names}
        if reachable:
            releases = {name: rollout.members[name].order.release for name in reachable}
            answers |= self._visit(reachable, releases)
        return answers

    def _visit(self, units: Mapping[str, Unit], releases: Mapping[str, str]) -> dict[str, Answer]:
        """Who refuses is visited once more if lists were signed meanwhile: it may know them."""
        slice_ = self._slice()
        self.publication.extract(set(releases.values()), slice_)
        answers = self.reach.install(units, releases, slice_, self.terms)
        refused = {name: units[name] for name, it in answers.items() if it.verdict == "refused"}
        if refused and not self.publication.is_newest(slice_):
            wanted = {name: releases[name] for name in refused}
            self.publication.extract(set(wanted.values()), slice_)
            answers |= self.reach.install(refused, wanted, slice_, self.terms)
        return answers

    def _slice(self) -> Path:
        """A folder of this batch alone: a carrier that outlived its deploy finds none to mix."""
        slices = self.out / "slice"
        shutil.rmtree(slices, ignore_errors=True)
        return slices / str(self.publication.assignments().counter)

    def _published(self, rollout: Rollout) -> Rollout:
        """``rollout`` without assignments that were noted and, killed, not published."""
        lines = self.publication.assignments().units
        orders = {name: it.order.release for name, it in rollout.members.items()}
        lost = [
            name
            for name in rollout.named(Standing.ASSIGNED)
            if name not in lines or lines[name].release != orders[name]
        ]
        return waiting(rollout, lost)

    def _at_hand(self, rollout: Rollout) -> Rollout:
        """``rollout`` without units whose release is gone. Raises ConfigError if that is all."""
        missing = {}
        for name, member in rollout.members.items():
            release, target = member.order.release, _target(member.order)
            if not (self.store.has(release, target) or self.publication.has(release, target)):
                missing[name] = release
                self.say(f"{name} is left out: release {release}, which it ran, is not at hand")
        if len(missing) == len(rollout.members):
            releases = ", ".join(sorted(set(missing.values())))
            raise ConfigError(f"there is no way back: release {releases} is not at hand")
        members = {name: it for name, it in rollout.members.items() if name not in missing}
        return replace(begin(rollout.number, members), reverses=rollout.reverses)

    def _members(self, releases: Mapping[Target, str]) -> dict[str, Member]:
        """Everybody whom the server lets in. Raises ConfigError if that is nobody."""
        held = self.publication.assignments().units
        members = {}
        for name, unit in self._enrolled().items():
            order = Assignment(release=releases[unit.target], target=unit.target.name)
            before = held[name].release if name in held else ""
            members[name] = Member(
                order=order,
                canary=unit.channel == "canary",
                before="" if before == order.release else before,
            )
        if not members:
            raise ConfigError(
                "no unit of the fleet is enrolled: flash or provision one, or see keys list"
            )
        return members

    def _enrolled(self) -> dict[str, Unit]:
        now_s = self.now_s()
        good = {key.robot for key in list_robots(self.keys) if key.good(now_s)}
        for name in sorted(self.fleet.units.keys() - good):
            self.say(f"{name} is left out: it has no key that the server lets in")
        return {name: unit for name, unit in self.fleet.units.items() if name in good}

    def _kept(self) -> set[str]:
        """Releases to go back to."""
        members = [it for old in self.log.recent(KEPT_ROLLOUTS) for it in old.members.values()]
        return {it.order.release for it in members} | {it.before for it in members}

    def _supersede(self, last: Rollout, number: int) -> None:
        if last.stage not in (Stage.DONE, Stage.HALTED):
            reason = f"rollout {number} takes its place"
            self.log.keep(halt(last, reason), [("", "", "halted", reason)])

    def _last(self) -> Rollout:
        rollout = self.log.latest()
        if rollout is None:
            raise ConfigError("nothing was ever deployed to this fleet from here")
        return rollout

    def _same(self, rollout: Rollout, releases: Mapping[Target, str]) -> bool:
        """Is ``rollout`` about these releases and these units?"""
        orders = {name: it.order.release for name, it in rollout.members.items()}
        wanted = {name: releases[unit.target] for name, unit in self._enrolled().items()}
        return orders == wanted

    def _alone(self) -> AbstractContextManager[None]:
        return refusing_lock(
            self.out / ".deploy.lock",
            "another deploy runs on this fleet; wait for it, or see fleet status",
        )


def _target(order: Assignment) -> Target:
    return next(target for target in TARGETS.values() if target.name == order.target)
