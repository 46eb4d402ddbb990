"""``wombet-onboard policy``: which policies this robot holds, and which one it is to use.

Listing and showing read the disk and need no running robot; the others ask control and wait for
what comes of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from onboard.bundle_directory import bundles_of, held_versions
from onboard.control_api import (
    MANIFEST_FILE,
    RETURNING,
    SOCKET_FILE,
    STAGING,
    Done,
    Pin,
    Rollback,
    Unpin,
)
from onboard.control_socket import ControlClient
from onboard.exit_status import Exit
from onboard.ledger import ledger_path, open_ledger
from onboard.policy_text import Policies, description, listing
from onboard.runtime_directory import STATE, runtime_directory
from onboard.version_floor import FLOOR_FILE, read_floor
from protocol.bundle import Manifest, decode_manifest
from protocol.errors import BundleError, ConfigError, WireError
from protocol.messages import PolicyEvent
from protocol.robot_spec import load_robot_spec

SETTLED_S = 60.0
"""Longer than a GPU takes to build an engine for a new architecture."""
POLL_S = 0.05

Verb = Literal["list", "show", "rollback", "pin", "unpin"]


def policy(
    verb: Positional[Verb],
    version: Positional[int | None] = None,
    *,
    robot: Path,
    task: str | None = None,
    state: Path = STATE,
    runtime: Path | None = None,
) -> int:
    """List, show, pin or unpin the policies of this robot, or go back from the one that drives.

    Args:
        verb: list: all of them. show VERSION: one. rollback: drop the active one as bad and return
            to the last committed one. pin VERSION: use it, and no other. unpin: updates again.
        version: of the policy to show or to pin.
        robot: robot file, hw_configs/NAME.toml.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
    """
    if (version is None) == (verb in ("show", "pin")):
        raise ConfigError(
            f"policy {verb}: {'name a' if version is None else 'it takes no'} version"
        )
    spec = load_robot_spec(robot)
    place, name = runtime_directory(spec, state, runtime), spec.task_name(task)
    with closing(ControlClient(place / SOCKET_FILE)) as client:
        if verb in ("list", "show"):
            print(_text(_known(state, name, client), state, version))
            return Exit.DONE
        done = settled(client, _request(verb, state, version or 0), time.monotonic, time.sleep)
    print(done.detail, file=sys.stdout if done.ok else sys.stderr)
    return Exit.DONE if done.ok else Exit.NO


def settled(
    client: ControlClient,
    request: Rollback | Pin | Unpin,
    clock_s: Callable[[], float],
    sleep: Callable[[float], None],
) -> Done:
    """Ask control and wait for what comes of it.

    Raises:
        WireError: control is not running.
    """
    before = max((event.number for event in client.status().events), default=0)
    done = client.command(request)
    if not done.ok or done.detail not in (STAGING, RETURNING):
        return done
    end_s = clock_s() + SETTLED_S
    while clock_s() < end_s:
        status = client.status()
        news = [event for event in status.events if event.number > before]
        if outcome := _outcome(done.detail, news, status.active_version):
            return outcome
        sleep(POLL_S)
    return Done(ok=False, detail=f"control has not decided within {SETTLED_S:g} s")


def _outcome(asked: str, news: Sequence[PolicyEvent], active: int) -> Done | None:
    """What came of a request that was under way as ``asked``; ``None`` if nothing yet."""
    for event in news:
        if event.outcome == "rejected":
            return Done(ok=False, detail=f"policy {event.version} rejected: {event.reason}"[:1024])
        if event.outcome == "activated":
            return Done(ok=True, detail=f"policy {event.version} drives")
        if event.outcome == "rolled_back" and asked == RETURNING:
            return Done(ok=True, detail=f"policy {active} drives")
    return None


def _request(verb: Verb, state: Path, version: int) -> Rollback | Pin | Unpin:
    if verb == "rollback":
        return Rollback()
    if verb == "unpin":
        return Unpin()
    directory = bundles_of(state) / str(version)
    if not directory.is_dir():
        floor = read_floor(state / FLOOR_FILE).bundle
        forbidden = f", and not newer than {floor}: it is not accepted again" * (version <= floor)
        raise BundleError(
            f"policy {version} is not held here{forbidden}; "
            f"held: {held_versions(bundles_of(state)) or 'none'}"
        )
    return Pin(version=version, directory=str(directory.resolve()))


def _known(state: Path, task: str, client: ControlClient) -> Policies:
    status = None
    with suppress(WireError):
        status = client.status()
    return Policies(
        held=held_versions(bundles_of(state)),
        record=open_ledger(ledger_path(state, task)).record,
        floor=read_floor(state / FLOOR_FILE).bundle,
        status=status,
    )


def _text(policies: Policies, state: Path, version: int | None) -> str:
    if version is None:
        return listing(policies)
    return description(policies, _manifest(bundles_of(state) / str(version)))


def _manifest(directory: Path) -> Manifest:
    try:
        return decode_manifest((directory / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise BundleError(f"policy {directory.name} is not held here ({error})") from error
