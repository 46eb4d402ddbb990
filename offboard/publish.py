"""The signed repository robots update from: the smallest that TUF allows.

Four roles with a key each, consistent snapshots. A publication appears at once when the new
``timestamp.json`` is renamed into place; before that robots see the old one, whole.
Source: FLEET.md § 1; built on ``tuf.api.metadata``, the stable interface.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from offboard.durable_file import sync_directory, write_durably
from protocol.bundle import MANIFEST_PATH, Manifest, encode_manifest
from protocol.errors import BundleError, StoreError

ROLES = ("root", "targets", "snapshot", "timestamp")
KEPT_WEIGHTS = 5
KEPT_METADATA = 10
LIFETIMES = {
    "root": timedelta(days=3650),
    "targets": timedelta(days=365),
    "snapshot": timedelta(days=365),
    "timestamp": timedelta(days=7),
}

Signers = Mapping[str, Signer]
Clock = Callable[[], datetime]
SignedT = TypeVar("SignedT", Root, Targets, Snapshot, Timestamp)


def utc_now() -> datetime:
    """Now, in whole seconds, as TUF writes it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def make_root(signers: Signers, now: datetime) -> bytes:
    """The signed root of trust that robots get at enrolment: one key for each role."""
    root = Root(expires=now + LIFETIMES["root"], consistent_snapshot=True)
    for role in ROLES:
        root.add_key(signers[role].public_key, role)
    return _signed(root, signers["root"])


def open_repository(
    directory: Path, signers: Signers, root: bytes, clock: Clock = utc_now
) -> Repository:
    """The repository in ``directory``, made there if it is empty.

    Args:
        directory: gets ``metadata/`` and ``targets/``; what ingest serves.
        signers: one for each of ``ROLES`` but root.
        root: from :func:`make_root`.
        clock: time in UTC.

    Raises:
        StoreError: it cannot be read or written, or belongs to another root.
    """
    metadata = directory / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    (directory / "targets" / "policy").mkdir(parents=True, exist_ok=True)
    first = metadata / "1.root.json"
    if not first.exists():
        write_durably(first, root)
    elif first.read_bytes() != root:
        raise StoreError(f"{first} is not the root of these keys; use a new repository directory")
    repository = Repository(directory, signers, clock)
    repository.load()
    return repository


class Repository:
    """Publishes bundles. One process at a time, one thread.

    Attributes:
        latest_version: newest published bundle, 0 if none.
    """

    def __init__(self, directory: Path, signers: Signers, clock: Clock) -> None:
        self.directory = directory
        self._metadata = directory / "metadata"
        self._signers = signers
        self._clock = clock
        self._timestamp = Timestamp()
        self._snapshot = Snapshot()
        self._targets = Targets()
        self.latest_version = 0

    def load(self) -> None:
        """Read the current state; publish an empty list if there is none.

        Raises:
            StoreError: what is there is damaged.
        """
        if not (self._metadata / "timestamp.json").exists():
            self._commit()
            return
        try:
            self._timestamp = self._read(Timestamp, "timestamp.json")
            version = self._timestamp.snapshot_meta.version
            self._snapshot = self._read(Snapshot, f"{version}.snapshot.json")
            version = self._snapshot.meta["targets.json"].version
            self._targets = self._read(Targets, f"{version}.targets.json")
        except (OSError, RepositoryError, KeyError) as error:
            raise StoreError(f"repository {self.directory} is damaged: {error}") from error
        self.latest_version = max(map(_bundle_version, self._targets.targets.values()), default=0)

    def publish(self, manifest: Manifest, graph: bytes, weights: bytes) -> int:
        """Make a bundle the newest one, durably.

        Returns:
            Its version, for :attr:`offboard.ingest.Ingest.policy_version`.

        Raises:
            BundleError: the manifest does not name these bytes, or is not newer than the last.
            StoreError: the repository cannot be written; robots still see the previous bundle.
        """
        if manifest.version <= self.latest_version:
            raise BundleError(
                f"bundle {manifest.version} is not newer than {self.latest_version}, published"
            )
        for name, data, digest in (
            ("graph", graph, manifest.graph_sha256),
            ("weights", weights, manifest.weights_sha256),
        ):
            if hashlib.sha256(data).hexdigest() != digest:
                raise BundleError(f"bundle {manifest.version}: the manifest names another {name}")
        try:
            self._add(MANIFEST_PATH, encode_manifest(manifest), manifest.version)
            self._add(manifest.graph_path, graph, manifest.version)
            self._add(manifest.weights_path, weights, manifest.version)
            self._drop_old_weights()
            self._advance()
            self._commit()
        except StoreError:
            self.load()
            raise
        self.latest_version = manifest.version
        self._prune()
        return manifest.version

    def renew(self) -> bool:
        """Sign again if half of the timestamp's life is over; call it now and then.

        Returns:
            Whether it was due.

        Raises:
            StoreError: the repository cannot be written.
        """
        if self._timestamp.expires - self._clock() > LIFETIMES["timestamp"] / 2:
            return False
        self._advance()
        self._commit()
        return True

    def _add(self, path: str, data: bytes, version: int) -> None:
        """Write a target under the name that carries its hash, and list it."""
        target = TargetFile.from_data(path, data, ["sha256"])
        target.unrecognized_fields["custom"] = {"bundle": version}
        location = self.directory / "targets" / target.get_prefixed_paths()[0]
        if not location.exists():
            write_durably(location, data)
        self._targets.targets[path] = target

    def _drop_old_weights(self) -> None:
        listed = self._targets.targets
        weights = [path for path in listed if path.startswith("policy/weights-")]
        weights.sort(key=lambda path: _bundle_version(listed[path]))
        for path in weights[:-KEPT_WEIGHTS]:
            del listed[path]

    def _advance(self) -> None:
        for signed in (self._targets, self._snapshot, self._timestamp):
            signed.version += 1

    def _commit(self) -> None:
        """Sign all three lists; the timestamp's rename is the publication."""
        for signed in (self._targets, self._snapshot, self._timestamp):
            signed.expires = self._clock() + LIFETIMES[signed.type]
        self._snapshot.meta["targets.json"] = MetaFile(version=self._targets.version)
        self._timestamp.snapshot_meta = MetaFile(version=self._snapshot.version)
        self._write(f"{self._targets.version}.targets.json", self._targets)
        self._write(f"{self._snapshot.version}.snapshot.json", self._snapshot)
        self._write("timestamp.json", self._timestamp)

    def _write(self, name: str, signed: SignedT) -> None:
        write_durably(self._metadata / name, _signed(signed, self._signers[signed.type]))

    def _prune(self) -> None:
        """Remove files no robot can be asking for any more."""
        listed = {
            prefixed
            for target in self._targets.targets.values()
            for prefixed in target.get_prefixed_paths()
        }
        policy = self.directory / "targets" / "policy"
        for path in policy.iterdir():
            if f"policy/{path.name}" not in listed:
                path.unlink()
        for role, current in (
            ("targets", self._targets.version),
            ("snapshot", self._snapshot.version),
        ):
            for path in self._metadata.glob(f"*.{role}.json"):
                number = path.name.partition(".")[0]
                if number.isdigit() and int(number) <= current - KEPT_METADATA:
                    path.unlink()
        sync_directory(policy)

    def _read(self, kind: type[SignedT], name: str) -> SignedT:
        signed = Metadata[SignedT].from_file(str(self._metadata / name)).signed
        if not isinstance(signed, kind):
            raise RepositoryError(f"{name} is not a {kind.__name__}")
        return signed


def _signed(signed: SignedT, signer: Signer) -> bytes:
    metadata = Metadata(signed)
    metadata.sign(signer)
    return metadata.to_bytes()


def _bundle_version(target: TargetFile) -> int:
    custom = target.unrecognized_fields.get("custom", {})
    return int(custom.get("bundle", 0))
