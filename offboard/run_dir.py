"""A run directory: the resolved config, commit and seed beside metrics, checkpoints and the result.

::

    config.json     everything that decides the outcome; a different config refuses to resume
    metrics.jsonl   one line per event, appended
    *.safetensors   checkpoints, replaced atomically
    result.json     written last: its presence means the stage is complete
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from offboard.durable_file import write_durably
from protocol.errors import StoreError

T = TypeVar("T", bound=tuple[Any, ...])


def unheard(event: dict[str, Any]) -> None:
    """Nobody listens."""


class RunDir:
    """One stage's directory. Use :func:`open_run` to make or resume it.

    ``on_event`` hears every event once it is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_event: Callable[[dict[str, Any]], None] = unheard

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished stage's result, or None."""
        return _read_json(self.path / "result.json")

    @property
    def summary(self) -> dict[str, Any] | None:
        """What a demo summed its stages up to, or None."""
        return _read_json(self.path / "summary.json")

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration the run was started with."""
        config: dict[str, Any] = (_read_json(self.path / "config.json") or {}).get("config", {})
        return config

    @property
    def made_by(self) -> str:
        """The commit the run was started with, or ``unknown``."""
        return str((_read_json(self.path / "config.json") or {}).get("commit", "unknown"))

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Mark the stage complete."""
        write_durably(self.path / "result.json", to_json(result))
        return result

    def log(self, **event: Any) -> None:
        """Append one line to ``metrics.jsonl``. Raises StoreError if the disk refuses."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_plain(event)) + "\n")
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error})") from error
        self.on_event(event)

    def metrics(self) -> list[dict[str, Any]]:
        """Every whole line of ``metrics.jsonl``; a torn last line is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def forget_metrics(self) -> None:
        """Begin ``metrics.jsonl`` anew, for work that cannot be taken up in the middle."""
        (self.path / "metrics.jsonl").unlink(missing_ok=True)

    def cut_torn_line(self) -> None:
        """Drop a last line that a crash cut short, so that the next one is not glued to it."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write ``name``.safetensors."""
        contiguous = {key: value.cpu().contiguous().clone() for key, value in tensors.items()}
        write_durably(self.path / f"{name}.safetensors", safetensors.torch.save(contiguous))

    def load(self, name: str) -> dict[str, Tensor]:
        """Read ``name``.safetensors. Raises StoreError if it is missing or damaged."""
        path = self.path / f"{name}.safetensors"
        try:
            return dict(safetensors.torch.load(path.read_bytes()))
        except (OSError, safetensors.SafetensorError) as error:
            raise StoreError(f"{path}: cannot read the checkpoint ({error})") from error

    def has(self, name: str) -> bool:
        """Whether checkpoint ``name`` exists."""
        return (self.path / f"{name}.safetensors").exists()


def open_run(path: Path, config: Any, inputs: str, free: frozenset[str] = frozenset()) -> RunDir:
    """Make the directory, or resume it. Call it once everything the stage reads was read.

    Args:
        path: of the run.
        config: dataclass that decides the outcome.
        inputs: digest of the files it names, so that an edited file is not mistaken for the old.
        free: fields of ``config`` that may differ on resuming; they do not decide the outcome.

    Raises:
        StoreError: it holds a run with another configuration, or cannot be made.
    """
    resolved = {**_plain(asdict(config)), "inputs": inputs}
    run = RunDir(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made ({error.strerror}); choose another --out"
        ) from error
    if not (path / "config.json").exists():
        content = {"config": resolved, "commit": commit()}
        write_durably(path / "config.json", to_json(content))
    before = run.config
    new = {key for key in resolved.keys() - before.keys() if resolved[key] is False}  # then unknown
    keys = (before.keys() | resolved.keys()) - free - new
    if differing := sorted(key for key in keys if before.get(key) != resolved.get(key)):
        raise StoreError(
            f"{path} holds a run with another {', '.join(differing)}; choose another --out or "
            "remove it"
        )
    run.cut_torn_line()
    return run


def existing_run(path: Path) -> RunDir:
    """A finished run to read from. Raises StoreError if it is not there or not finished."""
    run = RunDir(path)
    if run.result is None:
        raise StoreError(f"{path} holds no finished stage; run the stage before this one")
    return run


def commit() -> str:
    """The git commit of this checkout with ``+`` if it has changes, or ``unknown``."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def pack(prefix: str, state: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A named tuple of tensors as checkpoint entries ``prefix.field``."""
    fields: tuple[str, ...] = state._fields  # type: ignore[attr-defined]
    return {f"{prefix}.{name}": value for name, value in zip(fields, state, strict=True)}


def unpack(prefix: str, kind: type[T], tensors: dict[str, Tensor]) -> T:
    """The inverse of :func:`pack`. Raises StoreError naming a missing entry."""
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    state: T = kind._make(entry(tensors, f"{prefix}.{name}") for name in fields)  # type: ignore[attr-defined]
    return state


def entry(tensors: dict[str, Tensor], name: str) -> Tensor:
    """One entry of a checkpoint. Raises StoreError naming it if it is missing."""
    try:
        return tensors[name]
    except KeyError as error:
        raise StoreError(f"checkpoint lacks {error}") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from error
    return content


def to_json(content: dict[str, Any]) -> bytes:
    """Indented JSON; paths become strings and numbers that are not finite become null."""
    return (json.dumps(_plain(content), indent=2) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON-safe: paths as strings, non-finite numbers as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
