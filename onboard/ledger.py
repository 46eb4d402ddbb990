"""Which policies this robot has committed to, and which one it is pinned to; survives kill -9.

It decides what drives after a restart and what the operator may go back to. The control loop and
the socket thread only queue their changes; one thread of its own applies and writes them, so nobody
who must not wait ever waits for a disk.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from onboard.durable import read_text, write_text
from onboard.swap_steps import Step, Watch, unwatched
from protocol.errors import StoreError

KEPT_COMMITTED, KEPT_CONDEMNED = 5, 64


class Kept(Struct, frozen=True):
    """A committed policy and the directory its bundle lies in."""

    version: int
    directory: str


class Record(Struct, frozen=True):
    """What the ledger says: committed policies, the last one last; the pin, 0 for none.

    ``condemned`` are those that were rolled back here, the last one last: they are not taken again
    unless they are pinned.
    """

    committed: tuple[Kept, ...] = ()
    pinned: int = 0
    condemned: tuple[int, ...] = ()

    @property
    def versions(self) -> list[int]:
        """Of the committed policies, the last one last."""
        return [kept.version for kept in self.committed]

    def committing(self, kept: Kept) -> Record:
        """With ``kept`` as the last committed policy."""
        others = self._others(kept.version)
        condemned = tuple(each for each in self.condemned if each != kept.version)
        return Record((*others, kept)[-KEPT_COMMITTED:], self.pinned, condemned)

    def dropping(self, version: int) -> Record:
        """With ``version`` among the condemned policies and not among the committed ones."""
        condemned = (*(each for each in self.condemned if each != version), version)
        return Record(self._others(version), self.pinned, condemned[-KEPT_CONDEMNED:])

    def pinning(self, version: int) -> Record:
        """Pinned to ``version``; to none if it is 0."""
        return Record(self.committed, version, self.condemned)

    def _others(self, version: int) -> tuple[Kept, ...]:
        return tuple(each for each in self.committed if each.version != version)


EMPTY = Record()
Change = Callable[[Record], Record]


def ledger_path(state: Path, task: str) -> Path:
    """Where the ledger of one task lies in a robot's durable directory."""
    return state / f"policies-{task}.json"


def open_ledger(path: Path, at: Watch = unwatched) -> Ledger:
    """The ledger in ``path``, empty if there is no such file.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        record = msgspec.json.decode(read_text(path) or "{}", type=Record)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path}: no ledger ({error}); restore or remove it") from error
    return Ledger(record, partial(write_text, path), at)


class Ledger:
    """Queues changes, applies them in order, writes each before it counts.

    Attributes:
        record: what is in force.
        trouble: why the last change is not durable; empty if it is.
    """

    def __init__(
        self,
        record: Record = EMPTY,
        write: Callable[[str], None] = lambda text: None,
        at: Watch = unwatched,
    ) -> None:
        """``write`` keeps a text durably, or raises StoreError."""
        self.record, self._write, self._at = record, write, at
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self.trouble = ""

    # Any thread.

    def commit(self, version: int, directory: str) -> None:
        """``version`` may stay."""
        kept = Kept(version, directory)
        self._changes.put(lambda record: record.committing(kept))

    def drop(self, version: int) -> None:
        """``version`` is bad: it is not gone back to."""
        self._changes.put(lambda record: record.dropping(version))

    def pin(self, version: int) -> None:
        """Only ``version`` may drive; 0 lifts that."""
        self._changes.put(lambda record: record.pinning(version))

    def close(self) -> None:
        """Let :meth:`keep_forever` return once everything is written."""
        self._changes.put(None)

    # The ledger's thread.

    def keep_forever(self) -> None:
        """Apply changes as they come, until :meth:`close`."""
        while (change := self._changes.get()) is not None:
            self._apply(change)

    def settle(self) -> None:
        """Apply what is queued; instead of :meth:`keep_forever` where there is no thread."""
        while not self._changes.empty():
            change = self._changes.get()
            if change is not None:
                self._apply(change)

    def _apply(self, change: Change) -> None:
        record = change(self.record)
        self._at(Step.KEEPING)
        try:
            self._write(msgspec.json.encode(record).decode())
        except StoreError as error:
            self.trouble = str(error)
        else:
            self.trouble = ""
        self.record = record
        self._at(Step.KEPT)
