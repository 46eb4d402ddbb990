"""Is everything still what was written? Checksums of packed records and of archived episodes.

What is found damaged in the store is named first and put in order then: mended where something else
remembers it, declared lost where nothing does, so that nobody takes its absence for a mistake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from offboard.data.catalogue import Archived, Catalogue, Packed
from offboard.data.recording import read_recording
from offboard.losses import Loss
from offboard.store_check import Findings
from protocol.errors import StoreError


class Damage(NamedTuple):
    """Something that is not what was written: which episode, or which records, and how."""

    what: str
    fault: str


class Verdict(NamedTuple):
    """How much was checked, what is damaged, what was put in order in the store, and what is lost.

    ``losses`` are those of each robot that has any, on record before or since; a loss that is on
    record is no damage.
    """

    episodes: int
    batches: int
    damage: list[Damage]
    losses: dict[str, list[Loss]]
    put_in_order: Findings = Findings()

    @property
    def sound(self) -> bool:
        """Whether everything is what was written."""
        return not self.damage and self.put_in_order == Findings()


def verify_run(catalogue: Catalogue, archive: Path) -> Verdict:
    """Check every packed batch and every archived episode of every robot, then mend the store."""
    verdict = _inspect(catalogue, archive)
    try:
        put_in_order = catalogue.examine()
        losses = {robot: catalogue.losses(robot) for robot in catalogue.robots()}
        known = {robot: found for robot, found in losses.items() if found}
        return verdict._replace(put_in_order=put_in_order, losses=known)
    except StoreError as error:
        return verdict._replace(damage=[*verdict.damage, Damage("the store", str(error))])


def _inspect(catalogue: Catalogue, archive: Path) -> Verdict:
    """What is damaged, by name; changes nothing."""
    episodes = batches = 0
    damage: list[Damage] = []
    for robot in catalogue.robots():
        archived = catalogue.episodes(robot)
        held = [episode for episode in archived if episode.path]
        episodes += len(held)
        damage += [found for episode in held for found in check_episode(episode, archive)]
        for batch in catalogue.packed(robot):
            batches += 1
            if not batch.sound:
                damage.append(Damage(_place(robot, batch, archived), "packed records are damaged"))
    return Verdict(episodes, batches, damage, {})


def verify_files(files: Sequence[Path]) -> Verdict:
    """Check archive files alone, by the checksums inside them."""
    damage = []
    for file in files:
        try:
            read_recording(file)
        except StoreError as error:
            damage.append(Damage(file.stem, str(error)))
    return Verdict(len(files), 0, damage, {})


def check_episode(episode: Archived, archive: Path) -> Iterator[Damage]:
    """What is wrong with one archived episode: its file, its digest, its number of records."""
    path = archive / episode.path
    try:
        data = path.read_bytes()
        if episode.sha256 is not None and hashlib.sha256(data).hexdigest() != episode.sha256:
            yield Damage(episode.name, f"{path} is not the file that was archived (SHA-256)")
        elif len(read_recording(path).rows) != episode.records:
            yield Damage(episode.name, f"{path} does not hold {episode.records} records")
    except OSError as error:
        yield Damage(episode.name, f"{path} cannot be read ({error.strerror})")
    except StoreError as error:
        yield Damage(episode.name, str(error))


def _place(robot: str, batch: Packed, archived: Sequence[Archived]) -> str:
    """The episodes a batch's records belong to, or their numbers if they are in none (yet)."""
    begun = -1
    names = []
    for episode in archived:
        if begun < batch.last_record and batch.first_record <= episode.last_record:
            names.append(episode.name)
        begun = episode.last_record
    return ", ".join(names) or f"{robot}, records {batch.first_record} to {batch.last_record}"
