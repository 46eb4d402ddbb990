"""Making and keeping keys: the server's CURVE pair, four TUF roles, an identity for each robot.

::

    DIRECTORY/                          STATE/ of a robot
      server.public  server.secret        keys/robot.public  robot.secret  server.public
      tuf/{root,targets,snapshot,          tuf/root.json
           timestamp}.pem
      root.json      robots.json

Secrets are 0600 in directories of 0700, and are never printed. Nothing that exists is overwritten.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from offboard.durable_file import create_durably, sync_directory
from offboard.key_table import (
    RobotKey,
    check_robot_name,
    read_key_table,
    write_key_table,
)
from offboard.publish import ROLES, Signers, make_root, utc_now
from protocol.errors import ConfigError, StoreError

TABLE_FILE = "robots.json"


@dataclass(frozen=True)
class ServerKeys:
    """What ``wombet-offboard serve`` needs; z85 for CURVE."""

    curve_public: bytes
    curve_secret: bytes = field(repr=False)
    signers: Signers = field(repr=False)
    root: bytes = field(repr=False)


def init_server(directory: Path) -> ServerKeys:
    """Make every key of a server in a new directory.

    Raises:
        ConfigError: the directory exists and is not empty.
        StoreError: it cannot be written.
    """
    _make_private(directory, "make the server's keys")
    _make_private(directory / "tuf", "make the role keys")
    public, secret = zmq.curve_keypair()
    signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
    for role, signer in signers.items():
        create_durably(directory / "tuf" / f"{role}.pem", signer.private_bytes)
    root = make_root(signers, utc_now())
    create_durably(directory / "server.public", public)
    create_durably(directory / "server.secret", secret)
    create_durably(directory / "root.json", root)
    write_key_table(directory / TABLE_FILE, [])
    return ServerKeys(public, secret, signers, root)


def load_server_keys(directory: Path) -> ServerKeys:
    """The keys made by :func:`init_server`.

    Raises:
        ConfigError: a file is missing, malformed, or readable by others.
    """
    signers = {role: _signer(directory / "tuf" / f"{role}.pem") for role in ROLES}
    return ServerKeys(
        _read(directory / "server.public"),
        _read_secret(directory / "server.secret"),
        signers,
        _read(directory / "root.json"),
    )


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
    public, secret = zmq.curve_keypair()
    create_durably(state / "keys" / "robot.public", public)
    create_durably(state / "keys" / "robot.secret", secret)
    create_durably(state / "keys" / "server.public", _read(directory / "server.public"))
    create_durably(state / "tuf" / "root.json", _read(directory / "root.json"))
    key = RobotKey(public.decode(), robot)
    write_key_table(directory / TABLE_FILE, [*table, key])
    return key


def revoke_robot(directory: Path, robot: str) -> None:
    """Shut a robot out; effective at its next message, on open connections too.

    Raises:
        ConfigError: it has no active key.
        StoreError: the table cannot be written.
    """
    table = read_key_table(directory / TABLE_FILE)
    if not any(key.robot == robot and key.active for key in table):
        raise ConfigError(f"{robot} has no active key; see the list")
    revoked = [RobotKey(key.public, key.robot, key.active and key.robot != robot) for key in table]
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


def _signer(path: Path) -> CryptoSigner:
    try:
        return CryptoSigner(load_pem_private_key(_read_secret(path), None))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a private key") from error


def _read_secret(path: Path) -> bytes:
    data = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} has mode {mode:o}; others may have read it: make new keys")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); run wombet-offboard keys"
        ) from error
