"""``wombet-onboard release``: releases of the runtime on a field unit. Run as root.

``install``, ``rollback`` and ``judge`` print one JSON object last and end with 0 (done), 3 (taken
back), 4 (refused), 5 (motors are powered), 6 (somebody else is at it) or 7 (not proven yet).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from onboard.wall_clock import Trust
from protocol.errors import ConfigError

Verb = Literal["install", "judge", "rollback", "status", "list", "prune"]
ROOT = Path("/")


def release(
    verb: Positional[Verb],
    directory: Positional[Path | None] = None,
    *,
    root: Path = ROOT,
    health_s: float = 60.0,
    wait_s: float = 30.0,
    json: bool = False,
    clock: Trust = "synchronised",
) -> int:
    """Install, show or take back releases of the runtime on a field unit.

    Args:
        verb: install DIRECTORY: what is assigned to this unit, from a copy of the server's
            repository. rollback: the release before. judge: go on with one whose judge was cut
            short. status, list: what there is. prune: remove releases that nobody needs.
        directory: with metadata/ and targets/; only for install.
        root: root directory of the unit.
        health_s: how long a release has to run without trouble.
        wait_s: how long to wait until no motor is powered.
        json: status as one JSON object.
        clock: go on only while the clock is synchronised, or go by it as it is set.
    """
    if (directory is None) == (verb == "install"):
        raise ConfigError("name the directory with release install, and with nothing else")
    from onboard.releases.acts import act  # noqa: PLC0415 - other commands stay light

    return act(verb, directory, root, health_s, wait_s, json, clock)
