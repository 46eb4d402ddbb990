"""``wombet-sim new-robot``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tyro

from protocol.errors import ConfigError, StoreError
from protocol.table import Name

TEMPLATES = {1: "one_joint", 2: "two_joints"}
PLACEHOLDER = "@NAME@"
SUFFIXES = (".toml", ".xml")


@dataclass(frozen=True)
class NewRobotCommand:
    """Write the files of a new robot, NAME.toml and NAME.xml, that work as they are.

    A commented robot file with a task, and an MJCF, of a rig that turns about vertical axes.
    Nothing is ever overwritten.

    Attributes:
        name: of the robot and its files: small letters, digits and _.
        joints: how many motors it has.
        dir: directory for the files.
    """

    name: Annotated[str, tyro.conf.Positional]
    joints: Literal[1, 2] = 1
    dir: Path = Path("hw_configs")


def run_new_robot(command: NewRobotCommand) -> int:
    """Write the files and say what to do next. Raises as :func:`write_robot`."""
    sys.stdout.write(_next_steps(*write_robot(command)))
    return 0


def write_robot(command: NewRobotCommand) -> list[Path]:
    """The robot file and its MJCF, written.

    Raises:
        ConfigError: the name will not do, or a file of that name is there already.
        StoreError: a file cannot be written.
    """
    try:
        msgspec.convert(command.name, Name)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{command.name!r} is no name of a robot; use small letters, digits and _, "
            "a letter first, 32 at most"
        ) from error
    paths = [command.dir / (command.name + suffix) for suffix in SUFFIXES]
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} is there already; take another name, or move it away first")
    for path in paths:
        _write(path, _template(command.joints, path.suffix).replace(PLACEHOLDER, command.name))
    return paths


def _template(joints: int, suffix: str) -> str:
    return Path(__file__).with_name(TEMPLATES[joints] + suffix).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); see --dir") from error


def _next_steps(toml: Path, mjcf: Path) -> str:
    return (
        f"{toml}  the robot and its task; yours are the numbers marked mine?\n"
        f"{mjcf}  the simulated body\n"
        f"next: wombet-sim check {toml}\n"
        f"      wombet-sim hil --robot {toml} --quick\n"
        "      docs/tutorial.md goes on from here\n"
    )
