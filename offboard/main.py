"""``wombet-offboard``: the composition root of the training server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console

from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.source import SourceConfig, run_source
from protocol.errors import WombetError

Config = Annotated[Any, tyro.conf.arg(name="")]
console = Console(stderr=True)


def source(config: Annotated[SourceConfig, tyro.conf.arg(name="")], out: Path) -> None:
    """Learn the source task and its world-model ensemble."""
    _show("source", run_source(config, out))


def generate(config: Annotated[OfflineConfig, tyro.conf.arg(name="")], out: Path) -> None:
    """Generate offline data by penalised planning and keep what passes the dual filter."""
    _show("generate", run_generate(config, out))


def expert(config: Annotated[ExpertConfig, tyro.conf.arg(name="")], out: Path) -> None:
    """Train the target's reference expert in simulation."""
    _show("expert", run_expert(config, out))


def main() -> None:
    """Entry point; exit 2 for errors a user can mend."""
    torch.set_num_threads(1)
    commands: dict[str, Any] = {"source": source, "generate": generate, "expert": expert}
    try:
        tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
    except WombetError as error:
        console.print(f"[bold red]wombet-offboard:[/] {error}", highlight=False)
        sys.exit(2)


def _show(stage: str, result: dict[str, Any]) -> None:
    numbers = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
    )
    console.print(f"[bold]{stage}[/]  {numbers}", highlight=False)


if __name__ == "__main__":
    main()
