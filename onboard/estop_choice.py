"""Which emergency stop a word of the command line means."""

from __future__ import annotations

from pathlib import Path

from onboard.estop_gpio import GpioLine
from onboard.estop_input import KEY_MAX, InputKey
from onboard.estop_key import StandardInput
from onboard.estop_source import EstopSource
from protocol.errors import ConfigError

FORMS = "gpio:/dev/gpiochip0,LINE, input:/dev/input/event0[,KEY] or key"
LINES_MAX = 1 << 16


def chosen_source(word: str) -> EstopSource:
    """The source that ``word`` names, not yet opened. Raises ConfigError; see :data:`FORMS`."""
    kind, _, rest = word.partition(":")
    path, comma, number = rest.partition(",")
    if kind == "key" and not rest:
        return StandardInput()
    if kind == "gpio" and path and comma:
        return GpioLine(Path(path), _number(word, number, LINES_MAX))
    if kind == "input" and path:
        return InputKey(Path(path), _number(word, number, KEY_MAX) if comma else None)
    raise ConfigError(f"--estop {word}: write {FORMS}")


def _number(word: str, digits: str, largest: int) -> int:
    if not (digits.isascii() and digits.isdigit() and int(digits) <= largest):
        raise ConfigError(f"--estop {word}: {digits!r} is no number up to {largest}; write {FORMS}")
    return int(digits)
