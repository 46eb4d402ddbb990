"""A recorded run lives through again, bit by bit, and a changed one is found out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_rig import ROBOT
from made_trial import LockStep

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.command import ReliveCommand, run_relive
from sim_harness.hil.scenario import parse_suite
from sim_harness.hil.tape import Heard, Tape, read_tape, write_tape
from sim_harness.hil.truth import Truth, relive

SPEC = load_robot_spec(ROBOT)
NOISY = """schema = 1
[[scenarios]]
name = "noisy"
about = "Everything that draws random numbers."
lasts_s = 1.0
must = { end = ["RUN", "RECOVER", "HOLD", "FAULT"] }
faults = [
  { kind = "flip", at_s = 0.1, share = 0.01 },
  { kind = "babble", at_s = 0.2, for_s = 0.3, length = 5 },
  { kind = "delay", at_s = 0.3, for_s = 0.3, delay_s = 0.0, jitter_s = 0.002 },
  { kind = "noisy", at_s = 0.1, for_s = 0.6, joint = "motor", sigma_rad = 0.01 },
  { kind = "push", at_s = 0.4, for_s = 0.1, weights = [0.1, 0.1, 0.0] },
  { kind = "payload", at_s = 0.5, share = 1.5 },
]
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Truth, Tape]:
    (scenario,) = parse_suite(NOISY, "test").scenarios
    _, truth, tape = LockStep(scenario, tmp_path_factory.mktemp("run")).run()
    return truth, tape


def test_a_tape_from_disk_gives_the_same_run_to_the_last_bit(recorded, tmp_path):
    truth, tape = recorded
    write_tape(tmp_path / "tape", tape)
    again = relive(read_tape(tmp_path / "tape"), SPEC, ROBOT.parent)
    assert (truth.mismatches, again.mismatches) == (0, 0)
    for was, now in zip(truth[:6], again[:6], strict=True):
        assert np.array_equal(was, now)


def test_the_replay_moved_the_robot(recorded):
    truth, _ = recorded
    assert np.ptp(truth.position_rad[:, 0]) > 0.01
    assert np.abs(truth.torque_nm).max() > 0.0


def test_another_command_is_another_run(recorded):
    _, tape = recorded
    heard = [n for n, event in enumerate(tape.events) if isinstance(event, Heard)]
    half = len(heard) // 2  # a few: one alone may be a question whose answer nobody needed
    events = [event for n, event in enumerate(tape.events) if n not in heard[half : half + 8]]
    changed = msgspec.structs.replace(tape, events=tuple(events))
    assert relive(changed, SPEC, ROBOT.parent).mismatches > 0


def test_another_seed_is_another_run(recorded):
    _, tape = recorded
    assert relive(msgspec.structs.replace(tape, seed=5), SPEC, ROBOT.parent).mismatches > 0


def test_another_robot_is_refused(recorded):
    _, tape = recorded
    with pytest.raises(ConfigError, match="another furuta"):
        relive(msgspec.structs.replace(tape, digest="0" * 64), SPEC, ROBOT.parent)


def test_the_command_says_whether_the_answers_were_the_same(recorded, tmp_path, capsys):
    _, tape = recorded
    path = tmp_path / "tape"
    write_tape(path, tape)
    assert run_relive(ReliveCommand(tape=path, robot=ROBOT)) == 0
    write_tape(path, msgspec.structs.replace(tape, seed=5))
    assert run_relive(ReliveCommand(tape=path, robot=ROBOT)) == 1
    assert " 0 answers differ" in capsys.readouterr().out


@pytest.mark.parametrize("data", [None, b"", b"no tape", b"\x81\xa5robot\xc0"])
def test_what_is_no_tape_is_refused(data, tmp_path: Path):
    path = tmp_path / "tape"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(StoreError, match="cannot read the tape"):
        read_tape(path)
