"""``torch.compile`` where it can work, plain eager where it cannot, and a word about which."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def can_compile() -> bool:
    """TorchInductor needs a C++ compiler on the PATH."""
    return any(shutil.which(name) for name in ("g++", "clang++"))


def compiled(function: F) -> F:
    """``function`` as one static graph, or unchanged where there is no C++ compiler."""
    if not can_compile():
        return function
    graph: F = torch.compile(function, fullgraph=True, dynamic=False)  # type: ignore[assignment]
    return graph
