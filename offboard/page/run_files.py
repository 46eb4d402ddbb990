"""A run as its files tell it: the server's status, its log, and the stages it began with.

Only reads, and reads a file again only if it has changed. What is missing is empty, for a server
that has just started has hardly anything yet; what is damaged is named among ``troubles``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from msgspec import Struct
from numpy.typing import NDArray

from protocol.errors import StoreError
from protocol.messages import Report

T = TypeVar("T")
Json = dict[str, Any]
Floats = NDArray[np.float64]


class Loss(Struct, frozen=True, kw_only=True):
    """Records lost for good; names as in :class:`offboard.losses.Loss`."""

    reason: str
    gaps: int
    records: int
    unknown: int


class Robot(Struct, frozen=True, kw_only=True):
    """One robot in the server's status; ``heard_s`` is Unix time, 0 if it is not known."""

    name: str
    heard_s: float = 0.0
    report: Report | None = None
    stopped: str = ""
    losses: list[Loss] = []
    unwritten: int = 0


class Evidence(Struct, frozen=True, kw_only=True):
    """What the learner knows; names as in :class:`offboard.evidence.Evidence`."""

    online: int = 0
    nmse: float | None = None
    offline_fraction: float = 0.0
    relabelled: int = 0
    updates: int = 0
    pessimism: float = 1.0
    course: str | None = None
    way: str | None = None


class Status(Struct, frozen=True, kw_only=True):
    """The server's ``status.json`` as far as the page shows it; older servers say less."""

    phase: str
    endpoint: str = ""
    version: int = 0
    published: int = 0
    held_back: int = 0
    unfit: list[str] = []
    committed: int = 0
    refusals: dict[str, int] = {}
    evidence: Evidence = Evidence()
    report: Report | None = None
    unit: str = ""
    robots: list[Robot] = []
    clock_steps_back: int = 0
    damaged: int = 0
    pinned: int = 0
    pin_trouble: str = ""
    publish_trouble: str = ""
    disk_trouble: str = ""
    disk_failures: int = 0


class Event(Struct, frozen=True, kw_only=True):
    """One line of ``metrics.jsonl``; which fields it has depends on its kind."""

    event: str = ""
    version: int = 0
    exploration: float = 0.0
    online_steps: float = 0.0
    imagined_return: float | None = None
    number: int = 0
    steps: int = 0
    length: int = 0
    total: float = 0.0
    end: int = 0
    explored: bool = False
    versions: dict[int, int] = {}
    online: int = 0
    nmse: float | None = None
    offline_fraction: float = 0.0
    relabelled: int = 0
    updates: int = 0


class SourceLine(Struct, frozen=True, kw_only=True):
    """One line of the source stage's log."""

    stage: str = ""
    step: int = 0
    episode_return: float | None = None


class Generated(NamedTuple):
    """The generated trajectories: returns, uncertainties and whether each was kept, all (M,)."""

    returns: Floats
    uncertainty: Floats
    kept: NDArray[np.bool_]


class HeldOut(NamedTuple):
    """The source model on steps it never learned from: uncertainty and squared error, (N,)."""

    uncertainty: Floats
    error: Floats


@dataclass(frozen=True)
class Run:
    """Everything the page knows, at one moment.

    Attributes:
        name: of the run's folder.
        status: the server's last word, None if it has not spoken yet.
        said_s: Unix time of that word.
        finished: the server has ended as it should, and was not started again.
        config: what the server was started with.
        events: of the server, in order.
        source: learning curve of the source stage.
        source_result: what the source stage found out; likewise ``generate_result``.
        troubles: files that could not be read.
    """

    name: str
    status: Status | None = None
    said_s: float = 0.0
    finished: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    source: tuple[SourceLine, ...] = ()
    source_result: dict[str, Any] = field(default_factory=dict)
    generate_result: dict[str, Any] = field(default_factory=dict)
    generated: Generated | None = None
    held_out: HeldOut | None = None
    troubles: tuple[str, ...] = ()

    @property
    def robots(self) -> list[Robot]:
        """Every robot that is known; a server of old tells of one only."""
        if self.status is None:
            return []
        if self.status.robots or self.status.report is None:
            return self.status.robots
        name = self.status.unit or self.config.get("unit", "robot")
        return [Robot(name=name, heard_s=self.said_s, report=self.status.report)]


class _File(Generic[T]):
    """One file, read again when it has changed."""

    def __init__(self, path: Path, decode: Callable[[bytes], T], empty: T) -> None:
        self.path, self._decode, self._empty = path, decode, empty
        self._stamp: tuple[int, int, int] | None = None
        self._value, self.trouble = empty, ""

    def read(self) -> T:
        """The content; ``empty`` if there is none, the last good one if it is damaged."""
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._value, self._stamp = self._decode(self.path.read_bytes()), stamp
            self.trouble = ""
        except FileNotFoundError:
            self._value, self._stamp, self.trouble = self._empty, None, ""
        except (OSError, StoreError, msgspec.MsgspecError, safetensors.SafetensorError) as error:
            self.trouble = f"{self.path} cannot be read: {error}"
        return self._value

    @property
    def changed_s(self) -> float:
        """When the content that was read was written, in Unix time."""
        return 0.0 if self._stamp is None else self._stamp[0] * 1e-9


class RunFiles:
    """Reads one run and the stages it began with."""

    def __init__(self, run: Path) -> None:
        self.path = run
        self._config = _File[Json](run / "config.json", _config, {})
        self._status = _File[Status | None](run / "status.json", _status, None)
        self._events = _File[tuple[Event, ...]](run / "metrics.jsonl", _lines(Event), ())
        self._result = _File[Json](run / "result.json", _object, {})
        self._stages: dict[str, _Stage] = {}

    def read(self) -> Run:
        """The run as it is now. Never raises."""
        config = self._config.read()
        source = self._stage(config.get("source", ""))
        generate = self._stage(config.get("generated", ""))
        status, said_s = self._status.read(), self._status.changed_s
        return Run(
            name=_name_of(self.path),
            status=status,
            said_s=said_s,
            finished=bool(self._result.read()) and self._result.changed_s >= said_s,
            config=config,
            events=self._events.read(),
            source=source.lines.read(),
            source_result=source.result.read(),
            generate_result=generate.result.read(),
            generated=generate.plane.read(),
            held_out=source.uncertainty.read(),
            troubles=self._troubles(source, generate),
        )

    def _stage(self, path: str) -> _Stage:
        if path not in self._stages:
            self._stages[path] = _Stage(Path(path or "/nonexistent"))
        return self._stages[path]

    def _troubles(self, *stages: _Stage) -> tuple[str, ...]:
        files: list[_File[Any]] = [self._config, self._status, self._events, self._result]
        files += [file for stage in stages for file in stage.files]
        return tuple(file.trouble for file in files if file.trouble)


class _Stage:
    """What a finished stage before the server's left."""

    def __init__(self, path: Path) -> None:
        self.result = _File[Json](path / "result.json", _object, {})
        self.lines = _File[tuple[SourceLine, ...]](path / "metrics.jsonl", _lines(SourceLine), ())
        self.plane = _File[Generated | None](path / "plane.safetensors", _plane, None)
        self.uncertainty = _File[HeldOut | None](path / "uncertainty.safetensors", _held_out, None)
        self.files: tuple[_File[Any], ...] = (
            self.result, self.lines, self.plane, self.uncertainty,
        )  # fmt: skip


def _name_of(run: Path) -> str:
    """``demo/serve`` says more than ``serve``."""
    return "/".join(run.resolve().parts[-2:])


_object = msgspec.json.Decoder(dict[str, Any]).decode
_status = msgspec.json.Decoder(Status).decode


def _config(data: bytes) -> dict[str, Any]:
    config: dict[str, Any] = _object(data).get("config", {})
    return config


def _lines(kind: type[T]) -> Callable[[bytes], tuple[T, ...]]:
    """Decodes whole lines; a last one that is still being written is left for the next time."""
    decoder = msgspec.json.Decoder(kind)

    def decode(data: bytes) -> tuple[T, ...]:
        return tuple(decoder.decode(line) for line in data.split(b"\n")[:-1] if line)

    return decode


def _plane(data: bytes) -> Generated:
    columns = _columns(data, "returns", "uncertainty", "kept")
    return Generated(columns[0], columns[1], columns[2] > 0)


def _held_out(data: bytes) -> HeldOut:
    return HeldOut(*_columns(data, "uncertainty", "error"))


def _columns(data: bytes, *names: str) -> list[Floats]:
    """Columns of equal length. Raises StoreError if one is missing."""
    tensors = safetensors.numpy.load(data)
    try:
        return [np.asarray(tensors[name], np.float64).reshape(-1) for name in names]
    except KeyError as error:
        raise StoreError(f"it lacks {error}") from error
