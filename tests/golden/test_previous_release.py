"""Files that the previous release has left behind: does this one open them and go on?

``previous_release/`` was written by release 0.1.0 and is never written again. A release that
changes a layout brings a test of its own for the way from here to there.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_records import make_records

from offboard.episode_store import Delivery, open_episode_store
from onboard.spool import open_spool
from protocol.messages import Batch, Gap
from protocol.robot_spec import load_robot_spec

GOLDEN = Path(__file__).with_name("previous_release")
EPOCH = "0123456789abcdef" * 2
SPEC = load_robot_spec(GOLDEN / "robot.toml")


@pytest.fixture
def left(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "left"))


def test_a_spool_goes_on_where_the_previous_release_stopped(left: Path) -> None:
    with closing(open_spool(left / "spool.sqlite")) as spool:
        assert (spool.epoch, spool.first_held, spool.newest) == (EPOCH, 2, 4)
        assert (spool.spooled, spool.quarantined) == (60, 0)
        second, gap, third = spool.unacknowledged(9)
        assert isinstance(second, Batch)
        assert isinstance(third, Batch)
        assert isinstance(gap, Gap)
        assert (second.seq, gap.seq, third.seq) == (2, 3, 4)
        assert spool.fact("floor") == "7"
        assert spool.append(make_records(60, 20)) == 10, "ten of them it has already"
        assert spool.newest == 5


def test_a_store_goes_on_where_the_previous_release_stopped(left: Path) -> None:
    with closing(open_episode_store(left / "episodes.sqlite", SPEC)) as store:
        assert store.last("duck-07", EPOCH) == 3
        account = store.account("duck-07")
        assert (account.committed, account.declared, account.duplicates) == (40, 10, 0)
        rows = np.concatenate([*store.rows("duck-07")])
        expected = np.concatenate([make_records(0, 20), make_records(20, 20)])
        assert rows.tobytes() == expected.tobytes()
        store.examine()


def test_what_the_old_spool_still_holds_the_old_store_takes(left: Path) -> None:
    with (
        closing(open_spool(left / "spool.sqlite")) as spool,
        closing(open_episode_store(left / "episodes.sqlite", SPEC)) as store,
    ):
        held = [entry for entry in spool.unacknowledged(9) if entry.seq > 3]
        store.accept([Delivery("duck-07", EPOCH, held)])
        assert store.last("duck-07", EPOCH) == spool.newest
        assert store.account("duck-07").committed == 60
