"""``wombet-sim hil`` and ``wombet-sim relive``."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from msgspec.structs import replace

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.hil.bench import Bench, Outfit
from sim_harness.hil.false_clock import can_step
from sim_harness.hil.host import Host, host_of
from sim_harness.hil.runtime import can_mount
from sim_harness.hil.scenario import Scenario, load_suite
from sim_harness.hil.suite import REPORT_FILE, Summary, plan, run_suite
from sim_harness.hil.tape import read_tape
from sim_harness.hil.truth import relive
from sim_harness.hil.verdict import Result

SCENARIOS = Path(__file__).with_name("scenarios.toml")
CORES_PER_ROBOT = 2
HERE = (sys.executable, "-m", "onboard.main")
THERE = ("wombet-onboard",)


@dataclass(frozen=True)
class HilCommand:
    """Put the real runtime through scenarios with faults; 1 unless every one of them passes.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        out: directory for summary.json, report.html, and tape and log of every scenario.
        scenarios: file of scenarios; by default those that come with the harness.
        only: names of scenarios; by default all.
        quick: only the short selection.
        jobs: robots side by side; 0 for as many as there are cores for.
        state: state directory of an enrolled robot whose newest policy is to be tested; by default
            one is made, with policies that only move.
        seed: added to the seed of every scenario, for another draw of everything random.
        boot_s: how long starting and homing may take.
        serial: serial adapter on this machine whose other end is the runtime's; by default a pseudo
            terminal for each scenario.
        onboard: where the runtime lives: local, or ssh://USER@HOST.
        onboard_program: how wombet-onboard is called there; by default so.
        onboard_robot: the robot file there; by default the same path.
        onboard_port: the serial port there; needed if it is not this machine.
        onboard_place: directory for its state there.
    """

    robot: Path
    out: Path = Path("runs/hil")
    scenarios: Path = SCENARIOS
    only: tuple[str, ...] = ()
    quick: bool = False
    jobs: int = 0
    state: Path | None = None
    seed: int = 0
    boot_s: float = 60.0
    serial: Path | None = None
    onboard: str = "local"
    onboard_program: str = ""
    onboard_robot: Path | None = None
    onboard_port: str = ""
    onboard_place: str = ""


@dataclass(frozen=True)
class ReliveCommand:
    """Run a scenario's tape again in simulated time; 1 if the rig answers differently.

    Attributes:
        tape: tape.msgpack of a scenario.
        robot: the robot file it was made with.
    """

    tape: Annotated[Path, tyro.conf.Positional]
    robot: Path


def run_hil(command: HilCommand) -> int:
    """Exit status 0 if everything passed.

    Raises:
        ConfigError: robot file, scenarios or machine are not what is needed.
        StoreError: the results cannot be written.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # every trial ends what it started
    spec = load_robot_spec(command.robot)
    host, out = host_of(command.onboard), command.out.resolve()
    pluggable, steppable = command.serial is None, can_step(host)
    _check(command, host)
    chosen = plan(_chosen(command), spec, pluggable, steppable, can_mount(host))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wombet-hil-") as scratch:
        outfit = _outfit(command, spec, Path(scratch))
        bench = Bench(
            spec=spec,
            robot=command.robot.resolve(),
            onboard_robot=str(command.onboard_robot or command.robot.resolve()),
            host=host,
            place=command.onboard_place or f"{scratch}/robots",
            program=tuple(shlex.split(command.onboard_program)) or (HERE if host.local else THERE),
            port=command.onboard_port,
            serial=command.serial,
            outfit=outfit,
            boot_s=command.boot_s,
        )
        jobs = (
            1
            if command.serial
            else command.jobs or max(1, (os.cpu_count() or 1) // CORES_PER_ROBOT)
        )
        summary = run_suite(bench, chosen, out, jobs, _say)
    print(_conclusion(summary, out), flush=True)
    return 0 if summary.valid and not summary.failed else 1


def run_relive(command: ReliveCommand) -> int:
    """Exit status 0 if every answer was the same.

    Raises:
        ConfigError: it is another robot's tape.
        StoreError: it cannot be read.
    """
    tape = read_tape(command.tape)
    truth = relive(tape, load_robot_spec(command.robot), command.robot.parent)
    print(
        f"{tape.robot} {tape.scenario or 'without scenario'}: {truth.time_s[-1]:.1f} s, "
        f"{len(tape.events)} events, {truth.mismatches} answers differ"
    )
    return 0 if truth.mismatches == 0 else 1


def _check(command: HilCommand, host: Host) -> None:
    if command.seed < 0:
        raise ConfigError(f"--seed {command.seed}: give 0 or more")
    if command.state is not None and not command.state.is_dir():
        raise ConfigError(f"--state {command.state}: there is no such directory")
    if not host.local and not (command.serial and command.onboard_port):
        raise ConfigError(
            f"--onboard {command.onboard}: a pseudo terminal ends at this machine; "
            "give --serial and --onboard-port, the two ends of the cable"
        )


def _outfit(command: HilCommand, spec: RobotSpec, folder: Path) -> Outfit:
    from sim_harness.hil.identity import make_outfit  # noqa: PLC0415 - other commands stay light

    if command.state is not None:
        return Outfit(command.state, None)
    return make_outfit(folder, spec, spec.task_name(None))


def _chosen(command: HilCommand) -> list[Scenario]:
    known = load_suite(command.scenarios).scenarios
    unknown = sorted(set(command.only) - {scenario.name for scenario in known})
    if unknown:
        raise ConfigError(f"{command.scenarios} has no scenario {', '.join(unknown)}")
    return [
        replace(scenario, seed=scenario.seed + command.seed)
        for scenario in known
        if (not command.only or scenario.name in command.only)
        and (scenario.quick or not command.quick)
    ]


def _say(result: Result) -> None:
    why = f": {'; '.join(result.reasons)}" if result.reasons else ""
    print(f"{result.verdict:8}{result.name}{why}", flush=True)


def _conclusion(summary: Summary, out: Path) -> str:
    invalid = len(summary.scenarios) - summary.passed - summary.failed
    factor = summary.realtime_factor
    slowest = "none ran" if factor is None else f"slowest at {factor:.3f} of real time"
    lines = [f"skipped {each.name}: {each.reason}" for each in summary.skipped]
    lines.append(
        f"{summary.robot}: {summary.passed} passed, {summary.failed} failed, {invalid} invalid, "
        f"{len(summary.skipped)} skipped; {slowest}; {out / REPORT_FILE}"
    )
    return "\n".join(lines)
