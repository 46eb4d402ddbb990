"""``wombet-offboard keys``: the ceremony at the beginning, robots that come and go, keys replaced.

Names and public keys are printed, secrets never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tuf.api.metadata import Metadata, Root, Targets

from offboard.ceremony import renew_root, renew_targets, rotate_role
from offboard.keys import (
    OFFLINE_DIRECTORY,
    enrol_robot,
    init_server,
    list_robots,
    load_trust,
    revoke_robot,
    rotate_robot,
)
from offboard.roles import OFFLINE, ROOT_HOLDERS, ROOT_THRESHOLD, utc_now

RENEWAL_DAYS = 60
_HOUR_S = 3600.0
_Directory = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIRECTORY", help="of keys.")
]
_Unit = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="UNIT", help="the robot's name.")
]
_State = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="STATE", help="the robot's state directory.")
]
_Carrier = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="CARRIER", help="directory to carry to it.")
]
_Role = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ROLE", help="one of those.")]
_Overlap = Annotated[float, tyro.conf.arg(help="hours for which the old key is good as well.")]
_Media = Annotated[tuple[Path, ...], tyro.conf.arg(help="where offline keys are; several may be.")]
_Signed = Annotated[
    Literal["root", "targets"], tyro.conf.Positional, tyro.conf.arg(help="what to sign.")
]
_console = Console(stderr=True)


def init(directory: _Directory) -> None:
    """Make the server's keys in a new DIRECTORY, and say what to do with each."""
    init_server(directory)
    for line in ceremony_text(directory):
        _say(line)


def add(directory: _Directory, unit: _Unit, state: _State) -> None:
    """Let robot UNIT in and write its identity to STATE, to be carried to the robot."""
    enrol_robot(directory, unit, state)
    _say(f"{unit} is let in; carry {state} to it, and keep no copy")


def rotate(
    directory: _Directory, unit: _Unit, carrier: _Carrier, overlap_h: _Overlap = 24.0
) -> None:
    """Give robot UNIT another key, in CARRIER/keys; the one it has ends after the overlap.

    A key that may be in wrong hands is not rotated: revoke it, then add the robot anew.
    """
    rotate_robot(directory, unit, carrier, time.time() + overlap_h * _HOUR_S)
    _say(
        f"within {overlap_h:g} h, put {carrier / 'keys'} in the place of keys/ in {unit}'s state "
        "directory and restart its agent; then its old key ends"
    )


def revoke(directory: _Directory, unit: _Unit) -> None:
    """Shut robot UNIT out, on open connections too."""
    revoke_robot(directory, unit)
    _say(f"{unit} is shut out")


def show(directory: _Directory) -> None:
    """Every key ever given to a robot, and when the signed lists expire."""
    for key in list_robots(directory):
        until = "" if key.until_s is None else f"until {datetime.fromtimestamp(key.until_s):%F %R}"
        state = "active" if key.good(time.time()) else "revoked" if not key.active else "replaced"
        _say(f"{key.robot}  {state}  {key.public}  {until}")
    for line in expiry_text(directory, utc_now()):
        _say(line)


def rotate_role_key(directory: _Directory, role: _Role, media: _Media = ()) -> None:
    """Give a TUF role another key: root-1 root-2 root-3 targets snapshot timestamp weights.

    MEDIA hold offline keys: two root holders', for weights only that of targets. By default they
    are looked for in DIRECTORY/offline.
    """
    path = rotate_role(directory, media or [directory / OFFLINE_DIRECTORY], role, utc_now())
    _say(f"{role} has a new key, {path}")
    if role in OFFLINE:
        _say(f"carry {path} to its holder and remove it here; destroy the one it replaces")
    _say("start the server again: robots follow at their next update")


def renew(
    directory: _Directory,
    what: _Signed,
    media: _Media = (),
) -> None:
    """Sign root or targets again before they expire; MEDIA as for rotate-role."""
    sign = renew_root if what == "root" else renew_targets
    sign(directory, media or [directory / OFFLINE_DIRECTORY], utc_now())
    _say(f"{what} is signed anew; start the server again")


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "add": add,
    "rotate": rotate,
    "revoke": revoke,
    "list": show,
    "rotate-role": rotate_role_key,
    "renew": renew,
}


def ceremony_text(directory: Path) -> list[str]:
    """Who keeps which key, right after the ceremony."""
    offline = directory / OFFLINE_DIRECTORY
    holders = [
        f"  {offline / holder}.pem  to a root holder, who keeps it on a medium of its own"
        for holder in ROOT_HOLDERS
    ]
    return [
        f"keys made in {directory}. Before anything else, take the offline keys away:",
        *holders,
        f"  any {ROOT_THRESHOLD} of these {len(ROOT_HOLDERS)} replace every other key, and one "
        "another; needed only for that",
        f"  {offline / 'targets'}.pem  to the release manager; says which key may sign policies",
        f"then remove {offline}. Each holder keeps a copy in another place; whoever holds two root "
        "keys holds every robot.",
        "What stays on the server is worth what the server is worth:",
        f"  {directory / 'server.secret'}  robots know this server by it",
        f"  {directory / 'tuf'}/weights.pem  signs policies, and nothing else",
        f"  {directory / 'tuf'}/snapshot.pem timestamp.pem  say which of them is the present one",
        *expiry_text(directory, utc_now()),
    ]


def expiry_text(directory: Path, now: datetime) -> list[str]:
    """When the lists that people sign expire, and which is due."""
    trust = load_trust(directory)
    lists: Sequence[tuple[str, datetime]] = (
        ("root", Metadata[Root].from_bytes(trust.roots[-1]).signed.expires),
        ("targets", Metadata[Targets].from_bytes(trust.targets).signed.expires),
    )
    return [
        f"{name} expires {expires:%F}; sign it anew before: wombet-offboard keys renew"
        + (" (due now)" if (expires - now).days < RENEWAL_DAYS else "")
        for name, expires in lists
    ]


def _say(line: str) -> None:
    _console.print(line, highlight=False, markup=False, soft_wrap=True)
