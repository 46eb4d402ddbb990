"""Is a held bundle what was signed? Without network and without clock: from its own signatures.

A bundle keeps the lists that proved it when it was accepted. Expiry and keys replaced since stop
new bundles; they do not stop one that is held. Pure. Source: FLEET.md § 1, gap 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from protocol.bundle import WEIGHTS_ROLE
from protocol.errors import BundleError

TARGETS_LIST = "targets.json"
WEIGHTS_LIST = f"{WEIGHTS_ROLE}.json"


def verify_files(root: bytes, signatures: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    """Follow the chain from the root of trust to every file.

    Args:
        root: the root of trust this robot was enrolled with.
        signatures: lists by file name, from :meth:`onboard.update_client.UpdateClient.signatures`.
        files: content by target path.

    Raises:
        BundleError: a link is missing or broken.
    """
    try:
        trusted = _newest_root(root, signatures)
        targets = Metadata[Targets].from_bytes(signatures[TARGETS_LIST])
        trusted.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
        weights = Metadata[Targets].from_bytes(signatures[WEIGHTS_LIST])
        targets.signed.verify_delegate(WEIGHTS_ROLE, weights.signed_bytes, weights.signatures)
        for path, data in files.items():
            _check_path(targets.signed, path)
            weights.signed.targets[path].verify_length_and_hashes(data)
    except KeyError as error:
        raise BundleError(f"signatures lack {error}") from error
    except (RepositoryError, ValueError, AttributeError) as error:
        raise BundleError(f"signatures do not hold: {type(error).__name__}: {error}") from error


def _newest_root(root: bytes, signatures: Mapping[str, bytes]) -> Root:
    """The end of the chain of roots, each signed by itself and by the one before."""
    trusted = Metadata[Root].from_bytes(root).signed
    while (name := f"{trusted.version + 1}.root.json") in signatures:
        following = Metadata[Root].from_bytes(signatures[name])
        for delegator in (trusted, following.signed):
            delegator.verify_delegate(Root.type, following.signed_bytes, following.signatures)
        if following.signed.version != trusted.version + 1:
            raise RepositoryError(f"{name} has version {following.signed.version}")
        trusted = following.signed
    return trusted


def _check_path(targets: Targets, path: str) -> None:
    roles = targets.delegations.get_roles_for_target(path) if targets.delegations else ()
    if WEIGHTS_ROLE not in {name for name, _ in roles}:
        raise RepositoryError(f"{WEIGHTS_ROLE} may not sign {path}")
