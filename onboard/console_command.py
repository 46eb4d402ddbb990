"""``wombet-onboard console``: an operator's words from standard input, an answer to each.

For a program at the far end of one ssh session that stays open: an order takes as long as the
network then, and not as long as starting an interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from onboard.control_api import Clear, Done, Estop, Reply, Start, Stop
from onboard.control_socket import ControlClient
from protocol.errors import WireError

STATUS, ESTOP = "status", "estop"
ORDERS = {"start": Start, "stop": Stop, ESTOP: Estop, "clear": Clear}


def converse(
    client: ControlClient,
    lines: Iterable[str],
    say: Callable[[str], None],
    latch: Callable[[], str],
) -> None:
    """One word a line; one JSON object a line in return, until there are no more words.

    ``latch`` is for an emergency stop that control does not answer; it says what came of it.
    """
    for line in lines:
        say(msgspec.json.encode(_answer(client, line.strip(), latch)).decode())


def _answer(client: ControlClient, word: str, latch: Callable[[], str]) -> Reply:
    if word != STATUS and word not in ORDERS:
        return Done(ok=False, detail=f"{word!r} is none of {', '.join((STATUS, *ORDERS))}")
    try:
        return client.status() if word == STATUS else client.command(ORDERS[word]())
    except WireError as error:
        return Done(ok=False, detail=f"{error}; {latch()}" if word == ESTOP else str(error))
