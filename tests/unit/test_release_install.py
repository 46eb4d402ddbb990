"""Installing a release: what it ends in, whatever the release, the robot or the power supply do."""

from __future__ import annotations

import fcntl
import io
import json
import marshal
import os
import re
import shutil
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest
import zstandard
from made_unit import (
    HEALTH_S,
    TARGET,
    UNIT,
    FieldUnit,
    PowerCut,
    archive_of,
    lay,
    release_files,
)

from onboard.exit_status import Exit
from onboard.releases import trial
from onboard.releases.archive import identity, unpack
from onboard.releases.assignment import Line
from onboard.releases.guardian import Guardian
from onboard.releases.install_steps import Step
from onboard.releases.journal import Journal, Phase
from onboard.releases.links import follow
from onboard.releases.services import ServiceState
from onboard.releases.stock import Stock
from onboard.releases.unit_paths import UnitPaths
from onboard.version_floor import read_floor
from protocol.errors import BundleError, StoreError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_disk(monkeypatch):
    """A power cut here is an exception: what was written stays, so nothing has to be forced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def unit(tmp_path: Path) -> FieldUnit:
    return FieldUnit(tmp_path)


def verdict(report) -> tuple[str, str, str]:
    return report.verdict, report.release_before, report.release_after


def test_a_good_release_is_installed_and_proven(unit):
    new = unit.assign("new")
    assert verdict(unit.install()) == ("installed", unit.golden, new)
    assert unit.assert_sound() == new
    journal = unit.journal()
    assert (journal.previous, journal.golden, journal.counter) == (unit.golden, unit.golden, 1)
    assert unit.steps == [*Step]


def test_its_files_are_everybodys_to_read_and_its_program_to_run(unit):
    new = unit.assign("new")
    unit.install()
    folder = unit.paths.release(new)
    modes = {str(p.relative_to(folder)): p.stat().st_mode & 0o777 for p in folder.rglob("*")}
    assert modes["bin/wombet-onboard"] == modes["bin"] == modes["lib"] == 0o755
    assert modes["lib/onboard/main.py"] == 0o644


def test_its_modules_are_compiled_for_everybody_and_count_not_for_its_name(unit):
    new = unit.assign("new")
    masked = os.umask(0o077)
    try:
        unit.install()
    finally:
        os.umask(masked)
    folder = unit.paths.release(new)
    (compiled,) = folder.glob("lib/onboard/__pycache__/main.*.pyc")
    assert compiled.parent.stat().st_mode & 0o777 == 0o755
    assert compiled.stat().st_mode & 0o777 == 0o644
    code = marshal.loads(compiled.read_bytes()[16:])
    assert code.co_filename == str(folder / "lib/onboard/main.py")
    assert compiled.read_bytes()[4:8] == (1).to_bytes(4, "little"), "its source is not looked at"
    assert identity(folder) == new


def test_a_module_that_does_not_compile_stays_as_it_is(unit):
    release = unit.assign("broken = 'module")
    assert unit.install().verdict == "installed"
    assert not [*unit.paths.release(release).rglob("*.pyc")]


def test_the_same_again_is_already_there(unit):
    new = unit.assign("new")
    unit.install()
    calls = len(unit.services.calls)
    assert verdict(unit.install()) == ("already", new, new)
    assert len(unit.services.calls) == calls, "nothing was stopped"


@pytest.mark.parametrize("deed", ["crash", "hang", "mute", "slow", "no_bus", "agent_dies"])
def test_a_bad_release_is_taken_back(unit, deed):
    good = unit.assign("good")
    unit.install()
    bad = unit.assign("bad")
    unit.services.deeds[bad] = deed
    report = unit.install()
    assert verdict(report) == ("rolled_back", good, good)
    assert report.reason
    assert unit.assert_sound() == good
    assert not unit.paths.release(bad).exists(), "it takes no room"
    assert unit.journal().phase is Phase.SETTLED


def test_where_the_one_before_does_not_run_either_golden_does(unit):
    good = unit.assign("good")
    unit.install()
    bad = unit.assign("bad")
    unit.services.deeds |= {bad: "crash", good: "crash"}
    assert verdict(unit.install()) == ("rolled_back", good, unit.golden)
    assert unit.assert_sound() == unit.golden


def test_what_was_taken_back_is_not_tried_again_until_somebody_says_so(unit):
    bad = unit.assign("bad")
    unit.services.deeds[bad] = "crash"
    unit.install()
    calls = [*unit.services.calls]
    again = unit.install()
    assert verdict(again) == ("rolled_back", unit.golden, unit.golden)
    assert "taken back here: control ended" in again.reason
    assert unit.services.calls == calls, "whoever installs after the agent has learns the same"
    del unit.services.deeds[bad]
    assert unit.assign("bad") == bad
    assert unit.install().verdict == "installed"


def test_a_new_counter_about_another_unit_is_no_reason_to_try_again(unit):
    bad = unit.assign("bad", since=1)
    unit.services.deeds[bad] = "crash"
    unit.install()
    calls = [*unit.services.calls]
    unit.assign("bad", since=1)
    assert unit.counter == 2
    assert unit.install().verdict == "rolled_back"
    assert unit.services.calls == calls
    unit.services.deeds.clear()
    unit.assign("bad", since=3)
    assert unit.install().verdict == "installed"


def test_a_flat_battery_neither_proves_nor_takes_back(unit):
    new = unit.assign("new")
    unit.services.flat = True
    report = unit.install()
    assert verdict(report) == ("unproven", unit.golden, new)
    assert "does not reach the bus either" in report.reason
    assert unit.services.calls[-1] == "judge"
    assert unit.journal().pending == new
    unit.services.flat = False
    assert unit.installer().judge().verdict == "installed"
    assert unit.assert_sound() == new


@pytest.mark.parametrize("ends", [False, True])
def test_a_flat_battery_outlasts_any_number_of_starts(unit, ends):
    """Whether control stays in FAULT or ends because of the bus."""
    new = unit.assign("new")
    robot = unit.services
    robot.flat = True
    unit.install()
    if ends:
        robot.pulse = lambda: None
        robot.state = lambda service: ServiceState("activating", "exit-code", 0, Exit.BUS)
    sleep = robot.sleep

    def until_the_power_is_cut(seconds: float) -> None:
        sleep(seconds)
        if robot.now_s > robot.started_s + 60.0:
            raise PowerCut

    robot.sleep = until_the_power_is_cut
    for _ in range(5):
        with pytest.raises(PowerCut):
            unit.boot()
        assert unit.journal().pending == new


@pytest.mark.parametrize("deed", ["slow", "agent_dies"])
def test_a_bad_release_is_not_taken_from_under_a_moving_robot(unit, deed):
    bad = unit.assign("bad")
    robot = unit.services
    robot.deeds[bad] = deed
    start, sleep = robot.start, robot.sleep

    def into_motion() -> None:
        start()
        robot.mode = "RUN"

    robot.start = into_motion
    report = unit.install()
    assert verdict(report) == ("unproven", unit.golden, bad)
    assert report.reason.endswith("it stays while the motors are powered")
    assert (robot.calls.count("stop"), robot.calls[-1]) == (1, "judge")

    def until_an_operator_ends_it(seconds: float) -> None:
        sleep(seconds)
        robot.mode = "IDLE" if robot.now_s > 2000.0 else "RUN"

    robot.start, robot.sleep = start, until_an_operator_ends_it
    assert unit.installer().judge().verdict == "rolled_back"
    assert robot.now_s > 2000.0
    assert unit.assert_sound() == unit.golden


def test_a_robot_that_was_started_while_a_release_is_checked_is_not_stopped(unit, monkeypatch):
    unit.assign("new")
    assert lay(unit.paths.releases, "new")
    check = Stock.check

    def slowly(stock: Stock, line: Line) -> None:
        check(stock, line)
        unit.services.mode = "RUN"
        unit.services.sleep(5.0)

    monkeypatch.setattr(Stock, "check", slowly)
    assert unit.install().verdict == "unsafe"
    assert unit.services.calls == ["start"]


def test_a_pressed_emergency_stop_takes_nothing_back(unit):
    new = unit.assign("new")
    unit.services.mode = "ESTOP"
    assert verdict(unit.install()) == ("installed", unit.golden, new)


def test_a_patient_judge_asks_for_the_bus_now_and_then_and_not_all_the_time(unit):
    unit.assign("new")
    unit.services.flat = True
    unit.install()
    asked = len([call for call in unit.services.calls if call.startswith("bus")])
    sleep = unit.services.sleep

    def until_charged(seconds: float) -> None:
        sleep(seconds)
        unit.services.flat = unit.services.now_s < 1900.0

    unit.services.sleep = until_charged
    assert unit.installer().judge().verdict == "installed"
    asked = len([call for call in unit.services.calls if call.startswith("bus")]) - asked
    assert 2 <= asked <= 4


@pytest.mark.parametrize("mode", ["RUN", "HOMING", "RECOVER", "HOLD", "BOOT"])
def test_nothing_is_touched_while_motors_are_powered(unit, mode):
    unit.assign("new")
    unit.services.mode = mode
    unit.services.sleep(2.0)
    report = unit.install(wait_s=3.0)
    assert verdict(report) == ("unsafe", unit.golden, unit.golden)
    assert unit.services.calls == ["start"]
    assert unit.assert_sound() == unit.golden
    unit.services.mode = "IDLE"
    assert unit.install().verdict == "installed"


def test_it_waits_until_the_motors_are_off(unit):
    unit.assign("new")
    unit.services.mode = "RUN"
    unit.services.sleep(2.0)
    sleep = unit.services.sleep

    def stopped_later(seconds: float) -> None:
        sleep(seconds)
        unit.services.mode = "IDLE" if unit.services.now_s > 1010.0 else "RUN"

    unit.services.sleep = stopped_later
    assert unit.install(wait_s=60.0).verdict == "installed"


def test_a_control_that_is_down_is_no_hindrance(unit):
    unit.services.running = ""
    new = unit.assign("new")
    assert unit.install().verdict == "installed"
    assert unit.services.running == new


def test_a_control_that_does_not_stop_is_left_with_its_release(unit):
    unit.assign("new")
    unit.services.stops = False
    report = unit.install()
    assert (report.verdict, report.release_after) == ("refused", unit.golden)
    assert unit.assert_sound() == unit.golden


def test_only_one_at_a_time(unit):
    unit.assign("new")
    with unit.paths.lock.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert unit.install().verdict == "busy"
    assert unit.install().verdict == "installed"


def test_the_judge_waits_for_who_called_it(unit):
    new = unit.assign("new")
    unit.services.flat = True
    unit.install()
    unit.services.flat = False
    lock = unit.paths.lock.open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    sleep = unit.services.sleep

    def until_gone(seconds: float) -> None:
        sleep(seconds)
        lock.close()

    unit.services.sleep = until_gone
    assert verdict(unit.installer().judge())[::2] == ("installed", new)


def refused(unit: FieldUnit) -> str:
    calls = [*unit.services.calls]
    report = unit.install()
    assert verdict(report) == ("refused", unit.assert_sound(), unit.assert_sound())
    assert unit.services.calls == calls, "nothing was stopped"
    return report.reason


def test_an_older_assignment_is_refused(unit):
    unit.assign("new", counter=5)
    unit.install()
    unit.assign("older", counter=4)
    assert "assignment 4 is older than 5" in refused(unit)


def test_a_second_assignment_of_the_same_number_is_refused(unit):
    unit.assign("new", counter=5)
    unit.install()
    unit.assign("other", counter=5)
    assert "named another release before" in refused(unit)


def test_the_way_back_to_an_older_release_is_a_new_assignment(unit):
    old = unit.assign("old")
    unit.install()
    unit.assign("new")
    unit.install()
    unit.assign("old")
    assert verdict(unit.install())[2] == old


def test_an_older_repository_is_refused(unit, tmp_path):
    unit.assign("old")
    shutil.copytree(unit.site.repository, tmp_path / "kept")
    unit.assign("new")
    unit.install()
    shutil.rmtree(unit.paths.books / "tuf")
    report = unit.installer().install(unit.depot(tmp_path / "kept"), HEALTH_S, 0.0)
    assert report.verdict == "refused"
    assert re.search(r"older than one seen before, \d+ after \d+; bring a newer", report.reason)


def test_another_servers_repository_is_refused(unit, tmp_path):
    place = tmp_path / "stranger"
    place.mkdir()
    stranger = FieldUnit(place)
    stranger.assign("evil")
    shutil.rmtree(unit.site.repository)
    shutil.copytree(stranger.site.repository, unit.site.repository)
    assert "UnsignedMetadataError" in refused(unit)


def test_a_unit_without_a_line_is_left_alone(unit):
    text = json.dumps({"schema": 1, "counter": 1, "units": {}})
    unit.site.publish({"fleet/assignments.json": text.encode()})
    assert f"no line for {UNIT}" in refused(unit)


def test_a_release_for_another_machine_is_refused(unit):
    unit.assign("new", target="cp310-z80")
    assert "was assigned a release for cp310-z80" in refused(unit)


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 2, "counter": 1, "units": {}}', "\xff"])
def test_what_is_no_assignment_is_refused(unit, text):
    unit.site.publish({"fleet/assignments.json": text.encode("latin1")})
    assert "assignments refused" in refused(unit)


def test_an_altered_archive_is_refused(unit):
    unit.assign("new")
    (path,) = (unit.site.repository / "targets" / "release" / TARGET).iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "not what was signed" in refused(unit)


def test_an_archive_that_is_not_the_release_it_is_called_is_refused(unit):
    unit.counter = 1
    unit.publish("0123456789abcdef", archive_of(release_files("other")))
    assert "the archive of release 0123456789abcdef holds" in refused(unit)


def test_a_full_disk_is_said_and_leaves_nothing(unit, monkeypatch):
    unit.assign("new")
    disk = "onboard.releases.download.shutil.disk_usage"
    with monkeypatch.context() as patch:
        patch.setattr(disk, lambda path: Usage(1 << 40, 1 << 40, 32 << 20))
        assert "no room" in refused(unit)
    assert unit.install().verdict == "installed"


def test_a_disk_that_fills_while_unpacking_leaves_nothing(unit, monkeypatch):
    unit.assign("new")
    frees = iter([1 << 40, 1 << 40, (64 << 20) + 10])
    usage = "onboard.releases.archive.shutil.disk_usage"
    with monkeypatch.context() as patch:
        patch.setattr(usage, lambda path: Usage(0, 0, next(frees)))
        assert "no room to unpack" in refused(unit)
    assert unit.install().verdict == "installed"


def test_a_release_that_was_placed_before_is_not_fetched_again(unit):
    unit.assign("new")
    unit.services.mode = "RUN"
    unit.services.sleep(2.0)
    assert unit.install().verdict == "unsafe"
    (archive,) = (unit.site.repository / "targets" / "release" / TARGET).iterdir()
    archive.unlink()
    unit.services.mode = "IDLE"
    assert unit.install().verdict == "installed"


def test_a_release_that_lies_there_damaged_is_fetched_anew(unit):
    new = unit.assign("new")
    assert lay(unit.paths.releases, "new") == new
    (unit.paths.release(new) / "lib/onboard/main.py").write_text("flipped")
    report = unit.install()
    assert (report.verdict, report.release_after) == ("refused", unit.golden)
    assert "damaged" in report.reason
    assert unit.install().verdict == "installed"
    unit.assert_sound()


def test_releases_that_nobody_needs_are_removed(unit):
    for word in ("one", "two", "three"):
        unit.assign(word)
        unit.install()
    journal = unit.journal()
    names = {path.name for path in unit.paths.releases.iterdir()}
    assert names == journal.needed
    assert unit.golden in names
    assert len(names) == 3


def test_releases_that_never_got_their_turn_make_room_for_the_next(unit):
    unit.services.mode = "RUN"
    unit.services.sleep(2.0)
    for word in ("one", "two"):
        last = unit.assign(word)
        assert unit.install().verdict == "unsafe"
    assert {path.name for path in unit.paths.releases.iterdir()} == {unit.golden, last}


def test_a_golden_assignment_becomes_what_the_unit_falls_back_to(unit):
    new = unit.assign("new", golden=True)
    unit.install()
    assert unit.journal().golden == new
    assert (unit.paths.program / "golden").readlink().name == new


def test_an_operator_goes_back(unit):
    old = unit.assign("old")
    unit.install()
    new = unit.assign("new")
    unit.install()
    assert verdict(unit.installer().roll_back(0.0)) == ("rolled_back", new, old)
    assert unit.assert_sound() == old
    assert "an operator went back" in unit.install().reason, "the assignment is not obeyed again"
    assert unit.assert_sound() == old


def test_an_operator_has_nowhere_to_go_back_to(unit):
    assert unit.installer().roll_back(0.0).verdict == "refused"
    assert unit.services.calls == ["start"]


def test_a_look_that_finds_nothing_new_writes_no_floor(unit):
    unit.assign("new")
    unit.install()
    floor = unit.paths.books / "version_floor"
    before = floor.stat().st_mtime_ns
    unit.install()
    assert floor.stat().st_mtime_ns == before


def test_the_floor_is_raised_before_anything_is_fetched(unit):
    unit.assign("new")
    unit.cut_at = Step.LISTED
    with pytest.raises(PowerCut):
        unit.install()
    assert read_floor(unit.paths.books / "version_floor").lists["targets"] == 2


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("deed", ["well", "crash"])
def test_after_a_power_cut_at_any_step_a_known_release_runs(unit, step, deed):
    good = unit.assign("good")
    unit.install()
    new = unit.assign("new")
    unit.services.deeds[new] = deed
    unit.cut_at = step
    with pytest.raises(PowerCut):
        unit.install()
    unit.boot()
    unit.services.sleep(30.0)
    assert unit.assert_sound() in ({good} if deed == "crash" else {good, new})
    assert unit.journal().phase is Phase.SETTLED
    unit.install()
    assert unit.assert_sound() == (good if deed == "crash" else new)


@pytest.mark.parametrize("step", [Step.NOTED, Step.SWITCHED, Step.STARTED])
def test_a_release_that_takes_the_machine_down_is_taken_back_after_three_starts(unit, step):
    good = unit.assign("good")
    unit.install()
    unit.assign("bad")
    unit.cut_at = step
    with pytest.raises(PowerCut):
        unit.install()
    for _ in range(3):
        unit.services.running = ""
        Guardian(unit.paths, lambda arguments: "", lambda: 0.0).boot()
    unit.services.start()
    assert unit.assert_sound() == good


@pytest.mark.parametrize("step", [*Step][4:])
def test_an_install_after_a_killed_one_ends_well_without_a_reboot(unit, step):
    unit.assign("new")
    unit.cut_at = step
    with pytest.raises(PowerCut):
        unit.install()
    unit.cut_at = None
    assert unit.install().verdict in ("installed", "already")
    unit.assert_sound()


def test_a_disk_that_refuses_the_journal_leaves_the_robot_running(unit, monkeypatch):
    unit.assign("new")

    def full(*_: object) -> None:
        raise StoreError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(trial, "write_journal", full)
        assert unit.install().verdict == "refused"
    assert unit.assert_sound() == unit.golden


def switched_with_links_that_refuse(unit, monkeypatch) -> str:
    """The journal says the new release, which is returned; the old one was started again."""
    new = unit.assign("new")

    def refusing(paths: UnitPaths, journal: Journal) -> bool:
        if journal.phase is Phase.TRIAL:
            raise StoreError("a link cannot be changed")
        return follow(paths, journal)

    with monkeypatch.context() as patch:
        patch.setattr(trial, "follow", refusing)
        assert unit.install().verdict == "unproven"
    assert (unit.journal().pending, unit.services.running) == (new, unit.golden)
    return new


def test_what_is_judged_is_the_release_on_trial_and_not_the_one_that_still_runs(unit, monkeypatch):
    new = switched_with_links_that_refuse(unit, monkeypatch)
    assert unit.installer().judge().verdict == "installed"
    assert unit.assert_sound() == new


def test_the_one_that_still_runs_is_not_stopped_while_the_motors_are_powered(unit, monkeypatch):
    new = switched_with_links_that_refuse(unit, monkeypatch)
    unit.services.sleep(2.0)
    unit.services.mode = "RUN"
    calls = [*unit.services.calls]
    with pytest.raises(StoreError, match="does not run yet"):
        unit.installer().judge()
    assert unit.services.calls == calls
    assert unit.journal().pending == new


def test_a_control_that_stops_only_in_part_is_started_again(unit):
    unit.assign("new")

    def in_part() -> None:
        unit.services.running = ""
        raise StoreError("the agent did not stop")

    unit.services.stop = in_part
    assert unit.install().verdict == "refused"
    assert unit.assert_sound() == unit.golden


def test_a_release_that_brings_bytecode_is_refused(tmp_path):
    """It is no part of the name that is checked, and would run in place of its source."""
    files = release_files("new") | {"lib/onboard/__pycache__/main.cpython-311.pyc": b"forged"}
    archive = tmp_path / "archive"
    archive.write_bytes(archive_of(files))
    with pytest.raises(BundleError, match="bytecode is made on the unit"):
        unpack(archive, tmp_path / ("0" * 16), 0, lambda: None)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "lib/../../x", "lib/\udcff", "a\n0  b", "a\tb"])
def test_a_name_that_no_release_has_is_refused(tmp_path, name):
    """The manifest is text: what cannot be printed would be no line of it, or two."""
    archive = tmp_path / "archive"
    archive.write_bytes(archive_of({name: b"forged"}))
    with pytest.raises(BundleError, match="cannot be part of a release"):
        unpack(archive, tmp_path / ("0" * 16), 0, lambda: None)
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["archive"]


def test_a_link_is_no_part_of_a_release(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        head = tarfile.TarInfo("lib")
        head.type, head.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(head)
    archive = tmp_path / "archive"
    archive.write_bytes(zstandard.compress(buffer.getvalue()))
    with pytest.raises(BundleError, match="cannot be part of a release"):
        unpack(archive, tmp_path / ("0" * 16), 0, lambda: None)
