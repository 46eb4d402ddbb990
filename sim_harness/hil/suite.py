"""All scenarios of a robot, one after the other or side by side, and what came of them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from protocol.errors import ConfigError, StoreError, WombetError
from protocol.robot_spec import RobotSpec
from sim_harness.hil.bench import Bench
from sim_harness.hil.faults import ClockStep, CpuHog, DiskFull, Unplug, described
from sim_harness.hil.pictures import album_of
from sim_harness.hil.report import Course, report
from sim_harness.hil.scenario import Scenario, reason_to_skip
from sim_harness.hil.timeline import faults_of
from sim_harness.hil.trial import Trial
from sim_harness.hil.truth import relive
from sim_harness.hil.verdict import Pace, Result, expectations, judge

SUMMARY_FILE, REPORT_FILE, POLICIES = "summary.json", "report.html", "policies"
MISHAPS = (OSError, sqlite3.Error, subprocess.SubprocessError)
"""What may befall one run from outside; the others still have to be had."""


class Skipped(Struct, frozen=True):
    """A scenario that this robot or machine cannot have, and why."""

    name: str
    reason: str


class Summary(Struct, frozen=True, kw_only=True):
    """``summary.json``. ``valid`` says that every run kept up with real time.

    ``realtime_factor`` is the slowest run's; null if there was none.
    """

    robot: str
    realtime_factor: float | None
    valid: bool
    scenarios: list[Result]
    passed: int
    failed: int
    skipped: list[Skipped]


class Plan(NamedTuple):
    """Scenarios to run, and those left out."""

    chosen: list[Scenario]
    skipped: list[Skipped]


def plan(
    scenarios: Sequence[Scenario],
    spec: RobotSpec,
    pluggable: bool = True,
    steppable: bool = True,
    mountable: bool = True,
) -> Plan:
    """Those that make sense on this robot.

    Without ``pluggable`` the adapter is a real one; without ``steppable`` the runtime can have no
    time of day of its own; without ``mountable`` no disk that can be filled.

    Raises:
        ConfigError: a scenario is about a joint that the robot does not have, or none is left.
    """
    reasons = {
        each.name: reason_to_skip(each, spec)
        or (None if pluggable else _needs_hands(each))
        or (None if steppable else _needs_compiler(each))
        or (None if mountable else _needs_mount(each))
        for each in scenarios
    }
    skipped = [Skipped(name, reason) for name, reason in reasons.items() if reason]
    chosen = [each for each in scenarios if not reasons[each.name]]
    if not chosen:
        told = "; ".join(f"{each.name}: {each.reason}" for each in skipped) or "there is none"
        raise ConfigError(f"no scenario can be run on {spec.name} ({told}); choose others")
    return Plan(chosen, skipped)


def run_suite(
    bench: Bench, chosen: Plan, out: Path, jobs: int, say: Callable[[Result], None]
) -> Summary:
    """Run everything and write ``summary.json`` and ``report.html`` into ``out``.

    Scenarios that hog the processor come last, alone, and pictures after all of them.

    Raises:
        StoreError: the results cannot be written.
    """

    def one(scenario: Scenario) -> Course:
        shutil.rmtree(out / scenario.name, ignore_errors=True)  # of the last time
        course = run_one(bench, scenario, out / scenario.name)
        say(course.result)
        return course

    _keep_policies(bench, out)
    hogs = [each for each in chosen.chosen if _hogs(each)]
    others = [each for each in chosen.chosen if not _hogs(each)]
    with ThreadPoolExecutor(jobs) as pool:
        courses = [*pool.map(one, others)]
    courses += [one(scenario) for scenario in hogs]
    courses = [_photographed(bench, course, out) for course in courses]
    summary = summarise(bench.spec, [course.result for course in courses], chosen.skipped)
    try:
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        (out / SUMMARY_FILE).write_bytes(text + b"\n")
        (out / REPORT_FILE).write_text(report(bench.spec, courses), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out}: the results cannot be written ({error})") from error
    return summary


def _keep_policies(bench: Bench, out: Path) -> None:
    """Flights are replayed with them. Raises StoreError."""
    if bench.outfit.policies is None:
        return
    try:
        shutil.copytree(bench.outfit.policies, out / POLICIES, dirs_exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out / POLICIES}: cannot be written ({error})") from error


def run_one(bench: Bench, scenario: Scenario, folder: Path) -> Course:
    """Run, live through it again, judge. What could not be run is invalid, and says why."""
    try:
        tape, story = Trial(bench, scenario, folder).run()
        truth = relive(tape, bench.spec, bench.robot.parent)
    except WombetError as error:
        return Course(scenario, not_run(scenario, str(error)), None, None)
    except MISHAPS as error:
        reason = f"{type(error).__name__}: {error}"
        return Course(scenario, not_run(scenario, reason), None, None)
    pace = Pace(tape.realtime_factor, tape.worst_lag_ms)
    result = judge(scenario, bench.spec, truth, story, pace)
    return Course(scenario, result, truth, story)


def summarise(spec: RobotSpec, results: list[Result], skipped: list[Skipped]) -> Summary:
    """Counts over all results."""
    factors = [each.realtime_factor for each in results if each.realtime_factor is not None]
    return Summary(
        robot=spec.name,
        realtime_factor=min(factors, default=None),
        valid=bool(results) and all(each.verdict != "invalid" for each in results),
        scenarios=results,
        passed=sum(result.verdict == "pass" for result in results),
        failed=sum(result.verdict == "fail" for result in results),
        skipped=skipped,
    )


def _photographed(bench: Bench, course: Course, out: Path) -> Course:
    """With pictures, if it ran; taking them needs every core."""
    if course.truth is None:
        return course
    scenario, directory = course.scenario, bench.robot.parent
    folder = out / scenario.name
    album = album_of(bench.spec, directory, scenario.body, course.truth, folder)
    return course._replace(album=album)


def _needs_hands(scenario: Scenario) -> str | None:
    unplugs = any(isinstance(fault, Unplug) for fault in faults_of(scenario))
    return "a real adapter has to be pulled by hand" if unplugs else None


def _needs_compiler(scenario: Scenario) -> str | None:
    steps = any(isinstance(fault, ClockStep) for fault in faults_of(scenario))
    return "no C compiler there, to build a time of day for the runtime alone" if steps else None


def _needs_mount(scenario: Scenario) -> str | None:
    fills = any(isinstance(fault, DiskFull) for fault in faults_of(scenario))
    return "mounting a small disk needs root there" if fills else None


def _hogs(scenario: Scenario) -> bool:
    return any(isinstance(fault, CpuHog) for fault in faults_of(scenario))


def not_run(scenario: Scenario, reason: str) -> Result:
    """What there is to say of a scenario that never ran: nothing was measured."""
    return Result(
        name=scenario.name,
        faults=[described(fault) for fault in faults_of(scenario)],
        expected=expectations(scenario.must),
        verdict="invalid",
        reasons=[reason],
    )
