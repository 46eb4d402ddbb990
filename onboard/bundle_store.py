"""Policy bundles on the robot: fetched, verified against signatures and this robot, held on disk.

What lies in ``bundles/VERSION/`` has passed every check. Expiry of signatures stops accepting new
bundles, never running the held ones. The version floor is the caller's to keep: it goes into
:meth:`BundleStore.update` and comes out raised, so that a power cut that empties python-tuf's cache
does not open the door to old bundles.
Source: FLEET.md § 1.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from tuf.ngclient.fetcher import FetcherInterface

from onboard.bundle_directory import bundles_of, held_versions
from onboard.control_api import GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE
from onboard.durable import sync
from onboard.graph_check import check_graph
from onboard.signatures import verify_files
from onboard.update_client import UpdateClient
from onboard.version_floor import Floor
from onboard.wall_clock import WallClock
from onboard.weights_check import check_weights
from protocol.bundle import (
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    MANIFEST_PATH,
    WEIGHTS_MAX_BYTES,
    WEIGHTS_ROLE,
    check_manifest,
    decode_manifest,
)
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

KEPT_BUNDLES = 5
SIGNATURES = "signatures"
"""Directory beside a bundle's files, with the lists that prove them."""


class Update(Struct, frozen=True):
    """What an update left: the raised floor and the version newly held, 0 if none."""

    floor: Floor
    version: int = 0


class BundleStore:
    """The bundles of one robot and task under its state directory.

    ``state/tuf/root.json`` is the root of trust given at enrolment, ``state/tuf/cache`` belongs to
    the update client, ``state/bundles`` is ours.
    """

    def __init__(
        self,
        state: Path,
        spec: RobotSpec,
        task: str,
        fetcher: FetcherInterface,
        clock: WallClock,
    ) -> None:
        self._root = state / "tuf" / "root.json"
        self._client = UpdateClient(self._root, state / "tuf" / "cache", fetcher, clock)
        self._bundles = bundles_of(state)
        self._spec = spec
        self._task = task

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
            with _alone(self._root.with_name("lock")):
                return self._update(floor)
        except OSError as error:
            raise BundleError(f"update not stored: {error}") from error

    def prune(self, needed: Collection[int]) -> None:
        """Drop all but the newest few bundles and those ``needed``."""
        for version in self.held()[:-KEPT_BUNDLES]:
            if version not in needed:
                shutil.rmtree(self.directory(version), ignore_errors=True)

    def discard_damaged(self) -> list[int]:
        """Remove held bundles that are not as they were signed; returns their versions.

        It needs neither network nor clock.
        """
        damaged = [version for version in self.held() if not self._is_whole(version)]
        for version in damaged:
            shutil.rmtree(self.directory(version), ignore_errors=True)
        return damaged

    def _update(self, floor: Floor) -> Update:
        floor = self._client.refresh(floor)
        manifest_bytes = self._client.fetch(MANIFEST_PATH, MANIFEST_MAX_BYTES)
        manifest = decode_manifest(manifest_bytes)
        if manifest.version in self.held():
            return Update(floor)
        check_manifest(manifest, self._spec, self._task, floor=floor.bundle - 1)
        held = self._held_graph(manifest.graph_sha256)
        graph = self._client.fetch(manifest.graph_path, GRAPH_MAX_BYTES, held)
        weights = self._client.fetch(manifest.weights_path, WEIGHTS_MAX_BYTES)
        _check_digest("graph", graph, manifest.graph_sha256)
        _check_digest("weights", weights, manifest.weights_sha256)
        check_weights(weights, check_graph(graph, Layout(self._spec)))
        self._lay_out(manifest.version, manifest_bytes, graph, weights)
        return Update(replace(floor, bundle=manifest.version), manifest.version)

    def _held_graph(self, sha256: str) -> bytes | None:
        """The graph of a held bundle of the same architecture, if there is one."""
        for version in reversed(self.held()):
            path = self.directory(version) / GRAPH_FILE
            if path.is_file() and hashlib.sha256(graph := path.read_bytes()).hexdigest() == sha256:
                return graph
        return None

    def _lay_out(self, version: int, manifest: bytes, graph: bytes, weights: bytes) -> None:
        """Files and signatures under their final name at once, durably, or nothing."""
        partial = self._bundles / ".part"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / SIGNATURES).mkdir(parents=True)
        files = {MANIFEST_FILE: manifest, GRAPH_FILE: graph, WEIGHTS_FILE: weights}
        lists = self._client.signatures(WEIGHTS_ROLE)
        files |= {f"{SIGNATURES}/{name}": data for name, data in lists.items()}
        for name, data in files.items():
            (partial / name).write_bytes(data)
            sync(partial / name)
        for directory in (partial / SIGNATURES, partial):
            sync(directory)
        partial.rename(self.directory(version))
        sync(self._bundles)

    def _is_whole(self, version: int) -> bool:
        directory = self.directory(version)
        try:
            data = (directory / MANIFEST_FILE).read_bytes()
            manifest = decode_manifest(data)
            files = {
                MANIFEST_PATH: data,
                manifest.graph_path: (directory / GRAPH_FILE).read_bytes(),
                manifest.weights_path: (directory / WEIGHTS_FILE).read_bytes(),
            }
            lists = {path.name: path.read_bytes() for path in (directory / SIGNATURES).iterdir()}
            verify_files(self._root.read_bytes(), lists, files)
        except (OSError, BundleError):
            return False
        return manifest.version == version


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One update of a robot at a time, whoever does it. Raises BundleError, OSError."""
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleError("another update is under way; try again when it is done") from error
        yield


def _check_digest(name: str, data: bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(f"{name} is not the one its manifest names")
