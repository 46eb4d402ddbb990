"""A config as the command line that gives it: how one of our programs starts another."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def arguments(config: Any, prefix: str = "") -> list[str]:
    """What tyro reads back as an equal ``config``, every field of it said.

    Args:
        config: a dataclass of numbers, text, paths, enums, None, tuples of these, and dataclasses.
        prefix: of every option, ``serve.`` for ``--serve.seed``.
    """
    said: list[str] = []
    for field in fields(config):
        name, value = f"{prefix}{field.name.replace('_', '-')}", getattr(config, field.name)
        if is_dataclass(value):
            said += arguments(value, f"{name}.")
        elif isinstance(value, bool):
            said.append(f"--{_negated(name)}" if not value else f"--{name}")
        elif isinstance(value, tuple):
            said += [f"--{name}", *map(_text, value)]
        else:
            said.append(f"--{name}={_text(value)}")
    return said


def _negated(name: str) -> str:
    """``a.no-b`` for ``a.b``."""
    path, dot, last = name.rpartition(".")
    return f"{path}{dot}no-{last}"


def _text(value: Any) -> str:
    return value.name if isinstance(value, Enum) else str(value)
