"""A release's Python compiled once, when it is unpacked.

The runtime may not write below ``/opt``, so that without this every start compiles everything anew.
What is compiled is no part of a release's name: it belongs to this machine's interpreter.
"""

from __future__ import annotations

import compileall
import warnings
from pathlib import Path
from py_compile import PycInvalidationMode

CACHE = "__pycache__"
_QUIET = 2
_FOLDER, _PLAIN = 0o755, 0o644


def compile_release(part: Path, folder: Path) -> None:
    """Compile what lies in ``part`` and will be renamed to ``folder``; readable by all.

    Bytecode is never compared with its source again: a release does not change. What cannot be
    compiled, for want of room or because it is no module for this interpreter, runs without.

    Raises:
        OSError: the disk refuses to say what lies there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of others' modules
        compileall.compile_dir(
            part / "lib",
            quiet=_QUIET,
            stripdir=str(part),
            prependdir=str(folder),
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
    for cache in part.rglob(CACHE):
        cache.chmod(_FOLDER)
        for path in cache.iterdir():
            path.chmod(_PLAIN)
