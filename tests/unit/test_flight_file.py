"""Does a flight survive its file, open in other people's tools, and a bad file end in one line?"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_flight import FLIGHT
from mcap.reader import make_reader
from mcap.writer import Writer

from onboard.flight_file import (
    FACTS,
    ROBOT_FILE,
    Recording,
    encode_flight,
    read_recording,
    tick_schema,
)
from onboard.recorder import COLUMNS, flight_dtype
from protocol.errors import ConfigError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec


@pytest.fixture(scope="module")
def golden() -> Recording:
    return read_recording(FLIGHT)


def test_every_number_survives(golden: Recording, tmp_path: Path) -> None:
    rows = golden.rows.copy()
    rows["requested"][5], rows["obs"][6, 2] = np.nan, np.nan
    path = tmp_path / "a.mcap"
    path.write_bytes(encode_flight(golden.spec, rows, {"cause": "demand", "life": "7"}))
    again = read_recording(path)
    assert again.spec == golden.spec
    assert again.facts == {"cause": "demand", "life": "7"}
    for name in rows.dtype.names or ():
        np.testing.assert_array_equal(again.rows[name], rows[name], err_msg=name)


def test_anybody_can_read_it(golden: Recording) -> None:
    """With the format's own reader: topic, times, names, and what limited a command in words."""
    messages = list(make_reader(BytesIO(FLIGHT.read_bytes())).iter_messages("/tick"))
    assert len(messages) == len(golden.rows)
    for (_, _, message), row in zip(messages, golden.rows, strict=True):
        assert message.log_time == row["started_ns"]
        assert message.publish_time == row["act_ns"]
        tick = json.loads(message.data)
        assert tick["mode"] == Mode(row["mode"]).name
        assert tick["position_count"]["pendulum"] == row["position_count"][1]
        assert tick["applied"]["arm"] == row["applied"][0]


def test_limits_are_named(golden: Recording, tmp_path: Path) -> None:
    rows = golden.rows[:1].copy()
    rows["flags"] = 2 | 16 | 1 << 10
    data = encode_flight(golden.spec, rows, {})
    ((_, _, message),) = make_reader(BytesIO(data)).iter_messages()
    assert json.loads(message.data)["limited_by"] == ["EFFORT", "POSITION"]


def test_the_schema_names_every_column_with_its_unit(furuta: RobotSpec) -> None:
    columns: dict[str, Any] = json.loads(tick_schema(furuta))["properties"]
    assert set(columns) == {*COLUMNS, "limited_by"}
    assert set(flight_dtype(furuta).names or ()) == set(COLUMNS)
    observation = columns["obs"]["properties"]
    assert observation["velocity:arm"]["description"] == "rad/s, times 0.1"
    assert columns["position_count"]["properties"]["arm"]["type"] == "integer"
    assert columns["section_span_us"]["properties"]["read"]["description"].startswith("µs")
    assert all(
        column.get("description") for name, column in columns.items() if name != "limited_by"
    )


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_recording(path)
    return str(caught.value)


def test_what_is_no_recording_is_refused(golden: Recording, tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    assert "cannot be read" in refused(path)
    for data in (b"", b"text", FLIGHT.read_bytes()[:1000], FLIGHT.read_bytes()[:-9]):
        path.write_bytes(data)
        assert "not a flight recording" in refused(path)


@pytest.mark.parametrize(
    ("robot", "facts", "tick"),
    [
        (None, {}, {}),
        (b"{}", {}, {}),
        (b"right", None, {}),
        (b"right", {}, {"tick": 1}),
        (b"right", {}, "text"),
        (b"right", {}, {"mode": "DANCING"}),
        (b"right", {}, {"position_count": {"arm": 1 << 40, "pendulum": 0}}),
        (b"right", {}, {"position_count": {"arm": 1}}),
        (b"right", {}, {"step": "many"}),
    ],
)
def test_other_peoples_mcap_is_refused(
    golden: Recording, tmp_path: Path, robot: bytes | None, facts: Any, tick: Any
) -> None:
    """Well-formed files that hold something else."""
    _, _, sound = next(iter(make_reader(BytesIO(FLIGHT.read_bytes())).iter_messages()))
    if isinstance(tick, dict) and "tick" not in tick:
        tick = {**json.loads(sound.data), **tick}
    file = BytesIO()
    writer = Writer(file)
    writer.start(profile="", library="other")
    schema = writer.register_schema("tick", "jsonschema", b"{}")
    channel = writer.register_channel("/tick", "json", schema)
    if robot is not None:
        right = next(iter(make_reader(BytesIO(FLIGHT.read_bytes())).iter_attachments())).data
        data = right if robot == b"right" else robot
        writer.add_attachment(0, 0, ROBOT_FILE, "application/json", data)
    if facts is not None:
        writer.add_metadata(FACTS, facts)
    writer.add_message(channel, 0, json.dumps(tick).encode(), 0)
    writer.finish()  # type: ignore[no-untyped-call]
    path = tmp_path / "other.mcap"
    path.write_bytes(file.getvalue())
    assert "not a flight recording" in refused(path)


@given(at=st.integers(0, FLIGHT.stat().st_size - 1), flip=st.integers(1, 255))
def test_a_damaged_byte_is_refused_or_harmless(tmp_path_factory: Any, at: int, flip: int) -> None:
    data = bytearray(FLIGHT.read_bytes())
    data[at] ^= flip
    path = tmp_path_factory.mktemp("flip") / "f.mcap"
    path.write_bytes(data)
    try:
        recording = read_recording(path)
    except ConfigError:
        return
    assert recording.spec.name
