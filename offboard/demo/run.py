"""The demo, in the order a user would do it by hand."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from offboard.demo.live import view
from offboard.demo.processes import Family, ProcessError, ProcessTimeoutError, ask, call, family
from offboard.demo.summary import broken, summarise, swap_positions
from offboard.durable_file import write_durably
from offboard.keys import enrol_robot, init_server
from offboard.report import cell, page, plane_plot, returns_plot, timing_plot, uncertainty_plot
from offboard.run_dir import existing_run, to_json
from offboard.serve_status import ServeStatus, read_status
from offboard.session import SessionConfig
from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec

EPISODE_MAX_S = 15.0
MARK = ".wombet-demo"
LEARNED = ("source", "generate", "expert")
LIVE = ("serve", "robot", "keys", "logs")


@dataclass(frozen=True)
class DemoConfig:
    """What to run; the defaults are the flagship: Furuta, nominal to target.

    ``…_options`` are further command-line options of a stage: ``--source-options="--seed 3"``.
    """

    robot: Path
    task: str = "swing_up"
    body: str = "target"
    unit: str = "furuta-01"
    seed: int = 2
    endpoint: str = "tcp://127.0.0.1:5571"
    resume: bool = False
    source_options: str = ""
    generate_options: str = ""
    expert_options: str = ""
    session: SessionConfig = field(default_factory=SessionConfig)


def run_demo(config: DemoConfig, out: Path) -> list[str]:
    """Run everything, write ``summary.json`` and ``report.html``; reasons why the loop broke.

    Raises:
        ConfigError, StoreError, ProcessError: a part could not start or died.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are stopped
    load_robot_spec(config.robot)
    _prepare(config, out)
    _stages(config, out)
    control = _loop(config, out)
    summary = _summarise(config, out, control)
    summary["wall_s"] = round(time.monotonic() - began, 1)
    write_durably(out / "summary.json", to_json(summary))
    write_durably(out / "report.html", _report(out, summary, control).encode())
    _print(summary, out)
    return [*broken(summary, config.session.episodes), *_deaths(out)]


def _prepare(config: DemoConfig, out: Path) -> None:
    """An empty ``out``, marked as a demo's; with ``resume`` the learning stages stay."""
    mark = out / MARK
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise ConfigError(f"{out} holds files that are not a demo's; choose another --out")
    for name in LIVE if config.resume else (*LEARNED, *LIVE):
        shutil.rmtree(out / name, ignore_errors=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise StoreError(
            f"{out} cannot be made ({error.strerror}); choose another --out"
        ) from error


def _stages(config: DemoConfig, out: Path) -> None:
    """Source, generation and the target's reference expert, in the foreground."""
    common = ("--robot", str(config.robot), "--task", config.task, "--seed", str(config.seed))
    source = ("--source", str(out / "source"))
    target = ("--body", config.body)
    call(
        "wombet-offboard",
        "source",
        *common,
        "--out",
        str(out / "source"),
        *shlex.split(config.source_options),
    )
    call(
        "wombet-offboard", "generate", *common, *source,
        "--out", str(out / "generate"), *shlex.split(config.generate_options),
    )  # fmt: skip
    call(
        "wombet-offboard", "expert", *common, *source, *target,
        "--out", str(out / "expert"), *shlex.split(config.expert_options),
    )  # fmt: skip


def _loop(config: DemoConfig, out: Path) -> dict[str, Any]:
    """Server, plant and robot until the session is done; the control process's last status."""
    init_server(out / "keys")
    enrol_robot(out / "keys", config.unit, out / "robot")
    memory = Path("/dev/shm")  # noqa: S108  the runtime directory must not be a disk
    runtime = tempfile.mkdtemp(prefix="wombet-demo-", dir=memory if memory.is_dir() else None)
    try:
        with family(out / "logs") as children:
            return _adapt(config, out, Path(runtime), children)
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def _adapt(config: DemoConfig, out: Path, runtime: Path, children: Family) -> dict[str, Any]:
    onboard = _Onboard(config, out, runtime)
    _start(config, out, onboard, children)
    deadline = time.monotonic() + 60.0 + EPISODE_MAX_S * config.session.episodes
    with view() as screen:
        while (status := _status(out)).phase != "done":
            children.check()
            screen.show(status)
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
    onboard.command("stop")
    control = onboard.status()
    if control is None:
        raise ProcessError("the robot does not answer any more")
    whole = control["produced"] - control["dropped"]
    with contextlib.suppress(ProcessTimeoutError):  # what is missing is counted as lost
        children.wait_for("last records", lambda: _status(out).committed >= whole, 30.0)
    for name in ("onboard", "serve", "plant"):
        if code := children.stop(name):
            raise ProcessError(f"{name} ended with status {code}; see {out / 'logs'}")
    return control


def _start(config: DemoConfig, out: Path, onboard: _Onboard, children: Family) -> None:
    """Bring everything up in the order of dependence; then let the robot move."""
    session = [
        part
        for key, value in vars(config.session).items()
        for part in (f"--session.{key.replace('_', '-')}", str(value))
    ]
    cpus = [str(cpu) for cpu in _learner_cpus(config)]
    children.start(
        "serve", "wombet-offboard", "serve", "--robot", str(config.robot), "--task", config.task,
        "--unit", config.unit, "--source", str(out / "source"),
        "--generated", str(out / "generate"), "--keys", str(out / "keys"),
        "--endpoint", config.endpoint, "--out", str(out / "serve"), "--nice", "10",
        "--cpus", *cpus, *session,
    )  # fmt: skip
    children.start(
        "plant", "wombet-sim", "plant", "--robot", str(config.robot), "--body", config.body,
        "--link", str(onboard.port), "--seed", str(config.seed), "--stats", str(out / "plant.json"),
    )  # fmt: skip
    children.wait_for("serial port", onboard.port.exists, 30.0)
    children.wait_for("server", lambda: read_status(out / "serve") is not None, 240.0)
    children.start("onboard", *onboard.run_arguments())
    children.wait_for("first policy on the robot", onboard.has_policy, 60.0)
    onboard.command("start")


def _learner_cpus(config: DemoConfig) -> list[int]:
    """Every core but the control process's, where there is another."""
    allowed = os.sched_getaffinity(0)
    return sorted(allowed - {load_robot_spec(config.robot).timing.cpu} or allowed)


class _Onboard:
    """The robot's command line, as the demo uses it."""

    def __init__(self, config: DemoConfig, out: Path, runtime: Path) -> None:
        self.port = runtime / "ttyRig"
        self._where = (
            "--robot", str(config.robot), "--state", str(out / "robot"), "--runtime", str(runtime),
        )  # fmt: skip
        self._run = ("--task", config.task, "--port", str(self.port), "--server", config.endpoint)

    def run_arguments(self) -> list[str]:
        """Command line of the supervisor."""
        return [*self._arguments("run"), *self._run]

    def status(self) -> dict[str, Any] | None:
        """Status of the control process, or None if it does not answer."""
        return ask(*self._arguments("status"), "--json")

    def has_policy(self) -> bool:
        """Whether a policy is active and nothing moves yet."""
        status = self.status()
        return status is not None and status["active_version"] > 0

    def command(self, verb: str) -> None:
        """Start or stop. Raises ProcessError if the robot refuses."""
        call(*self._arguments(verb))

    def _arguments(self, verb: str) -> list[str]:
        return ["wombet-onboard", verb, *self._where]


def _status(out: Path) -> ServeStatus:
    status = read_status(out / "serve")
    if status is None:
        raise StoreError(f"{out / 'serve'}: the server's status is gone")
    return status


def _summarise(config: DemoConfig, out: Path, control: dict[str, Any]) -> dict[str, Any]:
    def result(stage: str) -> dict[str, Any]:
        return existing_run(out / stage).result or {}

    return summarise(
        source=result("source"),
        generated=result("generate"),
        expert=result("expert"),
        served=result("serve"),
        control=control,
        plant=json.loads((out / "plant.json").read_text()),
        control_hz=load_robot_spec(config.robot).control_hz,
    )


def _report(out: Path, summary: dict[str, Any], control: dict[str, Any]) -> str:
    served = existing_run(out / "serve").result or {}
    plane = existing_run(out / "generate").load("plane")
    held = existing_run(out / "source").load("uncertainty")
    episodes = served["episodes"]
    plots = {
        "Return of each target episode; green lines are swaps": returns_plot(
            episodes, swap_positions(episodes), summary["target"]["expert_return"]
        ),
        "Generated trajectories, kept and dropped": plane_plot(
            plane["uncertainty"], plane["returns"], plane["kept"]
        ),
        "Ensemble uncertainty against true error, held-out source steps": uncertainty_plot(
            held["uncertainty"], held["error"], summary["source"]["uncertainty_error_spearman"]
        ),
        "Timing of the control ticks": timing_plot(
            control["bucket_edges_us"],
            {
                "work": control["work_histogram"],
                "period error": control["period_error_histogram"],
            },
        ),
    }
    tables = {name: part for name, part in summary.items() if isinstance(part, dict)}
    return page("wombet demo", tables, plots)


def _deaths(out: Path) -> list[str]:
    """What the robot's supervisor had to start again."""
    lines = (out / "logs" / "onboard.log").read_text(errors="replace").splitlines()
    return [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]


def _print(summary: dict[str, Any], out: Path) -> None:
    table = Table(title="wombet demo")
    for column in ("part", "measure", "value"):
        table.add_column(column)
    for part, numbers in summary.items():
        if isinstance(numbers, dict):
            for key, value in numbers.items():
                table.add_row(part, key, cell(value))
    console = Console()
    console.print(table)
    console.print(f"{out / 'summary.json'}  {out / 'report.html'}  {summary['wall_s']} s")
