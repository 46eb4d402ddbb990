"""Signed lists and files of an update repository: accepted once, durable, never older again.

python-tuf verifies; this adds what it leaves out: a floor of versions that outlives its cache,
forcing that cache to the disk, a clock that must be trusted. Source: FLEET.md § 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from onboard.durable import sync
from onboard.version_floor import Floor
from onboard.wall_clock import WallClock
from protocol.errors import BundleError

_NEWER = "bring a newer copy of the repository that the server serves"


class Listed(NamedTuple):
    """A file as the signed lists know it.

    Attributes:
        path: below ``targets/`` of the repository, where it is served.
        length: in bytes.
        sha256: of its content, in hexadecimal.
    """

    path: str
    length: int
    sha256: str


class UpdateClient:
    """One repository as a robot sees it. Each :meth:`refresh` is a new look."""

    def __init__(
        self,
        root: Path,
        cache: Path,
        fetcher: FetcherInterface,
        clock: WallClock,
        metadata_url: str = "metadata/",
        targets_url: str = "targets/",
    ) -> None:
        """``root`` is the file with the root of trust; ``cache`` belongs to this class."""
        self._root = root
        self._cache = cache
        self._fetcher = fetcher
        self._clock = clock
        self._metadata_url = metadata_url
        self._targets_url = targets_url
        self._updater: Updater | None = None

    def refresh(self, floor: Floor) -> Floor:
        """Look what is published; what is accepted is on the disk when this returns.

        Returns:
            The raised floor, to be kept before anything fetched is used.

        Raises:
            BundleError: unreachable, badly signed, expired, older than ``floor``, or the clock is
                not to be trusted.
        """
        now_s = self._clock.now_s(floor.seen_s)
        with _refusing():
            self._cache.mkdir(parents=True, exist_ok=True)
            self._updater = Updater(
                metadata_dir=str(self._cache),
                metadata_base_url=self._metadata_url,
                target_base_url=self._targets_url,
                fetcher=self._fetcher,
                bootstrap=self._root.read_bytes(),
            )
            self._updater.refresh()
            found = self._accepted(floor, now_s)
            if role := floor.fallen(found):
                raise BundleError(
                    f"update refused: the {role} list is older than one seen before, "
                    f"{found.version(role)} after {floor.version(role)}; {_NEWER}"
                )
            for path in (*self._cache.rglob("*"), self._cache):
                sync(path)
        return found

    def fetch(self, path: str, max_bytes: int, held: bytes | None = None) -> bytes:
        """A signed file's verified bytes; ``held`` if that is what was signed.

        Raises:
            BundleError: not in the signed lists, too large, unreachable or altered.
        """
        with _refusing():
            updater, info = self._found(path, max_bytes)
            if held is not None and _is_signed(info, held):
                return held
            landing = self._cache / ".landing"
            updater.download_target(info, str(landing))
            data = landing.read_bytes()
            landing.unlink()
        return data

    def listed(self, path: str, max_bytes: int) -> Listed:
        """Where a signed file is served and what it has to be, for one too large for memory.

        Raises:
            BundleError: not in the signed lists, too large, or listed without a SHA-256.
        """
        with _refusing():
            _, info = self._found(path, max_bytes)
        if "sha256" not in info.hashes:
            raise BundleError(f"update refused: {path} is listed without a SHA-256")
        directory, _, name = path.rpartition("/")
        digest = info.hashes["sha256"]
        return Listed(f"{directory}/{digest}.{name}".lstrip("/"), info.length, digest)

    def served(self) -> dict[str, bytes]:
        """The lists last accepted, by the name under which a repository serves them in metadata/.

        Raises:
            BundleError: the cache cannot be read.
        """
        with _refusing():
            lists = {
                path.name: path.read_bytes()
                for path in sorted((self._cache / "root_history").glob("*.root.json"))
            }
            for role in (Snapshot.type, Targets.type):
                data = (self._cache / f"{role}.json").read_bytes()
                lists[f"{Metadata[Targets].from_bytes(data).signed.version}.{role}.json"] = data
            return {**lists, "timestamp.json": (self._cache / "timestamp.json").read_bytes()}

    def signatures(self, role: str) -> dict[str, bytes]:
        """The lists that prove what ``role`` signed, by file name, without the root of trust.

        Raises:
            BundleError: the cache cannot be read.
        """
        with _refusing():
            roots = sorted((self._cache / "root_history").glob("*.root.json"))
            return {
                path.name: path.read_bytes()
                for path in (*roots, self._cache / "targets.json", self._cache / f"{role}.json")
            }

    def _found(self, path: str, max_bytes: int) -> tuple[Updater, TargetFile]:
        """What the signed lists say about ``path``."""
        if self._updater is None:
            raise BundleError(f"{path} was asked for before any refresh")
        info = self._updater.get_targetinfo(path)
        if info is None:
            raise BundleError(f"update refused: the signed lists have no {path}")
        if info.length > max_bytes:
            raise BundleError(f"update refused: {path} of {info.length} bytes exceeds {max_bytes}")
        return self._updater, info

    def _accepted(self, floor: Floor, now_s: int) -> Floor:
        """What python-tuf has just verified and written."""
        root = Metadata[Root].from_file(str(self._cache / "root.json")).signed
        timestamp = Metadata[Timestamp].from_file(str(self._cache / "timestamp.json")).signed
        snapshot = Metadata[Snapshot].from_file(str(self._cache / "snapshot.json")).signed
        lists = {name.removesuffix(".json"): meta.version for name, meta in snapshot.meta.items()}
        lists |= {"timestamp": timestamp.version, "snapshot": snapshot.version}
        keyids = [*root.roles["timestamp"].keyids, "", *root.roles["snapshot"].keyids]
        keys = hashlib.sha256(" ".join(keyids).encode()).hexdigest()
        return Floor(root.version, lists, keys, floor.bundle, max(now_s, floor.seen_s))


@contextmanager
def _refusing() -> Iterator[None]:
    """What python-tuf and the disk raise, as our family."""
    try:
        yield
    except DownloadError as error:
        raise BundleError(f"update not fetched: {error}") from error
    except BadVersionNumberError as error:
        refusal = f"update refused: {type(error).__name__}: {error}"
        raise BundleError(f"{refusal.rstrip('.')}; {_NEWER}") from error
    except RepositoryError as error:
        raise BundleError(f"update refused: {type(error).__name__}: {error}") from error
    except OSError as error:
        raise BundleError(f"update not stored: {error}") from error


def _is_signed(info: TargetFile, data: bytes) -> bool:
    try:
        info.verify_length_and_hashes(data)
    except LengthOrHashMismatchError:
        return False
    return True
