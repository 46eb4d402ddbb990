"""Does our playbook carry a slice, call the unit's installer and bring its answer back?

Ansible is the real one; the units are this machine, with another program in the installer's place.
"""

from __future__ import annotations

import json
import os
import select
from pathlib import Path

import msgspec
import pytest
from made_fleet import executable, made_fleet

from offboard.fleet.ansible_reach import PLAYBOOK, SSH_OPTIONS, AnsibleReach, Terms
from protocol.errors import ConfigError

OLD, NEW = "0" * 16, "1" * 16
UNIT = """\
#!/bin/sh
# The unit's program: busy at first; after an install it runs what it was given.
[ "$2" = install ] && [ ! -e {place}/asked ] && {{ touch {place}/asked; exit 6; }}
[ "$2" = install ] && {{ echo "$@" > {place}/called; ls -R "$3" > {place}/carried; }}
release={old}; [ -e {place}/called ] && release={new}
if [ "$2" = status ]; then echo '{{"current": "'$release'", "healthy": true}}'
else echo '{{"verdict": "installed", "release_before": "{old}", "release_after": "{new}"}}'; fi
"""


def ends(pid: int, within_s: float) -> bool:
    """A signal is on its way when the kill returns: readable is a process that has ended."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within_s)[0])
    finally:
        os.close(process)


@pytest.fixture
def slice_(tmp_path: Path) -> Path:
    for path in ("metadata/timestamp.json", "targets/release/x.tar.zst"):
        file = tmp_path / "slice" / path
        file.parent.mkdir(parents=True)
        file.write_text(path)
    return tmp_path / "slice"


def program(place: Path, unit: Path) -> list[str]:
    """Ansible with the unit's program and folder in the places of the real ones."""
    import sys

    ansible = Path(sys.executable).with_name("ansible-playbook")
    if not ansible.exists():
        pytest.skip("ansible-core is not installed")
    extra = json.dumps({"onboard": str(unit), "place": str(place / "landing"), "pause_s": 0})
    return [str(ansible), "--extra-vars", extra]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_unit_installs_and_one_without_its_interpreter_refuses(
    tmp_path: Path, slice_: Path
) -> None:
    unit = executable(tmp_path / "unit", UNIT.format(place=tmp_path, old=OLD, new=NEW))
    reach = AnsibleReach(tmp_path / "ansible", program(tmp_path, unit), "local")
    fleet = made_fleet()
    units = {"bench": fleet.unit("bench"), "duck": fleet.unit("duck")}  # no Python 3.10 here
    answers = reach.install(units, dict.fromkeys(units, NEW), slice_, Terms(7.0, 3.0, "as-set"))
    log = (tmp_path / "ansible" / "log").read_text()
    assert (answers["bench"].verdict, answers["bench"].before) == ("installed", OLD), log
    assert answers["duck"].verdict == "refused" or Path("/usr/bin/python3.10").exists()
    options = "--wait-s 3 --health-s 7 --clock as-set"
    called = (tmp_path / "called").read_text()
    assert called == f"release install {tmp_path / 'landing'} {options}\n"
    assert "x.tar.zst" in (tmp_path / "carried").read_text()
    assert not (tmp_path / "landing").exists(), "no copy is left on the unit"


def test_units_are_named_as_ansible_reaches_them(tmp_path: Path) -> None:
    fleet = made_fleet()
    hosts = AnsibleReach(tmp_path).hosts(fleet.units, dict.fromkeys(fleet.units, NEW))
    assert hosts["duck"]["ansible_host"] == "10.0.0.17"
    assert (hosts["duck"]["ansible_user"], hosts["duck"]["ansible_become"]) == ("root", False)
    assert (hosts["bench"]["ansible_user"], hosts["bench"]["ansible_become"]) == ("field", True)
    assert hosts["duck"]["ansible_python_interpreter"] == "/usr/bin/python3.10"
    assert "BatchMode=yes" in SSH_OPTIONS


def test_without_ansible_one_is_told_what_to_install(tmp_path: Path, slice_: Path) -> None:
    reach = AnsibleReach(tmp_path / "ansible", [str(tmp_path / "none")])
    fleet = made_fleet()
    with pytest.raises(ConfigError, match=r"wombet\[fleet\]"):
        reach.install({"duck": fleet.unit("duck")}, {"duck": NEW}, slice_, Terms())


def test_an_answer_of_an_earlier_visit_is_not_taken_for_one_of_this(
    tmp_path: Path, slice_: Path
) -> None:
    reach = AnsibleReach(tmp_path / "ansible", ["/bin/true"])
    stale = tmp_path / "ansible" / "answers" / "duck.json"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(msgspec.json.encode({"after": f'{{"current": "{NEW}", "healthy": true}}'}))
    units = {"duck": made_fleet().unit("duck")}
    assert reach.install(units, {"duck": NEW}, slice_, Terms())["duck"].verdict == "away"


REFUSED = (
    'fatal: [duck]: UNREACHABLE! => {"changed": false, "msg": "Task failed: Failed to connect to '
    'the host via ssh: Host key verification failed.", "unreachable": true}'
)


def test_a_unit_whose_host_key_is_not_known_is_told_with_what_to_do(
    tmp_path: Path, slice_: Path
) -> None:
    play = executable(tmp_path / "play", f"#!/bin/sh\necho '{REFUSED}'\n")
    reach = AnsibleReach(tmp_path / "ansible", [str(play)])
    units = {"duck": made_fleet().unit("duck"), "bench": made_fleet().unit("bench")}
    answers = reach.install(units, dict.fromkeys(units, NEW), slice_, Terms())
    assert {answer.verdict for answer in answers.values()} == {"away"}
    assert "ssh-keygen -R 10.0.0.17; ssh-keyscan 10.0.0.17 >>" in answers["duck"].reason
    assert answers["bench"].reason == f"not reached; see {tmp_path / 'ansible' / 'log'}"
    play.write_text("#!/bin/sh\n")
    answers = reach.install(units, dict.fromkeys(units, NEW), slice_, Terms())
    assert "ssh-keygen" not in answers["duck"].reason, "that was an earlier visit"
    assert REFUSED in (tmp_path / "ansible" / "log").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_so_it_is_where_ansible_itself_says_it(tmp_path: Path, slice_: Path, monkeypatch) -> None:
    ssh = executable(
        tmp_path / "ssh", "#!/bin/sh\necho Host key verification failed. >&2\nexit 255\n"
    )
    monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", str(ssh))
    reach = AnsibleReach(tmp_path / "ansible", program(tmp_path, tmp_path / "unit"))
    units = {"duck": made_fleet().unit("duck")}
    answers = reach.install(units, {"duck": NEW}, slice_, Terms())
    log = (tmp_path / "ansible" / "log").read_text()
    assert "ssh-keyscan 10.0.0.17 >>" in answers["duck"].reason, log


def test_a_batch_is_visited_side_by_side(tmp_path: Path, slice_: Path) -> None:
    program = executable(tmp_path / "play", f'#!/bin/sh\necho "$@" > {tmp_path}/argv\n')
    units = {f"u{number}": made_fleet().unit("duck") for number in range(12)}
    reach = AnsibleReach(tmp_path / "ansible", [str(program)])
    reach.install(units, dict.fromkeys(units, NEW), slice_, Terms())
    assert "--forks 12" in (tmp_path / "argv").read_text()


def test_when_time_is_up_nothing_goes_on_behind_our_back(tmp_path: Path, slice_: Path) -> None:
    body = f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n"
    program = executable(tmp_path / "play", body)
    reach = AnsibleReach(tmp_path / "ansible", [str(program)], carry_s=2.0)
    units = {"duck": made_fleet().unit("duck")}
    answers = reach.install(units, {"duck": NEW}, slice_, Terms(0.0, 0.0))
    assert answers["duck"].verdict == "away"
    assert ends(int((tmp_path / "child").read_text()), within_s=10.0)


def test_the_playbook_uses_nothing_but_what_ansible_brings() -> None:
    from importlib import resources

    text = resources.files("offboard.fleet").joinpath("ansible", PLAYBOOK).read_text()
    calls = [line.strip() for line in text.splitlines() if line.strip().startswith("ansible.")]
    assert len(calls) >= 5
    assert all(call.startswith("ansible.builtin.") for call in calls)
