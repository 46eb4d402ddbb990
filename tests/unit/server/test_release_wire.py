"""Does a unit take what the server makes: the archive, the name, the assignments, the overlay?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_fleet import HERE, made_fleet, made_identity, made_release, made_rootfs, not_owned

from offboard.fleet.assignments import Assignment, Assignments, assign, encode_assignments
from offboard.fleet.fleet_file import parse_fleet
from offboard.fleet.release_archive import release_archive, release_path
from offboard.fleet.rootfs import apply_overlay
from offboard.fleet.unit_overlay import BOOT, make_overlay
from onboard.releases.archive import identity, unpack
from onboard.releases.assignment import assignment_for, decode_assignments
from onboard.releases.journal import read_journal
from onboard.releases.unit_paths import UnitPaths


def test_the_servers_archive_unpacks_to_the_release_it_is_called(tmp_path):
    release = made_release()
    archive = tmp_path / "archive"
    archive.write_bytes(release_archive(release))
    folder = tmp_path / "releases" / release.id
    folder.parent.mkdir()
    unpack(archive, folder, 0, lambda: None)
    assert identity(folder) == release.id
    for entry in release.entries:
        path = folder / entry.path
        assert path.read_bytes() == entry.data
        assert path.stat().st_mode & 0o777 == entry.mode


def test_the_unit_obeys_the_line_that_the_server_wrote():
    order = Assignment(release="0" * 16, target=HERE.name, golden=True)
    data = encode_assignments(assign(Assignments(), {"duck": order}))
    found = assignment_for(decode_assignments(data), "duck", HERE.name)
    assert (found.counter, found.line.release, found.line.golden) == (1, "0" * 16, True)
    assert found.line.path == release_path("0" * 16, HERE)
    assert found.line.since == 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fleet = made_fleet()
    made = (fleet.operators, made_identity(), made_release(HERE), False)
    overlay = make_overlay("bench", fleet.unit("bench"), fleet.server, *made)
    apply_overlay(overlay, made_rootfs(tmp_path / "root"), not_owned)
    return tmp_path / "root"


def test_a_flashed_unit_knows_what_is_in_force_and_what_is_golden(root):
    journal = read_journal(UnitPaths(root))
    assert journal.current == journal.golden == made_release(HERE).id
    assert journal.previous == ""


def test_the_guardian_starts_as_the_overlay_lays_it(root):
    """Every module it needs is there, and none of a release is asked for."""
    shutil.rmtree(root / "opt/wombet/releases" / made_release(HERE).id / "lib")
    argv = [sys.executable, "-I", "-S", str(root / BOOT), "no such word"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, cwd="/", env={**os.environ}
    )
    assert (done.returncode, done.stderr) == (2, "say one of: boot, control-failed\n")


def test_flashing_again_forgets_which_release_was_in_force(root):
    books = UnitPaths(root).books
    books.mkdir(parents=True)
    (books / "journal.json").write_text("of the unit before")
    (root / "opt/wombet/previous").symlink_to("releases/gone")
    fleet = parse_fleet(Path("hw_configs/fleet.toml").read_text(), "fleet")
    made = (fleet.operators, made_identity(), made_release(HERE), False)
    overlay = make_overlay("bench", made_fleet().unit("bench"), fleet.server, *made)
    apply_overlay(overlay, root, not_owned)
    assert read_journal(UnitPaths(root)).current == made_release(HERE).id
    assert not (root / "opt/wombet/previous").is_symlink()
