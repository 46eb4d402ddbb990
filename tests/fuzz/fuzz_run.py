"""`make fuzz`: every decoder, a process each; coverage-guided by atheris where it is installed.

Writes ``OUT/fuzz.json``: for each decoder executions, crashes, engine, seconds, and commit and day
of its last piece; ``OUT/fuzz.md`` is the same as a table, for ``docs/results/fuzz.md``. A decoder
that has done its executions is not run again, and ``--piece`` ends after a part of what is left: a
long run can be taken in pieces, which add up. What crashed is kept in ``OUT/NAME/crash-*``. Exit
status 1 if anything did.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

ENGINES = ("atheris", "mutation")
HANG_S = 120
MEMORY_MB = 4096
CODE_UNDER_TEST = ("protocol", "onboard", "offboard", "tuf", "fuzz_decoders")


class Tally:
    """Counts executions and keeps what crashed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.executions = 0
        self.crashes = 0

    def crashed(self, data: bytes, error: Exception) -> None:
        self.crashes += 1
        name = f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
        (self._folder / name).write_bytes(data)
        print(f"{self._folder.name}: {error!r} on {name}", file=sys.stderr)


def run_mutation(name: str, executions: int, seed: int, tally: Tally) -> None:
    """Damaged examples, drawn blindly."""
    from fuzz_decoders import DECODERS, is_crash
    from fuzz_mutations import mutants

    decoder = DECODERS[name]
    for data in islice(mutants(decoder.examples, seed), executions):
        tally.executions += 1
        if error := is_crash(decoder, data):
            tally.crashed(data, error)


def run_atheris(name: str, executions: int, seed: int, tally: Tally, folder: Path) -> None:
    """Guided by which lines an input reaches; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=[*CODE_UNDER_TEST]):
        from fuzz_decoders import DECODERS, is_crash
    from fuzz_mutations import MAX_BYTES

    decoder = DECODERS[name]
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(decoder.examples):
        (corpus / f"example-{number}").write_bytes(data)

    def once(data: bytes) -> None:
        tally.executions += 1
        if error := is_crash(decoder, data):
            tally.crashed(data, error)
        if tally.executions % 1000 == 0 or tally.executions >= executions:
            write_json(folder / "tally.json", vars_of(tally))

    options = {
        "runs": executions,
        "seed": seed,
        "max_len": MAX_BYTES,
        "timeout": HANG_S,
        "rss_limit_mb": MEMORY_MB,
        "artifact_prefix": f"{folder}/",
        "verbosity": 0,
    }
    atheris.Setup([name, *(f"-{key}={value}" for key, value in options.items()), str(corpus)], once)
    atheris.Fuzz()


def vars_of(tally: Tally) -> dict[str, int]:
    return {"executions": tally.executions, "crashes": tally.crashes}


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def table(done: dict[str, dict[str, Any]]) -> str:
    """A line for each decoder, in Markdown."""
    lines = ["| decoder | executions | crashes | commit and day of the last |", "|---|---|---|---|"]
    for name, entry in sorted(done.items()):
        when = " ".join(entry.get(key, "") for key in ("commit", "day")).strip()
        counts = f"{entry['executions']:,} | {entry['crashes']}"
        lines.append(f"| `{name}` | {counts} | {when or 'not noted'} |")
    return "\n".join(lines) + "\n"


def work(name: str, engine: str, executions: int, seed: int, out: Path) -> None:
    """One decoder, in this process."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally(folder)
    if engine == "atheris":
        run_atheris(name, executions, seed, tally, folder)
    run_mutation(name, executions, seed, tally)
    write_json(folder / "tally.json", vars_of(tally))


def watched(name: str, engine: str, executions: int, out: Path, before: dict[str, Any]) -> Any:
    """One decoder, in a process of its own; one that died or hung has crashed.

    Returns:
        ``before`` with this run added.
    """
    tally_file = out / name / "tally.json"
    tally_file.unlink(missing_ok=True)
    seed = before.get("executions", 0) + 1
    argv = ["--work", "--only", name, "--out", out, "--executions", executions, "--seed", seed]
    begun_s = time.monotonic()
    code = subprocess.run(
        [sys.executable, __file__, *map(str, argv), "--engine", engine], check=False
    ).returncode
    seconds = time.monotonic() - begun_s
    counts = json.loads(tally_file.read_text()) if tally_file.exists() else {}
    return {
        "executions": before.get("executions", 0) + counts.get("executions", 0),
        "crashes": before.get("crashes", 0) + counts.get("crashes", 0) + (code != 0),
        "engine": engine,
        "seconds": round(before.get("seconds", 0.0) + seconds, 1),
        "commit": commit(),
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def commit() -> str:
    """The checkout's commit, with ``+`` if it has changes, or ``unknown``."""
    asked = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    said = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def main() -> int:
    """Exit status: 0 no crash, 1 crashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    installed = importlib.util.find_spec("atheris") is not None
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[not installed])
    parser.add_argument("--piece", type=int, default=0, help="at most so many now; 0: all")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.only[0], given.engine, given.executions, given.seed, given.out)
        return 0
    from fuzz_decoders import DECODERS

    given.out.mkdir(parents=True, exist_ok=True)
    report = given.out / "fuzz.json"
    done: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    for name in given.only or DECODERS:
        left = given.executions - done.get(name, {}).get("executions", 0)
        if left <= 0:
            continue
        now = min(left, given.piece or left)
        done[name] = watched(name, given.engine, now, given.out, done.get(name, {}))
        write_json(report, done)
        (given.out / "fuzz.md").write_text(table(done))
        print(f"{name}: {done[name]}", flush=True)
    return int(any(entry["crashes"] for entry in done.values()))


if __name__ == "__main__":
    sys.exit(main())
