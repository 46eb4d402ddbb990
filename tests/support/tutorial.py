"""Runs every command of ``docs/tutorial.md`` as it stands, in one shell, in a directory of its own.

``make test-tutorial`` calls it. The first command that fails ends it; the time is printed too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
TIMEOUT_S = 1800.0
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BREAK = re.compile(r"\s*\\\n\s*")


def commands(text: str) -> list[str]:
    """The lines of every block that is marked as shell, in order; what is broken is joined."""
    joined = [_BREAK.sub(" ", block) for block in _BLOCK.findall(text)]
    return [line for block in joined for line in block.splitlines() if line]


def script(lines: list[str]) -> str:
    """One shell that says what it does and stops at the first failure, leaving nothing running."""
    said = [f"printf '\\n+%4ss  %s\\n' $SECONDS {_quoted(line)}\n{line}" for line in lines]
    head = "set -emo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\n"
    return head + "\n".join(said) + "\nprintf '\\n+%4ss  the end\\n' $SECONDS\n"


def run(checkout: Path, out: Path) -> int:
    """Exit status of the tutorial, begun in ``out`` as if that were ``checkout``."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "hw_configs").mkdir(parents=True)
    (out / ".venv").symlink_to((checkout / ".venv").resolve())
    shell = subprocess.Popen(
        ["bash", "-c", script(commands(TUTORIAL.read_text(encoding="utf-8")))],
        cwd=out,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        return shell.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"the tutorial was not through after {TIMEOUT_S:g} s", file=sys.stderr)
        return 1
    finally:
        if shell.poll() is None:
            shell.send_signal(signal.SIGTERM)
            time.sleep(5.0)
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


def _quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkout", type=Path, default=Path())
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial"))
    given = parser.parse_args()
    sys.exit(run(given.checkout, given.out))
