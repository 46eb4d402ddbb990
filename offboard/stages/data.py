"""``wombet-offboard data …``: what a server recorded, listed, checked, exchanged and pruned."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tyro
from rich.console import Console
from rich.markup import escape

from offboard.data.catalogue import ARCHIVE, STORE, open_catalogue
from offboard.data.inventory import RobotFacts, episode_detail, episode_facts, robot_facts
from offboard.data.recording import mcap_files
from offboard.data.retention import Freed, Pruner, Retention
from offboard.data.tables import (
    columns_table,
    damage_table,
    episodes_table,
    lost,
    robots_table,
    settled,
)
from offboard.data.verification import Verdict, verify_files, verify_run
from offboard.episode_store import open_episode_store
from offboard.mcap_archive import archive_episodes
from offboard.run_dir import RunDir
from offboard.stages.exchange import ExportConfig, ImportConfig, run_export, run_import
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec

_Data = Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="DATA", help="--out of a serve run, or a file or folder of the archive."),
]
_Run = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="--out of a serve run.")
]
_Episode = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="EPISODE", help="as `data ls` names it.")
]
_Json = Annotated[bool, tyro.conf.arg(help="one JSON object instead of text.")]
_Out = Annotated[Path, tyro.conf.arg(help="a new folder.")]
_Robot = Annotated[Path | None, tyro.conf.arg(help="robot file; a run knows its own.")]
_SessionToo = Annotated[bool, tyro.conf.arg(help="end the run's session and prune all of it.")]
_flat = tyro.conf.arg(name="")
_console = Console(highlight=False)


def ls(data: _Data, json: _Json = False) -> None:
    """Robots and episodes of DATA, the --out of a serve run or a folder of MCAP files."""
    robots = _robots(data) if _is_run(data) else []
    episodes = [episode_facts(file) for file in _files(data)]
    if json:
        _print_json({"robots": robots, "episodes": episodes})
        return
    if robots:
        _console.print(robots_table(robots))
    _console.print(episodes_table(episodes))


def show(data: _Data, episode: _Episode = "", json: _Json = False) -> None:
    """One EPISODE of DATA, as ROBOT/gNNN-eNNNNNN; without it, DATA is the MCAP file itself."""
    folder = data / ARCHIVE if _is_run(data) else data
    detail = episode_detail(folder / f"{episode}.mcap" if episode else data)
    if json:
        _print_json(detail)
        return
    _console.print(episodes_table([detail.facts]))
    periods = "  ".join(f"{name} {value:.3f}" for name, value in detail.period_ms.items())
    _console.print(f"period in ms, nominal {1e3 / detail.control_hz:.3f}:  {periods}")
    _console.print(f"robot file {detail.robot_file}, digest {detail.robot_digest}", markup=False)
    _console.print("flags:  " + "  ".join(f"{name} {n}" for name, n in detail.flags.items()))
    _console.print(columns_table(detail))


def verify(data: _Data, json: _Json = False) -> None:
    """Check every checksum of DATA; exit 1 naming the episodes that are damaged.

    Damaged records of a store are declared lost (see `data ls`); what can be mended is.
    """
    verdict = _verdict(data)
    if json:
        _print_json(verdict._asdict() | {"put_in_order": verdict.put_in_order._asdict()})
    else:
        if verdict.damage:
            _console.print(damage_table(verdict))
        _console.print(
            f"{verdict.episodes} episodes and {verdict.batches} batches checked, "
            f"{len(verdict.damage)} damaged"
        )
        for line in (*settled(verdict.put_in_order), *lost(verdict.losses)):
            _console.print(line, markup=False, soft_wrap=True)
    sys.exit(0 if verdict.sound else 1)


def export(config: Annotated[ExportConfig, _flat], out: _Out) -> None:
    """Write recorded episodes as MCAP, LeRobotDataset v3 or Minari to the new folder OUT."""
    _report("exported", run_export(config, out))


def import_(config: Annotated[ImportConfig, _flat], out: _Out) -> None:
    """Take logs in as data of a source task; `source-from-data` learns from OUT."""
    _report("imported", run_import(config, out))


def gc(
    run: _Run,
    retention: Annotated[Retention, _flat],
    robot: _Robot = None,
    session_too: _SessionToo = False,
) -> None:
    """Prune RUN, of a server that is not running, to a budget or an age.

    Records of the robot that the run adapted stay, for a restarted server learns from them; with
    --session-too they go as well, and that session is over.
    """
    _report("freed", run_gc(run, retention, robot, session_too)._asdict())


def run_gc(run: Path, retention: Retention, robot: Path | None, session_too: bool) -> Freed:
    """Archive what is finished, then prune; the clock is the system's.

    Raises:
        StoreError: the store is missing, held by a server, or made for another robot file.
        ConfigError: there is no bound, or no robot file.
    """
    if not retention.limited:
        raise ConfigError("nothing to prune by; give --budget-mb or --keep-days")
    known, archive = RunDir(run).config, run / ARCHIVE
    file = robot or known.get("robot")
    if file is None or not _is_run(run):
        raise ConfigError(f"{run} is no serve run that names its robot file; see --robot")
    spec = load_robot_spec(Path(file))
    keep = frozenset() if session_too else frozenset({str(known.get("unit", ""))})
    with closing(open_episode_store(run / STORE, spec)) as store:
        for unit in store.robots():
            archive_episodes(store, unit, spec, archive)
        freed = Pruner(store, spec, archive, retention, keep, time.time).prune()
        store.database.rows("VACUUM")
    RunDir(run).log(event="retention", **asdict(retention), **freed._asdict())
    return freed


COMMANDS: dict[str, Callable[..., None]] = {
    "ls": ls,
    "show": show,
    "verify": verify,
    "export": export,
    "import": import_,
    "gc": gc,
}


def _is_run(data: Path) -> bool:
    return (data / STORE).exists()


def _files(data: Path) -> list[Path]:
    if not _is_run(data):
        return mcap_files(data)
    return sorted((data / ARCHIVE).rglob("*.mcap"))


def _robots(run: Path) -> list[RobotFacts]:
    with closing(open_catalogue(run)) as catalogue:
        return robot_facts(catalogue)


def _verdict(data: Path) -> Verdict:
    if not _is_run(data):
        return verify_files(mcap_files(data))
    with closing(open_catalogue(data)) as catalogue:
        return verify_run(catalogue, data / ARCHIVE)


def _print_json(content: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(content)).decode())


def _report(what: str, numbers: dict[str, Any]) -> None:
    said = "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in numbers.items()
    )
    _console.print(f"[bold]{what}[/]  {escape(said)}")
