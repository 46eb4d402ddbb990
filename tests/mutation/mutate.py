"""Changes the safety code in every way mutmut knows, and counts what the tests notice.

::

    python tests/mutation/mutate.py --out runs/mutation

Works on a copy below ``--out``, so the tree stays as it is; a run that was interrupted goes on
where it stopped. After a change only what it touches is tried again, and every survivor. Ends with
``killed K of N``. Exit status 1 if a survivor is not explained in docs/mutation.md.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COPIED = ("protocol", "onboard", "sim_harness", "hw_configs", "tests", "pyproject.toml")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "server", "chaos", "e2e", "*.pyc")
EXPLANATIONS = ROOT / "docs" / "mutation.md"
SURVIVED, UNTESTED = 0, (5, 33)
INTERRUPTED = 2


class Survivor(NamedTuple):
    """A change that no test noticed: ``module.function``, and its lines before and after."""

    name: str
    place: str
    before: str
    after: str

    @property
    def line(self) -> str:
        """As it stands in docs/mutation.md."""
        return f"`{self.place}`: `{self.before}` → `{self.after}`"


def main() -> int:
    """Copy, mutate, report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    tree = options.out / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    with (options.out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another run works in {options.out}; pass another --out")
        copy(tree)
        try_again(tree / "mutants")
        mutmut(tree, "run", "--max-children", str(options.jobs))
        return report(tree)


def copy(tree: Path) -> None:
    """Bring the copy up to date; what has not changed keeps its time stamp."""
    for name in COPIED:
        source, target = ROOT / name, tree / name
        if source.is_file():
            _copy_changed(str(source), str(target))
            continue
        shutil.copytree(
            source,
            target,
            ignore=NOT_COPIED,
            copy_function=_copy_changed,
            dirs_exist_ok=True,
        )
        for each in target.rglob("*.py"):
            if not (source / each.relative_to(target)).exists():
                each.unlink()


def _copy_changed(source: str, target: str) -> str:
    new, old = Path(source), Path(target)
    if not old.exists() or old.read_bytes() != new.read_bytes():
        shutil.copy2(source, target)
    return target


def try_again(mutants: Path) -> None:
    """Forget who survived: the tool asks nobody twice, and there may be new tests."""
    for path in mutants.rglob("*.meta"):
        known = json.loads(path.read_text(encoding="utf-8"))
        for name, code in known["exit_code_by_key"].items():
            if code == SURVIVED or code in UNTESTED:
                known["exit_code_by_key"][name] = None
        path.write_text(json.dumps(known), encoding="utf-8")


def mutmut(tree: Path, *arguments: str) -> str:
    """Run the tool in the copy; its output, which is shown as it comes for ``run``."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mutmut")), *arguments],
        cwd=tree,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=None if arguments[0] == "run" else subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout or ""


def report(tree: Path) -> int:
    """List the survivors and count; 0 if each of them is explained."""
    verdicts = dict(results(tree / "mutants"))
    if any(code in (None, INTERRUPTED) for code in verdicts.values()):
        sys.exit("interrupted; run it again to go on")
    survivors = [
        survivor(tree, name)
        for name, code in sorted(verdicts.items())
        if code == SURVIVED or code in UNTESTED
    ]
    told = EXPLANATIONS.read_text(encoding="utf-8")
    unexplained = [each for each in survivors if each.line not in told]
    for each in survivors:
        print("NOT EXPLAINED" if each in unexplained else "explained    ", each.name, each.line)
    print(f"killed {len(verdicts) - len(survivors)} of {len(verdicts)}")
    return 1 if unexplained else 0


def results(mutants: Path) -> Iterator[tuple[str, int | None]]:
    """Exit status of the tests, by mutant; a time-out is a kill."""
    for path in sorted(mutants.rglob("*.meta")):
        yield from json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items()


def survivor(tree: Path, name: str) -> Survivor:
    """What a surviving mutant changes."""
    lines = [
        line for line in mutmut(tree, "show", name).splitlines() if re.match(r"[-+](?![-+])", line)
    ]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+"
    )
    module, _, function = name.rpartition("__mutmut_")[0].rpartition(".")
    function = re.sub(r"^x_?", "", function).replace("ǁ", ".").lstrip(".")
    return Survivor(name, f"{module}.{function}", before, after)


if __name__ == "__main__":
    sys.exit(main())
