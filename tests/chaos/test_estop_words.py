"""Does the command line understand its emergency stops, and refuse what it does not?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onboard.exit_status import Exit

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
PATIENCE_S = 120.0


def refused(folder: Path, command: str, *arguments: str) -> list[str]:
    """The lines in which ``wombet-onboard`` says why its command line is wrong."""
    place = ("--robot", ROBOT, "--port", folder / "tty", "--state", folder / "state")
    argv = [sys.executable, "-m", "onboard.main", command, *place, "--runtime", folder / "run"]
    done = subprocess.run(
        [*map(str, argv), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == Exit.CONFIG, done.stderr
    return done.stderr.splitlines()


def test_a_word_that_means_nothing_is_one_error_and_nothing_starts(tmp_path: Path) -> None:
    server = ("--server", "tcp://127.0.0.1:9")
    (line,) = refused(tmp_path, "run", *server, "--estop", "key", "gpio:/dev/gpiochip0")
    assert "--estop gpio:/dev/gpiochip0" in line
    assert "write gpio:/dev/gpiochip0,LINE, input:/dev/input/event0[,KEY] or key" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("gpio:/dev/null,3", "gpio null line 3: cannot be taken"),
        ("input:/dev/null,57", "/dev/null: cannot be taken"),
    ],
)
def test_control_does_not_start_without_a_source_it_was_told_of(
    tmp_path: Path, word: str, said: str
) -> None:
    """What is no such device is found out when it is opened, so the word was understood."""
    lines = refused(tmp_path, "control", "--estop", "key", word)
    assert sum(line.startswith("wombet-onboard: ") and said in line for line in lines) == 1, lines
