"""Do recorded inputs give the same outputs again, and does a change show where it was made?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_loop import Bench
from made_rig import ROBOT

from onboard.control_api import Clear, Estop, Start, Stop
from onboard.exit_status import Exit
from onboard.flight_file import Recording, encode_flight
from onboard.flight_replay import describe, load_slots, replay_file, replay_recording
from onboard.flight_ring import read_flight
from onboard.recorder import flight_dtype
from onboard.tick import Driver
from protocol.errors import BundleError, ConfigError
from protocol.modes import Mode
from protocol.robot_spec import Policy, RobotSpec
from protocol.step_record import Flag

Make = Callable[..., Path]
FACTS = {"cause": "demand", "reason": "test", "task": "swing_up", "life": "0"}


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    yield bench
    bench.close()


def flown(bench: Bench, spec: RobotSpec, folder: Path) -> Recording:
    flight = read_flight(folder / "flight", flight_dtype(spec))
    assert flight is not None
    return Recording(spec, flight.rows, FACTS)


def eventful(bench: Bench, make_bundle: Make) -> None:
    """Everything that happens to a robot, in forty seconds of its time."""
    bench.load(make_bundle(1, exploration=0.3), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(40)
    bench.load(make_bundle(2, exploration=0.1), 2)
    bench.run(20)
    bench.port.mute = True
    bench.run(2)
    bench.port.mute = False
    bench.until(Mode.RECOVER)
    bench.until(Mode.RUN)
    bench.clock.sleep(0.15)
    bench.run(1)
    assert bench.mode is Mode.HOLD
    bench.until(Mode.RUN)
    bench.obey(Stop())
    bench.run(5)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(5)
    bench.obey(Estop())
    bench.run(3)
    bench.obey(Clear())
    bench.until(Mode.IDLE)
    bench.run(3)


def test_the_same_code_makes_the_same_of_everything(
    bench: Bench, furuta: RobotSpec, make_bundle: Make, tmp_path: Path
) -> None:
    eventful(bench, make_bundle)
    recording = flown(bench, furuta, tmp_path)
    found, replayed = replay_recording(recording, tmp_path)
    assert found == []
    rows = recording.rows
    drivers = Counter(rows["driver"].tolist())
    assert set(drivers) == {int(driver) for driver in Driver}
    assert replayed.compared["observation"] == rows["sensed"].sum()
    assert replayed.compared["homing"] == drivers[Driver.HOMING]
    assert replayed.compared["policy"] == drivers[Driver.POLICY]
    assert replayed.compared["safety"] == rows["sent"].sum()
    assert replayed.unflown == {}


@pytest.mark.parametrize("start", [60, 137, 200])
def test_a_recording_may_begin_anywhere(
    bench: Bench, furuta: RobotSpec, make_bundle: Make, tmp_path: Path, start: int
) -> None:
    eventful(bench, make_bundle)
    whole = flown(bench, furuta, tmp_path)
    found, replayed = replay_recording(whole._replace(rows=whole.rows[start:]), tmp_path)
    assert found == []
    assert replayed.compared["safety"] >= whole.rows["sent"][start:].sum() - 2


@pytest.mark.parametrize("between", ["hold", "interpolate"])
def test_a_policy_that_is_asked_every_third_tick_replays_too(
    furuta: RobotSpec, rig_port: Any, make_bundle: Make, tmp_path: Path, between: Any
) -> None:
    spec = msgspec.structs.replace(furuta, policy=Policy(divisor=3, between=between))
    bench = Bench(spec, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1, robot_digest=spec.digest(), exploration=0.3), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(60)
    whole = flown(bench, spec, tmp_path)
    bench.close()
    ran = np.flatnonzero(whole.rows["driver"] == Driver.POLICY)
    for start in (0, ran[10], ran[11], ran[12]):
        found, replayed = replay_recording(whole._replace(rows=whole.rows[start:]), tmp_path)
        assert found == []
        assert replayed.compared["policy"] >= (ran >= start).sum() - 2


@pytest.fixture
def run(bench: Bench, furuta: RobotSpec, make_bundle: Make, tmp_path: Path) -> Recording:
    """Some seconds of RUN with policy 1."""
    bench.load(make_bundle(1, exploration=0.3), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(60)
    return flown(bench, furuta, tmp_path)


def stages_that_differ(
    recording: Recording, folder: Path | None = None, spec: RobotSpec | None = None
) -> set[str]:
    found, _ = replay_recording(recording, folder, spec)
    return {difference.stage for difference in found}


def test_another_limit_shows_in_safety_only(run: Recording, tmp_path: Path) -> None:
    safety = msgspec.structs.replace(run.spec.safety, effort_max_nm=0.2)
    weaker = msgspec.structs.replace(run.spec, safety=safety)
    assert stages_that_differ(run, tmp_path, weaker) == {"safety"}


def test_another_scale_shows_in_the_observation_only(run: Recording, tmp_path: Path) -> None:
    terms = [*run.spec.observation]
    terms[3] = msgspec.structs.replace(terms[3], scale=0.2)
    scaled = msgspec.structs.replace(run.spec, observation=terms)
    found, _ = replay_recording(run, tmp_path, scaled)
    assert {(difference.stage, difference.column) for difference in found} == {
        ("observation", "velocity:arm")
    }


def test_another_offset_shows_where_the_angle_is_used(run: Recording) -> None:
    joints = [*run.spec.joints]
    joints[0] = msgspec.structs.replace(joints[0], offset_rad=0.1)
    turned = msgspec.structs.replace(run.spec, joints=joints)
    assert {"observation", "homing"} <= stages_that_differ(run, None, turned)


def test_another_policy_of_the_same_number_shows_in_the_policy_only(
    run: Recording, make_bundle: Make, tmp_path: Path
) -> None:
    folder = make_bundle(1, gain=0.21, exploration=0.3)
    assert stages_that_differ(run, folder) == {"policy"}


def test_other_noise_shows_in_the_policy(run: Recording, tmp_path: Path) -> None:
    other = run._replace(facts={**run.facts, "life": "1"})
    assert stages_that_differ(other, tmp_path) == {"policy"}


def test_one_wrong_count_is_found_in_its_tick(run: Recording) -> None:
    rows = run.rows.copy()
    rows["position_count"][70, 0] += 1
    found, _ = replay_recording(run._replace(rows=rows), None)
    assert found[0][:3] == (int(rows["tick"][70]), "observation", "position:arm")


def test_an_answer_that_is_no_number_is_the_same_as_one(
    bench: Bench, furuta: RobotSpec, make_bundle: Make, tmp_path: Path
) -> None:
    bench.load(make_bundle(1), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(3)
    slot = bench.swap.active
    assert slot is not None
    slot.runner.weights["w"][:] = np.nan  # type: ignore[attr-defined]
    bench.run(2)
    recording = flown(bench, furuta, tmp_path)
    assert (recording.rows["flags"] & Flag.BAD_POLICY).any()
    assert stages_that_differ(recording) == set()
    assert stages_that_differ(recording, tmp_path) == {"policy"}  # the bundle itself is sound


def test_a_policy_that_is_not_at_hand_is_named(run: Recording) -> None:
    found, replayed = replay_recording(run, None)
    assert found == []
    assert replayed.unflown == {1: 60}
    lines = describe(run, replayed, found)
    assert "policy: none" in lines
    assert "policy 1: 60 ticks not compared; give its bundle with --bundle" in lines


def test_a_bundle_that_does_not_run_is_refused(run: Recording, make_bundle: Make) -> None:
    folder = make_bundle(1, golden_action=np.full(3, 0.9, np.float32).tobytes())
    with pytest.raises(BundleError, match="golden vector"):
        load_slots(folder, run.spec, "swing_up")
    with pytest.raises(ConfigError, match="holds no policy bundle"):
        load_slots(folder / "nowhere", run.spec, "swing_up")


def test_the_command_says_what_is_different_and_ends_accordingly(
    run: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.mcap"
    file.write_bytes(encode_flight(run.spec, run.rows, run.facts))
    assert replay_file(file, tmp_path, None) is Exit.DONE
    assert "policy: 60 ticks compared, same" in capsys.readouterr().out
    rows = run.rows.copy()
    rows["applied"][-1] = 0.5
    file.write_bytes(encode_flight(run.spec, rows, run.facts))
    assert replay_file(file, tmp_path, None) is Exit.NO
    last = f"first difference: tick {rows['tick'][-1]}, safety, applied arm: recorded 0.5, now"
    assert last in capsys.readouterr().out
    other = tmp_path / "other.toml"
    text, term = ROBOT.read_text(), '[[observation]]\nkind = "applied"\njoint = "arm"\n'
    before, _, after = text.rpartition(term)
    other.write_text(before + after.replace("scale = 1.0\nage_ticks = 2\n", "", 1))
    with pytest.raises(ConfigError, match="differ from the recording's"):
        replay_file(file, None, other)
    with pytest.raises(ConfigError, match="holds no tick"):
        replay_recording(run._replace(rows=rows[:0]), None)
