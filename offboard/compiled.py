"""``torch.compile`` where it can work, plain eager where it cannot."""

from __future__ import annotations

import os
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
    _keep_graphs()
    graph: F = torch.compile(  # type: ignore[call-overload]
        function, fullgraph=True, dynamic=False, isolate_recompiles=True
    )
    return graph


def _keep_graphs() -> None:
    """Compiled graphs outlive the machine's temporary files, unless the user chose a place."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        place = Path(home).expanduser() / "wombet" / "compiled"
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter: this user has no home
        return  # PyTorch's own place will do
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place))
