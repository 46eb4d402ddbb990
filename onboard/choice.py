"""What the operator wants to drive: go back, pin, lift the pin. The socket thread's side of it.

Nothing happens here but asking :class:`HotSwap`; a pin is acknowledged once the ledger has it, so
that no restart forgets what the operator was told.
"""

from __future__ import annotations

from collections.abc import Callable

from onboard.control_api import Done, Offer, Pin, Rollback, Unpin
from onboard.control_socket import Waiting
from onboard.hotswap import HotSwap
from onboard.ledger import Ledger

WRITTEN_S = 1.5
"""How long a disk may take before the operator is told that it has not answered."""

Choice = Rollback | Pin | Unpin


def choose(swap: HotSwap, choice: Choice, clock_s: Callable[[], float]) -> Done | Waiting:
    """Carry out the operator's choice, or say why not."""
    if isinstance(choice, Rollback):
        return swap.go_back()
    if isinstance(choice, Unpin):
        swap.ledger.pin(0)
        return Pinning(swap.ledger, 0, Done(ok=True, detail="not pinned"), clock_s)
    done = swap.pin(Offer(version=choice.version, directory=choice.directory))
    return Pinning(swap.ledger, choice.version, done, clock_s) if done.ok else done


class Pinning:
    """A reply that waits for the ledger."""

    def __init__(
        self, ledger: Ledger, version: int, done: Done, clock_s: Callable[[], float]
    ) -> None:
        self._ledger, self._version, self._done = ledger, version, done
        self._clock_s, self._due_s = clock_s, clock_s() + WRITTEN_S

    def reply(self) -> Done | None:
        """The reply, once the pin is in force and on the disk, or never will be."""
        ledger = self._ledger
        if ledger.record.pinned != self._version:
            if self._clock_s() < self._due_s:
                return None
            return Done(ok=False, detail=f"the disk did not answer within {WRITTEN_S} s")
        if ledger.trouble:
            detail = f"in force, but lost at a restart: {ledger.trouble}"
            return Done(ok=False, detail=detail[:1024])
        return self._done
