"""Is the tutorial short, and of commands that exist? `make test-tutorial` runs it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tutorial import TUTORIAL, commands, script

TEXT = TUTORIAL.read_text(encoding="utf-8")
PROGRAMS = {"wombet-sim", "wombet-onboard", "wombet-offboard"}


def test_the_tutorial_has_at_most_thirty_commands() -> None:
    assert 15 <= len(commands(TEXT)) <= 30


def test_all_three_programs_are_met() -> None:
    met = {word for line in commands(TEXT) for word in line.split() if word.startswith("wombet-")}
    assert met == PROGRAMS


def test_only_blocks_of_shell_are_commands() -> None:
    text = "```text\nno\n```\n\n```sh\none\n\ntwo \\\n    of two\n```\n"
    assert commands(text) == ["one", "two of two"]


@pytest.mark.parametrize(("lines", "status"), [(["true", "echo 'a b'"], 0), (["false", "true"], 1)])
def test_the_first_failure_ends_it(lines: list[str], status: int) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-c", script(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("the end" in done.stdout) == (status == 0)
