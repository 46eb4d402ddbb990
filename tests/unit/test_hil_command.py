"""What the command makes of its options, before anything is started."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from made_rig import ROBOT

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.bench import Outfit
from sim_harness.hil.command import HilCommand, _chosen, _outfit, run_hil
from sim_harness.hil.host import Host, host_of
from sim_harness.hil.runtime import Runtime
from sim_harness.hil.timeline import faults_of

COMMAND = HilCommand(ROBOT)
JETSON = replace(COMMAND, onboard="ssh://user@jetson")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (replace(COMMAND, only=("nothing",)), "no scenario nothing"),
        (replace(COMMAND, seed=-1), "--seed -1: give 0 or more"),
        (replace(COMMAND, state=Path("gone")), "--state gone: there is no such directory"),
        (replace(COMMAND, onboard="http://jetson"), "give ssh://USER@HOST"),
        (JETSON, "give --serial and --onboard-port"),
        (replace(JETSON, serial=Path("/dev/null")), "give --serial and --onboard-port"),
        (replace(COMMAND, scenarios=Path("gone.toml")), "gone.toml cannot be read"),
    ],
)
def test_options_that_cannot_be_had_are_refused(
    command: HilCommand, told: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=told):
        run_hil(replace(command, out=out))
    assert not out.exists()


def test_another_seed_draws_other_faults_and_the_same_seed_the_same() -> None:
    def drawn(seed: int) -> list[object]:
        (scenario,) = _chosen(replace(COMMAND, only=("random_wire",), seed=seed))
        return [*faults_of(scenario)]

    assert drawn(0) == drawn(0) != drawn(1)


def test_the_state_of_an_enrolled_robot_is_used_as_it_is(tmp_path: Path) -> None:
    """Its newest policy is tested: none of the plain ones is laid beside it."""
    command = replace(COMMAND, state=tmp_path)
    assert _outfit(command, load_robot_spec(ROBOT), tmp_path / "scratch") == Outfit(tmp_path, None)
    assert not (tmp_path / "scratch").exists()


def test_a_robot_starts_from_a_copy_of_its_state_without_leftovers(tmp_path: Path) -> None:
    template, place = tmp_path / "template", tmp_path / "place"
    template.mkdir()
    (template / "identity").write_text("mine")
    runtime = Runtime(Host(), ("true",), "robot.toml", "tty", "tcp://127.0.0.1:1", str(place))
    for _ in range(2):
        runtime.prepare(template, fillable=False)
        assert [each.name for each in (place / "state").iterdir()] == ["identity"]
        (place / "state" / "left over").write_text("of the last run")
    assert [each.name for each in template.iterdir()] == ["identity"]


@pytest.mark.parametrize("program", ["false", "no-such-program", "true"])
def test_flights_that_cannot_be_had_are_told_and_cost_no_verdict(program, tmp_path: Path) -> None:
    """The recorder has nothing, the program is gone, or there are no flights to copy."""
    place = tmp_path / "place"
    runtime = Runtime(Host(), (program,), "robot.toml", "tty", "tcp://127.0.0.1:1", str(place))
    assert runtime.hand_over(tmp_path / "flights", "calm")
    assert not [*tmp_path.glob("flights/*")]


def test_a_runtime_elsewhere_reaches_the_server_of_this_machine_through_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the server would never be there, and losing it would prove nothing."""
    ssh, words = tmp_path / "ssh", tmp_path / "words"
    os.mkfifo(words)
    ssh.write_text(f'#!/bin/sh\necho "$@" > {words}\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with (tmp_path / "log").open("wb") as log:
        runtime = Runtime(
            host_of("ssh://user@jetson"), ("wombet-onboard",), "robot.toml", "/dev/ttyUSB0",
            "tcp://127.0.0.1:4711", "/tmp/place",
        )  # fmt: skip
        runtime.start(log)
        told = words.read_text()  # when it has said them
        runtime.stop()
    way = "-R 127.0.0.1:4711:127.0.0.1:4711 -o ExitOnForwardFailure=yes"
    assert f"{way} user@jetson -- wombet-onboard run" in told
    assert "--server tcp://127.0.0.1:4711" in told
