"""Flights out of the robot's memory into a file, and from a file back through the code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from onboard.control_api import FLIGHT_FILE, FLIGHTS, MANIFEST_FILE, Offer
from onboard.exit_status import Exit
from onboard.flight_file import Recording, column_names, read_recording
from onboard.flight_recorder import Cause, Dumper, Shelf
from onboard.hotswap import HotSwap
from onboard.policy import Slot
from onboard.replay import STAGES, Difference, Replay, differences
from protocol.bundle import MANIFEST_MAX_BYTES, decode_manifest
from protocol.errors import BundleError, ConfigError
from protocol.robot_spec import RobotSpec, load_robot_spec


def dump_flight(spec: RobotSpec, state: Path, runtime: Path, reason: str) -> int:
    """Write what control's flight recorder remembers to ``state``; works beside a live control too.

    Raises:
        ConfigError: control has not run since the machine started.
        StoreError: the memory is of another robot, or the file cannot be written.
    """
    dumper = Dumper(spec, "", runtime / FLIGHT_FILE, Shelf(state / FLIGHTS))
    path = dumper.dump(Cause("demand", reason))
    if path is None:
        raise ConfigError(f"{runtime / FLIGHT_FILE}: nothing is recorded; has control run here?")
    print(path)
    return Exit.DONE


def replay_file(file: Path, bundle: Path | None, robot: Path | None) -> int:
    """Run a recorded flight through the present code and say what differs.

    Args:
        file: the recording.
        bundle: a policy bundle, or a folder of them; without it policies are not compared.
        robot: a robot file to use in place of the recorded one.

    Returns:
        0 if everything compared is the same, 1 if something differs.

    Raises:
        ConfigError: the file is no recording, or there is no such bundle.
        BundleError: a bundle does not run on this robot.
    """
    recording = read_recording(file)
    spec = None if robot is None else _like(load_robot_spec(robot), recording.spec)
    found, replayed = replay_recording(recording, bundle, spec)
    print("\n".join(describe(recording, replayed, found)))
    return Exit.NO if found else Exit.DONE


def replay_recording(
    recording: Recording, bundle: Path | None, spec: RobotSpec | None = None
) -> tuple[list[Difference], Replay]:
    """What differs, and the replay that found it. Raises as :func:`replay_file`.

    Policies are checked against the robot they flew on, whatever ``spec`` is tried in its place.
    """
    flown, facts = recording.spec, recording.facts
    if len(recording.rows) == 0:
        raise ConfigError("the recording holds no tick")
    task = facts.get("task") or next(iter(flown.tasks))
    slots = {} if bundle is None else load_slots(bundle, flown, task)
    replayed = Replay(flown if spec is None else spec, task, int(facts.get("life", 0)), slots)
    return differences(replayed, recording.rows), replayed


def load_slots(directory: Path, spec: RobotSpec, task: str) -> dict[int, Slot]:
    """The policies in ``directory``, which is a bundle or holds some, ready to run.

    Raises:
        ConfigError: there is none.
        BundleError: one does not run on this robot.
    """
    folders = sorted(path.parent for path in directory.glob(f"**/{MANIFEST_FILE}"))
    if not folders:
        raise ConfigError(f"{directory}: holds no policy bundle ({MANIFEST_FILE})")
    return {slot.version: slot for folder in folders for slot in [_slot(folder, spec, task)]}


def describe(recording: Recording, replayed: Replay, found: list[Difference]) -> list[str]:
    """The verdict, line by line."""
    rows, facts = recording.rows, recording.facts
    span_s = (int(rows["started_ns"][-1]) - int(rows["started_ns"][0])) * 1e-9
    lines = [
        f"{recording.spec.name}: {len(rows)} ticks, {span_s:.1f} s; "
        f"{facts.get('cause', 'unknown cause')} ({facts.get('reason', '')})"
    ]
    different = Counter(difference.stage for difference in found)
    for stage in STAGES:
        ticks, numbers = replayed.compared[stage], different[stage]
        verdict = f"{numbers} numbers differ" if numbers else "same"
        lines.append(f"{stage}: {ticks} ticks compared, {verdict}" if ticks else f"{stage}: none")
    lines += [
        f"policy {version}: {ticks} ticks not compared; give its bundle with --bundle"
        for version, ticks in sorted(replayed.unflown.items())
    ]
    if found:
        first = found[0]
        lines.append(
            f"first difference: tick {first.tick}, {first.stage}, {first.column}: "
            f"recorded {first.recorded:.9g}, now {first.replayed:.9g}"
        )
    return lines


def _slot(folder: Path, spec: RobotSpec, task: str) -> Slot:
    """Through the robot's own checks, but for the time of an answer: machines differ."""
    try:
        data = (folder / MANIFEST_FILE).read_bytes()[: MANIFEST_MAX_BYTES + 1]
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read ({error})") from error
    swap = HotSwap(spec, task, clock_ns=lambda: 0)
    swap.stage(Offer(version=decode_manifest(data).version, directory=str(folder)))
    swap.flip()
    if swap.active is None:
        raise BundleError(f"{folder}: {swap.events[-1].reason}")
    return swap.active


def _like(spec: RobotSpec, recorded: RobotSpec) -> RobotSpec:
    """``spec``, if its columns are those of the recording."""
    if column_names(spec) != column_names(recorded):
        raise ConfigError(f"{spec.name}: joints or observation differ from the recording's")
    return spec
