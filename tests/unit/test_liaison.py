"""Is a bundle that has just arrived offered at once, and control left in peace otherwise?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onboard.bundle_store import Update
from onboard.event_log import EventLog
from onboard.liaison import Liaison
from onboard.spool import Spool, open_spool
from onboard.version_floor import Floor
from protocol.errors import WireError


class Control:
    """Away; counts how often it was asked."""

    asked = 0

    def status(self) -> Any:
        self.asked += 1
        raise WireError("control is not running")


class Uplink:
    policy_version = 0

    def take_halt(self) -> str:
        return ""


class Courier:
    """Brings what a test puts there."""

    trouble = ""
    update: Update | None = None

    def step(self, *_: Any) -> Update | None:
        update, self.update = self.update, None
        return update


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(open_spool(tmp_path / "spool.sqlite")) as spool:
        yield spool


def test_a_bundle_that_arrived_does_not_wait_for_the_next_round(
    spool: Spool, tmp_path: Path
) -> None:
    control, courier = Control(), Courier()
    parts: list[Any] = [control, None, courier, Uplink()]
    liaison = Liaison(*parts, spool, EventLog(io.StringIO(), lambda: 0.0), tmp_path / "floor")
    liaison.step(0.0)
    liaison.step(0.1)
    assert control.asked == 1
    courier.update = Update(Floor(), version=0)  # only the signatures were renewed
    liaison.step(0.2)
    assert control.asked == 1
    courier.update = Update(Floor(bundle=3), version=3)
    liaison.step(0.3)
    assert control.asked == 2
