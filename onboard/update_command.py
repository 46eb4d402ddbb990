"""``wombet-onboard update``: take the newest policy from a directory, such as a USB stick.

The directory is a copy of the server's repository and is trusted no more than the network: the same
signatures, expiry and version floor decide. A running agent offers what was taken within a second.
"""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from onboard.exit_status import Exit
from onboard.runtime_directory import STATE
from onboard.version_floor import FLOOR_FILE, Floor, highest, read_floor, write_floor
from onboard.wall_clock import Trust, wall_clock
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec


def update(
    directory: Positional[Path],
    *,
    robot: Path,
    task: str | None = None,
    state: Path = STATE,
    clock: Trust = "synchronised",
) -> int:
    """Take the newest policy from DIRECTORY, with metadata/ and targets/ of the server in it.

    Args:
        directory: copy of the repository.
        robot: robot file, hw_configs/NAME.toml.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot; run this as its owner.
        clock: go on only while the clock is synchronised, or go by it as it is set.
    """
    from onboard.bundle_fetcher import DirectoryFetcher  # noqa: PLC0415 - other commands stay light
    from onboard.bundle_store import BundleStore  # noqa: PLC0415

    if not (directory / "metadata").is_dir():
        raise ConfigError(f"{directory} holds no metadata/; copy the server's repository there")
    spec = load_robot_spec(robot)
    fetcher = DirectoryFetcher(directory)
    store = BundleStore(state, spec, spec.task_name(task), fetcher, wall_clock(clock))
    held = Floor(bundle=max(store.held(), default=0))
    floor = highest(read_floor(state / FLOOR_FILE), held)
    taken = store.update(floor)
    write_floor(state / FLOOR_FILE, highest(floor, taken.floor))
    print(
        f"took policy {taken.version}" if taken.version else f"policy {held.bundle} is the newest"
    )
    return Exit.DONE
