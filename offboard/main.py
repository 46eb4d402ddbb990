"""wombet-offboard: the training server.

source → generate → serve is the order of a run; keys come first, expert is the yardstick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.markup import escape

from offboard.demo.run import DemoConfig, run_demo
from offboard.stages import data, fleet, keys
from offboard.stages.bench import BenchConfig, run_bench
from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.serve import run_serve
from offboard.stages.serve_wiring import ServeConfig
from offboard.stages.source import SourceConfig, run_source
from offboard.stages.source_from_data import DataSourceConfig, run_source_from_data
from offboard.stop_list import release_robot, stop_robot
from protocol.errors import WombetError

console = Console(stderr=True)
_flat = tyro.conf.arg(name="")


def source(config: Annotated[SourceConfig, _flat], out: Path) -> None:
    """Learn the source task and its world-model ensemble."""
    _show("source", run_source(config, out))


def source_from_data(config: Annotated[DataSourceConfig, _flat], out: Path) -> None:
    """Learn the source's world model and policy from imported logs, without a simulator."""
    _show("source", run_source_from_data(config, out))


def generate(config: Annotated[OfflineConfig, _flat], out: Path) -> None:
    """Generate offline data by penalised planning and keep what passes the dual filter."""
    _show("generate", run_generate(config, out))


def expert(config: Annotated[ExpertConfig, _flat], out: Path) -> None:
    """Train the target's reference expert in simulation."""
    _show("expert", run_expert(config, out))


def serve(config: Annotated[ServeConfig, _flat], out: Path) -> None:
    """Ingest a robot's stream, fine-tune on it and publish better policies, until SIGTERM."""
    _show("serve", run_serve(config, out))


def demo(config: Annotated[DemoConfig, _flat], out: Path) -> None:
    """The whole loop on this machine; exit 1 if it broke anywhere."""
    reasons = run_demo(config, out)
    for reason in reasons:
        console.print(f"[bold red]the loop broke:[/] {escape(reason)}", highlight=False)
    sys.exit(1 if reasons else 0)


def bench(config: Annotated[BenchConfig, _flat], out: Path) -> None:
    """Compare methods on pairs of tasks; takes up where it was interrupted."""
    failed = run_bench(config, out)
    for reason in failed:
        console.print(f"[bold red]failed:[/] {escape(reason)}", highlight=False)
    console.print(f"{out / 'transfer.json'}  {out / 'report.html'}", highlight=False, markup=False)
    sys.exit(1 if failed else 0)


def estop(directory: Path, unit: str, reason: str = "the server's operator") -> None:
    """Have robot UNIT stopped, within about a second, by the server of the keys in DIRECTORY.

    It needs the network: whoever can reach the robot uses a stop that is wired to it.
    """
    stop_robot(directory, unit, reason)
    console.print(
        f"{unit} will be stopped whenever it is heard; take it back by release", markup=False
    )


def release(directory: Path, unit: str) -> None:
    """Take the server's stop of robot UNIT back; the robot itself waits for `clear`."""
    release_robot(directory, unit)
    console.print(f"{unit} is no longer stopped by the server; clear it at the robot", markup=False)


def main() -> None:
    """Entry point; exit 2 for errors a user can mend."""
    torch.set_num_threads(1)
    app = tyro.extras.SubcommandApp()
    stages: list[Callable[..., None]] = [
        *(source, source_from_data, generate, expert, serve, demo, bench, estop, release),
    ]
    for stage in stages:
        app.command(stage)
    groups = (
        ("keys", keys.COMMANDS, "Make, replace and revoke keys."),
        ("data", data.COMMANDS, "Recorded data: list, check, exchange and prune it."),
        ("fleet", fleet.COMMANDS, "Units: flash and provision them."),
    )
    for name, commands, purpose in groups:
        group = tyro.extras.SubcommandApp()
        for command_name, command in commands.items():
            group.command(name=command_name)(command)
        app.command(group, name=name, help=purpose)
    try:
        app.cli(prog="wombet-offboard", description=__doc__)
    except WombetError as error:
        console.print(f"[bold red]wombet-offboard:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)


def _show(stage: str, result: dict[str, Any]) -> None:
    numbers = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
        if not isinstance(value, list)
    )
    console.print(f"[bold]{stage}[/]  {escape(numbers)}", highlight=False)


if __name__ == "__main__":
    main()
