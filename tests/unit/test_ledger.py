"""Does the ledger keep what was committed, in order, through a restart?"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from onboard.ledger import KEPT_COMMITTED, KEPT_CONDEMNED, Kept, Ledger, Record, open_ledger
from onboard.swap_steps import Step
from protocol.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "policies.json"


def test_what_was_kept_is_there_after_a_restart(path: Path) -> None:
    ledger = open_ledger(path)
    assert (ledger.record, ledger.trouble) == (Record(), "")
    ledger.commit(3, "/bundles/3")
    ledger.commit(5, "/bundles/5")
    ledger.pin(5)
    ledger.settle()
    again = open_ledger(path).record
    assert again == Record((Kept(3, "/bundles/3"), Kept(5, "/bundles/5")), pinned=5)


def test_nothing_counts_before_it_is_applied(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.commit(3, "/bundles/3")
    assert ledger.record.versions == []
    assert not path.exists()


def test_what_is_committed_again_is_the_last_one(path: Path) -> None:
    ledger = open_ledger(path)
    for version in (3, 5, 3):
        ledger.commit(version, f"/{version}")
    ledger.settle()
    assert ledger.record.versions == [5, 3]


def test_what_proved_bad_is_not_gone_back_to(path: Path) -> None:
    ledger = open_ledger(path)
    for version in (3, 5):
        ledger.commit(version, f"/{version}")
    ledger.drop(5)
    ledger.drop(99)
    ledger.settle()
    assert open_ledger(path).record.versions == [3]


def test_committing_one_after_all_forgives_that_one_only(path: Path) -> None:
    ledger = open_ledger(path)
    for version in (3, 4):
        ledger.drop(version)
    ledger.commit(4, "/4")
    ledger.settle()
    assert open_ledger(path).record.condemned == (3,)


def test_what_proved_bad_is_remembered_until_it_is_committed_after_all(path: Path) -> None:
    ledger = open_ledger(path)
    for version in (7, 5, 7):
        ledger.drop(version)
    ledger.pin(5)
    ledger.settle()
    assert open_ledger(path).record == Record(pinned=5, condemned=(5, 7))
    ledger.commit(5, "/5")
    for version in range(100, 100 + KEPT_CONDEMNED):
        ledger.drop(version)
    ledger.settle()
    assert open_ledger(path).record.condemned == tuple(range(100, 100 + KEPT_CONDEMNED))


def test_a_ledger_of_the_release_before_has_condemned_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"committed": [{"version": 3, "directory": "/3"}], "pinned": 3}')
    assert open_ledger(path).record == Record((Kept(3, "/3"),), pinned=3)


def test_only_the_last_few_are_kept(path: Path) -> None:
    ledger = open_ledger(path)
    for version in range(1, KEPT_COMMITTED + 3):
        ledger.commit(version, "/")
    ledger.settle()
    assert ledger.record.versions == [3, 4, 5, 6, 7]


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"committed": [')
    with pytest.raises(StoreError, match="restore or remove it"):
        open_ledger(path)


def test_a_full_disk_is_told_and_forgotten_when_it_has_room_again() -> None:
    full, kept = [True], []

    def write(text: str) -> None:
        if full[0]:
            raise StoreError("disk full")
        kept.append(text)

    ledger = Ledger(write=write)
    ledger.commit(3, "/3")
    ledger.settle()
    assert ledger.trouble == "disk full"
    assert ledger.record.versions == [3]  # in this life of the process it can be gone back to
    full[0] = False
    ledger.commit(4, "/4")
    ledger.settle()
    assert ledger.trouble == ""
    assert '"version":3' in kept[-1]


def test_a_change_is_written_before_it_counts() -> None:
    seen: list[tuple[Step, list[int]]] = []
    ledger = Ledger(at=lambda step: seen.append((step, ledger.record.versions)))
    ledger.commit(3, "/3")
    ledger.settle()
    assert seen == [(Step.KEEPING, []), (Step.KEPT, [3])]


def test_its_thread_ends_when_everything_is_written(path: Path) -> None:
    ledger = open_ledger(path)
    thread = threading.Thread(target=ledger.keep_forever)
    thread.start()
    ledger.commit(3, "/3")
    ledger.close()
    thread.join(10)
    assert not thread.is_alive()
    assert open_ledger(path).record.versions == [3]


def test_closing_is_no_change(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.close()
    ledger.settle()
    assert not path.exists()
