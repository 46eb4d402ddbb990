"""Only the repository's own files can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from offboard.update_files import read_chunk
from protocol.messages import CHUNK_BYTES


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "secret.pem").write_text("secret")
    repository = tmp_path / "repository"
    (repository / "metadata").mkdir(parents=True)
    (repository / "targets" / "policy").mkdir(parents=True)
    (repository / "metadata" / "timestamp.json").write_text("{}")
    (repository / "targets" / ".half.part").write_text("half")
    (repository / "notes.txt").write_text("not served")
    (repository / "targets" / "link").symlink_to(tmp_path / "secret.pem")
    return repository


def test_a_published_file_is_read(repository):
    chunk = read_chunk(repository, "metadata/timestamp.json", 0)
    assert (chunk.found, chunk.total, chunk.data) == (True, 2, b"{}")


def test_a_large_file_comes_in_parts(repository):
    data = bytes(range(256)) * 4096
    (repository / "targets" / "policy" / "big").write_bytes(data)
    parts = []
    while sum(map(len, parts)) < len(data):
        parts.append(read_chunk(repository, "targets/policy/big", sum(map(len, parts))).data)
    assert b"".join(parts) == data
    assert all(len(part) <= CHUNK_BYTES for part in parts)


@pytest.mark.parametrize("offset", [3, 2**63 - 1])
def test_beyond_the_end_there_is_nothing(repository, offset):
    chunk = read_chunk(repository, "metadata/timestamp.json", offset)
    assert (chunk.found, chunk.data) == (True, b"")


@pytest.mark.parametrize(
    "path",
    [
        "metadata/../../secret.pem",
        "../secret.pem",
        "targets/link",
        "targets/.half.part",
        "notes.txt",
        "metadata",
        "metadata/missing.json",
        "/etc/passwd",
        ".",
        "",
        "metadata/timestamp.json/",
        "targets/policy/../../notes.txt",
    ],
)
def test_nothing_else_is_found(repository, path):
    chunk = read_chunk(repository, path, 0)
    if path == "metadata/timestamp.json/":  # a slash at the end names the same file
        assert chunk.found
    else:
        assert (chunk.found, chunk.data) == (False, b"")
