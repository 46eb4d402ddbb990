"""Is a runtime directory that somebody else could write refused before anything is put there?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from made_records import ROBOT_FILE

from onboard.main import _checked
from onboard.runtime_directory import make_private
from protocol.errors import ConfigError


def test_a_missing_one_is_made_for_us_alone(tmp_path: Path) -> None:
    made = make_private(tmp_path / "a" / "run")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert make_private(made) == made


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o1777])
def test_one_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with pytest.raises(ConfigError, match=f"can be written by others .mode {mode:o}"):
        make_private(tmp_path / "run")


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=f"belongs to user {os.getuid()}"):
        make_private(tmp_path / "run")


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="is a link"):
        make_private(tmp_path / "run")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(ConfigError, match="File exists"):
        make_private(tmp_path / "run")


def test_no_robot_starts_in_a_foreign_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(ConfigError, match="can be written by others"):
        _checked(ROBOT_FILE, None, tmp_path / "state", tmp_path / "run")
