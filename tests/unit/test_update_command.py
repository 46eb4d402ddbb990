"""``wombet-onboard update``: a policy from a directory, by the same rules as from the server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_bundle import make_bundle
from made_records import ROBOT_FILE
from made_updates import Bench

from onboard.bundle_directory import bundles_of, held_versions
from onboard.exit_status import Exit
from onboard.update_command import update
from onboard.version_floor import FLOOR_FILE, Floor, read_floor, write_floor
from protocol.errors import BundleError, ConfigError


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def stick(bench: Bench, tmp_path: Path) -> Path:
    bench.repository.publish(*make_bundle(1))
    shutil.copytree(bench.repository.directory, tmp_path / "stick")
    return tmp_path / "stick"


def take(bench: Bench, stick: Path) -> int:
    return update(stick, robot=ROBOT_FILE, state=bench.state, clock="as-set")


def test_the_newest_policy_is_taken_and_the_floor_is_kept(bench, stick, capsys):
    assert take(bench, stick) is Exit.DONE
    assert capsys.readouterr().out == "took policy 1\n"
    assert held_versions(bundles_of(bench.state)) == [1]
    assert read_floor(bench.state / FLOOR_FILE).bundle == 1


def test_nothing_new_is_said_and_is_no_error(bench, stick, capsys):
    take(bench, stick)
    assert take(bench, stick) is Exit.DONE
    assert capsys.readouterr().out.endswith("policy 1 is the newest\n")


def test_an_old_stick_is_refused_by_what_the_agent_has_seen(bench, stick):
    bench.repository.publish(*make_bundle(2))
    bench.update()
    write_floor(bench.state / FLOOR_FILE, bench.floor)
    shutil.rmtree(bench.state / "tuf" / "cache")
    with pytest.raises(BundleError, match="older than one seen before"):
        take(bench, stick)


def test_the_floor_never_falls(bench, stick):
    write_floor(bench.state / FLOOR_FILE, Floor(bundle=1, seen_s=7))
    take(bench, stick)
    assert read_floor(bench.state / FLOOR_FILE).seen_s > 7


def test_a_directory_that_is_no_repository_is_named(bench, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no metadata/"):
        take(bench, tmp_path)


def test_it_waits_for_nobody_and_disturbs_nobody(bench, stick):
    """The agent's own update is under way, and sees to it that nothing else is."""
    import fcntl

    with (bench.state / "tuf" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="another update is under way"):
            take(bench, stick)
    assert take(bench, stick) is Exit.DONE
