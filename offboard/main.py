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

from offboard.demo.run import DemoConfig, run_demo
from offboard.keys import enrol_robot, init_server, list_robots, revoke_robot
from offboard.stages.bench import BenchConfig, run_bench
from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.serve import run_serve
from offboard.stages.serve_wiring import ServeConfig
from offboard.stages.source import SourceConfig, run_source
from offboard.stop_list import release_robot, stop_robot
from protocol.errors import WombetError

console = Console(stderr=True)
_flat = tyro.conf.arg(name="")


def source(config: Annotated[SourceConfig, _flat], out: Path) -> None:
    """Learn the source task and its world-model ensemble."""
    _show("source", run_source(config, out))


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
        console.print(f"[bold red]the loop broke:[/] {reason}", highlight=False)
    sys.exit(1 if reasons else 0)


def bench(config: Annotated[BenchConfig, _flat], out: Path) -> None:
    """Compare methods on pairs of tasks; takes up where it was interrupted."""
    failed = run_bench(config, out)
    for reason in failed:
        console.print(f"[bold red]failed:[/] {reason}", highlight=False)
    console.print(f"{out / 'transfer.json'}  {out / 'report.html'}", highlight=False)
    sys.exit(1 if failed else 0)


def estop(directory: Path, unit: str, reason: str = "the server's operator") -> None:
    """Have robot UNIT stopped, within about a second, by the server of the keys in DIRECTORY.

    It needs the network: whoever can reach the robot uses a stop that is wired to it.
    """
    stop_robot(directory, unit, reason)
    console.print(f"{unit} will be stopped whenever it is heard; take it back by release")


def release(directory: Path, unit: str) -> None:
    """Take the server's stop of robot UNIT back; the robot itself waits for `clear`."""
    release_robot(directory, unit)
    console.print(f"{unit} is no longer stopped by the server; clear it at the robot")


def keys_init(directory: Path) -> None:
    """Make the server's keys in a new DIRECTORY: CURVE pair, TUF roles, empty key table."""
    init_server(directory)
    console.print(f"keys made in {directory}; keep *.secret and tuf/ to yourself")


def keys_enrol(directory: Path, unit: str, state: Path) -> None:
    """Let robot UNIT in and write its identity to STATE, to be carried to the robot."""
    enrol_robot(directory, unit, state)
    console.print(f"{unit} enrolled; carry {state} to it")


def keys_revoke(directory: Path, unit: str) -> None:
    """Shut robot UNIT out, on open connections too."""
    revoke_robot(directory, unit)
    console.print(f"{unit} revoked")


def keys_list(directory: Path) -> None:
    """Every key ever enrolled."""
    for key in list_robots(directory):
        console.print(f"{key.robot}  {'active' if key.active else 'revoked'}  {key.public}")


def main() -> None:
    """Entry point; exit 2 for errors a user can mend."""
    torch.set_num_threads(1)
    app, keys = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
    stages: list[Callable[..., None]] = [
        *(source, generate, expert, serve, demo, bench, estop, release),
    ]
    for stage in stages:
        app.command(stage)
    ceremonies: list[Callable[..., None]] = [keys_init, keys_enrol, keys_revoke, keys_list]
    for ceremony in ceremonies:
        keys.command(name=ceremony.__name__.removeprefix("keys_"))(ceremony)
    app.command(keys, name="keys", help="Make and revoke keys.")
    try:
        app.cli(prog="wombet-offboard", description=__doc__)
    except WombetError as error:
        console.print(f"[bold red]wombet-offboard:[/] {error}", highlight=False)
        sys.exit(2)


def _show(stage: str, result: dict[str, Any]) -> None:
    numbers = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
        if not isinstance(value, list)
    )
    console.print(f"[bold]{stage}[/]  {numbers}", highlight=False)


if __name__ == "__main__":
    main()
