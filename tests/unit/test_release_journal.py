"""The journal of releases: durable, checked, readable by others; the links follow it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from made_unit import lay

from onboard.releases.journal import (
    Entry,
    Journal,
    Phase,
    decode_journal,
    encode_journal,
    read_journal,
    recalled_journal,
    write_journal,
)
from onboard.releases.links import follow, sweep
from onboard.releases.unit_paths import UnitPaths
from protocol.errors import StoreError

FULL = Journal(
    "a", "b", "c", Phase.TRIAL, 7, 1, True, 5.0, {"d": 6}, (Entry(1.5, "trial", "a", "why"),)
)


@pytest.fixture
def paths(tmp_path: Path) -> UnitPaths:
    found = UnitPaths(tmp_path)
    found.releases.mkdir(parents=True)
    return found


def test_what_is_written_is_read(paths):
    write_journal(paths, FULL)
    assert read_journal(paths) == FULL


def test_everybody_may_read_it_and_only_root_write(paths):
    write_journal(paths, FULL)
    assert stat.S_IMODE(paths.journal.stat().st_mode) == 0o644


@pytest.mark.parametrize("cut", [0, 5, 9, 40])
def test_any_flipped_bit_is_noticed(cut):
    line = encode_journal(FULL)
    broken = line[:cut] + chr(ord(line[cut]) ^ 1) + line[cut + 1 :]
    with pytest.raises(StoreError, match="damaged"):
        decode_journal(broken)


@pytest.mark.parametrize(
    "text", ["[]", '{"phase": "dancing"}', "{}", '{"phase": "trial", "log": 3}']
)
def test_what_is_no_journal_is_refused(text):
    import zlib

    with pytest.raises(StoreError, match="cannot be read"):
        decode_journal(f"{zlib.crc32(text.encode()):08x} {text}")


def test_a_field_of_a_later_release_does_not_disturb():
    import zlib

    text = encode_journal(FULL).partition(" ")[2].replace('{"current"', '{"later": 1, "current"')
    assert decode_journal(f"{zlib.crc32(text.encode()):08x} {text}") == FULL


def test_without_a_journal_the_links_tell(paths):
    for link in ("current", "golden"):
        (paths.program / link).symlink_to("releases/abc")
    assert read_journal(paths) == Journal("abc", "", "abc")


def test_without_links_either_the_unit_has_to_be_provisioned(paths):
    with pytest.raises(StoreError, match="provision"):
        read_journal(paths)


def test_a_damaged_journal_is_replaced_by_the_links_and_the_release_proves_itself_again(paths):
    old, new = lay(paths.releases, "old"), lay(paths.releases, "new")
    follow(paths, Journal(new, old, old))
    paths.journal.parent.mkdir(parents=True)
    paths.journal.write_text("00000000 {}")
    journal, trouble = recalled_journal(paths)
    assert (journal.current, journal.previous, journal.phase) == (new, old, Phase.TRIAL)
    assert "damaged" in trouble


def test_links_follow_the_journal_and_say_whether_they_changed(paths):
    assert follow(paths, Journal("a", "b", "c"))
    found = [(paths.program / name).readlink().name for name in ("current", "previous", "golden")]
    assert found == ["a", "b", "c"]
    assert not follow(paths, Journal("a", "b", "c"))
    assert follow(paths, Journal("a", "", "c"))
    assert not (paths.program / "previous").is_symlink()


def test_a_link_is_replaced_at_once(paths, monkeypatch):
    follow(paths, Journal("a", "", "a"))
    seen = []
    replace = Path.replace

    def watched(self, target):
        seen.append((paths.program / "current").readlink().name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    follow(paths, Journal("b", "", "a"))
    assert seen == ["a"], "until the rename the old one is there"


def test_a_link_that_cannot_be_changed_is_an_error_of_the_family(paths):
    (paths.program / "current").mkdir()
    (paths.program / "current" / "x").touch()
    with pytest.raises(StoreError, match="current cannot be changed"):
        follow(paths, Journal("a", "", "a"))


def test_only_what_is_half_done_is_swept(paths):
    kept = lay(paths.releases, "kept")
    (paths.releases / "abc.part" / "bin").mkdir(parents=True)
    (paths.releases / "abc.tar.part").touch()
    sweep(paths)
    assert [path.name for path in paths.releases.iterdir()] == [kept]
