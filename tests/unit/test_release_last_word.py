"""Does a unit tell its server what its journal says last, and nothing where that is in doubt?"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import UNSET

from onboard.event_log import EventLog
from onboard.releases import last_word as last_words
from onboard.releases.course import Booted, Event, Failed, Proven, Tried, following
from onboard.releases.journal import Entry, Journal, encode_journal, write_journal
from onboard.releases.last_word import AGAIN_S, LastWord, last_word, unspoken
from onboard.releases.unit_paths import UnitPaths
from protocol.errors import StoreError
from protocol.messages import Release

SETTLED = Journal("old", "", "old")
TRIED = Tried("new", 7)


def after(*events: Event, journal: Journal = SETTLED) -> Journal:
    for at_s, event in enumerate(events, 100):
        journal = following(journal, event, at_s + 0.4)
    return journal


def said(running: str, tried: str, verdict: str, reason: str = "", at_s: int = 100) -> Release:
    return Release(running=running, tried=tried, verdict=verdict, reason=reason, at_s=at_s)


@pytest.mark.parametrize(
    ("journal", "word"),
    [
        (SETTLED, said("old", "old", "settled", at_s=0)),
        (after(TRIED), said("new", "new", "trial")),
        (after(TRIED, Booted()), said("new", "new", "trial")),
        (after(TRIED, Proven()), said("new", "new", "proven", at_s=101)),
        (after(TRIED, Failed("hung")), said("old", "new", "taken back", "hung", 101)),
        (
            after(TRIED, Proven(), Failed("an operator's wish")),
            said("old", "new", "taken back", "an operator's wish", 102),
        ),
        (
            after(Failed("bad")),
            said("old", "old", "nothing to return to", "bad", 100),
        ),
    ],
)
def test_the_last_word_is_the_newest_entry(journal: Journal, word: Release) -> None:
    assert last_word(journal) == word


def test_that_the_one_before_runs_again_does_not_hide_why_it_has_to() -> None:
    """A server that was away for the ten seconds in between still hears of it."""
    three = replace(SETTLED, current="mid", previous="old")
    back = after(TRIED, Failed("hung"), Proven(), journal=three)
    assert [entry.event for entry in back.log] == ["trial", "taken back", "proven"]
    assert last_word(back) == said("mid", "new", "taken back", "hung", 101)
    golden = after(TRIED, Failed("hung"), Failed("deaf"), journal=three)
    assert last_word(golden) == said("old", "mid", "taken back", "deaf", 102)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(1.0, "trial", "../new"),
        Entry(1.0, "trial", ""),
        Entry(1.0, "danced, sang", "new"),
        Entry(float("nan"), "trial", "new"),
        Entry("soon", "trial", "new"),  # type: ignore[arg-type]
        Entry(1.0, 3, "new"),  # type: ignore[arg-type]
        Entry(1.0, "trial", "new", None),  # type: ignore[arg-type]
        Entry(1.0, "trial", ["new"]),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_what_the_server_would_refuse_is_not_said(entry: Entry) -> None:
    with pytest.raises(StoreError, match="what nobody says"):
        last_word(replace(SETTLED, log=(entry,)))


@pytest.mark.parametrize(
    ("at_s", "told"), [(-5.0, 0), (1e300, 2**32 - 1), (float("inf"), 2**32 - 1)]
)
def test_no_clock_and_no_reason_is_too_long_for_a_message(at_s: float, told: int) -> None:
    word = last_word(replace(SETTLED, log=(Entry(at_s, "trial", "new", "é\udcff" + "x" * 999),)))
    assert (word.at_s, len(word.reason), word.reason[:3]) == (told, 400, "é?x")


class Unit:
    """Its journal, and how often that was read."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths, self.told = UnitPaths(root), io.StringIO()
        self.reads = 0
        read = last_words.read_text

        def counted(path: Path) -> str:
            self.reads += 1
            return read(path)

        monkeypatch.setattr(last_words, "read_text", counted)
        self.word = LastWord(self.paths.journal, EventLog(self.told, lambda: 0.0))


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    return Unit(tmp_path, monkeypatch)


def test_a_machine_without_a_journal_says_nothing(unit: Unit) -> None:
    assert unit.word(0.0) is unspoken(0.0) is UNSET
    assert unit.told.getvalue() == ""


def test_a_journal_that_is_replaced_is_told_at_once_and_read_no_more_than_it_has_to(
    unit: Unit,
) -> None:
    write_journal(unit.paths, after(TRIED))
    assert [unit.word(now_s) for now_s in (0.0, 1.0, 9.0)] == [said("new", "new", "trial")] * 3
    assert unit.reads == 1
    write_journal(unit.paths, after(TRIED, Failed("hung")))
    assert unit.word(9.5) == said("old", "new", "taken back", "hung", 101)
    assert unit.reads == 2
    unit.word(9.5 + AGAIN_S)
    assert unit.reads == 3


def test_a_journal_in_doubt_is_noted_once_and_ends_nothing(unit: Unit) -> None:
    unit.paths.books.mkdir(parents=True)
    line = encode_journal(after(TRIED))
    for now_s, content in enumerate([line[:40], line[:-1], "", line.replace("trial", "zrial")]):
        unit.paths.journal.write_text(content)
        assert unit.word(20.0 * now_s) is UNSET
    unit.paths.journal.write_text(line)
    assert unit.word(99.0) == said("new", "new", "trial")
    unit.paths.journal.unlink()
    unit.paths.journal.mkdir()
    assert [unit.word(100.0 + now_s) for now_s in (0.0, 1.0)] == [UNSET, UNSET]
    notes = [line for line in unit.told.getvalue().splitlines() if "release_journal" in line]
    assert sum('"state":""' in note for note in notes) == 2
    assert sum("damaged" in note for note in notes) == 2
    assert sum("cannot be read" in note for note in notes) == 1
