"""Who this robot is to its server: a CURVE key pair and the server's public key, on disk as z85.

``keys/robot.secret`` (0600), ``keys/robot.public`` and ``keys/server.public`` in the robot's state
directory, written by ``wombet-offboard keys`` at enrolment.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from protocol.errors import ConfigError

_Z85_KEY_CHARS = 40


@dataclass(frozen=True)
class Identity:
    """z85 keys; the secret never appears in a repr."""

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes


def load_identity(directory: Path) -> Identity:
    """Read and check the keys in ``directory``.

    Raises:
        ConfigError: a file is missing, no key, readable by others, or the pair does not match.
    """
    secret_path = directory / "robot.secret"
    identity = Identity(
        public=_key(directory / "robot.public"),
        secret=_key(secret_path),
        server=_key(directory / "server.public"),
    )
    mode = stat.S_IMODE(secret_path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{secret_path} has mode {mode:o}, so others may have read it: enrol the robot again"
        )
    try:
        matches = zmq.curve_public(identity.secret) == identity.public
    except (ValueError, zmq.ZMQError):
        matches = False
    if not matches:
        raise ConfigError(f"{directory}: robot.public does not belong to robot.secret")
    return identity


def _key(path: Path) -> bytes:
    try:
        text = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); enrol this robot: wombet-offboard keys"
        ) from error
    if len(text) != _Z85_KEY_CHARS or not text.isascii():
        raise ConfigError(f"{path} holds no z85 key of {_Z85_KEY_CHARS} characters")
    return text
