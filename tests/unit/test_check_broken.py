"""Does `wombet-sim check` say what to do about a file that is no TOML or no XML?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_robot import make_robot

from sim_harness.check.examination import examine
from sim_harness.check.finding import Finding


def found(tmp_path: Path, old: str, new: str) -> tuple[Finding, int]:
    """The only finding, and the line of the file it is of that ``old`` stood on."""
    robot = make_robot(tmp_path, (old, new))
    (finding,) = examine(robot)
    make_robot(tmp_path / "sound")
    sound = (tmp_path / "sound" / finding.file.name).read_text(encoding="utf-8")
    return finding, sound[: sound.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "key", "first", "again"),
    [
        ("[bus]", "[bus]\n[bus]", "bus", 0, 1),
        ("id = 2 ", "id = 2\n\n# again\nid = [\n3]\n", "joints[1].id", 0, 3),
        ("control_hz = 50", "control_hz = 50\n[control_hz.x]\na = 1", "control_hz", 0, 1),
        ("[timing]", "timing.cpu = 1\ntiming.cpu = 2", "timing.cpu", 0, 1),
    ],
)
def test_what_is_given_twice_is_named_with_both_lines(
    tmp_path: Path, old: str, new: str, key: str, first: int, again: int
) -> None:
    finding, line = found(tmp_path, old, new)
    assert finding.text.endswith(f"{key} is given twice")
    assert finding.line == line + again
    assert f"line {line + first} has it already" in finding.hint


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("home_rad = [0.0, 0.0]", "home_rad = [0.0, 0.0", "the ]"),
        ("[timing]", "[timing]\na = { b = 1", "the }"),
        ("[timing]", "[timing", "[TABLE]"),
        ("control_hz = 50", 'control_hz = "50', "quotes"),
        ("control_hz = 50", "control_hz = fifty", "in quotes"),
        ("control_hz = 50", "control_hz = 50 Hz", "on a line of its own"),
        ("control_hz = 50", "control_hz 50", "KEY = VALUE"),
        ("control_hz = 50", "= 50", "KEY = VALUE"),
        ("[timing]", "[timing]\nx = { a = 1, a = 2 }", "keep one"),
    ],
)
def test_what_is_no_toml_is_told_with_what_may_help(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    finding, line = found(tmp_path, old, new)
    assert finding.text.startswith("not TOML: ")
    assert finding.line == line + new.count("\n")
    assert hint in finding.hint


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("</mujoco>", "", "<mujoco> of line 1 is not closed"),
        ("</worldbody>", "</worldbody></body>", "no <body> is open here; take out </body>"),
        ("</worldbody>", "</mujoco>", "<worldbody> of line 17 is not closed; write </worldbody>"),
        ('joint name="elbow"', 'joint name="a&b"', "& is &amp;"),
        ("<worldbody>", '<worldbody a="1" a="2">', "keep one"),
        ("</mujoco>", "</mujoco><more/>", "one <mujoco>"),
    ],
)
def test_what_is_no_xml_is_told_with_what_may_help(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    finding, _ = found(tmp_path, old, new)
    assert finding.file.suffix == ".xml"
    assert finding.text.startswith("not XML: ")
    assert hint in finding.hint


def test_a_key_that_means_nothing_is_told_with_those_that_could_be_meant(tmp_path: Path) -> None:
    finding, _ = found(tmp_path, "[bus]", "colour = 'red'\n[bus]")
    assert finding.text == "unknown key colour"
    assert finding.hint.startswith("take it out; ")
    assert {"imu", "legs"} <= {*finding.hint.replace(",", "").split()}


def test_brackets_without_end_are_too_deep(tmp_path: Path) -> None:
    finding, _ = found(tmp_path, "control_hz = 50", "control_hz = " + 50_000 * "[")
    assert "too deep" in finding.text
    assert finding.hint
