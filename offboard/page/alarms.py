"""What somebody should know or do, most urgent first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import UNSET

from offboard.page.facts import Level, ago, count, sentence, whole
from offboard.page.fleet import WAITING_LOOK, silent
from offboard.page.run_files import Robot, Run, Status
from protocol.messages import Report
from protocol.modes import Mode

SERVER_SILENT_S = 60.0
"""The server says how it is twice a second, and after each piece of learning, some seconds long."""
_ORDER = (Level.BAD, Level.LOOK, Level.PLAIN)


@dataclass(frozen=True)
class Alarm:
    """One thing: whose it is, what it is, and what to do about it."""

    level: Level
    where: str
    what: str
    advice: str


def alarms(run: Run, now_s: float) -> list[Alarm]:
    """Everything worth saying at ``now_s``, Unix time."""
    found = [*_of_files(run), *_of_server(run, now_s)]
    if run.status is not None:
        found += _of_store(run.status)
        found += _of_policies(run.status)
        for robot in run.robots:
            found += _of_robot(robot, run, now_s)
    return sorted(found, key=lambda alarm: _ORDER.index(alarm.level))


def _of_files(run: Run) -> Iterator[Alarm]:
    for trouble in run.troubles:
        yield Alarm(
            Level.LOOK, "this page", trouble, "What it shows of this file is old or absent."
        )


def _of_server(run: Run, now_s: float) -> Iterator[Alarm]:
    silent_s = now_s - run.said_s
    if run.status is not None and not run.finished and silent_s > SERVER_SILENT_S:
        yield Alarm(
            Level.BAD, "server", f"It last said how it is {ago(silent_s)}.",
            "Robots keep their records until it is back. See whether the process still runs.",
        )  # fmt: skip


def _of_store(status: Status) -> Iterator[Alarm]:
    if status.damaged:
        yield Alarm(
            Level.BAD, "server", f"{count(status.damaged, 'batch', 'batches')} in its store "
            "are not what was written.",
            "Run `wombet-offboard data verify` on this run, and look after the disk.",
        )  # fmt: skip
    if status.disk_trouble:
        yield Alarm(
            Level.BAD, "server", sentence(status.disk_trouble),
            f"Its disk refused work {count(status.disk_failures, 'time')}; it is tried again. Make "
            "room; what robots send is kept on them until it is stored.",
        )  # fmt: skip
    if status.clock_steps_back:
        yield Alarm(
            Level.LOOK, "robots",
            f"A clock ran backwards {count(status.clock_steps_back, 'time')}.",
            "Times of that robot mean nothing across the step; its records still count.",
        )  # fmt: skip
    for reason, times in status.refusals.items():
        yield Alarm(
            Level.LOOK, "server", f"Refused {count(times, 'message')}: {reason}.",
            "An unknown key, another robot file or damaged data; see threat_model.md.",
        )  # fmt: skip


def _of_policies(status: Status) -> Iterator[Alarm]:
    if status.publish_trouble:
        yield Alarm(
            Level.BAD, "server", sentence(status.publish_trouble),
            "Robots keep the policy they have, and get no other until `serve` is started again.",
        )  # fmt: skip
    if status.pin_trouble:
        yield Alarm(
            Level.LOOK, "policies", sentence(status.pin_trouble),
            "Pin one of the versions in the list of policies, or take the pin back.",
        )  # fmt: skip
    if status.pinned:
        yield Alarm(
            Level.PLAIN, "policies", f"Robots stay with policy {status.pinned}, which is pinned.",
            "Newer ones are learned but not sent out until it is unpinned.",
        )  # fmt: skip
    if status.unfit:
        yield Alarm(
            Level.LOOK, "policies", f"{count(len(status.unfit), 'policy', 'policies')} could not "
            f"be sent out: {status.unfit[-1]}.",
            "Robots keep the one they have. If it repeats, learning has diverged.",
        )  # fmt: skip


def _of_robot(robot: Robot, run: Run, now_s: float) -> Iterator[Alarm]:
    where, report = robot.name, robot.report
    if robot.stopped:
        yield Alarm(
            Level.BAD, where, f"The server orders it to stop: {robot.stopped}.",
            f"`wombet-offboard release KEYS {where}` takes it back; then clear it at the robot.",
        )  # fmt: skip
    yield from _of_losses(robot)
    if report is None:
        return
    yield from _of_mode(where, report)
    if silent(robot, run):
        yield Alarm(
            Level.LOOK, where, f"Last heard {ago(now_s - robot.heard_s)}.",
            "Is it switched on, and is the network there? It keeps its records meanwhile.",
        )  # fmt: skip
    yield from _of_records(where, report)
    for event in report.events:
        if event.outcome in ("rejected", "rolled_back"):
            verb = {"rejected": "did not take", "rolled_back": "went back from"}[event.outcome]
            reason = event.reason or "no reason given"
            yield Alarm(
                Level.LOOK, where, f"It {verb} policy {event.version}: {reason}.",
                "It drives with the one before. Compare the two in the list of policies.",
            )  # fmt: skip


def _of_losses(robot: Robot) -> Iterator[Alarm]:
    for loss in robot.losses:
        if loss.records or loss.unknown:
            extent = whole(loss.records) if loss.records else "Nobody knows how many"
            yield Alarm(
                Level.LOOK, robot.name,
                f"{extent} of its records are lost for good: {loss.reason}.",
                "They are in no archive and no export; `wombet-offboard data verify` lists them.",
            )  # fmt: skip


def _of_mode(where: str, report: Report) -> Iterator[Alarm]:
    if report.mode == Mode.FAULT:
        yield Alarm(
            Level.BAD, where, "It has stopped by itself with a fault.",
            "`wombet-onboard status` at the robot says why; `wombet-onboard clear` when mended.",
        )  # fmt: skip
    if report.mode == Mode.ESTOP:
        yield Alarm(
            Level.BAD, where, "An emergency stop is latched.",
            "See that nobody is in danger, then `wombet-onboard clear` at the robot.",
        )  # fmt: skip


def _of_records(where: str, report: Report) -> Iterator[Alarm]:
    if report.dropped:
        yield Alarm(
            Level.LOOK, where, f"{whole(report.dropped)} records were lost on the robot.",
            "Its disk is full or slow: see records_dropped and records_rejected of its metrics.",
        )  # fmt: skip
    if report.waiting is not UNSET and report.waiting > WAITING_LOOK:
        yield Alarm(
            Level.LOOK, where, f"{whole(report.waiting)} batches wait to be sent.",
            "The link is slow or was down. They are safe on the robot's disk.",
        )  # fmt: skip
    if report.held_back is not UNSET:
        yield Alarm(
            Level.PLAIN, where, f"It does not take a newer policy: {report.held_back}.",
            "Unpin it at the robot with `wombet-onboard policy unpin` if that is not meant.",
        )  # fmt: skip
