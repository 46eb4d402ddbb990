"""Where work runs: in this process, in processes of this machine, or on a Ray cluster.

What is handed over is a module's function with arguments that pickle, and what it gives back
depends on these alone: neither where it ran nor that it ran again, because its worker died, can be
seen in a result.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch

from offboard.data.extra import extra
from protocol.errors import ConfigError, WombetError

T = TypeVar("T")

ATTEMPTS = 3
"""How often a piece of work may lose its worker before it is given up."""


class Pool(Protocol):
    """Takes work; an error of the work itself is its outcome and is not tried again."""

    @property
    def slots(self) -> int:
        """How many pieces run side by side."""

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have ``work`` done; what is submitted first begins first."""


@contextlib.contextmanager
def workers(processes: int = 0, ray: str | None = None) -> Iterator[Pool]:
    """Somewhere to work, until the context ends.

    Args:
        processes: of this machine; 0 works in this one, a piece at a time.
        ray: address of a Ray cluster to work on instead; ``auto`` finds one that runs here. None
            is started: Ray listens on every interface, which is the operator's to decide.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at that address.
    """
    if ray is not None:
        with _connected(ray) as library:
            yield OnRay(library)
    elif processes:
        with contextlib.closing(Processes(processes)) as pool:
            yield pool
    else:
        yield Here()


def gathered(pool: Pool, work: Callable[..., T], pieces: Iterable[tuple[Any, ...]]) -> list[T]:
    """What ``work`` gives for the arguments of each of ``pieces``, in their order.

    Raises:
        WombetError: a piece lost its worker too often.
    """
    futures = [pool.submit(work, *arguments) for arguments in pieces]
    return [future.result() for future in futures]


class Here:
    """This process, one piece after another."""

    slots = 1

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Do it now."""
        done: Future[T] = Future()
        try:
            done.set_result(work(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


class Processes:
    """Processes of this machine, each watched by a thread that starts it anew when it dies.

    A pool for every process, because the death of one breaks a pool for all that run in it.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._threads = ThreadPoolExecutor(slots)
        self._mine = threading.local()
        self._started: list[ProcessPoolExecutor] = []

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have it done by the next process that is free."""
        return self._threads.submit(self._attempt, work, arguments, ATTEMPTS)

    def close(self) -> None:
        """Finish what has begun, drop the rest, and end the processes."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._started:
            process.shutdown()

    def _attempt(self, work: Callable[..., T], arguments: tuple[Any, ...], left: int) -> T:
        try:
            return self._process().submit(work, *arguments).result()
        except BrokenExecutor as error:
            del self._mine.process
            if left == 1:
                raise _lost(work, error) from error
        return self._attempt(work, arguments, left - 1)

    def _process(self) -> ProcessPoolExecutor:
        if not hasattr(self._mine, "process"):
            self._mine.process = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=torch.set_num_threads,
                initargs=(1,),
            )
            self._started.append(self._mine.process)
        process: ProcessPoolExecutor = self._mine.process
        return process


class OnRay:
    """A Ray cluster this process is connected to; every piece takes one CPU of it.

    Every machine of the cluster needs wombet installed, the same version, and sees files under
    the same paths.
    """

    def __init__(self, library: Any) -> None:
        self.slots = max(1, int(library.cluster_resources().get("CPU", 1)))
        self._errors = library.exceptions
        self._remote = library.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_on_one_thread)

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have it done wherever a CPU is free."""
        outcome: Future[T] = Future()

        def settle(done: Future[T]) -> None:
            error = done.exception()
            if error is None:
                outcome.set_result(done.result())
            elif isinstance(error, self._errors.RayTaskError):
                outcome.set_exception(error.cause)
            else:
                outcome.set_exception(_lost(work, error))

        self._remote.remote(work, arguments).future().add_done_callback(settle)
        return outcome


def _on_one_thread(work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """Sums come out alike only if every worker adds in the same order."""
    torch.set_num_threads(1)
    return work(*arguments)


def _lost(work: Callable[..., Any], error: BaseException) -> WombetError:
    name = getattr(work, "__name__", str(work))
    return WombetError(
        f"the worker of {name} died {ATTEMPTS} times ({error}); "
        "is there memory for so many side by side?"
    )


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its maker otherwise
    ray = extra("ray", "scale.txt")
    if ray.is_initialized():  # a process has one connection; it stays its opener's
        yield ray
        return
    if address == "local":
        raise ConfigError("--ray wants a cluster that is there; start one (docs/scaling.md)")
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({error}); start one (docs/scaling.md)"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
