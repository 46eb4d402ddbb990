"""Policy bundles on the robot: fetched, verified against signatures and this robot, held on disk.

What lies in ``bundles/VERSION/`` has passed every check. Expiry of signatures stops accepting new
bundles, never running the held ones. The version floor is the caller's to keep: it goes into
:meth:`BundleStore.update` and comes out raised, so that a power cut that empties python-tuf's cache
does not open the door to old bundles.
Source: FLEET.md § 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from onboard.bundle_directory import bundles_of, held_versions
from onboard.control_api import GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE
from onboard.graph_check import check_graph
from onboard.version_floor import Floor, highest
from onboard.weights_check import check_weights
from protocol.bundle import (
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    MANIFEST_PATH,
    WEIGHTS_MAX_BYTES,
    Manifest,
    check_manifest,
    decode_manifest,
)
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

KEPT_BUNDLES = 5
_ROLES = ("root", "timestamp", "snapshot", "targets")


class Update(Struct, frozen=True):
    """What an update left: the raised floor and the version newly held, 0 if none."""

    floor: Floor
    version: int = 0


class BundleStore:
    """The bundles of one robot and task under its state directory.

    ``state/tuf/root.json`` is the root of trust given at enrolment, ``state/tuf/cache`` belongs to
    python-tuf, ``state/bundles`` is ours.
    """

    def __init__(self, state: Path, spec: RobotSpec, task: str, fetcher: FetcherInterface) -> None:
        self._root = state / "tuf" / "root.json"
        self._cache = state / "tuf" / "cache"
        self._bundles = bundles_of(state)
        self._spec = spec
        self._task = task
        self._fetcher = fetcher

    def directory(self, version: int) -> Path:
        """Where a held bundle lies."""
        return self._bundles / str(version)

    def held(self) -> list[int]:
        """Versions held, ascending."""
        return held_versions(self._bundles)

    def update(self, floor: Floor) -> Update:
        """Fetch the newest bundle if it is not held; verify everything on the way.

        Raises:
            BundleError: unreachable, badly signed, expired, older than ``floor``, for another
                robot, or not fit to run. What is held stays as it is.
        """
        try:
            return self._update(floor)
        except DownloadError as error:
            raise BundleError(f"update not fetched: {error}") from error
        except RepositoryError as error:
            raise BundleError(f"update refused: {type(error).__name__}: {error}") from error
        except OSError as error:
            raise BundleError(f"update not stored: {error}") from error

    def prune(self, needed: Collection[int]) -> None:
        """Drop all but the newest few bundles and those ``needed``."""
        for version in self.held()[:-KEPT_BUNDLES]:
            if version not in needed:
                shutil.rmtree(self.directory(version), ignore_errors=True)

    def discard_damaged(self) -> list[int]:
        """Remove held bundles whose files are not those of their manifest; returns the versions."""
        damaged = [version for version in self.held() if not self._is_whole(version)]
        for version in damaged:
            shutil.rmtree(self.directory(version), ignore_errors=True)
        return damaged

    def _update(self, floor: Floor) -> Update:
        self._cache.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            metadata_dir=str(self._cache),
            metadata_base_url="metadata/",
            target_base_url="targets/",
            fetcher=self._fetcher,
            bootstrap=self._root.read_bytes(),
        )
        updater.refresh()
        floor = self._raised(floor)
        manifest_bytes = self._target(updater, MANIFEST_PATH, MANIFEST_MAX_BYTES)
        manifest = decode_manifest(manifest_bytes)
        if manifest.version in self.held():
            return Update(floor)
        check_manifest(manifest, self._spec, self._task, floor=floor.bundle - 1)
        graph = self._graph(updater, manifest)
        weights = self._target(updater, manifest.weights_path, WEIGHTS_MAX_BYTES)
        _check_digest("graph", graph, manifest.graph_sha256)
        _check_digest("weights", weights, manifest.weights_sha256)
        check_weights(weights, check_graph(graph, Layout(self._spec)))
        self._lay_out(manifest.version, manifest_bytes, graph, weights)
        return Update(highest(floor, Floor(bundle=manifest.version)), manifest.version)

    def _raised(self, floor: Floor) -> Floor:
        """Sync the refreshed metadata to disk and raise the floor to it."""
        versions = {}
        for role in _ROLES:
            path = self._cache / f"{role}.json"
            versions[role] = Metadata.from_file(str(path)).signed.version
            if versions[role] < getattr(floor, role):
                raise BundleError(
                    f"update refused: {role} version {versions[role]} is older than "
                    f"{getattr(floor, role)}, seen before"
                )
        for path in self._cache.rglob("*"):
            _sync(path)
        _sync(self._cache)
        return Floor(**versions, bundle=floor.bundle)

    def _graph(self, updater: Updater, manifest: Manifest) -> bytes:
        """The graph, from a held bundle of the same architecture if there is one."""
        for version in reversed(self.held()):
            path = self.directory(version) / GRAPH_FILE
            if path.is_file():
                graph = path.read_bytes()
                if hashlib.sha256(graph).hexdigest() == manifest.graph_sha256:
                    return graph
        return self._target(updater, manifest.graph_path, GRAPH_MAX_BYTES)

    def _target(self, updater: Updater, path: str, max_bytes: int) -> bytes:
        """A signed target's verified bytes."""
        info: TargetFile | None = updater.get_targetinfo(path)
        if info is None:
            raise BundleError(f"update refused: the signed list has no {path}")
        if info.length > max_bytes:
            raise BundleError(f"update refused: {path} of {info.length} bytes exceeds {max_bytes}")
        landing = self._bundles / ".part" / "target"
        updater.download_target(info, str(landing))
        return landing.read_bytes()

    def _lay_out(self, version: int, manifest: bytes, graph: bytes, weights: bytes) -> None:
        """All three files under their final name at once, durably, or nothing."""
        partial = self._bundles / ".part"
        shutil.rmtree(partial)
        partial.mkdir()
        files = ((MANIFEST_FILE, manifest), (GRAPH_FILE, graph), (WEIGHTS_FILE, weights))
        for name, data in files:
            (partial / name).write_bytes(data)
            _sync(partial / name)
        _sync(partial)
        partial.rename(self.directory(version))
        _sync(self._bundles)

    def _is_whole(self, version: int) -> bool:
        directory = self.directory(version)
        try:
            manifest = decode_manifest((directory / MANIFEST_FILE).read_bytes())
            _check_digest("graph", (directory / GRAPH_FILE).read_bytes(), manifest.graph_sha256)
            weights = (directory / WEIGHTS_FILE).read_bytes()
            _check_digest("weights", weights, manifest.weights_sha256)
        except (OSError, BundleError):
            return False
        return manifest.version == version


def _check_digest(name: str, data: bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(f"{name} is not the one its manifest names")


def _sync(path: Path) -> None:
    """Force a file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
