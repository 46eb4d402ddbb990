"""Which line of a TOML document each key stands on; parsers do not say.

A statement of TOML, be it a table's header or a key with its value, is a sound document by itself,
and no beginning of it is. So lines are gathered until the standard parser takes them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from sim_harness.check.finding import Key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POSITION = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


class Twice(NamedTuple):
    """A key that a document gives in line ``first`` and ``again``."""

    key: Key
    first: int
    again: int


class Places:
    """Lines, from 1, of the tables and values of one sound document."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Key, int] = {}
        self._tables: dict[Key, int] = {}
        self._table: Key = ()
        for line, statement, parsed in _statements(text):
            if statement.lstrip().startswith("["):
                self._table = self._enter(parsed)
                self._note(self._table, line)
            else:
                self._note_values(self._table, parsed, line)

    def line(self, key: Key) -> int:
        """Of ``key`` or, if it is not in the document, of the table it would be in."""
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key, 1)

    def known(self, statement: str, parsed: dict[str, Any]) -> Key:
        """As much as is in the document of the key that a ``statement`` after it would add."""
        key: Key = self._table
        if statement.lstrip().startswith("["):
            key = self._enter(parsed)
            parsed = {}
        while isinstance(parsed, dict) and len(parsed) == 1:
            ((name, parsed),) = parsed.items()
            key = (*key, name)
        while key and key not in self._lines:
            key = key[:-1]
        return key

    def _enter(self, parsed: dict[str, Any]) -> Key:
        """The table that a header opens; ``parsed`` is the header as a document of its own."""
        key: Key = ()
        inner: Any = parsed
        while inner:
            ((name, inner),) = inner.items()
            key = (*key, name)
            if isinstance(inner, list):
                self._tables[key] = self._tables.get(key, 0) + 1
                inner = {}
            if key in self._tables:
                key = (*key, self._tables[key] - 1)
        return key

    def _note_values(self, table: Key, value: Any, line: int) -> None:
        """``value`` and all in it begin in ``line``."""
        self._note(table, line)
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            self._note((*table, name), line)
            if isinstance(item, dict | list):
                self._note_values((*table, name), item, line)

    def _note(self, key: Key, line: int) -> None:
        for length in range(1, len(key) + 1):
            self._lines.setdefault(key[:length], line)


def line_of_error(text: str, error: tomllib.TOMLDecodeError) -> int:
    """Where a document stops being TOML; what is never closed, where it was opened."""
    at = _POSITION.search(str(error))
    if at is not None and at[1] and "Unclosed" not in str(error):
        return int(at[1])
    *_, last = _statements(text, to_the_end=True)
    return last[0]


def given_twice(text: str, line: int) -> Twice | None:
    """What the statement that ``line`` belongs to gives again, if that can be told."""
    *_, last = [(0, "", {}), *(each for each in _statements(text) if each[0] <= line)]
    begun, statement, parsed = last
    if not parsed:
        return None
    before = Places("\n".join(text.splitlines()[: begun - 1]))
    key = before.known(statement, parsed)
    return Twice(key, before.line(key), begun) if key else None


def error_text(error: tomllib.TOMLDecodeError) -> str:
    """What the parser says, without the place."""
    return _POSITION.sub("", str(error)).strip()


def _statements(text: str, to_the_end: bool = False) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line, text and value of each statement; with ``to_the_end`` what is unfinished as well."""
    pending, begun = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        pending += line + "\n"
        try:
            parsed = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield begun, pending, parsed
        pending, begun = "", number + 1
    if to_the_end:
        yield begun, pending, {}
