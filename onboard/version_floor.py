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
    """Versions of TUF's four roles and of the policy bundle."""

    root: int = 0
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    bundle: int = 0


def highest(*floors: Floor) -> Floor:
    """The highest of each version."""
    return Floor(
        *(max(getattr(floor, name) for floor in floors) for name in Floor.__struct_fields__)
    )


def encode_floor(floor: Floor) -> str:
    """As JSON text."""
    return msgspec.json.encode(floor).decode()


def decode_floor(text: str) -> Floor:
    """Of :func:`encode_floor`; nothing accepted so far if empty. Raises StoreError."""
    try:
        return msgspec.json.decode(text or "{}", type=Floor)
    except msgspec.DecodeError as error:
        raise StoreError(f"version floor is unreadable ({error})") from error


def read_floor(path: Path) -> Floor:
    """The floor in ``path``, zeros if it does not exist. Raises StoreError if it is damaged."""
    return decode_floor(read_text(path))


def write_floor(path: Path, floor: Floor) -> None:
    """Replace it durably. Raises StoreError."""
    write_text(path, encode_floor(floor))
