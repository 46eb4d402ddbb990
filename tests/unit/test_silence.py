"""Is the operator told of a silent server: soon, not often, and not while it answers?"""

from __future__ import annotations

from onboard.silence import Silence


def told(silence: Silence, seconds: range, streaming: bool) -> list[int]:
    return [second for second in seconds if silence.complaint(float(second), streaming)]


def test_silence_is_told_after_five_seconds_and_every_minute() -> None:
    silence = Silence("tcp://server:1")
    assert told(silence, range(100, 240), streaming=False) == [105, 165, 225]
    assert "tcp://server:1" in silence.complaint(285.0, False)


def test_a_server_that_answers_is_no_news_and_starts_the_count_anew() -> None:
    silence = Silence("tcp://server:1")
    assert told(silence, range(4), streaming=False) == []
    assert told(silence, range(4, 100), streaming=True) == []
    assert told(silence, range(100, 110), streaming=False) == [105]
