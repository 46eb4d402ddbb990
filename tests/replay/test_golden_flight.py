"""Does the flight recorded with an earlier version come out of this one unchanged?

If not, the robot behaves differently. If that is meant, run ``tests/support/made_flight.py`` and
say why in the commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from made_flight import FLIGHT, make_bundles

from onboard.exit_status import Exit
from onboard.flight_file import Recording, read_recording
from onboard.flight_replay import describe, replay_file, replay_recording
from onboard.tick import Driver


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(FLIGHT)


def test_the_recorded_flight_replays_identically(recording: Recording, tmp_path: Path) -> None:
    make_bundles(recording.spec, tmp_path)
    found, replayed = replay_recording(recording, tmp_path)
    assert found == [], "\n".join(describe(recording, replayed, found))
    rows = recording.rows
    drivers = Counter(Driver(value) for value in rows["driver"].tolist())
    assert min(drivers[driver] for driver in Driver) >= 2, "it exercises every stage"
    assert replayed.compared == {
        "observation": rows["sensed"].sum(),
        "policy": drivers[Driver.POLICY],
        "homing": drivers[Driver.HOMING],
        "safety": rows["sent"].sum(),
    }


def test_the_command_agrees(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundles(recording.spec, tmp_path)
    assert replay_file(FLIGHT, tmp_path, None) is Exit.DONE
    assert capsys.readouterr().out.count("same") == 4


def test_it_would_notice(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A velocity limit that is applied a little too late."""
    import protocol.actuation

    limit: Callable[..., object] = protocol.actuation.limit_effort
    monkeypatch.setattr(
        protocol.actuation,
        "limit_effort",
        lambda limits, asked_nm, **rest: limit(limits, asked_nm=asked_nm * 1.01, **rest),
    )
    found, _ = replay_recording(recording, None)
    assert {difference.stage for difference in found} == {"safety"}
