"""Which release each unit is to run: a signed list, of which a unit obeys its own line. Pure.

Fields that a newer server adds are passed over.
"""

from __future__ import annotations

import platform
import sys
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from onboard.releases.journal import Journal
from protocol.errors import BundleError

ASSIGNMENTS_PATH = "fleet/assignments.json"
ASSIGNMENTS_MAX_BYTES = 4 << 20
ARCHIVE_MAX_BYTES = 1 << 30

ReleaseId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
TargetName = Annotated[str, Meta(pattern=r"^cp3[0-9]{1,2}-[a-z0-9_]{1,32}\Z")]


class Line(Struct, frozen=True):
    """What one unit is to run.

    Attributes:
        release: its name, which is its content's.
        target: interpreter and machine it was made for, such as ``cp311-x86_64``.
        golden: once proven, it is what the unit falls back to.
        since: the counter with which this line was written; 0 if that is not told. Later ones were
            about other units, and no reason to try again what was taken back.
    """

    release: ReleaseId
    target: TargetName
    golden: bool = False
    since: Annotated[int, Meta(ge=0, le=2**53)] = 0

    @property
    def path(self) -> str:
        """Target path of its archive."""
        return f"release/{self.target}/{self.release}.tar.zst"


class Assignments(Struct, frozen=True):
    """All units' lines; ``counter`` grows with every change, one back to an older release too."""

    schema: Literal[1]
    counter: Annotated[int, Meta(ge=1, le=2**53)]
    units: dict[Annotated[str, Meta(max_length=64)], Line]


class Assignment(Struct, frozen=True):
    """One unit's line, and when it was written as a number that only grows."""

    counter: int
    line: Line


def decode_assignments(data: bytes) -> Assignments:
    """Typed decode of what was signed. Raises BundleError."""
    try:
        return msgspec.json.decode(data, type=Assignments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"assignments refused: {error}") from error


def assignment_for(assignments: Assignments, unit: str, target: str) -> Assignment:
    """The line of ``unit``, whose interpreter and machine are ``target``.

    Raises:
        BundleError: it has none, or one for another machine.
    """
    line = assignments.units.get(unit)
    if line is None:
        raise BundleError(f"assignments {assignments.counter} have no line for {unit}")
    if line.target != target:
        raise BundleError(f"{unit} is {target}, but was assigned a release for {line.target}")
    return Assignment(assignments.counter, line)


def is_new(assignment: Assignment, journal: Journal) -> bool:
    """Is there something to do? False if the release is in force already.

    Raises:
        BundleError: older than one obeyed, a second one of the same number, or the release was
            taken back since this was written.
    """
    counter, release = assignment.counter, assignment.line.release
    if counter < journal.counter:
        raise BundleError(f"assignment {counter} is older than {journal.counter}, obeyed before")
    if release == journal.current:
        return False
    if why := taken_back(assignment, journal):
        raise BundleError(f"{why}; a new assignment may have it tried again")
    if counter == journal.counter:
        raise BundleError(f"assignment {counter} named another release before")
    return True


def taken_back(assignment: Assignment, journal: Journal) -> str:
    """Why this very line was obeyed and taken back before; empty if it was not."""
    line = assignment.line
    release, written = line.release, line.since or assignment.counter
    if release == journal.current or written > journal.failed.get(release, 0):
        return ""
    reasons = [entry.reason for entry in journal.log if entry.release == release and entry.reason]
    return f"release {release} was taken back here: {reasons[-1] if reasons else 'long ago'}"


def this_target() -> str:
    """What this interpreter on this machine can run."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"
