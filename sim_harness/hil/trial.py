"""One scenario, run for real: plant and runtime as processes, an operator, faults by the clock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from protocol.errors import ConfigError
from sim_harness.hil.bench import Bench
from sim_harness.hil.console import Console, Done, Status
from sim_harness.hil.faults import ClockStep, DiskFull
from sim_harness.hil.runtime import FLIGHTS, Runtime
from sim_harness.hil.scenario import LATCHED, VERSIONS, Scenario
from sim_harness.hil.stand import LINK, Cue
from sim_harness.hil.tape import OVER, STARTED, ZERO, Tape, read_tape
from sim_harness.hil.timeline import faults_of, timeline
from sim_harness.hil.trouble import Listener, Trouble
from sim_harness.hil.verdict import Story
from sim_harness.hil.watch import Watch

POLL_S = 0.1
SETTLE_S = 0.3
START_TRIES = 3
"""A missed answer is a reason to refuse a start; an operator would try again."""


class Outcome(NamedTuple):
    """What is left of a run."""

    tape: Tape
    story: Story


class Trial:
    """Runs one scenario once, in ``folder``."""

    def __init__(
        self,
        bench: Bench,
        scenario: Scenario,
        folder: Path,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bench, self._scenario, self._folder = bench, scenario, folder
        self._clock_s, self._sleep = clock_s, sleep

    def run(self) -> Outcome:
        """The tape, and what the runtime told.

        Raises:
            ConfigError: plant or runtime could not be brought to the scenario's start.
        """
        self._folder.mkdir(parents=True)
        listener, bench = Listener(), self._bench
        with ExitStack() as stack:
            log = stack.enter_context((self._folder / "log.txt").open("wb"))
            stack.callback(listener.close)
            runtime = self._runtime(listener.open())
            stack.callback(runtime.clear)
            kinds = {type(fault) for fault in faults_of(self._scenario)}
            runtime.prepare(bench.outfit.state, DiskFull in kinds, ClockStep in kinds)
            self._cues, self._heard = stack.enter_context(self._stand(log))
            stack.callback(runtime.stop)
            console = runtime.start(log)
            self._watch = watch = Watch(console, self._clock_s, bench.host.local)
            lasts_s = self._scenario.lasts_s
            trouble = Trouble(runtime, console, watch, listener, log, lasts_s)
            stack.callback(trouble.release)
            final, refused = self._drive(runtime, console, trouble)
            runtime.stop()
            spooled = runtime.spooled()
            if lost := runtime.hand_over(self._folder / FLIGHTS, self._scenario.name):
                log.write(f"no flight was kept: {lost}\n".encode())
        tape = read_tape(self._tape_path)
        mode = "" if final is None else final.mode
        return Outcome(tape, watch.story(tape.started_ns, mode, refused, spooled))

    @property
    def _tape_path(self) -> Path:
        return self._folder / "tape.msgpack"

    def _runtime(self, server: str) -> Runtime:
        bench = self._bench
        port = bench.port or str(self._folder / LINK)
        place = f"{bench.place}/{self._scenario.name}"
        return Runtime(bench.host, bench.program, bench.onboard_robot, port, server, place)

    @contextmanager
    def _stand(self, log: IO[bytes]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The plant's process: the pipe into which its cues go, and the one with its answers."""
        serial = self._bench.serial
        words = {"--robot": self._bench.robot, "--link": serial or self._folder / LINK}
        words |= {"--tape": self._tape_path, "--body": Path(self._scenario.body)}
        argv = [sys.executable, "-m", "sim_harness.main", "stand"]
        argv += [part for key, value in words.items() for part in (key, str(value))]
        argv += ["--seed", str(self._scenario.seed), "--scenario", self._scenario.name]
        argv += ["--device"] if serial else []
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=log) as process:
            if process.stdin is None or process.stdout is None or not process.stdout.readline():
                raise ConfigError(f"{self._folder / 'log.txt'}: the plant did not start")
            try:
                yield process.stdin, process.stdout
            finally:
                with suppress(OSError):  # a plant that has ended hears nothing
                    process.stdin.close()
                process.wait()

    def _drive(
        self, runtime: Runtime, console: Console, trouble: Trouble
    ) -> tuple[Status | None, bool | None]:
        """Ready, start, faults, end: the last status, and whether a latched robot refused."""
        self._until(lambda status: status.mode == "IDLE")
        if (policies := self._bench.outfit.policies) is not None:
            policy = policies / str(VERSIONS[self._scenario.policy])
            self._accepted("pin", lambda: _pinned(runtime, console, policy))
        self._until(lambda status: status.active_version > 0)
        if self._scenario.start != "IDLE":
            self._cue(Cue(mark=STARTED))
            self._accepted("start", lambda: console.order("start"))
            wanted = {"HOMING": ("HOMING", "RUN"), "RUN": ("RUN",)}[self._scenario.start]
            self._until(lambda status: status.mode in wanted)
        self._cue(Cue(mark=ZERO))
        self._play(trouble)
        final = self._last()
        self._cue(Cue(mark=OVER))
        latched = final is not None and final.mode in LATCHED
        refused = not console.order("start").ok if latched else None
        console.order("stop")
        self._sleep(SETTLE_S)
        self._watch.look()
        return final, refused

    def _play(self, trouble: Trouble) -> None:
        """Every moment of the timeline when it is due, a look at the status between."""
        zero_s = self._clock_s()
        for at_s, begins, fault in timeline(self._scenario):
            self._wait(zero_s + at_s)
            self._cue(Cue(begins, fault))
            (trouble.begin if begins else trouble.end)(fault)
        self._wait(zero_s + self._scenario.lasts_s)

    def _wait(self, until_s: float) -> None:
        while (left_s := until_s - self._clock_s()) > 0.0:
            if left_s > 2.0 * max(POLL_S, self._watch.look_s):  # a moment must not wait for a look
                self._watch.look()
            self._sleep(max(min(POLL_S, until_s - self._clock_s()), 0.0))

    def _cue(self, cue: Cue) -> None:
        """Have the rig obey; what happens afterwards comes after it on the tape, too."""
        try:
            self._cues.write(msgspec.json.encode(cue) + b"\n")
            self._cues.flush()
            answered = bool(self._heard.readline())
        except OSError:
            answered = False
        if not answered:
            raise ConfigError(f"{self._folder / 'log.txt'}: the plant has ended")

    def _last(self) -> Status | None:
        """The status after the scenario; waits for a control that is being restarted."""
        self._sleep(SETTLE_S)
        end_s = self._clock_s() + self._bench.boot_s
        while (status := self._watch.look()) is None or status.mode in ("BOOT", "SELFTEST"):
            if self._clock_s() > end_s:
                return status
            self._sleep(POLL_S)
        return status

    def _until(self, reached: Callable[[Status], bool]) -> None:
        end_s, status = self._clock_s() + self._bench.boot_s, None
        while self._clock_s() < end_s:
            status = self._watch.look()
            if status is not None and reached(status):
                return
            self._sleep(POLL_S)
        told = "did not answer" if status is None else f"is in {status.mode} ({status.reason})"
        raise ConfigError(f"{self._folder / 'log.txt'}: the runtime {told}")

    def _accepted(self, word: str, ask: Callable[[], Done]) -> None:
        done = ask()
        for _ in range(START_TRIES - 1):
            if done.ok:
                return
            self._sleep(SETTLE_S)
            done = ask()
        if not done.ok:
            raise ConfigError(f"{self._folder}: {word} was refused: {done.detail}")


def _pinned(runtime: Runtime, console: Console, policy: Path) -> Done:
    """Lay a policy there and pin it; an agent that starts meanwhile takes it away once."""
    try:
        return console.pin(runtime.lay(policy))
    except ConfigError as error:
        return Done(ok=False, detail=str(error))
