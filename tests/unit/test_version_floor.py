"""Does the version floor survive the loss of any one place in which it is kept?"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from onboard.bundle_store import Update
from onboard.event_log import EventLog
from onboard.liaison import Liaison
from onboard.spool import Spool, open_spool
from onboard.version_floor import Floor, highest, read_floor, write_floor
from protocol.errors import StoreError, WireError

FLOOR = Floor(root=1, lists={"timestamp": 9, "snapshot": 8, "weights": 7}, keys="a", bundle=6)


class Store:
    """Holds ``versions``, undamaged."""

    def __init__(self, *versions: int) -> None:
        self._versions = [*versions]

    def held(self) -> list[int]:
        return self._versions

    def discard_damaged(self) -> list[int]:
        return []


class Courier:
    """Delivers ``updates``, and notes the floors it was given."""

    def __init__(self, *updates: Update) -> None:
        self._updates = [*updates]
        self.floors: list[Floor] = []
        self.trouble = ""

    def step(self, now_s: float, announced: int, floor: Floor) -> Update | None:
        self.floors.append(floor)
        return self._updates.pop() if self._updates else None


class Away:
    policy_version = 0

    def status(self) -> Any:
        raise WireError("control is not running")

    def take_halt(self) -> str:
        return ""


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(open_spool(tmp_path / "spool.sqlite")) as spool:
        yield spool


def recalled(folder: Path, spool: Spool, courier: Courier, *held: int) -> Floor:
    """What an agent that starts goes by."""
    away, log = cast(Any, Away()), EventLog(io.StringIO(), lambda: 0.0)
    store = cast(Any, Store(*held))
    liaison = Liaison(away, store, cast(Any, courier), away, spool, log, folder / "version_floor")
    liaison.recall()
    liaison.step(0.0)
    return courier.floors[-1]


def test_a_floor_is_kept_in_both_places_before_it_counts(tmp_path: Path, spool: Spool) -> None:
    assert recalled(tmp_path, spool, Courier(Update(FLOOR))) == Floor()
    assert read_floor(tmp_path / "version_floor") == FLOOR
    assert recalled(tmp_path, spool, Courier()) == FLOOR


def test_it_survives_a_spool_that_was_set_aside(tmp_path: Path, spool: Spool) -> None:
    recalled(tmp_path, spool, Courier(Update(FLOOR)))
    with closing(open_spool(tmp_path / "fresh.sqlite")) as fresh:
        assert recalled(tmp_path, fresh, Courier()) == FLOOR


@pytest.mark.parametrize("damage", [b"", b"\x00" * 60, b'{"bundle": "x"}', b"\xff"])
def test_it_survives_a_damaged_file(tmp_path: Path, spool: Spool, damage: bytes) -> None:
    recalled(tmp_path, spool, Courier(Update(FLOOR)))
    (tmp_path / "version_floor").write_bytes(damage)
    assert recalled(tmp_path, spool, Courier()) == FLOOR


def test_with_both_lost_a_held_bundle_still_counts(tmp_path: Path, spool: Spool) -> None:
    assert recalled(tmp_path, spool, Courier(), 3, 5) == Floor(bundle=5)
    write_floor(tmp_path / "version_floor", FLOOR)
    assert recalled(tmp_path, spool, Courier(), 3, 5) == FLOOR


def test_the_highest_is_taken_role_by_role() -> None:
    other = Floor(root=1, lists={"timestamp": 3, "weights": 8}, keys="a", bundle=7, seen_s=5)
    assert highest(FLOOR, other) == Floor(
        root=1, lists={"timestamp": 9, "snapshot": 8, "weights": 8}, keys="a", bundle=7, seen_s=5
    )


def test_lists_of_an_older_root_do_not_count_but_its_bundle_does() -> None:
    newer = Floor(root=2, lists={"timestamp": 1}, keys="b", bundle=2)
    assert highest(FLOOR, newer) == Floor(root=2, lists={"timestamp": 1}, keys="b", bundle=6)


@pytest.mark.parametrize(
    ("found", "fallen"),
    [
        (FLOOR, ""),
        (replace(FLOOR, lists={**FLOOR.lists, "weights": 6}), "weights"),
        (replace(FLOOR, lists={"timestamp": 9, "snapshot": 8}), "weights"),
        (replace(FLOOR, root=0), "root"),
        (Floor(root=2, lists={"timestamp": 1}, keys="b"), ""),
        (Floor(root=0, lists={"timestamp": 99}, keys="b"), "root"),
    ],
)
def test_what_is_older_is_named_unless_a_new_root_named_new_keys(found, fallen) -> None:
    assert FLOOR.fallen(found) == fallen


def test_the_file_is_private_and_a_full_disk_is_an_error(tmp_path: Path) -> None:
    write_floor(tmp_path / "state" / "version_floor", FLOOR)
    assert stat.S_IMODE((tmp_path / "state" / "version_floor").stat().st_mode) == 0o600
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_floor(tmp_path / "file" / "version_floor", FLOOR)
