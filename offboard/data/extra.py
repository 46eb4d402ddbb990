"""Libraries that few need: found when asked for, never at import."""

from __future__ import annotations

import importlib
from typing import Any

from protocol.errors import ConfigError


def extra(module: str, requirements: str = "exports.txt") -> Any:
    """The module. Raises ConfigError saying how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{module.partition('.')[0]} is not installed; "
            f"pip install -r requirements/{requirements}"
        ) from error
