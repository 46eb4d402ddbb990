import sys
from pathlib import Path

import pytest

from sim_harness import main as sim
from sim_harness.check.examination import examine

CONFIGS = Path(__file__).parents[2] / "hw_configs"
ROBOT = CONFIGS / "furuta.toml"


def run(monkeypatch, *arguments: object) -> int:
    """Exit status of ``wombet-sim`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["wombet-sim", *map(str, arguments)])
    try:
        sim.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def copy_config(directory: Path, toml: tuple[str, str], mjcf: tuple[str, str]) -> Path:
    """The robot's files with one replacement in each."""
    for name, (old, new) in (("furuta.toml", toml), ("furuta.xml", mjcf)):
        text = (CONFIGS / name).read_text()
        assert old in text
        (directory / name).write_text(text.replace(old, new))
    return directory / "furuta.toml"


def test_check_prints_what_it_understood(monkeypatch, capsys):
    assert run(monkeypatch, "check", ROBOT) == 0
    printed = capsys.readouterr().out
    for fact in ("robot furuta", "joint arm: id 1", "task swing_up", "nominal, target"):
        assert fact in printed


@pytest.mark.parametrize(
    "robot",
    sorted(set(CONFIGS.glob("*.toml")) - {CONFIGS / "fleet.toml"}),
    ids=lambda path: path.stem,
)
def test_check_finds_nothing_wrong_with_the_robots_we_ship(robot: Path):
    assert examine(robot) == []


def test_all_problems_of_a_robot_file_are_told_each_with_its_line(monkeypatch, capsys, tmp_path):
    robot = copy_config(tmp_path, ("baud = 1_000_000", "bauds = 1_000_000"), ("furuta", "furuta"))
    robot.write_text(robot.read_text().replace("cpu = 0", 'cpu = "first"'))
    assert run(monkeypatch, "check", robot) == 2
    told = capsys.readouterr().err
    assert told.startswith("wombet-sim: 2 problems")
    lines = robot.read_text().splitlines()
    for wrong in ("bauds = 1_000_000", 'cpu = "first"'):
        assert f"{robot}:{lines.index(wrong) + 1}: " in told


@pytest.mark.parametrize(
    ("toml", "mjcf", "named"),
    [
        (("schema", "schema"), ('joint name="arm"', 'joint name="elbow"'), "'arm'"),
        (("control_hz = 50", "control_khz = 50"), ("furuta", "furuta"), "control_khz"),
        (("baud = 1_000_000", "baud = 500_000"), ("furuta", "furuta"), "500000"),
        (("furuta.xml", "elsewhere.xml"), ("furuta", "furuta"), "elsewhere.xml"),
    ],
)
def test_check_names_what_is_wrong_and_exits_with_2(
    monkeypatch, capsys, tmp_path, toml, mjcf, named
):
    assert run(monkeypatch, "check", copy_config(tmp_path, toml, mjcf)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("wombet-sim: ")
    assert named in captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--robot", "nowhere.toml"), "nowhere.toml"),
        (("--robot", ROBOT, "--body", "moon"), "'moon'"),
    ],
)
def test_plant_refuses_a_wrong_configuration_before_it_creates_anything(
    monkeypatch, capsys, tmp_path, arguments, named
):
    assert run(monkeypatch, "plant", *arguments, "--link", tmp_path / "dxl") == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_plant_refuses_a_link_it_cannot_make(monkeypatch, capsys, tmp_path):
    link = tmp_path / "missing" / "dxl"
    assert run(monkeypatch, "plant", "--robot", ROBOT, "--link", link) == 2
    assert "--link" in capsys.readouterr().err
