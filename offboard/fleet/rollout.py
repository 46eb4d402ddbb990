"""How a release goes through a fleet: canaries first, the rest in batches, stopped by any failure.

Pure: every function takes a rollout and gives the next one. Who is asked what, and how, is
:mod:`offboard.fleet.deploy`'s.

::

    CANARY ──a canary is well, none is in doubt──▶ STABLE ──everybody is assigned──▶ DONE
       │  └──────────── promote ────────────────────▲  ▲
       └────────── a unit failed, halt ─────▶ HALTED ──┘ promote

In STABLE too a unit in doubt holds those who are not assigned yet.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from offboard.fleet.assignments import Assignment, is_release
from protocol.errors import ConfigError

Verdict = Literal[
    "installed", "already", "rolled_back", "refused", "unsafe", "busy", "unproven", "away"
]
"""What a unit said of an installation; ``away`` if it said nothing."""
_WELL = frozenset({"installed", "already"})
_BAD = frozenset({"rolled_back", "refused"})
_NO_DOUBT = frozenset({"unsafe", "away"})
"""It has not begun: it will when it can, and says nothing of the release."""


class Stage(str, Enum):
    """How far a rollout is; HALTED assigns nobody else."""

    CANARY = "canary"
    STABLE = "stable"
    DONE = "done"
    HALTED = "halted"


class Standing(str, Enum):
    """How far one unit is; one that is ASSIGNED takes the release when it can."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    HEALTHY = "healthy"
    FAILED = "failed"


class Member(Struct, frozen=True, kw_only=True):
    """A unit's part: what it shall run, what it ran ``before`` if that is known, what it said."""

    order: Assignment
    canary: bool = False
    before: str = ""
    standing: Standing = Standing.QUEUED
    verdict: str = ""
    reason: str = ""


class Rollout(Struct, frozen=True, kw_only=True):
    """One of them; ``reason`` says why it was halted.

    One that ``reverses`` another, by number, is the way back from it; 0 for any other. One that is
    ``trusted`` was promoted by a person: doubt holds nobody.
    """

    number: int
    stage: Stage
    members: dict[str, Member]
    reason: str = ""
    reverses: int = 0
    trusted: bool = False

    def named(self, *standings: Standing) -> list[str]:
        """Units with one of ``standings``, by name."""
        return sorted(name for name, it in self.members.items() if it.standing in standings)


def begin(number: int, members: Mapping[str, Member]) -> Rollout:
    """A rollout nobody has heard of yet."""
    return _settled(Rollout(number=number, stage=Stage.CANARY, members=dict(members)))


def due(rollout: Rollout, share: float) -> list[str]:
    """Units to be assigned now: all canaries, then ``share`` (0 … 1] of the others at a time.

    Without canaries one at a time, until one is well; who was asked before is asked first.
    """
    queued = rollout.named(Standing.QUEUED)
    if rollout.stage is Stage.CANARY:
        return [name for name in queued if rollout.members[name].canary]
    if rollout.stage is not Stage.STABLE or doubts(rollout):
        return []
    queued.sort(key=lambda name: not rollout.members[name].verdict)
    others = sum(not it.canary for it in rollout.members.values())
    return queued[: 1 if _untried(rollout, len(queued)) else max(1, math.ceil(share * others))]


def doubts(rollout: Rollout) -> list[str]:
    """Units that hold the others, each with what it said; none on a way back."""
    if rollout.trusted or rollout.reverses:
        return []
    return [
        f"{name} is {it.verdict}: {it.reason}"
        for name, it in sorted(rollout.members.items())
        if it.standing is Standing.ASSIGNED and it.verdict and it.verdict not in _NO_DOUBT
    ]


def _untried(rollout: Rollout, queued: int) -> bool:
    """Is the next unit the first that tells what the release is worth?"""
    if any(it.canary for it in rollout.members.values()):
        return False
    if rollout.reverses or rollout.trusted:
        return queued == len(rollout.members)
    return not rollout.named(Standing.HEALTHY)


def assigned(rollout: Rollout, names: Collection[str]) -> Rollout:
    """The same after ``names`` were told what to run."""
    members = {
        name: replace(it, standing=Standing.ASSIGNED) if name in names else it
        for name, it in rollout.members.items()
    }
    return replace(rollout, members=members)


def heard(rollout: Rollout, answers: Iterable[tuple[str, Verdict, str, str]]) -> Rollout:
    """The same after units answered; a failure halts it.

    Args:
        rollout: the one that assigned them.
        answers: unit, its verdict, the release it ran before (empty if not known), its reason.
    """
    members, failures = dict(rollout.members), []
    for name, verdict, before, reason in answers:
        members[name] = _told(members[name], verdict, before, reason)
        if verdict in _BAD:
            failures.append(f"{name} {verdict.replace('_', ' ')}: {reason}")
    following = replace(rollout, members=members)
    if failures and rollout.stage in (Stage.CANARY, Stage.STABLE):
        return replace(following, stage=Stage.HALTED, reason="; ".join(failures))
    return _settled(following)


def promote(rollout: Rollout) -> Rollout:
    """The same, where a person takes it to all units whatever was heard.

    Raises:
        ConfigError: it is done.
    """
    if rollout.stage is Stage.DONE:
        raise ConfigError(f"rollout {rollout.number} is done: every unit is assigned")
    return _settled(replace(rollout, stage=Stage.STABLE, reason="", trusted=True))


def halt(rollout: Rollout, reason: str) -> Rollout:
    """The same, where nobody else is assigned.

    Raises:
        ConfigError: it is done, or halted already.
    """
    if rollout.stage in (Stage.DONE, Stage.HALTED):
        raise ConfigError(f"rollout {rollout.number} is {rollout.stage.value}; nothing to halt")
    return replace(rollout, stage=Stage.HALTED, reason=reason)


def again(rollout: Rollout) -> Rollout:
    """The same, with units asked once more that were assigned and are not known to run it."""
    if rollout.stage is Stage.HALTED:
        return rollout
    queued = waiting(rollout, rollout.named(Standing.ASSIGNED))
    stage = Stage.STABLE if rollout.stage is Stage.DONE else rollout.stage
    return _settled(replace(queued, stage=stage))


def waiting(rollout: Rollout, names: Collection[str]) -> Rollout:
    """The same, with ``names`` not assigned yet."""
    members = {
        name: replace(it, standing=Standing.QUEUED) if name in names else it
        for name, it in rollout.members.items()
    }
    return replace(rollout, members=members)


def resumed(rollout: Rollout) -> Rollout:
    """A way back, taken on to everybody who is not known to have gone it.

    Raises:
        ConfigError: everybody has been assigned and has answered.
    """
    following = again(rollout if rollout.stage is Stage.DONE else promote(rollout))
    if following.stage is Stage.DONE:
        raise ConfigError(
            f"rollout {rollout.number} took everybody back from rollout {rollout.reverses} "
            "already; deploy what they shall run instead"
        )
    return following


def reversal(rollout: Rollout, number: int) -> Rollout:
    """A rollout that takes everybody back at once to what they ran before.

    Raises:
        ConfigError: of nobody is it known what that was, or ``rollout`` is a way back itself.
    """
    if rollout.reverses:
        raise ConfigError(
            f"rollout {rollout.number} is the way back from {rollout.reverses}; it is not reversed"
        )
    members = {
        name: Member(
            order=replace(it.order, release=it.before, golden=False), before=it.order.release
        )
        for name, it in rollout.members.items()
        if it.standing is not Standing.QUEUED
        and is_release(it.before)
        and it.before != it.order.release
    }
    if not members:
        raise ConfigError(
            f"nobody in rollout {rollout.number} is known to have run another release"
        )
    return replace(begin(number, members), reverses=rollout.number)


def _told(member: Member, verdict: Verdict, before: str, reason: str) -> Member:
    standing = Standing.ASSIGNED
    if verdict in _WELL:
        standing = Standing.HEALTHY
    elif verdict in _BAD:
        standing = Standing.FAILED
    usable = is_release(before) and before != member.order.release
    known = before if usable else member.before
    return replace(member, standing=standing, verdict=verdict, reason=reason, before=known)


def _settled(rollout: Rollout) -> Rollout:
    """The same in the stage that its members have come to."""
    stage = rollout.stage
    if stage is Stage.CANARY and _canaries_well(rollout):
        stage = Stage.STABLE
    if stage is Stage.STABLE and not rollout.named(Standing.QUEUED):
        stage = Stage.DONE
    return replace(rollout, stage=stage)


def _canaries_well(rollout: Rollout) -> bool:
    """Is one of them known to be well, and none of them in doubt?"""
    canaries = [it for it in rollout.members.values() if it.canary]
    doubtful = any(
        it.standing in (Standing.QUEUED, Standing.FAILED)
        or (it.standing is Standing.ASSIGNED and it.verdict not in _NO_DOUBT)
        for it in canaries
    )
    well = any(it.standing is Standing.HEALTHY for it in canaries)
    return not canaries or (well and not doubtful)
