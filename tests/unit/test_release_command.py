"""``wombet-onboard release``: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal

import pytest
from made_unit import UNIT, FieldUnit

from onboard.exit_status import Exit
from onboard.release_command import release
from onboard.releases import acts
from onboard.releases.links import sweep
from onboard.releases.report import EXIT_STATUS, Report
from protocol.errors import ConfigError, StoreError

KEYS = {"unit", "release_before", "release_after", "verdict", "reason"}
STATUS_KEYS = {
    "current",
    "previous",
    "golden",
    "pending",
    "boot_count",
    "counter",
    "healthy",
    "log",
}


@pytest.fixture(autouse=True)
def signals():
    """The command ignores what would end it; the tests' own process must not."""
    kept = {
        number: signal.getsignal(number)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    }
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def unit(tmp_path, monkeypatch) -> FieldUnit:
    made = FieldUnit(tmp_path)
    monkeypatch.setattr(acts, "_installer", lambda paths: made.installer())
    monkeypatch.setattr(acts, "Systemd", lambda: made.services)
    monkeypatch.setattr(acts, "pulse_at", lambda socket: made.services.pulse())
    made.services.sleep(5.0)
    return made


def run(unit: FieldUnit, verb: str, *arguments: object, **options: object) -> int:
    return release(verb, *arguments, root=unit.paths.root, clock="as-set", **options)


def test_the_last_line_of_an_install_is_its_verdict(unit, capsys):
    new = unit.assign("new")
    assert run(unit, "install", unit.site.repository, health_s=5.0) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found == {
        "unit": UNIT, "release_before": unit.golden, "release_after": new,
        "verdict": "installed", "reason": "",
    }  # fmt: skip


def test_a_release_that_is_taken_back_shows_in_the_exit_status(unit, capsys):
    bad = unit.assign("bad")
    unit.services.deeds[bad] = "crash"
    assert run(unit, "install", unit.site.repository, health_s=5.0) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "rolled_back"


def test_every_verdict_has_an_exit_status_of_its_own_but_for_the_two_that_are_fine():
    assert sorted(EXIT_STATUS.values()) == [0, 0, 3, 4, 5, 6, 7]
    assert set(json.loads(Report("u", "a", "b", "busy").json())) == KEYS


def test_the_status_says_all_that_the_fleet_wants_to_know(unit, capsys):
    new = unit.assign("new")
    run(unit, "install", unit.site.repository, health_s=5.0)
    capsys.readouterr()
    assert run(unit, "status", json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= STATUS_KEYS
    assert (found["current"], found["previous"], found["healthy"]) == (new, unit.golden, True)
    assert [entry["event"] for entry in found["log"]] == ["trial", "proven"]


def test_a_unit_on_trial_or_without_control_is_not_healthy(unit, capsys):
    unit.assign("new")
    unit.services.flat = True
    assert run(unit, "install", unit.site.repository, health_s=5.0) == 7
    capsys.readouterr()
    run(unit, "status", json=True)
    assert json.loads(capsys.readouterr().out)["healthy"] is False
    unit.services.flat = False
    assert run(unit, "judge") == 0
    unit.services.stop()
    capsys.readouterr()
    run(unit, "status", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["healthy"], found["mode"], found["pending"]) == (False, "away", "")


def test_for_people_it_is_text(unit, capsys):
    assert run(unit, "status") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{UNIT}: release {unit.golden} (settled), control IDLE\n")


def test_the_list_marks_what_is_needed(unit, capsys):
    new = unit.assign("new")
    run(unit, "install", unit.site.repository, health_s=5.0)
    capsys.readouterr()
    assert run(unit, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted([f"{new} current", f"{unit.golden} previous golden"])


def test_a_rollback_that_was_asked_for_is_a_success(unit, capsys):
    unit.assign("new")
    run(unit, "install", unit.site.repository, health_s=5.0)
    capsys.readouterr()
    assert run(unit, "rollback") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["verdict"] == "rolled_back"
    assert run(unit, "rollback") == 4


def test_prune_says_what_went(unit, capsys):
    (unit.paths.releases / ("f" * 16)).mkdir()
    assert run(unit, "prune") == 0
    assert capsys.readouterr().out.split() == ["f" * 16]
    assert [path.name for path in unit.paths.releases.iterdir()] == [unit.golden]


def test_a_power_cut_while_pruning_leaves_no_half_under_a_release_s_name(unit, monkeypatch):
    """What is left is swept at the next boot."""
    old = unit.paths.releases / ("f" * 16)
    (old / "lib").mkdir(parents=True)

    def cut(*_: object, **__: object) -> None:
        if not old.exists():
            raise SystemExit("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr("onboard.releases.stock.shutil.rmtree", cut)
        with pytest.raises(SystemExit):
            run(unit, "prune")
    assert sorted(path.name for path in unit.paths.releases.iterdir()) == sorted(
        [unit.golden, f"{old.name}.part"]
    )
    sweep(unit.paths)
    assert [path.name for path in unit.paths.releases.iterdir()] == [unit.golden]


@pytest.mark.parametrize(("verb", "directories"), [("install", 0), ("status", 1)])
def test_a_directory_belongs_to_install_and_to_nothing_else(unit, verb, directories, tmp_path):
    with pytest.raises(ConfigError, match="name the directory"):
        run(unit, verb, *[tmp_path] * directories)


def test_a_unit_that_does_not_know_its_name_says_so(unit):
    unit.paths.unit.unlink()
    with pytest.raises(ConfigError, match="which unit this is"):
        run(unit, "status")


def test_what_prevents_any_install_is_an_answer_too(unit, monkeypatch, capsys):
    def broken(paths):
        raise StoreError("there is no release")

    monkeypatch.setattr(acts, "_installer", broken)
    assert run(unit, "install", unit.site.repository) == 4
    assert json.loads(capsys.readouterr().out)["reason"] == "there is no release"


def test_a_caller_that_goes_away_ends_no_install(unit):
    unit.assign("new")
    run(unit, "install", unit.site.repository, health_s=5.0)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
