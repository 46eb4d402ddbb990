"""Parts of the update repository's files, for robots. Nothing outside it can be named."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from protocol.messages import CHUNK_BYTES, Chunk

_SERVED = ("metadata", "targets")


def read_chunk(repository: Path, path: str, offset: int) -> Chunk:
    """Up to ``CHUNK_BYTES`` of a published file; ``found`` is False for anything else."""
    file = _located(repository, path)
    if file is not None:
        try:
            with file.open("rb") as stream:
                total = stream.seek(0, 2)
                stream.seek(min(offset, total))
                data = stream.read(CHUNK_BYTES)
            return Chunk(path=path, offset=offset, total=total, found=True, data=data)
        except OSError:
            pass  # removed since, as old files are
    return Chunk(path=path, offset=offset, total=0, found=False, data=b"")


def _located(repository: Path, path: str) -> Path | None:
    """The regular file below ``repository`` that ``path`` names, links resolved."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] not in _SERVED or any(part.startswith(".") for part in parts):
        return None
    file = repository.joinpath(*parts).resolve()
    inside = file.is_relative_to(repository.resolve())
    return file if inside and file.is_file() else None
