"""The highest versions a robot ever accepted: nothing older is accepted again.

It is kept twice, in the spool's database and in a file of its own, because a damaged database is
replaced by an empty one. Whoever asks takes the highest of what can be read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from onboard.durable import read_text, write_text
from protocol.errors import StoreError

FLOOR_FILE = "version_floor"
"""Its name in a robot's durable directory."""


class Floor(Struct, frozen=True):
    """What was accepted.

    Attributes:
        root: version of the root of trust. It never falls.
        lists: version of every other signed list, by role.
        keys: which keys signed snapshot and timestamp. When a new root names others, ``lists``
            starts afresh: whoever took the old ones may have run the versions up.
        bundle: version of the newest policy bundle. It never falls.
        seen_s: Unix time of the last acceptance; the clock was right then.
    """

    root: int = 0
    lists: dict[str, int] = {}
    keys: str = ""
    bundle: int = 0
    seen_s: int = 0

    def version(self, role: str) -> int:
        """Of the list that ``role`` signs; 0 if none was accepted."""
        return self.root if role == "root" else self.lists.get(role, 0)

    def fallen(self, other: Floor) -> str:
        """The role whose version in ``other`` is lower than here; empty if none is."""
        if other.root < self.root:
            return "root"
        if other.keys != self.keys:
            return ""
        fallen = (
            role for role, version in self.lists.items() if other.lists.get(role, 0) < version
        )
        return next(fallen, "")


def highest(*floors: Floor) -> Floor:
    """The highest of each version; of the lists, among those of the newest root."""
    root = max(floor.root for floor in floors)
    lists: dict[str, int] = {}
    newest = [floor for floor in floors if floor.root == root]
    for floor in newest:
        for role, version in floor.lists.items():
            lists[role] = max(version, lists.get(role, 0))
    return Floor(
        root=root,
        lists=lists,
        keys=max(floor.keys for floor in newest),
        bundle=max(floor.bundle for floor in floors),
        seen_s=max(floor.seen_s for floor in floors),
    )


def encode_floor(floor: Floor) -> str:
    """As JSON text."""
    return msgspec.json.encode(floor).decode()


def decode_floor(text: str) -> Floor:
    """Of :func:`encode_floor`; nothing accepted so far if empty. Raises StoreError."""
    try:
        return msgspec.json.decode(text or "{}", type=Floor)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StoreError(f"version floor is unreadable ({error})") from error


def read_floor(path: Path) -> Floor:
    """The floor in ``path``, zeros if it does not exist. Raises StoreError if it is damaged."""
    return decode_floor(read_text(path))


def write_floor(path: Path, floor: Floor) -> None:
    """Replace it durably. Raises StoreError."""
    write_text(path, encode_floor(floor))
