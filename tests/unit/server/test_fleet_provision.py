"""Is a running unit provisioned as a whole, or left as it was? ssh and systemd are stand-ins."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from made_fleet import (
    HERE,
    executable,
    made_fleet,
    made_identity,
    made_release,
    made_rootfs,
)

from offboard.file_lock import waiting_lock
from offboard.fleet.fleet_file import Unit
from offboard.fleet.overlay import Overlay
from offboard.fleet.provision import SSH, provision, remote_command
from offboard.fleet.unit_identity import UnitIdentity
from offboard.fleet.unit_overlay import make_overlay
from protocol.errors import ConfigError

SYSTEMD = ("systemd-sysusers", "systemd-tmpfiles", "udevadm", "sync")
RUNNER = """\
#!/bin/sh
# What the ssh of the test is given: ADDRESS COMMAND. `sudo -n` is taken off.
echo "$1" >> {place}/addresses
PATH={place}/bin:$PATH
exec sh -c "${{2#sudo -n }}"
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as on the unit")
needs_python = pytest.mark.skipif(
    not Path("/usr/bin/python3.11").exists(), reason="needs the interpreter of the bench unit"
)


class Bench:
    """A unit whose root is a directory, and the program that reaches it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = made_rootfs(place / "root")
        (place / "bin").mkdir()
        for name in SYSTEMD:
            self.stub(name, f'echo {name} "$@" >> {place}/ran')
        self.stub("systemctl", f'echo systemctl "$@" >> {place}/ran; [ "$1" != is-active ]')
        self.ssh = [str(executable(place / "ssh", RUNNER.format(place=place)))]

    def stub(self, name: str, body: str) -> None:
        executable(self.place / "bin" / name, f"#!/bin/sh\n{body}\n")

    @property
    def unit(self) -> Unit:
        return made_fleet().unit("bench")

    def provision(self, made: Overlay) -> None:
        provision("bench", self.unit, made, self.ssh, str(self.root))

    def ran(self) -> list[str]:
        path = self.place / "ran"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def overlay(identity: UnitIdentity | None = None, **release: str) -> Overlay:
    fleet = made_fleet()
    made = (identity or made_identity(), made_release(HERE, **release))
    return make_overlay("bench", fleet.unit("bench"), fleet.server, [], *made, False)


@needs_root
@needs_python
def test_a_running_unit_gets_everything_and_is_started(bench: Bench) -> None:
    made = overlay()
    bench.provision(made)
    for entry in made.entries:
        path = bench.root / entry.path
        assert path.is_symlink() if entry.link else path.read_bytes() == entry.data
    assert (bench.root / "etc/wombet/identity/keys/robot.secret").stat().st_mode & 0o777 == 0o600
    assert (bench.root / "etc/wombet/identity").stat().st_mode & 0o777 == 0o700
    assert (bench.root / "etc").stat().st_mode & 0o777 == 0o755, "what was there keeps its mode"
    assert bench.ran()[-1] == (
        "systemctl enable --now wombet-release-boot wombet-release-install.path "
        "wombet-control wombet-agent"
    )
    assert not (bench.root / "opt/wombet/.overlay").exists()
    assert (bench.place / "addresses").read_text() == "field@10.0.0.18\n"


@needs_root
@needs_python
def test_its_modules_are_compiled_and_everybody_may_read_them(bench: Bench) -> None:
    bench.provision(overlay())
    library = (bench.root / "opt/wombet/current").resolve() / "lib"
    compiled = [*library.rglob("*.pyc")]
    assert {path.name.partition(".")[0] for path in compiled} >= {"main", "thought"}
    assert {path.stat().st_mode & 0o777 for path in compiled} == {0o644}
    assert {path.parent.stat().st_mode & 0o777 for path in compiled} == {0o755}
    assert {path.read_bytes()[4] for path in compiled} == {1}, "their source is not looked at"


@needs_root
@needs_python
def test_provisioning_again_keeps_state_but_takes_a_new_key(bench: Bench) -> None:
    state = bench.root / "var/lib/wombet"
    (state / "keys").mkdir(parents=True)
    (state / "keys" / "robot.secret").write_bytes(made_identity().secret)
    (state / "spool.sqlite").write_bytes(b"records")
    bench.provision(overlay())
    assert (state / "keys").exists()
    other = UnitIdentity(b"q" * 40, b"t" * 40, b"S" * 40, b"{}")
    bench.provision(overlay(other))
    assert not (state / "keys").exists(), "systemd-tmpfiles copies the new ones"
    assert (state / "spool.sqlite").read_bytes() == b"records"


def untouched(bench: Bench) -> bool:
    return not (bench.root / "etc/wombet").exists() and not any(
        "enable" in line for line in bench.ran()
    )


def test_a_robot_that_runs_is_left_alone(bench: Bench) -> None:
    bench.stub("systemctl", "exit 0")
    with pytest.raises(ConfigError, match=r"not provisioned: .*when it is safe"):
        bench.provision(overlay())
    assert untouched(bench)


@needs_python
def test_a_unit_that_installs_a_release_is_left_alone(bench: Bench) -> None:
    lock = bench.root / "var/opt/wombet/lock"
    with (
        waiting_lock(lock),
        pytest.raises(ConfigError, match="not provisioned: a release is being installed"),
    ):
        bench.provision(overlay())
    assert untouched(bench)


@needs_python
def test_a_release_that_does_not_start_there_changes_nothing(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="does not start here"):
        bench.provision(overlay(main="def main():\n    raise SystemExit(1)\n"))
    assert untouched(bench)


def test_an_overlay_damaged_on_its_way_changes_nothing(bench: Bench, monkeypatch) -> None:
    made = overlay()
    whole = made.tar()
    damaged = whole.replace(b"ANSWER = 42", b"ANSWER = 41")
    assert damaged != whole
    monkeypatch.setattr(made, "tar", lambda: damaged)
    with pytest.raises(ConfigError, match="damaged on its way"):
        bench.provision(made)
    monkeypatch.setattr(made, "tar", lambda: whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="not provisioned"):
        bench.provision(made)
    assert untouched(bench)


@pytest.mark.skipif(Path("/usr/bin/python3.10").exists(), reason="this machine has Python 3.10")
def test_a_unit_with_another_system_changes_nothing(bench: Bench) -> None:
    jetpack6 = made_fleet().unit("duck")
    with pytest.raises(ConfigError, match=r"no /usr/bin/python3\.10; is `system`"):
        provision("duck", jetpack6, overlay(), bench.ssh, str(bench.root))
    assert untouched(bench)


def test_a_unit_that_pulls_cannot_be_reached() -> None:
    unit = made_fleet(address="pulls").unit("duck")
    with pytest.raises(ConfigError, match="duck pulls"):
        provision("duck", unit, overlay())


def test_a_unit_that_does_not_answer_is_not_called_provisioned(tmp_path: Path) -> None:
    ssh = [str(executable(tmp_path / "ssh", "#!/bin/sh\necho no route >&2\nexit 255\n"))]
    with pytest.raises(ConfigError, match=r"duck \(root@10.0.0.17\) not provisioned: no route"):
        provision("duck", made_fleet().unit("duck"), overlay(), ssh)


def test_a_unit_whose_host_key_is_not_known_is_told_with_what_to_do(tmp_path: Path) -> None:
    body = (
        "#!/bin/sh\nyes @@@@ | head -c 900 >&2\necho Host key verification failed. >&2\nexit 255\n"
    )
    ssh = [str(executable(tmp_path / "ssh", body))]
    with pytest.raises(ConfigError, match=r"not provisioned: .*once: ssh-keygen -R 10\.0\.0\.17;"):
        provision("duck", made_fleet().unit("duck"), overlay(), ssh)


def test_who_is_not_root_asks_sudo_which_does_not_ask_back() -> None:
    fleet = made_fleet()
    assert remote_command(fleet.unit("bench")).startswith("sudo -n sh -c ")
    assert shlex.split(remote_command(fleet.unit("duck")))[-3:] == ["provision", "/", "python3.10"]
    assert "BatchMode=yes" in SSH
