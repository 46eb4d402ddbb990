"""Does a sweep run every combination once, and refuse what makes none before anything runs?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_records import ROBOT_FILE

from offboard.stages import sweep
from offboard.stages.source import SourceConfig
from offboard.stages.sweep import SweepConfig, changed, points, run_sweep
from protocol.errors import ConfigError, StoreError

SOURCE = SourceConfig(robot=ROBOT_FILE, task="swing_up")


def test_every_value_is_combined_with_every_other() -> None:
    assert points(["a=1,2", "b=x,y"]) == [
        (("a", "1"), ("b", "x")), (("a", "1"), ("b", "y")),
        (("a", "2"), ("b", "x")), (("a", "2"), ("b", "y")),
    ]  # fmt: skip
    assert points([]) == [()]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sac.lr", "3e-4", 3e-4),
        ("online.updates-per-step", "4", 4),
        ("model_steps", "10", 10),
        ("sac.target_subset", "2", 2),
        ("model.uncertainty", "total", "total"),
    ],
)
def test_a_setting_takes_a_value_of_its_own_type(name: str, text: str, value: object) -> None:
    found: object = changed(SOURCE, name, text)
    for part in name.replace("-", "_").split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("sac.learning_rate", "1", "no setting 'learning_rate'; there are"),
        ("sac.batch", "many", "--over batch=many"),
        ("sac", "1", "'sac' is a group"),
        ("seed.first", "1", "'seed' has no parts"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(name: str, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        changed(SOURCE, name, text)


@pytest.mark.parametrize("entry", ["sac.lr", "sac.lr=", "=1"])
def test_an_entry_without_values_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        points([entry])


def test_each_point_has_a_folder_a_seed_and_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, SourceConfig] = {}

    def run(config: SourceConfig, out: Path) -> None:
        made[str(out.relative_to(tmp_path))] = config
        if config.sac.lr == 0.1 and config.seed == 1:
            raise StoreError("the disk is full")

    monkeypatch.setattr(sweep, "run_source", run)
    failed = run_sweep(
        SweepConfig(SOURCE, over=("sac.lr=0.1,0.2",), seeds=2, processes=0), tmp_path
    )
    assert failed == ["sac.lr=0.1/1: the disk is full"]
    assert [*made] == ["sac.lr=0.1/0", "sac.lr=0.2/0", "sac.lr=0.1/1", "sac.lr=0.2/1"]
    assert made["sac.lr=0.2/1"] == replace(
        SOURCE, seed=1, robot=ROBOT_FILE.resolve(), sac=replace(SOURCE.sac, lr=0.2)
    )
