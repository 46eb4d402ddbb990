"""Is an archived episode read back as it was written, or refused?"""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_data import episode, write_archive
from made_records import SPEC

from offboard.data.recording import read_mcap, read_recording
from offboard.mcap_archive import write_rows
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.step_record import End, Flag


def written(folder: Path) -> Path:
    return write_archive(folder, [episode(0)]) / "r" / "g001-e000000.mcap"


def test_rows_come_back_bit_identical(tmp_path):
    rows = episode(7)
    rows["requested"][3] = np.nan
    rows["flags"], rows["mode"][-1], rows["end"][-1] = Flag.EXPLORING, Mode.HOLD, End.ABORTED
    path = write_archive(tmp_path, [rows]) / "r" / "g001-e000007.mcap"
    assert read_recording(path).rows.tobytes() == rows.tobytes()


def test_names_and_units_come_back(tmp_path):
    recording = read_recording(written(tmp_path))
    assert recording.columns["velocity:arm"].startswith("rad/s")
    assert [*recording.actions] == ["arm"]
    assert (recording.robot, recording.robot_digest) == ("r", SPEC.digest())


def test_damage_anywhere_is_refused_or_changes_nothing(tmp_path):
    path, rng = written(tmp_path), random.Random(0)
    data, rows = path.read_bytes(), read_recording(path).rows.tobytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with suppress(StoreError):
            refused += 1
            assert read_recording(path).rows.tobytes() == rows
            refused -= 1
    assert refused > 75


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = written(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(StoreError, match="damaged"):
        read_recording(path)


def test_an_empty_folder_holds_no_log(tmp_path):
    with pytest.raises(StoreError, match=r"no \.mcap file"):
        read_mcap(tmp_path)


def test_robots_with_other_columns_do_not_make_one_log(tmp_path):
    written(tmp_path)
    other = msgspec.structs.replace(SPEC, observation=[*reversed(SPEC.observation)])
    write_rows(tmp_path / "other.mcap", episode(1), other, "s")
    with pytest.raises(StoreError, match="other columns"):
        read_mcap(tmp_path)
