"""The fleet: what each robot is doing, and whether somebody should look at it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from offboard.page.facts import Fact, Level, ago, count, percent, whole
from offboard.page.run_files import Robot, Run
from protocol.messages import Report
from protocol.modes import Mode

SILENT_S = 10.0
"""Robots report every second."""
WAITING_LOOK = 50
"""Batches in a robot's spool, some seconds each, that are no hiccup any more."""
MISSED_LOOK = 0.001

DOING: dict[Mode, tuple[str, str, Level]] = {
    Mode.BOOT: ("starting", "The control program is starting.", Level.PLAIN),
    Mode.SELFTEST: ("self-test", "It checks motors, sensors and its safety stops.", Level.PLAIN),
    Mode.IDLE: ("idle", "Motors are off; it waits for a start.", Level.PLAIN),
    Mode.HOMING: ("homing", "It drives to its start pose.", Level.GOOD),
    Mode.RUN: ("working", "The policy drives.", Level.GOOD),
    Mode.RECOVER: ("recovering", "An episode is over; it goes back to its start pose.", Level.GOOD),
    Mode.HOLD: ("holding", "Something was wrong for a moment: it stands still.", Level.LOOK),
    Mode.FAULT: ("fault", "It has stopped by itself and waits for a person.", Level.BAD),
    Mode.ESTOP: ("emergency stop", "An emergency stop is latched, until cleared there.", Level.BAD),
}
"""Of each mode: in a word, in a sentence, and how much it deserves a look."""

_RELEASE_HINT = "Its runtime, and what became of the last one it tried, by its own journal."
_TROUBLED = ("taken back", "nothing to return to")
_LOST_HINT = "Measurements the robot could not keep, because its own disk or memory was full."


@dataclass(frozen=True)
class RobotCard:
    """One robot in the list."""

    name: str
    doing: str
    meaning: str
    level: Level
    facts: tuple[Fact, ...]


def fleet(run: Run, now_s: float) -> list[RobotCard]:
    """Every robot, those that need a look first."""
    cards = [robot_card(robot, run, now_s) for robot in run.robots]
    urgency = [Level.BAD, Level.LOOK]
    return sorted(cards, key=lambda card: (_rank(card.level, urgency), card.name))


def _rank(level: Level, urgency: list[Level]) -> int:
    return urgency.index(level) if level in urgency else len(urgency)


def robot_card(robot: Robot, run: Run, now_s: float) -> RobotCard:
    """One robot of ``run``."""
    report, published = robot.report, 0 if run.status is None else run.status.published
    if report is None:
        return RobotCard(robot.name, "not heard yet", "It has sent no report.", Level.LOOK, ())
    doing, meaning, level = DOING[Mode(report.mode)] if report.mode in list(Mode) else _UNKNOWN
    if robot.stopped:
        doing, meaning, level = "stop ordered", f"The server stops it: {robot.stopped}.", Level.BAD
    elif run.finished:
        meaning = "As it was when the server ended; it works on by itself."
    elif silent(robot, run) and level is not Level.BAD:
        doing, level = "silent", Level.LOOK
        meaning = "It should report every second. The link, the robot or its power may be down."
    facts = (_heard(now_s - robot.heard_s, silent(robot, run)), *_facts(report, published))
    return RobotCard(robot.name, doing, meaning, level, facts)


def silent(robot: Robot, run: Run) -> bool:
    """Had the server missed it, when it last said how things are?"""
    return not run.finished and run.said_s - robot.heard_s > SILENT_S


_UNKNOWN = ("unknown", "It runs a newer version and says what this page does not know.", Level.LOOK)


def _heard(silent_s: float, missed: bool) -> Fact:
    hint = "When its last report came. A robot whose control and agent run reports every second."
    return Fact("Last heard", ago(silent_s), hint, Level.LOOK if missed else Level.PLAIN)


def _facts(report: Report, published: int) -> tuple[Fact, ...]:
    return (
        _policy(report, published),
        _waiting(report),
        _missed(report),
        _interventions(report),
        Fact(
            "Records lost", whole(report.dropped), _LOST_HINT,
            Level.LOOK if report.dropped else Level.PLAIN,
        ),
        *_release(report),
    )  # fmt: skip


def _policy(report: Report, published: int) -> Fact:
    behind = max(0, published - report.active_version)
    hint = "The numbered policy that drives it, and how far that is behind the newest published."
    if report.active_version == 0:
        return Fact("Policy", "none yet", hint, Level.LOOK)
    if behind == 0:
        return Fact("Policy", f"{report.active_version}, the newest", hint, Level.GOOD)
    if report.held_back is not UNSET:
        hint = f"{hint} It does not take a newer one: {report.held_back}"
    level = Level.LOOK if behind > 1 else Level.PLAIN
    return Fact(
        "Policy", f"{report.active_version}, {count(behind, 'version')} behind", hint, level
    )


def _waiting(report: Report) -> Fact:
    hint = (
        "Batches of measurements that lie on the robot's disk until the server has them. "
        "It grows while the link is down; nothing is lost by that."
    )
    if report.waiting is UNSET:
        return Fact("Waiting to be sent", "not told", hint)
    level = Level.LOOK if report.waiting > WAITING_LOOK else Level.PLAIN
    return Fact("Waiting to be sent", count(report.waiting, "batch", "batches"), hint, level)


def _missed(report: Report) -> Fact:
    share = report.missed_ticks / max(1, report.ticks)
    return Fact(
        "Missed ticks",
        f"{whole(report.missed_ticks)} of {whole(report.ticks)} ({percent(share)})",
        "Turns of the control loop that came too late to be used. A few around a start are usual.",
        Level.LOOK if share > MISSED_LOOK and report.missed_ticks > 1 else Level.PLAIN,
    )


def _interventions(report: Report) -> Fact:
    hint = "Ticks in which the safety layer changed a command: too fast, too far or too strong."
    told = "not told" if report.interventions is UNSET else whole(report.interventions)
    return Fact("Safety interventions", told, hint)


def _release(report: Report) -> tuple[Fact, ...]:
    """Nothing of a robot that has no releases."""
    said = report.release
    if said is UNSET:
        return ()
    told = said.verdict if said.tried == said.running else f"{said.tried} was {said.verdict}"
    level = Level.LOOK if said.verdict in _TROUBLED else Level.PLAIN
    return (
        Fact("Release", f"{said.running}, {told}", f"{_RELEASE_HINT} {said.reason}".strip(), level),
    )


def server_facts(run: Run, now_s: float) -> tuple[Fact, ...]:
    """What concerns all robots together."""
    status = run.status
    if status is None:
        return ()
    refused = sum(status.refusals.values())
    reasons = "; ".join(f"{why}: {whole(times)}" for why, times in status.refusals.items())
    return (
        Fact("Records stored", whole(status.committed),
             "Measurements that are safe on this server's disk, since it started."),
        Fact("Newest policy", str(status.published or "none yet"),
             "Number of the last one that was sent out."),
        Fact("Messages refused", whole(refused),
             f"What this server did not take. {reasons or 'None so far.'}",
             Level.LOOK if refused else Level.PLAIN),
        Fact("Clock steps", whole(status.clock_steps_back),
             "How often a robot's clock ran backwards. Times across such a step mean nothing.",
             Level.LOOK if status.clock_steps_back else Level.PLAIN),
        Fact("Damaged batches", whole(status.damaged),
             "Batches on this server's disk that are not what was written. They are passed over.",
             Level.BAD if status.damaged else Level.PLAIN),
    )  # fmt: skip
