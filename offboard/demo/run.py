"""The demo, in the order a user would do it by hand."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from offboard.demo.live import view
from offboard.demo.loop import BELOW_ROBOT, Loop, deaths, learner_cpus, running
from offboard.demo.processes import call
from offboard.demo.summary import broken, summarise, swap_positions
from offboard.durable_file import write_durably
from offboard.page.key import KEY_FILE, read_key
from offboard.page.main import DEFAULT_PORT, announce
from offboard.report import cell, page, plane_plot, returns_plot, timing_plot, uncertainty_plot
from offboard.run_dir import existing_run, to_json
from offboard.serve_status import ServeStatus
from offboard.session_plan import Phase, SessionConfig
from offboard.stages.serve_wiring import ServeConfig
from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec

EPISODE_MAX_S = 15.0
MARK = ".wombet-demo"
LEARNED = ("source", "generate", "expert")
LIVE = ("serve", "robot", "keys", "logs")


@dataclass(frozen=True)
class DemoConfig:
    """What to run; the defaults are the flagship: Furuta, nominal to target.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        body: which plant.bodies table stands in for the machine.
        unit: name of the robot.
        seed: of everything random; the same seed gives the same result.
        endpoint: where server and robot meet, tcp://ADDRESS:PORT.
        resume: keep the learning stages of an earlier demo in --out.
        policy: what the robot gets: the actor, or a search around it.
        page_port: port on loopback of the live page; 0 for no page.
        source_options: further options of the stage: ``--source-options="--seed 3"``.
        generate_options: likewise.
        expert_options: likewise.
    """

    robot: Path
    task: str = "swing_up"
    body: str = "target"
    unit: str = "furuta-01"
    seed: int = 2
    endpoint: str = "tcp://127.0.0.1:5571"
    resume: bool = False
    policy: Literal["actor", "planner"] = "actor"
    page_port: int = DEFAULT_PORT
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
    loop = _loop(config, out)
    control = _adapt(config, loop)
    summary = _summarise(config, out, control)
    summary["wall_s"] = round(time.monotonic() - began, 1)
    write_durably(out / "summary.json", to_json(summary))
    write_durably(out / "report.html", _report(out, summary, control).encode())
    _print(summary, out)
    return [*broken(summary, config.session.episodes), *deaths(loop)]


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


def _loop(config: DemoConfig, out: Path) -> Loop:
    """The demo's server, rig and robot."""
    serve = ServeConfig(
        robot=config.robot, task=config.task, unit=config.unit, source=out / "source",
        generated=out / "generate", keys=out / "keys", endpoint=config.endpoint,
        cpus=learner_cpus(config.robot), nice=BELOW_ROBOT, policy=config.policy,
        session=config.session, page_port=config.page_port,
    )  # fmt: skip
    return Loop(serve, config.body, config.seed, out)


def _adapt(config: DemoConfig, loop: Loop) -> dict[str, Any]:
    """Let the robot work until the session is done; the control process's last status."""
    with running(loop) as robot:
        _point_at_page(config.page_port, loop.out / "serve")
        with view() as screen:

            def over(status: ServeStatus) -> bool:
                screen.show(status)
                return status.phase == Phase.DONE.value

            robot.until(over, 60.0 + EPISODE_MAX_S * config.session.episodes)
        return robot.stop()


def _point_at_page(port: int, run: Path) -> None:
    """Where to look: the server's own words went into its log."""
    if port and (run / KEY_FILE).exists():
        announce(run, port, read_key(run), Console(stderr=True))


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


def _print(summary: dict[str, Any], out: Path) -> None:
    table = Table(title="wombet demo")
    for column in ("part", "measure", "value"):
        table.add_column(column)
    for part, numbers in summary.items():
        if isinstance(numbers, dict):
            for key, value in numbers.items():
                table.add_row(part, key, Text(cell(value)))
    console = Console()
    console.print(table)
    console.print(
        f"{out / 'summary.json'}  {out / 'report.html'}  {summary['wall_s']} s", markup=False
    )
