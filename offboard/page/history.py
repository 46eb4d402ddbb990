"""Every policy that was sent out: what was expected, what was measured, what robots did. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import mean

from offboard.page.facts import Level, count, number, signed, whole
from offboard.page.learning import episodes_of, main_version
from offboard.page.run_files import Event, Run
from protocol.step_record import End

NEARLY_WHOLE = 0.95
"""As in :mod:`offboard.assembler`: an episode speaks for one policy if it was hardly cut."""
_OUTCOMES = {
    "activated": "took it over",
    "committed": "kept it",
    "rejected": "did not take it",
    "rolled_back": "went back from it",
}


@dataclass(frozen=True)
class Change:
    """One measure of a policy beside that of the one before."""

    label: str
    before: float
    after: float

    @property
    def level(self) -> Level:
        """More is better, of all that is compared here."""
        if self.after == self.before:
            return Level.PLAIN
        return Level.GOOD if self.after > self.before else Level.LOOK

    @property
    def text(self) -> str:
        """As in ``112 → 168 (+56)``."""
        gain = signed(self.after - self.before)
        return f"{number(self.before)} → {number(self.after)} ({gain})"


@dataclass(frozen=True)
class Policy:
    """One published policy.

    Attributes:
        version: its number.
        newest: nothing newer was published.
        pinned: robots are to stay with it.
        exploring: whether robots try things on purpose with it.
        after_steps: what the server had seen of the target when it was published.
        expected: return the adapted model expected of it, if it was asked.
        measured: mean return of the episodes that it alone drove.
        episodes: how many these are.
        outcomes: robot and what became of it there.
        changes: beside the policy before it.
    """

    version: int
    newest: bool
    pinned: bool
    exploring: bool
    after_steps: int
    expected: float | None
    measured: float | None
    episodes: int
    outcomes: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def summary(self) -> str:
        """Its numbers in one line."""
        steps = count(self.after_steps, "step")
        parts = [f"sent out after {steps} on the robot" if self.after_steps else "the first one"]
        if self.expected is not None:
            parts.append(f"expected return {number(self.expected)}")
        if self.measured is not None:
            tries = count(self.episodes, "episode")
            parts.append(f"measured {number(self.measured)} in {tries}")
        else:
            parts.append("not measured yet" if self.newest else "no whole episode with it alone")
        return ", ".join(parts)


def history(run: Run) -> list[Policy]:
    """Published policies, newest first."""
    published = [event for event in run.events if event.event == "published"]
    measured = _measured(episodes_of(run))
    pinned = 0 if run.status is None else run.status.pinned
    outcomes = _outcomes(run)
    found: list[Policy] = []
    for event in published:
        totals = measured.get(event.version, [])
        policy = Policy(
            version=event.version,
            newest=event is published[-1],
            pinned=event.version == pinned,
            exploring=event.exploration > 0.0,
            after_steps=round(event.online_steps),
            expected=event.imagined_return,
            measured=mean(totals) if totals else None,
            episodes=len(totals),
            outcomes=tuple(outcomes.get(event.version, ())),
            changes=(),
        )
        found.append(_beside(policy, found[-1] if found else None))
    return found[::-1]


def difference(after: Policy, before: Policy) -> tuple[Change, ...]:
    """What both say about themselves, one beside the other."""
    pairs = (
        ("Measured return", before.measured, after.measured),
        ("Expected return", before.expected, after.expected),
    )
    return tuple(
        Change(label, one, other)
        for label, one, other in pairs
        if one is not None and other is not None
    )


def _beside(policy: Policy, before: Policy | None) -> Policy:
    return policy if before is None else replace(policy, changes=difference(policy, before))


def _measured(episodes: Iterable[Event]) -> dict[int, list[float]]:
    """Returns of the episodes that one policy drove alone, by version."""
    found: dict[int, list[float]] = {}
    for episode in episodes:
        whole_one = episode.steps >= NEARLY_WHOLE * episode.length > 0
        if whole_one and len(episode.versions) == 1 and episode.end != End.ABORTED:
            found.setdefault(main_version(episode), []).append(episode.total)
    return found


def _outcomes(run: Run) -> dict[int, list[str]]:
    """By version, what each robot last reported of it."""
    found: dict[int, dict[str, str]] = {}
    for robot in run.robots:
        for event in robot.report.events if robot.report is not None else ():
            words = _OUTCOMES[event.outcome]
            because = f": {event.reason}" if event.reason else ""
            found.setdefault(event.version, {})[robot.name] = f"{robot.name} {words}{because}"
    return {version: [*by_robot.values()] for version, by_robot in found.items()}


def pin_question(version: int, newest: int) -> str:
    """What somebody is asked before robots are sent back."""
    return (
        f"Every robot of this server gets policy {version} again, as number {whole(newest + 1)} "
        "and without exploring. It checks it like any other. Newer policies are learned but not "
        "sent out until you unpin it."
    )
