"""Who signs what in the update repository. Pure: keys and a time in, signed bytes out.

::

    root       2 of 3 keys, offline   names the keys of the four roles above the line
    targets    1 key, offline         lists releases; hands policy/* to weights
    snapshot   1 key, on the server   which versions of the lists belong together
    timestamp  1 key, on the server   which snapshot is the present one; expires within days
    -----------------------------------------------------------------------------------------
    weights    1 key, on the server   policy bundles; may sign no path but policy/*

Whoever takes the server has the three keys that lie on it, and loses them when the holders of the
offline keys name others. Source: FLEET.md § 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from protocol.bundle import WEIGHTS_PATHS, WEIGHTS_ROLE
from protocol.errors import ConfigError

ROOT_HOLDERS = ("root-1", "root-2", "root-3")
ROOT_THRESHOLD = 2
OFFLINE = (*ROOT_HOLDERS, "targets")
ONLINE = ("snapshot", "timestamp", WEIGHTS_ROLE)
LIFETIMES = {
    "root": timedelta(days=1825),
    "targets": timedelta(days=365),
    "snapshot": timedelta(days=30),
    "timestamp": timedelta(days=7),
    WEIGHTS_ROLE: timedelta(days=30),
}

_HOLDER = "x-wombet-holder"

Signers = Mapping[str, Signer]
Clock = Callable[[], datetime]
SignedT = TypeVar("SignedT", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Trust:
    """What a server needs to publish.

    Attributes:
        signers: one for each of ``ONLINE``.
        roots: every root of trust so far, signed, oldest first.
        targets: the release manager's signed list.
    """

    signers: Signers = field(repr=False)
    roots: tuple[bytes, ...] = field(repr=False)
    targets: bytes = field(repr=False)


def utc_now() -> datetime:
    """Now, in whole seconds, as TUF writes it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def first_root(keys: Mapping[str, Key], now: datetime) -> Root:
    """The root of trust that robots are enrolled with.

    Args:
        keys: a public key for each of ``OFFLINE`` and ``ONLINE``.
        now: its life begins.
    """
    root = Root(expires=now + LIFETIMES["root"], consistent_snapshot=True)
    for holder in ROOT_HOLDERS:
        root.add_key(held_by(holder, keys[holder]), "root")
    root.roles["root"].threshold = ROOT_THRESHOLD
    for role in ("targets", "snapshot", "timestamp"):
        root.add_key(held_by(role, keys[role]), role)
    return root


def first_targets(weights: Key, now: datetime) -> Targets:
    """A list without files that hands ``policy/*`` to the ``weights`` key."""
    role = DelegatedRole(WEIGHTS_ROLE, [], 1, terminating=True, paths=[*WEIGHTS_PATHS])
    targets = Targets(
        expires=now + LIFETIMES["targets"], delegations=Delegations({}, {WEIGHTS_ROLE: role})
    )
    targets.add_key(weights, WEIGHTS_ROLE)
    return targets


def next_root(root: Root, now: datetime, holder: str = "", key: Key | None = None) -> Root:
    """The root after ``root``: with a fresh life, and ``holder``'s key replaced if one is given."""
    following = _decoded(Root, Metadata(root).to_bytes())
    following.version += 1
    following.expires = now + LIFETIMES["root"]
    if key is not None:
        role = "root" if holder in ROOT_HOLDERS else holder
        for keyid in [*following.roles[role].keyids]:
            if following.keys[keyid].unrecognized_fields[_HOLDER] == holder:
                following.revoke_key(keyid, role)
        following.add_key(held_by(holder, key), role)
    return following


def next_targets(targets: Targets, now: datetime, weights: Key | None = None) -> Targets:
    """The list after ``targets``: with a fresh life, and a new ``weights`` key if one is given."""
    following = _decoded(Targets, Metadata(targets).to_bytes())
    following.version += 1
    following.expires = now + LIFETIMES["targets"]
    if weights is not None:
        for keyid in delegated_keys(following):
            following.revoke_key(keyid, WEIGHTS_ROLE)
        following.add_key(weights, WEIGHTS_ROLE)
    return following


def held_by(holder: str, key: Key) -> Key:
    """``key`` with a note of whose it is, by which it is found when it is replaced."""
    key.unrecognized_fields[_HOLDER] = holder
    return key


def delegated_keys(targets: Targets) -> list[str]:
    """Ids of the keys that may sign policy bundles."""
    roles = (targets.delegations or Delegations({}, {})).roles or {}
    return [*roles[WEIGHTS_ROLE].keyids]


def is_delegated(targets: Targets, path: str) -> bool:
    """Is ``path`` another role's to list?"""
    return targets.delegations is not None and any(targets.delegations.get_roles_for_target(path))


def sign(signed: SignedT, signers: Iterable[Signer]) -> bytes:
    """Metadata bytes with one signature of each of ``signers``."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def read_roots(roots: Sequence[bytes]) -> Root:
    """The last of a chain of roots, each signed by itself and by the one before.

    Raises:
        ConfigError: the chain is broken or empty.
    """
    try:
        trusted = _decoded(Root, roots[0])
        for number, data in enumerate(roots, start=1):
            root = _decoded(Root, data)
            for delegator in (trusted, root):
                verify(delegator, "root", data)
            if root.version != number:
                raise RepositoryError(f"root {root.version} stands where {number} should")
            trusted = root
    except (RepositoryError, IndexError) as error:
        raise ConfigError(f"the roots of trust do not follow from one another: {error}") from error
    return trusted


def read_targets(root: Root, data: bytes) -> Targets:
    """The release manager's list. Raises ConfigError if ``root`` does not stand for it."""
    try:
        verify(root, "targets", data)
        return _decoded(Targets, data)
    except RepositoryError as error:
        raise ConfigError(
            f"the list of targets is not signed by the root's key for it ({error}); "
            "wombet-offboard keys renew signs it again"
        ) from error


def decode_targets(data: bytes) -> Targets:
    """The list in ``data``, whoever signed it. Raises ConfigError if there is none."""
    try:
        return _decoded(Targets, data)
    except RepositoryError as error:
        raise ConfigError(f"the list of targets cannot be read: {error}") from error


def verify(delegator: Root | Targets, role: str, data: bytes) -> None:
    """Raises RepositoryError unless ``data`` is signed by ``role``'s keys, says ``delegator``."""
    metadata = Metadata[Root].from_bytes(data)
    delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def _decoded(kind: type[SignedT], data: bytes) -> SignedT:
    signed = Metadata[SignedT].from_bytes(data).signed
    if not isinstance(signed, kind):
        raise RepositoryError(f"a {signed.type} list stands where {kind.type} should")
    return signed
