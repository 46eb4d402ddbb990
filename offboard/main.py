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
from offboard.page.main import DEFAULT_PORT, run_page
from offboard.policy_pin import pin_policy, unpin_policy
from offboard.stages import data, fleet, keys
from offboard.stages.bench import BenchConfig, run_bench
from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.report import run_report
from offboard.stages.serve import run_serve
from offboard.stages.serve_wiring import ServeConfig
from offboard.stages.source import SourceConfig, run_source
from offboard.stages.source_from_data import DataSourceConfig, run_source_from_data
from offboard.stages.sweep import SweepConfig, run_sweep
from offboard.stop_list import release_robot, stop_robot
from protocol.errors import WombetError

console = Console(stderr=True)
_flat = tyro.conf.arg(name="")
_Out = Annotated[Path, tyro.conf.arg(help="directory of the run; one begun there is taken up.")]
_Keys = Annotated[Path, tyro.conf.arg(help="of the server's keys, made by `keys init`.")]
_Unit = Annotated[str, tyro.conf.arg(help="the robot, as `keys add` named it.")]
_Run = Annotated[Path, tyro.conf.arg(help="--out of a serve run.")]
_Port = Annotated[int, tyro.conf.arg(help="on loopback.")]
_Version = Annotated[int, tyro.conf.arg(help="of a policy it published.")]
_Reason = Annotated[str, tyro.conf.arg(help="shown at the robot and kept in its log.")]


def source(config: Annotated[SourceConfig, _flat], out: _Out) -> None:
    """Learn the source task and its world-model ensemble."""
    if result := run_source(config, out):  # a worker that follows another has nothing to say
        _show("source", result)


def source_from_data(config: Annotated[DataSourceConfig, _flat], out: _Out) -> None:
    """Learn the source's world model and policy from imported logs, without a simulator."""
    _show("source", run_source_from_data(config, out))


def generate(config: Annotated[OfflineConfig, _flat], out: _Out) -> None:
    """Generate offline data by penalised planning and keep what passes the dual filter."""
    _show("generate", run_generate(config, out))


def expert(config: Annotated[ExpertConfig, _flat], out: _Out) -> None:
    """Train the target's reference expert in simulation."""
    _show("expert", run_expert(config, out))


def serve(config: Annotated[ServeConfig, _flat], out: _Out) -> None:
    """Ingest a robot's stream, fine-tune on it and publish better policies, until SIGTERM."""
    _show("serve", run_serve(config, out))


def demo(config: Annotated[DemoConfig, _flat], out: _Out) -> None:
    """The whole loop on this machine; exit 1 if it broke anywhere."""
    reasons = run_demo(config, out)
    for reason in reasons:
        console.print(f"[bold red]the loop broke:[/] {escape(reason)}", highlight=False)
    sys.exit(1 if reasons else 0)


def bench(config: Annotated[BenchConfig, _flat], out: _Out) -> None:
    """Compare methods on pairs of tasks; takes up where it was interrupted."""
    failed = run_bench(config, out)
    _tell(failed)
    console.print(f"{out / 'transfer.json'}  {out / 'report.html'}", highlight=False, markup=False)
    sys.exit(1 if failed else 0)


def sweep(config: Annotated[SweepConfig, _flat], out: _Out) -> None:
    """Run the source stage over settings and seeds; `report` compares what came out."""
    failed = run_sweep(config, out)
    _tell(failed)
    console.print(f"compare: wombet-offboard report {out}", highlight=False, markup=False)
    sys.exit(1 if failed else 0)


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("report.html"),
    tensorboard: Path | None = None,
) -> None:
    """Compare RUNS, each the --out of a stage, a demo, a benchmark or a sweep, on one page.

    Args:
        runs: folders of runs; seeds of one configuration are put together.
        out: the page, one HTML file that needs nothing else.
        tensorboard: a new folder for the same curves as TensorBoard's event files.
    """
    count = run_report(runs, out, tensorboard)
    console.print(f"{count} runs: {out}", highlight=False, markup=False)


def estop(directory: _Keys, unit: _Unit, reason: _Reason = "the server's operator") -> None:
    """Have robot UNIT stopped, within about a second, by the server of the keys in DIRECTORY.

    It needs the network: whoever can reach the robot uses a stop that is wired to it.
    """
    stop_robot(directory, unit, reason)
    console.print(
        f"{unit} will be stopped whenever it is heard; take it back by release", markup=False
    )


def release(directory: _Keys, unit: _Unit) -> None:
    """Take the server's stop of robot UNIT back; the robot itself waits for `clear`."""
    release_robot(directory, unit)
    console.print(f"{unit} is no longer stopped by the server; clear it at the robot", markup=False)


def page(run: _Run, port: _Port = DEFAULT_PORT) -> None:
    """Show serve run RUN in the browser, on this machine only; also one that is over."""
    run_page(run, port)


def pin(run: _Run, version: _Version) -> None:
    """Have all robots of serve run RUN go back to policy VERSION and stay there, until `unpin`."""
    pin_policy(run, version)
    console.print(f"robots of {run} get policy {version} again, as a new number", markup=False)


def unpin(run: _Run) -> None:
    """Let serve run RUN send newer policies out again."""
    unpin_policy(run)
    console.print(f"robots of {run} get newer policies again", markup=False)


def main() -> None:
    """Entry point; exit 2 for errors a user can mend."""
    torch.set_num_threads(1)
    app = tyro.extras.SubcommandApp()
    stages: list[Callable[..., None]] = [
        *(source, source_from_data, generate, expert, serve, demo, bench, estop, release),
        *(page, pin, unpin, sweep, report),
    ]
    for stage in stages:
        app.command(stage)
    groups = (
        ("keys", keys.COMMANDS, "Make, replace and revoke keys."),
        ("data", data.COMMANDS, "Recorded data: list, check, exchange and prune it."),
        ("fleet", fleet.COMMANDS, "Units: flash, provision and deploy to them."),
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


def _tell(failed: list[str]) -> None:
    for reason in failed:
        console.print(f"[bold red]failed:[/] {escape(reason)}", highlight=False)


def _show(stage: str, result: dict[str, Any]) -> None:
    numbers = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
        if not isinstance(value, list)
    )
    console.print(f"[bold]{stage}[/]  {escape(numbers)}", highlight=False)


if __name__ == "__main__":
    main()
