"""What comes of a server's answers, good and bad, without a network."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from onboard.bundle_fetcher import DirectoryFetcher, ServerFetcher
from protocol.messages import CHUNK_BYTES, Ack, Chunk, Fetch, decode_to_server, encode

URL = "targets/policy/weights"
DATA = bytes(range(256)) * 3000


class Server:
    """A socket whose other end answers each question by ``answer``."""

    def __init__(self, answer: Callable[[Fetch], list[bytes]]) -> None:
        self._answer = answer
        self._waiting: list[bytes] = []
        self.asked: list[Fetch] = []
        self.closed = False

    def poll(self, timeout_ms: int, flags: int) -> int:
        return 1

    def send(self, data: bytes) -> None:
        question = decode_to_server(data)
        assert isinstance(question, Fetch)
        self.asked.append(question)
        self._waiting += self._answer(question)

    def recv_multipart(self) -> list[bytes]:
        return [self._waiting.pop(0)] if self._waiting else [b"nothing more"]

    def close(self) -> None:
        self.closed = True


def chunk(question: Fetch, **changes: Any) -> bytes:
    """What an honest server says, but for ``changes``."""
    data = DATA[question.offset : question.offset + CHUNK_BYTES]
    honest = {"total": len(DATA), "found": True, "data": data}
    return encode(Chunk(path=question.path, offset=question.offset, **{**honest, **changes}))


def fetched(answer: Callable[[Fetch], list[bytes]]) -> bytes:
    server: Any = Server(answer)
    return b"".join(ServerFetcher(lambda: server, attempts=2, attempt_s=0.3).fetch(URL))


def test_a_file_comes_whole_chunk_by_chunk():
    assert fetched(lambda question: [chunk(question)]) == DATA


def test_strays_of_earlier_questions_are_skipped():
    stray = encode(Chunk(path="other", offset=0, total=3, found=True, data=b"abc"))
    ack = encode(Ack(epoch="0" * 32, last=1, policy_version=1))
    assert fetched(lambda question: [stray, chunk(question)]) == DATA
    assert fetched(lambda question: [ack, chunk(question)]) == DATA
    assert fetched(lambda question: [b"noise", chunk(question)]) == DATA


def test_a_file_that_is_not_there_is_a_404_which_ends_a_chain_of_roots():
    with pytest.raises(DownloadHTTPError) as caught:
        fetched(lambda question: [chunk(question, found=False, data=b"", total=0)])
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    "changes",
    [{"data": b"x"}, {"data": b""}, {"total": len(DATA) + (1 << 40), "data": b"x"}, {"total": 1}],
)
def test_crumbs_are_refused(changes):
    with pytest.raises(DownloadError, match="less than it could, or more"):
        fetched(lambda question: [chunk(question, **changes)])


def test_an_empty_file_is_empty():
    assert fetched(lambda question: [chunk(question, data=b"", total=0)]) == b""


def test_a_server_that_says_nothing_sensible_is_given_up():
    with pytest.raises(DownloadError, match="no answer"):
        fetched(lambda question: [])


def test_a_directory_gives_its_files_and_no_others(tmp_path: Path):
    stick = tmp_path / "stick"
    (stick / "targets").mkdir(parents=True)
    (stick / "targets" / "file").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(b"secret")
    (stick / "targets" / "link").symlink_to(tmp_path / "secret")
    fetcher = DirectoryFetcher(stick)
    assert b"".join(fetcher.fetch("targets/file")) == DATA
    for url in ("targets/missing", "../secret", "targets/link", "targets"):
        with pytest.raises(DownloadHTTPError):
            [*fetcher.fetch(url)]


def test_a_pipe_that_takes_a_files_place_after_a_look_is_not_waited_for(tmp_path, monkeypatch):
    def hung(*_: object) -> None:
        raise TimeoutError("whoever asks hangs")

    os.mkfifo(tmp_path / "file")
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(20)
    try:
        with pytest.raises(DownloadHTTPError):
            [*DirectoryFetcher(tmp_path).fetch("file")]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
