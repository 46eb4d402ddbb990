"""Can every command of the three programs be completed in a shell, and is each option explained?

What a program hands to a shell to complete it holds all of its commands, options and their help.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COMMANDS = {
    "wombet-sim": ("sim_harness.main", {"new-robot", "check", "plant", "hil", "relive"}),
    "wombet-onboard": ("onboard.main", {"run", "selftest", "start", "stop", "estop", "status"}),
    "wombet-offboard": ("offboard.main", {"source", "generate", "serve", "keys", "data", "demo"}),
}
_FORMALITIES = re.compile(r"\((?:required|default:.*)\)$", re.DOTALL)


@pytest.fixture(scope="module", params=COMMANDS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def completion(program: str) -> dict[str, Any]:
    """What the program's completion knows; the part of it that is data."""
    done = subprocess.run(
        [sys.executable, "-m", COMMANDS[program][0], "--tyro-print-completion", "zsh"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    text = re.search(r"^COMPLETION_SPEC = (\{.*\})$", done.stdout, re.MULTILINE)
    assert text is not None
    known = ast.literal_eval(text[1])
    assert isinstance(known, dict)
    return known


def options(known: dict[str, Any], way: str = "") -> Iterator[tuple[str, str]]:
    """Every option of every command, and its help without type and default."""
    for option in known["options"]:
        help_text = option["description"].split(" • ", 1)[-1]
        yield f"{way} {option['flags'][0]}".strip(), _FORMALITIES.sub("", help_text).strip()
    for name, command in known["subcommands"].items():
        yield from options(command, f"{way} {name}".strip())


def test_a_shell_completes_the_commands(program: str, completion: dict[str, Any]) -> None:
    assert completion["prog"] == program
    assert completion["subcommands"].keys() >= COMMANDS[program][1]


def test_every_option_says_what_it_is_for(completion: dict[str, Any]) -> None:
    assert [name for name, text in options(completion) if not text] == []


def test_help_speaks_to_people(completion: dict[str, Any]) -> None:
    """Not in the markup of another tool."""
    assert [name for name, text in options(completion) if re.search(r":[a-z]+:`", text)] == []


def test_bash_completes_a_command_and_its_options(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    file, program = tmp_path / "wombet-sim", [sys.executable, "-m", "sim_harness.main"]
    subprocess.run([*program, "--tyro-write-completion", "bash", file], timeout=100, check=True)
    ask = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        $(complete -p wombet-sim | sed "s/.*-F \\([^ ]*\\).*/\\1/")
        echo "${COMPREPLY[@]}"
    """
    for typed, completed in ((["pl"], "plant"), (["plant", "--bo"], "--body")):
        done = subprocess.run(
            [bash, "-c", ask, "bash", file, "wombet-sim", *typed],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        assert done.stdout.split() == [completed]


def test_the_page_of_commands_names_all_of_them(program: str, completion: dict[str, Any]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{program}`")]
    inner = {"stand", "control", "agent"}  # started by other commands
    assert [
        name for name in completion["subcommands"].keys() - inner if f"`{name}`" not in row
    ] == []
