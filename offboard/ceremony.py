"""What the holders of the offline keys do: replace a key, renew a list, list a release.

New lists are written beside the server's keys; a server takes them up when it is started again, and
robots follow without a visit. A step that was cut short is taken again from its beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Root, TargetFile

from offboard.durable_file import create_durably, write_durably
from offboard.keys import OFFLINE_DIRECTORY, ROLES_DIRECTORY, TARGETS_FILE, load_trust
from offboard.role_keys import find_role_key, root_signers
from offboard.roles import (
    OFFLINE,
    ONLINE,
    Trust,
    decode_targets,
    is_delegated,
    next_root,
    next_targets,
    read_roots,
    sign,
)
from protocol.bundle import WEIGHTS_ROLE
from protocol.errors import ConfigError, StoreError


def rotate_role(directory: Path, media: Sequence[Path], role: str, now: datetime) -> Path:
    """Give ``role`` a new key, and sign the lists that say so.

    Args:
        directory: the server's keys.
        media: directories with offline keys: two root holders' for any role but ``weights``, the
            ``targets`` key's for ``weights`` and ``targets``.
        role: one of ``ONLINE`` or ``OFFLINE``.
        now: in UTC.

    Returns:
        Where the new key lies; an offline one is to be carried away.

    Raises:
        ConfigError: no such role, or not enough keys on ``media``.
        StoreError: a file cannot be written.
    """
    if role not in (*ONLINE, *OFFLINE):
        raise ConfigError(f"no role {role!r}; roles are {', '.join((*ONLINE, *OFFLINE))}")
    trust, new = load_trust(directory), CryptoSigner.generate_ed25519()
    lists: dict[str, bytes] = {}
    if role == WEIGHTS_ROLE:
        lists = _targets(trust, find_role_key(media, "targets"), now, new)
    else:
        root = read_roots(trust.roots)
        signers = [*root_signers(media, root.roles["root"].keyids).values(), new]
        lists = _root(trust, signers, next_root(root, now, role, new.public_key))
        if role == "targets":
            lists |= _targets(trust, new, now)
    path = _keep(directory, role, new)
    _write(directory, lists)
    return path


def renew_root(directory: Path, media: Sequence[Path], now: datetime) -> None:
    """Sign the root again, with a fresh life. Raises ConfigError, StoreError."""
    trust = load_trust(directory)
    root = read_roots(trust.roots)
    signers = root_signers(media, root.roles["root"].keyids)
    _write(directory, _root(trust, [*signers.values()], next_root(root, now)))


def renew_targets(directory: Path, media: Sequence[Path], now: datetime) -> None:
    """Sign the release manager's list again, with a fresh life. Raises ConfigError, StoreError."""
    trust = load_trust(directory)
    _write(directory, _targets(trust, find_role_key(media, "targets"), now))


def list_files(
    directory: Path,
    media: Sequence[Path],
    files: Mapping[str, bytes],
    now: datetime,
    dropped: Collection[str] = (),
) -> dict[str, bytes]:
    """Have the release manager list files of other kinds than policies, such as releases.

    Args:
        directory: the server's keys.
        media: directories with offline keys, the ``targets`` key's among them.
        files: content by target path; a path that is listed already gets the new content.
        now: in UTC.
        dropped: target paths to be listed no longer.

    Returns:
        The same content by the path below ``targets/`` at which a repository serves it.

    Raises:
        ConfigError: a path is the policies', or no medium holds the key.
        StoreError: the list cannot be written.
    """
    trust = load_trust(directory)
    listed = {path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()}
    targets = next_targets(decode_targets(trust.targets), now)
    for path in dropped:
        targets.targets.pop(path, None)
    for path, target in listed.items():
        if is_delegated(targets, path):
            raise ConfigError(f"{path} is for the {WEIGHTS_ROLE} key to list; use another folder")
        targets.targets[path] = target
    _write(directory, {TARGETS_FILE: sign(targets, [find_role_key(media, "targets")])})
    return {target.get_prefixed_paths()[0]: files[path] for path, target in listed.items()}


def _root(trust: Trust, signers: Sequence[Signer], root: Root) -> dict[str, bytes]:
    """The next root by file name, signed by everyone it or its predecessor names."""
    named = {*read_roots(trust.roots).roles["root"].keyids, *root.roles["root"].keyids}
    data = sign(root, [signer for signer in signers if signer.public_key.keyid in named])
    read_roots([*trust.roots, data])
    return {f"{root.version}.root.json": data}


def _targets(
    trust: Trust, manager: Signer, now: datetime, weights: Signer | None = None
) -> dict[str, bytes]:
    """The next list of targets by file name."""
    key = None if weights is None else weights.public_key
    following = next_targets(decode_targets(trust.targets), now, key)
    return {TARGETS_FILE: sign(following, [manager])}


def _keep(directory: Path, role: str, signer: CryptoSigner) -> Path:
    """Put a key in the place of the one it replaces, which is destroyed if it lies here."""
    place = directory / (ROLES_DIRECTORY if role in ONLINE else OFFLINE_DIRECTORY)
    path = place / f"{role}.pem"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be replaced: {error}") from error
    create_durably(path, signer.private_bytes)
    return path


def _write(directory: Path, lists: dict[str, bytes]) -> None:
    for name, data in lists.items():
        write_durably(directory / ROLES_DIRECTORY / name, data)
