"""The private keys of the repository's roles, on disk: PEM, 0600, never overwritten by accident."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer

from offboard.durable_file import create_durably
from offboard.roles import ROOT_HOLDERS, ROOT_THRESHOLD
from protocol.errors import ConfigError


def make_role_key(path: Path) -> CryptoSigner:
    """A new key in ``path``, which must not exist. Raises StoreError."""
    signer = CryptoSigner.generate_ed25519()
    create_durably(path, signer.private_bytes)
    return signer


def load_role_key(path: Path) -> CryptoSigner:
    """The key in ``path``.

    Raises:
        ConfigError: it is missing, malformed, or readable by others.
    """
    try:
        return CryptoSigner(load_pem_private_key(read_secret(path), None))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a private key") from error


def root_signers(media: Iterable[Path], keyids: Sequence[str]) -> dict[str, Signer]:
    """Keys of root holders found on ``media`` and named in ``keyids``, by holder.

    Raises:
        ConfigError: too few to sign a root.
    """
    found: dict[str, Signer] = {}
    for medium in media:
        for holder in ROOT_HOLDERS:
            if (path := medium / f"{holder}.pem").exists():
                signer = load_role_key(path)
                if signer.public_key.keyid in keyids:
                    found[holder] = signer
    if len(found) < ROOT_THRESHOLD:
        raise ConfigError(
            f"{len(found)} of the {ROOT_THRESHOLD} root keys that must sign were found on "
            f"{[str(medium) for medium in media]}; mount another holder's medium"
        )
    return found


def find_role_key(media: Iterable[Path], role: str) -> CryptoSigner:
    """The offline key of ``role``. Raises ConfigError if no medium holds it."""
    for medium in media:
        if (path := medium / f"{role}.pem").exists():
            return load_role_key(path)
    raise ConfigError(f"no medium holds {role}.pem; mount the {role} key's")


def read_secret(path: Path) -> bytes:
    """The content of a file that only its owner may read. Raises ConfigError."""
    data = read_key(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} has mode {mode:o}; others may have read it: make new keys")
    return data


def read_key(path: Path) -> bytes:
    """The content of a key file. Raises ConfigError naming the remedy."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); run wombet-offboard keys"
        ) from error
