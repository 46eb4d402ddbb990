"""What takes a release back when none can be relied on, alone with the standard library."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_unit import lay

from onboard.releases.guardian import Guardian, main
from onboard.releases.journal import Journal, Phase, read_journal, write_journal
from onboard.releases.links import follow
from onboard.releases.unit_paths import UnitPaths
from protocol.errors import StoreError

SOURCE = Path(__file__).parents[2]
JUDGE = "start --no-block wombet-release-judge.service"


class Boot:
    """A unit of three releases, and what systemd would say."""

    def __init__(self, place: Path) -> None:
        self.paths = paths = UnitPaths(place)
        paths.releases.mkdir(parents=True)
        paths.books.mkdir(parents=True)
        self.gold, self.old, self.new = (
            lay(paths.releases, word) for word in ("gold", "old", "new")
        )
        self.result = "Result=exit-code\nExecMainStatus=70\n"
        self.asked: list[str] = []
        self.guardian = Guardian(paths, self.systemctl, lambda: 5.0)

    def systemctl(self, arguments) -> str:
        self.asked.append(" ".join(arguments))
        return self.result if arguments[0] == "show" else ""

    def write(self, phase: Phase, boots: int = 0) -> None:
        write_journal(self.paths, Journal(self.new, self.old, self.gold, phase, 3, boots))
        follow(self.paths, read_journal(self.paths))

    def linked(self, name: str = "current") -> str:
        return (self.paths.program / name).readlink().name


@pytest.fixture(autouse=True)
def no_disk(monkeypatch):
    """A power cut here is an exception: what was written stays, so nothing has to be forced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def unit(tmp_path: Path) -> Boot:
    return Boot(tmp_path)


def test_a_settled_unit_boots_as_it_is(unit):
    unit.write(Phase.SETTLED)
    assert unit.guardian.boot().current == unit.new
    assert unit.asked == []


def test_a_unit_on_trial_gets_a_judge_and_a_start_counted(unit):
    unit.write(Phase.TRIAL)
    assert unit.guardian.boot().boots == 1
    assert unit.asked == [JUDGE]
    assert read_journal(unit.paths).boots == 1


def test_links_that_a_power_cut_left_behind_are_brought_up(unit):
    unit.write(Phase.TRIAL)
    follow(unit.paths, Journal(unit.old, "", unit.gold))
    unit.guardian.boot()
    assert (unit.linked(), unit.linked("previous")) == (unit.new, unit.old)


def test_the_third_start_takes_the_release_back(unit):
    unit.write(Phase.TRIAL, boots=2)
    assert unit.guardian.boot().current == unit.old
    assert unit.linked() == unit.old
    assert unit.asked == [JUDGE], "the one before has to show that it runs"


def test_after_that_golden(unit):
    unit.write(Phase.TRIAL, boots=2)
    for _ in range(4):
        unit.guardian.boot()
    assert unit.linked() == unit.gold
    assert unit.guardian.boot().phase is Phase.SETTLED


@pytest.mark.parametrize("phase", Phase)
def test_a_release_that_is_gone_from_the_disk_is_no_place_to_stay(unit, phase):
    unit.write(phase)
    shutil.rmtree(unit.paths.release(unit.new))
    found = unit.guardian.boot().current
    assert found == unit.linked() != unit.new


def test_nor_is_the_one_before_if_it_is_gone_too(unit):
    unit.write(Phase.TRIAL)
    for name in (unit.new, unit.old):
        shutil.rmtree(unit.paths.release(name))
    unit.guardian.boot()
    assert unit.linked() == unit.gold


def test_what_was_half_unpacked_is_swept(unit):
    unit.write(Phase.SETTLED)
    (unit.paths.releases / "abc.part").mkdir()
    unit.guardian.boot()
    assert not (unit.paths.releases / "abc.part").exists()


def test_a_damaged_journal_stops_no_boot(unit, capsys):
    unit.write(Phase.TRIAL)
    unit.paths.journal.write_text("rubbish")
    assert unit.guardian.boot().current == unit.new
    assert read_journal(unit.paths).phase is Phase.TRIAL
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("phase", [Phase.TRIAL, Phase.RETURNED])
def test_a_control_that_cannot_be_kept_running_takes_its_release_with_it(unit, phase):
    unit.write(phase)
    journal = unit.guardian.control_failed()
    assert journal.current == unit.linked() == (unit.old if phase is Phase.TRIAL else unit.gold)
    assert "exit status 70" in journal.log[-1].reason
    assert "restart --no-block wombet-control.service wombet-agent.service" in unit.asked
    assert unit.asked.index("reset-failed wombet-control.service wombet-agent.service") == 1


def test_a_release_that_has_proven_itself_is_not_taken_back_for_a_failure_later(unit):
    unit.write(Phase.SETTLED)
    assert unit.guardian.control_failed().current == unit.new
    assert [call.split()[0] for call in unit.asked] == ["show"]


def test_motors_that_did_not_confirm_are_no_releases_fault(unit):
    unit.write(Phase.TRIAL)
    unit.result = "Result=exit-code\nExecMainStatus=3\n"
    assert unit.guardian.control_failed().current == unit.new


def test_who_judges_already_is_left_alone(unit):
    unit.write(Phase.TRIAL)
    with unit.paths.lock.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert unit.guardian.control_failed().current == unit.new
    assert unit.asked == []


def test_a_unit_without_any_release_says_so(tmp_path, capsys):
    assert main(["boot"], tmp_path) == 1
    assert "provision" in capsys.readouterr().err
    with pytest.raises(StoreError):
        Guardian(UnitPaths(tmp_path), lambda arguments: "").boot()


@pytest.mark.parametrize("argv", [[], ["reboot"], ["boot", "now"]])
def test_a_word_it_does_not_know_is_refused(argv, tmp_path):
    assert main(argv, tmp_path) == 2


def test_without_systemctl_the_disk_is_in_order_all_the_same(unit, monkeypatch):
    unit.write(Phase.TRIAL, boots=2)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["boot"], unit.paths.root) == 1
    assert unit.linked() == unit.old


PROGRAM = """\
import sys
from pathlib import Path
from onboard.releases.guardian import main
foreign = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
assert foreign <= {"onboard", "protocol", "__main__"}, foreign
raise SystemExit(main(sys.argv[2:], Path(sys.argv[1])))
"""


def test_it_runs_outside_of_every_release_with_the_standard_library_alone(unit, tmp_path):
    """As the overlay lays it; every release is damaged beyond starting."""
    unit.write(Phase.SETTLED)
    boot = tmp_path / "boot"
    modules = [
        "onboard/__init__.py",
        "onboard/durable.py",
        "protocol/__init__.py",
        "protocol/errors.py",
    ]
    names = ("__init__", "course", "guardian", "journal", "links", "unit_paths")
    for module in [*modules, *(f"onboard/releases/{name}.py" for name in names)]:
        (boot / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / module, boot / module)
    (boot / "__main__.py").write_text(PROGRAM)
    argv = [sys.executable, "-I", "-S", str(boot), str(tmp_path), "boot"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, cwd="/", env={**os.environ}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"release {unit.new} is settled\n"
