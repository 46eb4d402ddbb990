"""``torch.compile`` where it can work, plain eager where it cannot."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def can_compile() -> bool:
    """TorchInductor needs a C++ compiler on the PATH, and Python's headers for its bindings."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return headers.is_file() and any(shutil.which(name) for name in ("g++", "clang++"))


def compiled(function: F) -> F:
    """``function`` as one static graph, or unchanged where that cannot be built.

    Methods of many objects share their code; each has graphs of its own.
    """
    if not can_compile():
        return function
    graph: F = torch.compile(  # type: ignore[call-overload]
        function, fullgraph=True, dynamic=False, isolate_recompiles=True
    )
    return graph
