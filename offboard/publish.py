"""The signed repository robots update from: policy bundles, listed by the ``weights`` role.

Consistent snapshots. A publication appears at once when the new ``timestamp.json`` is renamed into
place; before that robots see the old one, whole. The offline roles are passed on as they are. A
server and somebody who deploys may publish side by side: each takes its turn and first reads what
the other wrote.
Source: FLEET.md § 1; built on ``tuf.api.metadata``, the stable interface.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from offboard.durable_file import sync_directory, write_durably
from offboard.file_lock import waiting_lock
from offboard.roles import (
    LIFETIMES,
    Clock,
    SignedT,
    Trust,
    delegated_keys,
    read_roots,
    read_targets,
    sign,
    utc_now,
    verify,
)
from protocol.bundle import MANIFEST_PATH, WEIGHTS_ROLE, Manifest, encode_manifest
from protocol.errors import BundleError, ConfigError, StoreError

KEPT_WEIGHTS = 5
KEPT_METADATA = 10
LOCK_FILE = ".lock"


def open_repository(directory: Path, trust: Trust, clock: Clock = utc_now) -> Repository:
    """The repository in ``directory``, made there if it is empty.

    Roots and targets that the ceremony has replaced since are taken up, and so are new keys.

    Args:
        directory: gets ``metadata/`` and ``targets/``; what ingest serves.
        trust: from :func:`offboard.keys.load_server_keys`.
        clock: time in UTC.

    Raises:
        ConfigError: roots, targets and keys do not belong together.
        StoreError: it cannot be read or written, or belongs to another root.
    """
    metadata = directory / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    (directory / "targets" / "policy").mkdir(parents=True, exist_ok=True)
    for version, root in enumerate(trust.roots, start=1):
        path = metadata / f"{version}.root.json"
        if not path.exists():
            write_durably(path, root)
        elif path.read_bytes() != root:
            raise StoreError(
                f"{path} is not the root of these keys; use a new repository directory"
            )
    repository = Repository(directory, trust, clock)
    repository.load()
    return repository


class Repository:
    """Publishes bundles; one thread.

    Attributes:
        latest_version: newest published bundle, 0 if none.
    """

    def __init__(self, directory: Path, trust: Trust, clock: Clock) -> None:
        """Raises ConfigError if roots, targets and keys do not belong together."""
        self.directory = directory
        self._metadata = directory / "metadata"
        self._trust = trust
        self._root = read_roots(trust.roots)
        self._targets = read_targets(self._root, trust.targets)
        self._check_keys(self._targets)
        self._clock = clock
        self._timestamp = Timestamp()
        self._snapshot = Snapshot()
        self._weights = Targets()
        self.latest_version = 0

    def load(self) -> None:
        """Read the current state; publish an empty list if there is none.

        What keys signed that are no longer in force is signed again.

        Raises:
            ConfigError: a newer root or list of targets stands for other keys than those at hand;
                nothing is signed.
            StoreError: what is there is damaged.
        """
        with waiting_lock(self.directory / LOCK_FILE):
            self._load()

    def _load(self) -> None:
        self._check_root()
        targets = self._metadata / f"{self._targets.version}.targets.json"
        if not targets.exists():
            write_durably(targets, self._trust.targets)
        if not (self._metadata / "timestamp.json").exists():
            self._commit()
            return
        try:
            self._timestamp = self._read(Timestamp, "timestamp.json")
            version = self._timestamp.snapshot_meta.version
            self._snapshot = self._read(Snapshot, f"{version}.snapshot.json")
            self._take_up(self._snapshot.meta["targets.json"].version)
            version = self._snapshot.meta[f"{WEIGHTS_ROLE}.json"].version
            self._weights = self._read(Targets, f"{version}.{WEIGHTS_ROLE}.json")
        except (OSError, RepositoryError, KeyError) as error:
            raise StoreError(f"repository {self.directory} is damaged: {error}") from error
        self.latest_version = max(map(_bundle_version, self._weights.targets.values()), default=0)
        if not self._in_force():
            self._advance()
            self._commit()

    def publish(self, manifest: Manifest, graph: bytes, weights: bytes) -> int:
        """Make a bundle the newest one, durably.

        Returns:
            Its version, for :attr:`offboard.ingest.Ingest.policy_version`.

        Raises:
            BundleError: the manifest does not name these bytes, or is not newer than the last.
            ConfigError: the keys at hand are not in force any more.
            StoreError: the repository cannot be written; robots still see the previous bundle.
        """
        for name, data, digest in (
            ("graph", graph, manifest.graph_sha256),
            ("weights", weights, manifest.weights_sha256),
        ):
            if hashlib.sha256(data).hexdigest() != digest:
                raise BundleError(f"bundle {manifest.version}: the manifest names another {name}")
        with waiting_lock(self.directory / LOCK_FILE):
            self._load()
            if manifest.version <= self.latest_version:
                raise BundleError(
                    f"bundle {manifest.version} is not newer than {self.latest_version}, published"
                )
            self._publish(manifest, graph, weights)
        return manifest.version

    def _publish(self, manifest: Manifest, graph: bytes, weights: bytes) -> None:
        try:
            self._add(MANIFEST_PATH, encode_manifest(manifest), manifest.version)
            self._add(manifest.graph_path, graph, manifest.version)
            self._add(manifest.weights_path, weights, manifest.version)
            self._drop_old_weights()
            self._advance()
            self._commit()
        except StoreError:
            self._load()
            raise
        self.latest_version = manifest.version
        self._prune()

    def renew(self) -> bool:
        """Sign again if half of the timestamp's life is over; call it now and then.

        Returns:
            Whether it was due.

        Raises:
            ConfigError: the keys at hand are not in force any more.
            StoreError: the repository cannot be written.
        """
        if self._timestamp.expires - self._clock() > LIFETIMES["timestamp"] / 2:
            return False
        with waiting_lock(self.directory / LOCK_FILE):
            self._load()
            self._advance()
            self._commit()
        return True

    def _take_up(self, version: int) -> None:
        """Follow a newer list of targets, which somebody who deploys has published."""
        if version > self._targets.version:
            data = (self._metadata / f"{version}.targets.json").read_bytes()
            targets = read_targets(self._root, data)
            self._check_keys(targets)
            self._targets = targets

    def _check_root(self) -> None:
        """A root that came after ours may have retired our keys: robots would refuse our lists."""
        following = f"{self._root.version + 1}.root.json"
        if (self._metadata / following).exists():
            raise ConfigError(
                f"the root has changed, and the keys of this process may be retired: {following} "
                f"lies in {self._metadata}; restart it with the keys that belong to it"
            )

    def _check_keys(self, targets: Targets) -> None:
        """The signers must be those that root and ``targets`` name."""
        named = {name: self._root.roles[name].keyids for name in ("snapshot", "timestamp")}
        named[WEIGHTS_ROLE] = delegated_keys(targets)
        for role, keyids in named.items():
            if self._trust.signers[role].public_key.keyid not in keyids:
                raise ConfigError(
                    f"the {role} key here is not the one in force; "
                    f"finish its change, wombet-offboard keys rotate-role {role}, then start anew"
                )

    def _in_force(self) -> bool:
        """Are the lists on disk signed by the present keys, and do they name these targets?"""
        weights, snapshot = self._weights.version, self._snapshot.version
        try:
            verify(self._root, "timestamp", (self._metadata / "timestamp.json").read_bytes())
            path = self._metadata / f"{snapshot}.snapshot.json"
            verify(self._root, "snapshot", path.read_bytes())
            path = self._metadata / f"{weights}.{WEIGHTS_ROLE}.json"
            verify(self._targets, WEIGHTS_ROLE, path.read_bytes())
        except RepositoryError:
            return False
        return self._snapshot.meta["targets.json"].version == self._targets.version

    def _add(self, path: str, data: bytes, version: int) -> None:
        """Write a target under the name that carries its hash, and list it."""
        target = TargetFile.from_data(path, data, ["sha256"])
        target.unrecognized_fields["custom"] = {"bundle": version}
        location = self.directory / "targets" / target.get_prefixed_paths()[0]
        if not location.exists():
            write_durably(location, data)
        self._weights.targets[path] = target

    def _drop_old_weights(self) -> None:
        listed = self._weights.targets
        weights = [path for path in listed if path.startswith("policy/weights-")]
        weights.sort(key=lambda path: _bundle_version(listed[path]))
        for path in weights[:-KEPT_WEIGHTS]:
            del listed[path]

    def _advance(self) -> None:
        for signed in (self._weights, self._snapshot, self._timestamp):
            signed.version += 1

    def _commit(self) -> None:
        """Sign all three lists; the timestamp's rename is the publication."""
        now = self._clock()
        self._weights.expires = now + LIFETIMES[WEIGHTS_ROLE]
        self._snapshot.expires = now + LIFETIMES["snapshot"]
        self._timestamp.expires = now + LIFETIMES["timestamp"]
        self._snapshot.meta = {
            "targets.json": MetaFile(version=self._targets.version),
            f"{WEIGHTS_ROLE}.json": MetaFile(version=self._weights.version),
        }
        self._timestamp.snapshot_meta = MetaFile(version=self._snapshot.version)
        self._write(f"{self._weights.version}.{WEIGHTS_ROLE}.json", WEIGHTS_ROLE, self._weights)
        self._write(f"{self._snapshot.version}.snapshot.json", "snapshot", self._snapshot)
        self._write("timestamp.json", "timestamp", self._timestamp)

    def _write(self, name: str, role: str, signed: SignedT) -> None:
        write_durably(self._metadata / name, sign(signed, [self._trust.signers[role]]))

    def _prune(self) -> None:
        """Remove files no robot can be asking for any more."""
        listed = {
            prefixed
            for target in self._weights.targets.values()
            for prefixed in target.get_prefixed_paths()
        }
        policy = self.directory / "targets" / "policy"
        for path in policy.iterdir():
            if f"policy/{path.name}" not in listed:
                path.unlink()
        for role, current in (
            (WEIGHTS_ROLE, self._weights.version),
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


def _bundle_version(target: TargetFile) -> int:
    custom = target.unrecognized_fields.get("custom", {})
    return int(custom.get("bundle", 0))
