"""What the disk refuses a server that goes on without it: told, counted and tried again."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console

from offboard.run_dir import RunDir
from protocol.errors import StoreError

AGAIN_S = 30.0


@dataclass
class Troubles:
    """What the disk refused: told, counted and tried again, while learning goes on.

    Attributes:
        run: whose log is told too, if the disk takes that.
        failures: how often each kind of work failed since the start.
        present: why each that did not succeed since then failed.
        notes: what the archive had to tell.
    """

    run: RunDir
    failures: Counter[str] = field(default_factory=Counter)
    present: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tried_s: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def kept(self, work: str) -> Iterator[None]:
        """A StoreError of the block is a trouble of ``work``, success is the end of it."""
        try:
            yield
        except StoreError as error:
            self.failed(work, str(error))
        else:
            self.solved(work)

    def failed(self, work: str, reason: str) -> None:
        """Count it; it is told when it is new."""
        self.failures[work] += 1
        self.tried_s[work] = time.monotonic()
        if self.present.get(work) != reason:
            self.present[work] = reason
            self._tell("trouble", f"{work} failed and is tried again: {reason}")

    def solved(self, work: str) -> None:
        """``work`` was done."""
        if self.present.pop(work, ""):
            self._tell("trouble over", f"{work} is done again after failing")

    def note(self, text: str) -> None:
        """Something that people should know and that is no failure."""
        self.notes.append(text)
        self._tell("archive", text)

    def due(self, work: str) -> bool:
        """Whether ``work`` failed and it is time to try again."""
        return work in self.present and time.monotonic() - self.tried_s[work] > AGAIN_S

    def waits(self, work: str) -> bool:
        """Whether ``work`` failed just now."""
        return work in self.present and not self.due(work)

    def _tell(self, event: str, text: str) -> None:
        say(text)
        with contextlib.suppress(StoreError):
            self.run.log(event=event, text=text)


def say(line: str) -> None:
    """To the terminal, past whatever standard output is for."""
    Console(stderr=True).print(line, highlight=False)
