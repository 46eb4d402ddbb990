"""Making and keeping keys: the server's CURVE pair, its TUF roles, an identity for each robot.

::

    DIRECTORY/                            STATE/ of a robot
      server.public  server.secret          keys/robot.public  robot.secret  server.public
      tuf/{snapshot,timestamp,weights}.pem  tuf/root.json
      tuf/1.root.json … targets.json
      robots.json
      offline/{root-1,root-2,root-3,targets}.pem     to be carried away

Secrets are 0600 in directories of 0700, and are never printed. Nothing that exists is overwritten.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from msgspec.structs import replace

from offboard.durable_file import create_durably, sync_directory
from offboard.key_table import (
    RobotKey,
    check_robot_name,
    read_key_table,
    write_key_table,
)
from offboard.role_keys import load_role_key, make_role_key, read_key, read_secret
from offboard.roles import (
    OFFLINE,
    ONLINE,
    ROOT_HOLDERS,
    Trust,
    first_root,
    first_targets,
    sign,
    utc_now,
)
from protocol.bundle import WEIGHTS_ROLE
from protocol.errors import ConfigError, StoreError

TABLE_FILE = "robots.json"
OFFLINE_DIRECTORY = "offline"
ROLES_DIRECTORY = "tuf"
TARGETS_FILE = "targets.json"


@dataclass(frozen=True)
class ServerKeys:
    """What ``wombet-offboard serve`` needs; z85 for CURVE."""

    curve_public: bytes
    curve_secret: bytes = field(repr=False)
    trust: Trust

    @property
    def root(self) -> bytes:
        """The newest root of trust, which new robots get."""
        return self.trust.roots[-1]


def init_server(directory: Path) -> ServerKeys:
    """Make every key of a server in a new directory, the offline ones in ``offline/``.

    Raises:
        ConfigError: the directory exists and is not empty.
        StoreError: it cannot be written.
    """
    _make_private(directory, "make the server's keys")
    roles, offline = directory / ROLES_DIRECTORY, directory / OFFLINE_DIRECTORY
    _make_private(roles, "make the role keys")
    _make_private(offline, "make the offline keys")
    public, secret = zmq.curve_keypair()
    create_durably(directory / "server.public", public)
    create_durably(directory / "server.secret", secret)
    signers = {name: make_role_key(offline / f"{name}.pem") for name in OFFLINE}
    signers |= {name: make_role_key(roles / f"{name}.pem") for name in ONLINE}
    keys, now = {name: signer.public_key for name, signer in signers.items()}, utc_now()
    root = sign(first_root(keys, now), [signers[holder] for holder in ROOT_HOLDERS])
    targets = sign(first_targets(keys[WEIGHTS_ROLE], now), [signers["targets"]])
    create_durably(roles / "1.root.json", root)
    create_durably(roles / TARGETS_FILE, targets)
    write_key_table(directory / TABLE_FILE, [])
    return load_server_keys(directory)


def load_server_keys(directory: Path) -> ServerKeys:
    """The keys made by :func:`init_server`; those in ``offline/`` are not asked for.

    Raises:
        ConfigError: a file is missing, malformed, or readable by others.
    """
    return ServerKeys(
        read_key(directory / "server.public"),
        read_secret(directory / "server.secret"),
        load_trust(directory),
    )


def load_trust(directory: Path) -> Trust:
    """The part of it that signs bundles. Raises as above."""
    roles = directory / ROLES_DIRECTORY
    signers = {role: load_role_key(roles / f"{role}.pem") for role in ONLINE}
    return Trust(signers, tuple(_roots(roles)), read_key(roles / TARGETS_FILE))


def enrol_robot(directory: Path, robot: str, state: Path) -> RobotKey:
    """Give a robot its identity and the root of trust, and let it in.

    Args:
        directory: the server's keys.
        robot: its name; free, or all its former keys revoked.
        state: the robot's state directory, to be carried to the robot.

    Raises:
        ConfigError: the name is taken or malformed, or ``state`` holds an identity already.
        StoreError: a file cannot be written.
    """
    check_robot_name(robot)
    table = read_key_table(directory / TABLE_FILE)
    if any(key.robot == robot and key.active for key in table):
        raise ConfigError(f"{robot} is enrolled; revoke its key first")
    _make_private(state / "keys", f"enrol {robot}")
    _shut(state, f"enrol {robot}")  # the robot's spool will lie here
    _make_private(state / "tuf", f"enrol {robot}")
    create_durably(state / "tuf" / "root.json", load_server_keys(directory).root)
    key = _make_identity(directory, robot, state)
    write_key_table(directory / TABLE_FILE, [*table, key])
    return key


def rotate_robot(directory: Path, robot: str, carrier: Path, until_s: float) -> RobotKey:
    """Give a robot another identity; the one it has ends at ``until_s``.

    A key that may be in wrong hands is revoked instead, and the robot enrolled anew.

    Args:
        directory: the server's keys.
        robot: its name.
        carrier: gets ``keys/``, which replace those in the robot's state directory.
        until_s: Unix time by which the new keys have been carried to the robot.

    Raises:
        ConfigError: the robot has no active key, or ``carrier`` holds an identity already.
        StoreError: a file cannot be written.
    """
    table = _with_active_key(directory, robot)
    _make_private(carrier / "keys", f"change the key of {robot}")
    ending = [
        replace(key, until_s=until_s)
        if key.robot == robot and key.active and key.until_s is None
        else key
        for key in table
    ]
    key = _make_identity(directory, robot, carrier)
    write_key_table(directory / TABLE_FILE, [*ending, key])
    return key


def revoke_robot(directory: Path, robot: str) -> None:
    """Shut a robot out; effective at its next message, on open connections too.

    Raises:
        ConfigError: it has no active key.
        StoreError: the table cannot be written.
    """
    table = _with_active_key(directory, robot)
    revoked = [replace(key, active=key.active and key.robot != robot) for key in table]
    write_key_table(directory / TABLE_FILE, revoked)


def list_robots(directory: Path) -> list[RobotKey]:
    """Every key ever enrolled. Raises ConfigError."""
    return read_key_table(directory / TABLE_FILE)


def _make_private(directory: Path, purpose: str) -> None:
    """An empty directory of mode 0700."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _shut(directory, purpose)
        taken = any(directory.iterdir())
        sync_directory(directory.parent)
    except OSError as error:
        raise StoreError(f"cannot {purpose} in {directory}: {error.strerror}") from error
    if taken:
        raise ConfigError(
            f"cannot {purpose}: {directory} is not empty, and keys are never overwritten"
        )


def _shut(directory: Path, purpose: str) -> None:
    """Nobody else may enter."""
    try:
        directory.chmod(0o700)
    except OSError as error:
        raise StoreError(f"cannot {purpose} in {directory}: {error.strerror}") from error


def _with_active_key(directory: Path, robot: str) -> list[RobotKey]:
    """The table, which holds an active key of ``robot``. Raises ConfigError if it does not."""
    table = read_key_table(directory / TABLE_FILE)
    if not any(key.robot == robot and key.active for key in table):
        raise ConfigError(f"{robot} has no active key; see the list")
    return table


def _make_identity(directory: Path, robot: str, state: Path) -> RobotKey:
    """A pair in ``state``/keys, beside the server's public key."""
    public, secret = zmq.curve_keypair()
    server = read_key(directory / "server.public")
    for name, data in (
        ("robot.public", public),
        ("robot.secret", secret),
        ("server.public", server),
    ):
        create_durably(state / "keys" / name, data)
    return RobotKey(public.decode(), robot)


def _roots(roles: Path) -> Iterator[bytes]:
    """Every root so far, oldest first. Raises ConfigError if there is none."""
    yield read_key(roles / "1.root.json")
    for version in itertools.count(2):
        if not (path := roles / f"{version}.root.json").exists():
            return
        yield read_key(path)
