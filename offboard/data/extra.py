"""Libraries that only exports need: found when asked for, never at import."""

from __future__ import annotations

import importlib
from typing import Any

from protocol.errors import ConfigError


def extra(module: str) -> Any:
    """The module. Raises ConfigError saying how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{module.partition('.')[0]} is not installed; pip install -r requirements/exports.txt"
        ) from error
