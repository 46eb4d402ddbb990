"""Releases and assignments in the update repository: signed, listed, and taken out for a unit.

The release manager's key signs both, and is asked for at every step of a rollout; policies, which
change every few minutes, need it never.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from offboard.ceremony import list_files
from offboard.durable_file import write_durably
from offboard.file_lock import waiting_lock
from offboard.fleet.assignments import (
    ASSIGNMENTS_PATH,
    Assignment,
    Assignments,
    assign,
    decode_assignments,
    encode_assignments,
)
from offboard.fleet.modules import Target
from offboard.fleet.release_archive import FOLDER, release_path
from offboard.keys import load_trust
from offboard.publish import LOCK_FILE, open_repository
from offboard.roles import Clock, decode_targets, utc_now
from protocol.bundle import WEIGHTS_ROLE
from protocol.errors import StoreError


class Publication:
    """What a fleet's units find in the repository.

    Args:
        keys: the server's keys.
        repository: the directory that the server serves.
        media: directories with offline keys, that of ``targets`` among them.
        clock: time in UTC.
    """

    def __init__(
        self, keys: Path, repository: Path, media: Sequence[Path], clock: Clock = utc_now
    ) -> None:
        self._keys = keys
        self._repository = repository
        self._media = media
        self._clock = clock

    def assignments(self) -> Assignments:
        """The newest ones that were signed; empty before the first.

        Raises:
            ConfigError: the keys cannot be read.
            StoreError: the repository is not the one that these keys publish in.
        """
        listed = self._listed().targets.get(ASSIGNMENTS_PATH)
        if listed is None:
            return Assignments()
        path = self._file(listed)
        try:
            data = path.read_bytes()
            listed.verify_length_and_hashes(data)
        except (OSError, LengthOrHashMismatchError) as error:
            raise StoreError(
                f"{path}, which was signed, is not there ({error}); name the repository that was "
                "used before, or restore it"
            ) from error
        return decode_assignments(data, str(path))

    def has(self, release: str, target: Target) -> bool:
        """Is this release published for this target?"""
        listed = self._listed().targets.get(release_path(release, target))
        return listed is not None and self._file(listed).is_file()

    def publish(
        self,
        archives: Mapping[str, bytes],
        orders: Mapping[str, Assignment],
        known: set[str],
        kept: Collection[str] = (),
    ) -> Assignments:
        """Sign and publish releases together with who shall run them.

        Args:
            archives: releases that are not published yet, by target path.
            orders: new lines by unit.
            known: every unit of the fleet; lines of others are dropped.
            kept: releases, by id, to be kept although nobody is assigned to them.

        Returns:
            The assignments that are in force now.

        Raises:
            ConfigError: keys are missing.
            StoreError: it cannot be written, or units could not read it; they still see what
                was there before.
        """
        made = assign(self.assignments(), orders, known)
        written = encode_assignments(made)
        decode_assignments(written, "what was to be signed")
        files = {**archives, ASSIGNMENTS_PATH: written}
        for path, data in files.items():
            self._place(TargetFile.from_data(path, data, ["sha256"]), data)
        wanted = {line.release for line in made.units.values()} | set(kept)
        dropped = [
            path
            for path in self._listed().targets
            if path.startswith(f"{FOLDER}/") and _release(path) not in wanted
        ]
        list_files(self._keys, self._media, files, self._clock(), dropped)
        open_repository(self._repository, load_trust(self._keys), self._clock)
        self._prune()
        return made

    def extract(self, releases: Collection[str], place: Path) -> None:
        """Copy what units need that run one of ``releases`` (ids) into ``place``, made anew.

        Raises:
            StoreError: it cannot be read or written.
        """
        try:
            if place.exists():
                shutil.rmtree(place)
            (place / "metadata").mkdir(parents=True, mode=0o700)
            with waiting_lock(self._repository / LOCK_FILE):
                for name, data in self._lists().items():
                    (place / "metadata" / name).write_bytes(data)
            for path, listed in self._listed().targets.items():
                if path == ASSIGNMENTS_PATH or _release(path) in releases:
                    copy = place / "targets" / listed.get_prefixed_paths()[0]
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self._file(listed), copy)
        except OSError as error:
            raise StoreError(f"{place}: the releases cannot be laid out: {error}") from error

    def is_newest(self, place: Path) -> bool:
        """Has nothing been signed since ``place`` was extracted? Raises StoreError."""
        copies = [folder / "metadata" / "timestamp.json" for folder in (place, self._repository)]
        try:
            return copies[0].read_bytes() == copies[1].read_bytes()
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error

    def _listed(self) -> Targets:
        return decode_targets(load_trust(self._keys).targets)

    def _file(self, listed: TargetFile) -> Path:
        return self._repository / "targets" / listed.get_prefixed_paths()[0]

    def _place(self, listed: TargetFile, data: bytes) -> None:
        path = self._file(listed)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)

    def _lists(self) -> dict[str, bytes]:
        """The lists in force and every root, by file name."""
        metadata = self._repository / "metadata"
        newest = (metadata / "timestamp.json").read_bytes()
        version = Metadata[Timestamp].from_bytes(newest).signed.snapshot_meta.version
        names = [f"{version}.snapshot.json"]
        meta = Metadata[Snapshot].from_bytes((metadata / names[0]).read_bytes()).signed.meta
        names += [
            f"{meta[f'{role}.json'].version}.{role}.json" for role in ("targets", WEIGHTS_ROLE)
        ]
        names += [path.name for path in metadata.glob("*.root.json")]
        return {
            "timestamp.json": newest,
            **{name: (metadata / name).read_bytes() for name in names},
        }

    def _prune(self) -> None:
        """Remove releases and assignments that are listed no longer."""
        listed = {self._file(target) for target in self._listed().targets.values()}
        targets = self._repository / "targets"
        for path in (*targets.glob(f"{FOLDER}/*/*"), *targets.glob("fleet/*")):
            if path not in listed:
                path.unlink()


def _release(path: str) -> str:
    """The id in a release's target path."""
    return path.rpartition("/")[2].partition(".")[0] if path.startswith(f"{FOLDER}/") else ""
