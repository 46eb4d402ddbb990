"""Which unit shall run which release: the file that every unit obeys one line of.

Its counter only rises, and a unit refuses one that is lower than one it has seen. Going back to an
older release is therefore a new assignment like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from offboard.key_table import ROBOT_NAME
from protocol.errors import StoreError

ASSIGNMENTS_PATH = "fleet/assignments.json"
"""The target path under which it is signed."""
RELEASE_ID = r"[0-9a-f]{16}"
ReleaseId = Annotated[str, Meta(pattern=rf"^{RELEASE_ID}\Z")]
TargetName = Annotated[str, Meta(pattern=r"^cp3[0-9]{1,2}-[a-z0-9_]{1,16}\Z")]


class Assignment(Struct, frozen=True, kw_only=True):
    """One unit's line.

    A ``golden`` release becomes what the unit falls back to last. ``since`` is the counter of the
    file in which the line was written: a unit that took the release back tries it again only when
    it is ordered anew.
    """

    release: ReleaseId
    target: TargetName
    golden: bool = False
    since: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Assignments(Struct, frozen=True, kw_only=True):
    """All lines. ``counter`` is 0 as long as nothing was ever assigned."""

    schema: Literal[1] = 1
    counter: Annotated[int, Meta(ge=0, le=2**53)] = 0
    units: dict[Annotated[str, Meta(pattern=ROBOT_NAME)], Assignment] = field(default_factory=dict)


def assign(
    held: Assignments, orders: Mapping[str, Assignment], known: set[str] | None = None
) -> Assignments:
    """The file after ``held``: units in ``orders`` get new lines, others keep theirs.

    Args:
        held: the newest one.
        orders: new lines by unit.
        known: units that still exist; lines of others are dropped. None keeps all.
    """
    units = {name: line for name, line in held.units.items() if known is None or name in known}
    counter = held.counter + 1
    ordered = {name: replace(line, since=counter) for name, line in orders.items()}
    return Assignments(counter=counter, units={**units, **ordered})


def is_release(text: str) -> bool:
    """Can ``text`` be a release's id, and so be assigned?"""
    return re.fullmatch(RELEASE_ID, text) is not None


def encode_assignments(assignments: Assignments) -> bytes:
    """The file's bytes: the same assignments give the same."""
    return msgspec.json.encode(assignments, order="sorted") + b"\n"


def decode_assignments(data: bytes, origin: str) -> Assignments:
    """The file in ``data``. Raises StoreError naming ``origin``."""
    try:
        return msgspec.json.decode(data, type=Assignments)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{origin} holds no assignments: {error}") from error
